"""Files: whole tables in Parquet, CSV and JSON lines, plain or gzipped; Parquet in pieces, and texts line by line."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol, cast

import polars as pl

from features.errors import InvalidInput, listing
from features.rejections import Sieve
from features.sources.formats import FILES
from features.sources.source import BATCH_ROWS

FORMATS = FILES
_ENDINGS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


def format_of(path: Path) -> str:
    """Return the format that a file's name tells; raises InvalidInput where it tells none."""
    form = form_by_name(path)
    if form is None:
        raise InvalidInput(
            f"{path}: its format cannot be told from its name; it must end in {listing(_ENDINGS)} (or .gz after it).",
            hint="Name it with --format.",
        )
    return form


def form_by_name(path: Path) -> str | None:
    """Return the format that a file's name tells, None where it tells none."""
    plain = path.with_suffix("") if _is_gzip(path) else path
    return _ENDINGS.get(plain.suffix.lower())


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def parquet_frames(path: Path, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
    """Yield the rows of a Parquet file, `rows` of them at a time; one frame without rows where it has none.

    Raises
    ------
    InvalidInput
        Where the file is damaged; nothing in such a file can be trusted.
    """
    try:
        table = pl.scan_parquet(path, glob=False)
        size = table.select(pl.len()).collect().item()
        for start in range(0, max(size, 1), rows):
            yield table.slice(start, rows).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput.unreadable(path, f"not parquet: {str(error).splitlines()[0]}") from None


def _known(form: str) -> str:
    if form not in FORMATS:
        raise InvalidInput(f"format must be one of {listing(FORMATS)}, got {form!r}.", "format")
    return form


def write(frame: pl.DataFrame, path: Path, form: str | None = None) -> None:
    """Write rows in the format that the file's name (or `form`) tells; nested columns become JSON text in CSV.

    A name that ends in .gz gets CSV and JSON lines gzipped; Parquet packs itself.
    """
    form = _known(form or format_of(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "parquet":
        frame.write_parquet(path)
        return
    with gzip.open(path, "wb") if _is_gzip(path) else path.open("wb") as file:
        _write_text(frame, cast("IO[bytes]", file), form)


def _write_text(frame: pl.DataFrame, file: IO[bytes], form: str) -> None:
    if form == "csv":
        nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
        frame.with_columns(_as_json(frame[name]) for name in nested).write_csv(file)
    else:
        frame.write_ndjson(file)


def _as_json(values: pl.Series) -> pl.Series:
    wrapped = pl.DataFrame({values.name: values}).select(pl.struct(values.name).struct.json_encode())
    texts = wrapped.to_series().str.slice(len(values.name) + 4)
    json = texts.str.slice(0, texts.str.len_chars() - 1).alias(values.name)
    return json.zip_with(values.is_not_null(), pl.Series([None], dtype=pl.String))


# --- texts, line by line ---------------------------------------------------------------------

TORN = "the packed file is cut off or damaged; what lies behind this place is lost"
TOO_LONG = "the line is longer than 64 MB"
# Read at once: large enough that work per block costs nothing, small enough that its Python objects are few.
_BLOCK_BYTES = 4 << 20
# A longer line is no event: it is a file without line ends, which must not fill the memory.
_LONGEST_LINE = 64 << 20
SHOWN = 80
"""Characters of a line that a message shows."""
TORN_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)
"""What unpacking raises where a file is cut off or damaged."""


class Bytes(Protocol):
    """An open file of bytes."""

    def read1(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class Text:
    """A text file, or one inside an archive.

    Attributes
    ----------
    name : what messages call it
    open : opens it at its beginning, as bytes that are no longer packed
    """

    name: str
    open: Callable[[], AbstractContextManager[Bytes]]

    def sample(self, number: int, line: bytes | str) -> str:
        """Return what a message shows of a line: where it stands and how it begins."""
        shown = line[: 4 * SHOWN].decode("utf-8", "replace") if isinstance(line, bytes) else line
        return f"{self.name} line {number}: {shown[:SHOWN].rstrip()}"


class Block(NamedTuple):
    """Consecutive lines of a text, without their line feeds; `number` is that of the first, from 1."""

    number: int
    lines: list[bytes]


def blocks(text: Text, sieve: Sieve) -> Iterator[Block]:
    """Yield all lines; where a packed text is torn, those before the tear, and the tear is counted."""
    number, rest, torn = 1, b"", False
    with text.open() as file:
        while not torn:
            piece, torn = _piece(file)
            lines = (rest + piece).split(b"\n")
            if not piece and not torn:
                break
            rest = lines.pop()
            if lines:
                yield Block(number, _without_mark(number, lines))
                number += len(lines)
            if len(rest) > _LONGEST_LINE:
                sieve.count(TOO_LONG, 1, [text.sample(number, rest)])
                rest, torn = _after_line_end(file)
                number += 1
    if torn:
        sieve.count(TORN, 1, [text.sample(number, rest)])
    elif rest:
        yield Block(number, _without_mark(number, rest.split(b"\n")))


def _piece(file: Bytes) -> tuple[bytes, bool]:
    """Return the next bytes, none at the end, and whether the packing is torn behind them."""
    pieces, size = [], 0
    try:
        while size < _BLOCK_BYTES and (piece := file.read1(_BLOCK_BYTES)):
            pieces.append(piece)
            size += len(piece)
    except TORN_ERRORS:
        return b"".join(pieces), True
    return b"".join(pieces), False


def _after_line_end(file: Bytes) -> tuple[bytes, bool]:
    torn = False
    while not torn:
        piece, torn = _piece(file)
        _, end, rest = piece.partition(b"\n")
        if end or not piece:
            return rest, torn
    return b"", torn


def _without_mark(number: int, lines: list[bytes]) -> list[bytes]:
    if number == 1:
        lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    return lines

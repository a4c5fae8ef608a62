"""CSV in pieces of whole records: read by the fast reader where it can be trusted, else record by record.

The fast reader fills short records up with nulls and stops at the first wrong one. So a piece is counted first, and one
that is not as it should be is read carefully: its bad records are refused and its good ones kept.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import InvalidInput, listing
from features.windows import Ints
from serving.jobs.layout import LEAD_ID, Block, Layout, Rejected, rejected

PIECE: Final = 4 << 20
"""Bytes that are read at a time."""
LONGEST: Final = 16 << 20
"""Bytes of a line that cannot be a record any more."""
MOST_LINES: Final = 100
"""Lines that one record may run over."""
SHOWN: Final = 60
BOM: Final = b"\xef\xbb\xbf"
UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


def header_of(path: Path) -> list[str]:
    """Return the names of the columns; raises InvalidInput where the first line does not name them."""
    with path.open("rb") as file:
        return _header(file)


def csv_blocks(path: Path, layout: Layout) -> Iterator[Block]:
    """Yield the rows of a CSV file; raises InvalidInput where it is none."""
    with path.open("rb") as file:
        names = _header(file)
        types, first = layout.types(names), 1
        for piece, closed in pieces(file):
            frame = _fast(piece, types) if closed else None
            if frame is None:
                block, size = _careful(piece, first, types)
            else:
                size = len(frame)
                block = Block(np.arange(first, first + size), frame, [])
            first += size
            yield block


def _header(file: IO[bytes]) -> list[str]:
    line = b"\n"
    while line and not line.strip():
        line = file.readline(1 << 20).removeprefix(BOM)
    try:
        text = line.decode()
        names = [name.strip() for name in next(csv.reader([text], strict=True), [])]
    except (ValueError, csv.Error) as error:
        raise InvalidInput(
            f"the file must be CSV in UTF-8, its first line cannot be read ({error}).", hint="Export it again."
        ) from None
    if not names or "\0" in text:
        raise InvalidInput("the file must have a header that names the columns, got none.", hint="Check the export.")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise InvalidInput(f"the header must name each column once, got {listing(twice)} more than once.", twice[0])
    return names


def pieces(file: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield a file in pieces that end with a record's line feed, each with whether all its quotes are closed."""
    rest = b""
    while part := file.read(PIECE):
        piece = rest + part
        cut, closed = _cut(piece)
        if cut:
            yield piece[:cut], closed
        rest = piece[cut:]
        if len(rest) > LONGEST:
            raise InvalidInput(f"the file has a line of more than {LONGEST:,} bytes.", hint="Check its line ends.")
    if rest.strip():
        yield rest + b"\n", rest.count(b'"') % 2 == 0


def _cut(piece: bytes) -> tuple[int, bool]:
    """Return where the last whole record ends; where every end of a line is inside of quotes, the last of them."""
    end = piece.rfind(b"\n") + 1
    if piece.count(b'"', 0, end) % 2 == 0:
        return end, True
    plain = np.flatnonzero(_outside(piece, ord("\n")))
    return (int(plain[-1]) + 1, True) if len(plain) else (end, False)


def _outside(piece: bytes, letter: int) -> npt.NDArray[np.bool_]:
    """Return where a letter stands outside of quotes."""
    letters = np.frombuffer(piece, np.uint8)
    inside = np.bitwise_xor.accumulate((letters == ord('"')).view(np.uint8)).view(np.bool_)
    found: npt.NDArray[np.bool_] = (letters == letter) & ~inside
    return found


def _fast(piece: bytes, types: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    """Return the rows of a piece, None where it needs care."""
    if piece[:1] in b"\r\n" or b"\n\n" in piece or b"\n\r\n" in piece:
        return None
    quoted = b'"' in piece
    lines = int(_outside(piece, ord("\n")).sum()) if quoted else piece.count(b"\n")
    commas = int(_outside(piece, ord(",")).sum()) if quoted else piece.count(b",")
    if commas != lines * (len(types) - 1):
        return None
    try:
        frame = pl.read_csv(piece, has_header=False, schema=types)
    except UNREADABLE:
        return None
    return frame if len(frame) == lines else None


def _careful(piece: bytes, first: int, types: Mapping[str, pl.DataType]) -> tuple[Block, int]:
    """Return the good rows of a piece and the refused ones, and how many rows it has."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    refused: list[Rejected] = []
    number = first
    for record in _records(piece.split(b"\n"), len(types)):
        if isinstance(record, str):
            refused.append(rejected(number, None, record, hint="Mend the row."))
        else:
            rows.append(record)
            numbers.append(number)
        number += 1
    texts = pl.DataFrame(rows, schema=dict.fromkeys(types, pl.String), orient="row")
    return _numbers(texts, np.array(numbers, np.int64), types, refused), number - first


def _records(lines: Sequence[bytes], width: int) -> Iterator[list[str] | str]:
    """Yield the fields of each record, or why it is none; a quote left open costs its own line and not those behind it."""
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        last = _closing(lines, at)
        found = _fields(lines[at : last + 1], width)
        if isinstance(found, str) and last > at:
            last = at
        yield found
        at = last + 1


def _closing(lines: Sequence[bytes], at: int) -> int:
    """Return the line that closes the quotes that a line leaves open, or else the line itself."""
    if lines[at].count(b'"') % 2 == 0:
        return at
    behind = range(at + 1, min(at + MOST_LINES, len(lines)))
    return next((line for line in behind if lines[line].count(b'"') % 2), at)


def _fields(lines: Sequence[bytes], width: int) -> list[str] | str:
    try:
        text = b"\n".join(lines).decode()
        (fields,) = csv.reader([f"{line}\n" for line in text.rstrip("\r").split("\n")], strict=True)
    except (ValueError, csv.Error) as error:
        return f"the row cannot be read as CSV in UTF-8 ({error})."
    if len(fields) != width:
        return f"the row must have {width} fields, as the header has; it has {len(fields)}."
    return fields


def _numbers(texts: pl.DataFrame, places: Ints, types: Mapping[str, pl.DataType], refused: list[Rejected]) -> Block:
    """Return rows of texts with their numbers as numbers; rows in which one is none are refused."""
    features = [name for name, kind in types.items() if kind == pl.Float64]
    plain = texts.with_columns(pl.col(features).str.strip_chars()).with_columns(pl.when(pl.all() != "").then(pl.all()))
    cast = plain.with_columns(pl.col(features).cast(pl.Float64, strict=False))
    bad = plain.select(pl.col(features).is_not_null()).to_numpy() & cast.select(pl.col(features).is_null()).to_numpy()
    wrong = bad.any(axis=1)
    for row in np.flatnonzero(wrong).tolist():
        name = features[int(bad[row].argmax())]
        got = plain[name][row]
        lead_id = plain[LEAD_ID][row] if LEAD_ID in plain.columns else None
        refused.append(rejected(int(places[row]), lead_id, f"{name} must be a number, got {got[:SHOWN]!r}.", name))
    refused.sort(key=lambda one: one.row)
    return Block(places[~wrong], cast.filter(~wrong), refused)

"""Tables in files: Parquet, CSV and JSON lines, plain or gzipped."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import polars as pl

from features.errors import InvalidInput, listing

FORMATS = ("parquet", "csv", "jsonl")
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
    plain = path.with_suffix("") if _is_gzip(path) else path
    try:
        return _ENDINGS[plain.suffix.lower()]
    except KeyError:
        raise InvalidInput(
            f"{path}: its format cannot be told from its name; it must end in {listing(_ENDINGS)} (or .gz after it).",
            hint="Name it with --format.",
        ) from None


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def read(path: Path, form: str | None = None) -> pl.DataFrame:
    """Return the rows of a file as they are; nothing is judged here but that it can be read.

    Raises
    ------
    InvalidInput
        Where the file is missing, damaged, or of another format.
    """
    if not path.exists():
        raise InvalidInput(f"{path}: there is no such file.", hint="Check the path.")
    form = _known(form or format_of(path))
    try:
        return _READERS[form](path)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise InvalidInput.unreadable(path, f"not {form}: {str(error).splitlines()[0]}") from None


def _read_csv(path: Path) -> pl.DataFrame:
    # Everything as text: identifiers such as 007 must not become numbers, and times are parsed by our own rule.
    return pl.read_csv(path, infer_schema=False)


def _read_jsonl(path: Path) -> pl.DataFrame:
    return pl.read_ndjson(path, infer_schema_length=None)


def _known(form: str) -> str:
    if form not in FORMATS:
        raise InvalidInput(f"format must be one of {listing(FORMATS)}, got {form!r}.", "format")
    return form


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "parquet": pl.read_parquet,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
}


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

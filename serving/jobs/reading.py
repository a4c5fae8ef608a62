"""A file of leads as blocks of rows, whatever its format; never more of it in memory than one block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np
import polars as pl

from features.errors import InvalidInput
from serving.jobs.csv_blocks import UNREADABLE, csv_blocks, header_of
from serving.jobs.json_blocks import json_blocks, keys_of
from serving.jobs.layout import EVENTS, LEAD_ID, Block, Layout

Form = Literal["csv", "jsonl", "parquet"]
Of = Literal["features", "events"]

CELLS: Final = 12_000_000
"""Values of a Parquet file that are read at once: 96 MB. Reading fewer would unpack its pages more often."""


def columns_of(path: Path, form: Form) -> list[str]:
    """Return the names of a file's columns; raises InvalidInput where it is no file of that format."""
    if form == "csv":
        return header_of(path)
    return keys_of(path) if form == "jsonl" else list(_schema(path))


def told(columns: list[str]) -> Of:
    """Return what a table with these columns holds."""
    return "events" if set(columns) >= EVENTS and LEAD_ID not in columns else "features"


def blocks(path: Path, form: Form, layout: Layout) -> Iterator[Block]:
    """Yield the rows of a file.

    Raises
    ------
    InvalidInput
        Where the file is not of its format, or has other columns than the version.
    """
    columns = columns_of(path, form)
    # Many writers of JSON leave out what is null.
    layout.check(columns, may_lack=layout.unknowable if form == "jsonl" else ())
    if form == "csv":
        return csv_blocks(path, layout)
    return json_blocks(path, layout) if form == "jsonl" else _parquet_blocks(path, layout)


def _schema(path: Path) -> dict[str, pl.DataType]:
    try:
        return cast("dict[str, pl.DataType]", dict(pl.read_parquet_schema(path)))
    except (*UNREADABLE, OSError) as error:
        raise _damaged(error) from None


def _damaged(error: BaseException) -> InvalidInput:
    why = (str(error).splitlines() or [""])[0][:200]
    return InvalidInput(f"the file must be Parquet, and cannot be read as such ({why}).", hint="Export it again.")


def _parquet_blocks(path: Path, layout: Layout) -> Iterator[Block]:
    schema = _schema(path)
    for name in layout.features:
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null)):
            raise InvalidInput(f"{name} must be a column of numbers, got {schema[name]}.", name, "Cast it.")
    for name, kind in schema.items():
        if kind.is_nested() or kind in (pl.Binary, pl.Object):
            raise InvalidInput(f"{name} must be a column of texts, numbers or times, got {kind}.", name)
    numbers = pl.col(layout.features).cast(pl.Float64)
    rows = max(1, CELLS // max(1, len(schema)))
    try:
        table = pl.scan_parquet(path, glob=False)
        size = int(table.select(pl.len()).collect().item())
        for start in range(0, size, rows):
            frame = table.slice(start, rows).with_columns(numbers).collect()
            yield Block(np.arange(start + 1, start + 1 + len(frame)), frame, [])
    except (*UNREADABLE, OSError) as error:
        raise _damaged(error) from None

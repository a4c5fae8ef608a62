"""JSON lines in pieces: read by the fast reader where it can be trusted, else line by line.

The fast reader takes no notice of keys that it does not look for. So the keys and nulls of a piece are counted, and only
where both are as many as they must be if every line has each key once is its reading taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import polars as pl

from features.errors import InvalidInput, suggestion
from serving.jobs.csv_blocks import BOM, LONGEST, PIECE, SHOWN, UNREADABLE
from serving.jobs.layout import LEAD_ID, Block, Layout, Rejected, rejected

_LINE: Final = b"\n"


def keys_of(path: Path) -> list[str]:
    """Return the keys of the first line that holds an object; raises InvalidInput where none of the first lines does."""
    with path.open("rb") as file:
        for _ in range(1_000):
            line = file.readline(LONGEST).removeprefix(BOM)
            if not line:
                break
            if line.strip() and isinstance(found := _decoded(line), dict):
                return list(found)
    raise InvalidInput(
        'the file must be JSON lines: one object such as {"lead_id": "a"} in each line; no line holds one.',
        hint="Check the export and the Content-Type.",
    )


def json_blocks(path: Path, layout: Layout) -> Iterator[Block]:
    """Yield the rows of a file of JSON lines; a key that a line lacks is null there."""
    keys, first = keys_of(path), 1
    names = [*keys, *(name for name in layout.required if name not in keys)]
    types = layout.types([name for name in names if name in layout.known])
    with path.open("rb") as file:
        for piece in _pieces(file):
            frame = _fast(piece, types, len(keys))
            if frame is None:
                block, size = _careful(piece, first, layout)
            else:
                size = len(frame)
                block = Block(np.arange(first, first + size), frame, [])
            first += size
            yield block


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    rest = file.read(len(BOM)).removeprefix(BOM)
    while part := file.read(PIECE):
        piece = rest + part
        cut = piece.rfind(_LINE) + 1
        if cut:
            yield piece[:cut]
        rest = piece[cut:]
        if len(rest) > LONGEST:
            raise InvalidInput(f"the file has a line of more than {LONGEST:,} bytes.", hint="Check its line ends.")
    if rest.strip():
        yield rest + _LINE


def _fast(piece: bytes, types: Mapping[str, pl.DataType], n_keys: int) -> pl.DataFrame | None:
    """Return the rows of a piece, None where it needs care."""
    lines = piece.count(_LINE)
    # Half a letter, as \ud83d may be, is nothing that the fast reader takes for a mistake.
    if b"\\ud" in piece or b"\\uD" in piece or b"\\u0000" in piece or piece.count(b'":') != lines * n_keys:
        return None
    try:
        frame = pl.read_ndjson(piece, schema=types)
    except UNREADABLE:
        return None
    absent = (len(types) - n_keys) * lines
    nulls = sum(frame.null_count().row(0))
    return frame if len(frame) == lines and nulls == piece.count(b"null") + absent else None


def _careful(piece: bytes, first: int, layout: Layout) -> tuple[Block, int]:
    """Return the good rows of a piece and the refused ones, and how many rows it has."""
    types = layout.types(layout.known)
    found: dict[str, list[Any]] = {name: [] for name in types}
    numbers: list[int] = []
    refused: list[Rejected] = []
    number = first
    for line in piece.split(_LINE):
        if not line.strip():
            continue
        row = _row(line, number, types)
        if isinstance(row, Rejected):
            refused.append(row)
        else:
            numbers.append(number)
            for name, values in found.items():
                values.append(row.get(name))
        number += 1
    frame = pl.DataFrame([pl.Series(name, found[name], dtype=kind) for name, kind in types.items()])
    return Block(np.array(numbers, np.int64), frame, refused), number - first


def _row(line: bytes, number: int, types: Mapping[str, pl.DataType]) -> dict[str, Any] | Rejected:
    """Return the values of a line, or why it is no row."""
    found = _decoded(line)
    if isinstance(found, str):
        return rejected(number, None, f"the line must be a JSON object ({found}).", hint="Mend the line.")
    told = found.get(LEAD_ID)
    lead_id = told if isinstance(told, str) else None
    row: dict[str, Any] = {}
    for name, value in found.items():
        if name not in types:
            message = f"unknown column {name[:SHOWN]!r}.{suggestion(name, types)}"
            return rejected(number, lead_id, message, name[:SHOWN], "Name columns as GET /model does.")
        if types[name] == pl.Float64:
            row[name] = value if value is None else _number(value)
            if value is not None and row[name] is None:
                return rejected(number, lead_id, f"{name} must be a number, got {json.dumps(value)[:SHOWN]}.", name)
        elif isinstance(value, dict | list):
            return rejected(number, lead_id, f"{name} must be a text, got {json.dumps(value)[:SHOWN]}.", name)
        else:
            row[name] = value if value is None or isinstance(value, str) else json.dumps(value)
    return row


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _decoded(line: bytes) -> dict[str, Any] | str:
    """Return the object in a line, or why there is none."""
    try:
        found = json.loads(line.decode(), object_pairs_hook=_once, parse_constant=_no_number)
        # Half a letter cannot be written as UTF-8.
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return str(error)[:SHOWN]
    return found if isinstance(found, dict) else f"got {line.strip()[:SHOWN].decode(errors='replace')}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")

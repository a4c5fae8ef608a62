"""Finding kept receipts again, by name or by lead, in the folders of days that `serving.receipts` writes; and forgetting them."""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import polars as pl

from features.errors import InvalidInput, listing
from features.times import moment_of
from features.windows import Floats
from serving.receipts import LINES, TABLE, VARIABLE, Line
from serving.scoring.answers import Asked, Subject
from serving.scoring.receipt import Digest, Receipt

SHORTEST: Final = 6
"""Characters of a receipt's name from which on they may stand for it."""
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME: Final = re.compile(r"[0-9a-f]+")
_LINE: Final = msgspec.json.Decoder(Line)
_TRAITS: Final = msgspec.json.Decoder(dict[str, Any])
_DAMAGED: Final = (msgspec.DecodeError, ValueError, TypeError, KeyError)
"""What comes of reading a receipt of which a part is missing or is something else."""
Key = Literal["id", "lead_id"]


@dataclass(frozen=True)
class Kept:
    """A receipt, when it was kept (microseconds since 1970 UTC), and the file it lies in."""

    receipt: Receipt
    at: int
    place: Path


def find(folder: Path, name: str) -> Kept:
    """Return the receipt of a name, or of the beginning of one; of several with the same name, the last one kept.

    Raises
    ------
    InvalidInput
        Where there is no folder or no such receipt, or the beginning fits several names.
    """
    if len(name) < SHORTEST or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"a receipt's name must be at least {SHORTEST} of the characters 0-9 and a-f, got {name!r}.",
            "ID",
            "Take the receipt_id of an answer.",
        )
    fitting: list[Kept] = []
    for day in reversed(days(folder)):
        found = list(_kept(day, "id", name, whole=False))
        exact = [one for one in found if one.receipt.id == name]
        if exact:
            return max(exact, key=lambda one: one.at)
        fitting += found
    names = sorted({one.receipt.id for one in fitting})
    if not names:
        raise _nothing(folder, f"receipt {name!r}", "ID")
    if len(names) > 1:
        raise InvalidInput(f"receipt {name!r} could be {listing(names)}.", "ID", "Write more of it.")
    return max(fitting, key=lambda one: one.at)


def latest_of(folder: Path, lead_id: str) -> Kept:
    """Return the receipt of the latest moment among those of the last day on which a lead was answered.

    Raises
    ------
    InvalidInput
        Where there is no folder, or no receipt of the lead.
    """
    for day in reversed(days(folder)):
        found = list(_kept(day, "lead_id", lead_id, whole=True))
        if found:
            return max(found, key=lambda one: (one.receipt.subject.as_of, one.at))
    raise _nothing(folder, f"receipt of lead {lead_id!r}", "LEAD")


def days(folder: Path) -> list[Path]:
    """Return the folders of days, the first one first; raises InvalidInput where there is no such folder."""
    if not folder.is_dir():
        raise InvalidInput(
            f"{folder}: must be the folder that receipts are kept in; there is no such folder.",
            "receipts",
            f"Name it with --receipts or {VARIABLE}.",
        )
    return sorted(one for one in folder.iterdir() if one.is_dir() and _DAY.fullmatch(one.name))


def prune(folder: Path, before: int) -> list[str]:
    """Delete the receipts of every day that had ended by a moment, and return those days.

    `before` is in microseconds since 1970 UTC; receipts of the day it falls into stay.
    """
    last = str(moment_of(before).date())
    old = [day for day in days(folder) if day.name < last]
    for day in old:
        shutil.rmtree(day)
    return [day.name for day in old]


def _nothing(folder: Path, what: str, field: str) -> InvalidInput:
    there = [day.name for day in days(folder)]
    span = f"days kept: {there[0]} to {there[-1]}, {len(there)} in all" if there else "it is empty"
    return InvalidInput(
        f"there is no {what} in {folder} ({span}).",
        field,
        f"Name the folder with --receipts or {VARIABLE}; days that were pruned are gone.",
    )


def _kept(day: Path, key: Key, value: str, *, whole: bool) -> Iterator[Kept]:
    """Yield the receipts of a day; a file that is gone was pruned, one that cannot be read is named."""
    for ending, found_in in ((LINES, _in_lines), (TABLE, _in_table)):
        for path in sorted(day.glob(f"*{ending}")):
            try:
                yield from found_in(path, key, value, whole=whole)
            except FileNotFoundError:
                continue
            except (pl.exceptions.PolarsError, OSError, *_DAMAGED) as error:
                why = str(error).partition("\n")[0] or type(error).__name__
                raise InvalidInput.unreadable(path, why) from None


def _in_lines(path: Path, key: Key, value: str, *, whole: bool) -> Iterator[Kept]:
    """Yield the receipts of a file, looking for the bytes before anything is decoded."""
    told = json.dumps(key).encode() + b":" + msgspec.json.encode(value)
    for text in _lines_with(path, told if whole else told[:-1]):
        try:
            line = _LINE.decode(text)
            kept = Kept(
                _receipt(line, np.frombuffer(line.row, "<f8").astype(np.float64), line.traits), line.kept_at, path
            )
        except _DAMAGED:
            continue  # torn when its process was killed
        if getattr(line, key) == value or (not whole and getattr(line, key).startswith(value)):
            yield kept


def _lines_with(path: Path, text: bytes) -> Iterator[bytes]:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(text)
            while place >= 0:
                start, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place)
                if end < 0:
                    return
                yield content[start:end]
                place = content.find(text, end)


def _in_table(path: Path, key: Key, value: str, *, whole: bool) -> Iterator[Kept]:
    wanted = pl.col(key) == value if whole else pl.col(key).str.starts_with(value)
    table = pl.scan_parquet(path, glob=False)
    # First where, then what: reading the rows of a million leads to find one takes seconds.
    places = table.select(key).with_row_index("place").filter(wanted).collect()["place"].to_list()
    for place in places:
        facts = table.slice(place, 1).collect().row(0, named=True)
        row = np.array(facts["row"], np.float64)
        line = Line(**{**facts, "row": b"", "traits": _TRAITS.decode(facts["traits"])})
        yield Kept(_receipt(line, row, line.traits), line.kept_at, path)


def _receipt(line: Line, row: Floats, traits: Mapping[str, Any]) -> Receipt:
    subject = Subject(line.lead_id, line.account_id, line.as_of, line.ends_at, _exact(traits), row)
    digest = Digest(line.digest, line.parts)
    return Receipt(line.id, line.version, subject, Asked(line.reasons, line.whom), line.probability, digest)


def _exact(traits: Mapping[str, Any]) -> dict[str, object]:
    return {name: float(value["float"]) if isinstance(value, dict) else value for name, value in traits.items()}

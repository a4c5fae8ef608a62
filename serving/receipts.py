"""Where receipts are kept: one folder for each UTC day, JSON lines from a service, Parquet from a batch; files only.

Each process appends to a file of its own, a line in one write, so that processes do not know of each other and one that is
killed loses at most the line it was writing. A line that is torn is passed over when the file is read.

A receipt holds the ids of a lead and its account and the traits that the model reads (`serving.scoring.receipt`), so the
folder is as private as the leads are. It never leaves the service with an answer, and
`serving.receipt_search.prune` forgets whole days.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, Literal

import msgspec
import numpy as np
import polars as pl

from features.errors import InvalidInput
from features.times import moment_of
from serving.scoring.receipt import Keep, Receipt

FOLDER: Final = "receipts"
VARIABLE: Final = "PQL_RECEIPTS"
NONE: Final = "none"
LINES, TABLE = ".jsonl", ".parquet"


class Line(msgspec.Struct):
    """One receipt as JSON lines hold it; a table has the same columns, with `row` as numbers and `traits` as JSON text.

    `row` are little-endian float64 bytes, in base64: JSON has no infinity and one zero, and its numbers take longer.
    """

    id: str
    version: str
    lead_id: str
    account_id: str | None
    as_of: int
    ends_at: int | None
    traits: dict[str, Any]
    row: bytes
    reasons: int
    whom: Literal["all", "likely"]
    probability: float
    digest: str
    parts: str
    kept_at: int


_ENCODER: Final = msgspec.json.Encoder()
_COLUMNS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **dict.fromkeys(Line.__struct_fields__, pl.String),
    **dict.fromkeys(("as_of", "ends_at", "reasons", "kept_at"), pl.Int64),
    "probability": pl.Float64,
    "row": pl.List(pl.Float64),
}


def folder_named(given: str | None, environment: Mapping[str, str]) -> Path | None:
    """Return the folder of receipts: the one given, else that of PQL_RECEIPTS, else `receipts`; None for `none`."""
    name = given or environment.get(VARIABLE) or FOLDER
    return None if name == NONE else Path(name)


def usable(folder: Path) -> Path:
    """Return a folder that receipts can be written to, made where it is missing.

    Raises
    ------
    InvalidInput
        Where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The rights alone do not tell: a file system may be read-only, or full.
        with NamedTemporaryFile(dir=folder, prefix=".", suffix=".try"):
            pass
    except OSError as error:
        hint = f"Name another folder with --receipts or {VARIABLE}, or keep none with `none`."
        raise InvalidInput(
            f"receipts cannot be kept in {folder}: {error.strerror or error}.", "receipts", hint
        ) from None
    return folder


class Receipts:
    """Appends receipts to this process's own files in a folder; safe to share between threads."""

    def __init__(self, folder: Path, now: Callable[[], int]) -> None:
        self.folder = folder
        self._now = now
        self._lock = threading.Lock()
        self._day = ""
        self._file = -1
        self._torn = False

    def keep(self, receipts: Iterable[Receipt]) -> None:
        """Append receipts, all in one write; when it returns they survive the death of this process.

        Raises
        ------
        OSError
            Where they cannot be written, as on a full disk; then none, some or all of them are kept.
        """
        at = self._now()
        lines = b"".join(_ENCODER.encode(_line(one, at)) + b"\n" for one in receipts)
        if lines:
            with self._lock:
                self._append(lines, str(moment_of(at).date()))

    def close(self) -> None:
        """Close the file; the next receipts get a new one."""
        with self._lock:
            self._close()

    def _append(self, lines: bytes, day: str) -> None:
        if day != self._day:
            self._close()
            self._file = self._new_file(day)
            self._day = day
        # What a failed write has left is no line; the next one must not become a part of it.
        pending = b"\n" + lines if self._torn else lines
        self._torn = True
        while pending:
            pending = pending[os.write(self._file, pending) :]
        self._torn = False

    def _new_file(self, day: str) -> int:
        (self.folder / day).mkdir(parents=True, exist_ok=True)
        started = self._now()
        while True:
            path = self.folder / day / f"{os.getpid()}-{started}{LINES}"
            with suppress(FileExistsError):  # in containers, processes of the same number share a folder
                return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
            started += 1

    def _close(self) -> None:
        if self._day:
            os.close(self._file)
        self._day, self._file, self._torn = "", -1, False


def _line(receipt: Receipt, at: int) -> Line:
    subject, asked = receipt.subject, receipt.asked
    return Line(
        receipt.id, receipt.version, subject.lead_id, subject.account_id, subject.as_of, subject.ends_at,
        _plain(subject.traits), subject.row.astype("<f8").tobytes(), asked.reasons, asked.whom, receipt.probability,
        receipt.digest.whole, receipt.digest.parts, at,
    )  # fmt: skip


def _plain(traits: Mapping[str, object]) -> dict[str, Any]:
    """Return traits as JSON can say them: a number that is not finite becomes `{"float": "nan"}`."""
    return {
        name: {"float": repr(value)} if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in traits.items()
    }


def table_of(receipts: Sequence[Receipt], at: int) -> pl.DataFrame:
    """Return receipts as a table, for `write_table`; `at` is when they are kept, in microseconds since 1970 UTC."""
    subjects = [one.subject for one in receipts]
    rows = np.stack([one.row for one in subjects]) if subjects else np.empty((0, 0))
    columns: dict[str, Any] = {
        "id": [one.id for one in receipts],
        "version": [one.version for one in receipts],
        "lead_id": [one.lead_id for one in subjects],
        "account_id": [one.account_id for one in subjects],
        "as_of": [one.as_of for one in subjects],
        "ends_at": [one.ends_at for one in subjects],
        "traits": [_ENCODER.encode(_plain(one.traits)).decode() for one in subjects],
        "row": pl.Series("row", rows).cast(pl.List(pl.Float64)) if subjects else [],
        "reasons": [one.asked.reasons for one in receipts],
        "whom": [one.asked.whom for one in receipts],
        "probability": [one.probability for one in receipts],
        "digest": [one.digest.whole for one in receipts],
        "parts": [one.digest.parts for one in receipts],
        "kept_at": np.full(len(receipts), at, np.int64),
    }
    return pl.DataFrame(columns, schema=_COLUMNS)


def batch_keep(name: str, at: int) -> Keep | None:
    """Return what writes a batch's receipts into a folder, `at` being when they are kept; None where `name` is `none`."""
    folder = folder_named(name, {})
    if folder is None:
        return None
    ready = usable(folder)
    return lambda receipts: write_table(ready, table_of(receipts, at))


def write_table(folder: Path, table: pl.DataFrame) -> Path | None:
    """Write receipts that `table_of` made as one file, whole or not at all; returns it, None where there are none.

    A run may write many: each part of a million leads as its own file needs no memory for the others.
    """
    if not len(table):
        return None
    at = int(table["kept_at"][0])
    day = folder / str(moment_of(at).date())
    day.mkdir(parents=True, exist_ok=True)
    names = (f"{os.getpid()}-{at}-{number}{TABLE}" for number in count())
    path = next(day / name for name in names if not (day / name).exists())
    unfinished = path.with_suffix(".unfinished")
    try:
        with unfinished.open("wb") as file:
            table.write_parquet(file, compression="zstd")
            # Before the name: a name without content would be a damaged file after a power cut.
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path

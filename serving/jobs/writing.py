"""A result as a file, written part by part; it gets its name once it is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import polars as pl

from features.sources import files
from serving.batch import LEADS_OUT
from serving.jobs.reading import Form

PART_ROWS: Final = 200_000
PART_BYTES: Final = 64 << 20
"""Leads that are written at once: so many, or fewer where words make them large."""


class Result:
    """Takes tables with the columns of `LEADS_OUT`; leaving it without an error gives the file its name.

    Texts are appended part by part. Parquet is written in one sweep, and no sweep takes tables one by one: parts are put
    aside as they are in memory, and the sweep packs them.
    """

    def __init__(self, path: Path, form: Form) -> None:
        self._path, self._form = path, form
        self._whole = path.with_name(path.name + ".part")
        self._aside = path.with_name(path.name + ".parts")
        self._parts: list[Path] = []
        self._waiting = [pl.DataFrame(schema=LEADS_OUT)]
        self._rows = self._size = self._all = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._aside, ignore_errors=True)
        self._aside.mkdir()
        self._whole.write_bytes(b"")
        return self

    def add(self, leads: pl.DataFrame) -> None:
        """Write some leads behind those before them."""
        self._waiting.append(leads)
        self._rows += len(leads)
        self._size += int(leads.estimated_size())
        if self._rows >= PART_ROWS or self._size >= PART_BYTES:
            self._put()

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            # Where there is no row, there still are columns.
            if self._rows or not self._parts:
                self._put()
            if self._form == "parquet":
                rows = max(1, self._all // len(self._parts))
                pl.scan_ipc(self._parts).sink_parquet(self._whole, compression="lz4", row_group_size=rows)
            synced(self._whole)
            self._whole.replace(self._path)
            synced(self._path.parent)
        self._whole.unlink(missing_ok=True)
        shutil.rmtree(self._aside, ignore_errors=True)

    def _put(self) -> None:
        leads = pl.concat(self._waiting)
        path = self._aside / f"{len(self._parts):06d}"
        if self._form == "parquet":
            leads.write_ipc(path)
        else:
            files.write(leads, path, self._form)
            with path.open("rb") as part, self._whole.open("ab") as whole:
                if self._form == "csv" and self._parts:
                    part.readline()
                shutil.copyfileobj(part, whole, 1 << 20)
            path.unlink()
        self._parts.append(path)
        self._all += self._rows
        self._waiting, self._rows, self._size = [], 0, 0


def synced(path: Path) -> None:
    """Return once a file's bytes, or a folder's names, are on the disk."""
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)

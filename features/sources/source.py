"""What every source gives: the rows of one table in batches, as often as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from features.errors import InvalidInput
from features.rejections import Sieve

BATCH_ROWS = 500_000
"""Rows that are in memory at once: enough that work per batch costs little, few enough that any machine holds them."""


@dataclass(frozen=True)
class Source:
    """One table that can be read again and again; the whole of it need never be in memory.

    Attributes
    ----------
    name : what messages call it: a path or an address without its password
    read : yields batches of raw rows under the canonical column names (`features.events.EVENT_COLUMNS` for events),
        and puts lines that cannot be read into the sieve, each counted once per reading
    """

    name: str
    read: Callable[[Sieve], Iterator[pl.DataFrame]]

    def table(self, sieve: Sieve) -> pl.DataFrame:
        """Return all rows at once; columns that a batch lacks are null there.

        Raises
        ------
        InvalidInput
            Where there are rows, but none that could be read.
        """
        frame = pl.concat(list(self.read(sieve)), how="diagonal_relaxed")
        if not len(frame) and sieve.total:
            raise InvalidInput(f"{sieve.table}: no usable row. {' '.join(map(str, sieve))}", hint="Mend the export.")
        return frame

    @classmethod
    def of(cls, frame: pl.DataFrame, name: str = "events") -> Source:
        """Return a table in memory as a source."""
        return cls(name, lambda _: frame.iter_slices(BATCH_ROWS))

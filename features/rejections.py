"""Rows that cannot be used: counted, sampled and explained; the good rows beside them are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

SAMPLES = 3


@dataclass(frozen=True)
class Rejection:
    """Rows of one table refused for one reason, with a few of them as they were."""

    table: str
    reason: str
    count: int
    samples: tuple[str, ...]

    def __str__(self) -> str:
        example = f" For example {'; '.join(self.samples)}" if self.samples else ""
        return f"{self.table}: {self.count:,} row(s) refused: {self.reason}.{example}"


@dataclass
class Sieve:
    """Takes rows out of a table reason by reason and remembers what it took, over any number of batches.

    `mended` counts rows that were kept but set right, by what was done.
    """

    table: str
    mended: Counter[str] = field(default_factory=Counter)
    _found: dict[str, Rejection] = field(default_factory=dict)

    def refuse(self, frame: pl.DataFrame, bad: pl.Expr, reason: str, show: Sequence[str | pl.Expr]) -> pl.DataFrame:
        """Return the rows that are not bad; the others are counted under `reason`, showing the columns `show`."""
        flag = frame.select(bad.fill_null(value=True).alias("bad"))["bad"]
        if flag.any():
            refused = frame.filter(flag)
            self.count(reason, len(refused), [str(row) for row in refused.select(show).head(SAMPLES).to_dicts()])
            return frame.filter(~flag)
        return frame

    def count(self, reason: str, rows: int, samples: Sequence[str]) -> None:
        """Add rows that were refused for a reason; the first few samples of each reason are kept."""
        before = self._found.get(reason, Rejection(self.table, reason, 0, ()))
        kept = (*before.samples, *samples)[:SAMPLES]
        self._found[reason] = Rejection(self.table, reason, before.count + rows, kept)

    def mend(self, what: str, frame: pl.DataFrame, flag: pl.Expr) -> None:
        """Count the rows for which `flag` says that they are set right."""
        count = int(frame.select(flag.sum()).item())
        if count:
            self.mended[what] += count

    def __iter__(self) -> Iterator[Rejection]:
        return iter(self._found.values())

    @property
    def total(self) -> int:
        return sum(rejection.count for rejection in self)

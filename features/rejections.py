"""What was refused of the input: counted, sampled and explained, so that nothing passes silently and good rows are kept."""

from __future__ import annotations

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
        return f"{self.table}: {self.count:,} row(s) refused: {self.reason}. For example {'; '.join(self.samples)}"


@dataclass
class Sieve:
    """Takes rows out of a table reason by reason and remembers what it took."""

    table: str
    rejections: list[Rejection] = field(default_factory=list)

    def refuse(self, frame: pl.DataFrame, bad: pl.Expr, reason: str, show: Sequence[str | pl.Expr]) -> pl.DataFrame:
        """Return the rows that are not bad; the others are counted under `reason`, showing the columns `show`."""
        flag = frame.select(bad.fill_null(value=True).alias("bad"))["bad"]
        if flag.any():
            refused = frame.filter(flag)
            samples = tuple(str(row) for row in refused.select(show).head(SAMPLES).to_dicts())
            self.rejections.append(Rejection(self.table, reason, len(refused), samples))
            return frame.filter(~flag)
        return frame

    def __iter__(self) -> Iterator[Rejection]:
        return iter(self.rejections)

    @property
    def total(self) -> int:
        return sum(rejection.count for rejection in self.rejections)

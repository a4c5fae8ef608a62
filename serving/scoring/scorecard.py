"""The scorecard: a straight line in the logarithms of the columns, which the trees then correct.

Log-counts carry a lead that does more than anyone before it to a fitting score, where trees alone stop at the last
split. Only applies numbers; learning them is `training.fit`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from features.compiling import compiled
from features.windows import Floats

LARGEST: Final = float(np.finfo(np.float64).max)
WHOLE: Final = 256
"""Whole numbers below this have their logarithms in a table."""


@dataclass(frozen=True)
class Scorecard:
    """Points per standard deviation of each column's logarithm.

    Attributes
    ----------
    base : float
        Log-odds of a lead that is average in every column.
    points, center, scale, absent : float64 arrays of shape (n_columns,)
        `absent` stands in for NaN before the logarithm is taken.
    """

    base: float
    points: Floats
    center: Floats
    scale: Floats
    absent: Floats

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to the log-odds: float64 array of shape (n, n_columns).

        These are the exact Shapley values of a line, against the average lead that it was fitted on.
        """
        linear, _ = self._alone.lines(rows)
        found: Floats = linear[0]
        return found

    def margins(self, rows: Floats) -> Floats:
        """Return the log-odds of each row: float64 array of shape (n,)."""
        _, margins = self._alone.lines(rows)
        found: Floats = margins[0]
        return found

    @cached_property
    def _alone(self) -> Scorecards:
        return Scorecards((self,))


@dataclass(frozen=True)
class Scorecards:
    """Several scorecards of the same columns, as the compiled loops read them."""

    each: tuple[Scorecard, ...]

    def lines(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return what each column adds to each scorecard, (n_cards, n, n_columns), and the log-odds, (n_cards, n)."""
        rows = np.ascontiguousarray(rows, np.float64)
        linear, margins = np.empty((len(self.each), *rows.shape)), np.empty((len(self.each), len(rows)))
        _compiled("add_lines")(linear, margins, rows, self.numbers, self.bases, self.whole)
        return linear, margins

    @cached_property
    def numbers(self) -> Floats:
        """For each card the logarithm that stands in for NaN, then center, scale and points: (n_cards, 4, n_columns)."""
        each = [(_logs(one.absent), one.center, one.scale, one.points) for one in self.each]
        return np.array(each, np.float64).reshape(len(each), 4, -1)

    @cached_property
    def bases(self) -> Floats:
        return np.array([one.base for one in self.each], np.float64)

    @cached_property
    def whole(self) -> Floats:
        """The logarithms of the first whole numbers."""
        return _logs(np.arange(WHOLE, dtype=np.float64))


def _logs(values: Floats) -> Floats:
    logs = np.empty(len(values))
    _compiled("fill_logs")(logs, np.ascontiguousarray(values, np.float64))
    return logs


def _compiled(name: str) -> Callable[..., Any]:
    # Its import brings in the compiler.
    from serving.scoring import score_kernel

    return compiled(score_kernel, name)


def signed_log(rows: Floats, absent: Floats) -> Floats:
    """Return sign(x) log(1 + |x|) with NaN replaced column by column.

    >>> signed_log(np.array([[np.nan, 0.0]]), np.array([np.e - 1, 5.0])).tolist()
    [[1.0, 0.0]]
    """
    # Sums of what a request sends can run over; their logarithm is large, and infinity times a point of 0 would be NaN.
    filled = np.clip(np.where(np.isnan(rows), absent, rows), -LARGEST, LARGEST)
    logs: Floats = np.copysign(np.log1p(np.abs(filled)), filled)
    return logs

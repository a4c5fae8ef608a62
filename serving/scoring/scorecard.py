"""The scorecard: a straight line in the logarithms of the columns, which the trees then correct.

Log-counts carry a lead that does more than anyone before it to a fitting score, where trees alone stop at the last
split. Only applies numbers; learning them is `training.fit`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.windows import Floats

LARGEST: Final = float(np.finfo(np.float64).max)


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
        return (signed_log(rows, self.absent) - self.center) / self.scale * self.points

    def margins(self, rows: Floats) -> Floats:
        """Return the log-odds of each row: float64 array of shape (n,)."""
        # Row by row sums, not a matrix product: a lead's score must not depend on which leads stand beside it.
        margins: Floats = self.contributions(rows).sum(axis=1) + self.base
        return margins


def signed_log(rows: Floats, absent: Floats) -> Floats:
    """Return sign(x) log(1 + |x|) with NaN replaced column by column.

    >>> signed_log(np.array([[np.nan, 0.0]]), np.array([np.e - 1, 5.0])).tolist()
    [[1.0, 0.0]]
    """
    # Sums of what a request sends can run over; their logarithm is large, and infinity times a point of 0 would be NaN.
    filled = np.clip(np.where(np.isnan(rows), absent, rows), -LARGEST, LARGEST)
    logs: Floats = np.copysign(np.log1p(np.abs(filled)), filled)
    return logs

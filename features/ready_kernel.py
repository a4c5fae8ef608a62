"""The compiled loop behind `features.ready`: whether a row is one that the engine could have made. Imported on first use only."""

from __future__ import annotations

import math


def fits(row, low, high, flag, nullable):
    """Whether each value of `row` lies in its range, is 0 or 1 where it is a flag, or is NaN where that is allowed."""
    for place in range(len(row)):
        value = row[place]
        if math.isnan(value):
            if not nullable[place]:
                return False
        elif not low[place] <= value <= high[place] or (flag[place] and value not in (0.0, 1.0)):
            return False
    return True

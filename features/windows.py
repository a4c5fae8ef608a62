"""The one place where two times are compared: every measure over every window, for one lead or millions.

A window is the half-open span [as_of - length, as_of): an event at as_of is not yet known, one exactly `length` earlier counts.
Knows nothing of names, files or definitions; it works on sorted arrays of times and codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TRIAL = -1
"""The length that stands for the span since the trial began, which differs from snapshot to snapshot."""


class Op(IntEnum):
    """What a column holds, as the kernel knows it."""

    COUNT = 0
    ACTIVE_DAYS = 1
    DAYS_SINCE_FIRST = 2
    DAYS_SINCE_LAST = 3
    SUM = 4
    DISTINCT = 5
    TREND = 6
    REACHED = 7


@dataclass(frozen=True)
class EventLog:
    """Events of many leads, those of one lead side by side and in time order.

    Attributes
    ----------
    offsets : int64 array of shape (n_leads + 1,)
        Lead i owns the events offsets[i] to offsets[i + 1].
    times : int64 array of shape (n_events,), microseconds since 1970 UTC, ascending within a lead
    kinds : int64 array of shape (n_events,)
        Which set of series an event belongs to.
    numbers, codes : float64 / int64 arrays of shape (n_properties, n_events)
        Properties to sum (NaN where absent) and properties to tell apart (-1 where absent).
    """

    offsets: Ints
    times: Ints
    kinds: Ints
    numbers: Floats
    codes: Ints


@dataclass(frozen=True)
class Snapshots:
    """When each lead is looked at: arrays of shape (n,), times in microseconds since 1970 UTC."""

    lead: Ints
    as_of: Ints
    started_at: Ints

    def __len__(self) -> int:
        return len(self.lead)


@dataclass(frozen=True)
class Plan:
    """Which columns to fill, in arrays that a compiled loop can read.

    Attributes
    ----------
    lengths : int64 array of shape (n_spans,), microseconds or TRIAL; every span that a column needs
    series_start, series : kind k belongs to series[series_start[k] : series_start[k + 1]]
    sum_start, sum_rows : series s adds up the rows sum_rows[sum_start[s] : sum_start[s + 1]] of `numbers`
    distinct_start, distinct_rows : the same for the rows of `codes` whose values it tells apart
    ops : int64 array of shape (n_columns, 5): Op, row, span, wider span, threshold
        The row is a series, or for SUM and DISTINCT a position in `sum_rows` and `distinct_rows`.
        TREND compares the span with the wider one; days since first or last look into the longer of the two, which differ
        where one of them is TRIAL. The threshold is read by REACHED only.
    """

    lengths: Ints
    series_start: Ints
    series: Ints
    sum_start: Ints
    sum_rows: Ints
    distinct_start: Ints
    distinct_rows: Ints
    ops: Ints


def group(leads: Ints, times: Ints, kinds: Ints, numbers: Floats, codes: Ints, n_leads: int) -> EventLog:
    """Return the log of events given in any order; the result does not depend on that order.

    Leads are integers in [0, n_leads). Events at one instant are put in order of kind and numbers, so that sums add up
    in the same order whatever the file's order was.
    """
    offsets = np.zeros(n_leads + 1, np.int64)
    order = _compiled("order_by_lead")(leads, times, kinds, numbers, offsets)
    return EventLog(offsets, times[order], kinds[order], numbers[:, order], codes[:, order])


def measure(log: EventLog, snapshots: Snapshots, plan: Plan) -> Floats:
    """Return every column of the plan for every snapshot: float64 array of shape (n_snapshots, n_columns).

    Counts, sums and days are 0 where nothing happened; days since first or last are NaN ("never within the windows").
    Only events before each snapshot's as_of are read.
    """
    out = np.empty((len(snapshots), len(plan.ops)))
    n_codes = int(log.codes.max(initial=-1)) + 1
    _compiled("measure_all")(
        log.offsets, log.times, log.kinds, log.numbers, log.codes, n_codes,
        snapshots.lead, snapshots.as_of, snapshots.started_at,
        plan.lengths, plan.series_start, plan.series, len(plan.sum_start) - 1,
        plan.sum_start, plan.sum_rows, plan.distinct_start, plan.distinct_rows, plan.ops, out,
    )  # fmt: skip
    return out


@cache
def _compiled(name: str) -> Callable[..., Any]:
    # Compiled on first use and kept on disk beside its source, so that importing this module costs and touches nothing.
    from numba import njit

    from features import window_kernel

    compiled: Callable[..., Any] = njit(cache=True, nogil=True)(getattr(window_kernel, name))
    return compiled

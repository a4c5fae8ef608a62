"""The one place where two times are compared: every measure over every window, for one lead or millions.

A window is the half-open span [as_of - length, as_of): an event at as_of is not yet known, one exactly `length` earlier counts.
Knows nothing of names, files or definitions; it works on sorted arrays of times and codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiling import compiled
from features.durations import DAY

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Small = npt.NDArray[np.signedinteger[Any]]
"""Whole numbers of any width: there are many of them, and 32 bits are enough."""

TRIAL = -1
"""The length that stands for the span since the trial began, which differs from snapshot to snapshot."""

ALWAYS = int(np.iinfo(np.int64).min)
"""The time since when a value is known that nobody dated."""


class Op(IntEnum):
    """What a column holds, as the kernel knows it."""

    COUNT = 0
    ACTIVE_DAYS = 1
    SUM = 2
    DISTINCT = 3
    MEAN = 4
    SHARE = 5
    PER_ACTIVE_DAY = 6
    TREND = 7
    USER_GROWTH = 8
    REACHED = 9
    STREAK = 10
    DAYS_SINCE_FIRST = 11
    DAYS_SINCE_LAST = 12
    DAYS_TO_REACH = 13
    LEAD_SHARE = 14
    LEAD_RANK = 15


class Note(IntFlag):
    """What a series has to note of its events beside how often and when last; the less, the faster."""

    DAYS = 1
    FIRST = 2
    MORE = 4


@dataclass(frozen=True)
class Events:
    """Events in any order: arrays of shape (n,), or (n_properties, n) for the last two.

    Attributes
    ----------
    group : int64, the lead (or account) that an event belongs to, from 0
    times, known : int64, microseconds since 1970 UTC; when it happened, and when it arrived
    kinds : int64, which set of series an event belongs to
    keys : int64, what tells a repetition; two events of a group with one odd key are one message, two with one even key
        are one only where their times are equal too; None where each kind is its own even key
    numbers, codes : properties to sum (NaN where absent) and values to tell apart (-1 where absent)
    """

    group: Small
    times: Ints
    known: Ints
    kinds: Small
    keys: Ints | None
    numbers: Floats
    codes: Ints

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: npt.NDArray[Any]) -> Events:
        """Return some of them."""
        times = self.times[rows]
        known = times if self.known is self.times else self.known[rows]
        keys = None if self.keys is None else self.keys[rows]
        numbers, codes = self.numbers[:, rows], self.codes[:, rows]
        return Events(self.group[rows], times, known, self.kinds[rows], keys, numbers, codes)


@dataclass(frozen=True)
class EventLog:
    """Events of many leads, each counted once, those of one lead side by side and in time order.

    Attributes
    ----------
    offsets : int64 array of shape (n_leads + 1,)
        Lead i owns the events offsets[i] to offsets[i + 1].
    times, known : int64 arrays of shape (n_events,), microseconds since 1970 UTC; times ascend within a lead
    kinds : array of shape (n_events,)
        Which set of series an event belongs to.
    numbers, codes : float64 / int64 arrays of shape (n_properties, n_events)
        Properties to sum (NaN where absent) and values to tell apart, small numbers from 0 on (-1 where absent).
    repeated : how many events were left out because they had been there before
    """

    offsets: Ints
    times: Ints
    known: Ints
    kinds: Small
    numbers: Floats
    codes: Ints
    repeated: int = 0


@dataclass(frozen=True)
class Snapshots:
    """When each lead is looked at: arrays of shape (n,), times in microseconds since 1970 UTC.

    `user` is the code that the lead's own events carry in an account's log, -1 where it has none there.
    """

    lead: Ints
    as_of: Ints
    started_at: Ints
    user: Ints

    def __len__(self) -> int:
        return len(self.lead)


@dataclass(frozen=True)
class Plan:
    """Which columns to fill, in arrays that a compiled loop can read.

    Attributes
    ----------
    lengths : int64 array of shape (n_spans,), microseconds or TRIAL; every span that a column needs
    series_start, series : kind k belongs to series[series_start[k] : series_start[k + 1]]
    notes : what each series has to note beside how often and when last: bits of `Note`; array of shape (n_series,)
    sum_start, sum_rows : series s adds up the rows sum_rows[sum_start[s] : sum_start[s + 1]] of `numbers`
    distinct_start, distinct_rows : the same for the rows of `codes` whose values it tells apart
    distinct_inner : the span that such a row looks beyond, -1 for all of it; array of shape (n_distinct,)
    reach : the highest number of events whose day series s must remember, 0 for none; array of shape (n_series,)
    per_user : the place of series s among those counted user by user, -1 for none; array of shape (n_series,)
    user_row : the row of `codes` that holds who did it, -1 where nothing asks
    ops : int64 array of shape (n_columns, 6): Op, row, second row, span, wider span, threshold
        Rows of the tally: the series' counts, then their active days, the sums, how many values each sum has, the
        distinct values, and one for all events together. Days since first or last look into the longer of the two
        spans, which differ where one of them is TRIAL.
    """

    lengths: Ints
    series_start: Ints
    series: Ints
    notes: Ints
    sum_start: Ints
    sum_rows: Ints
    distinct_start: Ints
    distinct_rows: Ints
    distinct_inner: Ints
    reach: Ints
    per_user: Ints
    user_row: int
    ops: Ints

    @property
    def n_series(self) -> int:
        return len(self.reach)


def group(events: Events, n_groups: int, *, by_arrival: bool = True) -> EventLog:
    """Return the log of events given in any order; the result does not depend on that order.

    Events at one instant are put in order of kind, numbers and codes, so that sums add up in the same order whatever
    the file's order was. An event that is there more than once counts once: the one that arrived first and of those the earliest,
    or without `by_arrival` the earliest and of those the one that arrived first.
    """
    offsets = np.zeros(n_groups + 1, np.int64)
    keys = np.empty(0, np.int64) if events.keys is None else events.keys
    order = _compiled("order_by_group")(
        events.group, events.times, events.known, events.kinds, keys, events.numbers, events.codes, offsets, by_arrival
    )
    times = events.times[order]
    known = times if events.known is events.times else events.known[order]
    repeated = len(events) - len(order)
    return EventLog(
        offsets, times, known, events.kinds[order], events.numbers[:, order], events.codes[:, order], repeated
    )


def order_by_part(parts: npt.NDArray[np.int32], offsets: Ints) -> npt.NDArray[np.int32]:
    """Return the order that puts rows by part and else leaves them as they are; fills `offsets`, shape (n_parts + 1,)."""
    order: npt.NDArray[np.int32] = _compiled("counting_order")(parts, offsets)
    return order


def measure(log: EventLog, snapshots: Snapshots, plan: Plan) -> Floats:
    """Return every column of the plan for every snapshot: float64 array of shape (n_snapshots, n_columns).

    Only events before each snapshot's as_of that had arrived by then are read.
    """
    out = np.empty((len(snapshots), len(plan.ops)))
    measure_into(out, np.arange(len(snapshots)), np.arange(len(plan.ops)), log, snapshots, plan)
    return out


def measure_into(out: Floats, rows: Ints, places: Ints, log: EventLog, snapshots: Snapshots, plan: Plan) -> None:
    """Write every column of the plan for every snapshot into `out`, at these rows and column places."""
    if not len(plan.ops):
        return
    n_users = int(log.codes[plan.user_row].max(initial=-1)) + 1 if plan.user_row >= 0 else 0
    most = int(np.diff(log.offsets).max(initial=0)) if plan.user_row >= 0 else 0
    _compiled("measure_all")(
        log.offsets, log.times, log.known, log.kinds, log.numbers, log.codes, int(log.codes.max(initial=-1)) + 1,
        snapshots.lead, snapshots.as_of, snapshots.started_at, snapshots.user, rows,
        plan.lengths, plan.series_start, plan.series, plan.notes, plan.sum_start, plan.sum_rows,
        plan.distinct_start, plan.distinct_rows, plan.distinct_inner, plan.reach, plan.per_user, plan.user_row,
        n_users, min(n_users, most), plan.ops, places, out,
    )  # fmt: skip


def newest_before(offsets: Ints, since: Ints, which: Ints, as_of: Ints) -> Ints:
    """Return, for each (lead, moment), the place of the lead's newest entry before that moment, -1 where there is none.

    Lead i owns the entries offsets[i] to offsets[i + 1], and their times `since` ascend. All arrays are int64, the result
    has the shape of `which`.
    """
    found = np.empty(len(which), np.int64)
    _compiled("newest_entries")(offsets, since, which, as_of, found)
    return found


def days_of(times: Ints) -> list[tuple[int, int, int]]:
    """Return (day since 1970 UTC, events on it, the last of them) for every day on which something happened."""
    if not len(times):
        return []
    first, last = int(times.min()) // DAY, int(times.max()) // DAY
    counts, latest = np.zeros(last - first + 1, np.int64), np.zeros(last - first + 1, np.int64)
    _compiled("tally_days")(times, first, counts, latest)
    return [(first + int(day), int(counts[day]), int(latest[day])) for day in np.flatnonzero(counts)]


def _compiled(name: str) -> Callable[..., Any]:
    # Its import brings in the compiler.
    from features import window_kernel

    return compiled(window_kernel, name)

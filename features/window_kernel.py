"""The compiled loop behind `features.windows`: one walk over a lead's events, newest first, per snapshot.

Walking backwards, an event's age only grows, so the narrowest span that holds it is found by moving one pointer; a tally kept
per span and added up once gives every window. Imported on first use only, because it brings in the compiler.
"""

from __future__ import annotations

import numpy as np
from numba import njit

DAY = 86_400_000_000
COUNT, ACTIVE_DAYS, DAYS_SINCE_FIRST, DAYS_SINCE_LAST, SUM, DISTINCT, TREND, REACHED = range(8)


@njit
def order_spans(lengths, age, spans, order, place):
    """Resolve each span's length for a trial of this age and sort them, narrowest first."""
    for b in range(len(lengths)):
        spans[b] = age if lengths[b] < 0 else lengths[b]
        k = b
        while k > 0 and spans[order[k - 1]] > spans[b]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = b
    for k in range(len(lengths)):
        place[order[k]] = k


@njit
def tally_series(s, b, age, counts, days, last_day, first_age, last_age):
    """Count one event for one series in span b and all wider ones."""
    counts[s, b] += 1.0
    if last_age[s] < 0:
        last_age[s] = age
    first_age[s, b] = age
    # The newest event of a day is met first, so its span is the narrowest in which that day counts as active.
    day = (age - 1) // DAY
    if last_day[s] != day:
        last_day[s] = day
        days[s, b] += 1.0


@njit
def widen(tally):
    """Make each span hold what the narrower ones hold as well."""
    for row in range(tally.shape[0]):
        for b in range(1, tally.shape[1]):
            tally[row, b] += tally[row, b - 1]


@njit
def oldest(ages, b):
    """Return the age of the oldest event in span b, -1 where it holds none."""
    while b >= 0 and ages[b] < 0:
        b -= 1
    return ages[b] if b >= 0 else -1


@njit
def days_since(age):
    return np.nan if age < 0 else age / DAY


@njit
def trend(recent, both):
    """Return how the recent span compares with the one before it, in [-1, 1]; 0 where both are empty."""
    return 0.0 if both == 0.0 else (2.0 * recent - both) / both


@njit
def column(op, row, b, wide, argument, counts, days, first_age, last_age, totals, distinct):
    if op == COUNT:
        return counts[row, b]
    if op == ACTIVE_DAYS:
        return days[row, b]
    if op == DAYS_SINCE_FIRST:
        return days_since(oldest(first_age[row], max(b, wide)))
    if op == DAYS_SINCE_LAST:
        return days_since(last_age[row] if counts[row, max(b, wide)] > 0.0 else -1)
    if op == SUM:
        return totals[row, b]
    if op == DISTINCT:
        return distinct[row, b]
    if op == TREND:
        return trend(counts[row, b], counts[row, wide])
    return 1.0 if counts[row, b] >= argument else 0.0


def measure_all(
    offsets, times, kinds, numbers, codes, n_codes, leads, as_ofs, starts, lengths, series_start, series, n_series,
    sum_start, sum_rows, distinct_start, distinct_rows, ops, out,
):  # fmt: skip
    """Fill `out` (n_snapshots, n_columns); see `features.windows.Plan` for the arrays."""
    n_spans = len(lengths)
    counts, days = np.empty((n_series, n_spans)), np.empty((n_series, n_spans))
    totals, distinct = np.empty((len(sum_rows), n_spans)), np.empty((len(distinct_rows), n_spans))
    first_age = np.empty((n_series, n_spans), np.int64)
    last_age, last_day = np.empty(n_series, np.int64), np.empty(n_series, np.int64)
    seen = np.full((len(distinct_rows), n_codes), -1)
    spans, order, place = np.empty(n_spans, np.int64), np.empty(n_spans, np.int64), np.empty(n_spans, np.int64)
    for i in range(len(leads)):
        order_spans(lengths, as_ofs[i] - starts[i], spans, order, place)
        counts[:], days[:], totals[:], distinct[:] = 0.0, 0.0, 0.0, 0.0
        first_age[:], last_age[:], last_day[:] = -1, -1, -1
        low = offsets[leads[i]]
        end = low + np.searchsorted(times[low : offsets[leads[i] + 1]], as_ofs[i])
        b = 0
        for e in range(end - 1, low - 1, -1):
            age = as_ofs[i] - times[e]
            while b < n_spans and age > spans[order[b]]:
                b += 1
            if b == n_spans:
                break
            for k in range(series_start[kinds[e]], series_start[kinds[e] + 1]):
                s = series[k]
                tally_series(s, b, age, counts, days, last_day, first_age, last_age)
                for u in range(sum_start[s], sum_start[s + 1]):
                    value = numbers[sum_rows[u], e]
                    if not np.isnan(value):
                        totals[u, b] += value
                for d in range(distinct_start[s], distinct_start[s + 1]):
                    code = codes[distinct_rows[d], e]
                    if code >= 0 and seen[d, code] != i:
                        seen[d, code] = i
                        distinct[d, b] += 1.0
        widen(counts)
        widen(days)
        widen(totals)
        widen(distinct)
        for c in range(ops.shape[0]):
            out[i, c] = column(
                ops[c, 0], ops[c, 1], place[ops[c, 2]], place[ops[c, 3]], ops[c, 4],
                counts, days, first_age, last_age, totals, distinct,
            )  # fmt: skip

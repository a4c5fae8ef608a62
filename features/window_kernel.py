"""The compiled loops behind `features.windows`: sorting events by lead, and one walk over them per snapshot.

Walking backwards from as_of, an event's age only grows, so the narrowest span that holds it is found by moving one pointer; a
tally kept per span and added up once gives every window. Imported on first use only, because it brings in the compiler.
"""

from __future__ import annotations

import numpy as np
from numba import njit

DAY = 86_400_000_000
COUNT, ACTIVE_DAYS, DAYS_SINCE_FIRST, DAYS_SINCE_LAST, SUM, DISTINCT, TREND, REACHED = range(8)


def order_by_lead(leads, times, kinds, numbers, offsets):
    """Return the order that puts events by lead, time, kind and numbers, and fill `offsets` (n_leads + 1).

    A stable counting sort by lead comes first; events mostly arrive in time order, so few leads need sorting after it.
    """
    order = np.empty(len(leads), np.int64)
    for e in range(len(leads)):
        offsets[leads[e] + 1] += 1
    for lead in range(1, len(offsets)):
        offsets[lead] += offsets[lead - 1]
    free = offsets[:-1].copy()
    for e in range(len(leads)):
        order[free[leads[e]]] = e
        free[leads[e]] += 1
    for lead in range(len(offsets) - 1):
        settle(order[offsets[lead] : offsets[lead + 1]], times, kinds, numbers)
    return order


@njit
def settle(part, times, kinds, numbers):
    """Sort one lead's events in place, at a cost that is small when they are nearly sorted."""
    unsorted = False
    for k in range(1, len(part)):
        if comes_before(part[k], part[k - 1], times, kinds, numbers):
            unsorted = True
            break
    if not unsorted:
        return
    moved = part[np.argsort(times[part], kind="mergesort")]
    part[:] = moved
    low = 0
    for high in range(1, len(part) + 1):
        if high == len(part) or times[part[high]] != times[part[low]]:
            settle_ties(part[low:high], kinds, numbers)
            low = high


@njit
def settle_ties(part, kinds, numbers):
    """Sort events of one instant by kind and numbers, by stable sorts from the last key to the first."""
    if len(part) < 2:
        return
    for row in range(len(numbers) - 1, -1, -1):
        part[:] = part[np.argsort(numbers[row][part], kind="mergesort")]
    part[:] = part[np.argsort(kinds[part], kind="mergesort")]


@njit
def comes_before(one, other, times, kinds, numbers):
    if times[one] != times[other]:
        return times[one] < times[other]
    if kinds[one] != kinds[other]:
        return kinds[one] < kinds[other]
    for row in range(len(numbers)):
        a, b = numbers[row, one], numbers[row, other]
        # NaN sorts last, as NumPy has it.
        if a != b and not (np.isnan(a) and np.isnan(b)):
            return np.isnan(b) or a < b
    return False


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
def tally_rows(ops, n_series, n_sums):
    """Return where each column's tally lies: counts first, then active days, sums and distinct values."""
    rows = np.empty(len(ops), np.int64)
    for c in range(len(ops)):
        op = ops[c, 0]
        shift = n_series if op == ACTIVE_DAYS else 2 * n_series if op == SUM else 2 * n_series + n_sums
        rows[c] = ops[c, 1] + (shift if op in (ACTIVE_DAYS, SUM, DISTINCT) else 0)
    return rows


def measure_all(
    offsets, times, kinds, numbers, codes, n_codes, leads, as_ofs, starts, lengths, series_start, series, n_series,
    sum_start, sum_rows, distinct_start, distinct_rows, ops, out,
):  # fmt: skip
    """Fill `out` (n_snapshots, n_columns); see `features.windows.Plan` for the arrays."""
    n_spans, n_sums, n_distinct = len(lengths), len(sum_rows), len(distinct_rows)
    tally = np.zeros((2 * n_series + n_sums + n_distinct, n_spans))
    rows = tally_rows(ops, n_series, n_sums)
    first_age = np.empty((n_series, n_spans), np.int64)
    last_age, last_day = np.empty(n_series, np.int64), np.empty(n_series, np.int64)
    seen = np.full((n_distinct, n_codes), -1)
    spans, order, place = np.empty(n_spans, np.int64), np.empty(n_spans, np.int64), np.empty(n_spans, np.int64)
    for i in range(len(leads)):
        order_spans(lengths, as_ofs[i] - starts[i], spans, order, place)
        tally[:] = 0.0
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
            # The newest event of a day is met first, so its span is the narrowest in which that day counts as active.
            day = (age - 1) // DAY
            for k in range(series_start[kinds[e]], series_start[kinds[e] + 1]):
                s = series[k]
                tally[s, b] += 1.0
                if last_age[s] < 0:
                    last_age[s] = age
                first_age[s, b] = age
                if last_day[s] != day:
                    last_day[s] = day
                    tally[n_series + s, b] += 1.0
                for u in range(sum_start[s], sum_start[s + 1]):
                    value = numbers[sum_rows[u], e]
                    if not np.isnan(value):
                        tally[2 * n_series + u, b] += value
                for d in range(distinct_start[s], distinct_start[s + 1]):
                    code = codes[distinct_rows[d], e]
                    if code >= 0 and seen[d, code] != i:
                        seen[d, code] = i
                        tally[2 * n_series + n_sums + d, b] += 1.0
        widen(tally)
        for c in range(len(ops)):
            op, s, b = ops[c, 0], ops[c, 1], place[ops[c, 2]]
            value = tally[rows[c], b]
            if op == DAYS_SINCE_FIRST:
                value = days_since(oldest(first_age[s], max(b, place[ops[c, 3]])))
            elif op == DAYS_SINCE_LAST:
                value = days_since(last_age[s] if tally[s, max(b, place[ops[c, 3]])] > 0.0 else -1)
            elif op == TREND:
                value = trend(value, tally[rows[c], place[ops[c, 3]]])
            elif op == REACHED:
                value = 1.0 if value >= ops[c, 4] else 0.0
            out[i, c] = value

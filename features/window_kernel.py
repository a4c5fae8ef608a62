"""The compiled loops behind `features.windows`: sorting events by lead, and one walk over them per snapshot.

Walking backwards from as_of, an event's age only grows, so the narrowest span that holds it is found by moving one pointer; a
tally kept per span and added up once gives every window. Imported on first use only, because it brings in the compiler.
"""

from __future__ import annotations

import numpy as np
from numba import njit

DAY = 86_400_000_000
# The numbers of `features.windows.Op`, which a compiled loop cannot read.
COUNT, ACTIVE_DAYS, SUM, DISTINCT, MEAN, SHARE, PER_ACTIVE_DAY, TREND, USER_GROWTH = 0, 1, 2, 3, 4, 5, 6, 7, 8
REACHED, STREAK, DAYS_SINCE_FIRST, DAYS_SINCE_LAST, DAYS_TO_REACH, LEAD_SHARE, LEAD_RANK = 9, 10, 11, 12, 13, 14, 15
# Beyond this many moves per event, a merge sort is cheaper than putting late events into their places one by one.
FEW_MOVES = 8


def tally_days(times, first, counts, latest):
    """Count events by day since `first`, and note the last of each day."""
    for time in times:
        day = time // DAY - first
        counts[day] += 1
        latest[day] = max(latest[day], time)


@njit
def counting_order(parts, offsets):
    """Return the stable order of rows by part, and fill `offsets` (n_parts + 1)."""
    for part in parts:
        offsets[part + 1] += 1
    for part in range(1, len(offsets)):
        offsets[part] += offsets[part - 1]
    free = offsets[:-1].copy()
    order = np.empty(len(parts), np.int32)
    for row in range(len(parts)):
        order[free[parts[row]]] = row
        free[parts[row]] += 1
    return order


def order_by_group(groups, times, known, kinds, keys, numbers, codes, offsets, by_arrival):
    """Return the order that puts events by group, time, kind and properties, each once, and fill `offsets` (n_groups + 1).

    A stable counting sort by group comes first; events mostly arrive in time order, so few have to be moved after it.
    """
    order = counting_order(groups, offsets)
    sorted_times = times[order]
    size, most = 4, 0
    for g in range(len(offsets) - 1):
        most = max(most, offsets[g + 1] - offsets[g])
    while size < 2 * most:
        size *= 2
    slots, stamps = np.empty(size, np.int32), np.full(size, -1, np.int32)
    kept = 0
    for g in range(len(offsets) - 1):
        low, high = offsets[g], offsets[g + 1]
        part, at = order[low:high], sorted_times[low:high]
        if settle(part, at, known, kinds, numbers, codes) or len(keys) > 0:
            forget_repeated(part, at, known, kinds, keys, slots, stamps, g, by_arrival)
        # Groups only move to the left, so nothing that is still to be read is written over.
        offsets[g] = kept
        for k in range(len(part)):
            if part[k] >= 0:
                order[kept] = part[k]
                kept += 1
    offsets[len(offsets) - 1] = kept
    return order[:kept].copy()


@njit
def settle(part, at, known, kinds, numbers, codes):
    """Sort one group's events in place, with their times `at`; return whether any two happened at one instant."""
    sort_by_time(part, at)
    tied, low = False, 0
    for high in range(1, len(part) + 1):
        if high == len(part) or at[high] != at[low]:
            if high - low > 1:
                tied = True
                settle_ties(part[low:high], known, kinds, numbers, codes)
            low = high
    return tied


@njit
def sort_by_time(part, at):
    """Sort one group's events by time, in place and stable, at a cost that is small when they are nearly sorted."""
    moves = 0
    for k in range(1, len(part)):
        event, time, free = part[k], at[k], k
        while free > 0 and at[free - 1] > time:
            part[free], at[free] = part[free - 1], at[free - 1]
            free -= 1
        part[free], at[free] = event, time
        moves += k - free
        if moves > FEW_MOVES * len(part):
            order = np.argsort(at, kind="mergesort")
            part[:] = part[order]
            at[:] = at[order]
            return


@njit
def settle_ties(part, known, kinds, numbers, codes):
    """Sort events of one instant by kind, properties and arrival, by stable sorts from the last key to the first."""
    part[:] = part[np.argsort(known[part], kind="mergesort")]
    for row in range(len(codes) - 1, -1, -1):
        part[:] = part[np.argsort(codes[row][part], kind="mergesort")]
    for row in range(len(numbers) - 1, -1, -1):
        part[:] = part[np.argsort(numbers[row][part], kind="mergesort")]
    part[:] = part[np.argsort(kinds[part], kind="mergesort")]


@njit
def forget_repeated(part, at, known, kinds, keys, slots, stamps, stamp, by_arrival):
    """Put -1 in the place of every event that repeats another, keeping the first to arrive, or else the earliest.

    The events seen so far lie in a hash table of open addresses (`slots`, valid where `stamps` holds `stamp`).
    """
    mask = len(slots) - 1
    for k in range(len(part)):
        key = key_of(part[k], kinds, keys)
        h = slot_of(key, at[k], mask)
        while stamps[h] == stamp:
            other = slots[h]
            if key_of(part[other], kinds, keys) == key and (key & 1 == 1 or at[other] == at[k]):
                break
            h = (h + 1) & mask
        if stamps[h] != stamp:
            stamps[h], slots[h] = stamp, k
        elif (by_arrival or at[k] == at[slots[h]]) and known[part[k]] < known[part[slots[h]]]:
            part[slots[h]] = -1
            slots[h] = k
        else:
            part[k] = -1


@njit
def key_of(event, kinds, keys):
    return keys[event] if len(keys) > 0 else np.int64(kinds[event]) << 1


@njit
def slot_of(key, time, mask):
    # Fibonacci hashing: the high bits of the product depend on all bits of the key.
    mixed = (key if key & 1 == 1 else key ^ time) * np.int64(-7046029254386353131)
    return (mixed ^ (mixed >> 32)) & mask


@njit
def greatest(values, least):
    for value in values:
        least = max(least, value)
    return least


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
def widen(tally, longest):
    """Make each span hold what the narrower ones hold as well: their sum, and the longest of their runs."""
    for b in range(1, tally.shape[1]):
        for row in range(tally.shape[0]):
            tally[row, b] += tally[row, b - 1]
        for row in range(longest.shape[0]):
            longest[row, b] = max(longest[row, b], longest[row, b - 1])


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
def change(recent, before):
    """Return how the recent span compares with the one before it, in [-1, 1]; 0 where both are empty."""
    return 0.0 if recent + before == 0.0 else (recent - before) / (recent + before)


@njit
def share(part, whole, nothing):
    return nothing if whole == 0.0 else part / whole


@njit
def did(counts, b):
    """Return how often one user did it within span b."""
    total = 0.0
    for k in range(b + 1):
        total += counts[k]
    return total


@njit
def rank(counts, me, n_users, b):
    """Return the place of user `me` by count, 1 for the highest, ties sharing the better place; NaN where it did nothing."""
    mine = did(counts[me], b) if me >= 0 else 0.0
    if mine == 0.0:
        return np.nan
    place = 1.0
    for user in range(n_users):
        if did(counts[user], b) > mine:
            place += 1.0
    return place


def newest_entries(offsets, since, which, as_of, found):
    """Fill `found` with the place of each lead's newest entry before each moment; see `features.windows.newest_before`."""
    for i in range(len(which)):
        low = offsets[which[i]]
        end = low + np.searchsorted(since[low : offsets[which[i] + 1]], as_of[i])
        found[i] = end - 1 if end > low else -1


# Bits that say what a series has to note beside how often and when last.
DAYS, FIRST, MORE = 1, 2, 4


def measure_all(
    offsets, times, known, kinds, numbers, codes, n_codes, leads, as_ofs, starts, users, rows, lengths, series_start,
    series, notes, sum_start, sum_rows, distinct_start, distinct_rows, distinct_inner, reach, per_user, user_row, n_users,
    most_users, ops, places, out,
):  # fmt: skip
    """Fill out[rows, places]; see `features.windows` for the arrays: EventLog, Snapshots and Plan, in this order."""
    n_spans, n_series, n_sums, n_distinct = len(lengths), len(reach), len(sum_rows), len(distinct_rows)
    at_days, at_sums, at_present = n_series, 2 * n_series, 2 * n_series + n_sums
    at_distinct, at_all = at_present + n_sums, at_present + n_sums + n_distinct
    counts, longest = np.zeros((at_all + 1, n_spans)), np.zeros((n_series, n_spans))
    first_age = np.full((n_series, n_spans), -1)
    last_age, last_day = np.empty(n_series, np.int64), np.empty(n_series, np.int64)
    run, in_trial = np.empty(n_series), np.empty(n_series, np.int64)
    memory, n_counted = greatest(reach, 1), greatest(per_user, -1) + 1
    remembered, seen = np.empty((n_series, memory), np.int64), np.full((n_distinct, n_codes), -1)
    by_user = np.zeros((n_counted, most_users, n_spans))
    place_of, met = np.empty(n_users, np.int64), np.full(n_users, -1)
    spans, order, place = np.empty(n_spans, np.int64), np.empty(n_spans, np.int64), np.empty(n_spans, np.int64)
    for i in range(len(leads)):
        as_of, trial_age = as_ofs[i], as_ofs[i] - starts[i]
        order_spans(lengths, trial_age, spans, order, place)
        counts[:], longest[:], first_age[:] = 0.0, 0.0, -1
        last_age[:], last_day[:], in_trial[:] = -1, -2, 0
        n_met, b = 0, 0
        low = offsets[leads[i]]
        end = low + np.searchsorted(times[low : offsets[leads[i] + 1]], as_of)
        for e in range(end - 1, low - 1, -1):
            age = as_of - times[e]
            while b < n_spans and age > spans[order[b]]:
                b += 1
            if b == n_spans:
                break
            begin, after = series_start[kinds[e]], series_start[kinds[e] + 1]
            if begin == after or known[e] >= as_of:
                continue
            counts[at_all, b] += 1.0
            for k in range(begin, after):
                s = series[k]
                counts[s, b] += 1.0
                if last_age[s] < 0:
                    last_age[s] = age
                if notes[s] == 0:
                    continue
                if notes[s] & FIRST:
                    first_age[s, b] = age
                if notes[s] & DAYS:
                    # The newest event of a day is met first, so its span is the narrowest in which the day is active.
                    day = (age - 1) // DAY
                    if last_day[s] != day:
                        run[s] = run[s] + 1.0 if last_day[s] == day - 1 else 1.0
                        last_day[s] = day
                        counts[at_days + s, b] += 1.0
                        longest[s, b] = max(longest[s, b], run[s])
                if notes[s] & MORE == 0:
                    continue
                if reach[s] > 0 and age <= trial_age:
                    remembered[s, in_trial[s] % memory] = age
                    in_trial[s] += 1
                for u in range(sum_start[s], sum_start[s + 1]):
                    value = numbers[sum_rows[u], e]
                    if not np.isnan(value):
                        counts[at_sums + u, b] += value
                        counts[at_present + u, b] += 1.0
                for d in range(distinct_start[s], distinct_start[s + 1]):
                    code, inner = codes[distinct_rows[d], e], distinct_inner[d]
                    if code >= 0 and (inner < 0 or b > place[inner]) and seen[d, code] != i:
                        seen[d, code] = i
                        counts[at_distinct + d, b] += 1.0
                if per_user[s] >= 0:
                    user = codes[user_row, e]
                    if met[user] != i:
                        met[user], place_of[user] = i, n_met
                        by_user[:, n_met] = 0.0
                        n_met += 1
                    by_user[per_user[s], place_of[user], b] += 1.0
        widen(counts, longest)
        mine = place_of[users[i]] if 0 <= users[i] < n_users and met[users[i]] == i else -1
        write_row(
            out, rows[i], places, ops, place, counts, longest, first_age, last_age, remembered, in_trial, per_user, by_user,
            mine, n_met, trial_age,
        )  # fmt: skip


@njit
def write_row(
    out, i, places, ops, place, counts, longest, first_age, last_age, remembered, in_trial, per_user, by_user, mine,
    n_met, trial_age,
):  # fmt: skip
    """Write one snapshot's columns from what was noted; `mine` is the lead's place among the users met, -1 for none."""
    for c in range(len(ops)):
        op, row, other, b, wide = ops[c, 0], ops[c, 1], ops[c, 2], place[ops[c, 3]], place[ops[c, 4]]
        if op <= DISTINCT:
            value = counts[row, b]
        elif op == DAYS_SINCE_LAST:
            value = days_since(last_age[row] if counts[row, max(b, wide)] > 0.0 else -1)
        elif op <= PER_ACTIVE_DAY:
            value = share(counts[row, b], counts[other, b], np.nan if op == MEAN else 0.0)
        elif op == TREND:
            value = change(counts[row, b], counts[row, wide] - counts[row, b])
        elif op == USER_GROWTH:
            value = change(counts[row, b], counts[other, wide])
        elif op == REACHED:
            value = 1.0 if counts[row, b] >= ops[c, 5] else 0.0
        elif op == STREAK:
            value = longest[row, b]
        elif op == DAYS_SINCE_FIRST:
            value = days_since(oldest(first_age[row], max(b, wide)))
        elif op == DAYS_TO_REACH:
            value = days_to_reach(remembered[row], in_trial[row], ops[c, 5], trial_age)
        elif op == LEAD_SHARE:
            value = share(did(by_user[per_user[row], mine], b) if mine >= 0 else 0.0, counts[row, b], 0.0)
        else:
            value = rank(by_user[per_user[row]], mine, n_met, b)
        out[i, places[c]] = value


@njit
def days_to_reach(remembered, done, n, trial_age):
    """Return when in its trial a lead did it for the n-th time, in days; NaN where it has not yet."""
    return np.nan if done < n else (trial_age - remembered[(done - n) % len(remembered)]) / DAY

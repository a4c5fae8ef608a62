"""The compiled loops behind `serving.scoring.tree_contributions`.

Rows go through a tree together, a block at a time and turned on their side: one split asks all of them in one sweep that the
compiler makes vectors of, and a table stays near while they look into it. Imported on first use only, because it brings in
the compiler.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# How many rows go together, and from how many on it is worth it.
BLOCK, MANY = 64, 8
# The numbers of `serving.scoring.tree_text`, here for the compiler to put in.
NAN_FLIPS, ZERO_FLIPS, ZERO = 1, 2, float(np.float32(1e-35))


@njit
def turn(rows, first, n, values):
    """Copy `n` rows into `values` (n_columns, n), with what LightGBM takes for zero as zero."""
    for row in range(n):
        for column in range(rows.shape[1]):
            value = rows[first + row, column]
            values[column, row] = 0.0 if -ZERO <= value <= ZERO else value


@njit
def ask(values, n, column, threshold, flips, left):
    """Note which of `n` rows go left at a split: 1 or 0 for each."""
    for row in range(n):
        left[row] = 1 if values[column, row] <= threshold else 0
    if flips & NAN_FLIPS:
        for row in range(n):
            left[row] |= 1 if np.isnan(values[column, row]) else 0
    if flips & ZERO_FLIPS:
        for row in range(n):
            left[row] ^= 1 if values[column, row] == 0.0 else 0


@njit
def goes_left(row, column, threshold, flips):
    """Whether a single row goes left at a split: what `ask` notes of many."""
    value = row[column]
    if -ZERO <= value <= ZERO:
        value = 0.0
    left = value <= threshold
    if flips:
        left |= (flips & NAN_FLIPS) != 0 and np.isnan(value)
        left ^= (flips & ZERO_FLIPS) != 0 and value == 0.0
    return left


@njit
def share_out(holds, n, shares, low, size, points, weights, factors, products, into):
    """Write what each feature of a leaf's path is given of one unit of the leaf's value, for each of `n` rows.

    The product without a feature is made of those before and after it: no division, so a share of zero needs no care.
    """
    for i in range(size):
        for row in range(n):
            into[i, row] = 0.0
    half = (size + 1) // 2
    for k in range(half * (half - 1) // 2, half * (half + 1) // 2):
        point, weight = points[k], weights[k]
        for row in range(n):
            products[0, row] = weight
        for i in range(size):
            share = shares[low + i]
            for row in range(n):
                factor = share + point * (holds[i, row] - share)
                factors[i, row] = factor
                products[i + 1, row] = products[i, row] * factor
        for row in range(n):
            products[size, row] = 1.0
        for i in range(size - 1, -1, -1):
            for row in range(n):
                after = products[size, row]
                into[i, row] += products[i, row] * after
                products[size, row] = after * factors[i, row]
    for i in range(size):
        share = shares[low + i]
        for row in range(n):
            into[i, row] *= holds[i, row] - share


@njit
def widest_of(leaves, low, high):
    """Return how many features the longest path has."""
    widest = 0
    for leaf in range(len(leaves)):
        widest = max(widest, leaves[leaf, high] - leaves[leaf, low])
    return widest


def fill_tables(cells, leaves, values, tests, shares, points, weights):
    """Add every leaf of a group to the group's table, for each answer that a row can give.

    A leaf's value is shared out once for each way in which its features can hold, and then found by it.
    """
    widest = widest_of(leaves, 3, 4)
    patterns = 1 << widest
    holds, into = np.empty((widest, patterns)), np.empty((widest, patterns))
    for i in range(widest):
        for pattern in range(patterns):
            holds[i, pattern] = (pattern >> i) & 1
    factors, products = np.empty((widest, patterns)), np.empty((widest + 1, patterns))
    for leaf in range(len(leaves)):
        table, answers, width, low = leaves[leaf, 0], leaves[leaf, 1], leaves[leaf, 2], leaves[leaf, 3]
        size = leaves[leaf, 4] - low
        share_out(holds, 1 << size, shares, low, size, points, weights, factors, products, into)
        for answer in range(answers):
            pattern = 0
            for i in range(size):
                if (answer & tests[low + i, 0]) == tests[low + i, 1]:
                    pattern |= 1 << i
            for i in range(size):
                cells[table + answer * width + tests[low + i, 2]] += values[leaf] * into[i, pattern]


@njit
def add_to_one(out, row, column, threshold, flips, starts, forks, groups, asked, columns, cells, patterns):
    """Add to `out` (n_columns + 1,) what the tables say of a single row."""
    for tree in range(len(starts) - 1):
        for at in range(starts[tree, 0], starts[tree + 1, 0]):
            split, before, fresh, bit = forks[at, 0], forks[at, 1], forks[at, 2], forks[at, 3]
            holds, fails = patterns[before, 0] | fresh, patterns[before, 0] & ~bit
            left = goes_left(row, column[split], threshold[split], flips[split])
            patterns[forks[at, 4], 0] = holds if left else fails
            patterns[forks[at, 5], 0] = fails if left else holds
        for at in range(starts[tree, 1], starts[tree + 1, 1]):
            answer, bit = patterns[groups[at, 0], 0], groups[at, 1]
            for place in range(groups[at, 2], groups[at, 3]):
                split = asked[place]
                answer |= np.int64(goes_left(row, column[split], threshold[split], flips[split])) << bit
                bit += 1
            low, high = groups[at, 5], groups[at, 6]
            cell = groups[at, 4] + answer * (high - low) - low
            for i in range(low, high):
                out[columns[i]] += cells[cell + i]


def add_tables(out, rows, column, threshold, flips, starts, forks, groups, asked, columns, cells):
    """Add to `out` (n, n_columns + 1) what the tables say of each row; in blocks where there are many."""
    most = 0
    for tree in range(len(starts) - 1):
        most = max(most, starts[tree + 1, 0] - starts[tree, 0])
    block = min(BLOCK, len(rows))
    patterns = np.zeros((2 * most + 1, block), np.int64)
    if block < MANY:
        for row in range(len(rows)):
            told = (column, threshold, flips, starts, forks, groups, asked, columns, cells)
            add_to_one(out[row], rows[row], *told, patterns)
        return
    values = np.empty((rows.shape[1], block))
    left, answers = np.empty(block, np.int64), np.empty(block, np.int64)
    for first in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - first)
        turn(rows, first, n, values)
        for tree in range(len(starts) - 1):
            for at in range(starts[tree, 0], starts[tree + 1, 0]):
                split, before, fresh, bit = forks[at, 0], forks[at, 1], forks[at, 2], forks[at, 3]
                on_left, on_right = forks[at, 4], forks[at, 5]
                ask(values, n, column[split], threshold[split], flips[split], left)
                for row in range(n):
                    holds, fails = patterns[before, row] | fresh, patterns[before, row] & ~bit
                    patterns[on_left, row] = holds if left[row] else fails
                    patterns[on_right, row] = fails if left[row] else holds
            for at in range(starts[tree, 1], starts[tree + 1, 1]):
                pattern, bit = groups[at, 0], groups[at, 1]
                for row in range(n):
                    answers[row] = patterns[pattern, row]
                for place in range(groups[at, 2], groups[at, 3]):
                    split = asked[place]
                    ask(values, n, column[split], threshold[split], flips[split], left)
                    for row in range(n):
                        answers[row] |= left[row] << bit
                    bit += 1
                table, low, high = groups[at, 4], groups[at, 5], groups[at, 6]
                for row in range(n):
                    cell = table + answers[row] * (high - low) - low
                    for i in range(low, high):
                        out[first + row, columns[i]] += cells[cell + i]


def add_deep(out, rows, column, threshold, flips, leaves, leaf_values, steps, shares, columns, points, weights):
    """Add to `out` what leaves whose paths have too many features for a table give to each row."""
    widest = widest_of(leaves, 2, 3)
    block = min(BLOCK, len(rows))
    values = np.empty((rows.shape[1], block))
    holds, into = np.empty((widest, block)), np.empty((widest, block))
    factors, products = np.empty((widest, block)), np.empty((widest + 1, block))
    left = np.empty(block, np.int64)
    for first in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - first)
        turn(rows, first, n, values)
        for leaf in range(len(leaves)):
            low, high, value = leaves[leaf, 2], leaves[leaf, 3], leaf_values[leaf]
            for i in range(high - low):
                for row in range(n):
                    holds[i, row] = 1.0
            for at in range(leaves[leaf, 0], leaves[leaf, 1]):
                split, wants, place = steps[at, 0], steps[at, 1], steps[at, 2]
                ask(values, n, column[split], threshold[split], flips[split], left)
                for row in range(n):
                    holds[place, row] = holds[place, row] if left[row] == wants else 0.0
            share_out(holds, n, shares, low, high - low, points, weights, factors, products, into)
            for row in range(n):
                for i in range(high - low):
                    out[first + row, columns[low + i]] += value * into[i, row]

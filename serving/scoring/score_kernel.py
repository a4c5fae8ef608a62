"""The compiled loops behind `serving.scoring.arithmetic`: everything that is computed of a row to score it, in one call.

A call of its own for each step would cost more than the steps where there is one lead. Many rows go through a tree side by side,
a few walk through it; what is added to a row, and in which order, is the same. Imported on first use
only, because it brings in the compiler.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from serving.scoring.tree_kernel import BLOCK, MANY, ask, goes_left, turn

# The numbers of `serving.scoring.scorecard` and `calibration`, here for the compiler to put in.
LARGEST, FURTHEST = float(np.finfo(np.float64).max), 30.0


@njit
def walk(rows, row, nodes, leaves, root, low):
    """Return what a tree says of a row, which goes from split to split."""
    place = root
    while place >= 0:
        node = nodes[place]
        left = goes_left(rows[row], node.column, node.threshold, node.flips)
        place = node.left if left else node.right
    return leaves[low + ~place]


@njit
def sweep(margins, turned, first, n, nodes, tables, root, splits, table, at, left):
    """Add to `margins` what a tree says of `n` rows: every split asks all of them; the answers, as bits, are a place in a table."""
    for row in range(n):
        at[row] = table
    for bit in range(splits):
        node = nodes[root + bit]
        ask(turned, n, node.column, node.threshold, node.flips, left)
        for row in range(n):
            at[row] += left[row] << bit
    for row in range(n):
        margins[first + row] += tables[at[row]]


@njit
def add_trees_to(margins, rows, nodes, trees, leaves, tables):
    """Add to `margins` (n,) what the trees say of rows, tree by tree, in their order."""
    block = min(BLOCK, len(rows))
    at, left = np.empty(block, np.int64), np.empty(block, np.int64)
    turned = np.empty((rows.shape[1] if block >= MANY else 0, block))
    for first in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - first)
        if n >= MANY:
            turn(rows, first, n, turned)
        for tree in range(len(trees)):
            root, low, splits, table = trees[tree]
            if n >= MANY and table >= 0:
                sweep(margins, turned, first, n, nodes, tables, root, splits, table, at, left)
            else:
                for row in range(first, first + n):
                    margins[row] += walk(rows, row, nodes, leaves, root, low)


def add_trees(margins, rows, nodes, trees, leaves, tables):
    """Do that."""
    add_trees_to(margins, rows, nodes, trees, leaves, tables)


@njit
def log_of(value):
    """Return sign(x) log(1 + |x|)."""
    # Sums of what a request sends can run over; their logarithm is large, and infinity times a point of 0 would be NaN.
    return math.copysign(math.log1p(min(abs(value), LARGEST)), value)


def fill_logs(logs, values):
    """Fill `logs` (n,) with sign(x) log(1 + |x|) of values."""
    for i in range(len(values)):
        logs[i] = log_of(values[i])


@njit
def add_line(linear, margins, rows, row, cards, bases, whole):
    """Write what each column adds to each scorecard's log-odds, and their sums, for one row.

    Most values are small whole numbers, whose logarithms stand in `whole`.
    """
    for card in range(len(cards)):
        margins[card, row] = 0.0
    for column in range(rows.shape[1]):
        value = rows[row, column]
        small = 0.0 <= value < len(whole) and value == int(value)
        log = whole[int(value)] if small else log_of(value)
        for card in range(len(cards)):
            known = cards[card, 0, column] if math.isnan(value) else log
            added = (known - cards[card, 1, column]) / cards[card, 2, column] * cards[card, 3, column]
            linear[card, row, column] = added
            margins[card, row] += added
    for card in range(len(cards)):
        margins[card, row] += bases[card]


@njit
def likely(odds):
    """Return the probability of log-odds, strictly between 0 and 1."""
    return 1.0 / (1.0 + math.exp(-min(max(odds, -FURTHEST), FURTHEST)))


@njit
def spread(within, probability, later, shifts, n_soon):
    """Write the probabilities by day: up to the score's own day, and of those who do not convert by then, after it."""
    odds = math.log(probability) - math.log1p(-probability)
    for day in range(n_soon - 1):
        # The way over log-odds and back can end an ulp above the score where a shift is 0.
        within[day] = min(likely(odds + shifts[day]), probability)
    within[n_soon - 1] = probability
    for day in range(n_soon, len(within)):
        within[day] = 1.0 - (1.0 - probability) * (1.0 - likely(later + shifts[day]))


def spread_rows(within, probabilities, laters, ages, starts, shifts, n_soon):
    """Fill `within` (n, n_days) for probabilities and log-odds of the later stage, both (n,), at ages in days."""
    for row in range(len(probabilities)):
        place = max(np.searchsorted(starts, ages[row], side="right") - 1, 0)
        spread(within[row], probabilities[row], laters[row], shifts[place], n_soon)


def add_lines(linear, margins, rows, cards, bases, whole):
    """Fill `linear` (n_cards, n, n_columns) and `margins` (n_cards, n) with what scorecards say of rows.

    `cards` is (n_cards, 4, n_columns): the logarithm that stands in for NaN, center, scale and points.
    """
    for row in range(len(rows)):
        add_line(linear, margins, rows, row, cards, bases, whole)


def score_rows(
    found, linear, rows, nodes, trees, leaves, tables, cards, bases, whole, sigmoids, starts, shifts, n_soon, quantiles
):
    """Fill `found` (n, 2 + n_days): probability, percentile, and the probability by each day; `linear` as `add_lines` does.

    `sigmoids` are (slope, shift) of the score and of the later stage, `starts` and `shifts` the course's.
    """
    margins, trees_say = np.empty((len(cards), len(rows))), np.zeros(len(rows))
    add_trees_to(trees_say, rows, nodes, trees, leaves, tables)
    for row in range(len(rows)):
        add_line(linear, margins, rows, row, cards, bases, whole)
        later = sigmoids[1, 0] * margins[1, row] + sigmoids[1, 1] if len(cards) > 1 else 0.0
        probability = likely(sigmoids[0, 0] * (margins[0, row] + trees_say[row]) + sigmoids[0, 1])
        found[row, 0] = probability
        found[row, 1] = 100.0 * np.searchsorted(quantiles, probability) / len(quantiles)
        place = max(np.searchsorted(starts, rows[row, 0], side="right") - 1, 0)
        spread(found[row, 2:], probability, later, shifts[place], n_soon)


def calibrate(found, linear, base, slope, shift):
    """Turn what trees add, (n, n_columns + 1), into what columns add to the calibrated log-odds, with a scorecard's part."""
    last = found.shape[1] - 1
    for row in range(len(found)):
        for column in range(last):
            found[row, column] = (found[row, column] + linear[row, column]) * slope
        found[row, last] = (found[row, last] + base) * slope + shift


def take_typical(relative, contributions, ages, starts, typical):
    """Fill `relative` (n, n_columns) with contributions beyond those of a typical trial; `typical` is (n_ages, n_columns)."""
    for row in range(len(relative)):
        place = max(np.searchsorted(starts, ages[row], side="right") - 1, 0)
        for column in range(relative.shape[1]):
            relative[row, column] = contributions[row, column] - typical[place, column]

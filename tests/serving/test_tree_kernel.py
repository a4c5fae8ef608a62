"""The loops themselves, on arrays small enough to check by eye; as Python runs them and as the compiler makes them."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from serving.scoring import tree_kernel
from serving.scoring.tree_contributions import _rules

LOOPS = ["as Python", "compiled"]


def loop(name: str, how: str) -> Any:
    compiled = getattr(tree_kernel, name)
    return compiled.py_func if how == "as Python" else compiled


@pytest.mark.parametrize("how", LOOPS)
@pytest.mark.parametrize(
    ("flips", "expected"),
    [(0, [0, 1, 1, 0]), (1, [1, 1, 1, 0]), (2, [0, 0, 1, 0]), (3, [1, 0, 1, 0])],
    ids=["neither", "NaN", "zero", "both"],
)
def test_values_up_to_the_threshold_go_left_and_flips_turn_nan_and_zero(
    how: str, flips: int, expected: list[int]
) -> None:
    left = np.full(4, 9)
    values = np.array([[5.0] * 4, [np.nan, 0.0, 0.5, 0.6]])
    loop("ask", how)(values, 4, 1, 0.5, flips, left)
    assert left.tolist() == expected


@pytest.mark.parametrize("how", LOOPS)
def test_what_lightgbm_takes_for_zero_is_turned_into_zero(how: str) -> None:
    zero = float(np.float32(1e-35))
    rows = np.array([[9.0, 9.0], [zero, -zero], [np.nextafter(zero, 1), np.nan]])
    values = np.empty((2, 2))
    loop("turn", how)(rows, 1, 2, values)
    np.testing.assert_array_equal(values, [[0.0, np.nextafter(zero, 1)], [0.0, np.nan]])


def fair_share(holds: list[int], shares: list[Fraction]) -> list[Fraction]:
    """Return each feature's Shapley value of a leaf of value 1: the mean over all orders of becoming known, in fractions."""
    size, total = len(holds), [Fraction(0)] * len(holds)
    orders = list(permutations(range(size)))
    for order in orders:
        product = Fraction(1)
        for share in shares:
            product *= share
        known = [False] * size
        for i in order:
            known[i] = True
            after = Fraction(1)
            for j in range(size):
                after *= holds[j] if known[j] else shares[j]
            total[i] += after - product
            product = after
    return [one / len(orders) for one in total]


@pytest.mark.parametrize("how", LOOPS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_leaf_is_shared_out_as_over_all_orders_of_its_features(how: str, size: int) -> None:
    points, weights = _rules(6)
    fractions = [Fraction(1, 3), Fraction(0), Fraction(1), Fraction(1, 97), Fraction(5, 8)][:size]
    patterns = [[(number >> i) & 1 for i in range(size)] for number in range(2**size)]
    holds, into = np.array(patterns, np.float64).T.copy(), np.empty((size, 2**size))
    scratch = np.empty((size, 2**size)), np.empty((size + 1, 2**size))
    # Some other leaf's share stands before.
    shares = np.array([0.7, *map(float, fractions)])
    loop("share_out", how)(holds, 2**size, shares, 1, size, points, weights, *scratch, into)
    expected = [[float(one) for one in fair_share(pattern, fractions)] for pattern in patterns]
    np.testing.assert_allclose(into.T, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 31, 64])
def test_the_rule_for_so_many_features_is_exact_for_their_polynomial(size: int) -> None:
    points, weights = _rules(size)
    half = (size + 1) // 2
    rule = slice(half * (half - 1) // 2, half * (half + 1) // 2)
    for degree in range(size):
        assert weights[rule] @ points[rule] ** degree == pytest.approx(1 / (degree + 1), abs=1e-14)


def test_tables_hold_each_answers_contributions() -> None:
    # One split on one feature: 3/4 of the leads go left to 1.0, the others right to 5.0.
    leaves = np.array([[0, 2, 1, 0, 1], [0, 2, 1, 1, 2]])
    tests = np.array([[1, 1, 0], [1, 0, 0]])
    cells = np.zeros(2)
    loop: Any = tree_kernel.fill_tables
    loop(cells, leaves, np.array([1.0, 5.0]), tests, np.array([0.75, 0.25]), *_rules(1))
    np.testing.assert_allclose(cells, [5.0 - 2.0, 1.0 - 2.0])

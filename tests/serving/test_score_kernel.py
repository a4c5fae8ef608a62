"""The compiled loops, run as plain Python on trees and lines that can be checked by eye."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.scoring.arithmetic import Forest
from serving.scoring.score_kernel import add_lines, add_trees, fill_logs
from serving.scoring.tree_kernel import BLOCK, MANY
from serving.scoring.tree_text import Tree

# Column 0 up to 1.5 goes left, there column 1 up to 0 does.
TREE = Tree(
    np.array([0, 1]), np.array([1.5, 0.0]), np.zeros(2, np.uint8), np.array([1, ~0]), np.array([~1, ~2]),
    np.array([0.5, 0.5]), np.array([0.5, 0.5]), np.array([1.0, 2.0, 4.0]),
)  # fmt: skip


@pytest.mark.parametrize("n", [1, MANY - 1, MANY, BLOCK, BLOCK + 1])
def test_each_tree_adds_the_leaf_that_a_row_comes_to(n: int) -> None:
    forest = Forest.of([TREE, Tree.leaf(0.5)])
    rows = np.tile([[1.0, 5.0], [2.0, 5.0], [1.0, -1.0], [1.5, 0.0]], (n, 1))[:n]
    out = np.zeros(n)
    add_trees(out, rows, forest.nodes, forest.trees, forest.leaves, forest.tables)  # type: ignore[no-untyped-call]
    assert out.tolist() == np.tile([4.5, 2.5, 1.5, 1.5], n)[:n].tolist()


def test_a_line_adds_points_per_standard_deviation_and_nan_counts_as_its_stand_in() -> None:
    whole, absent = np.empty(4), np.empty(2)
    fill_logs(whole, np.arange(4.0))  # type: ignore[no-untyped-call]
    fill_logs(absent, np.array([math.e - 1, 0.0]))  # type: ignore[no-untyped-call]
    cards = np.array([[absent, [0.5, 0.0], [2.0, 1.0], [3.0, 1.0]]])
    rows = np.array([[np.nan, 3.0], [-3.0, 3.5]])
    linear, margins = np.empty((1, 2, 2)), np.empty((1, 2))
    add_lines(linear, margins, rows, cards, np.array([10.0]), whole)  # type: ignore[no-untyped-call]
    expected = [[0.75, math.log(4)], [(-math.log(4) - 0.5) / 2 * 3, math.log(4.5)]]
    np.testing.assert_allclose(linear[0], expected, rtol=1e-15)
    np.testing.assert_allclose(margins[0], np.sum(expected, axis=1) + 10, rtol=1e-15)

"""Leaves are put together as far as the bits go, each exactly once."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from serving.scoring.tree_layout import Layout, laid_out
from serving.scoring.tree_text import Tree, trees_of

PLENTY = 10**9


def tree_of(column: list[int], left: list[int], right: list[int]) -> Tree:
    n = len(column)
    half = np.full(n, 0.5)
    return Tree(
        np.array(column),
        np.zeros(n),
        np.zeros(n, np.uint8),
        np.array(left),
        np.array(right),
        half,
        half,
        np.arange(n + 1.0),
    )


# A chain over columns 0, 1, 0, 2: leaf i on the left of split i, the last leaf at the end.
CHAIN = tree_of([0, 1, 0, 2], [~0, ~1, ~2, ~3], [1, 2, 3, ~4])


def test_a_tree_that_few_bits_describe_is_one_group() -> None:
    layout = laid_out([CHAIN], 4, PLENTY)
    assert len(layout.groups.groups) == 1
    assert len(layout.groups.forks) == len(layout.deep.leaves) == 0
    assert layout.groups.asked.tolist() == [0, 1, 2, 3]
    # 2^4 answers about 3 columns.
    assert layout.n_cells == 16 * 3


def test_one_bit_less_makes_a_group_of_what_still_fits() -> None:
    layout = laid_out([CHAIN], 3, PLENTY)
    # Splits 1 and 2 stand at 1 and 2 features with 3 and 2 splits below: 4 bits. Split 3 needs 2 + 1.
    assert layout.groups.forks[:, 0].tolist() == [0, 1, 2]
    assert layout.groups.starts.tolist() == [[0, 0], [3, 4]]
    assert len(layout.filling.leaves) == 5
    assert len(layout.deep.leaves) == 0


def test_a_path_with_more_features_than_bits_is_deep() -> None:
    layout = laid_out([CHAIN], 2, PLENTY)
    assert sorted(layout.deep.values.tolist()) == [3.0, 4.0]
    assert sorted(layout.filling.values.tolist()) == [0.0, 1.0, 2.0]
    # What is asked of one column twice is one feature, whose share is that of both.
    last = layout.deep.leaves[layout.deep.values.tolist().index(4.0)]
    assert layout.deep.columns[last[2] : last[3]].tolist() == [0, 1, 2]
    assert layout.deep.shares[last[2] : last[3]].tolist() == [0.25, 0.5, 0.5]


def test_without_bits_every_leaf_is_deep() -> None:
    layout = laid_out([CHAIN, Tree.leaf(2.0)], 0, PLENTY)
    assert len(layout.deep.leaves) == 5
    assert layout.n_cells == 0


def test_tables_that_take_too_much_are_made_smaller() -> None:
    assert laid_out([CHAIN] * 10, 10, 10 * 48).n_cells == 480
    assert 0 < laid_out([CHAIN] * 10, 10, 10 * 48 - 1).n_cells < 480
    assert laid_out([CHAIN] * 10, 10, 0).n_cells == 0


def test_the_base_is_the_mean_over_the_leads_that_a_tree_was_grown_with() -> None:
    layout = laid_out([CHAIN, Tree.leaf(2.0)], 10, PLENTY)
    assert layout.bases == [0.5 * 0 + 0.25 * 1 + 0.125 * 2 + 0.0625 * 3 + 0.0625 * 4, 2.0]


def test_no_trees_are_laid_out_as_nothing() -> None:
    layout = laid_out([], 10, PLENTY)
    assert (layout.n_cells, layout.bases, layout.widest) == (0, [], 0)


def leaves_of(layout: Layout) -> list[float]:
    return sorted([*layout.filling.values.tolist(), *layout.deep.values.tolist()])


@pytest.mark.parametrize("bits", range(12))
def test_every_leaf_is_laid_out_once_and_every_table_has_its_place(bits: int) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 12))
    data = lgb.Dataset(rows, np.sin(rows).sum(axis=1))
    model = lgb.train({"verbose": -1, "num_threads": 1, "num_leaves": 40, "min_data_in_leaf": 5}, data, 5)
    trees = trees_of(model.model_to_string(), 12)
    layout = laid_out(trees, bits, PLENTY)
    assert leaves_of(layout) == sorted(np.concatenate([tree.values for tree in trees]).tolist())
    groups = layout.groups.groups
    rows_of_table = 2 ** (groups[:, 1] + groups[:, 3] - groups[:, 2])
    ends = groups[:, 4] + rows_of_table * (groups[:, 6] - groups[:, 5])
    assert (rows_of_table <= 2**bits).all()
    np.testing.assert_array_equal(groups[1:, 4], ends[:-1])
    assert layout.n_cells == (ends[-1] if len(ends) else 0)

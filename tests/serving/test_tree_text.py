"""LightGBM's text is read as LightGBM reads it, and what has no exact contributions here is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ArtifactError
from serving.scoring.tree_text import NAN_FLIPS, ZERO, ZERO_FLIPS, Tree, trees_of

TEXT = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=2
objective=binary sigmoid:1
feature_names=a b c
feature_infos=none none none
tree_sizes=1

Tree=0
num_leaves=3
num_cat=0
split_feature=2 0
split_gain=1 1
threshold=0.5 -1
decision_type=8 10
left_child=1 -1
right_child=-2 -3
leaf_value=0.25 -1 3
leaf_weight=6 4 2
leaf_count=6 4 2
internal_value=0 0
internal_weight=12 8
internal_count=12 8
is_linear=0
shrinkage=1


end of trees

parameters:
end of parameters
"""


def follow(tree: Tree, row: list[float]) -> float:
    """Return where a row ends, the slow way."""
    node = 0 if len(tree) else -1
    while node >= 0:
        value, flips = row[tree.column[node]], tree.flips[node]
        value = 0.0 if -ZERO <= value <= ZERO else value
        left = value <= tree.threshold[node]
        if (np.isnan(value) and flips & NAN_FLIPS) or (value == 0 and flips & ZERO_FLIPS):
            left = not left
        node = int(tree.left[node] if left else tree.right[node])
    return float(tree.values[~node])


def test_a_tree_written_by_hand_is_read_as_it_stands() -> None:
    (tree,) = trees_of(TEXT, 3)
    assert len(tree) == 2
    np.testing.assert_array_equal(tree.column, [2, 0])
    np.testing.assert_array_equal(tree.left_share, [8 / 12, 6 / 8])
    np.testing.assert_array_equal(tree.right_share, [4 / 12, 2 / 8])
    assert [follow(tree, row) for row in ([-1.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.6])] == [0.25, 3.0, -1.0]


AROUND = [np.nan, 0.0, -0.0, 1e-36, -1e-36, ZERO, -ZERO, 2e-35, -2e-35, 5e-324, 1.0, -1.0, np.inf, -np.inf]


@pytest.mark.parametrize("kind", [0, 2, 4, 6, 8, 10])
@pytest.mark.parametrize(
    "threshold", ["1.0000000180025095e-35", "-1.0000000180025095e-35", "0", "-1e-36", "0.5", "-0.5"]
)
def test_every_kind_of_split_sends_every_kind_of_value_where_lightgbm_does(kind: int, threshold: str) -> None:
    text = TEXT.replace("decision_type=8 10", f"decision_type={kind} {kind}")
    text = text.replace("threshold=0.5 -1", f"threshold={threshold} {threshold}").replace("tree_sizes=1\n", "")
    rows = np.array([[a, 0.0, c] for a in AROUND for c in AROUND])
    expected = lgb.Booster(model_str=text).predict(rows, raw_score=True, num_threads=1)
    (tree,) = trees_of(text.replace("feature_infos", "tree_sizes=1\nfeature_infos"), 3)
    np.testing.assert_array_equal([follow(tree, row) for row in rows.tolist()], expected)


def test_a_tree_of_one_leaf_has_a_value_and_no_splits() -> None:
    block = "Tree=0\nnum_leaves=1\nnum_cat=0\nleaf_value=0.75\n\n"
    (tree,) = trees_of(TEXT[: TEXT.index("Tree=0")] + block + "\nend of trees\n", 3)
    assert len(tree) == 0
    assert tree.values.tolist() == [0.75]


REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "splits on categories": (
        lambda text: text.replace("num_cat=0", "num_cat=1"),
        "num_cat must be 0 in tree 0, got '1'",
    ),
    "a category's bit": (
        lambda text: text.replace("decision_type=8 10", "decision_type=8 1"),
        "splits must compare numbers",
    ),
    "lines in leaves": (lambda text: text.replace("is_linear=0", "is_linear=1"), "is_linear must be 0"),
    "three classes": (lambda text: text.replace("num_class=1", "num_class=3"), "num_class must be 1, got '3'"),
    "more trees a round": (
        lambda text: text.replace("per_iteration=1", "per_iteration=2"),
        "num_tree_per_iteration must be 1",
    ),
    "a forest's mean": (lambda text: text.replace("objective", "average_output\nobjective"), "must be added up"),
    "other columns": (lambda text: text.replace("max_feature_idx=2", "max_feature_idx=9"), "max_feature_idx must be 2"),
    "a column too far": (lambda text: text.replace("split_feature=2 0", "split_feature=2 3"), "columns must be 0 to 2"),
    "a lost tree": (lambda text: text.replace("tree_sizes=1", "tree_sizes=1 1"), "there must be 2 trees, got 1"),
    "a lost value": (lambda text: text.replace("leaf_value=0.25 -1 3", "leaf_value=0.25 -1"), "2 values of leaf_value"),
    "a lost line": (lambda text: text.replace("threshold=0.5 -1\n", ""), "must be whole in tree 0, got .*threshold"),
    "no number": (lambda text: text.replace("threshold=0.5 -1", "threshold=0.5 x"), "must be whole"),
    "two parents": (lambda text: text.replace("right_child=-2 -3", "right_child=-1 -3"), "one parent"),
    "a circle": (lambda text: text.replace("left_child=1 -1", "left_child=-1 1"), "one parent"),
    "nobody at a split": (lambda text: text.replace("internal_count=12 8", "internal_count=12 0"), "counts .* above 0"),
    "fewer than nobody": (lambda text: text.replace("leaf_count=6 4 2", "leaf_count=6 -4 2"), "counts .* above 0"),
    "no counts": (lambda text: text.replace("leaf_count=6 4 2\n", ""), "must be whole"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_exact_contributions_is_refused_by_name(what: str) -> None:
    change, told = REFUSED[what]
    assert change(TEXT) != TEXT
    with pytest.raises(ArtifactError, match=told):
        trees_of(change(TEXT), 3)


def test_a_model_with_a_real_category_is_refused() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, (400, 3)).astype(float)
    data = lgb.Dataset(rows, (rows[:, 1] % 2).astype(float), categorical_feature=[1])
    booster = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 1}, data, 2)
    assert re.search("num_cat=[1-9]", booster.model_to_string())
    with pytest.raises(ArtifactError, match="num_cat"):
        trees_of(booster.model_to_string(), 3)


@given(st.text(alphabet="0123456789-. \n=ab", max_size=30), st.integers(0, len(TEXT)))
@settings(max_examples=200, deadline=None)
def test_a_damaged_text_is_read_or_refused_and_nothing_else(noise: str, at: int) -> None:
    damaged = TEXT[:at] + noise + TEXT[at + len(noise) :]
    try:
        trees = trees_of(damaged, 3)
    except ArtifactError:
        return
    assert all(np.isfinite(tree.left_share).all() for tree in trees)

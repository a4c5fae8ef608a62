"""Contributions are LightGBM's own, those of the definition of a Shapley value, and those of another library; always."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from math import comb
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ArtifactError, InvalidInput
from features.windows import Floats
from serving.scoring import tree_contributions
from serving.scoring.tree_contributions import TreeContributions
from serving.scoring.tree_text import NAN_FLIPS, ZERO, ZERO_FLIPS, Tree, trees_of
from tests.serving.grown import QUIET, grown, rows_of
from training.hand_trees import Chain, Split, booster

ROOT = Path(__file__).parents[2]


def ours(model: lgb.Booster, rows: Floats) -> Floats:
    return TreeContributions.of(model.model_to_string(), rows.shape[1]).contributions(rows)


def theirs(model: lgb.Booster, rows: Floats) -> Floats:
    return np.asarray(model.predict(rows, pred_contrib=True, num_threads=1))


def must_agree(model: lgb.Booster, rows: Floats) -> None:
    margins = np.asarray(model.predict(rows, raw_score=True, num_threads=1))
    scale = 1 + np.abs(margins).max()
    got = ours(model, rows)
    np.testing.assert_allclose(got, theirs(model, rows), rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(got.sum(axis=1), margins, rtol=0, atol=1e-9 * scale)


@given(
    seed=st.integers(0, 2**20),
    n_columns=st.integers(1, 24),
    rounds=st.integers(1, 12),
    leaves=st.integers(2, 70),
    depth=st.sampled_from([-1, 1, 2, 3, 6]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    monotone=st.booleans(),
    bits=st.sampled_from([0, 1, 3, 6, 10]),
)
@settings(max_examples=60, deadline=None)
def test_any_model_has_the_contributions_that_lightgbm_gives_it(
    seed: int, n_columns: int, rounds: int, leaves: int, depth: int, use_missing: bool, zero_as_missing: bool,
    monotone: bool, bits: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, 400, n_columns)
    directions = rng.integers(-1, 2, n_columns).tolist() if monotone else None
    model = grown(
        rows, rounds, seed, num_leaves=leaves, max_depth=depth, min_data_in_leaf=3, use_missing=use_missing,
        zero_as_missing=zero_as_missing, monotone_constraints=directions,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_contributions, "MOST_BITS", bits)
        must_agree(model, rows_of(rng, 150, n_columns))


def test_a_deep_unbalanced_tree_agrees_with_and_without_tables() -> None:
    rng = np.random.default_rng(4)
    rows = rng.random((4000, 30))
    # Each column cuts one corner off, which makes a chain.
    value = 30 - (rows < 0.9).cumprod(axis=1).sum(axis=1)
    parameters = {**QUIET, "objective": "regression", "num_leaves": 40, "min_data_in_leaf": 1, "learning_rate": 1.0}
    model = lgb.train(parameters, lgb.Dataset(rows, value), 2)
    contributions = TreeContributions.of(model.model_to_string(), 30)
    most = max(row[3] - row[2] for row in contributions.deep.leaves)
    assert most > 20
    assert contributions.cells.size
    must_agree(model, rows[:300])


def test_paths_so_long_that_a_recursion_loses_its_digits_still_add_up() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((6000, 60))
    value = 60 - (rows < 0.95).cumprod(axis=1).sum(axis=1)
    parameters = {**QUIET, "objective": "regression", "num_leaves": 255, "min_data_in_leaf": 1, "learning_rate": 1.0}
    model = lgb.train(parameters, lgb.Dataset(rows, value), 3)
    contributions = TreeContributions.of(model.model_to_string(), 60)
    assert max(row[3] - row[2] for row in contributions.deep.leaves) == 60
    got = contributions.contributions(rows[:50]).sum(axis=1)
    np.testing.assert_allclose(got, np.asarray(model.predict(rows[:50], raw_score=True)), rtol=0, atol=1e-11)


def test_columns_that_no_tree_asks_for_get_nothing_at_all() -> None:
    rng = np.random.default_rng(1)
    rows = rows_of(rng, 500, 4)
    wide = np.concatenate([rows, np.ones((500, 40))], axis=1)
    model = grown(wide, 20, 1)
    must_agree(model, wide)
    assert not ours(model, wide)[:, 4:-1].any()


def test_a_model_of_one_leaf_is_its_base() -> None:
    model = lgb.train(
        {**QUIET, "min_data_in_leaf": 99}, lgb.Dataset(np.arange(40.0)[:, None], np.arange(40) % 4 == 0), 3
    )
    assert "num_leaves=1\n" in model.model_to_string()
    got = ours(model, np.array([[1.0], [np.nan]]))
    np.testing.assert_array_equal(got, theirs(model, np.array([[1.0], [np.nan]])))
    assert not got[:, 0].any()


def test_trees_of_one_leaf_among_others_count() -> None:
    text = grown(rows_of(np.random.default_rng(2), 300, 3), 4, 2).model_to_string()
    first, rest = text.index("Tree=0"), text.index("Tree=1")
    single = "Tree=0\nnum_leaves=1\nnum_cat=0\nleaf_value=0.75\n\n\n"
    text = re.sub("(?m)^tree_sizes=[0-9]+", f"tree_sizes={len(single)}", text[:first]) + single + text[rest:]
    model = lgb.Booster(model_str=text)
    rows = rows_of(np.random.default_rng(3), 100, 3)
    np.testing.assert_allclose(
        TreeContributions.of(text, 3).contributions(rows), theirs(model, rows), rtol=0, atol=1e-12
    )
    must_agree(model, rows)


@pytest.mark.parametrize("chain", [
    [Chain((Split(1, 0.5, passes_left=False),), 2.0)],
    [Chain((Split(0, 1.5, passes_left=False), Split(1, 0.2, passes_left=True), Split(0, 3.5, passes_left=True)), 1.0)],
    [Chain(tuple(Split(place, 0.0, passes_left=place % 2 == 0) for place in range(14)), 5.0), Chain((Split(3, 9.0, True),), -1.0)],
], ids=["one line", "the same column twice", "more conditions than a table takes"])  # fmt: skip
def test_hand_written_trees_agree(chain: Sequence[Chain]) -> None:
    rows = rows_of(np.random.default_rng(3), 200, 14)
    must_agree(booster(chain, [f"c{i}" for i in range(14)], rows, 0.5), rows)


def test_a_hand_written_tree_that_nobody_passes_agrees() -> None:
    rows = rows_of(np.random.default_rng(3), 50, 2)
    must_agree(booster([Chain((Split(0, 1e9, False), Split(1, 1e9, False)), 3.0)], ["a", "b"], rows, 1.0), rows)


def test_a_leaf_that_nobody_came_to_gives_no_nan() -> None:
    rows = np.array([[0.0], [1.0], [2.0]])
    text = booster([Chain((Split(0, 0.5, False),), 3.0)], ["a"], rows, 1.0).model_to_string()
    text = text.replace("leaf_count=2 3", "leaf_count=0 5")
    assert "leaf_count=0 5" in text
    got = TreeContributions.of(text, 1).contributions(rows)
    np.testing.assert_allclose(got, [[-3.0, 3.0], [0.0, 3.0], [0.0, 3.0]], atol=1e-12)


# --- oracles ----------------------------------------------------------------------------------


def mean_where_known(tree: Tree, node: int, row: Floats, known: set[int]) -> float:
    """Return what a tree says of a row where only some columns are asked and the others go both ways."""
    if node < 0:
        return float(tree.values[~node])
    left, right = int(tree.left[node]), int(tree.right[node])
    if tree.column[node] in known:
        value, flips = row[tree.column[node]], tree.flips[node]
        value = 0.0 if -ZERO <= value <= ZERO else value
        goes_left = bool(value <= tree.threshold[node])
        goes_left ^= bool((np.isnan(value) and flips & NAN_FLIPS) or (value == 0 and flips & ZERO_FLIPS))
        return mean_where_known(tree, left if goes_left else right, row, known)
    return float(
        tree.left_share[node] * mean_where_known(tree, left, row, known)
        + tree.right_share[node] * mean_where_known(tree, right, row, known)
    )


def by_definition(trees: Sequence[Tree], row: Floats) -> Floats:
    """Return Shapley values as they are defined: mean differences over all 2^n sets of known columns."""
    n = len(row)
    root = [0 if len(tree) else -1 for tree in trees]
    says = {
        chosen: sum(mean_where_known(tree, at, row, set(chosen)) for tree, at in zip(trees, root, strict=True))
        for size in range(n + 1)
        for chosen in combinations(range(n), size)
    }
    out = np.zeros(n + 1)
    out[-1] = says[()]
    for i in range(n):
        for chosen, value in says.items():
            if i not in chosen:
                with_i = tuple(sorted((*chosen, i)))
                out[i] += (says[with_i] - value) / (n * comb(n - 1, len(chosen)))
    return out


@pytest.mark.parametrize("bits", [0, 2, 10])
@pytest.mark.parametrize("zero_as_missing", [False, True])
def test_contributions_are_shapley_values_by_their_definition(
    bits: int, zero_as_missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_contributions, "MOST_BITS", bits)
    rng = np.random.default_rng(7)
    rows = rows_of(rng, 300, 6)
    model = grown(rows, 3, 7, num_leaves=12, min_data_in_leaf=5, zero_as_missing=zero_as_missing)
    text = model.model_to_string()
    expected = [by_definition(trees_of(text, 6), row) for row in rows[:12]]
    np.testing.assert_allclose(ours(model, rows[:12]), expected, rtol=0, atol=1e-12)


def test_contributions_are_those_of_shaps_own_algorithm() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports to plot with
        import shap
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(800, 8))
    model = grown(rows, 30, 8, num_leaves=20)
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    # Otherwise it hands the work to LightGBM.
    explainer.model.model_type = "internal"
    expected = explainer.shap_values(rows[:60])
    np.testing.assert_allclose(ours(model, rows[:60])[:, :-1], expected, rtol=0, atol=1e-5)


# --- what every scorer keeps to ---------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> lgb.Booster:
    """Return a model with groups and with leaves too deep for a table."""
    return grown(rows_of(np.random.default_rng(5), 3000, 20), 25, 5, num_leaves=60, min_data_in_leaf=5)


def test_a_row_has_the_same_contributions_whatever_stands_beside_it(model: lgb.Booster) -> None:
    rows = rows_of(np.random.default_rng(6), 333, 20)
    contributions = TreeContributions.of(model.model_to_string(), 20)
    assert len(contributions.deep.leaves)
    together = contributions.contributions(rows)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(contributions.contributions(rows[order]), together[order])
    for size in (1, 2, 3, 5, 8, 63, 64, 65, 130):
        parts = [contributions.contributions(rows[at : at + size]) for at in range(0, len(rows), size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


def test_threads_share_one_object(model: lgb.Booster) -> None:
    rows = rows_of(np.random.default_rng(6), 200, 20)
    contributions = TreeContributions.of(model.model_to_string(), 20)
    alone = contributions.contributions(rows)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(contributions.contributions, [rows] * 24):
            np.testing.assert_array_equal(together, alone)


def test_a_long_call_does_not_hold_other_threads_up(model: lgb.Booster) -> None:
    rows = rows_of(np.random.default_rng(6), 20_000, 20)
    contributions = TreeContributions.of(model.model_to_string(), 20)
    contributions.contributions(rows[:1])
    with ThreadPoolExecutor(1) as pool:
        call, ticks = pool.submit(contributions.contributions, rows), 0
        while not call.done():
            time.sleep(0.001)
            ticks += 1
    assert ticks >= 10


def test_rows_in_any_layout_give_the_same_and_stay_as_they_are(model: lgb.Booster) -> None:
    rows = rows_of(np.random.default_rng(6), 70, 40)[:, ::2]
    before = rows.copy()
    contributions = TreeContributions.of(model.model_to_string(), 20)
    straight = contributions.contributions(np.ascontiguousarray(rows))
    np.testing.assert_array_equal(contributions.contributions(rows), straight)
    np.testing.assert_array_equal(contributions.contributions(np.asfortranarray(rows)), straight)
    np.testing.assert_array_equal(rows, before)


def test_no_rows_have_no_contributions(model: lgb.Booster) -> None:
    assert TreeContributions.of(model.model_to_string(), 20).contributions(np.empty((0, 20))).shape == (0, 21)


@pytest.mark.parametrize("shape", [(3, 19), (3, 21), (20,)])
def test_rows_of_another_width_are_refused_before_they_are_read(model: lgb.Booster, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="must have 20 columns each"):
        TreeContributions.of(model.model_to_string(), 20).contributions(np.zeros(shape))


def test_a_model_for_other_columns_is_refused(model: lgb.Booster) -> None:
    with pytest.raises(ArtifactError, match="max_feature_idx must be 20"):
        TreeContributions.of(model.model_to_string(), 21)


def test_tables_keep_to_their_bound(model: lgb.Booster, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = TreeContributions.of(model.model_to_string(), 20).cells.size
    monkeypatch.setattr(tree_contributions, "MOST_CELLS", whole // 10)
    assert 0 < TreeContributions.of(model.model_to_string(), 20).cells.size <= whole // 10
    must_agree(model, rows_of(np.random.default_rng(6), 50, 20))


def test_the_compiler_comes_with_the_first_model_and_not_with_the_module() -> None:
    script = "import sys, serving.scoring.tree_contributions as t; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"

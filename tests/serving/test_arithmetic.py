"""What a version computes of rows: LightGBM's sums to the last bit, and the formulas of scorecard, calibration and course."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.windows import Floats
from serving.scoring import arithmetic
from serving.scoring.arithmetic import MOST_SPLITS, Forest
from serving.scoring.calibration import odds_of, probabilities_of
from serving.scoring.scorer import Scorer
from serving.scoring.tree_text import Tree, trees_of
from tests.serving.grown import grown, rows_of

VALUES = st.one_of(
    st.just(np.nan),
    st.sampled_from([0.0, -0.0, 1e-36, -1e-36, 0.1, -5.0, 3.0, 255.0, 256.0, 256.5, 1e300, -1e300, np.inf, -np.inf]),
    st.floats(),
)
WIDTH = 4
BOOSTERS = {
    str(more): grown(rows_of(np.random.default_rng(1), 600, WIDTH), 20, 1, min_data_in_leaf=5, **more)
    for more in ({"num_leaves": 8}, {"zero_as_missing": True}, {"use_missing": False}, {"num_leaves": 3})
}


def forest_of(text: str) -> Forest:
    return Forest.of(trees_of(text, WIDTH))


@pytest.mark.parametrize("name", BOOSTERS)
@settings(max_examples=40)
@given(rows=hnp.arrays(np.float64, st.tuples(st.integers(0, 70), st.just(WIDTH)), elements=VALUES))
def test_sums_are_those_of_lightgbm_to_the_last_bit(name: str, rows: Floats) -> None:
    booster = BOOSTERS[name]
    expected = booster.predict(rows, raw_score=True, num_threads=1).tolist() if len(rows) else []
    assert forest_of(booster.model_to_string()).margins(rows).tolist() == expected


@given(
    seed=st.integers(0, 2**20), leaves=st.integers(2, 70), depth=st.sampled_from([-1, 1, 3, 6]), n=st.integers(1, 200)
)
@settings(max_examples=40)
def test_any_model_and_any_number_of_rows_have_lightgbms_sums(seed: int, leaves: int, depth: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    booster = grown(rows_of(rng, 300, WIDTH), 6, seed, num_leaves=leaves, max_depth=depth, min_data_in_leaf=3)
    rows = rows_of(rng, n, WIDTH)
    expected = np.asarray(booster.predict(rows, raw_score=True, num_threads=1))
    np.testing.assert_array_equal(forest_of(booster.model_to_string()).margins(rows), expected)


def test_trees_too_large_for_a_table_are_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    text = BOOSTERS[str({"num_leaves": 8})].model_to_string()
    rows = rows_of(np.random.default_rng(2), 100, WIDTH)
    with_tables = forest_of(text)
    monkeypatch.setattr(arithmetic, "MOST_SPLITS", 2)
    without = forest_of(text)
    assert len(without.tables) < len(with_tables.tables)
    np.testing.assert_array_equal(without.margins(rows), with_tables.margins(rows))
    large = grown(rows_of(np.random.default_rng(3), 2000, WIDTH), 2, 3, num_leaves=60, min_data_in_leaf=3)
    assert (forest_of(large.model_to_string()).trees[:, 2] > MOST_SPLITS).any()


def test_trees_of_one_leaf_add_their_value_and_no_trees_nothing() -> None:
    for n in (1, 3, 100):
        assert Forest.of([Tree.leaf(0.25), Tree.leaf(0.5)]).margins(np.zeros((n, WIDTH))).tolist() == [0.75] * n
        assert Forest.of([]).margins(np.zeros((n, WIDTH))).tolist() == [0.0] * n


def test_rows_that_lie_on_their_side_in_memory_are_read_right() -> None:
    forest = forest_of(BOOSTERS[str({"num_leaves": 8})].model_to_string())
    rows = rows_of(np.random.default_rng(3), 20, WIDTH)
    assert forest.margins(np.asfortranarray(rows)).tolist() == forest.margins(rows).tolist()


# --- all of it --------------------------------------------------------------------------------


def test_what_rows_come_to_is_what_the_formulas_say(scorer: Scorer, rows: Floats) -> None:
    artifact, rows = scorer.artifact, rows[:300]
    found, linear = scorer.arithmetic(rows)
    trees = np.asarray(artifact.booster.predict(rows, raw_score=True, num_threads=1))
    probabilities = probabilities_of(artifact.calibration.log_odds(artifact.scorecard.margins(rows) + trees))
    np.testing.assert_allclose(found[:, 0], probabilities, rtol=1e-13)
    np.testing.assert_array_equal(found[:, 1], artifact.reference.percentiles(found[:, 0]))
    np.testing.assert_array_equal(found[:, 2:], artifact.course.probabilities(found[:, 0], rows))
    np.testing.assert_array_equal(linear[0], artifact.scorecard.contributions(rows))
    day = artifact.course.soon.days
    shifted = probabilities_of(odds_of(probabilities)[:, None] + artifact.course.soon.shift[0])
    first = rows[:, 0] < artifact.course.ages[1] if len(artifact.course.ages) > 1 else np.ones(len(rows), bool)
    np.testing.assert_allclose(found[first, 2 : 1 + len(day)], shifted[first, :-1], rtol=1e-12)


@settings(max_examples=60)
@given(changes=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 999), VALUES), max_size=30), at=st.integers(1, 40))
def test_a_row_comes_to_the_same_whoever_stands_beside_it(
    changes: list[tuple[int, int, float]], at: int, scorer: Scorer, rows: Floats
) -> None:
    tried = rows[:40].copy()
    for row, column, value in changes:
        tried[row, column % tried.shape[1]] = value
    whole, linear = scorer.arithmetic(tried)
    parts = [scorer.arithmetic(tried[i : i + at]) for i in range(0, 40, at)]
    np.testing.assert_array_equal(whole, np.concatenate([found for found, _ in parts]))
    np.testing.assert_array_equal(linear, np.concatenate([added for _, added in parts], axis=1))


def test_no_rows_come_to_nothing(scorer: Scorer) -> None:
    found, linear = scorer.arithmetic(np.empty((0, len(scorer.builder.columns))))
    assert found.shape == (0, 2 + len(scorer.artifact.course.days))
    assert linear.shape[1] == 0

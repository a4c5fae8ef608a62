"""The ranking keeps to its directions, repeats itself, and never judges an account that it learned from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss

from features.columns import Column
from features.windows import Floats, Ints
from serving.scoring.scorecard import Scorecard, signed_log
from tests.training.worlds import DIRECTIONS, FREE, QUICK, TABLE, blocks, column, leads, whole
from training.fit import DEFAULTS, KEPT, FitSettings, Fitted, Lessons, fit, log_loss
from training.fit import fit_scorecard as fit_scorecard_of_lessons


def fit_scorecard(
    rows: Floats, converted: Ints, weight: Floats, table: list[Column], ridge: float | None = None
) -> Scorecard:
    lessons = Lessons.whole(rows, converted, weight)
    return (
        fit_scorecard_of_lessons(lessons, table) if ridge is None else fit_scorecard_of_lessons(lessons, table, ridge)
    )


def learn(rows: Floats, converted: Ints, table: list[Column] = TABLE, settings: FitSettings = QUICK) -> Fitted:
    return fit(whole(rows, converted), table, blocks(len(rows)), settings)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return learn(*leads())


# --- directions -------------------------------------------------------------------------------

values = st.floats(0, 500, allow_nan=False)
rows_of_five = st.lists(values, min_size=5, max_size=5).map(np.array)


@given(rows_of_five, st.sampled_from([0, 1, 3, 4]), values)
def test_more_of_a_column_moves_the_margin_only_in_its_direction(
    fitted: Fitted, row: Floats, place: int, more: float
) -> None:
    raised = row.copy()
    raised[place] += more
    low, high = fitted.both.margins(np.stack([row, raised]))
    assert DIRECTIONS[place] * (high - low) >= -1e-9 or DIRECTIONS[place] == 0


@given(rows_of_five, st.sampled_from([0, 1, 3, 4]), values)
def test_the_scorecard_alone_keeps_to_its_directions(fitted: Fitted, row: Floats, place: int, more: float) -> None:
    raised = row.copy()
    raised[place] += more
    low, high = fitted.scorecard.scorecard.margins(np.stack([row, raised]))
    assert DIRECTIONS[place] * (high - low) >= 0


def test_a_column_that_works_against_its_direction_gets_no_points(fitted: Fitted) -> None:
    assert fitted.scorecard.scorecard.points[3] == 0.0


def test_without_a_direction_the_data_decides() -> None:
    rows, converted = leads()
    assert learn(rows, converted, FREE).scorecard.scorecard.points[3] < -0.1


# --- the same again ---------------------------------------------------------------------------


def test_same_input_and_seed_give_the_same_bytes(fitted: Fitted) -> None:
    again = learn(*leads())
    assert again.both.booster.model_to_string() == fitted.both.booster.model_to_string()
    assert again.both_unseen.tobytes() == fitted.both_unseen.tobytes()
    assert again.scorecard_unseen.tobytes() == fitted.scorecard_unseen.tobytes()


def test_another_seed_gives_other_trees(fitted: Fitted) -> None:
    other = learn(*leads(), settings=replace(QUICK, seed=8))
    assert other.both.booster.model_to_string() != fitted.both.booster.model_to_string()


def test_no_row_is_scored_with_regard_to_its_neighbours(fitted: Fitted) -> None:
    rows = leads()[0][:50]
    alone = np.concatenate([fitted.both.margins(rows[i : i + 1]) for i in range(50)])
    assert alone.tobytes() == fitted.both.margins(rows).tobytes()


# --- the scorecard against other implementations ----------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_scorecard_without_shrinkage_is_logistic_regression_on_standardised_logs(seed: int) -> None:
    rows, converted = leads(seed=seed)
    card = fit_scorecard(rows, converted, np.ones(len(rows)), FREE, ridge=1e-9)
    standard = (signed_log(rows, card.absent) - card.center) / card.scale
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000).fit(standard, converted)
    np.testing.assert_allclose(card.points, oracle.coef_[0], atol=2e-4)
    assert card.base == pytest.approx(oracle.intercept_[0], abs=2e-4)


@pytest.mark.parametrize("ridge", [1.0, 30.0, 1_000.0])
def test_shrinkage_is_that_of_ridge_regression(ridge: float) -> None:
    rows, converted = leads()
    card = fit_scorecard(rows, converted, np.ones(len(rows)), FREE, ridge)
    standard = (signed_log(rows, card.absent) - card.center) / card.scale
    oracle = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=1_000).fit(standard, converted)
    np.testing.assert_allclose(card.points, oracle.coef_[0], atol=2e-4)


def test_standardised_logs_have_mean_zero_and_spread_one() -> None:
    rows, converted = leads()
    card = fit_scorecard(rows, converted, np.ones(len(rows)), FREE)
    standard = (signed_log(rows, card.absent) - card.center) / card.scale
    np.testing.assert_allclose([standard.mean(axis=0), standard.std(axis=0)], [np.zeros(5), np.ones(5)], atol=1e-9)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_doubling_the_weight_of_a_row_is_repeating_it(seed: int) -> None:
    rows, converted = leads(300, seed)
    weight = np.random.default_rng(seed).integers(1, 4, len(rows))
    again = np.repeat(np.arange(len(rows)), weight)
    weighted = fit_scorecard(rows, converted, weight.astype(np.float64), TABLE)
    repeated = fit_scorecard(rows[again], converted[again], np.ones(len(again)), TABLE)
    np.testing.assert_allclose(weighted.margins(rows), repeated.margins(rows), atol=1e-3)


def test_a_column_that_never_differs_gets_no_points() -> None:
    rows, converted = leads()
    rows[:, 2] = 7.0
    card = fit_scorecard(rows, converted, np.ones(len(rows)), FREE)
    assert card.points[2] == pytest.approx(0.0, abs=1e-9)
    assert np.isfinite(card.margins(rows)).all()


def test_a_column_of_which_nothing_is_known_does_no_harm() -> None:
    rows, converted = leads()
    rows[:, 2] = np.nan
    assert np.isfinite(fit_scorecard(rows, converted, np.ones(len(rows)), FREE).margins(rows)).all()


def test_what_never_happened_is_taken_for_the_longest_time_seen() -> None:
    table = [column(0, -1, "days_since_last"), column(1, 0)]
    rows = np.array([[1.0, 2.0], [9.0, 4.0], [np.nan, np.nan]])
    card = fit_scorecard(rows, np.array([1, 0, 1]), np.ones(3), table)
    assert card.absent.tolist() == [9.0, 3.0]


# --- trees ------------------------------------------------------------------------------------


def test_the_booster_holds_as_many_trees_as_were_worth_having(fitted: Fitted) -> None:
    assert fitted.both.booster.num_trees() == fitted.rounds == 1 + int(fitted.curve[1:].argmin())


def test_trees_learn_what_a_line_cannot_say() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 2, (3_000, 5)).astype(np.float64)
    either = rows[:, 0] != rows[:, 1]
    fitted = learn(rows, (rng.random(3_000) < 0.1 + 0.8 * either).astype(np.int64), FREE, FitSettings(max_rounds=300))
    assert fitted.rounds > 20
    assert fitted.curve.min() < 0.8 * fitted.curve[0]


def test_at_least_one_tree_is_kept_where_none_is_worth_having() -> None:
    rng = np.random.default_rng(1)
    fitted = learn(rng.poisson(3.0, (500, 5)).astype(np.float64), rng.integers(0, 2, 500), FREE)
    assert fitted.rounds == 1 + int(fitted.curve[1:].argmin())
    assert 1 <= fitted.rounds < len(fitted.curve) - 1


@pytest.mark.parametrize("n", [30, 150])
def test_where_no_leaf_could_be_wide_enough_one_tree_says_nothing(n: int) -> None:
    rows, converted = leads(n)
    fitted = learn(rows, converted, FREE)
    assert fitted.rounds == fitted.both.booster.num_trees() == 1
    np.testing.assert_array_equal(fitted.both.margins(rows), fitted.both.scorecard.margins(rows))
    assert np.isfinite(fitted.both_unseen).all()


def test_the_curve_begins_with_the_scorecard_alone() -> None:
    rows, converted = leads()
    start = 0.0
    for learned, held in blocks(len(rows)):
        card = fit_scorecard(rows[learned], converted[learned], np.ones(len(learned)), TABLE)
        start += log_loss(converted[held], card.margins(rows[held]), np.ones(len(held))) * len(held) / len(rows)
    assert learn(rows, converted).curve[0] == pytest.approx(start, rel=1e-12)


def test_leaves_are_wide_enough_to_be_no_accident(fitted: Fitted) -> None:
    counts = [
        leaf for tree in fitted.both.booster.dump_model()["tree_info"] for leaf in leaf_counts(tree["tree_structure"])
    ]
    # LightGBM estimates how many rows a leaf will hold, by their second derivatives.
    assert min(counts) >= 0.75 * DEFAULTS["min_data_in_leaf"]


def leaf_counts(node: dict[str, object]) -> list[int]:
    if "left_child" not in node:
        return [int(str(node.get("leaf_count", 10**6)))]
    children = (node["left_child"], node["right_child"])
    return [count for child in children if isinstance(child, dict) for count in leaf_counts(child)]


# --- most of the line, and the line alone -----------------------------------------------------


def test_trees_begin_from_most_of_the_line(fitted: Fitted) -> None:
    line, start = fitted.scorecard.scorecard, fitted.both.scorecard
    np.testing.assert_array_equal(start.points, KEPT * line.points)
    for name in ("center", "scale", "absent"):
        np.testing.assert_array_equal(getattr(start, name), getattr(line, name))


def test_what_trees_begin_from_is_right_on_average(fitted: Fitted) -> None:
    rows, converted = leads()
    assert expit(fitted.both.scorecard.margins(rows)).sum() == pytest.approx(converted.sum(), rel=1e-9)


def test_trees_take_the_line_further(fitted: Fitted) -> None:
    """What most of the line leaves unsaid is said by the trees: together they fit better than the line alone."""
    rows, converted = leads()
    losses = [log_loss(converted, one.margins(rows), np.ones(len(rows))) for one in (fitted.scorecard, fitted.both)]
    assert losses[1] < losses[0]


def test_the_line_alone_has_a_tree_that_says_nothing(fitted: Fitted) -> None:
    rows = leads()[0]
    assert fitted.scorecard.booster.num_trees() == 1
    assert not np.asarray(fitted.scorecard.booster.predict(rows, raw_score=True)).any()
    assert not np.asarray(fitted.scorecard.booster.predict(rows, pred_contrib=True)).any()
    assert fitted.scorecard.margins(rows).tobytes() == fitted.scorecard.scorecard.margins(rows).tobytes()


def test_the_line_alone_is_that_of_all_lessons(fitted: Fitted) -> None:
    rows, converted = leads()
    alone = fit_scorecard(rows, converted, np.ones(len(rows)), TABLE)
    assert fitted.scorecard.scorecard.margins(rows).tobytes() == alone.margins(rows).tobytes()


def test_the_lines_unseen_margins_are_those_of_a_line_without_the_block(fitted: Fitted) -> None:
    rows, converted = leads()
    learned, held = blocks(len(rows))[3]
    card = fit_scorecard(rows[learned], converted[learned], np.ones(len(learned)), TABLE)
    np.testing.assert_array_equal(fitted.scorecard_unseen[held], card.margins(rows[held]))


# --- out of fold ------------------------------------------------------------------------------


def test_out_of_fold_margins_do_not_know_the_labels_of_their_own_block() -> None:
    rows, converted = leads()
    # One round: how many trees are worth having is the one thing that all labels decide together.
    one_round = replace(QUICK, max_rounds=1)
    held = blocks(len(rows))[2][1]
    turned = converted.copy()
    turned[held] = np.random.default_rng(3).permutation(1 - converted[held])
    before, after = learn(rows, converted, settings=one_round), learn(rows, turned, settings=one_round)
    pairs = [(before.both_unseen, after.both_unseen), (before.scorecard_unseen, after.scorecard_unseen)]
    for one, other in pairs:
        assert one[held].tobytes() == other[held].tobytes()
        assert (np.delete(one, held) != np.delete(other, held)).all()


def test_other_snapshots_of_an_account_are_scored_by_the_rankings_that_had_not_seen_it(fitted: Fitted) -> None:
    rows = leads()[0]
    block = np.arange(len(rows)) * 5 // len(rows)
    for trees, unseen in ((True, fitted.both_unseen), (False, fitted.scorecard_unseen)):
        np.testing.assert_allclose(fitted.unseen(rows, block, trees=trees), unseen, atol=1e-12)
        turned = (block + 1) % 5
        assert (fitted.unseen(rows, turned, trees=trees) != unseen).mean() > 0.9


def test_out_of_fold_margins_rank_worse_than_those_of_a_model_that_has_seen_the_labels() -> None:
    rng = np.random.default_rng(1)
    rows = rng.lognormal(size=(200, 5)).round(3)
    converted = rng.integers(0, 2, 200)
    fitted = learn(rows, converted, FREE)
    weight = np.ones(200)
    assert log_loss(converted, fitted.both_unseen, weight) > log_loss(converted, fitted.both.margins(rows), weight)


def test_each_block_is_announced() -> None:
    said: list[str] = []
    rows, converted = leads(500)
    fit(whole(rows, converted), TABLE, blocks(500, 3), replace(QUICK, max_rounds=1), said.append)
    assert said == [f"held-out block {i} of 3" for i in (1, 2, 3)]


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(-20, 20), st.floats(0.01, 5)), min_size=1, max_size=20))
def test_log_loss_of_margins_is_that_of_their_probabilities(rows: list[tuple[int, float, float]]) -> None:
    converted, margins, weight = (np.array(part) for part in zip(*rows, strict=True))
    oracle = sklearn_log_loss(converted, expit(margins), sample_weight=weight, labels=[0, 1])
    assert log_loss(converted, margins, weight) == pytest.approx(oracle, rel=1e-6, abs=1e-9)

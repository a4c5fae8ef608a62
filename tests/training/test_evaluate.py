"""Figures as other implementations find them, intervals that hold the truth, and promises counted by first flags."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics
from sklearn.linear_model import LogisticRegression

from features.windows import Floats, Ints
from serving.scoring.decision import Cutoff, NoCutoff
from training import evaluate
from training.evaluate import METRICS, Interval, exact_interval, promise

CUTOFF = Cutoff(0.3, 0.25, 0.9, 100, 40, 0.33, "", "")

Rows = tuple[Ints, Floats, Floats]


def rows_of(n: int, seed: int, slope: float = 1.0, intercept: float = 0.0) -> Rows:
    """Outcomes, probabilities whose log-odds are off by slope and intercept, and weights."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.5, 1.2, n)
    outcomes = (rng.random(n) < expit(slope * odds + intercept)).astype(np.int64)
    return outcomes, expit(odds), rng.uniform(0.3, 2.0, n)


# --- figures against other implementations ----------------------------------------------------

ORACLES: dict[str, Callable[..., float]] = {
    "log_loss": sklearn_metrics.log_loss,
    "brier": sklearn_metrics.brier_score_loss,
    "auc": sklearn_metrics.roc_auc_score,
    "average_precision": sklearn_metrics.average_precision_score,
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("seed", range(3))
def test_a_figure_is_that_of_scikit_learn(name: str, seed: int) -> None:
    outcomes, probabilities, weight = rows_of(400, seed)
    assert METRICS[name](outcomes, probabilities, weight) == pytest.approx(
        ORACLES[name](outcomes, probabilities, sample_weight=weight)
    )


def test_observed_to_expected_is_conversions_over_those_predicted() -> None:
    outcomes, probabilities, weight = np.array([1, 0, 0, 1]), np.array([0.5, 0.25, 0.25, 0.5]), np.array([1.0, 1, 1, 3])
    assert METRICS["observed_to_expected"](outcomes, probabilities, weight) == pytest.approx(4 / 2.5)


@pytest.mark.parametrize("slope", [-0.8, -0.2, 0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("intercept", [-2.0, 0.0, 4.0])
def test_calibration_slope_is_that_of_logistic_regression_on_log_odds(slope: float, intercept: float) -> None:
    outcomes, probabilities, weight = rows_of(2_000, 1, slope, intercept)
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(probabilities)[:, None], outcomes, sample_weight=weight)
    assert METRICS["calibration_slope"](outcomes, probabilities, weight) == pytest.approx(oracle.coef_[0, 0], abs=1e-3)


@pytest.mark.parametrize("intercept", [-6.0, -0.5, 0.0, 0.5, 6.0])
def test_calibration_intercept_is_what_makes_predictions_right_on_average(intercept: float) -> None:
    outcomes, probabilities, weight = rows_of(2_000, 2, 1.0, intercept)

    def excess(shift: float) -> float:
        return float(weight @ (outcomes - expit(logit(probabilities) + shift)))

    found = METRICS["calibration_intercept"](outcomes, probabilities, weight)
    assert found == pytest.approx(brentq(excess, -20, 20), abs=1e-6)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.7, 0.0), (1.4, 0.0), (1.0, 0.4), (1.0, -0.4)])
def test_known_miscalibration_is_recovered(slope: float, intercept: float) -> None:
    outcomes, probabilities, _ = rows_of(200_000, 3, slope, intercept)
    weight = np.ones(len(outcomes))
    assert METRICS["calibration_slope"](outcomes, probabilities, weight) == pytest.approx(slope, abs=0.03)
    if slope == 1:
        assert METRICS["calibration_intercept"](outcomes, probabilities, weight) == pytest.approx(intercept, abs=0.03)


def test_true_probabilities_serve_as_outcomes() -> None:
    _, probabilities, weight = rows_of(500, 4)
    truth = expit(1.3 * logit(probabilities) + 0.2)
    assert METRICS["calibration_slope"](truth, probabilities, weight) == pytest.approx(1.3, abs=1e-6)


def test_a_slope_that_no_number_is_large_enough_for_is_still_a_number() -> None:
    probabilities = np.array([0.1, 0.2, 0.8, 0.9])
    assert METRICS["calibration_slope"](np.array([0, 0, 1, 1]), probabilities, np.ones(4)) > 5


@pytest.mark.parametrize("name", ["auc", "average_precision"])
@pytest.mark.parametrize("outcome", [0, 1])
def test_ranking_of_one_outcome_is_not_a_number(name: str, outcome: int) -> None:
    assert np.isnan(METRICS[name](np.full(3, outcome), np.array([0.1, 0.2, 0.3]), np.ones(3)))


def test_rows_of_no_weight_count_for_nothing_where_outcomes_are_compared() -> None:
    assert np.isnan(METRICS["auc"](np.array([0, 0, 1]), np.array([0.1, 0.2, 0.3]), np.array([1.0, 1.0, 0.0])))


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_weight_is_a_number_of_repetitions(name: str, seed: int) -> None:
    outcomes, probabilities, _ = rows_of(60, seed)
    outcomes[:2] = 0, 1
    times = np.random.default_rng(seed).integers(1, 4, 60)
    weighted = METRICS[name](outcomes, probabilities, times.astype(np.float64))
    repeated = METRICS[name](np.repeat(outcomes, times), np.repeat(probabilities, times), np.ones(times.sum()))
    assert weighted == pytest.approx(repeated, rel=1e-6)


# --- intervals --------------------------------------------------------------------------------


def accounts_of(n: int, seed: int) -> tuple[pd.Series, Floats, Floats]:
    """Rows in accounts of different size that are alike within; the true chance is one in four everywhere."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 8, n)
    account = np.repeat(np.arange(n), size)
    mood = rng.beta(1, 3, n)[account]
    return pd.Series(account), (rng.random(len(account)) < mood).astype(np.float64), np.full(len(account), 0.25)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        account, outcomes, probabilities = accounts_of(150, seed)
        draws = evaluate.bootstrap_weights(account, seed)
        held += 1.0 in evaluate.interval(
            evaluate.observed_to_expected, outcomes, probabilities, np.ones(len(account)), draws
        )
    # Four standard errors of 200 trials around 95 %, and half a per cent for so few resamples.
    assert 0.88 <= held / 200 <= 0.995


def test_taking_rows_for_independent_would_make_the_interval_too_narrow() -> None:
    account, outcomes, probabilities = accounts_of(150, 1)
    weight = np.ones(len(account))
    rightly, wrongly = (
        evaluate.interval(
            evaluate.observed_to_expected, outcomes, probabilities, weight, evaluate.bootstrap_weights(key, 0)
        )
        for key in (account, pd.Series(range(len(account))))
    )
    assert wrongly.high - wrongly.low < 0.85 * (rightly.high - rightly.low)


def test_rows_of_an_account_are_drawn_together() -> None:
    account, _, _ = accounts_of(20, 1)
    draws = pd.DataFrame(evaluate.bootstrap_weights(account, 3).T).groupby(account.to_numpy()).nunique()
    assert (draws == 1).all(axis=None)


def test_as_many_accounts_are_drawn_as_there_are() -> None:
    account = pd.Series(["b", "a", "c"])
    assert (evaluate.bootstrap_weights(account, 3).sum(axis=1) == 3).all()


def test_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    account, _, _ = accounts_of(20, 1)
    one, same, other = (evaluate.bootstrap_weights(account, seed).tobytes() for seed in (3, 3, 4))
    assert (one == same, one == other) == (True, False)


def test_an_interval_holds_its_ends() -> None:
    one = Interval(0.5, 0.4, 0.6)
    assert [value in one for value in (0.4, 0.6, 0.39, 0.61)] == [True, True, False, False]


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_exact_interval_is_that_of_clopper_and_pearson(counts: tuple[int, int]) -> None:
    found, oracle = exact_interval(*counts), binomtest(*counts).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-10)
    assert found.value == counts[0] / counts[1]


# --- tables of predictions --------------------------------------------------------------------


def predictions(
    leads: list[str], probabilities: list[float], converted: list[int], cutoff: float = 0.3
) -> pd.DataFrame:
    n = len(leads)
    start = pd.Timestamp("2026-03-01", tz="UTC")
    return pd.DataFrame(
        {
            "lead_id": leads, "account": pd.factorize(np.array(leads))[0],
            "as_of": [start + pd.Timedelta(days=i) for i in range(n)],
            "trial_day": 3.0, "probability": probabilities, "converted": converted,
            "is_pql": np.array(probabilities) >= cutoff, "logistic": 0.2, "base_rate": 0.25,
        }
    )  # fmt: skip


def random_predictions(seed: int, n: int = 300) -> pd.DataFrame:
    outcomes, probabilities, _ = rows_of(n, seed)
    leads = [f"u{i}" for i in np.random.default_rng(seed).integers(0, n // 2, n)]
    return predictions(leads, probabilities.tolist(), outcomes.tolist())


def test_every_figure_is_that_of_its_metric_on_all_rows_alike() -> None:
    table = random_predictions(1)
    outcomes, probabilities = table["converted"].to_numpy(), table["probability"].to_numpy()
    found = {name: one.value for name, one in evaluate.evaluate(table, 0).items()}
    assert found == {name: metric(outcomes, probabilities, np.ones(len(table))) for name, metric in METRICS.items()}


def test_every_figure_lies_within_its_interval() -> None:
    assert all(one.value in one for one in evaluate.evaluate(random_predictions(1), 0).values())


def test_a_column_compared_with_itself_differs_by_nothing() -> None:
    found = evaluate.compare(random_predictions(1), "probability", "probability", evaluate.log_loss, 0)
    assert found == Interval(0.0, 0.0, 0.0)


def test_comparing_the_other_way_round_turns_the_sign() -> None:
    table = random_predictions(1)
    one = evaluate.compare(table, "probability", "base_rate", evaluate.log_loss, 0)
    other = evaluate.compare(table, "base_rate", "probability", evaluate.log_loss, 0)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_a_paired_difference_is_known_better_than_its_two_sides() -> None:
    table = random_predictions(1, 2_000)
    table["nearly"] = expit(logit(table["probability"]) + 0.1)
    paired = evaluate.compare(table, "probability", "nearly", evaluate.log_loss, 0)
    alone = evaluate.evaluate(table, 0)["log_loss"]
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


# --- the promise ------------------------------------------------------------------------------

looks = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.1, 0.3, 0.5]), st.integers(0, 1)), min_size=1, max_size=20
)


def plain_promise(rows: list[tuple[str, float, int]]) -> tuple[int, int]:
    first: dict[str, int] = {}
    for lead, probability, converted in rows:
        if probability >= 0.3:
            first.setdefault(lead, converted)
    return len(first), sum(first.values())


@given(looks)
def test_a_pql_counts_once_when_it_first_crossed_the_cutoff(rows: list[tuple[str, float, int]]) -> None:
    leads, probabilities, converted = (list(part) for part in zip(*rows, strict=True))
    found = promise(predictions(leads, probabilities, converted), CUTOFF)
    assert (found.leads, found.converted) == plain_promise(rows)


@given(looks, st.randoms())
def test_the_promise_does_not_depend_on_the_order_of_the_file(rows: list[tuple[str, float, int]], rng: Random) -> None:
    leads, probabilities, converted = (list(part) for part in zip(*rows, strict=True))
    table = predictions(leads, probabilities, converted)
    order = list(range(len(table)))
    rng.shuffle(order)
    assert repr(promise(table.iloc[order], CUTOFF)) == repr(promise(table, CUTOFF))


def test_the_realised_precision_comes_with_its_exact_interval() -> None:
    table = predictions(["a", "b", "c", "d"], [0.9, 0.8, 0.7, 0.1], [1, 0, 1, 1])
    found = promise(table, CUTOFF)
    assert found.precision == exact_interval(2, 3)
    assert found.kept is True


def test_a_promise_is_broken_where_fewer_convert_than_was_asked_for() -> None:
    table = predictions(list("abcde"), [0.9] * 5, [1, 0, 0, 0, 0])
    assert promise(table, CUTOFF).kept is False


def test_a_share_of_exactly_what_was_asked_for_keeps_the_promise() -> None:
    assert promise(predictions(list("abcd"), [0.9] * 4, [1, 0, 0, 0]), CUTOFF).kept is True


def test_what_is_caught_is_the_share_of_converters_that_were_pqls() -> None:
    table = predictions(["a", "b", "c", "c"], [0.9, 0.1, 0.1, 0.5], [1, 1, 1, 1])
    assert promise(table, CUTOFF).caught == pytest.approx(2 / 3)


def test_where_nobody_is_flagged_nothing_was_kept_or_broken() -> None:
    found = promise(predictions(["a", "b"], [0.1, 0.2], [1, 0]), CUTOFF)
    assert (found.leads, found.precision, found.kept, found.caught) == (0, None, None, 0.0)


def test_where_nothing_was_promised_nothing_was_kept_or_broken() -> None:
    found = promise(predictions(["a", "b"], [0.9, 0.2], [1, 0]), replace(CUTOFF, at_least=None))
    assert (found.asked_for, found.kept) == (None, None)
    assert found.precision == exact_interval(1, 1)


def test_where_nobody_converts_there_is_nothing_to_catch() -> None:
    assert np.isnan(promise(predictions(["a"], [0.9], [0]), CUTOFF).caught)


def test_without_a_cutoff_there_is_no_promise() -> None:
    table = predictions(["a", "b"], [0.9, 0.2], [1, 0]).assign(is_pql=False)
    found = promise(table, NoCutoff(0.25, 0.9, "why"))
    assert (found.leads, found.precision, found.asked_for) == (0, None, 0.25)

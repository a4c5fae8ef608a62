"""Two numbers that turn margins into probabilities: as another implementation finds them, and as they truly are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from features.errors import Refusal
from features.windows import Floats, Ints
from serving.scoring.calibration import Sigmoid
from serving.scoring.scorer import Scorer
from training.calibrate import SD_SHIFT, SD_SLOPE, calibrate
from training.evaluate import log_loss
from training.pipeline import Trained


def outcomes(margins: Floats, slope: float, shift: float, rng: np.random.Generator) -> Ints:
    return (rng.random(len(margins)) < expit(slope * margins + shift)).astype(np.int64)


def penalised_loss(theta: Floats, margins: Floats, converted: Ints, weight: Floats) -> float:
    shift, slope = theta
    odds = slope * margins + shift
    losses = weight * (np.logaddexp(0, odds) - converted * odds)
    return float(losses.sum() + (shift / SD_SHIFT) ** 2 / 2 + ((slope - 1) / SD_SLOPE) ** 2 / 2)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 400), st.floats(0.6, 1.6), st.floats(-2, 1))
def test_it_is_the_optimum_that_another_optimiser_finds(seed: int, n: int, slope: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-2, 1.5, n)
    converted, weight = outcomes(margins, slope, shift, rng), rng.uniform(0.2, 1, n)
    best = minimize(penalised_loss, [0.0, 1.0], (margins, converted, weight), method="BFGS", options={"gtol": 1e-8})
    found = calibrate(margins, converted, weight)
    assert (found.shift, found.slope) == pytest.approx(tuple(best.x), abs=1e-4)


def test_on_large_data_it_is_plain_logistic_regression() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(-2, 1.5, 200_000)
    converted = outcomes(margins, 0.7, 0.4, rng)
    oracle = LogisticRegression(C=np.inf, tol=1e-9).fit(margins[:, None], converted)
    found = calibrate(margins, converted, np.ones(len(margins)))
    assert (found.slope, found.shift) == pytest.approx((oracle.coef_[0, 0], oracle.intercept_[0]), abs=2e-3)


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.6, -0.5), (1.5, 0.8)])
def test_it_recovers_how_margins_are_off(slope: float, shift: float) -> None:
    rng = np.random.default_rng(2)
    margins = rng.normal(-2, 1.5, 200_000)
    found = calibrate(margins, outcomes(margins, slope, shift, rng), np.ones(len(margins)))
    assert (found.slope, found.shift) == pytest.approx((slope, shift), abs=0.05)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_doubling_the_weight_of_a_row_is_repeating_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-1, 1, 60)
    converted, weight = outcomes(margins, 1.0, 0.0, rng), rng.integers(1, 4, 60)
    repeated = calibrate(np.repeat(margins, weight), np.repeat(converted, weight), np.ones(weight.sum()))
    weighted = calibrate(margins, converted, weight.astype(np.float64))
    assert (weighted.slope, weighted.shift) == pytest.approx((repeated.slope, repeated.shift), abs=1e-9)


def test_inverted_margins_are_refused_with_what_to_do() -> None:
    rng = np.random.default_rng(3)
    margins = rng.normal(-1, 1.5, 2_000)
    converted = outcomes(margins, -1.0, -1.0, rng)
    with pytest.raises(Refusal, match=r"no signal: .*higher scores do not convert more often\. Look at"):
        calibrate(margins, converted, np.ones(2_000))


def test_a_handful_of_leads_changes_little() -> None:
    margins = np.array([-2.0, -1.0, 0.0, 1.0])
    found = calibrate(margins, np.array([1, 0, 0, 0]), np.ones(4))
    assert found.slope == pytest.approx(1.0, abs=0.5)
    assert found.shift == pytest.approx(0.0, abs=1.0)


def test_without_any_leads_nothing_changes() -> None:
    none = np.zeros(0)
    assert calibrate(none, np.zeros(0, np.int64), none) == Sigmoid(slope=1.0, shift=0.0)


# --- margins, not probabilities ---------------------------------------------------------------


def test_the_pipeline_calibrates_margins(trained: Trained) -> None:
    learned, margins = trained.table.take(trained.split.fit), trained.fitted.out_of_fold
    assert trained.split.cutoff is None
    assert trained.artifact.calibration == calibrate(margins, learned.converted, learned.weight)
    # Log-odds of a base rate near one in ten lie well below any probability.
    assert np.median(margins) < -1


def test_calibrating_probabilities_instead_would_be_worse(trained: Trained) -> None:
    learned = trained.table.take(trained.split.fit)
    margins = trained.fitted.out_of_fold
    rightly = calibrate(margins, learned.converted, learned.weight).probabilities(margins)
    wrongly = calibrate(expit(margins), learned.converted, learned.weight).probabilities(expit(margins))
    right, wrong = (log_loss(learned.converted, found, learned.weight) for found in (rightly, wrongly))
    assert wrong > 1.02 * right


def test_calibrating_keeps_the_order_of_the_margins(trained: Trained) -> None:
    margins = trained.fitted.out_of_fold
    probabilities = trained.artifact.calibration.probabilities(margins)
    assert (np.diff(probabilities[np.argsort(margins)]) >= 0).all()
    assert len(np.unique(probabilities)) == len(np.unique(margins))


def test_served_probabilities_are_the_calibrated_margins(trained: Trained) -> None:
    scorer, calibration = Scorer(trained.artifact), trained.artifact.calibration
    margins = trained.fitted.ranking.margins(trained.artifact.examples)
    odds = logit(scorer.probabilities(trained.artifact.examples))
    np.testing.assert_allclose(odds, calibration.slope * margins + calibration.shift, atol=1e-9)


# --- the sigmoid ------------------------------------------------------------------------------

sigmoids = st.builds(Sigmoid, st.floats(0.05, 20), st.floats(-10, 10))


@given(sigmoids, st.floats(-1e300, 1e300))
def test_a_probability_is_never_0_or_1(sigmoid: Sigmoid, margin: float) -> None:
    assert 0 < sigmoid.probabilities(np.array([margin]))[0] < 1


@given(sigmoids, st.floats(-28, 28), st.floats(0.5, 5))
def test_higher_log_odds_always_mean_a_higher_probability(sigmoid: Sigmoid, odds: float, more: float) -> None:
    margins = (np.array([odds, min(odds + more, 29.0)]) - sigmoid.shift) / sigmoid.slope
    low, high = sigmoid.probabilities(margins)
    assert low < high

"""Two numbers that turn margins into probabilities: as other implementations find them, as they truly are, or none."""

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
from training.calibrate import LEARNING, SAME, UPDATING, WORTH_IT, Prior, calibrate, in_the_large, updated
from training.evaluate import log_loss
from training.pipeline import Trained

WIDE = Prior(shift=1e4, slope=1e4)


def outcomes(margins: Floats, slope: float, shift: float, rng: np.random.Generator) -> Ints:
    return (rng.random(len(margins)) < expit(slope * margins + shift)).astype(np.int64)


def likelihood(sigmoid: Sigmoid, margins: Floats, converted: Ints, weight: Floats) -> float:
    odds = sigmoid.slope * margins + sigmoid.shift
    return float(-(weight * (np.logaddexp(0, odds) - converted * odds)).sum())


def posterior(theta: Floats, before: Sigmoid, margins: Floats, converted: Ints, weight: Floats, prior: Prior) -> float:
    """Minus the logarithm of the posterior of (shift, slope), as changes of the log-odds that were."""
    shift, slope = theta
    after = Sigmoid(slope * before.slope, shift + slope * before.shift)
    off = (shift / prior.shift) ** 2 / 2 + ((slope - 1) / prior.slope) ** 2 / 2
    return -likelihood(after, margins, converted, weight) + float(off)


# --- the update -------------------------------------------------------------------------------

priors = st.sampled_from([LEARNING, UPDATING, Prior(3.0, 0.05)])
befores = st.builds(Sigmoid, st.floats(0.5, 2), st.floats(-1, 1))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 400), st.floats(0.6, 1.6), st.floats(-2, 1), befores, priors)
def test_the_update_is_the_optimum_that_another_optimiser_finds(
    seed: int, n: int, slope: float, shift: float, before: Sigmoid, prior: Prior
) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-2, 1.5, n)
    converted, weight = outcomes(margins, slope, shift, rng), rng.uniform(0.2, 1, n)
    given = (before, margins, converted, weight, prior)
    best = minimize(posterior, [0.0, 1.0], given, method="BFGS", options={"gtol": 1e-8}).x
    found = updated(*given)
    oracle = (best[0] + best[1] * before.shift, best[1] * before.slope)
    assert (found.shift, found.slope) == pytest.approx(oracle, abs=2e-4)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 400), befores, priors)
def test_at_the_update_the_posterior_is_flat(seed: int, n: int, before: Sigmoid, prior: Prior) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-2, 1.5, n)
    converted, weight = outcomes(margins, 1.1, -0.3, rng), rng.uniform(0.2, 1, n)
    found = updated(before, margins, converted, weight, prior)
    slope = found.slope / before.slope
    theta, step = np.array([found.shift - slope * before.shift, slope]), 1e-4
    for place in (0, 1):
        aside = np.eye(2)[place] * step
        up, down = (posterior(theta + one, before, margins, converted, weight, prior) for one in (aside, -aside))
        assert abs(up - down) / (2 * step) < 1e-4
        assert up + down > 2 * posterior(theta, before, margins, converted, weight, prior)


def test_with_a_wide_prior_it_is_plain_logistic_regression() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(-2, 1.5, 3_000)
    converted = outcomes(margins, 0.7, 0.4, rng)
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(margins[:, None], converted)
    for before in (SAME, Sigmoid(1.7, -0.6)):
        found = updated(before, margins, converted, np.ones(len(margins)), WIDE)
        assert (found.slope, found.shift) == pytest.approx((oracle.coef_[0, 0], oracle.intercept_[0]), abs=2e-4)


def test_without_any_leads_nothing_changes() -> None:
    none, before = np.zeros(0), Sigmoid(0.8, -0.4)
    assert updated(before, none, np.zeros(0, np.int64), none, UPDATING) == before
    assert calibrate(none, np.zeros(0, np.int64), none) == SAME


def test_a_handful_of_leads_changes_little() -> None:
    found = updated(SAME, np.array([-2.0, -1.0, 0.0, 1.0]), np.array([1, 0, 0, 0]), np.ones(4), UPDATING)
    assert found.slope == pytest.approx(1.0, abs=0.1)
    assert found.shift == pytest.approx(0.0, abs=0.3)


def test_a_surer_prior_stays_closer_to_what_was() -> None:
    rng = np.random.default_rng(6)
    margins = rng.normal(-2, 1.5, 300)
    converted, weight = outcomes(margins, 0.6, 1.0, rng), np.ones(300)
    sure, unsure, none = (updated(SAME, margins, converted, weight, Prior(sd, sd)) for sd in (0.01, 0.2, 1e4))
    assert (sure.slope, sure.shift) == pytest.approx((1.0, 0.0), abs=0.02)
    assert likelihood(sure, margins, converted, weight) < likelihood(unsure, margins, converted, weight) - 5
    assert likelihood(unsure, margins, converted, weight) < likelihood(none, margins, converted, weight) - 0.5


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_doubling_the_weight_of_a_row_is_repeating_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-1, 1, 60)
    converted, weight = outcomes(margins, 1.0, 0.0, rng), rng.integers(1, 4, 60)
    again = np.repeat(np.arange(60), weight)
    repeated = updated(SAME, margins[again], converted[again], np.ones(len(again)), LEARNING)
    weighted = updated(SAME, margins, converted, weight.astype(np.float64), LEARNING)
    assert (weighted.slope, weighted.shift) == pytest.approx((repeated.slope, repeated.shift), abs=1e-9)


@pytest.mark.parametrize("scale", [10.0, 200.0])
def test_margins_far_out_are_no_trouble(scale: float) -> None:
    """A whole Newton step would overshoot; half steps arrive where another optimiser does."""
    rng = np.random.default_rng(7)
    margins = scale * rng.normal(0, 1, 500)
    given = (SAME, margins, outcomes(margins, 0.5 / scale, -1.0, rng), np.ones(500), Prior(5.0, 5.0))
    found = updated(*given)
    oracle = minimize(posterior, [0.0, 0.5 / scale], given, method="Nelder-Mead", options={"xatol": 1e-8}).x
    assert (found.shift, found.slope) == pytest.approx(tuple(oracle), abs=1e-4)


def test_inverted_margins_are_refused_with_what_to_do() -> None:
    rng = np.random.default_rng(3)
    margins = rng.normal(-1, 1.5, 2_000)
    converted = outcomes(margins, -1.0, -1.0, rng)
    with pytest.raises(Refusal, match=r"no signal: .*higher scores do not convert more often\. Look at"):
        calibrate(margins, converted, np.ones(2_000))


# --- no change where none is needed -----------------------------------------------------------


def gained(margins: Floats, converted: Ints, weight: Floats) -> float:
    found = updated(SAME, margins, converted, weight, LEARNING)
    return likelihood(found, margins, converted, weight) - likelihood(SAME, margins, converted, weight)


def test_margins_that_are_right_are_left_as_they_are() -> None:
    """By Akaike's rule chance alone may still gain enough in some 13 of 100 cases: so mostly, not always."""
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        margins = rng.normal(-2, 1.5, 800)
        kept += calibrate(margins, outcomes(margins, 1.0, 0.0, rng), np.ones(800)) == SAME
    assert kept >= 29


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.7, 1.4), st.floats(-0.4, 0.4))
def test_a_sigmoid_is_taken_from_a_gain_of_two_on(seed: int, slope: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-2, 1.5, 400)
    converted, weight = outcomes(margins, slope, shift, rng), rng.uniform(0.5, 1, 400)
    found, gain = calibrate(margins, converted, weight), gained(margins, converted, weight)
    assert WORTH_IT == 2.0
    assert found == (updated(SAME, margins, converted, weight, LEARNING) if gain > 2.0 else SAME)


def test_both_sides_of_that_rule_are_met() -> None:
    gains = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        margins = rng.normal(-2, 1.5, 400)
        gains.append(gained(margins, outcomes(margins, 0.85, 0.0, rng), np.ones(400)))
    assert min(gains) < 2.0 < max(gains)


@pytest.mark.parametrize(("slope", "shift"), [(0.6, -0.5), (1.5, 0.8), (1.0, 0.3)])
def test_it_recovers_how_margins_are_off(slope: float, shift: float) -> None:
    rng = np.random.default_rng(2)
    margins = rng.normal(-2, 1.5, 200_000)
    found = calibrate(margins, outcomes(margins, slope, shift, rng), np.ones(len(margins)))
    assert (found.slope, found.shift) == pytest.approx((slope, shift), abs=0.05)


# --- drift ------------------------------------------------------------------------------------


def excess(before: Floats, truth: Floats) -> float:
    """How much more log loss estimated log-odds have than the truth, in thousandths."""
    chance = expit(truth)
    return 1e3 * float(np.mean(np.logaddexp(0, before) - np.logaddexp(0, truth) - chance * (before - truth)))


@pytest.fixture(scope="module")
def drifted() -> dict[int, Floats]:
    """Excess log loss after 15 and 60 conversions of a base rate that fell by 35 %: kept, updated, learned anew."""
    rng = np.random.default_rng(0)
    z = rng.normal(-3.0, 1.1, 20_000)
    fall = in_the_large(0.65 * float(expit(z).sum()), z, np.ones(len(z)))
    found: dict[int, Floats] = {}
    for conversions in (15, 60):
        n = round(conversions / expit(z + fall).mean())
        runs = []
        for _ in range(120):
            recent = z[rng.integers(0, len(z), n)]
            converted, weight = outcomes(recent, 1.0, fall, rng), np.ones(n)
            sigmoids = [SAME, *(updated(SAME, recent, converted, weight, prior) for prior in (UPDATING, WIDE))]
            runs.append([excess(one.log_odds(z), z + fall) for one in sigmoids])
        found[conversions] = np.mean(runs, axis=0)
    return found


def test_keeping_the_old_numbers_costs_what_was_published(drifted: dict[int, Floats]) -> None:
    assert drifted[15][0] == pytest.approx(6.4, abs=0.8)


def test_fifteen_new_conversions_repair_most_of_a_drift(drifted: dict[int, Floats]) -> None:
    kept, ours, anew = drifted[15]
    assert ours <= 2.5 < 0.5 * kept
    assert ours < 0.75 * anew


def test_sixty_new_conversions_repair_nearly_all_of_it(drifted: dict[int, Floats]) -> None:
    kept, ours, anew = drifted[60]
    assert ours <= 0.9 < 0.2 * kept
    assert ours <= anew + 0.05


def test_where_nothing_drifted_an_update_costs_little() -> None:
    rng = np.random.default_rng(5)
    z = rng.normal(-3.0, 1.1, 20_000)
    costs = []
    for _ in range(120):
        recent = z[rng.integers(0, len(z), round(15 / expit(z).mean()))]
        found = updated(SAME, recent, outcomes(recent, 1.0, 0.0, rng), np.ones(len(recent)), UPDATING)
        costs.append(excess(found.log_odds(z), z))
    assert np.mean(costs) < 2.0


# --- right on average -------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.999), st.floats(0, 30))
def test_in_the_large_probabilities_add_up_to_the_conversions(seed: int, share: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    margins, weight = rng.normal(0, spread, 30), rng.uniform(0.2, 1, 30)
    shift = in_the_large(share * float(weight.sum()), margins, weight)
    assert weight @ expit(margins + shift) == pytest.approx(share * weight.sum(), rel=1e-6)


# --- margins, not probabilities ---------------------------------------------------------------


def unseen(trained: Trained) -> tuple[Floats, Ints, Floats]:
    """Margins of the fit part by rankings that had not seen their accounts, with outcomes and weights."""
    learned = trained.table.take(trained.split.fit)
    both = trained.artifact.rung == "lightgbm"
    margins = trained.fitted.both_unseen if both else trained.fitted.scorecard_unseen
    assert len(margins) > len(learned)
    return margins[: len(learned)], learned.converted, learned.weight


def test_the_pipeline_calibrates_margins(trained: Trained) -> None:
    assert trained.split.cutoff is None
    margins, converted, weight = unseen(trained)
    assert trained.artifact.calibration == calibrate(margins, converted, weight)
    # Log-odds of a base rate near one in ten lie well below any probability.
    assert np.median(margins) < -1


def test_calibrating_probabilities_instead_would_be_worse(trained: Trained) -> None:
    margins, converted, weight = unseen(trained)
    rightly = calibrate(margins, converted, weight).probabilities(margins)
    wrongly = calibrate(expit(margins), converted, weight).probabilities(expit(margins))
    right, wrong = (log_loss(converted, found, weight) for found in (rightly, wrongly))
    assert wrong > 1.02 * right


def test_probabilities_fed_instead_of_margins_would_not_be_left_as_they_are(trained: Trained) -> None:
    margins, converted, weight = unseen(trained)
    assert calibrate(margins, converted, weight).slope == pytest.approx(1.0, abs=0.25)
    assert calibrate(expit(margins), converted, weight).slope > 2


def test_calibrating_keeps_the_order_of_the_margins(trained: Trained) -> None:
    margins, _, _ = unseen(trained)
    probabilities = trained.artifact.calibration.probabilities(margins)
    assert (np.diff(probabilities[np.argsort(margins)]) >= 0).all()
    assert len(np.unique(probabilities)) == len(np.unique(margins))


def test_served_probabilities_are_the_calibrated_margins(trained: Trained) -> None:
    scorer, calibration = Scorer(trained.artifact), trained.artifact.calibration
    ranking = trained.fitted.both if trained.artifact.rung == "lightgbm" else trained.fitted.scorecard
    margins = ranking.margins(trained.artifact.examples)
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

"""The Cox test rejects as many perfect scores as it says, sees the faults that matter, and is the plain one where it may be."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import binom, chi2
from sklearn.linear_model import LogisticRegression

from features.windows import Floats, Ints
from training.judging.recalibration import CoxTest, cox_test

Told = tuple[Ints, Floats, pd.Series]


def told(seed: int, leads: int = 1_000, snapshots: int = 3) -> Told:
    """Outcomes, true probabilities and accounts: two leads each, whose snapshots share one luck."""
    rng = np.random.default_rng(seed)
    mood = rng.normal(-2.4, 1.1, leads)
    odds = np.concatenate([mood + rng.normal(0, 0.4, leads) for _ in range(snapshots)])
    luck = np.tile(rng.random(leads), snapshots)
    return (luck < expit(odds)).astype(np.int64), expit(odds), pd.Series(np.tile(np.arange(leads) // 2, snapshots))


def rejected(faulty: float, slope: float, trials: int, seed: int, *, independent: bool = False) -> int:
    found = 0
    for number in range(trials):
        outcomes, right, accounts = told(seed + number, snapshots=1 if independent else 3)
        who = pd.Series(range(len(outcomes))) if independent else accounts
        odds = -2.4 + slope * (logit(right) + 2.4) + np.log(faulty)
        found += cox_test(outcomes, expit(odds), who).p_value < 0.05
    return found


@pytest.mark.parametrize("independent", [True, False], ids=["one row each", "several rows each"])
def test_it_rejects_five_of_a_hundred_perfect_scores(*, independent: bool) -> None:
    # 1 in 1,000 of tests whose true size is 5 to 7 % reject fewer or more of 200.
    low, high = binom.ppf(0.0005, 200, 0.05), binom.ppf(0.9995, 200, 0.07)
    assert low <= rejected(1.0, 1.0, 200, 0, independent=independent) <= high


def test_taking_snapshots_for_independent_would_reject_far_too_many() -> None:
    wrongly = 0
    for seed in range(60):
        outcomes, right, _ = told(seed)
        wrongly += cox_test(outcomes, right, pd.Series(range(len(outcomes)))).p_value < 0.05
    assert wrongly > 0.15 * 60


def test_it_sees_a_base_rate_that_is_a_quarter_too_low() -> None:
    assert rejected(0.75, 1.0, 40, 500) > 0.5 * 40


def test_it_sees_log_odds_that_are_a_quarter_too_steep() -> None:
    assert rejected(1.0, 1.25, 40, 500) > 0.6 * 40


def test_with_one_row_per_account_it_is_the_likelihood_ratio() -> None:
    outcomes, right, _ = told(3, snapshots=1)
    found = cox_test(outcomes, expit(1.2 * logit(right)), pd.Series(range(len(outcomes))))
    z = 1.2 * logit(right)
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(z[:, None], outcomes).predict_proba(z[:, None])[:, 1]

    def losses(p: Floats) -> float:
        return -float((outcomes * np.log(p) + (1 - outcomes) * np.log1p(-p)).sum())

    ratio = 2 * (losses(expit(z)) - losses(fitted))
    assert found.statistic == pytest.approx(ratio, rel=1e-4)
    assert found.p_value == pytest.approx(chi2.sf(ratio, 2), rel=1e-3)
    assert not found.clustered


def test_an_account_repeated_whole_says_nothing_new() -> None:
    outcomes, right, accounts = told(4)
    once = cox_test(outcomes, right, accounts)
    thrice = cox_test(np.tile(outcomes, 3), np.tile(right, 3), pd.concat([accounts] * 3))
    assert thrice.statistic == pytest.approx(once.statistic, rel=1e-6)
    assert once.clustered


def test_the_order_of_rows_does_not_matter() -> None:
    outcomes, right, accounts = told(5)
    order = np.random.default_rng(1).permutation(len(outcomes))
    shuffled = cox_test(outcomes[order], right[order], accounts.iloc[order])
    assert shuffled.statistic == pytest.approx(cox_test(outcomes, right, accounts).statistic)


@pytest.mark.parametrize(
    ("outcomes", "probabilities"),
    [([0, 0, 0], [0.1, 0.2, 0.3]), ([1, 1, 1], [0.1, 0.2, 0.3]), ([0, 1, 0], [0.2, 0.2, 0.2]), ([], [])],
    ids=["none converted", "all converted", "one score", "nobody"],
)
def test_there_is_no_test_where_nothing_varies(outcomes: list[int], probabilities: list[float]) -> None:
    found = cox_test(np.array(outcomes), np.array(probabilities), pd.Series(range(len(outcomes)), dtype=int))
    assert np.isnan([found.statistic, found.p_value]).all()


def test_scores_that_a_line_separates_are_still_a_number() -> None:
    found = cox_test(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]), pd.Series([1, 1, 2, 2]))
    assert isinstance(found, CoxTest)
    assert 0 <= found.p_value <= 1

"""CORP as other implementations and its definition find it, and a band that holds what is right."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from features.windows import Floats
from training.judging import reliability
from training.judging.reliability import decompose, reliability_of


def told(n: int, seed: int, snapshots: int = 1, slope: float = 1.0, shift: float = 0.0) -> pd.DataFrame:
    """Predictions whose log-odds are off by slope and shift; snapshots of a lead share one luck."""
    rng = np.random.default_rng(seed)
    odds = np.tile(rng.normal(-1.8, 1.2, n), snapshots) + rng.normal(0, 0.3, n * snapshots)
    lead = np.tile(np.arange(n), snapshots)
    converted = (rng.random(n)[lead] < expit(slope * odds + shift)).astype(int)
    return pd.DataFrame({"lead_id": [f"u{i}" for i in lead], "probability": expit(odds), "converted": converted})


def minimax(shares: Floats) -> Floats:
    """The definition: the greatest, over starts, of the least mean, over ends, of a run that holds the place."""
    n = len(shares)
    return np.array(
        [max(min(shares[a : b + 1].mean() for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
    )  # fmt: skip


def recalibrated(table: pd.DataFrame) -> Floats:
    found = IsotonicRegression().fit_transform(table["probability"], table["converted"])
    return np.asarray(found, np.float64)


# --- the decomposition ------------------------------------------------------------------------


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_recalibrated_scores_are_the_minimax_of_means(seed: int) -> None:
    table = told(25, seed).sort_values("probability")
    found = reliability._levels(table)
    shares = found.shares(table["converted"].to_numpy(np.float64))
    assert found.recalibrated(shares) == pytest.approx(minimax(table["converted"].to_numpy(np.float64)), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_parts_are_those_of_isotonic_regression(seed: int) -> None:
    table = told(400, seed, slope=1.4)
    y, p, right = table["converted"], table["probability"], recalibrated(table)
    could = log_loss(y, right.clip(1e-15, 1 - 1e-15))
    least = log_loss(y, np.full(len(y), y.mean()))
    found = decompose(table)
    assert found.miscalibration == pytest.approx(log_loss(y, p) - could, abs=1e-9)
    assert found.discrimination == pytest.approx(least - could, abs=1e-9)
    assert found.uncertainty == pytest.approx(least, abs=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), snapshots=st.integers(1, 3))
def test_the_parts_add_up_to_log_loss_and_none_is_negative(seed: int, snapshots: int) -> None:
    table = told(30, seed, snapshots)
    found = decompose(table)
    loss = log_loss(table["converted"], table["probability"], labels=[0, 1])
    assert found.loss == pytest.approx(loss, abs=1e-12)
    assert min(found.miscalibration, found.discrimination, found.uncertainty) >= -1e-12


def test_ranking_alone_decides_discrimination() -> None:
    table = told(500, 1)
    bent = table.assign(probability=expit(2 * logit(table["probability"]) - 1))
    one, other = decompose(table), decompose(bent)
    assert other.discrimination == pytest.approx(one.discrimination, abs=1e-12)
    assert other.miscalibration > one.miscalibration


def test_leads_repeated_with_their_luck_change_no_part() -> None:
    table = told(200, 2)
    one, twice = decompose(table), decompose(pd.concat([table, table]))
    assert (twice.miscalibration, twice.discrimination, twice.uncertainty) == pytest.approx(
        (one.miscalibration, one.discrimination, one.uncertainty)
    )


def test_a_perfect_score_lies_below_the_upper_end_as_often_as_it_says() -> None:
    inside = sum(not decompose(told(300, seed, snapshots=2)).beyond_luck for seed in range(40))
    assert inside >= 33  # 95 % of 40, less four standard errors


def test_a_score_that_is_half_too_low_lies_beyond_luck() -> None:
    assert all(decompose(told(1_000, seed, shift=0.8)).beyond_luck for seed in range(5))


def test_the_band_knows_that_snapshots_of_a_lead_go_together() -> None:
    table = told(300, 1, snapshots=3)
    together, apart = decompose(table), decompose(table.assign(lead_id=[f"u{i}" for i in range(len(table))]))
    assert together.high > 1.3 * apart.high


# --- the curve --------------------------------------------------------------------------------


def test_the_curve_is_that_of_isotonic_regression() -> None:
    table = told(300, 4)
    curve = reliability_of(table)
    order = np.argsort(table["probability"].to_numpy())
    oracle = np.interp(curve.scores, table["probability"].to_numpy()[order], recalibrated(table)[order])
    assert curve.observed == pytest.approx(oracle, abs=1e-9)


def test_the_curve_never_falls_and_stays_a_share() -> None:
    curve = reliability_of(told(300, 5))
    for line in (curve.observed, curve.low, curve.high):
        assert (np.diff(line) >= -1e-12).all()
        assert line.min() >= 0
        assert line.max() <= 1


def test_the_order_of_rows_does_not_matter_to_what_was_observed() -> None:
    table = told(200, 6, snapshots=2)
    shuffled = table.sample(frac=1, random_state=1)
    assert reliability_of(shuffled).observed == pytest.approx(reliability_of(table).observed)


def test_the_band_holds_a_score_that_is_right_and_not_one_that_is_not() -> None:
    assert reliability_of(told(2_000, 7)).inside > 0.6
    assert reliability_of(told(2_000, 7, shift=-0.8)).inside < 0.5


@pytest.mark.parametrize("won", [0, 1])
def test_outcomes_that_are_all_the_same_leave_nothing_to_tell_apart(won: int) -> None:
    found = decompose(told(20, 8).assign(converted=won))
    assert (found.discrimination, found.uncertainty) == pytest.approx((0, 0), abs=1e-12)
    assert np.isfinite(found.miscalibration)


def test_one_lead_is_enough_for_a_curve() -> None:
    assert 0 <= reliability_of(told(1, 9)).inside <= 1

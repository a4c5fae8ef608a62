"""The figures behind each finding, against other implementations and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact, hypergeom
from sklearn.metrics import roc_auc_score

from features.rules import Flags
from training.discovery.evidence import Stage, _drawn, exact_bounds, exact_interval, holm, measure, ranking, sharpness
from training.evaluate import Interval


def stage(lead: list[int], age: list[int], converted: list[int], account: list[int] | None = None) -> Stage:
    n = len(lead)
    days = np.arange(1.0, max(age) + 2)
    ahead = np.where(np.array(converted) == 1, 10.0 - np.array(age), 1e9)
    return Stage(
        np.zeros((n, 1)),
        np.array(lead),
        np.array(account or lead),
        np.array(age),
        np.array(converted),
        ahead,
        days,
        4.0,
    )


def yes(*flagged: int) -> Flags:
    return np.array(flagged, bool)


def one_age(seed: int, n: int = 200, mates: int = 1) -> tuple[Stage, Flags]:
    rng = np.random.default_rng(seed)
    account = np.arange(n) // mates
    pull = rng.normal(size=account.max() + 1)[account] * (mates > 1)
    won = rng.random(n) < 0.3 * np.exp(0.4 * pull).clip(0, 3)
    return stage(list(range(n)), [0] * n, won.astype(int).tolist(), account.tolist()), rng.random(n) < 0.4


# --- counting ---------------------------------------------------------------------------------


def test_a_lead_counts_once_when_it_first_meets_the_condition() -> None:
    # Lead 0 meets it at both ages and converts only seen from the second one; lead 1 at the second; lead 2 never.
    part = stage([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 1])
    found = measure(part, yes(1, 0, 0, 1, 1, 0))
    assert (found.leads, found.converted) == (2, 1)
    assert found.precision.value == 0.5
    # Usual: 1 of 3 at the first age, 3 of 3 at the second.
    assert found.lift.value == pytest.approx(1 / (1 / 3 + 1))
    assert found.coverage == pytest.approx(2 / 3)
    assert found.per_week == 0.5
    assert found.ahead == 9.0


def test_leads_are_compared_with_those_of_their_age() -> None:
    # Whoever is still there at the second age converts more often; that alone is no lift.
    n = 60
    part = stage([*range(n), *range(n)], [0] * n + [1] * n, [0, 0, 1] * (n // 3) + [1, 0, 1] * (n // 3))
    later_only = np.concatenate([np.zeros(n, bool), np.arange(n) < 30])
    assert measure(part, later_only).precision.value == pytest.approx(2 / 3)
    assert measure(part, later_only).lift.value == pytest.approx(1.0)
    assert measure(part, later_only).p > 0.5


def test_everyone_has_a_lift_of_one_and_nobody_has_none() -> None:
    part, _ = one_age(3)
    every, none = measure(part, np.ones(200, bool)), measure(part, np.zeros(200, bool))
    assert [every.lift.low, every.lift.high, every.p, every.coverage] == pytest.approx([1.0] * 4)
    assert (none.leads, none.p, none.coverage) == (0, 1.0, 0.0)
    assert np.isnan([none.lift.value, none.precision.value, none.ahead]).all()


def test_a_condition_that_nobody_converts_under_has_an_interval_all_the_same() -> None:
    won = [1] * 20 + [0] * 80
    found = measure(stage(list(range(100)), [0] * 100, won), np.arange(100) >= 60)
    assert found.lift.value == found.lift.low == 0
    assert found.lift.high == pytest.approx(binomtest(0, 40).proportion_ci(method="exact").high / 0.2)
    assert found.p < 0.01


# --- intervals and p values -------------------------------------------------------------------


@pytest.mark.parametrize(("won", "n"), [(0, 9), (3, 9), (9, 9), (40, 400)])
def test_the_interval_of_a_share_is_the_exact_one(won: int, n: int) -> None:
    wanted = binomtest(won, n).proportion_ci(0.95, "exact")
    found = exact_interval(won, n)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert [ends[0] for ends in exact_bounds(np.array([won]), np.array([n]))] == pytest.approx(
        [wanted.low, wanted.high]
    )


@pytest.mark.parametrize("seed", range(5))
def test_for_leads_of_one_age_on_their_own_the_p_value_is_near_fishers(seed: int) -> None:
    part, flagged = one_age(seed)
    won = part.converted == 1
    counts = [
        [int((flagged & won).sum()), int((flagged & ~won).sum())],
        [int((~flagged & won).sum()), int((~flagged & ~won).sum())],
    ]
    tails = [fisher_exact(np.array(counts), side).pvalue for side in ("less", "greater")]
    assert measure(part, flagged).p >= min(1.0, 2 * min(tails)) - 1e-9
    assert measure(part, flagged).p == pytest.approx(min(1.0, 2 * min(tails)), rel=0.25)


def test_the_p_value_of_chance_is_small_as_rarely_as_it_says_even_where_accounts_go_together() -> None:
    found = []
    for seed in range(400):
        part, _ = one_age(seed, 240, mates=4)
        rng = np.random.default_rng([seed, 1])
        shared = rng.normal(size=60)[part.account]
        found.append(measure(part, rng.normal(size=240) + 2 * shared > 0).p)
    assert np.mean(np.array(found) < 0.05) <= 0.08


def test_the_interval_of_a_lift_holds_the_truth_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(300):
        rng = np.random.default_rng([seed, 7])
        flagged = rng.random(400) < 0.3
        won = rng.random(400) < np.where(flagged, 0.4, 0.1)
        part = stage(list(range(400)), [0] * 400, won.astype(int).tolist())
        inside += 0.4 / (0.3 * 0.4 + 0.7 * 0.1) in measure(part, flagged).lift
    assert 0.92 <= inside / 300 <= 0.98


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_corrects_as_stepping_down_by_hand_does(given_p: list[float]) -> None:
    found = holm(np.array(given_p))
    for place, p in enumerate(given_p):
        smaller = [other for other in given_p if other <= p]
        by_hand = max((other * sum(one >= other for one in given_p) for other in smaller), default=0.0)
        assert found[place] == pytest.approx(min(1.0, by_hand))


@pytest.mark.parametrize("seed", range(4))
def test_the_ranking_is_the_area_under_the_curve_with_ties_counted_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, won = rng.integers(0, 5, 300).astype(float), rng.integers(0, 2, 300)
    found = ranking(values, won, np.arange(300))
    assert found.value == pytest.approx(roc_auc_score(won, values))
    draws = [rng.integers(0, 300, 300) for _ in range(300)]
    spread = np.std([roc_auc_score(won[rows], values[rows]) for rows in draws])
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(spread, rel=0.2)


def test_a_ranking_of_one_outcome_is_not_known() -> None:
    assert np.isnan(ranking(np.arange(3.0), np.ones(3, np.int64), np.arange(3)).value)


def test_leads_of_one_account_widen_the_ranking_s_interval() -> None:
    values, won = np.repeat([1.0, 2.0, 3.0, 4.0] * 5, 10), np.repeat([0, 1, 0, 1] * 5, 10)
    alone, together = ranking(values, won, np.arange(200)), ranking(values, won, np.arange(200) // 10)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_half_as_often_is_as_sharp_as_twice_as_often() -> None:
    assert sharpness(Interval(2.0, 1.6, 2.5)) == 1.6
    assert sharpness(Interval(0.5, 0.4, 0.625)) == pytest.approx(1.6)


# --- exact chances ----------------------------------------------------------------------------


@given(st.data())
def test_the_chances_of_drawing_are_hypergeometric(draw: st.DataObject) -> None:
    size = draw.draw(st.integers(1, 5_000))
    good, drawn = draw.draw(st.integers(0, size)), draw.draw(st.integers(0, size))
    first, chances = _drawn(size, good, drawn)
    wanted = hypergeom.pmf(np.arange(first, first + len(chances)), size, good, drawn)
    assert chances == pytest.approx(wanted, rel=1e-8, abs=1e-18)
    assert wanted.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("good_sign", [True, False])
def test_what_lies_out_of_reach_of_chance_has_a_p_of_none_on_either_side(good_sign: bool) -> None:
    """Of 4,000 leads half convert: all that are flagged, or none of them."""
    won = np.arange(4_000) % 2
    part = stage(list(range(4_000)), [0] * 4_000, won.tolist())
    flagged = (won == good_sign) & (np.arange(4_000) < 3_600)
    assert measure(part, flagged).p < 1e-30

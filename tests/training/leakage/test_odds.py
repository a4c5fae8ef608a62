"""Counts become cautious ratios, values become classes, and whoever chooses classes does not count by them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.leakage.odds import Counts, best_classes, classes


def test_counts_tell_those_who_convert_from_others() -> None:
    having, won = np.array([True, True, False, False, True]), np.array([True, False, True, False, False])
    counts = Counts.of(having, won)
    assert counts == Counts(won_with=1, won=2, others_with=2, others=3)
    assert (counts.share, counts.share_of_others) == (0.5, 2 / 3)


def test_an_odds_ratio_adds_half_a_lead_to_each_cell() -> None:
    assert Counts(30, 40, 20, 100).odds(0) == pytest.approx((30.5 / 10.5) / (20.5 / 80.5))


def test_a_ratio_of_shares_is_that_of_the_shares() -> None:
    assert Counts(3_000, 4_000, 2_000, 10_000).times(0) == pytest.approx(0.75 / 0.2, rel=1e-3)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 500), st.integers(0, 500))
def test_caution_only_lowers_a_ratio_and_nothing_divides_by_nothing(a: int, b: int, c: int, d: int) -> None:
    counts = Counts(a, a + b, c, c + d)
    assert 0 < counts.odds(2) < counts.odds(0) < math.inf
    assert 0 < counts.times(2) < counts.times(0) < math.inf


def test_nobody_at_all_has_no_share() -> None:
    assert (Counts(0, 0, 0, 0).share, Counts(0, 0, 0, 0).share_of_others) == (0, 0)


def test_what_is_not_known_is_a_class_of_its_own() -> None:
    assert classes(np.array([np.nan, np.nan])).tolist() == [0, 0]
    of = classes(np.array([np.nan, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert of[0] == 0
    assert (of[1:] >= 2).all()


def test_a_value_that_a_fifth_share_is_a_class_of_its_own() -> None:
    of = classes(np.array([0.0, 0.0, *range(1, 9)]))
    assert of[:2].tolist() == [1, 1]
    assert (of[2:] >= 2).all()
    assert (classes(np.array([0.0, 0.0, *range(1, 10)])) >= 2).all()


def test_classes_keep_the_order_of_values() -> None:
    values = np.random.default_rng(0).normal(size=300)
    assert (np.diff(classes(values)[np.argsort(values)]) >= 0).all()


def test_classes_that_fit_by_chance_are_not_counted_by_those_who_chose_them() -> None:
    """A hundred classes of ten leads each would mark converters three times as often if chosen on the same leads."""
    rng = np.random.default_rng(1)
    odds = []
    for _ in range(20):
        of, won, half = rng.integers(0, 100, 1_000), rng.random(1_000) < 0.1, rng.random(1_000) < 0.5
        odds.append(best_classes(of, won, half).odds(0))
    assert np.mean(odds) == pytest.approx(1.0, abs=0.25)


def test_classes_that_mark_converters_are_found() -> None:
    rng = np.random.default_rng(2)
    won, half = rng.random(2_000) < 0.2, rng.random(2_000) < 0.5
    of = np.where(won & (rng.random(2_000) < 0.8), rng.integers(5, 10, 2_000), rng.integers(0, 5, 2_000))
    counts = best_classes(of, won, half)
    assert counts.share == pytest.approx(0.8, abs=0.05)
    assert counts.others_with == 0

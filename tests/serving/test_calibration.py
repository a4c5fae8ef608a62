"""Two numbers turn margins into probabilities, and never into a certainty."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from serving.scoring.calibration import FURTHEST, Sigmoid, odds_of, probabilities_of

slopes = st.floats(0.01, 20)
shifts = st.floats(-10, 10)
within = st.lists(st.floats(-1, 1), min_size=2, max_size=30)


@given(slopes, shifts, within)
def test_it_is_the_logistic_function_of_slope_times_margin_plus_shift(
    slope: float, shift: float, margins: list[float]
) -> None:
    found = Sigmoid(slope, shift).probabilities(np.array(margins))
    np.testing.assert_allclose(found, expit(slope * np.array(margins) + shift), rtol=1e-12)


@given(slopes, shifts, st.lists(st.floats(), min_size=1))
def test_no_margin_makes_a_certainty(slope: float, shift: float, margins: list[float]) -> None:
    numbers = np.array([margin for margin in margins if not np.isnan(margin)])
    with np.errstate(over="ignore"):  # slope times the largest margins is infinite, which the clip is for
        found = Sigmoid(slope, shift).probabilities(numbers)
    assert ((found > 0) & (found < 1)).all()


def test_a_higher_margin_gets_a_strictly_higher_probability_within_30_log_odds() -> None:
    log_odds = np.linspace(-30, 30, 6_001)
    for slope, shift in ((1.0, 0.0), (0.3, -4.0), (7.5, 2.0)):
        found = Sigmoid(slope, shift).probabilities((log_odds - shift) / slope)
        assert (np.diff(found) > 0).all()


@given(slopes, shifts, st.floats(-1e308, 1e308), st.floats(-1e308, 1e308))
def test_no_higher_margin_gets_a_lower_probability_anywhere(slope: float, shift: float, one: float, two: float) -> None:
    with np.errstate(over="ignore"):
        low, high = Sigmoid(slope, shift).probabilities(np.sort(np.array([one, two])))
    assert low <= high


def test_the_middle_is_one_half() -> None:
    assert Sigmoid(2.0, -1.0).probabilities(np.array([0.5])).tolist() == [0.5]


def test_nothing_gives_nothing() -> None:
    assert Sigmoid(1.0, 0.0).probabilities(np.empty(0)).shape == (0,)


@given(st.floats(-30, 30))
def test_log_odds_are_the_way_back_from_probabilities(odds: float) -> None:
    found = odds_of(probabilities_of(np.array([odds])))
    # Near 1 a double tells probabilities apart less finely than their log-odds.
    np.testing.assert_allclose(found, odds, atol=1e-15 * np.exp(abs(odds)) + 1e-9)


def test_log_odds_of_even_chances_and_of_one_in_five_by_hand() -> None:
    np.testing.assert_allclose(odds_of(np.array([[0.5, 0.2]])), [[0.0, -np.log(4)]], atol=1e-15)


def test_beyond_the_furthest_log_odds_probabilities_stay_where_they_are() -> None:
    beyond, at = probabilities_of(np.array([-np.inf, -31.0, 31.0, np.inf])), np.array([-FURTHEST, FURTHEST])
    assert beyond.tolist() == probabilities_of(np.repeat(at, 2)).tolist()

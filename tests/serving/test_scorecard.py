"""A straight line in the logarithms of the columns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.scoring.scorecard import Scorecard, Scorecards, signed_log

CARD = Scorecard(
    base=-1.5,
    points=np.array([0.5, -0.25, 0.0]),
    center=np.array([1.0, 0.0, 2.0]),
    scale=np.array([2.0, 1.0, 1.0]),
    absent=np.array([0.0, 3.0, 9.0]),
)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(numbers)
def test_the_signed_log_is_log_1_plus_x_mirrored_at_0(x: float) -> None:
    found = signed_log(np.array([[x, -x]]), np.zeros(2))
    assert found[0, 0] == pytest.approx(math.copysign(math.log1p(abs(x)), x), rel=1e-12)
    assert found[0, 1] == -found[0, 0]


@given(st.lists(numbers, min_size=2, max_size=20, unique=True))
def test_the_signed_log_keeps_the_order(xs: list[float]) -> None:
    found = signed_log(np.sort(np.array([xs])).T, np.zeros(1))[:, 0]
    assert (np.diff(found) >= 0).all()


def test_infinity_counts_as_the_largest_number_there_is() -> None:
    largest = np.finfo(np.float64).max
    found = signed_log(np.array([[np.inf, -np.inf]]), np.zeros(2))
    np.testing.assert_array_equal(found, signed_log(np.array([[largest, -largest]]), np.zeros(2)))


def test_what_is_absent_counts_as_its_stand_in() -> None:
    absent = np.full((1, 3), np.nan)
    np.testing.assert_array_equal(CARD.contributions(absent), CARD.contributions(CARD.absent[None, :]))


def test_contributions_are_points_per_standard_deviation_from_the_average_by_hand() -> None:
    row = np.array([[math.e - 1, math.e**2 - 1, 5.0]])
    assert CARD.contributions(row).tolist() == [[0.0, pytest.approx(-0.5), 0.0]]
    assert CARD.margins(row).tolist() == [pytest.approx(-2.0)]


def test_a_lead_that_is_average_everywhere_scores_the_base() -> None:
    average = np.expm1(CARD.center)[None, :]
    assert CARD.margins(average)[0] == pytest.approx(CARD.base, abs=1e-15)


def test_margins_are_the_contributions_and_the_base() -> None:
    rows = np.random.default_rng(2).exponential(10, (50, 3))
    np.testing.assert_allclose(CARD.margins(rows), CARD.contributions(rows).sum(axis=1) + CARD.base, rtol=0, atol=1e-12)


def test_a_column_without_points_has_no_say_even_when_it_is_infinite() -> None:
    rows = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, np.inf], [1.0, 2.0, np.nan]])
    assert len(set(CARD.margins(rows).tolist())) == 1


def test_the_compiled_line_is_the_line_of_the_signed_log() -> None:
    rng = np.random.default_rng(5)
    rows = np.where(rng.random((40, 20)) < 0.3, np.nan, rng.normal(0, 1e3, (40, 20)))
    rows[0, :4] = [np.inf, -np.inf, 0.0, -0.0]
    card = Scorecard(0.7, *(rng.uniform(0.5, 2, 20) for _ in range(4)))
    expected = (signed_log(rows, card.absent) - card.center) / card.scale * card.points
    np.testing.assert_allclose(card.contributions(rows), expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(card.margins(rows), expected.sum(axis=1) + 0.7, rtol=1e-13)


def test_scorecards_side_by_side_say_what_each_says_alone() -> None:
    rng = np.random.default_rng(4)
    rows = np.where(rng.random((9, 20)) < 0.3, np.nan, rng.exponential(4.0, (9, 20)))
    cards = [Scorecard(rng.normal(), *(rng.uniform(0.5, 2, 20) for _ in range(4))) for _ in range(3)]
    for card, contributions, margins in zip(cards, *Scorecards(tuple(cards)).lines(rows), strict=True):
        np.testing.assert_array_equal(contributions, card.contributions(rows))
        np.testing.assert_array_equal(margins, card.margins(rows))
        np.testing.assert_array_equal(margins[3:4], card.margins(rows[3:4]))

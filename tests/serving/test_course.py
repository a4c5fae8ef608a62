"""Probabilities by day: they ascend, hold the score itself, and multiply as chances do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.windows import Floats
from serving.scoring.calibration import Sigmoid, odds_of, probabilities_of
from serving.scoring.course import Course, Later, Stage
from serving.scoring.decision import Cutoff, NoCutoff
from serving.scoring.scorecard import Scorecard

AGES = (3.0, 7.0, 14.0)
CARD = Scorecard(
    base=-2.0, points=np.array([0.0, 0.6]), center=np.array([0.0, 1.0]), scale=np.ones(2), absent=np.array([5.0, 2.0])
)
SOON = Stage((7.0, 14.0, 30.0), np.array([[-2.0, -1.0, 0.0], [-1.5, -0.5, 0.0], [-1.0, -0.25, 0.0]]))
LATER = Stage((60.0, 90.0), np.array([[-0.5, 0.0], [-0.75, 0.0], [-0.9, 0.0]]))
NURTURE = Cutoff(0.2, 0.15, 0.9, 100, 30, 0.16, "a", "b")
COURSE = Course(AGES, SOON, Later(LATER, CARD, Sigmoid(0.8, -0.3), NURTURE))


def row(age: float, value: float = 3.0) -> Floats:
    return np.array([[age, value]])


def within(course: Course, score: float, age: float, value: float = 3.0) -> list[float]:
    found: list[float] = course.probabilities(np.array([score]), row(age, value))[0].tolist()
    return found


def later_chance(value: float, age_row: int, day: int) -> float:
    """The chance of converting after the horizon, by hand."""
    margin = CARD.base + 0.6 * (np.log1p(value) - 1.0)
    odds = 0.8 * margin - 0.3 + LATER.shift[age_row, day]
    return float(1 / (1 + np.exp(-odds)))


# --- by hand ----------------------------------------------------------------------------------


def test_days_are_those_of_both_stages() -> None:
    assert COURSE.days == (7.0, 14.0, 30.0, 60.0, 90.0)
    assert COURSE.names == ("7d", "14d", "30d", "60d", "90d")


def test_without_a_later_stage_the_horizon_is_the_last_day() -> None:
    assert replace(COURSE, later=None).days == (7.0, 14.0, 30.0)


def test_an_earlier_day_has_the_odds_of_the_score_shifted_by_its_age() -> None:
    found = within(COURSE, 0.5, 7.0)
    assert found[:3] == pytest.approx([1 / (1 + np.exp(1.5)), 1 / (1 + np.exp(0.5)), 0.5])


@given(st.floats(1e-9, 1 - 1e-9), st.floats(0, 1e6))
def test_later_is_one_minus_both_chances_of_not_converting(score: float, value: float) -> None:
    found = within(COURSE, score, 3.0, value)
    for place, day in ((3, 0), (4, 1)):
        assert found[place] == pytest.approx(1 - (1 - score) * (1 - later_chance(value, 0, day)), rel=1e-9)


def test_what_is_not_known_counts_in_the_later_stage_as_its_stand_in() -> None:
    assert within(COURSE, 0.1, 3.0, np.nan) == within(COURSE, 0.1, 3.0, 2.0)


# --- ages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "like"), [(-1.0, 3.0), (0.0, 3.0), (2.999, 3.0), (6.999, 3.0), (7.001, 7.0), (13.9, 7.0), (400.0, 14.0)]
)
def test_an_age_between_two_uses_the_one_before_and_an_earlier_one_the_first(age: float, like: float) -> None:
    assert within(COURSE, 0.1, age) == within(COURSE, 0.1, like)


def test_each_age_has_shifts_of_its_own() -> None:
    first = [within(COURSE, 0.1, age)[0] for age in AGES]
    assert first == sorted(first)
    assert len(set(first)) == 3


# --- for any row ------------------------------------------------------------------------------

shifts = st.lists(st.floats(0, 8), min_size=3, max_size=3).map(lambda gaps: -np.cumsum(gaps)[::-1])
stages = st.lists(shifts, min_size=3, max_size=3).map(lambda rows: np.column_stack([np.stack(rows), np.zeros(3)]))
scores = st.floats(-40, 40).map(lambda odds: float(probabilities_of(np.array(odds))))
anything = st.one_of(st.floats(width=64), st.sampled_from([np.nan, np.inf, -np.inf, 1e300, 0.0]))


@given(stages, stages, scores, anything, anything, st.floats(0.01, 5), st.floats(-9, 9))
@example(np.zeros((3, 4)), np.zeros((3, 4)), 0.1, 3.0, 1.0, 1.0, -9.0)
def test_a_longer_time_never_has_the_lower_probability(
    soon: Floats, after: Floats, score: float, age: float, value: float, slope: float, shift: float
) -> None:
    later = Later(Stage((45.0, 60.0, 75.0, 90.0), after), CARD, Sigmoid(slope, shift), NURTURE)
    course = Course(AGES, Stage((3.0, 7.0, 14.0, 30.0), soon), later)
    found = np.array(within(course, score, age, value))
    assert (np.diff(found) >= 0).all()
    assert 0.0 < found[0] <= found[-1] <= 1.0


@pytest.mark.parametrize("shift", [0.0, -1e-17, -1e-12])
def test_it_ascends_too_where_nearly_all_convert_early(shift: float) -> None:
    """A shift of nothing: the way to log-odds and back may not put an earlier day above the score."""
    course = Course((3.0,), Stage((14.0, 30.0), np.array([[shift, 0.0]])), None)
    many = np.random.default_rng(1).random(5_000)
    found = course.probabilities(many, np.full((5_000, 2), 3.0))
    assert (np.diff(found, axis=1) >= 0).all()


@given(scores, anything, anything)
def test_at_the_horizon_it_is_the_score_bit_for_bit(score: float, age: float, value: float) -> None:
    for course in (COURSE, replace(COURSE, later=None)):
        assert within(course, score, age, value)[2] == score


def test_the_first_shifts_say_how_log_odds_compare() -> None:
    many = np.linspace(0.01, 0.99, 99)
    found = COURSE.probabilities(many, np.tile(row(14.0), (99, 1)))
    np.testing.assert_allclose(odds_of(found[:, 0]) - odds_of(many), -1.0, atol=1e-12)


# --- nurturing --------------------------------------------------------------------------------


def test_who_is_likely_enough_later_and_no_pql_is_worth_nurturing() -> None:
    latest, pql = np.array([0.1, 0.2, 0.9, 0.9]), np.array([False, False, False, True])
    assert COURSE.nurture(latest, pql).tolist() == [False, True, True, False]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=20))
def test_nobody_is_a_pql_and_worth_nurturing_at_once(leads: list[tuple[float, bool]]) -> None:
    latest, pql = np.array([one for one, _ in leads]), np.array([two for _, two in leads], bool)
    assert not (COURSE.nurture(latest, pql) & pql).any()


def test_without_a_later_stage_nobody_is_worth_nurturing() -> None:
    assert not replace(COURSE, later=None).nurture(np.ones(3), np.zeros(3, bool)).any()


def test_without_a_cutoff_nobody_is_worth_nurturing() -> None:
    assert COURSE.later is not None
    nobody = replace(COURSE, later=replace(COURSE.later, decision=NoCutoff(0.15, 0.9, "too few")))
    assert not nobody.nurture(np.ones(3), np.zeros(3, bool)).any()


def test_no_leads_have_no_course() -> None:
    assert COURSE.probabilities(np.empty(0), np.empty((0, 2))).shape == (0, 5)

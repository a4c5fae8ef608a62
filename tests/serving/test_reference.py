"""A lead is compared with the leads a version was made with, whoever else is in the request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.scoring.reference import Reference, Usual

USUAL = Usual(((0.0, 1.0, 4.0), (2.0, 6.0), ()), ((0.5, 0.75, 1.0), (0.4, 0.8), ()))
REFERENCE = Reference(
    np.array([0.1, 0.2, 0.2, 0.7]),
    (1.0, 3.0, 7.0),
    np.array([[1.0, 10.0], [3.0, 30.0], [7.0, 70.0]]),
    {"invites": (0.25, 0.5, 0.75), "never": (0, 0, 0)},
    {"invites_count": USUAL},
)
probabilities = st.floats(0, 1)


@given(st.lists(probabilities, min_size=1, max_size=40), st.lists(probabilities, min_size=1, max_size=20))
def test_a_percentile_is_the_share_of_reference_leads_strictly_below(known: list[float], asked: list[float]) -> None:
    reference = Reference.of_scores(np.sort(np.array(known)), 1)
    expected = [100 * sum(one < probability for one in known) / len(known) for probability in asked]
    np.testing.assert_allclose(reference.percentiles(np.array(asked)), expected, rtol=0, atol=1e-9)


def test_the_lowest_score_is_at_0_and_one_above_all_is_at_100() -> None:
    assert REFERENCE.percentiles(np.array([0.0, 0.1, 0.71, 1.0])).tolist() == [0, 0, 100, 100]


def test_scores_at_a_tie_share_the_lower_percentile() -> None:
    assert REFERENCE.percentiles(np.array([0.2, 0.2])).tolist() == [25, 25]


# --- ages -------------------------------------------------------------------------------------

AGES = [(1.0, 0), (2.99, 0), (3.0, 1), (6.5, 1), (7.0, 2), (400.0, 2)]


@pytest.mark.parametrize(("age", "place"), AGES)
def test_converters_are_those_of_the_last_age_not_after_this_one(age: float, place: int) -> None:
    expected = REFERENCE.ages[place], (0.25, 0.5, 0.75)[place]
    assert REFERENCE.share_of_converters("invites", age) == expected


@pytest.mark.parametrize(("age", "place"), [*AGES, (0.0, 0), (0.99, 0)])
def test_a_typical_trial_is_that_of_the_last_age_not_after_this_one_or_the_first(age: float, place: int) -> None:
    assert REFERENCE.typical_at(np.array([age])).tolist() == [REFERENCE.typical[place].tolist()]


def test_each_lead_gets_the_typical_trial_of_its_own_age() -> None:
    found = REFERENCE.typical_at(np.array([age for age, _ in AGES]))
    assert found.tolist() == [REFERENCE.typical[place].tolist() for _, place in AGES]
    assert REFERENCE.typical_at(np.array([])).shape == (0, 2)


def test_before_the_first_age_only_those_who_had_more_time_are_known() -> None:
    assert REFERENCE.share_of_converters("invites", 0.99) is None
    assert REFERENCE.share_below("invites_count", 0.99, 3.0) == REFERENCE.share_below("invites_count", 1.0, 3.0)
    assert REFERENCE.share_above("invites_count", 0.99, 3.0) is None


def test_of_what_nobody_counted_nothing_is_known() -> None:
    assert REFERENCE.share_of_converters("unheard_of", 5.0) is None
    assert REFERENCE.share_below("unheard_of", 5.0, 1.0) is None
    assert REFERENCE.share_above("unheard_of", 5.0, 1.0) is None


def test_a_signal_that_no_converter_showed_has_a_share_of_none_of_them() -> None:
    assert REFERENCE.share_of_converters("never", 5.0) == (3.0, 0)


def test_a_reference_of_scores_compares_nothing_else() -> None:
    reference = Reference.of_scores(REFERENCE.quantiles, 2)
    assert reference.typical_at(np.array([0.0, 9.0])).tolist() == [[0, 0], [0, 0]]
    assert reference.share_of_converters("invites", 9.0) is None
    assert reference.share_below("invites_count", 9.0, 5.0) is None


# --- how a fact is spread ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "below", "above"),
    [
        (-1.0, 0.0, 0.5), (0.0, 0.0, 0.5), (0.5, 0.5, 0.25), (1.0, 0.5, 0.25), (2.0, 0.75, 0.0), (4.0, 0.75, 0.0),
        (4.5, 1.0, 0.0),
    ],
)  # fmt: skip
def test_between_two_values_that_are_kept_the_nearer_one_that_claims_less_is_taken(
    value: float, below: float, above: float
) -> None:
    assert REFERENCE.share_below("invites_count", 1.0, value) == (1.0, below)
    assert REFERENCE.share_above("invites_count", 2.0, value) == (1.0, above)


def test_leads_of_whom_it_is_not_known_have_neither_less_nor_more() -> None:
    assert REFERENCE.share_below("invites_count", 3.0, 9.0) == (3.0, 0.8)
    above = REFERENCE.share_above("invites_count", 3.0, 1.0)
    assert above is not None
    assert above.share == pytest.approx(0.4)
    assert REFERENCE.share_known("invites_count", 3.0) == 0.8


def test_where_it_is_known_of_nobody_nobody_has_less_or_more() -> None:
    assert REFERENCE.share_below("invites_count", 8.0, 3.0) == (7.0, 0.0)
    assert REFERENCE.share_above("invites_count", 8.0, 3.0) == (7.0, 0.0)
    assert REFERENCE.share_known("invites_count", 8.0) == 0.0


@pytest.mark.parametrize(
    ("up_to", "half"),
    [
        ((0.5, 0.8, 1.0), 0.0), ((0.49, 0.8, 1.0), 2.0), ((0.1, 0.2, 0.4), 2.0), ((0.1, 0.15, 0.4), 5.0),
        ((0.0, 0.0, 0.0), -np.inf),
    ],
)  # fmt: skip
def test_half_of_those_of_whom_a_value_is_known_have_at_most_the_half(
    up_to: tuple[float, float, float], half: float
) -> None:
    usual = Usual(((0.0, 2.0, 5.0),), (up_to,))
    assert usual.half == (half,)
    for value in (-1.0, 0.0, 0.1, 2.0, 2.1, 5.0, 9.0):
        assert (value > half) == (usual.below(0, value) >= usual.known(0) / 2)


def test_of_what_is_known_of_nobody_any_value_is_more_than_half() -> None:
    assert Usual(((),), ((),)).half == (-np.inf,)
    assert Usual(((),), ((),)).known(0) == 0.0

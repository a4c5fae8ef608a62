"""A lead is compared with the leads a version was made with, whoever else is in the request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.scoring.reference import Reference

REFERENCE = Reference(
    np.array([0.1, 0.2, 0.2, 0.7]), (1.0, 3.0, 7.0), {"invites": (0.25, 0.5, 0.75), "never": (0, 0, 0)}
)
probabilities = st.floats(0, 1)


@given(st.lists(probabilities, min_size=1, max_size=40), st.lists(probabilities, min_size=1, max_size=20))
def test_a_percentile_is_the_share_of_reference_leads_strictly_below(known: list[float], asked: list[float]) -> None:
    reference = Reference(np.sort(np.array(known)), (), {})
    expected = [100 * sum(one < probability for one in known) / len(known) for probability in asked]
    np.testing.assert_allclose(reference.percentiles(np.array(asked)), expected, rtol=0, atol=1e-9)


def test_the_lowest_score_is_at_0_and_one_above_all_is_at_100() -> None:
    assert REFERENCE.percentiles(np.array([0.0, 0.1, 0.71, 1.0])).tolist() == [0, 0, 100, 100]


def test_scores_at_a_tie_share_the_lower_percentile() -> None:
    assert REFERENCE.percentiles(np.array([0.2, 0.2])).tolist() == [25, 25]


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (1.0, (1.0, 0.25)),
        (2.99, (1.0, 0.25)),
        (3.0, (3.0, 0.5)),
        (6.5, (3.0, 0.5)),
        (7.0, (7.0, 0.75)),
        (400, (7.0, 0.75)),
    ],
)
def test_converters_are_those_of_the_last_age_not_after_this_one(age: float, expected: tuple[float, float]) -> None:
    assert REFERENCE.share_of_converters("invites", age) == expected


def test_before_the_first_age_nothing_is_known() -> None:
    assert REFERENCE.share_of_converters("invites", 0.99) is None


def test_of_a_signal_nobody_counted_nothing_is_known() -> None:
    assert REFERENCE.share_of_converters("unheard_of", 5.0) is None


def test_a_signal_that_no_converter_showed_has_a_share_of_none_of_them() -> None:
    assert REFERENCE.share_of_converters("never", 5.0) == (3.0, 0)

"""Times of first events around conversions: what begins with a conversion is told from what comes days before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.windows import Floats
from training.leakage.onset import AFTER, FEWEST, Verdict, around_conversion, close_to, onset

RNG = np.random.default_rng(5)


def verdict(lead_time: Floats, days: float = 14.0) -> Verdict | None:
    return around_conversion(onset(lead_time, np.full(len(lead_time), days)))


def test_a_first_time_at_the_conversion_comes_after_it() -> None:
    found = onset(np.array([0.0, 1e-9]), np.array([10.0, 10.0]))
    assert (found.early, found.near, found.after) == (0, 1, 1)


def test_a_first_time_a_day_before_is_close_and_any_earlier_is_not() -> None:
    found = onset(np.array([1.0, 1.0 + 1e-9]), np.array([10.0, 10.0]))
    assert (found.early, found.near, found.after) == (1, 1, 0)


def test_what_begins_long_after_a_conversion_has_nothing_to_do_with_it() -> None:
    found = onset(np.array([-AFTER, -AFTER + 1e-9]), np.array([10.0, 10.0]))
    assert found.done == 1


def test_where_leads_decide_within_a_day_only_hours_are_close() -> None:
    assert close_to(np.array([0.5, 1.0, 40.0])) == 0.25
    assert close_to(np.array([30.0])) == 1.0
    assert close_to(np.array([])) == 1.0


@given(arrays(np.float64, st.integers(0, 40), elements=st.floats(-90, 90) | st.just(float("nan"))))
def test_everybody_who_did_it_is_counted_once(lead_time: Floats) -> None:
    found = onset(lead_time, np.full(len(lead_time), 30.0))
    assert found.done == int((lead_time > -AFTER).sum())
    assert found.jump >= 0
    assert 0 <= found.late <= 1


def test_what_follows_a_conversion_is_a_consequence() -> None:
    found = verdict(-RNG.uniform(0, 30, 60))
    assert found is not None
    assert found.kind == "consequence"
    assert "100% of the 60 converters who did it began after converting (60)" in found.why


def test_what_comes_minutes_before_leaves_sales_no_time() -> None:
    found = verdict(RNG.uniform(1, 20, 60) / 1440)
    assert found is not None
    assert found.kind == "consequence"
    assert "minutes before" in found.why


def test_what_is_dated_hours_before_is_dated_back() -> None:
    found = verdict(RNG.uniform(2, 20, 60) / 24)
    assert found is not None
    assert found.kind == "back_dated"
    assert "typically" in found.why


@pytest.mark.parametrize("mean", [2.0, 4.0])
def test_what_comes_days_before_is_a_sign(mean: float) -> None:
    assert verdict(RNG.exponential(mean, 2_000).clip(0.01, 14)) is None


def test_what_was_there_from_the_start_is_no_consequence() -> None:
    assert verdict(np.full(60, 13.9)) is None


def test_a_rare_behaviour_of_long_lived_customers_is_no_consequence() -> None:
    """They do it mostly after converting, because that is most of their time, and no more often than before."""
    assert verdict(14 - RNG.uniform(0, 59, 400)) is None


def test_a_few_converters_prove_nothing() -> None:
    assert verdict(-RNG.uniform(0, 1, FEWEST - 1)) is None
    assert verdict(-RNG.uniform(0, 1, FEWEST)) is not None


def test_nobody_at_all_proves_nothing() -> None:
    assert verdict(np.empty(0)) is None

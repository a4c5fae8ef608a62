"""The label looks at [as_of, as_of + horizon), and is unknown until the horizon has passed in the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import parse
from features.durations import DAY, span_text
from features.leads import NEVER, Leads
from features.logs import Happening, read_requests
from features.matrix import FeatureBuilder
from training.labels import UNKNOWN, labels

AS_OF = 1_700_000_000_000_000
HORIZON = 30 * DAY
END = AS_OF + HORIZON
# Whole days and the instants beside them: there the edges lie, and drawn at large they would never be met.
spans = st.builds(lambda days, beside: days * DAY + beside, st.integers(-40, 40), st.sampled_from([-1, 0, 0, 1]))
lengths = st.sampled_from([1, 7, 30]).map(lambda days: days * DAY)


def leads_converting(*moments: int) -> Leads:
    n = len(moments)
    never = np.full(n, NEVER)
    started = np.full(n, AS_OF - 90 * DAY)
    ids = [f"u{i}" for i in range(n)]
    return Leads(ids, [None] * n, np.arange(n), started, never, never, np.array(moments, np.int64), {})


def label(converted_at: int, until: int = END, as_of: int = AS_OF, horizon: int = HORIZON) -> int:
    found = labels(leads_converting(converted_at), np.array([0]), np.array([as_of]), horizon, until)
    return int(found[0])


def test_a_conversion_exactly_at_as_of_counts() -> None:
    assert label(AS_OF) == 1


def test_a_conversion_just_before_as_of_does_not_count() -> None:
    assert label(AS_OF - 1) == 0


def test_a_conversion_just_before_the_end_of_the_horizon_counts() -> None:
    assert label(END - 1) == 1


def test_a_conversion_exactly_at_the_end_of_the_horizon_does_not_count() -> None:
    assert label(END) == 0


def test_a_lead_that_never_converts_is_a_zero() -> None:
    assert label(NEVER) == 0


def test_the_outcome_is_known_from_the_moment_at_which_the_horizon_has_passed() -> None:
    assert label(NEVER, until=END) == 0


@pytest.mark.parametrize("converted_at", [NEVER, AS_OF, END - 1])
def test_the_outcome_is_unknown_before_the_horizon_has_passed_whatever_was_seen(converted_at: int) -> None:
    assert label(converted_at, until=END - 1) == UNKNOWN


def test_each_row_is_judged_by_its_own_lead_and_moment() -> None:
    leads = leads_converting(AS_OF, END)
    found = labels(leads, np.array([1, 0, 1]), np.array([AS_OF, AS_OF, AS_OF + DAY]), HORIZON, END + DAY)
    assert found.tolist() == [0, 1, 1]


def plain_label(converted_at: int, as_of: int, horizon: int, until: int) -> int:
    if as_of + horizon > until:
        return UNKNOWN
    return int(converted_at != NEVER and as_of <= converted_at < as_of + horizon)


@settings(max_examples=300)
@given(st.one_of(spans, st.just(None)), lengths, spans)
def test_labels_are_those_of_the_plain_rule(converted_after: int | None, horizon: int, known_after: int) -> None:
    converted_at = NEVER if converted_after is None else AS_OF + converted_after
    until = AS_OF + horizon + known_after
    assert label(converted_at, until, AS_OF, horizon) == plain_label(converted_at, AS_OF, horizon, until)


BUILDER = FeatureBuilder(
    parse(
        """
product: Tiny
conversion: {horizon: 30d}
score_at: [7d]
windows: [1d, 7d, 30d]
signals:
  - {name: acts, kind: frequency, events: [act], measures: [count], text: acted}
cutoff: {at_least: 0.3}
"""
    ),
    {},
)


def counted_before(happens: int, as_of: int, length: int) -> int:
    """How many of one event are in the window of this length that the features would count at as_of."""
    leads = leads_converting(NEVER)
    happening = Happening(0, "u0", own=True, event="act", time=happens, properties={})
    logs = read_requests([happening], leads.ids, BUILDER.vocabulary)
    row = BUILDER.rows(leads, logs, np.array([0]), np.array([as_of]))[0]
    return int(row[[column.name for column in BUILDER.columns].index(f"acts_count_{span_text(length)}")])


@settings(max_examples=200)
@given(spans, lengths)
def test_windows_and_label_tile_time(after: int, length: int) -> None:
    happens = AS_OF + after
    in_window = counted_before(happens, AS_OF, length)
    in_label = label(happens, AS_OF + length, AS_OF, length)
    assert in_window + in_label == int(-length <= after < length)

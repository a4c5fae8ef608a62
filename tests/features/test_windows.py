"""Windows are cut to the microsecond, and the arrays underneath keep every event once, in an order of their own."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import columns
from features.dataset import dataset
from features.definition import Definition, parse
from features.durations import DAY, HOUR
from features.matrix import FeatureBuilder
from features.measures import SPECS
from features.plan import plan
from features.times import INSTANT, micros, moment_of
from features.vocabulary import vocabulary
from features.windows import (
    TRIAL,
    EventLog,
    Events,
    Floats,
    Ints,
    Plan,
    Snapshots,
    days_of,
    group,
    measure,
    newest_before,
    order_by_part,
)

NOON = micros(datetime(2024, 2, 29, 12, tzinfo=UTC))
ROOT = Path(__file__).parents[2]

# --- one edge each ---------------------------------------------------------------------------

ONE = """
product: Tested
conversion: {column: converted_at, horizon: 30d}
score_at: [7d]
windows: [WINDOWS]
cutoff: {at_least: 0.3}
signals:
  - {name: act, kind: value, events: [act], measures: [MEASURES], text: acted}
  - {name: far, kind: value, events: [far], windows: [60d], text: far away}
"""


def value(
    measured: str,
    window: str,
    ages: Sequence[int],
    properties: Sequence[object] | None = None,
    started: int = NOON - 30 * DAY,
    as_of: int = NOON,
) -> float:
    """One measure over one window for one lead that acted at these ages before noon."""
    definition = parse(ONE.replace("WINDOWS", window).replace("MEASURES", measured))
    given = properties or [None] * len(ages)
    # The last row is there because a table without any is refused.
    events = pl.DataFrame(
        {
            "user_id": ["u"] * len(ages) + ["nobody"],
            "event": ["act"] * len(ages) + ["unread"],
            "timestamp": [moment_of(NOON - age) for age in ages] + [moment_of(NOON)],
            "message_id": [str(number) for number in range(len(ages) + 1)],
            "properties": [json.dumps({"p": p}) for p in given] + [None],
        },
        schema_overrides={"timestamp": INSTANT, "properties": pl.String},
    )
    trials = pl.DataFrame(
        {"user_id": ["u"], "started_at": [moment_of(started)], "converted_at": [None]},
        schema_overrides={"started_at": INSTANT, "converted_at": INSTANT},
    )
    return row_of(events, trials, definition, as_of)[1]


def row_of(events: pl.DataFrame, trials: pl.DataFrame, definition: Definition, as_of: int) -> list[float]:
    """The row of the only lead at one moment."""
    data, builder = dataset(events, trials, definition), FeatureBuilder(definition, {})
    return [float(number) for number in data.rows(builder, np.array([0]), np.array([as_of]))[0]]


def test_event_exactly_at_as_of_is_not_yet_known() -> None:
    assert value("count", "7d", [0]) == 0
    assert math.isnan(value("days_since_last", "7d", [0]))


def test_event_a_microsecond_before_as_of_is_known() -> None:
    assert value("count", "7d", [1]) == 1
    assert value("days_since_last", "7d", [1]) == 1 / DAY


def test_event_exactly_one_length_earlier_counts() -> None:
    assert value("count", "7d", [7 * DAY]) == 1


def test_event_a_microsecond_older_than_the_length_does_not_count() -> None:
    assert value("count", "7d", [7 * DAY + 1]) == 0


def test_event_at_the_start_of_the_trial_counts_and_one_before_does_not() -> None:
    assert value("count", "trial", [30 * DAY, 30 * DAY + 1]) == 1


def test_trial_that_begins_at_as_of_holds_nothing() -> None:
    assert value("count", "trial", [0, 1, 2], started=NOON) == 0


def test_trial_that_begins_after_as_of_holds_nothing() -> None:
    assert value("count", "trial", [0, 1, DAY], started=NOON + DAY) == 0


def test_an_hour_window_is_cut_to_the_microsecond() -> None:
    assert value("count", "12h", [12 * HOUR, 12 * HOUR + 1]) == 1


def test_a_day_window_reaches_over_the_leap_day() -> None:
    march = micros(datetime(2024, 3, 1, 12, tzinfo=UTC))
    assert value("count", "1d", [0, -1, 1], as_of=march) == 2


def test_a_day_has_24_hours_where_clocks_change() -> None:
    # In Vienna 31 March 2024 had 23 hours; a window does not know of zones.
    after = micros(datetime.fromisoformat("2024-04-01T00:00:00+02:00"))
    ages = [NOON - after + DAY, NOON - after + DAY + 1]
    assert value("count", "1d", ages, as_of=after) == 1


def test_no_events_are_counted_as_zero_and_never_as_not_known() -> None:
    assert value("count", "7d", []) == 0
    assert value("sum(p)", "7d", []) == 0
    assert value("trend", "7d", []) == 0
    assert math.isnan(value("days_since_first", "7d", []))
    assert math.isnan(value("days_since_last", "7d", []))


def test_days_are_counted_back_from_as_of_in_24_hours() -> None:
    assert value("active_days", "7d", [1, DAY]) == 1
    assert value("active_days", "7d", [DAY, DAY + 1]) == 2
    assert value("active_days", "7d", [1, 2 * DAY, 2 * DAY + 1]) == 3


def test_a_window_of_36_hours_can_hold_two_active_days() -> None:
    assert value("active_days", "36h", [1, 30 * HOUR, 36 * HOUR]) == 2


def test_a_day_counts_as_active_in_a_window_that_holds_its_newest_event_only() -> None:
    assert value("active_days", "36h", [30 * HOUR, 40 * HOUR]) == 1


def test_reached_is_true_from_exactly_n() -> None:
    assert value("reached(3)", "7d", [1, 2]) == 0
    assert value("reached(3)", "7d", [1, 2, 3]) == 1


def test_trend_is_one_for_a_new_behaviour_and_minus_one_for_one_that_stopped() -> None:
    assert value("trend", "7d", [1]) == 1
    assert value("trend", "7d", [8 * DAY]) == -1


def test_trend_compares_the_last_span_with_the_one_before_it() -> None:
    assert value("trend", "7d", [1, 2, 7 * DAY, 7 * DAY + 1]) == 0.5
    assert value("trend", "7d", [1, 14 * DAY]) == 0
    assert value("trend", "7d", [1, 14 * DAY + 1]) == 1


def test_days_since_first_and_last_are_the_oldest_and_the_newest() -> None:
    assert value("days_since_first", "7d", [DAY, 3 * DAY]) == 3
    assert value("days_since_last", "7d", [DAY, 3 * DAY]) == 1


def test_days_since_look_no_further_than_the_signals_own_widest_window() -> None:
    # The other signal has a window of 60 days, and the trend one of 14: neither lets this one look further.
    assert math.isnan(value("days_since_last", "7d", [7 * DAY + 1]))
    assert value("days_since_first", "7d", [7 * DAY, 7 * DAY + 1]) == 7
    assert math.isnan(value("days_since_last, trend", "7d", [8 * DAY]))


def test_a_trial_older_than_the_widest_window_is_the_widest_window() -> None:
    assert value("days_since_first", "7d, trial", [30 * DAY, 31 * DAY]) == 30


def test_a_trial_younger_than_the_widest_window_narrows_nothing() -> None:
    assert value("days_since_first", "7d, trial", [5 * DAY], started=NOON - DAY) == 5


def test_sums_take_numbers_sent_as_text_and_leave_out_what_is_none() -> None:
    assert value("sum(p)", "7d", range(1, 9), [1, "2.5", None, "many", True, "NaN", "1e400", [5]]) == 3.5


def test_distinct_takes_equal_numbers_for_one_value_and_absent_for_none() -> None:
    assert value("distinct(p)", "7d", range(1, 8), [1, 1.0, "1", True, None, "one", "one"]) == 4


def test_distinct_tells_long_numbers_apart() -> None:
    assert value("distinct(p)", "7d", [1, 2, 3], [2**60, 2**60 + 1, 10**300]) == 3


def test_a_run_of_days_is_the_longest_and_not_the_newest() -> None:
    assert value("streak", "30d", [1, 3 * DAY + 1, 4 * DAY + 1, 5 * DAY + 1, 9 * DAY]) == 3
    assert value("streak", "30d", []) == 0


def test_a_run_goes_on_over_the_edge_of_a_day_but_not_over_a_whole_day() -> None:
    assert value("streak", "7d", [DAY, DAY + 1]) == 2
    assert value("streak", "7d", [1, 2 * DAY]) == 2
    assert value("streak", "7d", [1, 2 * DAY + 1]) == 1


def test_a_run_is_cut_by_the_window() -> None:
    days = [1, DAY + 1, 2 * DAY + 1, 3 * DAY + 1]
    assert value("streak", "3d", days) == 3
    assert value("streak", "36h", days) == 2
    assert value("streak", "trial", days, started=NOON - 2 * DAY) == 2


def test_a_mean_is_of_what_is_given_and_not_known_where_nothing_is() -> None:
    assert value("mean(p)", "7d", [1, 2, 3, 4], [1, "4", None, "many"]) == 2.5
    assert math.isnan(value("mean(p)", "7d", [1, 7 * DAY + 1], [None, 3]))
    assert math.isnan(value("mean(p)", "7d", []))


def test_how_often_per_active_day_leaves_out_days_with_nothing() -> None:
    assert value("per_active_day", "7d", [1, 2, 3, 5 * DAY]) == 2
    assert value("per_active_day", "7d", []) == 0


def test_a_share_is_of_all_that_any_signal_reads() -> None:
    assert value("share", "7d", [1, 2, 3]) == 1
    assert value("share", "7d", []) == 0
    assert value("share", "7d", [8 * DAY]) == 0


def test_days_to_reach_count_from_the_start_of_the_trial() -> None:
    assert value("days_to_reach(2)", "7d", [1 * DAY, 3 * DAY, 4 * DAY], started=NOON - 5 * DAY) == 2
    assert value("days_to_reach(1)", "7d", [5 * DAY], started=NOON - 5 * DAY) == 0
    assert math.isnan(value("days_to_reach(4)", "7d", [1 * DAY, 3 * DAY, 4 * DAY], started=NOON - 5 * DAY))


def test_days_to_reach_leave_out_what_happened_before_the_trial() -> None:
    assert value("days_to_reach(1)", "7d", [DAY, 5 * DAY + 1], started=NOON - 5 * DAY) == 4
    assert math.isnan(value("days_to_reach(1)", "7d", [1], started=NOON))


def test_days_to_reach_look_beyond_every_window() -> None:
    assert value("days_to_reach(1)", "1d", [29 * DAY]) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-DAY, 15 * DAY) | st.sampled_from([0, 1, 7 * DAY, 7 * DAY + 1, 14 * DAY]), max_size=12))
def test_windows_tile_time_so_that_no_event_is_in_two_and_none_in_neither(ages: list[int]) -> None:
    halves = value("count", "7d", ages) + value("count", "7d", ages, as_of=NOON - 7 * DAY)
    assert halves == value("count", "14d", ages)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-DAY, 15 * DAY), max_size=12), st.integers(-400 * DAY, 400 * DAY))
def test_only_ages_matter_and_not_the_date(ages: list[int], shift: int) -> None:
    moved = value("active_days", "7d", [age - shift for age in ages], as_of=NOON + shift, started=NOON + shift)
    assert moved == value("active_days", "7d", ages)


# --- the arrays underneath -------------------------------------------------------------------

EVERYTHING = """
product: Tested
conversion: {column: converted_at, horizon: 30d}
score_at: [7d]
windows: [5h, 50h, 1000h, trial]
cutoff: {at_least: 0.3}
signals:
  - {name: one, kind: value, scope: account, events: [first, both], measures: [MEASURES], text: did it}
  - {name: two, kind: value, scope: account, events: [second, both], measures: [MEASURES], text: did it}
  - {name: three, kind: value, events: [neither], text: did something else}
"""
ASKED = {"property": ["(p)", "(q)"], "number": ["(1)", "(3)"], None: [""]}


def full_plan() -> Plan:
    """Every measure of two signals over spans of 5, 50 and 1,000 microseconds and the trial; kinds: 1, both, 2, neither."""
    written = [how + of for how, spec in SPECS.items() for of in ASKED[spec.brackets]]
    definition = parse(EVERYTHING.replace("MEASURES", ", ".join([*written, "distinct(user)"])))
    made = plan(columns(definition, {}), definition, vocabulary(definition), "account")
    assert vocabulary(definition).codes == ("user", "p", "q")
    # Spans of microseconds let small numbers meet every edge.
    return replace(made, lengths=np.where(made.lengths == TRIAL, TRIAL, made.lengths // HOUR))


PLAN = full_plan()


def log_of(
    groups: Ints, times: Ints, known: Ints, kinds: Ints, keys: Ints | None, numbers: Floats, codes: Ints, n_groups: int
) -> EventLog:
    # As narrow as tables give them, so that nothing is compiled for these tests alone.
    return group(Events(groups.astype(np.int32), times, known, kinds.astype(np.int32), keys, numbers, codes), n_groups)


@dataclass(frozen=True)
class Arrays:
    """Events of three leads, none of which repeats another unless their keys say so."""

    leads: Ints
    times: Ints
    known: Ints
    kinds: Ints
    keys: Ints
    numbers: Floats
    codes: Ints

    def take(self, order: Ints) -> EventLog:
        leads, times, known = self.leads[order], self.times[order], self.known[order]
        numbers, codes = self.numbers[:, order], self.codes[:, order]
        return log_of(leads, times, known, self.kinds[order], self.keys[order], numbers, codes, 3)

    def whole(self) -> EventLog:
        return self.take(np.arange(len(self.times)))


# Tenths do not add up exactly, and these magnitudes swallow each other: any other order gives other bits.
ROUGH = st.sampled_from([0.1, 0.2, 0.3, 1e16, -1e16, 1e-9, -0.0, 0.0, math.nan, 7.7])


@st.composite
def arrays(draw: st.DrawFn) -> Arrays:
    one = st.tuples(
        st.integers(0, 2), st.integers(0, 12) | st.integers(0, 200), st.sampled_from([0, 0, -1, 3, 90]),
        st.integers(0, 3), ROUGH, ROUGH, st.integers(0, 3), st.integers(-1, 4), st.integers(-1, 4),
    )  # fmt: skip
    found = draw(st.lists(one, max_size=40))
    lead, times, delay, kinds, user, p, q = (
        np.array([part[i] for part in found], np.int64) for i in (0, 1, 2, 3, 6, 7, 8)
    )
    numbers = np.array([[part[i] for part in found] for i in (4, 5)], np.float64).reshape(2, len(found))
    keys = 2 * np.arange(len(found))
    return Arrays(lead, times, times + delay, kinds, keys, numbers, np.array([user, p, q]))


SNAPSHOTS = Snapshots(
    np.tile([0, 1, 2], 4), np.repeat([0, 7, 60, 300], 3), np.zeros(12, np.int64), np.arange(12, dtype=np.int64) % 5 - 1
)


@settings(max_examples=100, deadline=None)
@given(arrays(), st.randoms(use_true_random=False))
def test_order_of_input_changes_no_bit_even_where_times_tie(given: Arrays, random: object) -> None:
    order = list(range(len(given.times)))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = measure(given.whole(), SNAPSHOTS, PLAN)
    shuffled = measure(given.take(np.array(order, np.int64)), SNAPSHOTS, PLAN)
    assert straight.tobytes() == shuffled.tobytes()


@settings(max_examples=50, deadline=None)
@given(arrays())
def test_one_snapshot_alone_equals_the_same_among_many(given: Arrays) -> None:
    log = given.whole()
    together = measure(log, SNAPSHOTS, PLAN)
    for i in range(len(SNAPSHOTS)):
        one = slice(i, i + 1)
        alone = Snapshots(SNAPSHOTS.lead[one], SNAPSHOTS.as_of[one], SNAPSHOTS.started_at[one], SNAPSHOTS.user[one])
        assert measure(log, alone, PLAN).tobytes() == together[one].tobytes()


@settings(max_examples=50, deadline=None)
@given(arrays(), st.integers(-1, 201))
def test_what_had_not_arrived_is_as_if_it_were_not_there(given: Arrays, as_of: int) -> None:
    at = Snapshots(np.arange(3), np.full(3, as_of), np.zeros(3, np.int64), np.zeros(3, np.int64))
    there = np.flatnonzero((given.known < as_of) & (given.times < as_of))
    np.testing.assert_array_equal(measure(given.whole(), at, PLAN), measure(given.take(there), at, PLAN))


@settings(max_examples=100, deadline=None)
@given(arrays())
def test_a_log_is_grouped_by_lead_and_sorted_by_time_and_loses_nothing(given: Arrays) -> None:
    log = given.whole()
    assert log.offsets[0] == 0
    assert log.offsets[-1] == len(given.times)
    assert log.repeated == 0
    for lead in range(3):
        mine = slice(log.offsets[lead], log.offsets[lead + 1])
        assert (np.diff(log.times[mine]) >= 0).all()
        assert sorted(log.times[mine]) == sorted(given.times[given.leads == lead])
        assert sorted(log.known[mine]) == sorted(given.known[given.leads == lead])
        assert sorted(log.codes[1, mine]) == sorted(given.codes[1, given.leads == lead])


@settings(max_examples=100, deadline=None)
@given(arrays())
def test_a_log_is_in_the_order_that_a_sort_by_lead_time_kind_and_properties_gives(given: Arrays) -> None:
    log = given.whole()
    order = np.lexsort((
        given.known, *given.codes[::-1], *given.numbers[::-1], given.kinds, given.times, given.leads
    ))  # fmt: skip
    np.testing.assert_array_equal(log.times, given.times[order])
    np.testing.assert_array_equal(log.known, given.known[order])
    np.testing.assert_array_equal(log.kinds, given.kinds[order])
    np.testing.assert_array_equal(log.numbers, given.numbers[:, order])
    np.testing.assert_array_equal(log.codes, given.codes[:, order])
    np.testing.assert_array_equal(log.offsets, np.searchsorted(given.leads[order], np.arange(4)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), ROUGH, ROUGH), min_size=2, max_size=4))
def test_events_of_one_instant_are_put_in_order_of_kind_and_then_of_numbers(
    found: list[tuple[int, float, float]],
) -> None:
    # Already in order of time, so that nothing but the ties can make the log sort.
    kinds = np.array([kind for kind, _, _ in found])
    numbers = np.array([[first for _, first, _ in found], [second for _, _, second in found]])
    same = np.zeros(len(found), np.int64)
    log = log_of(same, same, same, kinds, 2 * np.arange(len(found)), numbers, np.zeros((1, len(found)), int), 1)
    order = np.lexsort((*numbers[::-1], kinds))
    np.testing.assert_array_equal(log.kinds, kinds[order])
    np.testing.assert_array_equal(log.numbers, numbers[:, order])


def test_properties_stay_with_their_event_through_the_sort() -> None:
    marks = np.arange(200)
    rng = np.random.default_rng(0)
    leads, times = rng.integers(0, 5, 200), rng.integers(0, 9, 200)
    kinds, numbers = np.zeros(200, np.int64), marks[None].astype(np.float64)
    log = log_of(leads, times, times + marks, kinds, 2 * marks, numbers, marks[None].copy(), 6)
    assert sorted(log.codes[0]) == list(marks)
    np.testing.assert_array_equal(log.codes[0], log.numbers[0])
    np.testing.assert_array_equal(log.times, times[log.codes[0]])
    np.testing.assert_array_equal(log.known, (times + marks)[log.codes[0]])
    np.testing.assert_array_equal(np.repeat(np.arange(6), np.diff(log.offsets)), leads[log.codes[0]])


# --- repetitions -----------------------------------------------------------------------------


def kept(times: Sequence[int], keys: Sequence[int] | None, known: Sequence[int] | None = None) -> list[int]:
    """The places of the events of one lead that its log keeps, in its order."""
    n = len(times)
    at = np.array(times, np.int64)
    arrived = at if known is None else np.array(known, np.int64)
    said = None if keys is None else np.array(keys, np.int64)
    zeros = np.zeros(n, np.int64)
    log = log_of(zeros, at, arrived, zeros, said, np.empty((0, n)), np.arange(n)[None], 1)
    assert log.repeated == n - len(log.times)
    found: list[int] = log.codes[0].tolist()
    return found


def test_one_odd_key_is_one_message_whenever_it_happened() -> None:
    assert kept([5, 3, 9], [7, 7, 7], [5, 6, 9]) == [0]
    assert kept([5, 3, 9], [7, 9, 11]) == [1, 0, 2]


def test_one_even_key_is_one_event_only_at_one_instant() -> None:
    assert kept([5, 5, 9], [8, 8, 8]) == [0, 2]
    assert kept([5, 5], [8, 6]) == [0, 1]


def test_without_keys_each_kind_is_its_own() -> None:
    assert kept([5, 5, 9], None) == [0, 2]


def test_of_repetitions_the_one_that_arrived_first_is_kept_and_then_the_earlier_one() -> None:
    assert kept([5, 3], [7, 7], [8, 9]) == [0]
    assert kept([5, 3], [7, 7], [9, 8]) == [1]
    assert kept([5, 3], [7, 7], [8, 8]) == [1]


def test_events_of_different_leads_never_repeat_each_other() -> None:
    same = np.full(4, 7)
    log = log_of(np.array([0, 1, 0, 1]), same, same, same * 0, same, np.empty((0, 4)), np.empty((0, 4), int), 2)
    assert log.offsets.tolist() == [0, 1, 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 9), st.integers(-5, 5)), max_size=40))
def test_repetitions_are_left_out_as_a_plain_list_would_leave_them_out(rows: list[tuple[int, int, int, int]]) -> None:
    lead, times, known, keys = (np.array([row[i] for row in rows], np.int64) for i in range(4))
    n = len(rows)
    log = log_of(lead, times, known, lead * 0, keys, np.empty((0, n)), np.empty((0, n), np.int64), 3)
    wanted: list[tuple[int, int, int]] = []
    for number in range(3):
        first: dict[object, tuple[int, int]] = {}
        for arrived, at, key in sorted((row[2], row[1], row[3]) for row in rows if row[0] == number):
            first.setdefault(key if key % 2 else (key, at), (at, arrived))
        wanted += [(number, *one) for one in sorted(first.values())]
    number_of = np.repeat(np.arange(3), np.diff(log.offsets))
    found = np.stack([number_of, log.times, log.known], axis=1).tolist()
    assert sorted(map(tuple, found)) == sorted(wanted)


# --- spans and places ------------------------------------------------------------------------


def test_narrow_and_wide_spans_may_be_given_in_any_order() -> None:
    at = Snapshots(np.array([0]), np.array([100]), np.array([50]), np.array([-1]))
    zeros = np.zeros(3, np.int64)
    times = np.array([1, 60, 99])
    log = log_of(zeros, times, times, zeros, None, np.zeros((2, 3)), np.zeros((3, 3), np.int64), 1)
    definition = parse(ONE.replace("WINDOWS", "1h, 2h, 3h, trial").replace("MEASURES", "count"))
    bare = definition.model_copy(update={"signals": definition.signals[:1]})
    made = plan(columns(bare, {}), bare, vocabulary(bare), "lead")
    for lengths in ([1, 40, 99, TRIAL], [TRIAL, 99, 1, 40], [99, TRIAL, 40, 1]):
        counts = measure(log, at, replace(made, lengths=np.array(lengths)))[0]
        assert dict(zip(lengths, counts, strict=True)) == {1: 1, 40: 2, 99: 3, TRIAL: 2}


def test_nobody_asked_about_gives_no_rows() -> None:
    empty = np.zeros(0, np.int64)
    log = log_of(empty, empty, empty, empty, None, np.zeros((2, 0)), np.zeros((3, 0), np.int64), 0)
    assert measure(log, Snapshots(empty, empty, empty, empty), PLAN).shape == (0, len(PLAN.ops))


def test_a_plan_without_columns_gives_rows_without_any() -> None:
    empty = np.zeros(0, np.int64)
    log = log_of(empty, empty, empty, empty, None, np.zeros((2, 0)), np.zeros((3, 0), np.int64), 3)
    assert measure(log, SNAPSHOTS, replace(PLAN, ops=PLAN.ops[:0])).shape == (12, 0)


@given(st.lists(st.integers(0, 5), max_size=30))
@settings(max_examples=60, deadline=None)
def test_rows_are_put_by_part_and_else_left_as_they_are(parts: list[int]) -> None:
    offsets = np.zeros(7, np.int64)
    order = order_by_part(np.array(parts, np.int32), offsets)
    assert order.tolist() == sorted(range(len(parts)), key=lambda row: parts[row])
    assert offsets.tolist() == [sum(part < number for part in parts) for number in range(7)]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_the_newest_entry_before_a_moment_is_the_last_that_is_not_at_it(
    logs: list[list[int]], data: st.DataObject
) -> None:
    asked = data.draw(st.lists(st.tuples(st.integers(0, len(logs) - 1), st.integers(-1, 11)), max_size=8))
    offsets = np.cumsum([0, *map(len, logs)]).astype(np.int64)
    since = np.array([at for log in logs for at in sorted(log)], np.int64)
    which, as_of = (np.array([one[i] for one in asked], np.int64) for i in (0, 1))
    wanted = []
    for lead, moment in asked:
        before = [place for place in range(offsets[lead], offsets[lead + 1]) if since[place] < moment]
        wanted.append(max(before, default=-1))
    assert newest_before(offsets, since, which, as_of).tolist() == wanted


def test_days_are_counted_in_utc_with_their_last_moment() -> None:
    assert days_of(np.array([], np.int64)) == []
    times = np.array([3 * DAY + 5, DAY, 3 * DAY, 2 * DAY - 1, 9 * DAY - 1])
    assert days_of(times) == [(1, 2, 2 * DAY - 1), (3, 2, 3 * DAY + 5), (8, 1, 9 * DAY - 1)]


def test_importing_the_windows_does_not_bring_in_the_compiler() -> None:
    code = "import sys, features.windows; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("spelling", ["2024-02-29T12:00:00Z", "2024-02-29T17:30:00+05:30", "2024-02-28T23:00:00-13:00"])
def test_the_zone_in_which_a_time_is_written_does_not_matter(spelling: str) -> None:
    definition = parse(ONE.replace("WINDOWS", "7d").replace("MEASURES", "days_since_last"))
    events = pl.DataFrame({"user_id": ["u"], "event": ["act"], "timestamp": [spelling]})
    started = datetime(2024, 2, 20, tzinfo=UTC)
    trials = pl.DataFrame({"user_id": ["u"], "started_at": [started], "converted_at": [None]})
    noon = micros(datetime(2024, 2, 29, 12, tzinfo=UTC) + timedelta(days=2))
    assert row_of(events, trials, definition, noon)[1] == 2

"""Every measure over every window agrees with a slow, obvious reading of its definition, to the microsecond."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset, dataset
from features.definition import Signal, Window, parse
from features.durations import DAY, HOUR
from features.matrix import FeatureBuilder
from features.times import micros, moment_of
from features.vocabulary import USER
from features.windows import TRIAL, EventLog, Floats, Ints, Op, Plan, Snapshots, group, measure

NOON = micros(datetime(2024, 2, 29, 12, tzinfo=UTC))
TIME = pl.Datetime("us", "UTC")
ROOT = Path(__file__).parents[2]

EVERYTHING = """
product: Tested
conversion: {column: converted_at, horizon: 30d}
score_at: [7d]
windows: [36h, 7d, trial]
cutoff: {at_least: 0.3}
signals:
  - name: invites
    kind: team_growth
    events: [invite_sent, {event: page, where: {path: [/team, 3, true, none]}}]
    measures: [count, active_days, days_since_first, days_since_last, trend, reached(2), distinct(user), distinct(plan)]
    text: invited
  - name: spend
    kind: value
    events: [purchase, {event: page, where: {path: /pay, plan: [pro, 1]}}, {event: page, where: {path: /team}}]
    windows: [24h, 3d]
    measures: [count, sum(amount), distinct(plan), days_since_first, days_since_last, trend, reached(3)]
    text: spent
  - name: pages
    kind: usage_depth
    events: [page, {event: page, where: {path: /pay}}]
    windows: [trial]
    measures: [count, sum(amount), sum(seats), distinct(path), active_days, days_since_first, days_since_last]
    text: looked
  - name: team
    kind: team_growth
    scope: account
    events: [invite_sent, purchase, $trial_started, $converted]
    windows: [7d, trial]
    measures: [count, distinct(user), active_days, days_since_first, days_since_last, trend, reached(4)]
    text: teamed up
  - name: team_spend
    kind: value
    scope: account
    events: [purchase, {event: page, where: {path: /pay}}]
    measures: [sum(amount), sum(seats), distinct(plan), distinct(user), count]
    windows: [48h]
    text: spent together
"""
DEFINITION = parse(EVERYTHING)
BUILDER = FeatureBuilder(DEFINITION, {})


@dataclass(frozen=True)
class Act:
    """One event as the reference sees it."""

    user: str
    event: str
    at: int
    account: str | None = None
    properties: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One lead as the reference sees it."""

    user: str
    started: int
    account: str | None = None
    converted: int | None = None


@dataclass(frozen=True)
class World:
    acts: list[Act]
    trials: list[Trial]
    moments: list[int]


# --- the reference: plain loops over plain lists ---------------------------------------------


def number_in(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def looks_like(value: object, wanted: object) -> bool:
    """Whether a property has a wanted value: numbers as numbers, all else as text; nothing has none."""
    if value is None:
        return False
    if number_in(value) is not None or number_in(wanted) is not None:
        return number_in(value) == number_in(wanted)
    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in (value, wanted)]
    return texts[0] == texts[1]


def belongs(act: Act, signal: Signal) -> bool:
    for match in signal.events:
        wanted = match.where.items()
        if act.event == match.event and all(any(looks_like(act.properties.get(k), w) for w in ws) for k, ws in wanted):
            return True
    return False


def team_of(trials: list[Trial], act: Act) -> tuple[str, str] | None:
    """The account an act counts for: the one it names, else its user's, else its user alone."""
    if act.account is not None:
        return ("account", act.account)
    for trial in trials:
        if trial.user == act.user:
            return ("account", trial.account) if trial.account is not None else ("user", trial.user)
    return None


def acts_for(world: World, trial: Trial, signal: Signal) -> list[Act]:
    if signal.scope == "lead":
        return [act for act in world.acts if act.user == trial.user and belongs(act, signal)]
    history = [Act(one.user, "$trial_started", one.started, one.account) for one in world.trials]
    history += [
        Act(one.user, "$converted", one.converted, one.account) for one in world.trials if one.converted is not None
    ]
    mine = ("account", trial.account) if trial.account is not None else ("user", trial.user)
    return [act for act in world.acts + history if team_of(world.trials, act) == mine and belongs(act, signal)]


def within(acts: list[Act], start: int, end: int) -> list[Act]:
    return [act for act in acts if start <= act.at < end]


def start_of(window: Window, as_of: int, started: int) -> int:
    return started if window.length is None else as_of - window.length


def distinct(acts: list[Act], name: str) -> int:
    seen: list[object] = []
    for act in acts:
        value = act.user if name == USER else act.properties.get(name)
        # Python calls True and 1 equal; they are different values of a property.
        if value is not None and not any(
            one == value and isinstance(one, bool) == isinstance(value, bool) for one in seen
        ):
            seen.append(value)
    return len(seen)


def days_with_one(acts: list[Act], as_of: int) -> int:
    days = range(60)
    return sum(any(as_of - (day + 1) * DAY <= act.at < as_of - day * DAY for act in acts) for day in days)


def expected(world: World, trial: Trial, as_of: int, column_name: str) -> float:
    column = next(column for column in BUILDER.columns if column.name == column_name)
    if column.measure is None:
        return (as_of - trial.started) / DAY
    signal = DEFINITION.signal_of[column.owner]
    acts = acts_for(world, trial, signal)
    how, of = column.measure.how, column.measure.of or ""
    if column.window is None:
        windows = DEFINITION.windows_of(signal)
        ages = [
            as_of - act.at
            for act in acts
            if any(act in within(acts, start_of(window, as_of, trial.started), as_of) for window in windows)
        ]
        return (max(ages) if how == "days_since_first" else min(ages)) / DAY if ages else math.nan
    start = start_of(column.window, as_of, trial.started)
    found = within(acts, start, as_of)
    if how == "trend":
        before = len(within(acts, start - (as_of - start), start))
        return (len(found) - before) / (len(found) + before) if found or before else 0.0
    if how == "sum":
        return sum(value for act in found if (value := number_in(act.properties.get(of))) is not None)
    results = {
        "count": len(found),
        "active_days": days_with_one(found, as_of),
        "distinct": distinct(found, of),
        "reached": len(found) >= int(of) if of.isdigit() else 0,
    }
    return float(results[how])


# --- the real path ---------------------------------------------------------------------------


def tables(world: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    events = pl.DataFrame(
        {
            "user_id": [act.user for act in world.acts] + ["nobody"],
            "account_id": [act.account for act in world.acts] + [None],
            "event": [act.event for act in world.acts] + ["unread"],
            "timestamp": [moment_of(act.at) for act in world.acts] + [moment_of(NOON)],
            "message_id": [str(number) for number in range(len(world.acts) + 1)],
            "properties": [json.dumps(act.properties) if act.properties else None for act in world.acts] + [None],
        },
        schema_overrides={"timestamp": TIME, "account_id": pl.String, "properties": pl.String},
    )
    trials = pl.DataFrame(
        {
            "user_id": [trial.user for trial in world.trials],
            "account_id": [trial.account for trial in world.trials],
            "started_at": [moment_of(trial.started) for trial in world.trials],
            "converted_at": [None if t.converted is None else moment_of(t.converted) for t in world.trials],
        },
        schema_overrides={"account_id": pl.String, "started_at": TIME, "converted_at": TIME},
    )
    return events, trials


def rows_of(data: Dataset, builder: FeatureBuilder, moments: Sequence[int]) -> Floats:
    leads = data.leads
    which = np.repeat(np.arange(len(leads)), len(moments))
    return builder.rows(leads, data.logs(builder), which, np.tile(np.array(moments, np.int64), len(leads)))


def check(world: World) -> None:
    rows = rows_of(dataset(*tables(world), DEFINITION), BUILDER, world.moments)
    asked = [(trial, as_of) for trial in world.trials for as_of in world.moments]
    names = [column.name for column in BUILDER.columns]
    for row, (trial, as_of) in zip(rows, asked, strict=True):
        wanted = {name: expected(world, trial, as_of, name) for name in names}
        np.testing.assert_equal(dict(zip(names, row, strict=True)), wanted)


# --- adversarial timelines -------------------------------------------------------------------

EDGES = [0, HOUR, DAY, 36 * HOUR, 2 * DAY, 3 * DAY, 72 * HOUR, 6 * DAY, 7 * DAY, 14 * DAY, 20 * DAY]
AGES = st.builds(int.__add__, st.sampled_from(EDGES), st.sampled_from([-1, 0, 0, 1])) | st.integers(-DAY, 20 * DAY)
# Quarters add up without rounding, so that the order of addition cannot hide a mistake.
AMOUNTS = st.integers(-40, 40).map(lambda n: n / 4) | st.sampled_from(
    ["2.5", "-3", " 4 ", "many", "", "NaN", "inf", True, None]
)
PATHS = st.sampled_from(
    ["/team", "/pay", 3, 3.0, "3", "3.0", True, "true", False, None, "none", "None", "", [3], {"a": 1}]
)
PLANS = st.sampled_from(["pro", 1, 1.0, "1", True, None, "team", 2**60, 2**60 + 1])
PROPERTIES = st.fixed_dictionaries(
    {}, optional={"amount": AMOUNTS, "seats": AMOUNTS, "path": PATHS, "plan": PLANS, "other": st.just([1])}
)
USERS = ["u1", "u2", "u3", "A", "stranger"]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    zero = draw(
        st.sampled_from([NOON, NOON + 12 * HOUR, NOON + 1, micros(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC))])
    )
    accounts = st.sampled_from([None, None, "A", "B"])
    users = draw(st.lists(st.sampled_from(USERS[:4]), min_size=1, max_size=4, unique=True))
    trials = []
    for user in users:
        started = zero - draw(AGES)
        won = draw(st.none() | st.integers(0, 10 * DAY) | st.just(7 * DAY))
        trials.append(Trial(user, started, draw(accounts), None if won is None else started + won))
    instants = draw(st.lists(AGES, min_size=1, max_size=6))
    starts = [zero - trial.started + wobble for trial in trials for wobble in (-1, 0, 1)]
    ages = st.sampled_from(instants) | st.sampled_from(starts) | AGES
    acts = draw(
        st.lists(
            st.builds(
                Act,
                st.sampled_from(USERS),
                st.sampled_from(["invite_sent", "purchase", "page", "page", "unread"]),
                ages.map(lambda age: zero - age),
                accounts,
                PROPERTIES,
            ),
            max_size=25,
        )
    )
    return World(acts, trials, [zero, *draw(st.lists(AGES.map(lambda age: zero + age), max_size=2))])


@settings(max_examples=250, deadline=None)
@given(worlds())
@example(World([], [Trial("u1", NOON - DAY)], [NOON]))
@example(World([Act("u1", "purchase", NOON - 1, None, {"amount": "1"})], [Trial("u1", NOON)], [NOON, NOON - DAY]))
def test_every_measure_equals_the_plain_reading_of_its_definition(world: World) -> None:
    check(world)


def test_thousands_of_events_at_one_instant_equal_the_plain_reading() -> None:
    amounts: list[dict[str, object]] = [{"amount": number / 4, "plan": number % 7} for number in range(3_000)]
    acts = [Act("u1", "purchase", NOON - 7 * DAY, None, amount) for amount in amounts]
    world = World(acts, [Trial("u1", NOON - 7 * DAY), Trial("u2", NOON)], [NOON, NOON + 1])
    rows = rows_of(dataset(*tables(world), DEFINITION), BUILDER, world.moments)
    named = [dict(zip([column.name for column in BUILDER.columns], row, strict=True)) for row in rows]
    assert named[0]["team_count_7d"] == 3_001
    assert named[0]["team_count_trial"] == 3_001
    assert named[1]["team_count_7d"] == 0
    assert named[1]["team_count_trial"] == 3_001
    assert named[2]["team_count_7d"] == 0
    assert named[3]["team_count_7d"] == 1


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
    acts = [Act("u", "act", NOON - age, None, {"p": p}) for age, p in zip(ages, given, strict=True)]
    world = World(acts, [Trial("u", started)], [as_of])
    builder = FeatureBuilder(definition, {})
    row = rows_of(dataset(*tables(world), definition), builder, [as_of])[0]
    return float(row[1])


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


def full_plan(lengths: Sequence[int]) -> Plan:
    """Every measure of two series over every length; kind 0 is the first series, 1 the second, 2 both, 3 neither."""
    spans = [*lengths, *(2 * length for length in lengths)]
    ops: list[tuple[Op, int, int, int, int]] = [
        (op, row, span, span, 2) for op in Op if op is not Op.TREND for row in (0, 1) for span in range(len(lengths))
    ]
    ops += [(Op.TREND, row, span, span + len(lengths), 0) for row in (0, 1) for span in range(len(lengths))]
    each = np.array([0, 1, 2])
    kinds, series = np.array([0, 1, 2, 4, 4]), np.array([0, 1, 0, 1])
    return Plan(np.array(spans), kinds, series, each, np.array([0, 1]), each, np.array([0, 0]), np.array(ops, np.int64))


PLAN = full_plan([5, 50, 1_000])


@dataclass(frozen=True)
class Arrays:
    leads: Ints
    times: Ints
    kinds: Ints
    numbers: Floats
    codes: Ints

    def take(self, order: Ints) -> EventLog:
        parts = self.leads[order], self.times[order], self.kinds[order]
        return group(*parts, self.numbers[:, order], self.codes[:, order], 3)


# Tenths do not add up exactly, and these magnitudes swallow each other: any other order gives other bits.
ROUGH = st.sampled_from([0.1, 0.2, 0.3, 1e16, -1e16, 1e-9, -0.0, 0.0, math.nan, 7.7])


@st.composite
def arrays(draw: st.DrawFn) -> Arrays:
    one = st.tuples(
        st.integers(0, 2), st.integers(0, 12) | st.integers(0, 200), st.integers(0, 3), ROUGH, ROUGH, st.integers(-1, 4)
    )
    found = draw(st.lists(one, max_size=40))
    whole = [np.array([part[i] for part in found], np.int64) for i in (0, 1, 2, 5)]
    numbers = np.array([[part[i] for part in found] for i in (3, 4)], np.float64).reshape(2, len(found))
    return Arrays(whole[0], whole[1], whole[2], numbers, whole[3].reshape(1, -1))


SNAPSHOTS = Snapshots(np.tile([0, 1, 2], 4), np.repeat([0, 7, 60, 300], 3), np.zeros(12, np.int64))


@settings(max_examples=200, deadline=None)
@given(arrays(), st.randoms(use_true_random=False))
def test_order_of_input_changes_no_bit_even_where_times_tie(given: Arrays, random: object) -> None:
    order = list(range(len(given.times)))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = measure(given.take(np.arange(len(given.times))), SNAPSHOTS, PLAN)
    shuffled = measure(given.take(np.array(order, np.int64)), SNAPSHOTS, PLAN)
    assert straight.tobytes() == shuffled.tobytes()


@settings(max_examples=100, deadline=None)
@given(arrays())
def test_one_snapshot_alone_equals_the_same_among_many(given: Arrays) -> None:
    log = given.take(np.arange(len(given.times)))
    together = measure(log, SNAPSHOTS, PLAN)
    for i in range(len(SNAPSHOTS)):
        alone = Snapshots(SNAPSHOTS.lead[i : i + 1], SNAPSHOTS.as_of[i : i + 1], SNAPSHOTS.started_at[i : i + 1])
        assert measure(log, alone, PLAN).tobytes() == together[i : i + 1].tobytes()


@settings(max_examples=100, deadline=None)
@given(arrays())
def test_a_log_is_grouped_by_lead_and_sorted_by_time_and_loses_nothing(given: Arrays) -> None:
    log = given.take(np.arange(len(given.times)))
    assert log.offsets[0] == 0
    assert log.offsets[-1] == len(given.times)
    for lead in range(3):
        mine = slice(log.offsets[lead], log.offsets[lead + 1])
        assert (np.diff(log.times[mine]) >= 0).all()
        assert sorted(log.times[mine]) == sorted(given.times[given.leads == lead])
        assert sorted(log.codes[0, mine]) == sorted(given.codes[0, given.leads == lead])


@settings(max_examples=200, deadline=None)
@given(arrays())
def test_a_log_is_in_the_order_that_a_sort_by_lead_time_kind_and_numbers_gives(given: Arrays) -> None:
    log = given.take(np.arange(len(given.times)))
    order = np.lexsort((*given.numbers[::-1], given.kinds, given.times, given.leads))
    np.testing.assert_array_equal(log.times, given.times[order])
    np.testing.assert_array_equal(log.kinds, given.kinds[order])
    np.testing.assert_array_equal(log.numbers, given.numbers[:, order])
    np.testing.assert_array_equal(log.offsets, np.searchsorted(given.leads[order], np.arange(4)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), ROUGH, ROUGH), min_size=2, max_size=4))
def test_events_of_one_instant_are_put_in_order_of_kind_and_then_of_numbers(
    found: list[tuple[int, float, float]],
) -> None:
    # Already in order of time, so that nothing but the ties can make the log sort.
    kinds = np.array([kind for kind, _, _ in found])
    numbers = np.array([[first for _, first, _ in found], [second for _, _, second in found]])
    same = np.zeros(len(found), np.int64)
    log = group(same, same, kinds, numbers, np.arange(len(found))[None], 1)
    order = np.lexsort((*numbers[::-1], kinds))
    np.testing.assert_array_equal(log.kinds, kinds[order])
    np.testing.assert_array_equal(log.numbers, numbers[:, order])


def test_properties_stay_with_their_event_through_the_sort() -> None:
    marks = np.arange(200)
    rng = np.random.default_rng(0)
    leads, times = rng.integers(0, 5, 200), rng.integers(0, 9, 200)
    log = group(leads, times, np.zeros(200, np.int64), marks[None].astype(np.float64), marks[None].copy(), 6)
    assert sorted(log.codes[0]) == list(marks)
    np.testing.assert_array_equal(log.codes[0], log.numbers[0])
    np.testing.assert_array_equal(log.times, times[log.codes[0]])
    np.testing.assert_array_equal(np.repeat(np.arange(6), np.diff(log.offsets)), leads[log.codes[0]])


def test_narrow_and_wide_spans_may_be_given_in_any_order() -> None:
    log = group(
        np.zeros(3, np.int64), np.array([1, 60, 99]), np.zeros(3, np.int64), np.zeros((2, 3)), np.full((1, 3), -1), 1
    )
    at = Snapshots(np.array([0]), np.array([100]), np.array([50]))
    for lengths in ([1, 40, 99, TRIAL], [TRIAL, 99, 1, 40], [99, TRIAL, 40, 1]):
        ops = np.array([(Op.COUNT, 0, span, span, 0) for span in range(4)], np.int64)
        plan = Plan(
            np.array(lengths), np.array([0, 1]), np.array([0]), np.zeros(2, np.int64), np.zeros(0, np.int64),
            np.zeros(2, np.int64), np.zeros(0, np.int64), ops,
        )  # fmt: skip
        counts = dict(zip(lengths, measure(log, at, plan)[0], strict=True))
        assert counts == {1: 1, 40: 2, 99: 3, TRIAL: 2}


def test_nobody_asked_about_gives_no_rows() -> None:
    empty = np.zeros(0, np.int64)
    log = group(empty, empty, empty, np.zeros((2, 0)), np.zeros((1, 0), np.int64), 0)
    assert measure(log, Snapshots(empty, empty, empty), PLAN).shape == (0, len(PLAN.ops))


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
    assert rows_of(dataset(events, trials, definition), FeatureBuilder(definition, {}), [noon])[0, 1] == 2

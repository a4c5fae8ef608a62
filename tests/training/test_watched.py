"""What was seen until a moment, and only that, becomes a lesson; and by how much early days lie below late ones."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from features.durations import DAY
from features.leads import NEVER, Leads
from features.windows import Ints
from serving.scoring.course import Stage
from tests.training.worlds import COLUMNS, HORIZON, RIDGE, START, World, leads_of, simulated, table_of
from training.calibrate import in_the_large
from training.fit import Lessons
from training.labels import UNKNOWN, labels
from training.watched import EDGES, FEWEST, Watched, lessons, stage_of, watched

# Whole days and the instants beside them: there the edges lie, and drawn at large they would never be met.
moments = st.builds(lambda days, beside: days * DAY + beside, st.integers(0, 100), st.sampled_from([-1, 0, 0, 1]))
one_lead = st.tuples(moments, st.one_of(st.none(), moments))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Leads, int]:
    drawn = draw(st.lists(one_lead, min_size=1, max_size=8))
    started = START + np.array([begin for begin, _ in drawn], np.int64)
    took = np.array([NEVER if span is None else span for _, span in drawn], np.int64)
    converted = np.where(took == NEVER, NEVER, started + np.where(took == NEVER, 0, took))
    return leads_of(started, converted), START + draw(moments)


# --- what was seen ----------------------------------------------------------------------------


@given(worlds())
def test_what_was_seen_is_what_the_plain_rule_gives(world: tuple[Leads, int]) -> None:
    leads, until = world
    table = table_of(leads)
    rows = np.arange(3.0 * len(table)).reshape(-1, 3)
    numbers = np.arange(len(table))[::-1]
    seen = watched(rows, table, leads, numbers, until)
    for place, number in enumerate(numbers):
        lead, as_of = int(table.lead[number]), int(table.as_of[number])
        converted = int(leads.converted_at[lead])
        known = converted != NEVER and converted < until
        assert seen.took[place] == ((converted - as_of) / DAY if known else np.inf)
        assert seen.seen[place] == (until - as_of) / DAY
        assert seen.age[place] == (as_of - int(leads.started_at[lead])) / DAY
        assert seen.rows[place].tolist() == rows[number].tolist()
        assert seen.weight[place] == table.weight[number]


def seen_of_one(converted: int, until: int) -> Watched:
    leads = leads_of(np.array([START]), np.array([converted]))
    table = table_of(leads, (3,))
    return watched(np.zeros((1, 3)), table, leads, np.array([0]), until)


def test_a_conversion_exactly_at_the_moment_was_not_seen_yet() -> None:
    at = START + 10 * DAY
    assert seen_of_one(at, at).took.tolist() == [np.inf]
    assert seen_of_one(at, at + 1).took.tolist() == [7.0]


def test_a_conversion_at_the_moment_of_scoring_took_no_time() -> None:
    assert seen_of_one(START + 3 * DAY, START + 40 * DAY).took.tolist() == [0.0]


def test_some_are_taken_as_they_are() -> None:
    seen = Watched(np.eye(3), np.arange(3.0), np.arange(3.0) + 10, np.arange(3.0) + 20, np.arange(3.0) + 30)
    some = seen.take(np.array([2, 0]))
    assert (some.weight.tolist(), some.age.tolist()) == ([2, 0], [12, 10])
    assert (some.took.tolist(), some.seen.tolist()) == ([22, 20], [32, 30])
    assert some.rows.tolist() == [[0, 0, 1], [1, 0, 0]]


# --- a world with a known truth ---------------------------------------------------------------


@pytest.fixture(scope="module")
def world() -> World:
    return simulated(0)


def learned(seen: Watched, begin: float = 0.0, end: float = HORIZON) -> tuple[Lessons, Ints]:
    return lessons(seen, begin, end, COLUMNS, RIDGE)


# --- lessons ----------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(35, 90))
def test_a_snapshot_watched_whole_has_no_shift_and_the_label_of_the_horizon(seed: int, day: int) -> None:
    world = replace(simulated(seed, 400), until=START + day * DAY)
    seen = world.seen()
    table = world.table
    known = labels(world.leads, table.lead, table.as_of, round(HORIZON * DAY), world.until)
    whole = np.flatnonzero(known != UNKNOWN)
    assume(0 < known[whole].sum() < len(whole))
    found, places = learned(seen)
    assert places[: len(whole)].tolist() == whole.tolist()
    assert found.converted[: len(whole)].tolist() == known[whole].tolist()
    assert not found.shift[: len(whole)].any()
    assert found.rows[: len(whole)].tolist() == world.rows[whole].tolist()


def plain_rest(seen: Watched, end: float) -> dict[int, tuple[float, int]]:
    """The day until which each snapshot in the middle counts, and its label; by place."""
    whole = [i for i in range(len(seen.seen)) if seen.seen[i] >= end]
    days = [day for day in EDGES if day < end and sum(seen.took[i] < day for i in whole) >= FEWEST]
    found = {}
    for i in range(len(seen.seen)):
        passed = [day for day in days if day <= seen.seen[i]]
        if seen.seen[i] < end and passed:
            found[i] = (max(passed), int(seen.took[i] < max(passed)))
    return found


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(50, 90))
def test_a_trial_in_the_middle_counts_until_the_last_edge_that_has_passed(seed: int, day: int) -> None:
    world = replace(simulated(seed, 400), until=START + day * DAY)
    seen = world.seen()
    found, places = learned(seen)
    whole = int((seen.seen >= HORIZON).sum())
    plain = plain_rest(seen, HORIZON)
    assert places[whole:].tolist() == sorted(plain)
    assert found.converted[whole:].tolist() == [plain[place][1] for place in sorted(plain)]
    assert found.weight.tolist() == seen.weight[places].tolist()
    assert found.rows.tolist() == seen.rows[places].tolist()


def test_trials_in_the_middle_are_drawn_on_every_edge_by_which_enough_convert(world: World) -> None:
    days = {day for day, _ in plain_rest(world.seen(), HORIZON).values()}
    assert days == {day for day in EDGES if 1 < day < HORIZON}


def test_the_shift_of_a_day_is_the_same_for_all_of_an_age_and_ascends_with_the_day(world: World) -> None:
    seen = world.seen()
    found, places = learned(seen)
    plain = plain_rest(seen, HORIZON)
    shift_of = {plain[int(place)][0]: shift for place, shift in zip(places, found.shift, strict=True) if place in plain}
    for place, shift in zip(places, found.shift, strict=True):
        assert place not in plain or shift == shift_of[plain[int(place)][0]]
    shifts = [shift_of[day] for day in sorted(shift_of)]
    assert shifts == sorted(shifts)
    assert max(shifts) < 0


def test_the_shift_is_the_true_one(world: World) -> None:
    seen = world.seen()
    found, places = learned(seen)
    plain = plain_rest(seen, HORIZON)
    for day in (5.0, 14.0, 21.0):
        shift = next(
            found.shift[at] for at, place in enumerate(places) if place in plain and plain[int(place)][0] == day
        )
        assert shift == pytest.approx(1.2 * np.log(day / HORIZON), abs=0.25)


def test_too_few_conversions_by_a_day_make_no_edge(world: World) -> None:
    seen = world.seen()
    fast = np.flatnonzero((seen.seen >= HORIZON) & (seen.took < 5))
    spared = replace(seen, took=np.where(np.isin(np.arange(len(seen.took)), fast[FEWEST - 1 :]), 6.0, seen.took))
    found = {day for day, _ in plain_rest(spared, HORIZON).values()}
    assert min(found) == 7.0
    _, places = learned(spared)
    whole = int((seen.seen >= HORIZON).sum())
    assert seen.seen[places[whole:]].min() >= 7.0


def test_where_hardly_anybody_converted_early_only_whole_snapshots_teach(world: World) -> None:
    seen = world.seen()
    slow = replace(seen, took=np.where(seen.took < 29.5, 29.5, seen.took))
    found, places = learned(slow)
    assert places.tolist() == np.flatnonzero(seen.seen >= HORIZON).tolist()
    assert not found.shift.any()


def test_of_a_later_span_only_those_teach_who_had_not_converted_before_it(world: World) -> None:
    seen = world.seen()
    found, places = learned(seen, 7.0, 21.0)
    assert (seen.took[places] >= 7.0).all()
    whole = np.flatnonzero((seen.took >= 7.0) & (seen.seen >= 21.0))
    assert places[: len(whole)].tolist() == whole.tolist()
    assert found.converted[: len(whole)].tolist() == (seen.took[whole] < 21.0).astype(int).tolist()
    # Between its ends the edges are 10 and 14 days: nobody watched for less says anything of that span.
    assert seen.seen[places].min() >= 10.0


def same(one: Lessons, other: Lessons) -> bool:
    return all(getattr(one, f.name).tobytes() == getattr(other, f.name).tobytes() for f in fields(Lessons))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["never", "at once", "by chance"]))
def test_nothing_after_the_moment_changes_a_lesson(seed: int, how: str) -> None:
    world = replace(simulated(seed, 600), until=START + 70 * DAY)
    converted = world.leads.converted_at
    after = converted >= world.until
    rng = np.random.default_rng(seed)
    others = {
        "never": np.full(len(converted), NEVER),
        "at once": np.full(len(converted), world.until),
        "by chance": world.until + rng.integers(0, 50 * DAY, len(converted)),
    }
    changed = replace(world.leads, converted_at=np.where(after, others[how], converted))
    # Who is looked at after the moment may change; who was looked at before it may not.
    before = world.table.take(np.flatnonzero(world.table.as_of < world.until))
    numbers = np.arange(len(before))
    found = [learned(watched(world.rows, before, leads, numbers, world.until)) for leads in (world.leads, changed)]
    assert (changed.converted_at != converted).sum() > 50
    assert same(found[0][0], found[1][0])
    assert found[0][1].tolist() == found[1][1].tolist()


# --- stages -----------------------------------------------------------------------------------


def stage(world: World, days: tuple[float, ...] = (2.0, 7.0, 14.0, HORIZON)) -> Stage:
    return stage_of(world.odds, world.seen(), (3.0,), days)


def test_probabilities_of_each_day_add_up_to_the_conversions_seen_by_then() -> None:
    """With one shift more, which puts right the last day: for any log-odds at all, and for each age by itself."""
    rng = np.random.default_rng(3)
    world = simulated(8, 1_500)
    table = table_of(world.leads, (3, 7))
    seen = watched(world.rows[table.lead], table, world.leads, np.arange(len(table)), NEVER)
    odds, days = rng.normal(-2, 2, len(table)), (2.0, 7.0, 14.0, HORIZON)
    found = stage_of(odds, seen, (3.0, 7.0), days)
    assert found.days == days
    for row, age in enumerate((3.0, 7.0)):
        mine = seen.age == age
        weight = seen.weight[mine]
        right = in_the_large(float(weight @ (seen.took[mine] < HORIZON)), odds[mine], weight)
        for column, day in enumerate(days):
            told = weight @ expit(odds[mine] + right + found.shift[row, column])
            assert told == pytest.approx(weight @ (seen.took[mine] < day), abs=weight.mean())


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_stages_ascend_and_end_with_nothing(seed: int, n: int) -> None:
    world = replace(simulated(seed, n), until=NEVER)
    found = stage(world).shift
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[:, -1] == 0).all()
    assert np.isfinite(found).all()


def test_an_age_that_was_never_seen_has_no_shift(world: World) -> None:
    found = stage_of(world.odds, world.seen(), (3.0, 9.0), (7.0, HORIZON))
    assert found.shift[1].tolist() == [0.0, 0.0]
    assert found.shift[0, 0] < -1


def test_a_day_by_which_nobody_has_converted_is_unlikely_and_not_impossible(world: World) -> None:
    seen = world.seen()
    none_yet = replace(seen, took=np.maximum(seen.took, 7.0))
    found = stage_of(world.odds, none_yet, (3.0,), (7.0, HORIZON)).shift[0, 0]
    assert -12 < found < -4

"""The training table: open leads at every age, with known outcome, weighed without a look at the outcome."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
from hypothesis import find, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.leads import NEVER, Leads
from features.windows import Ints
from training.snapshots import Snapshots, evenly, snapshots

START = 1_700_000_000_000_000
AGES = (3, 7, 10)
HORIZON = 30 * DAY
TEXT = """
product: Tiny
conversion: {horizon: 30d}
score_at: [7d, 3d, 10d]
windows: [7d]
signals:
  - {name: logins, kind: frequency, events: [login], text: "{count:login|logins}"}
cutoff: {at_least: 0.3}
"""


@cache
def recorded() -> Dataset:
    began = "2020-01-01T00:00:00Z"
    events = pl.DataFrame({"user_id": ["u"], "event": ["login"], "timestamp": [began]})
    trials = pl.DataFrame({"user_id": ["u"], "started_at": [began], "converted_at": [began]})
    return dataset(events, trials, parse(TEXT))


def history(until: int) -> Dataset:
    return replace(recorded(), until=until)


def leads_of(started: Ints, closed: Ints, converted: Ints) -> Leads:
    n = len(started)
    ids = [f"u{i}" for i in range(n)]
    return Leads(ids, [None] * n, np.arange(n), started, np.full(n, NEVER), closed, converted, {})


def one_lead(closed: int = NEVER, converted: int = NEVER, until: int = START + 365 * DAY) -> Snapshots:
    return snapshots(history(until), leads_of(np.array([START]), np.array([closed]), np.array([converted])))


def days(table: Snapshots) -> list[float]:
    return [float(age) for age in (table.as_of - table.started_at) / DAY]


def test_an_open_lead_is_looked_at_at_every_age() -> None:
    assert days(one_lead()) == [3, 7, 10]


def test_a_lead_that_closed_is_not_scored_afterwards() -> None:
    assert days(one_lead(closed=START + 7 * DAY - 1)) == [3]


def test_a_lead_that_closes_exactly_at_an_age_is_still_scored_then() -> None:
    assert days(one_lead(closed=START + 7 * DAY)) == [3, 7]


def test_a_lead_that_converted_is_not_scored_afterwards() -> None:
    assert days(one_lead(converted=START + 7 * DAY - 1)) == [3]


def test_a_lead_that_converts_exactly_at_an_age_is_scored_then_and_counts() -> None:
    table = one_lead(converted=START + 7 * DAY)
    assert (days(table), table.converted.tolist()) == ([3, 7], [1, 1])


def test_a_snapshot_whose_horizon_has_not_passed_is_left_out() -> None:
    assert days(one_lead(until=START + 7 * DAY + HORIZON)) == [3, 7]


def test_a_fresh_conversion_does_not_count_before_those_who_still_may_convert_can() -> None:
    assert days(one_lead(converted=START + 8 * DAY, until=START + 9 * DAY)) == []


def test_label_end_is_one_horizon_after_as_of() -> None:
    table = one_lead()
    assert (table.label_end - table.as_of).tolist() == [HORIZON] * 3


# Whole days and the instants beside them: there the edges lie, and drawn at large they would never be met.
moments = st.builds(lambda days, beside: days * DAY + beside, st.integers(0, 60), st.sampled_from([-1, 0, 0, 1]))
ends = st.one_of(st.just(None), moments)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Leads, int]:
    rows = draw(st.lists(st.tuples(moments, ends, ends), max_size=8))
    started = START + np.array([begin for begin, _, _ in rows], np.int64)
    closed, converted = (
        np.array(
            [NEVER if row[i] is None else int(start) + row[i] for start, row in zip(started, rows, strict=True)],
            np.int64,
        )
        for i in (1, 2)
    )
    until = START + draw(st.sampled_from([45, 70, 90, 130])) * DAY
    return leads_of(started, closed, converted), until


def plain_snapshots(leads: Leads, until: int) -> set[tuple[int, int, int]]:
    found = set()
    for lead in range(len(leads)):
        for age in AGES:
            as_of = int(leads.started_at[lead]) + age * DAY
            still_open = leads.closed_at[lead] >= as_of and leads.converted_at[lead] >= as_of
            if still_open and as_of + HORIZON <= until:
                found.add((lead, as_of, int(leads.converted_at[lead] < as_of + HORIZON)))
    return found


@given(worlds())
def test_the_table_is_what_the_plain_rule_gives(world: tuple[Leads, int]) -> None:
    leads, until = world
    table = snapshots(history(until), leads)
    rows = list(zip(table.lead.tolist(), table.as_of.tolist(), table.converted.tolist(), strict=True))
    assert len(rows) == len(set(rows))
    assert set(rows) == plain_snapshots(leads, until)


def test_worlds_are_drawn_in_which_something_happens() -> None:
    found = find(worlds(), lambda world: set(snapshots(history(world[1]), world[0]).converted.tolist()) == {0, 1})
    assert len(found[0]) > 0


@given(worlds())
def test_rows_are_in_order_of_time(world: tuple[Leads, int]) -> None:
    leads, until = world
    assert (np.diff(snapshots(history(until), leads).as_of) >= 0).all()


@given(worlds())
def test_no_lead_weighs_more_than_one(world: tuple[Leads, int]) -> None:
    leads, until = world
    table = snapshots(history(until), leads)
    assert (np.bincount(table.lead, table.weight, minlength=len(leads)) <= 1 + 1e-12).all()


@given(worlds())
def test_weights_do_not_know_the_outcome(world: tuple[Leads, int]) -> None:
    leads, until = world
    open_for_ever = replace(leads, closed_at=np.full(len(leads), NEVER), converted_at=np.full(len(leads), NEVER))
    table, plain = (snapshots(history(until), one) for one in (leads, open_for_ever))
    known = dict(zip(zip(plain.lead.tolist(), plain.as_of.tolist(), strict=True), plain.weight.tolist(), strict=True))
    assert table.weight.tolist() == [known[key] for key in zip(table.lead.tolist(), table.as_of.tolist(), strict=True)]


@settings(max_examples=10, deadline=None)
@given(st.floats(0.005, 0.1), st.integers(0, 2**32 - 1))
def test_the_weighted_share_of_conversions_is_the_true_probability(rate: float, seed: int) -> None:
    """Leads that convert at a constant rate per day: the probability is the same at every age."""
    n = 20_000
    started = np.full(n, START)
    converted = START + (np.random.default_rng(seed).exponential(1 / rate, n) * DAY).astype(np.int64)
    table = snapshots(history(START + 365 * DAY), leads_of(started, np.full(n, NEVER), converted))
    truth = 1 - np.exp(-30 * rate)
    surprise = np.bincount(table.lead, table.weight * (table.converted - truth), minlength=n)
    assert abs(surprise.sum()) < 5 * np.sqrt((surprise**2).sum())


def test_some_rows_are_taken_as_they_are() -> None:
    table = one_lead(converted=START + 8 * DAY).take(np.array([1]))
    assert (days(table), table.converted.tolist(), table.weight.tolist()) == ([7], [1], [1 / 3])


@given(st.integers(0, 300), st.integers(1, 60))
def test_a_part_is_spread_evenly_and_has_both_ends(n: int, most: int) -> None:
    found = evenly(np.arange(n) * 3, most)
    assert len(found) == min(n, most)
    assert len(set(found.tolist())) == len(found)
    assert n == 0 or found[0] == 0
    if n and most > 1:
        assert found[-1] == 3 * (n - 1)
        steps = np.diff(found // 3)
        assert n == 1 or steps.max() - steps.min() <= 1

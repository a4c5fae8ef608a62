"""Leads are met on every day while their trial runs, and each of them with the same chances."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.leads import NEVER, Leads
from training.rounds import ages_met, rounds
from training.snapshots import Snapshots, snapshots, together

START = 1_700_000_000_000_000
HORIZON = 5
TEXT = """
product: Tiny
trial: {length: 6d}
conversion: {horizon: 5d}
score_at: [4d, 36h]
windows: [7d]
signals:
  - {name: logins, kind: frequency, events: [login], text: "{count:login|logins}"}
cutoff: {at_least: 0.3}
"""
AGES = (1.5, 2.5, 3.5, 4.0, 4.5, 5.5)


@cache
def recorded() -> Dataset:
    began = "2020-01-01T00:00:00Z"
    events = pl.DataFrame({"user_id": ["u"], "event": ["login"], "timestamp": [began]})
    trials = pl.DataFrame({"user_id": ["u"], "started_at": [began], "converted_at": [began]})
    return dataset(events, trials, parse(TEXT))


def history(leads: Leads) -> Dataset:
    return replace(recorded(), leads=leads)


@pytest.mark.parametrize(
    ("score_at", "trial", "days"),
    [
        ("[4d, 36h]", "{length: 6d}", AGES),
        ("[3d]", "{length: 6d}", (3, 4, 5)),
        ("[3d, 7d]", "{length: 6d}", (3, 4, 5, 6, 7)),
        ("[3d, 7d]", "{length: none}", (3, 4, 5, 6, 7)),
        ("[3d]", "{length: none}", (3,)),
    ],
)
def test_ages_are_those_of_learning_and_every_day_from_the_first_to_the_end_of_the_trial(
    score_at: str, trial: str, days: tuple[float, ...]
) -> None:
    text = TEXT.replace("[4d, 36h]", score_at).replace("{length: 6d}", trial)
    assert (ages_met(parse(text)) / DAY).tolist() == list(days)


# Half days and the instants beside them: there the edges lie, and drawn at large they would never be met.
moments = st.builds(
    lambda halves, beside: halves * DAY // 2 + beside, st.integers(0, 24), st.sampled_from([-1, 0, 0, 1])
)
one_lead = st.tuples(moments, *([st.one_of(st.none(), moments)] * 3))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Leads, int]:
    drawn = draw(st.lists(one_lead, min_size=1, max_size=6))
    started = START + np.array([begin for begin, *_ in drawn], np.int64)
    ends, closed, converted = (
        np.array([NEVER if one[i] is None else int(begin) + one[i] for begin, one in zip(started, drawn, strict=True)])
        for i in (1, 2, 3)
    )
    n = len(drawn)
    leads = Leads([f"u{i}" for i in range(n)], [None] * n, np.arange(n) + 50, started, ends, closed, converted, {})
    return leads, START + draw(moments)


def plain_rounds(leads: Leads, lead: int, until: int, *, complete: bool) -> set[tuple[int, int, int]]:
    """(lead, as_of, converted) of one lead, looked at on one day after the other."""
    started, found = int(leads.started_at[lead]), set()
    for age in AGES:
        as_of = started + round(age * DAY)
        if as_of + HORIZON * DAY > until:
            if complete:
                return set()
            continue
        open_ = leads.closed_at[lead] >= as_of and leads.converted_at[lead] >= as_of and leads.ends_at[lead] > as_of
        if open_:
            found.add((lead, as_of, int(leads.converted_at[lead] < as_of + HORIZON * DAY)))
    return found


def rows_of(table: Snapshots) -> list[tuple[int, int, int]]:
    return list(zip(table.lead.tolist(), table.as_of.tolist(), table.converted.tolist(), strict=True))


@given(worlds(), st.booleans(), st.data())
def test_leads_are_met_as_the_plain_rule_says(world: tuple[Leads, int], complete: bool, data: st.DataObject) -> None:
    leads, until = world
    which = np.array(sorted(data.draw(st.sets(st.sampled_from(range(len(leads)))))), np.int64)
    table = rounds(history(leads), which, until, complete=complete)
    found = rows_of(table)
    assert len(found) == len(set(found))
    assert set(found) == set().union(*(plain_rounds(leads, int(lead), until, complete=complete) for lead in which))
    assert (np.diff(table.as_of) >= 0).all()
    assert table.account.tolist() == (table.lead + 50).tolist()
    assert table.started_at.tolist() == leads.started_at[table.lead].tolist()
    assert (table.label_end - table.as_of == HORIZON * DAY).all()
    assert table.weight.tolist() == [1 / len(AGES)] * len(table)


def always_open(n: int = 2) -> Leads:
    never = np.full(n, NEVER)
    started = START + np.arange(n) * DAY
    return Leads([f"u{i}" for i in range(n)], [None] * n, np.arange(n), started, never, never, never, {})


def test_with_complete_a_lead_counts_once_the_outcome_of_its_last_day_is_known() -> None:
    last = START + round(5.5 * DAY) + HORIZON * DAY
    both, none = np.array([0, 1]), np.array([], np.int64)
    assert len(rounds(history(always_open()), both, last - 1, complete=True)) == 0
    assert set(rounds(history(always_open()), both, last, complete=True).lead.tolist()) == {0}
    assert len(rounds(history(always_open()), both, last, complete=False)) == 6 + 5
    assert len(rounds(history(always_open()), none, last, complete=True)) == 0


def test_the_snapshots_of_learning_are_among_them() -> None:
    data = history(always_open())
    until = START + 40 * DAY
    learned = snapshots(replace(data, until=until), data.leads)
    met = rounds(data, np.arange(2), until, complete=False)
    assert set(rows_of(learned)) < set(rows_of(met))


def test_two_tables_together_are_one_after_the_other() -> None:
    data = history(always_open())
    table = rounds(data, np.arange(2), START + 40 * DAY, complete=False)
    first, second = table.take(np.arange(4)), table.take(np.arange(4, len(table)))
    assert rows_of(together(first, second)) == rows_of(table)
    assert rows_of(together(second, first)) == rows_of(second) + rows_of(first)
    assert together(first, second).weight.tolist() == table.weight.tolist()

"""What was known of a trait when: told by events one after the other, or by a column that was always so."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import parse
from features.durations import DAY
from features.leads import TraitLog
from features.survey import Survey, Wanted
from features.times import INSTANT
from features.trait_history import trait_logs

TEXT = """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
traits: [{name: company_size, type: number, column: size}]
"""
ZERO = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10**6
Fact = tuple[str, str, int, int | None, object]
"""Event, who, day, day of arrival, value."""


DEFINITION = parse(TEXT)


def log_of(
    facts: Sequence[Fact], static: Sequence[object] = (None, None, None), clock: str = "timestamp",
    members: pl.DataFrame | None = None,
) -> TraitLog:  # fmt: skip
    """The log of leads a and b of account X and c without one, of whose sizes the table says `static`."""
    survey = Survey(Wanted({}, frozenset({"size"})))
    for event, name, day, arrived, value in facts:
        row = {
            "user_id": name if event == "$identify" else "someone", "account_id": name if event == "$group" else None,
            "event": event, "timestamp": ZERO + day * DAY, "received_at": None if arrived is None else ZERO + arrived * DAY,
            "properties": json.dumps({"size": value}),
        }  # fmt: skip
        frame = pl.DataFrame([row], schema_overrides={"account_id": pl.String, "received_at": pl.Int64})
        survey.add(frame.with_columns(pl.col("timestamp", "received_at").cast(INSTANT)))
    who = {"user_id": ["a", "b", "c"], "account_id": ["X", "X", None], "lead": [0, 1, 2]}
    trials = pl.DataFrame({"size": static}, strict=False)
    members = pl.DataFrame(who) if members is None else members
    return trait_logs(trials, members, survey, DEFINITION, clock)["company_size"]


def known(log: TraitLog, lead: int, *days: float) -> list[object]:
    """What was known of a lead so many days after the zero."""
    return [log.value(lead, ZERO + round(day * DAY)) for day in days]


@pytest.mark.parametrize("facts", [[], [("$identify", "a", 1, None, 40)], [("$group", "X", 1, None, 40)]])
def test_a_column_of_the_table_says_what_always_was_whatever_events_tell(facts: list[Fact]) -> None:
    log = log_of(facts, (7, 8, 9))
    assert [known(log, lead, -999, 0, 999) for lead in range(3)] == [[7] * 3, [8] * 3, [9] * 3]


def test_a_fact_is_known_from_just_after_it_was_told() -> None:
    log = log_of([("$identify", "a", 1, None, 40)])
    assert log.value(0, ZERO + DAY) is None
    assert log.value(0, ZERO + DAY + 1) == 40
    assert known(log, 0, 0, 2, 999) == [None, 40, 40]


def test_a_column_of_which_the_table_knows_one_value_is_read_for_all() -> None:
    # Whether events are read must not differ from lead to lead: it would say who will be told of.
    log = log_of([("$identify", "a", 1, None, 40), ("$identify", "b", 1, None, 50)], (None, 8, None))
    assert [known(log, lead, 0, 9) for lead in range(3)] == [[None, None], [8, 8], [None, None]]


def test_the_newest_fact_counts_in_whatever_order_they_were_read() -> None:
    facts: list[Fact] = [("$identify", "a", day, None, day * 10) for day in (3, 1, 2)]
    assert known(log_of(facts), 0, 0.5, 1.5, 2.5, 3.5) == [None, 10, 20, 30]


def test_a_fact_that_is_told_to_be_unknown_is_unknown_from_then_on() -> None:
    assert known(log_of([("$identify", "a", 1, None, 4), ("$identify", "a", 2, None, None)]), 0, 1.5, 2.5) == [4, None]


def test_a_fact_about_an_account_is_one_about_each_of_its_leads() -> None:
    log = log_of([("$group", "X", 1, None, 500)])
    assert [known(log, lead, 2) for lead in range(3)] == [[500], [500], [None]]


def test_facts_about_a_lead_and_about_its_account_are_one_history() -> None:
    log = log_of([("$group", "X", 2, None, 500), ("$identify", "a", 1, None, 4), ("$identify", "a", 3, None, 5)])
    assert known(log, 0, 1.5, 2.5, 3.5) == [4, 500, 5]
    assert known(log, 1, 1.5, 2.5, 3.5) == [None, 500, 500]


@pytest.mark.parametrize(
    "fact", [("$identify", "stranger", 1, None, 4), ("$group", "Z", 1, None, 4), ("$group", "c", 1, None, 4)]
)
def test_facts_about_nobody_known_change_nothing(fact: Fact) -> None:
    log = log_of([fact])
    assert [known(log, lead, 9) for lead in range(3)] == [[None], [None], [None]]


@pytest.mark.parametrize("value", [3, 2.5, "retail", True, False, None, [1, "a"], {"b": 1}, ""])
def test_a_fact_may_be_any_json_value(value: object) -> None:
    assert known(log_of([("$identify", "a", 1, None, value)]), 0, 2) == [value]


def test_the_people_of_an_account_that_is_one_lead_tell_one_history() -> None:
    members = pl.DataFrame({"user_id": ["a", "b", "c"], "account_id": ["X", "X", None], "lead": [0, 0, 1]})
    facts: list[Fact] = [("$identify", "b", 2, None, 20), ("$identify", "a", 1, None, 10), ("$group", "X", 3, None, 30)]
    log = log_of(facts, (None, None), members=members)
    assert known(log, 0, 0.5, 1.5, 2.5, 3.5) == [None, 10, 20, 30]
    assert known(log, 1, 9) == [None]


# --- clocks ----------------------------------------------------------------------------------


def test_by_arrival_a_fact_is_known_from_the_later_of_its_two_times() -> None:
    facts: list[Fact] = [("$identify", "a", 1, 4, 40), ("$identify", "b", 4, 1, 50)]
    by_time, by_arrival = log_of(facts), log_of(facts, clock="received_at")
    assert known(by_time, 0, 1.5, 3.5, 4.5) == [40, 40, 40]
    assert known(by_arrival, 0, 1.5, 3.5, 4.5) == [None, None, 40]
    assert known(by_arrival, 1, 3.5, 4.5) == [None, 50]


def test_by_arrival_a_fact_whose_arrival_nobody_noted_is_known_from_its_time() -> None:
    assert known(log_of([("$identify", "a", 1, None, 40)], clock="received_at"), 0, 0.5, 1.5) == [None, 40]


def test_an_older_fact_that_arrives_late_does_not_replace_a_newer_one() -> None:
    facts: list[Fact] = [("$identify", "a", 1, 9, 10), ("$identify", "a", 4, 4, 20)]
    assert known(log_of(facts, clock="received_at"), 0, 3, 5, 8, 9.5, 99) == [None, 20, 20, 20, 20]


FACTS = st.lists(
    st.tuples(
        st.sampled_from([("$identify", "a"), ("$identify", "b"), ("$group", "X"), ("$identify", "x")]),
        st.integers(0, 6), st.none() | st.integers(0, 6), st.integers(0, 99),
    ),
    max_size=8, unique_by=lambda fact: fact[1],
)  # fmt: skip


@settings(max_examples=100)
@given(FACTS, st.sampled_from(["timestamp", "received_at"]), st.integers(0, 15), st.randoms(use_true_random=False))
def test_what_is_known_is_the_newest_of_what_had_happened_and_arrived(
    drawn: list[tuple[tuple[str, str], int, int | None, int]], clock: str, half_day: int, random: object
) -> None:
    facts: list[Fact] = [(*who, day, None if late is None else day + late, value) for who, day, late, value in drawn]
    expected: list[object] = []
    for keys in (("a", "X"), ("b", "X"), ("c",)):
        mine = [fact for fact in facts if fact[1] in keys]
        seen = [
            (day, value) for _, _, day, arrived, value in mine
            if max(day, day if arrived is None or clock == "timestamp" else arrived) < half_day / 2
        ]  # fmt: skip
        expected.append(max(seen)[1] if seen else None)
    random.shuffle(facts)  # type: ignore[attr-defined]
    log = log_of(facts, clock=clock)
    assert [known(log, lead, half_day / 2)[0] for lead in range(3)] == expected

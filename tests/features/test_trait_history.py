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


# --- the address of an account ---------------------------------------------------------------

ADDRESSED = parse(
    TEXT.replace("product: Tested", "product: Tested\nlead: account").replace(
        "{name: company_size, type: number, column: size}",
        "{name: email, type: email_domain, enterprise: [big.example]}",
    )
)
RANK = {"a@gmail.com": 1, "b@gmail.com": 1, "a@small.example": 2, "b@small.example": 2, "a@eu.big.example": 3, "?": 0}


def account_log(
    told: Sequence[Fact] = (), given: Sequence[tuple[str, int, str | None]] = (), clock: str | None = None
) -> TraitLog:
    """The log of one account whose users, with their days of starting and their addresses, the table gives."""
    survey = Survey(Wanted({}, frozenset({"email"})))
    for event, name, day, arrived, value in told:
        row = {
            "user_id": name if event == "$identify" else "someone", "account_id": name if event == "$group" else None,
            "event": event, "timestamp": ZERO + day * DAY, "received_at": None if arrived is None else ZERO + arrived * DAY,
            "properties": json.dumps({"email": value}),
        }  # fmt: skip
        frame = pl.DataFrame([row], schema_overrides={"account_id": pl.String, "received_at": pl.Int64})
        survey.add(frame.with_columns(pl.col("timestamp", "received_at").cast(INSTANT)))
    users = given or [(name, 0, None) for name in ("u0", "u1", "u2")]
    members = pl.DataFrame(
        {
            "user_id": [user for user, _, _ in users], "account_id": "X", "lead": 0,
            "started_at": [ZERO + day * DAY for _, day, _ in users], "email": [address for _, _, address in users],
        },
        schema_overrides={"email": pl.String},
    ).with_columns(pl.col("started_at").cast(INSTANT))  # fmt: skip
    first = pl.DataFrame({"email": members["email"].drop_nulls().to_list()[:1] or [None]}, schema={"email": pl.String})
    return trait_logs(first, members, survey, ADDRESSED, clock)["email"]


def test_the_address_of_an_account_is_the_best_of_those_who_have_begun() -> None:
    log = account_log(given=[("u0", 0, "a@gmail.com"), ("u1", 2, "a@small.example"), ("u2", 4, "a@eu.big.example")])
    assert known(log, 0, 0, 1.9, 2.1, 3.9, 4.1) == [
        "a@gmail.com", "a@gmail.com", "a@small.example", "a@small.example", "a@eu.big.example",
    ]  # fmt: skip


def test_who_begins_at_a_moment_is_not_yet_known_then_but_the_first_one_is() -> None:
    log = account_log(given=[("u0", 0, "a@gmail.com"), ("u1", 2, "a@small.example")])
    assert known(log, 0, 0, 2) == ["a@gmail.com", "a@gmail.com"]
    assert log.value(0, ZERO + 2 * DAY + 1) == "a@small.example"


def test_a_colleague_with_no_better_address_changes_nothing() -> None:
    log = account_log(given=[("u0", 0, "a@small.example"), ("u1", 1, "b@small.example"), ("u2", 2, "a@gmail.com")])
    assert log.values == ["a@small.example"]


def test_of_two_who_begin_together_the_first_by_name_is_asked() -> None:
    given = [("u1", 0, "b@small.example"), ("u0", 0, "a@small.example")]
    assert account_log(given=given).values == account_log(given=given[::-1]).values == ["a@small.example"]


def test_an_account_whose_first_users_have_no_address_is_not_known_until_one_has() -> None:
    log = account_log(given=[("u0", 0, None), ("u1", 3, "a@gmail.com")])
    assert known(log, 0, 0, 3, 4) == [None, None, "a@gmail.com"]


def test_an_address_that_is_told_anew_replaces_only_that_of_its_user() -> None:
    facts: list[Fact] = [
        ("$identify", "u0", 1, None, "a@eu.big.example"), ("$identify", "u1", 2, None, "a@small.example"),
        ("$identify", "u0", 3, None, "a@gmail.com"), ("$identify", "u1", 4, None, None),
        ("$group", "X", 5, None, "b@small.example"),
    ]  # fmt: skip
    assert known(account_log(facts), 0, 0, 1.5, 2.5, 3.5, 4.5, 5.5) == [
        None, "a@eu.big.example", "a@eu.big.example", "a@small.example", "a@gmail.com", "b@small.example",
    ]  # fmt: skip


def test_a_late_address_of_one_user_is_not_made_void_by_that_of_another() -> None:
    facts: list[Fact] = [
        ("$identify", "u0", 1, 9, "a@small.example"), ("$identify", "u1", 2, 3, "a@gmail.com"),
        ("$identify", "u0", 0, 11, "a@eu.big.example"),
    ]  # fmt: skip
    log = account_log(facts, clock="received_at")
    assert known(log, 0, 2.5, 3.5, 9.5, 11.5) == [None, "a@gmail.com", "a@small.example", "a@small.example"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["u0", "u1", "u2"]), st.integers(0, 9), st.sampled_from([*RANK, None])), max_size=9
)


@settings(max_examples=150)
@given(STEPS)
def test_the_best_address_is_what_a_slow_reading_says_at_every_moment(steps: list[tuple[str, int, str | None]]) -> None:
    # One fact a user and day, so that it is clear which was told last.
    facts = list({(user, day): (user, day, value) for user, day, value in steps}.values())
    log = account_log([("$identify", user, day, None, value) for user, day, value in facts])
    for moment in range(11):
        newest: dict[str, tuple[int, str, str | None]] = {}
        for user, day, value in sorted(facts, key=lambda fact: fact[1]):
            if day < moment and newest.get(user, (0, "", "nothing"))[2] != value:
                newest[user] = (day, user, value)
        held = [(-RANK.get(value, -1) if value else 1, day, value) for day, _, value in newest.values()]
        best = min(((rank, day) for rank, day, _ in held), default=None)
        found = log.value(0, ZERO + moment * DAY)
        # Of two that are told on one day, either is the first.
        assert found in [value for rank, day, value in held if (rank, day) == best] or (found is None and best is None)

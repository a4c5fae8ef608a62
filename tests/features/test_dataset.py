"""Tables become leads and rows: by user or by account, each event where it belongs, in whatever parts they are read."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import roster
from features.dataset import Dataset, dataset
from features.definition import Definition, parse
from features.errors import InvalidInput
from features.leads import NEVER
from features.logs import Happening, read_requests
from features.matrix import FeatureBuilder
from features.rejections import Sieve
from features.sources.source import Source
from features.spool import Spool
from features.times import micros
from features.windows import Ints

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = micros(START + 10 * DAY)
TIME = pl.Datetime("us", "UTC")
TEXT = """
product: Tested
lead: LEAD
conversion: {event: paid, horizon: 30d}
trial: {closed_by: [cancelled]}
score_at: [7d]
windows: [60d]
cutoff: {at_least: 0.3}
signals:
  - {name: own, kind: value, events: [acted], measures: [count, distinct(user)], text: acted}
  - name: team
    kind: team_growth
    scope: account
    events: [acted]
    measures: [count, distinct(user)]
    text: teamed up
  - {name: joined, kind: team_growth, scope: account, events: [$trial_started], measures: [count], text: joined}
  - {name: won, kind: team_growth, scope: account, events: [$converted], measures: [count], text: won}
traits:
  - {name: size, type: number}
"""
BY_USER, BY_ACCOUNT = (parse(TEXT.replace("LEAD", lead)) for lead in ("user", "account"))


def events(*rows: tuple[str, str | None, str, float]) -> pl.DataFrame:
    """Rows of user, account, event and days after the start."""
    return pl.DataFrame(
        {
            "user_id": [row[0] for row in rows],
            "account_id": [row[1] for row in rows],
            "event": [row[2] for row in rows],
            "timestamp": [START + row[3] * DAY for row in rows],
            "message_id": [str(number) for number in range(len(rows))],
        },
        schema_overrides={"user_id": pl.String, "account_id": pl.String, "timestamp": TIME},
    )


def trials(*rows: tuple[str, str | None], **columns: Sequence[object]) -> pl.DataFrame:
    """Rows of user and account, all starting together where no other start is given."""
    table: dict[str, Sequence[object]] = {
        "user_id": [user for user, _ in rows],
        "account_id": [account for _, account in rows],
        "started_at": [START] * len(rows),
        "size": [None] * len(rows),
    }
    times = ("started_at", "ends_at", "closed_at", "converted_at")
    overrides = {"account_id": pl.String, "size": pl.Float64} | {
        name: TIME for name in times if name in table | columns
    }
    return pl.DataFrame(table | columns, schema_overrides=overrides)


def counted(data: Dataset, as_of: int = NOW) -> dict[str, dict[str, float]]:
    """Every column by lead, short names first."""
    builder = FeatureBuilder(data.definition, {})
    leads = data.leads
    rows = data.rows(builder, np.arange(len(leads)), np.full(len(leads), as_of))
    names = [column.name.removesuffix("_60d") for column in builder.columns]
    return {lead: dict(zip(names, row, strict=True)) for lead, row in zip(leads.ids, rows, strict=True)}


# --- users as leads --------------------------------------------------------------------------


def test_a_lead_is_a_row_of_the_trials_table_in_its_order() -> None:
    data = dataset(events(("x", None, "acted", 1)), trials(("b", None), ("a", "A"), ("c", "A")), BY_USER)
    leads = data.leads
    assert leads.ids == ["b", "a", "c"]
    assert leads.account_ids == [None, "A", "A"]
    assert leads.started_at.tolist() == [micros(START)] * 3
    assert leads.ends_at.tolist() == leads.closed_at.tolist() == leads.converted_at.tolist() == [NEVER] * 3
    assert [leads.traits["size"].value(lead, NOW) for lead in range(3)] == [None, None, None]
    assert leads.accounts[1] == leads.accounts[2] != leads.accounts[0]


def test_events_count_for_their_user_and_for_its_account() -> None:
    acted = events(("a", None, "acted", 1), ("b", None, "acted", 1), ("b", "A", "acted", 2), ("c", None, "acted", 1))
    found = counted(dataset(acted, trials(("a", "A"), ("b", "A"), ("c", None)), BY_USER))
    assert [found[lead]["own_count"] for lead in "abc"] == [1, 2, 1]
    assert [found[lead]["team_count"] for lead in "abc"] == [3, 3, 1]
    assert [found[lead]["team_distinct_user"] for lead in "abc"] == [2, 2, 1]


def test_a_teammate_without_a_trial_counts_for_the_account_that_its_events_name() -> None:
    acted = events(("stranger", "A", "acted", 1), ("stranger", None, "acted", 1), ("stranger", "unknown", "acted", 1))
    found = counted(dataset(acted, trials(("a", "A"), ("c", None)), BY_USER))
    assert (found["a"]["own_count"], found["a"]["team_count"]) == (0, 1)
    assert (found["c"]["own_count"], found["c"]["team_count"]) == (0, 0)


def test_an_account_that_an_event_names_comes_before_the_one_of_its_user() -> None:
    found = counted(dataset(events(("a", "B", "acted", 1)), trials(("a", "A"), ("b", "B")), BY_USER))
    assert (found["a"]["own_count"], found["a"]["team_count"]) == (1, 0)
    assert (found["b"]["own_count"], found["b"]["team_count"]) == (0, 1)


def test_leads_without_an_account_share_none() -> None:
    acted = events(("a", None, "acted", 1), ("b", None, "acted", 1))
    data = dataset(acted, trials(("a", None), ("b", None)), BY_USER)
    assert len(set(data.leads.accounts.tolist())) == 2
    assert [found["team_count"] for found in counted(data).values()] == [1, 1]


def test_a_lead_without_an_account_never_gets_the_account_of_its_own_name() -> None:
    acted = events(("a", None, "acted", 1), ("x", "a", "acted", 1), ("b", None, "acted", 1))
    data = dataset(acted, trials(("a", None), ("b", "a")), BY_USER)
    assert len(set(data.leads.accounts.tolist())) == 2
    found = counted(data)
    assert found["a"]["team_count"] == 1
    assert found["b"]["team_count"] == 2


ACCOUNTS = st.sampled_from([None, "a", "b", "c", "A", " a"])


@settings(max_examples=50, deadline=None)
@given(st.lists(ACCOUNTS, min_size=1, max_size=6))
def test_leads_have_one_account_number_exactly_where_they_have_one_account(accounts: list[str | None]) -> None:
    users = ["a", "b", "c", "A", "e", "f"][: len(accounts)]
    data = dataset(events(("x", None, "y", 0)), trials(*zip(users, accounts, strict=True)), BY_USER)
    keys = [
        ("user", user) if account is None else ("account", account)
        for user, account in zip(users, accounts, strict=True)
    ]
    numbers = data.leads.accounts
    for i, one in enumerate(keys):
        for j, other in enumerate(keys):
            assert (numbers[i] == numbers[j]) == (one == other)
    assert sorted(set(numbers.tolist())) == list(range(len(set(keys))))


def test_trial_starts_and_conversions_in_an_account_are_events_of_that_account() -> None:
    table = trials(
        ("a", "A"), ("b", "A"), ("c", None),
        started_at=[START, START + 3 * DAY, START],
        converted_at=[None, START + 5 * DAY, START + 5 * DAY],
    )  # fmt: skip
    data = dataset(events(("x", None, "y", 0)), table, BY_USER)
    late, between, early = (counted(data, micros(START + days * DAY)) for days in (9, 4, 3))
    assert [late[lead]["joined_count"] for lead in "abc"] == [2, 2, 1]
    assert [late[lead]["won_count"] for lead in "abc"] == [1, 1, 1]
    assert [between[lead]["won_count"] for lead in "abc"] == [0, 0, 0]
    # The teammate's trial begins exactly at as_of, and is not yet known.
    assert early["a"]["joined_count"] == 1


def test_without_a_table_the_events_tell_the_trials() -> None:
    definition = BY_USER.model_copy(update={"traits": ()})
    acted = events(("a", "A", "acted", 1), ("b", None, "acted", 2), ("b", None, "paid", 4), ("a", None, "cancelled", 3))
    data = dataset(acted, None, definition)
    told = dict(zip(data.leads.ids, range(2), strict=True))
    assert data.leads.started_at[[told["a"], told["b"]]].tolist() == [micros(START + days * DAY) for days in (1, 2)]
    assert data.leads.converted_at[told["b"]] == micros(START + 4 * DAY)
    assert data.leads.closed_at[told["a"]] == micros(START + 3 * DAY)
    assert data.leads.account_ids[told["a"]] == "A"


def test_without_a_table_an_outcome_before_the_start_event_belongs_to_an_earlier_trial() -> None:
    definition = BY_USER.model_copy(
        update={"traits": (), "trial": BY_USER.trial.model_copy(update={"start_event": "signed_up"})}
    )
    told = events(
        ("a", None, "paid", 1), ("a", None, "cancelled", 2), ("a", None, "signed_up", 4), ("a", None, "paid", 6),
        ("a", None, "signed_up", 9), ("b", None, "acted", 1),
    )  # fmt: skip
    data = dataset(told, None, definition)
    assert data.leads.ids == ["a"]
    assert data.leads.started_at[0] == micros(START + 4 * DAY)
    assert (data.leads.converted_at[0], data.leads.closed_at[0]) == (micros(START + 6 * DAY), NEVER)
    assert data.rejections == ()


def test_where_the_table_lacks_outcomes_the_first_since_the_start_counts_and_refuses_nobody() -> None:
    told = events(("a", None, "paid", -9), ("a", None, "paid", 5), ("a", None, "paid", 3), ("b", None, "paid", -1))
    data = dataset(told, trials(("a", None), ("b", None)), BY_USER)
    assert data.leads.converted_at.tolist() == [micros(START + 3 * DAY), NEVER]
    assert data.rejections == ()


def test_where_every_event_is_bad_the_error_says_why() -> None:
    with pytest.raises(InvalidInput, match=r"^events: no usable row\. .*2 row\(s\) refused: user_id is empty.* Mend"):
        dataset(events(("", None, "acted", 1), (" ", None, "acted", 2)), trials(("a", None)), BY_USER)


@pytest.mark.parametrize("batches", [1, 3])
def test_no_event_at_all_is_an_error(batches: int) -> None:
    none = Source("events", lambda _: iter([events()] * batches))
    with pytest.raises(InvalidInput, match="events: must have at least one usable row, got none"):
        dataset(none, trials(("a", None)), BY_USER)


def test_where_a_source_can_read_no_line_the_error_says_why() -> None:
    def read(sieve: Sieve) -> Iterator[pl.DataFrame]:
        sieve.count("line is no JSON", 3, ["{"])
        yield told()

    with pytest.raises(InvalidInput, match=r"^events: .*3 row\(s\) refused: line is no JSON"):
        dataset(Source("events", read), trials(("a", None)), BY_USER)


def test_refused_rows_of_both_tables_are_reported() -> None:
    acted = events(("a", None, "acted", 1), ("", None, "acted", 1))
    data = dataset(acted, trials(("a", None), ("", None)), BY_USER)
    assert [(one.table, one.reason) for one in data.rejections] == [
        ("events", "user_id is empty"),
        ("trials", "user_id is empty"),
    ]


def test_the_data_knows_up_to_its_last_event() -> None:
    data = dataset(events(("a", None, "unread", 42)), trials(("a", None)), BY_USER)
    assert data.until == micros(START + 42 * DAY)


def test_where_everybody_is_excluded_there_are_no_leads_and_no_rows() -> None:
    nobody = BY_USER.model_copy(update={"exclude": BY_USER.exclude.model_copy(update={"users": ("a",)})})
    data = dataset(events(("a", None, "acted", 1)), trials(("a", None)), nobody)
    assert len(data.leads) == 0
    assert counted(data) == {}


@pytest.mark.parametrize("definition", [BY_USER, BY_ACCOUNT])
def test_events_of_nobody_known_leave_every_count_at_zero(definition: Definition) -> None:
    found = counted(dataset(events(("x", None, "acted", 1)), trials(("a", None)), definition))
    assert found["a"]["own_count"] == found["a"]["team_count"] == 0


def test_a_table_without_usable_rows_is_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"trials: no usable row"):
        dataset(events(("a", None, "acted", 1)), trials((" ", None)), BY_USER)


# --- a lead without an account ---------------------------------------------------------------


def test_all_that_a_lead_without_an_account_did_counts_for_itself_also_where_it_names_one() -> None:
    acted = events(
        ("c", None, "acted", 1), ("c", "A", "acted", 2), ("c", "unknown", "acted", 3), ("a", None, "acted", 4)
    )
    found = counted(dataset(acted, trials(("a", "A"), ("c", None)), BY_USER))
    assert (found["c"]["own_count"], found["c"]["team_count"], found["c"]["team_distinct_user"]) == (3, 3, 1)
    # What it did in a known account counts for that one too.
    assert (found["a"]["own_count"], found["a"]["team_count"], found["a"]["team_distinct_user"]) == (1, 2, 2)


def test_as_a_lead_of_its_own_it_counts_the_same() -> None:
    acted = events(
        ("c", None, "acted", 1), ("c", "A", "acted", 2), ("c", "unknown", "acted", 3), ("a", None, "acted", 4)
    )
    found = counted(dataset(acted, trials(("a", "A"), ("c", None)), BY_ACCOUNT))
    assert (found["c"]["own_count"], found["c"]["own_distinct_user"]) == (3, 1)
    assert (found["A"]["own_count"], found["A"]["own_distinct_user"]) == (2, 2)


def test_what_an_excluded_user_did_counts_for_an_account_only_where_it_names_one() -> None:
    nobody = BY_USER.model_copy(update={"exclude": BY_USER.exclude.model_copy(update={"users": ("bot",)})})
    acted = events(("bot", None, "acted", 1), ("bot", "A", "acted", 2), ("a", None, "acted", 3))
    found = counted(dataset(acted, trials(("a", "A"), ("bot", "A")), nobody))
    assert (found["a"]["team_count"], found["a"]["team_distinct_user"]) == (2, 2)


@pytest.mark.parametrize("by", ["table", "event"])
def test_how_an_address_is_told_does_not_decide_what_an_excluded_user_counts_for(by: str) -> None:
    rest = "  - {name: email, type: email_domain}\nexclude: {email_domains: [own.example]}\n"
    definition = parse(TEXT.replace("LEAD", "user") + rest)
    address = "x@own.example"
    fact: dict[str, object] = {"user_id": "bot", "event": "$identify", "properties": f'{{"email": "{address}"}}'}
    happened = told({}, {"user_id": "bot"}, *([fact] if by == "event" else []))
    table = trials(("a", "A"), ("bot", "A"), **({"email": [None, address]} if by == "table" else {}))
    data = dataset(happened, table, definition)
    assert data.leads.ids == ["a"]
    assert counted(data)["a"]["team_count"] == 1


@pytest.mark.parametrize("homes", [("A", "B"), ("A", None), ("A", "A")])
def test_the_order_of_contradicting_trial_rows_changes_nothing(homes: tuple[str, str | None]) -> None:
    acted = events(("x", None, "acted", 1), ("a", None, "acted", 1), ("b", None, "acted", 1))
    table = trials(
        ("a", "A"), ("b", "B"), *(("x", home) for home in homes), started_at=[START, START, START, START + 2 * DAY]
    )
    found, turned = (dataset(acted, one, BY_USER) for one in (table, table[::-1]))
    assert set(found.leads.ids) == {"a", "b"}
    np.testing.assert_equal(counted(found), counted(turned))


# --- told more than once ---------------------------------------------------------------------


def told(*rows: Mapping[str, object]) -> pl.DataFrame:
    """Events; what a row does not say is that of a good one."""
    good: Mapping[str, object] = {
        "user_id": "a", "account_id": None, "event": "acted", "timestamp": START + DAY, "received_at": None,
        "message_id": None, "properties": None,
    }  # fmt: skip
    kinds = {name: TIME if name in ("timestamp", "received_at") else pl.String for name in good}
    return pl.DataFrame([{**good, **row} for row in rows], schema=kinds)


def times_counted(*rows: Mapping[str, object], definition: Definition = BY_USER) -> tuple[float, float]:
    """How often the lead a of account A did what counts, by its own log and by its account's, in any order and parts."""
    table = trials(("a", "A"), ("b", "A"))
    ways: list[Source | pl.DataFrame] = [
        told(*rows),
        told(*rows[::-1]),
        Source("events", lambda _: told(*rows).iter_slices(1)),
    ]
    found = [counted(dataset(way, table, definition)) for way in ways]
    lead = "a" if definition.lead == "user" else "A"
    (counts,) = {(one[lead]["own_count"], one[lead]["team_count"]) for one in found}
    return counts


LATER: dict[str, object] = {"received_at": START + 2 * DAY}


def test_an_event_with_the_same_message_id_counts_once() -> None:
    assert times_counted({"message_id": "m"}, {"message_id": "m"} | LATER, {}) == (2, 2)


def test_a_message_counts_once_whatever_it_says_the_second_time() -> None:
    again = {"message_id": "m", "timestamp": START + 5 * DAY, "properties": "{}", "account_id": "A"}
    assert times_counted({"message_id": "m"}, again) == (1, 1)


def test_another_users_event_with_the_same_message_id_is_another_event() -> None:
    assert times_counted({"message_id": "m"}, {"message_id": "m", "user_id": "b"}) == (1, 2)
    both = times_counted({"message_id": "m"}, {"message_id": "m", "user_id": "b"}, definition=BY_ACCOUNT)
    assert both == (2, 2)


def test_identical_rows_without_message_id_count_once_whenever_they_arrived() -> None:
    assert times_counted({}, LATER, {}, LATER) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [{"timestamp": START + DAY + timedelta(microseconds=1)}, {"properties": '{"x": 1}'}, {"message_id": "m"}],
)
def test_rows_that_differ_in_anything_said_are_two_events(other: Mapping[str, object]) -> None:
    assert times_counted({}, other) == (2, 2)


def test_empty_properties_say_as_little_as_none() -> None:
    assert times_counted({}, {"properties": "{}"}) == (1, 1)


def test_rows_that_differ_in_their_event_their_user_or_their_account_are_two_events() -> None:
    wide = parse(TEXT.replace("LEAD", "user").replace("[acted]", "[acted, done]"))
    assert times_counted({}, {"event": "done"}, definition=wide) == (2, 2)
    assert times_counted({}, {"user_id": "b"}) == (1, 2)
    assert times_counted({}, {"account_id": "A"}) == (2, 2)


@pytest.mark.parametrize("blank", ["", " "])
def test_blank_message_ids_do_not_make_all_events_one(blank: str) -> None:
    second = {"message_id": blank, "timestamp": START + 2 * DAY}
    assert times_counted({"message_id": blank}, second, second) == (2, 2)


ARRIVES = parse(TEXT.replace("LEAD", "user").replace("windows: [60d]", "windows: [1d, 60d]"))


@pytest.mark.parametrize("clock", ["timestamp", "received_at"])
def test_of_a_repeated_message_the_earliest_counts_or_by_arrival_the_first_to_arrive(clock: str) -> None:
    late: Mapping[str, object] = {"message_id": "m", "timestamp": START + 9.5 * DAY, "received_at": START + 9.6 * DAY}
    early: Mapping[str, object] = {"message_id": "m", "timestamp": START + 2 * DAY, "received_at": START + 9.7 * DAY}
    together = {**early, "received_at": late["received_at"]}
    definition = ARRIVES.model_copy(update={"clock": clock})
    for rows, recent in (((late, early), int(clock == "received_at")), ((late, together), 0)):
        for ordered in (rows, rows[::-1]):
            found = counted(dataset(told(*ordered), trials(("a", "A")), definition))["a"]
            assert (found["own_count"], found["own_count_1d"]) == (1, recent)


def test_a_repetition_that_is_still_to_arrive_does_not_show() -> None:
    late: Mapping[str, object] = {"message_id": "m", "timestamp": START + 9.5 * DAY, "received_at": START + 9.6 * DAY}
    early: Mapping[str, object] = {"message_id": "m", "timestamp": START + 2 * DAY, "received_at": START + 9.7 * DAY}
    by_time = dataset(told(late, early), trials(("a", "A")), ARRIVES)
    assert counted(by_time, micros(START + 5 * DAY))["a"]["own_count"] == 1
    by_arrival = dataset(told(late, early), trials(("a", "A")), ARRIVES.model_copy(update={"clock": "received_at"}))
    assert counted(by_arrival, micros(START + 9.65 * DAY))["a"]["own_count_1d"] == 1


def test_one_event_in_batches_that_say_other_things_is_one_event() -> None:
    """What makes a row a repetition must not depend on what else its batch says."""
    one: Mapping[str, object] = {"properties": '{"x": 1}'}
    other: Mapping[str, object] = {"account_id": "A", "message_id": "m", "timestamp": START + 2 * DAY}
    batches = [
        told(one),
        told(one, other),
        told(other),
        told({}),
        told(one).drop("message_id", "account_id", "received_at"),
    ]
    data = dataset(Source("events", lambda _: iter(batches)), trials(("a", "A")), BY_USER)
    assert (counted(data)["a"]["own_count"], counted(data)["a"]["team_count"]) == (3, 3)


def test_how_many_events_repeat_others_is_known_of_every_part() -> None:
    data = dataset(
        told({}, {}, {"message_id": "m"}, {"message_id": "m"}, {"user_id": "b"}), trials(("a", "A")), BY_USER
    )
    (part,) = data.parts()
    assert (part.logs.lead.repeated, part.logs.account.repeated) == (2, 2)
    assert data.n_events == 5


# --- batches, parts and disk -----------------------------------------------------------------

WIDE = parse(
    """
product: Tested
conversion: {event: paid, horizon: 30d}
trial: {closed_by: [cancelled]}
score_at: [7d]
windows: [3d, 60d]
cutoff: {at_least: 0.3}
signals:
  - {name: own, kind: value, events: [acted, done], measures: [count, sum(n), distinct(p), days_since_last], text: acted}
  - name: team
    kind: team_growth
    scope: account
    events: [acted, $trial_started, $converted]
    measures: [count, distinct(user), lead_share, lead_rank, sum(n)]
    text: teamed up
traits:
  - {name: size, type: number}
"""
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    users = [f"u{number}" for number in range(draw(st.integers(1, 7)))]
    homes = [draw(st.sampled_from(["A", "B", "u0", None])) for _ in users]
    rows = [
        {
            "user_id": draw(st.sampled_from([*users, "x"])), "account_id": draw(st.sampled_from([None, None, "A", "Z"])),
            "event": draw(st.sampled_from(["acted", "done", "paid", "unread", "$identify", "$group"])),
            "timestamp": START + draw(st.integers(-20, 20)) * DAY / 2, "message_id": draw(st.sampled_from([None, "1", "2"])),
            "received_at": draw(st.none() | st.integers(-9, 20).map(lambda day: START + day * DAY / 2)),
            "properties": draw(st.sampled_from([None, '{"n": 0.1, "p": "x", "size": 1}', '{"n": 0.7, "p": "y", "size": 5}'])),
        }
        for _ in range(draw(st.integers(1, 25)))
    ]  # fmt: skip
    table = trials(
        *zip(users, homes, strict=True), started_at=[START + draw(st.integers(0, 6)) * DAY for _ in users],
        converted_at=[draw(st.none() | st.just(START + 8 * DAY)) for _ in users],
    )  # fmt: skip
    return told(*rows), draw(st.sampled_from([table, table, table, None]))


def all_rows(data: Dataset, clock: str | None = None) -> dict[tuple[str, int], bytes]:
    builder, n = FeatureBuilder(data.definition, {}), len(data.leads)
    found: dict[tuple[str, int], bytes] = {}
    for half_day in (3, 12, 25):
        as_of = micros(START + half_day * DAY / 2)
        rows = data.rows(builder, np.arange(n), np.full(n, as_of), clock)
        found |= {(lead, half_day): row.tobytes() for lead, row in zip(data.leads.ids, rows, strict=True)}
    return found


BY_LEAD = {
    "user": WIDE,
    "account": parse(TEXT.replace("LEAD", "account")),
}


@settings(max_examples=60)
@given(tables(), st.sampled_from(["user", "account"]), st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_neither_parts_nor_batches_nor_disk_change_a_row(
    drawn: tuple[pl.DataFrame, pl.DataFrame | None], lead: str, size: int, by: int, to_disk: bool
) -> None:
    happened, table = drawn
    definition = BY_LEAD[lead]
    whole = dataset(happened, table, definition)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roster, "PART_LEADS", size)
        batches = Source("events", lambda _: happened.iter_slices(by))
        parted = dataset(batches, table, definition)
        if to_disk:
            parted = on_disk(parted, patch, batches, table)
    assert sorted(parted.leads.ids) == sorted(whole.leads.ids)
    for clock in ("timestamp", "received_at"):
        assert all_rows(parted, clock) == all_rows(whole, clock)
    assert (parted.until, parted.rejections, parted.mended) == (whole.until, whole.rejections, whole.mended)
    assert parted.trials.equals(whole.trials)


def on_disk(parted: Dataset, patch: pytest.MonkeyPatch, events: Source, table: pl.DataFrame | None) -> Dataset:
    """The same data by a spool that keeps nothing in memory."""
    patch.setattr("features.history.Spool", partial(Spool, budget=0))
    data = dataset(events, table, parted.definition)
    assert all(one.budget == 0 for one in (data.history.own, data.history.everyone))
    return data


def test_nothing_is_left_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = trials(("a", "A"))
    data = on_disk(dataset(told({}), table, BY_USER), monkeypatch, Source.of(told({})), table)
    assert data.history.own._file is not None
    assert counted(data)["a"]["own_count"] == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def parted(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Six leads of four accounts in parts of two or so."""
    monkeypatch.setattr(roster, "PART_LEADS", 2)
    people = (("d", None), ("a", "A"), ("e", "B"), ("b", "B"), ("f", "B"), ("c", None))
    acted = events(*((user, None, "acted", 1) for user in "aabbbc"), ("x", "B", "acted", 2))
    return dataset(acted, trials(*people), BY_USER)


def test_every_lead_lies_in_one_part_with_all_of_its_account(parted: Dataset) -> None:
    parts = list(parted.parts())
    assert len(parts) > 1
    assert sorted(number for part in parts for number in part.numbers) == list(range(6))
    for part in parts:
        assert part.numbers.tolist() == sorted(part.numbers)
        assert part.leads.ids == [parted.leads.ids[number] for number in part.numbers]
        assert len(part.logs.lead.offsets) == len(part.leads) + 1
        assert set(part.leads.accounts.tolist()) <= set(range(len(part.logs.account.offsets) - 1))
    (home,) = [part for part in parts if "B" in part.leads.account_ids]
    assert [one for one in home.leads.account_ids if one == "B"] == ["B"] * 3


def test_only_the_leads_that_are_asked_for_are_in_parts(parted: Dataset) -> None:
    parts = list(parted.parts(np.array([4, 1])))
    assert sorted(number for part in parts for number in part.numbers) == [1, 4]
    assert sorted(lead for part in parts for lead in part.leads.ids) == ["a", "f"]
    assert list(parted.parts(np.zeros(0, np.int64))) == []


def test_rows_come_in_the_order_in_which_they_are_asked_for(parted: Dataset) -> None:
    builder = FeatureBuilder(BY_USER, {})
    which = np.array([5, 1, 3, 1, 0, 3, 2, 4])
    as_of = NOW - np.arange(8) * 86_400_000_000
    together = parted.rows(builder, which, as_of)
    alone = [parted.rows(builder, which[i : i + 1], as_of[i : i + 1])[0] for i in range(8)]
    assert together.tobytes() == np.array(alone).tobytes()
    assert parted.rows(builder, which[:0], as_of[:0]).shape == (0, len(builder.columns))


def test_progress_is_told_part_by_part_up_to_the_end(parted: Dataset) -> None:
    builder, said = FeatureBuilder(BY_USER, {}), list[tuple[int, int]]()
    which: Ints = np.tile(np.arange(6), 2)
    parted.rows(builder, which, np.full(12, NOW), progress=lambda done, all_of_it: said.append((done, all_of_it)))
    assert len(said) > 1
    assert said == sorted(said)
    assert said[-1] == (12, 12)


def test_progress_of_reading_counts_raw_rows() -> None:
    batches = [told({}, {"user_id": ""}), told({}), told({}, {}, {})]
    said: list[int] = []
    source = Source("events", lambda _: iter(batches))
    dataset(source, trials(("a", None)), BY_USER, progress=lambda done, _: said.append(done))
    assert said == [2, 3, 6]


def test_what_a_source_itself_refuses_is_reported_once_even_if_it_is_read_twice() -> None:
    def read(sieve: Sieve) -> Iterator[pl.DataFrame]:
        sieve.count("line is no JSON", 1, ["{"])
        yield told({}, {"user_id": ""})

    definition = BY_USER.model_copy(update={"traits": ()})
    data = dataset(Source("events", read), None, definition)
    assert [(one.reason, one.count) for one in data.rejections] == [("line is no JSON", 1), ("user_id is empty", 1)]


def test_what_reading_the_trials_refused_already_is_reported_with_the_rest() -> None:
    sieve = Sieve("trials")
    sieve.count("line is no JSON", 2, ["{"])
    data = dataset(told({}), trials(("a", None), ("", None)), BY_USER, trials_sieve=sieve)
    assert [(one.table, one.reason, one.count) for one in data.rejections] == [
        ("trials", "line is no JSON", 2), ("trials", "user_id is empty", 1),
    ]  # fmt: skip


def test_what_was_set_right_is_told() -> None:
    data = dataset(told({"received_at": START - DAY}, {}), trials(("a", None)), BY_USER)
    assert dict(data.mended) == {"events dated after their arrival, moved to it": 1}
    assert counted(data)["a"]["own_count"] == 2


# --- what was known when ---------------------------------------------------------------------

ARRIVAL = parse(TEXT.replace("LEAD", "user") + "clock: received_at\n")


def test_by_arrival_an_event_counts_from_just_after_it_arrived() -> None:
    late = told({"received_at": START + 5 * DAY})
    arrived = micros(START + 5 * DAY)
    for definition, counts in ((BY_USER, (1, 1, 1)), (ARRIVAL, (0, 0, 1))):
        data = dataset(late, trials(("a", "A")), definition)
        moments = (micros(START + 2 * DAY), arrived, arrived + 1)
        assert tuple(counted(data, moment)["a"]["own_count"] for moment in moments) == counts
        assert tuple(counted(data, moment)["a"]["team_count"] for moment in moments) == counts


@settings(max_examples=80)
@given(tables(), st.integers(0, 30))
def test_by_arrival_rows_are_those_of_the_events_that_had_arrived(
    drawn: tuple[pl.DataFrame, pl.DataFrame | None], half_day: int
) -> None:
    happened, table = drawn
    if table is None:
        table = trials(("u0", None), ("u1", "A"))
    moment = START + half_day * DAY / 2
    # Of a repeated message the first to arrive counts, which was there by then if any was.
    # What is dated after its arrival is moved to it.
    there = pl.coalesce("received_at", "timestamp") < moment
    arrived = pl.concat([happened.filter(there), told({"user_id": "nobody", "event": "unread"})])
    facts = ["$identify", "$group"]
    happened, arrived = (frame.filter(~pl.col("event").is_in(facts)) for frame in (happened, arrived))
    if not len(happened):
        return
    builder = FeatureBuilder(WIDE, {})

    def rows(frame: pl.DataFrame, clock: str) -> bytes:
        data = dataset(frame, table, WIDE)
        n = len(data.leads)
        return data.rows(builder, np.arange(n), np.full(n, micros(moment)), clock).tobytes()

    assert rows(happened, "received_at") == rows(arrived, "received_at")
    # Which copy of a repeated message counts is up to the clock; without any, what had arrived is all that there is.
    happened, arrived = (frame.with_columns(message_id=pl.lit(None, pl.String)) for frame in (happened, arrived))
    assert rows(happened, "received_at") == rows(arrived, "timestamp")


@settings(max_examples=60)
@given(tables(), st.integers(0, 30))
def test_by_time_rows_are_those_of_the_events_before_whatever_is_repeated_later(
    drawn: tuple[pl.DataFrame, pl.DataFrame | None], half_day: int
) -> None:
    happened, table = drawn
    table = trials(("u0", None), ("u1", "A")) if table is None else table
    # What is dated after its arrival is another event before it is set right; that is not what this is about.
    happened = happened.filter((pl.col("received_at") >= pl.col("timestamp")).fill_null(value=True))
    happened = happened.filter(~pl.col("event").is_in(["$identify", "$group"]))
    if not len(happened):
        return
    moment = START + half_day * DAY / 2
    before = pl.concat([happened.filter(pl.col("timestamp") < moment), told({"user_id": "nobody", "event": "unread"})])
    whole, earlier = dataset(happened, table, WIDE), dataset(before, table, WIDE)
    builder, n = FeatureBuilder(WIDE, {}), len(whole.leads)
    asked = (builder, np.arange(n), np.full(n, micros(moment)))
    assert whole.rows(*asked).tobytes() == earlier.rows(*asked).tobytes()


def test_the_definitions_clock_is_the_one_where_none_is_named() -> None:
    late = told({"received_at": START + 5 * DAY})
    builder, first, moment = FeatureBuilder(ARRIVAL, {}), np.zeros(1, np.int64), np.array([micros(START + 2 * DAY)])
    data = dataset(late, trials(("a", "A")), ARRIVAL)

    def count(clock: str | None) -> float:
        place = [column.name for column in builder.columns].index("own_count_60d")
        return float(data.rows(builder, first, moment, clock)[0, place])

    assert (count(None), count("received_at"), count("timestamp")) == (0, 0, 1)


@pytest.mark.parametrize(("clock", "sizes"), [("timestamp", [10, 10]), ("received_at", [float("nan"), 10])])
def test_a_named_clock_holds_for_traits_too(clock: str, sizes: list[float]) -> None:
    fact = {"event": "$identify", "properties": '{"size": 10}', "received_at": START + 5 * DAY}
    moments = np.array([micros(START + day * DAY) for day in (3, 6)])
    for definition in (BY_USER, ARRIVAL):
        data, builder = dataset(told({}, fact), trials(("a", "A")), definition), FeatureBuilder(definition, {})
        rows = data.rows(builder, np.zeros(2, np.int64), moments, clock)
        np.testing.assert_equal(rows[:, [column.name for column in builder.columns].index("size")].tolist(), sizes)


def test_a_trait_that_events_tell_is_what_it_was_just_before_the_moment() -> None:
    facts = [
        {"event": "$identify", "properties": '{"size": 10}', "timestamp": START + 2 * DAY},
        {"event": "$group", "account_id": "A", "properties": '{"size": 20}', "timestamp": START + 4 * DAY},
    ]
    data = dataset(told({}, *facts), trials(("a", "A"), ("b", "A"), ("c", None)), BY_USER)
    days: list[float] = [1, 2, 3, 4, 5]
    sizes = {lead: [counted(data, micros(START + day * DAY))[lead]["size"] for day in days] for lead in "abc"}
    nan = float("nan")
    np.testing.assert_equal(sizes, {"a": [nan, nan, 10, 10, 20], "b": [nan] * 4 + [20], "c": [nan] * 5})
    assert data.mended == {}
    with_column = dataset(told({}, *facts), trials(("a", "A"), size=[7.0]), BY_USER)
    assert [counted(with_column, micros(START + day * DAY))["a"]["size"] for day in days] == [7] * 5
    assert with_column.mended == {"facts about 'size' not read from events: trials have that column": 2}


# --- the future and the end ------------------------------------------------------------------


def test_what_is_dated_after_the_reading_is_refused_in_both_tables() -> None:
    read_at = micros(START + 3 * DAY)
    data = dataset(
        told({}, {"timestamp": START + 4 * DAY}),
        trials(("a", None), ("b", None), started_at=[START, START + 4 * DAY]), BY_USER, read_at,
    )  # fmt: skip
    assert [(one.table, one.reason, one.count) for one in data.rejections] == [
        ("events", "timestamp lies in the future", 1), ("trials", "started_at lies in the future", 1),
    ]  # fmt: skip
    assert data.until == micros(START + DAY)
    assert data.leads.ids == ["a"]


def test_the_data_ends_with_the_last_thing_that_happened_in_either_table() -> None:
    acted = events(("a", None, "acted", 5))

    def end(**columns: Sequence[object]) -> int:
        return dataset(acted, trials(("a", None), **columns), BY_USER).until

    assert end() == micros(START + 5 * DAY)
    assert end(converted_at=[START + 31 * DAY]) == micros(START + 31 * DAY)
    assert end(started_at=[START + 61 * DAY]) == micros(START + 61 * DAY)


def test_an_end_that_is_only_planned_is_not_the_end_of_the_data() -> None:
    data = dataset(events(("a", None, "acted", 5)), trials(("a", None), ends_at=[START + 999 * DAY]), BY_USER)
    assert data.until == micros(START + 5 * DAY)


MINUTES = pl.DataFrame(
    {"user_id": "a", "event": "acted", "timestamp": [START + timedelta(minutes=k) for k in range(20_000)]}
)
LAST = micros(START + timedelta(minutes=19_999))


def stray(event: str, user: str = "a") -> pl.DataFrame:
    """Twenty thousand events of two weeks, and one more than a year later."""
    return pl.concat([MINUTES, pl.DataFrame({"user_id": user, "event": event, "timestamp": [START + 400 * DAY]})])


def test_a_stray_event_does_not_move_the_end_and_is_counted_as_refused() -> None:
    data = dataset(stray("acted"), trials(("a", None), converted_at=[None]), BY_USER)
    assert data.until == LAST
    assert [(one.table, one.reason, one.count) for one in data.rejections] == [
        ("events", "timestamp lies more than 7 days after all others", 1)
    ]


def test_a_stray_conversion_does_not_move_the_end_of_the_data() -> None:
    assert dataset(stray("paid"), trials(("a", None)), BY_USER).until == LAST


def test_a_stray_first_event_does_not_move_the_end_of_the_data() -> None:
    assert dataset(stray("acted", "z"), None, BY_USER.model_copy(update={"traits": ()})).until == LAST


# --- another definition ----------------------------------------------------------------------

OTHER = parse(
    """
product: Other
conversion: {event: paid, horizon: 30d}
trial: {closed_by: [cancelled]}
score_at: [3d]
windows: [7d]
cutoff: {at_least: 0.3}
signals:
  - {name: doing, kind: value, events: [done, {event: acted, where: {p: x}}], measures: [count, distinct(n), mean(n)], text: did}
  - {name: started, kind: value, scope: account, events: [$trial_started], measures: [count, distinct(user)], text: joined}
traits:
  - {name: grown, type: number, column: size}
"""
)


@settings(max_examples=40)
@given(tables(), st.integers(1, 3), st.integers(1, 9))
def test_under_another_definition_rows_are_those_of_data_read_by_it(
    drawn: tuple[pl.DataFrame, pl.DataFrame | None], size: int, by: int
) -> None:
    happened, table = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roster, "PART_LEADS", size)
        source = Source("events", lambda _: happened.iter_slices(by))
        there = dataset(source, table, WIDE).under(OTHER)
        fresh = dataset(source, table, OTHER)
    assert there.definition == OTHER
    assert there.leads.ids == fresh.leads.ids
    assert all_rows(there) == all_rows(fresh)


@settings(max_examples=20)
@given(tables())
def test_under_another_definition_of_accounts_rows_are_those_of_data_read_by_it(
    drawn: tuple[pl.DataFrame, pl.DataFrame | None],
) -> None:
    happened, table = drawn
    one = BY_LEAD["account"]
    other = one.model_copy(update={"signals": one.signals[1:2], "clock": "received_at"})
    assert all_rows(dataset(happened, table, one).under(other)) == all_rows(dataset(happened, table, other))


def test_under_the_same_definition_nothing_is_read_again() -> None:
    data = dataset(told({}), trials(("a", None)), BY_USER)
    again = parse(TEXT.replace("LEAD", "user"))
    assert data.under(again) is data


def test_under_another_definition_the_trials_and_their_outcomes_stay() -> None:
    source = told({}, {"event": "paid", "timestamp": START + 3 * DAY}, {"user_id": ""})
    data = dataset(source, trials(("a", None)), BY_USER)
    other = data.under(OTHER)
    assert other.leads.converted_at.tolist() == [micros(START + 3 * DAY)]
    assert (other.until, other.rejections, other.n_events) == (data.until, data.rejections, data.n_events)


def test_under_another_definition_the_future_is_still_refused() -> None:
    happened = told({}, {"event": "done", "timestamp": START + 20 * DAY})
    there = dataset(happened, trials(("a", None)), BY_USER, micros(START + 9 * DAY)).under(OTHER)
    assert counted(there, micros(START + 21 * DAY))["a"]["doing_count_7d"] == 0


def test_a_definition_with_a_trait_that_the_data_lacks_cannot_read_it() -> None:
    lacking = parse(TEXT.replace("LEAD", "user").replace("name: size", "name: height"))
    with pytest.raises(InvalidInput, match=r"trials: missing column\(s\) 'height'"):
        dataset(told({}), trials(("a", None)), BY_USER).under(lacking)


def test_a_definition_with_a_trait_that_only_events_tell_can_read_it() -> None:
    lacking = parse(TEXT.replace("LEAD", "user").replace("name: size", "name: height"))
    fact = {"event": "$identify", "properties": '{"height": 3}'}
    data = dataset(told({}, fact), trials(("a", None)), BY_USER).under(lacking)
    assert counted(data)["a"]["height"] == 3


def test_where_events_tell_the_trials_another_definition_may_have_a_trait_that_nobody_tells() -> None:
    plain = BY_USER.model_copy(update={"traits": ()})
    found = counted(dataset(told({}), None, plain).under(BY_USER))
    np.testing.assert_equal(found, counted(dataset(told({}), None, BY_USER)))


# --- accounts as leads -----------------------------------------------------------------------


def test_the_lead_of_an_account_is_its_name_and_of_a_lone_user_the_users() -> None:
    data = dataset(events(("x", None, "y", 0)), trials(("a", "A"), ("b", "A"), ("c", None)), BY_ACCOUNT)
    assert sorted(data.leads.ids) == ["A", "c"]
    assert dict(zip(data.leads.ids, data.leads.account_ids, strict=True)) == {"A": "A", "c": None}


def test_everything_that_an_accounts_users_do_is_done_by_the_lead() -> None:
    acted = events(
        ("a", None, "acted", 1), ("b", None, "acted", 2), ("b", None, "acted", 3), ("stranger", "A", "acted", 4),
        ("c", None, "acted", 1),
    )  # fmt: skip
    found = counted(dataset(acted, trials(("a", "A"), ("b", "A"), ("c", None)), BY_ACCOUNT))
    assert (found["A"]["own_count"], found["A"]["team_count"]) == (4, 4)
    assert (found["c"]["own_count"], found["c"]["team_count"]) == (1, 1)


def test_the_users_of_an_account_can_be_told_apart() -> None:
    acted = events(
        ("a", None, "acted", 1), ("a", None, "acted", 2), ("b", None, "acted", 3), ("stranger", "A", "acted", 4)
    )
    found = counted(dataset(acted, trials(("a", "A"), ("b", "A")), BY_ACCOUNT))
    assert found["A"]["own_distinct_user"] == found["A"]["team_distinct_user"] == 3


def test_an_account_gives_the_same_row_in_a_request_as_in_tables() -> None:
    acted = events(("a", None, "acted", 1), ("b", None, "acted", 2), ("b", None, "acted", 3))
    data = dataset(acted, trials(("a", "A"), ("b", "A")), BY_ACCOUNT)
    builder = FeatureBuilder(BY_ACCOUNT, {})
    happened = [
        Happening(0, user, own=True, event="acted", time=micros(START + day * DAY), properties={})
        for user, day in (("a", 1), ("b", 2), ("b", 3))
    ]
    happened += [
        Happening(0, user, own=True, event="$trial_started", time=micros(START), properties={}) for user in "ab"
    ]
    request = read_requests(happened, data.leads.ids, builder.vocabulary)
    first, moment = np.zeros(1, np.int64), np.array([NOW])
    table = data.rows(builder, first, moment)
    assert builder.rows(data.leads, request, first, moment).tobytes() == table.tobytes()


def test_a_user_without_account_who_is_called_like_one_is_refused_because_leads_must_have_names_of_their_own() -> None:
    acted = events(("A", None, "acted", 1), ("b", None, "acted", 2), ("b", None, "acted", 3))
    data = dataset(acted, trials(("A", None), ("b", "A")), BY_ACCOUNT)
    assert (data.leads.ids, data.leads.account_ids) == (["A"], ["A"])
    assert counted(data)["A"]["team_count"] == 2
    assert [(one.table, one.reason, one.count) for one in data.rejections] == [
        ("trials", "user_id of a user without an account is also an account_id", 1)
    ]
    by_user = dataset(acted, trials(("A", None), ("b", "A")), BY_USER)
    assert (by_user.leads.ids, by_user.rejections) == (["A", "b"], ())


def test_a_trial_start_counts_once_for_each_user_of_an_account() -> None:
    table = trials(("a", "A"), ("b", "A"), ("c", "A"), ("d", None), started_at=[START, START, START + 3 * DAY, START])
    data = dataset(events(("x", None, "y", 0)), table, BY_ACCOUNT)
    moments = (micros(START), micros(START) + 1, micros(START + 3 * DAY), NOW)
    assert [counted(data, moment)["A"]["joined_count"] for moment in moments] == [0, 2, 2, 3]
    assert counted(data)["d"]["joined_count"] == 1


MAYBE_DAY = st.none() | st.integers(0, 5)
MEMBERS = st.tuples(st.sampled_from(["A", "B", None]), st.integers(0, 5), MAYBE_DAY, MAYBE_DAY, MAYBE_DAY, MAYBE_DAY)


@settings(max_examples=80, deadline=None)
@given(st.lists(MEMBERS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_an_account_begins_with_its_first_user_and_is_over_when_all_are(
    members: list[tuple[str | None, int, int | None, int | None, int | None, int | None]], random: object
) -> None:
    def moment(started: int, after: int | None) -> datetime | None:
        return None if after is None else START + (started + after) * DAY

    table = trials(
        *((f"u{number}", member[0]) for number, member in enumerate(members)),
        started_at=[START + member[1] * DAY for member in members],
        ends_at=[moment(member[1], member[2]) for member in members],
        closed_at=[moment(member[1], member[3]) for member in members],
        converted_at=[moment(member[1], member[4]) for member in members],
        size=[member[5] for member in members],
    )
    order = list(range(len(members)))
    random.shuffle(order)  # type: ignore[attr-defined]
    data = dataset(events(("x", None, "y", 0)), table[order], BY_ACCOUNT)
    got = data.trials.rows_by_key("user_id", named=True, unique=True)
    groups: dict[str, list[dict[str, object]]] = {}
    for row in table.iter_rows(named=True):
        groups.setdefault(row["account_id"] or row["user_id"], []).append(row)
    assert set(got) == set(groups)
    for name, rows in groups.items():
        ends, closed, won = ([row[key] for row in rows] for key in ("ends_at", "closed_at", "converted_at"))
        by_start = sorted(rows, key=lambda row: (row["started_at"], row["user_id"]))
        assert got[name]["started_at"] == min(row["started_at"] for row in rows)  # type: ignore[type-var]
        assert got[name]["ends_at"] == (None if None in ends else max(ends))  # type: ignore[type-var]
        assert got[name]["closed_at"] == (None if None in closed else max(closed))  # type: ignore[type-var]
        assert got[name]["converted_at"] == min((at for at in won if at is not None), default=None)  # type: ignore[type-var]
        assert got[name]["size"] == next((row["size"] for row in by_start if row["size"] is not None), None)


def test_a_builder_that_reads_events_in_another_way_is_refused() -> None:
    data = dataset(events(("a", None, "acted", 1)), trials(("a", None)), BY_USER)
    other = parse(TEXT.replace("LEAD", "user").replace("events: [acted]", "events: [acted, x]"))
    with pytest.raises(ValueError, match="the builder must be of the definition that the data was read by"):
        data.rows(FeatureBuilder(other, {}), np.zeros(1, np.int64), np.array([NOW]))


def test_events_alone_with_a_conversion_that_is_a_column_say_what_is_missing() -> None:
    text = "product: P\nconversion: {column: paid_at, horizon: 7d}\nscore_at: [1d]\nwindows: [1d]\n" + (
        "signals: [{name: visits, kind: value, events: [visit], text: x}]\ncutoff: {policy: precision, at_least: 0.3}\n"
    )
    events = pl.DataFrame({"user_id": ["u"], "event": ["visit"], "timestamp": ["2026-01-01T00:00:00Z"]})
    with pytest.raises(
        InvalidInput, match=r"conversion.column \('paid_at'\).*Name the event .*conversion.event.*--trials"
    ):
        dataset(events, None, parse(text))

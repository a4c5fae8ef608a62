"""Tables become leads and logs: by user or by account, each event in the log it belongs to."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset, dataset
from features.definition import Definition, parse
from features.errors import InvalidInput
from features.leads import NEVER, Leads
from features.logs import Happening, read_requests
from features.matrix import FeatureBuilder
from features.times import micros
from features.windows import Floats

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
    rows = builder.rows(leads, data.logs(builder), np.arange(len(leads)), np.full(len(leads), as_of))
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
    assert leads.traits == {"size": [None, None, None]}
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
    happened.append(Happening(0, "a", own=True, event="$trial_started", time=micros(START), properties={}))
    request = read_requests(happened, builder.vocabulary).logs(1, 1)

    def row(leads: Leads) -> Floats:
        return builder.rows(leads, request, np.zeros(1, np.int64), np.array([NOW]))

    table = builder.rows(data.leads, data.logs(builder), np.zeros(1, np.int64), np.array([NOW]))
    assert row(data.leads).tobytes() == table.tobytes()


def test_a_user_without_account_whose_name_is_an_accounts_belongs_to_it() -> None:
    acted = events(("A", None, "acted", 1), ("b", None, "acted", 2))
    data = dataset(acted, trials(("A", None), ("b", "A")), BY_ACCOUNT)
    assert (data.leads.ids, data.leads.account_ids) == (["A"], ["A"])
    assert counted(data)["A"]["team_count"] == 2


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

"""Who is who: leads side by side by account, cut into parts that never cut an account, and events that find their leads."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import roster
from features.definition import Definition, parse
from features.roster import Reader, Roster
from features.windows import Events

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TEXT = """
product: Tested
lead: LEAD
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [60d]
cutoff: {at_least: 0.3}
signals:
  - {name: own, kind: value, events: [acted, done], measures: [count], text: acted}
ACCOUNT
"""
TEAM = "  - {name: team, kind: value, scope: account, events: [acted, $trial_started, $converted], text: teamed}"


def defined(lead: str = "user", account: str = TEAM) -> Definition:
    return parse(TEXT.replace("LEAD", lead).replace("ACCOUNT", account))


def people(*rows: tuple[str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user_id": pl.String, "account_id": pl.String}, orient="row")


def batch(*rows: tuple[str, str | None, str]) -> pl.DataFrame:
    """Canonical events of user, account and name, an hour apart."""
    time, text = pl.Datetime("us", "UTC"), pl.String
    return pl.DataFrame(
        [(*row, START + place * HOUR, None, None, None) for place, row in enumerate(rows)],
        schema={"user_id": text, "account_id": text, "event": text, "timestamp": time, "received_at": time,
                "message_id": text, "properties": text},
        orient="row",
    )  # fmt: skip


# --- the roster ------------------------------------------------------------------------------


def homes(table: pl.DataFrame) -> dict[str, int]:
    return dict(Roster.of(table).users.select("user_id", "home").iter_rows())


def test_users_of_one_account_have_one_home_and_lie_side_by_side() -> None:
    users = Roster.of(people(("a", "X"), ("b", "Y"), ("c", "X"), ("d", None))).users
    assert users["place"].to_list() == [0, 1, 2, 3]
    found = dict(users.select("user_id", "home").iter_rows())
    assert found["a"] == found["c"]
    assert len(set(found.values())) == 3
    assert users["home"].is_sorted()


def test_users_without_an_account_are_at_home_alone_whatever_accounts_are_called() -> None:
    found = homes(people(("a", None), ("b", None), ("c", "a"), ("d", "b")))
    assert len(set(found.values())) == 4


def test_only_real_accounts_are_known_by_name() -> None:
    one = Roster.of(people(("a", None), ("b", "X"), ("c", "X")))
    assert one.accounts.rows() == [("X", dict(one.users.select("user_id", "home").iter_rows())["b"])]
    assert dict(one.users.select("user_id", "alone").iter_rows()) == {"a": True, "b": False, "c": False}


def test_rows_without_a_user_are_left_out_and_a_user_is_there_once() -> None:
    users = Roster.of(people((None, "X"), ("a", "Y"), ("a", "Y"))).users
    assert users["user_id"].to_list() == ["a"]


def test_the_home_of_who_is_not_on_the_roster_is_not_known() -> None:
    one = Roster.of(people(("a", "X")))
    assert one.homes(people(("stranger", "X"), ("a", None))).to_list() == [None, 0]


def test_a_roster_of_nobody_has_no_parts() -> None:
    nobody = Roster.of(people())
    assert nobody.n_parts == 0
    assert nobody.user_starts.tolist() == nobody.account_starts.tolist() == [0]


ACCOUNTS = st.lists(st.sampled_from(["A", "B", "C", "u1", None]), max_size=15)


@settings(max_examples=80)
@given(ACCOUNTS, st.integers(1, 4))
def test_parts_tile_users_and_accounts_and_never_cut_an_account(accounts: list[str | None], size: int) -> None:
    table = people(*((f"u{place}", account) for place, account in enumerate(accounts)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roster, "PART_LEADS", size)
        one = Roster.of(table)
    home = one.users["home"].to_numpy()
    n_accounts = len(set(home.tolist()))
    for starts, n in ((one.user_starts, len(accounts)), (one.account_starts, n_accounts)):
        assert starts.dtype == np.int64
        assert (starts[0], starts[-1]) == (0, n)
        assert (np.diff(starts) > 0).all()
    assert len(one.user_starts) == len(one.account_starts)
    sizes = np.bincount(home, minlength=n_accounts)
    for p in range(one.n_parts):
        users = home[one.user_starts[p] : one.user_starts[p + 1]]
        assert set(users.tolist()) == set(range(one.account_starts[p], one.account_starts[p + 1]))
        # No part is much larger than asked for, but for accounts that are so themselves.
        assert len(users) < size + sizes[users].max()


# --- what an event counts for ----------------------------------------------------------------


def read(definition: Definition, table: pl.DataFrame, events: pl.DataFrame) -> dict[bool, Events]:
    return dict(Reader(Roster.of(table), definition).events(events))


def named(found: Events, names: Sequence[str]) -> list[tuple[str, float]]:
    """Who each event counts for, and the hour that tells which one it was."""
    hours = (found.times - int(START.timestamp()) * 10**6) / 3.6e9
    return sorted((names[group], hour) for group, hour in zip(found.group.tolist(), hours.tolist(), strict=True))


def by_lead(table: pl.DataFrame, *rows: tuple[str, str | None, str]) -> list[tuple[str, float]]:
    users = Roster.of(table).users["user_id"].to_list()
    return named(read(defined(), table, batch(*rows))[False], users)


def by_account(table: pl.DataFrame, *rows: tuple[str, str | None, str]) -> list[tuple[str, float]]:
    users = Roster.of(table).users
    names = {home: user if alone else "" for user, home, alone in users.select("user_id", "home", "alone").iter_rows()}
    names |= {number: account for account, number in Roster.of(table).accounts.iter_rows()}
    return named(read(defined(), table, batch(*rows))[True], [names[number] for number in sorted(names)])


TABLE = people(("ann", "X"), ("bob", "Y"), ("cat", None))


def test_an_event_counts_for_its_own_user_whatever_account_it_names() -> None:
    rows = [("bob", None, "acted"), ("bob", "X", "acted"), ("stranger", "X", "acted"), ("cat", "Y", "done")]
    assert by_lead(TABLE, *rows) == [("bob", 0), ("bob", 1), ("cat", 3)]


def test_events_that_no_signal_reads_are_left_out() -> None:
    assert by_lead(TABLE, ("ann", None, "unread"), ("ann", None, "done")) == [("ann", 1)]


@pytest.mark.parametrize(
    ("user", "account", "counts_for"),
    [
        ("ann", None, ["X"]),
        ("ann", "X", ["X"]),
        ("ann", "Y", ["Y"]),
        ("ann", "unknown", []),
        ("stranger", None, []),
        ("stranger", "X", ["X"]),
        ("stranger", "unknown", []),
        ("cat", None, ["cat"]),
        ("cat", "unknown", ["cat"]),
        ("cat", "X", ["X", "cat"]),
        ("cat", "cat", ["cat"]),
    ],
)
def test_an_event_counts_for_the_account_that_it_names_or_else_its_users(
    user: str, account: str | None, counts_for: list[str]
) -> None:
    assert by_account(TABLE, (user, account, "acted")) == [(name, 0) for name in counts_for]


def test_where_nothing_is_asked_of_accounts_only_leads_are_read() -> None:
    assert set(read(defined(account=""), TABLE, batch(("ann", None, "acted")))) == {False}


def test_where_accounts_are_the_leads_only_accounts_are_read() -> None:
    assert set(read(defined("account", ""), TABLE, batch(("ann", None, "acted")))) == {True}


def test_starts_and_conversions_of_a_trials_table_count_for_the_account_of_each_user() -> None:
    times = pl.Datetime("us", "UTC")
    began = pl.Series([START, START + HOUR, START], dtype=times)
    table = TABLE.with_columns(started_at=began, converted_at=pl.Series([None, START + 2 * HOUR, None], dtype=times))
    ((is_by_account, found),) = Reader(Roster.of(TABLE), defined()).trial_events(table)
    assert is_by_account
    users = Roster.of(TABLE).users
    names = dict(users.select("home", "user_id").iter_rows())
    assert named(found, [names[home] for home in range(3)]) == [("ann", 0), ("bob", 1), ("bob", 2), ("cat", 0)]


def test_where_nothing_is_asked_of_accounts_the_trials_table_tells_no_events() -> None:
    assert list(Reader(Roster.of(TABLE), defined(account="")).trial_events(TABLE)) == []


# --- when it arrived -------------------------------------------------------------------------


def test_an_event_whose_arrival_nobody_noted_arrived_when_it_happened() -> None:
    late = batch(("ann", None, "acted"), ("ann", None, "acted")).with_columns(
        received_at=pl.Series([None, START + 9 * HOUR], dtype=pl.Datetime("us", "UTC"))
    )
    found = read(defined(), TABLE, late)[False]
    assert ((found.known - found.times) / 3.6e9).tolist() == [0, 8]


def test_where_no_arrival_was_noted_arrivals_take_no_room() -> None:
    found = read(defined(), TABLE, batch(("ann", None, "acted")))[False]
    assert found.known is found.times

"""Users whom no account names belong to that of their address, wherever it is told, and to nobody's by free mail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset, dataset
from features.definition import Definition, parse
from features.joining import JOINED, joined, with_accounts
from features.matrix import FeatureBuilder
from features.survey import Survey, Wanted
from features.times import micros

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = """
product: Tested
lead: LEAD
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [60d]
cutoff: {at_least: 0.3}
accounts: {by_domain: email}
signals:
  - {name: team, kind: value, scope: account, events: [acted], measures: [count, distinct(user)], text: acted}
traits:
  - {name: email, type: email_domain, enterprise: [bigco.example], free_mail: [students.example]}
exclude: {accounts: [Rival]}
"""
BY_USER, BY_ACCOUNT = (parse(TEXT.replace("LEAD", lead)) for lead in ("user", "account"))
SILENT = Survey(Wanted({}, frozenset()))
Person = tuple[str, str | None, str | None]
"""User, account and address."""


def people(*rows: Person) -> pl.DataFrame:
    schema = {"user_id": pl.String, "account_id": pl.String, "email": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(started_at=pl.lit(START))


def homes(*rows: Person) -> dict[str, str]:
    return dict(joined(people(*rows), SILENT, BY_USER).iter_rows())


# --- where somebody belongs ------------------------------------------------------------------------


def test_a_user_without_an_account_belongs_to_the_one_of_its_domain() -> None:
    assert homes(("a", "Acme", "x@acme.example"), ("b", None, "y@ACME.example"), ("c", None, "z@other.example")) == {
        "b": "Acme", "c": "other.example",
    }  # fmt: skip


@pytest.mark.parametrize("address", ["x@gmail.com", "x@students.example", "nobody", "", None])
def test_what_names_no_company_joins_nobody(address: str | None) -> None:
    assert homes(("a", "Acme", address), ("b", None, address), ("c", None, address)) == {}


def test_colleagues_of_a_domain_that_no_account_has_are_one_account_called_like_it() -> None:
    assert homes(("a", None, "x@acme.example"), ("b", None, "y@acme.example")) == {
        "a": "acme.example", "b": "acme.example",
    }  # fmt: skip


def test_what_lies_under_a_listed_enterprise_belongs_to_it() -> None:
    rows: list[Person] = [("a", "Big", "x@eu.bigco.example"), ("b", None, "y@us.bigco.example")]
    assert homes(*rows) == {"b": "Big"}
    assert homes(rows[1]) == {"b": "bigco.example"}


def test_of_several_accounts_of_a_domain_it_is_the_one_with_most_of_it_and_of_equals_the_first_by_name() -> None:
    one, two = [("a", "Zed", "x@acme.example")], [("b", "Yak", "x@acme.example"), ("c", "Yak", "x@acme.example")]
    lost = ("d", None, "x@acme.example")
    assert homes(*one, *two, lost) == {"d": "Yak"}
    assert homes(*one, two[0], lost) == {"d": "Yak"}
    assert homes(*one, ("b", "Zz", "x@acme.example"), lost) == {"d": "Zed"}


def test_an_agencys_one_user_in_a_customers_account_does_not_draw_the_agency_there() -> None:
    customers: list[Person] = [(f"c{n}", "Customer", f"{n}@customer.example") for n in range(2)]
    guest, lost = ("g", "Customer", "x@agency.example"), ("l", None, "y@agency.example")
    assert homes(*customers, guest, lost) == {"l": "agency.example"}
    # Private addresses of the customer's staff say nothing of who they are, and half is still enough.
    assert homes(*customers[:1], guest, ("p", "Customer", "p@gmail.com"), lost) == {"l": "Customer"}


def test_an_account_that_is_called_like_a_domain_is_the_account_of_that_domain() -> None:
    rows: list[Person] = [("a", "acme.example", "x@gmail.com"), ("b", None, "y@acme.example")]
    assert homes(*rows) == {"b": "acme.example"}
    data = dataset(acted("a", "b"), people(*rows), BY_ACCOUNT)
    assert data.leads.ids == ["acme.example"]


def test_a_user_who_has_an_account_stays_there() -> None:
    assert homes(("a", "Acme", "x@acme.example"), ("b", "Own", "x@acme.example")) == {}
    # Also where another row of the same user has none.
    assert homes(("a", "Own", "x@acme.example"), ("a", None, "x@acme.example")) == {}


def test_nobody_is_joined_where_the_definition_does_not_ask() -> None:
    silent = BY_USER.model_copy(update={"accounts": parse(TEXT.replace("LEAD", "user").replace(
        "accounts: {by_domain: email}", "accounts: {}")).accounts})  # fmt: skip
    assert len(joined(people(("b", None, "y@acme.example")), SILENT, silent)) == 0


def test_a_table_of_which_nobody_is_joined_is_left_as_it_is() -> None:
    table = people(("a", " ", "x@gmail.com"))
    assert with_accounts(table, joined(table, SILENT, BY_USER)) is table


def test_identifiers_may_be_numbers_and_accounts_no_column_at_all() -> None:
    table = pl.DataFrame({"user_id": [1, 2], "email": ["a@acme.example", None]})
    found = with_accounts(table, joined(table, SILENT, BY_USER))
    assert found.select("user_id", "account_id").rows() == [("1", "acme.example"), ("2", None)]


EMAILS = st.sampled_from(["x@a.example", "y@a.example", "x@b.example", "x@gmail.com", None])
ROWS = st.lists(st.tuples(st.sampled_from(["A", "B", "a.example", None]), EMAILS), max_size=12)


def slowly(rows: Sequence[Person]) -> dict[str, str]:
    """Who belongs where, as it is written."""
    domain = {user: e.partition("@")[2] for user, _, e in rows if e is not None and not e.endswith("gmail.com")}
    found = {}
    for user, account, _ in rows:
        if account is None and user in domain:
            sizes = {}
            for one in {a for _, a, _ in rows if a is not None}:
                of_account = Counter(domain[u] for u, a, _ in rows if a == one and u in domain)
                mine = of_account[domain[user]]
                if mine and 2 * mine >= of_account.total():
                    sizes[one] = mine
            found[user] = min(sizes, key=lambda one: (-sizes[one], one), default=domain[user])
    return found


@settings(max_examples=150)
@given(ROWS, st.randoms(use_true_random=False))
def test_who_belongs_where_is_what_a_slow_reading_says_in_any_order(
    drawn: list[tuple[str | None, str | None]], random: Random
) -> None:
    rows: list[Person] = [(f"u{n}", account, email) for n, (account, email) in enumerate(drawn)]
    expected = slowly(rows)
    random.shuffle(rows)
    assert homes(*rows) == expected


# --- through the whole data ----------------------------------------------------------------------


def acted(*users: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": users,
            "event": ["acted"] * len(users),
            "timestamp": [START + (n + 1) * DAY for n in range(len(users))],
        }
    )


def identified(user: str, address: str, day: float) -> pl.DataFrame:
    said = json.dumps({"email": address})
    return pl.DataFrame(
        {"user_id": [user], "event": ["$identify"], "timestamp": [START + day * DAY], "properties": [said]}
    )


def team_of(data: Dataset) -> dict[str, tuple[float, float]]:
    """How often everybody in each lead's account acted, and how many did."""
    builder = FeatureBuilder(data.definition, {})
    n = len(data.leads)
    rows = data.rows(builder, np.arange(n), np.full(n, micros(START + 50 * DAY)))
    places = [[c.name for c in builder.columns].index(f"team_{name}_60d") for name in ("count", "distinct_user")]
    return {user: tuple(row[places]) for user, row in zip(data.leads.ids, rows, strict=True)}


ROWS_OF_ACME: list[Person] = [
    ("a", "Acme", "a@acme.example"), ("b", None, "b@acme.example"), ("c", None, "c@gmail.com"),
    ("d", None, "d@solo.example"),
]  # fmt: skip


def test_signals_of_accounts_and_the_accounts_of_leads_know_who_was_joined() -> None:
    data = dataset(acted("a", "b", "c"), people(*ROWS_OF_ACME), BY_USER)
    assert dict(zip(data.leads.ids, data.leads.account_ids, strict=True)) == {
        "a": "Acme", "b": "Acme", "c": None, "d": "solo.example",
    }  # fmt: skip
    numbers = dict(zip(data.leads.ids, data.leads.accounts.tolist(), strict=True))
    assert numbers["a"] == numbers["b"]
    assert len(set(numbers.values())) == 3
    assert team_of(data) == {"a": (2, 2), "b": (2, 2), "c": (1, 1), "d": (0, 0)}
    assert data.set_right == {JOINED: 2}


def test_accounts_as_leads_hold_who_was_joined() -> None:
    data = dataset(acted("a", "b", "c"), people(*ROWS_OF_ACME), BY_ACCOUNT)
    assert set(data.leads.ids) == {"Acme", "c", "solo.example"}
    assert team_of(data) == {"Acme": (2, 2), "c": (1, 1), "solo.example": (0, 0)}


def test_an_account_converts_with_the_first_of_those_who_were_joined() -> None:
    table = people(*ROWS_OF_ACME[:2]).with_columns(
        started_at=pl.Series([START + DAY, START]),
        converted_at=pl.Series([None, START + 9 * DAY], dtype=pl.Datetime("us", "UTC")),
    )
    leads = dataset(acted("a"), table, BY_ACCOUNT).leads
    assert (leads.ids, leads.started_at.tolist()) == (["Acme"], [micros(START)])
    assert leads.converted_at.tolist() == [micros(START + 9 * DAY)]


@pytest.mark.parametrize("definition", [BY_USER, BY_ACCOUNT])
@pytest.mark.parametrize("derived", [False, True])
def test_addresses_that_events_tell_join_as_those_of_a_table_do(definition: Definition, *, derived: bool) -> None:
    named = acted("a", "b", "c", "d").with_columns(account_id=pl.Series(["Acme", None, None, None]))
    told = [identified(user, f"{user}@{domain}", 20) for user, domain in
            (("a", "acme.example"), ("b", "acme.example"), ("c", "gmail.com"), ("d", "solo.example"))]  # fmt: skip
    events = pl.concat([named, *told], how="diagonal")
    table = people(*((user, account, None) for user, account, _ in ROWS_OF_ACME))
    data = dataset(events, None if derived else table.drop("email"), definition)
    ids = data.leads.ids if definition.lead == "account" else data.leads.account_ids
    assert {str(one) for one in ids} == {"Acme", "solo.example", "c" if definition.lead == "account" else "None"}
    assert data.set_right == {JOINED: 2}
    team = team_of(data)
    assert team["Acme" if definition.lead == "account" else "b"] == (2, 2)


def test_somebody_stays_where_its_first_business_address_led() -> None:
    told = [identified("a", address, day) for address, day in
            (("x@new.example", 30), ("x@gmail.com", 1), ("x@old.example", 10))]  # fmt: skip
    data = dataset(pl.concat([acted("a"), *told], how="diagonal"), people(("a", None, None)), BY_USER)
    assert data.leads.account_ids == ["old.example"]


def test_where_the_table_has_addresses_what_events_tell_joins_nobody() -> None:
    table = people(("a", None, "a@acme.example"), ("b", None, None))
    data = dataset(pl.concat([acted("a"), identified("b", "b@acme.example", 1)], how="diagonal"), table, BY_USER)
    assert data.leads.account_ids == ["acme.example", None]


def test_who_is_joined_to_an_account_that_is_nobodys_customer_is_nobodys_customer() -> None:
    table = people(("a", "Rival", "a@rival.example"), ("b", None, "b@rival.example"), ("c", None, None))
    data = dataset(acted("a", "b"), table, BY_USER)
    assert data.leads.ids == ["c"]
    assert data.set_right == {}


def test_an_address_may_itself_be_the_name_of_a_user() -> None:
    definition = parse(
        TEXT.replace("LEAD", "account").replace("type: email_domain,", "type: email_domain, column: user_id,")
    )
    table = people(("a@acme.example", None, None), ("b@acme.example", None, None)).drop("email")
    data = dataset(acted("a@acme.example"), table, definition)
    assert data.leads.ids == ["acme.example"]

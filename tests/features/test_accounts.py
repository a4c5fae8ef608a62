"""What the definition says of accounts and of domains, and what it may not say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.accounts import Accounts
from features.columns import columns, fingerprint
from features.dataset import dataset
from features.definition import Definition, parse
from features.durations import DAY
from features.errors import InvalidSetting
from features.matrix import FeatureBuilder
from features.segments import levels_of_trait, segment_numbers
from features.times import micros

TEXT = """
product: Tested
lead: account
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d, trial]
cutoff: {at_least: 0.3, segments: email}
accounts: {by_domain: email}
signals:
  - {name: people, kind: team_growth, events: [acted], measures: [distinct(user), distinct(event), user_growth], text: acted}
traits:
  - {name: email, type: email_domain, direction: "+", enterprise: ["@BigCo.example"], free_mail: [students.example]}
  - {name: contact, type: email_domain}
  - {name: size, type: number}
"""


def test_nobody_is_joined_where_nothing_is_said() -> None:
    assert parse(TEXT.replace("accounts: {by_domain: email}\n", "")).accounts == Accounts(by_domain=None)
    assert parse(TEXT).accounts.by_domain == "email"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "by_domain: email",
            "by_domain: emial",
            r"accounts.by_domain: must name a trait of type email_domain \(email, contact\), got 'emial'. Did you mean 'email'",
        ),
        ("by_domain: email", "by_domain: size", r"accounts.by_domain: must name .*, got 'size' of type number\."),
        ("by_domain: email", "by_domains: email", r"accounts.*by_domains.*Did you mean 'by_domain'"),
        (
            "@BigCo.example",
            "BigCo",
            r"traits\[0\] \(email\).enterprise must list domains such as acme.example, not 'bigco'",
        ),
        ("students.example", "bigco.example", r"must not list 'bigco.example' as an enterprise and as free mail"),
        (
            "{name: size, type: number}",
            "{name: size, type: number, enterprise: [a.example]}",
            r"traits\[2\] \(size\) must have type email_domain where it lists `enterprise` or `free_mail`",
        ),
    ],
)
def test_what_cannot_be_meant_is_named_by_its_path(before: str, after: str, message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        parse(TEXT.replace(before, after))


def test_where_there_is_no_address_nobody_can_be_joined_by_one() -> None:
    text = TEXT.split("traits:", maxsplit=1)[0].replace(", segments: email", "")
    with pytest.raises(InvalidSetting, match=r"must name a trait of type email_domain \(there is none\), got 'email'"):
        parse(text)


def test_a_list_of_enterprises_makes_one_more_column_with_the_traits_direction() -> None:
    made = {column.name: column for column in columns(parse(TEXT), {}) if column.scope == "trait"}
    assert list(made) == ["email_is_business", "email_is_enterprise", "contact_is_business", "size"]
    assert made["email_is_enterprise"].direction == made["email_is_business"].direction == 1
    assert made["email_is_enterprise"].sentence.fill({"value": 1}) == "email is a listed enterprise's: 1"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("@BigCo.example", "bigco.example", True),
        ("@BigCo.example", "other.example", False),
        ("free_mail: [students.example]", "free_mail: []", False),
        ('["@BigCo.example"]', '["@BigCo.example", "bigco.example"]', True),
        ("by_domain: email", "by_domain: contact", True),
    ],
)
def test_rows_can_be_shared_only_where_lists_are_the_same(before: str, after: str, same: bool) -> None:
    one, other = parse(TEXT), parse(TEXT.replace(before, after))
    assert (fingerprint(columns(one, {}), one) == fingerprint(columns(other, {}), other)) == same


def test_an_address_has_two_levels_with_enterprises_among_the_businesses() -> None:
    builder = FeatureBuilder(parse(TEXT), {})
    names = [column.name for column in builder.columns]
    rows = np.zeros((4, len(names)))
    rows[:, names.index("email_is_business")] = [0, 1, 1, np.nan]
    rows[:, names.index("email_is_enterprise")] = [0, 0, 1, np.nan]
    found = segment_numbers(rows, builder.columns, "email")
    levels = levels_of_trait(builder.definition, {}, "email")
    assert [levels[number] if number >= 0 else None for number in found] == ["free mail", "business", "business", None]


@pytest.mark.parametrize("scope", ["lead", "account"])
def test_the_growth_of_an_account_that_is_a_lead_may_be_measured_in_either_scope(scope: str) -> None:
    definition = parse(TEXT.replace("kind: team_growth,", f"kind: team_growth, scope: {scope},"))
    assert "people_user_growth_7d" in [column.name for column in columns(definition, {})]


def test_the_growth_of_a_user_cannot_be_measured() -> None:
    with pytest.raises(InvalidSetting, match="user_growth needs `scope: account`, got `scope: lead`"):
        parse(TEXT.replace("lead: account", "lead: user"))


# --- through the whole data ----------------------------------------------------------------------

START = datetime(2026, 3, 1, tzinfo=UTC)
TOLD = [
    ("u1", 0, "x@gmail.com"),
    ("u2", 2, "x@small.example"),
    ("u3", 4, "x@eu.bigco.example"),
    ("u4", 6, "x@students.example"),
]
"""The users of one account: when each starts, and its address."""


def address_columns(
    by: str, definition: Definition, days: Sequence[float], clock: str | None = None
) -> list[list[float]]:
    """Whether the account was a business and an enterprise so many days after its start, by a table or by events."""
    users, starts = [user for user, _, _ in TOLD], [START + timedelta(days=day) for _, day, _ in TOLD]
    trials = pl.DataFrame({"user_id": users, "account_id": "A", "started_at": starts, "size": 7})
    said = [json.dumps({"email": address, "contact": address}) for _, _, address in TOLD]
    # Told when each starts, which arrived three days later.
    facts = pl.DataFrame(
        {
            "user_id": users, "event": "$identify", "timestamp": starts, "properties": said,
            "received_at": [start + timedelta(days=3) for start in starts],
        }
    )  # fmt: skip
    acted = pl.DataFrame({"user_id": ["u1"], "event": ["acted"], "timestamp": [START + timedelta(days=30)]})
    if by == "table":
        addresses = [address for _, _, address in TOLD]
        trials = trials.with_columns(email=pl.Series(addresses), contact=pl.Series(addresses))
    events = acted if by == "table" else pl.concat([facts, acted], how="diagonal")
    data = dataset(events, trials, definition)
    assert data.leads.ids == ["A"]
    builder = FeatureBuilder(definition, {})
    as_of = np.array([micros(START) + round(day * DAY) for day in days], np.int64)
    rows = data.rows(builder, np.zeros(len(as_of), np.int64), as_of, clock)
    places = [
        [column.name for column in builder.columns].index(f"email_is_{what}") for what in ("business", "enterprise")
    ]
    found: list[list[float]] = rows[:, places].tolist()
    return found


FREE, BUSINESS, LISTED = [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]


@pytest.mark.parametrize("by", ["table", "events"])
def test_rows_of_an_account_know_the_best_address_of_those_who_have_begun(by: str) -> None:
    days = (0.5, 1.9, 2.0, 2.1, 3.9, 4.1, 20)
    assert address_columns(by, parse(TEXT), days) == [FREE, FREE, FREE, BUSINESS, BUSINESS, LISTED, LISTED]


def test_an_account_whose_scoring_begins_with_its_trial_knows_the_address_that_the_table_gives() -> None:
    assert address_columns("table", parse(TEXT), [0.0]) == [FREE]


@pytest.mark.parametrize("other", [False, True])
def test_by_arrival_an_address_counts_from_when_it_was_known(*, other: bool) -> None:
    """Also where the definition goes by another clock than the one that is asked for."""
    definition = parse(TEXT if other else TEXT.replace("lead: account", "lead: account\nclock: received_at"))
    found = address_columns("events", definition, (2.9, 3.1, 4.9, 5.1, 7.1), "received_at" if other else None)
    np.testing.assert_equal(found, [[np.nan, np.nan], FREE, FREE, BUSINESS, LISTED])


def test_a_user_as_a_lead_has_its_own_address() -> None:
    trials = pl.DataFrame(
        {"user_id": [user for user, _, _ in TOLD], "account_id": "A", "started_at": START, "size": 7,
         "email": [address for _, _, address in TOLD], "contact": ["y@other.example"] * 4}
    )  # fmt: skip
    definition = parse(TEXT.replace("lead: account", "lead: user").replace(", user_growth", ""))
    acted = pl.DataFrame({"user_id": ["u1"], "event": ["acted"], "timestamp": [START + timedelta(days=30)]})
    data, builder = dataset(acted, trials, definition), FeatureBuilder(definition, {})
    rows = data.rows(builder, np.arange(4), np.full(4, micros(START) + DAY))
    names = [column.name for column in builder.columns]
    by_name = {what: rows[:, names.index(f"email_is_{what}")].tolist() for what in ("business", "enterprise")}
    assert by_name == {"business": [0, 1, 1, 0], "enterprise": [0, 0, 1, 0]}

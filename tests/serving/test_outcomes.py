"""A trial that its own events say is over is not scored, by the rules that files go by."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.dataset import dataset
from features.definition import Definition, parse
from features.durations import DAY
from features.errors import InvalidInput
from features.leads import running
from features.times import INSTANT
from features.windows import Ints
from serving.outcomes import AlreadyConverted, Done, Outcomes, TrialClosed

TEXT = """
product: Tested
conversion: {event: paid, horizon: 30d}
trial: {length: 14d, start_event: began, closed_by: [left, lapsed]}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
signals: [{name: acts, kind: value, events: [act], text: x}]
"""
USERS, ACCOUNTS = parse(TEXT), parse("lead: account\n" + TEXT)
BY_COLUMN = parse(TEXT.replace("{event: paid,", "{column: won_at,"))
START = 20_000 * DAY + DAY // 2
AS_OF = START + 5 * DAY


def over(definition: Definition, *done: tuple[str, str, int]) -> InvalidInput | None:
    """Return what is said of a lead that did these things: who, what, when."""
    try:
        Outcomes(definition).check([Done(i, *one) for i, one in enumerate(done)], START, AS_OF, "leads[0]")
    except InvalidInput as error:
        return error
    return None


def test_a_lead_that_bought_has_converted() -> None:
    found = over(USERS, ("u", "act", START), ("u", "paid", AS_OF - 1))
    assert isinstance(found, AlreadyConverted)
    assert found.field == "leads[0].events[1]"
    assert found.message == (
        "leads[0] must not have converted before as_of 2024-10-09T12:00:00Z, got 'paid' at 2024-10-09T11:59:59.999999Z."
    )
    assert found.hint == "Leave it out, or name an as_of at which its trial was open."


@pytest.mark.parametrize("event", ["left", "lapsed"])
def test_a_lead_that_left_is_closed(event: str) -> None:
    found = over(USERS, ("u", event, START + DAY))
    assert isinstance(found, TrialClosed)
    assert "must not be closed before as_of" in found.message


@pytest.mark.parametrize("event", ["paid", "left"])
def test_what_happens_at_the_moment_of_scoring_is_not_yet_known(event: str) -> None:
    assert over(USERS, ("u", event, AS_OF)) is None


@pytest.mark.parametrize("event", ["paid", "left"])
def test_what_happened_on_a_day_before_the_trial_belongs_to_an_earlier_one(event: str) -> None:
    midnight = START // DAY * DAY
    assert over(USERS, ("u", event, midnight - 1)) is None
    assert over(USERS, ("u", event, midnight)) is not None


def test_a_lead_that_bought_and_left_has_bought() -> None:
    assert isinstance(over(USERS, ("u", "left", START), ("u", "paid", START + 1)), AlreadyConverted)


def test_of_several_conversions_the_first_is_told() -> None:
    found = over(USERS, ("u", "paid", START + 5), ("u", "paid", START + 2), ("u", "paid", START + 9))
    assert found is not None
    assert found.field == "leads[0].events[1]"


@pytest.mark.parametrize("definition", [USERS, ACCOUNTS, BY_COLUMN])
def test_the_conversion_that_is_said_in_our_own_word_counts(definition: Definition) -> None:
    assert isinstance(over(definition, ("u", "$converted", START)), AlreadyConverted)


def test_without_a_conversion_event_no_other_event_is_one() -> None:
    assert over(BY_COLUMN, ("u", "paid", START)) is None


def test_an_account_is_closed_when_its_last_user_has_left() -> None:
    one, two = ("a", "left", START + 1), ("b", "lapsed", START + 2)
    assert over(ACCOUNTS, one, ("b", "act", START)) is None
    found = over(ACCOUNTS, one, ("b", "act", START), two)
    assert isinstance(found, TrialClosed)
    assert found.field == "leads[0].events[2]"


def test_a_user_who_is_still_to_come_keeps_an_account_open_as_in_files() -> None:
    assert over(ACCOUNTS, ("a", "left", START), ("b", "act", AS_OF)) is None


def test_a_user_who_has_no_trial_ends_none_where_the_starts_are_told() -> None:
    began = ("a", "$trial_started", START)
    assert over(ACCOUNTS, began, ("guest", "paid", START)) is None
    assert isinstance(over(ACCOUNTS, began, ("a", "paid", START)), AlreadyConverted)
    assert isinstance(over(ACCOUNTS, ("guest", "paid", START)), AlreadyConverted)


def test_each_user_of_an_account_has_a_start_of_its_own() -> None:
    starts = ("a", "$trial_started", START), ("b", "$trial_started", START + 3 * DAY)
    assert over(ACCOUNTS, *starts, ("b", "paid", START + DAY)) is None
    assert over(ACCOUNTS, *starts, ("a", "paid", START + DAY)) is not None


def frame(done: list[tuple[str, str, int]]) -> pl.DataFrame:
    rows = [{"user_id": who, "account_id": "acme", "event": event, "timestamp": at} for who, event, at in done]
    rows.append({"user_id": "far", "account_id": None, "event": "began", "timestamp": START - 900 * DAY})
    return pl.DataFrame(rows, schema_overrides={"account_id": pl.String}).with_columns(
        pl.col("timestamp").cast(INSTANT)
    )


def in_file(definition: Definition, name: str, done: list[tuple[str, str, int]]) -> tuple[bool, Any]:
    """Return whether a lead runs at AS_OF as files have it, and its leads."""
    leads = dataset(frame(done), None, definition).leads
    which: Ints = pl.Series([leads.ids.index(name)], dtype=pl.Int64).to_numpy()
    moment: Ints = pl.Series([AS_OF], dtype=pl.Int64).to_numpy()
    return bool(running(leads, which, moment)[0]), leads


happened = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["act", "paid", "left", "lapsed"]),
        st.sampled_from([-DAY, -DAY // 2, -DAY // 2 - 1, -1, 0, DAY, 5 * DAY - 1]).map(lambda span: START + span),
    ),
    max_size=6,
)


@given(happened)
@example([("a", "left", START)])
@example([("a", "paid", START - DAY // 2 - 1)])
def test_users_are_over_exactly_when_files_leave_them_out(done: list[tuple[str, str, int]]) -> None:
    runs, _ = in_file(USERS, "a", [("a", "began", START), *done])
    assert (over(USERS, *(one for one in done if one[0] == "a")) is None) == runs


@given(happened, st.booleans(), st.booleans())
@example([("a", "left", START), ("b", "left", START)], True, False)
@example([("a", "left", START), ("b", "left", START)], True, True)
@example([("b", "paid", START - DAY)], False, False)
def test_accounts_are_over_exactly_when_files_leave_them_out(
    done: list[tuple[str, str, int]], two: bool, late: bool
) -> None:
    began = [("a", START), ("b", AS_OF + 1 if late else START + DAY // 3)][: 1 + two]
    runs, _ = in_file(ACCOUNTS, "acme", [*((who, "began", at) for who, at in began), *done])
    starts = [(who, "$trial_started", at) for who, at in began]
    assert (over(ACCOUNTS, *starts, *done) is None) == runs

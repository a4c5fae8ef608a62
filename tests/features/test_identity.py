"""An anonymous event belongs to the user its visitor turned out to be, and is known to be theirs only from then on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.rejections import Sieve
from features.sources.identity import (
    NEVER_IDENTIFIED,
    ROW_SCHEMA,
    Links,
    attributed,
    link_frame,
    links,
    moments,
    utc_texts,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def when(minute: int | None) -> str | None:
    return None if minute is None else (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Link:
    visitor: str
    user: str
    at: int
    known: int
    renames: bool = False


def told(points: list[Link], size: int = 2) -> Iterator[pl.DataFrame]:
    for start in range(0, max(len(points), 1), size):
        some = points[start : start + size]
        times = [pl.Series([when(getattr(link, name)) for link in some], dtype=pl.String) for name in ("at", "known")]
        frame = link_frame([link.visitor for link in some], [link.user for link in some], (times[0], times[1]))
        yield frame.with_columns(renames=pl.Series([link.renames for link in some], dtype=pl.Boolean))


@dataclass(frozen=True)
class Event:
    user: str | None
    visitor: str | None
    at: int | None
    received: int | None = None
    second: str | None = None
    presumed: str | None = None


def rows(events: list[Event]) -> pl.DataFrame:
    columns = {
        "user_id": [event.user for event in events],
        "account_id": [None] * len(events),
        "event": [str(number) for number in range(len(events))],
        "timestamp": [when(event.at) for event in events],
        "received_at": [when(event.received) for event in events],
        "message_id": [None] * len(events),
        "properties": [None] * len(events),
        "visitor": [event.visitor for event in events],
        "second_visitor": [event.second for event in events],
        "presumed": [event.presumed for event in events],
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def joined(points: list[Link], events: list[Event], sieve: Sieve | None = None) -> pl.DataFrame:
    visitors, renamed = links(lambda: told(points))
    return attributed(rows(events), visitors, renamed, Sieve("events") if sieve is None else sieve)


def answer(points: list[Link], *events: Event) -> list[tuple[str | None, int | None]]:
    """Return user and minute of receipt of each event that is left."""
    frame = joined(points, list(events))
    received = moments(frame, "received_at").to_list()
    minutes = [None if moment is None else int((moment - START).total_seconds() // 60) for moment in received]
    return list(zip(frame["user_id"].to_list(), minutes, strict=True))


def test_an_anonymous_event_before_the_link_is_the_users_and_received_with_the_link() -> None:
    assert answer([Link("a", "u", 10, 11)], Event(None, "a", 5, 6)) == [("u", 11)]


def test_an_anonymous_event_after_the_link_is_received_when_it_was() -> None:
    assert answer([Link("a", "u", 10, 11)], Event(None, "a", 20, 21)) == [("u", 21)]


def test_an_event_without_a_time_of_receipt_is_received_when_it_happened_or_with_the_link() -> None:
    assert answer([Link("a", "u", 10, 11)], Event(None, "a", 20), Event(None, "a", 5)) == [("u", 20), ("u", 11)]


def test_a_link_counts_from_the_first_time_it_was_made() -> None:
    assert answer([Link("a", "u", 30, 31), Link("a", "u", 10, 11)], Event(None, "a", 20, 20)) == [("u", 20)]


def test_on_a_shared_computer_an_event_is_of_the_next_user_to_identify() -> None:
    shared = [Link("a", "u", 10, 10), Link("a", "v", 20, 20)]
    events = [Event(None, "a", minute, minute) for minute in (5, 10, 11, 20, 21)]
    assert answer(shared, *events) == [("u", 10), ("u", 10), ("v", 20), ("v", 20), ("v", 21)]


def test_a_user_who_returns_to_a_shared_computer_is_known_from_the_return() -> None:
    shared = [Link("a", "u", 10, 10), Link("a", "v", 20, 20), Link("a", "u", 30, 30)]
    assert answer(shared, Event(None, "a", 25, 25)) == [("u", 30)]


def test_the_events_of_a_user_stay_as_they_are() -> None:
    assert answer([Link("a", "u", 10, 11)], Event("v", "a", 5, 6)) == [("v", 6)]


def test_a_visitor_who_never_identified_is_left_out_and_counted() -> None:
    sieve = Sieve("events")
    frame = joined([Link("a", "u", 10, 11)], [Event(None, "b", 5), Event(None, "a", 5), Event(" ", "b", 6)], sieve)
    assert frame["event"].to_list() == ["1"]
    [rejection] = sieve
    assert (rejection.reason, rejection.count) == (NEVER_IDENTIFIED, 2)
    assert "'visitor': 'b'" in rejection.samples[0]


def test_a_row_without_anybody_is_passed_on() -> None:
    sieve = Sieve("events")
    assert joined([], [Event(None, None, 5), Event(None, " ", 5)], sieve)["user_id"].to_list() == [None, None]
    assert sieve.total == 0


def test_what_a_record_told_besides_its_event_is_not_counted_again() -> None:
    sieve = Sieve("events")
    frame = rows([Event(None, "b", 5), Event(None, "b", 5)]).with_columns(event_of_its_own=pl.Series([False, True]))
    visitors, renamed = links(lambda: told([]))
    assert len(attributed(frame, visitors, renamed, sieve)) == 0
    assert sieve.total == 1


def test_the_columns_that_say_who_acted_do_not_leave() -> None:
    assert joined([], [Event("u", "a", 5)]).columns == list(ROW_SCHEMA)


def test_an_event_whose_time_cannot_be_read_is_the_last_users() -> None:
    assert answer([Link("a", "u", 10, 10), Link("a", "v", 20, 21)], Event(None, "a", None)) == [("v", 21)]


def test_the_second_visitor_is_asked_where_the_first_is_unknown() -> None:
    known = [Link("a", "u", 10, 10), Link("d", "v", 10, 10)]
    events = [Event(None, "a", 20, 20, second="d"), Event(None, "x", 20, 20, second="d")]
    assert answer(known, *events) == [("u", 20), ("v", 20)]


def test_who_is_presumed_acted_where_no_link_says_otherwise() -> None:
    events = [Event(None, "a", 5, 5, presumed="a"), Event(None, "b", 5, 5, presumed="b")]
    assert answer([Link("a", "u", 10, 10)], *events) == [("u", 10), ("b", 5)]


def test_a_renamed_user_has_the_new_name_from_the_renaming_on() -> None:
    renamed = [Link("old", "new", 10, 11, renames=True)]
    assert answer(renamed, Event("old", None, 5, 5), Event("old", None, 20, 20)) == [("new", 11), ("new", 20)]


def test_renamings_are_followed_one_after_the_other() -> None:
    chain = [
        Link("a", "old", 10, 10),
        Link("old", "new", 20, 20, renames=True),
        Link("new", "newest", 30, 30, renames=True),
    ]
    assert answer(chain, Event(None, "a", 5, 5)) == [("newest", 30)]


def test_a_link_of_a_visitor_renames_no_user_of_the_same_id() -> None:
    assert answer([Link("a", "u", 10, 10)], Event("a", None, 5, 5)) == [("a", 5)]


def test_renamings_in_a_circle_come_to_an_end() -> None:
    circle = [Link("a", "b", 10, 10, renames=True), Link("b", "a", 10, 10, renames=True)]
    assert answer(circle, Event("a", None, 5, 5))[0][0] in {"a", "b"}


@pytest.mark.parametrize(("visitor", "user"), [("a", ""), ("", "u"), ("a", "a"), (None, "u"), ("a", None)])
def test_a_link_of_nobody_or_to_oneself_is_none(visitor: str, user: str) -> None:
    assert len(links(lambda: told([Link(visitor, user, 1, 1)]))[0].runs) == 0


def test_a_link_without_a_readable_time_is_none() -> None:
    broken = pl.Series(["yesterday"])
    visitors, _ = links(lambda: iter([link_frame(["a"], ["u"], (broken, broken))]))
    assert len(visitors.runs) == 0


def test_a_link_without_a_time_of_receipt_is_known_when_it_happened() -> None:
    never = pl.Series([None], dtype=pl.String)
    visitors, _ = links(lambda: iter([link_frame([7], ["u"], (pl.Series([when(5)]), never))]))
    assert visitors.runs.select("visitor", "user", "known").rows() == [("7", "u", START + timedelta(minutes=5))]


def test_times_of_receipt_in_another_type_than_texts_stay_in_it() -> None:
    frame = rows([Event(None, "a", 5, 6), Event("v", None, 7, 8)])
    frame = frame.with_columns(moments(frame, "timestamp"), moments(frame, "received_at"))
    visitors, renamed = links(lambda: told([Link("a", "u", 10, 11)]))
    found = attributed(frame, visitors, renamed, Sieve("events"))
    assert found["received_at"].to_list() == [START + timedelta(minutes=11), START + timedelta(minutes=8)]


def test_texts_that_no_link_touches_are_not_rewritten() -> None:
    frame = joined([Link("a", "u", 10, 11)], [Event("v", "a", 5, 6), Event(None, "a", 5, 6)])
    assert frame["received_at"].to_list() == ["2026-03-01T00:06:00Z", "2026-03-01T00:11:00.000000Z"]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-01 12:34:56.789000", "2026-03-01T12:34:56.789000Z"),
        ("2026-03-01T12:34", "2026-03-01T12:34Z"),
        ("2026-03-01 12:34:56+02:00", "2026-03-01 12:34:56+02:00"),
        ("2026-03-01T12:34:56Z", "2026-03-01T12:34:56Z"),
        ("2026-03-01T12:34:56-08:00", "2026-03-01T12:34:56-08:00"),
        ("soon", "soon"),
        (None, None),
    ],
)
def test_times_that_a_vendor_writes_in_utc_say_so(text: str | None, utc: str | None) -> None:
    happened, received = utc_texts([text], [text])
    assert happened.to_list() == received.to_list() == [utc]


def test_links_of_nothing_answer_nothing() -> None:
    asked = pl.DataFrame({"visitor": ["a"], "at": [START]}, schema_overrides={"at": pl.Datetime("us", "UTC")})
    assert Links(links(lambda: told([]))[0].runs).of(asked).rows() == [(None, None)]


# --- against a slow and obvious reference ----------------------------------------------------


def expected(points: list[Link], event: Event) -> tuple[str, int] | None:
    mine = sorted({(link.at, link.known, link.user) for link in points if link.visitor == event.visitor})
    if not mine:
        return None
    assert event.at is not None
    at_or_after = [index for index, (at, _, _) in enumerate(mine) if at >= event.at]
    chosen = at_or_after[0] if at_or_after else len(mine) - 1
    user = mine[chosen][2]
    first = last = chosen
    while first > 0 and mine[first - 1][2] == user:
        first -= 1
    while last + 1 < len(mine) and mine[last + 1][2] == user:
        last += 1
    known = min(known for _, known, _ in mine[first : last + 1])
    own = event.at if event.received is None else event.received
    return user, max(own, known)


MINUTE = st.integers(0, 12)
LINKS = st.lists(st.builds(Link, st.sampled_from("ab"), st.sampled_from("uvw"), MINUTE, MINUTE), max_size=9)
EVENTS = st.lists(
    st.builds(Event, st.none(), st.sampled_from("abc"), MINUTE, st.none() | MINUTE), min_size=1, max_size=9
)


@settings(max_examples=150, deadline=None)
@given(points=LINKS, events=EVENTS)
def test_any_links_and_events_are_joined_as_the_rule_says(points: list[Link], events: list[Event]) -> None:
    sieve = Sieve("events")
    found = joined(points, events, sieve)
    by_name = dict(zip(found["event"], zip(found["user_id"], moments(found, "received_at"), strict=True), strict=True))
    wanted = {
        str(number): (result[0], START + timedelta(minutes=result[1]))
        for number, event in enumerate(events)
        if (result := expected(points, event))
    }
    assert by_name == wanted
    assert found["event"].to_list() == sorted(wanted, key=int)
    assert sieve.total == len(events) - len(wanted)

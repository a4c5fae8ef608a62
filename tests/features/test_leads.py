"""Who is open at a moment, and what was known then, to the microsecond: what happens exactly at it has not happened yet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.leads import NEVER, Leads, TraitLog, open_leads, running

NOW = 1_000


def leads(started_at: int = 0, ends_at: int = NEVER, closed_at: int = NEVER, converted_at: int = NEVER) -> Leads:
    began, ends, closed, won = (np.array([time]) for time in (started_at, ends_at, closed_at, converted_at))
    return Leads(["u"], [None], np.zeros(1, np.int64), began, ends, closed, won, {})


CASES = [
    ({}, True, True),
    ({"started_at": NOW - 1}, True, True),
    ({"started_at": NOW}, True, True),
    ({"started_at": NOW + 1}, False, False),
    ({"closed_at": NOW - 1}, False, False),
    ({"closed_at": NOW}, True, True),
    ({"closed_at": NOW + 1}, True, True),
    ({"converted_at": NOW - 1}, False, False),
    ({"converted_at": NOW}, True, True),
    ({"converted_at": NOW + 1}, True, True),
    ({"ends_at": NOW - 1}, True, False),
    ({"ends_at": NOW}, True, False),
    ({"ends_at": NOW + 1}, True, True),
    ({"closed_at": NOW + 5, "converted_at": NOW - 5}, False, False),
]


@pytest.mark.parametrize(("times", "runs", "is_open"), CASES)
def test_a_lead_is_open_from_its_start_until_it_ends_closes_or_converts(
    times: dict[str, int], runs: bool, is_open: bool
) -> None:
    one = leads(**times)
    assert running(one, np.array([0]), np.array([NOW])).tolist() == [runs]
    assert open_leads(one, NOW).tolist() == ([0] if is_open else [])


TIMES = st.integers(NOW - 3, NOW + 3) | st.just(NEVER)


@given(st.lists(st.tuples(st.integers(NOW - 3, NOW + 3), TIMES, TIMES, TIMES), max_size=8))
def test_open_leads_are_those_that_are_open_one_by_one(rows: list[tuple[int, int, int, int]]) -> None:
    began, ends, closed, won = (np.array([row[place] for row in rows], np.int64) for place in range(4))
    ids = [str(number) for number in range(len(rows))]
    many = Leads(ids, [None] * len(rows), np.arange(len(rows)), began, ends, closed, won, {})
    assert len(many) == len(rows)
    found = open_leads(many, NOW)
    assert found.dtype == np.int64
    assert found.tolist() == [number for number, row in enumerate(rows) if len(open_leads(leads(*row), NOW))]


def test_leads_are_looked_at_each_at_its_own_moment_and_may_be_asked_for_twice() -> None:
    one = leads(started_at=NOW, converted_at=NOW + 10)
    moments = np.array([NOW - 1, NOW, NOW + 10, NOW + 11])
    assert running(one, np.zeros(4, np.int64), moments).tolist() == [False, True, True, False]


def test_without_leads_none_is_open() -> None:
    none = np.zeros(0, np.int64)
    assert open_leads(Leads([], [], none, none, none, none, none, {}), NOW).tolist() == []


# --- what was known of a trait ---------------------------------------------------------------

HISTORIES = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["x", "y", None, 3])), max_size=5), min_size=1, max_size=5
)
"""What was told of each lead: moments and values."""


def log_of(histories: list[list[tuple[int, object]]]) -> TraitLog:
    ordered = [sorted(told, key=lambda one: one[0]) for told in histories]
    offsets = np.cumsum([0, *map(len, ordered)]).astype(np.int64)
    since = np.array([moment for told in ordered for moment, _ in told], np.int64)
    return TraitLog(offsets, since, [value for told in ordered for _, value in told])


@given(HISTORIES, st.integers(-1, 11))
def test_what_was_known_is_the_newest_value_told_before_the_moment(
    histories: list[list[tuple[int, object]]], moment: int
) -> None:
    log = log_of(histories)
    for lead, told in enumerate(histories):
        before = [one for one in sorted(told, key=lambda one: one[0]) if one[0] < moment]
        assert log.value(lead, moment) == (before[-1][1] if before else None)


def test_a_value_told_exactly_at_the_moment_is_not_yet_known() -> None:
    log = log_of([[(NOW, "x")]])
    assert [log.value(0, moment) for moment in (NOW - 1, NOW, NOW + 1)] == [None, None, "x"]


@given(HISTORIES, st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 11)), max_size=6))
def test_many_leads_are_asked_at_once_each_at_its_own_moment(
    histories: list[list[tuple[int, object]]], asked: list[tuple[int, int]]
) -> None:
    log = log_of(histories)
    asked = [(lead % len(histories), moment) for lead, moment in asked]
    which, as_of = (np.array([one[place] for one in asked], np.int64) for place in range(2))
    places = log.at(which, as_of)
    assert places.shape == which.shape
    assert [log.value_at(place) for place in places] == [log.value(lead, moment) for lead, moment in asked]
    assert ((places >= 0) <= ((places >= log.offsets[which]) & (places < log.offsets[which + 1]))).all()


def test_a_constant_was_always_so() -> None:
    log = TraitLog.constant(["x", None])
    for moment in (-(2**62), 0, NEVER):
        assert [log.value(lead, moment) for lead in range(2)] == ["x", None]


@given(HISTORIES, st.lists(st.integers(0, 4), max_size=6))
def test_some_leads_keep_their_own_histories_in_the_order_in_which_they_are_taken(
    histories: list[list[tuple[int, object]]], taken: list[int]
) -> None:
    which = np.array([lead % len(histories) for lead in taken], np.int64)
    some, log = log_of(histories).take(which), log_of(histories)
    assert len(some.offsets) == len(which) + 1
    for place, lead in enumerate(which):
        assert [some.value(place, moment) for moment in range(12)] == [
            log.value(int(lead), moment) for moment in range(12)
        ]


def test_leads_that_are_taken_keep_all_that_is_known_of_them() -> None:
    accounts, began, ends, closed, won = (np.arange(3) + 10 * k for k in range(5))
    sizes = {"size": TraitLog.constant([1, 2, 3])}
    many = Leads(["a", "b", "c"], ["A", None, "C"], accounts, began, ends, closed, won, sizes)
    some = many.take(np.array([2, 0, 2]))
    assert (some.ids, some.account_ids) == (["c", "a", "c"], ["C", "A", "C"])
    assert some.accounts.tolist() == [2, 0, 2]
    assert [some.started_at[0], some.ends_at[0], some.closed_at[0], some.converted_at[0]] == [12, 22, 32, 42]
    assert [some.traits["size"].value(lead, 0) for lead in range(3)] == [3, 1, 3]
    assert len(many.take(np.zeros(0, np.int64))) == 0


def test_what_was_always_so_is_known_at_every_moment_like_any_other_value() -> None:
    always = TraitLog.constant(["a", None, "c"])
    dated = TraitLog(always.offsets, always.since, always.values)
    which, as_of = np.array([2, 0, 1, 2]), np.array([0, NOW, -NOW, NEVER])
    assert always.at(which, as_of).tolist() == dated.at(which, as_of).tolist() == [2, 0, 1, 2]
    assert always.take(np.array([2, 1])).at(np.array([0, 1]), np.array([NOW, NOW])).tolist() == [0, 1]

"""Who is open at a moment, to the microsecond: what happens exactly at it has not happened yet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.leads import NEVER, Leads, open_leads, running

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

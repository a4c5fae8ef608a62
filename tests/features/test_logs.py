"""Events become logs by one reading, whether they come as a table or in a request."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import parse
from features.logs import Happening, Readings, read_requests, read_table, unread
from features.vocabulary import vocabulary

READ = vocabulary(
    parse(
        """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
signals:
  - name: work
    kind: value
    events: [done, {event: page, where: {path: /a}}]
    measures: [sum(amount), distinct(plan)]
    text: x
  - {name: came, kind: value, events: [login], measures: [count, distinct(user)], text: x}
"""
    )
)
VALUES = st.sampled_from([None, 1, 1.0, "1", True, False, "x", 0.5, [1], {"a": 1}, 2**60, 2**60 + 1])
PROPERTIES = st.fixed_dictionaries(
    {}, optional={"amount": VALUES, "plan": VALUES, "path": st.sampled_from(["/a", "/b"])}
)
HAPPENINGS = st.lists(
    st.builds(
        Happening,
        lead=st.integers(0, 2),
        user=st.sampled_from(["u", "v"]),
        own=st.booleans(),
        event=st.sampled_from(["done", "page", "login", "unheard of"]),
        time=st.integers(0, 5),
        properties=PROPERTIES,
    ),
    max_size=12,
)


def in_table(happened: Sequence[Happening]) -> Readings:
    """The same events by way of a table; tables hold no events that nobody reads."""
    mine = [one for one in happened if one.event in READ.readings]
    table = {
        "lead": [one.lead if one.own else -1 for one in mine],
        "account": [one.lead for one in mine],
        "user": [ord(one.user) for one in mine],
        "timestamp": [one.time for one in mine],
        "event": [one.event for one in mine],
        "properties": [json.dumps(one.properties) if one.properties else None for one in mine],
    }
    types = {"event": pl.String, "properties": pl.String}
    return read_table(pl.DataFrame(table, schema={name: types.get(name, pl.Int64) for name in table}), READ)


@settings(max_examples=150, deadline=None)
@given(HAPPENINGS)
def test_a_table_and_a_request_are_read_alike(happened: list[Happening]) -> None:
    # A table does not look into the properties of events that no signal measures; no column shows the difference.
    happened = [replace(one, properties={}) if one.event == "login" else one for one in happened]
    table, request = in_table(happened), read_requests(happened, READ)
    for name in ("lead", "account", "times", "kinds", "numbers"):
        np.testing.assert_array_equal(getattr(table, name), getattr(request, name))
        assert getattr(table, name).dtype == getattr(request, name).dtype
    # Codes are names without meaning: what counts is which of them are equal, and which are absent.
    assert table.codes.shape == request.codes.shape
    for one, other in zip(table.codes, request.codes, strict=True):
        np.testing.assert_array_equal(one < 0, other < 0)
        np.testing.assert_array_equal(np.equal.outer(one, one), np.equal.outer(other, other))


@settings(max_examples=100, deadline=None)
@given(HAPPENINGS)
def test_an_event_is_in_its_leads_log_and_in_its_accounts(happened: list[Happening]) -> None:
    logs = read_requests(happened, READ).logs(3, 3)
    mine = [one for one in happened if one.event in READ.readings]
    for number in range(3):
        own = sorted(one.time for one in mine if one.lead == number and one.own)
        everybody = sorted(one.time for one in mine if one.lead == number)
        assert logs.lead.times[logs.lead.offsets[number] : logs.lead.offsets[number + 1]].tolist() == own
        assert logs.account.times[logs.account.offsets[number] : logs.account.offsets[number + 1]].tolist() == everybody


def codes(values: Sequence[object]) -> list[int]:
    happened = [Happening(0, "u", own=True, event="done", time=0, properties={"plan": value}) for value in values]
    found: list[int] = read_requests(happened, READ).codes[READ.codes.index("plan")].tolist()
    return found


def test_equal_values_have_one_code_and_absent_ones_none() -> None:
    found = codes(["x", 1, 1.0, "1", True, None, "x", 2**60, 2**60 + 1, 10**300])
    assert found[0] == found[6]
    assert found[1] == found[2]
    assert found[5] == -1
    assert len(set(found)) == 8


def test_numbers_too_long_for_a_float_are_values_like_any_other() -> None:
    found = codes([10**400, 10**400, 10**400 + 1])
    assert found[0] == found[1] != found[2]


def test_nothing_at_all_is_read_as_empty_arrays_of_the_right_shape() -> None:
    for nothing in (in_table([]), read_requests([], READ)):
        assert nothing.kinds.shape == (0,)
        assert nothing.numbers.shape == (1, 0)
        assert nothing.codes.shape == (2, 0)
        logs = nothing.logs(2, 1)
        assert logs.lead.offsets.tolist() == [0, 0, 0]
        assert logs.account.offsets.tolist() == [0, 0]


def test_event_names_that_no_signal_reads_are_told_once_in_order() -> None:
    assert unread(["zoom", "login", "alarm", "zoom"], READ) == ["alarm", "zoom"]

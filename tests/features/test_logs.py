"""Events become logs by one reading, whether they come as a table or in a request."""

import json
from collections.abc import Sequence

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import parse
from features.logs import Happening, Logs, build_logs, read_requests, read_table
from features.vocabulary import vocabulary
from features.windows import EventLog, Events

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
        message_id=st.sampled_from([None, None, "m", "n"]),
    ),
    max_size=12,
)


IDS = ["u", "v", "w"]


def in_table(happened: Sequence[Happening]) -> Logs:
    """The same events by way of a table; tables hold no events that nobody reads."""
    mine = [one for one in happened if one.event in READ.readings]
    table = {
        "event": [one.event for one in mine],
        "base": [READ.readings[one.event].base for one in mine],
        "user": [hash(one.user) for one in mine],
        "properties": [json.dumps(one.properties) if one.properties else None for one in mine],
    }
    schema = {"event": pl.String, "base": pl.Int32, "user": pl.Int64, "properties": pl.String}
    kinds, numbers, codes = read_table(pl.DataFrame(table, schema=schema), READ)
    said = [(one.user, one.message_id or (one.event, repr(one.properties))) for one in mine]
    keys = [2 * said.index(what) + (one.message_id is not None) for what, one in zip(said, mine, strict=True)]
    times = np.array([one.time for one in mine], np.int64)
    group_of = np.array([one.lead for one in mine], np.int64)
    everyone = Events(group_of, times, times, kinds, np.array(keys, np.int64), numbers, codes)
    own = everyone.take(np.flatnonzero([one.own for one in mine]))
    return build_logs(own, everyone, 3, 3, np.array([hash(user) for user in IDS]), READ)


def tell_one_thing_at_once(happened: list[Happening]) -> list[Happening]:
    """Leave out messages that say something else at the same time: nothing tells which of them is right."""
    first: dict[object, Happening] = {}
    return [
        one for one in happened
        if one.message_id is None or first.setdefault((one.lead, one.user, one.message_id, one.time), one) == one
    ]  # fmt: skip


def content(log: EventLog) -> object:
    """What a log holds, apart from the names of codes and the order of events that nothing tells apart but those."""
    rows = list(zip(
        np.repeat(np.arange(len(log.offsets) - 1), np.diff(log.offsets)).tolist(), log.times.tolist(), log.known.tolist(),
        log.kinds.tolist(), map(repr, log.numbers.T.tolist()), strict=True,
    ))  # fmt: skip
    sharing = []
    for codes in log.codes.tolist():
        one_code = {
            code: sorted(row for row, found in zip(rows, codes, strict=True) if found == code) for code in codes
        }
        sharing.append((one_code.pop(-1, []), sorted(one_code.values())))
    return sorted(rows), sharing, log.repeated


@settings(max_examples=150, deadline=None)
@given(HAPPENINGS)
def test_a_table_and_a_request_are_read_alike(happened: list[Happening]) -> None:
    happened = tell_one_thing_at_once(happened)
    table, request = in_table(happened), read_requests(happened, IDS, READ)
    for one, other in ((table.lead, request.lead), (table.account, request.account)):
        assert content(one) == content(other)
        for name in ("offsets", "times", "known", "kinds", "numbers", "codes"):
            assert getattr(one, name).dtype == getattr(other, name).dtype
            assert getattr(one, name).shape == getattr(other, name).shape
    np.testing.assert_array_equal(table.users < 0, request.users < 0)


@settings(max_examples=100, deadline=None)
@given(HAPPENINGS)
def test_an_event_is_in_its_leads_log_and_in_its_accounts(happened: list[Happening]) -> None:
    told = [one._replace(message_id=f"m{number}") for number, one in enumerate(happened)]
    logs = read_requests(told, IDS, READ)
    mine = [one for one in happened if one.event in READ.readings]
    for number in range(3):
        own = sorted(one.time for one in mine if one.lead == number and one.own)
        everybody = sorted(one.time for one in mine if one.lead == number)
        assert logs.lead.times[logs.lead.offsets[number] : logs.lead.offsets[number + 1]].tolist() == own
        assert logs.account.times[logs.account.offsets[number] : logs.account.offsets[number + 1]].tolist() == everybody


@settings(max_examples=100, deadline=None)
@given(HAPPENINGS)
def test_codes_are_numbered_without_gaps_and_a_lead_is_known_by_the_code_of_its_events(
    happened: list[Happening],
) -> None:
    logs = read_requests(happened, IDS, READ)
    for log in (logs.lead, logs.account):
        for row in log.codes:
            # One numbering serves both logs.
            assert set(row[row >= 0].tolist()) <= set(range(len(logs.account.times) + logs.account.repeated))
    users = logs.account.codes[READ.user_row]
    for name, code in zip(IDS, logs.users.tolist(), strict=True):
        times = sorted(logs.account.times[users == code].tolist())
        every = sorted(one.time for one in happened if one.user == name and one.event in READ.readings)
        assert (code < 0) == (not every)
        assert set(times) <= set(every)
        assert bool(times) == bool(every)


def read_once(*happened: Happening) -> EventLog:
    return read_requests(happened, ["u"], READ).lead


def did(time: int, message: str | None = None, user: str = "u", **properties: object) -> Happening:
    return Happening(0, user, True, "done", time, properties, message)


def test_a_message_of_one_user_counts_once_and_as_it_happened_first() -> None:
    assert read_once(did(5, "m"), did(3, "m", plan="x")).times.tolist() == [3]
    assert read_once(did(5, "m"), did(3, "n")).times.tolist() == [3, 5]
    assert read_once(did(5, "m"), did(5, "m", user="v")).times.tolist() == [5, 5]


def test_without_a_message_an_event_repeats_another_only_where_all_is_the_same() -> None:
    assert read_once(did(5), did(5)).times.tolist() == [5]
    assert read_once(did(5), did(6)).times.tolist() == [5, 6]
    assert read_once(did(5, plan="x"), did(5, plan="y"), did(5)).times.tolist() == [5, 5, 5]
    assert read_once(did(5), did(5, user="v")).times.tolist() == [5, 5]
    assert read_once(did(5), Happening(0, "u", True, "login", 5, {})).times.tolist() == [5, 5]
    assert read_once(did(5), did(5, "m")).times.tolist() == [5, 5]


def test_requests_never_repeat_each_other() -> None:
    said = [Happening(lead, "u", True, "done", 5, {}, "m") for lead in (0, 1)]
    logs = read_requests(said, ["u", "u"], READ)
    assert logs.lead.offsets.tolist() == logs.account.offsets.tolist() == [0, 1, 2]


def test_what_arrived_late_can_be_taken_as_known_when_it_happened() -> None:
    zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    late = Events(zero, zero, one, zero, None, np.zeros((1, 1)), np.zeros((2, 1), np.int64))
    logs = build_logs(late, late, 1, 1, zero, READ)
    assert (logs.lead.known.tolist(), logs.account.known.tolist()) == ([1], [1])
    at_once = logs.known_by_time()
    assert (at_once.lead.known.tolist(), at_once.account.known.tolist()) == ([0], [0])
    assert at_once.users.tolist() == logs.users.tolist()


def codes(values: Sequence[object]) -> list[int]:
    happened = [did(time, plan=value) for time, value in enumerate(values)]
    found: list[int] = read_once(*happened).codes[READ.codes.index("plan")].tolist()
    return found


def test_equal_values_have_one_code_and_absent_ones_none() -> None:
    found = codes(["x", 1, 1.0, "1", True, None, "x", 2**60, 2**60 + 1, 10**300])
    assert found[0] == found[6]
    assert found[1] == found[2]
    assert found[5] == -1
    assert len(set(found)) == 8
    assert sorted(set(found)) == list(range(-1, 7))


def test_numbers_too_long_for_a_float_are_values_like_any_other() -> None:
    found = codes([10**400, 10**400, 10**400 + 1])
    assert found[0] == found[1] != found[2]


def test_nothing_at_all_is_read_as_empty_arrays_of_the_right_shape() -> None:
    for logs in (in_table([]), read_requests([], IDS, READ)):
        for log in (logs.lead, logs.account):
            assert log.kinds.shape == (0,)
            assert log.numbers.shape == (1, 0)
            assert log.codes.shape == (2, 0)
            assert log.offsets.tolist() == [0, 0, 0, 0]
        assert logs.users.tolist() == [-1, -1, -1]


def test_nobody_asked_about_has_empty_logs() -> None:
    logs = read_requests([], [], READ)
    assert logs.lead.offsets.tolist() == logs.account.offsets.tolist() == [0]
    assert logs.users.tolist() == []

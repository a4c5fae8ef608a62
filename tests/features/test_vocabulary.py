"""An event's properties are read in one way: numbers also where they were sent as text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definition import Range, Scalar, Signal, parse
from features.measures import USER
from features.vocabulary import LARGEST_NUMBER, Vocabulary, matches, number, vocabulary

DEFINITION = parse(
    """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
signals:
  - name: team
    kind: value
    text: x
    events: [invite, {event: page, where: {path: /team}}]
    measures: [distinct(user)]
  - {name: looks, kind: value, text: x, events: [page], measures: [count, distinct(path)]}
  - name: pricing
    kind: value
    text: x
    events: [{event: page, where: {path: /pricing}}, {event: page, where: {path: /team}}]
    measures: [sum(seconds), distinct(path)]
  - {name: alone, kind: value, text: x, scope: account, events: [export], measures: [count, distinct(user)]}
  - {name: spend, kind: value, text: x, scope: account, events: [invoice], measures: [sum(amount), sum(seconds)]}
"""
)
READ = vocabulary(DEFINITION)
SERIES = {signal.name: row for row, signal in enumerate(DEFINITION.signals)}


def signals_of(event: str, properties: dict[str, object], series: dict[str, int] = SERIES) -> set[str]:
    start, rows = READ.series_of_kinds(series)
    kind = READ.readings[event].kind(properties)
    names = {row: name for name, row in series.items()}
    return {names[row] for row in rows[start[kind] : start[kind + 1]]}


def test_what_is_read_of_events_follows_from_the_signals() -> None:
    assert list(READ.readings) == ["invite", "page", "export", "invoice"]
    assert READ.numbers == ("seconds", "amount")
    assert READ.codes == (USER, "path")


def test_only_events_with_filters_or_properties_to_measure_are_looked_into() -> None:
    looked = {name for name, reading in READ.readings.items() if reading.reads_properties}
    assert looked == {"page", "invoice"}


def reads(measures: str, scope: str = "account") -> Vocabulary:
    """What is read for one signal with these measures."""
    signal = {"name": "s", "kind": "value", "text": "did", "events": ["e"], "scope": scope}
    asked = Signal.model_validate({**signal, "measures": [text.strip() for text in measures.split(",")]})
    return vocabulary(DEFINITION.model_copy(update={"signals": (asked,)}))


@pytest.mark.parametrize("measure", ["distinct(user)", "user_growth", "lead_share", "lead_rank"])
def test_who_did_it_is_read_first_and_only_where_a_measure_asks(measure: str) -> None:
    assert reads("count, sum(p), trend").user_row == -1
    read = reads(f"distinct(p), {measure}")
    assert read.codes == (USER, "p")
    assert read.user_row == 0
    assert not reads(measure).readings["e"].reads_properties


@pytest.mark.parametrize("measure", ["sum(user)", "mean(user)"])
def test_a_property_that_is_called_user_is_read_like_any_other(measure: str) -> None:
    read = reads(measure)
    assert (read.numbers, read.codes) == (("user",), ())
    assert read.readings["e"].reads_properties


def test_the_numbers_of_sums_and_means_are_read_once() -> None:
    read = reads("mean(b), sum(a), sum(b), mean(a), distinct(c)")
    assert (read.numbers, read.codes) == (("b", "a"), ("c",))
    assert read.readings["e"].reads_properties


@pytest.mark.parametrize(
    "measure",
    ["count", "active_days", "streak", "per_active_day", "share", "trend", "reached(2)", "days_to_reach(2)"],
)
def test_measures_of_times_alone_look_into_no_property(measure: str) -> None:
    read = reads(measure)
    assert (read.numbers, read.codes, read.readings["e"].reads_properties) == ((), (), False)


@pytest.mark.parametrize(
    ("event", "properties", "signals"),
    [
        ("invite", {}, {"team"}),
        ("page", {}, {"looks"}),
        ("page", {"path": "/other"}, {"looks"}),
        ("page", {"path": "/team"}, {"looks", "team", "pricing"}),
        ("page", {"path": "/pricing"}, {"looks", "pricing"}),
        ("export", {}, {"alone"}),
    ],
)
def test_an_event_belongs_to_the_signals_whose_filter_it_passes(
    event: str, properties: dict[str, object], signals: set[str]
) -> None:
    assert signals_of(event, properties) == signals


def test_signals_that_do_not_take_part_are_left_out() -> None:
    assert signals_of("page", {"path": "/team"}, {"team": 0}) == {"team"}
    assert signals_of("export", {}, {"team": 0}) == set()


def test_kinds_of_different_events_never_meet() -> None:
    ranges = [range(one.base, one.base + (1 << len(one.filters))) for one in READ.readings.values()]
    kinds = [kind for numbers in ranges for kind in numbers]
    start, _ = READ.series_of_kinds(SERIES)
    assert sorted(kinds) == list(range(len(start) - 1))


def test_a_signal_is_counted_once_for_an_event_that_passes_two_of_its_filters() -> None:
    filters = [{"event": "e", "where": {"a": 1}}, {"event": "e", "where": {"b": 1}}, "e"]
    signal = Signal.model_validate({"name": "s", "kind": "value", "text": "did", "events": filters})
    twice = DEFINITION.model_copy(update={"signals": (signal,)})
    read = vocabulary(twice)
    start, rows = read.series_of_kinds({"s": 0})
    kind = read.readings["e"].kind({"a": 1, "b": 1})
    assert rows[start[kind] : start[kind + 1]].tolist() == [0]


def test_a_definition_without_signals_reads_nothing() -> None:
    read = vocabulary(DEFINITION.model_copy(update={"signals": ()}))
    start, rows = read.series_of_kinds({})
    assert (read.readings, read.numbers, read.codes, read.user_row) == ({}, (), (), -1)
    assert (start.tolist(), rows.tolist()) == ([0], [])
    assert start.dtype == rows.dtype == np.int64


# --- filters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted", "passes"),
    [
        ("/team", "/team", True),
        ("/Team", "/team", False),
        ("/team ", "/team", False),
        (3, 3, True),
        (3.0, 3, True),
        ("3", 3, True),
        ("3.0", 3, True),
        (3, "3", True),
        (" 3", 3, True),
        (4, 3, False),
        (True, True, True),
        ("true", True, True),
        (True, "true", True),
        (True, 1, False),
        (1, True, False),
        (False, 0, False),
        ("False", False, False),
        (None, "none", False),
        (None, "None", False),
        (None, "", False),
        (None, 0, False),
        (None, False, False),
        ("none", "none", True),
        ("", "", True),
        (math.nan, "nan", True),
        (10**400, "x", False),
        ([3], 3, False),
        ({"a": 1}, "a", False),
    ],
)
def test_a_property_has_a_wanted_value_or_not(value: object, wanted: Scalar, passes: bool) -> None:
    assert matches({"p": (wanted,)}, {"p": value}) is passes


def test_an_absent_property_has_no_value_at_all() -> None:
    assert not matches({"p": ("none", "None", "null", "", 0, False)}, {})


def test_any_one_of_the_wanted_values_will_do_but_every_property_must_have_one() -> None:
    wanted: dict[str, tuple[Scalar, ...]] = {"plan": ("team", "business"), "seats": (5,)}
    assert matches(wanted, {"plan": "business", "seats": "5"})
    assert not matches(wanted, {"plan": "business", "seats": 6})
    assert not matches(wanted, {"plan": "business"})


@pytest.mark.parametrize(
    ("value", "at_least", "below", "passes"),
    [
        (1, 1, 2, True),
        (2, 1, 2, False),
        (0.999, 1, 2, False),
        (1.999, 1, 2, True),
        ("1.5", 1, 2, True),
        (" 1 ", 1, 2, True),
        ("many", 1, 2, False),
        (5, 1, None, True),
        (LARGEST_NUMBER, 1, None, True),
        (-LARGEST_NUMBER, None, 0, True),
        (0, None, 0, False),
        (-1, None, 0, True),
        (2 * LARGEST_NUMBER, 1, None, False),
        (10**400, 1, None, False),
        ("inf", 1, None, False),
        ("NaN", None, 5, False),
        (math.nan, None, 5, False),
        (True, 0, 2, False),
        (False, None, 2, False),
        (None, None, 2, False),
        ([1], 0, 2, False),
        ({"a": 1}, 0, 2, False),
    ],
)
def test_a_property_lies_in_a_range_from_its_low_end_to_just_below_its_high_end(
    value: object, at_least: float | None, below: float | None, passes: bool
) -> None:
    assert matches({"p": Range(at_least=at_least, below=below)}, {"p": value}) is passes


def test_an_absent_property_lies_in_no_range() -> None:
    assert not matches({"p": Range(below=5)}, {})


def test_a_range_and_values_must_both_be_met() -> None:
    wanted: dict[str, tuple[Scalar, ...] | Range] = {"plan": ("team",), "seats": Range(at_least=5)}
    assert matches(wanted, {"plan": "team", "seats": "5"})
    assert not matches(wanted, {"plan": "team", "seats": 4})
    assert not matches(wanted, {"plan": "pro", "seats": 5})


def test_each_range_is_a_filter_of_its_own_and_equal_ones_are_one() -> None:
    ranges = [{"at_least": 5}, {"at_least": 5.0}, {"below": 5}, {"at_least": 5, "below": 6}]
    events = [{"event": "e", "where": {"p": one}} for one in ranges]
    signal = Signal.model_validate({"name": "s", "kind": "value", "text": "did", "events": events})
    reading = vocabulary(DEFINITION.model_copy(update={"signals": (signal,)})).readings["e"]
    assert len(reading.filters) == 3
    assert [reading.kind({"p": value}) for value in (4, 5, 6, None)] == [2, 5, 1, 0]


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2.0), (2.5, 2.5), ("2.5", 2.5), (" -3 ", -3.0), ("1e3", 1000.0), (-0.0, 0.0), ("0", 0.0)],
)
def test_numbers_count_also_where_they_were_sent_as_text(value: object, expected: float) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        "",
        "many",
        "2,5",
        "1 2",
        "NaN",
        "inf",
        "-Infinity",
        math.nan,
        math.inf,
        "1e999",
        10**400,
        LARGEST_NUMBER + 1,
        "-1e16",
        [1],
        {"a": 1},
    ],
)
def test_what_is_no_number_of_a_usual_size_is_not_known(value: object) -> None:
    assert math.isnan(number(value))


@given(st.floats(-LARGEST_NUMBER, LARGEST_NUMBER) | st.integers(-(10**15), 10**15))
def test_a_number_and_its_text_are_the_same_number(value: float) -> None:
    assert number(value) == number(str(value)) == float(value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(SCALARS | st.lists(SCALARS) | st.dictionaries(st.text(), SCALARS))
def test_any_property_can_be_read_without_an_exception(value: object) -> None:
    assert math.isnan(number(value)) or abs(number(value)) <= LARGEST_NUMBER
    assert matches({"p": Range(at_least=0)}, {"p": value}) in (True, False)
    assert matches({"p": ("x", 1, True)}, {"p": value}) in (True, False)

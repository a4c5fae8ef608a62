"""Bad rows are refused, counted and shown; the good rows beside them stay; nothing else is changed."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import Definition, parse
from features.errors import InvalidInput, NaiveTimestamp
from features.events import EVENT_COLUMNS, EventRules, is_json_object, nothing
from features.rejections import Rejection, Sieve
from features.times import INSTANT, micros

MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
OPEN = """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
trial: {TRIAL}
signals:
  - {name: spend, kind: value, events: [bought], measures: [sum(amount)], text: spent}
  - {name: acts, kind: value, events: [acted, done], measures: [count], text: acted}
  - {name: pages, kind: value, events: [{event: page, where: {path: /team}}], text: looked}
REST
"""


def defined(trial: str = "closed_by: [cancelled]", rest: str = "") -> Definition:
    return parse(OPEN.replace("TRIAL", trial).replace("REST", rest))


PLAIN = defined()


def raw(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Rows as a file tells them; what they do not say is that of a good event."""
    rows = list(rows)
    good: Mapping[str, object] = {"user_id": "u1", "event": "acted", "timestamp": "2026-03-01T09:00:00Z"}
    columns = dict.fromkeys(name for row in [good, *rows] for name in row)
    return pl.DataFrame(
        [{name: {**good, **row}.get(name) for name in columns} for row in rows], infer_schema_length=None
    )


def cleaned(
    rows: Iterable[Mapping[str, object]], definition: Definition = PLAIN, read_at: datetime | None = None
) -> tuple[pl.DataFrame, list[Rejection]]:
    frame, sieve = sieved(rows, definition, read_at)
    return frame, list(sieve)


def sieved(
    rows: Iterable[Mapping[str, object]], definition: Definition = PLAIN, read_at: datetime | None = None
) -> tuple[pl.DataFrame, Sieve]:
    sieve = Sieve("events")
    rules = EventRules(definition, None if read_at is None else micros(read_at))
    return rules.clean(raw(rows), sieve), sieve


# --- events ----------------------------------------------------------------------------------


def test_good_events_come_back_with_every_canonical_column_and_type() -> None:
    frame, rejections = cleaned([{"account_id": "A", "properties": '{"amount": 1}', "extra": "ignored"}])
    assert frame.schema == {
        "user_id": pl.String,
        "account_id": pl.String,
        "event": pl.String,
        "timestamp": INSTANT,
        "received_at": INSTANT,
        "message_id": pl.String,
        "properties": pl.String,
    }
    assert frame.columns == list(EVENT_COLUMNS)
    assert frame.row(0) == ("u1", "A", "acted", START, None, None, '{"amount": 1}')
    assert rejections == []


BAD: list[tuple[dict[str, object], str]] = [
    ({"user_id": None}, "user_id is empty"),
    ({"user_id": "  "}, "user_id is empty"),
    ({"event": None}, "event has no name"),
    ({"event": ""}, "event has no name"),
    ({"timestamp": None}, "timestamp is no time with a zone"),
    ({"timestamp": "yesterday"}, "timestamp is no time with a zone"),
    ({"timestamp": "2026-03-01T09:00:00"}, "timestamp is no time with a zone"),
    ({"timestamp": "1989-12-31T23:59:59.999999Z"}, "timestamp lies before 1990"),
    ({"timestamp": "1970-01-01T00:00:00Z"}, "timestamp lies before 1990"),
    ({"event": "bought", "properties": "{"}, "properties are no JSON object"),
    ({"event": "bought", "properties": "[1]"}, "properties are no JSON object"),
    ({"event": "bought", "properties": '{"amount": NaN}'}, "properties are no JSON object"),
    ({"event": "bought", "properties": '{"amount": Infinity}'}, "properties are no JSON object"),
    ({"event": "bought", "properties": '{"amount": 1e999}'}, "properties are no JSON object"),
    ({"event": "page", "properties": "null"}, "properties are no JSON object"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_event_is_refused_counted_and_shown_and_the_good_one_stays(bad: dict[str, object], reason: str) -> None:
    frame, rejections = cleaned([bad, {"user_id": "good"}])
    assert frame["user_id"].to_list() == ["good"]
    assert [(one.table, one.reason, one.count) for one in rejections] == [("events", reason, 1)]
    (sample,) = rejections[0].samples
    for name, value in bad.items():
        assert f"{name!r}: {value!r}" in sample or name == "timestamp"
    assert str(rejections[0]).startswith(f"events: 1 row(s) refused: {reason}. For example {{'user_id': ")


def test_a_time_that_cannot_be_read_is_shown_as_it_was_sent() -> None:
    _, rejections = cleaned([{"timestamp": "yesterday"}, {}])
    assert rejections[0].samples == ("{'user_id': 'u1', 'event': 'acted', 'timestamp': 'yesterday'}",)


def test_rows_refused_for_one_reason_are_counted_together_and_three_are_shown() -> None:
    rows: list[dict[str, object]] = [
        {"timestamp": f"day {number}", "message_id": str(number)} for number in range(1_234)
    ]
    _, (rejection,) = cleaned([*rows, {}])
    assert rejection.count == 1_234
    assert [f"day {number}" in sample for number, sample in enumerate(rejection.samples)] == [True] * 3
    assert str(rejection).startswith("events: 1,234 row(s) refused: timestamp is no time")


def test_a_row_with_several_faults_is_refused_once() -> None:
    frame, rejections = cleaned([{"user_id": "", "event": "", "timestamp": "x"}, {}])
    assert len(frame) == 1
    assert [(one.reason, one.count) for one in rejections] == [("user_id is empty", 1)]


def test_each_reason_is_reported_by_itself() -> None:
    frame, rejections = cleaned([*(bad for bad, _ in BAD), {}])
    assert len(frame) == 1
    assert {one.reason: one.count for one in rejections} == {
        "user_id is empty": 2,
        "event has no name": 2,
        "timestamp is no time with a zone": 3,
        "timestamp lies before 1990": 2,
        "properties are no JSON object": 6,
    }


def test_a_batch_of_bad_rows_leaves_the_canonical_table_without_a_row() -> None:
    frame, rejections = cleaned([{"user_id": ""}, {"user_id": None, "event": "x"}])
    assert frame.equals(nothing())
    assert frame.schema == nothing().schema
    assert [one.count for one in rejections] == [2]


def test_a_batch_without_rows_is_clean() -> None:
    empty = pl.DataFrame(schema=dict.fromkeys(("user_id", "event", "timestamp"), pl.String))
    sieve = Sieve("events")
    assert EventRules(PLAIN).clean(empty, sieve).equals(nothing())
    assert list(sieve) == []


def test_one_sieve_counts_over_all_batches_and_keeps_the_first_samples() -> None:
    sieve, rules = Sieve("events"), EventRules(PLAIN)
    for number in range(5):
        assert len(rules.clean(raw([{"user_id": "", "event": f"e{number}"}, {}]), sieve)) == 1
    (rejection,) = sieve
    assert rejection.count == 5
    assert [f"'event': 'e{number}'" in sample for number, sample in enumerate(rejection.samples)] == [True] * 3


@pytest.mark.parametrize("name", ["$trial_started", "$converted"])
def test_events_that_are_made_from_the_trials_table_are_refused(name: str) -> None:
    frame, (rejection,) = cleaned([{"event": name}, {"user_id": "good"}])
    assert frame["user_id"].to_list() == ["good"]
    assert (rejection.reason, rejection.count) == ("event has a name that is made from the trials table", 1)
    assert f"'event': '{name}'" in rejection.samples[0]


@pytest.mark.parametrize("name", ["$identify", "$group", "$pageview", "$trial_started ", "$Converted", "converted"])
def test_any_other_name_is_an_event_also_one_with_a_dollar_sign(name: str) -> None:
    frame, rejections = cleaned([{"event": name}])
    assert frame["event"].to_list() == [name]
    assert rejections == []


@pytest.mark.parametrize("missing", ["user_id", "event", "timestamp"])
def test_a_missing_column_is_named_with_what_the_file_has(missing: str) -> None:
    frame = raw([{}]).rename({missing: f"{missing}s"})
    with pytest.raises(
        InvalidInput, match=rf"^events: missing column\(s\) '{missing}'.*Did you mean '{missing}s'\?"
    ) as caught:
        EventRules(PLAIN).clean(frame, Sieve("events"))
    assert caught.value.field == missing


def test_naive_times_are_refused_as_a_whole_or_read_in_the_definitions_zone() -> None:
    naive: list[dict[str, object]] = [{"timestamp": "2026-03-01T10:00:00"}]
    with pytest.raises(NaiveTimestamp, match=r"^timestamp must carry a time zone"):
        cleaned(naive)
    frame, _ = cleaned(naive, defined(rest="timezone: Europe/Vienna"))
    assert frame["timestamp"].to_list() == [START]


def test_times_that_are_numbers_are_refused_because_nobody_knows_their_unit() -> None:
    with pytest.raises(InvalidInput, match="timestamp must be times, got Int64"):
        cleaned([{"timestamp": 1772355600}])


def test_the_first_microsecond_of_1990_is_history() -> None:
    frame, rejections = cleaned([{"timestamp": "1990-01-01T00:00:00Z"}])
    assert len(frame) == 1
    assert rejections == []


def test_times_of_any_zone_are_the_same_instant() -> None:
    frame, _ = cleaned(
        [{"timestamp": "2026-03-01T14:30:00+05:30", "message_id": "1"}, {"timestamp": "2026-03-01 09:00Z"}]
    )
    assert frame["timestamp"].unique().to_list() == [START]


def test_identifiers_that_are_numbers_become_texts() -> None:
    frame, _ = cleaned([{"user_id": 7, "account_id": 9, "message_id": 11}])
    assert frame.select("user_id", "account_id", "message_id").row(0) == ("7", "9", "11")


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_a_blank_account_is_none_and_not_one_that_many_share(blank: str | None) -> None:
    frame, _ = cleaned([{"account_id": blank}])
    assert frame["account_id"].to_list() == [None]


@pytest.mark.parametrize("column", ["user_id", "properties"])
def test_a_column_of_lists_is_the_callers_mistake(column: str) -> None:
    frame = raw([{}]).with_columns(pl.Series(column, [["x"]]))
    with pytest.raises(InvalidInput, match=rf"^events: {column} must be texts, got List\(String\)") as caught:
        EventRules(PLAIN).clean(frame, Sieve("events"))
    assert caught.value.field == column


# --- properties ------------------------------------------------------------------------------


def test_properties_of_events_that_no_signal_reads_may_be_anything() -> None:
    frame, rejections = cleaned([{"event": "acted", "properties": "no json"}, {"event": "other", "properties": "{"}])
    assert len(frame) == 2
    assert rejections == []


def test_broken_properties_refuse_no_row_but_those_that_a_signal_would_read_them_of() -> None:
    rows = [{"event": event, "properties": text} for event in ("bought", "acted") for text in ("{", None)]
    frame, (rejection,) = cleaned(rows)
    assert sorted(frame.select("event", "properties").rows(), key=str) == [
        ("acted", "{"),
        ("acted", None),
        ("bought", None),
    ]
    assert rejection.count == 1


@pytest.mark.parametrize("none", [None, "", "{}"])
def test_an_event_may_have_no_properties(none: str | None) -> None:
    frame, rejections = cleaned([{"event": "bought", "properties": none}])
    assert frame["properties"].to_list() == [none]
    assert rejections == []


def test_nested_properties_become_json_and_absent_ones_stay_absent() -> None:
    frame = pl.DataFrame(
        {
            "user_id": ["a", "b"],
            "event": ["bought", "bought"],
            "timestamp": [START, START],
            "properties": [{"amount": 2.5, "plan": None}, None],
        }
    )
    sieve = Sieve("events")
    cleaned_frame = EventRules(PLAIN).clean(frame, sieve)
    first, second = cleaned_frame["properties"].to_list()
    assert json.loads(first) == {"amount": 2.5, "plan": None}
    assert second is None
    assert sieve.total == 0


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("{}", True), ('{"a": {"b": [1, null, "x"]}}', True), (' {"a": 1} ', True), ('{"a": 1, "a": 2}', True),
        ("[]", False), ("1", False), ('"{}"', False), ("null", False), ("", False), ("{", False), ("{'a': 1}", False),
        ('{"a": NaN}', False), ('{"a": -Infinity}', False), ('{"a": 1e999}', False), ('{"a": 01}', False),
        ('{"a": 1,}', False),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, False), ('{"a": "\ud800"}', False),
    ],
)  # fmt: skip
def test_only_one_strict_json_object_is_properties(text: str, verdict: bool) -> None:
    assert is_json_object(text) is verdict


@given(st.text(max_size=20) | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3)).map(json.dumps))
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    if is_json_object(text):
        assert isinstance(json.loads(text), dict)


# --- sent twice ------------------------------------------------------------------------------


def test_rows_that_repeat_others_are_kept_for_the_logs_to_tell() -> None:
    frame, rejections = cleaned([{"message_id": "m"}, {"message_id": "m"}, {}, {}])
    assert frame["message_id"].to_list() == ["m", "m", None, None]
    assert rejections == []


@pytest.mark.parametrize("blank", ["", " ", None])
def test_a_blank_message_id_is_none(blank: str | None) -> None:
    assert cleaned([{"message_id": blank}])[0]["message_id"].to_list() == [None]


# --- when it can have happened ---------------------------------------------------------------

ARRIVED = "events dated after their arrival, moved to it"
SKEWED = "events of a clock that was more than 5 minutes off, set right"
FUTURE = "timestamp lies in the future"


def arrived(after: timedelta) -> dict[str, object]:
    """An event dated so long after its arrival."""
    return {"timestamp": (START + after).isoformat(), "received_at": START.isoformat()}


@pytest.mark.parametrize("after", [-400 * 24 * 60 * MINUTE, timedelta(0), TICK, 5 * MINUTE])
def test_an_event_dated_up_to_five_minutes_after_its_arrival_stays_where_it_is(after: timedelta) -> None:
    frame, sieve = sieved([arrived(after)])
    assert frame["timestamp"].to_list() == [START + after]
    assert sieve.mended == {}


@pytest.mark.parametrize("after", [5 * MINUTE + TICK, 365 * 24 * 60 * MINUTE])
def test_an_event_dated_later_than_that_is_moved_to_its_arrival_and_counted(after: timedelta) -> None:
    frame, sieve = sieved([arrived(after), arrived(timedelta(0)), {}])
    assert frame["timestamp"].to_list() == [START] * 3
    assert frame["received_at"].to_list() == [START, START, None]
    assert sieve.mended == {ARRIVED: 1}
    assert sieve.total == 0


def test_mended_rows_are_counted_over_all_batches() -> None:
    sieve, rules = Sieve("events"), EventRules(PLAIN)
    for _ in range(3):
        rules.clean(raw([arrived(6 * MINUTE), arrived(7 * MINUTE)]), sieve)
    assert sieve.mended == {ARRIVED: 6}


@pytest.mark.parametrize(("late", "kept"), [(-MINUTE, True), (5 * MINUTE, True), (5 * MINUTE + TICK, False)])
def test_an_event_dated_more_than_five_minutes_after_the_data_was_read_is_refused(late: timedelta, kept: bool) -> None:
    dated: dict[str, object] = {"user_id": "late", "timestamp": (START + late).isoformat()}
    frame, rejections = cleaned([dated, {}], read_at=START)
    assert frame["user_id"].to_list() == (["late", "u1"] if kept else ["u1"])
    assert [(one.reason, one.count) for one in rejections] == ([] if kept else [(FUTURE, 1)])


def test_without_a_moment_of_reading_any_later_time_is_history() -> None:
    frame, rejections = cleaned([{"timestamp": "2126-01-01T00:00:00Z"}])
    assert len(frame) == 1
    assert rejections == []


def test_an_event_that_was_moved_to_its_arrival_does_not_lie_in_the_future() -> None:
    frame, sieve = sieved([arrived(365 * 24 * 60 * MINUTE)], read_at=START)
    assert frame["timestamp"].to_list() == [START]
    assert (sieve.total, sieve.mended) == (0, {ARRIVED: 1})


def test_an_arrival_that_cannot_be_read_is_not_known() -> None:
    frame, rejections = cleaned([{"received_at": "soon"}, {"received_at": ""}, {"received_at": "2026-03-02T00:00:00Z"}])
    assert frame["received_at"].null_count() == 2
    assert rejections == []


# --- clocks that are off ---------------------------------------------------------------------


def skewed(off: timedelta, took: timedelta = MINUTE) -> dict[str, object]:
    """An event of START by a client whose clock is `off`, which sent it after `took`; a minute later it arrived."""
    return {
        "timestamp": (START + off).isoformat(),
        "original_timestamp": (START + off).isoformat(),
        "sent_at": (START + off + took).isoformat(),
        "received_at": (START + took).isoformat(),
    }


@pytest.mark.parametrize("hours", [-9000, -1, 1, 9000])
def test_a_clock_that_is_off_is_set_right_by_when_it_said_that_it_sent(hours: int) -> None:
    frame, sieve = sieved([skewed(timedelta(hours=hours), timedelta(days=2))])
    assert frame.columns == list(EVENT_COLUMNS)
    assert frame["timestamp"].to_list() == [START]
    assert sieve.mended == {SKEWED: 1}
    assert sieve.total == 0


@pytest.mark.parametrize(
    ("off", "counted"), [(5 * MINUTE, 0), (5 * MINUTE + TICK, 1), (-5 * MINUTE, 0), (-6 * MINUTE, 1)]
)
def test_setting_right_is_counted_from_more_than_five_minutes_on(off: timedelta, counted: int) -> None:
    frame, sieve = sieved([skewed(off)])
    assert frame["timestamp"].to_list() == [START]
    assert sieve.mended[SKEWED] == counted


@pytest.mark.parametrize("unknown", ["sent_at", "original_timestamp", "received_at"])
def test_where_one_of_the_three_times_is_not_known_the_event_stays_where_it_is(unknown: str) -> None:
    off = timedelta(hours=-3)
    frame, sieve = sieved([skewed(off) | {unknown: None}, skewed(off)])
    assert frame["timestamp"].to_list() == [START + off, START]
    assert sieve.mended == {SKEWED: 1}


@pytest.mark.parametrize("absent", ["sent_at", "original_timestamp"])
def test_without_one_of_the_two_columns_nothing_is_set_right(absent: str) -> None:
    off = timedelta(hours=-3)
    row = skewed(off)
    del row[absent]
    frame, sieve = sieved([row])
    assert frame["timestamp"].to_list() == [START + off]
    assert frame.columns == list(EVENT_COLUMNS)
    assert sieve.mended == {}


def test_a_broken_time_is_refused_even_where_the_others_would_tell_it() -> None:
    frame, rejections = cleaned([skewed(timedelta(0)) | {"original_timestamp": "?", "timestamp": "?"}, {}])
    assert len(frame) == 1
    assert [one.reason for one in rejections] == ["timestamp is no time with a zone"]


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_whatever_the_clock_said_the_event_happened_as_long_before_its_arrival_as_before_its_sending(
    off: int, took: int, way: int
) -> None:
    row = skewed(timedelta(seconds=off), timedelta(seconds=took))
    row["received_at"] = (START + timedelta(seconds=took + way)).isoformat()
    frame, _ = sieved([row])
    assert frame["timestamp"].to_list() == [START + timedelta(seconds=way)]


# --- any rows --------------------------------------------------------------------------------

ROWS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["a", "b", "", None]),
        "event": st.sampled_from(["acted", "bought", "", None, "unheard of"]),
        "timestamp": st.sampled_from(["2026-03-01T09:00:00Z", "2026-03-01", "1980-01-01T00:00:00Z", "", None]),
        "message_id": st.sampled_from(["1", "2", "", None]),
        "properties": st.sampled_from(['{"amount": 1}', "{", "", None]),
    }
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=12))
def test_every_row_is_either_kept_or_refused_with_a_reason(rows: list[dict[str, object]]) -> None:
    frame, sieve = sieved([*rows, {"user_id": "sure"}])
    unbroken = Sieve("events")
    assert EventRules(PLAIN).clean(frame, unbroken).equals(frame)
    assert (unbroken.total, unbroken.mended) == (0, {})
    assert len(frame) == len(rows) + 1 - sieve.total
    assert sieve.total == sum(one.count for one in sieve)

"""Bad rows are refused, counted and shown; the good rows beside them stay; nothing else is changed."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import Definition, parse
from features.errors import InvalidInput, NaiveTimestamp
from features.events import EVENT_COLUMNS, clean_events, clean_trials, data_end, derive_trials, is_json_object
from features.rejections import Rejection
from features.times import INSTANT, micros

DAY = timedelta(days=1)
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
    rows: Iterable[Mapping[str, object]], definition: Definition = PLAIN
) -> tuple[pl.DataFrame, list[Rejection]]:
    frame, sieve = clean_events(raw(rows), definition)
    return frame, list(sieve)


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


def test_where_every_row_is_bad_the_error_says_why() -> None:
    with pytest.raises(InvalidInput, match=r"^events: no usable row\. .*2 row\(s\) refused: user_id is empty.* Mend"):
        cleaned([{"user_id": ""}, {"user_id": None, "event": "x"}])


def test_no_row_at_all_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="events: must have at least one usable row, got none"):
        clean_events(pl.DataFrame(schema=dict.fromkeys(("user_id", "event", "timestamp"), pl.String)), PLAIN)


@pytest.mark.parametrize("missing", ["user_id", "event", "timestamp"])
def test_a_missing_column_is_named_with_what_the_file_has(missing: str) -> None:
    frame = raw([{}]).rename({missing: f"{missing}s"})
    with pytest.raises(
        InvalidInput, match=rf"^events: missing column\(s\) '{missing}'.*Did you mean '{missing}s'\?"
    ) as caught:
        clean_events(frame, PLAIN)
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
        clean_events(frame, PLAIN)
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
    cleaned_frame, sieve = clean_events(frame, PLAIN)
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


def test_an_event_with_the_same_message_id_counts_once() -> None:
    frame, rejections = cleaned([{"message_id": "m"}, {"message_id": "m", "received_at": "2026-03-02T00:00:00Z"}, {}])
    assert frame["message_id"].to_list() == ["m", None]
    assert rejections == []


def test_identical_rows_without_message_id_count_once_whenever_they_arrived() -> None:
    frame, _ = cleaned([{}, {"received_at": "2026-03-02T00:00:00Z"}, {"timestamp": "2026-03-01T09:00:00+00:00"}])
    assert len(frame) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": "u2"},
        {"account_id": "A"},
        {"event": "done"},
        {"timestamp": "2026-03-01T09:00:00.000001Z"},
        {"properties": "{}"},
        {"message_id": "m"},
    ],
)
def test_rows_that_differ_in_anything_said_are_two_events(other: dict[str, object]) -> None:
    assert len(cleaned([{}, other])[0]) == 2


@pytest.mark.parametrize("blank", ["", " "])
def test_blank_message_ids_do_not_make_all_events_one(blank: str) -> None:
    frame, _ = cleaned([{"message_id": blank, "event": name} for name in ("acted", "done", "done")])
    assert sorted(frame["event"].to_list()) == ["acted", "done"]


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
def test_every_row_is_either_kept_once_or_refused_with_a_reason(rows: list[dict[str, object]]) -> None:
    frame, sieve = clean_events(raw([*rows, {"user_id": "sure"}]), PLAIN)
    again, nothing = clean_events(frame, PLAIN)
    assert again.equals(frame)
    assert nothing.total == 0
    assert 1 <= len(frame) <= len(rows) + 1 - sieve.total
    assert sieve.total == sum(one.count for one in sieve)


# --- trials ----------------------------------------------------------------------------------

EVENTS = clean_events(
    raw(
        [
            {"timestamp": "2026-03-03T00:00:00Z", "event": "paid"},
            {"timestamp": "2026-03-05T00:00:00Z", "event": "paid"},
            {"timestamp": "2026-03-04T00:00:00Z", "event": "cancelled"},
            {"user_id": "u2", "timestamp": "2026-03-02T00:00:00Z"},
        ]
    ),
    PLAIN,
)[0]


def trials(rows: list[dict[str, object]], definition: Definition = PLAIN) -> tuple[pl.DataFrame, list[Rejection]]:
    frame = pl.DataFrame(
        [{"user_id": "u1", "started_at": "2026-03-01T09:00:00Z"} | row for row in rows], infer_schema_length=None
    )
    canonical, sieve = clean_trials(frame, EVENTS, definition)
    return canonical, list(sieve)


def test_outcomes_that_the_table_lacks_are_the_first_of_their_events() -> None:
    frame, rejections = trials([{}, {"user_id": "u2"}])
    assert frame["converted_at"].to_list() == [datetime(2026, 3, 3, tzinfo=UTC), None]
    assert frame["closed_at"].to_list() == [datetime(2026, 3, 4, tzinfo=UTC), None]
    assert frame["ends_at"].to_list() == [None, None]
    assert frame["account_id"].to_list() == [None, None]
    assert rejections == []


def test_outcomes_that_the_table_knows_are_not_asked_of_the_events() -> None:
    frame, _ = trials([{"converted_at": None, "closed_at": "2026-03-02T00:00:00Z"}])
    assert frame["converted_at"].to_list() == [None]
    assert frame["closed_at"].to_list() == [datetime(2026, 3, 2, tzinfo=UTC)]


def test_the_order_of_the_trials_is_kept() -> None:
    users = [f"u{number}" for number in (3, 1, 2)]
    assert trials([{"user_id": user} for user in users])[0]["user_id"].to_list() == users


def test_a_trial_without_an_end_ends_after_the_length_of_the_definition() -> None:
    given_end: list[dict[str, object]] = [{"ends_at": "2026-03-09T00:00:00Z"}, {"user_id": "u2", "ends_at": None}]
    frame, _ = trials(given_end, defined("length: 14d"))
    assert frame["ends_at"].to_list() == [datetime(2026, 3, 9, tzinfo=UTC), START + 14 * DAY]


def test_a_freemium_trial_never_ends() -> None:
    assert trials([{}], defined("length: none"))[0]["ends_at"].to_list() == [None]


def test_starts_are_rounded_to_the_day_where_the_definition_says_so() -> None:
    frame, _ = trials([{}], defined("round_start_to: day"))
    assert frame["started_at"].to_list() == [datetime(2026, 3, 1, tzinfo=UTC)]


def test_the_conversion_may_stand_in_a_column_of_another_name() -> None:
    definition = defined()
    column = definition.conversion.model_copy(update={"event": None, "column": "subscribed_on"})
    definition = definition.model_copy(update={"conversion": column})
    frame, _ = trials([{"subscribed_on": "2026-03-08T00:00:00Z", "converted_at": "1999-01-01T00:00:00Z"}], definition)
    assert frame["converted_at"].to_list() == [datetime(2026, 3, 8, tzinfo=UTC)]
    assert trials([{"subscribed_on": "2026-03-08T00:00:00Z"}], definition)[0].equals(frame)
    with pytest.raises(InvalidInput, match=r"^trials: missing column\(s\) 'subscribed_on'"):
        trials([{}], definition)


BAD_TRIALS: list[tuple[dict[str, object], str]] = [
    ({"user_id": None}, "user_id is empty"),
    ({"user_id": " "}, "user_id is empty"),
    ({"started_at": None}, "started_at is empty"),
    ({"started_at": ""}, "started_at is empty"),
    ({"started_at": "soon"}, "started_at is no time with a zone"),
    ({"started_at": "1970-01-01T00:00:00Z"}, "started_at lies before 1990"),
    ({"ends_at": "2026-02-28T23:59:59Z"}, "ends_at lies before started_at"),
    ({"closed_at": "2026-02-28T23:59:59Z"}, "closed_at lies before started_at"),
    ({"converted_at": "2026-02-28T23:59:59Z"}, "converted_at lies before started_at"),
    ({"ends_at": "never"}, "ends_at is no time with a zone"),
    ({"closed_at": "yes"}, "closed_at is no time with a zone"),
    ({"converted_at": "03/01/2026"}, "converted_at is no time with a zone"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_TRIALS)
def test_a_bad_trial_is_refused_counted_and_shown_and_the_good_one_stays(bad: dict[str, object], reason: str) -> None:
    frame, rejections = trials(
        [{"user_id": "bad", **bad}, {"user_id": "good", **dict.fromkeys(bad.keys() - {"user_id", "started_at"})}]
    )
    assert frame["user_id"].to_list() == ["good"]
    assert [(one.table, one.reason, one.count) for one in rejections] == [("trials", reason, 1)]
    if "no time" in reason:
        ((name, value),) = bad.items()
        assert f"{name!r}: {value!r}" in rejections[0].samples[0]


def test_a_conversion_on_the_day_of_the_start_is_kept_even_if_it_looks_earlier() -> None:
    # The day is all that some systems know of a conversion.
    frame, rejections = trials([{"converted_at": "2026-03-01T00:00:00Z"}])
    assert len(frame) == 1
    assert rejections == []


def test_a_user_with_contradicting_rows_is_refused_altogether() -> None:
    frame, (rejection,) = trials([{}, {"started_at": "2026-03-02T09:00:00Z"}, {"user_id": "u2"}])
    assert frame["user_id"].to_list() == ["u2"]
    assert (rejection.reason, rejection.count) == ("user_id is there more than once", 2)


def test_a_user_whose_row_is_there_twice_is_one_user() -> None:
    frame, rejections = trials([{}, {}])
    assert len(frame) == 1
    assert rejections == []


def test_where_every_trial_is_bad_the_error_says_why() -> None:
    with pytest.raises(InvalidInput, match=r"^trials: no usable row\. .*started_at is empty"):
        trials([{"started_at": None}])


@pytest.mark.parametrize("missing", ["user_id", "started_at", "size"])
def test_a_missing_column_of_trials_is_named(missing: str) -> None:
    definition = defined(rest="traits: [{name: company_size, type: number, column: size}]")
    frame = pl.DataFrame({"user_id": ["u"], "started_at": ["2026-03-01T09:00:00Z"], "size": [3]}).drop(missing)
    with pytest.raises(InvalidInput, match=rf"^trials: missing column\(s\) '{missing}'"):
        clean_trials(frame, EVENTS, definition)


def test_dates_in_trials_are_read_in_the_definitions_zone() -> None:
    frame = pl.DataFrame({"user_id": ["u1"], "started_at": [date(2026, 3, 1)]})
    with pytest.raises(NaiveTimestamp, match="started_at must carry a time zone"):
        clean_trials(frame, EVENTS, PLAIN)
    canonical, _ = clean_trials(frame, EVENTS, defined(rest="timezone: Europe/Vienna"))
    assert canonical["started_at"].to_list() == [datetime(2026, 2, 28, 23, tzinfo=UTC)]


@pytest.mark.parametrize("blank", ["", " ", None])
def test_a_blank_account_of_a_trial_is_none(blank: str | None) -> None:
    assert trials([{"account_id": blank}])[0]["account_id"].to_list() == [None]


# --- trials from events ----------------------------------------------------------------------


def test_without_a_table_a_trial_begins_with_the_users_first_event() -> None:
    derived = derive_trials(EVENTS, PLAIN).sort("user_id")
    assert derived["user_id"].to_list() == ["u1", "u2"]
    assert derived["started_at"].to_list() == [datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)]


def test_without_a_table_a_trial_begins_with_the_first_start_event_where_one_is_named() -> None:
    derived = derive_trials(EVENTS, defined("start_event: cancelled"))
    assert derived["user_id"].to_list() == ["u1"]
    assert derived["started_at"].to_list() == [datetime(2026, 3, 4, tzinfo=UTC)]


def test_events_without_the_start_event_tell_no_trials() -> None:
    with pytest.raises(InvalidInput, match="no 'signed_up' event, so no trial can be derived") as caught:
        derive_trials(EVENTS, defined("start_event: signed_up"))
    assert caught.value.field == "trial.start_event"


def test_a_derived_trial_has_the_first_account_that_is_known_and_empty_traits() -> None:
    rows: list[dict[str, object]] = [
        {"timestamp": "2026-03-03T00:00:00Z", "account_id": "later"},
        {"timestamp": "2026-03-02T00:00:00Z", "account_id": "first"},
        {"timestamp": "2026-03-01T00:00:00Z", "account_id": None},
    ]
    two_of_one = "traits: [{name: size, type: number, column: c}, {name: sector, type: category, column: c}]"
    derived = derive_trials(cleaned(rows)[0], defined(rest=two_of_one))
    assert derived.to_dicts() == [
        {"user_id": "u1", "started_at": datetime(2026, 3, 1, tzinfo=UTC), "account_id": "first", "c": None}
    ]


# --- exclusions ------------------------------------------------------------------------------

EXCLUDED = defined(
    rest="""
traits: [{name: mail, type: email_domain, column: email}]
exclude: {users: [bot], accounts: [Us], email_domains: [Own.example, rival.example]}
"""
)


@pytest.mark.parametrize(
    "row",
    [
        {"user_id": "bot"},
        {"account_id": "Us"},
        {"email": "ann@own.example"},
        {"email": "Ann@OWN.Example "},
        {"email": "rival.example"},
    ],
)
def test_leads_on_a_list_are_left_out_without_being_refused(row: dict[str, object]) -> None:
    others: list[dict[str, object]] = [
        {"user_id": "u2", "email": "a@sub.own.example"},
        {"user_id": "u3", "account_id": "us"},
    ]
    defaults: dict[str, object] = {"account_id": None, "email": None}
    frame, rejections = trials([defaults | one for one in ({"user_id": "u1", **row}, *others)], EXCLUDED)
    assert frame["user_id"].to_list() == ["u2", "u3"]
    assert rejections == []


def test_where_everybody_is_on_a_list_no_lead_is_left() -> None:
    frame, _ = trials([{"user_id": "bot", "email": None}], EXCLUDED)
    assert len(frame) == 0
    assert {"started_at", "ends_at", "closed_at", "converted_at", "email"} <= set(frame.columns)


# --- the end of the data ---------------------------------------------------------------------


def test_the_data_ends_with_the_last_thing_that_happened_in_either_table() -> None:
    assert data_end(EVENTS, trials([{}])[0]) == micros(datetime(2026, 3, 5, tzinfo=UTC))
    later: list[dict[str, object]] = [{"converted_at": "2026-04-01T00:00:00Z"}, {"user_id": "u2", "converted_at": None}]
    assert data_end(EVENTS, trials(later)[0]) == micros(datetime(2026, 4, 1, tzinfo=UTC))
    newest: list[dict[str, object]] = [{"started_at": "2026-05-01T00:00:00Z", "converted_at": None, "closed_at": None}]
    assert data_end(EVENTS, trials(newest)[0]) == micros(datetime(2026, 5, 1, tzinfo=UTC))


def test_an_end_that_is_only_planned_is_not_the_end_of_the_data() -> None:
    planned: list[dict[str, object]] = [{"ends_at": "2030-01-01T00:00:00Z"}]
    assert data_end(EVENTS, trials(planned)[0]) == micros(datetime(2026, 3, 5, tzinfo=UTC))

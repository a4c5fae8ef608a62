"""Trials are what the table says; what it does not say, the events tell, and what breaks a rule is refused."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import Definition, parse
from features.errors import InvalidInput, NaiveTimestamp
from features.events import EventRules
from features.rejections import Rejection, Sieve
from features.survey import Survey, wanted
from features.times import micros
from features.trials import clean_trials, derive_trials

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
TEXT = """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
trial: {TRIAL}
signals:
  - {name: acts, kind: value, events: [acted], measures: [count], text: acted}
REST
"""


def defined(trial: str = "closed_by: [cancelled]", rest: str = "") -> Definition:
    return parse(TEXT.replace("TRIAL", trial).replace("REST", rest))


PLAIN = defined()


def at(day: float) -> datetime:
    """A moment so many days into March 2026."""
    return datetime(2026, 3, 1, tzinfo=UTC) + (day - 1) * DAY


EVENTS: list[dict[str, object]] = [
    {"timestamp": at(3), "event": "paid"},
    {"timestamp": at(5), "event": "paid"},
    {"timestamp": at(4), "event": "cancelled"},
    {"user_id": "u2", "timestamp": at(2)},
]


def surveyed(
    rows: Sequence[Mapping[str, object]] = EVENTS, definition: Definition = PLAIN, columns: Iterable[str] | None = None
) -> Survey:
    """What events tell beside a trials table with these columns; what a row does not say is that of a good event."""
    good: Mapping[str, object] = {
        "user_id": "u1", "account_id": None, "event": "acted", "timestamp": START, "properties": None
    }  # fmt: skip
    frame = pl.DataFrame(
        [{**good, **row} for row in rows], schema_overrides={"account_id": pl.String, "properties": pl.String}
    )
    survey = Survey(wanted(definition, columns))
    for batch in frame.iter_slices(1):
        survey.add(EventRules(definition).clean(batch, Sieve("events")))
    return survey


def trials(
    rows: Sequence[Mapping[str, object]], definition: Definition = PLAIN,
    events: Sequence[Mapping[str, object]] = EVENTS, read_at: datetime | None = None,
) -> tuple[pl.DataFrame, list[Rejection]]:  # fmt: skip
    good: Mapping[str, object] = {"user_id": "u1", "started_at": "2026-03-01T09:00:00Z"}
    frame = pl.DataFrame([{**good, **row} for row in rows], infer_schema_length=None)
    sieve = Sieve("trials")
    survey = surveyed(events, definition, frame.columns)
    canonical = clean_trials(frame, survey, definition, sieve, None if read_at is None else micros(read_at))
    return canonical, list(sieve)


# --- the table -------------------------------------------------------------------------------


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
        clean_trials(frame, surveyed([{}], definition, frame.columns), definition, Sieve("trials"))


def test_dates_in_trials_are_read_in_the_definitions_zone() -> None:
    dated: list[dict[str, object]] = [{"started_at": date(2026, 3, 1)}]
    with pytest.raises(NaiveTimestamp, match="started_at must carry a time zone"):
        trials(dated)
    canonical, _ = trials(dated, defined(rest="timezone: Europe/Vienna"))
    assert canonical["started_at"].to_list() == [datetime(2026, 2, 28, 23, tzinfo=UTC)]


@pytest.mark.parametrize("blank", ["", " ", None])
def test_a_blank_account_of_a_trial_is_none(blank: str | None) -> None:
    assert trials([{"account_id": blank}])[0]["account_id"].to_list() == [None]


# --- outcomes that only events tell ----------------------------------------------------------


@pytest.mark.parametrize("order", [EVENTS, EVENTS[::-1]])
def test_the_first_outcome_is_the_earliest_in_whatever_order_events_come(order: list[dict[str, object]]) -> None:
    frame, _ = trials([{}], events=order)
    assert frame["converted_at"].to_list() == [at(3)]


def test_an_outcome_before_the_trial_belongs_to_an_earlier_one_and_the_next_counts() -> None:
    frame, rejections = trials([{"started_at": "2026-03-04T09:00:00Z"}])
    assert frame["converted_at"].to_list() == [at(5)]
    assert frame["closed_at"].to_list() == [at(4)]
    assert rejections == []


def test_a_lead_all_of_whose_outcomes_lie_before_its_trial_is_open() -> None:
    frame, rejections = trials([{"started_at": "2026-03-06T09:00:00Z"}])
    assert frame.select("converted_at", "closed_at").row(0) == (None, None)
    assert rejections == []


@pytest.mark.parametrize(("day", "counts"), [(1.0, True), (1.0 - 1 / 86_400, False)])
def test_an_outcome_on_the_day_of_the_start_counts_even_if_it_looks_earlier(day: float, counts: bool) -> None:
    frame, _ = trials([{}], events=[{"event": "paid", "timestamp": at(day)}])
    assert frame["converted_at"].to_list() == [at(day) if counts else None]


def test_each_lead_has_its_own_outcomes() -> None:
    events: list[dict[str, object]] = [
        {"user_id": "u2", "event": "paid", "timestamp": at(9)},
        {"user_id": "u3", "event": "cancelled", "timestamp": at(8)},
        {"user_id": "stranger", "event": "paid", "timestamp": at(2)},
    ]
    frame, _ = trials([{"user_id": f"u{number}"} for number in (3, 1, 2)], events=events)
    assert frame.select("user_id", "converted_at", "closed_at").rows() == [
        ("u3", None, at(8)), ("u1", None, None), ("u2", at(9), None),
    ]  # fmt: skip


def test_of_several_closing_events_the_first_closes() -> None:
    definition = defined("closed_by: [cancelled, expired]")
    events: list[dict[str, object]] = [
        {"event": "cancelled", "timestamp": at(9)},
        {"event": "expired", "timestamp": at(4)},
    ]
    assert trials([{}], definition, events)[0]["closed_at"].to_list() == [at(4)]


def test_the_start_by_the_day_decides_which_outcome_is_the_first() -> None:
    events: list[dict[str, object]] = [{"event": "paid", "timestamp": at(1.1)}, {"event": "paid", "timestamp": at(3)}]
    assert trials([{}], defined("round_start_to: day"), events)[0]["converted_at"].to_list() == [at(1.1)]


OUTCOMES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["paid", "cancelled"]), st.integers(0, 12)), max_size=9
)


@settings(max_examples=60)
@given(OUTCOMES, st.integers(0, 10), st.randoms(use_true_random=False))
def test_outcomes_are_those_of_the_plain_rule(happened: list[tuple[str, str, int]], began: int, random: Random) -> None:
    """Times in half days, so that a start at noon meets outcomes of the same day before and after it."""
    random.shuffle(happened)
    events = [{"user_id": who, "event": what, "timestamp": at(1 + half / 2)} for who, what, half in happened]
    rows = [{"user_id": who, "started_at": at(1 + began / 2)} for who in "ab"]
    frame, _ = trials(rows, events=[*events, {"user_id": "x"}])
    for who in "ab":
        for column, name in (("converted_at", "paid"), ("closed_at", "cancelled")):
            since = [half for one, what, half in happened if (one, what) == (who, name) and half // 2 >= began // 2]
            expected = at(1 + min(since) / 2) if since else None
            assert frame.filter(pl.col("user_id") == who)[column].item() == expected


# --- the future ------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["started_at", "closed_at", "converted_at"])
@pytest.mark.parametrize(("late", "kept"), [(timedelta(0), True), (5 * MINUTE, True), (5 * MINUTE + TICK, False)])
def test_what_is_dated_more_than_five_minutes_after_the_reading_is_refused(
    column: str, late: timedelta, kept: bool
) -> None:
    read_at = START + DAY
    dated: dict[str, object] = {"user_id": "late", column: (read_at + late).isoformat()}
    frame, rejections = trials([{}, dated], read_at=read_at, events=[{}])
    assert frame["user_id"].to_list() == (["u1", "late"] if kept else ["u1"])
    reasons = [] if kept else [(f"{column} lies in the future", 1)]
    assert [(one.reason, one.count) for one in rejections] == reasons


def test_an_end_may_lie_in_the_future() -> None:
    frame, rejections = trials([{"ends_at": "2126-01-01T00:00:00Z"}], read_at=START + DAY)
    assert len(frame) == 1
    assert rejections == []


def test_without_a_moment_of_reading_nothing_lies_in_the_future() -> None:
    frame, rejections = trials([{"started_at": "2126-01-01T00:00:00Z"}])
    assert len(frame) == 1
    assert rejections == []


# --- traits ----------------------------------------------------------------------------------

SIZED = defined(rest="traits: [{name: company_size, type: number, column: size}]")


def test_a_trait_that_events_tell_needs_no_column() -> None:
    told: list[dict[str, object]] = [{"event": "$identify", "properties": '{"size": 4}'}]
    frame, rejections = trials([{}, {"user_id": "u2"}], SIZED, told)
    assert frame["size"].to_list() == [None, None]
    assert rejections == []


def test_a_trait_that_events_tell_may_have_a_column_too() -> None:
    told: list[dict[str, object]] = [{"event": "$group", "account_id": "A", "properties": '{"size": 4}'}]
    assert trials([{"size": 7}], SIZED, told)[0]["size"].to_list() == [7]


@pytest.mark.parametrize(
    "untold",
    [
        {"event": "$identify", "properties": '{"company_size": 4}'},
        {"event": "$group", "properties": '{"size": 4}'},
        {"event": "identify", "properties": '{"size": 4}'},
        {"event": "$identify", "properties": "{"},
        {"event": "$identify", "properties": None},
    ],
)
def test_a_trait_that_neither_a_column_nor_an_event_tells_is_missing(untold: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=r"^trials: missing column\(s\) 'size'"):
        trials([{}], SIZED, [untold])


# --- trials from events ----------------------------------------------------------------------


def test_without_a_table_a_trial_begins_with_the_users_first_event() -> None:
    derived = derive_trials(surveyed(), PLAIN).sort("user_id")
    assert derived["user_id"].to_list() == ["u1", "u2"]
    assert derived["started_at"].to_list() == [datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)]


def test_without_a_table_a_trial_begins_with_the_first_start_event_where_one_is_named() -> None:
    definition = defined("start_event: cancelled")
    derived = derive_trials(surveyed(EVENTS, definition), definition)
    assert derived["user_id"].to_list() == ["u1"]
    assert derived["started_at"].to_list() == [datetime(2026, 3, 4, tzinfo=UTC)]


def test_events_without_the_start_event_tell_no_trials() -> None:
    definition = defined("start_event: signed_up")
    with pytest.raises(InvalidInput, match="no 'signed_up' event, so no trial can be derived") as caught:
        derive_trials(surveyed(EVENTS, definition), definition)
    assert caught.value.field == "trial.start_event"


def test_a_derived_trial_has_the_first_account_that_is_known_and_empty_traits() -> None:
    rows: list[dict[str, object]] = [
        {"timestamp": at(3), "account_id": "later"},
        {"timestamp": at(2), "account_id": "first"},
        {"timestamp": at(1), "account_id": None},
    ]
    two_of_one = "traits: [{name: size, type: number, column: c}, {name: sector, type: category, column: c}]"
    definition = defined(rest=two_of_one)
    derived = derive_trials(surveyed(rows, definition), definition)
    assert derived.to_dicts() == [
        {"user_id": "u1", "started_at": datetime(2026, 3, 1, tzinfo=UTC), "account_id": "first", "c": None}
    ]


@pytest.mark.parametrize("by", [1, 2, 9])
def test_derived_trials_do_not_depend_on_how_events_come_in_batches(by: int) -> None:
    frame = pl.DataFrame(
        [{"user_id": "u1", "account_id": None, "event": "acted", "timestamp": at(9)} | row for row in EVENTS[::-1]]
    )
    survey = Survey(wanted(PLAIN, None))
    for batch in frame.iter_slices(by):
        survey.add(EventRules(PLAIN).clean(batch, Sieve("events")))
    assert derive_trials(survey, PLAIN).equals(derive_trials(surveyed(), PLAIN))


def test_derived_trials_have_the_outcomes_since_their_start() -> None:
    definition = defined("start_event: signed_up, closed_by: [cancelled]")
    events: list[dict[str, object]] = [
        {"event": "paid", "timestamp": at(1)},
        {"event": "signed_up", "timestamp": at(3.5)},
        {"event": "signed_up", "timestamp": at(8)},
        {"event": "paid", "timestamp": at(7)},
        {"event": "cancelled", "timestamp": at(2)},
    ]
    survey, sieve = surveyed(events, definition), Sieve("trials")
    frame = clean_trials(derive_trials(survey, definition), survey, definition, sieve)
    assert frame.select("started_at", "converted_at", "closed_at").row(0) == (at(3.5), at(7), None)
    assert sieve.total == 0


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


def test_a_lead_is_left_out_whatever_address_was_ever_told_of_it() -> None:
    told: list[dict[str, object]] = [
        {"user_id": "u1", "event": "$identify", "properties": '{"email": "ann@own.example"}', "timestamp": at(2)},
        {"user_id": "u1", "event": "$identify", "properties": '{"email": "ann@home.example"}', "timestamp": at(3)},
        {"user_id": "x", "account_id": "A", "event": "$group", "properties": '{"email": "own.example"}'},
        {"user_id": "u4", "event": "$identify", "properties": '{"email": null}'},
    ]
    rows: list[dict[str, object]] = [
        {"user_id": "u1", "account_id": None}, {"user_id": "u2", "account_id": "A"}, {"user_id": "u3", "account_id": "B"},
        {"user_id": "u4", "account_id": None},
    ]  # fmt: skip
    frame, rejections = trials(rows, EXCLUDED, told)
    assert frame["user_id"].to_list() == ["u3", "u4"]
    assert rejections == []

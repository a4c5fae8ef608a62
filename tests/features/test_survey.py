"""A survey is the same however events are cut into batches: firsts, facts, delays, and where the data ends."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import Definition, parse
from features.events import EventRules
from features.rejections import Sieve
from features.survey import DELAYS, STRAY_DAYS, STRAY_SHARE, Survey, Wanted, wanted
from features.times import micros

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = """
product: Tested
conversion: {CONVERSION}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
trial: {TRIAL}
traits:
  - {name: company_size, type: number, column: size}
  - {name: sector, type: category}
"""


def defined(
    trial: str = "closed_by: [cancelled, expired]", conversion: str = "event: paid, horizon: 30d"
) -> Definition:
    return parse(TEXT.replace("TRIAL", trial).replace("CONVERSION", conversion))


PLAIN = defined()
SOURCES = frozenset({"size", "sector"})
Row = Mapping[str, object]


def batch(rows: Iterable[Row]) -> pl.DataFrame:
    """Canonical events; what a row does not say is that of a good one."""
    good: Row = {
        "user_id": "u1", "account_id": None, "event": "acted", "timestamp": START, "received_at": None,
        "message_id": None, "properties": None,
    }  # fmt: skip
    time, text = pl.Datetime("us", "UTC"), pl.String
    kinds = {name: time if name in ("timestamp", "received_at") else text for name in good}
    return pl.DataFrame([{**good, **row} for row in rows], schema=kinds, strict=False)


def surveyed(rows: Sequence[Row], asked: Wanted | None = None, by: int = 10_000) -> Survey:
    survey = Survey(wanted(PLAIN, None) if asked is None else asked)
    for part in batch(rows).iter_slices(by):
        survey.add(part)
    return survey


def on_days(*days: float, of: str = "u1") -> list[Row]:
    return [{"user_id": of, "timestamp": START + day * DAY} for day in days]


# --- what is asked for -----------------------------------------------------------------------


def test_without_a_table_starts_outcomes_accounts_and_facts_are_wanted() -> None:
    assert wanted(PLAIN, None) == Wanted(
        {"started_at": None, "converted_at": ("paid",), "closed_at": ("cancelled", "expired")}, SOURCES, accounts=True
    )


def test_where_the_definition_names_the_start_only_that_event_starts() -> None:
    assert wanted(defined("start_event: signed_up"), None).times["started_at"] == ("signed_up",)


@pytest.mark.parametrize(
    ("columns", "times"),
    [
        ([], {"converted_at", "closed_at"}),
        (["converted_at"], {"closed_at"}),
        (["closed_at"], {"converted_at"}),
        (["closed_at", "converted_at", "ends_at"], set()),
    ],
)
def test_a_table_is_asked_first_and_the_events_only_for_what_it_lacks(columns: list[str], times: set[str]) -> None:
    asked = wanted(PLAIN, ["user_id", "started_at", *columns])
    assert set(asked.times) == times
    assert not asked.accounts
    assert asked.sources == SOURCES


def test_a_conversion_column_of_another_name_is_one_too() -> None:
    definition = defined(conversion="event: paid, column: won_at, horizon: 30d")
    assert "converted_at" not in wanted(definition, ["user_id", "won_at"]).times
    assert "converted_at" in wanted(definition, ["user_id"]).times


def test_where_no_event_is_an_outcome_none_is_wanted() -> None:
    definition = defined("length: 14d", "column: won_at, horizon: 30d")
    assert wanted(definition, ["user_id", "won_at"]).times == {}


# --- firsts ----------------------------------------------------------------------------------

ANYTHING = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from("abc"),
            "account_id": st.sampled_from(["A", "B", None]),
            "event": st.sampled_from(["acted", "paid", "cancelled", "expired", "$identify", "$group"]),
            "timestamp": st.integers(0, 40).map(lambda day: START + day * DAY),
            "received_at": st.none() | st.integers(0, 40).map(lambda day: START + day * DAY),
            "properties": st.sampled_from([None, '{"size": 1}', '{"size": null, "sector": "x"}', "[]", "{"]),
        }
    ),
    max_size=25,
)


def told(survey: Survey) -> object:
    """Everything that a survey can be asked, without regard to order."""
    firsts = [survey.first(name).rows() for name in ("started_at", "converted_at", "closed_at")]
    facts = [
        sorted(survey.facts(key, source).rows()) for key in ("user_id", "account_id") for source in sorted(SOURCES)
    ]
    accounts = sorted(survey.first_accounts().rows())
    counts = (survey.events, survey.with_arrival, survey.end(), survey.late, survey.after(micros(START + 9 * DAY)))
    return firsts, facts, accounts, counts


@settings(max_examples=60)
@given(ANYTHING, st.integers(1, 9), st.randoms(use_true_random=False))
def test_neither_batches_nor_their_order_change_what_a_survey_tells(rows: list[Row], by: int, random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert told(surveyed(shuffled, by=by)) == told(surveyed(rows))


def test_the_first_of_each_user_is_the_earliest_and_the_earliest_users_come_first() -> None:
    rows = [*on_days(3, 2, of="b"), *on_days(1, 9, of="c"), *on_days(2, of="a")]
    found = surveyed(rows).first("started_at")
    assert found.rows() == [("c", START + DAY), ("a", START + 2 * DAY), ("b", START + 2 * DAY)]


def test_outcomes_are_kept_each_with_its_time() -> None:
    rows: list[Row] = [{"event": "paid", "timestamp": START + day * DAY} for day in (5, 1, 5)]
    assert sorted(surveyed(rows).times("converted_at").rows()) == [("u1", START + DAY), ("u1", START + 5 * DAY)]


def test_of_what_was_never_asked_or_never_happened_there_are_no_times() -> None:
    survey = surveyed(on_days(1))
    for name in ("converted_at", "unheard of"):
        assert len(survey.times(name)) == len(survey.first(name)) == 0
        assert survey.times(name).columns == ["user_id", "at"]


def test_the_first_account_is_that_of_the_earliest_event_that_names_one() -> None:
    rows: list[Row] = [
        {"account_id": "late", "timestamp": START + 3 * DAY},
        {"account_id": "b", "timestamp": START + 2 * DAY},
        {"account_id": "a", "timestamp": START + 2 * DAY},
        {"account_id": None, "timestamp": START},
        {"user_id": "alone"},
    ]
    assert surveyed(rows, by=1).first_accounts().rows() == [("u1", "a")]


def test_beside_a_table_accounts_are_not_collected() -> None:
    assert len(surveyed([{"account_id": "A"}], wanted(PLAIN, ["user_id"])).first_accounts()) == 0


# --- facts -----------------------------------------------------------------------------------


def identify(text: str | None, **more: object) -> Row:
    return {"event": "$identify", "properties": text, **more}


def test_an_identify_event_tells_facts_of_its_user_and_a_group_event_of_its_account() -> None:
    rows: list[Row] = [
        identify('{"size": 3, "sector": "retail", "unasked": 1}', account_id="A", received_at=START + DAY),
        {"event": "$group", "account_id": "A", "properties": '{"size": 900}', "timestamp": START + 2 * DAY},
        {"event": "acted", "account_id": "A", "properties": '{"size": 1}'},
    ]
    survey, day = surveyed(rows), micros(START + DAY)
    then = micros(START + 2 * DAY)
    assert survey.facts("user_id", "size").rows() == [("u1", micros(START), day, "3")]
    assert survey.facts("user_id", "sector").rows() == [("u1", micros(START), day, '"retail"')]
    assert survey.facts("account_id", "size").rows() == [("A", then, then, "900")]
    assert len(survey.facts("account_id", "sector")) == 0
    assert (survey.knows("size"), survey.knows("sector"), survey.knows("unasked")) == (True, True, False)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[1]", '"size"', "null", '{"size": NaN}', "{'size': 1}", '{"other": 1}']
)
def test_properties_that_tell_no_fact_are_passed_over(text: str | None) -> None:
    survey = surveyed([identify(text)])
    assert not survey.knows("size")
    assert survey.facts("user_id", "size").columns == ["id", "since", "arrived", "value"]


@pytest.mark.parametrize("value", ["1e999", "-1e999", "[" * 3_000 + "]" * 3_000])
def test_a_fact_that_is_no_json_value_is_no_fact(value: str) -> None:
    survey = surveyed([identify(f'{{"size": {value}}}'), identify('{"size": 2}')])
    assert survey.facts("user_id", "size")["value"].to_list() == ["2"]


def test_a_group_event_without_an_account_tells_nothing() -> None:
    assert not surveyed([{"event": "$group", "properties": '{"size": 3}'}]).knows("size")


def test_a_fact_may_be_that_it_is_not_known_any_more() -> None:
    assert surveyed([identify('{"size": null}')]).facts("user_id", "size")["value"].to_list() == ["null"]


def test_where_no_trait_is_defined_no_facts_are_read() -> None:
    survey = surveyed([identify('{"size": 3}')], Wanted({}, frozenset()))
    assert not survey.knows("size")


# --- delays ----------------------------------------------------------------------------------


def test_events_are_counted_by_how_late_they_came() -> None:
    delays = [
        timedelta(0),
        timedelta(minutes=1),
        timedelta(minutes=1, microseconds=1),
        timedelta(hours=2),
        2 * DAY,
        8 * DAY,
    ]
    rows: list[Row] = [{"received_at": START + delay} for delay in delays]
    survey = surveyed([*rows, {}])
    assert (survey.events, survey.with_arrival) == (7, 6)
    assert survey.late == {"a minute": 4, "an hour": 3, "a day": 2, "a week": 1}
    assert [words for words, _ in DELAYS] == list(survey.late)


def test_where_nobody_noted_arrivals_nothing_was_late() -> None:
    survey = surveyed(on_days(1, 2))
    assert (survey.with_arrival, sum(survey.late.values())) == (0, 0)


# --- the end of the data ---------------------------------------------------------------------

MANY = [{"timestamp": START + k * timedelta(minutes=1)} for k in range(9_998)]
LAST = START + 9_997 * timedelta(minutes=1)
LAST_DAY = datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC)


def end_with(*moments: datetime, by: int = 4_000) -> Survey:
    return surveyed([*({"timestamp": moment} for moment in moments), *MANY], Wanted({}, frozenset()), by)


def test_nothing_happened_in_no_events() -> None:
    survey = Survey(Wanted({}, frozenset()))
    survey.add(batch([]))
    assert survey.end() is None
    assert survey.events == survey.after(0) == 0


@pytest.mark.parametrize("days", [(0,), (0, 1, 2), (5, 1, 3), (0, 400), (0, 1, 2, 400, 800)])
def test_the_data_ends_with_its_last_event(days: tuple[int, ...]) -> None:
    # Of so few events none is one in ten thousand.
    assert surveyed(on_days(*days)).end() == micros(START + max(days) * DAY)


def test_one_event_in_ten_thousand_far_after_all_others_is_a_broken_clock() -> None:
    assert (STRAY_DAYS, STRAY_SHARE) == (7, 1e-4)
    far = LAST + 400 * DAY
    survey = end_with(START, far)
    assert survey.events == 10_000
    assert survey.end() == micros(LAST)
    assert survey.after(micros(LAST)) == 1


def test_one_event_in_fewer_than_ten_thousand_is_history() -> None:
    far = LAST + 400 * DAY
    survey = end_with(far)
    assert survey.events == 9_999
    assert survey.end() == micros(far)


def test_two_events_in_ten_thousand_are_history() -> None:
    far = LAST + 400 * DAY
    assert end_with(far, far).end() == micros(far)


@pytest.mark.parametrize(("days", "stray"), [(7, False), (8, True)])
def test_a_tail_strays_from_more_than_seven_days_on(days: int, stray: bool) -> None:
    moment = LAST_DAY + days * DAY
    survey = end_with(START, moment)
    assert survey.end() == micros(LAST if stray else moment)
    assert survey.after(survey.end() or 0) == int(stray)


def test_a_tail_in_steps_of_less_than_a_week_hangs_together() -> None:
    rows = [*MANY, *MANY, *({"timestamp": LAST_DAY + days * DAY} for days in (6, 12))]
    assert surveyed(rows, Wanted({}, frozenset())).end() == micros(LAST_DAY + 12 * DAY)


def test_several_strays_each_on_its_own_are_all_left_out() -> None:
    rows = [*MANY, *MANY, *on_days(0, 0), *({"timestamp": LAST_DAY + days * DAY} for days in (50, 9_000))]
    survey = surveyed(rows, Wanted({}, frozenset()))
    assert survey.events == 20_000
    assert survey.end() == micros(LAST)
    assert survey.after(micros(LAST)) == 2


def test_a_stray_beginning_is_history() -> None:
    # Early events make no trial look mature.
    survey = end_with(START - 4_000 * DAY, START)
    assert survey.end() == micros(LAST)
    assert survey.events == 10_000


def test_events_are_surveyed_as_the_rules_leave_them() -> None:
    raw = pl.DataFrame({"user_id": ["u1", ""], "event": ["a", "a"], "timestamp": [START, START + 900 * DAY]})
    survey = Survey(wanted(PLAIN, None))
    survey.add(EventRules(PLAIN).clean(raw, Sieve("events")))
    assert survey.events == 1
    assert survey.end() == micros(START)

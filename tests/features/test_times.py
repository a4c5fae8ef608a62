"""One spelling rule for tables and requests; instants are exact to the microsecond in any zone."""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.errors import InvalidInput, InvalidSetting, NaiveTimestamp
from features.times import INSTANT, common_instants, instants, micros, moment_of, parse_instant, text_of, zone

VIENNA = "Europe/Vienna"
NINE = micros(datetime(2026, 3, 1, 9, tzinfo=UTC))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def in_table(texts: list[str | None], zone_name: str | None = None) -> list[int | None]:
    """What the table path reads, in microseconds."""
    frame = instants(pl.DataFrame({"timestamp": texts}, schema={"timestamp": pl.String}), "timestamp", zone_name)
    assert frame.schema["timestamp"] == INSTANT
    return frame["timestamp"].dt.epoch("us").to_list()


# --- microseconds ----------------------------------------------------------------------------


def test_the_epoch_is_zero() -> None:
    assert micros(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert moment_of(0) == datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)).filter(lambda moment: 2 < moment.year < 9998))
def test_microseconds_and_moments_are_inverse_to_each_other(moment: datetime) -> None:
    assert moment_of(micros(moment)) == moment.astimezone(UTC)


@given(st.integers(micros(datetime(2, 1, 1, tzinfo=UTC)), micros(datetime(9999, 1, 1, tzinfo=UTC))))
@example(-1)
@example(2**53 + 1)
def test_no_microsecond_is_lost_on_the_way_there_and_back(instant: int) -> None:
    assert micros(moment_of(instant)) == instant
    if moment_of(instant).year >= 1000:
        assert parse_instant(text_of(instant), "t") == instant


def test_text_of_an_instant_is_iso_8601_in_utc() -> None:
    assert text_of(NINE) == "2026-03-01T09:00:00Z"
    assert text_of(NINE + 1) == "2026-03-01T09:00:00.000001Z"


# --- spellings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [
        "2026-03-01T09:00:00Z",
        "2026-03-01T09:00:00z",
        "2026-03-01t09:00:00Z",
        "2026-03-01 09:00:00Z",
        "2026-03-01 09:00:00 Z",
        "2026-03-01T09:00Z",
        "2026-03-01 09:00+00:00",
        "2026-03-01T09:00:00+00:00",
        "2026-03-01T09:00:00+0000",
        "2026-03-01T09:00:00-00:00",
        "2026-03-01T09:00:00.0Z",
        "2026-03-01T09:00:00.000000000Z",
        "2026-03-01T10:00:00+01:00",
        "2026-03-01 10:00:00.000 +0100",
        "2026-02-28T23:30:00-09:30",
        "2026-03-01T14:45:00+05:45",
        "  2026-03-01T09:00:00Z\n",
    ],
)
def test_every_spelling_of_one_instant_is_that_instant_in_tables_and_requests(spelling: str) -> None:
    assert parse_instant(spelling, "t") == NINE
    assert in_table([spelling]) == [NINE]


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "Z",
        "yesterday",
        "1772355600",
        "2026-03-01T09:00:00 UTC",
        "2026-03-01T09:00:00Z[Europe/Vienna]",
        "2026-03-01T09:00:00+1:00",
        "2026-03-01T09:00:00+01",
        "2026-03-01T09:00:00+24:00",
        "2026-03-01T09:00:00+01:60",
        "2026-03-01T09Z",
        "2026-03-01T9:00:00Z",
        "2026-3-1T09:00:00Z",
        "20260301T090000Z",
        "2026-W09-7T09:00:00Z",
        "2026-060T09:00:00Z",
        "2026-02-29T09:00:00Z",
        "2026-13-01T09:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T09:60:00Z",
        "2026-06-30T23:59:60Z",
        "2026-03-01T09:00:00.Z",
        "2026-03-01T09:00:00,5Z",
        "2026-03-01  09:00:00Z",
        "-2026-03-01T09:00:00Z",
        "0000-01-01T00:00:00Z",
        "12026-03-01T09:00:00Z",
        "0026-03-01T09:00:00Z",
        "٢٠٢٦-03-01T09:00:00Z",
        "2026-03-01T09:00:00\u221201:00",
        "01.03.2026 09:00",
        "03/01/2026",
    ],
)
def test_what_is_no_time_is_refused_by_requests_and_null_in_tables(spelling: str) -> None:
    for zone_name in (None, VIENNA):
        with pytest.raises(
            InvalidInput, match=re.escape(f"as_of must be an ISO 8601 time, got {spelling!r}")
        ) as caught:
            parse_instant(spelling, "as_of", zone_name)
        assert not isinstance(caught.value, NaiveTimestamp)
        assert caught.value.field == "as_of"
        assert in_table([spelling], zone_name) == [None]


@pytest.mark.parametrize(
    "value", [None, 1772355600, 1772355600.0, True, ["2026-03-01T09:00:00Z"], datetime(2026, 3, 1)]
)
def test_a_request_must_send_times_as_texts(value: object) -> None:
    with pytest.raises(InvalidInput, match="must be an ISO 8601 time"):
        parse_instant(value, "timestamp", VIENNA)


@pytest.mark.parametrize("spelling", ["9999-12-31T23:59:59.999999Z", "9999-12-31", "1000-01-01T00:00:00Z"])
def test_the_far_ends_that_stand_for_always_and_never_are_times(spelling: str) -> None:
    assert [parse_instant(spelling, "ends_at", "UTC")] == in_table([spelling], "UTC")


@pytest.mark.parametrize("spelling", ["9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59"])
def test_a_time_after_the_last_that_can_be_written_is_refused(spelling: str) -> None:
    with pytest.raises(InvalidInput, match="must be an ISO 8601 time"):
        parse_instant(spelling, "as_of", "America/New_York")


def test_fractions_beyond_the_microsecond_are_cut_off() -> None:
    assert parse_instant("2026-03-01T09:00:00.1234569Z", "t") == NINE + 123_456
    assert in_table(["2026-03-01T09:00:00.1234569Z", "1969-12-31T23:59:59.999999999Z"]) == [NINE + 123_456, -1]


CLOCKS = st.sampled_from(
    ["", "T09:00", " 23:59:59", "T02:30:00", "T00:00:00.000001", " 12:00:00.123456789", "t01:30", "T24:00"]
)
ZONES = st.sampled_from(["", "", "Z", "z", "+01:00", " -0930", "+05:45", "+14:00", "-23:59", "+1"])
TEXTS = st.builds(
    "{}{}{}".format,
    st.dates(date(1950, 1, 1), date(2099, 1, 1)) | st.sampled_from(["2026-03-29", "2025-10-26"]),
    CLOCKS,
    ZONES,
)
NOISE = st.text("0123456789-:+TtZz. ", max_size=26)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(TEXTS | NOISE, min_size=1, max_size=5),
    st.sampled_from([None, VIENNA, "America/Sao_Paulo", "Asia/Kolkata"]),
)
def test_tables_read_the_same_texts_as_requests(texts: list[str], zone_name: str | None) -> None:
    expected: list[int | None] = []
    for text in texts:
        try:
            expected.append(parse_instant(text, "t", zone_name))
        except InvalidInput:
            expected.append(None)
    # With one zoned time in it a column is not naive as a whole.
    assert in_table([*texts, "2026-03-01T09:00:00Z"], zone_name) == [*expected, NINE]


# --- zones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["2026-03-01T09:00:00", "2026-03-01 09:00", "2026-03-01"])
def test_a_time_without_a_zone_is_refused_where_none_is_given(spelling: str) -> None:
    with pytest.raises(NaiveTimestamp, match=rf"^as_of must carry a time zone, got '{spelling}'\. .*timezone:"):
        parse_instant(spelling, "as_of")
    with pytest.raises(NaiveTimestamp, match=r"^timestamp must carry a time zone") as caught:
        in_table([None, spelling])
    assert caught.value.field == "timestamp"


def test_a_time_without_a_zone_is_read_in_the_one_that_is_given() -> None:
    assert parse_instant("2026-03-01T10:00:00", "t", VIENNA) == NINE
    assert in_table(["2026-03-01 10:00", "2026-03-01T09:00:00Z"], VIENNA) == [NINE, NINE]


def test_a_date_is_midnight_in_the_zone_that_is_given() -> None:
    midnight = micros(datetime(2026, 2, 28, 23, tzinfo=UTC))
    assert parse_instant("2026-03-01", "t", VIENNA) == midnight
    assert in_table(["2026-03-01"], VIENNA) == [midnight]


def test_a_zone_in_the_text_beats_the_one_that_is_given() -> None:
    assert parse_instant("2026-03-01T09:00:00Z", "t", "Asia/Tokyo") == NINE


def test_naive_texts_among_zoned_ones_are_null_where_no_zone_is_given() -> None:
    assert in_table(["2026-03-01T09:00:00Z", "2026-03-01T09:00:00"]) == [NINE, None]


def test_an_hour_that_a_clock_change_skips_does_not_exist() -> None:
    with pytest.raises(InvalidInput, match="as_of: a clock change skips '2026-03-29T02:30:00' in Europe/Vienna"):
        parse_instant("2026-03-29T02:30:00", "as_of", VIENNA)
    assert in_table(["2026-03-29T02:30:00"], VIENNA) == [None]


def test_an_hour_that_a_clock_change_repeats_is_the_earlier_of_the_two() -> None:
    earlier = micros(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    assert parse_instant("2026-10-25T02:30:00", "t", VIENNA) == earlier
    assert in_table(["2026-10-25T02:30:00"], VIENNA) == [earlier]


def test_the_hours_around_a_clock_change_are_one_apart() -> None:
    before, after = (parse_instant(f"2026-03-29T0{hour}:59:59.999999", "t", VIENNA) for hour in (1, 3))
    assert after - before == 3_600_000_000


@pytest.mark.parametrize("name", ["Mars/Base", "", "../../etc/passwd", "\x00"])
def test_an_unknown_zone_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(InvalidSetting, match="timezone must be an IANA zone"):
        zone(name)


def test_a_known_zone_is_found() -> None:
    assert zone(VIENNA) == ZoneInfo(VIENNA)


# --- columns of a table ----------------------------------------------------------------------


@given(MOMENTS, st.sampled_from([UTC, ZoneInfo(VIENNA), timezone(timedelta(hours=-9, minutes=-30))]))
def test_a_column_of_aware_times_keeps_its_instants(moment: datetime, wanted: tzinfo) -> None:
    local = pl.Series("t", [moment]).dt.convert_time_zone(
        str(wanted) if isinstance(wanted, ZoneInfo) else "Asia/Kolkata"
    )
    read = instants(local.to_frame(), "t", None)
    assert read.schema["t"] == INSTANT
    assert read["t"].dt.epoch("us").to_list() == [micros(moment)]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_columns_of_any_unit_become_microseconds(unit: str) -> None:
    frame = pl.DataFrame({"t": [moment_of(NINE)]}, schema={"t": pl.Datetime(unit, "UTC")})  # type: ignore[arg-type]
    read = instants(frame, "t", None)
    assert read.schema["t"] == INSTANT
    assert read["t"].to_list() == [moment_of(NINE)]


def test_a_column_of_naive_times_needs_a_zone() -> None:
    frame = pl.DataFrame({"t": [None, datetime(2026, 3, 1, 10), datetime(2026, 3, 29, 2, 30)]})
    with pytest.raises(NaiveTimestamp, match="t must carry a time zone, got '2026-03-01 10:00:00'"):
        instants(frame, "t", None)
    assert instants(frame, "t", VIENNA)["t"].to_list() == [None, moment_of(NINE), None]


def test_a_column_of_dates_needs_a_zone_too() -> None:
    frame = pl.DataFrame({"t": [date(2026, 3, 1)]})
    with pytest.raises(NaiveTimestamp):
        instants(frame, "t", None)
    assert instants(frame, "t", VIENNA)["t"].to_list() == [moment_of(NINE - 10 * 3_600_000_000)]


@pytest.mark.parametrize("dtype", [pl.Null, pl.String, pl.Datetime("us"), INSTANT])
@pytest.mark.parametrize("length", [0, 2])
def test_a_column_without_any_time_needs_no_zone(dtype: pl.DataType, length: int) -> None:
    read = instants(pl.DataFrame({"t": [None] * length}, schema={"t": dtype}), "t", None)
    assert read.schema["t"] == INSTANT
    assert read["t"].to_list() == [None] * length


@pytest.mark.parametrize("values", [[1772355600], [1772355600.5], [True], [["2026-03-01"]]])
def test_a_column_of_anything_else_is_refused_because_nobody_knows_its_unit(values: list[object]) -> None:
    with pytest.raises(InvalidInput, match=r"timestamp must be times, got .*ISO 8601") as caught:
        instants(pl.DataFrame({"timestamp": values}), "timestamp", None)
    assert caught.value.field == "timestamp"


def test_other_columns_stay_as_they_are() -> None:
    frame = pl.DataFrame({"a": [1], "t": ["2026-03-01T09:00:00Z"], "b": ["x"]})
    read = instants(frame, "t", None)
    assert read.columns == frame.columns
    assert read.select("a", "b").equals(frame.select("a", "b"))


# --- the spellings of programs, read at once --------------------------------------------------

MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 59), timezones=st.just(UTC))
SPELLINGS = {
    "plain": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}",
    "milliseconds": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z",
    "python": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}+00:00",
    "microseconds": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z",
    "python, with microseconds": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S.%f}+00:00",
}


def slowly(text: str) -> int | None:
    """Return what the way of all spellings makes of a text; the space keeps it out of the short one."""
    try:
        return parse_instant(f" {text}", "t")
    except InvalidInput:
        return None


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(st.data())
def test_times_read_at_once_are_those_read_one_by_one(spelling: str, data: st.DataObject) -> None:
    texts = [SPELLINGS[spelling](moment) for moment in data.draw(st.lists(MOMENTS, max_size=5))]
    expected = list(map(slowly, texts))
    assert common_instants(texts) == expected
    assert [parse_instant(text, "t") for text in texts] == expected


@given(st.lists(st.tuples(st.sampled_from(sorted(SPELLINGS)), MOMENTS), max_size=8))
def test_times_in_several_spellings_are_read_at_once_too(told: list[tuple[str, datetime]]) -> None:
    texts = [SPELLINGS[spelling](moment) for spelling, moment in told]
    assert common_instants(texts) == list(map(slowly, texts))


@given(
    st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3}|\.[0-9]{6})?(Z|\+00:00)", fullmatch=True
    )
)
@example("2026-02-29T00:00:00Z")
@example("2028-02-29T00:00:00Z")
@example("2026-01-01T24:00:00Z")
@example("0999-01-01T00:00:00Z")
@example("2026-00-01T00:00:00Z")
@example("9999-12-31T23:59:59.999Z")
@example("2026-W01-1T08:16:00Z")
def test_nearly_right_texts_are_times_by_the_short_way_exactly_where_they_are_by_the_long(text: str) -> None:
    expected = slowly(text)
    try:
        found: int | None = parse_instant(text, "t")
    except InvalidInput:
        found = None
    assert found == expected
    assert common_instants([text]) in (None, [expected])


@pytest.mark.parametrize(
    "texts",
    [
        ["2026-01-01T00:00:00", "Z2026-01-01T00:00:00Z"],
        ["2026-01-01T00:00:00Z", "2026-01-01T00:00:0\N{ARABIC-INDIC DIGIT ONE}Z"],
        ["2026-01-01T00:00:00Z", "2026-02-30T00:00:00Z"],
        ["2026-01-01T00:00:00Z\n"],
        ["2026-01-01T00:00:00"],
        ["2026-01-01T00:00:00z"],
        ["NaT"], [""], ["", ""],
    ],
)  # fmt: skip
def test_texts_of_other_spellings_are_left_to_be_read_one_by_one(texts: list[str]) -> None:
    assert common_instants(texts) is None

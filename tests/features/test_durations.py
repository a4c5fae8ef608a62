"""Spans are written in whole days and hours and kept in microseconds."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.durations import DAY, HOUR, LONGEST, parse_span, span_text, span_words


def test_spans_are_counted_in_microseconds() -> None:
    assert timedelta(microseconds=parse_span("3d")) == timedelta(days=3)
    assert timedelta(microseconds=parse_span("5h")) == timedelta(hours=5)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("14d", 14 * DAY),
        ("12h", 12 * HOUR),
        (" 7 d ", 7 * DAY),
        ("0d", 0),
        ("007d", 7 * DAY),
        ("3650d", LONGEST),
        ("87600h", LONGEST),
    ],
)
def test_days_and_hours_are_spans(text: str, micros: int) -> None:
    assert parse_span(text) == micros


@pytest.mark.parametrize(
    "text", ["", "d", "14", "1.5d", "-1d", "+1d", "1w", "14 days", "1d12h", "14D", None, 14, True, ["14d"]]
)
def test_anything_else_is_no_span(text: object) -> None:
    with pytest.raises(ValueError, match="must be a whole number of days or hours such as '14d' or '12h'"):
        parse_span(text)


@pytest.mark.parametrize("text", ["3651d", "87601h", "999999999999d"])
def test_a_span_of_more_than_ten_years_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be at most 3650d"):
        parse_span(text)


@given(st.integers(0, 3650 * 24))
def test_a_span_of_whole_hours_survives_being_written_and_read(hours: int) -> None:
    assert parse_span(span_text(hours * HOUR)) == hours * HOUR


@pytest.mark.parametrize(
    ("micros", "text", "words"),
    [
        (DAY, "1d", "1 day"),
        (7 * DAY, "7d", "7 days"),
        (HOUR, "1h", "1 hour"),
        (36 * HOUR, "36h", "36 hours"),
        (48 * HOUR, "2d", "2 days"),
    ],
)
def test_a_span_is_written_in_days_where_it_is_whole_days(micros: int, text: str, words: str) -> None:
    assert (span_text(micros), span_words(micros)) == (text, words)

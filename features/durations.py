"""Spans of time as people write them (`14d`, `12h`), in microseconds, the one unit in which this project compares times."""

from __future__ import annotations

import re

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
LONGEST = 3_650 * DAY

_UNITS = {"d": DAY, "h": HOUR}
_SPAN = re.compile(r"(\d+)\s*([dh])")


def parse_span(text: object) -> int:
    """Return the span in microseconds; `14d` and `12h` are spans, at most ten years.

    Raises
    ------
    ValueError
        For anything else.

    >>> parse_span("2d") == 48 * HOUR
    True
    """
    match = _SPAN.fullmatch(str(text).strip())
    if match is None:
        raise ValueError("must be a whole number of days or hours such as '14d' or '12h'")
    micros = int(match[1]) * _UNITS[match[2]]
    if micros > LONGEST:
        raise ValueError("must be at most 3650d")
    return micros


def span_text(micros: int) -> str:
    """Return the shortest way to write a span of whole hours: `7d`, `36h`."""
    return f"{micros // DAY}d" if micros % DAY == 0 else f"{micros // HOUR}h"


def span_words(micros: int) -> str:
    """Return a span of whole hours in words: `7 days`, `1 day`, `36 hours`."""
    number, unit = (micros // DAY, "day") if micros % DAY == 0 else (micros // HOUR, "hour")
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"

"""Times of any spelling -> UTC instants in microseconds; a time without a zone is refused unless a zone is given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl

from features.errors import InvalidInput, InvalidSetting, NaiveTimestamp

INSTANT = pl.Datetime("us", "UTC")
EARLIEST = 631_152_000_000_000
"""1990 in microseconds since 1970 UTC: before it, a time is a broken clock or a wrong unit, not history of a SaaS product."""

_MICRO = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The spellings that tables and requests both understand; each library alone takes some that the other does not.
_DATE = r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
_ZONE = r" ?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])"
_ISO = f"^{_DATE}(?:[Tt ]{_CLOCK}(?:{_ZONE})?)?$"
_ZONED = f":.*{_ZONE}$"
_NO_SECONDS = f"^(.{{16}})((?:{_ZONE})?)$"
# What programs write: no fraction of a second or three or six digits of it, and UTC in one of two ways; with how much to cut off.
_PLAIN = rf"{_DATE}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_COMMON = {
    19 + (digits and digits + 1) + len(utc): (_PLAIN + rf"\.[0-9]{{{digits}}}" * (digits > 0) + re.escape(utc), len(utc))
    for digits in (0, 3, 6) for utc in ("Z", "+00:00")
}  # fmt: skip
_ALL_COMMON = {width: (re.compile(f"(?:{one})+").fullmatch, cut) for width, (one, cut) in _COMMON.items()}
_ONE_COMMON = re.compile(rf"{_PLAIN}(?:\.[0-9]{{3}}(?:[0-9]{{3}})?)?(?:Z|\+00:00)").fullmatch


def zone(name: str) -> tzinfo:
    """Return the zone of an IANA name such as `Europe/Vienna`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidSetting.at("timezone", "must be an IANA zone such as 'Europe/Vienna'", name) from None


def instants(frame: pl.DataFrame, column: str, timezone: str | None) -> pl.DataFrame:
    """Return the frame with a column of times as UTC instants, null where a text is no time.

    Raises
    ------
    NaiveTimestamp
        Where the times carry no zone and none is given.
    InvalidInput
        For columns that hold no times at all, such as numbers whose unit nobody can know.
    """
    dtype = frame.schema[column]
    if dtype == pl.String:
        return frame.with_columns(_from_text(frame[column], column, timezone))
    if dtype == pl.Date:
        dtype = pl.Datetime("us")
        frame = frame.with_columns(pl.col(column).cast(dtype))
    if dtype == pl.Null:
        return frame.with_columns(pl.col(column).cast(INSTANT))
    if not isinstance(dtype, pl.Datetime):
        raise InvalidInput(
            f"{column} must be times, got {dtype}.", column, "Write ISO 8601 texts such as 2026-03-01T09:00:00Z."
        )
    if dtype.time_zone is None:
        return frame.with_columns(_localised(frame[column], column, timezone))
    return frame.with_columns(pl.col(column).dt.convert_time_zone("UTC").dt.cast_time_unit("us"))


def _localised(times: pl.Series, column: str, timezone: str | None) -> pl.Series:
    if timezone is None and times.null_count() < len(times):
        raise NaiveTimestamp.of(column, times.drop_nulls()[0])
    zone(timezone or "UTC")
    # A local time that a clock change skips does not exist, one that it repeats is taken as the earlier of the two.
    local = times.dt.replace_time_zone(timezone or "UTC", ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _from_text(texts: pl.Series, column: str, timezone: str | None) -> pl.Series:
    plain = texts.str.strip_chars()
    plain = plain.zip_with(plain.str.contains(_ISO), pl.Series([None], dtype=pl.String))
    plain = plain.str.replace("^(.{10})[t ]", "${1}T").str.replace(" ", "", literal=True)
    plain = plain.str.replace(_NO_SECONDS, "${1}:00${2}")
    zoned = plain.str.contains(_ZONED)
    aware = plain.zip_with(zoned, pl.Series([None], dtype=pl.String)).str.to_datetime(
        "%+", time_unit="us", time_zone="UTC", strict=False
    )
    naive = plain.zip_with(~zoned.fill_null(value=False), pl.Series([None], dtype=pl.String))
    local = naive.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    local = local.zip_with(local.is_not_null(), naive.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False))
    if local.null_count() == len(local):
        return aware.alias(column)
    if timezone is None and aware.null_count() == len(aware):
        raise NaiveTimestamp.of(column, naive.filter(local.is_not_null())[0])
    if timezone is None:
        return aware.alias(column)
    return aware.zip_with(aware.is_not_null(), _localised(local, column, timezone)).alias(column)


def parse_instant(text: object, field: str, timezone: str | None = None) -> int:
    """Return one ISO 8601 time as microseconds since 1970 UTC.

    Raises
    ------
    NaiveTimestamp, InvalidInput

    >>> parse_instant("1970-01-01T01:00:00+01:00", "timestamp")
    0
    """
    common = _common_instant(text) if isinstance(text, str) else None
    return _any_instant(text, field, timezone) if common is None else common


def _common_instant(text: str) -> int | None:
    """Return a UTC time as most programs write it, None for any other text; `_any_instant` says the same of it, but slower."""
    if _ONE_COMMON(text) is None:
        return None
    try:
        return micros(datetime.fromisoformat(text))
    except ValueError:
        return None


def common_instants(texts: Sequence[str]) -> list[int] | None:
    """Return UTC times in microseconds since 1970 where all of them have common spellings, None for any others.

    Says the same as `parse_instant` of each, at a small part of the cost.

    >>> common_instants(["1970-01-01T00:00:01Z", "1970-01-01T00:00:02.500Z"]), common_instants(["1970-01-01"])
    ([1000000, 2500000], None)
    """
    widths = list(map(len, texts))
    found = [0] * len(texts)
    for width in set(widths):
        places = [place for place, one in enumerate(widths) if one == width]
        times = _of_one_width([texts[place] for place in places], width)
        if times is None:
            return None
        for place, time in zip(places, times, strict=True):
            found[place] = time
    return found


def _of_one_width(texts: Sequence[str], width: int) -> list[int] | None:
    """Return the same for texts of one length."""
    joined = "".join(texts)
    matches, cut = _ALL_COMMON.get(width, (None, 0))
    if matches is None or matches(joined) is None:
        return None
    plain = np.frombuffer(joined.encode(), f"S{width}").astype(f"S{width - cut}")
    try:
        found: list[int] = plain.astype("datetime64[us]").astype(np.int64).tolist()
    except ValueError:
        return None
    return found


def _any_instant(text: object, field: str, timezone: str | None) -> int:
    moment = _read(text)
    if moment is not None and moment.tzinfo is None:
        if timezone is None:
            raise NaiveTimestamp.of(field, text)
        moment = moment.replace(tzinfo=zone(timezone))
    try:
        there = None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        there = None
    if there is None or moment is None:
        raise InvalidInput(
            f"{field} must be an ISO 8601 time, got {str(text)[:100]!r}.", field, "Write it like 2026-03-01T09:00:00Z."
        )
    if there.astimezone(moment.tzinfo).replace(tzinfo=None) != moment.replace(tzinfo=None):
        raise InvalidInput(
            f"{field}: a clock change skips {str(text)[:100]!r} in {timezone}.", field, "Write it with its zone."
        )
    return micros(there)


def _read(text: object) -> datetime | None:
    plain = text.strip().upper() if isinstance(text, str) else ""
    if not re.search(_ISO, plain):
        return None
    try:
        return datetime.fromisoformat(plain[:11] + plain[11:].replace(" ", ""))
    except ValueError:
        return None


def micros(moment: datetime) -> int:
    """Return an aware time as microseconds since 1970 UTC, exactly."""
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * _MICRO + span.microseconds


def moment_of(instant: int) -> datetime:
    """Return microseconds since 1970 UTC as an aware time; the inverse of `micros`."""
    seconds, rest = divmod(instant, _MICRO)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def text_of(instant: int) -> str:
    """Return microseconds since 1970 UTC as ISO 8601 text, e.g. `2026-03-01T09:00:00Z`."""
    return moment_of(instant).isoformat().replace("+00:00", "Z")

"""Mixpanel's raw export becomes events of their users, in UTC whatever zone the project keeps its time in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.errors import InvalidSetting
from features.rejections import Sieve
from features.sources import mixpanel
from features.sources.files import Bytes, Text
from features.sources.identity import NEVER_IDENTIFIED
from features.sources.locations import open_source

# 2026-03-01T12:00:00Z
NOON = 1_772_366_400
PROPERTIES: dict[str, Any] = {
    "time": NOON,
    "distinct_id": "user-1",
    "$browser": "Chrome",
    "$city": "Berlin",
    "$device_id": "18f2-dev",
    "$insert_id": "hpuDqcvpltpCjBsebtxwadtEBDnFAdycabFb",
    "$user_id": "user-1",
    "mp_country_code": "DE",
    "mp_lib": "web",
    "mp_processing_time_ms": NOON * 1000 + 1_500,
    "plan": "pro",
}


ABSENT: Any = ...


def line(event: str | None = "Report Created", **changes: Any) -> dict[str, Any]:
    properties = {name: value for name, value in {**PROPERTIES, **changes}.items() if value is not ...}
    return {"event": event, "properties": properties}


def at(minute: int) -> dict[str, Any]:
    then = NOON + 60 * minute
    return {"time": then, "mp_processing_time_ms": then * 1000 + 1_000, "$insert_id": f"m{minute}"}


def moment(minute: int, second: int = 0) -> datetime:
    return datetime(2026, 3, 1, 12, minute, second, tzinfo=UTC)


def read(tmp_path: Path, *lines: dict[str, Any] | str) -> tuple[pl.DataFrame, Sieve]:
    path = tmp_path / "export.jsonl"
    path.write_text("\n".join(given if isinstance(given, str) else json.dumps(given) for given in lines), "utf-8")
    sieve = Sieve("events")
    return open_source(str(path)).table(sieve), sieve


def texts(*lines: dict[str, Any]) -> list[Text]:
    @contextmanager
    def opened() -> Iterator[Bytes]:
        yield BytesIO(b"\n".join(json.dumps(given).encode() for given in lines))

    return [Text("export.jsonl", opened)]


def test_an_exported_event_is_an_event_with_all_its_properties(tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, line())
    assert frame.to_dicts() == [
        {
            "user_id": "user-1",
            "account_id": None,
            "event": "Report Created",
            "timestamp": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "received_at": datetime(2026, 3, 1, 12, 0, 1, 500_000, tzinfo=UTC),
            "message_id": "hpuDqcvpltpCjBsebtxwadtEBDnFAdycabFb",
            "properties": json.dumps(PROPERTIES),
        }
    ]
    assert sieve.total == 0


@pytest.mark.parametrize(
    ("time", "happened"),
    [
        (NOON, moment(0)),
        (NOON * 1000, moment(0)),
        (NOON * 1000 + 250, moment(0).replace(microsecond=250_000)),
        (NOON + 0.5, moment(0).replace(microsecond=500_000)),
        ("2026-03-01", None),
        (None, None),
        (..., None),
        (True, None),
        (-1, None),
        (1e300, None),
    ],
)
def test_time_is_seconds_or_milliseconds(time: Any, happened: datetime | None, tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, line(time=0), line(time=time))
    assert frame["timestamp"].to_list()[1] == happened
    assert sieve.total == 0


# --- who is who ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "anonymous",
    [
        {"$user_id": ABSENT, "distinct_id": "$device:18f2-dev"},
        {"$user_id": ABSENT, "distinct_id": "18f2-dev"},
        # The export shows the id after merging; that it was not known then is in the other property.
        {"$user_id": ABSENT, "distinct_id": "user-1", "$distinct_id_before_identity": "$device:18f2-dev"},
    ],
)
def test_what_a_device_did_is_the_users_from_the_identification_on(anonymous: dict[str, Any], tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, line(**anonymous, **at(1)), line(**at(5)))
    assert frame.select("user_id", "received_at").rows() == [("user-1", moment(5, 1)), ("user-1", moment(5, 1))]
    assert sieve.total == 0


def test_a_device_that_was_never_identified_is_left_out_and_counted(tmp_path: Path) -> None:
    anonymous = {"$user_id": ABSENT, "distinct_id": "$device:other", "$device_id": "other"}
    frame, sieve = read(tmp_path, line(**anonymous), line())
    assert len(frame) == 1
    assert [(rejection.reason, rejection.count) for rejection in sieve] == [(NEVER_IDENTIFIED, 1)]


def test_a_server_that_sends_the_users_id_alone_is_believed(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, line(**{"$user_id": ABSENT, "$device_id": ABSENT, "distinct_id": "user-9"}))
    assert frame["user_id"].to_list() == ["user-9"]


def test_in_older_projects_identify_and_alias_link_ids_and_are_no_events(tmp_path: Path) -> None:
    older = {"$user_id": ABSENT, "$device_id": ABSENT}
    identify = {**older, "distinct_id": "user-1", "$identified_id": "user-1", "$anon_id": "anon-1"}
    alias = {**older, "distinct_id": "anon-2", "alias": "user-2"}
    frame, _ = read(
        tmp_path,
        line(**{**older, "distinct_id": "anon-1"}, **at(1)),
        line(**{**older, "distinct_id": "anon-2"}, **at(2)),
        line("$identify", **identify, **at(5)),
        line("$create_alias", **alias, **at(6)),
        line("$merge", **older, **{"$distinct_ids": ["a", "b"]}),
    )
    assert frame.select("user_id", "message_id", "received_at").rows() == [
        ("user-1", "m1", moment(5, 1)),
        ("user-2", "m2", moment(6, 1)),
    ]


# --- the project's zone ----------------------------------------------------------------------


def in_zone(hours: float, count: int = 50, late: float = 0) -> list[dict[str, Any]]:
    """Events of a project whose `time` runs `hours` ahead of UTC and that are processed `late` hours later."""
    return [
        line(
            time=int(NOON + 60 * number + 3600 * hours),
            mp_processing_time_ms=int((NOON + 60 * number + 3600 * late) * 1000) + 900,
            **{"$insert_id": str(number)},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("hours", [-8, -3.5, 1, 5.5, 13])
def test_a_project_that_keeps_its_own_time_gives_times_without_a_zone(hours: float, tmp_path: Path) -> None:
    frame, _ = read(tmp_path, *in_zone(hours))
    assert frame.schema["timestamp"] == pl.Datetime("us")
    assert frame.schema["received_at"] == pl.Datetime("us", "UTC")
    first = frame["timestamp"].dt.replace_time_zone("UTC")[0]
    assert first.timestamp() == NOON + 3600 * hours


@pytest.mark.parametrize(
    "lines",
    [
        in_zone(0),
        in_zone(0, 50) + in_zone(0, 45, late=3),
        in_zone(0, 50) + in_zone(0, 200, late=24 * 30),
        in_zone(0, 50) + in_zone(2, 4),
        [line(mp_processing_time_ms=ABSENT)],
        [line(time=ABSENT)],
    ],
    ids=["at once", "some hours late", "imported later", "some clocks fast", "no processing time", "no time"],
)
def test_a_project_in_utc_is_recognised(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    frame, _ = read(tmp_path, *lines)
    assert frame.schema["timestamp"] == pl.Datetime("us", "UTC")


def test_a_zone_with_summer_time_that_is_utc_in_winter_is_not_taken_for_utc(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, *in_zone(0, 60), *in_zone(1, 40))
    assert frame.schema["timestamp"] == pl.Datetime("us")


def test_a_zone_that_is_named_is_used() -> None:
    frame = mixpanel.source("export", texts(*in_zone(1, 1)), timezone="Europe/Vienna").table(Sieve("events"))
    assert frame["timestamp"].to_list() == [moment(0)]
    frame = mixpanel.source("export", texts(*in_zone(1, 1)), timezone="UTC").table(Sieve("events"))
    assert frame["timestamp"].to_list() == [datetime(2026, 3, 1, 13, tzinfo=UTC)]


def test_a_zone_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidSetting, match="IANA zone"):
        mixpanel.source("export", texts(line()), timezone="Mars/Olympus")


# --- broken lines ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"event":"a"}', "the record has no field 'properties'"),
        ('{"event":"a","properties":null}', "the record's field 'properties' holds what this format does not know"),
        ('{"event":"a","properties":[1]}', "the record's field 'properties' holds what this format does not know"),
        (
            '{"event":"a","properties":{"time":1,"distinct_id":{}}}',
            "the record's field 'properties.distinct_id' holds what this format does not know",
        ),
        ('{"error":"rate limit exceeded"}', "the record has no field 'event'"),
    ],
)
def test_a_line_that_is_no_event_is_refused(broken: str, reason: str, tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, line(), broken, line())
    assert len(frame) == 2
    assert [(rejection.reason, rejection.count) for rejection in sieve] == [(reason, 1)]


def test_rows_that_a_later_stage_must_judge_are_passed_on(tmp_path: Path) -> None:
    blank = line(None, **{"$user_id": ABSENT, "$device_id": ABSENT, "distinct_id": ""})
    frame, sieve = read(tmp_path, line(), blank)
    assert frame.select("user_id", "event").rows() == [("user-1", "Report Created"), ("", None)]
    assert sieve.total == 0

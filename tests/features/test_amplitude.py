"""Events of Amplitude's export become events of their users, and what is new about a user becomes one too."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.rejections import Sieve
from features.sources.identity import NEVER_IDENTIFIED
from features.sources.locations import open_source

# One line of an export, with the fields that Amplitude documents.
EVENT: dict[str, Any] = {
    "$insert_id": "0ff4ea3b",
    "$insert_key": None,
    "$schema": None,
    "adid": None,
    "amplitude_attribution_ids": None,
    "amplitude_event_type": None,
    "amplitude_id": 153435910012,
    "app": 123456,
    "city": "San Francisco",
    "client_event_time": "2026-03-01 12:00:00.000000",
    "client_upload_time": "2026-03-01 12:00:02.000000",
    "country": "United States",
    "data": {"path": "/2/httpapi", "group_ids": {}},
    "device_id": "C8F9E604-F01A-4BD9-95C6-8E5357DF265D",
    "event_id": 1,
    "event_properties": {"pages": 3},
    "event_time": "2026-03-01 12:00:00.500000",
    "event_type": "Report Created",
    "group_properties": {},
    "groups": {},
    "library": "amplitude-js/8.21.0",
    "platform": "Web",
    "processed_time": "2026-03-01 12:00:03.000000",
    "server_received_time": "2026-03-01 12:00:02.500000",
    "server_upload_time": "2026-03-01 12:00:02.700000",
    "session_id": 1772366400000,
    "user_creation_time": None,
    "user_id": "user-1",
    "user_properties": {},
    "uuid": "1f3a0b7c-0000-11ee-9c5d-0242ac120002",
    "version_name": None,
}


def event(**changes: Any) -> dict[str, Any]:
    return {**EVENT, **changes}


def at(minute: int) -> dict[str, str]:
    return {
        "event_time": f"2026-03-01 12:{minute:02}:00.000000",
        "server_received_time": f"2026-03-01 12:{minute:02}:01.000000",
        "$insert_id": f"m{minute}",
    }


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(given).encode() + b"\n" for given in events)


def read(tmp_path: Path, *events: dict[str, Any]) -> tuple[pl.DataFrame, Sieve]:
    path = tmp_path / "123456_2026-03-01_12#0.json"
    path.write_bytes(lines(*events))
    sieve = Sieve("events")
    return open_source(str(path)).table(sieve), sieve


def test_an_exported_event_is_an_event_with_its_times_in_utc(tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, EVENT)
    assert frame.to_dicts() == [
        {
            "user_id": "user-1",
            "account_id": None,
            "event": "Report Created",
            "timestamp": "2026-03-01T12:00:00.500000Z",
            "received_at": "2026-03-01T12:00:02.500000Z",
            "message_id": "0ff4ea3b",
            "properties": '{"pages": 3}',
        }
    ]
    assert sieve.total == 0


def test_an_export_is_a_zip_of_gzipped_files_in_the_order_of_the_hours(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for hour in (10, 9):
            content = gzip.compress(lines(event(**at(hour))))
            archive.writestr(f"123456/123456_2026-03-01_{hour}#0.json.gz", content)
    assert open_source(str(path)).table(Sieve("events"))["message_id"].to_list() == ["m9", "m10"]


@pytest.mark.parametrize(
    ("groups", "account"),
    [
        ({"org": ["acme", "other"], "team": ["t"]}, "acme"),
        ({"org": "acme"}, "acme"),
        ({"org": [15]}, "15"),
        ({"org": []}, None),
        ({"org": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_account_is_the_first_id_of_the_first_kind_of_group(
    groups: Any, account: str | None, tmp_path: Path
) -> None:
    frame, _ = read(tmp_path, event(groups=groups))
    assert frame["account_id"].to_list() == [account]


def test_what_is_new_about_a_user_is_an_event_before_the_one_that_shows_it(tmp_path: Path) -> None:
    free, pro = {"user_properties": {"plan": "free"}}, {"user_properties": {"plan": "pro"}}
    frame, _ = read(tmp_path, event(**free, **at(1)), event(**free, **at(2)), event(**pro, **at(3)), event(**at(4)))
    assert frame.select("event", "message_id", "properties").rows() == [
        ("$identify", "m1 $identify", '{"plan": "free"}'),
        ("Report Created", "m1", '{"pages": 3}'),
        ("Report Created", "m2", '{"pages": 3}'),
        ("$identify", "m3 $identify", '{"plan": "pro"}'),
        ("Report Created", "m3", '{"pages": 3}'),
        ("Report Created", "m4", '{"pages": 3}'),
    ]
    assert frame["timestamp"].to_list()[3] == "2026-03-01T12:03:00.000000Z"


def test_each_user_has_a_history_of_their_own(tmp_path: Path) -> None:
    pro = {"user_properties": {"plan": "pro"}}
    frame, _ = read(tmp_path, event(user_id="a", **pro, **at(1)), event(user_id="b", **pro, **at(2)))
    assert frame.filter(pl.col("event") == "$identify")["user_id"].to_list() == ["a", "b"]


def test_traits_that_are_read_late_but_were_there_earlier_are_kept(tmp_path: Path) -> None:
    pro = {"user_properties": {"plan": "pro"}}
    frame, _ = read(tmp_path, event(**pro, **at(2)), event(**pro, **at(1)))
    assert frame.filter(pl.col("event") == "$identify")["message_id"].to_list() == ["m2 $identify", "m1 $identify"]


def test_the_vendors_own_identify_events_carry_the_traits(tmp_path: Path) -> None:
    identify = event(event_type="$identify", user_properties={"plan": "pro"}, event_properties={})
    group = event(
        event_type="$groupidentify", groups={"org": ["acme"]}, group_properties={"org": {"acme": {"seats": 5}}}
    )
    frame, _ = read(tmp_path, identify, group)
    assert frame.select("event", "account_id", "properties").rows() == [
        ("$identify", None, '{"plan": "pro"}'),
        ("$group", "acme", '{"seats": 5}'),
    ]


@pytest.mark.parametrize("said", [None, {}, {"org": None}, {"org": {"other": {}}}, {"org": {"acme": []}}, [1]])
def test_group_properties_of_another_shape_are_passed_on(said: Any, tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, event(event_type="$groupidentify", groups={"org": ["acme"]}, group_properties=said))
    assert frame["event"].to_list() == ["$group"]
    assert sieve.total == 0


@pytest.mark.parametrize("shared", [{"amplitude_id": 1, "device_id": "x"}, {"amplitude_id": 2, "device_id": "d"}])
def test_events_without_a_user_are_joined_by_amplitudes_id_or_the_device(
    shared: dict[str, Any], tmp_path: Path
) -> None:
    anonymous = event(user_id=None, **shared, **at(1))
    known = event(user_id="user-1", amplitude_id=1, device_id="d", **at(5))
    frame, sieve = read(tmp_path, anonymous, known)
    assert frame.select("user_id", "received_at").rows() == [
        ("user-1", "2026-03-01T12:05:01.000000Z"),
        ("user-1", "2026-03-01T12:05:01.000000Z"),
    ]
    assert sieve.total == 0


def test_a_device_and_a_person_with_the_same_number_are_not_one(tmp_path: Path) -> None:
    frame, sieve = read(
        tmp_path,
        event(user_id=None, amplitude_id=7, device_id="x", user_properties={"plan": "free"}),
        event(amplitude_id=1, device_id="7"),
    )
    assert frame["user_id"].to_list() == ["user-1"]
    assert [(rejection.reason, rejection.count) for rejection in sieve] == [(NEVER_IDENTIFIED, 1)]


def test_an_event_without_an_insert_id_has_amplitudes(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, event(**{"$insert_id": None}))
    assert frame["message_id"].to_list() == [EVENT["uuid"]]


def test_without_the_time_of_receipt_the_time_of_upload_counts(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, event(server_received_time=None))
    assert frame["received_at"].to_list() == ["2026-03-01T12:00:02.700000Z"]


def test_rows_that_a_later_stage_must_judge_are_passed_on(tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, event(event_type=None), event(event_time="soon"), event(user_id=""))
    assert frame["event"].to_list() == [None, "Report Created", "Report Created"]
    assert frame["timestamp"].to_list()[1] == "soon"
    assert sieve.total == 0

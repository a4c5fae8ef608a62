"""PostHog's batch export, JSON lines or Parquet, becomes events of those whom the product knows by their distinct ids."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.rejections import Sieve
from features.sources.identity import NEVER_IDENTIFIED
from features.sources.locations import open_source

EVENT: dict[str, Any] = {
    "uuid": "0195a1b2-0000-7000-8000-000000000001",
    "event": "report created",
    "distinct_id": "user@example.com",
    "person_id": "0195-person",
    "properties": {"$browser": "Chrome", "$lib": "web", "$is_identified": True, "pages": 3},
    "person_properties": {"plan": "pro"},
    "elements_chain": "",
    "timestamp": "2026-03-01T12:00:00.500000+00:00",
    "created_at": "2026-03-01T12:00:02+00:00",
    "_inserted_at": "2026-03-01T12:05:00+00:00",
}
ANONYMOUS = {"distinct_id": "anon-1", "person_id": "anon-person"}


def event(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**EVENT, **changes}.items() if value is not ...}


def at(minute: int) -> dict[str, str]:
    return {
        "timestamp": f"2026-03-01T12:{minute:02}:00+00:00",
        "created_at": f"2026-03-01T12:{minute:02}:01+00:00",
        "uuid": f"m{minute}",
    }


def read(tmp_path: Path, *events: dict[str, Any], name: str = "export.jsonl") -> tuple[pl.DataFrame, Sieve]:
    path = tmp_path / name
    if name.endswith(".parquet"):
        nested = {"properties", "person_properties"}
        texts = [{key: json.dumps(value) if key in nested else value for key, value in row.items()} for row in events]
        times = [
            pl.col(key).str.to_datetime("%+", time_zone="UTC") for key in ("timestamp", "created_at", "_inserted_at")
        ]
        pl.DataFrame(texts).with_columns(times).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in events), encoding="utf-8")
    sieve = Sieve("events")
    return open_source(str(path)).table(sieve), sieve


def names(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.select("user_id", "event", "properties").rows()


def test_an_exported_event_is_an_event_of_its_distinct_id(tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, EVENT)
    assert frame.to_dicts() == [
        {
            "user_id": "user@example.com",
            "account_id": None,
            "event": "report created",
            "timestamp": "2026-03-01T12:00:00.500000+00:00",
            "received_at": "2026-03-01T12:00:02+00:00",
            "message_id": "0195a1b2-0000-7000-8000-000000000001",
            "properties": json.dumps(EVENT["properties"]),
        }
    ]
    assert sieve.total == 0


def test_parquet_says_the_same(tmp_path: Path) -> None:
    identify = event(event="$identify", properties={"$anon_distinct_id": "anon-1", "$set": {"plan": "pro"}}, **at(5))
    events = [EVENT, event(**ANONYMOUS, **at(1)), identify]
    as_lines, _ = read(tmp_path, *events)
    as_table, sieve = read(tmp_path, *events, name="export.parquet")
    said = ["user_id", "account_id", "event", "message_id", "properties"]
    assert as_table.select(said).rows() == as_lines.select(said).rows()
    for column in ("timestamp", "received_at"):
        times = [frame[column].str.to_datetime("%+", time_zone="UTC").to_list() for frame in (as_lines, as_table)]
        assert times[0] == times[1]
    assert sieve.total == 0


def test_a_row_of_parquet_with_broken_properties_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "export.parquet"
    flat = {**EVENT, "person_properties": "{}"}
    pl.DataFrame([{**flat, "properties": text} for text in ('{"a":1}', '{"a":', None)]).write_parquet(path)
    sieve = Sieve("events")
    assert open_source(str(path)).table(sieve)["properties"].to_list() == ['{"a":1}', None]
    [rejection] = sieve
    assert (rejection.reason, rejection.count) == ("properties are not JSON", 1)
    assert rejection.samples[0].startswith("export.parquet row 2: ")


def test_times_of_parquet_without_a_zone_are_utc(tmp_path: Path) -> None:
    path = tmp_path / "export.parquet"
    flat = {**EVENT, "properties": "{}", "person_properties": "{}", "timestamp": datetime(2026, 3, 1, 12)}
    pl.DataFrame([flat]).write_parquet(path)
    assert open_source(str(path)).table(Sieve("events"))["timestamp"].to_list() == ["2026-03-01T12:00:00.000000Z"]


def test_properties_may_be_json_inside_json(tmp_path: Path) -> None:
    inner = json.dumps({"$set": {"plan": "pro"}, "pages": 3})
    frame, sieve = read(tmp_path, event(properties=inner), event(properties=None), event(properties=""))
    assert frame["event"].to_list() == ["$identify", *["report created"] * 3]
    assert frame["properties"].to_list()[:2] == ['{"plan":"pro"}', inner]
    assert sieve.total == 0


def test_without_a_distinct_id_the_user_is_the_person(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, event(distinct_id=None), event(person_id=None), event(person_id=...))
    assert frame["user_id"].to_list() == ["0195-person", "user@example.com", "user@example.com"]


@pytest.mark.parametrize("person", [{}, {"person_id": ...}])
def test_what_a_visitor_did_is_the_users_from_the_identification_on(person: dict[str, Any], tmp_path: Path) -> None:
    visitor = {**ANONYMOUS, **person}
    identify = event(event="$identify", properties={"$anon_distinct_id": "anon-1"}, **person, **at(20))
    frame, sieve = read(tmp_path, event(**visitor, **at(10)), identify, event(**visitor, **at(30)))
    user = "user@example.com"
    assert frame.select("user_id", "message_id").rows() == [(user, "m10"), (user, "m20"), (user, "m30")]
    received = frame["received_at"].str.to_datetime("%+", time_zone="UTC").to_list()
    assert received == [datetime(2026, 3, 1, 12, minute, 1, tzinfo=UTC) for minute in (20, 20, 30)]
    assert sieve.total == 0


@pytest.mark.parametrize("event_name", ["$create_alias", "$merge_dangerously"])
def test_an_alias_is_merged_into_the_id_it_is_sent_with_and_is_no_event(event_name: str, tmp_path: Path) -> None:
    alias = event(event=event_name, properties={"alias": "anon-1", "distinct_id": "user@example.com"}, **at(20))
    frame, _ = read(tmp_path, event(**ANONYMOUS, **at(10)), alias)
    assert frame.select("user_id", "message_id").rows() == [("user@example.com", "m10")]


@pytest.mark.parametrize("sign", [{"$is_identified": False}, {"$process_person_profile": False}])
def test_a_visitor_who_never_identified_is_left_out_and_counted_once(sign: dict[str, Any], tmp_path: Path) -> None:
    properties = {**sign, "$set_once": {"$initial_referrer": "$direct"}}
    frame, sieve = read(tmp_path, event(**ANONYMOUS, properties=properties), EVENT)
    assert frame["user_id"].to_list() == ["user@example.com"]
    assert [(rejection.reason, rejection.count) for rejection in sieve] == [(NEVER_IDENTIFIED, 1)]


def test_a_user_whose_server_sends_events_without_a_profile_is_known_from_the_identification_on(tmp_path: Path) -> None:
    without = event(properties={"$process_person_profile": False}, person_id="another", **at(1))
    identify = event(event="$identify", properties={}, **at(5))
    frame, sieve = read(tmp_path, without, event(**at(2)), identify)
    assert frame.select("user_id", "message_id").rows() == [("user@example.com", name) for name in ("m1", "m2", "m5")]
    assert frame["received_at"].to_list()[0] == "2026-03-01T12:05:01.000000Z"
    assert frame["received_at"].to_list()[1] == "2026-03-01T12:02:01+00:00"
    assert sieve.total == 0


def test_what_an_event_sets_on_its_user_is_an_event_before_it_where_it_is_new(tmp_path: Path) -> None:
    def with_plan(plan: str, minute: int) -> dict[str, Any]:
        sets = {"$set": {"plan": plan}, "$set_once": {"first": minute}}
        return event(properties=sets, **at(minute))

    frame, _ = read(tmp_path, with_plan("free", 1), with_plan("free", 1), with_plan("pro", 2))
    assert frame.select("event", "message_id").rows() == [
        ("$identify", "m1 $identify"),
        ("report created", "m1"),
        ("report created", "m1"),
        ("$identify", "m2 $identify"),
        ("report created", "m2"),
    ]
    assert frame["properties"].to_list()[0] == '{"first":1,"plan":"free"}'
    assert frame["properties"].to_list()[3] == '{"plan":"pro"}'


@pytest.mark.parametrize("name", ["$identify", "$set"])
def test_identify_and_set_carry_the_traits(name: str, tmp_path: Path) -> None:
    frame, _ = read(tmp_path, event(event=name, properties={"$set": {"plan": "pro"}, "$set_once": {"plan": "free"}}))
    assert names(frame) == [("user@example.com", "$identify", '{"plan":"pro"}')]


def test_traits_may_be_fields_of_their_own(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, event(set='{"plan":"pro"}', set_once={"source": "ad"}))
    assert names(frame)[0] == ("user@example.com", "$identify", '{"source":"ad","plan":"pro"}')


def test_groups_are_accounts_and_group_identify_carries_their_traits(tmp_path: Path) -> None:
    group = {"$group_type": "company", "$group_key": "acme", "$group_set": {"seats": 5}}
    frame, _ = read(
        tmp_path,
        event(properties={"$groups": {"company": "acme", "team": "t"}}),
        event(properties={"$groups": {"company": 15}}),
        event(properties={"$groups": []}),
        event(event="$groupidentify", properties=group),
    )
    assert frame["account_id"].to_list() == ["acme", "15", None, "acme"]
    assert names(frame)[3][1:] == ("$group", '{"seats":5}')


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ({"created_at": ...}, "2026-03-01T12:05:00+00:00"),
        ({"created_at": "2026-03-01 12:00:02"}, "2026-03-01T12:00:02Z"),
    ],
)
def test_when_it_was_received_is_when_it_was_stored(received: dict[str, Any], expected: str, tmp_path: Path) -> None:
    frame, _ = read(tmp_path, event(**received))
    assert frame["received_at"].to_list() == [expected]


def test_a_line_with_properties_that_are_no_object_is_refused(tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, EVENT, event(properties=[1]), event(properties="{"), EVENT)
    assert len(frame) == 2
    assert sieve.total == 2

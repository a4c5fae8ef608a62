"""Calls of Segment's Spec become events of their users."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.rejections import Sieve
from features.sources.identity import NEVER_IDENTIFIED
from features.sources.locations import open_source

# The common fields as Segment documents them, and those of each call.
COMMON: dict[str, Any] = {
    "anonymousId": "507f191e810c19729de860ea",
    "channel": "browser",
    "context": {
        "active": True,
        "app": {"name": "InitechGlobal", "version": "545"},
        "campaign": {"name": "TPS", "source": "Newsletter"},
        "ip": "8.8.8.8",
        "library": {"name": "analytics.js", "version": "2.11.1"},
        "page": {"path": "/academy/", "title": "Academy", "url": "https://example.com/academy/"},
        "userAgent": "Mozilla/5.0",
    },
    "integrations": {"All": True, "Mixpanel": False},
    "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
    "originalTimestamp": "2026-03-01T11:59:58.000Z",
    "receivedAt": "2026-03-01T12:00:01.266Z",
    "sentAt": "2026-03-01T11:59:58.966Z",
    "timestamp": "2026-03-01T12:00:00.300Z",
    "type": "track",
    "userId": "97980cfea0067",
    "version": "1.1",
}
TRACK = {**COMMON, "event": "Report Created", "properties": {"pages": 3, "title": "Q1 é"}}


def call(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**TRACK, **changes}.items() if value is not ...}


def at(minute: int) -> dict[str, str]:
    return {
        "timestamp": f"2026-03-01T12:{minute:02}:00.000Z",
        "receivedAt": f"2026-03-01T12:{minute:02}:01.000Z",
        "messageId": f"m{minute}",
    }


def read(tmp_path: Path, *calls: dict[str, Any] | str) -> tuple[pl.DataFrame, Sieve]:
    path = tmp_path / "calls.json"
    lines = [given if isinstance(given, str) else json.dumps(given) for given in calls]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sieve = Sieve("events")
    return open_source(str(path)).table(sieve), sieve


def test_a_track_call_is_an_event(tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, TRACK)
    assert frame.to_dicts() == [
        {
            "user_id": "97980cfea0067",
            "account_id": None,
            "event": "Report Created",
            "timestamp": "2026-03-01T12:00:00.300Z",
            "received_at": "2026-03-01T12:00:01.266Z",
            "message_id": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
            "properties": '{"pages": 3, "title": "Q1 \\u00e9"}',
            "sent_at": "2026-03-01T11:59:58.966Z",
            "original_timestamp": "2026-03-01T11:59:58.000Z",
        }
    ]
    assert sieve.total == 0


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({"type": "page", "name": "Pricing"}, "Viewed Pricing Page"),
        ({"type": "page", "name": ""}, "Loaded a Page"),
        ({"type": "page"}, "Loaded a Page"),
        ({"type": "screen", "name": "Home"}, "Viewed Home Screen"),
        ({"type": "screen", "name": None}, "Loaded a Screen"),
        ({"type": "identify", "traits": {}}, "$identify"),
        ({"type": "group", "groupId": "g"}, "$group"),
        ({"type": "track"}, "Report Created"),
        ({"type": "track", "event": None}, None),
    ],
)
def test_each_call_has_its_name(changes: dict[str, Any], event: str | None, tmp_path: Path) -> None:
    frame, _ = read(tmp_path, call(**changes))
    assert frame["event"].to_list() == [event]


def test_the_traits_of_identify_and_group_are_their_properties(tmp_path: Path) -> None:
    identify = call(type="identify", event=..., properties=..., traits={"email": "a@b.c", "plan": "pro"})
    group = call(type="group", event=..., properties=..., groupId=42, traits={"employees": 329})
    frame, _ = read(tmp_path, identify, group)
    assert frame.select("event", "account_id", "properties").rows() == [
        ("$identify", None, '{"email": "a@b.c", "plan": "pro"}'),
        ("$group", "42", '{"employees": 329}'),
    ]


def test_other_calls_have_the_account_of_their_context(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, call(context={"groupId": "acme"}), call(context=None), call(context=...))
    assert frame["account_id"].to_list() == ["acme", None, None]


def test_an_alias_is_no_event_and_gives_the_old_id_the_new_one(tmp_path: Path) -> None:
    alias = call(type="alias", previousId="old", userId="new", anonymousId=..., **at(30))
    by_user = call(userId="old", anonymousId=..., **at(10))
    by_visitor = call(userId=None, anonymousId="old", **at(40))
    frame, sieve = read(tmp_path, by_user, alias, by_visitor)
    assert frame.select("user_id", "message_id", "received_at").rows() == [
        ("new", "m10", "2026-03-01T12:30:01.000000Z"),
        ("new", "m40", "2026-03-01T12:40:01.000000Z"),
    ]
    assert sieve.total == 0


def test_what_a_visitor_did_is_the_users_from_the_identification_on(tmp_path: Path) -> None:
    visitor = {"userId": None, "anonymousId": "a"}
    identify = call(type="identify", userId="u", anonymousId="a", traits={"plan": "pro"}, **at(20))
    frame, sieve = read(
        tmp_path,
        call(**visitor, **at(10)),
        identify,
        call(**visitor, **at(30)),
        call(userId=None, anonymousId="b", **at(15)),
    )
    assert frame.select("user_id", "message_id", "received_at").rows() == [
        ("u", "m10", "2026-03-01T12:20:01.000000Z"),
        ("u", "m20", "2026-03-01T12:20:01.000Z"),
        ("u", "m30", "2026-03-01T12:30:01.000000Z"),
    ]
    assert [(rejection.reason, rejection.count) for rejection in sieve] == [(NEVER_IDENTIFIED, 1)]


def test_links_reach_from_file_to_file(tmp_path: Path) -> None:
    folder = tmp_path / "segment-logs" / "source"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_text(json.dumps(call(userId=None, **at(1))), encoding="utf-8")
    (folder / "2.jsonl").write_text(json.dumps(call(userId="late", **at(2))), encoding="utf-8")
    frame = open_source(str(tmp_path / "segment-logs")).table(Sieve("events"))
    assert frame["user_id"].to_list() == ["late", "late"]


def test_a_call_without_a_corrected_time_has_the_devices(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, call(timestamp=...))
    assert frame["timestamp"].to_list() == ["2026-03-01T11:59:58.000Z"]


def test_rows_that_a_later_stage_must_judge_are_passed_on(tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, call(userId="", anonymousId=...), call(timestamp="yesterday"), call(userId=7))
    assert frame["user_id"].to_list() == [None, "97980cfea0067", "7"]
    assert frame["timestamp"].to_list()[1] == "yesterday"
    assert sieve.total == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (json.dumps(call(type="delete")), "the record's field 'type' holds what this format does not know"),
        (json.dumps(call(type=...)), "the record has no field 'type'"),
        (json.dumps(call(userId={"id": 1})), "the record's field 'userId' holds what this format does not know"),
        (json.dumps(TRACK)[:-9], "not JSON"),
    ],
)
def test_a_line_that_is_no_call_is_refused_with_its_place(line: str, reason: str, tmp_path: Path) -> None:
    frame, sieve = read(tmp_path, TRACK, line, TRACK)
    assert len(frame) == 2
    [rejection] = sieve
    assert (rejection.reason, rejection.count) == (reason, 1)
    assert rejection.samples[0].startswith(f"{tmp_path}/calls.json line 2: ")


def test_a_reading_counts_each_line_once_and_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    shared = [call(userId="u"), call(userId="v"), call(userId=None)]
    path.write_text("\n".join([*map(json.dumps, shared), "rubbish"]), encoding="utf-8")
    source = open_source(str(path))
    for _ in range(2):
        sieve = Sieve("events")
        assert len(source.table(sieve)) == 3
        assert sieve.total == 1


def test_a_file_of_aliases_alone_has_no_rows_and_all_columns(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, call(type="alias", previousId="old", userId="new"))
    assert len(frame) == 0
    assert {"user_id", "event", "timestamp", "received_at", "properties"} <= set(frame.columns)

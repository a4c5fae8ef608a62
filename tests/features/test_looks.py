"""A file is recognised by how it begins, whatever it is called."""

import gzip
import io
import json
from typing import Any

import polars as pl
import pytest

from features.sources.looks import is_posthog, look

SEGMENT = {"type": "track", "event": "a", "userId": "u", "messageId": "m", "timestamp": "2026-03-01T00:00:00Z"}
MIXPANEL = {"event": "a", "properties": {"time": 1772366400, "distinct_id": "u"}}
AMPLITUDE = {"event_type": "a", "event_time": "2026-03-01 00:00:00.000000", "user_id": "u", "amplitude_id": 1}
POSTHOG = {"uuid": "x", "event": "a", "distinct_id": "u", "timestamp": "2026-03-01T00:00:00Z", "properties": {}}
OURS = {"user_id": "u", "event": "a", "timestamp": "2026-03-01T00:00:00Z", "properties": {"time": 1}}


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("record", "form"),
    [
        (SEGMENT, "segment"),
        ({"type": "page", "anonymousId": "a"}, "segment"),
        ({"type": "alias", "previousId": "a", "userId": "b"}, "segment"),
        (MIXPANEL, "mixpanel"),
        (AMPLITUDE, "amplitude"),
        (POSTHOG, "posthog"),
        (OURS, "jsonl"),
        ({"user_id": "u", "started_at": "2026-03-01", "type": "track"}, "jsonl"),
        ({"user_id": "u", "event_type": "click"}, "jsonl"),
        ({"type": ["track"], "userId": "u"}, "jsonl"),
        ({"event": "a", "properties": None}, "jsonl"),
        ({}, "jsonl"),
    ],
)
def test_json_lines_tell_by_their_fields_whose_they_are(record: dict[str, Any], form: str) -> None:
    assert look(lines(record), whole=True).forms[0] == form


def test_broken_lines_among_the_first_do_not_hide_the_format() -> None:
    assert look(b"\xef\xbb\xbf\n{broken\n[1]\n" + lines(SEGMENT) + b"\xff\n", whole=True).forms == ("segment",)


def test_most_lines_decide_and_the_others_stay_possible() -> None:
    assert look(lines(SEGMENT, SEGMENT, MIXPANEL), whole=True).forms == ("segment", "mixpanel")
    assert look(lines(OURS, OURS, OURS, MIXPANEL), whole=True).forms == ("jsonl", "mixpanel")


def test_a_line_that_the_first_bytes_cut_off_is_not_judged() -> None:
    assert look(lines(OURS) + lines(SEGMENT)[:-20], whole=False).forms == ("jsonl",)
    assert "segment" in look(lines(SEGMENT)[:-20], whole=False).forms


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (parquet(), "parquet"),
        (b"user_id,event\nu,a\n", "csv"),
        (b"user_id\nu\n", "csv"),
        (b'"user_id","event"\r\n', "csv"),
        (b'{"user_id":', "jsonl"),
    ],
)
def test_other_formats_are_recognised(head: bytes, form: str) -> None:
    assert look(head, whole=True).forms[0] == form


@pytest.mark.parametrize(
    ("head", "words", "advice"),
    [
        (b'[{"user_id":"u"}]', "a JSON array", "jq"),
        (b'[\n{"user_id":"u",\n"event":"a"}]', "a JSON array", "jq"),
        (b'{\n  "user_id": "u"\n}\n', "a JSON document over several lines", "jq -c"),
        (b"<!DOCTYPE html><html>", "HTML", "log-in"),
        (b"\n<?xml version='1.0'?>", "XML", "error page"),
        (gzip.compress(b"x"), "gzip inside gzip", "Unpack"),
        (b"PK\x03\x04...", "zip", "Unpack"),
        ("user_id,event".encode("utf-16"), "UTF-16", "UTF-8"),
        (b"\x28\xb5\x2f\xfd....", "zstd", "gzip"),
        (b"Obj\x01...", "Avro", "Parquet"),
        (b"a\0b", "binary", "CSV"),
        (b"\0" * 8 + b"DUCK" + b"\0" * 20, "DuckDB", ".duckdb"),
        (b"SQLite format 3\0" + b"\0" * 20, "SQLite", ".sqlite"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(head: bytes, words: str, advice: str) -> None:
    seen = look(head, whole=True)
    assert seen.forms == ()
    assert words in seen.words
    assert advice in seen.advice


@pytest.mark.parametrize("head", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_of_no_format_in_particular(head: bytes) -> None:
    assert look(head, whole=True).words == "an empty file"


def test_the_columns_of_a_table_tell_whether_it_is_posthogs() -> None:
    assert is_posthog(dict.fromkeys(["uuid", "event", "distinct_id", "timestamp", "person_id"]))
    assert not is_posthog(dict.fromkeys(["uuid", "event", "distinct_id", "timestamp", "user_id"]))
    assert not is_posthog(dict.fromkeys(["user_id", "event", "timestamp"]))

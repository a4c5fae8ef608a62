"""What a file looks like by its first bytes: its format, or why it is none that can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from features.sources.formats import VENDORS

JSON_LINES = ("jsonl", *VENDORS)
_LINES_SEEN = 50
_CALLS = frozenset({"track", "identify", "page", "screen", "group", "alias"})


@dataclass(frozen=True)
class Look:
    """What a file seems to be.

    Attributes
    ----------
    words : for messages, e.g. "Segment's JSON lines"
    forms : the formats that its content may be of, likeliest first; none where it cannot be read at all
    advice : what to do where it cannot be read
    """

    words: str
    forms: tuple[str, ...] = ()
    advice: str = ""


WORDS = {
    "parquet": "Parquet",
    "csv": "CSV",
    "jsonl": "JSON lines of plain records",
    "segment": "Segment's JSON lines",
    "mixpanel": "Mixpanel's JSON lines",
    "amplitude": "Amplitude's JSON lines",
    "posthog": "PostHog's JSON lines",
}

# Where it stands, the bytes, and what they say.
_MAGIC = (
    (0, b"PAR1", Look(WORDS["parquet"], ("parquet", "posthog"))),
    (8, b"DUCK", Look("a DuckDB database", advice="Give it a name that ends in .duckdb.")),
    (0, b"SQLite format 3\0", Look("an SQLite database", advice="Give it a name that ends in .sqlite.")),
    (0, b"\x1f\x8b", Look("gzip inside gzip", advice="Unpack it once.")),
    (0, b"PK\x03\x04", Look("a zip archive inside another file", advice="Unpack it.")),
    (0, b"\xff\xfe", Look("UTF-16 text", advice="Save it as UTF-8.")),
    (0, b"\xfe\xff", Look("UTF-16 text", advice="Save it as UTF-8.")),
    (0, b"Obj\x01", Look("Avro", advice="Export it as Parquet or JSON lines.")),
    (0, b"ORC", Look("ORC", advice="Export it as Parquet or JSON lines.")),
    (0, b"ARROW1", Look("Arrow IPC", advice="Export it as Parquet.")),
    (0, b"%PDF", Look("a PDF", advice="Export the data as CSV, JSON lines or Parquet.")),
    (0, b"\x28\xb5\x2f\xfd", Look("zstd-packed", advice="Unpack it, or pack it with gzip.")),
)


def look(head: bytes, *, whole: bool) -> Look:
    """Return what a file seems to be by its beginning; `whole` where that is all of it."""
    for place, magic, seen in _MAGIC:
        if head[place : place + len(magic)] == magic:
            return seen
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return Look("an empty file", ("csv", *JSON_LINES))
    if b"\0" in text:
        return Look("a binary file of an unknown kind", advice="Export the data as CSV, JSON lines or Parquet.")
    if text[:1] == b"<":
        return Look("an HTML or XML page", advice="Check the download: it may be a log-in or error page.")
    lines = text.split(b"\n") if whole else text.split(b"\n")[:-1]
    if records := [record for line in lines[:_LINES_SEEN] if (record := _record(line)) is not None]:
        return _json_lines(records)
    return _other_text(text, lines)


def _other_text(text: bytes, lines: list[bytes]) -> Look:
    if text[:1] == b"[":
        return Look("a JSON array", advice="Write one object per line, e.g. with: jq -c '.[]' FILE > FILE.jsonl")
    if text[:1] == b"{":
        if lines and lines[0].strip() == b"{":
            return Look("a JSON document over several lines", advice="Write one object per line, e.g. with: jq -c .")
        return Look("JSON", JSON_LINES)
    return Look(WORDS["csv"], ("csv",))


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _json_lines(records: list[dict[str, Any]]) -> Look:
    """Return the vendor that most records speak for; a vendor that only one speaks for is still possible."""
    votes = {form: sum(map(speaks, records)) for form, speaks in _SIGNS.items()}
    forms = sorted((form for form, count in votes.items() if count), key=lambda form: -votes[form])
    plain = ("jsonl",) if 2 * sum(votes.values()) <= len(records) or not forms else ()
    likeliest = (*plain, *forms)
    return Look(WORDS[likeliest[0]], likeliest)


def is_posthog(columns: Mapping[str, object]) -> bool:
    """Whether the columns of a Parquet file are those of PostHog's batch export."""
    return {"event", "distinct_id", "timestamp", "uuid"} <= columns.keys() and "user_id" not in columns


def _segment(record: dict[str, Any]) -> bool:
    said = {"messageId", "anonymousId", "userId", "originalTimestamp"} & record.keys()
    return bool(said) and isinstance(record.get("type"), str) and record["type"] in _CALLS


def _mixpanel(record: dict[str, Any]) -> bool:
    said = record.get("properties")
    if "event" not in record or not isinstance(said, dict) or {"distinct_id", "user_id"} & record.keys():
        return False
    return bool({"time", "distinct_id", "$insert_id"} & said.keys())


def _amplitude(record: dict[str, Any]) -> bool:
    return "event_type" in record and bool({"event_time", "amplitude_id", "$insert_id"} & record.keys())


def _posthog(record: dict[str, Any]) -> bool:
    return {"event", "distinct_id", "timestamp"} <= record.keys() and "user_id" not in record


_SIGNS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "segment": _segment,
    "mixpanel": _mixpanel,
    "amplitude": _amplitude,
    "posthog": _posthog,
}

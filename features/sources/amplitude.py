"""Amplitude's export: JSON lines, gzipped and zipped, with the fields that its Export API documents.

Read are event_type, event_time (UTC, already corrected for the device's clock), server_received_time and
server_upload_time, user_id, device_id and amplitude_id, $insert_id and uuid, event_properties, user_properties, groups
and group_properties. Amplitude gives each event the user's properties as they were at that time; where they differ from
those of the user's event before, they become a "$identify" event, so that traits have a history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from features.sources.files import Text
from features.sources.identity import Vendor, link_frame, utc_texts
from features.sources.lines import json_texts, texts_of
from features.sources.source import Source

Id = str | int | float | None
_NULL = msgspec.Raw(b"null")
_SILENT = (b"null", b"{}")


class Event(msgspec.Struct, gc=False):
    """One exported event, with the fields that are read; all others are passed over."""

    event_type: str | None
    event_time: str | None = None
    server_received_time: str | None = None
    server_upload_time: str | None = None
    user_id: Id = None
    device_id: Id = None
    amplitude_id: Id = None
    insert_id: Id = msgspec.field(default=None, name="$insert_id")
    uuid: Id = None
    event_properties: msgspec.Raw = _NULL
    user_properties: msgspec.Raw = _NULL
    group_properties: msgspec.Raw = _NULL
    groups: dict[str, Any] | None = None


def _account(event: Event) -> Id:
    """Return the first group's first id: Amplitude has groups of several kinds, and each may hold several."""
    ids = next(iter(event.groups.values()), None) if event.groups else None
    first = next(iter(ids), None) if isinstance(ids, list) else ids
    return first if isinstance(first, str | int | float) else None


def _visitors(events: list[Event]) -> tuple[list[str | None], list[str | None]]:
    """Return Amplitude's own id of the person, and the device's; prefixed, since the two are counted separately."""
    people = [None if event.amplitude_id is None else f"amplitude_id {event.amplitude_id}" for event in events]
    return people, [None if event.device_id is None else f"device_id {event.device_id}" for event in events]


def _times(events: list[Event]) -> tuple[pl.Series, pl.Series]:
    received = [event.server_received_time or event.server_upload_time for event in events]
    return utc_texts([event.event_time for event in events], received)


def _links(events: list[Event]) -> pl.DataFrame:
    events = [event for event in events if event.user_id is not None]
    users, times = [event.user_id for event in events], _times(events)
    return pl.concat([link_frame(visitors, users, times) for visitors in _visitors(events)])


def _told(events: list[Event], memory: dict[Any, Any]) -> Iterator[tuple[Event, str | None, msgspec.Raw, str]]:
    """Yield (record, name, properties, suffix of its id) of each event, before it what is new about the user."""
    for event in events:
        traits = bytes(event.user_properties)
        if event.event_type != "$identify" and traits not in _SILENT and _is_new(event, hash(traits), memory):
            yield event, "$identify", event.user_properties, " $identify"
        match event.event_type:
            case "$identify":
                yield event, "$identify", event.user_properties, ""
            case "$groupidentify":
                yield event, "$group", _group_traits(event), ""
            case name:
                yield event, name, event.event_properties, ""


def _group_traits(event: Event) -> msgspec.Raw:
    """Return what is said of the account, which stands under the kind of group and its id."""
    account = str(_account(event))
    try:
        kinds = msgspec.json.decode(event.group_properties, type=dict[str, dict[str, msgspec.Raw]])
    except msgspec.ValidationError:
        return event.group_properties
    return next((groups[account] for groups in kinds.values() if account in groups), event.group_properties)


def _is_new(event: Event, traits: int, memory: dict[Any, Any]) -> bool:
    """Whether the traits are others than the user's last ones, or older: files need not be in the order of time."""
    user = event.user_id if event.user_id is not None else (event.amplitude_id, event.device_id)
    last, when = memory.get(user, (None, ""))
    if last == traits and (event.event_time or "") >= when:
        return False
    memory[user] = (traits, event.event_time or "")
    return True


def _id(event: Event) -> Id:
    return event.uuid if event.insert_id is None else event.insert_id


def _rows(exported: list[Event], memory: dict[Any, Any]) -> pl.DataFrame:
    events, names, said, suffixes = (list(column) for column in zip(*_told(exported, memory), strict=True))
    happened, received = _times(events)
    people, devices = _visitors(events)
    ids = zip(map(_id, events), suffixes, strict=True)
    return pl.DataFrame(
        [
            texts_of("user_id", [event.user_id for event in events]),
            texts_of("account_id", list(map(_account, events))),
            texts_of("event", names),
            happened,
            received,
            texts_of("message_id", [None if name is None else f"{name}{suffix}" for name, suffix in ids]),
            json_texts("properties", said),
            pl.Series("visitor", people, dtype=pl.String),
            pl.Series("second_visitor", devices, dtype=pl.String),
            pl.Series("event_of_its_own", [not suffix for suffix in suffixes]),
        ]
    )


VENDOR = Vendor(msgspec.json.Decoder(Event).decode, _links, _rows)


def source(name: str, texts: Sequence[Text]) -> Source:
    """Return Amplitude's events; those without a user belong to the one whom Amplitude's id or the device turned out to be.

    The account is the first id of the first kind of group that the event names.
    """
    return VENDOR.source(name, texts)

"""PostHog's batch export of events, JSON lines or Parquet, with the fields that its documentation lists.

Read are uuid, event, distinct_id, person_id, timestamp, created_at (when it was received), properties, and set and
set_once where a destination has them as fields of their own. Of the properties: $set, $set_once, $groups, the
$anon_distinct_id of $identify, the alias of $create_alias, $group_key and $group_set of $groupidentify, and
$is_identified and $process_person_profile, which say that somebody is still anonymous.

The user is the distinct id, because that is the name by which the product knows its users; a person's id is known to PostHog
only. Events from before somebody was identified carry another distinct id, and are joined by the links that $identify tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from features.rejections import Sieve
from features.sources.files import Text, parquet_frames
from features.sources.identity import Vendor, link_frame, utc_texts
from features.sources.lines import NOT_JSON, json_records, json_texts, texts_of
from features.sources.source import Source

Id = str | int | float | None
_NULL = msgspec.Raw(b"null")
_ALIASES = frozenset({"$create_alias", "$merge_dangerously"})


class Exported(msgspec.Struct, gc=False):
    """One exported event, with the fields that are read; nested values may be JSON text inside JSON."""

    event: str | None
    uuid: Id = None
    distinct_id: Id = None
    person_id: Id = None
    timestamp: str | None = None
    created_at: str | None = None
    inserted_at: str | None = None
    batch_inserted_at: str | None = msgspec.field(default=None, name="_inserted_at")
    properties: msgspec.Raw = _NULL
    set: msgspec.Raw = _NULL
    set_once: msgspec.Raw = _NULL


class Properties(msgspec.Struct, gc=False):
    """The properties that are read."""

    set: msgspec.Raw = msgspec.field(default=_NULL, name="$set")
    set_once: msgspec.Raw = msgspec.field(default=_NULL, name="$set_once")
    groups: Any = msgspec.field(default=None, name="$groups")
    group_key: Any = msgspec.field(default=None, name="$group_key")
    group_set: Any = msgspec.field(default=None, name="$group_set")
    anonymous: Any = msgspec.field(default=None, name="$anon_distinct_id")
    alias: Any = None
    is_identified: Any = msgspec.field(default=None, name="$is_identified")
    has_profile: Any = msgspec.field(default=None, name="$process_person_profile")


class Event(NamedTuple):
    """An exported event and those of its properties that are read."""

    row: Exported
    said: Properties

    @property
    def user(self) -> Id:
        return self.row.distinct_id or self.row.person_id

    @property
    def is_anonymous(self) -> bool:
        silent = self.said.is_identified is False or self.said.has_profile is False
        return silent and self.row.event != "$identify"


_EXPORTED = msgspec.json.Decoder(Exported).decode
_PROPERTIES = msgspec.json.Decoder(Properties | str | None).decode


def _decode(line: bytes) -> Event:
    return _opened(_EXPORTED(line))


def _opened(row: Exported) -> Event:
    said = _PROPERTIES(row.properties)
    if isinstance(said, str):
        said = msgspec.json.decode(said or "null", type=Properties | None)
    return Event(row, said or Properties())


# --- who is who ------------------------------------------------------------------------------


def _times(events: Sequence[Event]) -> tuple[pl.Series, pl.Series]:
    rows = [event.row for event in events]
    received = [row.created_at or row.inserted_at or row.batch_inserted_at for row in rows]
    return utc_texts([row.timestamp for row in rows], received)


def _links(events: list[Event]) -> pl.DataFrame:
    identified = [event for event in events if event.row.event == "$identify"]
    # An alias is the other id, which is merged into the one that the event is sent with.
    aliased = [event for event in events if event.row.event in _ALIASES]
    return pl.concat(
        [
            link_frame([_identified(event) for event in identified], _users(identified), _times(identified)),
            link_frame(_texts([event.said.anonymous for event in identified]), _users(identified), _times(identified)),
            link_frame(_texts([event.said.alias for event in aliased]), _users(aliased), _times(aliased), renames=True),
        ]
    )


def _identified(event: Event) -> str:
    """Return the key of an id that somebody was identified by: such a one is no visitor, even where events call it one."""
    return f"identified {event.row.distinct_id}"


def _users(events: Sequence[Event]) -> list[Id]:
    return [event.user for event in events]


def _texts(values: Sequence[Any]) -> list[str | None]:
    return [str(value) if isinstance(value, str | int | float) else None for value in values]


# --- rows ------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """An event to be: `own` marks the row of the exported event itself, others are told by it."""

    event: Event
    name: str | None
    account: Any
    properties: msgspec.Raw
    own: bool = True


def _told(events: Sequence[Event], memory: dict[Any, Any]) -> Iterator[_Row]:
    for event in events:
        row, said = event
        account = next(iter(said.groups.values()), None) if isinstance(said.groups, dict) else None
        traits = _traits(event, memory)
        if row.event in {"$identify", "$set"}:
            yield _Row(event, "$identify", account, traits or msgspec.Raw(b"{}"))
        elif row.event == "$groupidentify":
            yield _Row(event, "$group", said.group_key, msgspec.Raw(msgspec.json.encode(said.group_set)))
        elif row.event not in _ALIASES:
            if traits:
                yield _Row(event, "$identify", account, traits, own=False)
            yield _Row(event, row.event, account, row.properties)


def _traits(event: Event, memory: dict[Any, Any]) -> msgspec.Raw | None:
    """Return what an event sets on its user, if it is new; what is set once counts the first time only.

    Libraries repeat the same traits on every event.
    """
    row, said = event
    if said.set is _NULL and said.set_once is _NULL and row.set is _NULL and row.set_once is _NULL:
        return None
    now = row.timestamp or ""
    seen, last, when = memory.get(event.user, (frozenset(), 0, ""))
    if (text := hash(b"\n".join((said.set, row.set, said.set_once, row.set_once)))) == last and now >= when:
        return None
    always = _object(row.set) | _object(said.set)
    once = _object(row.set_once) | _object(said.set_once)
    memory[event.user] = (seen | once.keys() if once.keys() - seen else seen, text, now)
    traits = {key: value for key, value in once.items() if key not in seen} | always
    return msgspec.Raw(msgspec.json.encode(traits)) if traits else None


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    """Return a JSON object, also one in a text; nothing for what is none."""
    if raw is _NULL:
        return {}
    try:
        value = msgspec.json.decode(raw)
        value = msgspec.json.decode(value) if isinstance(value, str) else value
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _rows(exported: list[Event], memory: dict[Any, Any]) -> pl.DataFrame:
    told = list(_told(exported, memory))
    events = [row.event for row in told]
    happened, received = _times(events)
    ids = [row.event.row.uuid if row.own else f"{row.event.row.uuid} $identify" for row in told]
    # Who identifies is known; whoever else acts may be a visitor who was identified later.
    return pl.DataFrame(
        [
            texts_of("user_id", [event.user if event.row.event == "$identify" else None for event in events]),
            texts_of("account_id", _texts([row.account for row in told])),
            texts_of("event", [row.name for row in told]),
            happened,
            received,
            texts_of("message_id", ids),
            json_texts("properties", [row.properties for row in told]),
            texts_of("visitor", [event.row.distinct_id for event in events]),
            texts_of("second_visitor", [_identified(event) if event.is_anonymous else None for event in events]),
            texts_of("presumed", [None if event.is_anonymous else event.user for event in events]),
            pl.Series("event_of_its_own", [row.own for row in told], dtype=pl.Boolean),
        ]
    )


# --- files -----------------------------------------------------------------------------------


def _from_parquet(paths: Sequence[Path], sieve: Sieve) -> Iterator[list[Event]]:
    for path in paths:
        rows = count(1)
        for frame in parquet_frames(path):
            yield [event for row in _exported(frame) if (event := _readable(path, next(rows), row, sieve))]


def _readable(path: Path, number: int, row: Exported, sieve: Sieve) -> Event | None:
    try:
        return _opened(row)
    except (msgspec.MsgspecError, RecursionError):
        sieve.count(f"properties are {NOT_JSON}", 1, [f"{path.name} row {number}: {bytes(row.properties)[:80]!r}"])
        return None


_RAW = frozenset({"properties", "set", "set_once"})


def _exported(frame: pl.DataFrame) -> Iterator[Exported]:
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(Exported)}
    present = [name for name in fields if name in frame.columns]
    columns = [_values(frame[name], raw=name in _RAW) for name in present]
    names = [fields[name] for name in present]
    for values in zip(*columns, strict=True):
        yield Exported(**_given(dict(zip(names, values, strict=True))))


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"event": None} | {name: value for name, value in values.items() if value is not None}


def _values(column: pl.Series, *, raw: bool) -> list[Any]:
    if isinstance(column.dtype, pl.Datetime):
        # Without a zone these are UTC, as documented.
        column = column.dt.replace_time_zone("UTC") if column.dtype.time_zone is None else column
        return column.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_list()
    texts = column.cast(pl.String).to_list()
    return [text and msgspec.Raw(text.encode()) for text in texts] if raw else texts


VENDOR = Vendor(_decode, _links, _rows)


def source(name: str, texts: Sequence[Text], parquet: Sequence[Path] = ()) -> Source:
    """Return PostHog's events, from JSON lines or Parquet files.

    What events set on their user is a "$identify" event where it is new, $groupidentify is "$group" with what it sets. The
    account is the first group that an event names.
    """

    def records(sieve: Sieve) -> Iterator[list[Event]]:
        yield from json_records(texts, _decode, sieve)
        yield from _from_parquet(parquet, sieve)

    return VENDOR.source_of(name, records)

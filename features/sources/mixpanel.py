"""Mixpanel's raw export: JSON lines of event and properties, as its Event Export API documents.

Read are the properties time, distinct_id, $insert_id, mp_processing_time_ms, $user_id, $device_id and
$distinct_id_before_identity, and those of the events that link ids in older projects: $identify ($anon_id,
$identified_id) and $create_alias (distinct_id, alias). All properties are kept.

`time` counts seconds (or milliseconds) since 1970. Mixpanel documents that projects created before 2023 store it in
their own time zone and later ones in UTC, while mp_processing_time_ms is always UTC. So the two tell which it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple

import msgspec
import polars as pl

from features.rejections import Sieve
from features.sources.files import Text
from features.sources.identity import Vendor, link_frame
from features.sources.lines import json_records, json_texts, texts_of
from features.sources.source import Source
from features.times import zone

Id = str | int | float | None
_DEVICE = "$device:"
# Seconds reach this value in the year 5138 and milliseconds reached it in 1973.
_FIRST_MILLISECOND = 100_000_000_000
_LATEST = 10_000_000_000_000


class _Line(msgspec.Struct, gc=False):
    event: str | None
    properties: msgspec.Raw


class Properties(msgspec.Struct, gc=False):
    """The properties that are read; their types are not the vendor's to promise where users send them."""

    time: Any = None
    distinct_id: Id = None
    insert_id: Id = msgspec.field(default=None, name="$insert_id")
    processed: Any = msgspec.field(default=None, name="mp_processing_time_ms")
    user_id: Id = msgspec.field(default=None, name="$user_id")
    device_id: Id = msgspec.field(default=None, name="$device_id")
    id_before: Id = msgspec.field(default=None, name="$distinct_id_before_identity")
    anonymous: Id = msgspec.field(default=None, name="$anon_id")
    identified: Id = msgspec.field(default=None, name="$identified_id")
    alias: Any = None


class Event(NamedTuple):
    """One line: the event's name, its properties as they are in the file, and those that are read."""

    name: str | None
    text: msgspec.Raw
    said: Properties


_LINE = msgspec.json.Decoder(_Line).decode
_PROPERTIES = msgspec.json.Decoder(Properties).decode


def _decode(line: bytes) -> Event:
    name, text = (outer := _LINE(line)).event, outer.properties
    try:
        return Event(name, text, _PROPERTIES(text))
    except msgspec.ValidationError as error:
        place = str(error).replace("`$.", "`$.properties.") if "`$." in str(error) else f"{error} - at `$.properties`"
        raise msgspec.ValidationError(place) from None


# --- who is who ------------------------------------------------------------------------------


def _plain(identifier: Id) -> str | None:
    """Return an id as text, without the mark that says it is a device's."""
    return None if identifier is None else str(identifier).removeprefix(_DEVICE)


def _sent(said: Properties) -> Id:
    """Return the id that the event was sent with: an export may show the one it was merged into."""
    return said.distinct_id if said.id_before is None else said.id_before


def _is_anonymous(said: Properties) -> bool:
    sent = str(_sent(said))
    return sent.startswith(_DEVICE) or (said.device_id is not None and sent == _plain(said.device_id))


def _link(event: Event) -> tuple[Id, Id, bool] | None:
    """Return the visitor, the user, and whether the visitor may be a user's old id."""
    said = event.said
    if event.name == "$identify":
        return _plain(said.anonymous), said.identified, True
    if event.name == "$create_alias":
        return _plain(_sent(said)), None if said.alias is None else str(said.alias), True
    if said.user_id is not None and said.device_id is not None:
        return _plain(said.device_id), said.user_id, False
    return None


# --- times -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clock:
    """What `time` counts in: UTC, the project's zone, or an unknown zone other than UTC (`timezone` None)."""

    timezone: str | None = "UTC"

    def times(self, events: Sequence[Event]) -> tuple[pl.Series, pl.Series]:
        """Return when events happened, without a zone if it is unknown, and when they were processed."""
        happened = _moments("timestamp", [event.said.time for event in events])
        if self.timezone is not None:
            local = happened.dt.replace_time_zone(self.timezone, ambiguous="earliest", non_existent="null")
            happened = local.dt.convert_time_zone("UTC")
        return happened, _moments("received_at", [event.said.processed for event in events]).dt.replace_time_zone("UTC")


def _moments(name: str, values: Sequence[Any]) -> pl.Series:
    return pl.Series(name, list(map(_micros, values)), dtype=pl.Int64).cast(pl.Datetime("us"))


def _micros(value: Any) -> int | None:
    if type(value) not in {int, float} or not 0 < value < _LATEST:
        return None
    return int(value * 1_000_000) if value < _FIRST_MILLISECOND else int(value * 1_000)


_QUARTER = 15 * 60
_WIDEST = 14 * 4
_ENOUGH = 200_000


def is_local(events: Iterator[Event]) -> bool:
    """Whether `time` runs in another zone than UTC, judged by when the events were processed.

    Most events are processed within minutes. In UTC the commonest delay is therefore none; in another zone it is that
    zone's offset, and east of Greenwich events would be processed before they happen. Without any event that says when
    it was processed the answer is no, as for all projects since 2023.
    """
    delays: Counter[int] = Counter()
    for event in islice(events, _ENOUGH):
        happened, processed = _micros(event.said.time), _micros(event.said.processed)
        if happened is not None and processed is not None:
            delays[round((processed - happened) / 1_000_000 / _QUARTER)] += 1
    near = {quarters: count for quarters, count in delays.items() if abs(quarters) <= _WIDEST}
    before = sum(count for quarters, count in near.items() if quarters < -1)
    commonest = max(near, key=lambda quarters: near[quarters], default=0)
    return abs(commonest) > 1 or before * 10 > sum(near.values())


# --- rows ------------------------------------------------------------------------------------


def _vendor(clock: Clock) -> Vendor[Event]:
    def links(events: list[Event]) -> pl.DataFrame:
        told = [(event, *link) for event in events if (link := _link(event))]
        return link_frame(
            [visitor for _, visitor, _, _ in told],
            [user for _, _, user, _ in told],
            clock.times([event for event, *_ in told]),
        ).with_columns(pl.Series("renames", [renames for *_, renames in told], dtype=pl.Boolean))

    def rows(events: list[Event], _: dict[Any, Any]) -> pl.DataFrame:
        # These say only who is who, and hold no traits.
        events = [event for event in events if event.name not in {"$identify", "$create_alias", "$merge"}]
        happened, received = clock.times(events)
        sent = [_plain(_sent(event.said)) for event in events]
        hidden = [_is_anonymous(event.said) for event in events]
        return pl.DataFrame(
            [
                texts_of("user_id", [event.said.user_id for event in events]),
                pl.Series("account_id", [None] * len(events), dtype=pl.String),
                texts_of("event", [event.name for event in events]),
                happened,
                received,
                texts_of("message_id", [event.said.insert_id for event in events]),
                json_texts("properties", [event.text for event in events]),
                pl.Series("visitor", sent, dtype=pl.String),
                pl.Series(
                    "presumed", [None if out else who for out, who in zip(hidden, sent, strict=True)], dtype=pl.String
                ),
            ]
        )

    return Vendor(_decode, links, rows)


def source(name: str, texts: Sequence[Text], timezone: str | None = None) -> Source:
    """Return Mixpanel's events.

    Parameters
    ----------
    name : what messages call the source
    texts : the files of the export
    timezone : the zone that `time` runs in. None lets the events tell: where it is not UTC, times come without a zone, and
        are read in the zone that the definition names or refused where it names none
    """
    if timezone is not None:
        zone(timezone)
        return _vendor(Clock(timezone)).source(name, texts)

    def read(sieve: Sieve) -> Iterator[pl.DataFrame]:
        events = chain.from_iterable(json_records(texts, _decode, Sieve("events")))
        clock = Clock(None) if is_local(events) else Clock()
        yield from _vendor(clock).source(name, texts).read(sieve)

    return Source(name, read)

"""Segment's JSON lines (raw data in S3, warehouses of calls, webhook bodies): the fields of Segment's Spec.

Read are the common fields (type, userId, anonymousId, messageId, context.groupId and the four times) and those of the
calls Track (event, properties), Page and Screen (name, properties), Identify (traits), Group (groupId, traits) and Alias
(previousId). `timestamp` there is already corrected for the device's clock; a later stage can do it again from
`sent_at` and `original_timestamp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import polars as pl

from features.sources.files import Text
from features.sources.identity import Vendor, link_frame
from features.sources.lines import json_texts, texts_of
from features.sources.source import Source

Id = str | int | float | None
_NULL = msgspec.Raw(b"null")


class _Context(msgspec.Struct, gc=False):
    groupId: Id = None  # noqa: N815  (the vendor's names)


class Call(msgspec.Struct, gc=False):
    """One call, with the fields that are read; all others are passed over."""

    type: Literal["track", "page", "screen", "identify", "group", "alias"]
    userId: Id = None  # noqa: N815
    anonymousId: Id = None  # noqa: N815
    previousId: Id = None  # noqa: N815
    groupId: Id = None  # noqa: N815
    event: str | None = None
    name: str | None = None
    messageId: Id = None  # noqa: N815
    timestamp: str | None = None
    originalTimestamp: str | None = None  # noqa: N815
    sentAt: str | None = None  # noqa: N815
    receivedAt: str | None = None  # noqa: N815
    properties: msgspec.Raw = _NULL
    traits: msgspec.Raw = _NULL
    context: _Context | None = None


def _event(call: Call) -> str | None:
    match call.type:
        case "track":
            return call.event
        case "page":
            return f"Viewed {call.name} Page" if call.name else "Loaded a Page"
        case "screen":
            return f"Viewed {call.name} Screen" if call.name else "Loaded a Screen"
        case _:
            return f"${call.type}"


def _account(call: Call) -> Id:
    if call.type == "group":
        return call.groupId
    return None if call.context is None else call.context.groupId


def _times(calls: list[Call]) -> tuple[pl.Series, pl.Series]:
    happened = pl.Series("timestamp", [call.timestamp or call.originalTimestamp for call in calls], dtype=pl.String)
    return happened, pl.Series("received_at", [call.receivedAt for call in calls], dtype=pl.String)


def _links(calls: list[Call]) -> pl.DataFrame:
    both = [call for call in calls if call.userId is not None and call.anonymousId is not None]
    aliases = [call for call in calls if call.type == "alias"]
    return pl.concat(
        [
            link_frame([call.anonymousId for call in both], [call.userId for call in both], _times(both)),
            link_frame(
                [call.previousId for call in aliases], [call.userId for call in aliases], _times(aliases), renames=True
            ),
        ]
    )


def _rows(calls: list[Call], _: dict[Any, Any]) -> pl.DataFrame:
    # An alias says only who is who.
    calls = [call for call in calls if call.type != "alias"]
    happened, received = _times(calls)
    said = (call.traits if call.type in {"identify", "group"} else call.properties for call in calls)
    return pl.DataFrame(
        [
            texts_of("user_id", [call.userId for call in calls]),
            texts_of("account_id", list(map(_account, calls))),
            texts_of("event", list(map(_event, calls))),
            happened,
            received,
            texts_of("message_id", [call.messageId for call in calls]),
            json_texts("properties", said),
            pl.Series("sent_at", [call.sentAt for call in calls], dtype=pl.String),
            pl.Series("original_timestamp", [call.originalTimestamp for call in calls], dtype=pl.String),
            texts_of("visitor", [call.anonymousId for call in calls]),
        ]
    )


VENDOR = Vendor(msgspec.json.Decoder(Call).decode, _links, _rows)


def source(name: str, texts: Sequence[Text]) -> Source:
    """Return Segment's calls as events.

    Pages and screens are "Viewed ... Page" and "Viewed ... Screen", Identify and Group are "$identify" and "$group" with
    the traits as their properties. Calls of an anonymous visitor are those of the user whom they turned out to be.
    """
    return VENDOR.source(name, texts)

"""What the service is asked about: plain dictionaries, with types for those who check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict

Instant = str | datetime
"""A time with its zone: ISO 8601 text such as 2026-01-09T09:00:00Z, or an aware datetime."""
Trait = str | int | float | bool | None


class Event(TypedDict):
    """One thing that the lead, or where `user_id` is given a teammate of it, did."""

    event: str
    timestamp: Instant
    properties: NotRequired[Mapping[str, Any] | None]
    user_id: NotRequired[str | None]
    message_id: NotRequired[str | None]


class Lead(TypedDict):
    """One lead with all that it did since its trial began."""

    user_id: str
    started_at: Instant
    account_id: NotRequired[str | None]
    ends_at: NotRequired[Instant | None]
    traits: NotRequired[Mapping[str, Trait]]
    events: NotRequired[Sequence[Event]]


class FeatureLead(TypedDict):
    """One lead with a value of every column of the version in service; None is not known."""

    lead_id: str
    features: Mapping[str, float | None]
    account_id: NotRequired[str | None]
    as_of: NotRequired[Instant | None]
    ends_at: NotRequired[Instant | None]
    traits: NotRequired[Mapping[str, Trait]]

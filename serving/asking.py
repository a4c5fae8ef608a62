"""What all requests for scores have in common: the body around the leads, the moment, and what may be said of a lead.

A body that is wrong as a whole is refused; a lead that is wrong only takes itself out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from features.definition import Definition
from features.errors import InvalidInput, suggestion
from features.exclusions import is_excluded
from features.times import parse_instant
from features.traits import misread
from serving.web.bodies import strict

MOST_LEADS: Final = 1_000
MOST_REASONS: Final = 20
MOST_LEAD_BYTES: Final = 1024 * 1024
"""Some eight thousand events: reading them takes a fiftieth of a second, for which nobody else is answered."""
FEW_BYTES: Final = 64 * 1024
"""A body up to here cannot hold more leads than may be counted once they are read."""
MOST_SAID: Final = 300
"""Letters of what a decoder says: it may quote a key of any length."""
DECODING_ERRORS: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

TraitValue = str | int | float | bool | None
T = TypeVar("T")


class ScoreIn(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /score` and of `POST /score_features`; what a lead is differs."""

    leads: list[msgspec.Raw]
    as_of: str | None = None
    reasons: int = 3


class Excluded(InvalidInput):
    """A lead that the definition says is nobody's customer."""


_BODY: Final = msgspec.json.Decoder(ScoreIn)
# The places of a list that may hold so many and no more: reading stops at the first too many, and not once all are in memory.
_PLACES: Final = msgspec.defstruct(
    "Places", [(f"lead_{place}", msgspec.Raw, msgspec.Raw()) for place in range(MOST_LEADS)],
    array_like=True, forbid_unknown_fields=True,
)  # fmt: skip
_COUNTED: Final = msgspec.json.Decoder(msgspec.defstruct("Counted", [("leads", _PLACES)]))


def decode(body: bytes) -> ScoreIn:
    """Return the request in a JSON text; raises InvalidInput with the field that is wrong.

    The leads are not looked into: `lead_of` does that, one after another.
    """
    if len(body) > FEW_BYTES and _has_too_many(body):
        raise InvalidInput(f"leads must be 1 to {MOST_LEADS} leads, got more.", "leads", "Send them in parts.")
    try:
        request = _BODY.decode(body)
    except DECODING_ERRORS as error:
        raise wrong(error, "") from None
    if not 0 < len(request.leads) <= MOST_LEADS:
        raise InvalidInput(
            f"leads must be 1 to {MOST_LEADS} leads, got {len(request.leads)}.", "leads", "Send them in parts."
        )
    if not 0 <= request.reasons <= MOST_REASONS:
        raise InvalidInput(f"reasons must be 0 to {MOST_REASONS}, got {request.reasons}.", "reasons")
    strict(_around(body, request.leads), "body")
    return request


def _has_too_many(body: bytes) -> bool:
    """Whether a body has more leads than are taken; whatever else may be wrong with it."""
    try:
        _COUNTED.decode(body)
    except DECODING_ERRORS as error:
        return "at most length" in str(error)
    return False


def _around(body: bytes, leads: Sequence[msgspec.Raw]) -> bytes:
    """Return a body with 0 in the place of each lead that is an object, so that what is around them can be read alone."""
    parts, at = [], 0
    for lead in leads:
        text = bytes(lead)
        if text.startswith(b"{"):
            place = body.index(text, at)
            parts.append(body[at:place])
            at = place + len(text)
    return b"0".join([*parts, body[at:]])


def lead_of(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, spot: str) -> T:
    """Return one lead of a request; raises InvalidInput with the field that is wrong."""
    text = bytes(raw)
    if len(text) > MOST_LEAD_BYTES:
        raise InvalidInput(
            f"{spot} must be at most {MOST_LEAD_BYTES:,} bytes, got {len(text):,}.", spot, "Send the newest events."
        )
    strict(text, spot)
    try:
        return decoder.decode(text)
    except DECODING_ERRORS as error:
        raise wrong(error, spot) from None


def wrong(error: Exception, prefix: str) -> InvalidInput:
    """Return what a decoder found wrong, with its place in the body."""
    text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    message, _, path = (part[:MOST_SAID] for part in text.partition(" - at `$"))
    field = (prefix + path.rstrip("`")).lstrip(".")
    return InvalidInput(f"{field or 'body'}: {message}.", field or None, "See the README for a request that works.")


def id_of(raw: msgspec.Raw, names: Sequence[str]) -> str | None:
    """Return the first of these ids that a broken lead still tells."""
    if len(memoryview(raw)) > MOST_LEAD_BYTES:
        return None
    try:
        lead = msgspec.json.decode(raw)
    except DECODING_ERRORS:
        return None
    if not isinstance(lead, dict):
        return None
    return next((found for name in names if isinstance(found := lead.get(name), str)), None)


def moment_of_scoring(text: str | None, default: int, field: str, definition: Definition) -> int:
    """Return a moment of scoring in microseconds since 1970 UTC, the default where none is given."""
    return default if text is None else parse_instant(text, field, definition.timezone)


def end_of_trial(text: str | None, started_at: int, definition: Definition, spot: str) -> int | None:
    """Return when a trial ends: as the lead says, or else as the definition does, None where nothing tells.

    That of an account is open while any of its users' is, so that no length tells when it ends.
    """
    if text is not None:
        return parse_instant(text, f"{spot}.ends_at", definition.timezone)
    length = definition.trial.length if definition.lead == "user" else None
    return None if length is None else started_at + length


def check_id(given: str, field: str) -> str:
    """Return an id; raises InvalidInput where it is blank."""
    if not given.strip():
        raise InvalidInput(f"{field} must not be empty.", field)
    return given


def check_traits(traits: Mapping[str, TraitValue], definition: Definition, spot: str) -> None:
    """Raise InvalidInput where a trait is none of the definition's, or a value is none of its trait."""
    for name, value in traits.items():
        trait = definition.trait_of.get(name)
        if trait is None:
            known = ", ".join(definition.trait_of) or "none"
            raise InvalidInput(
                f"{spot}.traits: unknown trait {name[:100]!r}; this model knows {known}.",
                f"{spot}.traits",
                suggestion(name[:100], definition.trait_of).strip() or None,
            )
        wanted = misread(trait, value)
        if wanted is not None:
            field = f"{spot}.traits.{name}"
            raise InvalidInput(
                f"{field} must be {wanted}, got {str(value)[:100]!r}.", field, "Send null where it is not known."
            )


def check_customer(
    definition: Definition, user: str, account: str | None, traits: Mapping[str, TraitValue], spot: str
) -> None:
    """Raise Excluded where a lead is on one of the definition's lists."""
    if is_excluded(definition, user, account, traits):
        raise Excluded(f"{spot}: {user!r} is on the definition's list of excluded leads.", spot)

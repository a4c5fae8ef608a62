"""JSON of `POST /score` -> leads and what they did.

A lead that cannot be read gets an error; the leads beside it are scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec
import numpy as np

from features.definition import TRIAL_STARTED, Definition
from features.durations import DAY
from features.errors import InvalidInput, PQLError
from features.exclusions import is_excluded
from features.leads import NEVER, Leads, TraitLog
from features.logs import Happening, read_requests
from features.times import EARLIEST, parse_instant, text_of
from features.windows import Ints
from serving.scoring.answers import Answer, Asked
from serving.scoring.receipt import Keep, answered
from serving.scoring.scorer import Scorer

MOST_LEADS: Final = 1_000
MOST_REASONS: Final = 20


class EventIn(msgspec.Struct, forbid_unknown_fields=True):
    """One event; `user_id` is given where a teammate did it, for signals about the account."""

    event: str
    timestamp: str
    properties: dict[str, Any] | None = None
    user_id: str | None = None
    message_id: str | None = None


class LeadIn(msgspec.Struct, forbid_unknown_fields=True):
    """One lead with all that it and, where the model has signals about accounts, its teammates did."""

    user_id: str
    started_at: str
    account_id: str | None = None
    ends_at: str | None = None
    traits: dict[str, str | int | float | bool | None] = {}
    events: list[EventIn] = []


class ScoreIn(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /score`."""

    leads: list[msgspec.Raw]
    as_of: str | None = None
    reasons: int = 3


class Failed(msgspec.Struct):
    """Why one lead was not scored; `index` is its place in the request."""

    index: int
    lead_id: str | None
    error: dict[str, str]


@dataclass(frozen=True)
class _Read:
    index: int
    lead: LeadIn
    started_at: int
    ends_at: int
    times: Sequence[int]


_BODY: Final = msgspec.json.Decoder(ScoreIn)
_LEAD: Final = msgspec.json.Decoder(LeadIn)
_TOLD: Final = tuple(one.name for one in fields(Answer) if one.name != "as_of")


def decode(body: bytes) -> ScoreIn:
    """Return the request in a JSON text; raises InvalidInput with the field that is wrong."""
    try:
        request = _BODY.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _wrong(error, "") from None
    if not 0 < len(request.leads) <= MOST_LEADS:
        raise InvalidInput(
            f"leads must be 1 to {MOST_LEADS} leads, got {len(request.leads)}.", "leads", "Send them in parts."
        )
    if not 0 <= request.reasons <= MOST_REASONS:
        raise InvalidInput(f"reasons must be 0 to {MOST_REASONS}, got {request.reasons}.", "reasons")
    return request


def _wrong(error: Exception, prefix: str) -> InvalidInput:
    text = str(error) or "nested too deeply"
    message, _, path = text.partition(" - at `$")
    field = (prefix + path.rstrip("`")).lstrip(".")
    return InvalidInput(f"{field or 'body'}: {message}.", field or None, "See the README for a request that works.")


def score(scorer: Scorer, request: ScoreIn, now: int, keep: Keep | None = None) -> list[Answer | Failed]:
    """Return one result per lead of the request, in its order.

    Parameters
    ----------
    now : as_of where the request gives none, in microseconds since 1970 UTC
    keep : what the answers' receipts are handed to, before any of them is returned
    """
    definition = scorer.builder.definition
    as_of = now if request.as_of is None else parse_instant(request.as_of, "as_of", definition.timezone)
    results: dict[int, Answer | Failed] = {}
    read = list(_readable(request.leads, definition, as_of, results))
    if read:
        leads = _leads(read, definition)
        logs = read_requests(_happenings(read, definition), leads.ids, scorer.builder.vocabulary)
        asked = Asked(request.reasons)
        told = answered(scorer, leads, logs, np.arange(len(read)), np.full(len(read), as_of), asked, keep)
        results |= {one.index: answer for one, answer in zip(read, told, strict=True)}
    return [results[index] for index in range(len(request.leads))]


def _readable(
    raws: Sequence[msgspec.Raw], definition: Definition, as_of: int, results: dict[int, Answer | Failed]
) -> Iterator[_Read]:
    """Yield the leads that can be scored; the others leave their error in `results`."""
    for index, raw in enumerate(raws):
        try:
            yield _read(index, raw, definition, as_of)
        except PQLError as error:
            results[index] = Failed(index, _id_of(raw), error_body(error))


def _read(index: int, raw: msgspec.Raw, definition: Definition, as_of: int) -> _Read:
    spot = f"leads[{index}]"
    try:
        lead = _LEAD.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _wrong(error, spot) from None
    if not lead.user_id.strip():
        raise InvalidInput(f"{spot}.user_id must not be empty.", f"{spot}.user_id")
    unknown = sorted(set(lead.traits) - set(definition.trait_of))
    if unknown:
        known = ", ".join(definition.trait_of) or "none"
        raise InvalidInput(f"{spot}.traits: unknown trait {unknown[0]!r}; this model knows {known}.", f"{spot}.traits")
    started_at = _started(lead, definition, spot)
    if started_at > as_of:
        raise InvalidInput(
            f"{spot}.started_at must not lie after as_of {text_of(as_of)}, got {lead.started_at}.", f"{spot}.started_at"
        )
    ends_at = _ends(lead, started_at, definition, spot)
    if is_excluded(definition, lead.user_id, lead.account_id, lead.traits):
        raise Excluded(f"{spot}: {lead.user_id!r} is on the definition's list of excluded leads.", spot)
    for i, event in enumerate(lead.events):
        if event.user_id is not None and not event.user_id.strip():
            field = f"{spot}.events[{i}].user_id"
            raise InvalidInput(f"{field} must not be empty.", field, "Leave it out where the lead itself did it.")
    times = [_time(event, definition, f"{spot}.events[{i}]") for i, event in enumerate(lead.events)]
    return _Read(index, lead, started_at, ends_at, times)


class Excluded(InvalidInput):
    """A lead that the definition says is nobody's customer."""


def _started(lead: LeadIn, definition: Definition, spot: str) -> int:
    return _rounded(_instant(lead.started_at, f"{spot}.started_at", definition), definition)


def _ends(lead: LeadIn, started_at: int, definition: Definition, spot: str) -> int:
    """Return when the trial ends: as the lead says, or else as the definition does; an account's is open while any user's is."""
    if lead.ends_at is not None:
        return parse_instant(lead.ends_at, f"{spot}.ends_at", definition.timezone)
    length = definition.trial.length if definition.lead == "user" else None
    return NEVER if length is None else started_at + length


def _instant(text: str, field: str, definition: Definition) -> int:
    """Return a time that history may hold; the same bound as for tables."""
    time = parse_instant(text, field, definition.timezone)
    if time < EARLIEST:
        raise InvalidInput(
            f"{field} must not lie before {text_of(EARLIEST)}, got {text}.", field, "Check the year and the unit."
        )
    return time


def _rounded(start: int, definition: Definition) -> int:
    return start // DAY * DAY if definition.trial.round_start_to == "day" else start


def _time(event: EventIn, definition: Definition, spot: str) -> int:
    """Return when an event happened; a teammate's trial starts when the definition says, as this lead's own does."""
    time = _instant(event.timestamp, f"{spot}.timestamp", definition)
    return _rounded(time, definition) if event.event == TRIAL_STARTED else time


def _id_of(raw: msgspec.Raw) -> str | None:
    """Return the lead's id where the broken lead still tells it."""
    try:
        lead = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    found = lead.get("user_id") if isinstance(lead, dict) else None
    return found if isinstance(found, str) else None


def _leads(read: Sequence[_Read], definition: Definition) -> Leads:
    n = len(read)
    never: Ints = np.full(n, NEVER)
    told = {trait.name: [one.lead.traits.get(trait.name) for one in read] for trait in definition.traits}
    traits = {name: TraitLog.constant(values) for name, values in told.items()}
    started = np.array([one.started_at for one in read], np.int64)
    ends = np.array([one.ends_at for one in read], np.int64)
    ids, accounts = [one.lead.user_id for one in read], [one.lead.account_id for one in read]
    return Leads(ids, accounts, np.arange(n), started, ends, never, never, traits)


def _happenings(read: Iterable[_Read], definition: Definition) -> Iterator[Happening]:
    """Yield each event, and each lead's own trial start, which an account's history may count."""
    for place, one in enumerate(read):
        me = one.lead.user_id
        if not _tells_starts(one.lead, definition):
            yield Happening(place, me, own=True, event=TRIAL_STARTED, time=one.started_at, properties={})
        for event, time in zip(one.lead.events, one.times, strict=True):
            user = event.user_id or me
            # What `started_at` says is not said twice.
            if definition.lead == "account" or user != me or event.event != TRIAL_STARTED:
                own = definition.lead == "account" or user == me
                message = (event.message_id or "").strip() or None
                yield Happening(place, user, own, event.event, time, event.properties or {}, message)


def _tells_starts(lead: LeadIn, definition: Definition) -> bool:
    """Whether an account's events tell themselves when its users' trials started."""
    return definition.lead == "account" and any(event.event == TRIAL_STARTED for event in lead.events)


def error_body(error: PQLError) -> dict[str, str]:
    """Return an error in the one shape of all our answers."""
    code = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__).strip("_")
    body = {"code": code, "message": str(error)}
    if isinstance(error, InvalidInput):
        body["message"] = error.message
        body |= {name: value for name, value in (("field", error.field), ("hint", error.hint)) if value}
    return body


def result_body(result: Answer | Failed) -> Mapping[str, Any] | Failed:
    """Return one result as it stands in the answer."""
    if isinstance(result, Failed):
        return result
    return {name: getattr(result, name) for name in _TOLD} | {"as_of": text_of(result.as_of)}

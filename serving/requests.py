"""Leads of `POST /score`, each with all that it did -> subjects, through the windows that files come through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from features.definition import TRIAL_STARTED, Definition
from features.durations import DAY
from features.errors import InvalidInput, PQLError
from features.leads import NEVER, Leads, TraitLog
from features.logs import Happenings, read_columns
from features.times import EARLIEST, common_instants, parse_instant, text_of
from features.vocabulary import Vocabulary
from features.windows import Ints
from serving.answering import Failed, Made, Reading, Result, answering, drained, failed, result_body
from serving.asking import (
    MOST_LEADS,
    MOST_REASONS,
    Excluded,
    ScoreIn,
    TraitValue,
    check_customer,
    check_id,
    check_traits,
    decode,
    end_of_trial,
    lead_of,
    moment_of_scoring,
)
from serving.outcomes import Done, Outcomes
from serving.scoring.answers import Asked, subjects
from serving.scoring.receipt import Keep
from serving.scoring.scorer import Scorer


# Nothing in a JSON text can refer to itself, so the collector of cycles need not look at hundreds of events.
class EventIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event; `user_id` is given where a teammate did it, for signals about the account."""

    event: str
    timestamp: str
    properties: dict[str, Any] | None = None
    user_id: str | None = None
    message_id: str | None = None


class LeadIn(msgspec.Struct, forbid_unknown_fields=True):
    """One user with all that it and, where the model has signals about accounts, its teammates did."""

    user_id: str
    started_at: str
    account_id: str | None = None
    ends_at: str | None = None
    traits: dict[str, TraitValue] = {}
    events: list[EventIn] = []


class AccountIn(msgspec.Struct, forbid_unknown_fields=True):
    """One account with all that its users did, for models whose leads are accounts.

    `account_id` names it, or `user_id` where that is not given; else `user_id` is who did what names nobody.
    """

    started_at: str
    account_id: str | None = None
    user_id: str | None = None
    ends_at: str | None = None
    traits: dict[str, TraitValue] = {}
    events: list[EventIn] = []


class SameAccount(InvalidInput):
    """An account that is there more than once in a request: its users are to be one lead."""


@dataclass(frozen=True)
class _Lead:
    """A lead whose times have been read; `me` is who did what names nobody."""

    id: str
    account_id: str | None
    me: str
    started_at: int
    ends_at: int | None
    traits: dict[str, TraitValue]
    events: Sequence[EventIn]
    times: Sequence[int]


_USER: Final = msgspec.json.Decoder(LeadIn)
_ACCOUNT: Final = msgspec.json.Decoder(AccountIn)


def score(scorer: Scorer, request: ScoreIn, now: int, keep: Keep | None = None) -> list[Result]:
    """Return one result per lead of the request, in its order; all that `answering` does, without a pause.

    Parameters
    ----------
    now : as_of where the request gives none, in microseconds since 1970 UTC
    keep : what the answers' receipts are handed to, before any of them is returned
    """
    return drained(answering(reading(scorer, request, now), keep))


def reading(scorer: Scorer, request: ScoreIn, now: int) -> Reading:
    """Return how a request is read; raises InvalidInput where its moment of scoring is none."""
    as_of = moment_of_scoring(request.as_of, now, "as_of", scorer.builder.definition)
    reader = _Reader(scorer, as_of, Outcomes(scorer.builder.definition))
    return Reading(scorer, Asked(request.reasons), request.leads, reader.part)


@dataclass(frozen=True)
class _Reader:
    """Reads the leads of one request, which are all scored at one moment."""

    scorer: Scorer
    as_of: int
    outcomes: Outcomes
    seen: set[str] = field(default_factory=set)

    @property
    def definition(self) -> Definition:
        return self.scorer.builder.definition

    @property
    def by_account(self) -> bool:
        return self.definition.lead == "account"

    def part(self, start: int, raws: Sequence[msgspec.Raw]) -> list[Made]:
        made: list[_Lead | Failed] = [self._tried(start + i, raw) for i, raw in enumerate(raws)]
        read = [one for one in made if isinstance(one, _Lead)]
        if not read:
            return [one for one in made if isinstance(one, Failed)]
        leads, vocabulary = _leads(read, self.definition), self.scorer.builder.vocabulary
        logs = read_columns(_happened(read, self.definition, vocabulary), leads.ids, vocabulary)
        found = iter(subjects(self.scorer, leads, logs, np.arange(len(read)), np.full(len(read), self.as_of)))
        return [one if isinstance(one, Failed) else next(found) for one in made]

    def _tried(self, index: int, raw: msgspec.Raw) -> _Lead | Failed:
        try:
            return self._read(raw, f"leads[{index}]")
        except PQLError as error:
            return failed(index, raw, error, ("account_id", "user_id") if self.by_account else ("user_id",))

    def _read(self, raw: msgspec.Raw, spot: str) -> _Lead:
        definition = self.definition
        told: LeadIn | AccountIn = lead_of(_ACCOUNT, raw, spot) if self.by_account else lead_of(_USER, raw, spot)
        name = self._name(told, spot)
        check_traits(told.traits, definition, spot)
        started_at = _rounded(_instant(told.started_at, f"{spot}.started_at", definition), definition)
        if started_at > self.as_of:
            where = f"{spot}.started_at"
            raise InvalidInput(f"{where} must not lie after as_of {text_of(self.as_of)}, got {told.started_at}.", where)
        ends_at = end_of_trial(told.ends_at, started_at, definition, spot)
        check_customer(definition, name, name if self.by_account else told.account_id, told.traits, spot)
        times = _times(told.events, definition, spot)
        lead = _Lead(name, told.account_id, told.user_id or name, started_at, ends_at, told.traits, told.events, times)
        if not self.outcomes.ends.isdisjoint([event.event for event in told.events]):
            self.outcomes.check(self._done(lead), started_at, self.as_of, spot)
        if self.by_account and name in self.seen:
            raise SameAccount(
                f"{spot}: account {name!r} must be there once, got it again.", spot, "Send all its events as one lead."
            )
        self.seen.add(name)
        return lead

    def _name(self, told: LeadIn | AccountIn, spot: str) -> str:
        """Return what a lead is called."""
        user = None if told.user_id is None else check_id(told.user_id, f"{spot}.user_id")
        account = (
            check_id(told.account_id, f"{spot}.account_id") if self.by_account and told.account_id is not None else None
        )
        name = user if account is None else account
        if name is None:
            where = f"{spot}.account_id"
            raise InvalidInput(f"{where} must be given: the leads of this model are accounts.", where)
        return name

    def _done(self, lead: _Lead) -> Iterator[Done]:
        """Yield what the lead itself did, or with accounts as leads everybody."""
        for place, (event, time) in enumerate(zip(lead.events, lead.times, strict=True)):
            user = event.user_id or lead.me
            if self.by_account or user == lead.me:
                yield Done(place, user, event.event, time)


def _instant(text: str, where: str, definition: Definition) -> int:
    """Return a time that history may hold; the same bound as for tables."""
    time = parse_instant(text, where, definition.timezone)
    if time < EARLIEST:
        raise InvalidInput(
            f"{where} must not lie before {text_of(EARLIEST)}, got {text}.", where, "Check the year and the unit."
        )
    return time


def _rounded(start: int, definition: Definition) -> int:
    return start // DAY * DAY if definition.trial.round_start_to == "day" else start


def _times(events: Sequence[EventIn], definition: Definition, spot: str) -> list[int]:
    """Return when events happened; a teammate's trial starts when the definition says, as this lead's own does."""
    if any(user is not None and not user.strip() for user in {event.user_id for event in events}):
        i = next(i for i, event in enumerate(events) if event.user_id is not None and not event.user_id.strip())
        where = f"{spot}.events[{i}].user_id"
        raise InvalidInput(f"{where} must not be empty.", where, "Leave it out where the lead itself did it.")
    times = common_instants([event.timestamp for event in events])
    if times is None or min(times, default=EARLIEST) < EARLIEST:
        times = [
            _instant(event.timestamp, f"{spot}.events[{i}].timestamp", definition) for i, event in enumerate(events)
        ]
    if definition.trial.round_start_to != "day":
        return times
    starts = [event.event == TRIAL_STARTED for event in events]
    return [_rounded(time, definition) if start else time for time, start in zip(times, starts, strict=True)]


def _leads(read: Sequence[_Lead], definition: Definition) -> Leads:
    n = len(read)
    never: Ints = np.full(n, NEVER)
    traits = {
        trait.name: TraitLog.constant([one.traits.get(trait.name) for one in read]) for trait in definition.traits
    }
    started = np.array([one.started_at for one in read], np.int64)
    ends = np.array([NEVER if one.ends_at is None else one.ends_at for one in read], np.int64)
    ids, accounts = [one.id for one in read], [one.account_id for one in read]
    return Leads(ids, accounts, np.arange(n), started, ends, never, never, traits)


def _happened(read: Sequence[_Lead], definition: Definition, vocabulary: Vocabulary) -> Happenings:
    """Return each event that is read, and each lead's own trial start, which an account's history may count."""
    by_account, asked_of = definition.lead == "account", vocabulary.bases
    found = Happenings()
    for place, lead in enumerate(read):
        events, times, me = lead.events, lead.times, lead.me
        if TRIAL_STARTED in asked_of:
            events, times = _with_starts(lead, by_account=by_account)
        kept = [i for i, one in enumerate(events) if one.event in asked_of]
        read_events = [events[i] for i in kept]
        users = [one.user_id or me for one in read_events]
        found.lead += [place] * len(kept)
        found.user += users
        found.own += [by_account or user == me for user in users]
        found.event += [one.event for one in read_events]
        found.time += [times[i] for i in kept]
        found.properties += [one.properties or {} for one in read_events]
        found.message_id += [(one.message_id and one.message_id.strip()) or None for one in read_events]
    return found


def _with_starts(lead: _Lead, *, by_account: bool) -> tuple[Sequence[EventIn], Sequence[int]]:
    """Return a lead's events and times with its own trial's start, which `started_at` says; that is not said twice.

    An account whose events tell when its users' trials started has told all of them.
    """
    starts = [one.event == TRIAL_STARTED for one in lead.events]
    if by_account and any(starts):
        return lead.events, lead.times
    kept = [i for i, one in enumerate(lead.events) if not starts[i] or one.user_id not in (None, lead.me)]
    own = EventIn(TRIAL_STARTED, "")
    return [own, *(lead.events[i] for i in kept)], [lead.started_at, *(lead.times[i] for i in kept)]


__all__ = [
    "MOST_LEADS", "MOST_REASONS", "AccountIn", "EventIn", "Excluded", "Failed", "LeadIn", "SameAccount", "ScoreIn", "decode",
    "reading", "result_body", "score",
]  # fmt: skip

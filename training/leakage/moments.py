"""Conversions seen beside moments of other leads at the same age, and what had happened by each of these moments.

A lead that converted at some age is compared with leads that were still open at that age, so that having had more time
cannot look like a sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.dataset import Dataset
from features.definition import CONVERTED, TRIAL_STARTED, Definition, Signal
from features.durations import DAY
from features.leads import NEVER, Leads, TraitLog
from features.traits import level_of
from features.vocabulary import Vocabulary
from features.windows import ALWAYS, EventLog, Floats, Ints
from training.leakage.odds import Bools

CONTROLS = 8
"""Other leads that each conversion is compared with, at most."""
MOST_CASES = 1_500
FEWEST_AT_RISK = 10
ACCOUNT_MEMORY = 30 * DAY
"""How far back an account's events count: colleagues may have converted, and caused the same, long before."""
_BLOCK = 1_024


@dataclass(frozen=True)
class Moments:
    """Conversions (cases) and moments of open leads at the same age; arrays of shape (n,).

    Attributes
    ----------
    lead : int64, numbers as in `Leads`
    at : int64, microseconds since 1970 UTC; of a case its conversion
    age : float64, days since the lead's trial began
    case : bool
    """

    lead: Ints
    at: Ints
    age: Floats
    case: Bools

    def __len__(self) -> int:
        return len(self.lead)


@dataclass(frozen=True)
class Course:
    """When something first happened, seen from each moment; float64 arrays of shape (n,), days, NaN where it never did.

    Attributes
    ----------
    lead_time : days from the first time until the moment, below 0 where it came after the moment
    known_for : days from its arrival until the moment
    """

    lead_time: Floats
    known_for: Floats


def sampled(leads: Leads, among: Ints, most: int = MOST_CASES) -> Ints:
    """Return whole blocks of accounts, evenly spread, with some `most` converters among the leads numbered `among`."""
    won = int((leads.converted_at[among] < NEVER).sum())
    every = max(1, won // most)
    return among[(leads.accounts[among] // _BLOCK) % every == 0] if every > 1 else among


def moments(leads: Leads, among: Ints, until: int, seed: int = 0) -> Moments:
    """Return the conversions of some leads, each with up to CONTROLS moments of leads still open at the same age.

    Those other leads never converted: one about to convert would already show what is dated back to before it.
    """
    rng = np.random.default_rng(seed)
    won = leads.converted_at[among] < NEVER
    case, other = among[won], among[~won]
    took = leads.converted_at[case] - leads.started_at[case]
    open_for = np.minimum(leads.closed_at[other], until) - leads.started_at[other]
    other, open_for = other[np.argsort(open_for, kind="stable")], np.sort(open_for)
    # Those who were open for longer than a case's age stand from this place on.
    first = np.searchsorted(open_for, took, side="right")
    at_risk = len(other) - first
    enough = at_risk >= FEWEST_AT_RISK
    drawn = first[enough, None] + np.floor(rng.random((int(enough.sum()), CONTROLS)) * at_risk[enough, None])
    controls = other[drawn.astype(np.int64).ravel()]
    age = np.concatenate([took, np.repeat(took[enough], CONTROLS)])
    lead = np.concatenate([case, controls])
    return Moments(lead, leads.started_at[lead] + age, age / DAY, np.arange(len(lead)) < len(case))


def courses(data: Dataset, seen: Moments) -> dict[str, Course]:
    """Return the course of each signal, and of each trait that dated events told, by name.

    Signals that read the trials table only are left out: what they read is dated as what it is.
    """
    signals = [signal for signal in data.definition.signals if not told_by_trials(signal)]
    at = {signal.name: np.full(len(seen), NEVER) for signal in signals}
    known = {signal.name: np.full(len(seen), NEVER) for signal in signals}
    for part in data.parts(seen.lead, "received_at"):
        rows = np.flatnonzero(np.isin(seen.lead, part.numbers))
        local = np.searchsorted(part.numbers, seen.lead[rows])
        for scope in ("lead", "account"):
            mine = [signal for signal in signals if signal.scope == scope]
            log, groups = (
                (part.logs.lead, local) if scope == "lead" else (part.logs.account, part.leads.accounts[local])
            )
            since = np.full(len(rows), ALWAYS) if scope == "lead" else seen.at[rows] - ACCOUNT_MEMORY
            looked_up = _Firsts.of(log, groups, since) if mine else None
            for signal in mine:
                assert looked_up is not None
                of_kind = kinds_of(data.history.reader.vocabulary, data.definition, signal.name)
                at[signal.name][rows], known[signal.name][rows] = looked_up.first(of_kind)
    told = {name: _told(log, seen.lead) for name, log in data.leads.traits.items() if (log.since != ALWAYS).any()}
    at, known = at | told, known | told
    return {name: Course(_days(seen.at, at[name]), _days(seen.at, known[name])) for name in at}


def told_by_trials(signal: Signal) -> bool:
    """Whether all that a signal reads is made from the trials table."""
    return all(match.event in (TRIAL_STARTED, CONVERTED) for match in signal.events)


def kinds_of(vocabulary: Vocabulary, definition: Definition, name: str) -> Bools:
    """Return, for each kind of event, whether it belongs to a signal."""
    start, series = vocabulary.series_of_kinds({signal.name: i for i, signal in enumerate(definition.signals)})
    wanted = [signal.name for signal in definition.signals].index(name)
    member = np.zeros(len(start) - 1, bool)
    member[np.repeat(np.arange(len(start) - 1), np.diff(start))[series == wanted]] = True
    return member


def _days(later: Ints, earlier: Ints) -> Floats:
    return np.where(earlier == NEVER, np.nan, (later - np.where(earlier == NEVER, 0, earlier)) / DAY)


def _told(log: TraitLog, lead: Ints) -> Ints:
    """Return since when anything was known of a trait of each lead, NEVER where nothing ever was."""
    there = np.array([level_of(value) is not None for value in log.values], bool)
    owner = np.repeat(np.arange(len(log.offsets) - 1), np.diff(log.offsets))[there]
    first = np.full(len(log.offsets) - 1, NEVER)
    np.minimum.at(first, owner, log.since[there])
    return first[lead]


@dataclass(frozen=True)
class _Firsts:
    """Looks up in a log the first event of a kind at or after a moment of each query's group."""

    log: EventLog
    owner: Ints
    key: Ints
    groups: Ints
    wanted: Ints

    @classmethod
    def of(cls, log: EventLog, groups: Ints, since: Ints) -> _Firsts:
        """Prepare queries for the groups `groups`, from the moments `since` on."""
        low, high = (int(log.times.min()), int(log.times.max())) if len(log.times) else (0, 0)
        # Milliseconds, so that a group and a time fit into one number.
        span = (high - low) // 1_000 + 2
        owner = np.repeat(np.arange(len(log.offsets) - 1), np.diff(log.offsets))
        key = owner * span + (log.times - low) // 1_000
        wanted = groups * span + (np.clip(since, low, high + 1_000) - low) // 1_000
        return cls(log, owner, key, groups, wanted)

    def first(self, of_kind: Bools) -> tuple[Ints, Ints]:
        """Return when it first happened and when that arrived, NEVER where it did not happen."""
        places = np.flatnonzero(of_kind[self.log.kinds])
        found = np.searchsorted(self.key[places], self.wanted)
        there = found < len(places)
        there[there] = self.owner[places[found[there]]] == self.groups[there]
        at, known = np.full(len(found), NEVER), np.full(len(found), NEVER)
        event = places[found[there]]
        at[there], known[there] = self.log.times[event], self.log.known[event]
        return at, known

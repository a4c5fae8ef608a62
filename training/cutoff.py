"""Choosing the cutoff that a policy asks for, on leads whose outcome is known and that nobody learned from.

Each limit that is asked for draws a line: the laxest cutoff that keeps the promise, the one that flags no more leads
than can be called, the one from which a call pays. The strictest line binds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.policies import CutoffPolicy
from features.times import text_of
from features.windows import Floats, Ints
from serving.scoring.decision import Cutoff, Decision, Line, LineName, NoCutoff, Segmented
from training.certify import Floor, Shortfall, Tried, certify, leads_to_carry, too_few
from training.first_flags import FirstFlags, first_flag_rows, lower_bound
from training.snapshots import Snapshots


def choose_cutoff(
    probabilities: Floats,
    table: Snapshots,
    policy: CutoffPolicy,
    segments: Ints | None = None,
    names: Sequence[str] = (),
    until: int | None = None,
    of_all: float = 1.0,
) -> Decision:
    """Return the laxest cutoff that keeps all that the policy asks for, or why none does.

    Parameters
    ----------
    probabilities : float64 array of shape (n,)
        Of the table's rows, from a model that has not learned from them.
    table : Snapshots of shape (n,), ordered by as_of
    segments : int64 array of shape (n,), optional
        The number of each row's segment, negative where it has none; with it each segment that has evidence enough gets
        a decision of its own, and all other leads together another.
    names : of the segments
    until : the end of the data, from which on the evidence grows older; by default that of the table's labels
    of_all : share of all leads of that time that are in the table, in (0, 1]; a week has the others too
    """
    everybody = _Held.of(probabilities, table, of_all)
    asked = _Asked(policy, _limits(everybody.seen, policy), until)
    if segments is None:
        return asked.decide(everybody, policy.confidence)
    return _segmented(everybody, asked, segments, tuple(names))


@dataclass(frozen=True)
class _Held:
    """Held-out leads, their scores, and what every threshold would flag among them; `of_all` as above."""

    probabilities: Floats
    table: Snapshots
    of_all: float
    seen: FirstFlags

    @classmethod
    def of(cls, probabilities: Floats, table: Snapshots, of_all: float) -> _Held:
        seen = FirstFlags.of(probabilities, table)
        return cls(probabilities, table, of_all, replace(seen, weeks=seen.weeks * of_all))

    def take(self, rows: Ints) -> _Held:
        return _Held.of(self.probabilities[rows], self.table.take(rows), self.of_all)


@dataclass(frozen=True)
class _Asked:
    """What is asked of every part of the leads."""

    policy: CutoffPolicy
    limits: Sequence[_Limit]
    until: int | None

    def decide(self, held: _Held, confidence: float) -> Cutoff | NoCutoff:
        """Return the decision on some leads."""
        return _decide(
            _Part(held.seen, self.policy, confidence, _Span.of(held.table, self.policy, self.until)), self.limits
        )


def _segmented(everybody: _Held, asked: _Asked, segments: Ints, names: tuple[str, ...]) -> Segmented:
    """Return a decision for each segment that can carry one, and one for all others together.

    They share the chance of being wrong. How many share it depends on how many leads the segments have, and not on who
    converted: a count that outcomes decide would be smallest just where luck opened a gate.
    """
    policy = asked.policy
    floor = None if policy.at_least is None else Floor(policy.at_least, policy.confidence)
    each = [everybody.take(np.flatnonzero(segments == number)) for number in range(len(names))]
    large = [len(one.seen) >= (leads_to_carry(floor) if floor else 1) for one in each]
    own = [
        enough and (floor is None or too_few(len(one.seen), one.seen.won, floor) is None)
        for enough, one in zip(large, each, strict=True)
    ]
    rest = everybody.take(np.flatnonzero(~np.isin(segments, np.flatnonzero(own))))
    confidence = 1 - (1 - policy.confidence) / (sum(large) + 1)
    decided = tuple(asked.decide(one, confidence) if carries else None for one, carries in zip(each, own, strict=True))
    return Segmented(policy.segments or "", names, decided, asked.decide(rest, confidence))


@dataclass(frozen=True)
class _Limit:
    """The lowest probability that a limit allows, infinite where it allows nobody."""

    name: LineName
    probability: float
    why: str


_NO_LIMIT: Final = _Limit("promise", -math.inf, "")


@dataclass(frozen=True)
class _Span:
    """Over which time was measured, and until when that holds."""

    start: str
    end: str
    expires: str | None

    @classmethod
    def of(cls, table: Snapshots, policy: CutoffPolicy, until: int | None) -> _Span:
        if not len(table):
            return cls("", "", None)
        end = int(table.label_end.max())
        expires = None if policy.valid_for is None else text_of((until or end) + policy.valid_for)
        return cls(text_of(int(table.as_of.min())), text_of(end), expires)


@dataclass(frozen=True)
class _Part:
    """The held-out leads of all or of one segment, and what is asked of them."""

    seen: FirstFlags
    policy: CutoffPolicy
    confidence: float
    span: _Span

    @property
    def floor(self) -> Floor | None:
        at_least = self.policy.at_least
        return None if at_least is None else Floor(at_least, self.confidence)

    def line(self, name: LineName, probability: float, why: str) -> Line:
        leads, converted = self.seen.at(probability)
        low = lower_bound(converted, leads, self.confidence)
        return Line(name, probability, leads, converted, low, leads / self.seen.weeks, why)

    def refuse(self, reason: str, needed: int | None = None) -> NoCutoff:
        return NoCutoff(self.policy.at_least, self.confidence, reason, needed)

    def cutoff(self, probability: float, binds: LineName, lines: tuple[Line, ...]) -> Cutoff:
        own, span = self.line(binds, probability, ""), self.span
        return Cutoff(
            probability, self.policy.at_least, self.confidence, own.leads, own.converted, own.precision_low, span.start,
            span.end, own.leads_per_week, span.expires, self.policy.policy, binds, lines,
        )  # fmt: skip


def _limits(seen: FirstFlags, policy: CutoffPolicy) -> list[_Limit]:
    """Return the limits that depend on no outcome."""
    found = []
    if policy.leads_per_week is not None:
        found.append(_capacity(seen, policy.leads_per_week))
    if policy.worth_it is not None:
        found.append(_Limit("value", policy.worth_it, f"a contact pays from a probability of {policy.worth_it:.3f} on"))
    return found


def _capacity(seen: FirstFlags, per_week: float) -> _Limit:
    """Return the lowest score from which no more leads per week than that are flagged for the first time."""
    weeks, peaks = seen.weeks, seen.peaks
    span = f"over the {weeks:.3g} week(s) of held-out leads"
    why = f"at most {per_week:g} a week may be flagged"
    enough = np.flatnonzero(np.arange(1, len(seen) + 1) / weeks <= per_week)
    if not len(enough):
        return _Limit("capacity", math.inf, f"{why}, which is not one lead {span}. Raise leads_per_week.")
    # Leads of equal score are flagged together, or not at all.
    last = len(enough)
    tied = last < len(seen) and peaks[last] == peaks[last - 1]
    place = int(np.searchsorted(-peaks, -peaks[last - 1])) - 1 if tied else last - 1
    if place < 0:
        together = int(np.sum(peaks == peaks[0]))
        tie = f"the {together:,} highest-scored leads {span} have the same score"
        return _Limit("capacity", math.inf, f"{why}, and {tie}. Raise leads_per_week.")
    return _Limit("capacity", float(peaks[place]), why)


def _decide(part: _Part, limits: Sequence[_Limit]) -> Cutoff | NoCutoff:
    """Return the laxest cutoff that the floor and all limits allow."""
    if not len(part.seen):
        return part.refuse("no held-out leads, so that nothing can be measured. Wait for more history.")
    strictest = max(limits, key=lambda limit: limit.probability, default=_NO_LIMIT)
    if strictest.probability == math.inf:
        return part.refuse(strictest.why)
    lines = tuple(part.line(limit.name, limit.probability, limit.why) for limit in limits)
    if part.floor is None:
        return part.cutoff(strictest.probability, strictest.name, lines)
    certified = certify(part.seen, part.floor)
    if isinstance(certified, Shortfall):
        return part.refuse(certified.reason, certified.needed)
    allowed = [one for one in certified if one.threshold >= strictest.probability]
    if not allowed:
        return part.refuse(_forbidden(certified[0], part.seen, strictest))
    binds = "promise" if allowed[-1] is certified[-1] else strictest.name
    kept = f"at least {part.floor.at_least:.0%} convert, with {part.floor.confidence:.0%} confidence"
    return part.cutoff(allowed[-1].threshold, binds, (part.line("promise", certified[-1].threshold, kept), *lines))


def _forbidden(first: Tried, seen: FirstFlags, limit: _Limit) -> str:
    rate = first.leads / seen.weeks
    help_ = "Raise leads_per_week" if limit.name == "capacity" else "Lower touch_cost to what it really is"
    return (
        f"the strictest cutoff that can carry the promise flags {first.leads:,} held-out leads ({rate:.3g} a week), from a "
        f"probability of {first.threshold:.3f} on; but {limit.why}. {help_}, or drop at_least."
    )


__all__ = ["FirstFlags", "choose_cutoff", "first_flag_rows", "lower_bound"]

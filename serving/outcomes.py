"""Whether a lead's own events say that its trial is over: it has converted, or was closed.

The same rules as for tables, see `features.trials` and `features.leads.running`: what happened on a day before the trial began
belongs to an earlier one, an account converts with its first user and is closed with its last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from features.definition import CONVERTED, TRIAL_STARTED, Definition
from features.durations import DAY
from features.errors import InvalidInput
from features.times import text_of


class Done(NamedTuple):
    """One event of a lead: its place among them, who did it, what, and when (microseconds since 1970 UTC)."""

    place: int
    user: str
    event: str
    time: int


class AlreadyConverted(InvalidInput):
    """A lead that bought before the moment of scoring."""


class TrialClosed(InvalidInput):
    """A lead whose trial was closed before the moment of scoring."""


@dataclass(frozen=True)
class Outcomes:
    """What ends a trial, under one definition."""

    definition: Definition

    @cached_property
    def conversions(self) -> frozenset[str]:
        """The events that are conversions; `$converted` says so where only a column of a table would."""
        event = self.definition.conversion.event
        return frozenset({CONVERTED} if event is None else {CONVERTED, event})

    @cached_property
    def closings(self) -> frozenset[str]:
        """The events that close a trial."""
        return frozenset(self.definition.trial.closed_by)

    @cached_property
    def ends(self) -> frozenset[str]:
        """All events that end a trial; a lead without any of them need not be checked."""
        return self.conversions | self.closings

    def check(self, done: Iterable[Done], started_at: int, as_of: int, spot: str) -> None:
        """Raise AlreadyConverted or TrialClosed where these events of a lead say so of the time before as_of.

        Parameters
        ----------
        done : what the lead did, or with accounts as leads what all of its users did
        """
        told = list(done)
        known, starts = [one for one in told if one.time < as_of], self._starts(told, started_at)
        converted = _firsts(known, self.conversions, starts)
        if converted:
            first = min(converted.values(), key=lambda one: (one.time, one.place))
            raise AlreadyConverted(
                _said("must not have converted before as_of", as_of, first, spot), _field(first, spot), _HINT
            )
        closed = _firsts(known, self.closings, starts)
        if closed and closed.keys() == starts.keys():
            last = max(closed.values(), key=lambda one: (one.time, one.place))
            raise TrialClosed(_said("must not be closed before as_of", as_of, last, spot), _field(last, spot), _HINT)

    def _starts(self, done: list[Done], started_at: int) -> dict[str, int]:
        """Return when the trial of each user began who is part of the lead; one who begins later keeps an account open."""
        told: dict[str, int] = {}
        for one in done if self.definition.lead == "account" else ():
            if one.event == TRIAL_STARTED:
                told[one.user] = min(one.time, told.get(one.user, one.time))
        return told or dict.fromkeys((one.user for one in done), started_at)


_HINT = "Leave it out, or name an as_of at which its trial was open."


def _firsts(known: list[Done], events: frozenset[str], starts: Mapping[str, int]) -> dict[str, Done]:
    """Return the first of these events of each user since the day on which its trial began."""
    found: dict[str, Done] = {}
    for one in known:
        start = starts.get(one.user)
        if one.event in events and start is not None and one.time // DAY >= start // DAY:
            found[one.user] = min(one, found.get(one.user, one), key=lambda other: (other.time, other.place))
    return found


def _said(must: str, as_of: int, one: Done, spot: str) -> str:
    return f"{spot} {must} {text_of(as_of)}, got {one.event!r} at {text_of(one.time)}."


def _field(one: Done, spot: str) -> str:
    return f"{spot}.events[{one.place}]"

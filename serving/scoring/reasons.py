"""Contributions -> reasons in words: what speaks for a lead, with its facts, and what converters had done by now.

A signal's contribution is the sum over its columns (all windows and measures of one behaviour), in calibrated log-odds.
Only behaviour that happened is a reason, only signals marked speakable are said, and every number in a text is in its
facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from features.columns import Column
from features.definition import Signal, Trait
from features.durations import DAY
from features.matrix import FeatureBuilder
from features.phrases import number_words
from features.traits import domain_of
from features.windows import Floats
from serving.scoring.reference import Reference

LEAST_SHARE: Final = 0.02
"""A reason must carry at least this share of all that speaks for the lead; less is noise said aloud."""
COMMON_AMONG_CONVERTERS: Final = 0.5

Fact = int | float | str


@dataclass(frozen=True)
class Reason:
    """Why a lead scores as it does: `contribution` is in log-odds, `facts` holds every number that `text` says."""

    signal: str
    kind: str
    text: str
    facts: Mapping[str, Fact]
    contribution: float


@dataclass(frozen=True)
class Missing:
    """What most converters had done at this age and this lead has not."""

    signal: str
    kind: str
    text: str
    facts: Mapping[str, Fact]


@dataclass(frozen=True)
class Explainer:
    """Says reasons for rows of one artifact's columns."""

    builder: FeatureBuilder
    reference: Reference

    @cached_property
    def _columns_of(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for place, column in enumerate(self.builder.columns):
            places.setdefault(column.owner, []).append(place)
        return places

    def by_owner(self, contributions: Floats) -> dict[str, float]:
        """Return one row's contributions added up per signal and trait (the base value is nobody's)."""
        return {owner: float(contributions[places].sum()) for owner, places in self._columns_of.items()}

    def reasons(self, row: Floats, contributions: Floats, traits: Mapping[str, object], most: int) -> list[Reason]:
        """Return up to `most` reasons for one row, the strongest first.

        Parameters
        ----------
        row, contributions : float64 arrays of shape (n_columns,)
        traits : the lead's trait values as they were given
        """
        totals = self.by_owner(contributions)
        least = LEAST_SHARE * sum(total for total in totals.values() if total > 0)
        strongest = sorted((-total, owner) for owner, total in totals.items() if total > max(least, 0.0))
        found: list[Reason] = []
        for negative, owner in strongest:
            if len(found) == most:
                break
            reason = self._reason(owner, -negative, row, contributions, traits)
            if reason is not None:
                found.append(reason)
        return found

    def _reason(
        self, owner: str, total: float, row: Floats, contributions: Floats, traits: Mapping[str, object]
    ) -> Reason | None:
        definition = self.builder.definition
        if owner in definition.signal_of:
            signal = definition.signal_of[owner]
            facts = self._signal_facts(signal, row, contributions) if signal.speakable else None
            return Reason(owner, signal.kind, signal.text.fill(_said(facts)), facts, total) if facts else None
        trait = definition.trait_of.get(owner)
        if trait is None or not trait.speakable or traits.get(owner) is None:
            return None
        value = _trait_fact(trait, traits[owner], row[self._columns_of[owner]])
        if value is None:
            return None
        return Reason(owner, "fit", trait.text.fill({"value": value}), {"value": value}, total)

    def _signal_facts(self, signal: Signal, row: Floats, contributions: Floats) -> dict[str, Fact] | None:
        """Return what happened in the window that tells most, or None where nothing happened."""
        places = [
            place for place in self._columns_of[signal.name] if self.builder.columns[place].window and row[place] > 0
        ]
        places = [place for place in places if self._tells_that_it_happened(place)]
        if not places:
            return None
        best = max(places, key=lambda place: (contributions[place], -place))
        window = self._narrowest(best, places, row).window
        assert window is not None  # places hold windowed columns only
        facts: dict[str, Fact] = {"window": window.words}
        for place in self._columns_of[signal.name]:
            column = self.builder.columns[place]
            if column.measure and column.window in (None, window) and np.isfinite(row[place]):
                facts[column.measure.name] = _exact(float(row[place]))
        return facts if _says_something(signal, facts) else None

    def _tells_that_it_happened(self, place: int) -> bool:
        measure = self.builder.columns[place].measure
        return measure is not None and measure.spec.happened

    def _measure(self, place: int) -> str:
        measure = self.builder.columns[place].measure
        return measure.how if measure else ""

    def _narrowest(self, best: int, places: Sequence[int], row: Floats) -> Column:
        """Return the column of the narrowest window that holds all that the best one holds: it tells more."""
        chosen = self.builder.columns[best]
        same = [
            self.builder.columns[place]
            for place in places
            if self.builder.columns[place].measure == chosen.measure and row[place] == row[best]
        ]
        return min(same, key=lambda column: column.window.length or np.inf if column.window else np.inf)

    def missing(self, row: Floats) -> list[Missing]:
        """Return what this lead has not done and most converters had by its age, the most common first."""
        age = float(row[0])
        found = []
        for signal in self.builder.definition.signals:
            share = self.reference.share_of_converters(signal.name, age)
            if signal.missing and signal.speakable and share and share[1] >= COMMON_AMONG_CONVERTERS:
                counts = [place for place in self._columns_of[signal.name] if self._counts_since_start(place, age)]
                if counts and not row[counts].any():
                    found.append((share[1], _missing(signal, *share)))
        return [one for _, one in sorted(found, key=lambda pair: -pair[0])]

    def _counts_since_start(self, place: int, age: float) -> bool:
        """Whether a column counts all since the trial began: a shorter window cannot say that something never happened."""
        window = self.builder.columns[place].window
        whole = window is not None and (window.length is None or window.length >= age * DAY)
        return whole and self._measure(place) == "count"


def _exact(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _said(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return the facts with those added that are only other words for one of them."""
    days = facts.get("days_since_last")
    return dict(facts) if not isinstance(days, int | float) else {**facts, "last": ago(days)}


def _says_something(signal: Signal, facts: Mapping[str, Fact]) -> bool:
    """Whether every fact that the sentence quotes is known and none of them is a zero."""
    said = _said(facts)
    return all(name in said and said[name] != 0 for name in signal.text.names)


def ago(days: float) -> str:
    """Return a span since a moment in words, in whole days.

    >>> ago(0.4), ago(1.9), ago(5.0)
    ('less than a day ago', '1 day ago', '5 days ago')
    """
    whole = int(days)
    if whole == 0:
        return "less than a day ago"
    return "1 day ago" if whole == 1 else f"{whole} days ago"


def _trait_fact(trait: Trait, value: object, columns: Floats) -> Fact | None:
    """Return what a trait's sentence quotes, or None where the value was not understood or is not so."""
    if trait.type == "category":
        return str(value)
    if trait.type == "number":
        return _exact(float(columns[0])) if np.isfinite(columns[0]) else None
    if not columns[0] > 0:
        return None
    return domain_of(value) if trait.type == "email_domain" else str(value)


def _missing(signal: Signal, age: float, share: float) -> Missing:
    tenths = min(9, round(10 * share))
    by = f"day {number_words(age)}"
    text = f"has not {signal.missing}; {tenths} in 10 converters had by {by}"
    return Missing(signal.name, signal.kind, text, {"converters_in_10": tenths, "day": _exact(age), "share": share})

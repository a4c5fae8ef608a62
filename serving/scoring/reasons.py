"""Contributions -> reasons in words: what speaks for a lead, what speaks against it, and what converters had done by now.

A signal's contribution is the sum over its columns (all windows and measures of one behaviour), in calibrated log-odds and
against a typical trial of the same age: all of them and the typical trial's log-odds add up to the lead's own. Only signals
marked speakable are said, only in the direction of their behaviour, and every number in a text is in its facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.definition import Signal, Trait
from features.languages import Peers
from features.matrix import FeatureBuilder
from features.phrases import Phrase
from features.windows import Floats, Ints
from features.wording import Wording, whole_percent, wording
from serving.scoring.comparisons import Comparisons
from serving.scoring.facts import (
    Fact,
    Facts,
    Pane,
    comparable,
    exact,
    narrowest,
    panes,
    said,
    says_something,
    trait_fact,
)
from serving.scoring.reference import Reference

LEAST_SHARE: Final = 0.02
"""A reason must carry at least this share of all that speaks the same way; less is noise said aloud."""
LEAST_PULL: Final = 0.1
"""Log-odds below which nothing is a reason: a tenth more or less in the odds is nothing to act on."""
COMMON_AMONG_CONVERTERS: Final = 0.5


@dataclass(frozen=True)
class Reason:
    """Why a lead scores as it does.

    Attributes
    ----------
    text : what a rep reads
    facts : every number that `text` says, and more of the same kind
    contribution : log-odds more than a typical trial of the same age has from this signal
    mention : what may be said of it to the customer, None where nothing should
    """

    signal: str
    kind: str
    text: str
    facts: Mapping[str, Fact]
    contribution: float
    mention: str | None = None


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
    def wording(self) -> Wording:
        return wording(self.builder.definition.language)

    @cached_property
    def _compared(self) -> Comparisons:
        definition = self.builder.definition
        whom: Peers = "trials" if definition.trial.length else "users"
        whom = "accounts" if definition.lead == "account" else whom
        return Comparisons(self.builder.columns, self.reference, self.wording, whom)

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """Signals, traits and the clock, in the order of the columns, which stand side by side."""
        return tuple(self.builder.places_of)

    @cached_property
    def _starts(self) -> Ints:
        return np.array([self.builder.places_of[owner][0] for owner in self.owners], np.int64)

    @cached_property
    def _unproven(self) -> NDArray[np.bool_]:
        return np.array([not self.reference.shows(owner) for owner in self.owners])

    @cached_property
    def panes(self) -> dict[str, tuple[Pane, ...]]:
        """The windows that each signal's sentence can be about."""
        definition = self.builder.definition
        return {one.name: panes(one, self.builder.columns, definition, self.wording) for one in definition.signals}

    def relative(self, rows: Floats, contributions: Floats) -> Floats:
        """Return what each column adds beyond a typical trial of the same age: float64 array of shape (n, n_columns).

        Parameters
        ----------
        contributions : float64 array of shape (n, n_columns + 1) or (n, n_columns)
        """
        found: Floats = contributions[:, : rows.shape[1]] - self.reference.typical_at(rows[:, 0])
        return found

    def by_owner(self, columns: Floats) -> Floats:
        """Return the sums over the columns of each of `owners`: (n, n_columns) becomes (n, n_owners)."""
        found: Floats = np.add.reduceat(columns, self._starts, axis=-1)
        return found

    def reasons(self, row: Floats, relative: Floats, traits: Mapping[str, object], most: int) -> list[Reason]:
        """Return up to `most` reasons that speak for a lead: the strongest first, those that are proven before the others.

        Parameters
        ----------
        row, relative : float64 arrays of shape (n_columns,), as `relative` gives them
        traits : the lead's trait values as they were given
        """
        return self._strongest(row, relative, traits, most, way=1, but=frozenset())

    def against(
        self, row: Floats, relative: Floats, traits: Mapping[str, object], most: int, but: frozenset[str] = frozenset()
    ) -> list[Reason]:
        """Return up to `most` reasons that speak against a lead, in the same order, without the signals of `but`."""
        return self._strongest(row, relative, traits, most, way=-1, but=but)

    def _strongest(
        self, row: Floats, relative: Floats, traits: Mapping[str, object], most: int, *, way: int, but: frozenset[str]
    ) -> list[Reason]:
        pull = way * relative
        totals = self.by_owner(pull)
        least = max(LEAST_SHARE * float(totals[totals > 0].sum()), LEAST_PULL)
        found: list[Reason] = []
        for place in np.lexsort((-totals, self._unproven)).tolist():
            total = float(totals[place])
            if len(found) == most:
                break
            if total > least and self.owners[place] not in but:
                reason = self._reason(self.owners[place], way * total, row, pull, traits, way)
                found += [] if reason is None else [reason]
        return found

    def _reason(
        self, owner: str, total: float, row: Floats, pull: Floats, traits: Mapping[str, object], way: int
    ) -> Reason | None:
        """Return the reason that a signal or trait is; `pull` is what each column adds in the direction `way`."""
        definition = self.builder.definition
        signal, trait = definition.signal_of.get(owner), definition.trait_of.get(owner)
        if signal is not None and signal.speakable:
            if way > 0 and signal.sign < 0:
                # Little of what is bad is no behaviour that one could name.
                return None
            if way < 0 and signal.sign > 0:
                return self._too_little(signal, total, row)
            return self._done(signal, total, row, pull)
        if trait is not None and trait.speakable and traits.get(owner) is not None:
            return self._fit(trait, total, row, traits[owner], way)
        return None

    def _done(self, signal: Signal, total: float, row: Floats, pull: Floats) -> Reason | None:
        """Return the reason that much was done, in the window that tells most."""
        candidates = [
            pane for pane in self.panes[signal.name]
            if pane.happened_in(row)
            and (signal.sign == 0 or pane.leading is None or self._compared.agrees(pane.leading, row, 1))
        ]  # fmt: skip
        if not candidates:
            return None
        best = max(candidates, key=lambda pane: float(pull[list(pane.places)].sum()))
        pane = narrowest(best, candidates, row)
        facts = pane.facts(row)
        if not says_something(signal.text, facts):
            return None
        compared = self._compared.more_than(pane.leading, row)
        if signal.sign == 0 and self._compared.knows(pane.leading):
            # What speaks either way says nothing by itself: only how unusual it is does, where that can be told.
            compared = compared or self._compared.fewer_than(pane.leading, row)
            if not compared or not comparable(signal):
                return None
        return self._said(signal, total, facts, compared)

    def _too_little(self, signal: Signal, total: float, row: Floats) -> Reason | None:
        """Return the reason that something good was never done, or less than by most trials of the same age."""
        pane = max(self.panes[signal.name], key=lambda one: one.length, default=None)
        if pane is None or float(row[0]) < self.reference.ages[0]:
            # Nobody has to have done anything in the first hours.
            return None
        if signal.missing and self._never_did(signal, row):
            facts: Facts = {"window": pane.words} | ({} if "count" in signal.private else {"count": 0})
            return Reason(signal.name, signal.kind, self.wording.never_yet(signal.missing), facts, total)
        facts = pane.facts(row)
        fewer = self._compared.fewer_than(pane.leading, row)
        if not fewer or not says_something(signal.text, facts):
            return None
        return self._said(signal, total, facts, fewer)

    def _never_did(self, signal: Signal, row: Floats) -> bool:
        """Whether all that was counted since the trial began is none: a shorter window cannot say that."""
        counted = [pane.counted for pane in self.panes[signal.name] if pane.is_whole(float(row[0]))]
        return any(place is not None for place in counted) and all(
            row[place] == 0 for place in counted if place is not None
        )

    def _fit(self, trait: Trait, total: float, row: Floats, value: object, way: int) -> Reason | None:
        """Return the reason that a trait is, None where it would speak the other way than the trait's direction."""
        places = self.builder.places_of[trait.name]
        quoted = trait_fact(trait, value, row[places], self.builder.levels.get(trait.name, ()))
        if quoted is None:
            return None
        facts: Facts = {} if trait.private else {"value": quoted}
        if trait.type == "number":
            return self._number(trait, total, row, facts, way)
        so = trait.type == "category" or bool(row[places[0]] > 0)
        phrase, agrees = (trait.text, way) if so else (trait.against, -way)
        if phrase is None or (trait.type != "category" and trait.sign == -agrees):
            return None
        if trait.enterprise and so and not trait.private:
            facts["standing"] = "enterprise" if row[places[1]] > 0 else "business"
        return self._told(trait.name, "fit", phrase, total, facts, {})

    def _number(self, trait: Trait, total: float, row: Floats, facts: Facts, way: int) -> Reason | None:
        place = self.builder.places_of[trait.name][0]
        up = way * (trait.sign or way)
        if trait.sign and not self._compared.agrees(place, row, up):
            return None
        compared = {} if trait.private else self._compared.beyond(place, row, up)
        return self._told(trait.name, "fit", trait.text, total, facts, compared)

    def _said(self, signal: Signal, total: float, facts: Facts, compared: Facts) -> Reason:
        mention = None
        little = "fewer_than_percent" in compared
        if signal.mention is not None and total > 0 and not little and says_something(signal.mention, facts):
            mention = signal.mention.fill(facts, self.wording)
        # That little was done is no news without how much others did.
        told = compared if little or comparable(signal) else {}
        return self._told(signal.name, signal.kind, signal.text, total, facts, told, mention)

    def _told(
        self,
        owner: str,
        kind: str,
        phrase: Phrase,
        total: float,
        facts: Facts,
        compared: Facts,
        mention: str | None = None,
    ) -> Reason:
        text = self._compared.words(phrase.fill(said(facts, self.wording), self.wording), compared)
        return Reason(owner, kind, text, {**facts, **compared}, total, mention)

    def missing(self, row: Floats) -> list[Missing]:
        """Return what this lead has not done and most converters had by its age, the most common first."""
        found = sorted(self._not_done(row), key=lambda pair: -pair[0])
        return [one for _, one in found]

    def _not_done(self, row: Floats) -> Iterator[tuple[float, Missing]]:
        for signal in self.builder.definition.signals:
            known = self.reference.share_of_converters(signal.name, float(row[0]))
            if not signal.missing or not signal.speakable or known is None or known.share < COMMON_AMONG_CONVERTERS:
                continue
            if not self.reference.covers(float(row[0])):
                continue
            if self._never_did(signal, row):
                tenths = min(9, whole_percent(100 * known.share) // 10)
                facts: Facts = {"converters_in_10": tenths, "day": exact(known.age), "share": known.share}
                text = self.wording.never(signal.missing, tenths, known.age)
                yield known.share, Missing(signal.name, signal.kind, text, facts)

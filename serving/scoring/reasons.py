"""Contributions -> reasons in words: what speaks for a lead, what speaks against it, and what converters had done by now.

A signal's contribution is the sum over its columns (all windows and measures of one behaviour), in calibrated log-odds and
against a typical trial of the same age: all of them and the typical trial's log-odds add up to the lead's own. Only signals
marked speakable are said, only in the direction of their behaviour, and every number in a text is in its facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import fsum, inf
from typing import Final, NamedTuple

import numpy as np

from features.definition import Signal, Trait
from features.durations import DAY
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
    Row,
    comparable,
    exact,
    narrowest,
    panes,
    says_something,
    sentence,
    trait_fact,
)
from serving.scoring.playbooks import Advisor
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


class Case(NamedTuple):
    """One lead to explain, in plain numbers.

    Attributes
    ----------
    row : its values
    pulls : what each column adds beyond a typical trial of the same age
    totals : the same of each of `Explainer.owners`
    at : the place of its age, as `Reference.place` gives it
    traits : its trait values as they were given
    """

    row: Row
    pulls: Row
    totals: Row
    at: int
    traits: Mapping[str, object]


@dataclass(frozen=True)
class Behaviour:
    """What there is to say of a signal, as far as it is the same for all leads.

    Attributes
    ----------
    name, kind, text, mention : as the signal has them, whose own fields take longer to read
    sign : which way much of it speaks, 0 where the data decides
    panes : the windows that its sentence can be about
    floors : for each of them the values, by age, above which it is much of what is good or bad; None where any will do
    widest : the longest of them, None where there is none
    counted : for each window that counts it, the length in microseconds and the place of the column
    clear : whether a comparison can stand at the end of its sentence
    """

    signal: Signal
    name: str
    kind: str
    text: Phrase
    mention: Phrase | None
    sign: int
    panes: tuple[Pane, ...]
    floors: tuple[Row | None, ...]
    widest: Pane | None
    counted: tuple[tuple[float, int], ...]
    clear: bool

    @classmethod
    def of(cls, signal: Signal, panes: tuple[Pane, ...], compared: Comparisons) -> Behaviour:
        """Return that of a signal with these windows."""
        floors = tuple(compared.floors(pane.leading) if signal.sign else None for pane in panes)
        widest = max(panes, key=lambda pane: pane.length, default=None)
        counted = tuple((pane.length, pane.counted) for pane in panes if pane.counted is not None)
        return cls(
            signal, signal.name, signal.kind, signal.text, signal.mention, signal.sign,
            panes, floors, widest, counted, comparable(signal),
        )  # fmt: skip

    def never_done(self, row: Row) -> bool:
        """Whether all that was counted since the trial began is none: a shorter window cannot say that."""
        since_start = row[0] * DAY
        whole = False
        for length, place in self.counted:
            if length >= since_start:
                if row[place] != 0:
                    return False
                whole = True
        return whole


@dataclass(frozen=True)
class Explainer:
    """Says reasons for rows of one artifact's columns."""

    builder: FeatureBuilder
    reference: Reference

    @cached_property
    def wording(self) -> Wording:
        return wording(self.builder.definition.language)

    @cached_property
    def advisor(self) -> Advisor:
        """What says which playbook the reasons lead to."""
        return Advisor(self.builder.definition, self.wording)

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
    def _unproven(self) -> tuple[bool, ...]:
        return tuple(not self.reference.shows(owner) for owner in self.owners)

    @cached_property
    def panes(self) -> dict[str, tuple[Pane, ...]]:
        """The windows that each signal's sentence can be about."""
        definition = self.builder.definition
        return {one.name: panes(one, self.builder.columns, definition, self.wording) for one in definition.signals}

    @cached_property
    def _behaviours(self) -> dict[str, Behaviour]:
        """All that a text can be about, by the name of the signal."""
        signals = self.builder.definition.signals
        return {one.name: Behaviour.of(one, self.panes[one.name], self._compared) for one in signals if one.speakable}

    @cached_property
    def _spoken(self) -> tuple[Behaviour | Trait | None, ...]:
        """What each of `owners` is to a text: None for those of which nobody speaks."""
        traits = {one.name: one for one in self.builder.definition.traits if one.speakable}
        return tuple(self._behaviours.get(owner) or traits.get(owner) for owner in self.owners)

    @cached_property
    def _expected(self) -> tuple[tuple[tuple[Behaviour, Missing], ...], ...]:
        """For each age of the reference, what most converters had done by then, the most common first."""
        return tuple(tuple(self._expected_at(place)) for place in range(len(self.reference.ages)))

    def _expected_at(self, place: int) -> Iterator[tuple[Behaviour, Missing]]:
        age, converters = self.reference.ages[place], self.reference.converters
        known = [(converters[name][place], one) for name, one in self._behaviours.items() if name in converters]
        for share, behaviour in sorted(known, key=lambda pair: -pair[0]):
            signal = behaviour.signal
            if signal.missing and share >= COMMON_AMONG_CONVERTERS:
                tenths = min(9, whole_percent(100 * share) // 10)
                facts: Facts = {"converters_in_10": tenths, "day": exact(age), "share": share}
                text = self.wording.never(signal.missing, tenths, age)
                yield behaviour, Missing(signal.name, signal.kind, text, facts)

    def relative(self, rows: Floats, contributions: Floats) -> Floats:
        """Return what each column adds beyond a typical trial of the same age: float64 array of shape (n, n_columns).

        Parameters
        ----------
        contributions : float64 array of shape (n, n_columns + 1) or (n, n_columns)
        """
        return self.reference.beyond_typical(rows[:, 0], contributions[:, : rows.shape[1]])

    def by_owner(self, columns: Floats) -> Floats:
        """Return the sums over the columns of each of `owners`: (n, n_columns) becomes (n, n_owners)."""
        found: Floats = np.add.reduceat(columns, self._starts, axis=-1)
        return found

    def cases(self, rows: Floats, relative: Floats, traits: Iterable[Mapping[str, object]]) -> Iterator[Case]:
        """Yield what `speaks` is asked about, for rows and what `relative` says of them."""
        ages = map(self.reference.place, rows[:, 0].tolist())
        return map(Case, rows.tolist(), relative.tolist(), self.by_owner(relative).tolist(), ages, traits)

    def reasons(self, row: Floats, relative: Floats, traits: Mapping[str, object], most: int) -> list[Reason]:
        """Return up to `most` reasons that speak for a lead: the strongest first, those that are proven before the others.

        Parameters
        ----------
        row, relative : float64 arrays of shape (n_columns,), as `relative` gives them
        traits : the lead's trait values as they were given
        """
        (case,) = self.cases(row[None], relative[None], [traits])
        return self.speaks(case, most)

    def against(
        self, row: Floats, relative: Floats, traits: Mapping[str, object], most: int, but: frozenset[str] = frozenset()
    ) -> list[Reason]:
        """Return up to `most` reasons that speak against a lead, in the same order, without the signals of `but`."""
        (case,) = self.cases(row[None], relative[None], [traits])
        return self.speaks(case, most, way=-1, but=but)

    def speaks(self, case: Case, most: int, *, way: int = 1, but: frozenset[str] = frozenset()) -> list[Reason]:
        """Return up to `most` reasons for (`way` 1) or against (-1) a lead: what `reasons` and `against` give."""
        found: list[Reason] = []
        for place in self._strongest(case.totals, way):
            if len(found) == most:
                break
            if self.owners[place] not in but and (reason := self._reason(place, case, way)) is not None:
                found.append(reason)
        return found

    def _strongest(self, totals: Row, way: int) -> list[int]:
        """Return the places of those of `owners` that pull enough one way: the proven ones first, then the strongest."""
        pulls, strong, unproven = [], [], self._unproven
        for place, total in enumerate(totals):
            pull = way * total
            if pull > 0:
                pulls.append(pull)
                if pull > LEAST_PULL:
                    strong.append((unproven[place], -pull, place))
        least = LEAST_SHARE * fsum(pulls)
        strong.sort()
        return [place for _, minus, place in strong if -minus > least]

    def _reason(self, place: int, case: Case, way: int) -> Reason | None:
        """Return the reason that one of `owners` is, in the direction `way`."""
        spoken = self._spoken[place]
        if spoken is None:
            return None
        total = case.totals[place]
        if not isinstance(spoken, Behaviour):
            value = case.traits.get(spoken.name)
            return None if value is None else self._fit(spoken, total, case, value, way)
        if way > 0 and spoken.sign < 0:
            # Little of what is bad is no behaviour that one could name.
            return None
        if way < 0 and spoken.sign > 0:
            return self._too_little(spoken, total, case)
        return self._done(spoken, total, case, way)

    def _done(self, behaviour: Behaviour, total: float, case: Case, way: int) -> Reason | None:
        """Return the reason that much was done, in the window that tells most."""
        row, at, compare = case.row, case.at, self._compared
        pane = self._telling(behaviour, case, way)
        if pane is None:
            return None
        compared = compare.more_than(pane.leading, row, at)
        if behaviour.sign == 0 and compare.knows(pane.leading):
            # What speaks either way says nothing by itself: only how unusual it is does, where that can be told.
            compared = compared or compare.fewer_than(pane.leading, row, at)
            if not compared or not behaviour.clear:
                return None
        facts = pane.facts(row)
        return self._said(behaviour, total, facts, compared) if says_something(behaviour.text, facts) else None

    def _telling(self, behaviour: Behaviour, case: Case, way: int) -> Pane | None:
        """Return the window that tells most, None where nothing happened or, of what is good or bad, not much."""
        row, pulls, at = case.row, case.pulls, max(case.at, 0)
        among: list[Pane] = []
        best, most = None, -inf
        for pane, floor in zip(behaviour.panes, behaviour.floors, strict=True):
            if pane.happened_in(row) and (floor is None or pane.leading is None or row[pane.leading] > floor[at]):
                among.append(pane)
                pull = way * fsum(map(pulls.__getitem__, pane.places))
                if pull > most:
                    best, most = pane, pull
        return None if best is None else narrowest(best, among, row)

    def _too_little(self, behaviour: Behaviour, total: float, case: Case) -> Reason | None:
        """Return the reason that something good was never done, or less than by most trials of the same age."""
        signal, pane, row = behaviour.signal, behaviour.widest, case.row
        if pane is None or case.at < 0:
            # Nobody has to have done anything in the first hours.
            return None
        if signal.missing and behaviour.never_done(row):
            none: Facts = {"window": pane.words} | ({} if "count" in signal.private else {"count": 0})
            return Reason(signal.name, signal.kind, self.wording.never_yet(signal.missing), none, total)
        fewer = self._compared.fewer_than(pane.leading, row, case.at)
        if not fewer or not says_something(signal.text, facts := pane.facts(row)):
            return None
        return self._said(behaviour, total, facts, fewer)

    def _fit(self, trait: Trait, total: float, case: Case, value: object, way: int) -> Reason | None:
        """Return the reason that a trait is, None where it would speak the other way than the trait's direction."""
        row, places = case.row, self.builder.places_of[trait.name]
        quoted = trait_fact(trait, value, [row[place] for place in places], self.builder.levels.get(trait.name, ()))
        if quoted is None:
            return None
        facts: Facts = {} if trait.private else {"value": quoted}
        if trait.type == "number":
            return self._number(trait, total, case, facts, way)
        so = trait.type == "category" or row[places[0]] > 0
        phrase, agrees = (trait.text, way) if so else (trait.against, -way)
        if phrase is None or (trait.type != "category" and trait.sign == -agrees):
            return None
        if trait.enterprise and so and not trait.private:
            facts["standing"] = "enterprise" if row[places[1]] > 0 else "business"
        return self._told(trait.name, "fit", phrase, total, facts, {})

    def _number(self, trait: Trait, total: float, case: Case, facts: Facts, way: int) -> Reason | None:
        place = self.builder.places_of[trait.name][0]
        up = way * (trait.sign or way)
        if trait.sign and not self._compared.agrees(place, case.row, case.at, up):
            return None
        compared = {} if trait.private else self._compared.beyond(place, case.row, case.at, up)
        return self._told(trait.name, "fit", trait.text, total, facts, compared)

    def _said(self, behaviour: Behaviour, total: float, facts: Facts, compared: Facts) -> Reason:
        phrase, mention = behaviour.mention, None
        little = "fewer_than_percent" in compared
        if phrase is not None and total > 0 and not little and says_something(phrase, facts):
            mention = phrase.fill(facts, self.wording)
        # That little was done is no news without how much others did.
        told = compared if little or behaviour.clear else {}
        return self._told(behaviour.name, behaviour.kind, behaviour.text, total, facts, told, mention)

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
        text = self._compared.words(sentence(phrase, facts, self.wording), compared)
        return Reason(owner, kind, text, {**facts, **compared}, total, mention)

    def missing(self, row: Row) -> list[Missing]:
        """Return what this lead has not done and most converters had by its age, the most common first."""
        if not self.reference.covers(row[0]):
            return []
        expected = self._expected[self.reference.place(row[0])]
        return [missing for behaviour, missing in expected if behaviour.never_done(row)]

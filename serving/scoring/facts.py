"""Rows -> facts: which window tells most of a signal, what happened in it, and how that compares with other trials.

A number in a sentence is a number of the row; nothing is rounded or made up here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, isnan
from typing import Final

from features.columns import Column
from features.definition import Definition, Signal, Trait, Window
from features.definition_rules import times
from features.domains import domain_of
from features.durations import DAY
from features.matrix import FeatureBuilder
from features.phrases import Phrase
from features.traits import level_of, trait_number
from features.windows import Floats
from features.wording import Wording

PLAIN_DOMAIN: Final = re.compile(r"[^\W_](?:[^\W_]|[.-]){0,78}[^\W_]")
"""Letters of any script, digits, hyphens and dots: nothing that a page or a chat could take for markup."""

Fact = int | float | str
Facts = dict[str, Fact]
Row = Sequence[float]
"""The values of one lead. As a list: one number of an array takes Python several times as long to read."""


@dataclass(frozen=True)
class Pane:
    """One window of a signal: where its columns stand in a row.

    Attributes
    ----------
    words : how a sentence says the window
    places : every column of this window
    happened : those of which a value above 0 says by itself that the behaviour happened
    counted : the column that counts it, None where the signal has no count
    leading : the column of the first fact that the sentence quotes, None where that tells nothing of how much
    told : the facts that may be told with this window, and where they stand
    """

    window: Window
    words: str
    places: tuple[int, ...]
    happened: tuple[int, ...]
    counted: int | None
    leading: int | None
    told: tuple[tuple[str, int], ...]

    def happened_in(self, row: Row) -> bool:
        """Whether the behaviour happened in this window."""
        for place in self.happened:  # noqa: SIM110 - a generator costs more than what it asks
            if row[place] > 0:
                return True
        return False

    def is_whole(self, age: float) -> bool:
        """Whether the window holds all since the trial began, `age` days ago."""
        return self.length >= age * DAY

    @cached_property
    def length(self) -> float:
        """Microseconds, infinite for the window since the trial began."""
        return self.window.width

    def facts(self, row: Row) -> Facts:
        """Return what is known of this window."""
        found: Facts = {"window": self.words}
        for name, place in self.told:
            value = row[place]
            if isfinite(value):
                found[name] = int(value) if value.is_integer() else value
        return found


def panes(signal: Signal, columns: Sequence[Column], definition: Definition, wording: Wording) -> tuple[Pane, ...]:
    """Return the windows of a signal that its sentence can be about; `columns` are all columns of the model."""
    mine = [(place, column) for place, column in enumerate(columns) if column.owner == signal.name and column.measure]
    # On how many days something was done in one day is no news.
    of_days = bool(signal.text.names & {"active_days", "streak"})
    windows = [
        one for one in definition.windows_of(signal) if not (of_days and one.length is not None and one.length <= DAY)
    ]
    return tuple(_pane(signal, window, mine, definition, wording) for window in windows)


def _pane(
    signal: Signal, window: Window, mine: Sequence[tuple[int, Column]], definition: Definition, wording: Wording
) -> Pane:
    here = [(place, column) for place, column in mine if column.window == window]
    fact_of = {column.measure.name: place for place, column in here if column.measure}
    happened = [place for place, column in here if column.measure and column.measure.spec.happened]
    leading = fact_of.get(leading_measure(signal) or "")
    known = [
        (column.measure.name, place) for place, column in mine if column.measure and column.window in (None, window)
    ]
    told = tuple((name, place) for name, place in known if name not in signal.private)
    places = tuple(place for place, _ in here)
    words = wording.window(window.length, trial=definition.trial.length is not None)
    return Pane(window, words, places, tuple(happened), fact_of.get("count"), leading, told)


def leading_measure(signal: Signal) -> str | None:
    """Return the first fact a sentence quotes that says how much was done in its window, None where none does."""
    amounts = {
        one.name for one in signal.measures if one.spec.happened and one.spec.windowed and one.spec.absent == 0.0
    }
    return next((name for _, name, _ in signal.text.parts if name in amounts), None)


def comparable(signal: Signal) -> bool:
    """Whether a sentence quotes one number and no time, so that everybody can tell what a comparison at its end is about."""
    amounts = signal.text.names & {one.name for one in signal.measures}
    return len(amounts) == 1 and not times(signal.text.names)


def leading_columns(definition: Definition, columns: Sequence[Column]) -> list[int]:
    """Return the places of the columns whose values are compared with those of other trials.

    They are what sentences lead with, and numbers among the traits; what cannot be said is not compared.
    """
    amounts = {signal.name: leading_measure(signal) for signal in definition.signals if signal.speakable}
    numbers = {trait.name for trait in definition.traits if trait.type == "number" and trait.speakable}
    return [
        place for place, column in enumerate(columns)
        if column.owner in numbers or (column.measure and column.measure.name == amounts.get(column.owner))
    ]  # fmt: skip


def narrowest(best: Pane, among: Sequence[Pane], row: Row) -> Pane:
    """Return the narrowest window that holds all that the best one holds: it tells more.

    A window that began before the trial did is no narrower than "since the trial began", which is the plainer thing to say.
    """
    if best.leading is None or len(among) == 1:
        return best
    holds, age = row[best.leading], row[0] * DAY
    found, least = best, (inf, True)
    for pane in among:
        if pane.leading is not None and row[pane.leading] == holds:
            width = pane.length if pane.length < age else age, pane.window.length is not None
            if width < least:
                found, least = pane, width
    return found


def exact(value: float) -> int | float:
    """Return a whole number as one.

    >>> exact(3.0), exact(2.5)
    (3, 2.5)
    """
    return int(value) if value.is_integer() else value


def sentence(phrase: Phrase, facts: Mapping[str, Fact], wording: Wording) -> str:
    """Return a sentence with the facts in it, and with what is only other words for one of them."""
    if "last" in phrase.names and isinstance(days := facts.get("days_since_last"), int | float):
        facts = {**facts, "last": wording.ago(days)}
    return phrase.fill(facts, wording)


def says_something(phrase: Phrase, facts: Mapping[str, Fact]) -> bool:
    """Whether every fact that a sentence quotes is known and none of them is a zero."""
    for name in phrase.names:  # noqa: SIM110 - the same
        if facts.get(name, 0) == 0 and not (name == "last" and "days_since_last" in facts):
            return False
    return True


def trait_fact(trait: Trait, value: object, columns: Row | Floats, levels: Sequence[str]) -> Fact | None:
    """Return the value that a trait's sentence may quote, None where it was not understood.

    What a lead has typed in is quoted only where it is one of many alike: a category that training saw often, a number, or
    the domain of an address. `columns` are the trait's columns of the row.
    """
    if trait.type == "category":
        level = level_of(value)
        return level if level in levels else None
    if trait.type == "number":
        return exact(float(columns[0])) if isfinite(columns[0]) else None
    if not isfinite(columns[0]):
        return None
    if trait.type == "flag":
        return str(value)
    # Without an @ it may be a name that was typed into the wrong field.
    domain = domain_of(value) if "@" in str(value) else None
    return domain if domain and PLAIN_DOMAIN.fullmatch(domain) else None


def traits_read(builder: FeatureBuilder, traits: Mapping[str, object]) -> dict[str, object]:
    """Return what a version reads of a lead's traits: no address, no word of its own, nothing that it does not know.

    None stands for all that it makes nothing of, whoever typed what into which field.
    """
    known = builder.definition.trait_of
    return {name: _read(builder, known[name], value) for name, value in traits.items() if name in known}


def _read(builder: FeatureBuilder, trait: Trait, value: object) -> object:
    if trait.type == "email_domain":
        # With the @, by which it is told from a name in the wrong field.
        domain = domain_of(value) if "@" in str(value) else None
        return f"@{domain}" if domain and PLAIN_DOMAIN.fullmatch(domain) else None
    if trait.type == "category":
        level = level_of(value)
        return level if level in builder.levels.get(trait.name, ()) else None
    column = builder.columns[builder.places_of[trait.name][0]]
    if isnan(trait_number(column, trait, value)):
        return None
    return value if isinstance(value, str | int | float) else str(value)

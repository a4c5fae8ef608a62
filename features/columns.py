"""Signals -> feature columns: each column's name, unit, direction, meaning and sentence.

The list made here is the only one: schema, model, artifact and documents derive from it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from features.definition import Definition, Measure, Signal, Trait, Window
from features.errors import InvalidSetting
from features.measures import TOLD_APART
from features.phrases import Phrase

Scope = Literal["lead", "account", "trait", "clock"]
Levels = Mapping[str, tuple[str, ...]]
"""The categories of each category trait that training saw often enough; any other value is none of them."""

_FREE, _SHARE, _CHANGE = (-math.inf, math.inf), (0.0, 1.0), (-1.0, 1.0)
_RANGES: Mapping[str, tuple[float, float]] = {
    "sum": _FREE, "mean": _FREE, "share": _SHARE, "reached": _SHARE, "lead_share": _SHARE,
    "trend": _CHANGE, "user_growth": _CHANGE, "lead_rank": (1.0, math.inf),
}  # fmt: skip
"""Between what a measure's values lie; those of any other are counts or times, and not below 0."""

TRIAL_AGE = "trial_age"
FLAG = "0 or 1"
ENTERPRISE = "enterprise"
"""The level of the column that tells enterprises from other businesses."""


@dataclass(frozen=True)
class Column:
    """One feature column: what is measured, of which signal or trait, over which window.

    `direction` is +1 where more of it can only raise the score, -1 where it can only lower it, 0 where the data decides.
    `sentence` says one `{value}` of it.
    """

    name: str
    owner: str
    scope: Scope
    direction: int
    unit: str
    meaning: str
    sentence: Phrase
    measure: Measure | None = None
    window: Window | None = None
    level: str | None = None

    @property
    def may_be_unknown(self) -> bool:
        """Whether it can hold NaN: as a trait, or where the measure has no value for what never happened."""
        return self.scope == "trait" or (self.measure is not None and self.measure.spec.absent is None)

    @property
    def is_flag(self) -> bool:
        """Whether it holds 0 or 1 and nothing between."""
        if self.measure is not None:
            return self.measure.how == "reached"
        return self.scope == "trait" and self.unit == FLAG

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value that it can ever hold, both included."""
        if self.scope == "trait":
            return _SHARE if self.is_flag else _FREE
        return _RANGES.get(self.measure.how, (0.0, math.inf)) if self.measure else (0.0, math.inf)


def columns(definition: Definition, levels: Levels) -> tuple[Column, ...]:
    """Return every feature column of a definition, in the order in which models see them."""
    says_age = Phrase.parse("{value:day|days} since the trial began")
    age = Column(TRIAL_AGE + "_days", TRIAL_AGE, "clock", 0, "days", "days since the trial began", says_age)
    signals = [column for signal in definition.signals for column in _signal_columns(definition, signal)]
    traits = [column for trait in definition.traits for column in _trait_columns(trait, levels)]
    table = (age, *signals, *traits)
    _check_names(table)
    return table


def _check_names(table: Sequence[Column]) -> None:
    """Raise InvalidSetting where two columns share a name, or a signal or trait has the name of the clock."""
    seen = {TRIAL_AGE}
    for column in table:
        if column.name in seen or (column.owner == TRIAL_AGE and column.scope != "clock"):
            raise InvalidSetting.at(
                f"{column.owner}: its columns", "must have names of their own", column.name, "Rename it."
            )
        seen.add(column.name)


def _signal_columns(definition: Definition, signal: Signal) -> Iterable[Column]:
    for measure in signal.measures:
        if not measure.spec.windowed:
            yield _signal_column(signal, measure, None)
            continue
        for window in definition.windows_of(signal):
            if not (measure.spec.fixed and window.length is None):
                yield _signal_column(signal, measure, window)


def _signal_column(signal: Signal, measure: Measure, window: Window | None) -> Column:
    spec = measure.spec
    name = f"{signal.name}_{measure.name}" + (f"_{window.name}" if window else "")
    meaning = spec.meaning.format(of=measure.of) + (f", {window.words}" if window else "")
    words = {"signal": plain_words(signal.name), "window": window.words if window else "", "of": _told_apart(measure)}
    direction = signal.sign * spec.sense
    unit = spec.unit.format(of=measure.of)
    return Column(
        name, signal.name, signal.scope, direction, unit, meaning, _sentence(spec.sentence, words), measure, window
    )


def _told_apart(measure: Measure) -> str:
    """Return what stands in a measure's brackets, as a sentence says it."""
    of = measure.of or ""
    return TOLD_APART.get(of, of) if measure.how == "distinct" else of


def plain_words(name: str) -> str:
    """Return a name of the definition as words: `team_invites` is `team invites`."""
    return name.replace("_", " ")


def _sentence(template: str, words: Mapping[str, str]) -> Phrase:
    # Braces of the user's own words must stay text, so they are doubled before the value's are left.
    for name, word in words.items():
        template = template.replace(f"{{{name}}}", word.replace("{", "{{").replace("}", "}}"))
    return Phrase.parse(template)


def _trait_columns(trait: Trait, levels: Levels) -> Iterable[Column]:
    words = {"trait": plain_words(trait.name)}
    if trait.type == "category":
        for level in levels.get(trait.name, ()):
            meaning = f"1 where {trait.source} is {level!r}, else 0"
            says = _sentence("{trait} is {level}: {value}", {**words, "level": level})
            yield Column(f"{trait.name}={level}", trait.name, "trait", 0, FLAG, meaning, says, level=level)
    elif trait.type == "email_domain":
        meaning = f"1 where the domain of {trait.source} is a business one, 0 where it is a free mail provider's"
        says = _sentence("{trait} is a business one: {value}", words)
        yield Column(f"{trait.name}_is_business", trait.name, "trait", trait.sign, FLAG, meaning, says)
        if trait.enterprise:
            meaning = f"1 where the domain of {trait.source} is that of a listed enterprise or lies under it, else 0"
            says, name = _sentence("{trait} is a listed enterprise's: {value}", words), f"{trait.name}_is_enterprise"
            yield Column(name, trait.name, "trait", trait.sign, FLAG, meaning, says, level=ENTERPRISE)
    else:
        unit = FLAG if trait.type == "flag" else "number"
        says = _sentence("{trait}: {value}", words)
        yield Column(trait.name, trait.name, "trait", trait.sign, unit, f"the trait {trait.source}", says)


def fingerprint(table: Sequence[Column], definition: Definition) -> str:
    """Return a SHA-256 over all that decides what the columns hold; two models with the same one can share rows."""
    facts: list[object] = [[c.name, c.scope, c.direction, c.unit, c.meaning, *_reads(c, definition)] for c in table]
    if definition.clock != "timestamp":
        facts.append(definition.clock)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _reads(column: Column, definition: Definition) -> list[object]:
    """Return what a column is made of: its signal's events and windows, or its trait's kind and lists."""
    if column.owner in definition.trait_of:
        trait = definition.trait_of[column.owner]
        lists = [sorted({*trait.enterprise}), sorted({*trait.free_mail})]
        return [trait.type, *(lists if any(lists) else [])]
    if column.owner not in definition.signal_of:
        return []
    signal = definition.signal_of[column.owner]
    return [sorted(match.model_dump_json() for match in signal.events), [w.name for w in definition.windows_of(signal)]]

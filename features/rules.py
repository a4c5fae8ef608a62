"""Rules and point cards that people write: thresholds on feature columns, as settings and as what they say of feature rows.

Knows columns by their signal or trait, measure and window; knows nothing of where rows come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from features.durations import parse_span, span_text
from features.measures import SPECS
from features.measures import parse as parse_measure
from features.setting import Setting
from features.windows import Floats

if TYPE_CHECKING:
    from features.columns import Column
    from features.definition import Definition, Measure, Trait

Flags = npt.NDArray[np.bool_]


def _measure_text(text: object) -> str:
    how, of = parse_measure(text)
    return how if of is None else f"{how}({of})"


def _window_text(text: object) -> str:
    return "trial" if text == "trial" else span_text(parse_span(text))


def _level_text(value: object) -> object:
    """A category may be written as a number or as yes and no, and is compared as the text that traits are read as."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, bool | int | float) else value


class Condition(Setting):
    """A threshold on one column: `at_least`, `below` or both; `equals` for a trait that is a category.

    `window` None is the longest that the signal has. What is not known, or never happened, meets no threshold.
    """

    signal: str | None = None
    trait: str | None = None
    measure: Annotated[str, BeforeValidator(_measure_text)] = "count"
    window: Annotated[str | None, BeforeValidator(lambda w: None if w is None else _window_text(w))] = None
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    below: float | None = Field(default=None, allow_inf_nan=False)
    equals: Annotated[str | None, BeforeValidator(_level_text)] = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Condition:
        if (self.signal is None) == (self.trait is None):
            raise ValueError("must name a signal or a trait, and not both")
        if self.trait is not None and self.model_fields_set & {"measure", "window"}:
            raise ValueError("must have no measure and no window where it is about a trait")
        ends = self.at_least is not None or self.below is not None
        if ends == (self.equals is not None):
            raise ValueError("must have at_least, below or both, or else equals")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError("must have at_least lower than below")
        return self

    @property
    def owner(self) -> str:
        """The signal or trait that it is about."""
        return self.signal or self.trait or ""


class Rule(Setting):
    """Conditions that must all hold at the same moment."""

    name: str = Field(min_length=1)
    all: tuple[Condition, ...] = Field(min_length=1)


class CardItem(Condition):
    """What meeting a condition is worth; points may be negative."""

    points: float = Field(allow_inf_nan=False)


class PointCard(Setting):
    """Points for every condition that holds; from `threshold` points on a lead is flagged."""

    threshold: float = Field(allow_inf_nan=False)
    card: tuple[CardItem, ...] = Field(min_length=1)


def holds(condition: Condition, rows: Floats, columns: Sequence[Column]) -> Flags:
    """Return which feature rows meet a condition: bool array of shape (n,).

    Nobody meets one on a category that training saw too seldom to give it a column.
    """
    place = place_of(condition, columns)
    if place is None:
        return np.zeros(len(rows), bool)
    values = rows[:, place]
    low = 1.0 if condition.equals is not None else -np.inf if condition.at_least is None else condition.at_least
    # NaN compares false both ways; infinity is at least anything.
    met = values >= low
    return np.asarray(met if condition.below is None else met & (values < condition.below))


def flags(rule: Rule, rows: Floats, columns: Sequence[Column]) -> Flags:
    """Return which feature rows meet all of a rule's conditions: bool array of shape (n,)."""
    met: Flags = np.logical_and.reduce([holds(condition, rows, columns) for condition in rule.all])
    return met


def any_flags(rules: Sequence[Rule], rows: Floats, columns: Sequence[Column]) -> Flags:
    """Return which feature rows meet at least one of the rules: bool array of shape (n,), all false without rules."""
    met: Flags = np.logical_or.reduce([np.zeros(len(rows), bool), *(flags(rule, rows, columns) for rule in rules)])
    return met


def points(card: PointCard, rows: Floats, columns: Sequence[Column]) -> Floats:
    """Return the points of each feature row: float64 array of shape (n,)."""
    total = np.zeros(len(rows))
    for item in card.card:
        total += item.points * holds(item, rows, columns)
    return total


def place_of(condition: Condition, columns: Sequence[Column]) -> int | None:
    """Return which column a condition is about, None where there is none."""
    found = [place for place, column in enumerate(columns) if _fits(condition, column)]
    return max(found, key=lambda place: _width(columns[place]), default=None)


def _fits(condition: Condition, column: Column) -> bool:
    if column.owner != condition.owner:
        return False
    if condition.trait is not None:
        return column.scope == "trait" and column.level == condition.equals
    return (
        column.measure is not None
        and _written(column.measure) == condition.measure
        and (condition.window is None or (column.window is not None and column.window.name == condition.window))
    )


def _width(column: Column) -> float:
    return 0.0 if column.window is None else column.window.width


def _written(measure: Measure) -> str:
    return measure.how if measure.of is None else f"{measure.how}({measure.of})"


def rule_problems(definition: Definition) -> Iterator[str]:
    """Yield, as a sentence each, what a definition's rules and points ask for that its signals and traits do not have."""
    seen: set[str] = set()
    for rule in definition.rules:
        if rule.name in seen:
            yield f"rules: every name must be there once, got {rule.name!r} twice."
        seen.add(rule.name)
        for condition in rule.all:
            yield from _condition_problems(definition, f"rules.{rule.name}", condition)
    for item in definition.points.card if definition.points else ():
        yield from _condition_problems(definition, "points.card", item)


def _condition_problems(definition: Definition, where: str, condition: Condition) -> Iterator[str]:
    known = definition.signal_of if condition.signal is not None else definition.trait_of
    if condition.owner not in known:
        what = "signal" if condition.signal is not None else "trait"
        yield f"{where}: must name a {what} of this definition, got {condition.owner!r}. Known: {', '.join(known)}."
    elif condition.trait is not None:
        yield from _trait_problem(definition.trait_of[condition.trait], where, condition)
    elif condition.signal is not None:
        yield from _signal_problem(definition, where, condition)


def _trait_problem(trait: Trait, where: str, condition: Condition) -> Iterator[str]:
    if (trait.type == "category") != (condition.equals is not None):
        must = "equals, because the trait is a category" if trait.type == "category" else "at_least or below"
        yield f"{where}: {trait.name} (a {trait.type}) must be compared with {must}."


def _signal_problem(definition: Definition, where: str, condition: Condition) -> Iterator[str]:
    signal = definition.signal_of[condition.owner]
    spec = SPECS[condition.measure.partition("(")[0]]
    if condition.equals is not None:
        yield f"{where}: {signal.name} is a signal and must be compared with at_least or below, got equals."
    if condition.measure not in map(_written, signal.measures):
        yield (
            f"{where}: {signal.name} must be measured to be compared, got {condition.measure}, which it has not. "
            f"signals.{signal.name}.measures: add {condition.measure}."
        )
    elif condition.window is not None and not spec.windowed:
        yield f"{where}: {condition.measure} of {signal.name} has no window, got {condition.window!r}. Leave it out."
    elif condition.window == "trial" and spec.fixed:
        yield f"{where}: {condition.measure} of {signal.name} needs a window of fixed length, got 'trial'."
    elif condition.window is not None and condition.window not in {w.name for w in definition.windows_of(signal)}:
        yield (
            f"{where}: {signal.name} must have the window that it is compared over, got {condition.window!r}. "
            f"signals.{signal.name}.windows: add {condition.window}."
        )

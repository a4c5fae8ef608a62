"""Signals -> feature columns: each column's name, unit, direction and meaning, and the plan by which the windows fill them.

The list made here is the only one: schema, model, artifact and documents derive from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.definition import RECENCY, Definition, Measure, Signal, Trait, Window
from features.errors import InvalidSetting
from features.vocabulary import Vocabulary
from features.windows import TRIAL, Op, Plan

Scope = Literal["lead", "account", "trait", "clock"]
Levels = Mapping[str, tuple[str, ...]]
"""The categories of each category trait that training saw often enough; any other value is none of them."""

TRIAL_AGE = "trial_age"

_OPS = {
    "count": Op.COUNT, "active_days": Op.ACTIVE_DAYS, "days_since_first": Op.DAYS_SINCE_FIRST,
    "days_since_last": Op.DAYS_SINCE_LAST, "sum": Op.SUM, "distinct": Op.DISTINCT, "trend": Op.TREND,
    "reached": Op.REACHED,
}  # fmt: skip
_MEANINGS = {
    "count": "how often", "active_days": "24-hour days with at least one (counted back from as_of)",
    "days_since_first": "days since the first one in any of its windows",
    "days_since_last": "days since the last one in any of its windows",
    "sum": "sum of {of}", "distinct": "different values of {of}",
    "trend": "this window against the one before it, -1 (stopped) to 1 (new)", "reached": "whether it happened {of} times",
}  # fmt: skip
_UNITS = {
    "count": "events", "active_days": "days", "days_since_first": "days", "days_since_last": "days", "sum": "{of}",
    "distinct": "values", "trend": "-1 to 1", "reached": "0 or 1",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One feature column: what is measured, of which signal or trait, over which window.

    `direction` is +1 where more of it can only raise the score, -1 where it can only lower it, 0 where the data decides.
    """

    name: str
    owner: str
    scope: Scope
    direction: int
    unit: str
    meaning: str
    measure: Measure | None = None
    window: Window | None = None
    level: str | None = None


def columns(definition: Definition, levels: Levels) -> tuple[Column, ...]:
    """Return every feature column of a definition, in the order in which models see them."""
    age = Column(TRIAL_AGE + "_days", TRIAL_AGE, "clock", 0, "days", "days since the trial began")
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
        if measure.how in RECENCY:
            yield _signal_column(signal, measure, None)
            continue
        for window in definition.windows_of(signal):
            if not (measure.how == "trend" and window.length is None):
                yield _signal_column(signal, measure, window)


def _signal_column(signal: Signal, measure: Measure, window: Window | None) -> Column:
    name = f"{signal.name}_{measure.name}" + (f"_{window.name}" if window else "")
    meaning = _MEANINGS[measure.how].format(of=measure.of) + (f", {window.words}" if window else "")
    unit = _UNITS[measure.how].format(of=measure.of)
    return Column(name, signal.name, signal.scope, _direction(signal.sign, measure), unit, meaning, measure, window)


def _direction(sign: int, measure: Measure) -> int:
    # The longer ago, the less of it; when it first happened says nothing sure either way.
    return {"days_since_last": -sign, "days_since_first": 0}.get(measure.how, sign)


def _trait_columns(trait: Trait, levels: Levels) -> Iterable[Column]:
    if trait.type == "category":
        for level in levels.get(trait.name, ()):
            meaning = f"1 where {trait.source} is {level!r}, else 0"
            yield Column(f"{trait.name}={level}", trait.name, "trait", 0, "0 or 1", meaning, level=level)
    elif trait.type == "email_domain":
        meaning = f"1 where the domain of {trait.source} is a business one, 0 where it is a free mail provider's"
        yield Column(f"{trait.name}_is_business", trait.name, "trait", trait.sign, "0 or 1", meaning)
    else:
        unit = "0 or 1" if trait.type == "flag" else "number"
        yield Column(trait.name, trait.name, "trait", trait.sign, unit, f"the trait {trait.source}")


def fingerprint(table: Sequence[Column], definition: Definition) -> str:
    """Return a SHA-256 over all that decides what the columns hold; two models with the same one can share rows."""
    facts = [[c.name, c.scope, c.direction, c.unit, c.meaning, *_reads(c, definition)] for c in table]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _reads(column: Column, definition: Definition) -> list[object]:
    """Return what a column is made of: its signal's events and windows, or its trait's kind."""
    if column.owner in definition.trait_of:
        return [definition.trait_of[column.owner].type]
    if column.owner not in definition.signal_of:
        return []
    signal = definition.signal_of[column.owner]
    return [sorted(match.model_dump_json() for match in signal.events), [w.name for w in definition.windows_of(signal)]]


def plan(table: Sequence[Column], definition: Definition, vocabulary: Vocabulary, scope: Scope) -> Plan:
    """Return how the windows fill the columns of one scope, in their order in `table`."""
    mine = [column for column in table if column.scope == scope and column.measure is not None]
    spans = _spans(definition, mine)
    row_of = {signal.name: row for row, signal in enumerate(definition.signals)}
    series_start, series = vocabulary.series_of_kinds(
        {s.name: row_of[s.name] for s in definition.signals if s.scope == scope}
    )
    sums = _property_rows(mine, row_of, "sum", vocabulary.numbers, len(row_of))
    distincts = _property_rows(mine, row_of, "distinct", vocabulary.codes, len(row_of))
    ops = [_op(column, definition, row_of, spans, sums, distincts, vocabulary) for column in mine]
    return Plan(
        np.array(spans, np.int64), series_start, series, *sums, *distincts, np.array(ops, np.int64).reshape(len(ops), 5)
    )


def _spans(definition: Definition, table: Sequence[Column]) -> list[int]:
    """Return every span needed; days since first or last look as far back as the signal's widest window."""
    spans: dict[int, None] = {}
    for column in table:
        signal = definition.signal_of[column.owner]
        windows = [column.window] if column.window else definition.windows_of(signal)
        spans |= dict.fromkeys(_length(window) for window in windows)
        if column.measure and column.measure.how == "trend" and column.window:
            spans[2 * _length(column.window)] = None
    return list(spans)


def _length(window: Window) -> int:
    return TRIAL if window.length is None else window.length


Rows = tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", "np.ndarray[tuple[int], np.dtype[np.int64]]"]


def _property_rows(
    table: Sequence[Column], row_of: Mapping[str, int], how: str, properties: Sequence[str], n_series: int
) -> Rows:
    """Return, series by series, which property rows it needs: (start of each series' part, the rows)."""
    needed: list[set[int]] = [set() for _ in range(n_series)]
    for column in table:
        if column.measure and column.measure.how == how and column.measure.of:
            needed[row_of[column.owner]].add(properties.index(column.measure.of))
    start = np.cumsum([0, *(len(rows) for rows in needed)])
    return start.astype(np.int64), np.array([row for rows in needed for row in sorted(rows)], np.int64)


def _reach(windows: Sequence[Window]) -> tuple[int, int]:
    """Return the lengths of which the longer one is the signal's widest window: a trial may be older or younger than it."""
    lengths = [_length(window) for window in windows]
    longest = max(lengths)
    return longest, TRIAL if TRIAL in lengths else longest


def _op(
    column: Column,
    definition: Definition,
    row_of: Mapping[str, int],
    spans: Sequence[int],
    sums: Rows,
    distincts: Rows,
    vocabulary: Vocabulary,
) -> tuple[int, int, int, int, int]:
    assert column.measure is not None  # `plan` passes measured columns only
    measure, series = column.measure, row_of[column.owner]
    lengths = (
        [_length(column.window)] if column.window else _reach(definition.windows_of(definition.signal_of[column.owner]))
    )
    span = spans.index(lengths[0])
    wide = spans.index(2 * lengths[0] if measure.how == "trend" else lengths[-1])
    argument = int(measure.of) if measure.how == "reached" and measure.of else 0
    row = series
    if measure.how in ("sum", "distinct") and measure.of:
        (start, rows), names = (sums, vocabulary.numbers) if measure.how == "sum" else (distincts, vocabulary.codes)
        row = int(start[series]) + list(rows[start[series] : start[series + 1]]).index(names.index(measure.of))
    return int(_OPS[measure.how]), row, span, wide, argument

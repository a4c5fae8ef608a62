"""Which thresholds are tried: a few for every column, from how its values lie among the older leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from features.columns import Column, plain_words
from features.phrases import WHOLE, number_words
from features.rules import Condition
from features.windows import Floats

STEPS: Final = (0.0, 0.25, 0.5, 0.75, 0.9)
"""Quantiles of the values above nothing at which thresholds are tried, the first being the smallest value of all."""
YES_OR_NO: Final = "0 or 1"


def conditions(columns: Sequence[Column], rows: Floats) -> Iterator[tuple[int, Condition]]:
    """Yield (column, condition) for every threshold worth a try on these rows: float64 array of shape (n, n_columns)."""
    for place, column in enumerate(columns):
        if column.scope == "clock":
            continue
        if column.unit == YES_OR_NO:
            yield place, _about(column, equals=column.level) if column.level else _about(column, at_least=1.0)
            continue
        values = rows[:, place]
        for threshold in thresholds(values[np.isfinite(values)], whole=column.unit == "days"):
            less = column.measure is not None and column.measure.spec.sense < 0
            yield place, _about(column, below=threshold) if less else _about(column, at_least=threshold)


def thresholds(values: Floats, *, whole: bool = False) -> list[float]:
    """Return up to five neat thresholds that leave some of the values on either side, ascending; whole ones where asked."""
    above = values[values > 0] if len(values) and values.min() >= 0 else values
    if not len(above):
        return []
    whole = whole or bool((above == above.round()).all())
    neat = {_neat(float(value), whole=whole) for value in np.quantile(above, STEPS)}
    return sorted(one for one in neat if values.min() < one <= values.max())


def _neat(value: float, *, whole: bool) -> float:
    """Return a number that people can remember: two digits, and whole where all values are."""
    short = float(f"{value:.2g}")
    return float(max(1, round(short))) if whole and value > 0 else short


def _about(
    column: Column, at_least: float | None = None, below: float | None = None, equals: str | None = None
) -> Condition:
    if column.measure is None:
        return Condition(trait=column.owner, at_least=at_least, below=below, equals=equals)
    measure = column.measure
    written = measure.how if measure.of is None else f"{measure.how}({measure.of})"
    window = {"window": column.window.name} if column.window else {}
    return Condition(signal=column.owner, measure=written, **window, at_least=at_least, below=below)


def opposite(condition: Condition) -> Condition | None:
    """Return the condition of those known not to meet this one, None for a category, which has no such one."""
    if condition.equals is not None:
        return None
    return condition.model_copy(update={"at_least": condition.below, "below": condition.at_least})


def words(condition: Condition, column: Column) -> str:
    """Return a condition as people say it: `pricing views at least 2 times in the last 7 days`."""
    if condition.equals is not None:
        return f"{plain_words(column.owner)} is {condition.equals}"
    if column.unit == YES_OR_NO:
        met = "no" if condition.below is not None else "yes"
        if "value" in column.sentence.names:
            return column.sentence.fill({"value": met})
        return f"not {column.sentence.fill({})}" if condition.below is not None else column.sentence.fill({})
    if condition.below == 1 and condition.at_least is None and column.measure and column.measure.how == "count":
        return f"no {plain_words(column.owner)} {column.window.words if column.window else ''}".rstrip()
    limits = [("at least", condition.at_least), ("less than", condition.below)]
    return " and ".join(_said(column, side, limit) for side, limit in limits if limit is not None)


def _said(column: Column, side: str, limit: float) -> str:
    text = ""
    for literal, name, forms in column.sentence.parts:
        text += literal
        if name is not None:
            form = (forms[0] if limit == 1 else forms[1]) if forms else ""
            text += f"{side} {form}" if form in WHOLE else f"{side} {number_words(limit)} {form}".rstrip()
    return text

"""Traits -> numbers: one rule per trait type, the same for a row of a table and for a request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from features.columns import ENTERPRISE, Column, Levels
from features.definition import Definition, Trait
from features.domains import Standing
from features.vocabulary import number
from features.windows import Floats

MIN_LEVEL_COUNT = 30
"""Leads that must share a category before it gets a column: fewer say nothing that survives on later data."""
MAX_LEVELS = 12


def learn_levels(definition: Definition, traits: Mapping[str, Sequence[object]]) -> dict[str, tuple[str, ...]]:
    """Return the categories worth a column, per category trait, most frequent first, ties in order of the alphabet."""
    found = {}
    for trait in definition.traits:
        if trait.type == "category":
            counts = Counter(level for level in map(level_of, traits[trait.name]) if level is not None)
            ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            frequent = [level for level, count in ranked if count >= MIN_LEVEL_COUNT]
            found[trait.name] = tuple(frequent[:MAX_LEVELS])
    return found


def level_of(value: object) -> str | None:
    """Return the category that a value names, None where it names none; 3 and 3.0 are one category."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def trait_column(column: Column, trait: Trait, values: Sequence[object]) -> Floats:
    """Return one trait column: float64 array of shape (n,), NaN where the value is not known."""
    # By spelling, because 1, 1.0 and True are equal to a set, and a list is nothing that a set can hold.
    spelled = [repr(value) for value in values]
    known = {
        text: trait_number(column, trait, value) for text, value in dict(zip(spelled, values, strict=True)).items()
    }
    return np.array([known[text] for text in spelled], dtype=np.float64)


def trait_number(column: Column, trait: Trait, value: object) -> float:
    """Return what one value of a trait means for a column."""
    level = level_of(value)
    if level is None:
        return math.nan
    if trait.type == "category":
        return float(level == column.level)
    if trait.type == "email_domain":
        standing = trait.domains.standing(value)
        least = Standing.ENTERPRISE if column.level == ENTERPRISE else Standing.BUSINESS
        return math.nan if standing is None else float(standing >= least)
    if isinstance(value, bool):
        return float(value)
    if trait.type == "flag":
        return {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}.get(level.lower(), math.nan)
    return number(value)


def levels_of(levels: Levels) -> dict[str, list[str]]:
    """Return levels as plain lists, for JSON."""
    return {name: list(values) for name, values in levels.items()}


__all__ = [
    "MAX_LEVELS", "MIN_LEVEL_COUNT", "learn_levels", "level_of", "levels_of", "trait_column",
    "trait_number",
]  # fmt: skip

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
FEW_VALUES = 8
"""Up to here it costs less to read each value than to find those that are alike."""
_FLAGS = {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}


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
    if len(values) <= FEW_VALUES:
        return np.array([trait_number(column, trait, value) for value in values], np.float64)
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
        return _FLAGS.get(level.lower(), math.nan)
    return number(value)


def misread(trait: Trait, value: object) -> str | None:
    """Return what a trait must be where nothing could be made of this value of it, None where the value is fine.

    As lenient as tables are: numbers and flags may be texts, any category will do, None or a blank text is "not known".
    """
    if value is None or trait.type == "category" or (isinstance(value, str) and not value.strip()):
        return None
    if trait.type == "email_domain":
        return None if isinstance(value, str) else "an e-mail address or a domain"
    if isinstance(value, bool):
        return None
    if trait.type == "flag":
        return None if str(level_of(value)).lower() in _FLAGS else "true or false"
    return None if _is_number(value) else "a number"


def _is_number(value: object) -> bool:
    """Whether a value is or spells a number, however large."""
    if isinstance(value, int):
        return True
    try:
        return isinstance(value, float | str) and math.isfinite(float(value))
    except ValueError:
        return False


def levels_of(levels: Levels) -> dict[str, list[str]]:
    """Return levels as plain lists, for JSON."""
    return {name: list(values) for name, values in levels.items()}


__all__ = [
    "MAX_LEVELS", "MIN_LEVEL_COUNT", "learn_levels", "level_of", "levels_of", "misread",
    "trait_column", "trait_number",
]  # fmt: skip

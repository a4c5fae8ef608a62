"""Which level of a trait a lead belongs to, read from its feature row, so that every caller finds the same one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from features.columns import Column, Levels
from features.definition import Definition
from features.errors import InvalidSetting
from features.windows import Floats, Ints

NO_LEVEL: Final = -1
"""The number of a lead whose trait is not known, or is a category too rare to have a column."""
_TWO_LEVELS: Final = {"flag": ("no", "yes"), "email_domain": ("free mail", "business")}


def levels_of_trait(definition: Definition, levels: Levels, trait: str) -> tuple[str, ...]:
    """Return the names of a trait's levels, in the order in which `segment_numbers` counts them.

    Raises
    ------
    InvalidSetting
        For a trait that is not in the definition, or is a number.
    """
    found = definition.trait_of.get(trait)
    if found is None or found.type == "number":
        got = trait if found is None else f"{trait} (a number)"
        raise InvalidSetting.at("cutoff.segments", "must be a trait of type category, flag or email_domain", got)
    return tuple(levels.get(trait, ())) if found.type == "category" else _TWO_LEVELS[found.type]


def segment_numbers(rows: Floats, columns: Sequence[Column], trait: str) -> Ints:
    """Return the number of each row's level: int64 array of shape (n,), `NO_LEVEL` where it has none.

    Parameters
    ----------
    rows : float64 array of shape (n, n_columns)
    columns : as the builder of the rows has them
    """
    places = [place for place, column in enumerate(columns) if column.scope == "trait" and column.owner == trait]
    numbers = np.full(len(rows), NO_LEVEL, np.int64)
    # A column without a level tells no from yes; what else a trait may have beside it makes no further levels.
    if places and columns[places[0]].level is None:
        known = ~np.isnan(rows[:, places[0]])
        numbers[known] = rows[known, places[0]] > 0
        return numbers
    for number, place in enumerate(places):
        numbers[rows[:, place] == 1] = number
    return numbers

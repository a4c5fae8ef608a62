"""Values that somebody else has worked out, by the names of columns -> the row that the engine would have made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.columns import Column
from features.compiling import compiled
from features.errors import InvalidInput, SchemaMismatch, listing, suggestion
from features.windows import Floats

MOST_NAMED, LONGEST_NAMED = 8, 100
LARGEST = float(np.finfo(np.float64).max)
"""Infinity is nobody's value."""
_HINT = "GET /model lists the columns of the version, with their units and which of them may be null."


@dataclass(frozen=True)
class ReadyValues:
    """Makes rows of ready values, and refuses what the engine could never have made: it would be scored as if it made sense."""

    columns: Sequence[Column]

    def row(self, values: Mapping[str, float | None], spot: str = "features") -> Floats:
        """Return the row of values by column name, None and NaN for "not known": float64 array of shape (n_columns,).

        - every column is there, and nothing else -> else SchemaMismatch with what is missing and what is unknown
        - values are finite, and only those that may be unknown are -> else InvalidInput
        - counts and times are not negative, flags are 0 or 1, shares and changes lie in their range -> else InvalidInput
        """
        try:
            row = np.array(list(map(values.__getitem__, self._names)), np.float64)
        except KeyError:
            raise self._mismatch(values, spot) from None
        if len(values) != len(row):
            raise self._mismatch(values, spot)
        if not self._fits(row):
            raise self._misfit(row, spot)
        return row

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def _low(self) -> Floats:
        return np.maximum([column.range[0] for column in self.columns], -LARGEST)

    @cached_property
    def _high(self) -> Floats:
        return np.minimum([column.range[1] for column in self.columns], LARGEST)

    @cached_property
    def _nullable(self) -> npt.NDArray[np.bool_]:
        return np.array([column.may_be_unknown for column in self.columns])

    @cached_property
    def _flags(self) -> npt.NDArray[np.bool_]:
        return np.array([column.is_flag for column in self.columns])

    @cached_property
    def _compiled(self) -> Callable[..., bool]:
        # Its import brings in the compiler.
        from features import ready_kernel

        return compiled(ready_kernel, "fits")

    def _fits(self, row: Floats, which: slice = slice(None)) -> bool:
        """Whether the engine could have made these values of a row."""
        told = (self._low, self._high, self._flags, self._nullable)
        return self._compiled(row[which], *(one[which] for one in told))

    def _misfit(self, row: Floats, spot: str) -> InvalidInput:
        """Return what is wrong with the first value that does not fit."""
        place = next(i for i in range(len(row)) if not self._fits(row, slice(i, i + 1)))
        column, value = self.columns[place], float(row[place])
        field = f"{spot}.{column.name}"
        got = "null" if np.isnan(value) else f"{value:g}"
        return InvalidInput(f"{field} ({column.meaning}) must be {_wanted(column)}, got {got}.", field, _HINT)

    def _mismatch(self, values: Mapping[str, float | None], spot: str) -> SchemaMismatch:
        known = frozenset(self._names)
        missing = [name for name in self._names if name not in values]
        # A name can be of any length, and what it was meant to be is only worth a guess among a few.
        unknown = [name[:LONGEST_NAMED] for name in values if name not in known]
        absent = f" missing {len(missing)}: {listing(missing, MOST_NAMED)}." if missing else ""
        guess = suggestion(unknown[0], missing[:MOST_NAMED]) if unknown else ""
        strange = f" unknown: {listing(unknown, MOST_NAMED)}.{guess}" if unknown else ""
        wanted = f"{spot} must hold the {len(self._names)} columns of the version by name and nothing else;"
        return SchemaMismatch(f"{wanted}{absent}{strange}", spot, _HINT)


def _wanted(column: Column) -> str:
    """Return what the values of a column are, in words."""
    low, high = column.range
    if column.is_flag:
        words = "0 or 1"
    elif np.isfinite(high):
        words = f"a number from {low:g} to {high:g}"
    else:
        words = f"a number not below {low:g}" if np.isfinite(low) else "a finite number"
    return f"{words}, or null where it is not known" if column.may_be_unknown else words

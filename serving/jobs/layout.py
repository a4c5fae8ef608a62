"""What a table of leads with ready feature values must look like for one version, and how its rows are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import polars as pl

from features.errors import InvalidInput, listing, suggestion
from features.matrix import FeatureBuilder
from features.windows import Floats, Ints
from serving.scoring.decision import Flags

LEAD_ID: Final = "lead_id"
ACCOUNT_ID: Final = "account_id"
AS_OF, ENDS_AT = "as_of", "ends_at"
EVENTS: Final = frozenset({"user_id", "event", "timestamp"})
"""The columns by which a table of events is told from one of leads."""


class Rejected(msgspec.Struct, frozen=True):
    """A row that was not scored, and why; `row` is its place among the rows of the file, from 1, without blank lines."""

    row: int
    lead_id: str | None
    error: dict[str, str]


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file.

    Attributes
    ----------
    numbers : int64 array of shape (n,), the places of the rows in the file, from 1
    frame : the rows; features are numbers, all else texts or what a Parquet file has
    rejected : rows between them that could not be read
    """

    numbers: Ints
    frame: pl.DataFrame
    rejected: list[Rejected]


@dataclass(frozen=True)
class Layout:
    """The columns of such a table.

    Attributes
    ----------
    features : names of the version's columns, in its order
    traits : names of the traits that are no feature by themselves; they are used for words only
    low, high : float64 arrays of shape (n_columns,), between which values must lie
    nullable, flags : bool arrays of shape (n_columns,), where null is an answer, and where only 0 and 1 are
    timezone : in which times without a zone are read, None where they are refused
    """

    features: tuple[str, ...]
    traits: tuple[str, ...]
    low: Floats
    high: Floats
    nullable: Flags
    flags: Flags
    timezone: str | None

    @classmethod
    def of(cls, builder: FeatureBuilder) -> Layout:
        """Return the layout that a version asks for."""
        columns, definition = builder.columns, builder.definition
        names = tuple(column.name for column in columns)
        return cls(
            names,
            tuple(trait.name for trait in definition.traits if trait.name not in names),
            np.array([column.range[0] for column in columns]),
            # Infinity is nobody's value.
            np.minimum([column.range[1] for column in columns], np.finfo(np.float64).max),
            np.array([column.may_be_unknown for column in columns]),
            np.array([column.is_flag for column in columns]),
            definition.timezone,
        )

    def fits(self, rows: Floats) -> Flags:
        """Return the rows of which every value could be the version's, as `features.ready` decides it: bool array of shape (n,)."""
        if not len(rows) or self._all_fit(rows):
            return np.ones(len(rows), bool)
        inside = (rows >= self.low) & (rows <= self.high) & (~self.flags | (rows == 0.0) | (rows == 1.0))
        fits: Flags = (inside | (self.nullable & np.isnan(rows))).all(axis=1)
        return fits

    def _all_fit(self, rows: Floats) -> bool:
        """Whether the least and the largest value of each column say that all rows fit, which is far less work."""
        least, most = np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0)
        # With NaN among them the plain sum of a column is none.
        known = ~np.isnan(rows[:, ~self.nullable].sum(axis=0))
        flags = rows[:, self.flags]
        whole = (flags == 0.0) | (flags == 1.0) | np.isnan(flags)
        outside = (least < self.low) | (most > self.high)
        return bool(known.all() and not outside.any() and whole.all())

    @property
    def known(self) -> tuple[str, ...]:
        """Every name that a column may have."""
        return (LEAD_ID, ACCOUNT_ID, AS_OF, ENDS_AT, *self.features, *self.traits)

    @property
    def required(self) -> tuple[str, ...]:
        return (LEAD_ID, *self.features)

    def types(self, names: Sequence[str]) -> Mapping[str, pl.DataType]:
        """Return what the columns of a text file are read as: features as numbers, all else as texts."""
        features = frozenset(self.features)
        return {name: pl.Float64() if name in features else pl.String() for name in names}

    def check(self, names: Sequence[str], *, may_lack: Iterable[str] = ()) -> None:
        """Raise InvalidInput where a table has other columns than these; those it `may_lack` need not be there."""
        got, known, lacking = frozenset(names), self.known, frozenset(may_lack)
        if missing := [name for name in self.required if name not in got and name not in lacking]:
            guess = suggestion(missing[0], sorted(got - frozenset(known)))
            raise InvalidInput(
                f"the file lacks column(s) {listing(missing)}; it has {listing(names, 12)}.{guess}",
                missing[0],
                "Give lead_id and every column that GET /model lists, by name; leave values empty that are not known.",
            )
        if unknown := [name for name in names if name not in frozenset(known)]:
            raise InvalidInput(
                f"the file has column(s) that this version does not know: {listing(unknown)}.{suggestion(unknown[0], known)}",
                unknown[0],
                "Leave them out, or name them as GET /model does.",
            )

    @property
    def unknowable(self) -> tuple[str, ...]:
        """The features that can be null."""
        return tuple(name for name, can in zip(self.features, self.nullable.tolist(), strict=True) if can)


def rejected(
    row: int, lead_id: str | None, message: str, field: str | None = None, hint: str | None = None
) -> Rejected:
    """Return why a row is refused, in the one shape of all our errors."""
    told = {"code": "invalid_input", "message": message, "field": field, "hint": hint}
    return Rejected(row, lead_id, {name: value for name, value in told.items() if value})

"""Rows of a block, checked all at once: those that can be scored, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl

from features.definition import Definition, Trait
from features.domains import domain_of
from features.durations import DAY
from features.errors import InvalidInput, NaiveTimestamp
from features.leads import NEVER
from features.matrix import FeatureBuilder
from features.times import EARLIEST, INSTANT, instants, micros, text_of
from features.traits import misread
from features.windows import Floats, Ints
from serving.jobs.csv_blocks import UNREADABLE
from serving.jobs.layout import ACCOUNT_ID, AS_OF, ENDS_AT, LEAD_ID, Block, Layout, Rejected, rejected
from serving.scoring.answers import Subject
from serving.scoring.decision import Flags

_EARLIEST, _LATEST = (micros(one.replace(tzinfo=UTC)) for one in (datetime.min, datetime.max))

Said = tuple[str, str | None, str | None]
"""A message, the field it is about, and a hint."""


@dataclass(frozen=True)
class Checked:
    """Leads that can be scored, one position per lead.

    Attributes
    ----------
    rows : float64 array of shape (n, n_columns), NaN where not known
    lead_ids, account_ids : texts; null where a lead has no account
    as_of, ends_at : int64 arrays of shape (n,), microseconds since 1970 UTC; NEVER where no end is known
    traits : the columns of the file that words are made of
    """

    rows: Floats
    lead_ids: pl.Series
    account_ids: pl.Series
    as_of: Ints
    ends_at: Ints
    traits: pl.DataFrame
    rejected: list[Rejected]

    def only(self, good: Flags, refused: list[Rejected]) -> Checked:
        """Return some of the leads, with what is said of the others."""
        # A table without columns has no rows either.
        traits = self.traits.filter(good) if self.traits.width else self.traits
        return Checked(
            self.rows[good], self.lead_ids.filter(good), self.account_ids.filter(good), self.as_of[good],
            self.ends_at[good], traits, refused,
        )  # fmt: skip

    def ended(self, definition: Definition) -> Checked:
        """Return the leads with an end where only the definition tells when trials end."""
        length = definition.trial.length if definition.lead == "user" else None
        if length is None or not len(self.rows):
            return self
        started_at = self.as_of - np.rint(self.rows[:, 0] * DAY).astype(np.int64)
        return replace(self, ends_at=np.where(self.ends_at == NEVER, started_at + length, self.ends_at))

    def subject(self, place: int, definition: Definition, layout: Layout) -> Subject:
        """Return one lead as answers are made of it."""
        end = int(self.ends_at[place])
        return Subject(
            self.lead_ids[place], self.account_ids[place], int(self.as_of[place]), None if end == NEVER else end,
            self._traits(place, definition, layout), self.rows[place],
        )  # fmt: skip

    def _traits(self, place: int, definition: Definition, layout: Layout) -> Mapping[str, object]:
        """Return the traits of a lead: those of the file, and those that are a feature by themselves."""
        found: dict[str, object] = self.traits.row(place, named=True) if self.traits.width else {}
        for trait in definition.traits:
            if trait.name in layout.features:
                value = float(self.rows[place, layout.features.index(trait.name)])
                known = bool(value) if trait.type == "flag" else value
                found[trait.name] = None if np.isnan(value) else known
        return found


def checked(block: Block, layout: Layout, builder: FeatureBuilder, as_of: int) -> Checked:
    """Return the leads of a block that can be scored; `as_of` is the moment of those that give none."""
    frame, definition = block.frame, builder.definition
    rows = frame.select(layout.features).to_numpy(order="c")
    lead_ids, account_ids = _texts(frame, LEAD_ID), _texts(frame, ACCOUNT_ID)
    moments, ends = (_times(frame, name, layout.timezone) for name in (AS_OF, ENDS_AT))
    traits = frame.select(name for name in layout.traits if name in frame.columns)
    found = Checked(rows, lead_ids, account_ids, _micros(moments, as_of), _micros(ends, NEVER), traits, block.rejected)
    faults = [
        _Faults(lead_ids.is_null().to_numpy(), lambda _: (f"{LEAD_ID} must not be empty.", LEAD_ID, None)),
        *(_no_time(frame, name, times) for name, times in ((AS_OF, moments), (ENDS_AT, ends))),
        _Faults(~layout.fits(rows), lambda place: _misfit(builder, layout, rows[place])),
        _too_old(found, layout),
        *(_misread(traits[name], definition.trait_of[name]) for name in traits.columns),
        _excluded(found, definition),
    ]
    bad: Flags = np.any([one.where for one in faults], axis=0)
    if bad.any():
        fresh = [_refused(int(place), block, lead_ids, faults) for place in np.flatnonzero(bad)]
        found = found.only(~bad, sorted([*block.rejected, *fresh], key=lambda one: one.row))
    return found.ended(definition)


@dataclass(frozen=True)
class _Faults:
    """Where rows have a fault, and what is said of one that has."""

    where: Flags
    say: Callable[[int], Said]


def _refused(place: int, block: Block, lead_ids: pl.Series, faults: list[_Faults]) -> Rejected:
    fault = next(one for one in faults if one.where[place])
    return rejected(int(block.numbers[place]), lead_ids[place], *fault.say(place))


def _texts(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as texts, null where they are blank."""
    if name not in frame.columns:
        return pl.Series(name, [None], dtype=pl.String).new_from_index(0, len(frame))
    texts = frame[name].cast(pl.String)
    blank = texts.str.strip_chars() == ""
    return texts if not blank.any() else texts.to_frame().select(pl.when(~blank).then(pl.col(name))).to_series()


def _times(frame: pl.DataFrame, name: str, timezone: str | None) -> pl.Series:
    """Return a column as UTC instants, null where it holds no time.

    Raises
    ------
    InvalidInput
        Where a whole column cannot be times, holds some that no calendar has, or has times without a zone where none is given.
    """
    if name not in frame.columns or frame.schema[name] == pl.Null:
        return pl.Series(name, [None], dtype=INSTANT).new_from_index(0, len(frame))
    try:
        found = instants(frame.select(name), name, timezone)[name]
        if found.cast(pl.Int64).is_between(_EARLIEST, _LATEST).all():
            return found
    except UNREADABLE:
        pass
    except NaiveTimestamp:
        if frame.schema[name] != pl.String:
            raise
        return pl.Series(name, [None], dtype=INSTANT).new_from_index(0, len(frame))
    raise InvalidInput(
        f"{name} must be times of the years 1 to 9999, got others.", name, "Check the unit of the column."
    )


def _no_time(frame: pl.DataFrame, name: str, found: pl.Series) -> _Faults:
    if name not in frame.columns:
        return _Faults(np.zeros(len(frame), bool), lambda _: (name, name, None))
    given = frame[name]
    blank = given.is_null()
    if given.dtype == pl.String:
        blank |= given.str.strip_chars() == ""
    where = (found.is_null() & ~blank.fill_null(value=True)).to_numpy()
    must = "must be an ISO 8601 time with its zone, such as 2026-03-01T09:00:00Z"
    return _Faults(where, lambda place: (f"{name} {must}, got {str(given[place])[:60]!r}.", name, None))


def _misfit(builder: FeatureBuilder, layout: Layout, row: Floats) -> Said:
    """Return what is wrong with a row that does not fit, in the words of requests with ready values."""
    try:
        builder.ready.row(dict(zip(layout.features, row.tolist(), strict=True)), "row")
    except InvalidInput as error:
        return error.message.removeprefix("row."), (error.field or "").removeprefix("row."), error.hint
    return "the row does not fit.", None, None


def _too_old(leads: Checked, layout: Layout) -> _Faults:
    """Return which trials would have begun before there was any."""
    name = layout.features[0]
    where: Flags = leads.rows[:, 0] * DAY > leads.as_of - EARLIEST

    def say(place: int) -> Said:
        back = f"{name} must not reach back before {text_of(EARLIEST)} from as_of"
        return f"{back} {text_of(int(leads.as_of[place]))}, got {leads.rows[place, 0]:g}.", name, None

    return _Faults(where, say)


def _misread(values: pl.Series, trait: Trait) -> _Faults:
    """Return where a trait's value is none of its kind."""
    kinds = values.unique()
    wrong = [value for value in kinds if misread(trait, value) is not None]
    where = values.is_in(pl.Series(wrong, dtype=values.dtype)).fill_null(value=False).to_numpy()

    def say(place: int) -> Said:
        # Not looked up: NaN is no key that is found again.
        value = values[place]
        return f"{trait.name} must be {misread(trait, value)}, got {str(value)[:60]!r}.", trait.name, None

    return _Faults(where, say)


def _excluded(leads: Checked, definition: Definition) -> _Faults:
    """Return which leads the definition lists as nobody's customers."""
    lists, n = definition.exclude, len(leads.rows)
    accounts = leads.lead_ids if definition.lead == "account" else leads.account_ids
    where = leads.lead_ids.is_in(list(lists.users)) | accounts.is_in(list(lists.accounts)).fill_null(value=False)
    for trait in definition.traits:
        if trait.type == "email_domain" and lists.email_domains and trait.name in leads.traits.columns:
            addresses = leads.traits[trait.name]
            listed = [one for one in addresses.unique() if domain_of(one) in lists.email_domains]
            where |= addresses.is_in(pl.Series(listed, dtype=addresses.dtype)).fill_null(value=False)
    said = "the lead is on the definition's list of excluded leads.", None, None
    return _Faults(where.fill_null(value=False).to_numpy() if n else np.zeros(0, bool), lambda _: said)


def _micros(times: pl.Series, otherwise: int) -> Ints:
    found: Ints = times.cast(pl.Int64).fill_null(otherwise).to_numpy()
    return found

"""What was seen of each snapshot until a moment, and what can be learned from it: also from trials still in the middle.

A trial that has been watched for ten of thirty days is neither a "no" nor nothing: it is a "not within ten days". Its
log-odds are those of the whole span, shifted by how many of its kind convert so early, and learning knows the shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.columns import Column
from features.durations import DAY
from features.leads import Leads
from features.windows import Floats, Ints
from serving.scoring.course import Stage
from training.calibrate import in_the_large
from training.fit import Lessons, fit_scorecard
from training.snapshots import Snapshots
from training.split import Split

EDGES: Final = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 21.0, 30.0, 45.0, 60.0, 90.0)
"""Days until which a trial that is still watched counts: the last of them that has passed."""
FEWEST: Final = 10
"""Conversions by a day from which on its shift is known well enough to learn with."""


@dataclass(frozen=True)
class Watched:
    """Snapshots and what had been seen of them by a moment, one position per snapshot.

    Attributes
    ----------
    rows : float64 array of shape (n, n_columns)
    weight, age, took, seen : float64 arrays of shape (n,)
        Days since the trial's start, days until the conversion (inf where none was seen), days watched.
    """

    rows: Floats
    weight: Floats
    age: Floats
    took: Floats
    seen: Floats

    def take(self, places: Ints) -> Watched:
        """Return some of them."""
        return Watched(*(getattr(self, name)[places] for name in self.__dataclass_fields__))


def watched(rows: Floats, table: Snapshots, leads: Leads, numbers: Ints, until: int) -> Watched:
    """Return what had been seen of the snapshots `numbers` just before the moment `until`."""
    as_of, converted_at = table.as_of[numbers], leads.converted_at[table.lead[numbers]]
    # Not by subtraction: the time of what never happens is the largest number there is.
    took = np.where(converted_at < until, converted_at, as_of) - as_of
    days = np.where(converted_at < until, took / DAY, np.inf)
    age, seen = (as_of - table.started_at[numbers]) / DAY, (until - as_of) / DAY
    return Watched(rows[numbers], table.weight[numbers], age, days, seen)


def known_until(table: Snapshots, parts: Split) -> int:
    """Return the moment up to which learning may look: when the first trial of the next part began."""
    return parts.test_from if parts.cutoff is None else int(table.started_at[parts.cutoff].min())


def young(table: Snapshots, parts: Split) -> Ints:
    """Return the numbers of snapshots in the middle of their horizon when learning stops looking, ascending."""
    until = known_until(table, parts)
    inside = (table.started_at < until) & (table.as_of < until) & (table.label_end > until)
    # Those that set the cutoff are always strangers to what was learned; those that judge are where they can be.
    newer = [parts.test] if parts.accounts_apart else []
    newer += [] if parts.cutoff is None else [parts.cutoff]
    for rows in newer:
        inside &= ~np.isin(table.account, table.account[rows])
    return np.flatnonzero(inside).astype(np.int64)


def lessons(seen: Watched, begin: float, end: float, columns: Sequence[Column], ridge: float) -> tuple[Lessons, Ints]:
    """Return what is learned of converting in [begin, end) days, and the places in `seen` it is learned from.

    Places whose whole span was watched come first. Of the others the span up to the last of EDGES that has passed counts.
    """
    at_risk = seen.took >= begin
    whole = np.flatnonzero(at_risk & (seen.seen >= end))
    first = Lessons.whole(seen.rows[whole], (seen.took[whole] < end).astype(np.int64), seen.weight[whole])
    days = [day for day in EDGES if begin < day < end and (seen.took[whole] < day).sum() >= FEWEST]
    rest = np.flatnonzero(at_risk & (seen.seen < end) & (seen.seen >= (days[0] if days else np.inf)))
    if not len(rest):
        return first, whole
    odds = fit_scorecard(first, columns, ridge).margins(first.rows)
    ages = tuple(np.unique(seen.age[whole]).tolist())
    stage = stage_of(odds, seen.take(whole), ages, (*days, end))
    edge = np.searchsorted(days, seen.seen[rest], side="right") - 1
    shift = stage.shift[np.searchsorted(ages, seen.age[rest]).clip(max=len(ages) - 1), edge]
    converted = (seen.took[rest] < np.array(days)[edge]).astype(np.int64)
    more = Lessons(seen.rows[rest], converted, seen.weight[rest], shift)
    both = Lessons(
        *(np.concatenate([getattr(first, name), getattr(more, name)]) for name in Lessons.__dataclass_fields__)
    )
    return both, np.concatenate([whole, rest])


def stage_of(odds: Floats, whole: Watched, ages: tuple[float, ...], days: tuple[float, ...]) -> Stage:
    """Return by how much the log-odds by each of `days` lie below those by the last of them, for each age.

    Each shift makes the probabilities of the snapshots of that age add up to the conversions seen among them by that day
    (with half a conversion more, so that a day by which nobody has converted yet is unlikely and not impossible).

    Parameters
    ----------
    odds : float64 array of shape (n,), log-odds by the last day, of snapshots watched at least so long
    """
    shift = np.zeros((len(ages), len(days)))
    for row, age in enumerate(ages):
        mine = whole.age == age
        if mine.any():
            shift[row] = _shifts(odds[mine], whole.took[mine], whole.weight[mine], days)
    return Stage(days, shift)


def _shifts(odds: Floats, took: Floats, weight: Floats, days: tuple[float, ...]) -> Floats:
    half, everybody = 0.5 * float(weight.mean()), float(weight.sum())
    seen = [(float(weight @ (took < day)) + half) * everybody / (everybody + 2 * half) for day in days]
    found = np.array([in_the_large(conversions, odds, weight) for conversions in seen])
    shifts: Floats = found - found[-1]
    return shifts

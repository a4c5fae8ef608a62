"""Which behaviours, thresholds and days separate converters: found on older leads, checked on later ones.

Reads data and writes nothing; `training.discovery.run` has the effects, `training.discovery.words` the words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from features.columns import Column
from features.dataset import Dataset
from features.definition import Definition
from features.matrix import FeatureBuilder
from features.times import text_of
from features.windows import Ints
from training.discovery.evidence import Stage
from training.discovery.explore import explore
from training.discovery.found import Explored
from training.discovery.timing import timings
from training.snapshots import known_levels, snapshots
from training.split import split

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to look; `test_from` is the first trial start of the later part, in microseconds since 1970 UTC."""

    test_from: int | None = None


@dataclass(frozen=True)
class Seen:
    """How much one part holds: its leads, those of them that convert, and over how many weeks their trials began."""

    leads: int
    converters: int
    weeks: float


@dataclass(frozen=True)
class Halves:
    """The leads on both sides of the split in time, with their rows.

    `learned` are the leads of the older rows: int64 array of shape (n,), numbered as in the data.
    """

    older: Stage
    later: Stage
    columns: tuple[Column, ...]
    learned: Ints
    test_from: int


@dataclass(frozen=True)
class Discovery:
    """What was found, in which columns, on how many leads; `test_from` is when the first later trial began."""

    definition: Definition
    columns: tuple[Column, ...]
    found: Explored
    older: Seen
    later: Seen
    test_from: str
    until: str


def discover(data: Dataset, settings: Settings, progress: Progress = lambda _: None) -> Discovery:
    """Return what separates converters, on the snapshots and the split in time that training has too.

    Raises
    ------
    Refusal
        Where there are too few leads of either outcome to look at, or to check on.
    """
    definition, seen = data.definition, halves(data, settings, progress)
    older, later, table = seen.older, seen.later, seen.columns
    progress(f"trying thresholds and rules on {older.leads:,} older leads")
    found = explore(older, later, table, asked(definition), definition.rules, definition.points)
    progress("looking at when converters did what")
    when = timings(data, seen.learned)
    signals = tuple(replace(one, timing=when.get(one.best.name)) for one in found.signals)
    return Discovery(
        definition, table, replace(found, signals=signals), _seen(older), _seen(later), text_of(seen.test_from),
        text_of(data.until),
    )  # fmt: skip


def halves(data: Dataset, settings: Settings, progress: Progress = lambda _: None) -> Halves:
    """Return the older leads, to find things among, and the later ones, to check them on.

    Raises
    ------
    Refusal
        Where there are too few leads of either outcome to look at, or to check on.
    """
    table = snapshots(data, data.leads)
    parts = split(table, settings.test_from)
    levels = known_levels(data, table.lead[parts.learned], table.as_of[parts.learned])
    builder = FeatureBuilder(data.definition, levels)
    progress(f"feature windows for {len(table):,} snapshots of {len(data.leads):,} leads")
    rows = data.rows(builder, table.lead, table.as_of)
    older, later = (Stage.of(table.take(part), rows[part], data.leads) for part in (parts.learned, parts.test))
    return Halves(older, later, builder.columns, table.lead[parts.learned], parts.test_from)


def asked(definition: Definition) -> float | None:
    """Return the precision that the cutoff's policy promises, or from which a contact pays; None where it asks for neither."""
    policy = definition.cutoff
    return policy.worth_it if policy.at_least is None else policy.at_least


def _seen(stage: Stage) -> Seen:
    return Seen(stage.leads, int(stage.converter.sum()), stage.weeks)

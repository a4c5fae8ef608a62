"""The training table: every lead at every age at which it is scored, while its trial ran and its outcome is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from features.definition import Definition
from features.leads import Leads, running
from features.traits import learn_levels
from features.windows import Floats, Ints
from training.labels import UNKNOWN, labels

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Snapshots:
    """Rows (lead, as_of) with known outcome, ordered by as_of.

    Attributes
    ----------
    lead, account : int64 arrays of shape (n,), numbers as in `Leads`
    as_of, started_at, label_end : int64 arrays of shape (n,), microseconds since 1970 UTC
    converted : int64 array of shape (n,), 0 or 1
    weight : float64 array of shape (n,); 1 / (ages at which a lead is scored), see `row_weight`
    """

    lead: Ints
    account: Ints
    as_of: Ints
    started_at: Ints
    label_end: Ints
    converted: Ints
    weight: Floats

    def __len__(self) -> int:
        return len(self.lead)

    def take(self, rows: Ints) -> Snapshots:
        """Return some rows."""
        return Snapshots(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def together(first: Snapshots, second: Snapshots) -> Snapshots:
    """Return two tables as one, the first one's rows before the second's."""
    return Snapshots(
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in first.__dataclass_fields__)
    )


def row_weight(ages: int) -> float:
    """Return what one snapshot weighs, so that a lead counts at most once however often it is looked at.

    The same for every row: dividing by the snapshots a lead really has would give converters, who leave early, heavier
    rows, and make every probability some 6 % too high (docs/decisions/0006-equal-weights.md).
    """
    return 1.0 / ages


def ages_learned(definition: Definition) -> Ints:
    """Return the ages at which the model learns to score a trial, in microseconds, ascending."""
    return np.array(sorted(definition.score_at), np.int64)


def looked_at(leads: Leads, which: Ints, ages: Ints) -> tuple[Ints, Ints]:
    """Return (lead, as_of) for some leads at every age, lead by lead: int64 arrays of shape (n_which * n_ages,)."""
    lead = np.repeat(which, len(ages))
    return lead, leads.started_at[lead] + np.tile(ages, len(which))


def in_order(keep: Bools, as_of: Ints) -> Ints:
    """Return the places that are kept, by their moment."""
    places = np.flatnonzero(keep)
    return places[np.argsort(as_of[places], kind="stable")]


def evenly(places: Ints, most: int) -> Ints:
    """Return at most so many of some places, evenly over them and both ends among them; all where they are no more."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).astype(np.int64)]


def snapshots(data: Dataset, leads: Leads) -> Snapshots:
    """Return every snapshot of the definition's ages whose trial still ran and whose outcome is known by now."""
    ages, horizon = ages_learned(data.definition), data.definition.conversion.horizon
    lead, as_of = looked_at(leads, np.arange(len(leads)), ages)
    label = labels(leads, lead, as_of, horizon, data.until)
    kept = in_order(running(leads, lead, as_of) & (label != UNKNOWN), as_of)
    return snapshots_of(leads, lead[kept], as_of[kept], label[kept], horizon, len(ages))


def snapshots_of(
    leads: Leads, lead: Ints, as_of: Ints, label: npt.NDArray[np.int8], horizon: int, ages: int
) -> Snapshots:
    """Return the table of some leads at some moments, whose labels are known; so many ages share a lead's weight."""
    weight = np.full(len(lead), row_weight(ages))
    return Snapshots(
        lead, leads.accounts[lead], as_of, leads.started_at[lead], as_of + horizon, label.astype(np.int64), weight
    )


def known_levels(data: Dataset, lead: Ints, as_of: Ints) -> dict[str, tuple[str, ...]]:
    """Return the categories worth a column, from what was known of each lead at the last of its moments.

    Parameters
    ----------
    lead, as_of : int64 arrays of shape (n,), in order of `as_of`
    """
    leads, newest = np.unique(lead[::-1], return_index=True)
    moments = as_of[::-1][newest]
    known = {name: [log.value_at(place) for place in log.at(leads, moments)] for name, log in data.leads.traits.items()}
    return learn_levels(data.definition, known)

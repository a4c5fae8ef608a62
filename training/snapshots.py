"""The training table: every lead at every age at which it is scored, as long as its trial ran and its outcome is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from features.dataset import Dataset
from features.leads import Leads, running
from features.windows import Floats, Ints
from training.labels import UNKNOWN, labels


@dataclass(frozen=True)
class Snapshots:
    """Rows (lead, as_of) with known outcome, ordered by as_of.

    Attributes
    ----------
    lead, account : int64 arrays of shape (n,), numbers as in `Leads`
    as_of, started_at, label_end : int64 arrays of shape (n,), microseconds since 1970 UTC
    converted : int64 array of shape (n,), 0 or 1
    weight : float64 array of shape (n,); the snapshots of one lead weigh 1 together
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
        """Return some rows, their weights as if they were all."""
        part = Snapshots(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))
        return replace(part, weight=weights(part.lead))


def weights(lead: Ints) -> Floats:
    """Return 1 / (rows of the same lead), so that a lead counts once however often it was looked at."""
    _, position, count = np.unique(lead, return_inverse=True, return_counts=True)
    return 1.0 / count[position]


def snapshots(data: Dataset, leads: Leads) -> Snapshots:
    """Return every snapshot of the definition's ages whose trial still ran and whose outcome is known by now."""
    ages = np.array(sorted(data.definition.score_at), np.int64)
    which = np.repeat(np.arange(len(leads)), len(ages))
    as_of = leads.started_at[which] + np.tile(ages, len(leads))
    horizon = data.definition.conversion.horizon
    label = labels(leads, which, as_of, horizon, data.until)
    keep = np.flatnonzero(running(leads, which, as_of) & (label != UNKNOWN))
    keep = keep[np.argsort(as_of[keep], kind="stable")]
    which, as_of, converted = which[keep], as_of[keep], label[keep].astype(np.int64)
    return Snapshots(
        which, leads.accounts[which], as_of, leads.started_at[which], as_of + horizon, converted, weights(which)
    )

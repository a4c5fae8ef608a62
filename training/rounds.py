"""The rounds: every day on which a lead may be met while its trial runs, because a promise is about all of them.

A model learns at a few ages; it is asked on any day. A lead that is looked at daily has more chances to cross a cutoff
than one that is looked at three times, and first crosses it with less to show: counted at the ages of learning alone, the
demo product's PQLs would look two to three points better than they are.
"""

from __future__ import annotations

import numpy as np

from features.dataset import Dataset
from features.definition import Definition
from features.durations import DAY
from features.leads import running
from features.windows import Ints
from training.labels import UNKNOWN, labels
from training.snapshots import Snapshots


def ages_met(definition: Definition) -> Ints:
    """Return the ages at which leads are met, in microseconds, ascending: the ages of learning, and every day between.

    From the first age of learning until the trial ends, or until the last age of learning where trials have no length.
    """
    learned = np.array(sorted(definition.score_at), np.int64)
    end = max(int(learned[-1]) + 1, definition.trial.length or 0)
    return np.unique(np.concatenate([learned, np.arange(learned[0], end, DAY, dtype=np.int64)]))


def last_met(definition: Definition) -> float:
    """Return the days since a trial's start from which on nobody is met: a day after the last age."""
    return float(ages_met(definition)[-1] / DAY + 1)


def rounds(data: Dataset, which: Ints, until: int, *, complete: bool) -> Snapshots:
    """Return the snapshots of leads `which` at every age at which they are met, ordered by as_of.

    Only outcomes known by the moment `until` (microseconds since 1970 UTC) count. With `complete` a lead is left out
    where any of its outcomes is not known by then, so that all leads had the same number of chances.
    """
    leads, ages = data.leads, ages_met(data.definition)
    lead = np.repeat(which, len(ages))
    as_of = leads.started_at[lead] + np.tile(ages, len(which))
    horizon = data.definition.conversion.horizon
    label = labels(leads, lead, as_of, horizon, until)
    known = label != UNKNOWN
    if complete:
        known &= np.repeat(known.reshape(-1, len(ages)).all(axis=1), len(ages))
    # A trial may have a length of its own, and end before the others do.
    keep = np.flatnonzero(running(leads, lead, as_of) & known & (leads.ends_at[lead] > as_of))
    keep = keep[np.argsort(as_of[keep], kind="stable")]
    lead, as_of = lead[keep], as_of[keep]
    weight = np.full(len(keep), 1.0 / len(ages))
    return Snapshots(
        lead, leads.accounts[lead], as_of, leads.started_at[lead], as_of + horizon, label[keep].astype(np.int64), weight
    )

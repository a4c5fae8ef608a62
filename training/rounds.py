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
from training.snapshots import Snapshots, ages_learned, in_order, looked_at, snapshots_of


def ages_met(definition: Definition) -> Ints:
    """Return the ages at which leads are met, in microseconds, ascending: the ages of learning, and every day between.

    From the first age of learning until the trial ends, or until the last age of learning where trials have no length.
    """
    learned = ages_learned(definition)
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
    leads, ages, horizon = data.leads, ages_met(data.definition), data.definition.conversion.horizon
    lead, as_of = looked_at(leads, which, ages)
    label = labels(leads, lead, as_of, horizon, until)
    known = label != UNKNOWN
    if complete:
        known &= np.repeat(known.reshape(-1, len(ages)).all(axis=1), len(ages))
    # A trial may have a length of its own, and end before the others do.
    kept = in_order(running(leads, lead, as_of) & known & (leads.ends_at[lead] > as_of), as_of)
    return snapshots_of(leads, lead[kept], as_of[kept], label[kept], horizon, len(ages))

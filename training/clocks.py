"""The difference between the two clocks: what had happened by a snapshot, and what had also arrived by then.

A model that learns from events which arrived later has seen what it will not see in service.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.dataset import Dataset
from features.matrix import FeatureBuilder
from features.survey import DELAYS
from features.windows import Floats
from training.snapshots import Snapshots


@dataclass(frozen=True)
class Clocks:
    """How much arrives late, and what that does to the features.

    Attributes
    ----------
    clock : the one that training used, `timestamp` or `received_at`
    with_arrival : events that say when they arrived
    late : (in words, share of these events that arrived later than that), from short to long
    rows_differ : share of snapshots that have another value in any column by the other clock, in [0, 1]
    signals_differ : the same for each signal's columns, the most affected first; signals without a difference are left out
    """

    clock: str
    with_arrival: int
    late: tuple[tuple[str, float], ...]
    rows_differ: float
    signals_differ: tuple[tuple[str, float], ...]


def compare_clocks(data: Dataset, builder: FeatureBuilder, table: Snapshots, rows: Floats) -> Clocks | None:
    """Return how the two clocks differ on some snapshots, None where no event says when it arrived.

    `rows` are the features by the clock that the definition names.
    """
    survey, clock = data.survey, data.definition.clock
    if not survey.with_arrival:
        return None
    other = data.rows(builder, table.lead, table.as_of, "timestamp" if clock == "received_at" else "received_at")
    differs = (rows != other) & ~(np.isnan(rows) & np.isnan(other))
    shares = {owner: float(differs[:, places].any(axis=1).mean()) for owner, places in builder.places_of.items()}
    ranked = sorted(((owner, share) for owner, share in shares.items() if share), key=lambda pair: (-pair[1], pair[0]))
    late = tuple((words, survey.late[words] / survey.with_arrival) for words, _ in DELAYS)
    return Clocks(clock, survey.with_arrival, late, float(differs.any(axis=1).mean()), tuple(ranked))

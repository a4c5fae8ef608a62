"""The other design: one LightGBM over (look, bucket of days) rows, the bucket being a column among the others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import lightgbm as lgb
import numpy as np

from benchmarks.truth_slow_world import COLUMNS
from features.windows import Floats
from serving.scoring.calibration import Sigmoid
from training.calibrate import calibrate
from training.watched import Watched

EDGES: Final = (0.0, 7.0, 14.0, 30.0, 60.0, 90.0)
SETTINGS: Final = {
    "objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100, "feature_fraction": 0.8,
    "monotone_constraints": [*(column.direction for column in COLUMNS), 0], "monotone_constraints_method": "intermediate",
    "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 7, "verbose": -1,
}  # fmt: skip
MOST_ROUNDS: Final = 400


@dataclass(frozen=True)
class Hazards:
    """Chances to convert in each bucket, of those still there when it begins."""

    booster: lgb.Booster
    calibration: Sigmoid

    def probabilities(self, rows: Floats) -> Floats:
        """Return the probability to convert by the end of each bucket: float64 array of shape (n, n_buckets)."""
        still, found = np.ones(len(rows)), []
        for bucket in range(len(EDGES) - 1):
            margins = self.booster.predict(np.column_stack([rows, np.full(len(rows), bucket)]), raw_score=True)
            still = still * (1 - self.calibration.probabilities(np.asarray(margins)))
            found.append(1 - still)
        return np.column_stack(found)


def hazards(seen: Watched) -> Hazards:
    """Return what is learned from every bucket that has been seen whole, the newest fifth of it calibrating.

    Looks must be ordered in time.
    """
    rows, converted, look = _periods(seen)
    old = look < np.quantile(look, 0.8)
    train = lgb.Dataset(rows[old], converted[old])
    held = lgb.Dataset(rows[~old], converted[~old], reference=train)
    stop = [lgb.early_stopping(50, verbose=False)]
    judged = lgb.train(SETTINGS, train, MOST_ROUNDS, valid_sets=[held], callbacks=stop)
    margins = np.asarray(judged.predict(rows[~old], raw_score=True))
    calibration = calibrate(margins, converted[~old].astype(np.int64), np.ones(len(margins)))
    whole = lgb.train(SETTINGS, lgb.Dataset(rows, converted), judged.best_iteration)
    return Hazards(whole, calibration)


def _periods(seen: Watched) -> tuple[Floats, Floats, Floats]:
    rows, converted, look = [], [], []
    for bucket, (begin, end) in enumerate(pairwise(EDGES)):
        at_risk = np.flatnonzero((seen.took >= begin) & (seen.seen >= end))
        rows.append(np.column_stack([seen.rows[at_risk], np.full(len(at_risk), bucket)]))
        converted.append(seen.took[at_risk] < end)
        look.append(at_risk)
    return np.concatenate(rows), np.concatenate(converted).astype(np.float64), np.concatenate(look).astype(np.float64)

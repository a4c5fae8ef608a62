"""Slow burners: who converts after the horizon, learned from those who did not within it.

The second stage of the course (`serving.scoring.course`): a shrunken monotone scorecard, which costs a dot product to
serve, and whose reasons are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.columns import Column
from features.errors import Refusal
from features.windows import Floats, Ints
from serving.scoring.calibration import Sigmoid
from serving.scoring.course import Stage
from serving.scoring.scorecard import Scorecard
from training.calibrate import calibrate
from training.fit import fit_scorecard
from training.watched import Watched, lessons, stage_of

FEWEST: Final = 20
"""Conversions after the horizon below which nothing is said of that time."""


@dataclass(frozen=True)
class Slow:
    """The later stage, and for each snapshot learned from its log-odds by a line that had not seen its account.

    `unseen` is a float64 array of shape (n,), calibrated, also of snapshots that convert within the horizon.
    """

    scorecard: Scorecard
    calibration: Sigmoid
    stage: Stage
    unseen: Floats


def fit_later(
    seen: Watched, folds: Sequence[tuple[Ints, Ints]], columns: Sequence[Column], horizon: float,
    days: tuple[float, ...], ridge: float,
) -> Slow | None:  # fmt: skip
    """Return who converts in [horizon, last of days), or None where too few do to tell them apart.

    Parameters
    ----------
    folds : (learn, held out) places in `seen`; every place is held out once
    days : days after the horizon by which probabilities are wanted, ascending
    """
    end = days[-1]
    whole = np.flatnonzero((seen.took >= horizon) & (seen.seen >= end))
    won = seen.took[whole] < end
    if min(won.sum(), (~won).sum()) < FEWEST:
        return None
    margins = np.empty(len(seen.rows))
    for learn, held in folds:
        part = seen.take(learn)
        known = part.took[(part.took >= horizon) & (part.seen >= end)] < end
        if known.all() or not known.any():
            return None
        card = fit_scorecard(lessons(part, horizon, end, columns, ridge)[0], columns, ridge)
        margins[held] = card.margins(seen.rows[held])
    try:
        calibration = calibrate(margins[whole], won.astype(np.int64), seen.weight[whole])
    except Refusal:
        # Nobody can be told apart by that time; the score itself is not touched by it.
        return None
    odds = calibration.log_odds(margins)
    ages = tuple(np.unique(seen.age).tolist())
    stage = stage_of(odds[whole], seen.take(whole), ages, days)
    card = fit_scorecard(lessons(seen, horizon, end, columns, ridge)[0], columns, ridge)
    return Slow(card, calibration, stage, odds)

"""CORP: what a score's outcomes say of its calibration, beside what luck would do to a score that is exactly right.

Consistent, optimally binned, reproducible reliability diagrams by isotonic regression (Dimitriadis, Gneiting and Jordan 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression
from scipy.special import xlog1py, xlogy

from features.windows import Floats, Ints
from training.evaluate import row_weights

SIMULATED: Final = 200
SEED: Final = 7
BAND: Final = (0.05, 0.95)


@dataclass(frozen=True)
class Reliability:
    """How often leads of each score converted, beside what chance does to a score that is exactly right.

    `scores`, `observed`, `low` and `high` are float64 arrays of shape (m,), ascending; `inside` is the share of snapshots
    where `observed` lies between `low` and `high`, the 5th and the 95th percentile of what was simulated.
    """

    scores: Floats
    observed: Floats
    low: Floats
    high: Floats
    inside: float
    probabilities: Floats
    weight: Floats


@dataclass(frozen=True)
class Decomposition:
    """Mean log loss in nats, taken apart: it is `miscalibration` - `discrimination` + `uncertainty`.

    Miscalibration is what recalibrating the score by isotonic regression would gain on the very outcomes it is fitted to, so
    luck alone makes it larger than 0: `low` and `high` are the 5th and the 95th percentile of what a perfect score with
    these predictions would show. Discrimination is what the recalibrated score gains over telling everybody the base rate.
    """

    miscalibration: float
    low: float
    high: float
    discrimination: float
    uncertainty: float

    @property
    def loss(self) -> float:
        """Mean log loss of the score."""
        return self.miscalibration - self.discrimination + self.uncertainty

    @property
    def beyond_luck(self) -> bool:
        """Whether at most 5 of 100 perfect scores would look as wrong."""
        return self.miscalibration > self.high


@dataclass(frozen=True)
class _Levels:
    """Predictions gathered by value: `told` ascending, of shape (m,); each prediction's place; what lies at each value."""

    told: Floats
    place: Ints
    weight: Floats
    mass: Floats

    def shares(self, outcomes: Floats) -> Floats:
        """Return the mean outcome at each value."""
        found: Floats = np.bincount(self.place, self.weight * outcomes, len(self.told)) / self.mass
        return found

    def recalibrated(self, shares: Floats) -> Floats:
        """Return the shares as near as they come to the given ones without falling anywhere."""
        found: Floats = isotonic_regression(shares, weights=self.mass).x
        return found


def _levels(predictions: pd.DataFrame) -> _Levels:
    weight = row_weights(predictions)
    told, place = np.unique(predictions["probability"].to_numpy(np.float64), return_inverse=True)
    return _Levels(told, place.astype(np.int64), weight, np.bincount(place, weight).astype(np.float64))


def _perfect(predictions: pd.DataFrame) -> Iterator[Floats]:
    """Yield outcomes as they might have been if every prediction were exactly right.

    One luck for all snapshots of a lead: their outcomes go together, and as if apart the band would be too narrow.
    """
    lead, rng = pd.factorize(predictions["lead_id"])[0], np.random.default_rng(SEED)
    probabilities = predictions["probability"].to_numpy(np.float64)
    for _ in range(SIMULATED):
        yield (rng.random(int(lead.max()) + 1)[lead] < probabilities).astype(np.float64)


def reliability_of(predictions: pd.DataFrame) -> Reliability:
    """Return the isotonic reliability curve of test predictions."""
    found = _levels(predictions)
    levels = found.told
    roots = np.linspace(np.sqrt(levels[0]), np.sqrt(levels[-1]), 120)
    scores = np.unique(np.concatenate([roots**2, np.quantile(levels, np.linspace(0, 1, 120))]))
    scores = scores.clip(levels[0], levels[-1])

    def smooth(outcomes: Floats) -> Floats:
        curve: Floats = np.interp(scores, levels, found.recalibrated(found.shares(outcomes)))
        return curve

    low, high = np.quantile([smooth(one) for one in _perfect(predictions)], BAND, axis=0)
    observed = smooth(predictions["converted"].to_numpy(np.float64))
    within = (low - 1e-9 <= observed) & (observed <= high + 1e-9)
    inside = float(np.average(np.interp(levels, scores, within), weights=found.mass))
    return Reliability(
        scores, observed, low, high, inside, predictions["probability"].to_numpy(np.float64), found.weight
    )


def decompose(predictions: pd.DataFrame) -> Decomposition:
    """Return the CORP decomposition of log loss, with the band of a perfect score of the same size."""
    found = _levels(predictions)
    low, high = np.quantile([_parts(found, one)[0] for one in _perfect(predictions)], BAND)
    miscalibration, discrimination, uncertainty = _parts(found, predictions["converted"].to_numpy(np.float64))
    return Decomposition(miscalibration, float(low), float(high), discrimination, uncertainty)


def _parts(found: _Levels, outcomes: Floats) -> tuple[float, float, float]:
    shares = found.shares(outcomes)
    right = found.recalibrated(shares)
    everybody = np.full_like(shares, np.average(shares, weights=found.mass))
    now, could, least = (_loss(found, shares, one) for one in (found.told, right, everybody))
    return now - could, least - could, least


def _loss(found: _Levels, shares: Floats, told: Floats) -> float:
    # A recalibrated 0 or 1 stands only where all outcomes agree with it, and costs nothing: 0 log 0 is 0 here.
    losses = -(xlogy(shares, told) + xlog1py(1 - shares, -told))
    return float(np.average(losses, weights=found.mass))

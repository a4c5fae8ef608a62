"""Margins -> probabilities, with two stored numbers; cannot learn them (that is `training.calibrate`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.windows import Floats

FURTHEST: Final = 30.0
"""Beyond so many log-odds the double nearest to a probability would be 1."""


@dataclass(frozen=True)
class Sigmoid:
    """Calibrated log-odds = slope * margin + shift (Platt 1999), with slope > 0 so that the ranking stays as it is."""

    slope: float
    shift: float

    def log_odds(self, margins: Floats) -> Floats:
        """Return calibrated log-odds: float64 array of shape (n,)."""
        odds: Floats = self.slope * margins + self.shift
        return odds

    def probabilities(self, margins: Floats) -> Floats:
        """Return probabilities strictly between 0 and 1: float64 array of shape (n,)."""
        return probabilities_of(self.log_odds(margins))


def probabilities_of(odds: Floats) -> Floats:
    """Return the probabilities of log-odds, strictly between 0 and 1, in the same shape."""
    # Two comparisons of numbers take a third of the time of `np.clip` where there is one lead.
    near = np.minimum(np.maximum(odds, -FURTHEST), FURTHEST)
    found: Floats = 1.0 / (1.0 + np.exp(-near))
    return found


def odds_of(probabilities: Floats) -> Floats:
    """Return the log-odds of probabilities strictly between 0 and 1, in the same shape."""
    return np.log(probabilities) - np.log1p(-probabilities)

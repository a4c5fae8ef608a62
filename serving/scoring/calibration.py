"""Margins -> probabilities, with two stored numbers; cannot learn them (that is `training.calibrate`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.windows import Floats


@dataclass(frozen=True)
class Sigmoid:
    """Calibrated log-odds = slope * margin + shift (Platt 1999), with slope > 0 so that the ranking stays as it is."""

    slope: float
    shift: float

    def probabilities(self, margins: Floats) -> Floats:
        """Return probabilities strictly between 0 and 1: float64 array of shape (n,)."""
        # Beyond 30 log-odds the double nearest to the probability would be 1.
        odds = np.clip(self.slope * margins + self.shift, -30.0, 30.0)
        return 1.0 / (1.0 + np.exp(-odds))

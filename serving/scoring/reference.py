"""What is usual: the scores of the leads a model was made with, and what their converters had done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.windows import Floats


@dataclass(frozen=True)
class Reference:
    """Kept in the artifact, so that a lead is compared with history and never with whoever else is in the request.

    Attributes
    ----------
    quantiles : float64 array of shape (m,), ascending
        Evenly spaced quantiles of the held-out probabilities, the lowest first.
    ages : ages in days at which the shares below were taken, ascending
    converters : for each signal, the share of converters that had done it by each of these ages, in [0, 1]
    """

    quantiles: Floats
    ages: tuple[float, ...]
    converters: Mapping[str, tuple[float, ...]]

    def percentiles(self, probabilities: Floats) -> Floats:
        """Return the share of reference leads below each probability, 0 to 100."""
        below = np.searchsorted(self.quantiles, probabilities, side="left")
        share: Floats = 100.0 * below / len(self.quantiles)
        return share

    def share_of_converters(self, signal: str, age: float) -> tuple[float, float] | None:
        """Return (the last reference age not after `age`, the share of converters that had done it by then)."""
        past = [i for i, known in enumerate(self.ages) if known <= age]
        if not past or signal not in self.converters:
            return None
        return self.ages[past[-1]], self.converters[signal][past[-1]]

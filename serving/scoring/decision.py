"""Who is a PQL: a cutoff with its evidence, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.windows import Floats


@dataclass(frozen=True)
class Cutoff:
    """From this probability on, a lead is a PQL.

    Of `leads` held-out leads, each counted when it first crossed the cutoff, `converted` converted; so with
    `confidence` the share that converts is at least `precision_low`, and that is at least the `at_least` asked for.
    """

    probability: float
    at_least: float
    confidence: float
    leads: int
    converted: int
    precision_low: float
    measured_from: str
    measured_until: str

    def flags(self, probabilities: Floats) -> npt.NDArray[np.bool_]:
        return probabilities >= self.probability


@dataclass(frozen=True)
class NoCutoff:
    """No cutoff can carry the promise on this data: nobody is a PQL, and `reason` says why and what would help."""

    at_least: float
    confidence: float
    reason: str

    def flags(self, probabilities: Floats) -> npt.NDArray[np.bool_]:
        return np.zeros(len(probabilities), bool)


Decision = Cutoff | NoCutoff

"""Learning the two numbers that turn margins into probabilities, from rankings that had not seen the lead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from features.errors import Refusal
from features.windows import Floats, Ints
from serving.scoring.calibration import Sigmoid

SAME: Final = Sigmoid(slope=1.0, shift=0.0)
"""No change: what a well-fitted ranking needs."""


@dataclass(frozen=True)
class Prior:
    """How far shift and slope may be expected to lie from what they were, as standard deviations."""

    shift: float
    slope: float


LEARNING: Final = Prior(shift=1.0, slope=0.5)
"""A few dozen conversions outweigh it, fewer cannot do harm."""
UPDATING: Final = Prior(shift=0.5, slope=0.15)
"""For the newest leads: with 15 conversions it beats both keeping the old numbers and learning anew (drift of a third)."""
WORTH_IT: Final = 2.0
"""A sigmoid must gain as much log likelihood as it has numbers (Akaike 1974), or nothing is changed."""


def calibrate(margins: Floats, converted: Ints, weight: Floats) -> Sigmoid:
    """Return the sigmoid for margins, or `SAME` where it gains too little to be more than luck.

    Raises
    ------
    Refusal
        Where the slope is not positive: then higher margins do not mean more conversions, and the ranking is worthless.
    """
    found = updated(SAME, margins, converted, weight, LEARNING)
    gain = _likelihood(found, margins, converted, weight) - _likelihood(SAME, margins, converted, weight)
    return found if gain > WORTH_IT else SAME


def updated(before: Sigmoid, margins: Floats, converted: Ints, weight: Floats, prior: Prior) -> Sigmoid:
    """Return the sigmoid of highest posterior, the prior centred on how it was before, by Newton's method.

    Raises
    ------
    Refusal
        Where the slope is not positive.
    """
    z = before.slope * margins + before.shift
    design = np.column_stack([np.ones_like(z), z])
    precision, center = np.diag([prior.shift**-2, prior.slope**-2]), np.array([0.0, 1.0])

    def loss(theta: Floats) -> float:
        odds, off = design @ theta, theta - center
        return float(weight @ (np.logaddexp(0.0, odds) - converted * odds) + off @ precision @ off / 2)

    theta = center
    for _ in range(100):
        p = expit(design @ theta)
        gradient = design.T @ (weight * (p - converted)) + precision @ (theta - center)
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + precision
        step = np.linalg.solve(curvature, gradient)
        # Far from the optimum a whole step can overshoot, and the next one from there even more.
        while np.abs(step).max() > 1e-3 and loss(theta - step) > loss(theta):
            step = step / 2
        theta = theta - step
        if np.abs(step).max() < 1e-12:
            break
    if not theta[1] > 0:
        raise Refusal(
            "no signal: on leads held out, higher scores do not convert more often. "
            "Look at the signals and the horizon."
        )
    return Sigmoid(slope=float(theta[1] * before.slope), shift=float(theta[0] + theta[1] * before.shift))


def _likelihood(sigmoid: Sigmoid, margins: Floats, converted: Ints, weight: Floats) -> float:
    odds = sigmoid.slope * margins + sigmoid.shift
    return float(weight @ (converted * odds - np.logaddexp(0.0, odds)))


def in_the_large(conversions: float, margins: Floats, weight: Floats) -> float:
    """Return what to add to margins so that the probabilities of all rows add up to so many conversions.

    Parameters
    ----------
    conversions : weighted sum, strictly between 0 and the sum of the weights
    """

    def surplus(shift: float) -> float:
        return float(weight @ expit(margins + shift)) - conversions

    return float(brentq(surplus, -60.0 - margins.max(), 60.0 - margins.min(), xtol=1e-12))

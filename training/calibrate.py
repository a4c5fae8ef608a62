"""Learning the two numbers that turn margins into probabilities, from rankings that had not seen the lead."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import expit

from features.errors import Refusal
from features.windows import Floats, Ints
from serving.scoring.calibration import Sigmoid

SD_SHIFT: Final = 1.0
SD_SLOPE: Final = 0.5
"""Prior widths around "no change needed": a few dozen conversions outweigh them, fewer cannot do harm."""


def calibrate(margins: Floats, converted: Ints, weight: Floats) -> Sigmoid:
    """Return the sigmoid of highest posterior under normal priors on shift and slope - 1, by Newton's method.

    Raises
    ------
    Refusal
        Where the slope is not positive: then higher margins do not mean more conversions, and the ranking is worthless.
    """
    design = np.column_stack([np.ones_like(margins), margins])
    prior, center = np.diag([SD_SHIFT**-2, SD_SLOPE**-2]), np.array([0.0, 1.0])

    def loss(theta: Floats) -> float:
        odds, off = design @ theta, theta - center
        return float(weight @ (np.logaddexp(0.0, odds) - converted * odds) + off @ prior @ off / 2)

    theta = center
    for _ in range(100):
        p = expit(design @ theta)
        gradient = design.T @ (weight * (p - converted)) + prior @ (theta - center)
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + prior
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
    return Sigmoid(slope=float(theta[1]), shift=float(theta[0]))

"""Cox's logistic recalibration: the outcomes' log-odds as a straight line of the predicted ones, and whether it is the diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import chi2

from features.windows import Floats, Ints

FREE: Final = 2
"""What the test leaves free: intercept and slope."""


def line(outcomes: Ints | Floats, probabilities: Floats, weight: Floats, *, slope_too: bool) -> tuple[float, float]:
    """Return intercept and slope of the logistic recalibration, by Newton's method; outcomes may be fractions."""
    z = logit(probabilities)
    theta, free = np.array([0.0, 1.0]), slice(0, 2 if slope_too else 1)
    design = np.column_stack([np.ones_like(z), z])[:, free]

    def loss(theta: Floats) -> float:
        odds = theta[0] + theta[1] * z
        return float(weight @ (np.logaddexp(0.0, odds) - outcomes * odds))

    for _ in range(50):
        p = expit(theta[0] + theta[1] * z)
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design
        # Outcomes that a line separates have no finite slope; a touch of ridge keeps the steps finite.
        found = np.linalg.solve(curvature + 1e-9 * np.eye(len(curvature)), design.T @ (weight * (outcomes - p)))
        step = np.zeros(2)
        step[free] = np.clip(found, -5, 5)
        # Far from the optimum a whole step can overshoot, and the next one from there even more.
        while np.abs(step).max() > 1e-3 and loss(theta + step) > loss(theta):
            step /= 2
        theta += step
        if np.abs(step).max() < 1e-10:
            break
    return float(theta[0]), float(theta[1])


def resampled(
    outcomes: Ints | Floats, probabilities: Floats, weight: Floats, draws: Floats, *, slope_too: bool
) -> Floats:
    """Return the slope (or, with the slope held at 1, the intercept) of each resample: float64 array of shape (n_draws,).

    One Newton step from the solution on all rows: its error is of order 1/n, where resampling itself is of order 1/sqrt(n).

    Parameters
    ----------
    draws : float64 array of shape (n_draws, n), how often each row is drawn
    """
    z = logit(probabilities)
    theta = np.array(line(outcomes, probabilities, weight, slope_too=slope_too))
    p = expit(theta[0] + theta[1] * z)
    pull, bend = weight * (outcomes - p), weight * p * (1 - p)
    sums = draws @ np.column_stack([pull, pull * z, bend, bend * z, bend * z * z])
    if not slope_too:
        intercepts: Floats = theta[0] + sums[:, 0] / sums[:, 2]
        return intercepts
    determinant = sums[:, 2] * sums[:, 4] - sums[:, 3] ** 2
    slopes: Floats = theta[1] + (sums[:, 2] * sums[:, 1] - sums[:, 3] * sums[:, 0]) / determinant
    return slopes


@dataclass(frozen=True)
class CoxTest:
    """Whether intercept 0 and slope 1 explain the outcomes: `p_value` is how often a perfect score looks as wrong as this.

    `clustered` says which test it is. Where each account has one row it is the plain likelihood ratio. Where an account has
    several, its rows are not independent (three snapshots of a lead made the plain test reject 29 % of perfect scores at
    the level of 5 %), and it is a Wald test with the spread between accounts as its yardstick (5 to 7 %). NaN where all
    outcomes or all predictions are the same.
    """

    statistic: float
    p_value: float
    clustered: bool


def cox_test(outcomes: Ints | Floats, probabilities: Floats, accounts: pd.Series) -> CoxTest:
    """Return the test of intercept 0 and slope 1 together, with two degrees of freedom (Cox 1958)."""
    number = pd.factorize(accounts)[0]
    clustered = len(number) > int(number.max(initial=-1)) + 1
    if not len(outcomes) or np.ptp(outcomes) == 0 or np.ptp(probabilities) == 0:
        return CoxTest(float("nan"), float("nan"), clustered)
    find = _wald if clustered else _likelihood_ratio
    statistic = find(outcomes, probabilities, number)
    return CoxTest(statistic, float(chi2.sf(statistic, FREE)), clustered)


def _likelihood_ratio(outcomes: Ints | Floats, probabilities: Floats, _: Ints) -> float:
    z = logit(probabilities)
    intercept, slope = line(outcomes, probabilities, np.ones(len(z)), slope_too=True)
    better = intercept + slope * z
    losses = (np.logaddexp(0.0, odds) - outcomes * odds for odds in (z, better))
    before, after = (float(loss.sum()) for loss in losses)
    return max(0.0, 2 * (before - after))


def _wald(outcomes: Ints | Floats, probabilities: Floats, number: Ints) -> float:
    """The distance from (0, 1) in units of the sandwich estimate of its spread (Liang and Zeger 1986)."""
    z = logit(probabilities)
    intercept, slope = line(outcomes, probabilities, np.ones(len(z)), slope_too=True)
    design = np.column_stack([np.ones_like(z), z])
    p = expit(intercept + slope * z)
    bread = np.linalg.pinv((design * (p * (1 - p))[:, None]).T @ design)
    sums = np.column_stack([np.bincount(number, column * (outcomes - p)) for column in design.T])
    accounts = len(sums)
    spread = bread @ (sums.T @ sums) @ bread * accounts / (accounts - 1)
    off = np.array([intercept, slope - 1.0])
    return float(off @ np.linalg.pinv(spread) @ off)

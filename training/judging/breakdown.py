"""Whether the score is right in each part of the leads, and not only on average over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import chi2

from features.windows import Floats
from training.evaluate import LEVEL, Interval, bootstrap_weights, interval, observed_to_expected, row_weights

FEW: Final = 10
"""With fewer converting accounts than this, resampled accounts hold too little chance: the interval is then of Poisson counts."""


@dataclass(frozen=True)
class Part:
    """The leads of one segment or trial day: conversions that came, those that were predicted, and their ratio."""

    name: str
    snapshots: int
    leads: int
    observed: int
    expected: float
    ratio: Interval

    @property
    def off(self) -> bool:
        """Whether the interval leaves out 1."""
        return 1.0 not in self.ratio


def parts(predictions: pd.DataFrame, column: str, seed: int) -> tuple[Part, ...]:
    """Return each part by the values of a column, in their order; rows without a value are in none."""
    groups = predictions.groupby(column, sort=True)
    return tuple(_part(_name(value), group, seed) for value, group in groups)


def _name(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _part(name: str, group: pd.DataFrame, seed: int) -> Part:
    outcomes, probabilities = group["converted"].to_numpy(np.float64), group["probability"].to_numpy(np.float64)
    accounts = int(group.loc[group["converted"] == 1, "account"].nunique())
    if accounts < FEW:
        ratio = _poisson(outcomes, probabilities, accounts, len(group) / group["account"].nunique())
    else:
        ratio = _resampled(group, outcomes, probabilities, seed)
    leads = group["lead_id"].nunique()
    return Part(name, len(group), leads, int(outcomes.sum()), float(probabilities.sum()), ratio)


def _resampled(group: pd.DataFrame, outcomes: Floats, probabilities: Floats, seed: int) -> Interval:
    draws = bootstrap_weights(group["account"], seed)
    return interval(observed_to_expected, outcomes, probabilities, row_weights(group), draws)


def _poisson(outcomes: Floats, probabilities: Floats, accounts: int, snapshots_each: float) -> Interval:
    """Return the exact interval of the number of converting accounts (Garwood 1936), each worth its share of snapshots."""
    expected, tail = float(probabilities.sum()), (1 - LEVEL) / 2
    # Where none converted, one that does would bring as many snapshots as the average account has.
    worth = float(outcomes.sum()) / accounts if accounts else snapshots_each
    low = float(chi2.ppf(tail, 2 * accounts)) / 2 if accounts else 0.0
    high = float(chi2.ppf(1 - tail, 2 * (accounts + 1))) / 2
    return Interval(float(outcomes.sum()) / expected, low * worth / expected, high * worth / expected)

"""How good a version is, from its test predictions alone: every figure can be recomputed from the file it wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import beta

from features.windows import Floats, Ints
from serving.scoring.decision import Decision
from training.first_flags import first_flag_rows
from training.judging.recalibration import line, resampled

RESAMPLES: Final = 200
LEVEL: Final = 0.95
PREDICTION_COLUMNS: Final = (
    "lead_id",
    "account",
    "as_of",
    "trial_day",
    "probability",
    "converted",
    "converted_in_days",
    "is_pql",
    "segment",
    "logistic",
    "base_rate",
    "points",
    "rule",
    "later",
    "later_days",
    "is_nurture",
    "at_age",
)
"""One row per test lead and day on which it may be met; those at an age of learning judge ranking and calibration."""


def at_ages(daily: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions at the ages of learning, numbered anew."""
    return daily[daily["at_age"].to_numpy(bool)].reset_index(drop=True)


@dataclass(frozen=True)
class Interval:
    """A figure and the 95 % interval around it, from resampling accounts unless said otherwise."""

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


Metric = Callable[[Ints | Floats, Floats, Floats], float]
"""(outcomes, probabilities, weights), each of shape (n,) -> figure."""


def log_loss(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> float:
    """Return the weighted mean log loss in nats."""
    losses = -(outcomes * np.log(probabilities) + (1 - outcomes) * np.log1p(-probabilities))
    return float(np.average(losses, weights=weight))


def brier(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> float:
    """Return the weighted mean squared error of the probabilities."""
    return float(np.average((outcomes - probabilities) ** 2, weights=weight))


def observed_to_expected(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> float:
    """Return conversions seen over conversions predicted; 1 is right on average."""
    return float((weight * outcomes).sum() / (weight * probabilities).sum())


def auc(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> float:
    """Return the chance that a converter is ranked above another lead; NaN where there is only one outcome."""
    won, lost = _at_each_score(outcomes, probabilities, weight)
    pairs = won.sum() * lost.sum()
    return float(won @ (lost.cumsum() - lost / 2) / pairs) if pairs else float("nan")


def average_precision(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> float:
    """Return the mean precision over the ranks of converters; NaN where there is only one outcome."""
    won, lost = (side[::-1] for side in _at_each_score(outcomes, probabilities, weight))
    if not won.sum() * lost.sum():
        return float("nan")
    here = won > 0
    precision = won.cumsum()[here] / (won + lost).cumsum()[here]
    return float(won[here] @ precision / won.sum())


def _at_each_score(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return the weight of converters and of others at each score, ascending.

    Figures are found hundreds of times for an interval, where the checks of a general library take longer than the sums.
    """
    _, place = np.unique(probabilities, return_inverse=True)
    won, lost = (np.bincount(place, weight * side).astype(np.float64) for side in (outcomes, 1 - outcomes))
    return won, lost


def calibration_slope(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> float:
    """Return the slope of the outcomes' log-odds on the predicted ones (Cox 1958); below 1 is overconfident."""
    return line(outcomes, probabilities, weight, slope_too=True)[1]


def calibration_intercept(outcomes: Ints | Floats, probabilities: Floats, weight: Floats) -> float:
    """Return how far predicted log-odds are off on average, slope held at 1 (calibration in the large); 0 is right."""
    return line(outcomes, probabilities, weight, slope_too=False)[0]


_BY_ONE_STEP: Final = (calibration_slope, calibration_intercept)
"""Figures that take a search to find; resamples take one step from where it ended."""

METRICS: Final[dict[str, Metric]] = {
    "auc": auc,
    "average_precision": average_precision,
    "log_loss": log_loss,
    "brier": brier,
    "observed_to_expected": observed_to_expected,
    "calibration_intercept": calibration_intercept,
    "calibration_slope": calibration_slope,
}


def row_weights(predictions: pd.DataFrame) -> Floats:
    """Return the weight of each row, 1 for all: weights that depend on when a lead left would depend on the outcome."""
    return np.ones(len(predictions))


def bootstrap_weights(accounts: pd.Series, seed: int) -> Floats:
    """Return how often each row is drawn when accounts are: float64 array of shape (RESAMPLES, n)."""
    rng = np.random.default_rng(seed)
    number = pd.factorize(accounts)[0]
    n = int(number.max()) + 1
    draws = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return draws[:, number].astype(np.float64)


def interval(metric: Metric, outcomes: Ints | Floats, probabilities: Floats, weight: Floats, draws: Floats) -> Interval:
    """Return a figure with its percentile interval over resampled accounts."""
    if metric in _BY_ONE_STEP:
        values = resampled(outcomes, probabilities, weight, draws, slope_too=metric is calibration_slope)
    else:
        values = np.array([metric(outcomes, probabilities, weight * draw) for draw in draws])
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(metric(outcomes, probabilities, weight), float(low), float(high))


def evaluate(predictions: pd.DataFrame, seed: int) -> dict[str, Interval]:
    """Return every figure of METRICS for test predictions with the columns PREDICTION_COLUMNS."""
    outcomes, probabilities = predictions["converted"].to_numpy(), predictions["probability"].to_numpy()
    weight, draws = row_weights(predictions), bootstrap_weights(predictions["account"], seed)
    return {name: interval(metric, outcomes, probabilities, weight, draws) for name, metric in METRICS.items()}


def compare(predictions: pd.DataFrame, first: str, second: str, metric: Metric, seed: int) -> Interval:
    """Return the figure of column `first` minus that of `second`, paired over the same resampled accounts."""
    outcomes, weight = predictions["converted"].to_numpy(), row_weights(predictions)
    one, other = predictions[first].to_numpy(np.float64), predictions[second].to_numpy(np.float64)

    def difference(weights: Floats) -> float:
        return metric(outcomes, one, weights) - metric(outcomes, other, weights)

    values = [difference(weight * draw) for draw in bootstrap_weights(predictions["account"], seed)]
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(difference(weight), float(low), float(high))


@dataclass(frozen=True)
class Promise:
    """What became of the leads called PQLs in the test part, each counted when it first crossed the cutoff."""

    leads: int
    converted: int
    precision: Interval | None
    asked_for: float | None
    caught: float

    @property
    def kept(self) -> bool | None:
        """Whether the realised precision reached what was promised; None where nobody was flagged or nothing promised."""
        if self.precision is None or self.asked_for is None:
            return None
        return self.precision.value >= self.asked_for


def promise(predictions: pd.DataFrame, decision: Decision) -> Promise:
    """Return the realised precision of PQLs (exact binomial interval) and the share of converters caught."""
    ordered = predictions.sort_values("as_of", kind="stable").reset_index(drop=True)
    lead = pd.factorize(ordered["lead_id"])[0].astype(np.int64)
    rows = first_flag_rows(ordered["is_pql"].to_numpy(bool), lead)
    n, won = len(rows), int(ordered["converted"].to_numpy()[rows].sum())
    converters = np.unique(lead[ordered["converted"].to_numpy() == 1])
    caught = float(np.isin(converters, lead[rows]).mean()) if len(converters) else float("nan")
    precision = exact_interval(won, n) if n else None
    return Promise(n, won, precision, decision.at_least, caught)


def exact_interval(won: int, n: int) -> Interval:
    """Return a share with its two-sided 95 % Clopper-Pearson interval."""
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, won, n - won + 1)) if won else 0.0
    high = float(beta.ppf(1 - tail, won + 1, n - won)) if won < n else 1.0
    return Interval(won / n, low, high)

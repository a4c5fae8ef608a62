"""Learning the ranking: a shrunken monotone scorecard, and LightGBM trees on what the scorecard leaves over.

On small data a straight line in log-counts ranks as well as trees or better; on large data trees add what it cannot
say. So the trees start from the scorecard's log-odds, and early stopping on accounts held out decides how many are
worth having.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from features.columns import Column
from features.windows import Floats, Ints
from serving.scoring.scorecard import Scorecard, signed_log

RIDGE: Final = 10.0
"""Shrinkage of the scorecard's points; 3 to 30 rank alike on public data (docs/decisions/0002-scorecard-and-trees.md)."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "objective": "binary",
    "learning_rate": 0.03,
    # Capped depth keeps the exact contributions cheap, and each leaf wide enough to be no accident.
    "max_depth": 3,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
    "lambda_l2": 50.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    # "advanced" breaks the directions by up to 0.009 log-odds where columns have missing values (LightGBM 4.7.0).
    "monotone_constraints_method": "intermediate",
    # One thread: more of them wait for each other on a shared machine, and the sums could come out differently.
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True)
class FitSettings:
    """What may be chosen about learning; the defaults suit a thousand leads as well as a million."""

    seed: int = 7
    max_rounds: int = 600
    patience: int = 60
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULTS))


@dataclass(frozen=True)
class Ranking:
    """A scorecard and the trees that correct it; their sum is the margin, in log-odds."""

    scorecard: Scorecard
    booster: lgb.Booster

    def margins(self, rows: Floats) -> Floats:
        """Return scorecard + trees: float64 array of shape (n,)."""
        trees = np.asarray(self.booster.predict(rows, raw_score=True, num_threads=1))
        margins: Floats = self.scorecard.margins(rows) + trees
        return margins


@dataclass(frozen=True)
class Fitted:
    """The ranking learned from all rows, and for each row the margin of a ranking that had not seen its account.

    Attributes
    ----------
    out_of_fold : float64 array of shape (n,)
    rounds : how many trees were worth having
    curve : float64 array of shape (max_rounds_tried + 1,)
        Held-out log loss after 0, 1, 2, ... trees.
    """

    ranking: Ranking
    out_of_fold: Floats
    rounds: int
    curve: Floats


Tick = Callable[[str], None]


def fit(
    rows: Floats, converted: Ints, weight: Floats, table: Sequence[Column], folds: Sequence[tuple[Ints, Ints]],
    settings: FitSettings, tick: Tick = lambda _: None,
) -> Fitted:  # fmt: skip
    """Return the ranking learned from rows of shape (n, n_columns); same input, same seed, same bytes.

    Raises
    ------
    ValueError
        Where the shapes do not fit together.
    """
    parameters = {
        **settings.parameters,
        "seed": settings.seed,
        "monotone_constraints": [column.direction for column in table],
    }
    parts = []
    for number, (learn, held) in enumerate(folds, 1):
        parts.append(_fold(rows, converted, weight, table, (learn, held), parameters, settings))
        tick(f"held-out block {number} of {len(folds)}")
    curve = _mean_curve([part.curve for part in parts], [weight[held].sum() for _, held in folds])
    # At least one tree, so that the artifact always holds a booster; its leaf weight is bounded by the learning rate.
    rounds = max(1, int(curve.argmin()))
    out_of_fold = np.empty(len(rows))
    for part, (_, held) in zip(parts, folds, strict=True):
        out_of_fold[held] = part.margins(rows[held], rounds)
    scorecard = fit_scorecard(rows, converted, weight, table)
    booster = lgb.train(dict(parameters), _data(rows, converted, weight, scorecard), rounds)
    return Fitted(Ranking(scorecard, booster), out_of_fold, rounds, curve)


@dataclass(frozen=True)
class _Fold:
    scorecard: Scorecard
    booster: lgb.Booster
    curve: Floats

    def margins(self, rows: Floats, rounds: int) -> Floats:
        trees = self.booster.predict(rows, raw_score=True, num_iteration=rounds, num_threads=1)
        margins: Floats = self.scorecard.margins(rows) + np.asarray(trees)
        return margins


def _fold(
    rows: Floats, converted: Ints, weight: Floats, table: Sequence[Column], parts: tuple[Ints, Ints],
    parameters: Mapping[str, Any], settings: FitSettings,
) -> _Fold:  # fmt: skip
    learn, held = parts
    scorecard = fit_scorecard(rows[learn], converted[learn], weight[learn], table)
    train = _data(rows[learn], converted[learn], weight[learn], scorecard)
    valid = _data(rows[held], converted[held], weight[held], scorecard, train)
    losses: dict[str, dict[str, list[float]]] = {}
    stop = [lgb.early_stopping(settings.patience, verbose=False), lgb.record_evaluation(losses)]
    booster = lgb.train(
        dict(parameters), train, settings.max_rounds, valid_sets=[valid], valid_names=["held"], callbacks=stop
    )
    start = log_loss(converted[held], scorecard.margins(rows[held]), weight[held])
    return _Fold(scorecard, booster, np.array([start, *losses["held"]["binary_logloss"]]))


def _data(
    rows: Floats, converted: Ints, weight: Floats, scorecard: Scorecard, reference: lgb.Dataset | None = None
) -> lgb.Dataset:
    return lgb.Dataset(rows, converted, weight=weight, init_score=scorecard.margins(rows), reference=reference)


def _mean_curve(curves: Sequence[Floats], sizes: Sequence[float]) -> Floats:
    """Return the mean over the folds, each by its weight, as far as every fold went."""
    length = min(len(curve) for curve in curves)
    mean: Floats = np.average([curve[:length] for curve in curves], axis=0, weights=sizes)
    return mean


def log_loss(converted: Ints, margins: Floats, weight: Floats) -> float:
    """Return the weighted mean log loss of margins in log-odds."""
    return float(np.average(np.logaddexp(0.0, margins) - converted * margins, weights=weight))


def fit_scorecard(
    rows: Floats, converted: Ints, weight: Floats, table: Sequence[Column], ridge: float = RIDGE
) -> Scorecard:
    """Return the ridge-penalised logistic line whose points keep to the columns' directions.

    Minimises sum(weight * log loss) + ridge / 2 * |points|^2 over standardised log columns, by L-BFGS-B within bounds.
    """
    absent = _absent(rows, weight, table)
    logs = signed_log(rows, absent)
    center = np.average(logs, axis=0, weights=weight)
    scale = np.sqrt(np.average((logs - center) ** 2, axis=0, weights=weight))
    scale = np.where(scale < 1e-9, 1.0, scale)
    standard = (logs - center) / scale
    rate = float(np.average(converted, weights=weight))
    start = np.array([np.log(rate / (1 - rate)), *np.zeros(rows.shape[1])])
    bounds = [
        (None, None),
        *((0.0 if d > 0 else None, 0.0 if d < 0 else None) for d in (column.direction for column in table)),
    ]
    objective = _penalised_loss(standard, converted, weight, ridge)
    best = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 2_000})
    return Scorecard(float(best.x[0]), best.x[1:], center, scale, absent)


def _absent(rows: Floats, weight: Floats, table: Sequence[Column]) -> Floats:
    """Return what stands for NaN in each column: the longest time seen where NaN means "never", else the mean."""
    known = ~np.isnan(rows)
    filled, weights = np.where(known, rows, 0.0), known * weight[:, None]
    mean = (filled * weights).sum(axis=0) / np.where(known.any(axis=0), weights.sum(axis=0), 1.0)
    longest = filled.max(axis=0, initial=0.0)
    never = [column.measure is not None and column.measure.spec.never for column in table]
    absent: Floats = np.where(never, longest, mean)
    return absent


def _penalised_loss(
    standard: Floats, converted: Ints, weight: Floats, ridge: float
) -> Callable[[Floats], tuple[float, Floats]]:
    def loss(theta: Floats) -> tuple[float, Floats]:
        margins = standard @ theta[1:] + theta[0]
        slope = weight * (expit(margins) - converted)
        total = float((weight * (np.logaddexp(0.0, margins) - converted * margins)).sum())
        gradient = np.concatenate([[slope.sum()], standard.T @ slope + ridge * theta[1:]])
        return total + ridge / 2 * float(theta[1:] @ theta[1:]), gradient

    return loss

"""Learning the ranking: a shrunken monotone scorecard, and LightGBM trees that begin from most of it.

A straight line in log-counts ranks small data as well as trees or better, and carries a lead that does more than anybody
before it; trees say what a line cannot. They start from a part of the scorecard's log-odds and take over what they say
better (docs/decisions/0009-trees-from-most-of-a-line.md); accounts held out in blocks of time decide how many are grown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from features.columns import Column
from features.windows import Floats, Ints
from serving.scoring.scorecard import Scorecard, signed_log
from training.calibrate import in_the_large

RIDGE: Final = 10.0
"""Shrinkage of the scorecard's points; 3 to 30 rank alike on public data (docs/decisions/0002-scorecard-and-trees.md)."""

KEPT: Final = 0.7
"""How much of the scorecard the trees begin with; all of it leaves them nothing to say, none of it costs them the line."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "objective": "binary",
    "learning_rate": 0.03,
    # Capped depth keeps the exact contributions cheap, and each leaf wide enough to be no accident.
    "max_depth": 3,
    "num_leaves": 7,
    "min_data_in_leaf": 100,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
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
    patience: int = 50
    ridge: float = RIDGE
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULTS))


@dataclass(frozen=True)
class Lessons:
    """What is learned from, one position per snapshot.

    Attributes
    ----------
    rows : float64 array of shape (n, n_columns)
    converted : int64 array of shape (n,), 1 where the lead had converted by the end of what was seen of its horizon
    weight : float64 array of shape (n,)
    shift : float64 array of shape (n,)
        Log-odds of converting by the end of what was seen, minus those by the end of the horizon; 0 where all was seen.
    """

    rows: Floats
    converted: Ints
    weight: Floats
    shift: Floats

    @classmethod
    def whole(cls, rows: Floats, converted: Ints, weight: Floats) -> Lessons:
        """Return lessons of snapshots whose whole horizon was seen."""
        return cls(rows, converted, weight, np.zeros(len(rows)))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Ints) -> Lessons:
        """Return some of them."""
        return Lessons(self.rows[places], self.converted[places], self.weight[places], self.shift[places])


@dataclass(frozen=True)
class Ranking:
    """A scorecard and trees; their sum is the margin, in log-odds."""

    scorecard: Scorecard
    booster: lgb.Booster

    def margins(self, rows: Floats) -> Floats:
        """Return scorecard + trees: float64 array of shape (n,)."""
        trees = np.asarray(self.booster.predict(rows, raw_score=True, num_threads=1))
        margins: Floats = self.scorecard.margins(rows) + trees
        return margins


@dataclass(frozen=True)
class Fold:
    """What was learned without one block of accounts, and how good it is on them with 0, 1, 2, ... trees."""

    card: Scorecard
    start: Scorecard
    booster: lgb.Booster
    curve: Floats

    def both(self, rows: Floats, rounds: int) -> Floats:
        """Return the margins with so many trees: float64 array of shape (n,)."""
        if not len(rows):
            return np.empty(0)
        trees = np.asarray(self.booster.predict(rows, raw_score=True, num_iteration=rounds, num_threads=1))
        margins: Floats = self.start.margins(rows) + trees
        return margins


@dataclass(frozen=True)
class Fitted:
    """Two rankings learned from all lessons, and for each lesson the margins of rankings that had not seen its account.

    Attributes
    ----------
    scorecard, both : the line alone, and the trees that begin from most of it
    scorecard_unseen, both_unseen : float64 arrays of shape (n,), margins on accounts held out, without the shift
    rounds : how many trees were worth having
    curve : float64 array of shape (rounds tried + 1,)
        Held-out log loss of the scorecard alone, then with 1, 2, ... trees.
    folds : the rankings that had not seen a block of accounts, in the order of the blocks
    """

    scorecard: Ranking
    both: Ranking
    scorecard_unseen: Floats
    both_unseen: Floats
    rounds: int
    curve: Floats
    folds: tuple[Fold, ...]

    def unseen(self, rows: Floats, block: Ints, *, trees: bool) -> Floats:
        """Return the margins of other snapshots of the same accounts: float64 array of shape (n,).

        Parameters
        ----------
        block : int64 array of shape (n,), the block that each row's account is held out in
        trees : those of both, or of the line alone
        """
        margins = np.empty(len(rows))
        for number, fold in enumerate(self.folds):
            mine = np.flatnonzero(block == number)
            margins[mine] = fold.both(rows[mine], self.rounds) if trees else fold.card.margins(rows[mine])
        return margins


Tick = Callable[[str], None]


def fit(
    lessons: Lessons,
    table: Sequence[Column],
    folds: Sequence[tuple[Ints, Ints]],
    settings: FitSettings,
    tick: Tick = lambda _: None,
) -> Fitted:
    """Return the rankings learned from lessons; same input, same seed, same bytes.

    Parameters
    ----------
    table : the columns of the lessons' rows
    folds : (learn, held out) places in the lessons; every place is held out once
    """
    parts = []
    for number, (learn, held) in enumerate(folds, 1):
        parts.append(_fold(lessons.take(learn), lessons.take(held), table, settings))
        tick(f"held-out block {number} of {len(folds)}")
    curve = _mean_curve([part.curve for part in parts], [lessons.weight[held].sum() for _, held in folds])
    rounds = 1 + int(curve[1:].argmin())
    line, both = np.empty(len(lessons)), np.empty(len(lessons))
    for part, (_, held) in zip(parts, folds, strict=True):
        line[held] = part.card.margins(lessons.rows[held])
        both[held] = part.both(lessons.rows[held], rounds)
    card = fit_scorecard(lessons, table, settings.ridge)
    start = _start(card, lessons)
    booster = lgb.train(_parameters(table, settings), _data(lessons, start), rounds)
    return Fitted(_alone(card, booster), Ranking(start, booster), line, both, rounds, curve, tuple(parts))


def _start(card: Scorecard, lessons: Lessons) -> Scorecard:
    """Return the part of a scorecard that trees begin from, right on average."""
    kept = replace(card, base=0.0, points=KEPT * card.points)
    margins = kept.margins(lessons.rows) + lessons.shift
    return replace(kept, base=in_the_large(float(lessons.weight @ lessons.converted), margins, lessons.weight))


def _parameters(table: Sequence[Column], settings: FitSettings) -> dict[str, Any]:
    directions = [column.direction for column in table]
    return {**settings.parameters, "seed": settings.seed, "monotone_constraints": directions}


def _data(lessons: Lessons, start: Scorecard, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    begin = start.margins(lessons.rows) + lessons.shift
    return lgb.Dataset(lessons.rows, lessons.converted, weight=lessons.weight, init_score=begin, reference=reference)


def _fold(learn: Lessons, held: Lessons, table: Sequence[Column], settings: FitSettings) -> Fold:
    card = fit_scorecard(learn, table, settings.ridge)
    start = _start(card, learn)
    train = _data(learn, start)
    losses: dict[str, dict[str, list[float]]] = {}
    stop = [lgb.early_stopping(settings.patience, verbose=False), lgb.record_evaluation(losses)]
    booster = lgb.train(
        _parameters(table, settings), train, settings.max_rounds, valid_sets=[_data(held, start, train)],
        valid_names=["held"], callbacks=stop,
    )  # fmt: skip
    alone = log_loss(held.converted, card.margins(held.rows) + held.shift, held.weight)
    return Fold(card, start, booster, np.array([alone, *losses["held"]["binary_logloss"]]))


def _mean_curve(curves: Sequence[Floats], sizes: Sequence[float]) -> Floats:
    """Return the mean over the folds, each by its weight, as far as every fold went."""
    length = min(len(curve) for curve in curves)
    mean: Floats = np.average([curve[:length] for curve in curves], axis=0, weights=sizes)
    return mean


def _alone(card: Scorecard, booster: lgb.Booster) -> Ranking:
    """Return the line with a single tree that says nothing, because an artifact always holds a booster."""
    silent = lgb.Booster(model_str=booster.model_to_string(num_iteration=1))
    for leaf in range(silent.dump_model()["tree_info"][0]["num_leaves"]):
        silent.set_leaf_output(0, leaf, 0.0)
    return Ranking(card, silent)


def log_loss(converted: Ints, margins: Floats, weight: Floats) -> float:
    """Return the weighted mean log loss of margins in log-odds."""
    return float(np.average(np.logaddexp(0.0, margins) - converted * margins, weights=weight))


def fit_scorecard(lessons: Lessons, table: Sequence[Column], ridge: float = RIDGE) -> Scorecard:
    """Return the ridge-penalised logistic line whose points keep to the columns' directions.

    Minimises sum(weight * log loss) + ridge / 2 * |points|^2 over standardised log columns, by L-BFGS-B within bounds.
    """
    rows, weight = lessons.rows, lessons.weight
    absent = _absent(rows, weight, table)
    logs = signed_log(rows, absent)
    center = np.average(logs, axis=0, weights=weight)
    scale = np.sqrt(np.average((logs - center) ** 2, axis=0, weights=weight))
    scale = np.where(scale < 1e-9, 1.0, scale)
    standard = (logs - center) / scale
    base = in_the_large(float(weight @ lessons.converted), lessons.shift, weight)
    bounds = [
        (None, None),
        *((0.0 if d > 0 else None, 0.0 if d < 0 else None) for d in (column.direction for column in table)),
    ]
    objective = _penalised_loss(standard, lessons, ridge)
    start = np.array([base, *np.zeros(rows.shape[1])])
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


def _penalised_loss(standard: Floats, lessons: Lessons, ridge: float) -> Callable[[Floats], tuple[float, Floats]]:
    converted, weight, shift = lessons.converted, lessons.weight, lessons.shift

    def loss(theta: Floats) -> tuple[float, Floats]:
        margins = standard @ theta[1:] + theta[0] + shift
        slope = weight * (expit(margins) - converted)
        total = float((weight * (np.logaddexp(0.0, margins) - converted * margins)).sum())
        gradient = np.concatenate([[slope.sum()], standard.T @ slope + ridge * theta[1:]])
        return total + ridge / 2 * float(theta[1:] @ theta[1:]), gradient

    return loss

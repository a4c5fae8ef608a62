"""A point card fitted to older leads: a shrunken logistic regression without negative parts, rounded to points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from features.columns import Column
from features.rules import CardItem, Condition, PointCard, points
from features.windows import Floats, Ints
from training.discovery.evidence import Found, Stage, measure
from training.discovery.rules import Candidate

STEP: Final = 5
MOST_POINTS: Final = 40
MOST_ITEMS: Final = 10
PER_OWNER: Final = 2
SHRINK: Final = 1.0
"""One over the variance that log-odds of a condition have before anything is seen."""


def fit_card(stage: Stage, items: Sequence[Candidate], columns: Sequence[Column], asked: float) -> PointCard | None:
    """Return the card made of some of these conditions, None where none of them earns a point.

    Parameters
    ----------
    asked : the precision that leads from the threshold on must have shown in the older part, by its lower bound
    """
    chosen = _heaviest(items, _weights(items, stage.converted))
    weights = _weights(chosen, stage.converted)
    worth = [STEP * round(float(weight) / max(float(weights.max()), 1e-9) * MOST_POINTS / STEP) for weight in weights]
    lines = [CardItem(**_given(one.condition), points=value) for one, value in zip(chosen, worth, strict=True) if value]
    if not lines:
        return None
    lines.sort(key=lambda item: (-item.points, item.owner))
    return _with_threshold(stage, tuple(lines), columns, asked)


def _heaviest(items: Sequence[Candidate], weights: Floats) -> list[Candidate]:
    """Return the conditions that tell most, few enough to be remembered: what few meet moves few leads, however heavy."""
    taken: Counter[str] = Counter()
    found: list[Candidate] = []
    told = weights * np.array([one.met.std() for one in items])
    for place in np.argsort(-told, kind="stable").tolist():
        one = items[place]
        if taken[one.condition.owner] < PER_OWNER and len(found) < MOST_ITEMS and weights[place] > 0:
            taken[one.condition.owner] += 1
            found.append(one)
    return found


def _given(condition: Condition) -> dict[str, object]:
    return condition.model_dump(exclude_unset=True, exclude_none=True)


def _weights(items: Sequence[Candidate], converted: Ints) -> Floats:
    """Return the log-odds that each condition adds, none below 0: float64 array of shape (n_items,)."""
    if not items:
        return np.zeros(0)
    patterns, which = np.unique(np.column_stack([one.met for one in items]), axis=0, return_inverse=True)
    # Leads that meet the same conditions are one row: there are far fewer patterns than leads.
    met = np.column_stack([np.ones(len(patterns)), patterns])
    seen, won = np.bincount(which), np.bincount(which, converted)

    def loss(theta: Floats) -> tuple[float, Floats]:
        odds = met @ theta
        shrunk = np.append(0.0, theta[1:]) * SHRINK
        value = float(seen @ np.logaddexp(0.0, odds) - won @ odds + shrunk @ theta / 2)
        return value, met.T @ (seen * expit(odds) - won) + shrunk

    start = np.zeros(len(items) + 1)
    bounds = [(None, None)] + [(0.0, None)] * len(items)
    found: Floats = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found[1:]


def _with_threshold(stage: Stage, lines: tuple[CardItem, ...], columns: Sequence[Column], asked: float) -> PointCard:
    """Return the card whose threshold is the lowest that reached what is asked for, or else the one that came closest."""
    whole = PointCard(threshold=0.0, card=lines)
    totals = points(whole, stage.rows, columns)
    levels = [float(one) for one in np.unique(totals) if one > 0]
    found = [(level, measure(stage, totals >= level)) for level in levels]
    reached = [level for level, one in found if one.precision.low >= asked]
    best = min(reached) if reached else max(found, key=_promise)[0]
    return whole.model_copy(update={"threshold": best})


def _promise(one: tuple[float, Found]) -> float:
    return one[1].precision.low

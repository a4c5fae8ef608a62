"""How well reasons could agree with the truth if only its numbers, and not its form, had to be learned from the same leads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from benchmarks.reasons_page import Agreed
from features.dataset import Dataset
from features.durations import DAY
from features.leads import running
from features.windows import Floats, Ints
from serving.scoring.calibration import odds_of
from training.demo import CORKBOARD, FRESH_DAYS, Demo
from training.pipeline import Trained
from training.snapshots import looked_at

LABELS: Final[Mapping[float, tuple[int, ...]]] = {30.0: (3, 7, 10), 1.0: tuple(range(1, 30))}
"""Days within which a conversion counts, and the trial days on which leads are looked at."""
RIDGE: Final = 3.0
_WEIGHT, _CAP, _FRESH = (np.array(part) for part in zip(*CORKBOARD.effects, strict=True))
_TEAM: Final = CORKBOARD.names.index(CORKBOARD.team)
_PAIR: Final = [CORKBOARD.names.index(name) for name in CORKBOARD.pair]


@dataclass(frozen=True)
class Line:
    """Log-odds added per unit of each term, and which behaviour each term belongs to, in which part."""

    weights: Floats

    def parts(self, terms: Floats) -> Floats:
        """Return each behaviour's part: float64 array of shape (n, n_behaviours)."""
        found: Floats = (terms * self.weights) @ _owners()
        return found


def ceiling(
    world: Demo, data: Dataset, trained: Trained, pqls: tuple[Ints, Ints], judge: Callable[[Floats], Agreed]
) -> dict[float, Agreed]:
    """Return what is said of the parts that lines of the true form find, for each of LABELS.

    Parameters
    ----------
    pqls : lead and moment of those who are explained
    judge : what is said of each behaviour's part beyond the typical one, float64 array of shape (n, n_behaviours)
    """
    fit = np.unique(trained.table.lead[trained.split.fit])
    until = int(trained.table.label_end[trained.split.fit].max())
    found = {}
    for label, days in LABELS.items():
        lead, day, converted = _lessons(data, fit, days, label, until)
        line = _learned(terms(world, data, lead, day), _facts(data, lead, day, days), converted)
        found[label] = judge(_beyond_typical(world, data, line, fit, pqls))
    return found


def _lessons(data: Dataset, fit: Ints, days: tuple[int, ...], label: float, until: int) -> tuple[Ints, Ints, Floats]:
    lead, as_of = looked_at(data.leads, fit, np.array(days, np.int64) * DAY)
    known = running(data.leads, lead, as_of) & (as_of + round(label * DAY) <= until)
    lead, as_of = lead[known], as_of[known]
    converted = (data.leads.converted_at[lead] < as_of + round(label * DAY)).astype(np.float64)
    return lead, np.round((as_of - data.leads.started_at[lead]) / DAY).astype(np.int64), converted


def terms(world: Demo, data: Dataset, lead: Ints, day: Ints) -> Floats:
    """Return what the truth is a sum of: capped counts, those of the last days, a team, and a pair for each of its two."""
    rows = np.searchsorted(world.truth.user_ids, np.array([data.leads.ids[one] for one in lead]))
    total = world.truth.counts[rows, day].astype(np.float64)
    fresh = total - world.truth.counts[rows, np.maximum(day - FRESH_DAYS, 0)]
    lasting = np.where(_FRESH > 0, total - fresh, total)
    team = total[:, _TEAM] >= CORKBOARD.team_size
    pair = (total[:, _PAIR] > 0).all(axis=1)
    return np.column_stack([np.log1p(np.minimum(lasting, _CAP)), np.log1p(fresh)[:, _PAIR], team, pair])


def _owners() -> Floats:
    """Return which behaviour each term is about: float64 array of shape (n_terms, n_behaviours)."""
    alone = np.eye(len(_WEIGHT))
    return np.vstack([alone, alone[_PAIR], alone[[_TEAM]], alone[_PAIR].mean(axis=0, keepdims=True)])


def _facts(data: Dataset, lead: Ints, day: Ints, days: tuple[int, ...]) -> Floats:
    """Return what else the truth knows of a lead: its company, and an intercept for each trial day."""
    moments = data.leads.started_at[lead] + day * DAY
    known = {name: [log.value_at(place) for place in log.at(lead, moments)] for name, log in data.leads.traits.items()}
    free = ("gmail.com", "outlook.com", "yahoo.com", "icloud.com")
    business = [not str(email).endswith(free) for email in known["email"]]
    size = np.log(np.maximum(1.0, np.array(known["company_size"], np.float64)))
    return np.column_stack([size, business, *(day == one for one in days)])


def _learned(terms: Floats, facts: Floats, converted: Floats) -> Line:
    """Return the line learned by ridge-penalised logistic regression, in the directions of the definition."""
    n, every = terms.shape[1], np.column_stack([terms, facts])
    penalty = RIDGE * (np.arange(every.shape[1]) < n)

    def loss(theta: Floats) -> tuple[float, Floats]:
        margins = every @ theta
        total = float((np.logaddexp(0.0, margins) - converted * margins).sum() + penalty @ theta**2 / 2)
        return total, every.T @ (expit(margins) - converted) + penalty * theta

    worse = np.concatenate([_WEIGHT < 0, np.zeros(n - len(_WEIGHT), bool)])
    bounds = [(None, 0.0) if one else (0.0, None) for one in worse] + [(None, None)] * facts.shape[1]
    start = np.zeros(every.shape[1])
    start[n + 2 :] = odds_of(np.array([converted.mean()]))[0]
    best = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 3_000})
    return Line(best.x[:n])


def _beyond_typical(world: Demo, data: Dataset, line: Line, fit: Ints, pqls: tuple[Ints, Ints]) -> Floats:
    """Return each behaviour's part minus its mean among the open leads of `fit` on that day."""
    lead, as_of = pqls
    day = np.round((as_of - data.leads.started_at[lead]) / DAY).astype(np.int64)
    own = line.parts(terms(world, data, lead, day))
    for one in np.unique(day):
        still = fit[running(data.leads, fit, data.leads.started_at[fit] + one * DAY)]
        own[day == one] -= line.parts(terms(world, data, still, np.full(len(still), one))).mean(axis=0)
    return own

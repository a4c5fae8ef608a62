"""A world of feature rows whose true conversion probabilities are known: counts of four behaviours, and facts of a company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from features.columns import Column
from features.definition import Measure
from features.phrases import Phrase
from features.windows import Floats, Ints
from serving.scoring.calibration import odds_of, probabilities_of
from training.calibrate import in_the_large
from training.fit import FitSettings, Fitted, Lessons, fit

DAYS: Final = (7, 14, 28)
PER_DAY: Final = np.array([0.5, 0.15, 0.08, 0.05])
"""Of tasks, invitations, limits reached and views of the pricing page, for a lead of usual interest."""
WEIGHT: Final = np.array([0.42, 0.54, 0.48, 0.66])
CAP: Final = np.array([20.0, 6.0, np.inf, 4.0])
"""More of a behaviour than this in four weeks says nothing more."""
PAIR: Final = 1.0
"""A limit alone annoys and a price alone is curiosity; both together are a plan to buy."""
BASES: Final = (0.03, 0.08, 0.15)
LATER: Final = 40_000
"""Leads that come later and judge."""


def _column(name: str, owner: str, direction: int) -> Column:
    measure = Measure(how="count") if owner != name else None
    return Column(
        name, owner, "lead" if measure else "trait", direction, "", "", Phrase.parse(f"{name} {{value}}"), measure
    )


_BEHAVIOURS: Final = ("tasks", "invitations", "limits", "pricing")
_FACTS: Final = {"size": 1, "business": 1, "seats": 1, "tickets": -1, "idle": 0, "region": 0, "theme": 0, "age": 0}
COLUMNS: Final[Sequence[Column]] = (
    *(_column(f"{name}_{days}d", name, 1) for name in _BEHAVIOURS for days in DAYS),
    *(_column(name, name, direction) for name, direction in _FACTS.items()),
)


@dataclass(frozen=True)
class Drawn:
    """Leads in order of time, what is known of each, how likely it converts, and whether it did.

    Attributes
    ----------
    rows : float64 array of shape (n, n_columns)
    probability : float64 array of shape (n,), the true one
    converted : int64 array of shape (n,)
    """

    rows: Floats
    probability: Floats
    converted: Ints

    def take(self, places: Ints | slice) -> Drawn:
        return Drawn(self.rows[places], self.probability[places], self.converted[places])


def draw(rng: Generator, n: int, base: float) -> Drawn:
    """Return leads of which a share of `base` converts."""
    rows, odds = _unshifted(rng, n)
    shift = _shift_to(base)
    probability = probabilities_of(odds + shift)
    return Drawn(rows, probability, (rng.random(n) < probability).astype(np.int64))


def product(base: float, seed: int, n: int) -> tuple[Drawn, Drawn]:
    """Return what a product had seen, and what comes later."""
    rng = np.random.default_rng([seed, round(1000 * base), n])
    return draw(rng, n, base), draw(rng, LATER, base)


def blocks(n: int, k: int = 5) -> list[tuple[Ints, Ints]]:
    """Return (learn, held out) places for k blocks of time."""
    block = np.arange(n) * k // n
    return [(np.flatnonzero(block != b), np.flatnonzero(block == b)) for b in range(k)]


def learned(seen: Drawn, columns: Sequence[Column] = COLUMNS) -> Fitted:
    """Return our rankings, learned from leads in order of time."""
    n = len(seen.rows)
    return fit(Lessons.whole(seen.rows, seen.converted, np.ones(n)), columns, blocks(n), FitSettings())


def expected_loss(odds: Floats, probability: Floats) -> float:
    """Return the mean log loss that predicted log-odds have, over all outcomes that the truth may bring."""
    return float(np.mean(np.logaddexp(0.0, odds) - probability * odds))


def divergence(odds: Floats, probability: Floats) -> float:
    """Return the mean Kullback-Leibler divergence: by how much the log loss exceeds that of the truth."""
    return expected_loss(odds, probability) - expected_loss(odds_of(probability), probability)


def _unshifted(rng: Generator, n: int) -> tuple[Floats, Floats]:
    drive = rng.normal(size=n)
    rate = PER_DAY * np.exp(0.5 * drive[:, None] + 0.9 * rng.normal(size=(n, 4)))
    newest = rng.poisson(7 * rate * np.exp(0.5 * rng.normal(size=(n, 4)))).astype(np.float64)
    before, earlier = rng.poisson(7 * rate), rng.poisson(14 * rate)
    month = newest + before + earlier
    counts = np.stack([newest, newest + before, month], axis=2).reshape(n, -1)
    size, business = rng.normal(3.4, 1.6, n).clip(0, 8.5), (rng.random(n) < 0.55).astype(np.float64)
    seats, tickets = 1.0 + rng.poisson(np.exp(0.3 * drive)), rng.poisson(0.4, n).astype(np.float64)
    unknown = rng.random(n) < 0.1
    noise = [rng.exponential(3.0, n), rng.integers(0, 5, n), rng.integers(0, 2, n), rng.exponential(100.0, n)]
    facts = [np.where(unknown, np.nan, np.exp(size).round()), business, seats, tickets, *noise]
    odds = np.log1p(np.minimum(month, CAP)) @ WEIGHT + 0.6 * np.log1p(newest[:, 2])
    odds += PAIR * ((newest[:, 2] > 0) & (newest[:, 3] > 0)) + 0.6 * np.tanh(size - 3.4) * ~unknown
    odds += 0.7 * business + 0.35 * np.log(seats) - 0.6 * np.log1p(tickets)
    return np.column_stack([counts, *facts]), odds


def _shift_to(base: float) -> float:
    """Return what makes a share of `base` of all leads convert: the same number for every draw."""
    odds = _unshifted(np.random.default_rng(0), 100_000)[1]
    return in_the_large(base * len(odds), odds, np.ones(len(odds)))

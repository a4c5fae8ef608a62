"""A world with two kinds of buyers: quick ones, who make up their mind in days, and slow ones, who take months."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from scipy.stats import gamma, lognorm

from features.columns import Column
from features.definition import Measure
from features.durations import DAY
from features.leads import NEVER, Leads
from features.phrases import Phrase
from features.windows import Floats, Ints
from serving.scoring.calibration import probabilities_of
from training.snapshots import Snapshots

AGES: Final = (3.0, 14.0, 30.0)
"""Days since the trial began at which a lead is looked at, while it has not converted."""
HORIZON: Final = 14.0
LATEST: Final = 90.0
QUICK: Final = lognorm(0.7, scale=10.0)
"""Days until a quick buyer converts: half of them within 10."""
PER_DAY: Final = np.array([0.10, 0.12, 0.15, 0.06, 0.9, 0.3])
PULL: Final = np.array([[0.9, 0.0], [0.8, 0.1], [0.0, 0.8], [0.1, 0.9], [0.3, 0.3], [0.0, 0.0]])
"""By how much quick and slow interest raise the logarithm of a behaviour's rate."""
START: Final = 1_700_000_000_000_000 // DAY * DAY

_BEHAVIOURS: Final = ("pricing", "limits", "invitations", "integrations", "sessions", "help")


def _column(name: str, owner: str, direction: int) -> Column:
    counted = owner in _BEHAVIOURS
    scope, measure = ("lead", Measure(how="count")) if counted else ("trait", None)
    return Column(name, owner, scope, direction, "", "", Phrase.parse(f"{name} {{value}}"), measure)  # type: ignore[arg-type]


COLUMNS: Final[Sequence[Column]] = (
    _column("trial_age_days", "trial_age", 0),
    *(_column(f"{name}_{window}", name, int(name != "help")) for name in _BEHAVIOURS for window in ("7d", "trial")),
    _column("size", "size", 1),
    _column("region", "region", 0),
)


@dataclass(frozen=True)
class Buyers:
    """How many of each kind there are (log-odds at usual interest), and how evenly slow ones spread around 70 days."""

    quick: float
    slow: float
    shape: float

    def slow_by(self, days: Floats) -> Floats:
        """Return which share of slow buyers has converted so many days after the start."""
        return np.asarray(gamma.cdf(days, self.shape, scale=70 / self.shape))


APART: Final = Buyers(-3.0, -3.0, 5.0)
"""Set so that a 14-day model finds one slow buyer in five, little more than chance would."""
MIXED: Final = Buyers(-3.6, -2.9, 4.0)
"""Few quick buyers, and slow ones of whom many convert soon: a 14-day model learns of slow ones too."""


@dataclass(frozen=True)
class World:
    """Leads that begin evenly over some days, with all looks at them, in order of time.

    Attributes
    ----------
    rows : float64 array of shape (n_looks, n_columns)
    table : the looks; `converted` is within `HORIZON` days, whenever that is
    truth : float64 array of shape (n_looks,), the true probability to convert within `LATEST` days
    slow : bool array of shape (n_looks,), whether the lead is a slow buyer and converts within `LATEST` days
    took : float64 array of shape (n_looks,), days until the conversion, inf where there is none
    """

    leads: Leads
    rows: Floats
    table: Snapshots
    truth: Floats
    slow: npt.NDArray[np.bool_]
    took: Floats


def draw(rng: Generator, n: int, days: float, buyers: Buyers = APART) -> World:
    """Return leads and what becomes of them, for as long as it takes."""
    interest = rng.normal(size=(n, 2))
    chance = probabilities_of(np.array([buyers.quick, buyers.slow]) + 1.3 * interest)
    whether = rng.random((n, 2)) < chance
    times = np.column_stack([QUICK.rvs(n, random_state=rng), rng.gamma(buyers.shape, 70 / buyers.shape, n)])
    took = np.where(whether, times, np.inf)
    when = took.min(axis=1)
    started = START + np.sort((rng.random(n) * days * DAY).astype(np.int64))
    facts = np.column_stack([np.exp(3.4 + 0.5 * interest[:, 1] + 1.2 * rng.normal(size=n)), rng.integers(0, 4, n)])
    counts = _counts(rng, interest)
    lead, place = np.nonzero(when[:, None] > np.array(AGES))
    age = np.array(AGES)[place]
    as_of = started[lead] + (age * DAY).astype(np.int64)
    order = np.argsort(as_of, kind="stable")
    lead, place, age, as_of = lead[order], place[order], age[order], as_of[order]
    left = when[lead] - age
    rows = np.column_stack([age, counts[lead, :, place].reshape(len(lead), -1), facts[lead]])
    table = Snapshots(
        lead, lead, as_of, started[lead], as_of + round(HORIZON * DAY), (left < HORIZON).astype(np.int64),
        np.full(len(lead), 1 / len(AGES)),
    )  # fmt: skip
    slow = (took[lead, 1] < took[lead, 0]) & (left < LATEST)
    return World(_leads(started, when), rows, table, _truth(buyers, chance[lead], age), slow, left)


def _counts(rng: Generator, interest: Floats) -> Ints:
    """Return counts of shape (n, behaviours, ages, windows): of the last week, and since the trial began."""
    rate = PER_DAY * np.exp(interest @ PULL.T + 0.5 * rng.normal(size=(len(interest), len(PER_DAY))))
    # From age to age: up to a week before it, and the week (or what there is of one).
    spans, edges = [], [0.0, *AGES]
    for before, age in zip(edges, AGES, strict=False):
        week = min(7.0, age - before)
        spans.append((age - before - week, week))
    total, found = np.zeros(rate.shape, np.int64), []
    for earlier, week in spans:
        newest = rng.poisson(rate * week)
        total = total + rng.poisson(rate * earlier) + newest
        found.append(np.stack([newest, total], axis=2))
    return np.stack(found, axis=2)


def _truth(buyers: Buyers, chance: Floats, age: Floats) -> Floats:
    def left(days: Floats) -> Floats:
        still: Floats = (1 - chance[:, 0] * QUICK.cdf(days)) * (1 - chance[:, 1] * buyers.slow_by(days))
        return still

    return 1 - left(age + LATEST) / left(age)


def _leads(started: Ints, when: Floats) -> Leads:
    n = len(started)
    never = np.full(n, NEVER)
    ever = np.isfinite(when)
    converted = np.where(ever, started + (np.where(ever, when, 0.0) * DAY).astype(np.int64), NEVER)
    names = [f"u{i}" for i in range(n)]
    return Leads(names, [None] * n, np.arange(n), started, never, never, converted, {})

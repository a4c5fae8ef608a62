"""Small worlds that several tests of learning share: counts whose effect is known, and trials with their conversions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from features.columns import Column
from features.definition import Measure
from features.durations import DAY
from features.leads import NEVER, Leads
from features.phrases import Phrase
from features.windows import Floats, Ints
from training.fit import FitSettings, Lessons
from training.labels import labels
from training.snapshots import Snapshots
from training.watched import Watched, watched

QUICK = FitSettings(max_rounds=60, patience=20)
DIRECTIONS = (1, -1, 0, 1, -1)


def column(place: int, direction: int, how: str = "count") -> Column:
    return Column(f"c{place}", f"s{place}", "lead", direction, "events", "", Phrase.parse("{value}"), Measure(how=how))


def columns(directions: tuple[int, ...]) -> list[Column]:
    return [column(place, direction) for place, direction in enumerate(directions)]


TABLE = columns(DIRECTIONS)
FREE = columns((0,) * 5)


def leads(n: int = 2_000, seed: int = 0) -> tuple[Floats, Ints]:
    """Counts of which some raise and some lower the odds, against their columns' directions in places, with missing values."""
    rng = np.random.default_rng(seed)
    rows = rng.poisson(rng.gamma(0.7, 4.0, (n, len(DIRECTIONS)))).astype(np.float64)
    logs = np.log1p(rows)
    odds = (
        0.9 * logs[:, 0]
        - 0.8 * logs[:, 1]
        + 0.5 * logs[:, 2]
        - 0.7 * logs[:, 3]
        + 1.2 * ((rows[:, 0] > 2) & (rows[:, 2] > 2))
        - 1.5
    )
    converted = (rng.random(n) < expit(odds)).astype(np.int64)
    rows[rng.random(n) < 0.1, 4] = np.nan
    return rows, converted


def whole(rows: Floats, converted: Ints) -> Lessons:
    return Lessons.whole(rows, converted, np.ones(len(rows)))


def blocks(n: int, k: int = 5) -> list[tuple[Ints, Ints]]:
    block = np.arange(n) * k // n
    return [(np.flatnonzero(block != b), np.flatnonzero(block == b)) for b in range(k)]


# --- trials -----------------------------------------------------------------------------------

START = 1_700_000_000_000_000
HORIZON = 30.0
RIDGE = 10.0
COLUMNS = [
    Column(f"c{place}", f"s{place}", "lead", 0, "events", "", Phrase.parse("{value}"), Measure(how="count"))
    for place in range(3)
]


def leads_of(started: Ints, converted: Ints, accounts: Ints | None = None) -> Leads:
    n = len(started)
    never = np.full(n, NEVER)
    own = np.arange(n) if accounts is None else accounts
    return Leads([f"u{i}" for i in range(n)], [None] * n, own, started, never, never, converted, {})


def table_of(leads: Leads, ages: tuple[int, ...] = (3, 7)) -> Snapshots:
    """Every lead that has not converted yet, at every age; the labels are those that are known in the end."""
    which = np.repeat(np.arange(len(leads)), len(ages))
    as_of = leads.started_at[which] + np.tile(np.array(ages, np.int64), len(leads)) * DAY
    keep = np.flatnonzero(leads.converted_at[which] >= as_of)
    keep = keep[np.argsort(as_of[keep], kind="stable")]
    which, as_of = which[keep], as_of[keep]
    horizon = round(HORIZON * DAY)
    won = labels(leads, which, as_of, horizon, NEVER).astype(np.int64)
    weight = np.full(len(which), 1 / len(ages))
    return Snapshots(which, leads.accounts[which], as_of, leads.started_at[which], as_of + horizon, won, weight)


@dataclass(frozen=True)
class World:
    """Snapshots at the age of 3 days whose true log-odds by the horizon are known, seen until 90 days after the first.

    The odds are proportional: by day d they are those by the horizon times (d / horizon) ** 1.2.
    """

    rows: Floats
    table: Snapshots
    leads: Leads
    odds: Floats
    until: int

    def seen(self) -> Watched:
        return watched(self.rows, self.table, self.leads, np.arange(len(self.table)), self.until)


def simulated(seed: int, n: int = 2_500) -> World:
    rng = np.random.default_rng(seed)
    rows = rng.poisson(rng.gamma(0.7, 4.0, (n, 3))).astype(np.float64)
    odds = 0.9 * np.log1p(rows[:, 0]) - 0.7 * np.log1p(rows[:, 1]) - 1.6
    started = START + np.sort(rng.integers(0, 87 * DAY, n))
    days = HORIZON * np.exp((logit(rng.random(n)) - odds) / 1.2)
    converted = started + 3 * DAY + (np.minimum(days, 1e6) * DAY).astype(np.int64)
    leads = leads_of(started, converted)
    table = table_of(leads, (3,))
    return World(rows, table, leads, odds, START + 90 * DAY)

"""What meeting a condition tells of converting: precision, lift, coverage and timing on one part of the leads.

Every lead counts once, at the first of its snapshots that meets the condition, and is compared with all leads of that age.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.stats import beta, norm, rankdata

from features.durations import DAY
from features.leads import Leads
from features.rules import Flags
from features.windows import Floats, Ints
from training.cutoff import first_flag_rows
from training.evaluate import Interval
from training.snapshots import Snapshots

LEVEL: Final = 0.95
WIDE: Final = float(norm.ppf((1 + LEVEL) / 2))
TAIL: Final = 10.0
"""Standard deviations beyond which a count's probability is left out of a sum: less than 1e-20 lies there."""


@dataclass(frozen=True)
class Stage:
    """The snapshots of one part of the leads, in time order.

    Attributes
    ----------
    rows : float64 array of shape (n, n_columns)
    lead, account, age : int64 arrays of shape (n,), numbered from 0 without gaps
    converted : int64 array of shape (n,), 0 or 1
    ahead : float64 array of shape (n,), days from the snapshot to the conversion; huge where it never comes
    days : float64 array of shape (n_ages,), how old a trial is at each age
    weeks : how long the part's trials were begun
    """

    rows: Floats
    lead: Ints
    account: Ints
    age: Ints
    converted: Ints
    ahead: Floats
    days: Floats
    weeks: float

    @classmethod
    def of(cls, table: Snapshots, rows: Floats, leads: Leads) -> Stage:
        """Return the stage of a table's snapshots and their feature rows."""
        ages, age = np.unique(table.as_of - table.started_at, return_inverse=True)
        _, lead = np.unique(table.lead, return_inverse=True)
        _, account = np.unique(table.account, return_inverse=True)
        ahead = (leads.converted_at[table.lead] - table.as_of) / DAY
        weeks = max(1.0, float(np.ptp(table.started_at)) / (7 * DAY))
        return cls(rows, lead, account, age, table.converted, ahead, ages / DAY, weeks)

    @cached_property
    def leads(self) -> int:
        """How many leads there are."""
        return int(self.lead.max()) + 1

    @cached_property
    def sizes(self) -> Ints:
        """How many snapshots each age has."""
        return np.bincount(self.age, minlength=len(self.days)).astype(np.int64)

    @cached_property
    def won(self) -> Ints:
        """How many of them convert within the horizon."""
        return np.bincount(self.age, self.converted, len(self.days)).astype(np.int64)

    @cached_property
    def usual(self) -> Floats:
        """The share of all leads of the same age that converts, for each snapshot."""
        rates: Floats = (self.won / self.sizes)[self.age]
        return rates

    @cached_property
    def converter(self) -> Flags:
        """Which leads convert within the horizon of any of their snapshots: bool array of shape (n_leads,)."""
        return np.bincount(self.lead, self.converted, self.leads) > 0


@dataclass(frozen=True)
class Found:
    """What became of the leads that meet a condition.

    Attributes
    ----------
    leads, converted : how many there are, and how many convert within the horizon of first meeting it
    precision : the share that converts, with its exact binomial interval
    lift : that share over the one of all leads of the same ages; the interval allows for leads of one account going together
    p : probability of a lift as far from 1 by chance
    coverage : share of all converters that meet it
    per_week : leads that first meet it, per week
    ahead : median days from first meeting it to converting, NaN where nobody converts
    """

    leads: int
    converted: int
    precision: Interval
    lift: Interval
    p: float
    coverage: float
    per_week: float
    ahead: float


def measure(stage: Stage, flagged: Flags) -> Found:
    """Return what became of the leads of which a snapshot is flagged: bool array of shape (n,)."""
    first = first_flag_rows(flagged, stage.lead)
    outcome = stage.converted[first]
    n, won = len(first), int(outcome.sum())
    # Each account's pull: how far its leads that meet the condition are from what is usual, beyond its other leads.
    strange = stage.converted - stage.usual
    taken = np.bincount(stage.age[first], minlength=len(stage.days)).astype(np.int64)
    drift = -(taken / stage.sizes)[stage.age] * strange
    pull = drift.copy()
    pull[first] += strange[first]
    usual = float(stage.usual[first].sum())
    precision = exact_interval(won, n)
    return Found(
        n, won, precision,
        _lift(stage, first, drift, won, usual, precision),
        max(_exact_p(stage, taken, won), _robust_p(np.bincount(stage.account, pull).astype(np.float64))),
        float(stage.converter[stage.lead[first]].sum() / max(1, stage.converter.sum())),
        n / stage.weeks,
        float(np.median(stage.ahead[first][outcome == 1])) if won else float("nan"),
    )  # fmt: skip


def _lift(stage: Stage, first: Ints, drift: Floats, won: int, usual: float, precision: Interval) -> Interval:
    """Return won over usual with the delta method's interval on the log scale, accounts apart."""
    if not usual:
        return Interval(*[float("nan")] * 3)
    if not won:
        return Interval(0.0, 0.0, precision.high * len(first) / usual)
    part = drift / usual
    part[first] += stage.converted[first] / won - stage.usual[first] / usual
    spread = float(np.sqrt(np.square(np.bincount(stage.account, part)).sum()))
    lift = won / usual
    return Interval(lift, lift * float(np.exp(-WIDE * spread)), lift * float(np.exp(WIDE * spread)))


def _robust_p(pulls: Floats) -> float:
    """Return the score test's p where accounts, not leads, are independent; 1 where there is nothing to test."""
    spread = float(np.sqrt(np.square(pulls).sum()))
    return float(2 * norm.sf(abs(pulls.sum()) / spread)) if spread > 1e-9 else 1.0


def _exact_p(stage: Stage, taken: Ints, won: int) -> float:
    """Return the exact p of drawing `taken` leads of each age without looking: alone it is right where counts are small."""
    low, chances = 0, np.ones(1)
    for size, good, drawn in zip(stage.sizes.tolist(), stage.won.tolist(), taken.tolist(), strict=True):
        first, of_one = _drawn(size, good, drawn)
        chances = np.convolve(chances, of_one)
        low += first
    place = won - low
    below, above = chances[: max(0, place + 1)].sum(), chances[max(0, place) :].sum()
    return float(min(1.0, 2 * min(below, above)))


def _drawn(size: int, good: int, drawn: int) -> tuple[int, Floats]:
    """Return the chances of drawing so many good ones, from the first count that is not out of reach on.

    Each chance follows from the one before by a ratio of whole numbers, which is much faster than gamma functions.
    """
    mean = drawn * good / size
    reach = TAIL * np.sqrt(max(1.0, mean)) + TAIL
    first = max(0, drawn + good - size, int(mean - reach))
    before = np.arange(first, min(drawn, good, int(mean + reach)), dtype=np.float64)
    ratios = (good - before) * (drawn - before) / ((before + 1) * (size - good - drawn + before + 1))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    chances = np.exp(logs - logs.max())
    return first, chances / chances.sum()


def exact_interval(won: int, n: int) -> Interval:
    """Return a share with its two-sided 95 % Clopper-Pearson interval, 0 to 1 where nothing was seen."""
    if not n:
        return Interval(float("nan"), 0.0, 1.0)
    low, high = exact_bounds(np.array([won]), np.array([n]))
    return Interval(won / n, float(low[0]), float(high[0]))


def exact_bounds(won: Ints, n: Ints, tail: float = (1 - LEVEL) / 2) -> tuple[Floats, Floats]:
    """Return both ends of the intervals of many shares: float64 arrays of shape (m,); every n must be above 0.

    `tail` is how often a share may lie beyond one end.
    """
    low = np.where(won > 0, beta.ppf(tail, np.maximum(won, 1), n - won + 1), 0.0)
    high = np.where(won < n, beta.ppf(1 - tail, won + 1, np.maximum(n - won, 1)), 1.0)
    return low, high


def holm(p: Floats) -> Floats:
    """Return p values corrected for how many there are (Holm 1979), which holds however the tests depend on each other.

    >>> holm(np.array([0.01, 0.5, 0.02])).tolist()
    [0.03, 0.5, 0.04]
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def sharpness(lift: Interval) -> float:
    """Return how many times more, or less, often it is at least."""
    return lift.low if lift.value > 1 else 1 / max(lift.high, 1e-9)


def ranking(values: Floats, converted: Ints, account: Ints) -> Interval:
    """Return the AUC of values with an interval that takes accounts as independent; NaN where all came out the same.

    The parts of the variance are those of DeLong et al. (1988), added up by account.
    """
    won, lost = converted == 1, converted == 0
    m, n = int(won.sum()), int(lost.sum())
    if not m or not n:
        return Interval(*[float("nan")] * 3)
    places = rankdata(values)
    above = np.empty(len(values))
    above[won] = (places[won] - rankdata(values[won])) / n
    above[lost] = 1 - (places[lost] - rankdata(values[lost])) / m
    area = float(above[won].mean())
    part = (above - area) / np.where(won, m, n)
    spread = WIDE * float(np.sqrt(np.square(np.bincount(account, part)).sum()))
    return Interval(area, max(0.0, area - spread), min(1.0, area + spread))

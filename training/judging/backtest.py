"""What would have happened on later trials, by their own clock: pure functions of the test predictions.

A lead counts once, at the first of its snapshots that is flagged, as sales meets it. A converter is a lead that converts
within the horizon of any of its snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta

from features.durations import DAY, SECOND
from features.windows import Floats, Ints
from training import evaluate
from training.evaluate import LEVEL, Interval
from training.first_flags import first_flag_rows

BUYING: Final = 1.0
"""Days within which a PQL that converts was already buying: too soon for sales to have had a part in it."""
UNKNOWN: Final = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Trials:
    """The leads behind the predictions, whose rows are `ordered` by time and numbered by `lead`.

    `won`, of shape (n_leads,), says who converts; `draws`, of shape (RESAMPLES, n_leads), how often each is drawn when
    accounts are, or is None where every account is one lead, which makes exact intervals right.
    """

    ordered: pd.DataFrame
    lead: Ints
    won: npt.NDArray[np.bool_]
    draws: Floats | None

    def __len__(self) -> int:
        return len(self.won)

    def column(self, name: str) -> Floats:
        """Return a column in time order, as numbers."""
        return self.ordered[name].to_numpy(np.float64)

    def first(self, flagged: npt.NDArray[np.bool_]) -> Ints:
        """Return the row at which each flagged lead is flagged first."""
        return first_flag_rows(flagged, self.lead)

    def leads(self, rows: Ints, weight: Floats | None = None) -> Floats:
        """Return how much of each lead is among some rows: float64 array of shape (n_leads,)."""
        return np.bincount(self.lead[rows], weight, len(self)).astype(np.float64)

    def converting(self, rows: Ints, won: Floats) -> Interval:
        """Return the share of some rows, at most one of each lead, that convert by `won`, of shape (n,)."""
        return self.share(self.leads(rows, won[rows]), self.leads(rows))

    def caught(self, flagged: Floats) -> Interval:
        """Return the share of all converters among leads of which so much is flagged, of shape (n_leads,)."""
        return self.share(flagged * self.won, self.won.astype(np.float64))

    def share(self, won: Floats, among: Floats) -> Interval:
        """Return the share of `won` in `among`, each how much of every lead counts: arrays of shape (n_leads,).

        The interval is exact binomial. Colleagues convert together, so where accounts have several leads it is
        widened to what resampled accounts show.
        """
        n = float(among.sum())
        if n == 0:
            return UNKNOWN
        found = binomial(float(won.sum()), n)
        if self.draws is None:
            return found
        drawn = self.draws @ among
        shares = (self.draws @ won)[drawn > 0] / drawn[drawn > 0]
        low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(found.value, min(found.low, float(low)), max(found.high, float(high)))


def trials_of(predictions: pd.DataFrame, seed: int) -> Trials:
    """Return the leads behind test predictions with all columns."""
    ordered = predictions.sort_values(["as_of", "lead_id"], kind="stable").reset_index(drop=True)
    lead = pd.factorize(ordered["lead_id"])[0].astype(np.int64)
    won = np.bincount(lead, ordered["converted"].to_numpy(np.float64)) > 0
    account = ordered["account"][np.unique(lead, return_index=True)[1]]
    alone = account.nunique() == len(account)
    return Trials(ordered, lead, won, None if alone else evaluate.bootstrap_weights(account, seed))


def binomial(won: float, n: float) -> Interval:
    """Return a share with its 95 % Clopper-Pearson interval; counts may be fractions, where a tie is shared."""
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, won, n - won + 1)) if won > 0 else 0.0
    high = float(beta.ppf(1 - tail, won + 1, n - won)) if won < n else 1.0
    return Interval(won / n, low, high)


# --- by day of the trial ----------------------------------------------------------------------


@dataclass(frozen=True)
class Day:
    """The trials at one age: who is still open, how well they are ranked, who became a PQL then and what became of them.

    `caught` is the share of all converters who were PQLs by then; `precision` is of those flagged first on this day, and
    like `auc` NaN where there is nothing to judge.
    """

    day: float
    leads: int
    base_rate: Interval
    auc: Interval
    pqls: int
    precision: Interval
    caught: Interval

    @property
    def label(self) -> str:
        return f"day {self.day:g}"


def by_day(trials: Trials, seed: int) -> tuple[Day, ...]:
    """Return what is known at each age at which leads were scored, ascending."""
    table, won = trials.ordered, trials.column("converted")
    rows = trials.first(table["is_pql"].to_numpy(bool))
    age, found = trials.column("trial_day"), []
    for day in np.unique(age).tolist():
        here = np.flatnonzero(age == day)
        new, so_far = rows[age[rows] == day], rows[age[rows] <= day]
        found.append(
            Day(
                day, len(np.unique(trials.lead[here])), trials.converting(here, won), _auc(table.iloc[here], seed),
                len(new), trials.converting(new, won), trials.caught(trials.leads(so_far)),
            )
        )  # fmt: skip
    return tuple(found)


def _auc(group: pd.DataFrame, seed: int) -> Interval:
    outcomes = group["converted"].to_numpy()
    if outcomes.min() == outcomes.max():
        return UNKNOWN
    draws = evaluate.bootstrap_weights(group["account"], seed)
    probabilities, weight = group["probability"].to_numpy(np.float64), evaluate.row_weights(group)
    return evaluate.interval(evaluate.auc, outcomes, probabilities, weight, draws)


# --- how long before --------------------------------------------------------------------------


@dataclass(frozen=True)
class Ahead:
    """Days from becoming a PQL to converting, over the PQLs that converted: `days` ascending; quartiles of them.

    `buying` is the share that converted within a day of becoming a PQL, and so was already buying.
    """

    days: Floats
    quarter: float
    median: float
    three_quarters: float
    buying: Interval


def ahead(trials: Trials) -> Ahead | None:
    """Return how early PQLs that converted were flagged, None where none did or times of conversion are not told."""
    rows = trials.first(trials.ordered["is_pql"].to_numpy(bool))
    days, won = trials.column("converted_in_days"), trials.column("converted")
    rows = rows[(won[rows] == 1) & ~np.isnan(days[rows])]
    if not len(rows):
        return None
    spans = np.sort(days[rows])
    buying = trials.converting(rows, (days <= BUYING).astype(np.float64))
    quarter, median, three = (float(one) for one in np.quantile(spans, [0.25, 0.5, 0.75]))
    return Ahead(spans, quarter, median, three, buying)


# --- later ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Later:
    """The later horizon: whether its probabilities are right, and what becomes of leads that are worth nurturing and never PQLs.

    Only what was scored at least `days` before the end of the data has a known outcome: `old` snapshots, over which `ratio`
    is observed / expected, and `known` of the `leads` to nurture. `expected` is the mean of what the score told of those.
    """

    days: float
    old: int
    ratio: Interval
    leads: int
    expected: float
    known: int
    share: Interval


def _ratio(table: pd.DataFrame, won: Floats, told: Floats, seed: int) -> Interval:
    draws = evaluate.bootstrap_weights(table["account"], seed)
    return evaluate.interval(evaluate.observed_to_expected, won, told, evaluate.row_weights(table), draws)


def later(trials: Trials, until: pd.Timestamp, seed: int) -> Later | None:
    """Return what became of the leads to nurture, None where there is no later horizon; `until` is the end of the data."""
    told = trials.column("later")
    if np.isnan(told).all():
        return None
    table, days = trials.ordered, trials.column("later_days")
    pqls = trials.leads(trials.first(table["is_pql"].to_numpy(bool)))
    rows = trials.first(table["is_nurture"].to_numpy(bool) & (pqls[trials.lead] == 0))
    left = (until - table["as_of"]).dt.total_seconds().to_numpy(np.float64) * SECOND / DAY
    old = np.flatnonzero(left >= days)
    known = rows[left[rows] >= days[rows]]
    with np.errstate(invalid="ignore"):
        won = (trials.column("converted_in_days") < days).astype(np.float64)
    expected = float(told[rows].mean()) if len(rows) else float("nan")
    ratio = _ratio(table.iloc[old], won[old], told[old], seed) if len(old) else UNKNOWN
    return Later(
        float(np.nanmax(days)), len(old), ratio, len(rows), expected, len(known), trials.converting(known, won)
    )

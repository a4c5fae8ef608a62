"""What is usual among the leads that set the cutoff, day by day of their trial: what others are compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from features.durations import DAY
from features.matrix import FeatureBuilder
from features.windows import Floats, Ints
from serving.scoring.facts import leading_columns
from serving.scoring.reference import Reference, Usual
from training.snapshots import evenly

QUANTILES: Final = 1_000
MOST_AGES: Final = 31
"""Ages at which what is usual is kept; a lead is compared with the last one it has reached."""
MOST_AVERAGED: Final = 1_000
"""Leads of one age whose contributions are averaged: their mean is then known to a thirtieth of how much leads differ."""
MOST_VALUES: Final = 20
"""Values of one fact at one age that are kept; a value between two is compared by the nearer one that claims less."""
FEWEST: Final = 30
"""Leads of one age below which nothing is called usual."""
FEWEST_CONVERTERS: Final = 10


def usual(
    builder: FeatureBuilder, contributions: Callable[[Floats], Floats], ages: Ints, rows: Floats, converted: Ints,
    probabilities: Floats,
) -> Reference:  # fmt: skip
    """Return what is usual among the leads that set the cutoff.

    Parameters
    ----------
    contributions : rows (n, n_columns) -> what each column adds, (n, n_columns + 1)
    ages : int64 array of shape (n,), microseconds since the trial's start
    rows : float64 array of shape (n, n_columns)
    converted : int64 array of shape (n,), 1 where the lead then converted within the horizon
    probabilities : float64 array of shape (m,), of held-out leads, for percentiles
    """
    known, counts = np.unique(ages, return_counts=True)
    known = known[counts >= FEWEST]
    quantiles = quantiles_of(probabilities)
    if not len(known):
        return Reference.of_scores(quantiles, rows.shape[1])
    kept = evenly(known, MOST_AGES)
    groups = [np.flatnonzero(ages == age) for age in kept]
    typical = [contributions(rows[evenly(group, MOST_AVERAGED)])[:, :-1].mean(axis=0) for group in groups]
    spreads = {
        builder.columns[place].name: spread([rows[group, place] for group in groups])
        for place in leading_columns(builder.definition, builder.columns)
    }
    return Reference(
        quantiles, tuple(float(age / DAY) for age in kept), np.array(typical),
        _converters(builder, [rows[group[converted[group] == 1]] for group in groups]), spreads,
        until=float(kept[-1] / DAY) + 1,
    )  # fmt: skip


def quantiles_of(probabilities: Floats) -> Floats:
    """Return the evenly spaced quantiles that percentiles are read from: float64 array of shape (QUANTILES,)."""
    found: Floats = np.quantile(probabilities, np.linspace(0, 1, QUANTILES, endpoint=False))
    return found


def spread(groups: list[Floats]) -> Usual:
    """Return how one fact is spread in each group of leads; one of whom it is not known has neither less nor more."""
    values, shares = zip(*(_steps(group) for group in groups), strict=True)
    return Usual(values, shares)


def _steps(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    up_to = np.cumsum(counts) / max(1, len(values))
    # Evenly over the leads, not over the values: most leads have small ones.
    few = len(distinct) <= MOST_VALUES
    kept = (
        np.arange(len(distinct)) if few else np.unique(np.searchsorted(up_to, np.linspace(0, up_to[-1], MOST_VALUES)))
    )
    return tuple(distinct[kept].tolist()), tuple(up_to[kept].tolist())


def _converters(builder: FeatureBuilder, groups: list[Floats]) -> dict[str, tuple[float, ...]]:
    """Return the share of those who then converted that had done each signal; 0 where they are too few to say."""
    shares = {}
    for signal in builder.definition.signals:
        mine = ((place, builder.columns[place].measure) for place in builder.places_of[signal.name])
        counted = [place for place, measure in mine if measure and measure.how == "count"]
        if counted:
            shares[signal.name] = tuple(
                float(rows[:, counted].any(axis=1).mean()) if len(rows) >= FEWEST_CONVERTERS else 0.0 for rows in groups
            )
    return shares

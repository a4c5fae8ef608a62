"""Whom one would choose, and what becomes of them: by the score at any cutoff, and by other ways of choosing as many.

Like all of the backtest a pure function of the test predictions, each lead counted at its first flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from features.windows import Floats, Ints
from training.evaluate import LEVEL, Interval, bootstrap_weights
from training.first_flags import first_flag_rows, lower_bound
from training.judging.backtest import Trials

CAPACITIES: Final = (0.05, 0.1, 0.2)
ENOUGH: Final = 0.1
"""Where nobody is a PQL, ways of choosing are compared on this share of the leads."""


@dataclass(frozen=True)
class Choice:
    """What one way of choosing leads comes to: how many, the share that converts, the share of converters among them."""

    way: str
    leads: int
    precision: Interval
    caught: Interval


@dataclass(frozen=True)
class Rival:
    """Another way of choosing leads, the score's own choice of equally many, and the score's precision minus the other's."""

    other: Choice
    ours: Choice
    gain: Interval


@dataclass(frozen=True)
class _Flags:
    """How much of each lead is flagged, and how much of that converts: float64 arrays of shape (n_leads,)."""

    flagged: Floats
    won: Floats


def _highest(trials: Trials, scores: Floats, n: int) -> _Flags:
    """Return the n leads whose highest score is highest, from their first row that reaches the score of the last.

    Leads that tie for the last places share them: each counts as far as chance would take it.
    """
    peaks = np.full(len(trials), -np.inf)
    np.maximum.at(peaks, trials.lead, scores)
    least = np.sort(peaks)[len(peaks) - n]
    sure, tied = peaks > least, peaks == least
    much = np.where(sure, 1.0, np.where(tied, (n - sure.sum()) / tied.sum(), 0.0))
    return _counted(trials, trials.first(scores >= least), much)


def _counted(trials: Trials, rows: Ints, much: Floats) -> _Flags:
    won = trials.column("converted")
    return _Flags(much * trials.leads(rows), much * trials.leads(rows, won[rows]))


def _choice(trials: Trials, way: str, flags: _Flags) -> Choice:
    n = round(float(flags.flagged.sum()))
    return Choice(way, n, trials.share(flags.won, flags.flagged), trials.caught(flags.flagged))


def capacity(trials: Trials, shares: tuple[float, ...] = CAPACITIES) -> tuple[Choice, ...]:
    """Return what sales would get from the highest-scored 5, 10 and 20 % of leads, whatever the cutoff says."""
    scores, places = trials.column("probability"), [(one, max(1, round(one * len(trials)))) for one in shares]
    return tuple(_choice(trials, f"{one:.0%}", _highest(trials, scores, n)) for one, n in places)


def by_segment(trials: Trials) -> tuple[Choice, ...]:
    """Return the PQLs of each segment, in the segments' order."""
    rows = trials.first(trials.ordered["is_pql"].to_numpy(bool))
    segments = trials.ordered["segment"]
    found = [
        (str(name), rows[(segments.iloc[rows] == name).to_numpy(bool)]) for name in sorted(segments.dropna().unique())
    ]
    return tuple(_choice(trials, name, _counted(trials, own, np.ones(len(trials)))) for name, own in found)


def rivals(trials: Trials, seed: int) -> tuple[Rival, ...]:
    """Return how other ways would have chosen as many leads as there are PQLs, or a tenth of all where there are none.

    Hand rules flag as many as they flag. The base rate is the same for all, so it chooses by chance.
    """
    own = trials.first(trials.ordered["is_pql"].to_numpy(bool))
    n = len(own) or max(1, round(ENOUGH * len(trials)))
    scores = trials.column("probability")
    ours = _counted(trials, own, np.ones(len(trials))) if len(own) else _highest(trials, scores, n)
    found = [
        _rival(trials, way, _highest(trials, trials.column(way), n), ours, seed)
        for way in ("logistic", "points", "base_rate")
        if not np.isnan(trials.column(way)).any()
    ]
    rule = trials.first(trials.ordered["rule"].to_numpy(bool))
    if len(rule):
        theirs = _counted(trials, rule, np.ones(len(trials)))
        found.append(_rival(trials, "rule", theirs, _highest(trials, scores, len(rule)), seed))
    return tuple(found)


def _rival(trials: Trials, way: str, theirs: _Flags, ours: _Flags, seed: int) -> Rival:
    draws = trials.draws if trials.draws is not None else _draws(trials, seed)
    with np.errstate(invalid="ignore"):
        one, other = (draws @ flags.won / (draws @ flags.flagged) for flags in (ours, theirs))
    low, high = np.nanquantile(one - other, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mine, that = _choice(trials, "probability", ours), _choice(trials, way, theirs)
    return Rival(that, mine, Interval(mine.precision.value - that.precision.value, float(low), float(high)))


def _draws(trials: Trials, seed: int) -> Floats:
    return bootstrap_weights(pd.Series(np.arange(len(trials))), seed)


@dataclass(frozen=True)
class PrecisionCurve:
    """What becomes of the leads flagged as the cutoff is lowered: arrays of shape (m,), each lead counted at its first flag.

    `low` is the one-sided lower bound of `precision` at the confidence asked for; `caught` the share of converters flagged.
    """

    flagged: Ints
    precision: Floats
    low: Floats
    caught: Floats


def precision_curve(predictions: pd.DataFrame, confidence: float) -> PrecisionCurve:
    """Return the curve over the test part, from its ten highest-scored leads to all of them."""
    ordered = predictions.sort_values("as_of", kind="stable")
    scores, won = ordered["probability"].to_numpy(np.float64), ordered["converted"].to_numpy(np.int64)
    lead = pd.factorize(ordered["lead_id"])[0].astype(np.int64)
    peaks = np.sort(pd.Series(scores).groupby(lead).max().to_numpy())[::-1]
    ranks = np.unique(np.geomspace(min(10, len(peaks)), len(peaks), 120).round().astype(np.int64))
    flags = [first_flag_rows(scores >= threshold, lead) for threshold in np.unique(peaks[ranks - 1])[::-1]]
    flagged, hits = np.array([len(rows) for rows in flags]), np.array([won[rows].sum() for rows in flags])
    low = [lower_bound(int(hit), int(n), confidence) for hit, n in zip(hits, flagged, strict=True)]
    converters = np.unique(lead[won == 1])
    caught = [np.isin(converters, lead[rows]).sum() / max(1, len(converters)) for rows in flags]
    return PrecisionCurve(flagged, hits / flagged, np.array(low), np.array(caught))

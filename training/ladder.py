"""The ladder of rankings: hand-written points, a scorecard, LightGBM beside it. A rung is taken only where it wins.

Each is judged on the same held-out leads, in blocks of time and by accounts, after the best sigmoid for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from features.columns import Column
from features.definition import Definition
from features.errors import Refusal
from features.windows import Floats, Ints
from serving.scoring.scorecard import Scorecard
from training.calibrate import LEARNING, SAME, updated
from training.evaluate import Interval
from training.fit import Fitted, Lessons, Ranking
from training.hand_trees import booster, chains_of

Rung = Literal["base_rate", "points", "scorecard", "lightgbm"]
HUNDREDS: Final = 100
"""Leads that convert below which trees are not taken, however lucky they look."""
_SAID: Final = {
    "base_rate": "giving everybody the base rate",
    "points": "the definition's own point card",
    "scorecard": "the scorecard",
    "lightgbm": "LightGBM beside the scorecard",
}


@dataclass(frozen=True)
class Step:
    """A rung against the one in use below it: `difference` in log loss on held-out leads, below 0 is better."""

    rung: Rung
    against: Rung
    difference: Interval
    taken: bool
    why: str


@dataclass(frozen=True)
class Chosen:
    """The ranking of the rung that was taken, its margins on held-out leads (n,), and every step that was tried.

    Where no rung beats the base rate it is the scorecard's, with a refusal that says so.
    """

    rung: Rung
    ranking: Ranking
    unseen: Floats
    steps: tuple[Step, ...]
    refusal: Refusal | None = None


@dataclass(frozen=True)
class _Candidate:
    rung: Rung
    ranking: Ranking | None
    unseen: Floats
    losses: Floats


def climb(
    lessons: Lessons, accounts: Ints, leads: Ints, fitted: Fitted, definition: Definition, columns: Sequence[Column]
) -> Chosen:
    """Return the highest rung that wins against the one below it by more than a standard error.

    Parameters
    ----------
    accounts, leads : int64 arrays of shape (n,), whose lesson each is
    """
    whole = np.flatnonzero(lessons.shift == 0)
    judged, own = lessons.take(whole), accounts[whole]
    conversions = len(np.unique(leads[whole][judged.converted == 1]))
    standing = _candidate("base_rate", None, np.zeros(len(lessons)), judged, whole)
    steps = []
    for rung, ranking, unseen in _rungs(lessons, fitted, definition, columns):
        next_up = _candidate(rung, ranking, unseen, judged, whole)
        difference = _difference(next_up.losses - standing.losses, judged.weight, own)
        enough = rung != "lightgbm" or conversions >= HUNDREDS
        taken = difference.value < -_error(difference) and enough
        steps.append(Step(rung, standing.rung, difference, taken, _why(rung, standing.rung, difference, conversions)))
        standing = next_up if taken else standing
    if standing.ranking is not None:
        return Chosen(standing.rung, standing.ranking, standing.unseen, tuple(steps))
    nearest = min(steps, key=lambda step: step.difference.value)
    refusal = Refusal(f"no signal: {nearest.why} Add signals that precede conversion, or wait for more conversions.")
    return Chosen("scorecard", fitted.scorecard, fitted.scorecard_unseen, tuple(steps), refusal)


def _rungs(
    lessons: Lessons, fitted: Fitted, definition: Definition, columns: Sequence[Column]
) -> list[tuple[Rung, Ranking, Floats]]:
    found: list[tuple[Rung, Ranking, Floats]] = []
    by_hand = hand_ranking(definition, columns, lessons.rows)
    if by_hand is not None:
        found.append(("points", by_hand, by_hand.margins(lessons.rows)))
    found.append(("scorecard", fitted.scorecard, fitted.scorecard_unseen))
    return [*found, ("lightgbm", fitted.both, fitted.both_unseen)]


def hand_ranking(definition: Definition, columns: Sequence[Column], rows: Floats) -> Ranking | None:
    """Return the definition's points in standard deviations of the given rows, None where nobody differs by them."""
    chains = chains_of(definition, columns)
    if not chains:
        return None
    names = [column.name for column in columns]
    spread = float(np.std(np.asarray(booster(chains, names, rows, 1.0).predict(rows, raw_score=True, num_threads=1))))
    nothing = np.zeros(len(columns))
    flat = Scorecard(0.0, nothing, nothing, np.ones(len(columns)), nothing)
    return Ranking(flat, booster(chains, names, rows, 1 / spread)) if spread > 0 else None


def _candidate(rung: Rung, ranking: Ranking | None, unseen: Floats, judged: Lessons, whole: Ints) -> _Candidate:
    margins = unseen[whole]
    try:
        odds = updated(SAME, margins, judged.converted, judged.weight, LEARNING).log_odds(margins)
    except Refusal:
        # Upside down: as good as nothing, which the base rate is.
        odds = np.full(len(margins), updated(SAME, 0 * margins, judged.converted, judged.weight, LEARNING).shift)
    return _Candidate(rung, ranking, unseen, np.logaddexp(0.0, odds) - judged.converted * odds)


def _difference(differences: Floats, weight: Floats, accounts: Ints) -> Interval:
    """Return the weighted mean with its 95 % interval, accounts being independent of each other and their rows not."""
    mean = float(np.average(differences, weights=weight))
    _, mine = np.unique(accounts, return_inverse=True)
    sums = np.bincount(mine, weight * (differences - mean))
    error = float(np.sqrt((sums**2).sum()) / weight.sum())
    return Interval(mean, mean - 1.96 * error, mean + 1.96 * error)


def _error(found: Interval) -> float:
    """Return one standard error: what is gained must be more than that, or the simpler rung stays (Breiman et al. 1984)."""
    return (found.high - found.low) / (2 * 1.96)


def _why(rung: Rung, against: Rung, found: Interval, conversions: int) -> str:
    way = "lower" if found.value < 0 else "higher"
    told = (
        f"{_SAID[rung]} has a log loss {abs(found.value):.4f} {way} than {_SAID[against]} on held-out leads "
        f"(95% interval {found.low:+.4f} to {found.high:+.4f})."
    )
    if rung == "lightgbm" and conversions < HUNDREDS:
        told += f" It takes {HUNDREDS} leads that convert to trust it, and {conversions} did."
    return told

"""Worlds of scored leads in which the true precision of every cutoff is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from features.durations import DAY
from features.windows import Floats, Ints
from serving.scoring.calibration import probabilities_of
from training.snapshots import Snapshots

Bools = npt.NDArray[np.bool_]
LOOKS: Final = 8
PERIODS: Final = 12
"""A lead is looked at at the start of each of its first 8 periods, and followed for 12."""
HORIZON: Final = 4
"""Periods within which a conversion counts."""
PERIOD: Final = 7 * DAY
START: Final = 1_700_000_000_000_000
CHUNK: Final = 250_000


@dataclass(frozen=True)
class Looks:
    """Looks at leads, side by side.

    Attributes
    ----------
    scores : float64 array of shape (n_leads, n_looks), minus infinity once the lead has converted
    won : bool array of the same shape, whether the lead converts within the horizon of that look
    """

    scores: Floats
    won: Bools


World = Callable[[Generator, int], Looks]


def drifting(steepness: float, base: float, blur: float) -> World:
    """Return a world of leads whose interest drifts from look to look; the score sees it through two kinds of blur."""

    def world(rng: Generator, n: int) -> Looks:
        mood = rng.normal(size=(n, PERIODS))
        for period in range(1, PERIODS):
            mood[:, period] = 0.7 * mood[:, period - 1] + np.sqrt(1 - 0.7**2) * mood[:, period]
        interest = 0.8 * rng.normal(size=(n, 1)) + 0.6 * mood
        converts = rng.random((n, PERIODS)) < probabilities_of(base + steepness * interest)
        when = np.where(converts.any(axis=1), converts.argmax(axis=1), PERIODS + HORIZON)[:, None]
        look = np.arange(LOOKS)
        is_open = when >= look
        seen = interest[:, :LOOKS] + blur * rng.normal(size=(n, 1)) + blur / 2 * rng.normal(size=(n, LOOKS))
        return Looks(np.where(is_open, seen, -np.inf), is_open & (when < look + HORIZON))

    return world


def independent(interest: Callable[[Generator, int], Floats], steepness: float, base: float) -> World:
    """Return a world of leads that are looked at once."""

    def world(rng: Generator, n: int) -> Looks:
        seen = interest(rng, n)
        chance = probabilities_of(base + steepness * (seen + 0.3 * rng.normal(size=n)))
        return Looks(seen[:, None], (rng.random(n) < chance)[:, None])

    return world


def table_of(looks: Looks) -> tuple[Floats, Snapshots]:
    """Return probabilities and snapshots as training has them, ordered in time; trials begin over three months."""
    lead, look = np.nonzero(np.isfinite(looks.scores))
    started = START + lead % 90 * DAY
    as_of = started + look * PERIOD
    order = np.argsort(as_of, kind="stable")
    lead, look, as_of = lead[order], look[order], as_of[order]
    won = looks.won[lead, look].astype(np.int64)
    weight = np.ones(len(lead))
    table = Snapshots(lead, lead, as_of, started[order], as_of + HORIZON * PERIOD, won, weight)
    return probabilities_of(looks.scores[lead, look]), table


@dataclass(frozen=True)
class Population:
    """So many leads that a share of them is the truth.

    A look is its lead's first flag for the cutoffs above all looks before it and up to its own score, so first flags at a
    cutoff are the scores from it on, less the highest ones before them from it on.
    """

    converting: float
    leads: int
    peaks: Floats
    _edges: tuple[tuple[Floats, Ints], ...]

    @classmethod
    def of(cls, world: World, seed: int, chunks: int) -> Population:
        rng = np.random.default_rng(seed)
        scores: list[Floats] = []
        befores: list[Floats] = []
        won: list[Bools] = []
        peaks: list[Floats] = []
        converting = 0
        for _ in range(chunks):
            looks = world(rng, CHUNK)
            before = np.full_like(looks.scores, -np.inf)
            before[:, 1:] = np.maximum.accumulate(looks.scores, axis=1)[:, :-1]
            rising = looks.scores > before
            scores.append(looks.scores[rising])
            befores.append(before[rising])
            won.append(looks.won[rising])
            peaks.append(looks.scores.max(axis=1))
            converting += int(looks.won.any(axis=1).sum())
        all_won = np.concatenate(won)
        edges = tuple(_from_each(np.concatenate(part), all_won) for part in (scores, befores))
        leads = chunks * CHUNK
        return cls(converting / leads, leads, np.sort(np.concatenate(peaks))[::-1], edges)

    def at(self, score: float) -> tuple[float, float]:
        """Return the true precision of a cutoff, and which share of all converters it catches."""
        (scores, won_scores), (befores, won_befores) = self._edges
        i, j = np.searchsorted(scores, score), np.searchsorted(befores, score)
        flagged = (len(scores) - i) - (len(befores) - j)
        won = int(won_scores[i] - won_befores[j])
        return won / max(1, int(flagged)), won / (self.converting * self.leads)

    def best_recall(self, at_least: float) -> float:
        """Return what the laxest cutoff catches that truly keeps the floor."""
        found = [self.at(float(peak)) for peak in self.peaks[500 :: self.leads // 4_000]]
        return max((recall for precision, recall in found if precision >= at_least), default=0.0)


def _from_each(edges: Floats, won: Bools) -> tuple[Floats, Ints]:
    order = np.argsort(edges, kind="stable")
    return edges[order], np.append(won[order][::-1].cumsum()[::-1], 0)

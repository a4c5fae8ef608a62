"""Leads as a rep meets them: once, at the first of their snapshots that crosses a cutoff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from features.durations import DAY
from features.windows import Floats, Ints
from training.snapshots import Snapshots

WEEK: Final = 7 * DAY


def first_flag_rows(flagged: npt.NDArray[np.bool_], lead: Ints) -> Ints:
    """Return, of rows in time order, the first flagged row of each lead."""
    rows = np.flatnonzero(flagged)
    _, first = np.unique(lead[rows], return_index=True)
    return rows[first]


def lower_bound(converted: int, n: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a share; 0 where nothing was seen."""
    return float(beta.ppf(1 - confidence, converted, n - converted + 1)) if converted else 0.0


@dataclass(frozen=True)
class FirstFlags:
    """What every threshold would flag among held-out leads.

    A row can be its lead's first flag only where its score is above all before it, for the thresholds in (before,
    score]; so the first flags at a threshold are the scores from it on, less the befores from it on.

    Attributes
    ----------
    peaks : float64 array of shape (n_leads,), the highest score of each lead, descending
    won : how many leads convert within the horizon of any of their snapshots
    weeks : how long the snapshots were looked at, at least one week
    """

    peaks: Floats
    won: int
    weeks: float
    _scores: Floats
    _won_from_score: Ints
    _befores: Floats
    _won_from_before: Ints

    @classmethod
    def of(cls, scores: Floats, table: Snapshots) -> FirstFlags:
        """Return the first flags of scored rows that are ordered by as_of."""
        before = _highest_before(scores, table.lead)
        rising = scores > before
        won = table.converted[rising]
        span = int(table.as_of.max() - table.as_of.min()) if len(table) else 0
        scored, passed = _from_each(scores[rising], won), _from_each(before[rising], won)
        winners = len(np.unique(table.lead[table.converted == 1]))
        return cls(_peaks(scores, table.lead), winners, max(1.0, span / WEEK), *scored, *passed)

    def __len__(self) -> int:
        return len(self.peaks)

    def at(self, threshold: float) -> tuple[int, int]:
        """Return how many leads cross a threshold, and how many of them convert within the horizon of that moment."""
        score, before = np.searchsorted(self._scores, threshold), np.searchsorted(self._befores, threshold)
        n = (len(self._scores) - score) - (len(self._befores) - before)
        return int(n), int(self._won_from_score[score] - self._won_from_before[before])


def _peaks(scores: Floats, lead: Ints) -> Floats:
    _, position = np.unique(lead, return_inverse=True)
    peaks = np.full(position.max(initial=-1) + 1, -np.inf)
    np.maximum.at(peaks, position, scores)
    return np.sort(peaks)[::-1]


def _highest_before(scores: Floats, lead: Ints) -> Floats:
    """Return the highest score that each row's lead had in earlier rows, minus infinity in its first row."""
    values, code = np.unique(scores, return_inverse=True)
    _, position = np.unique(lead, return_inverse=True)
    order = np.argsort(position, kind="stable")
    # Each lead's codes lie above all of the lead before, so that one running maximum serves all of them.
    highest = np.maximum.accumulate(position[order] * len(values) + code[order]) - position[order] * len(values)
    first = np.diff(position[order], prepend=-1) > 0
    found = np.empty(len(scores))
    found[order] = np.where(first, -np.inf, values[np.roll(highest, 1)]) if len(scores) else 0.0
    return found


def _from_each(edges: Floats, won: Ints) -> tuple[Floats, Ints]:
    """Return edges ascending, and how many are won from each of them on."""
    order = np.argsort(edges, kind="stable")
    return edges[order], np.append(won[order][::-1].cumsum()[::-1], 0)

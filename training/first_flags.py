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
    _scored: _Edges
    _passed: _Edges

    @classmethod
    def of(cls, scores: Floats, table: Snapshots) -> FirstFlags:
        """Return the first flags of scored rows that are ordered by as_of."""
        before = _highest_before(scores, table.lead)
        rising = scores > before
        won = table.converted[rising]
        span = int(table.as_of.max() - table.as_of.min()) if len(table) else 0
        _, account = np.unique(table.account, return_inverse=True)
        scored, passed = (_Edges.of(edges[rising], won, account[rising]) for edges in (scores, before))
        winners = len(np.unique(table.lead[table.converted == 1]))
        return cls(_peaks(scores, table.lead), winners, max(1.0, span / WEEK), scored, passed)

    def __len__(self) -> int:
        return len(self.peaks)

    def at(self, threshold: float) -> tuple[int, int]:
        """Return how many leads cross a threshold, and how many of them convert within the horizon of that moment."""
        scored, passed = self._scored.above(threshold), self._passed.above(threshold)
        return scored[0] - passed[0], scored[1] - passed[1]

    def design_effect(self, threshold: float) -> float:
        """Return by how much the flagged leads vary more than as many independent ones would; at least 1.

        The variance of the share that converts, with accounts as clusters, over that of independent leads: dividing both
        counts by it gives an honest binomial test (Rao and Scott 1992). 1 where every account has one flagged lead.
        """
        n_of, won_of = (
            self._scored.by_account(threshold, weights) - self._passed.by_account(threshold, weights)
            for weights in (False, True)
        )
        n, won, accounts = n_of.sum(), won_of.sum(), int((n_of > 0).sum())
        if n == accounts or accounts < 2 or won in (0, n):
            return 1.0
        share = won / n
        spread = ((won_of - share * n_of) ** 2).sum() * accounts / (accounts - 1)
        return max(1.0, float(spread / (n * share * (1 - share))))


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


@dataclass(frozen=True)
class _Edges:
    """Scores ascending, what became of their rows, whose they are, and how many are won from each of them on."""

    values: Floats
    won: Ints
    account: Ints
    won_from: Ints
    accounts: int

    @classmethod
    def of(cls, values: Floats, won: Ints, account: Ints) -> _Edges:
        order = np.argsort(values, kind="stable")
        won_from = np.append(won[order][::-1].cumsum()[::-1], 0)
        return cls(values[order], won[order], account[order], won_from, int(account.max(initial=-1)) + 1)

    def above(self, threshold: float) -> tuple[int, int]:
        place = np.searchsorted(self.values, threshold)
        return len(self.values) - int(place), int(self.won_from[place])

    def by_account(self, threshold: float, won: bool) -> Floats:  # noqa: FBT001 - one of two counts
        rest = slice(int(np.searchsorted(self.values, threshold)), None)
        weights = self.won[rest] if won else None
        return np.bincount(self.account[rest], weights, minlength=self.accounts).astype(np.float64)

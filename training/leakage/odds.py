"""How much more often something is so for those who convert than for others, with a cautious lower bound.

Pure arithmetic on counts; knows nothing of leads, events or definitions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.windows import Floats, Ints

Bools = npt.NDArray[np.bool_]

SURE = 2.0
"""Standard errors by which figures are taken lower; the thresholds lie far above chance, so it need not be more."""
BINS = 12
COMMON = 0.2
"""A value that this share of leads have is a class of its own: nobody's number, no plan, nothing done."""


@dataclass(frozen=True)
class Counts:
    """Leads that converted and others, with something and in all."""

    won_with: int
    won: int
    others_with: int
    others: int

    @classmethod
    def of(cls, having: Bools, won: Bools) -> Counts:
        """Count flags of shape (n,)."""
        return cls(int((having & won).sum()), int(won.sum()), int((having & ~won).sum()), int((~won).sum()))

    def __add__(self, more: Counts) -> Counts:
        return Counts(
            self.won_with + more.won_with, self.won + more.won,
            self.others_with + more.others_with, self.others + more.others,
        )  # fmt: skip

    @property
    def share(self) -> float:
        """The share of those who convert that have it, in [0, 1]."""
        return self.won_with / max(self.won, 1)

    @property
    def share_of_others(self) -> float:
        return self.others_with / max(self.others, 1)

    def odds(self, z: float = SURE) -> float:
        """Return the odds ratio, `z` standard errors below its estimate; half a lead is added to each cell."""
        a, b = self.won_with + 0.5, self.won - self.won_with + 0.5
        c, d = self.others_with + 0.5, self.others - self.others_with + 0.5
        return float(np.exp(np.log(a * d / (b * c)) - z * np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)))

    def times(self, z: float = SURE) -> float:
        """Return how many times as many of those who convert have it as of others, `z` standard errors lower."""
        a, n, c, m = self.won_with + 0.5, self.won + 1.0, self.others_with + 0.5, self.others + 1.0
        return float(np.exp(np.log(a * m / (n * c)) - z * np.sqrt(1 / a - 1 / n + 1 / c - 1 / m)))


def classes(values: Floats, bins: int = BINS) -> Ints:
    """Return the class of each number, from 0: one for what is not known, one for a common value, bins for the rest."""
    known = ~np.isnan(values)
    found = np.zeros(len(values), np.int64)
    if not known.any():
        return found
    seen, counts = np.unique(values[known], return_counts=True)
    most = int(counts.argmax())
    common = seen[most] if counts[most] >= COMMON * len(values) else np.nan
    rest = known & (values != common)
    found[known & ~rest] = 1
    if rest.any():
        edges = np.unique(np.quantile(values[rest], np.linspace(0, 1, bins, endpoint=False)[1:]))
        found[rest] = 2 + np.searchsorted(edges, values[rest], side="right")
    return found


def best_classes(of: Ints, won: Bools, half: Bools) -> Counts:
    """Return the counts for the classes that mark converters best, chosen on one half of leads and counted on the other.

    Each half chooses for the other, so nothing is counted by those who chose it. `of` holds class numbers from 0.
    """
    total = Counts(0, 0, 0, 0)
    n = int(of.max(initial=0)) + 1
    for chosen_on in (half, ~half):
        marked = _marked(of[chosen_on], won[chosen_on], n)
        total += Counts.of(marked[of[~chosen_on]], won[~chosen_on])
    return total


def _marked(of: Ints, won: Bools, n: int) -> Bools:
    """Return which of n classes mark converters, as far as some leads can tell."""
    wins = np.bincount(of[won], minlength=n).astype(np.float64)
    losses = np.bincount(of[~won], minlength=n).astype(np.float64)
    base = wins.sum() / max(wins.sum() + losses.sum(), 1.0)
    rate = (wins + base) / (wins + losses + 1.0)
    order = np.argsort(-rate, kind="stable")
    a, c = np.cumsum(wins[order]) + 0.5, np.cumsum(losses[order]) + 0.5
    b, d = wins.sum() + 1.0 - a, losses.sum() + 1.0 - c
    sure = np.log(a * d / (b * c)) - np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    marked = np.zeros(n, bool)
    marked[order[: int(sure.argmax()) + 1]] = True
    # A class that nobody here belongs to says nothing.
    return np.asarray(marked & (wins + losses > 0))

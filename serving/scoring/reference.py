"""What is usual: scores, contributions and facts of the leads that a model was made with, by the day of their trial."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from features.windows import Floats


class Share(NamedTuple):
    """A share in [0, 1] of the reference leads of one age in days."""

    age: float
    share: float


@dataclass(frozen=True)
class Usual:
    """How one fact is spread among the leads of each age.

    Attributes
    ----------
    values : for each age, some of the values that leads had, ascending, the largest one last
    up_to : for each age and value, the share of leads with at most that value, in [0, 1]; below 1 at the largest value
        where it is not known of some leads
    """

    values: tuple[tuple[float, ...], ...]
    up_to: tuple[tuple[float, ...], ...]

    def below(self, place: int, value: float) -> float:
        """Return a share of leads that surely had less: between two stored values the share is that of the lower one."""
        at = bisect_left(self.values[place], value)
        return self.up_to[place][at - 1] if at else 0.0

    def above(self, place: int, value: float) -> float:
        """Return a share of leads that surely had more: between two stored values it is that above the higher one."""
        at = bisect_left(self.values[place], value)
        return self.up_to[place][-1] - self.up_to[place][at] if at < len(self.values[place]) else 0.0


@dataclass(frozen=True)
class Reference:
    """Kept in the artifact, so that a lead is compared with history and never with whoever else is in the request.

    Attributes
    ----------
    quantiles : float64 array of shape (m,), ascending
        Evenly spaced quantiles of the held-out probabilities, the lowest first.
    ages : days since the trial's start at which what follows was taken, ascending
    typical : float64 array of shape (n_ages, n_columns)
        Mean contribution of each column to the calibrated log-odds: a typical trial of that age.
    converters : for each signal, the share of converters that had done it by each of these ages, in [0, 1]
    usual : for some columns, by name, how their values are spread
    proven : the signals and traits that older leads show to matter by themselves, None where all count as proven
    until : days since the trial's start from which on nothing is known of others
    """

    quantiles: Floats
    ages: tuple[float, ...]
    typical: Floats
    converters: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    usual: Mapping[str, Usual] = field(default_factory=dict)
    proven: frozenset[str] | None = None
    until: float = float("inf")

    @classmethod
    def of_scores(cls, quantiles: Floats, n_columns: int) -> Reference:
        """Return a reference that compares scores only: every trial is as typical as any other."""
        return cls(quantiles, (0.0,), np.zeros((1, n_columns)))

    def shows(self, owner: str) -> bool:
        """Whether older leads show that a signal or trait matters by itself, and does not only go with others."""
        return self.proven is None or owner in self.proven

    def percentiles(self, probabilities: Floats) -> Floats:
        """Return the share of reference leads below each probability, 0 to 100."""
        below = np.searchsorted(self.quantiles, probabilities, side="left")
        share: Floats = 100.0 * below / len(self.quantiles)
        return share

    def covers(self, age: float) -> bool:
        """Whether a lead of this age can be compared with others in words."""
        return self.ages[0] <= age < self.until

    def place(self, age: float) -> int:
        """Return the place of the last reference age not after this one, -1 where all are."""
        return bisect_right(self.ages, age) - 1

    def typical_at(self, ages: Floats) -> Floats:
        """Return what columns add for a typical trial of each age, the first known one where it is younger: (n, n_columns)."""
        return self.typical[np.clip(np.searchsorted(self.ages, ages, side="right") - 1, 0, None)]

    def share_of_converters(self, signal: str, age: float) -> Share | None:
        """Return the share of converters that had done it by the last reference age not after `age`, None where unknown."""
        place = self.place(age)
        if signal not in self.converters or place < 0:
            return None
        return Share(self.ages[place], self.converters[signal][place])

    def share_below(self, column: str, age: float, value: float) -> Share | None:
        """Return the share of leads that surely had less at the last reference age not after `age`, None where unknown.

        A younger lead is held against those of the first age, who have had more time.
        """
        return self._compared(column, max(age, self.ages[0]), value, less=True)

    def share_above(self, column: str, age: float, value: float) -> Share | None:
        """Return the share of leads that surely had more at the last reference age not after `age`, None where unknown."""
        return self._compared(column, age, value, less=False)

    def share_known(self, column: str, age: float) -> float:
        """Return the share of leads of whom a column's value is known at the last reference age not after `age`."""
        known = self.usual[column].up_to[max(0, self.place(age))]
        return known[-1] if known else 0.0

    def _compared(self, column: str, age: float, value: float, *, less: bool) -> Share | None:
        place = self.place(age)
        if column not in self.usual or place < 0:
            return None
        usual = self.usual[column]
        return Share(self.ages[place], usual.below(place, value) if less else usual.above(place, value))

"""What is usual: scores, contributions and facts of the leads that a model was made with, by the day of their trial."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from features.compiling import compiled
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

    @cached_property
    def half(self) -> tuple[float, ...]:
        """For each age, the value above which a lead surely has more than half of those of whom it is known.

        Infinite where there is none, and the other way round where it is known of nobody.
        """
        return tuple(self._half(place) for place in range(len(self.values)))

    def _half(self, place: int) -> float:
        least = self.known(place) / 2
        pairs = zip(self.values[place], self.up_to[place], strict=True)
        return next((value for value, share in pairs if share >= least), math.inf) if least else -math.inf

    def known(self, place: int) -> float:
        """Return the share of leads of whom a value is known."""
        shares = self.up_to[place]
        return shares[-1] if shares else 0.0

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
        share: Floats = 100.0 * self.quantiles.searchsorted(probabilities, side="left") / len(self.quantiles)
        return share

    def covers(self, age: float) -> bool:
        """Whether a lead of this age can be compared with others in words."""
        return self.ages[0] <= age < self.until

    def place(self, age: float) -> int:
        """Return the place of the last reference age not after this one, -1 where all are."""
        return bisect_right(self.ages, age) - 1

    def typical_at(self, ages: Floats) -> Floats:
        """Return what columns add for a typical trial of each age, the first known one where it is younger: (n, n_columns)."""
        return self.typical[np.maximum(self._ages.searchsorted(ages, side="right") - 1, 0)]

    def beyond_typical(self, ages: Floats, contributions: Floats) -> Floats:
        """Return what columns add beyond a typical trial of each age: float64 array of shape (n, n_columns)."""
        relative = np.empty(contributions.shape)
        # Its import brings in the compiler.
        from serving.scoring import score_kernel

        compiled(score_kernel, "take_typical")(relative, contributions, ages, self._ages, self.typical)
        return relative

    @cached_property
    def _ages(self) -> Floats:
        return np.array(self.ages, np.float64)

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
        return self.usual[column].known(max(0, self.place(age)))

    def _compared(self, column: str, age: float, value: float, *, less: bool) -> Share | None:
        place = self.place(age)
        if column not in self.usual or place < 0:
            return None
        usual = self.usual[column]
        return Share(self.ages[place], usual.below(place, value) if less else usual.above(place, value))

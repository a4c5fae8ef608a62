"""How a lead's probability grows with time: within 7, 14, 30 and 90 days, from one score and one more line.

A discrete-time hazard in two stages. Up to the horizon the log-odds of the score are shifted by how many convert by each
day; after it, of those who have not converted, a scorecard of its own says who still will. So a longer horizon never has
the lower probability, and what is explained is one margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.compiling import compiled
from features.durations import DAY, span_text
from features.windows import Floats
from serving.scoring.calibration import Sigmoid
from serving.scoring.decision import Decision
from serving.scoring.scorecard import Scorecard


@dataclass(frozen=True)
class Stage:
    """How the log-odds by earlier days compare with those by the last day of a stage.

    Attributes
    ----------
    days : float64 tuple, ascending; days from the moment of scoring, the last one ends the stage
    shift : float64 array of shape (n_ages, n_days), at most 0 and ascending in each row; the last column is 0
    """

    days: tuple[float, ...]
    shift: Floats


@dataclass(frozen=True)
class Later:
    """Who converts after the horizon, of those who do not within it.

    `decision` says from which probability on a lead that is no PQL is worth nurturing.
    """

    stage: Stage
    scorecard: Scorecard
    calibration: Sigmoid
    decision: Decision


@dataclass(frozen=True)
class Course:
    """Probabilities by day.

    Attributes
    ----------
    ages : days since the trial's start at which the shifts were measured, ascending
    soon : the stage that ends with the horizon
    later : the stage after it, or None where too little of it has been seen
    until : days since the trial's start from which on nothing was looked at, so that nothing is promised
    """

    ages: tuple[float, ...]
    soon: Stage
    later: Later | None
    until: float = float("inf")

    @property
    def days(self) -> tuple[float, ...]:
        """The days by which probabilities are given, ascending; the horizon is one of them."""
        return self.soon.days + (self.later.stage.days if self.later else ())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The days as people write them, such as `7d`."""
        return tuple(span_text(round(day * DAY)) for day in self.days)

    def probabilities(self, scores: Floats, rows: Floats) -> Floats:
        """Return the probability to convert within each of `days`: float64 array of shape (n, n_days), ascending per row.

        Parameters
        ----------
        scores : float64 array of shape (n,), probabilities within the horizon
        rows : float64 array of shape (n, n_columns), whose first column is the age of the trial in days
        """
        later = np.zeros(len(rows))
        if self.later is not None:
            later = self.later.calibration.log_odds(self.later.scorecard.margins(rows))
        found, ages = np.empty((len(rows), len(self.days))), np.ascontiguousarray(rows[:, 0])
        # Its import brings in the compiler.
        from serving.scoring import score_kernel

        spread = compiled(score_kernel, "spread_rows")
        spread(found, np.ascontiguousarray(scores), later, ages, self.starts, self.shifts, len(self.soon.days))
        return found

    def covers(self, ages: Floats) -> NDArray[np.bool_]:
        """Return at which ages, in days, leads were looked at: bool array of shape (n,)."""
        covered: NDArray[np.bool_] = (ages >= self.ages[0]) & (ages < self.until)
        return covered

    def nurture(self, latest: Floats, is_pql: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which leads are worth nurturing: no PQL now, and likely enough to convert later.

        Parameters
        ----------
        latest : float64 array of shape (n,), the probability by the last of `days`
        """
        if self.later is None:
            return np.zeros(len(latest), bool)
        flagged: NDArray[np.bool_] = self.later.decision.flags(latest) & ~is_pql
        return flagged

    @cached_property
    def starts(self) -> Floats:
        """The ages as an array."""
        return np.array(self.ages, np.float64)

    @cached_property
    def shifts(self) -> Floats:
        """Those of both stages side by side: (n_ages, n_days)."""
        later = [self.later.stage.shift] if self.later else []
        return np.concatenate([self.soon.shift, *later], axis=1, dtype=np.float64)

"""Feature rows -> probabilities and contributions. One lead is a batch of one: there is no second way to score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.errors import ArtifactError
from features.leads import Leads
from features.logs import Logs
from features.matrix import FeatureBuilder
from features.segments import segment_numbers
from features.windows import Floats, Ints
from serving.scoring.artifact import TOLERANCE, Artifact, load
from serving.scoring.decision import Segmented


@dataclass(frozen=True)
class Scored:
    """Rows and what the model makes of them, one position per row.

    Attributes
    ----------
    rows : float64 array of shape (n, n_columns)
    probabilities : float64 array of shape (n,), strictly between 0 and 1
    percentiles : float64 array of shape (n,), 0 to 100, among the leads that the model was made with
    is_pql, is_nurture : bool arrays of shape (n,), never both
    within : float64 array of shape (n, n_days), the probability to convert within each of the artifact's `course.days`
    """

    rows: Floats
    probabilities: Floats
    percentiles: Floats
    is_pql: npt.NDArray[np.bool_]
    is_nurture: npt.NDArray[np.bool_]
    within: Floats


class Scorer:
    """Scores rows with one verified artifact; safe to share between threads."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._verify()

    @classmethod
    def from_folder(cls, folder: Path) -> Scorer:
        """Return the scorer of an artifact folder; raises ArtifactError where it must not be served."""
        return cls(load(folder))

    @property
    def builder(self) -> FeatureBuilder:
        return self.artifact.builder

    def score(self, rows: Floats) -> Scored:
        """Return the scores of feature rows of shape (n, n_columns), in the builder's column order."""
        probabilities = self.probabilities(rows)
        course = self.artifact.course
        covered, within = course.covers(rows[:, 0]), course.probabilities(probabilities, rows)
        # At other ages nothing is promised: a model that learned from two weeks knows nothing of leads of half a year.
        pql = self.artifact.decision.flags(probabilities, self.segments(rows)) & covered
        nurture = course.nurture(within[:, -1], pql) & covered
        return Scored(rows, probabilities, self.artifact.reference.percentiles(probabilities), pql, nurture, within)

    def segments(self, rows: Floats) -> Ints | None:
        """Return the segment number of each row where the decision has segments, else None."""
        decision = self.artifact.decision
        return segment_numbers(rows, self.builder.columns, decision.trait) if isinstance(decision, Segmented) else None

    def score_leads(self, leads: Leads, logs: Logs, which: Ints, as_of: Ints) -> Scored:
        """Return the scores of leads `which` at moments `as_of` (microseconds since 1970 UTC)."""
        return self.score(self.builder.rows(leads, logs, which, as_of))

    def margins(self, rows: Floats) -> Floats:
        """Return the raw score of each row, in log-odds before calibration: float64 array of shape (n,)."""
        if not len(rows):
            return np.empty(0)
        trees = np.asarray(self.artifact.booster.predict(rows, raw_score=True, num_threads=1))
        margins: Floats = self.artifact.scorecard.margins(rows) + trees
        return margins

    def probabilities(self, rows: Floats) -> Floats:
        """Return calibrated probabilities: float64 array of shape (n,)."""
        return self.artifact.calibration.probabilities(self.margins(rows))

    def contributions(self, rows: Floats) -> Floats:
        """Return what each column adds to the calibrated log-odds: float64 array of shape (n, n_columns + 1).

        The last column is the base value; a row's sum is its calibrated log-odds. The trees' part are LightGBM's exact
        path-dependent SHAP values, the scorecard's those of a line.
        """
        if not len(rows):
            return np.empty((0, rows.shape[1] + 1))
        found = np.array(self.artifact.booster.predict(rows, pred_contrib=True, num_threads=1), np.float64)
        found[:, :-1] += self.artifact.scorecard.contributions(rows)
        found[:, -1] += self.artifact.scorecard.base
        found *= self.artifact.calibration.slope
        found[:, -1] += self.artifact.calibration.shift
        return found

    def _verify(self) -> None:
        """Score the stored examples, so that a scorer which exists is one that works."""
        got = self.probabilities(self.artifact.examples)
        for expected, value in zip(self.artifact.expected, got, strict=True):
            if not abs(expected - value) <= TOLERANCE:
                raise ArtifactError.example_differs("booster.txt", float(expected), float(value))

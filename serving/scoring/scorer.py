"""Feature rows -> probabilities and contributions. One lead is a batch of one: there is no second way to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import ArtifactError
from features.matrix import FeatureBuilder
from features.segments import segment_numbers
from features.windows import Floats, Ints
from serving.scoring.arithmetic import Arithmetic
from serving.scoring.artifact import TOLERANCE, Artifact, load
from serving.scoring.calibration import probabilities_of
from serving.scoring.contributions import Contributions
from serving.scoring.decision import Cutoff, Segmented, parts
from serving.scoring.reasons import Explainer
from serving.scoring.tree_text import trees_of

SCORED_AT_ONCE: Final = 2_048
"""Rows that are scored together: what is made of them on the way stays in the processor's own memory."""


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
    linear : float64 array of shape (n, n_columns), what the scorecard's columns add; None where rows are too many to keep it
    """

    rows: Floats
    probabilities: Floats
    percentiles: Floats
    is_pql: npt.NDArray[np.bool_]
    is_nurture: npt.NDArray[np.bool_]
    within: Floats
    linear: Floats | None = None

    @classmethod
    def joined(cls, rows: Floats, parts: Sequence[Scored]) -> Scored:
        """Return what was made of `rows`, which were scored part by part."""
        made = ("probabilities", "percentiles", "is_pql", "is_nurture", "within")
        return cls(rows, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in made})


class Scorer:
    """Scores rows with one verified artifact; safe to share between threads."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        # Named by its whole content, which takes milliseconds that no request should wait for.
        self.version = artifact.version
        self._verify()

    @classmethod
    def from_folder(cls, folder: Path) -> Scorer:
        """Return the scorer of an artifact folder; raises ArtifactError where it must not be served."""
        return cls(load(folder))

    @property
    def builder(self) -> FeatureBuilder:
        return self.artifact.builder

    @property
    def decides(self) -> bool:
        """Whether any lead can be a PQL."""
        return any(isinstance(part, Cutoff) for part in parts(self.artifact.decision))

    def score(self, rows: Floats) -> Scored:
        """Return the scores of feature rows of shape (n, n_columns), in the builder's column order."""
        if len(rows) > SCORED_AT_ONCE:
            starts = range(0, len(rows), SCORED_AT_ONCE)
            return Scored.joined(rows, [self.score(rows[start : start + SCORED_AT_ONCE]) for start in starts])
        found, linear = self.arithmetic(np.ascontiguousarray(rows, np.float64))
        probabilities, percentiles, within = found[:, 0], found[:, 1], found[:, 2:]
        course = self.artifact.course
        covered = course.covers(rows[:, 0])
        # At other ages nothing is promised: a model that learned from two weeks knows nothing of leads of half a year.
        pql = self.artifact.decision.flags(probabilities, self.segments(rows)) & covered
        nurture = course.nurture(within[:, -1], pql) & covered
        return Scored(rows, probabilities, percentiles, pql, nurture, within, linear[0])

    def segments(self, rows: Floats) -> Ints | None:
        """Return the segment number of each row where the decision has segments, else None."""
        decision = self.artifact.decision
        return segment_numbers(rows, self.builder.columns, decision.trait) if isinstance(decision, Segmented) else None

    def margins(self, rows: Floats) -> Floats:
        """Return the raw score of each row, in log-odds before calibration: float64 array of shape (n,)."""
        margins: Floats = self.artifact.scorecard.margins(rows) + self.arithmetic.forest.margins(rows)
        return margins

    def probabilities(self, rows: Floats) -> Floats:
        """Return calibrated probabilities: float64 array of shape (n,)."""
        return self.score(rows).probabilities

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """What is computed of rows."""
        artifact = self.artifact
        trees = trees_of(artifact.booster_text, len(self.builder.columns))
        quantiles = artifact.reference.quantiles
        return Arithmetic.of(trees, artifact.scorecard, artifact.calibration, artifact.course, quantiles)

    @cached_property
    def contributions(self) -> Contributions:
        """What each column adds to the calibrated log-odds of rows; see `Contributions`."""
        artifact = self.artifact
        return Contributions.of(artifact.booster_text, artifact.scorecard, artifact.calibration)

    @cached_property
    def explainer(self) -> Explainer:
        """What says reasons for this version's rows."""
        return Explainer(self.builder, self.artifact.reference)

    def _verify(self) -> None:
        """Score and explain the stored examples, so that a scorer which exists is one that works."""
        examples = self.artifact.examples
        got = self.probabilities(examples)
        for expected, value in zip(self.artifact.expected, got, strict=True):
            if not abs(expected - value) <= TOLERANCE:
                raise ArtifactError.example_differs("booster.txt", float(expected), float(value))
        explained = probabilities_of(self.contributions(examples).sum(axis=1))
        for expected, value in zip(self.artifact.expected, explained, strict=True):
            if not abs(expected - value) <= TOLERANCE:
                raise ArtifactError.example_differs("contributions", float(expected), float(value))

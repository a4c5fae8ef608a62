"""What each column adds to a score: the exact values of the trees and of the line, in calibrated log-odds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.compiling import compiled
from features.windows import Floats
from serving.scoring.calibration import Sigmoid
from serving.scoring.scorecard import Scorecard
from serving.scoring.tree_contributions import TreeContributions


@dataclass(frozen=True)
class Contributions:
    """A scorecard and trees taken apart, after the calibration that their sum goes through."""

    trees: TreeContributions
    scorecard: Scorecard
    calibration: Sigmoid

    @classmethod
    def of(cls, booster_text: str, scorecard: Scorecard, calibration: Sigmoid) -> Contributions:
        """Return those of a version."""
        return cls(TreeContributions.of(booster_text, len(scorecard.points)), scorecard, calibration)

    def __call__(self, rows: Floats, linear: Floats | None = None) -> Floats:
        """Return what each column adds to the calibrated log-odds: float64 array of shape (n, n_columns + 1).

        The last column is the base value; a row's sum is its calibrated log-odds. The trees' part are the exact
        path-dependent SHAP values, the scorecard's those of a line.

        Parameters
        ----------
        linear : float64 array of shape (n, n_columns), the scorecard's part, where somebody has it already
        """
        if not len(rows):
            return np.zeros((0, rows.shape[1] + 1))
        found, line = self.trees.contributions(rows), self.calibration
        linear = self.scorecard.contributions(rows) if linear is None else linear
        # Its import brings in the compiler.
        from serving.scoring import score_kernel

        compiled(score_kernel, "calibrate")(found, linear, self.scorecard.base, line.slope, line.shift)
        return found

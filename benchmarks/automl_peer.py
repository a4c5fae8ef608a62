"""FLAML on one task's columns: `python benchmarks/automl_peer.py TABLE.npz SECONDS` prints its test scores as JSON.

Runs in an environment of its own and imports nothing of the project. All that it gets is what our ranking got: rows,
outcomes, and the rows to score.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd


def main(table: str, seconds: float) -> None:
    """Search for so long, and print the chosen learner and the test rows' probabilities."""
    from flaml import AutoML  # type: ignore[import-not-found]

    given = np.load(table)
    # As data frames, in which it fills what is missing for the learners that need it.
    rows, later = pd.DataFrame(given["rows"]).add_prefix("c"), pd.DataFrame(given["later"]).add_prefix("c")
    search = AutoML()
    search.fit(
        rows, given["converted"], task="classification", metric="roc_auc", time_budget=seconds, n_jobs=1,
        seed=7, verbose=0,
    )  # fmt: skip
    scores = search.predict_proba(later)[:, 1]
    print(json.dumps({"learner": search.best_estimator, "scores": scores.tolist()}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

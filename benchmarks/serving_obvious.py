"""The service that BentoML's pages lead to: a data frame in, `predict` and `shap.TreeExplainer`, everything else as shipped.

`bentoml serve benchmarks.serving_obvious:Obvious` with the booster's file in BOOSTER. `score_many` is the same with adaptive
batching.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import lightgbm as lgb
import numpy as np
import pandas as pd

LEADING = 5


@bentoml.service
class Obvious:
    """Probability and leading contributions for each row."""

    def __init__(self) -> None:
        import shap

        self.booster = lgb.Booster(model_file=os.environ["BOOSTER"])
        self.explainer = shap.TreeExplainer(self.booster)

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML's decorators say nothing of types
    def score(self, rows: pd.DataFrame) -> list[dict[str, Any]]:
        return self._scored(rows)

    @bentoml.api(batchable=True)  # type: ignore[untyped-decorator]
    def score_many(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        # BentoML 1.4.39 cannot batch data frames: it adds up their shapes as if they were counts.
        return self._scored(pd.DataFrame.from_records(rows))

    def _scored(self, rows: pd.DataFrame) -> list[dict[str, Any]]:
        # A value that is not known comes as null, and makes its column one of objects.
        rows = rows.astype("float64")
        probabilities = 1.0 / (1.0 + np.exp(-np.asarray(self.booster.predict(rows, raw_score=True, num_threads=1))))
        values = np.asarray(self.explainer.shap_values(rows))
        leading = np.argsort(-np.abs(values), axis=1)[:, :LEADING]
        return [
            {
                "probability": float(probability),
                "contributions": [{"column": rows.columns[j], "contribution": float(own[j])} for j in places],
            }
            for probability, own, places in zip(probabilities, values, leading, strict=True)
        ]

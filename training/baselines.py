"""What a model must beat to be worth serving: the base rate, and logistic regression on log counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from features.columns import Column
from features.windows import Floats, Ints


def base_rate(converted: Ints, weight: Floats, n: int) -> Floats:
    """Return the learned share of conversions as everybody's probability: float64 array of shape (n,)."""
    return np.full(n, float(np.average(converted, weights=weight)))


def logistic(rows: Floats, converted: Ints, weight: Floats, later: Floats, table: Sequence[Column]) -> Floats:
    """Return the probabilities of `later` rows by logistic regression on log counts and traits: shape (n_later,)."""
    used = [i for i, column in enumerate(table) if column.measure is None or column.measure.how == "count"]
    model: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
    model.fit(_logs(rows[:, used]), converted, logisticregression__sample_weight=weight)
    found: Floats = model.predict_proba(_logs(later[:, used]))[:, 1]
    return found


def _logs(rows: Floats) -> Floats:
    known = np.nan_to_num(rows, nan=0.0)
    logs: Floats = np.copysign(np.log1p(np.abs(known)), known)
    return logs

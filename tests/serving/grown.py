"""Models grown on rows of every kind, for tests that hold us against LightGBM."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np

from features.windows import Floats

QUIET = {"objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True}


def rows_of(rng: np.random.Generator, n: int, n_columns: int, *, missing: bool = True) -> Floats:
    """Return rows with counts, zeros of both signs, numbers next to zero and values that are missing."""
    rows: Floats = rng.normal(size=(n, n_columns))
    rows[:, ::2] = rng.poisson(1.0, rows[:, ::2].shape)
    rows[rng.random(rows.shape) < 0.03] = 1e-36
    rows[rng.random(rows.shape) < 0.03] = -0.0
    if missing:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows


def grown(rows: Floats, rounds: int, seed: int, **parameters: Any) -> lgb.Booster:
    rng = np.random.default_rng(seed)
    known = np.nan_to_num(rows)
    odds = known[:, 0] - 1.0 + np.sin(2 * known.sum(axis=1)) + known[:, -1] * known[:, 0]
    converted = (rng.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(float)
    weight = rng.uniform(0.5, 2.0, len(rows))
    return lgb.train({**QUIET, "seed": seed, **parameters}, lgb.Dataset(rows, converted, weight=weight), rounds)

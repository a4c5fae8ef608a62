"""What calibration mends where trees have learned by heart, and what directions for columns cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import lightgbm as lgb
import numpy as np

from benchmarks.truth_page import Bar
from benchmarks.truth_rows import BASES, COLUMNS, Drawn, blocks, expected_loss, learned, product
from features.windows import Floats
from serving.scoring.calibration import odds_of
from training.calibrate import calibrate

SEEDS: Final = 10
OVERFIT: Final = {"objective": "binary", "num_leaves": 31, "num_threads": 1, "deterministic": True, "verbose": -1}
FREE: Final = [replace(column, direction=0) for column in COLUMNS]


def tree_bars() -> list[Bar]:
    """Measure the bars on an overfit LightGBM and on directions."""
    overfit = [overfitted(base, seed) for base in BASES for seed in range(SEEDS)]
    print(f"  overfit trees: {len(overfit)} products", flush=True)
    directions = [with_directions(base, seed) for base in BASES for seed in range(SEEDS)]
    print(f"  directions: {len(directions)} products", flush=True)
    before, after, oracle = np.mean(overfit, axis=0)
    kept, free = np.mean(directions, axis=0)
    change = float(kept / free - 1)
    better = np.mean([one < other for one, other in directions])
    learnt = f"{before:.3f} to {after:.3f} (the truth has {oracle:.3f})"
    cost = f"{change:+.2%} ({free:.4f} to {kept:.4f}; better in {better:.0%} of {len(directions)})"
    return [
        Bar(
            "300 trees of 31 leaves on 2,000 leads: true log loss before and after the sigmoid",
            "at most .245, where the truth has .210", learnt, bool(after <= 0.245),
        ),
        Bar("directions for columns: change of the true log loss on later leads", "at most +.5 %", cost, change <= 0.005),
    ]  # fmt: skip


def overfitted(base: float, seed: int) -> tuple[float, float, float]:
    """Return the true log loss of 300 trees with 31 leaves on 2,000 leads, after our sigmoid, and of the truth."""
    seen, later = product(base, seed, 2_000)
    unseen = np.empty(len(seen.rows))
    for learn, held in blocks(len(unseen)):
        unseen[held] = _trees(seen.take(learn))(seen.rows[held])
    sigmoid = calibrate(unseen, seen.converted, np.ones(len(unseen)))
    margins, truth = _trees(seen)(later.rows), later.probability
    before, after, oracle = (
        expected_loss(odds, truth) for odds in (margins, sigmoid.log_odds(margins), odds_of(truth))
    )
    return before, after, oracle


def _trees(seen: Drawn) -> Callable[[Floats], Floats]:
    booster = lgb.train(OVERFIT, lgb.Dataset(seen.rows, seen.converted), 300)
    return lambda rows: np.asarray(booster.predict(rows, raw_score=True, num_threads=1))


def with_directions(base: float, seed: int) -> tuple[float, float]:
    """Return the true log loss on later leads with directions for columns, and without any."""
    seen, later = product(base, seed, 10_000)
    kept, free = (
        expected_loss(learned(seen, columns).both.margins(later.rows), later.probability) for columns in (COLUMNS, FREE)
    )
    return kept, free

"""Bringing a calibration up to date from a few newer conversions, against keeping it and against learning it anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import numpy as np
from sklearn.isotonic import IsotonicRegression

from benchmarks.truth_page import Bar, table
from benchmarks.truth_rows import divergence, draw
from features.windows import Floats, Ints
from serving.scoring.calibration import odds_of, probabilities_of
from training.calibrate import LEARNING, SAME, UPDATING, in_the_large, updated

BASE: Final = 0.08
CONVERSIONS: Final = (15, 60, 300)
REPEATS: Final = 100
LATER: Final = 20_000
"""Leads that judge each repeat."""
LOWEST: Final = 1e-4
"""An isotonic line says 0 and 1, whose divergence is infinite; it is held this far from both."""

Recalibration = Callable[[Floats, Ints, Floats], Floats]


def _keep(_: Floats, __: Ints, later: Floats) -> Floats:
    return later


def _map(odds: Floats, converted: Ints, later: Floats) -> Floats:
    return updated(SAME, odds, converted, np.ones(len(odds)), UPDATING).log_odds(later)


def _anew(odds: Floats, converted: Ints, later: Floats) -> Floats:
    return updated(SAME, odds, converted, np.ones(len(odds)), LEARNING).log_odds(later)


def _isotonic(odds: Floats, converted: Ints, later: Floats) -> Floats:
    found = IsotonicRegression(y_min=LOWEST, y_max=1 - LOWEST, out_of_bounds="clip").fit(odds, converted)
    return odds_of(np.asarray(found.predict(later)))


WAYS: Final[Mapping[str, Recalibration]] = {
    "keep": _keep, "our update": _map, "learn a sigmoid anew": _anew, "isotonic anew": _isotonic,
}  # fmt: skip


def _no_drift(odds: Floats) -> Floats:
    return odds


def _fewer(odds: Floats) -> Floats:
    return odds + _to(0.65 * BASE, odds)


def _flatter(odds: Floats) -> Floats:
    flat = 0.8 * odds
    return flat + _to(0.65 * BASE, flat)


def _to(base: float, odds: Floats) -> float:
    return in_the_large(base * len(odds), odds, np.ones(len(odds)))


DRIFTS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "no drift": _no_drift, "base rate -35 %": _fewer, "slope .8 and base rate -35 %": _flatter,
}  # fmt: skip


@cache
def yesterday() -> Floats:
    """Return the log-odds of a score that was the truth until yesterday."""
    return odds_of(draw(np.random.default_rng(1), 200_000, BASE).probability)


def measured(drift: str, conversions: int, way: str, repeats: int = REPEATS) -> float:
    """Return the mean divergence from today's truth x 1,000 after so many newer conversions are expected."""
    before = yesterday()
    today = probabilities_of(DRIFTS[drift](before))
    n = round(conversions / today.mean())
    found = []
    for seed in range(repeats):
        rng = np.random.default_rng([seed, conversions])
        newest, later = rng.choice(len(before), n), rng.choice(len(before), LATER)
        converted = (rng.random(n) < today[newest]).astype(np.int64)
        odds = WAYS[way](before[newest], converted, before[later])
        found.append(divergence(odds, today[later]))
    return 1_000 * float(np.mean(found))


@cache
def figures() -> Mapping[tuple[str, int, str], float]:
    """Return every cell of the table."""
    found = {(d, c, w): measured(d, c, w) for d in DRIFTS for c in CONVERSIONS for w in WAYS}
    print(f"  drift: {len(found)} cells of {REPEATS} products", flush=True)
    return found


def drift_bars() -> list[Bar]:
    """Return the bars on drift."""
    cells = {way: figures()["base rate -35 %", CONVERSIONS[0], way] for way in WAYS}
    ours, kept, anew = cells["our update"], cells["keep"], cells["isotonic anew"]
    said = f"{ours:.1f} (keep {kept:.1f})"
    return [
        Bar("update at 15 conversions, base rate -35 %: divergence x 1,000", "at most 2.5", said, ours <= 2.5),
        Bar(
            "the same of an isotonic line learned anew",
            "20 times as much",
            f"{anew / ours:.0f} times",
            anew >= 20 * ours,
        ),
    ]


def drift_table() -> str:
    """Return all figures on drift as Markdown."""
    rows = [
        (drift, f"{conversions}", *(f"{figures()[drift, conversions, way]:.1f}" for way in WAYS))
        for drift in DRIFTS
        for conversions in CONVERSIONS
    ]
    head = ("today's truth", "newer conversions", *WAYS)
    said = f"Divergence from today's truth x 1,000, of a score that was the truth at {BASE:.0%}; means of {REPEATS} products."
    return f"{said}\n\n{table(head, rows)}"

"""Whether probabilities are probabilities on leads that come later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.truth_drift import drift_bars, drift_table
from benchmarks.truth_page import Bar, Part, table
from benchmarks.truth_rows import BASES, LATER, expected_loss, learned, product
from benchmarks.truth_trees import tree_bars
from features.windows import Floats
from serving.scoring.calibration import odds_of
from training.calibrate import LEARNING, SAME, UPDATING, calibrate, updated
from training.judging.recalibration import line

TITLE: Final = "Calibration"
SEEDS: Final = 20
SMALL_SEEDS: Final = 40
NEWEST: Final = 0.35
"""Share of leads that bring the calibration up to date, as the pipeline sets them aside."""


@dataclass(frozen=True)
class Tuned:
    """A product of 10,000 leads.

    `oracle`, `none`, `chosen` and `always` are true log losses: of the truth, of our margins as they are, with what our
    calibration decides, and with a sigmoid in any case.
    """

    base: float
    oracle_auc: float
    oracle: float
    none: float
    chosen: float
    always: float
    forward: tuple[float, float]
    tied: int
    certain: int


def calibration() -> Part:
    """Measure the bars on calibration."""
    products = [tuned(base, seed) for base in BASES for seed in range(SEEDS)]
    print(f"  10,000 leads: {len(products)} products", flush=True)
    few = [at_the_least(base, seed) for base in BASES for seed in range(SMALL_SEEDS)]
    renewed = [brought_up_to_date(base, seed) for base in BASES for seed in range(SMALL_SEEDS)]
    print(f"  240 and 430 conversions: {len(few) + len(renewed)} products", flush=True)
    bars = [
        _regret_bar(products),
        *_forward_bars("10,000 leads, 300 to 1,500 conversions", [one.forward for one in products]),
        *_forward_bars("240 conversions, out of fold", few),
        *_forward_bars("280 older conversions and 150 newer ones", renewed),
        *_tie_bars(products),
        *tree_bars(),
        *drift_bars(),
    ]
    return Part(TITLE, _world(products), bars, f"{CHANCE}\n\n{drift_table()}")


CHANCE: Final = """How many leads convert is itself a matter of chance: a share known from 240 conversions lies within a tenth of
the truth in 89 % of cases, one known from 150 in 80 %. Newer conversions replace the level that older ones told, so that a
drift is followed; in a world that stands still that costs what the older ones knew."""


def tuned(base: float, seed: int) -> Tuned:
    """Measure a product of 10,000 leads."""
    seen, later = product(base, seed, 10_000)
    fitted, weight = learned(seen), np.ones(len(seen.rows))
    margins, truth = fitted.both.margins(later.rows), later.probability
    chosen = calibrate(fitted.both_unseen, seen.converted, weight)
    always = updated(SAME, fitted.both_unseen, seen.converted, weight, LEARNING)
    oracle, none, ours, with_sigmoid = (
        expected_loss(odds, truth)
        for odds in (odds_of(truth), margins, chosen.log_odds(margins), always.log_odds(margins))
    )
    told = chosen.probabilities(margins)
    auc = float(roc_auc_score(later.converted, truth))
    return Tuned(
        base, auc, oracle, none, ours, with_sigmoid, forward(told, truth), tied_at_capacity(told, later.rows), certain(told)
    )  # fmt: skip


def at_the_least(base: float, seed: int) -> tuple[float, float]:
    """Return O/E and slope of a product of 240 conversions, calibrated on margins out of fold."""
    seen, later = product(base, seed, round(240 / base))
    fitted = learned(seen)
    sigmoid = calibrate(fitted.both_unseen, seen.converted, np.ones(len(seen.rows)))
    return forward(sigmoid.probabilities(fitted.both.margins(later.rows)), later.probability)


def brought_up_to_date(base: float, seed: int) -> tuple[float, float]:
    """Return O/E and slope of a product of 430 conversions, the newest third of which bring the calibration up to date."""
    seen, later = product(base, seed, round(430 / base))
    n = round((1 - NEWEST) * len(seen.rows))
    older, newer = seen.take(slice(n)), seen.take(slice(n, None))
    fitted = learned(older)
    sigmoid = calibrate(fitted.both_unseen, older.converted, np.ones(n))
    margins = fitted.both.margins(newer.rows)
    newest = updated(sigmoid, margins, newer.converted, np.ones(len(margins)), UPDATING)
    return forward(newest.probabilities(fitted.both.margins(later.rows)), later.probability)


def forward(told: Floats, truth: Floats) -> tuple[float, float]:
    """Return true conversions per predicted one, and the slope of the true log-odds on the predicted ones."""
    return float(truth.mean() / told.mean()), line(truth, told, np.ones(len(told)), slope_too=True)[1]


def tied_at_capacity(told: Floats, rows: Floats) -> int:
    """Return how many unlike leads share the probability at which the best 5 % begin."""
    edge = np.sort(told)[::-1][len(told) // 20 - 1]
    return len(np.unique(rows[told == edge], axis=0)) - 1


def certain(told: Floats) -> int:
    """Return how many leads are told to convert for sure, or never."""
    return int(((told <= 0) | (told >= 1)).sum())


def _regret_bar(products: Sequence[Tuned]) -> Bar:
    regret = np.array([one.chosen - one.none for one in products])
    always = float(np.mean([one.always - one.none <= 0.001 for one in products]))
    good = float((regret <= 0.001).mean())
    said = f"{good:.0%} of {len(regret)} (95th percentile {np.quantile(regret, 0.95):+.4f}; with a sigmoid always {always:.0%})"
    what = "calibration against none, 10,000 leads: true log loss at most .001 higher"
    return Bar(what, "95 % of products", said, good >= 0.95)


def _forward_bars(what: str, found: Sequence[tuple[float, float]]) -> list[Bar]:
    ratio, slope = np.array(found).T
    bars = []
    for name, values, low, high in (("O/E", ratio, 0.9, 1.1), ("slope", slope, 0.9, 1.13)):
        share = float(((values >= low) & (values <= high)).mean())
        middle = f"{np.quantile(values, 0.05):.2f} to {np.quantile(values, 0.95):.2f}"
        said = f"{share:.0%} of {len(values)} (nine in ten in {middle})"
        bars.append(Bar(f"{name} on later leads, {what}", f"{low:.2f} to {high:.2f} in 90 %", said, share >= 0.9))
    return bars


def _tie_bars(products: Sequence[Tuned]) -> list[Bar]:
    tied, sure = sum(one.tied for one in products), sum(one.certain for one in products)
    edge = certain(SAME.probabilities(np.array([-1e300, -1e6, 1e6, 1e300])))
    n = f"{len(products) * LATER:,} leads"
    return [
        Bar("unlike leads tied where the best 5 % begin", "0", f"{tied} of {n}", tied == 0),
        Bar("probabilities of 0 or 1", "0", f"{sure} of {n}, {edge} at margins of a million", sure + edge == 0),
    ]


def _world(products: Sequence[Tuned]) -> str:
    rows = []
    for base in BASES:
        mine = [one for one in products if one.base == base]
        auc, oracle, ours = (float(np.mean([getattr(one, name) for one in mine])) for name in _SHOWN)
        rows.append((f"{base:.0%}", f"{auc:.3f}", f"{oracle:.4f}", f"{ours:.4f}"))
    told = table(("convert", "AUC of the truth", "log loss of the truth", "of our ranking, 10,000 leads"), rows)
    return f"""Feature rows of 20 columns: counts of four behaviours in 7, 14 and 28 days, and eight facts, four of them noise.
The true log-odds saturate, count the newest week apart, and have one interaction. {SEEDS} to {SMALL_SEEDS} products for each
base rate; {LATER:,} later leads of each judge, by their true probabilities.

{told}"""


_SHOWN: Final = ("oracle_auc", "oracle", "none")

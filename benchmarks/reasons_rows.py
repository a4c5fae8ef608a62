"""Reasons where the truth is the log-odds that are scored: rows of counts and facts whose every part is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from benchmarks.reasons_page import (
    LEADING,
    STABLE,
    Agreed,
    Names,
    agreed,
    cells,
    mean_of,
    number_bar,
    overlap,
    truth_bars,
)
from benchmarks.truth_page import Part, table
from benchmarks.truth_rows import CAP, COLUMNS, PAIR, WEIGHT, learned, product
from features.windows import Floats, Ints
from serving.scoring.calibration import Sigmoid
from serving.scoring.contributions import Contributions
from training.fit import Ranking

TITLE: Final = "Where the truth is what is scored"
SEEDS: Final = range(31, 36)
SIZES: Final = (5_000, 10_000, 20_000, 50_000)
BASE: Final = 0.08
STRONG: Final = 0.05
"""The share of leads that are explained: the highest scores."""
OWNERS: Final = tuple(dict.fromkeys(column.owner for column in COLUMNS))
NO_EFFECT: Final = frozenset({"idle", "region", "theme", "age"})
_SUMS: Final = np.array([[column.owner == owner for owner in OWNERS] for column in COLUMNS], np.float64)


def rows() -> Part:
    """Measure every size."""
    found = {n: [measured(seed, n) for seed in SEEDS] for n in SIZES}
    sizes = table(
        ("leads learned from", "overlap", "first is truest", "without effect", "Jaccard, retrained"),
        [
            (f"{n:,}", *cells(mean_of([one for one, _ in of_size])), f"{_kept(of_size):.3f}")
            for n, of_size in found.items()
        ],
    )
    largest = found[SIZES[-1]]
    stable = number_bar(
        "mean Jaccard of the leading reasons before and after retraining on leads drawn anew", STABLE, _kept(largest)
    )
    return Part(TITLE, _world(), [*truth_bars([one for one, _ in largest], "strong leads"), stable], sizes)


def _kept(found: list[tuple[Agreed, float]]) -> float:
    return float(np.mean([kept for _, kept in found]))


def measured(seed: int, n: int) -> tuple[Agreed, float]:
    """Return how well the reasons of strong leads agree with the truth, learned from n leads, and with those learned anew."""
    seen, later = product(BASE, seed, n)
    ranking = learned(seen).both
    strong = np.argsort(-ranking.margins(later.rows), kind="stable")[: round(STRONG * len(later.rows))]
    named, truth = _named(ranking, later.rows, strong), _beyond_mean(parts, later.rows)[strong]
    anew = np.sort(np.random.default_rng([seed, n]).integers(0, n, n))
    kept = overlap(named, _named(learned(seen.take(anew)).both, later.rows, strong))
    return agreed(named, truth, OWNERS, named, NO_EFFECT), kept


def _named(ranking: Ranking, rows: Floats, leads: Ints) -> list[Names]:
    pull = _beyond_mean(_contributions(ranking), rows)[leads]
    order = np.argsort(-pull, axis=1, kind="stable")[:, :LEADING].tolist()
    return [[OWNERS[i] for i in mine if row[i] > 0] for mine, row in zip(order, pull, strict=True)]


def _contributions(ranking: Ranking) -> Callable[[Floats], Floats]:
    taken_apart = Contributions.of(ranking.booster.model_to_string(), ranking.scorecard, Sigmoid(1.0, 0.0))

    def summed(rows: Floats) -> Floats:
        found: Floats = taken_apart(rows)[:, :-1] @ _SUMS
        return found

    return summed


def _beyond_mean(of: Callable[[Floats], Floats], rows: Floats) -> Floats:
    values = of(rows)
    found: Floats = values - values.mean(axis=0)
    return found


def parts(rows: Floats) -> Floats:
    """Return what each behaviour and fact adds to the true log-odds: float64 array of shape (n, n_owners).

    What takes two behaviours belongs to each by half.
    """
    newest, month = rows[:, [0, 3, 6, 9]], rows[:, [2, 5, 8, 11]]
    done = np.log1p(np.minimum(month, CAP)) * WEIGHT
    done[:, 2] += 0.6 * np.log1p(newest[:, 2])
    done[:, 2:] += PAIR / 2 * ((newest[:, 2] > 0) & (newest[:, 3] > 0))[:, None]
    size, business, seats, tickets = rows[:, 12:16].T
    fit = np.where(np.isnan(size), 0.0, 0.6 * np.tanh(np.log(np.maximum(size, 1.0)) - 3.4))
    facts = [fit, 0.7 * business, 0.35 * np.log(seats), -0.6 * np.log1p(tickets)]
    return np.column_stack([done, *facts, np.zeros((len(rows), len(NO_EFFECT)))])


def _world() -> str:
    return f"""The rows of `benchmarks/truth_rows.py`: four behaviours in three windows and eight facts, four of which have no
effect, a base rate of {BASE:.0%}, {len(SEEDS)} seeds. What is explained are the {STRONG:.0%} highest scores among leads that came
later; contributions are added up per behaviour, minus their mean, and so are the parts of the true log-odds. The bars are
judged at {SIZES[-1]:,} leads."""

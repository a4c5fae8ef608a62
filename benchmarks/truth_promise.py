"""Whether the cutoff keeps its promise, and what the promise costs, over many products and against the naive choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.truth_page import Bar, Part, table
from benchmarks.truth_promise_worlds import CHUNK, LOOKS, Looks, Population, World, drifting, independent, table_of
from features.policies import PrecisionPolicy
from serving.scoring.calibration import odds_of
from serving.scoring.decision import Cutoff
from training.certify import FEWEST_LEADS
from training.cutoff import choose_cutoff
from training.first_flags import FirstFlags

TITLE: Final = "The promise of the cutoff"
POLICY: Final = PrecisionPolicy(at_least=0.3, confidence=0.9)
DELTA: Final = 0.1
PRODUCTS: Final = 300
CHUNKS: Final = 8
"""Of leads of which the truth about cutoffs is counted."""
SIZES: Final = (1_000, 3_000, 10_000)
RECALL: Final = {2_000: 0.80, 5_000: 0.88, 20_000: 0.93}

REPEATED: Final[Mapping[str, World]] = {
    "a blurred score": drifting(2.2, -6.95, 0.5),
    "a sharper score": drifting(2.0, -6.65, 0.3),
}
ONCE: Final[Mapping[str, World]] = {
    # Chosen so that 8 % convert and the AUC is 0.80.
    "log-odds of a gamma law, as counts have them": independent(lambda rng, n: rng.gamma(4, 0.5, n), 1.098, -5.176),
    "log-odds of a normal law: harder": independent(lambda rng, n: rng.normal(size=n), 1.300, -3.106),
}


@dataclass(frozen=True)
class Outcome:
    """What came of one product: the true precision of each choice, None where there is none, and what ours catches."""

    certified: float | None
    recall: float
    naive: float | None


@dataclass(frozen=True)
class Row:
    """What came of many products of one world and size."""

    world: str
    leads: int
    outcomes: Sequence[Outcome]
    best: float

    @property
    def certified(self) -> int:
        return sum(one.certified is not None for one in self.outcomes)

    @property
    def broken(self) -> int:
        return sum(one.certified is not None and one.certified < POLICY.at_least for one in self.outcomes)

    @property
    def naive_broken(self) -> int:
        return sum(one.naive is not None and one.naive < POLICY.at_least for one in self.outcomes)

    @property
    def recall(self) -> float:
        """Of what the laxest honest cutoff catches; a refusal catches nobody."""
        return float(np.mean([one.recall for one in self.outcomes])) / self.best


def promise() -> Part:
    """Measure the bars on the promise and on its price."""
    repeated = [row for name, world in REPEATED.items() for row in rows_of(name, world, SIZES)]
    once = [row for name, world in ONCE.items() for row in rows_of(name, world, tuple(RECALL))]
    bars = [*_promise_bars([*repeated, *once]), *_recall_bars(once)]
    return Part(TITLE, _world(), bars, f"{_table(repeated)}\n\n{_table(once)}")


def rows_of(name: str, world: World, sizes: Sequence[int], products: int = PRODUCTS, chunks: int = CHUNKS) -> list[Row]:
    """Return what came of so many products of each size."""
    population = Population.of(world, 777, chunks)
    best, found = population.best_recall(POLICY.at_least), []
    for leads in sizes:
        outcomes = [outcome(world(np.random.default_rng([seed, leads]), leads), population) for seed in range(products)]
        found.append(Row(name, leads, outcomes, best))
        print(f"  {name}, {leads:,} leads: {found[-1].broken} of {found[-1].certified} broken", flush=True)
    return found


def outcome(looks: Looks, population: Population) -> Outcome:
    """Return what comes of the choices made on some leads."""
    probabilities, snapshots = table_of(looks)
    decision = choose_cutoff(probabilities, snapshots, POLICY)
    naive = naive_cutoff(FirstFlags.of(probabilities, snapshots))
    truly, recall = (None, 0.0) if not isinstance(decision, Cutoff) else population.at(_score(decision.probability))
    return Outcome(truly, recall, None if naive is None else population.at(_score(naive))[0])


def _score(probability: float) -> float:
    return float(odds_of(np.array([probability]))[0])


def naive_cutoff(seen: FirstFlags, policy: PrecisionPolicy = POLICY) -> float | None:
    """Return the lowest score from which on the precision seen is what is asked for: no evidence, no order of tests."""
    for peak in seen.peaks[FEWEST_LEADS - 1 :][::-3]:
        flagged, won = seen.at(float(peak))
        if won >= policy.at_least * flagged:
            return float(peak)
    return None


def _promise_bars(rows: Sequence[Row]) -> list[Bar]:
    def worst(share: Mapping[str, float]) -> tuple[str, float]:
        return max(share.items(), key=lambda item: item[1])

    of_all = {_where(row): row.broken / len(row.outcomes) for row in rows}
    # Where next to nothing is certified, a share of it says nothing.
    of_certified = {_where(row): row.broken / row.certified for row in rows if row.certified >= 20}
    bars = []
    for name, shares in (("all products", of_all), ("those that were promised something", of_certified)):
        where, share = worst(shares)
        bars.append(
            Bar(f"promises broken, of {name}", f"at most {DELTA:.0%}", f"{share:.1%} ({where})", share <= DELTA)
        )
    low, high = (f(row.naive_broken / len(row.outcomes) for row in rows) for f in (min, max))
    bars.append(Bar("the same of the naive choice, of all products", "", f"{low:.0%} to {high:.0%}", None))
    return bars


def _where(row: Row) -> str:
    return f"{row.world}, {row.leads:,} leads"


def _recall_bars(rows: Sequence[Row]) -> list[Bar]:
    return [
        Bar(f"caught of what an oracle catches, {_where(row)}", f"{RECALL[row.leads]:.2f}", f"{row.recall:.3f}",
            row.recall >= RECALL[row.leads])
        for row in rows
    ]  # fmt: skip


def _table(rows: Sequence[Row]) -> str:
    head = (
        "world",
        "leads held out",
        "promised",
        "broken",
        "of all",
        "of promised",
        "naive broken",
        "the oracle catches",
        "caught of that",
    )
    return table(head, (_cells(row) for row in rows))


def _cells(row: Row) -> tuple[str, ...]:
    n = len(row.outcomes)
    of_certified = f"{row.broken / row.certified:.1%}" if row.certified else "-"
    return (
        row.world, f"{row.leads:,}", f"{row.certified} of {n}", f"{row.broken}", f"{row.broken / n:.1%}", of_certified,
        f"{row.naive_broken / n:.0%}",
        f"{row.best:.0%}", f"{row.recall:.3f}",
    )  # fmt: skip


def _world() -> str:
    told = []
    for name, world in {**REPEATED, **ONCE}.items():
        looks = world(np.random.default_rng(5), 200_000)
        is_open = np.isfinite(looks.scores)
        auc = float(roc_auc_score(looks.won[is_open], looks.scores[is_open]))
        told.append((name, f"{looks.scores.shape[1]}", f"{looks.won.any(axis=1).mean():.1%}", f"{auc:.3f}"))
    head = ("world", "looks at a lead", "convert", "AUC of the score")
    return f"""{PRODUCTS} products of each world and size; the promise is that at least 30 % convert, with 90 % confidence.
Leads are looked at {LOOKS} times while they have not converted, their interest drifting in between, or once. The truth about a
cutoff is counted on {CHUNKS * CHUNK:,} other leads, each once, when it first crosses. The naive choice is the lowest score from
which on 30 % of the held-out leads flagged convert. A refusal catches nobody.

{table(head, told)}"""

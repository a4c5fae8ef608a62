"""The demo product against its truth: whole trainings, judged by the true probabilities of leads of another year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.truth_page import Bar, Part, table
from benchmarks.truth_rows import expected_loss
from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.times import moment_of
from features.windows import Floats, Ints
from serving.scoring.decision import Cutoff, Decision
from serving.scoring.scorer import Scorer
from training import demo
from training.first_flags import first_flag_rows
from training.fit import Ranking
from training.judging.recalibration import line
from training.pipeline import Settings, Trained, train
from training.snapshots import Snapshots, snapshots

TITLE: Final = "The demo product"
SEEDS: Final = range(1, 9)
ACCOUNTS: Final = 8_000
JUDGES: Final = 20_000
"""Accounts of the year that judges: with so many, a true precision is known to half a point."""
DEFINITION: Final = (Path(__file__).resolve().parent.parent / "pql.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Population:
    """Another year of the same world; the truth belongs to the table's rows."""

    data: Dataset
    table: Snapshots
    truth: Floats

    def rows(self, scorer: Scorer) -> Floats:
        """Return the rows of a version's columns."""
        data = self.data.under(scorer.builder.definition)
        return data.rows(scorer.builder, self.table.lead, self.table.as_of)


@dataclass(frozen=True)
class Found:
    """What one training came to on the other year; `precision` is None without a cutoff."""

    rung: str
    better: str
    lost: float
    auc: float
    ratio: float
    slope: float
    precision: float | None


@cache
def population() -> Population:
    """Return the year that judges."""
    world = demo.simulate(JUDGES, 99, datetime(2026, 1, 5, tzinfo=UTC))
    data = dataset(world.events, world.trials, parse(DEFINITION))
    table = snapshots(data, data.leads)
    ids, moments = [data.leads.ids[i] for i in table.lead], [moment_of(int(moment)) for moment in table.as_of]
    return Population(data, table, world.true_probability(ids, moments, data.definition.conversion.horizon / DAY))


def demo_product() -> Part:
    """Measure the demo product."""
    found = []
    for seed in SEEDS:
        world = demo.simulate(ACCOUNTS, seed)
        trained = train(dataset(world.events, world.trials, parse(DEFINITION)), DEFINITION, Settings())
        found.append(judged(trained))
        print(f"  seed {seed}: {found[-1].rung}, AUC {found[-1].auc:.3f}", flush=True)
    return Part(TITLE, _world(), _bars(found), _table(found))


def judged(trained: Trained) -> Found:
    """Return how true a version is."""
    other = population()
    scorer, truth, converted = Scorer(trained.artifact), other.truth, other.table.converted
    rows = other.rows(scorer)
    probabilities = scorer.probabilities(rows)
    losses = {name: _best_loss(ranking, rows, truth) for name, ranking in _rankings(trained).items()}
    better = min(losses, key=lambda name: losses[name])
    # A version of hand-written points has its own ranking, which is not among those learned.
    lost = losses.get(trained.artifact.rung, np.nan) - losses[better]
    return Found(
        trained.artifact.rung, better, lost, float(roc_auc_score(converted, probabilities)),
        float(truth.mean() / probabilities.mean()), line(truth, probabilities, np.ones(len(truth)), slope_too=True)[1],
        true_precision(trained.artifact.decision, probabilities, other),
    )  # fmt: skip


def _rankings(trained: Trained) -> dict[str, Ranking]:
    return {"scorecard": trained.fitted.scorecard, "lightgbm": trained.fitted.both}


def _best_loss(ranking: Ranking, rows: Floats, truth: Floats) -> float:
    """Return the true log loss of a ranking after the best sigmoid for it, which nobody but the truth knows."""
    margins = ranking.margins(rows)
    shift, slope = line(truth, 1 / (1 + np.exp(-margins)), np.ones(len(truth)), slope_too=True)
    return expected_loss(shift + slope * margins, truth)


def true_precision(decision: Decision, probabilities: Floats, other: Population) -> float | None:
    """Return how likely a lead truly is to convert when it first crosses the cutoff."""
    if not isinstance(decision, Cutoff):
        return None
    first: Ints = first_flag_rows(decision.flags(probabilities), other.table.lead)
    return float(other.truth[first].mean())


def _oracle() -> float:
    return float(roc_auc_score(population().table.converted, population().truth))


def _bars(found: Sequence[Found]) -> list[Bar]:
    ratios, slopes = np.array([one.ratio for one in found]), np.array([one.slope for one in found])
    promised = [one.precision for one in found if one.precision is not None]
    broken = sum(precision < 0.3 for precision in promised)
    right = sum(one.rung == one.better for one in found)
    lost = max(one.lost for one in found)
    n = len(found)
    within = int(((ratios >= 0.9) & (ratios <= 1.1)).sum()), int(((slopes >= 0.9) & (slopes <= 1.13)).sum())
    return [
        Bar("O/E, by true probabilities", ".90 to 1.10 in 90 %", _said(within[0], ratios), within[0] >= 0.9 * n),
        Bar("slope, by true probabilities", ".90 to 1.13 in 90 %", _said(within[1], slopes), within[1] >= 0.9 * n),
        Bar("promises of 30 % broken", "at most 10 %", f"{broken} of {len(promised)}", broken <= 0.1 * len(promised)),
        Bar("the better rung was taken", "", f"{right} of {n}; log loss lost at most {lost:.4f}", None),
        Bar("AUC", "", f"{np.mean([one.auc for one in found]):.3f} on average, of the truth {_oracle():.3f}", None),
    ]  # fmt: skip


def _said(within: int, values: Floats) -> str:
    return f"{within} of {len(values)} ({values.min():.2f} to {values.max():.2f})"


def _table(found: Sequence[Found]) -> str:
    head = ("seed", "rung taken", "better by truth", "AUC", "O/E", "slope", "true precision at the cutoff")
    rows = [
        (
            f"{seed}",
            one.rung,
            one.better,
            f"{one.auc:.3f}",
            f"{one.ratio:.3f}",
            f"{one.slope:.3f}",
            _share(one.precision),
        )
        for seed, one in zip(SEEDS, found, strict=True)
    ]
    return table(head, rows)


def _share(precision: float | None) -> str:
    return "none" if precision is None else f"{precision:.1%}"


def _world() -> str:
    other = population()
    leads, share = len(other.data.leads), other.table.converted.mean()
    return f"""`training.demo` with {ACCOUNTS:,} accounts, {len(SEEDS)} seeds, trained whole with `pql.yaml`. Another year of
{leads:,} leads judges, of whose snapshots {share:.1%} convert within the horizon. The truth also knows what each lead is going
to do later, so that its AUC of {_oracle():.3f} is out of reach."""

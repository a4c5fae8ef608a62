"""Putting a version together: what was learned, what is usual, what it learned from, and examples to verify it by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from features.dataset import Dataset
from features.durations import DAY
from features.times import text_of
from features.windows import Ints
from serving.scoring.artifact import Artifact
from serving.scoring.contributions import Contributions
from training.leaks import Leak
from training.learn import Learned, Table
from training.proven import proven
from training.snapshots import Snapshots
from training.split import Split, counts
from training.usual import usual

EXAMPLES: Final = 8


def artifact(table: Table, definition_text: str, learned: Learned, leaks: tuple[Leak, ...]) -> Artifact:
    """Return the version that was learned."""
    ranking, calibration = learned.chosen.ranking, learned.calibration
    test = table.parts.test
    examples = table.rows[test[example_places(len(test))]]
    booster_text, met = ranking.booster.model_to_string(), learned.met
    contributions = Contributions.of(booster_text, ranking.scorecard, calibration)
    ages = met.snapshots.as_of - met.snapshots.started_at
    reference = usual(table.builder, contributions, ages, met.rows, met.snapshots.converted, learned.probabilities)
    return Artifact(
        booster_text=booster_text,
        definition_text=definition_text,
        levels=table.builder.levels,
        scorecard=ranking.scorecard,
        calibration=calibration,
        decision=learned.decision,
        course=learned.course,
        reference=replace(reference, proven=proven(table)),
        training=_facts(table.data, table.snapshots, table.parts, learned, leaks),
        rung=learned.chosen.rung,
        examples=examples,
        expected=calibration.probabilities(ranking.margins(examples)),
    )


def example_places(n: int) -> Ints:
    """Return which of n rows a version is verified by, evenly over them."""
    return np.linspace(0, n - 1, EXAMPLES).astype(np.int64)


def _facts(
    data: Dataset, table: Snapshots, parts: Split, learned: Learned, leaks: tuple[Leak, ...]
) -> Mapping[str, Any]:
    """Return what the version learned from, for people and for `GET /model`."""
    names = {"fit": parts.fit, "cutoff": parts.cutoff, "test": parts.test}
    described = {name: _part_facts(table, rows) for name, rows in names.items() if rows is not None}
    lessons, in_the_middle = learned.lessons
    return {
        "product": data.definition.product,
        "data_until": text_of(data.until),
        "horizon_days": data.definition.conversion.horizon / DAY,
        "scored_at_days": list(data.definition.scored_days()),
        "test_from": text_of(parts.test_from),
        "accounts_apart": parts.accounts_apart,
        "parts": described,
        "lessons": {"snapshots": lessons, "in_the_middle": in_the_middle},
        "left_out": [leak.name for leak in leaks if not leak.trusted],
        "trees": learned.fitted.rounds if learned.chosen.rung == "lightgbm" else 0,
    }


def _part_facts(table: Snapshots, rows: Ints) -> dict[str, Any]:
    leads, won = counts(table, rows)
    started = table.started_at[rows]
    span = {"first_trial": text_of(int(started.min())), "last_trial": text_of(int(started.max()))}
    return {"snapshots": len(rows), "leads": leads, "converted": won, **span}

"""What a version says of itself is what it learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.dataset import dataset
from features.definition import parse
from features.durations import DAY
from features.matrix import FeatureBuilder
from features.times import text_of
from serving.scoring.artifact import Artifact
from training.assemble import EXAMPLES, QUANTILES, artifact
from training.demo import Demo
from training.fit import FitSettings
from training.leaks import Leak
from training.learn import Learned, Table, learn
from training.snapshots import snapshots
from training.split import split

LEAKS = (Leak("seats", "back_dated", "why", {}), Leak("plan", "back_dated", "why", {}, trusted=True))


TEXT = """
product: Corkboard
trial: {length: 14d, closed_by: [trial_cancelled]}
conversion: {event: subscription_started, horizon: 30d}
score_at: [3d, 7d, 10d]
windows: [7d, trial]
signals:
  - {name: invites, kind: team_growth, events: [invite_accepted], measures: [count], text: a}
  - {name: uploads, kind: usage_depth, events: [file_uploaded], measures: [count, days_since_last], text: b}
cutoff: {at_least: 0.3}
"""


@pytest.fixture(scope="module")
def table(demo_world: Demo) -> Table:
    data = dataset(demo_world.events, demo_world.trials, parse(TEXT))
    rows, builder = snapshots(data, data.leads), FeatureBuilder(data.definition, {})
    return Table(data, builder, rows, split(rows), data.rows(builder, rows.lead, rows.as_of))


@pytest.fixture(scope="module")
def learned(table: Table) -> Learned:
    return learn(table, FitSettings(max_rounds=5))


@pytest.fixture(scope="module")
def made(table: Table, learned: Learned) -> Artifact:
    return artifact(table, TEXT, learned, LEAKS)


def test_it_decides_with_what_was_learned(made: Artifact, learned: Learned) -> None:
    ranking = learned.chosen.ranking
    assert made.rung == learned.chosen.rung
    assert made.booster_text == ranking.booster.model_to_string()
    assert made.scorecard is ranking.scorecard
    assert (made.calibration, made.decision, made.course) == (learned.calibration, learned.decision, learned.course)


def test_examples_are_of_the_test_from_its_beginning_to_its_end(made: Artifact, table: Table, learned: Learned) -> None:
    test = table.rows[table.parts.test]
    assert len(made.examples) == EXAMPLES
    np.testing.assert_array_equal(made.examples[[0, -1]], test[[0, -1]])
    expected = learned.calibration.probabilities(learned.chosen.ranking.margins(made.examples))
    assert made.expected.tolist() == expected.tolist()


def test_percentiles_are_ranks_among_the_leads_that_set_the_cutoff(made: Artifact, learned: Learned) -> None:
    assert len(made.reference.quantiles) == QUANTILES
    some = np.quantile(learned.probabilities, [0.1, 0.5, 0.9])
    ranks = [100 * float(np.mean(learned.probabilities < one)) for one in some]
    assert ranks == sorted(set(ranks))
    assert made.reference.percentiles(some).tolist() == pytest.approx(ranks, abs=0.2)


def test_shares_of_converters_are_those_of_each_age(made: Artifact, table: Table, learned: Learned) -> None:
    rows, held = table.rows[learned.held], table.snapshots.take(learned.held)
    columns = [
        c.owner == "uploads" and c.measure is not None and c.measure.how == "count" for c in table.builder.columns
    ]
    for age, share in zip((3, 7, 10), made.reference.converters["uploads"], strict=True):
        won = (held.converted == 1) & (held.as_of - held.started_at == age * DAY)
        assert share == pytest.approx((rows[won][:, columns] > 0).any(axis=1).mean())


def part(made: Artifact, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = made.training["parts"][name]
    return found


def test_facts_of_the_parts_are_those_of_their_rows(made: Artifact, table: Table) -> None:
    for name, rows in (("fit", table.parts.fit), ("test", table.parts.test)):
        mine = table.snapshots.take(rows)
        assert part(made, name) == {
            "snapshots": len(rows), "leads": len(set(mine.lead.tolist())),
            "converted": len(set(mine.lead[mine.converted == 1].tolist())),
            "first_trial": text_of(int(mine.started_at.min())), "last_trial": text_of(int(mine.started_at.max())),
        }  # fmt: skip


def test_a_part_that_there_is_not_is_not_told_of(made: Artifact, table: Table) -> None:
    assert table.parts.cutoff is None
    assert set(made.training["parts"]) == {"fit", "test"}


def test_facts_say_when_and_from_what(made: Artifact, table: Table, learned: Learned) -> None:
    facts = made.training
    assert facts["data_until"] == text_of(table.data.until)
    assert facts["test_from"] == text_of(table.parts.test_from)
    assert (facts["horizon_days"], facts["scored_at_days"]) == (30.0, [3.0, 7.0, 10.0])
    assert facts["lessons"] == {"snapshots": learned.lessons[0], "in_the_middle": learned.lessons[1]}
    assert facts["accounts_apart"] is table.parts.accounts_apart


def test_what_leaks_is_named_unless_the_definition_trusts_it(made: Artifact) -> None:
    assert made.training["left_out"] == ["seats"]


def test_trees_are_counted_only_where_they_are_used(table: Table, learned: Learned) -> None:
    for rung, trees in (("lightgbm", learned.fitted.rounds), ("scorecard", 0), ("points", 0)):
        chosen = replace(learned, chosen=replace(learned.chosen, rung=rung))  # type: ignore[arg-type]
        assert artifact(table, TEXT, chosen, ()).training["trees"] == trees

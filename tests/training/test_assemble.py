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
from serving.scoring.reasons import Explainer
from serving.scoring.scorer import Scorer
from training.assemble import EXAMPLES, artifact
from training.demo import Demo
from training.fit import FitSettings
from training.leaks import Leak
from training.learn import Learned, Table, learn
from training.snapshots import evenly, snapshots
from training.split import split
from training.usual import FEWEST, FEWEST_CONVERTERS, MOST_AVERAGED, QUANTILES

LEAKS = (Leak("seats", "back_dated", "why", {}), Leak("plan", "back_dated", "why", {}, trusted=True))


TEXT = """
product: Corkboard
trial: {length: 14d, closed_by: [trial_cancelled]}
conversion: {event: subscription_started, horizon: 30d}
score_at: [3d, 7d, 10d]
windows: [7d, trial]
signals:
  - {name: invites, kind: team_growth, events: [invite_accepted], measures: [count], text: "{count} a"}
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


def test_what_is_usual_is_known_of_every_day_on_which_leads_are_met(made: Artifact, learned: Learned) -> None:
    met = learned.met.snapshots
    days, many = np.unique((met.as_of - met.started_at) / DAY, return_counts=True)
    assert made.reference.ages == tuple(days[many >= FEWEST].tolist())
    assert len(made.reference.ages) > 8
    assert {3.0, 7.0, 10.0} <= set(made.reference.ages)


def test_shares_of_converters_are_those_of_each_age(made: Artifact, table: Table, learned: Learned) -> None:
    rows, met = learned.met.rows, learned.met.snapshots
    columns = [
        c.owner == "uploads" and c.measure is not None and c.measure.how == "count" for c in table.builder.columns
    ]
    for age, share in zip(made.reference.ages, made.reference.converters["uploads"], strict=True):
        won = (met.converted == 1) & (met.as_of - met.started_at == age * DAY)
        assert won.sum() >= FEWEST_CONVERTERS
        assert share == pytest.approx((rows[won][:, columns] > 0).any(axis=1).mean())


def test_a_typical_trial_of_an_age_is_the_mean_of_what_held_out_ones_add(made: Artifact, learned: Learned) -> None:
    scorer, met = Scorer(made), learned.met
    explainer = Explainer(made.builder, made.reference)
    for age in (3.0, 8.0):
        mine = np.flatnonzero(met.snapshots.as_of - met.snapshots.started_at == age * DAY)
        rows = met.rows[evenly(mine, MOST_AVERAGED)]
        relative = explainer.relative(rows, scorer.contributions(rows))
        np.testing.assert_allclose(relative.mean(axis=0), 0, atol=1e-9)
        everybody = explainer.relative(met.rows[mine], scorer.contributions(met.rows[mine]))
        np.testing.assert_allclose(everybody.mean(axis=0), 0, atol=0.05)
        assert np.abs(relative).max() > 0.1


def test_what_a_sentence_leads_with_is_compared_with_the_held_out_leads(made: Artifact, learned: Learned) -> None:
    met = learned.met
    place = [column.name for column in made.builder.columns].index("invites_count_trial")
    rows = met.rows[met.snapshots.as_of - met.snapshots.started_at == 8 * DAY]
    for count in (0, 1, 2, 5):
        less = made.reference.share_below("invites_count_trial", 8.4, count)
        more = made.reference.share_above("invites_count_trial", 8.4, count)
        assert less is not None
        assert more is not None
        assert (less.age, more.age) == (8.0, 8.0)
        assert less.share <= (rows[:, place] < count).mean() + 1e-12
        assert more.share <= (rows[:, place] > count).mean() + 1e-12


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

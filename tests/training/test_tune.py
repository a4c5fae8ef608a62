"""A search that repeats itself, judges as the ladder does, and never ends below where it began."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.dataset import dataset
from features.definition import parse
from features.matrix import FeatureBuilder
from training.demo import simulate
from training.fit import FitSettings, fit
from training.learn import Table
from training.snapshots import snapshots
from training.split import folds, split
from training.tune import BLOCKS, Search, Tuned, tuned
from training.watched import known_until, lessons, young

TEXT = """
product: Corkboard
trial: {length: 14d, closed_by: [trial_cancelled]}
conversion: {event: subscription_started, horizon: 30d}
score_at: [7d]
windows: [trial]
signals:
  - {name: invites, kind: team_growth, events: [invite_accepted], measures: [count], text: a}
  - {name: limits, kind: limit, events: [limit_reached], measures: [count], text: b}
  - {name: tasks, kind: value, events: [task_completed], measures: [count], text: c}
cutoff: {at_least: 0.3}
"""
QUICK = FitSettings(max_rounds=25, patience=5)
SEARCH = Search(4)


@pytest.fixture(scope="module")
def table() -> Table:
    demo = simulate(500)
    data = dataset(demo.events, demo.trials, parse(TEXT))
    rows, builder = snapshots(data, data.leads), FeatureBuilder(data.definition, {})
    return Table(data, builder, rows, split(rows), data.rows(builder, rows.lead, rows.as_of))


@pytest.fixture(scope="module")
def found(table: Table) -> Tuned:
    return tuned(table, QUICK, SEARCH)


def held_out(table: Table, settings: FitSettings) -> float:
    """The held-out log loss of settings, found anew."""
    numbers = np.concatenate([table.parts.fit, young(table.snapshots, table.parts)])
    columns = table.builder.columns
    seen = table.seen(numbers, known_until(table.snapshots, table.parts))
    lesson, places = lessons(seen, 0.0, table.horizon, columns, QUICK.ridge)
    blocks = folds(table.snapshots, numbers[places], BLOCKS, lesson.converted)
    return float(fit(lesson, columns, blocks, settings).curve.min())


def test_the_same_seed_finds_the_same_settings(table: Table, found: Tuned) -> None:
    assert tuned(table, QUICK, SEARCH) == found


def test_another_seed_tries_other_settings(table: Table, found: Tuned) -> None:
    other = tuned(table, replace(QUICK, seed=8), SEARCH)
    assert other.facts["held_out_log_loss_of_defaults"] == pytest.approx(
        found.facts["held_out_log_loss_of_defaults"], abs=0.01
    )
    assert other.facts != found.facts


def test_the_settings_as_they_are_are_the_first_candidate(table: Table, found: Tuned) -> None:
    assert found.facts["held_out_log_loss_of_defaults"] == pytest.approx(held_out(table, QUICK), rel=1e-12)


def test_a_search_of_one_candidate_changes_nothing(table: Table) -> None:
    alone = tuned(table, QUICK, Search(1))
    assert alone.settings == QUICK
    assert alone.facts["candidates"] == alone.facts["found_at"] == 1


def test_what_was_found_is_never_worse_on_the_held_out_blocks(table: Table, found: Tuned) -> None:
    ours, before = found.facts["held_out_log_loss"], found.facts["held_out_log_loss_of_defaults"]
    assert isinstance(ours, float)
    assert isinstance(before, float)
    assert ours <= before
    assert held_out(table, found.settings) == pytest.approx(ours, rel=1e-12)


def test_a_search_gets_away_from_poor_settings(table: Table) -> None:
    """No shrinkage and trees that learn nothing: nearly anything is better."""
    poor = replace(QUICK, ridge=1.0, parameters={**QUICK.parameters, "learning_rate": 0.02, "lambda_l2": 300.0})
    got = tuned(table, poor, SEARCH)
    assert got.facts["found_at"] != 1
    assert held_out(table, got.settings) < held_out(table, poor)


def test_what_was_found_is_what_is_told(found: Tuned) -> None:
    chosen = found.facts["chosen"]
    assert isinstance(chosen, dict)
    settings = {"ridge": found.settings.ridge, **found.settings.parameters}
    assert chosen == {name: settings[name] for name in chosen}
    assert set(chosen) == {
        "ridge", "max_depth", "min_data_in_leaf", "lambda_l2", "feature_fraction", "learning_rate"
    }  # fmt: skip
    assert found.facts["candidates"] == SEARCH.candidates


def test_what_is_not_searched_stays_as_it_was(found: Tuned) -> None:
    kept = {name: value for name, value in found.settings.parameters.items() if name in {"objective", "deterministic"}}
    assert kept == {"objective": "binary", "deterministic": True}
    assert (found.settings.seed, found.settings.max_rounds, found.settings.patience) == (7, 25, 5)
    assert found.settings.parameters["num_leaves"] <= 31
    assert set(found.settings.parameters) == set(QUICK.parameters)


def test_each_candidate_is_announced(table: Table) -> None:
    said: list[str] = []
    tuned(table, replace(QUICK, max_rounds=1), Search(2), said.append)
    assert said == ["candidate 1 of 2", "candidate 2 of 2"]

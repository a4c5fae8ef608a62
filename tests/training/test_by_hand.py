"""Where too little has converted, the definition's own points are a version: they flag what people wrote, and promise nothing."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import pql
from features import rules
from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from serving.scoring.artifact import Artifact, load
from serving.scoring.decision import Cutoff
from serving.scoring.reasons import Explainer
from serving.scoring.scorer import Scorer
from training.by_hand import artifact_by_hand
from training.demo import simulate, write
from training.snapshots import snapshots

CARD = """
points:
  threshold: 45
  card:
    - {signal: pricing_views, at_least: 1, window: 7d, points: 20}
    - {signal: teammates_joined, at_least: 1, points: 30}
    - {trait: company_size, at_least: 50, points: 15}
"""
RULES = """
rules:
  - name: team_with_integration
    all:
      - {signal: teammates_joined, at_least: 1}
      - {signal: integrations, at_least: 1}
"""


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of a small product: hardly anything has converted yet."""
    folder = tmp_path_factory.mktemp("young")
    write(simulate(60, seed=3, days=60), folder)
    return folder


def read(folder: Path, text: str) -> Dataset:
    return dataset(pl.read_parquet(folder / "events.parquet"), pl.read_parquet(folder / "trials.parquet"), parse(text))


@pytest.fixture(scope="module")
def by_card(young: Path, definition_text: str) -> Artifact:
    made = artifact_by_hand(read(young, definition_text + CARD), definition_text + CARD)
    assert made is not None
    return made


def scored_rows(young: Path, artifact: Artifact) -> np.ndarray:
    data = read(young, artifact.definition_text)
    which = np.flatnonzero(data.leads.started_at + 3 * DAY <= data.until)
    return data.rows(artifact.builder, which, data.leads.started_at[which] + 3 * DAY)


def test_who_has_the_points_of_the_threshold_is_flagged_and_nobody_else(young: Path, by_card: Artifact) -> None:
    rows = scored_rows(young, by_card)
    card = by_card.definition.points
    assert card is not None
    reached = rules.points(card, rows, by_card.builder.columns) >= card.threshold
    assert 0 < reached.sum() < len(reached)
    np.testing.assert_array_equal(Scorer(by_card).score(rows).is_pql, reached)


def test_more_points_are_a_higher_probability(young: Path, by_card: Artifact) -> None:
    rows = scored_rows(young, by_card)
    assert by_card.definition.points is not None
    earned = rules.points(by_card.definition.points, rows, by_card.builder.columns)
    found = Scorer(by_card).probabilities(rows)
    order = np.argsort(earned, kind="stable")
    assert (np.diff(found[order])[np.diff(earned[order]) > 0] > 0).all()


def test_on_average_it_says_what_has_converted_so_far(young: Path, by_card: Artifact) -> None:
    data = read(young, by_card.definition_text)
    known = snapshots(data, data.leads)
    expected = (known.converted.sum() + 0.5) / (len(known) + 1)
    assert by_card.reference.quantiles.mean() == pytest.approx(expected, rel=0.05)


def test_it_promises_nothing(by_card: Artifact) -> None:
    decision = by_card.decision
    assert isinstance(decision, Cutoff)
    assert (decision.at_least, decision.leads, decision.binds, by_card.rung) == (None, 0, "hand", "points")


def test_it_is_stored_and_verified_like_any_other(by_card: Artifact, tmp_path: Path) -> None:
    again = load(by_card.save(tmp_path / "artifact"))
    assert again.version == by_card.version
    assert again.decision == by_card.decision
    assert Scorer(again).artifact.rung == "points"


def test_contributions_are_the_points_of_each_line(young: Path, by_card: Artifact) -> None:
    rows = scored_rows(young, by_card)
    scorer = Scorer(by_card)
    np.testing.assert_allclose(scorer.contributions(rows).sum(axis=1), scorer.margins(rows) + by_card.calibration.shift)


def test_points_beyond_a_typical_trial_are_the_reasons(young: Path, by_card: Artifact) -> None:
    rows, scorer = scored_rows(young, by_card), Scorer(by_card)
    explainer = Explainer(by_card.builder, by_card.reference)
    relative = explainer.relative(rows, scorer.contributions(rows))
    assert by_card.reference.ages[0] == 3.0
    np.testing.assert_allclose(relative.mean(axis=0), 0, atol=0.1)
    told = [one for row, pull in zip(rows, relative, strict=True) for one in explainer.reasons(row, pull, {}, 3)]
    assert {one.signal for one in told} <= {"pricing_views", "teammates_joined"}
    assert told


def test_nobody_converted_yet_so_nothing_is_called_usual_among_converters(young: Path, by_card: Artifact) -> None:
    assert set(by_card.reference.converters.values()) == {(0.0,) * len(by_card.reference.ages)}
    explainer = Explainer(by_card.builder, by_card.reference)
    assert all(explainer.missing(row) == [] for row in scored_rows(young, by_card))


def test_rules_without_a_card_count_for_one_point_each(young: Path, definition_text: str) -> None:
    made = artifact_by_hand(read(young, definition_text + RULES), definition_text + RULES)
    assert made is not None
    rows = scored_rows(young, made)
    held = rules.any_flags(made.definition.rules, rows, made.builder.columns)
    assert 0 < held.sum() < len(held)
    np.testing.assert_array_equal(Scorer(made).score(rows).is_pql, held)


def test_without_points_or_rules_there_is_no_such_version(young: Path, definition_text: str) -> None:
    assert artifact_by_hand(read(young, definition_text), definition_text) is None


def test_points_that_nobody_has_make_no_version(young: Path, definition_text: str) -> None:
    text = definition_text + CARD.replace("at_least: 1,", "at_least: 100000,").replace(
        "at_least: 50,", "at_least: 9000000,"
    )
    assert artifact_by_hand(read(young, text), text) is None


def test_training_ends_honestly_and_the_points_can_be_served_by_hand(
    young: Path, definition_text: str, workplace: Path
) -> None:
    (workplace / "pql.yaml").write_text(definition_text + CARD, encoding="utf-8")
    tables = [str(young / "events.parquet"), "--trials", str(young / "trials.parquet")]
    ended = CliRunner().invoke(pql.main, ["train", *tables, "-d", "pql.yaml", "--out", "out"])
    assert ended.exit_code == 3
    assert "`pql promote 1 --force` serves them, without a promise" in ended.output
    assert CliRunner().invoke(pql.main, ["promote", "1"]).exit_code == 3
    assert CliRunner().invoke(pql.main, ["promote", "1", "--force"]).exit_code == 0
    scored = CliRunner().invoke(pql.main, ["score", *tables, "-o", "leads.parquet"])
    assert scored.exit_code == 0, scored.output
    leads = pl.read_parquet("leads.parquet")
    assert leads["model_version"].n_unique() == 1
    assert leads.select(pl.col("reasons").list.len().max()).item() > 0

"""Rules and cards as trees give the points that the rules and cards give, for any row, and survive as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import rules
from features.definition import Definition, parse
from features.matrix import FeatureBuilder
from features.windows import Floats
from serving.scoring.scorer import Scorer
from training.hand_trees import booster, chains_of
from training.ladder import hand_ranking

HEAD = """
product: Tiny
conversion: {horizon: 30d}
score_at: [7d]
windows: [7d, trial]
signals:
  - {name: acts, kind: frequency, events: [act], measures: [count, days_since_last], text: "acted {last}"}
  - {name: invites, kind: team_growth, events: [invite], measures: [count], text: invited}
traits:
  - {name: size, type: number}
  - {name: source, type: category}
cutoff: {at_least: 0.3}
"""
CARD = """
points:
  threshold: 5
  card:
    - {signal: acts, at_least: 3, points: 2}
    - {signal: acts, window: 7d, at_least: 1, below: 4, points: 0.1}
    - {signal: acts, measure: days_since_last, below: 2.5, points: 1.7}
    - {signal: invites, at_least: 0, points: 0.3}
    - {signal: invites, below: 1, points: -4}
    - {trait: size, at_least: 49.5, points: 3}
    - {trait: source, equals: ads, points: -1.25}
    - {trait: source, equals: nowhere, points: 99}
"""
RULES = """
rules:
  - name: busy
    all: [{signal: acts, at_least: 3}, {signal: invites, at_least: 1}]
  - name: fresh team
    all:
      - {signal: acts, measure: days_since_last, below: 2.5}
      - {signal: invites, window: 7d, at_least: 2, below: 5}
      - {trait: size, below: 49.5}
  - {name: found us, all: [{trait: source, equals: ads}]}
  - {name: came from nowhere, all: [{signal: acts, at_least: 1}, {trait: source, equals: nowhere}]}
"""
LEVELS = {"source": ("ads", "friend")}
CARDED, RULED = parse(HEAD + CARD), parse(HEAD + RULES)
COLUMNS = FeatureBuilder(CARDED, LEVELS).columns
NAMES = [column.name for column in COLUMNS]
THRESHOLDS = (0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 5.0, 49.5)


def beside(value: float) -> list[float]:
    return [float(np.nextafter(value, -np.inf)), value, float(np.nextafter(value, np.inf))]


edges = st.sampled_from([one for value in THRESHOLDS for one in beside(value)])
# LightGBM reads what is nearer to 0 than 1e-35 as 0; the doubles beside 0 are no counts.
values = st.one_of(edges, st.just(np.nan), st.floats(-1e6, 1e6), st.sampled_from([np.inf, -np.inf, 1e300]))
rows = st.lists(
    st.lists(values.filter(lambda value: not 0 < abs(value) < 1e-30), min_size=len(NAMES), max_size=len(NAMES)),
    min_size=1, max_size=8,
).map(np.array)  # fmt: skip


def usual(n: int = 300, seed: int = 0) -> Floats:
    """Rows on both sides of every condition, with values that are not known."""
    rng = np.random.default_rng(seed)
    found = rng.choice([np.nan, 0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 5.0, 50.0], (n, len(NAMES)))
    return np.asarray(found, np.float64)


def trees(definition: Definition, scale: float = 1.0) -> lgb.Booster:
    return booster(chains_of(definition, COLUMNS), NAMES, usual(), scale)


CARD_TREES, RULE_TREES = trees(CARDED), trees(RULED)


def by_card(found: Floats) -> Floats:
    assert CARDED.points is not None
    return rules.points(CARDED.points, found, COLUMNS)


def by_rules(found: Floats) -> Floats:
    held = [rules.flags(rule, found, COLUMNS) for rule in RULED.rules]
    return np.asarray(np.sum(held, axis=0), np.float64)


def raw(model: lgb.Booster, found: Floats) -> Floats:
    return np.asarray(model.predict(found, raw_score=True, num_threads=1))


@settings(max_examples=100)
@given(rows)
def test_the_score_of_a_card_is_its_points_for_any_row(found: Floats) -> None:
    np.testing.assert_allclose(raw(CARD_TREES, found), by_card(found), rtol=0, atol=1e-12)


@settings(max_examples=100)
@given(rows)
def test_the_score_of_rules_is_how_many_hold_for_any_row(found: Floats) -> None:
    assert raw(RULE_TREES, found).tolist() == by_rules(found).tolist()


def test_rows_are_met_in_which_each_line_holds_and_does_not() -> None:
    assert CARDED.points is not None
    for item in CARDED.points.card[:-1]:
        assert set(rules.holds(item, usual(), COLUMNS).tolist()) == {True, False}
    assert set(by_rules(usual()).tolist()) >= {0.0, 1.0, 2.0}
    for rule in RULED.rules[:-1]:
        assert set(rules.flags(rule, usual(2_000), COLUMNS).tolist()) == {True, False}


@pytest.mark.parametrize("value", [one for value in THRESHOLDS if value for one in beside(value)])
def test_exactly_at_a_threshold_and_beside_it_trees_say_what_the_condition_says(value: float) -> None:
    for name in NAMES:
        row = np.zeros((1, len(NAMES)))
        row[0, NAMES.index(name)] = value
        assert raw(CARD_TREES, row) == pytest.approx(by_card(row), abs=1e-12)
        assert raw(RULE_TREES, row).tolist() == by_rules(row).tolist()


def test_what_is_not_known_meets_no_line() -> None:
    assert raw(CARD_TREES, np.full((1, len(NAMES)), np.nan)).tolist() == [0.0]
    assert raw(RULE_TREES, np.full((1, len(NAMES)), np.nan)).tolist() == [0.0]


def test_at_least_0_holds_for_all_that_is_known() -> None:
    row = np.zeros((1, len(NAMES)))
    assert CARDED.points is not None
    assert rules.holds(CARDED.points.card[3], row, COLUMNS).all()
    assert raw(CARD_TREES, row) == pytest.approx(by_card(row), abs=1e-12)


def test_lines_about_a_category_without_a_column_are_left_out() -> None:
    assert CARDED.points is not None
    assert len(chains_of(CARDED, COLUMNS)) == len(CARDED.points.card) - 1
    assert len(chains_of(RULED, COLUMNS)) == len(RULED.rules) - 1


def test_a_definition_without_rules_and_points_has_no_chains() -> None:
    assert chains_of(parse(HEAD), COLUMNS) == []


def test_a_card_goes_before_rules() -> None:
    assert chains_of(parse(HEAD + CARD + RULES), COLUMNS) == chains_of(CARDED, COLUMNS)


def test_the_scale_multiplies_the_points() -> None:
    np.testing.assert_allclose(raw(trees(CARDED, 0.25), usual()), 0.25 * by_card(usual()), atol=1e-12)


@settings(max_examples=25)
@given(rows)
def test_contributions_add_up_to_the_points(found: Floats) -> None:
    for model, points in ((CARD_TREES, by_card), (RULE_TREES, by_rules)):
        contributions = np.asarray(model.predict(found, pred_contrib=True, num_threads=1))
        np.testing.assert_allclose(contributions.sum(axis=1), points(found), atol=1e-9)


def test_only_columns_that_a_line_is_about_contribute() -> None:
    contributions = np.asarray(RULE_TREES.predict(usual(), pred_contrib=True, num_threads=1))
    told = {NAMES[place] for place in np.flatnonzero(np.abs(contributions[:, :-1]).max(axis=0) > 0)}
    places = {rules.place_of(condition, COLUMNS) for rule in RULED.rules[:-1] for condition in rule.all}
    assert told == {NAMES[place] for place in places if place is not None}


def test_the_base_value_is_about_the_mean_of_the_leads_compared_with() -> None:
    """One lead more on each side of a split: with many leads that hardly counts."""
    found = usual(20_000)
    model = booster(chains_of(RULED, COLUMNS), NAMES, found, 1.0)
    base = np.asarray(model.predict(found[:1], pred_contrib=True))[0, -1]
    assert base == pytest.approx(by_rules(found).mean(), abs=0.002)


def test_contributions_are_finite_where_nobody_meets_a_line() -> None:
    model = booster(chains_of(RULED, COLUMNS), NAMES, np.full((5, len(NAMES)), np.nan), 1.0)
    assert np.isfinite(np.asarray(model.predict(usual(), pred_contrib=True))).all()


@pytest.mark.parametrize("model", [CARD_TREES, RULE_TREES], ids=["card", "rules"])
def test_the_text_survives_a_round_trip(model: lgb.Booster) -> None:
    again = lgb.Booster(model_str=model.model_to_string())
    assert again.model_to_string() == model.model_to_string()
    assert raw(again, usual()).tobytes() == raw(model, usual()).tobytes()
    for name in ("num_trees", "num_feature"):
        assert getattr(again, name)() == getattr(model, name)()


@pytest.mark.parametrize("text", [HEAD + CARD, HEAD + RULES], ids=["card", "rules"])
def test_points_are_served_and_explained_like_what_was_learned(
    made_scorer: Callable[..., Scorer], tmp_path: Path, text: str
) -> None:
    made, found = made_scorer(text, LEVELS).artifact, usual()
    ranking = hand_ranking(made.definition, COLUMNS, found)
    assert ranking is not None
    probabilities = made.calibration.probabilities(ranking.margins(found))
    version = replace(
        made, booster_text=ranking.booster.model_to_string(), scorecard=ranking.scorecard, rung="points",
        examples=found[:8], expected=probabilities[:8],
    )  # fmt: skip
    scorer = Scorer.from_folder(version.save(tmp_path / "points"))
    assert scorer.artifact.rung == "points"
    np.testing.assert_allclose(scorer.score(found).probabilities, probabilities, rtol=1e-14)
    points = by_card(found) if "points:" in text else by_rules(found)
    order = np.argsort(points, kind="stable")
    gains = np.diff(points[order])
    assert (np.diff(probabilities[order])[gains > 1e-9] > 0).all()
    log_odds = np.log(probabilities / (1 - probabilities))
    np.testing.assert_allclose(scorer.contributions(found).sum(axis=1), log_odds, atol=1e-9)


def test_margins_of_points_are_in_standard_deviations() -> None:
    found = usual()
    ranking = hand_ranking(CARDED, COLUMNS, found)
    assert ranking is not None
    np.testing.assert_allclose(ranking.margins(found), by_card(found) / by_card(found).std(), atol=1e-12)


def test_points_by_which_nobody_differs_are_no_ranking() -> None:
    assert hand_ranking(CARDED, COLUMNS, np.full((9, len(NAMES)), np.nan)) is None
    assert hand_ranking(parse(HEAD), COLUMNS, usual()) is None

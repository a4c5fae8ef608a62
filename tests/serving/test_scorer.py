"""What every scorer keeps to, whatever it learned: the checks run on a trained version and on one made of chance numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.durations import DAY
from features.errors import ArtifactError
from features.leads import open_leads
from features.segments import levels_of_trait
from features.windows import Floats
from serving.scoring.contributions import Contributions
from serving.scoring.decision import Cutoff, NoCutoff, Segmented
from serving.scoring.scorecard import signed_log
from serving.scoring.scorer import Scorer

CUTOFF = Cutoff(0.4, 0.3, 0.9, 900, 300, 0.31, "a", "b")


@pytest.fixture(params=["trained", "made"])
def any_scorer(request: pytest.FixtureRequest) -> Scorer:
    """Each check runs on both."""
    if request.param == "trained":
        trained: Scorer = request.getfixturevalue("scorer")
        return trained
    made: Callable[..., Scorer] = request.getfixturevalue("made_scorer")
    levels = request.getfixturevalue("scorer").artifact.levels
    return made(request.getfixturevalue("definition_text"), levels)


def answers_of(scorer: Scorer, rows: Floats) -> Floats:
    """Return all that is computed per row, side by side."""
    scored = scorer.score(rows)
    told = [scored.probabilities, scored.percentiles, scored.is_pql, scored.is_nurture, scored.within]
    return np.column_stack([*told, scorer.margins(rows), scorer.contributions(rows)])


def one_row_scores_as_among_many(scorer: Scorer, rows: Floats) -> None:
    together = answers_of(scorer, rows)
    for i in range(0, len(rows), 7):
        np.testing.assert_array_equal(answers_of(scorer, rows[i : i + 1]), together[i : i + 1])


def chunks_change_nothing(scorer: Scorer, rows: Floats) -> None:
    together = answers_of(scorer, rows)
    for size in (2, 7, 64):
        parts = [answers_of(scorer, rows[start : start + size]) for start in range(0, len(rows), size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


def order_changes_nothing(scorer: Scorer, rows: Floats) -> None:
    order = np.random.default_rng(3).permutation(len(rows))
    np.testing.assert_array_equal(answers_of(scorer, rows[order]), answers_of(scorer, rows)[order])


def neighbours_change_nothing(scorer: Scorer, rows: Floats) -> None:
    strange = rows.copy()
    strange[1::2] = 1e300
    np.testing.assert_array_equal(answers_of(scorer, strange)[::2], answers_of(scorer, rows)[::2])


def memory_layout_changes_nothing(scorer: Scorer, rows: Floats) -> None:
    turned = np.asfortranarray(rows)
    np.testing.assert_allclose(answers_of(scorer, turned), answers_of(scorer, rows), rtol=0, atol=1e-12)


def scoring_leaves_its_rows_alone(scorer: Scorer, rows: Floats) -> None:
    before = rows.copy()
    first, second = answers_of(scorer, rows), answers_of(scorer, rows)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(rows, before)


def contributions_add_up_to_the_calibrated_log_odds(scorer: Scorer, rows: Floats) -> None:
    calibration = scorer.artifact.calibration
    log_odds = calibration.slope * scorer.margins(rows) + calibration.shift
    np.testing.assert_allclose(scorer.contributions(rows).sum(axis=1), log_odds, rtol=0, atol=1e-9)
    probabilities = scorer.probabilities(rows)
    np.testing.assert_allclose(np.log(probabilities / (1 - probabilities)), log_odds, rtol=0, atol=1e-9)


def probabilities_rank_as_margins_do(scorer: Scorer, rows: Floats) -> None:
    margins, probabilities = scorer.margins(rows), scorer.probabilities(rows)
    order = np.argsort(margins, kind="stable")
    rises = np.diff(margins[order]) > 1e-12
    assert rises.sum() > 20
    assert (np.diff(probabilities[order])[rises] > 0).all()


def flags_and_percentiles_follow_from_probabilities(scorer: Scorer, rows: Floats) -> None:
    scored = scorer.score(rows)
    cutoff = scorer.artifact.decision.probability  # type: ignore[union-attr]
    # Before the first age of learning, and after the last day that was looked at, nothing is promised.
    covered = scorer.artifact.course.covers(rows[:, 0])
    assert {True, False} == set(covered.tolist())
    assert scored.is_pql.tolist() == ((scored.probabilities >= cutoff) & covered).tolist()
    known = scorer.artifact.reference.quantiles
    share = [100 * np.mean(known < probability) for probability in scored.probabilities]
    np.testing.assert_allclose(scored.percentiles, share, rtol=0, atol=1e-9)


def probabilities_ascend_with_time_and_hold_the_score(scorer: Scorer, rows: Floats) -> None:
    scored, course = scorer.score(rows), scorer.artifact.course
    assert list(course.days) == sorted(set(course.days))
    assert scored.within.shape == (len(rows), len(course.days))
    assert (np.diff(scored.within, axis=1) >= 0).all()
    horizon = scorer.builder.definition.conversion.horizon / DAY
    assert scored.within[:, course.days.index(horizon)].tobytes() == scored.probabilities.tobytes()


def nobody_is_a_pql_and_worth_nurturing_at_once(scorer: Scorer, rows: Floats) -> None:
    scored, later = scorer.score(rows), scorer.artifact.course.later
    assert not (scored.is_pql & scored.is_nurture).any()
    assert later is not None
    likely = later.decision.flags(scored.within[:, -1]) & scorer.artifact.course.covers(rows[:, 0])
    assert scored.is_nurture.tolist() == (likely & ~scored.is_pql).tolist()


def no_rows_get_no_scores(scorer: Scorer, rows: Floats) -> None:
    none = scorer.score(rows[:0])
    assert none.probabilities.shape == none.percentiles.shape == none.is_pql.shape == none.is_nurture.shape == (0,)
    assert none.within.shape == (0, len(scorer.artifact.course.days))
    assert scorer.contributions(rows[:0]).shape == (0, rows.shape[1] + 1)


CHECKS = [
    one_row_scores_as_among_many,
    chunks_change_nothing,
    order_changes_nothing,
    neighbours_change_nothing,
    memory_layout_changes_nothing,
    scoring_leaves_its_rows_alone,
    contributions_add_up_to_the_calibrated_log_odds,
    probabilities_rank_as_margins_do,
    flags_and_percentiles_follow_from_probabilities,
    probabilities_ascend_with_time_and_hold_the_score,
    nobody_is_a_pql_and_worth_nurturing_at_once,
    no_rows_get_no_scores,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_scorer(check: Callable[[Scorer, Floats], None], any_scorer: Scorer, rows: Floats) -> None:
    check(any_scorer, rows[:150])


def test_saving_and_loading_changes_no_answer(any_scorer: Scorer, rows: Floats, tmp_path: Path) -> None:
    loaded = Scorer.from_folder(any_scorer.artifact.save(tmp_path / "saved"))
    np.testing.assert_array_equal(answers_of(loaded, rows), answers_of(any_scorer, rows))


def extreme_rows(width: int) -> Iterator[tuple[str, Floats]]:
    for value in (0.0, 1e-300, 1e300, -1e300, 1.7e308, np.inf, -np.inf, np.nan):
        yield str(value), np.full((1, width), value)
    alternating = np.full((1, width), np.inf)
    alternating[0, ::2] = -np.inf
    yield "both infinities", alternating


def test_extreme_rows_get_probabilities_strictly_between_0_and_1(any_scorer: Scorer) -> None:
    width = len(any_scorer.builder.columns)
    for name, row in extreme_rows(width):
        probability = any_scorer.probabilities(row)[0]
        assert 0.0 < probability < 1.0, name
        assert np.isfinite(any_scorer.contributions(row)).all(), name


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_numbers_at_all_get_a_probability_and_finite_contributions(any_scorer: Scorer, data: st.DataObject) -> None:
    width = len(any_scorer.builder.columns)
    few = data.draw(st.lists(st.floats(width=64), min_size=1, max_size=12))
    row = np.resize(np.array(few), (1, width))
    assert 0.0 < any_scorer.probabilities(row)[0] < 1.0
    assert np.isfinite(any_scorer.contributions(row)).all()
    within = any_scorer.score(row).within[0]
    assert (np.diff(within) >= 0).all()
    assert 0.0 < within[0] <= within[-1] <= 1.0


def test_the_first_column_is_the_age_by_which_the_course_goes(
    scorer: Scorer, history: Dataset, moments: list[int]
) -> None:
    which = open_leads(history.leads, moments[2])
    rows = history.rows(scorer.builder, which, np.full(len(which), moments[2]))
    ages = (moments[2] - history.leads.started_at[which]) / DAY
    assert len(set(np.searchsorted(scorer.artifact.course.ages, ages, side="right"))) == 4
    np.testing.assert_allclose(rows[:, 0], ages, atol=1e-9)


def test_segments_of_a_row_decide_which_cutoff_counts(
    made_scorer: Callable[..., Scorer], scorer: Scorer, rows: Floats
) -> None:
    text = scorer.artifact.definition_text.replace("  at_least: 0.3", "  at_least: 0.3\n  segments: email")
    made = made_scorer(text, scorer.artifact.levels)
    everybody, nobody = (replace(CUTOFF, probability=probability) for probability in (1e-12, 1.0))
    names = levels_of_trait(made.builder.definition, made.builder.levels, "email")
    each = tuple(everybody if number == 0 else None for number in range(len(names)))
    segmented = Scorer(replace(made.artifact, decision=Segmented("email", names, each, nobody)))
    numbers = segmented.segments(rows)
    assert numbers is not None
    assert set(numbers.tolist()) >= {0, 1}
    covered = segmented.artifact.course.covers(rows[:, 0])
    assert segmented.score(rows).is_pql.tolist() == ((numbers == 0) & covered).tolist()


@pytest.mark.parametrize(
    ("age", "called"), [(2.999, False), (3.0, True), (13.999, True), (14.0, False), (50.0, False), (np.nan, False)]
)
def test_nobody_is_a_pql_before_the_first_age_of_learning_or_past_the_trial(
    scorer: Scorer, age: float, called: bool
) -> None:
    everybody = Scorer(replace(scorer.artifact, decision=replace(CUTOFF, probability=1e-12)))
    row = np.zeros((1, len(scorer.builder.columns)))
    row[0, 0] = age
    assert everybody.artifact.course.ages[0] == 3.0
    assert everybody.score(row).is_pql.tolist() == [called]


SIMPLE = """
product: P
conversion: {event: paid, horizon: 30d}
score_at: [3d, 7d]
windows: [7d]
signals: [{name: visits, kind: value, events: [visit], text: "{count:visit|visits} {window}"}]
cutoff: {policy: precision, at_least: 0.3}
"""


@pytest.mark.parametrize(("age", "worth_it"), [(2.999, False), (3.0, True), (14.0, False)])
def test_nor_is_anybody_worth_nurturing_there(made_scorer: Callable[..., Scorer], age: float, worth_it: bool) -> None:
    made = made_scorer(SIMPLE)
    course = made.artifact.course
    assert course.later is not None
    patient = replace(course, until=14.0, later=replace(course.later, decision=replace(CUTOFF, probability=1e-12)))
    nobody = NoCutoff(0.3, 0.9, "nobody")
    row = np.zeros((1, len(made.builder.columns)))
    row[0, 0] = age
    scored = Scorer(replace(made.artifact, decision=nobody, course=patient)).score(row)
    assert (scored.is_pql.tolist(), scored.is_nurture.tolist()) == ([False], [worth_it])


def test_without_segments_a_row_has_none(scorer: Scorer, rows: Floats) -> None:
    assert scorer.segments(rows) is None


def test_more_of_what_can_only_help_never_lowers_the_score(scorer: Scorer, rows: Floats) -> None:
    rng = np.random.default_rng(11)
    some = rows[:: max(1, len(rows) // 80)]
    before = scorer.margins(some)
    directed = [(place, column) for place, column in enumerate(scorer.builder.columns) if column.direction]
    assert len(directed) > 30
    for place, column in directed:
        more = some.copy()
        more[:, place] += rng.exponential(3.0, len(some))
        change = column.direction * (scorer.margins(more) - before)
        assert (change[~np.isnan(some[:, place])] >= -1e-12).all(), column.name


@pytest.fixture(scope="module")
def shap() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap as found
    return found


def test_the_trees_part_equals_what_the_shap_package_computes(any_scorer: Scorer, rows: Floats, shap: Any) -> None:
    booster = any_scorer.artifact.booster
    some = rows[:200].copy()
    # LightGBM reads NaN as 0 where it saw none in training, which shap's own walk through the trees does not know.
    for place in range(some.shape[1]):
        if place not in columns_with_missing(booster.dump_model()):
            some[np.isnan(some[:, place]), place] = 0.0
    explainer = shap.TreeExplainer(booster)
    # As a LightGBM model it would only ask LightGBM; so it walks the trees itself.
    explainer.model.model_type = "internal"
    expected = np.asarray(explainer.shap_values(some))
    artifact = any_scorer.artifact
    found = any_scorer.contributions(some)
    trees = found[:, :-1] / artifact.calibration.slope - artifact.scorecard.contributions(some)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(trees, expected, rtol=0, atol=1e-9)
    base = (
        artifact.calibration.slope * (artifact.scorecard.base + explainer.expected_value[0])
        + artifact.calibration.shift
    )
    np.testing.assert_allclose(found[:, -1], base, rtol=0, atol=1e-9)


def columns_with_missing(model: dict[str, Any]) -> set[int]:
    found: set[int] = set()

    def walk(node: dict[str, Any]) -> None:
        if "split_feature" in node:
            if node["missing_type"] == "NaN":
                found.add(node["split_feature"])
            walk(node["left_child"])
            walk(node["right_child"])

    for tree in model["tree_info"]:
        walk(tree["tree_structure"])
    return found


def test_the_scorecards_part_equals_what_the_shap_package_computes(any_scorer: Scorer, rows: Floats, shap: Any) -> None:
    card = any_scorer.artifact.scorecard
    slopes = card.points / card.scale
    average = shap.maskers.Independent(np.vstack([card.center, card.center]))
    explainer = shap.LinearExplainer((slopes, card.base - slopes @ card.center), average)
    expected = explainer.shap_values(signed_log(rows, card.absent))
    np.testing.assert_allclose(card.contributions(rows), expected, rtol=0, atol=1e-9)
    assert explainer.expected_value == pytest.approx(card.base, abs=1e-9)


def test_threads_that_share_a_scorer_get_the_same_answers(any_scorer: Scorer, rows: Floats) -> None:
    alone = answers_of(any_scorer, rows[:60])
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(lambda _: answers_of(any_scorer, rows[:60]), range(12)):
            np.testing.assert_array_equal(together, alone)


def test_a_version_that_cannot_be_taken_apart_is_not_served(
    any_scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = Contributions.__call__
    assert Scorer(any_scorer.artifact).artifact is any_scorer.artifact

    def wrong(self: Contributions, rows: Floats) -> Floats:
        return exact(self, rows) + 1e-6

    monkeypatch.setattr(Contributions, "__call__", wrong)
    with pytest.raises(ArtifactError, match=r"contributions: a stored example must score"):
        Scorer(any_scorer.artifact)


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_how_many_rows_are_scored_together_changes_nothing(
    scorer: Scorer, rows: Floats, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    expected = scorer.score(rows[:50])
    monkeypatch.setattr("serving.scoring.scorer.SCORED_AT_ONCE", at_once)
    found = scorer.score(rows[:50])
    for name in ("rows", "probabilities", "percentiles", "is_pql", "is_nurture", "within"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_what_the_scorecard_adds_is_kept_for_the_explanation_where_rows_are_few(
    scorer: Scorer, rows: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = rows[:20]
    linear = scorer.score(few).linear
    assert linear is not None
    np.testing.assert_array_equal(linear, scorer.artifact.scorecard.contributions(few))
    np.testing.assert_array_equal(scorer.contributions(few, linear), scorer.contributions(few))
    monkeypatch.setattr("serving.scoring.scorer.SCORED_AT_ONCE", 19)
    assert scorer.score(few).linear is None

"""A rung is taken only where it wins on held-out leads, and trees only with conversions enough to trust them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from features.definition import Definition, parse
from features.matrix import FeatureBuilder
from features.windows import Floats, Ints
from training.calibrate import LEARNING, SAME, updated
from training.fit import FitSettings, Fitted, Lessons, Ranking, fit, log_loss
from training.ladder import HUNDREDS, Chosen, Step, _difference, climb

TEXT = """
product: Tiny
conversion: {horizon: 30d}
score_at: [7d]
windows: [7d]
signals:
  - {name: a, kind: frequency, events: [a], measures: [count], direction: free, text: a}
  - {name: b, kind: frequency, events: [b], measures: [count], direction: free, text: b}
  - {name: c, kind: frequency, events: [c], measures: [count], direction: free, text: c}
cutoff: {at_least: 0.3}
"""
CARD = """
points:
  threshold: 2
  card:
    - {signal: a, at_least: 2, points: 2}
    - {signal: b, at_least: 4, points: 1}
    - {signal: c, below: 1, points: -1}
"""
PLAIN, CARDED = parse(TEXT), parse(TEXT + CARD)
COLUMNS = FeatureBuilder(PLAIN, {}).columns
PLACE = {column.owner: place for place, column in enumerate(COLUMNS) if column.owner in "abc"}
QUICK = FitSettings(max_rounds=150, patience=20)
Candidates = tuple[Floats, Floats]
"""Unseen margins of the scorecard and of the trees."""


def blocks(n: int, k: int = 5) -> list[tuple[Ints, Ints]]:
    block = np.arange(n) * k // n
    return [(np.flatnonzero(block != b), np.flatnonzero(block == b)) for b in range(k)]


def drawn(odds: Floats, rows: Floats, rng: np.random.Generator) -> Lessons:
    converted = (rng.random(len(odds)) < expit(odds)).astype(np.int64)
    return Lessons.whole(rows, converted, np.ones(len(odds)))


def counts(n: int, rng: np.random.Generator) -> Floats:
    rows = rng.poisson(rng.gamma(0.8, 3.0, (n, len(COLUMNS)))).astype(np.float64)
    rows[:, 0] = 7.0
    return rows


def own(lessons: Lessons) -> tuple[Ints, Ints]:
    """Every lesson of a lead and an account of its own."""
    return np.arange(len(lessons)), np.arange(len(lessons))


def climbed(lessons: Lessons, definition: Definition = PLAIN) -> Chosen:
    fitted = fit(lessons, COLUMNS, blocks(len(lessons)), QUICK)
    return climb(lessons, *own(lessons), fitted, definition, COLUMNS)


@pytest.fixture(scope="module")
def rankings() -> tuple[Ranking, Ranking]:
    """Of a scorecard and of trees; what they say does not matter where margins are given."""
    rng = np.random.default_rng(0)
    rows = counts(300, rng)
    fitted = fit(drawn(rows[:, 1] - 3, rows, rng), COLUMNS, blocks(300, 2), replace(QUICK, max_rounds=2))
    return fitted.scorecard, fitted.both


def with_margins(rankings: tuple[Ranking, Ranking], candidates: Candidates) -> Fitted:
    return Fitted(
        scorecard=rankings[0], both=rankings[1], scorecard_unseen=candidates[0], both_unseen=candidates[1],
        rounds=1, curve=np.zeros(2), folds=(),
    )  # fmt: skip


@dataclass(frozen=True)
class Noisy:
    """Lessons, their true log-odds, and nothing in the rows."""

    lessons: Lessons
    odds: Floats


def noisy(seed: int, n: int = 600, base: float = -1.5) -> Noisy:
    rng = np.random.default_rng(seed)
    odds = rng.normal(base, 1.2, n)
    return Noisy(drawn(odds, counts(n, rng), rng), odds)


# --- what is taken ----------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 5.0), st.floats(-3, 3))
def test_an_upside_down_ranking_is_never_taken(
    rankings: tuple[Ranking, Ranking], seed: int, steepness: float, shift: float
) -> None:
    world = noisy(seed)
    wrong = shift - steepness * world.odds
    found = climb(world.lessons, *own(world.lessons), with_margins(rankings, (wrong, wrong)), PLAIN, COLUMNS)
    assert not any(step.taken for step in found.steps)
    assert found.refusal is not None
    assert found.rung == "scorecard"


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3.0), st.floats(-3, 3))
def test_a_true_ranking_is_taken_however_steep_and_shifted_it_is(
    rankings: tuple[Ranking, Ranking], seed: int, steepness: float, shift: float
) -> None:
    """Each rung is judged after the best sigmoid for it: only the order and the shape count."""
    world = noisy(seed)
    found = climb(
        world.lessons, *own(world.lessons), with_margins(rankings, (shift + steepness * world.odds, -world.odds)),
        PLAIN, COLUMNS,
    )  # fmt: skip
    assert found.rung == "scorecard"
    assert found.refusal is None
    assert [(step.rung, step.against, step.taken) for step in found.steps] == [
        ("scorecard", "base_rate", True), ("lightgbm", "scorecard", False)
    ]  # fmt: skip
    assert found.ranking is rankings[0]


def test_where_nothing_beats_the_base_rate_there_is_a_refusal_that_says_so(
    rankings: tuple[Ranking, Ranking],
) -> None:
    world = noisy(1)
    candidates = -world.odds, -2 * world.odds
    found = climb(world.lessons, *own(world.lessons), with_margins(rankings, candidates), PLAIN, COLUMNS)
    assert found.refusal is not None
    assert found.refusal.exit_code == 3
    assert str(found.refusal).startswith("no signal: the scorecard has a log loss 0.0000 higher than")
    assert "giving everybody the base rate" in str(found.refusal)
    assert str(found.refusal).endswith("Add signals that precede conversion, or wait for more conversions.")
    assert found.ranking is rankings[0]
    assert found.unseen is candidates[0]


def test_each_rung_is_compared_with_the_one_in_use_below_it(rankings: tuple[Ranking, Ranking]) -> None:
    world = noisy(2)
    found = climb(
        world.lessons, *own(world.lessons), with_margins(rankings, (-world.odds, world.odds)), CARDED, COLUMNS
    )
    assert [step.rung for step in found.steps] == ["points", "scorecard", "lightgbm"]
    for before, after in zip(found.steps, found.steps[1:], strict=False):
        assert after.against == (before.rung if before.taken else before.against)
    assert (found.rung, found.ranking) == ("lightgbm", rankings[1])


def test_the_difference_is_that_of_log_losses_after_the_best_sigmoid(rankings: tuple[Ranking, Ranking]) -> None:
    world = noisy(3)
    lessons = world.lessons
    better, worse = world.odds, world.odds + np.random.default_rng(0).normal(0, 2, len(lessons))
    found = climb(lessons, *own(lessons), with_margins(rankings, (worse, better)), PLAIN, COLUMNS)
    losses = []
    for margins in (worse, better):
        sigmoid = updated(SAME, margins, lessons.converted, lessons.weight, LEARNING)
        losses.append(log_loss(lessons.converted, sigmoid.log_odds(margins), lessons.weight))
    assert found.steps[1].difference.value == pytest.approx(losses[1] - losses[0], abs=1e-12)
    assert found.steps[1].taken


# --- conversions enough for trees -------------------------------------------------------------


def with_conversions(won: int, n: int = 900) -> Noisy:
    """So many leads convert, those of the highest log-odds among some chance; every lead is seen twice."""
    rng = np.random.default_rng(4)
    odds = rng.normal(-1.5, 1.5, n)
    first = np.argsort(-(odds + rng.logistic(0, 1, n)))[:won]
    converted = np.isin(np.arange(n), first).astype(np.int64)
    twice = np.repeat(np.arange(n), 2)
    return Noisy(Lessons.whole(counts(2 * n, rng), converted[twice], np.full(2 * n, 0.5)), odds[twice])


@pytest.mark.parametrize(("won", "rung"), [(HUNDREDS - 1, "scorecard"), (HUNDREDS, "lightgbm")])
def test_trees_are_not_taken_below_a_hundred_converting_leads(
    rankings: tuple[Ranking, Ranking], won: int, rung: str
) -> None:
    """However lucky they look; a lead that was looked at twice converts once."""
    world = with_conversions(won)
    leads = np.arange(len(world.lessons)) // 2
    weak = world.odds + np.random.default_rng(1).normal(0, 3, len(leads))
    found = climb(world.lessons, leads, leads, with_margins(rankings, (weak, world.odds)), PLAIN, COLUMNS)
    assert found.steps[1].difference.high < 0
    assert found.rung == rung
    assert ("It takes 100 leads that convert to trust it, and 99 did." in found.steps[1].why) == (won < HUNDREDS)


# --- whose lessons judge ----------------------------------------------------------------------


def test_trials_in_the_middle_of_their_horizon_do_not_judge(rankings: tuple[Ranking, Ranking]) -> None:
    """Their lessons say something else; what the margins are on them changes no step."""
    world = noisy(5)
    shift = np.where(np.arange(len(world.odds)) < 400, 0.0, -1.5)
    lessons = replace(world.lessons, shift=shift)
    garbled = np.where(shift == 0, world.odds, -9 * world.odds)
    candidates = [(one, 0.5 * one) for one in (world.odds, garbled)]
    found = [climb(lessons, *own(lessons), with_margins(rankings, one), PLAIN, COLUMNS) for one in candidates]
    assert found[0].steps == found[1].steps
    alone = world.lessons.take(np.arange(400))
    cut = world.odds[:400], 0.5 * world.odds[:400]
    assert climb(alone, *own(alone), with_margins(rankings, cut), PLAIN, COLUMNS).steps == found[0].steps


def test_what_was_unseen_is_returned_for_all_lessons(rankings: tuple[Ranking, Ranking]) -> None:
    world = noisy(5)
    lessons = replace(world.lessons, shift=np.where(np.arange(len(world.odds)) < 400, 0.0, -1.5))
    found = climb(lessons, *own(lessons), with_margins(rankings, (world.odds, -world.odds)), PLAIN, COLUMNS)
    assert found.unseen.tolist() == world.odds.tolist()


# --- the interval -----------------------------------------------------------------------------


def test_the_interval_covers_the_true_difference_in_about_95_of_100_clustered_draws() -> None:
    """Rows of an account share most of what happens to them, and accounts differ in size."""
    rng = np.random.default_rng(6)
    covered = too_narrow = 0
    for _ in range(600):
        accounts = np.repeat(np.arange(120), rng.integers(1, 9, 120))
        differences = 0.02 + rng.normal(0, 0.3, 120)[accounts] + rng.normal(0, 0.1, len(accounts))
        weight = rng.uniform(0.5, 1, len(accounts))
        covered += 0.02 in _difference(differences, weight, accounts)
        too_narrow += 0.02 in _difference(differences, weight, np.arange(len(accounts)))
    assert 0.925 < covered / 600 < 0.97
    assert too_narrow / 600 < 0.8


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0.1, 1), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_interval_lies_around_the_weighted_mean(rows: list[tuple[float, float, int]]) -> None:
    differences, weight, accounts = (np.array(part) for part in zip(*rows, strict=True))
    found = _difference(differences, weight, accounts)
    assert found.value == pytest.approx(np.average(differences, weights=weight))
    assert found.high - found.value == pytest.approx(found.value - found.low)
    order = np.random.default_rng(0).permutation(len(rows))
    again = _difference(differences[order], weight[order], 7 - accounts[order])
    assert (again.value, again.low) == pytest.approx((found.value, found.low), abs=1e-12)


# --- worlds -----------------------------------------------------------------------------------


def test_where_only_an_interaction_tells_trees_are_taken() -> None:
    rng = np.random.default_rng(7)
    rows = counts(2_000, rng)
    a, b = (rows[:, PLACE[name]] >= 2 for name in "ab")
    lessons = drawn(np.where(a != b, 0.5, -3.0), rows, rng)
    found = climbed(lessons)
    assert found.rung == "lightgbm"
    assert found.steps[-1].difference.high < -0.05


@pytest.mark.parametrize("seed", range(3))
def test_where_a_line_says_all_the_scorecard_stays_or_trees_are_as_good(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = counts(2_500, rng)
    logs = np.log1p(rows)
    odds = 0.8 * logs[:, PLACE["a"]] - 0.6 * logs[:, PLACE["b"]] - 1.5
    found = climbed(drawn(odds, rows, rng))
    assert found.steps[0].taken
    assert found.steps[0].difference.high < 0
    assert found.rung == "scorecard" or abs(found.steps[-1].difference.value) < 0.002


def carded(seed: int, n: int) -> Lessons:
    """Leads whose log-odds are the card's points."""
    rng = np.random.default_rng(seed)
    rows = counts(n, rng)
    a, b, c = (rows[:, PLACE[name]] for name in "abc")
    points = 2.0 * (a >= 2) + 1.0 * (b >= 4) - 1.0 * (c < 1)
    return drawn(1.2 * points - 3.0, rows, rng)


def test_a_card_as_good_as_can_be_is_taken_where_data_is_little() -> None:
    rungs = [climbed(carded(seed, 200), CARDED).rung for seed in range(6)]
    assert rungs.count("points") >= 5


def test_its_ranking_gives_the_points() -> None:
    lessons = carded(0, 200)
    found = climbed(lessons, CARDED)
    assert found.rung == "points"
    assert found.steps[0].difference.high < 0
    assert len(np.unique(found.unseen)) <= 8
    assert found.ranking.margins(lessons.rows).tobytes() == found.unseen.tobytes()


def test_a_card_that_says_the_opposite_is_not_taken() -> None:
    text = TEXT + "\npoints: {threshold: 1, card: [{signal: a, at_least: 2, points: -2}]}\n"
    found = climbed(carded(0, 400), parse(text))
    assert (found.steps[0].rung, found.steps[0].taken) == ("points", False)
    assert found.rung != "points"


def test_without_a_card_or_rules_there_is_no_rung_of_points() -> None:
    assert [step.rung for step in climbed(carded(0, 200)).steps] == ["scorecard", "lightgbm"]


def said(step: Step) -> tuple[str, ...]:
    return tuple(word for word in ("lower", "higher") if word in step.why)


def test_each_step_says_what_was_found_with_its_interval() -> None:
    for step in climbed(carded(1, 400), CARDED).steps:
        assert said(step) == (("lower",) if step.difference.value < 0 else ("higher",))
        assert f"{abs(step.difference.value):.4f}" in step.why
        assert f"(95% interval {step.difference.low:+.4f} to {step.difference.high:+.4f})" in step.why

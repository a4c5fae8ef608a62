"""Slow burners: told apart where enough of them have been seen, by what tells them apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from features.columns import Column
from features.definition import Measure
from features.phrases import Phrase
from features.windows import Floats, Ints
from serving.scoring.course import Course, Later, Stage
from serving.scoring.decision import NoCutoff
from training.calibrate import calibrate
from training.fit import Lessons, fit_scorecard
from training.later import FEWEST, Slow, fit_later
from training.watched import Watched, stage_of

HORIZON, DAYS = 14.0, (30.0, 90.0)
COLUMNS = [
    Column(f"c{place}", f"s{place}", "lead", 0, "events", "", Phrase.parse("{value}"), Measure(how="count"))
    for place in range(4)
]


@dataclass(frozen=True)
class World:
    """Leads of which the second column says who converts within 14 days, and the third who does from then to 90 days.

    `soon`, `late` are the true probabilities of the one, and of the other for those who have not converted before.
    """

    seen: Watched
    soon: Floats
    late: Floats


def simulated(seed: int, n: int = 4_000, late: float = -2.0, watched_for: float = 400.0) -> World:
    """`late` moves the share of slow burners; trials were watched for between 0 and so many days."""
    rng = np.random.default_rng(seed)
    rows = rng.poisson(rng.gamma(0.7, 4.0, (n, 4))).astype(np.float64)
    rows[:, 0] = np.where(np.arange(n) % 2 == 0, 3.0, 7.0)
    soon = expit(np.log1p(rows[:, 1]) - 3.2)
    later = expit(1.2 * np.log1p(rows[:, 2]) + late - 1.5)
    fast, slow = rng.random(n) < soon, rng.random(n) < later
    took = np.where(fast, rng.uniform(0, 14, n), np.where(slow, rng.uniform(14, 90, n), np.inf))
    seen = np.sort(rng.uniform(0, watched_for, n))[::-1]
    known = np.where(took < seen, took, np.inf)
    return World(Watched(rows, np.full(n, 0.5), rows[:, 0], known, seen), soon, later)


def blocks(n: int, k: int = 5) -> list[tuple[Ints, Ints]]:
    block = np.arange(n) * k // n
    return [(np.flatnonzero(block != b), np.flatnonzero(block == b)) for b in range(k)]


def fitted(world: World) -> Slow | None:
    return fit_later(world.seen, blocks(len(world.soon)), COLUMNS, HORIZON, DAYS, 10.0)


def some(slow: Slow | None) -> Slow:
    assert slow is not None
    return slow


@pytest.fixture(scope="module")
def world() -> World:
    return simulated(0)


@pytest.fixture(scope="module")
def slow(world: World) -> Slow:
    return some(fitted(world))


def score(world: World) -> Floats:
    """The probabilities of a 14-day score, from a line that learned who converts within them."""
    seen = world.seen
    whole = seen.take(np.flatnonzero(seen.seen >= HORIZON))
    won = (whole.took < HORIZON).astype(np.int64)
    card = fit_scorecard(Lessons.whole(whole.rows, won, whole.weight), COLUMNS)
    return np.asarray(expit(card.margins(seen.rows)))


def course_of(slow: Slow) -> Course:
    soon = Stage((HORIZON,), np.zeros((2, 1)))
    nobody = NoCutoff(0.3, 0.9, "not asked")
    return Course((3.0, 7.0), soon, Later(slow.stage, slow.scorecard, slow.calibration, nobody))


# --- known truth ------------------------------------------------------------------------------


def test_slow_converters_are_ranked_much_better_than_by_the_score(world: World, slow: Slow) -> None:
    seen = world.seen
    open_ = np.flatnonzero((seen.took >= HORIZON) & (seen.seen >= 90))
    won = seen.took[open_] < 90
    ours, theirs = (roc_auc_score(won, odds[open_]) for odds in (slow.unseen, score(world)))
    assert theirs < 0.58
    assert ours > theirs + 0.15


def test_the_probability_by_90_days_finds_slow_burners_that_the_score_misses(world: World, slow: Slow) -> None:
    """Among open leads that the score puts into the lower half, of another draw of the same world."""
    fresh = simulated(1)
    scores = score(fresh)
    latest = course_of(slow).probabilities(scores, fresh.seen.rows)[:, -1]
    open_ = (fresh.seen.took >= HORIZON) & (fresh.seen.seen >= 90)
    low = np.flatnonzero((scores < np.median(scores)) & open_)
    won = fresh.seen.took[low] < 90
    assert roc_auc_score(won, latest[low]) > roc_auc_score(won, scores[low]) + 0.12


def test_the_later_probability_is_the_true_one_on_average(slow: Slow) -> None:
    fresh = simulated(2)
    odds = slow.calibration.log_odds(slow.scorecard.margins(fresh.seen.rows))
    assert expit(odds).mean() == pytest.approx(fresh.late.mean(), rel=0.1)


def test_the_probability_by_the_last_day_is_the_true_one_of_both_stages(world: World, slow: Slow) -> None:
    truth = 1 - (1 - world.soon) * (1 - world.late)
    found = course_of(slow).probabilities(score(world), world.seen.rows)[:, -1]
    assert found.mean() == pytest.approx(truth.mean(), rel=0.08)
    assert np.corrcoef(found, truth)[0, 1] > 0.9


def test_the_stage_says_how_many_convert_by_30_days(world: World, slow: Slow) -> None:
    """Slow burners convert at any day from 14 to 90 alike: 16 of 76 days have passed by then."""
    odds = slow.unseen
    share = expit(odds + slow.stage.shift[0, 0]).mean() / expit(odds).mean()
    assert share == pytest.approx(16 / 76, abs=0.06)
    assert slow.stage.days == DAYS
    assert slow.stage.shift.shape == (2, 2)


# --- what it learns from ----------------------------------------------------------------------


def test_those_who_convert_within_the_horizon_teach_nothing(world: World, slow: Slow) -> None:
    """Whatever they did: it is not told who is a fast one."""
    fast = world.seen.took < HORIZON
    strange = np.where(fast[:, None], 1_000.0, world.seen.rows)
    other = some(fitted(replace(world, seen=replace(world.seen, rows=strange))))
    assert other.scorecard.points.tolist() == slow.scorecard.points.tolist()
    assert other.calibration == slow.calibration


def test_they_get_log_odds_all_the_same(world: World, slow: Slow) -> None:
    assert np.isfinite(slow.unseen).all()
    assert len(slow.unseen) == len(world.soon)


def test_log_odds_are_those_of_a_line_that_had_not_seen_the_block(world: World, slow: Slow) -> None:
    held = blocks(len(world.soon))[2][1]
    turned = world.seen.took.copy()
    mine = held[world.seen.took[held] >= HORIZON]
    turned[mine] = np.random.default_rng(1).permutation(turned[mine])
    other = some(fitted(replace(world, seen=replace(world.seen, took=turned))))
    # The calibration learns from all blocks; before it, the margins of the block do not know its own outcomes.
    margins = [(one.unseen[held] - one.calibration.shift) / one.calibration.slope for one in (slow, other)]
    np.testing.assert_allclose(margins[0], margins[1], atol=1e-9)
    rest = np.delete(np.arange(len(turned)), held)
    assert not np.allclose(slow.unseen[rest], other.unseen[rest])


def test_it_is_calibrated_on_leads_watched_to_the_end(world: World, slow: Slow) -> None:
    seen = world.seen
    whole = np.flatnonzero((seen.took >= HORIZON) & (seen.seen >= 90))
    margins = (slow.unseen - slow.calibration.shift) / slow.calibration.slope
    won = (seen.took[whole] < 90).astype(np.int64)
    again = calibrate(margins[whole], won, seen.weight[whole])
    assert (again.slope, again.shift) == pytest.approx((slow.calibration.slope, slow.calibration.shift), abs=1e-9)
    stage = stage_of(slow.unseen[whole], seen.take(whole), (3.0, 7.0), DAYS)
    assert stage.shift.tolist() == slow.stage.shift.tolist()


# --- nothing is said --------------------------------------------------------------------------


def with_late(count: int) -> World:
    """A world in which so many leads convert late and were watched long enough to know."""
    world = simulated(3)
    late = np.flatnonzero((world.seen.took >= HORIZON) & (world.seen.took < 90))
    known = late[world.seen.seen[late] >= 90]
    spread = known[np.linspace(0, len(known) - 1, count).astype(np.int64)]
    took = world.seen.took.copy()
    took[np.setdiff1d(late, spread)] = np.inf
    return replace(world, seen=replace(world.seen, took=took))


def test_fewer_than_twenty_late_conversions_say_nothing() -> None:
    assert FEWEST == 20
    assert fitted(with_late(FEWEST - 1)) is None


def test_twenty_late_conversions_say_something() -> None:
    assert fitted(with_late(FEWEST)) is not None


def test_where_nobody_was_watched_so_long_nothing_is_said() -> None:
    assert fitted(simulated(0, watched_for=89.0)) is None


def test_where_all_convert_late_nothing_is_said(world: World) -> None:
    took = np.where(world.seen.took < HORIZON, world.seen.took, 40.0)
    assert fitted(replace(world, seen=replace(world.seen, took=took))) is None


def test_late_conversions_of_one_block_only_say_nothing(world: World) -> None:
    """A line without that block would have nobody to learn from."""
    n = len(world.soon)
    first = np.arange(n) < n // 5
    took = np.where((world.seen.took < HORIZON) | first, world.seen.took, np.inf)
    assert ((took >= HORIZON) & (took < 90)).sum() > FEWEST
    assert fitted(replace(world, seen=replace(world.seen, took=took))) is None


@pytest.mark.parametrize(("turn", "told"), [(-1.0, False), (1.0, True)])
def test_where_slow_burners_cannot_be_told_apart_nothing_is_said(turn: float, told: bool) -> None:
    """What one half teaches is upside down in the other, unless both turn the same way."""
    world = simulated(4, watched_for=2_000.0)
    n = len(world.soon)
    column = world.seen.rows[:, 2]
    slow = np.where(np.arange(n) * 2 // n == 0, column > 3, turn * column > turn * 3)
    took = np.where(world.seen.took < HORIZON, world.seen.took, np.where(slow, 50.0, np.inf))
    known = replace(world.seen, took=np.where(took < world.seen.seen, took, np.inf))
    assert (fit_later(known, blocks(n, 2), COLUMNS, HORIZON, DAYS, 10.0) is not None) == told

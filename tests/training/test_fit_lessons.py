"""Lessons that were seen only in part: what is known of their shift is no part of what is learned."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from features.windows import Floats
from serving.scoring.scorecard import signed_log
from tests.training.worlds import FREE, QUICK, TABLE, blocks, leads, whole
from training.fit import Lessons, fit, fit_scorecard


def shifted(lessons: Lessons, shift: Floats) -> Lessons:
    return replace(lessons, shift=shift)


@pytest.mark.parametrize("by", [-1.5, 0.7])
def test_a_shift_that_all_share_only_moves_the_base(by: float) -> None:
    lessons = whole(*leads())
    plain, moved = (fit_scorecard(one, TABLE) for one in (lessons, shifted(lessons, np.full(len(lessons), by))))
    assert moved.base == pytest.approx(plain.base - by, abs=1e-3)
    np.testing.assert_allclose(moved.points, plain.points, atol=1e-3)


def test_a_shift_that_all_share_moves_trees_and_line_alike() -> None:
    lessons, quick = whole(*leads()), replace(QUICK, max_rounds=10)
    folds = blocks(len(lessons))
    plain, moved = (fit(one, TABLE, folds, quick) for one in (lessons, shifted(lessons, np.full(len(lessons), -1.5))))
    rows = lessons.rows
    np.testing.assert_allclose(moved.both.margins(rows), plain.both.margins(rows) + 1.5, atol=0.05)
    np.testing.assert_allclose(moved.both_unseen, plain.both_unseen + 1.5, atol=0.05)
    np.testing.assert_allclose(moved.curve, plain.curve, atol=1e-4)


def half_watched(seed: int) -> tuple[Lessons, Floats]:
    """Lessons of which one half was seen only in part, and their true log-odds by the end of the horizon."""
    rng = np.random.default_rng(seed)
    rows = rng.poisson(rng.gamma(0.7, 4.0, (8_000, 5))).astype(np.float64)
    odds = 0.9 * np.log1p(rows[:, 0]) - 0.8 * np.log1p(rows[:, 1]) - 1.0
    shift = np.where(np.arange(8_000) % 2 == 0, 0.0, -1.5)
    converted = (rng.random(8_000) < expit(odds + shift)).astype(np.int64)
    return Lessons(rows, converted, np.ones(8_000), shift), odds


def test_what_is_known_of_the_shift_is_no_part_of_what_is_learned() -> None:
    """The margins are those of the whole horizon, for lessons of either kind, and for accounts held out."""
    lessons, odds = half_watched(4)
    fitted = fit(lessons, TABLE, blocks(len(lessons)), QUICK)
    for margins in (
        fitted.scorecard.margins(lessons.rows), fitted.both.margins(lessons.rows), fitted.scorecard_unseen,
        fitted.both_unseen,
    ):  # fmt: skip
        for kind in (0.0, -1.5):
            mine = lessons.shift == kind
            assert expit(margins[mine]).mean() == pytest.approx(expit(odds[mine]).mean(), rel=0.06)


def test_without_the_shift_they_would_be_far_too_low() -> None:
    lessons, odds = half_watched(4)
    blind = fit_scorecard(shifted(lessons, np.zeros(len(lessons))), TABLE)
    assert expit(blind.margins(lessons.rows)).mean() < 0.85 * expit(odds).mean()


def test_a_lesson_seen_in_part_is_ridge_regression_with_an_offset() -> None:
    lessons, _ = half_watched(5)
    some = lessons.take(np.arange(600))
    card = fit_scorecard(some, FREE, 20.0)
    standard = (signed_log(some.rows, card.absent) - card.center) / card.scale

    def loss(theta: Floats) -> float:
        odds = standard @ theta[1:] + theta[0] + some.shift
        return float((np.logaddexp(0, odds) - some.converted * odds).sum() + 10 * theta[1:] @ theta[1:])

    best = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-5}).x
    np.testing.assert_allclose([card.base, *card.points], best, atol=2e-3)


def test_some_lessons_are_taken_as_they_are() -> None:
    lessons, _ = half_watched(5)
    some = lessons.take(np.array([3, 0]))
    assert (len(some), some.shift.tolist()) == (2, [-1.5, 0.0])
    assert some.rows.tolist() == lessons.rows[[3, 0]].tolist()
    assert some.converted.tolist() == lessons.converted[[3, 0]].tolist()

"""Every field of a decision and of the course is the same after a version was written and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.scoring.artifact import Artifact, load
from serving.scoring.decision import Cutoff, Decision, Line, NoCutoff, Segmented
from serving.scoring.scorer import Scorer

TINY = """
product: Tiny
conversion: {horizon: 30d}
score_at: [7d]
windows: [7d]
signals: [{name: acts, kind: frequency, events: [act], text: acted}]
cutoff: {at_least: 0.3}
"""


LINES = (Line("promise", 0.4, 900, 300, 0.31, 12.5, "it must"), Line("capacity", 0.35, 950, 310, 0.3, 14.0, "no more"))
FULL = Cutoff(
    0.4, 0.3, 0.9, 900, 300, 0.31, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", 12.5, "2026-05-01T00:00:00Z",
    "capacity", "capacity", LINES,
)  # fmt: skip
NOBODY = NoCutoff(None, 0.8, "too few", 40)
DECISIONS = [FULL, Cutoff(0.5, None, 0.9, 9, 3, 0.1, "a", "b"), NOBODY, NoCutoff(0.3, 0.9, "no signal")]
SEGMENTED = Segmented("source", ("ads", "friend", "fair"), (FULL, None, NOBODY), FULL)


@pytest.mark.parametrize("decision", [*DECISIONS, SEGMENTED], ids=lambda decision: type(decision).__name__)
def test_every_field_of_a_decision_survives(
    made_scorer: Callable[..., Scorer], tmp_path: Path, decision: Decision
) -> None:
    made = replace(made_scorer(TINY).artifact, decision=decision)
    assert load(made.save(tmp_path)).decision == decision


def course_numbers(artifact: Artifact) -> list[Any]:
    """Return all that a course is made of, numbers as their bits."""
    course = artifact.course
    found: list[Any] = [course.ages, course.soon.days, course.soon.shift.tobytes(), course.soon.shift.shape]
    if course.later is None:
        return [*found, None]
    later = course.later
    card = [(name, np.asarray(value).tobytes()) for name, value in vars(later.scorecard).items()]
    stage = later.stage.days, later.stage.shift.tobytes(), later.stage.shift.shape
    return [*found, stage, later.calibration, later.decision, card]


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: type(decision).__name__)
def test_every_field_of_the_course_survives(
    made_scorer: Callable[..., Scorer], tmp_path: Path, decision: Decision
) -> None:
    made = made_scorer(TINY).artifact
    assert made.course.later is not None
    made = replace(made, course=replace(made.course, later=replace(made.course.later, decision=decision)))
    assert course_numbers(load(made.save(tmp_path))) == course_numbers(made)


def test_a_course_without_a_later_stage_survives(made_scorer: Callable[..., Scorer], tmp_path: Path) -> None:
    made = made_scorer(TINY).artifact
    made = replace(made, course=replace(made.course, later=None))
    assert course_numbers(load(made.save(tmp_path))) == course_numbers(made)


def test_the_course_is_part_of_the_version(made_scorer: Callable[..., Scorer]) -> None:
    made = made_scorer(TINY).artifact
    assert replace(made, course=replace(made.course, later=None)).version != made.version

"""Every field of a decision, of the course and of what is usual is the same after a version was written and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.scoring.artifact import Artifact, load
from serving.scoring.decision import Cutoff, Decision, Line, NoCutoff, Segmented
from serving.scoring.reference import Reference, Usual
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


numbers = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)


@st.composite
def references(draw: st.DrawFn, width: int) -> Reference:
    """Any reference: some ages, some columns with some values at each of them, even none."""
    n = draw(st.integers(1, 3))
    ages = sorted(draw(st.lists(st.floats(0, 1e4), min_size=n, max_size=n, unique=True)))
    typical = np.array(draw(st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=n, max_size=n)))
    converters = draw(st.dictionaries(st.text(max_size=4), st.tuples(*[shares] * n), max_size=2))
    steps = st.lists(st.tuples(numbers, shares), max_size=3)
    usual = {}
    for name in draw(st.lists(st.text(max_size=4), unique=True, max_size=2)):
        each = [draw(steps) for _ in range(n)]
        values, up_to = (tuple(tuple(pair[i] for pair in one) for one in each) for i in (0, 1))
        usual[name] = Usual(values, up_to)
    quantiles = np.array(draw(st.lists(shares, min_size=1, max_size=4)))
    return Reference(quantiles, tuple(ages), typical, converters, usual)


def reference_numbers(reference: Reference) -> list[Any]:
    """Return all that a reference is made of, numbers as their bits."""
    arrays = [(one.tobytes(), one.shape, str(one.dtype)) for one in (reference.quantiles, reference.typical)]
    return [arrays, reference.ages, dict(reference.converters), dict(reference.usual)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_field_of_what_is_usual_survives(
    made_scorer: Callable[..., Scorer], tmp_path: Path, data: st.DataObject
) -> None:
    made = made_scorer(TINY).artifact
    made = replace(made, reference=data.draw(references(len(made.builder.columns))))
    assert reference_numbers(load(made.save(tmp_path)).reference) == reference_numbers(made.reference)


def test_a_reference_of_scores_alone_survives(made_scorer: Callable[..., Scorer], tmp_path: Path) -> None:
    made = made_scorer(TINY).artifact
    made = replace(made, reference=Reference.of_scores(np.array([0.25, 0.5]), len(made.builder.columns)))
    assert reference_numbers(load(made.save(tmp_path)).reference) == reference_numbers(made.reference)


def test_what_is_usual_is_part_of_the_version(made_scorer: Callable[..., Scorer]) -> None:
    made = made_scorer(TINY).artifact
    for other in (
        replace(made.reference, typical=made.reference.typical + 1e-9),
        replace(made.reference, usual={"acts_count_7d": Usual(((1.0,),) * 3, ((1.0,),) * 3)}),
        replace(made.reference, converters={}),
    ):
        assert replace(made, reference=other).version != made.version

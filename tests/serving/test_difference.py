"""What moved a score adds up to the whole move, within one version and across two, and names the facts that changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.scoring.answers import Subject
from serving.scoring.calibration import odds_of
from serving.scoring.difference import Difference, difference
from serving.scoring.receipt import OtherVersion, Receipt
from serving.scoring.scorer import Scorer
from serving.scoring.statement import EXACT, weigh
from tests.serving.answered import LEVELS, answered, receipts_of, subjects_of

SUM = 1e-12


@pytest.fixture(scope="module")
def made(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, LEVELS)


@pytest.fixture(scope="module")
def newer(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    """Another model over the same columns."""
    return made_scorer(rich_definition, LEVELS, seed=6)


@pytest.fixture(scope="module")
def wider(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    """A model that knows another level of a trait, so that its columns are others."""
    return made_scorer(rich_definition, {"source": ["ads", "web", "fair"]}, seed=7)


def receipt_for(scorer: Scorer, subject: Subject) -> Receipt:
    return answered(scorer, [subject])[0][0]


def all_of(found: Difference) -> float:
    return found.model + found.older + sum(move.change for move in found.moves)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_of_one_version_the_moves_and_the_age_are_all_of_the_change(made: Scorer, seed: int) -> None:
    before, after = receipts_of(made, 2, seed)
    found = difference(made, before, made, after)
    assert found.model == 0
    assert abs(found.rounding) <= EXACT
    assert all_of(found) + found.rounding == pytest.approx(found.total, abs=SUM)
    odds = odds_of(np.array([before.probability, after.probability]))
    assert found.total == pytest.approx(float(odds[1] - odds[0]), abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_across_versions_model_and_behaviours_are_all_of_the_change(made: Scorer, newer: Scorer, seed: int) -> None:
    one, two = subjects_of(made, 2, seed)
    found = difference(made, receipt_for(made, one), newer, receipt_for(newer, two))
    assert found.same_columns
    assert abs(found.rounding) <= EXACT
    assert all_of(found) + found.rounding == pytest.approx(found.total, abs=SUM)
    # The step in the middle: the old facts under the new version.
    assert found.model == pytest.approx(weigh(newer, one.row).log_odds - weigh(made, one.row).log_odds, abs=SUM)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_with_other_columns_what_cannot_be_told_apart_counts_for_the_model(
    made: Scorer, wider: Scorer, seed: int
) -> None:
    one, two = subjects_of(made, 1, seed)[0], subjects_of(wider, 1, seed)[0]
    found = difference(made, receipt_for(made, one), wider, receipt_for(wider, two))
    assert not found.same_columns
    assert found.older == 0
    assert all_of(found) + found.rounding == pytest.approx(found.total, abs=SUM)
    changed = {fact.column for move in found.moves for fact in move.facts}
    assert "source=fair" not in changed


def test_the_same_lead_and_facts_under_a_new_model_were_moved_by_the_model_alone(made: Scorer, newer: Scorer) -> None:
    subject = subjects_of(made, 1)[0]
    found = difference(made, receipt_for(made, subject), newer, receipt_for(newer, subject))
    assert {move.change for move in found.moves} <= {0.0}
    assert found.older == 0
    assert found.model == pytest.approx(found.total, abs=SUM)
    assert found.model != 0


def test_a_receipt_does_not_differ_from_itself(made: Scorer) -> None:
    receipt = receipts_of(made, 1)[0]
    found = difference(made, receipt, made, receipt)
    assert found.moves == ()
    assert found.total == found.model == found.older == found.rounding == 0


def moved(made: Scorer, subject: Subject, **values: float) -> Difference:
    row = subject.row.copy()
    names = [column.name for column in made.builder.columns]
    for name, value in values.items():
        row[names.index(name)] = value
    after = replace(subject, row=row)
    return difference(made, receipt_for(made, subject), made, receipt_for(made, after))


def test_one_behaviour_that_changed_is_named_first_with_its_facts_before_and_after(made: Scorer) -> None:
    subject = subjects_of(made, 1)[0]
    subject.row[[i for i, c in enumerate(made.builder.columns) if c.owner == "activity" and c.measure]] = 0.0
    found = moved(made, subject, activity_count_1d=9.0, activity_days_since_last=np.nan)
    assert found.moves[0].owner == "activity"
    assert found.moves[0].kind == "consistency"
    told = {one.column: (one.before, one.after) for one in found.moves[0].facts}
    assert set(told) == {"activity_count_1d", "activity_days_since_last"}
    assert told["activity_count_1d"] == (0.0, 9.0)
    assert np.isnan(told["activity_days_since_last"][1])
    assert [move for move in found.moves[1:] if move.facts] == []


def test_what_stayed_unknown_has_not_changed(made: Scorer) -> None:
    subject = subjects_of(made, 1)[0]
    name = next(c.name for c, value in zip(made.builder.columns, subject.row, strict=True) if np.isnan(value))
    found = moved(made, subject, uploads_count_7d=3.0)
    assert name not in {fact.column for move in found.moves for fact in move.facts}


def test_a_trial_that_grew_older_is_a_line_of_its_own(made: Scorer) -> None:
    subject = subjects_of(made, 1)[0]
    subject.row[0] = 4.0
    found = moved(made, subject, trial_age_days=8.0)
    assert (found.ages.before, found.ages.after) == (4.0, 8.0)
    assert found.older != 0
    assert "trial_age" not in {move.owner for move in found.moves}
    assert not any(move.facts for move in found.moves)


def test_the_strongest_comes_first(made: Scorer) -> None:
    before, after = receipts_of(made, 2)
    changes = [abs(move.change) for move in difference(made, before, made, after).moves]
    assert len(changes) > 5
    assert changes == sorted(changes, reverse=True)


def test_what_was_said_before_and_after_stands_beside_the_move(made: Scorer) -> None:
    (before, told), (after, later) = answered(made, subjects_of(made, 2, seed=3), reasons=20)
    found = {move.owner: move for move in difference(made, before, made, after).moves}
    assert told.reasons
    assert later.missing
    assert told.reasons[0].text in found[told.reasons[0].signal].said_before
    assert later.missing[0].text in found[later.missing[0].signal].said_after


def test_a_receipt_of_another_version_is_refused(made: Scorer, newer: Scorer) -> None:
    before, after = receipts_of(made, 2)
    with pytest.raises(OtherVersion, match=after.id):
        difference(made, before, newer, after)

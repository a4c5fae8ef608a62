"""Base and contributions are the score, a typical trial of the same age is taken off, and the right cutoff is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from serving.scoring.artifact import sha256
from serving.scoring.decision import Cutoff, NoCutoff, Segmented
from serving.scoring.reasons import Explainer
from serving.scoring.receipt import OtherVersion
from serving.scoring.scorer import Scorer
from serving.scoring.statement import EXACT, decision_on, explanation, kinds_of, statement, weigh
from tests.serving.answered import LEVELS, answered, receipts_of, subjects_of


@pytest.fixture(scope="module")
def made(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, LEVELS)


def test_base_and_contributions_are_the_log_odds_of_every_row(scorer: Scorer, rows: np.ndarray) -> None:
    for row in rows[:: max(1, len(rows) // 150)]:
        weighed = weigh(scorer, row)
        assert abs(weighed.rounding) <= EXACT
        odds = weighed.base_of_age + sum(weighed.relative(owner) for owner in weighed.places)
        assert odds == pytest.approx(weighed.log_odds, abs=EXACT)


def test_what_is_typical_is_that_of_the_last_age_before(made: Scorer) -> None:
    row = subjects_of(made, 1)[0].row.copy()
    row[0] = 6.9
    reference = made.artifact.reference
    assert reference.ages[1] < 6.9 < reference.ages[2]
    assert weigh(made, row).typical.tolist() == reference.typical[1].tolist()


def test_totals_of_signals_are_those_that_reasons_are_made_of(made: Scorer) -> None:
    row = subjects_of(made, 1)[0].row
    weighed, explainer = weigh(made, row), Explainer(made.builder, made.artifact.reference)
    rows = row[None, :]
    owned = explainer.by_owner(explainer.relative(rows, made.contributions(rows)))[0]
    assert [weighed.relative(owner) for owner in explainer.owners] == pytest.approx(owned.tolist(), abs=1e-12)


def test_a_statement_tells_what_made_the_score(made: Scorer) -> None:
    [(receipt, answer)] = answered(made, subjects_of(made, 1))
    told = statement(made, receipt)
    assert told.holds
    assert told.replayed.answer == answer
    assert told.definition == made.artifact.definition_text
    assert told.definition_sha256 == sha256(made.artifact.definition_text)
    assert [abs(total) for _, total in told.totals] == sorted((abs(total) for _, total in told.totals), reverse=True)
    assert {owner for owner, _ in told.totals} == set(told.kinds)


def test_a_score_that_its_parts_do_not_add_up_to_does_not_hold(made: Scorer) -> None:
    told = statement(made, receipts_of(made, 1)[0])
    assert not replace(told, weighed=replace(told.weighed, base=told.weighed.base + 1e-6)).holds
    assert not replace(told, weighed=replace(told.weighed, log_odds=told.weighed.log_odds + 1e-10)).adds_up


def test_a_statement_of_a_damaged_receipt_does_not_hold(made: Scorer) -> None:
    receipt = receipts_of(made, 1)[0]
    assert not statement(made, replace(receipt, subject=replace(receipt.subject, lead_id="other"))).holds


def test_another_version_makes_no_statement(made: Scorer) -> None:
    receipt = replace(receipts_of(made, 1)[0], version="000000000000")
    with pytest.raises(OtherVersion):
        statement(made, receipt)
    with pytest.raises(OtherVersion):
        explanation(made, receipt, 3)


def test_an_explanation_has_reasons_that_were_not_asked_for(made: Scorer) -> None:
    [(receipt, _)] = answered(made, subjects_of(made, 1), reasons=0)
    told = explanation(made, receipt, 2)
    assert told.replayed.same
    assert told.replayed.answer.reasons == []
    assert 0 < len(told.answer.reasons) <= 2


def test_every_column_has_a_kind(made: Scorer) -> None:
    kinds = kinds_of(made)
    assert kinds["uploads"] == "usage_depth"
    assert (kinds["email"], kinds["trial_age"]) == ("fit", "time")
    assert set(kinds) == {column.owner for column in made.builder.columns}


# --- the cutoff that decided ------------------------------------------------------------------

OWN = Cutoff(0.2, 0.3, 0.9, 50, 20, 0.31, "a", "b")
ALL = Cutoff(0.6, 0.3, 0.9, 900, 300, 0.31, "a", "b")


def decided(made: Scorer, ads: float, web: float) -> Cutoff | NoCutoff:
    decision = Segmented("source", ("ads", "web"), (OWN, None), ALL)
    segmented = Scorer(replace(made.artifact, decision=decision))
    row = subjects_of(made, 1)[0].row.copy()
    names = [column.name for column in made.builder.columns]
    row[names.index("source=ads")], row[names.index("source=web")] = ads, web
    return decision_on(segmented, row)


def test_a_lead_of_a_segment_is_decided_on_by_the_segments_cutoff(made: Scorer) -> None:
    assert decided(made, 1.0, 0.0) == OWN


@pytest.mark.parametrize(("ads", "web"), [(0.0, 1.0), (0.0, 0.0), (np.nan, np.nan)])
def test_a_lead_of_no_segment_or_one_without_evidence_is_decided_on_by_the_overall_cutoff(
    made: Scorer, ads: float, web: float
) -> None:
    assert decided(made, ads, web) == ALL


def test_without_segments_there_is_one_decision(made: Scorer) -> None:
    nobody = NoCutoff(0.3, 0.9, "too few")
    refused = Scorer(replace(made.artifact, decision=nobody))
    assert decision_on(refused, subjects_of(made, 1)[0].row) == nobody

"""What machines read of receipts is strict JSON, and its sums are those of the score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.receipt_facts import difference_facts, lead_facts, receipt_facts
from serving.receipt_search import Kept
from serving.requests import result_body
from serving.scoring.difference import difference
from serving.scoring.scorer import Scorer
from serving.scoring.statement import explanation, statement
from tests.serving.answered import LEVELS, NOW, answered, subjects_of


@pytest.fixture(scope="module")
def made(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, LEVELS)


def strict(facts: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(facts, allow_nan=False))
    return found


def test_all_that_made_a_score_is_there(made: Scorer) -> None:
    [(receipt, answer)] = answered(made, subjects_of(made, 1))
    facts = strict(receipt_facts(statement(made, receipt), Kept(receipt, NOW, Path("here"))))
    assert facts["replays"] is True
    assert facts["differs"] == []
    assert (facts["receipt_id"], facts["model_version"]) == (receipt.id, made.artifact.version)
    assert facts["definition"] == made.artifact.definition_text
    assert facts["as_of"] == "2026-03-01T00:00:00Z"
    assert facts["decision"]["kind"] == "Cutoff"
    assert facts["answer"]["reasons"] == msgspec.to_builtins(result_body(answer))["reasons"]
    assert facts["answer"]["probability"] == answer.probability
    values = [column["value"] for column in facts["columns"]]
    assert [np.nan if value is None else value for value in values] == pytest.approx(receipt.subject.row, nan_ok=True)
    total = facts["base"] + sum(column["contribution"] for column in facts["columns"])
    assert total == pytest.approx(facts["log_odds"], abs=1e-9)
    assert facts["base_of_age"] + sum(facts["signals"].values()) == pytest.approx(facts["log_odds"], abs=1e-9)


def test_a_number_that_is_none_is_null(made: Scorer) -> None:
    subject = subjects_of(made, 1)[0]
    object.__setattr__(subject, "traits", {"company_size": float("nan")})
    [(receipt, _)] = answered(made, [subject])
    facts = strict(receipt_facts(statement(made, receipt), Kept(receipt, NOW, Path("here"))))
    assert facts["traits"] == {"company_size": None}
    assert None in [column["value"] for column in facts["columns"]]


def test_the_parts_of_a_difference_add_up(made: Scorer) -> None:
    (before, _), (after, _) = answered(made, subjects_of(made, 2))
    facts = strict(difference_facts(difference(made, before, made, after)))
    moved = sum(signal["change"] for signal in facts["signals"])
    assert moved + facts["age"] + facts["model"] + facts["rounding"] == pytest.approx(facts["change"], abs=1e-12)
    assert facts["change"] == pytest.approx(facts["to_log_odds"] - facts["from_log_odds"])
    assert (facts["before"]["receipt_id"], facts["after"]["receipt_id"]) == (before.id, after.id)
    assert facts["signals"][0]["facts"][0]["before"] != facts["signals"][0]["facts"][0]["after"]


def test_a_lead_is_told_with_its_reasons_and_the_cutoff(made: Scorer) -> None:
    [(receipt, answer)] = answered(made, subjects_of(made, 1))
    facts = strict(lead_facts(explanation(made, receipt, 3)))
    assert facts["answer"] == strict(msgspec.to_builtins(result_body(answer)))
    assert facts["decision"]["probability"] == 0.4
    assert facts["replays"] is True

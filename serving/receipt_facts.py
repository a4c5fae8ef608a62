"""Receipts as machines read them: plain data for JSON, with None for what is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from features.times import text_of
from serving.receipt_page import verdict
from serving.receipt_search import Kept
from serving.requests import result_body
from serving.scoring.answers import Answer
from serving.scoring.decision import to_facts
from serving.scoring.difference import Changed, Difference
from serving.scoring.receipt import Replayed
from serving.scoring.statement import Explanation, Statement


def receipt_facts(told: Statement, kept: Kept) -> dict[str, Any]:
    """Return all that made one score as plain data for JSON; what is not known is None."""
    weighed, replayed = told.weighed, told.replayed
    columns = [
        {
            "column": column.name, "signal": column.owner, "value": _finite(value), "unit": column.unit,
            "meaning": column.meaning, "contribution": own, "typical": typical,
        }
        for column, value, own, typical in zip(
            weighed.columns, weighed.row.tolist(), weighed.contributions.tolist(), weighed.typical.tolist(), strict=True
        )
    ]  # fmt: skip
    return {
        **_receipt_facts(replayed),
        "kept_at": text_of(kept.at), "kept_in": str(kept.place),
        "traits": {name: _finite(value) for name, value in kept.receipt.subject.traits.items()},
        "definition_sha256": told.definition_sha256, "definition": told.definition,
        "base": weighed.base, "base_of_age": weighed.base_of_age, "log_odds": weighed.log_odds, "adds_up": told.adds_up,
        "decision": to_facts(told.decision), "signals": dict(told.totals), "columns": columns,
        "answer": _answer(replayed.answer),
    }  # fmt: skip


def _receipt_facts(replayed: Replayed) -> dict[str, Any]:
    receipt = replayed.receipt
    return {
        "receipt_id": receipt.id, "replays": replayed.same, "differs": list(replayed.differs),
        "verdict": verdict(replayed), "model_version": receipt.version, "lead_id": receipt.subject.lead_id,
        "account_id": receipt.subject.account_id, "as_of": text_of(receipt.subject.as_of),
        "reasons": receipt.asked.reasons, "whom": receipt.asked.whom, "digest": receipt.digest.whole,
    }  # fmt: skip


def lead_facts(told: Explanation) -> dict[str, Any]:
    """Return what speaks for and against a lead as plain data for JSON."""
    return {**_receipt_facts(told.replayed), "answer": _answer(told.answer), "decision": to_facts(told.decision)}


def _answer(answer: Answer) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(result_body(answer))
    return facts


def difference_facts(found: Difference) -> dict[str, Any]:
    """Return what moved the score as plain data for JSON; the changes of all parts add up to `change`."""
    moves = [
        {
            "signal": move.owner, "kind": move.kind, "change": move.change, "facts": [_changed(one) for one in move.facts],
            "said_before": list(move.said_before), "said_after": list(move.said_after),
        }
        for move in found.moves
    ]  # fmt: skip
    return {
        "before": _receipt_facts(found.before), "after": _receipt_facts(found.after), "from_log_odds": found.from_log_odds,
        "to_log_odds": found.to_log_odds, "change": found.total, "signals": moves, "age": found.older,
        "model": found.model, "rounding": found.rounding, "same_columns": found.same_columns,
    }  # fmt: skip


def _changed(one: Changed) -> Mapping[str, Any]:
    facts = {"column": one.column, "meaning": one.meaning, "unit": one.unit}
    return {**facts, "before": _finite(one.before), "after": _finite(one.after)}


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value

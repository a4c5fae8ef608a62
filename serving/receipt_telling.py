"""What is told of kept receipts: looked up, replayed by the version that gave them, and put into words and facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import receipt_facts, receipt_page, receipt_search
from serving.scoring import statement
from serving.scoring.difference import difference
from serving.scoring.receipt import Receipt
from serving.scoring.scorer import Scorer

ScorerOf = Callable[[str], Scorer]
"""Gives the scorer of a version by its content's name."""


@dataclass(frozen=True)
class Told:
    """The same for machines and for people, and whether each receipt in it replays bit for bit."""

    facts: dict[str, Any]
    lines: list[str]
    replays: bool


def receipt(folder: Path, name: str, other: str | None, scorer_of: ScorerOf) -> Told:
    """Return what made the score of one receipt, or with a second one what moved the score from the first to it."""
    kept = receipt_search.find(folder, name)
    scorer = scorer_of(kept.receipt.version)
    if other is not None:
        return _move(scorer, kept.receipt, receipt_search.find(folder, other).receipt, scorer_of)
    told = statement.statement(scorer, kept.receipt)
    return Told(receipt_facts.receipt_facts(told, kept), receipt_page.receipt_lines(told, kept), told.holds)


def _move(scorer: Scorer, before: Receipt, after: Receipt, scorer_of: ScorerOf) -> Told:
    other = scorer if after.version == before.version else scorer_of(after.version)
    found = difference(scorer, before, other, after)
    replays = found.before.same and found.after.same
    return Told(receipt_facts.difference_facts(found), receipt_page.difference_lines(found), replays)


def lead(folder: Path, lead_id: str, reasons: int, scorer_of: ScorerOf) -> Told:
    """Return what speaks for and against a lead, as it was last answered."""
    kept = receipt_search.latest_of(folder, lead_id).receipt
    told = statement.explanation(scorer_of(kept.version), kept, reasons)
    return Told(receipt_facts.lead_facts(told), receipt_page.lead_lines(told), told.replayed.same)


def pruned(folder: Path, before: int) -> Told:
    """Delete the receipts of days that had ended by a moment (microseconds since 1970 UTC), and return which."""
    gone = receipt_search.prune(folder, before)
    span = f": {gone[0]} to {gone[-1]}" if gone else ""
    days = "1 day" if len(gone) == 1 else f"{len(gone)} days"
    return Told({"deleted": gone}, [f"Receipts of {days} deleted{span}."], replays=True)

"""What moved a score from one receipt to another: the trial's age, the model, and each behaviour; together it is all of it.

With two versions of the same columns the step is taken in two: the old facts under the new model, then the new facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.scoring.answers import Answer
from serving.scoring.receipt import Receipt, Replayed, check_version, replay
from serving.scoring.scorer import Scorer
from serving.scoring.statement import CLOCK, Weighed, Whose, kinds_of, weigh


@dataclass(frozen=True)
class Changed:
    """One feature value before and after; NaN is "not known"."""

    column: str
    meaning: str
    unit: str
    before: float
    after: float


@dataclass(frozen=True)
class Move:
    """How far one signal or trait moved the score, in log-odds, with the facts that changed and what was said of it."""

    owner: str
    kind: str
    change: float
    facts: tuple[Changed, ...]
    said_before: tuple[str, ...]
    said_after: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """What moved the score between two receipts, in calibrated log-odds.

    Attributes
    ----------
    moves : signals and traits, the one that moved it furthest first
    older : what the trial's age did: a typical trial of the later age against one of the earlier
    model : what the other version did, 0 where it is the same one
    rounding : what is left of all sums, below `statement.EXACT`
    same_columns : False where the versions measure other things; then `model` holds all that cannot be told apart
    whose : whose scores the later version gives
    """

    before: Replayed
    after: Replayed
    from_log_odds: float
    to_log_odds: float
    moves: tuple[Move, ...]
    older: float
    model: float
    same_columns: bool
    ages: Changed
    whose: Whose

    @property
    def total(self) -> float:
        return self.to_log_odds - self.from_log_odds

    @property
    def rounding(self) -> float:
        return self.total - self.model - self.older - sum(move.change for move in self.moves)

    @property
    def same_version(self) -> bool:
        return self.before.receipt.version == self.after.receipt.version


def difference(scorer_a: Scorer, receipt_a: Receipt, scorer_b: Scorer, receipt_b: Receipt) -> Difference:
    """Return what moved the score from receipt a, given by scorer a, to receipt b, given by scorer b.

    Raises
    ------
    OtherVersion
        Where a receipt is not of its scorer's version.
    """
    check_version(scorer_a, receipt_a)
    check_version(scorer_b, receipt_b)
    start, end = weigh(scorer_a, receipt_a.subject.row), weigh(scorer_b, receipt_b.subject.row)
    same_columns = scorer_a.builder.fingerprint == scorer_b.builder.fingerprint
    # The old facts as the later version sees them; with one version only, as they are.
    middle = weigh(scorer_b, receipt_a.subject.row) if same_columns else start
    before, after = replay(scorer_a, receipt_a), replay(scorer_b, receipt_b)
    changes = _changes(middle, end)
    older = _older(middle, end) if same_columns else 0.0
    model = middle.log_odds - start.log_odds
    if not same_columns:
        model = end.log_odds - start.log_odds - sum(changes.values())
    return Difference(
        before, after, start.log_odds, end.log_odds,
        _moves(changes, (middle, end), (before.answer, after.answer), kinds_of(scorer_b)),
        older, model, same_columns, _facts(start, end, start.columns[0].owner)[0],
        Whose.of(scorer_b.builder.definition),
    )  # fmt: skip


def _changes(before: Weighed, after: Weighed) -> dict[str, float]:
    """Return what moved of each signal and trait that both sides have, the clock not among them."""
    clocks = {column.owner for column in after.columns if column.scope == CLOCK}
    both = [owner for owner in after.places if owner in before.places and owner not in clocks]
    return {owner: after.relative(owner) - before.relative(owner) for owner in both}


def _older(before: Weighed, after: Weighed) -> float:
    clocks = {column.owner for column in after.columns if column.scope == CLOCK}
    by_clock = sum(after.relative(owner) - before.relative(owner) for owner in clocks)
    return after.base_of_age - before.base_of_age + by_clock


def _moves(
    changes: dict[str, float], weighed: tuple[Weighed, Weighed], answers: tuple[Answer, Answer], kinds: dict[str, str]
) -> tuple[Move, ...]:
    found = []
    for owner, change in changes.items():
        facts = tuple(one for one in _facts(*weighed, owner) if not _equal(one.before, one.after))
        before, after = (_said(answer, owner) for answer in answers)
        if change or facts or before != after:
            found.append(Move(owner, kinds[owner], change, facts, before, after))
    return tuple(sorted(found, key=lambda move: (-abs(move.change), move.owner)))


def _facts(before: Weighed, after: Weighed, owner: str) -> list[Changed]:
    """Return the values of a signal's columns that both sides have."""
    old = {before.columns[place].name: float(before.row[place]) for place in before.places[owner]}
    new = [(after.columns[place], float(after.row[place])) for place in after.places[owner]]
    return [
        Changed(column.name, column.meaning, column.unit, old[column.name], value)
        for column, value in new
        if column.name in old
    ]


def _equal(a: float, b: float) -> bool:
    return a == b or (np.isnan(a) and np.isnan(b))


def _said(answer: Answer, owner: str) -> tuple[str, ...]:
    spoken = [(one.signal, one.text) for one in [*answer.reasons, *answer.against]]
    spoken += [(one.signal, one.text) for one in answer.missing]
    return tuple(text for signal, text in spoken if signal == owner)

"""What made one score: what each column added, compared with a typical trial of the same age, and what decided on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from features.columns import Column, Scope
from features.definition import Definition
from features.windows import Floats
from serving.scoring.answers import Answer
from serving.scoring.artifact import sha256
from serving.scoring.calibration import probabilities_of
from serving.scoring.decision import Cutoff, NoCutoff, Segmented
from serving.scoring.receipt import Receipt, Replayed, explained, replay
from serving.scoring.scorer import Scorer

EXACT: Final = 1e-9
"""How far base and contributions may be from the log-odds that they add up to."""
CLOCK: Final[Scope] = "clock"
"""The scope of the columns that only tell how old a lead is."""


@dataclass(frozen=True)
class Weighed:
    """What one version makes of one row, in calibrated log-odds.

    Attributes
    ----------
    places : where the columns of each signal and trait stand
    contributions, typical : float64 arrays of shape (n_columns,); `typical` is a trial of the same age
    base : what the version starts from before it looks at any column
    log_odds : what the score is, by the way scores are made; contributions and base add up to it
    """

    columns: tuple[Column, ...]
    places: Mapping[str, list[int]]
    row: Floats
    contributions: Floats
    typical: Floats
    base: float
    log_odds: float

    @property
    def base_of_age(self) -> float:
        """What a typical trial of the same age has."""
        return self.base + float(self.typical.sum())

    @property
    def rounding(self) -> float:
        """What base and contributions leave of the log-odds."""
        return self.log_odds - self.base - float(self.contributions.sum())

    def relative(self, owner: str) -> float:
        """Return what a signal or trait adds, compared with a typical trial of the same age."""
        places = self.places[owner]
        return float((self.contributions[places] - self.typical[places]).sum())


def weigh(scorer: Scorer, row: Floats) -> Weighed:
    """Return what each column of a row adds to its score."""
    rows = np.stack([row])
    found = scorer.contributions(rows)[0]
    typical = scorer.artifact.reference.typical_at(rows[:, 0])[0]
    odds = scorer.artifact.calibration.log_odds(scorer.margins(rows))
    return Weighed(
        scorer.builder.columns, scorer.builder.places_of, row, found[:-1], typical, float(found[-1]), float(odds[0])
    )


@dataclass(frozen=True)
class Whose:
    """Whose scores a version gives, for saying what is typical and since when days count."""

    lead: Literal["user", "account"]
    has_trial: bool

    @classmethod
    def of(cls, definition: Definition) -> Whose:
        return cls(definition.lead, definition.trial.length is not None)


@dataclass(frozen=True)
class Statement:
    """What made one score: the replayed answer, what each column added, and the decision with its evidence."""

    replayed: Replayed
    weighed: Weighed
    kinds: Mapping[str, str]
    decision: Cutoff | NoCutoff
    definition: str
    whose: Whose

    @property
    def definition_sha256(self) -> str:
        return sha256(self.definition)

    @property
    def adds_up(self) -> bool:
        """Whether base and contributions are the log-odds, and those the probability."""
        probability = float(probabilities_of(np.array([self.weighed.log_odds]))[0])
        return abs(self.weighed.rounding) <= EXACT and probability == self.replayed.answer.probability

    @property
    def holds(self) -> bool:
        """Whether the answer is the same bit for bit and its parts add up to its score."""
        return self.replayed.same and self.adds_up

    @property
    def totals(self) -> list[tuple[str, float]]:
        """What each signal and trait adds, compared with a typical trial of the same age; the heaviest first."""
        found = [(owner, self.weighed.relative(owner)) for owner in self.weighed.places]
        return sorted(found, key=lambda one: (-abs(one[1]), one[0]))


def statement(scorer: Scorer, receipt: Receipt) -> Statement:
    """Return all that made a score; raises as `replay` does."""
    return Statement(
        replay(scorer, receipt), weigh(scorer, receipt.subject.row), kinds_of(scorer), decision_on(scorer, receipt.subject.row),
        scorer.artifact.definition_text, Whose.of(scorer.builder.definition),
    )  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """One lead as a rep is told of it, the answer with reasons whether or not they were asked for at the time."""

    replayed: Replayed
    answer: Answer
    decision: Cutoff | NoCutoff
    whose: Whose


def explanation(scorer: Scorer, receipt: Receipt, reasons: int) -> Explanation:
    """Return what speaks for and against the lead of a receipt; raises as `replay` does."""
    decision = decision_on(scorer, receipt.subject.row)
    answer = explained(scorer, receipt, reasons)
    return Explanation(replay(scorer, receipt), answer, decision, Whose.of(scorer.builder.definition))


def kinds_of(scorer: Scorer) -> dict[str, str]:
    """Return the kind of each signal and trait, and of the clock."""
    definition = scorer.builder.definition
    signals = {signal.name: str(signal.kind) for signal in definition.signals}
    return {column.owner: signals.get(column.owner, _kind(column)) for column in scorer.builder.columns}


def _kind(column: Column) -> str:
    return "time" if column.scope == CLOCK else "fit"


def decision_on(scorer: Scorer, row: Floats) -> Cutoff | NoCutoff:
    """Return what decides on one row: its segment's own cutoff where it has one."""
    decision = scorer.artifact.decision
    if not isinstance(decision, Segmented):
        return decision
    segments = scorer.segments(np.array([row]))
    number = -1 if segments is None else int(segments[0])
    own = decision.each[number] if number >= 0 else None
    return decision.overall if own is None else own

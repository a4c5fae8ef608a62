"""Leads made up for a scorer, and the receipts of what it answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from features.windows import Floats
from serving.scoring.answers import Answer, Asked, Subject, answers_of
from serving.scoring.receipt import Receipt, receipt_of
from serving.scoring.scorer import Scorer

NOW = 1_772_323_200_000_000
"""2026-03-01 in microseconds since 1970 UTC."""
LEVELS = {"source": ["ads", "web"]}


def may_be_unknown(scorer: Scorer) -> npt.NDArray[np.bool_]:
    """Which columns can hold NaN: those whose measure has no value where nothing happened, and those of traits."""
    return np.array([column.may_be_unknown for column in scorer.builder.columns])


def row_of(scorer: Scorer, rng: np.random.Generator) -> Floats:
    """Return a row such as the engine makes them: half of it nothing, some of it not known, ages of one trial."""
    width = len(scorer.builder.columns)
    drawn = np.where(rng.random(width) < 0.5, 0.0, rng.exponential(4.0, width).round(0))
    row = np.where((rng.random(width) < 0.2) & may_be_unknown(scorer), np.nan, drawn)
    row[0] = rng.uniform(3.0, 14.0)
    return row


def subjects_of(scorer: Scorer, n: int, seed: int = 0, as_of: int = NOW) -> list[Subject]:
    rng = np.random.default_rng(seed)
    traits: dict[str, Any] = {"company_size": 12, "source": "ads", "email": "Ada.Lovelace@Acme.io"}
    known = scorer.builder.definition.trait_of
    mine = {name: value for name, value in traits.items() if name in known}
    return [Subject(f"u-{i}", f"a-{i % 7}", as_of + i, NOW + 10**12, mine, row_of(scorer, rng)) for i in range(n)]


def answered(
    scorer: Scorer, subjects: Sequence[Subject], reasons: int = 3, whom: Literal["all", "likely"] = "all"
) -> list[tuple[Receipt, Answer]]:
    """Return the receipt of each answer, all leads answered together."""
    asked = Asked(reasons, whom)
    given = answers_of(scorer, subjects, asked)
    return [(receipt_of(scorer, one, asked, answer), answer) for one, answer in zip(subjects, given, strict=True)]


def receipts_of(scorer: Scorer, n: int, seed: int = 0) -> list[Receipt]:
    return [receipt for receipt, _ in answered(scorer, subjects_of(scorer, n, seed))]

"""Scores with everything a rep or an app gets: reasons, what is missing, the playbook and the receipt's name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from features.leads import Leads
from features.logs import Logs
from features.windows import Floats, Ints
from serving.scoring.playbooks import Advice, advise
from serving.scoring.reasons import Explainer, Missing, Reason
from serving.scoring.scorer import Scored, Scorer

EXPLAINED_AT_ONCE: Final = 10_000
"""Rows whose contributions are held in memory together."""


Track = Literal["now", "nurture"]
"""What a lead is for: a call now, or patience; None where neither can be promised."""


@dataclass(frozen=True)
class Answer:
    """What is said of one lead; `within` has the probability to convert by each of the version's days, such as `7d`."""

    lead_id: str
    account_id: str | None
    as_of: int
    trial_day: float
    probability: float
    is_pql: bool
    track: Track | None
    within: Mapping[str, float]
    percentile: float
    reasons: list[Reason]
    missing: list[Missing]
    playbook: Advice | None
    receipt_id: str


def answers(scorer: Scorer, leads: Leads, logs: Logs, which: Ints, as_of: Ints, reasons: int = 3) -> Iterator[Answer]:
    """Yield the answer for each lead of `which` at its moment, with at most `reasons` reasons (0: none)."""
    explainer = Explainer(scorer.builder, scorer.artifact.reference)
    scored = scorer.score_leads(leads, logs, which, as_of)
    for start in range(0, len(which), EXPLAINED_AT_ONCE):
        part = slice(start, start + EXPLAINED_AT_ONCE)
        contributions = scorer.contributions(scored.rows[part]) if reasons else None
        for i in range(start, min(start + EXPLAINED_AT_ONCE, len(which))):
            mine = None if contributions is None else contributions[i - start, :-1]
            yield _answer(scorer, explainer, leads, int(which[i]), int(as_of[i]), scored, i, mine, reasons)


def _answer(
    scorer: Scorer, explainer: Explainer, leads: Leads, lead: int, as_of: int, scored: Scored, i: int,
    contributions: Floats | None, most: int,
) -> Answer:  # fmt: skip
    row = scored.rows[i]
    traits = {name: log.value(lead, as_of) for name, log in leads.traits.items()}
    reasons = [] if contributions is None else explainer.reasons(row, contributions, traits, most)
    return Answer(
        lead_id=leads.ids[lead],
        account_id=leads.account_ids[lead],
        as_of=as_of,
        trial_day=round(float(row[0]), 3),
        probability=float(scored.probabilities[i]),
        is_pql=bool(scored.is_pql[i]),
        track="now" if scored.is_pql[i] else "nurture" if scored.is_nurture[i] else None,
        within=dict(zip(scorer.artifact.course.names, scored.within[i].tolist(), strict=True)),
        percentile=round(float(scored.percentiles[i]), 1),
        reasons=reasons,
        missing=[] if contributions is None else explainer.missing(row),
        playbook=advise(scorer.builder.definition, reasons),
        receipt_id=receipt_id(scorer.artifact.version, as_of, row),
    )


def receipt_id(version: str, as_of: int, row: Floats) -> str:
    """Return a name for all that made one score: equal model, moment and feature values, equal name."""
    # NaN has many bit patterns; adding zero to a copy leaves values alone and -0.0 becomes 0.0.
    plain = np.where(np.isnan(row), np.nan, row + 0.0)
    return hashlib.sha256(f"{version}:{as_of}:".encode() + plain.tobytes()).hexdigest()[:20]

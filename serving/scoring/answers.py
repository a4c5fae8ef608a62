"""Scores with everything a rep or an app gets: reasons both ways, what is missing, the playbook and the receipt's name.

Batch, requests and replayed receipts all come through here; what one lead is told does not depend on who stands beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import msgspec
import numpy as np

from features.durations import DAY
from features.leads import NEVER, Leads
from features.logs import Logs
from features.windows import Floats, Ints
from serving.scoring.decision import Flags
from serving.scoring.playbooks import LEADING, Advice, Circumstances, Track, advise
from serving.scoring.reasons import Explainer, Missing, Reason
from serving.scoring.scorer import Scored, Scorer

EXPLAINED_AT_ONCE: Final = 10_000
"""Rows whose contributions are held in memory together."""
NEAR: Final = 0.8
"""From this part of the cutoff on, a lead is near it: it may be over it tomorrow."""
NAMED_BY_INPUT, NAMED_BY_ANSWER = 12, 8
"""Letters of an answer's name that tell what it was made of, and what it says."""
HIGHEST: Final = 90.0
"""The percentile from which on leads are likely where there is no cutoff."""


@dataclass(frozen=True)
class Subject:
    """One lead at one moment: all that an answer is made of beside the version.

    Attributes
    ----------
    as_of, ends_at : microseconds since 1970 UTC; `ends_at` of the trial, None where no end is known
    traits : what was known just before `as_of`, as it was given
    row : float64 array of shape (n_columns,), NaN is "not known"
    """

    lead_id: str
    account_id: str | None
    as_of: int
    ends_at: int | None
    traits: Mapping[str, object]
    row: Floats


@dataclass(frozen=True)
class Asked:
    """How many reasons each way at most (0: none), and for whom: every lead, or PQLs, those to nurture and those near it."""

    reasons: int = 3
    whom: Literal["all", "likely"] = "all"


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
    against: list[Reason]
    missing: list[Missing]
    playbook: Advice | None
    receipt_id: str


def subjects(scorer: Scorer, leads: Leads, logs: Logs, which: Ints, as_of: Ints) -> list[Subject]:
    """Return what is known of each lead of `which` at its moment."""
    rows = scorer.builder.rows(leads, logs, which, as_of)
    known = {name: log.at(which, as_of).tolist() for name, log in leads.traits.items()}
    ends = leads.ends_at[which].tolist()
    return [
        Subject(
            leads.ids[lead], leads.account_ids[lead], moment, None if ends[i] == NEVER else ends[i],
            {name: leads.traits[name].value_at(places[i]) for name, places in known.items()}, rows[i],
        )
        for i, (lead, moment) in enumerate(zip(which.tolist(), as_of.tolist(), strict=True))
    ]  # fmt: skip


def answers_of(scorer: Scorer, subjects: Sequence[Subject], asked: Asked) -> Iterator[Answer]:
    """Yield the answer for each subject, in their order."""
    if not subjects:
        return
    rows = np.stack([subject.row for subject in subjects])
    scored, explainer = scorer.score(rows), scorer.explainer
    wanted = _wanted(scorer, scored, asked)
    for start in range(0, len(rows), EXPLAINED_AT_ONCE):
        part = np.arange(start, min(start + EXPLAINED_AT_ONCE, len(rows)))
        explained = part[wanted[part]]
        relative = explainer.relative(rows[explained], scorer.contributions(rows[explained]))
        place_of = dict(zip(explained.tolist(), relative, strict=True))
        for i in part.tolist():
            yield _answer(scorer, explainer, subjects[i], scored, i, place_of.get(i), asked.reasons)


def _wanted(scorer: Scorer, scored: Scored, asked: Asked) -> Flags:
    """Return who is explained: contributions are far dearer than scores."""
    if asked.reasons == 0:
        return np.zeros(len(scored.rows), bool)
    if asked.whom == "all":
        return np.ones(len(scored.rows), bool)
    if not scorer.decides:
        return (scored.percentiles >= HIGHEST) | scored.is_nurture
    near = scorer.artifact.decision.flags(scored.probabilities / NEAR, scorer.segments(scored.rows))
    return near | scored.is_nurture


def _answer(
    scorer: Scorer, explainer: Explainer, subject: Subject, scored: Scored, i: int, relative: Floats | None, most: int
) -> Answer:
    # What is promised is promised of trials that run.
    runs = subject.ends_at is None or subject.as_of < subject.ends_at
    is_pql = bool(scored.is_pql[i]) and runs
    track: Track | None = "now" if is_pql else "nurture" if scored.is_nurture[i] and runs else None
    reasons: list[Reason] = []
    against: list[Reason] = []
    missing: list[Missing] = []
    playbook = None
    if relative is not None:
        row, traits = subject.row, subject.traits
        reasons = explainer.reasons(row, relative, traits, max(most, LEADING))
        missing = explainer.missing(row)[:most]
        against = explainer.against(row, relative, traits, most, frozenset(one.signal for one in missing))
        left = None if subject.ends_at is None else (subject.ends_at - subject.as_of) / DAY
        leading = [one for one in reasons[:LEADING] if explainer.reference.shows(one.signal)] or reasons[:LEADING]
        playbook = advise(scorer.builder.definition, leading, Circumstances(track, left), explainer.wording)
    answer = Answer(
        lead_id=subject.lead_id,
        account_id=subject.account_id,
        as_of=subject.as_of,
        trial_day=round(float(subject.row[0]), 3),
        probability=float(scored.probabilities[i]),
        is_pql=is_pql,
        track=track,
        within=dict(zip(scorer.artifact.course.names, scored.within[i].tolist(), strict=True)),
        percentile=round(float(scored.percentiles[i]), 1),
        reasons=reasons[:most],
        against=against,
        missing=missing,
        playbook=playbook,
        receipt_id=receipt_id(scorer.version, subject),
    )
    return named(answer)


def receipt_id(version: str, subject: Subject) -> str:
    """Return the beginning of an answer's name: equal model, lead, moment and feature values, equal beginning."""
    # NaN has many bit patterns; adding zero to a copy leaves values alone and -0.0 becomes 0.0.
    plain = np.where(np.isnan(subject.row), np.nan, subject.row + 0.0)
    head = f"{version}:{subject.lead_id}:{subject.as_of}:".encode(errors="surrogatepass")
    return hashlib.sha256(head + plain.tobytes()).hexdigest()[:NAMED_BY_INPUT]


def named(answer: Answer) -> Answer:
    """Return an answer with its whole name: what else makes it another answer, such as the reasons asked for, is in the rest."""
    content = hashlib.sha256(msgspec.json.encode(answer)).hexdigest()[:NAMED_BY_ANSWER]
    return replace(answer, receipt_id=answer.receipt_id + content)

"""Scores with everything a rep or an app gets: reasons both ways, what is missing, the playbook and the receipt's name.

Batch, requests and replayed receipts all come through here; what one lead is told does not depend on who stands beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from features.durations import DAY
from features.leads import NEVER, Leads
from features.logs import Logs
from features.windows import Floats, Ints
from serving.scoring.decision import Flags
from serving.scoring.playbooks import LEADING, Advice, Circumstances, Track
from serving.scoring.reasons import Case, Missing, Reason
from serving.scoring.scorer import Scored, Scorer

ANSWERED_AT_ONCE: Final = 1_000
"""Leads whose scores and contributions are held in memory together."""
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


class Figures(NamedTuple):
    """What `Scored` has of one lead, in plain numbers."""

    probability: float
    percentile: float
    is_pql: bool
    is_nurture: bool
    within: list[float]


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
    for start in range(0, len(subjects), ANSWERED_AT_ONCE):
        yield from _together(scorer, subjects[start : start + ANSWERED_AT_ONCE], asked)


def _together(scorer: Scorer, subjects: Sequence[Subject], asked: Asked) -> Iterator[Answer]:
    rows = np.concatenate([subject.row for subject in subjects]).reshape(len(subjects), -1)
    scored = scorer.score(rows)
    cases = _cases(scorer, scored, subjects, asked)
    for subject, row, figures, case in zip(subjects, _one_spelling(rows), _figures(scored), cases, strict=True):
        yield _answer(scorer, subject, figures, case, asked.reasons, _begins(scorer.version, subject, row))


def _cases(scorer: Scorer, scored: Scored, subjects: Sequence[Subject], asked: Asked) -> Iterable[Case | None]:
    """Return for each lead what its explanation is made of, None for those that are not explained."""
    rows, linear = scored.rows, scored.linear
    # Contributions are far dearer than scores.
    if asked.reasons == 0:
        return repeat(None, len(rows))
    if asked.whom == "all":
        return _explained(scorer, rows, linear, subjects)
    wanted = _likely(scorer, scored)
    who = [subjects[place] for place in np.flatnonzero(wanted).tolist()]
    found = _explained(scorer, rows[wanted], None if linear is None else linear[wanted], who)
    return (next(found) if one else None for one in wanted.tolist())


def _explained(scorer: Scorer, rows: Floats, linear: Floats | None, subjects: Sequence[Subject]) -> Iterator[Case]:
    relative = scorer.explainer.relative(rows, scorer.contributions(rows, linear))
    return scorer.explainer.cases(rows, relative, [subject.traits for subject in subjects])


def _figures(scored: Scored) -> Iterator[Figures]:
    return map(
        Figures,
        scored.probabilities.tolist(), scored.percentiles.tolist(),
        scored.is_pql.tolist(), scored.is_nurture.tolist(), scored.within.tolist(),
    )  # fmt: skip


def _likely(scorer: Scorer, scored: Scored) -> Flags:
    """Return who is a PQL, to nurture, or near it."""
    if not scorer.decides:
        return (scored.percentiles >= HIGHEST) | scored.is_nurture
    near = scorer.artifact.decision.flags(scored.probabilities / NEAR, scorer.segments(scored.rows))
    return near | scored.is_nurture


def _answer(scorer: Scorer, subject: Subject, figures: Figures, case: Case | None, most: int, begins: str) -> Answer:
    # What is promised is promised of trials that run.
    runs = subject.ends_at is None or subject.as_of < subject.ends_at
    is_pql = figures.is_pql and runs
    track: Track | None = "now" if is_pql else "nurture" if figures.is_nurture and runs else None
    reasons: list[Reason] = []
    against: list[Reason] = []
    missing: list[Missing] = []
    playbook = None
    if case is not None:
        explainer = scorer.explainer
        reasons = explainer.speaks(case, max(most, LEADING))
        missing = explainer.missing(case.row)[:most]
        against = explainer.speaks(case, most, way=-1, but=frozenset([one.signal for one in missing]))
        left = None if subject.ends_at is None else (subject.ends_at - subject.as_of) / DAY
        leading = [one for one in reasons[:LEADING] if explainer.reference.shows(one.signal)] or reasons[:LEADING]
        playbook = explainer.advisor.advise(leading, Circumstances(track, left))
    answer = Answer(
        lead_id=subject.lead_id,
        account_id=subject.account_id,
        as_of=subject.as_of,
        trial_day=round(float(subject.row[0]), 3),
        probability=figures.probability,
        is_pql=is_pql,
        track=track,
        within=dict(zip(scorer.artifact.course.names, figures.within, strict=True)),
        percentile=round(figures.percentile, 1),
        reasons=reasons[:most],
        against=against,
        missing=missing,
        playbook=playbook,
        receipt_id=begins,
    )
    return _named(answer)


def receipt_id(version: str, subject: Subject) -> str:
    """Return the beginning of an answer's name: equal model, lead, moment and feature values, equal beginning."""
    return _begins(version, subject, _one_spelling(subject.row))


def _one_spelling(values: Floats) -> Floats:
    # NaN has many bit patterns; adding zero to a copy leaves values alone and -0.0 becomes 0.0.
    found = values + 0.0
    np.putmask(found, np.isnan(found), np.nan)
    return found


def _begins(version: str, subject: Subject, row: Floats) -> str:
    head = f"{version}:{subject.lead_id}:{subject.as_of}:".encode(errors="surrogatepass")
    return hashlib.sha256(head + row.tobytes()).hexdigest()[:NAMED_BY_INPUT]


def _named(answer: Answer) -> Answer:
    """Return an answer with its whole name: what else makes it another answer, such as the reasons asked for, is in the rest."""
    # Nobody has it yet, and to make another one would take longer than to encode it.
    vars(answer)["receipt_id"] += hashlib.sha256(msgspec.json.encode(answer)).hexdigest()[:NAMED_BY_ANSWER]
    return answer

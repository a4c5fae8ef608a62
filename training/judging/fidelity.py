"""Whether reasons are true to the score: what they name is taken away, and the lead is scored again.

Looks at test leads as sales meets them, explains them as any answer is explained, and knows nothing of how a contribution
comes about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from features.dataset import Dataset, Part
from features.definition import Definition, Signal, Trait
from features.windows import Floats, Ints
from serving.scoring.answers import Answer, Asked, Subject, answers_of, subjects
from serving.scoring.calibration import odds_of
from serving.scoring.playbooks import LEADING
from serving.scoring.scorer import Scorer
from training.judging.agreement import Agreement
from training.judging.undone import Bools, rows_without, signals_of_kinds, with_ordinary
from training.proven import umbrellas
from training.snapshots import evenly

MOST_LOOKED_AT: Final = 1_000
"""PQLs that are explained and scored again: so many tell a share of 97 % to one point."""
LEAST_FIRST: Final = 0.97
"""The share of PQLs whose score must fall where what the first reason names had not happened."""
LEAST_THREE: Final = 0.95
"""The share of PQLs whose score must fall by more without the leading reasons than without as much drawn by lot."""
LEAST_COVERED: Final = 0.95
"""The share of PQLs that must have as many reasons as lead to a playbook."""
HARDLY: Final = 1e-9
"""Log-odds that rounding makes."""


@dataclass(frozen=True)
class Named:
    """How many PQLs have a signal or trait as their first reason, and how many among their leading ones."""

    name: str
    first: int
    named: int


@dataclass(frozen=True)
class Spoken:
    """What became of the reasons of PQLs.

    Attributes
    ----------
    pqls : how many were looked at, each at its first flag and one of each account
    first_lowers : those whose score falls without what their first reason names
    three_lower_more : those whose score falls by more without their leading reasons than without as many speakable signals
        drawn by lot from what else they did; what shares events with a leading reason is not drawn
    covered : those with three reasons, each of another signal or trait, speakable and positive
    told, contradicting : reasons for and against in all, and those that contradict the direction of what they name
    fall_first, fall_three, fall_lot : mean fall in log-odds without the first reason, the leading ones, those drawn by lot
    signals : what the reasons are about, the most frequent first
    playbooks : how many PQLs each playbook was given for, by its id, the most frequent first
    """

    pqls: int
    first_lowers: int
    three_lower_more: int
    covered: int
    told: int
    contradicting: int
    fall_first: float
    fall_three: float
    fall_lot: float
    signals: tuple[Named, ...]
    playbooks: tuple[tuple[str, int], ...]

    def share(self, pqls: int) -> float:
        """Return some of the PQLs as a share of all that were looked at."""
        return pqls / self.pqls

    @property
    def holds(self) -> bool:
        """Whether every bar is kept."""
        bars = (LEAST_FIRST, LEAST_THREE, LEAST_COVERED)
        found = (self.first_lowers, self.three_lower_more, self.covered)
        return not self.contradicting and all(self.share(n) >= bar for n, bar in zip(found, bars, strict=True))


def met_as_pqls(daily: pd.DataFrame, ids: Sequence[str]) -> tuple[Ints, Ints]:
    """Return (lead, as_of) of PQLs when they are first met, one of each account, at most MOST_LOOKED_AT evenly over time.

    Ordered by lead, the number in `ids`; `daily` has the columns lead_id, account, as_of and is_pql.
    """
    flagged = daily[daily["is_pql"]].sort_values(["as_of", "lead_id"], kind="stable")
    first = flagged.drop_duplicates("lead_id").drop_duplicates("account")
    first = first.iloc[evenly(np.arange(len(first)), MOST_LOOKED_AT)]
    place_of = {lead: place for place, lead in enumerate(ids)}
    lead = np.array([place_of[one] for one in first["lead_id"]], np.int64)
    order = np.argsort(lead)
    return lead[order], first["as_of"].dt.as_unit("us").astype(np.int64).to_numpy()[order]


def spoken(scorer: Scorer, data: Dataset, leads: Ints, as_of: Ints, seed: int) -> Spoken | None:
    """Return what becomes of the reasons of some leads, each at its moment; None where there are none.

    Parameters
    ----------
    leads, as_of : int64 arrays of shape (n,), ascending numbers of leads of different accounts, and microseconds since 1970
    """
    rng = np.random.default_rng(seed)
    seen = [_seen(scorer, part, as_of[np.searchsorted(leads, part.numbers)], rng) for part in data.parts(leads)]
    return _summed(scorer, seen) if seen else None


@dataclass(frozen=True)
class _Seen:
    """Leads of one part with their answers; `falls` in log-odds, of shape (n, 3): the first, the leading, those by lot."""

    subjects: list[Subject]
    answers: list[Answer]
    falls: Floats


def _seen(scorer: Scorer, part: Part, as_of: Ints, rng: np.random.Generator) -> _Seen:
    met = subjects(scorer, part.leads, part.logs, np.arange(len(part.leads)), as_of)
    told = list(answers_of(scorer, met, Asked(LEADING)))
    world = _World(scorer, part, as_of, np.stack([one.row for one in met]))
    leading = [[reason.signal for reason in answer.reasons] for answer in told]
    without = ([names[:1] for names in leading], leading, world.by_lot(leading, rng))
    return _Seen(met, told, np.stack([world.fall(names) for names in without], axis=1))


@dataclass(frozen=True)
class _World:
    """Leads at their moments, in which something can be made not to have happened."""

    scorer: Scorer
    part: Part
    as_of: Ints
    rows: Floats

    @property
    def definition(self) -> Definition:
        return self.scorer.builder.definition

    @cached_property
    def odds(self) -> Floats:
        return odds_of(self.scorer.probabilities(self.rows))

    def fall(self, names: Sequence[Sequence[str]]) -> Floats:
        """Return by how much the log-odds of each lead fall without some signals and traits."""
        rows = rows_without(self.scorer.builder, self.part.leads, self.part.logs, self.as_of, self._signals(names))
        for place, own in enumerate(names):
            for trait in filter(None, map(self.definition.trait_of.get, own)):
                rows[place] = with_ordinary(self.scorer, rows[place], trait)
        return self.odds - odds_of(self.scorer.probabilities(rows))

    def by_lot(self, leading: Sequence[Sequence[str]], rng: np.random.Generator) -> list[list[str]]:
        """Return so many speakable signals that each lead did, by lot, without those that share events with `leading`.

        Nor those that read all events of another signal and more: taking them away takes several signals at once.
        """
        signals, reads = self.definition.signals, signals_of_kinds(self.scorer.builder).astype(np.int64)
        shared = self._signals(leading).astype(np.int64) @ (reads.T @ reads) > 0
        wide = umbrellas(self.definition)
        several = np.array([signal.name in wide for signal in signals])
        drawn = rng.random(shared.shape)
        drawn[shared | several | ~self._happened()] = np.inf
        order = np.argsort(drawn, axis=1)[:, :LEADING]
        return [
            [signals[place].name for place in places if drawn[row, place] < np.inf]
            for row, places in enumerate(order.tolist())
        ]

    def _signals(self, names: Sequence[Sequence[str]]) -> Bools:
        place_of = {signal.name: place for place, signal in enumerate(self.definition.signals)}
        found = np.zeros((len(names), len(place_of)), bool)
        for row, own in enumerate(names):
            found[row, [place_of[name] for name in own if name in place_of]] = True
        return found

    def _happened(self) -> Bools:
        """Return which speakable signals each lead did: bool array of shape (n, n_signals)."""
        found = np.zeros((len(self.rows), len(self.definition.signals)), bool)
        for place, signal in enumerate(self.definition.signals):
            if signal.speakable:
                columns = self.scorer.builder.columns
                mine = ((at, columns[at].measure) for at in self.scorer.builder.places_of[signal.name])
                told = [at for at, measure in mine if measure and measure.spec.happened]
                found[:, place] = (self.rows[:, told] > 0).any(axis=1)
        return found


def _summed(scorer: Scorer, seen: Sequence[_Seen]) -> Spoken:
    answers = [answer for one in seen for answer in one.answers]
    falls, agreement = np.concatenate([one.falls for one in seen]), Agreement.of(scorer)
    rows = [subject.row for one in seen for subject in one.subjects]
    told = [
        (reason, row, way)
        for answer, row in zip(answers, rows, strict=True)
        for way, reasons in ((1, answer.reasons), (-1, answer.against))
        for reason in reasons
    ]
    first, three, lot = falls.mean(axis=0).tolist()
    playbooks = Counter(answer.playbook.id for answer in answers if answer.playbook)
    return Spoken(
        pqls=len(answers),
        first_lowers=int((falls[:, 0] > HARDLY).sum()),
        three_lower_more=int((falls[:, 1] > falls[:, 2] + HARDLY).sum()),
        covered=sum(_is_covered(scorer.builder.definition, answer) for answer in answers),
        told=len(told),
        contradicting=sum(agreement.contradicts(*one) for one in told),
        fall_first=first,
        fall_three=three,
        fall_lot=lot,
        signals=_named(answers),
        playbooks=tuple(sorted(playbooks.items(), key=lambda one: (-one[1], one[0]))),
    )


def _is_covered(definition: Definition, answer: Answer) -> bool:
    owners: dict[str, Signal | Trait] = {**definition.signal_of, **definition.trait_of}
    good = {one.signal for one in answer.reasons if one.contribution > 0 and owners[one.signal].speakable}
    return len(good) >= LEADING


def _named(answers: Sequence[Answer]) -> tuple[Named, ...]:
    first = Counter(answer.reasons[0].signal for answer in answers if answer.reasons)
    named = Counter(reason.signal for answer in answers for reason in answer.reasons)
    found = [Named(name, first[name], n) for name, n in named.items()]
    return tuple(sorted(found, key=lambda one: (-one.named, -one.first, one.name)))


def figures(found: Spoken) -> Iterator[tuple[str, float]]:
    """Yield every figure under a flat name."""
    yield "reasons_pqls", found.pqls
    for name in ("first_lowers", "three_lower_more", "covered"):
        yield from (
            (f"reasons_{name}_pqls", getattr(found, name)),
            (f"reasons_{name}", found.share(getattr(found, name))),
        )
    yield from (("reasons_told", found.told), ("reasons_contradicting", found.contradicting))
    for name in ("fall_first", "fall_three", "fall_lot"):
        yield f"reasons_{name}", getattr(found, name)

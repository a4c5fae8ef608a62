"""What separates converters, from feature rows alone: every threshold tried, the best of each signal, rules and a card.

All is found on the older stage; the later one only checks what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.columns import Column
from features.rules import Condition, Flags, PointCard, Rule, flags, holds, place_of, points
from training.discovery.card import fit_card
from training.discovery.conditions import conditions, opposite
from training.discovery.evidence import Found, Stage, holm, measure, ranking, sharpness
from training.discovery.found import SURE, Card, Checked, Explored, Signal
from training.discovery.rules import FEWEST_LEADS, Candidate, search
from training.discovery.timing import Day, by_day

STRONGEST: Final = 2
SHARPEST: Final = 2
MOST_CANDIDATES: Final = 60


def explore(
    older: Stage, later: Stage, columns: Sequence[Column], asked: float | None = None, rules: Sequence[Rule] = (),
    card: PointCard | None = None,
) -> Explored:  # fmt: skip
    """Return what separates converters in the older rows, with the same figures on the later ones.

    Parameters
    ----------
    asked : precision for which the fitted card's threshold is chosen; None: twice the share of everyone
    rules, card : written by hand, to be measured beside what is found
    """
    everyone = _check("everyone", (), older, later, columns)
    tried, flagged = _tried(older, later, columns)
    candidates = _candidates(tried, flagged, older, columns)
    wanted = min(0.9, 2 * everyone.older.precision.value) if asked is None else asked
    found, rules_tried = _rules(older, later, columns, candidates)
    fitted = fit_card(older, candidates, columns, wanted)
    return Explored(
        everyone, tried, tuple(_by_owner(tried, older, columns)), found, rules_tried,
        None if fitted is None else carded(fitted, wanted, older, later, columns),
        _confirmed([_check(rule.name, rule.all, older, later, columns) for rule in rules]),
        None if card is None else carded(card, wanted, older, later, columns),
    )  # fmt: skip


def separating(older: Stage, later: Stage, columns: Sequence[Column]) -> tuple[Signal, ...]:
    """Return the best threshold of each signal and trait, as `explore` finds it, the strongest evidence first."""
    best: dict[str, _Tried] = {}
    for one in sorted(_older(older, columns), key=_Tried.evidence):
        best.setdefault(one.condition.owner, one)
    return tuple(_by_owner([one.checked(later, columns) for one in best.values()], older, columns))


def _check(name: str, parts: tuple[Condition, ...], older: Stage, later: Stage, columns: Sequence[Column]) -> Checked:
    first, second = (measure(stage, met(parts, stage, columns)) for stage in (older, later))
    return Checked(name, parts, first, second, first.p)


def met(parts: Sequence[Condition], stage: Stage, columns: Sequence[Column]) -> Flags:
    """Return which snapshots meet all of these conditions, every one where there is none: bool array of shape (n,)."""
    return flags(Rule(name="tried", all=tuple(parts)), stage.rows, columns) if parts else np.ones(len(stage.rows), bool)


@dataclass(frozen=True)
class _Tried:
    """A threshold, which older snapshots meet it, what became of them, and p corrected for all that were tried."""

    condition: Condition
    met: Flags
    found: Found
    corrected: float

    def checked(self, later: Stage, columns: Sequence[Column]) -> Checked:
        then = measure(later, holds(self.condition, later.rows, columns))
        return Checked(self.condition.owner, (self.condition,), self.found, then, self.corrected)

    def evidence(self) -> tuple[float, float]:
        return self.found.p, -self.found.lift.low


def _older(older: Stage, columns: Sequence[Column]) -> list[_Tried]:
    """Return every threshold tried, corrected for all of them.

    Thresholds that the same snapshots meet are one; those that too few leads meet, or ever miss, are none.
    """
    seen: dict[bytes, tuple[Condition, Flags]] = {}
    for _, condition in conditions(columns, older.rows):
        flagged = holds(condition, older.rows, columns)
        if min(len(np.unique(older.lead[flagged])), len(np.unique(older.lead[~flagged]))) >= FEWEST_LEADS:
            seen.setdefault(np.packbits(flagged).tobytes(), (condition, flagged))
    found = [(one, flagged, measure(older, flagged)) for one, flagged in seen.values()]
    corrected = holm(np.array([figures.p for _, _, figures in found]))
    return [_Tried(*one, float(p)) for one, p in zip(found, corrected, strict=True)]


def _tried(older: Stage, later: Stage, columns: Sequence[Column]) -> tuple[tuple[Checked, ...], list[Flags]]:
    """Return every threshold tried, checked on the later stage, and which older snapshots meet it."""
    found = _older(older, columns)
    return tuple(one.checked(later, columns) for one in found), [one.met for one in found]


def _by_owner(tried: Sequence[Checked], older: Stage, columns: Sequence[Column]) -> Iterator[Signal]:
    """Yield the best threshold of each signal and trait, the strongest evidence first."""
    best: dict[str, Checked] = {}
    for one in sorted(tried, key=_evidence):
        best.setdefault(one.name, one)
    told = iter(_confirmed([one for one in best.values() if one.survives]))
    for one in best.values():
        yield Signal(next(told) if one.survives else one, _days(one, older, columns))


def _evidence(one: Checked) -> tuple[float, float]:
    return one.older.p, -one.older.lift.low


def _confirmed(found: Sequence[Checked]) -> tuple[Checked, ...]:
    """Return what was found with whether the later part shows it too: on the same side of 1, and more than chance."""
    corrected = holm(np.array([one.later.p for one in found]))
    return tuple(
        replace(one, confirmed=bool(p < SURE and (one.later.lift.value > 1) == (one.older.lift.value > 1)))
        for one, p in zip(found, corrected, strict=True)
    )


def _days(one: Checked, older: Stage, columns: Sequence[Column]) -> tuple[Day, ...]:
    place = place_of(one.conditions[0], columns)
    if place is None or columns[place].measure is None:
        return ()
    return by_day(older, older.rows[:, place], -1 if one.conditions[0].below is not None else 1)


def _candidates(
    tried: Sequence[Checked], flagged: Sequence[Flags], older: Stage, columns: Sequence[Column]
) -> list[Candidate]:
    """Return the conditions that rules and cards may be made of.

    Of each signal and trait those that survive with the strongest evidence, and the sharpest of the others, turned round
    where meeting them is a bad sign.
    """
    by_owner: dict[str, list[tuple[Checked, Flags]]] = {}
    for pair in sorted(zip(tried, flagged, strict=True), key=lambda pair: _evidence(pair[0])):
        if pair[0].survives:
            by_owner.setdefault(pair[0].name, []).append(pair)
    found = []
    for mine in by_owner.values():
        others = sorted(mine[STRONGEST:], key=lambda pair: -sharpness(pair[0].older.lift))
        for one, its in mine[:STRONGEST] + others[:SHARPEST]:
            if one.older.lift.value > 1:
                found.append(Candidate(one.conditions[0], its))
            elif (other := opposite(one.conditions[0])) is not None:
                found.append(Candidate(other, holds(other, older.rows, columns)))
    return found[:MOST_CANDIDATES]


def _rules(
    older: Stage, later: Stage, columns: Sequence[Column], candidates: Sequence[Candidate]
) -> tuple[tuple[Checked, ...], int]:
    """Return the best rules, corrected for all that were tried, and how many were."""
    picks, tried = search(older, candidates)
    found = []
    for pick in picks:
        wanted = tuple(candidates[i].condition for i in pick.parts)
        one = _check("_and_".join(condition.owner for condition in wanted), wanted, older, later, columns)
        found.append(replace(one, floor=pick.floor, sure=pick.sure, corrected=min(1.0, one.older.p * tried)))
    return _confirmed(found), tried


def carded(card: PointCard, asked: float, older: Stage, later: Stage, columns: Sequence[Column]) -> Card:
    """Return a point card measured on both parts."""
    totals = [points(card, stage.rows, columns) for stage in (older, later)]
    found = [measure(stage, total >= card.threshold) for stage, total in zip((older, later), totals, strict=True)]
    ranks = [
        ranking(total, stage.converted, stage.account) for stage, total in zip((older, later), totals, strict=True)
    ]
    return Card(card, asked, found[0].precision.low >= asked, found[0], found[1], ranks[0], ranks[1])

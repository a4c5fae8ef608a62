"""The best AND rules of two and three conditions: a search over sets of leads kept as bits, so that all of them are tried.

A lead counts once, when it first meets a whole rule; the bits of each age are kept apart for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.rules import Condition, Flags
from features.windows import Floats, Ints
from training.discovery.evidence import Stage, exact_bounds

FLOORS: Final = (0.5, 0.25, 0.1)
"""Shares of all converters that a rule must catch: a rule without such a floor gets ever narrower."""
SHOWN_PER_FLOOR: Final = 3
FEWEST_LEADS: Final = 20
TAIL: Final = 0.05

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Candidate:
    """A condition that may be part of a rule, and which snapshots meet it: bool array of shape (n,)."""

    condition: Condition
    met: Flags


@dataclass(frozen=True)
class Pick:
    """A rule worth showing.

    Attributes
    ----------
    parts : the numbers of its candidates
    floor : the share of converters that it had to catch
    sure : what its precision is at least, allowing for the best of so many rules being lucky
    """

    parts: tuple[int, ...]
    floor: float
    sure: float


@dataclass(frozen=True)
class _Bits:
    """Leads as bits: `met` of shape (n_candidates, n_ages, n_words), `won` of (n_ages, n_words), `converter` of (n_words,).

    `tail` is how often the lower bound of one rule may be too high.
    """

    met: Words
    won: Words
    converter: Words
    tail: float

    @classmethod
    def of(cls, stage: Stage, candidates: Sequence[Candidate], tail: float) -> _Bits:
        def plane(flags: Flags) -> Words:
            table = np.zeros((len(stage.days), -(-stage.leads // 64) * 64), bool)
            table[stage.age[flags], stage.lead[flags]] = True
            return np.packbits(table, axis=1).view(np.uint64)

        met = np.stack([plane(candidate.met) for candidate in candidates])
        won = plane(stage.converted == 1)
        return cls(met, won, np.bitwise_or.reduce(won, axis=0), tail)

    def judge(self, met: Words) -> tuple[Floats, Floats]:
        """Return the lower bounds of precision of rules with these bits, 0 where too few leads meet one, and the coverages."""
        leads, won, caught = self.count(met)
        low, _ = exact_bounds(won, np.maximum(leads, 1), self.tail)
        converters = max(1, int(_count(self.converter[None])[0]))
        return np.where(leads >= FEWEST_LEADS, low, 0.0), caught / converters

    def count(self, met: Words) -> tuple[Ints, Ints, Ints]:
        """Return (leads, converted, converters caught) of rules with these bits: uint64 array (m, n_ages, n_words)."""
        seen = np.bitwise_or.accumulate(met, axis=1)
        first = met.copy()
        first[:, 1:] &= ~seen[:, :-1]
        ever = seen[:, -1]
        return _count(ever), _count((first & self.won).reshape(len(met), self.won.size)), _count(ever & self.converter)


def _count(bits: Words) -> Ints:
    counts: Ints = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return counts


@dataclass(frozen=True)
class _Tried:
    """Rules of one length: candidates (m, length), lower bounds of precision and coverage (m,), what they must beat (m,)."""

    parts: Ints
    low: Floats
    coverage: Floats
    beat: Floats


def search(stage: Stage, candidates: Sequence[Candidate]) -> tuple[tuple[Pick, ...], int]:
    """Return the rules with the highest lower bound of precision at each floor of coverage, and how many were tried.

    The bounds hold for all rules together (Bonferroni), or few leads with luck would win. No rule has two conditions on
    one signal. A rule of three is kept only where it beats every pair in it, and one of two only where it beats both of
    its conditions: what adds nothing is left out.
    """
    if len(candidates) < 2:
        return (), 0
    owners = np.unique([one.condition.owner for one in candidates], return_inverse=True)[1]
    tried = combinations(owners)
    bits = _Bits.of(stage, candidates, TAIL / max(1, tried))
    alone, _ = bits.judge(bits.met)
    pairs = _pairs(bits, owners, alone)
    found = [pairs, *_triples(bits, owners, pairs)]
    # A rule that is the best at several floors is told at the one that asks most.
    once: dict[tuple[int, ...], Pick] = {}
    for pick in (pick for floor in FLOORS for pick in _best(found, owners, floor)):
        once.setdefault(pick.parts, pick)
    return tuple(once.values()), tried


def combinations(owners: Ints) -> int:
    """Return how many pairs and triples there are without two of one owner.

    >>> combinations(np.array([0, 0, 1, 2]))
    7
    """
    one = two = three = 0
    for size in np.bincount(owners).tolist():
        one, two, three = one + size, two + one * size, three + two * size
    return two + three


def _pairs(bits: _Bits, owners: Ints, alone: Floats) -> _Tried:
    parts, lows, coverages = [], [], []
    for i in range(len(owners) - 1):
        others = i + 1 + np.flatnonzero(owners[i + 1 :] != owners[i])
        low, coverage = bits.judge(bits.met[others] & bits.met[i])
        parts.append(np.column_stack([np.full_like(others, i), others]))
        lows.append(low)
        coverages.append(coverage)
    table = np.concatenate(parts)
    return _Tried(table, np.concatenate(lows), np.concatenate(coverages), alone[table].max(axis=1))


def _triples(bits: _Bits, owners: Ints, pairs: _Tried) -> Iterator[_Tried]:
    """Yield the triples, pair by pair; pairs that catch too few converters are not made narrower still."""
    best = np.zeros((len(owners), len(owners)))
    best[pairs.parts[:, 0], pairs.parts[:, 1]] = pairs.low
    for i, j in pairs.parts[pairs.coverage >= min(FLOORS)].tolist():
        others = j + 1 + np.flatnonzero((owners[j + 1 :] != owners[i]) & (owners[j + 1 :] != owners[j]))
        if len(others):
            low, coverage = bits.judge(bits.met[others] & (bits.met[i] & bits.met[j]))
            beat = np.maximum(best[i, j], np.maximum(best[i, others], best[j, others]))
            parts = np.column_stack([np.full_like(others, i), np.full_like(others, j), others])
            yield _Tried(parts, low, coverage, beat)


def _best(found: Sequence[_Tried], owners: Ints, floor: float) -> Iterator[Pick]:
    """Yield the best few rules that catch enough converters, no two of them about the same signals."""
    fit = [(one, np.flatnonzero((one.coverage >= floor) & (one.low > one.beat))) for one in found]
    ranked = sorted(
        ((float(one.low[place]), -one.parts.shape[1], tuple(one.parts[place].tolist())) for one, kept in fit for place in kept),
        reverse=True,
    )  # fmt: skip
    seen: set[frozenset[int]] = set()
    for low, _, parts in ranked:
        about = frozenset(owners[list(parts)].tolist())
        if about not in seen:
            seen.add(about)
            yield Pick(parts, floor, low)
        if len(seen) == SHOWN_PER_FLOOR:
            return

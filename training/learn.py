"""From feature rows to a ranking, its calibration, its cutoff and its course: all that a version decides with.

Looks at the parts before the test only; knows nothing of files, reports or registries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.dataset import Dataset
from features.durations import DAY
from features.errors import Refusal
from features.leads import Leads
from features.matrix import FeatureBuilder
from features.policies import CutoffPolicy, PrecisionPolicy
from features.segments import levels_of_trait, segment_numbers
from features.windows import Floats, Ints
from serving.scoring.calibration import Sigmoid, odds_of
from serving.scoring.course import Course, Later
from serving.scoring.decision import Decision, NoCutoff
from training.calibrate import SAME, UPDATING, calibrate, updated
from training.cutoff import choose_cutoff
from training.fit import FitSettings, Fitted, Tick, fit
from training.ladder import Chosen, climb
from training.later import Slow, fit_later
from training.leaks import too_good
from training.rounds import last_met, rounds
from training.snapshots import Snapshots, evenly
from training.split import Split, folds
from training.watched import Watched, known_until, lessons, stage_of, watched, young

MOST_MET: Final = 20_000
"""Held-out leads that set the cutoff, evenly over time: so many carry any promise."""
TOLD: Final = (7.0, 14.0, 30.0, 90.0)
"""Days within which every answer says how likely a conversion is, as far as the definition looks ahead."""


@dataclass(frozen=True)
class Table:
    """Snapshots with their features.

    Attributes
    ----------
    snapshots : of shape (n,)
    rows : float64 array of shape (n, n_columns)
    """

    data: Dataset
    builder: FeatureBuilder
    snapshots: Snapshots
    parts: Split
    rows: Floats

    @property
    def leads(self) -> Leads:
        return self.data.leads

    @property
    def horizon(self) -> float:
        """Days within which a conversion counts."""
        return self.data.definition.conversion.horizon / DAY

    def seen(self, numbers: Ints, until: int) -> Watched:
        """Return what had been seen of some snapshots by a moment."""
        return watched(self.rows, self.snapshots, self.leads, numbers, until)


@dataclass(frozen=True)
class Met:
    """Held-out leads on every day on which they may be met.

    Attributes
    ----------
    snapshots : of shape (n,)
    rows : float64 array of shape (n, n_columns)
    """

    snapshots: Snapshots
    rows: Floats


@dataclass(frozen=True)
class Learned:
    """What a version decides with, and on which rows it was chosen.

    Attributes
    ----------
    held : numbers of the snapshots that set the cutoff
    probabilities : float64 array of shape (n_held,), of those snapshots by rankings that had not seen them
    met : the same leads on every day
    lessons : how many snapshots were learned from, and how many of them in the middle of their horizon
    refusal : why nobody may be called a PQL by it, or None
    """

    fitted: Fitted
    chosen: Chosen
    calibration: Sigmoid
    held: Ints
    probabilities: Floats
    met: Met
    decision: Decision
    course: Course
    lessons: tuple[int, int]
    refusal: Refusal | None


def seen_to_learn(table: Table) -> tuple[Ints, Watched]:
    """Return the numbers of the snapshots that are learned from, young ones last, and what had been seen of them by then."""
    numbers = np.concatenate([table.parts.fit, young(table.snapshots, table.parts)])
    return numbers, table.seen(numbers, known_until(table.snapshots, table.parts))


def learn(table: Table, settings: FitSettings, tick: Tick = lambda _: None) -> Learned:
    """Return what was learned from the rows before the test."""
    parts, columns = table.parts, table.builder.columns
    numbers, seen = seen_to_learn(table)
    lesson, places = lessons(seen, 0.0, table.horizon, columns, settings.ridge)
    used = numbers[places]
    blocks = folds(table.snapshots, used, converted=lesson.converted)
    fitted = fit(lesson, columns, blocks, settings, tick)
    accounts, leads = table.snapshots.account[used], table.snapshots.lead[used]
    chosen = climb(lesson, accounts, leads, fitted, table.data.definition, columns)
    unseen = chosen.unseen[: len(parts.fit)]
    tick("calibrating and choosing the cutoff")
    refusal = chosen.refusal or too_good(unseen, table.snapshots.converted[parts.fit])
    try:
        calibration, held, probabilities = _calibrated(table, chosen, unseen)
    except Refusal as upside_down:
        refusal, calibration, held, probabilities = upside_down, SAME, parts.fit, SAME.probabilities(unseen)
    met = _met(table, held)
    decision: Decision
    if refusal is None:
        block = {account: number for number, (_, out) in enumerate(blocks) for account in accounts[out].tolist()}
        decision = _decision(table, met, chosen, fitted, calibration, block)
    else:
        policy = table.data.definition.cutoff
        decision = NoCutoff(policy.at_least, policy.confidence, str(refusal))
    course = _course(table, numbers, seen, settings, (held, probabilities, decision))
    amount = len(used), len(used) - len(parts.fit)
    return Learned(fitted, chosen, calibration, held, probabilities, met, decision, course, amount, refusal)


def _met(table: Table, held: Ints) -> Met:
    """Return the leads of some snapshots on every day, at most so many of them as set a cutoff."""
    everybody = np.unique(table.snapshots.lead[held])
    which = evenly(everybody, MOST_MET)
    met = rounds(table.data, which, table.parts.test_from, complete=True)
    return Met(met, table.data.rows(table.builder, met.lead, met.as_of))


def _decision(
    table: Table, on: Met, chosen: Chosen, fitted: Fitted, calibration: Sigmoid, block: Mapping[int, int]
) -> Decision:
    """Return the cutoff, chosen on held-out leads on every day on which they may be met.

    `block` tells which block of accounts each account was held out in.
    """
    met, rows = on.snapshots, on.rows
    if table.parts.cutoff is not None or chosen.rung == "points":
        margins = chosen.ranking.margins(rows)
    else:
        places = np.array([block[account] for account in met.account.tolist()], np.int64)
        margins = fitted.unseen(rows, places, trees=chosen.rung == "lightgbm")
    policy, until = table.data.definition.cutoff, table.data.until
    return choose_cutoff(
        calibration.probabilities(margins), met, policy, *segments_of(table.builder, rows), until, _of_all(table, met)
    )


def _of_all(table: Table, met: Snapshots) -> float:
    """Return the share of the leads that began in the same time which are among those met."""
    if not len(met):
        return 1.0
    began = table.leads.started_at
    beside = (began >= met.started_at.min()) & (began <= met.started_at.max())
    return len(np.unique(met.lead)) / int(beside.sum())


def _calibrated(table: Table, chosen: Chosen, unseen: Floats) -> tuple[Sigmoid, Ints, Floats]:
    """Return the calibration, and the rows that set the cutoff with their probabilities.

    The cutoff part is the newest that is known, and the ranking has seen nothing of it: it brings the calibration up to
    date. That keeps the order, and the promise is about ranks only. Without such a part nothing is newer than what the
    calibration was learned from.
    """
    parts, older = table.parts, table.snapshots.take(table.parts.fit)
    learned = calibrate(unseen, older.converted, older.weight)
    if parts.cutoff is None:
        return learned, parts.fit, learned.probabilities(unseen)
    margins, newest = chosen.ranking.margins(table.rows[parts.cutoff]), table.snapshots.take(parts.cutoff)
    calibration = updated(learned, margins, newest.converted, newest.weight, UPDATING)
    return calibration, parts.cutoff, calibration.probabilities(margins)


def segments_of(builder: FeatureBuilder, rows: Floats) -> tuple[Ints | None, tuple[str, ...]]:
    """Return the segment number of each row and the segments' names; (None, ()) where cutoffs are the same for all."""
    trait = builder.definition.cutoff.segments
    if trait is None:
        return None, ()
    names = levels_of_trait(builder.definition, builder.levels, trait)
    return segment_numbers(rows, builder.columns, trait), names


def _course(
    table: Table, numbers: Ints, seen: Watched, settings: FitSettings, chosen: tuple[Ints, Floats, Decision]
) -> Course:
    """Return how probabilities grow with time, measured on the rows that set the cutoff."""
    held, probabilities, _ = chosen
    horizon, ages, until = table.horizon, table.data.definition.scored_days(), last_met(table.data.definition)
    whole = table.seen(held, table.data.until)
    odds = odds_of(probabilities)
    days = tuple(day for day in TOLD if day < horizon)
    soon = stage_of(odds, whole, ages, (*days, horizon))
    end = table.data.definition.conversion.later
    if end is None or end / DAY <= horizon:
        return Course(ages, soon, None, until)
    after = tuple(day for day in TOLD if horizon < day < end / DAY)
    blocks = folds(table.snapshots, numbers, converted=(seen.took < seen.seen).astype(np.int64))
    slow = fit_later(seen, blocks, table.builder.columns, horizon, (*after, end / DAY), settings.ridge)
    return Course(ages, soon, None if slow is None else _later(table, slow, chosen), until)


def _later(table: Table, slow: Slow, chosen: tuple[Ints, Floats, Decision]) -> Later:
    """Return the later stage with the cutoff for nurturing, on leads that are no PQL, by who converts by its end."""
    held, probabilities, decision = chosen
    if table.parts.cutoff is None:
        odds = slow.unseen[: len(held)]
    else:
        odds = slow.calibration.log_odds(slow.scorecard.margins(table.rows[held]))
    latest = 1.0 - (1.0 - probabilities) / (1.0 + np.exp(odds))
    end = slow.stage.days[-1]
    seen = table.seen(held, table.data.until)
    is_pql = decision.flags(probabilities, segments_of(table.builder, table.rows[held])[0])
    open_ = np.flatnonzero((seen.seen >= end) & ~is_pql)
    won = (seen.took[open_] < end).astype(np.int64)
    rows = table.snapshots.take(held[open_])
    judged = replace(rows, converted=won, label_end=rows.as_of + round(end * DAY))
    policy = nurture_policy(table.data.definition.cutoff)
    nurture = choose_cutoff(latest[open_], judged, policy, until=table.data.until, of_all=_of_all(table, judged))
    return Later(slow.stage, slow.scorecard, slow.calibration, nurture)


def nurture_policy(policy: CutoffPolicy) -> CutoffPolicy:
    """Return what leads worth nurturing must keep: the promise of PQLs, given more time, or the policy where none is made.

    Without segments, which so few leads would not carry.
    """
    if policy.at_least is not None:
        kept = {name: getattr(policy, name) for name in ("at_least", "confidence", "valid_for")}
        return PrecisionPolicy.model_construct(policy="precision", leads_per_week=None, segments=None, **kept)
    return policy.model_copy(update={"segments": None})

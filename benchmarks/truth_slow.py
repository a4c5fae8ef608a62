"""Whether slow burners are found, and whether the later horizons tell the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.truth_page import Bar, Part, table
from benchmarks.truth_slow_peer import hazards
from benchmarks.truth_slow_world import AGES, APART, COLUMNS, HORIZON, LATEST, MIXED, START, Buyers, World, draw
from features.definition import parse
from features.durations import DAY
from features.windows import Floats
from serving.scoring.calibration import Sigmoid
from serving.scoring.course import Course, Later
from serving.scoring.decision import NoCutoff
from training.calibrate import calibrate
from training.fit import FitSettings, Ranking, fit
from training.ladder import climb
from training.later import fit_later
from training.split import folds
from training.watched import Watched, lessons, stage_of, watched

TITLE: Final = "Slow burners"
HISTORIES: Final = (540, 180)
PER_DAY: Final = 15
SEEDS: Final = 10
MIXED_SEEDS: Final = 5
LATER: Final = 15_000
TOP: Final = 0.15
WEEK: Final = 7.0
SETTINGS: Final = FitSettings()
NOBODY: Final = NoCutoff(None, 0.9, "not asked for")
DEFINITION: Final = parse("""
product: Slow
trial: {length: 30d}
conversion: {event: bought, horizon: 14d}
score_at: [3d, 14d, 30d]
windows: [7d, trial]
cutoff: {policy: precision, at_least: 0.3}
signals:
  - {name: pricing, kind: value, events: [pricing], text: "{count} {window}"}
""")


@dataclass(frozen=True)
class Scores:
    """A model that has learned: the score within the horizon, and its course."""

    ranking: Ranking
    calibration: Sigmoid
    course: Course

    def probabilities(self, rows: Floats) -> Floats:
        """Return the probabilities by each of the course's days."""
        return self.course.probabilities(self.calibration.probabilities(self.ranking.margins(rows)), rows)

    def within(self, days: float, rows: Floats) -> Floats:
        """Return the probability to convert within so many days."""
        found: Floats = self.probabilities(rows)[:, self.course.days.index(days)]
        return found


@dataclass(frozen=True)
class Found:
    """What one product came to; `caught` are shares of slow buyers among the best 15 %."""

    caught: float
    caught_soon: float
    caught_peer: float
    caught_oracle: float
    crossing: float
    ratio: float
    ratio_peer: float
    ratio_soon: float
    loss: float
    loss_peer: float
    week: float
    week_mature: float
    seconds: float
    seconds_peer: float


def slow_burners() -> Part:
    """Measure the bars on slow burners."""
    found = {days: [one(days, seed) for seed in range(SEEDS)] for days in HISTORIES}
    mixed = [one(HISTORIES[0], seed, buyers=MIXED) for seed in range(MIXED_SEEDS)]
    return Part(TITLE, _world(), [*_bars(found), _mixed_bar(mixed)], _table(found))


def one(days: int, seed: int, later: int = LATER, buyers: Buyers = APART) -> Found:
    """Measure one product with so many days of history."""
    rng = np.random.default_rng([seed, days])
    past, future = draw(rng, PER_DAY * days, days, buyers), draw(rng, later, 30, buyers)
    until = START + days * DAY
    seen = _seen(past, until)
    begun = time.process_time()
    ours = learned(past, until)
    between = time.process_time()
    peer = hazards(seen)
    seconds, seconds_peer = between - begun, time.process_time() - between
    mature = learned(past, until, young=False)
    rows, truth = future.rows, future.truth
    curves, soon, theirs = ours.probabilities(rows), ours.within(HORIZON, rows), peer.probabilities(rows)[:, -1]
    latest = curves[:, -1]
    print(f"  {days} days, product {seed + 1}", flush=True)
    return Found(
        caught(latest, future), caught(soon, future), caught(theirs, future), caught(truth, future),
        float((np.diff(curves, axis=1) < 0).any(axis=1).mean()),
        truth.mean() / latest.mean(), truth.mean() / theirs.mean(), truth.mean() / soon.mean(),
        _loss(truth, latest), _loss(truth, theirs), _auc(ours, future), _auc(mature, future), seconds, seconds_peer,
    )  # fmt: skip


def learned(past: World, until: int, *, young: bool = True) -> Scores:
    """Return what our training learns of horizon and later, as `training.learn` does without a part for the cutoff.

    `young` is whether trials count that are in the middle of their horizon.
    """
    numbers = np.flatnonzero(past.table.as_of < until)
    if not young:
        numbers = numbers[past.table.label_end[numbers] <= until]
    seen = watched(past.rows, past.table, past.leads, numbers, until)
    lesson, places = lessons(seen, 0.0, HORIZON, COLUMNS, SETTINGS.ridge)
    used = numbers[places]
    fitted = fit(lesson, COLUMNS, folds(past.table, used), SETTINGS)
    chosen = climb(lesson, past.table.account[used], past.table.lead[used], fitted, DEFINITION, COLUMNS)
    whole = np.flatnonzero(lesson.shift == 0)
    calibration = calibrate(chosen.unseen[whole], lesson.converted[whole], lesson.weight[whole])
    odds = calibration.log_odds(chosen.unseen[whole])
    soon = stage_of(odds, seen.take(places[whole]), AGES, (WEEK, HORIZON))
    slow = fit_later(seen, folds(past.table, numbers), COLUMNS, HORIZON, (30.0, LATEST), SETTINGS.ridge)
    later = None if slow is None else Later(slow.stage, slow.scorecard, slow.calibration, NOBODY)
    return Scores(chosen.ranking, calibration, Course(AGES, soon, later))


def _seen(past: World, until: int) -> Watched:
    numbers = np.flatnonzero(past.table.as_of < until)
    return watched(past.rows, past.table, past.leads, numbers, until)


def caught(probabilities: Floats, later: World) -> float:
    """Return which share of looks at slow buyers is among the best 15 % of all looks."""
    order = np.argsort(-probabilities, kind="stable")[: round(TOP * len(probabilities))]
    return float(later.slow[order].sum() / later.slow.sum())


def _loss(truth: Floats, probabilities: Floats) -> float:
    return float(-np.mean(truth * np.log(probabilities) + (1 - truth) * np.log1p(-probabilities)))


def _auc(scores: Scores, later: World) -> float:
    return float(roc_auc_score(later.took < WEEK, scores.within(WEEK, later.rows)))


def _mean(found: Sequence[Found], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in found]))


def _bars(found: dict[int, list[Found]]) -> list[Bar]:
    bars = []
    for days, each in found.items():
        ours, soon = _mean(each, "caught"), _mean(each, "caught_soon")
        said = f"{ours / soon:.2f} times ({ours:.3f} of slow buyers; {soon:.3f} by 14 days)"
        what = f"slow buyers in the best 15 % by 90 days, against by 14 days, {days} days of history"
        bars.append(Bar(what, "at least 1.6 times", said, ours >= 1.6 * soon))
    for days, each in found.items():
        ratios = [one.ratio for one in each]
        said = f"{np.mean(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})"
        good = bool(0.95 <= np.mean(ratios) <= 1.05)
        bars.append(Bar(f"O/E by 90 days, mean of {len(each)} products, {days} days", ".95 to 1.05", said, good))
    crossing = max(one.crossing for each in found.values() for one in each)
    return [*bars, Bar("leads whose horizons cross", "0", f"{crossing:.0%}", crossing == 0)]


def _mixed_bar(found: Sequence[Found]) -> Bar:
    ours, soon = _mean(found, "caught"), _mean(found, "caught_soon")
    said = f"{ours / soon:.2f} times ({ours:.3f}; {soon:.3f} by 14 days; the truth {_mean(found, 'caught_oracle'):.3f})"
    what = f"the same where many slow buyers convert soon and quick ones are few, {HISTORIES[0]} days, {len(found)} products"
    return Bar(what, "at least 1.6 times", said, ours >= 1.6 * soon)


def _table(found: dict[int, list[Found]]) -> str:
    head = ("", *(f"{days} days of history" for days in found))
    rows = [(said, *(f"{_mean(each, name):.{digits}f}" for each in found.values())) for name, said, digits in _LINES]
    said = f"Means of {SEEDS} products; the peer is one LightGBM over (look, bucket of days) rows with the bucket as a column."
    return f"{said}\n\n{table(head, rows)}"


_LINES: Final = (
    ("caught", "slow buyers caught by our 90 days", 3),
    ("caught_peer", "by the peer's", 3),
    ("caught_soon", "by our 14 days", 3),
    ("caught_oracle", "by the truth, which knows each lead's interest", 3),
    ("loss", "true log loss by 90 days, ours", 4),
    ("loss_peer", "the peer's", 4),
    ("ratio", "O/E by 90 days, ours", 3),
    ("ratio_peer", "the peer's", 3),
    ("ratio_soon", "of the 14 days, taken for 90", 2),
    ("week", "AUC by 7 days, trials in the middle of their horizon learned from", 4),
    ("week_mature", "left out", 4),
    ("seconds", "CPU seconds, ours", 1),
    ("seconds_peer", "the peer's", 1),
)
assert {name for name, *_ in _LINES} <= {field.name for field in fields(Found)}


def _world() -> str:
    world = draw(np.random.default_rng(0), 60_000, 30)
    first = world.table.as_of - world.table.started_at == round(AGES[0] * DAY)
    soon, latest = (float((world.took[first] < days).mean()) for days in (HORIZON, LATEST))
    return f"""Quick buyers (half of them within 10 days) and slow ones (70 days on average), each drawn to behaviours of their
own, are looked at on days 3, 14 and 30 of their trial. From day 3 on {soon:.1%} convert within 14 days and {latest:.1%} within
90. {PER_DAY} leads begin a day; nothing is known after the end of the history. {LATER:,} later leads of each product judge.

The factor depends on the world: this one is set so that a 14-day model finds one slow buyer in five. A second one, in which
it finds more, stands beside it."""

"""All that test predictions say of a version: nothing but the predictions and the decision is looked at.

The names of the figures are those of metrics.json and of the report, where each can be found and recomputed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from training.evaluate import METRICS, Interval, at_ages, row_weights
from training.judging import backtest
from training.judging.backtest import Ahead, Day, Later, trials_of
from training.judging.breakdown import Part, parts
from training.judging.choices import CAPACITIES, Choice, Rival, by_segment, capacity, rivals
from training.judging.recalibration import CoxTest, cox_test
from training.judging.reliability import Decomposition, Reliability, decompose, reliability_of

SEED: Final = 7
SIMPLER: Final = ("logistic", "base_rate")
COMPARED: Final = ("auc", "average_precision", "log_loss")


@dataclass(frozen=True)
class Evidence:
    """Who judged, how calibrated a version is, overall and by part, and what it would have done day by day.

    `judged` counts snapshots, leads, and leads that convert; `simpler` has the figures of COMPARED for simpler ways to score.
    """

    judged: tuple[int, int, int]
    simpler: dict[str, dict[str, float]]
    curve: Reliability
    decomposition: Decomposition
    cox: CoxTest
    by_day: tuple[Part, ...]
    by_segment: tuple[Part, ...]
    segment_pqls: tuple[Choice, ...]
    days: tuple[Day, ...]
    ahead: Ahead | None
    capacity: tuple[Choice, ...]
    rivals: tuple[Rival, ...]
    later: Later | None


def evidence(daily: pd.DataFrame, until: pd.Timestamp) -> Evidence:
    """Return what test predictions say; `until` is the end of the data, until which conversions were seen.

    Ranking and calibration are judged at the ages of learning, and flags on every day, as leads are met.
    """
    trials, table = trials_of(daily, SEED), at_ages(daily)
    return Evidence(
        judged=_counted(table),
        simpler={way: _simpler(table, way) for way in SIMPLER},
        curve=reliability_of(table),
        decomposition=decompose(table),
        cox=cox_test(table["converted"].to_numpy(), table["probability"].to_numpy(float), table["account"]),
        by_day=parts(table, "trial_day", SEED),
        by_segment=parts(table, "segment", SEED) if table["segment"].notna().any() else (),
        segment_pqls=by_segment(trials),
        days=backtest.by_day(trials, SEED),
        ahead=backtest.ahead(trials),
        capacity=capacity(trials),
        rivals=rivals(trials, SEED),
        later=backtest.later(trials, until, SEED),
    )


def _counted(table: pd.DataFrame) -> tuple[int, int, int]:
    return len(table), table["lead_id"].nunique(), table.loc[table["converted"] == 1, "lead_id"].nunique()


def _simpler(table: pd.DataFrame, way: str) -> dict[str, float]:
    outcomes, weight = table["converted"].to_numpy(), row_weights(table)
    told = table[way].to_numpy(np.float64)
    return {name: METRICS[name](outcomes, told, weight) for name in COMPARED}


def figures(found: Evidence) -> dict[str, float]:
    """Return every figure under a flat name, intervals as `…_low` and `…_high`."""
    return dict(_figures(found))


def _figures(found: Evidence) -> Iterator[tuple[str, float]]:
    yield from zip(("judged_snapshots", "judged_leads", "judged_converted"), found.judged, strict=True)
    for way, known in found.simpler.items():
        yield from ((f"{way}_{name}", value) for name, value in known.items())
    yield "reliability_inside", found.curve.inside
    corp, cox = found.decomposition, found.cox
    yield from (("miscalibration", corp.miscalibration), ("discrimination", corp.discrimination))
    yield from (("uncertainty", corp.uncertainty), ("cox_statistic", cox.statistic), ("cox_p_value", cox.p_value))
    yield from (("miscalibration_perfect_low", corp.low), ("miscalibration_perfect_high", corp.high))
    judged = [*found.by_day, *found.by_segment]
    yield from (("parts", len(judged)), ("parts_off", sum(part.off for part in judged)))
    for part in found.by_day:
        yield from _part(f"day_{part.name}", part)
    for place, part in enumerate(found.by_segment, 1):  # names of segments are anybody's words
        yield from _part(f"segment_{place}", part)
    for place, choice in enumerate(found.segment_pqls, 1):
        yield from _choice(f"segment_{place}_pql", choice)
    for day in found.days:
        yield from _day(f"day_{day.day:g}", day)
    if found.ahead is not None:
        yield from _ahead(found.ahead)
    for choice, share in zip(found.capacity, CAPACITIES, strict=True):
        yield from _choice(f"capacity_{100 * share:.0f}", choice)
    for rival in found.rivals:
        name = f"backtest_{rival.other.way}"
        yield from _choice(name, rival.other)
        yield from _choice(f"{name}_ours", rival.ours)
        yield from spread(f"{name}_gain", rival.gain)
    if found.later is not None:
        yield from _later(found.later)


def spread(name: str, found: Interval) -> Iterator[tuple[str, float]]:
    """Yield a figure and the ends of its interval."""
    yield from ((name, found.value), (f"{name}_low", found.low), (f"{name}_high", found.high))


def _part(name: str, part: Part) -> Iterator[tuple[str, float]]:
    yield from ((f"{name}_snapshots", part.snapshots), (f"{name}_leads", part.leads))
    yield from ((f"{name}_observed", part.observed), (f"{name}_expected", part.expected))
    yield from spread(f"{name}_observed_to_expected", part.ratio)


def _day(name: str, day: Day) -> Iterator[tuple[str, float]]:
    yield from ((f"{name}_open", day.leads), (f"{name}_pqls", day.pqls))
    for what in ("base_rate", "auc", "precision", "caught"):
        yield from spread(f"{name}_{what}", getattr(day, what))


def _ahead(found: Ahead) -> Iterator[tuple[str, float]]:
    yield from (("pql_ahead_days", found.median), ("pql_ahead_count", len(found.days)))
    yield from (("pql_ahead_days_quarter", found.quarter), ("pql_ahead_days_three_quarters", found.three_quarters))
    yield from spread("pql_buying", found.buying)


def _choice(name: str, choice: Choice) -> Iterator[tuple[str, float]]:
    yield f"{name}_leads", choice.leads
    yield from spread(f"{name}_precision", choice.precision)
    yield from spread(f"{name}_caught", choice.caught)


def _later(found: Later) -> Iterator[tuple[str, float]]:
    yield from (("later_days", found.days), ("later_leads", found.leads), ("later_known", found.known))
    yield from (("later_expected", found.expected), ("later_old", found.old))
    yield from spread("later_observed_to_expected", found.ratio)
    yield from spread("later_share", found.share)

"""The section on whether the number can be trusted: what calibration shows over all scores and in each part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from training.judging.breakdown import Part
from training.judging.evidence import Evidence
from training.reporting import figures_calibration as pictures
from training.reporting.words import Facts, Said, count, number, percent, say

RARE: Final = 0.001
"""Chances below this are said as one: "fewer than 1 in 1,000"."""

# For each figure of calibration: its name, the right value, and what an interval around, below and above it says of the scores.
_LINES: Final = {
    "observed_to_expected": (
        "observed / expected", 1,
        "On average they look right", "On average they are too high", "On average they are too low",
    ),
    "calibration_slope": (
        "calibration slope", 1, "They look as far apart as they should be",
        "They are overconfident: high ones are too high, low ones too low",
        "They are too timid: high ones should be higher, low ones lower",
    ),
    "calibration_intercept": (
        "calibration intercept", 0, "They do not look shifted", "They are shifted up: leads convert less than told",
        "They are shifted down: leads convert more than told",
    ),
}  # fmt: skip


def small(value: float) -> str:
    """Return a small figure with four digits after the point."""
    return f"{value:.4f}"


def section(found: Evidence, facts: Facts) -> dict[str, Any]:
    """Return the pictures and sentences of the section."""
    rows = [*_labelled(found.by_day, "day_", "Day "), *_labelled(found.by_segment, "segment_", "")]
    return {
        "reliability": pictures.reliability(found.curve), "inside": facts.show("reliability_inside", percent),
        "miscalibration": _miscalibration(found, facts), "calibration": [*_lines(facts), _cox(found, facts)],
        "parts": pictures.parts([(label, part) for _, label, part in rows]) if len(rows) > 1 else None,
        "parts_off": _off(facts), "part_rows": list(_part_rows(rows, facts)),
    }  # fmt: skip


def _labelled(parts: tuple[Part, ...], kind: str, before: str) -> Iterator[tuple[str, str, Part]]:
    for place, part in enumerate(parts, 1):
        yield f"{kind}{part.name if kind == 'day_' else place}", f"{before}{part.name}", part


def _miscalibration(found: Evidence, facts: Facts) -> Said:
    beyond = found.decomposition.beyond_luck
    return say(
        "Measured in one number, its miscalibration is {mcb}. A perfect score of this size would show {band} by luck alone, "
        "{so}.",
        mcb=facts.show("miscalibration", small), band=facts.spread("miscalibration_perfect", small),
        so="and 95 of 100 would show less than this one" if beyond else "so nothing speaks against this one",
    )  # fmt: skip


def _lines(facts: Facts) -> Iterator[Said]:
    for key, (name, right, around, below, above) in _LINES.items():
        low, high = facts.value(f"{key}_low"), facts.value(f"{key}_high")
        inside = low <= right <= high
        yield say(
            "{says} ({name} {value}; the interval {interval} {holds} {right}).",
            says=around if inside else below if high < right else above, name=name, value=facts.show(key, number),
            interval=facts.spread(key), holds="contains" if inside else "does not contain", right=right,
        )  # fmt: skip


def _cox(found: Evidence, facts: Facts) -> Said:
    chance = facts.value("cox_p_value")
    if math.isnan(chance):
        return say("Shift and spread cannot be tested: all outcomes or all scores are the same.")
    told = "fewer than 1 in 1,000" if chance < RARE else facts.show("cox_p_value", percent)
    yardstick = (
        "taking all snapshots of an account as one piece of evidence" if found.cox.clustered else "likelihood ratio"
    )
    return say(
        "Shift and spread tested together: {chance} of perfect scores would look at least as wrong (Cox test, {how}).",
        chance=told, how=yardstick,
    )  # fmt: skip


def _off(facts: Facts) -> Said:
    total = facts.show("parts", count)
    if not facts.value("parts_off"):
        return say("In none of these {n} parts is the score off by more than luck explains.", n=total)
    return say(
        "In {off} of these {n} parts the score is off by more than luck usually explains; of 20 parts of a perfect score "
        "one looks so.",
        off=facts.show("parts_off", count), n=total,
    )  # fmt: skip


def _part_rows(rows: list[tuple[str, str, Part]], facts: Facts) -> Iterator[dict[str, object]]:
    for key, label, _ in rows:
        ratio = f"{key}_observed_to_expected"
        yield {
            "label": label, "leads": facts.show(f"{key}_leads", count), "observed": facts.show(f"{key}_observed", count),
            "expected": facts.show(f"{key}_expected", count), "ratio": facts.show(ratio), "interval": facts.spread(ratio),
        }  # fmt: skip

"""The table of all headline figures, each with its interval and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from training.pipeline import Trained
from training.reporting.backtest import SCORED_BY
from training.reporting.calibration import small
from training.reporting.words import Facts, Said, Shown, count, percent, say, signed

NAMES: Final = {
    "auc": ("AUC", "how often a converter is ranked above another lead; a coin has 0.5"),
    "average_precision": (
        "average precision",
        "share of converters among the leads down to each converter, on average; higher is better",
    ),
    "log_loss": ("log loss", "how much the outcomes surprised the score; lower is better"),
    "brier": ("Brier score", "mean squared error of the probability; lower is better"),
    "observed_to_expected": (
        "observed / expected",
        "conversions that came over those that the scores add up to; 1 is right",
    ),
    "calibration_intercept": ("calibration intercept", "shift of the log-odds; 0 is right"),
    "calibration_slope": ("calibration slope", "spread of the log-odds; 1 is right, less is overconfident"),
}
_PARTS: Final = {
    "miscalibration": "log loss that recalibrating would save on these leads; luck alone makes it more than 0",
    "discrimination": "log loss that the ranking saves against the base rate",
    "uncertainty": "log loss of telling everybody these leads' rate; this less discrimination plus miscalibration is log loss",
}


@dataclass(frozen=True)
class Row:
    """A line of the table of all figures."""

    key: str
    name: str
    value: Shown
    interval: Said | str
    words: Said | str


def rows(trained: Trained, facts: Facts) -> Iterator[Row]:
    """Yield the table's lines."""
    for key, (name, meaning) in NAMES.items():
        yield Row(key, name, facts.show(key), facts.spread(key), meaning)
    for key, meaning in _PARTS.items():
        perfect = facts.spread("miscalibration_perfect", small)
        band = say("a perfect score: {perfect}", perfect=perfect) if key == "miscalibration" else ""
        yield Row(key, key, facts.show(key, small), band, meaning)
    yield Row(
        "cox",
        "Cox test",
        facts.show("cox_p_value"),
        "",
        "p-value of a calibration intercept of 0 and a slope of 1 together",
    )
    for way in trained.against:
        key, name = f"log_loss_minus_{way}", f"log loss minus that of {SCORED_BY.get(way, way)}"
        yield Row(key, name, facts.show(key, signed), facts.spread(key, signed), "below 0 the model is better")
    yield from _flags(trained, facts)


def _flags(trained: Trained, facts: Facts) -> Iterator[Row]:
    kept = trained.promise
    asked = "nothing" if kept.asked_for is None else percent(kept.asked_for)
    if kept.precision is not None:
        told = say(
            "{won} of {n} PQLs converted; asked for: {asked}",
            won=facts.show("pql_converted", count), n=facts.show("pql_leads", count), asked=asked,
        )  # fmt: skip
        yield Row(
            "pql_precision", "precision of PQLs", facts.show("pql_precision"), facts.spread("pql_precision"), told
        )
        yield Row(
            "pql_caught", "converters caught", facts.show("pql_caught"), "", "share of converters that were PQLs before"
        )
    if "cutoff" in facts:
        told = say(
            "chosen on {n} earlier leads, of which {won} converted",
            n=facts.show("cutoff_leads", count), won=facts.show("cutoff_converted", count),
        )  # fmt: skip
        yield Row("cutoff", "cutoff", facts.show("cutoff"), "", told)

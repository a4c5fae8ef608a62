"""Writing down what a training found: the artifact, the test predictions, the figures and the report, in one folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pandas as pd
import polars as pl

from features.dataset import Dataset
from features.errors import Refusal
from serving.scoring.artifact import FILES
from serving.scoring.decision import Cutoff, Line, NoCutoff, Segmented, overall, to_facts
from training.evaluate import METRICS, PREDICTION_COLUMNS
from training.judging import evidence, fidelity
from training.judging.evidence import Evidence, spread
from training.pipeline import Trained

PREDICTIONS, METRICS_FILE, REPORT, ARTIFACT = "test_predictions.parquet", "metrics.json", "report.html", "artifact"
WRITTEN = (REPORT, METRICS_FILE, PREDICTIONS, ARTIFACT)
"""All that a training leaves in its folder; anything else there is somebody's own."""


def evidence_of(trained: Trained) -> Evidence:
    """Return what the test predictions of a version say."""
    return trained.evidence


def figures(trained: Trained, found: Evidence | None = None) -> dict[str, float]:
    """Return the figures of a version as flat names and numbers, intervals as `…_low` and `…_high`.

    `found` saves work where the evidence is at hand.
    """
    told = {} if trained.spoken is None else dict(fidelity.figures(trained.spoken))
    return dict(_figures(trained)) | evidence.figures(found or evidence_of(trained)) | told


def _figures(trained: Trained) -> Iterator[tuple[str, float]]:
    for name in METRICS:
        yield from spread(name, trained.figures[name])
    for baseline, gain in trained.against.items():
        yield from spread(f"log_loss_minus_{baseline}", gain)
    kept, decision = trained.promise, trained.artifact.decision
    yield from (("pql_leads", kept.leads), ("pql_converted", kept.converted), ("pql_caught", kept.caught))
    if kept.precision is not None:
        yield from spread("pql_precision", kept.precision)
    whole = overall(decision)
    yield from _evidence("cutoff", whole)
    for line in whole.lines if isinstance(whole, Cutoff) else ():
        yield from _evidence(f"cutoff_by_{line.name}", line)
    for place, own in enumerate(decision.each if isinstance(decision, Segmented) else (), 1):
        yield from _evidence(f"cutoff_segment_{place}", own)


def _evidence(name: str, found: Cutoff | Line | NoCutoff | None) -> Iterator[tuple[str, float]]:
    """Yield a cutoff with what held-out leads did from it on; nothing where there is none."""
    if isinstance(found, Cutoff | Line):
        yield from ((name, found.probability), (f"{name}_precision_low", found.precision_low))
        yield from ((f"{name}_leads", found.leads), (f"{name}_converted", found.converted))
        if found.leads_per_week is not None:
            yield f"{name}_leads_per_week", found.leads_per_week


def parameters(trained: Trained) -> dict[str, Any]:
    """Return what decided how a version was learned, by flat names."""
    found = dict(_flat(trained.artifact.training))
    return {**found, "rung": trained.artifact.rung, "fingerprint": trained.artifact.builder.fingerprint}


def _flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, before if key == "parts" else f"{before}{key}_")
        else:
            yield f"{before}{key}", value


def write_trained(trained: Trained, data: Dataset, folder: Path) -> Path:
    """Write everything of a version but the report, into a folder made new; returns the folder."""
    fresh(folder)
    trained.artifact.save(folder / ARTIFACT)
    write_predictions(trained.daily, folder)
    facts = {
        "version": trained.artifact.version,
        "data": data.digest,
        "figures": figures(trained),
        **_verdicts(trained),
    }
    write_metrics(facts, data, folder)
    return folder


def write_refusal(refusal: Refusal, data: Dataset, folder: Path) -> Path:
    """Write what a refusal leaves when there is no model: why, and empty predictions."""
    fresh(folder)
    write_predictions(pd.DataFrame(columns=list(PREDICTION_COLUMNS)), folder)
    write_metrics({"version": None, "data": data.digest, "refusal": str(refusal)}, data, folder)
    return folder


def _verdicts(trained: Trained) -> dict[str, Any]:
    decision = trained.artifact.decision
    return {
        "decision": to_facts(decision),
        "refusal": None if trained.refusal is None else str(trained.refusal),
        "training": trained.artifact.training,
        "signals": trained.weights,
        "reasons": None if trained.spoken is None else asdict(trained.spoken),
        "clocks": None if trained.clocks is None else asdict(trained.clocks),
        "leaks": [asdict(leak) for leak in trained.leaks],
        "ladder": [asdict(step) for step in trained.ladder],
        "tried": trained.tried,
    }


def fresh(folder: Path) -> None:
    """Make a folder, or take out of it what an earlier training wrote; anything else in it stays."""
    for name in (REPORT, METRICS_FILE, PREDICTIONS, *(f"{ARTIFACT}/{file}" for file in FILES)):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # it is not there, or holds what is not ours
        (folder / ARTIFACT).rmdir()
    folder.mkdir(parents=True, exist_ok=True)


_KINDS: Final[dict[str, pl.DataType]] = {
    "lead_id": pl.String(), "account": pl.Int64(), "as_of": pl.Datetime("us", "UTC"), "trial_day": pl.Float64(),
    "probability": pl.Float64(), "converted": pl.Int64(), "converted_in_days": pl.Float64(), "is_pql": pl.Boolean(),
    "segment": pl.String(), "logistic": pl.Float64(), "base_rate": pl.Float64(), "points": pl.Float64(),
    "rule": pl.Boolean(), "later": pl.Float64(), "later_days": pl.Float64(), "is_nurture": pl.Boolean(),
    "at_age": pl.Boolean(),
}  # fmt: skip


def write_predictions(predictions: pd.DataFrame, folder: Path) -> None:
    """Write test predictions as Parquet, typed the same whether there are any or none."""
    columns = [pl.Series(name, list(predictions[name]), dtype=kind) for name, kind in _KINDS.items()]
    pl.DataFrame(columns).write_parquet(folder / PREDICTIONS)


def write_metrics(facts: Mapping[str, Any], data: Dataset, folder: Path) -> None:
    """Write metrics.json, with what was refused of the input beside the figures."""
    refused = [asdict(rejection) for rejection in data.rejections]
    given = {"events": data.n_events, "rejections": refused, "set_right": data.set_right}
    text = json.dumps(_nullable({**facts, **given}), indent=1, default=float, allow_nan=False)
    (folder / METRICS_FILE).write_text(text + "\n", encoding="utf-8")


def _nullable(value: Any) -> Any:
    """Return plain data with None for what is not a finite number, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: _nullable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_nullable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

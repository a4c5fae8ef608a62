"""Writing down what a training found: the artifact, the test predictions, the figures and the report, in one folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from features.dataset import Dataset
from features.errors import Refusal
from serving.scoring.artifact import FILES
from serving.scoring.decision import Cutoff
from training.evaluate import METRICS, PREDICTION_COLUMNS
from training.pipeline import Trained

PREDICTIONS, METRICS_FILE, REPORT, ARTIFACT = "test_predictions.parquet", "metrics.json", "report.html", "artifact"
WRITTEN = (REPORT, METRICS_FILE, PREDICTIONS, ARTIFACT)
"""All that a training leaves in its folder; anything else there is somebody's own."""


def figures(trained: Trained) -> dict[str, float]:
    """Return the figures of a version as flat names and numbers, intervals as `…_low` and `…_high`."""
    found: dict[str, float] = {}
    for name in METRICS:
        one = trained.figures[name]
        found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    for baseline, gain in trained.against.items():
        found |= {f"log_loss_minus_{baseline}": gain.value, f"log_loss_minus_{baseline}_high": gain.high}
    found |= {
        "pql_leads": trained.promise.leads,
        "pql_converted": trained.promise.converted,
        "pql_caught": trained.promise.caught,
    }
    if trained.promise.precision is not None:
        precision = trained.promise.precision
        found |= {
            "pql_precision": precision.value,
            "pql_precision_low": precision.low,
            "pql_precision_high": precision.high,
        }
    decision = trained.artifact.decision
    if isinstance(decision, Cutoff):
        found |= {"cutoff": decision.probability, "cutoff_precision_low": decision.precision_low}
    return found


def parameters(trained: Trained) -> dict[str, Any]:
    """Return what decided how a version was learned."""
    facts = trained.artifact.training
    parts = {f"{name}_{key}": value for name, part in facts["parts"].items() for key, value in part.items()}
    plain = {key: value for key, value in facts.items() if key != "parts"}
    return {**plain, **parts, "rung": trained.artifact.rung, "fingerprint": trained.artifact.builder.fingerprint}


def write_trained(trained: Trained, data: Dataset, folder: Path) -> Path:
    """Write everything of a version but the report, into a folder made new; returns the folder."""
    fresh(folder)
    trained.artifact.save(folder / ARTIFACT)
    write_predictions(trained.predictions, folder)
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
        "decision": {"kind": type(decision).__name__, **asdict(decision)},
        "refusal": None if trained.refusal is None else str(trained.refusal),
        "training": trained.artifact.training,
        "signals": trained.weights,
        "clocks": None if trained.clocks is None else asdict(trained.clocks),
    }


def fresh(folder: Path) -> None:
    """Make a folder, or take out of it what an earlier training wrote; anything else in it stays."""
    for name in (REPORT, METRICS_FILE, PREDICTIONS, *(f"{ARTIFACT}/{file}" for file in FILES)):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # it is not there, or holds what is not ours
        (folder / ARTIFACT).rmdir()
    folder.mkdir(parents=True, exist_ok=True)


def write_predictions(predictions: pd.DataFrame, folder: Path) -> None:
    """Write test predictions as Parquet, typed the same whether there are any or none."""
    texts, flags, counts = {"lead_id"}, {"is_pql"}, {"account", "converted"}
    kinds = {
        name: pl.String if name in texts else pl.Boolean if name in flags else pl.Int64 if name in counts
        else pl.Datetime("us", "UTC") if name == "as_of" else pl.Float64
        for name in PREDICTION_COLUMNS
    }  # fmt: skip
    columns = {name: pl.Series(name, list(predictions[name]), dtype=kind) for name, kind in kinds.items()}
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

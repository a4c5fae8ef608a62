"""The sections on the model itself: what it is made of, what was kept out of it, how it was chosen, whom it learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from features.dataset import Dataset
from features.durations import span_words
from training.ladder import Step
from training.pipeline import Trained
from training.reporting import figures_model as pictures
from training.reporting.findings import words
from training.reporting.words import sentence
from training.snapshots import Snapshots
from training.split import Split

LEAST_WEIGHT: Final = 0.01
"""Signals that weigh less than this share of the heaviest are left out of the picture."""
_KINDS: Final = {
    "consequence": "comes from converting", "back_dated": "written afterwards", "identifier": "tells who, not what",
    "outcome_in_trait": "is the outcome under another name", "too_good": "tells too much",
    "starts_after_conversion": "trials that begin after converting",
}  # fmt: skip
PARTS: Final = {"fit": "Learned from", "cutoff": "Set the cutoff", "test": "Judged the score"}
_RUNGS: Final = {
    "base_rate": "the base rate", "points": "the hand-written points", "scorecard": "the learned scorecard",
    "lightgbm": "the scorecard with LightGBM",
}  # fmt: skip


def signals(trained: Trained) -> dict[str, Any]:
    """Return the picture of what the score is made of."""
    total = sum(weight for _, weight in trained.weights) or 1.0
    shown = [one for one in trained.weights if one[1] > 0 and one[1] >= LEAST_WEIGHT * trained.weights[0][1]]
    bars = [pictures.Bar(words(owner), weight / total, _kind(trained, owner)) for owner, weight in shown]
    return {"signals": pictures.bars(bars), "left_out": len(trained.weights) - len(shown)}


def _kind(trained: Trained, owner: str) -> str:
    definition = trained.artifact.definition
    signal = definition.signal_of.get(owner)
    if signal is None:
        return "about the lead" if owner in definition.trait_of else "time"
    return signal.kind.replace("_", " ") + (", lowers the score" if signal.sign < 0 else "")


def leaks(trained: Trained) -> dict[str, Any]:
    """Return what looked as if it told the outcome: what was left out, and what was kept as the definition trusts it."""
    told = [(one.trusted, {"name": words(one.name), "kind": _KINDS[one.kind], "why": one.why}) for one in trained.leaks]
    return {"leaks": [one for kept, one in told if not kept], "trusted": [one for kept, one in told if kept]}


def chosen(trained: Trained) -> dict[str, Any]:
    """Return how the model was chosen: the steps of the ladder, and what tuning tried."""
    rows = [(_RUNGS[step.rung], step.difference, step.taken) for step in trained.ladder]
    return {
        "rung": _RUNGS[trained.artifact.rung], "ladder": pictures.ladder(rows) if rows else None,
        "steps": [_step(step) for step in trained.ladder], "tried": list(_tried(trained.tried or {})),
    }  # fmt: skip


def _step(step: Step) -> dict[str, str]:
    return {
        "rung": sentence(_RUNGS[step.rung]), "taken": "taken" if step.taken else "not taken", "why": sentence(step.why),
    }  # fmt: skip


def _tried(tried: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in tried.items():
        yield sentence(name.replace("_", " ")), _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_plain(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def learned(trained: Trained) -> dict[str, Any]:
    """Return the pictures of the parts of the data, and of how many trees paid."""
    definition, parts = trained.artifact.definition, trained.artifact.training["parts"]
    watch = timedelta(microseconds=max(definition.score_at) + definition.conversion.horizon)
    spans = []
    for name, part in parts.items():
        began, ended = (datetime.fromisoformat(part[key]) for key in ("first_trial", "last_trial"))
        note = f"{part['leads']:,} leads, {part['converted']:,} converted"
        spans.append(pictures.Span(PARTS.get(name, words(name)), began, ended, ended + watch, note))
    trees = trained.artifact.rung == "lightgbm"
    return {
        "timeline": pictures.timeline(spans),
        "learning": pictures.learning(trained.fitted.curve, trained.fitted.rounds) if trees else None,
    }


def fates(data: Dataset, table: Snapshots, parts: Split | None) -> list[tuple[str, int]]:
    """Return what became of every lead of the data: each is in exactly one line."""
    leads, age = data.leads, min(data.definition.score_at)
    known = np.isin(np.arange(len(leads)), table.lead)
    used = {name: getattr(parts, name, None) for name in PARTS}
    told = [(PARTS[name], len(np.unique(table.lead[rows]))) for name, rows in used.items() if rows is not None]
    rest = int(known.sum()) - sum(n for _, n in told)
    spare = "Outcome known, but only after the next part began, or the account is in a later part: kept out"
    first = leads.started_at + age
    won = ~known & (leads.converted_at < first)
    over = ~known & ~won & (leads.closed_at < first)
    young = ~known & ~won & ~over
    return [
        *told, (spare if parts else "Outcome known", rest),
        (f"Converted within {span_words(age)}, before any score", int(won.sum())),
        (f"Closed within {span_words(age)}, before any score", int(over.sum())),
        ("Outcome not known yet: began too recently", int(young.sum())),
    ]  # fmt: skip

"""What the registry is told of one training: chosen here, stored by `tracking`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from features.dataset import Dataset
from features.durations import span_text
from features.errors import Refusal
from features.times import text_of
from serving.scoring.artifact import Artifact
from training import record
from training.cutoff_words import in_short
from training.pipeline import Trained
from training.promote import Verdict
from training.registry.entry import LONGEST, DataFacts, Entry

SHOWN: Final = {
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "observed_to_expected": "observed / expected conversions",
    "calibration_slope": "calibration slope",
    "pql_precision": "precision of PQLs on later trials",
}


def of_trained(trained: Trained, data: Dataset, verdict: Verdict, figures: Mapping[str, float]) -> Entry:
    """Return what is said of a version, promoted or not; `figures` are those of metrics.json."""
    artifact = trained.artifact
    judged = {f"verdict_{name}": value for name, value in verdict.figures.items()}
    numbers = {name: float(value) for name, value in {**figures, **judged}.items()}
    tags = {
        "content_version": artifact.version, **_data_tags(data), "rung": artifact.rung,
        "cutoff": in_short(artifact.decision), "wins": "yes" if verdict.promote else "no", "verdict": verdict.why,
    }  # fmt: skip
    if verdict.champion is not None:
        tags["champion_then"] = verdict.champion
    if trained.refusal is not None:
        tags["refusal"] = str(trained.refusal)
    return Entry(
        parameters={key: _short(value) for key, value in record.parameters(trained).items()},
        figures={name: value for name, value in numbers.items() if math.isfinite(value)},
        data=_data_facts(data), definition=artifact.definition_text,
        tags={key: _short(value) for key, value in tags.items()}, description=_described(trained, data, verdict, figures),
        artifact=artifact,
    )  # fmt: skip


def of_refusal(refusal: Refusal, data: Dataset, definition: str, by_hand: Artifact | None = None) -> Entry:
    """Return what is said of a training that learned nothing; `by_hand` is the version of the definition's own points."""
    tags = {**_data_tags(data), "wins": "no", "verdict": f"Not promoted: {refusal}", "refusal": str(refusal)}
    text = f"**No model.** {refusal}\n\n{_data_words(data)}"
    if by_hand is not None:
        tags |= {"content_version": by_hand.version, "rung": by_hand.rung, "cutoff": in_short(by_hand.decision)}
        text = f"**By hand.** It scores by the definition's own points, and promises nothing: {refusal}\n\n{_data_words(data)}"
    short = {key: _short(value) for key, value in tags.items()}
    return Entry({"product": _short(data.definition.product)}, {}, _data_facts(data), definition, short, text, by_hand)


def _short(value: object) -> str:
    return str(value)[:LONGEST]


def _data_tags(data: Dataset) -> dict[str, str]:
    return {
        "data_digest": data.digest,
        "data_until": text_of(data.until),
        "horizon": span_text(data.definition.conversion.horizon),
        "lead": data.definition.lead,
    }


def _data_facts(data: Dataset) -> DataFacts:
    facts = {
        "events": data.n_events, "leads": len(data.leads), "until": text_of(data.until),
        "refused_rows": sum(one.count for one in data.rejections),
    }  # fmt: skip
    return DataFacts(data.digest, data.source.name, facts)


def _described(trained: Trained, data: Dataset, verdict: Verdict, known: Mapping[str, float]) -> str:
    artifact = trained.artifact
    rows = [
        f"| {words} | {known[name]:.3f} | {known[f'{name}_low']:.3f} to {known[f'{name}_high']:.3f} |"
        for name, words in SHOWN.items()
        if name in known and math.isfinite(known[name])
    ]
    test = artifact.training["parts"]["test"]
    judged = (
        f"Judged on {test['leads']:,} trials that began from {test['first_trial'][:10]} to {test['last_trial'][:10]}."
    )
    lines = [
        f"**{verdict.why}**", "", f"Version `{artifact.version}` of the {artifact.definition.product} PQL score, "
        f"rung {artifact.rung}. {_data_words(data)}", "", f"{judged} Cutoff: {in_short(artifact.decision)}.", "",
        "| figure | value | 95% interval |", "|---|---|---|", *rows, "",
        f"The run holds the report (`{record.REPORT}`), the model card, the figures, the definition and the test "
        "predictions that every figure can be recomputed from.",
    ]  # fmt: skip
    return "\n".join(lines)


def _data_words(data: Dataset) -> str:
    first, last = text_of(int(data.leads.started_at.min()))[:10], text_of(data.until)[:10]
    return (
        f"Data `{data.digest}`: {data.n_events:,} events of {len(data.leads):,} leads, trials from {first} on, "
        f"known until {last}."
    )

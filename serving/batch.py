"""Files in, scored leads out: every trial that is open at one moment, through the scorer that also answers online."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from features.dataset import Dataset, dataset
from features.definition import Definition
from features.errors import InvalidInput
from features.leads import open_leads
from features.rejections import Sieve
from features.sources.source import Source
from features.times import INSTANT, micros, moment_of, text_of
from serving.scoring.answers import Answer, Asked
from serving.scoring.decision import Cutoff, expired, overall
from serving.scoring.receipt import Keep, answered
from serving.scoring.scorer import Scorer

LIKELY: Final = Asked(whom="likely")
_SAID = pl.List(
    pl.Struct(
        {
            "signal": pl.String, "kind": pl.String, "text": pl.String, "facts": pl.String, "contribution": pl.Float64,
            "mention": pl.String,
        }
    )
)  # fmt: skip
_WITHIN = pl.List(pl.Struct({"days": pl.Float64, "probability": pl.Float64}))
_MISSED = pl.List(pl.Struct({"signal": pl.String, "kind": pl.String, "text": pl.String, "facts": pl.String}))
LEADS_OUT: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "lead_id": pl.String, "account_id": pl.String, "as_of": INSTANT, "trial_day": pl.Float64,
    "probability": pl.Float64, "is_pql": pl.Boolean, "track": pl.String, "within": _WITHIN,
    "percentile": pl.Float64, "reasons": _SAID, "against": _SAID, "missing": _MISSED,
    "playbook": pl.Struct({"id": pl.String, "title": pl.String, "message": pl.String}),
    "model_version": pl.String, "cutoff": pl.Float64, "receipt_id": pl.String,
}  # fmt: skip
"""The columns of a scored file; facts are JSON text, because each signal has its own.

`reasons`, `against` and `missing` are empty lists for leads that were not explained: with LIKELY all but PQLs, those to nurture
and those near the cutoff. An empty list therefore does not say that there is nothing to say.
"""


def read_for(
    scorer: Scorer, events: Source | pl.DataFrame, trials: pl.DataFrame | None, read_at: int | None = None,
    sieve: Sieve | None = None, progress: Callable[[int, int], None] = lambda *_: None,
) -> Dataset:  # fmt: skip
    """Return raw tables as the model's own definition reads them; see `features.dataset.dataset`."""
    return dataset(events, trials, scorer.builder.definition, read_at, sieve, progress)


def whom(definition: Definition) -> str:
    """Return what those that are scored are called."""
    if definition.lead == "account":
        return "open accounts"
    return "users" if definition.trial.length is None else "open trials"


def score_open(
    scorer: Scorer,
    data: Dataset,
    as_of: int | None = None,
    asked: Asked = LIKELY,
    keep: Keep | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> pl.DataFrame:
    """Return every lead open at `as_of` (default: the last moment the data knows of), the highest probability first.

    Parameters
    ----------
    as_of : int or None
        Microseconds since 1970 UTC.
    asked : how many reasons, and for whom
    keep : what the receipts of each part are handed to
    progress : called with (leads done, leads in all) after each chunk

    Raises
    ------
    InvalidInput
        Where none is open at that moment.
    """
    leads = data.leads
    moment = data.until if as_of is None else as_of
    which = open_leads(leads, moment)
    if not len(which):
        problem = f"there are no {whom(scorer.builder.definition)} to score at {text_of(moment)}."
        raise InvalidInput(problem, "as_of", "Name another moment with --as-of.")
    frames = []
    for part in data.parts(which):
        everyone, moments = np.arange(len(part.numbers)), np.full(len(part.numbers), moment)
        told = answered(scorer, part.leads, part.logs, everyone, moments, asked, keep)
        frames.append(answers_frame(told, scorer))
        progress(sum(map(len, frames)), len(which))
    return pl.concat(frames).sort("probability", "lead_id", descending=[True, False])


def warnings(leads: pl.DataFrame, scorer: Scorer) -> list[str]:
    """Return what whoever acts on scored leads should know: evidence out of date, leads of ages nothing is promised for."""
    found, course = [], scorer.artifact.course
    if expired(scorer.artifact.decision, micros(leads["as_of"][0])):
        found.append("The cutoff's evidence is out of date at that moment: train again.")
    beyond = int((~course.covers(leads["trial_day"].to_numpy())).sum())
    if beyond:
        early = [f"before day {course.ages[0]:g}"] if course.ages[0] > 0 else []
        late = [f"from day {course.until:g} on"] if course.until < float("inf") else []
        found.append(
            f"{beyond:,} of them are {' or '.join(early + late)}, days of which nothing is promised, so "
            "none of those is called a PQL; `score_at` in the definition says which ages are learned."
        )
    return found


def answers_frame(part: list[Answer], scorer: Scorer) -> pl.DataFrame:
    """Return answers as rows with the columns of `LEADS_OUT`, in their order."""
    decision, days = overall(scorer.artifact.decision), scorer.artifact.course.days
    cutoff = decision.probability if isinstance(decision, Cutoff) else None
    rows = [{**_row(answer, days), "model_version": scorer.artifact.version, "cutoff": cutoff} for answer in part]
    return pl.DataFrame(rows, schema_overrides=LEADS_OUT, schema=list(LEADS_OUT))


def _row(answer: Answer, days: tuple[float, ...]) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(answer)
    grown = zip(days, answer.within.values(), strict=True)
    row["within"] = [{"days": day, "probability": probability} for day, probability in grown]
    row["as_of"] = moment_of(answer.as_of)
    for name in ("reasons", "against", "missing"):
        row[name] = [{**said, "facts": msgspec.json.encode(said["facts"]).decode()} for said in row[name]]
    return row

"""`pql train`: files in, a version out; every effect happens here, in the order that leaves a champion whole.

Learn and judge (nothing is written); write the folder; log the run and register the version, with the verdict on it; move
the alias `champion`. Whatever fails on the way, the version that was in service still is: only the last step changes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from features.dataset import Dataset, dataset
from features.definition import Definition, load
from features.errors import ArtifactError, Refusal
from features.rejections import Rejection, Sieve
from features.sources.locations import open_source, open_trials
from features.times import parse_instant
from training import record, report, tracking
from training.by_hand import artifact_by_hand
from training.pipeline import Settings, Trained, train
from training.promote import Verdict, judge
from training.registry import model_card, telling
from training.registry.model_card import MODEL_CARD
from training.reporting.pictures import pictures_of
from training.tune import Search

SHOWN_EVERY = 2_000_000
"""Events between two signs of life while reading."""


@dataclass(frozen=True)
class Outcome:
    """What a training came to; `trained` is None where nothing could be learned, a figure where it is no number."""

    folder: Path
    trained: Trained | None
    number: int | None
    verdict: Verdict
    rejections: tuple[Rejection, ...]
    set_right: Mapping[str, int]
    refusal: Refusal | None
    figures: Mapping[str, float | None]


def run(
    events: str, trials: str | None, definition: Path, out: Path, form: str | None, test_from: str | None, read_at: int,
    progress: Callable[[str], None], search: Search | None = None,
) -> Outcome:  # fmt: skip
    """Train, write, log, register and, where it is better, promote; a refusal is written and logged like a success.

    `events` and `trials` are locations, see `features.sources.locations`; `read_at` is now, in microseconds since 1970 UTC.
    """
    settings = load(definition)
    # Once, now: who edits the file while events are read must not change what the version says it was made from.
    text = definition.read_text(encoding="utf-8")
    data = _read(events, trials, settings, form, read_at, progress)
    moment = None if test_from is None else parse_instant(_with_zone(test_from), "--test-from")
    try:
        trained = train(data, text, Settings(moment, search=search), progress)
    except Refusal as refusal:
        return _refused(refusal, data, text, out, progress)
    return _finished(trained, data, out, progress)


def _read(
    events: str,
    trials: str | None,
    definition: Definition,
    form: str | None,
    read_at: int,
    progress: Callable[[str], None],
) -> Dataset:
    progress("reading and checking events and trials")
    sieve = Sieve("trials")
    table = None if trials is None else open_trials(trials, form).table(sieve)
    shown = 0

    def tick(done: int, _: int) -> None:
        nonlocal shown
        if done - shown >= SHOWN_EVERY:
            progress(f"reading events: {done:,} so far")
            shown = done

    return dataset(open_source(events, form), table, definition, read_at, sieve, tick)


def _with_zone(text: str) -> str:
    """A bare date means its first moment in UTC."""
    return f"{text}T00:00:00Z" if len(text) == len("2026-03-01") else text


def _finished(trained: Trained, data: Dataset, out: Path, progress: Callable[[str], None]) -> Outcome:
    progress("comparing with the champion")
    verdict = _compared(trained, data)
    folder = record.write_trained(trained, data, out)
    figures = _figures(folder)
    known = {name: value for name, value in figures.items() if value is not None}
    page = report.render(trained, data, trained.artifact.version, verdict.why)
    (folder / record.REPORT).write_text(page, encoding="utf-8")
    card = model_card.render(trained, data, verdict, known, trained.leaks)
    (folder / MODEL_CARD).write_text(card, encoding="utf-8")
    progress("logging and registering in MLflow")
    said = telling.of_trained(trained, data, verdict, known)
    number = tracking.log(folder, (*record.WRITTEN, MODEL_CARD), said, pictures_of(page))
    assert number is not None  # there is an artifact, so there is a version
    if verdict.promote:
        tracking.promote(number, "train", verdict.why)
    return Outcome(folder, trained, number, verdict, data.rejections, data.set_right, trained.refusal, figures)


def _figures(folder: Path) -> dict[str, float | None]:
    """Return the figures as they were written: finding them anew would take as long again."""
    written = json.loads((folder / record.METRICS_FILE).read_text(encoding="utf-8"))["figures"]
    assert isinstance(written, dict)
    return written


def _compared(trained: Trained, data: Dataset) -> Verdict:
    try:
        return judge(trained, tracking.champion(), data, seed=0)
    except ArtifactError as error:
        # After an upgrade, or where its files were damaged, training anew is the only way out.
        verdict = judge(trained, None, data, seed=0)
        return replace(verdict, why=f"{verdict.why} The champion cannot be loaded: {error}")


def _refused(refusal: Refusal, data: Dataset, text: str, out: Path, progress: Callable[[str], None]) -> Outcome:
    folder = record.write_refusal(refusal, data, out)
    (folder / MODEL_CARD).unlink(missing_ok=True)
    by_hand = artifact_by_hand(data, text) if data.definition.points or data.definition.rules else None
    if by_hand is not None:
        by_hand.save(folder / record.ARTIFACT)
    (folder / record.REPORT).write_text(report.render_refusal(refusal, data), encoding="utf-8")
    progress("logging the refusal in MLflow")
    number = tracking.log(folder, record.WRITTEN, telling.of_refusal(refusal, data, text, by_hand))
    verdict = Verdict(promote=False, why=f"Not promoted: {refusal}")
    return Outcome(folder, None, number, verdict, data.rejections, data.set_right, refusal, {})

"""A version answers before anybody asks it: what it does with its own examples, and with leads that nobody has seen."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.definition import TRIAL_STARTED
from features.durations import DAY
from features.errors import ArtifactError
from features.leads import NEVER, Leads, TraitLog
from features.logs import Happening, read_requests
from features.times import EARLIEST
from features.windows import Floats
from serving.scoring.answers import Answer, Asked, Subject, answers_of, subjects
from serving.scoring.artifact import BOOSTER, Artifact
from serving.scoring.calibration import probabilities_of
from serving.scoring.scorer import Scorer
from serving.scoring.tree_text import trees_of

NEAR: Final = 1e-6
"""How far two ways to the same probability may lie apart on rows that nobody chose."""
_NOW: Final = EARLIEST + 60 * DAY


def rehearse(scorer: Scorer) -> list[Answer]:
    """Return the answers for the stored examples, and for a lead that has just begun and did nothing.

    Everything that a first request would wait for is made by it: tables, texts and compiled loops.
    """
    examples = [
        Subject(f"example {place}", None, _NOW, None, {}, row) for place, row in enumerate(scorer.artifact.examples)
    ]
    return list(answers_of(scorer, [*_beginner(scorer), *examples], Asked()))


def _beginner(scorer: Scorer) -> list[Subject]:
    never, first = np.full(1, NEVER), np.zeros(1, np.int64)
    traits = {trait.name: TraitLog.constant([None]) for trait in scorer.builder.definition.traits}
    started = np.full(1, _NOW - DAY)
    leads = Leads(["beginner"], [None], first, started, never, never, never, traits)
    happened = Happening(0, "beginner", own=True, event=TRIAL_STARTED, time=int(started[0]), properties={})
    logs = read_requests([happened], leads.ids, scorer.builder.vocabulary)
    return subjects(scorer, leads, logs, first, np.full(1, _NOW))


def check_text(artifact: Artifact) -> None:
    """See that there is something to try it with, that its text says what LightGBM reads, and that its numbers are some.

    Raises
    ------
    ArtifactError
    """
    if not artifact.examples.size:
        raise ArtifactError("scorer.json: must hold examples with their scores, got none. Train again.")
    # Of keys written twice the library takes one and a reader the other; it writes what it took.
    if artifact.booster.model_to_string() != artifact.booster_text:
        raise ArtifactError(
            f"{BOOSTER}: the model that LightGBM reads from it is another text. Publish the version again; do not edit its files.",
            "text_differs",
        )
    trees = trees_of(artifact.booster_text, len(artifact.builder.columns))
    wrong = [number for number, tree in enumerate(trees) if not np.isfinite(tree.values).all()]
    if wrong:
        raise ArtifactError(
            f"{BOOSTER}: what a leaf adds must be a finite number, got another in tree {wrong[0]}. Train again."
        )


def check_behaviour(scorer: Scorer) -> None:
    """See that scores are probabilities and reasons add up to them, on examples, on mixtures of them, and on nothing known.

    Raises
    ------
    ArtifactError
    """
    examples = scorer.artifact.examples
    rows = np.concatenate([examples, _unseen(examples)])
    scored = scorer.score(rows)
    got = scored.probabilities
    if not ((got > 0) & (got < 1)).all():
        raise ArtifactError("scorer.json: a score must lie between 0 and 1, got another. Train again.")
    if not (np.isfinite(scored.percentiles).all() and np.isfinite(scored.within).all()):
        raise ArtifactError("scorer.json: percentiles and later scores must be numbers, got others. Train again.")
    explained = probabilities_of(scorer.contributions(rows).sum(axis=1))
    for what, other in (("contributions", explained), (BOOSTER, _by_library(scorer.artifact, rows))):
        apart = np.abs(got - other)
        if not (apart <= NEAR).all():
            worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
            raise ArtifactError.example_differs(what, float(other[worst]), float(got[worst]))
    rehearse(scorer)


def _by_library(artifact: Artifact, rows: Floats) -> Floats:
    """Return the scores that the library gives which grew the trees."""
    trees = np.asarray(artifact.booster.predict(rows, raw_score=True, num_threads=1))
    return artifact.calibration.probabilities(artifact.scorecard.margins(rows) + trees)


def _unseen(examples: Floats) -> Floats:
    """Return rows that no example is: columns of different examples beside each other, all zeros, nothing known."""
    places = np.arange(examples.shape[1])
    mixed = [examples[(place + places) % len(examples), places] for place in range(len(examples))]
    return np.array([*mixed, np.zeros(len(places)), np.full(len(places), np.nan)])

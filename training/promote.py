"""Champion and challenger: a new version goes into service only if it is better on the trials that judge it."""

from __future__ import annotations

from dataclasses import dataclass

from features.dataset import Dataset
from features.errors import PQLError
from features.windows import Floats
from serving.scoring.artifact import Artifact
from serving.scoring.scorer import Scorer
from training import evaluate
from training.pipeline import Trained


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, in one sentence for people."""

    promote: bool
    why: str


def judge(trained: Trained, champion: Artifact | None, data: Dataset, seed: int) -> Verdict:
    """Return whether a trained version should replace the champion.

    Both score the same test trials; the challenger must have the lower log loss there. The interval of the difference,
    over resampled accounts, is part of the reason given.
    """
    if trained.refusal is not None:
        return Verdict(promote=False, why=f"Not promoted: {trained.refusal}")
    if champion is None:
        return _first(trained)
    if champion.version == trained.artifact.version:
        return Verdict(
            promote=False, why="Not promoted: the same data and definition made the version that is in service."
        )
    if champion.training.get("horizon_days") != trained.artifact.training["horizon_days"]:
        return Verdict(
            promote=True, why="Promoted: the definition asks for another horizon than the champion was made for."
        )
    if champion.definition.lead != data.definition.lead:
        kinds = f"scores {data.definition.lead}s, and the champion {champion.definition.lead}s"
        return Verdict(promote=True, why=f"Promoted: the definition {kinds}.")
    try:
        theirs = _champion_probabilities(trained, champion, data)
    except PQLError as error:
        return Verdict(promote=True, why=f"Promoted: the champion cannot score this data ({error}).")
    table = trained.predictions.assign(champion=theirs)
    difference = evaluate.compare(table, "probability", "champion", evaluate.log_loss, seed)
    better = difference.value < 0
    figures = (
        f"log loss {difference.value:+.4f} against the champion, "
        f"95% interval {difference.low:+.4f} to {difference.high:+.4f}"
    )
    return Verdict(
        promote=better, why=f"{'Promoted' if better else 'Not promoted'}: {figures}, on the same test trials."
    )


def _first(trained: Trained) -> Verdict:
    gain = trained.against["base_rate"]
    if gain.value >= 0:
        return Verdict(promote=False, why=f"Not promoted: log loss {gain.value:+.4f} against the base rate is no gain.")
    return Verdict(
        promote=True, why=f"Promoted: the first version, and better than the base rate by {-gain.value:.4f} log loss."
    )


def _champion_probabilities(trained: Trained, champion: Artifact, data: Dataset) -> Floats:
    """Return the champion's probabilities for the test snapshots, from its own definition's features.

    Raises
    ------
    PQLError
        Where the data lacks what the champion reads, or the champion cannot be served any more.
    """
    scorer = Scorer(champion)
    test = trained.table.take(trained.split.test)
    return scorer.probabilities(data.under(champion.definition).rows(scorer.builder, test.lead, test.as_of))

"""A version goes into service only if it is better, on the same trials, than the one that is there."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss

from features.dataset import Dataset, dataset
from features.errors import Refusal
from serving.scoring.artifact import Artifact
from serving.scoring.calibration import Sigmoid
from serving.scoring.scorer import Scorer
from training.demo import Demo
from training.evaluate import Interval
from training.pipeline import Trained
from training.promote import Verdict, judge

OTHER_PRODUCT = """
product: Corkboard as it was
trial: {length: 14d, closed_by: [trial_cancelled]}
conversion: {event: subscription_started, horizon: 30d}
score_at: [3d, 7d]
windows: [7d]
signals:
  - {name: invites, kind: team_growth, events: [invite_sent], text: "{count:invite|invites}"}
traits:
  - {name: industry, type: number}
cutoff: {at_least: 0.3}
"""


def shifted(artifact: Artifact, by: float) -> Artifact:
    """The same ranking with every log-odds moved: worse calibrated, and its examples score so."""
    calibration = Sigmoid(artifact.calibration.slope, artifact.calibration.shift + by)
    odds = np.log(artifact.expected / (1 - artifact.expected)) + by
    return replace(artifact, calibration=calibration, expected=1 / (1 + np.exp(-odds)))


def shifted_version(trained: Trained, by: float) -> Trained:
    probability = trained.predictions["probability"]
    odds = np.log(probability / (1 - probability)) + by
    return replace(
        trained,
        artifact=shifted(trained.artifact, by),
        predictions=trained.predictions.assign(probability=1 / (1 + np.exp(-odds))),
    )


def judged(trained: Trained, champion: Artifact | None, data: Dataset) -> Verdict:
    return judge(trained, champion, data, seed=0)


def test_the_first_version_is_promoted_with_what_it_gains(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, None, history)
    assert verdict.promote
    gain = f"{-trained.against['base_rate'].value:.4f}"
    assert verdict.why == f"Promoted: the first version, and better than the base rate by {gain} log loss."


@pytest.mark.parametrize("difference", [0.0, 0.01])
def test_a_first_version_that_gains_nothing_is_not_promoted(
    trained: Trained, history: Dataset, difference: float
) -> None:
    idle = replace(trained, against={"base_rate": Interval(difference, -0.1, 0.1)})
    verdict = judged(idle, None, history)
    assert not verdict.promote
    assert verdict.why == f"Not promoted: log loss {difference:+.4f} against the base rate is no gain."


def test_a_better_version_is_promoted(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, shifted(trained.artifact, 1.0), history)
    assert verdict.promote
    assert verdict.why.startswith("Promoted: log loss -0.")


def test_a_worse_version_is_not_promoted(trained: Trained, history: Dataset) -> None:
    verdict = judged(shifted_version(trained, 1.0), trained.artifact, history)
    assert not verdict.promote
    assert verdict.why.startswith("Not promoted: log loss +0.")


def test_the_difference_named_is_that_of_both_on_the_same_trials(trained: Trained, history: Dataset) -> None:
    converted, ours = trained.predictions["converted"], trained.predictions["probability"]
    theirs = shifted_version(trained, 1.0).predictions["probability"]
    difference = log_loss(converted, ours) - log_loss(converted, theirs)
    why = judged(trained, shifted(trained.artifact, 1.0), history).why
    found = re.search(r"log loss (\S+) against the champion, 95% interval (\S+) to (\S+), on the same test trials", why)
    assert found is not None
    value, low, high = map(float, found.groups())
    assert value == pytest.approx(difference, abs=1e-4)
    assert low < value < high


def test_the_version_in_service_is_not_promoted_again(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, trained.artifact, history)
    assert verdict == Verdict(
        promote=False, why="Not promoted: the same data and definition made the version that is in service."
    )


def test_a_version_that_predicts_the_same_under_another_name_is_not_promoted(
    trained: Trained, history: Dataset
) -> None:
    champion = replace(trained.artifact, training={**trained.artifact.training, "product": "Another"})
    assert champion.version != trained.artifact.version
    verdict = judged(trained, champion, history)
    assert not verdict.promote
    assert "log loss +0.0000" in verdict.why


def test_a_version_for_another_horizon_replaces_the_champion(trained: Trained, history: Dataset) -> None:
    champion = replace(trained.artifact, training={**trained.artifact.training, "horizon_days": 14.0})
    verdict = judged(trained, champion, history)
    assert verdict.promote
    assert "another horizon" in verdict.why


def champion_of(made_scorer: Callable[..., Scorer], trained: Trained, text: str) -> Artifact:
    facts = {"horizon_days": trained.artifact.training["horizon_days"]}
    return replace(made_scorer(text).artifact, training=facts)


def test_a_champion_of_other_signals_is_judged_by_its_own_definition(
    trained: Trained, history: Dataset, made_scorer: Callable[..., Scorer]
) -> None:
    text = OTHER_PRODUCT.replace("industry", "company_size")
    verdict = judged(trained, champion_of(made_scorer, trained, text), history)
    assert verdict.promote
    assert "against the champion" in verdict.why


def test_the_champions_probabilities_are_those_of_data_read_by_its_own_definition(
    trained: Trained, history: Dataset, demo_world: Demo, made_scorer: Callable[..., Scorer]
) -> None:
    champion = champion_of(made_scorer, trained, OTHER_PRODUCT.replace("industry", "company_size"))
    test = trained.table.take(trained.split.test)
    fresh = dataset(demo_world.events, demo_world.trials, champion.definition)
    scorer = Scorer(champion)
    theirs = scorer.probabilities(fresh.rows(scorer.builder, test.lead, test.as_of))
    table = trained.predictions
    difference = log_loss(table["converted"], table["probability"]) - log_loss(table["converted"], theirs)
    assert f"log loss {difference:+.4f} against the champion" in judged(trained, champion, history).why


def test_a_champion_that_cannot_score_the_data_is_replaced(
    trained: Trained, history: Dataset, made_scorer: Callable[..., Scorer]
) -> None:
    verdict = judged(trained, champion_of(made_scorer, trained, OTHER_PRODUCT), history)
    assert verdict.promote
    assert verdict.why.startswith("Promoted: the champion cannot score this data (")
    assert "industry" in verdict.why


def test_a_version_for_other_leads_replaces_the_champion(
    trained: Trained, history: Dataset, made_scorer: Callable[..., Scorer]
) -> None:
    text = OTHER_PRODUCT.replace("industry", "company_size") + "lead: account\n"
    verdict = judged(trained, champion_of(made_scorer, trained, text), history)
    assert verdict.promote
    assert verdict.why == "Promoted: the definition scores users, and the champion accounts."


def test_a_refused_version_is_never_promoted_and_says_why(trained: Trained, history: Dataset) -> None:
    refused = replace(trained, refusal=Refusal("no signal: as if by chance."))
    for champion in (None, shifted(trained.artifact, 3.0)):
        verdict = judged(refused, champion, history)
        assert verdict == Verdict(promote=False, why="Not promoted: no signal: as if by chance.")

"""A version goes into service only if it is not worse than the one that is there, on the same trials, and calibrated."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from features.dataset import Dataset, dataset
from features.errors import Refusal
from features.times import parse_instant, text_of
from serving.scoring.artifact import Artifact
from serving.scoring.calibration import Sigmoid
from serving.scoring.decision import NoCutoff
from serving.scoring.scorer import Scorer
from training import promote
from training.demo import Demo
from training.evaluate import Interval
from training.pipeline import Trained
from training.promote import Calibration, Verdict, _tied, calibration_of, judge

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
    probability = trained.daily["probability"]
    odds = np.log(probability / (1 - probability)) + by
    return replace(
        trained,
        artifact=shifted(trained.artifact, by),
        daily=trained.daily.assign(probability=1 / (1 + np.exp(-odds))),
    )


def judged(trained: Trained, champion: Artifact | None, data: Dataset) -> Verdict:
    return judge(trained, champion, data, seed=0)


def told_otherwise(artifact: Artifact, **facts: object) -> Artifact:
    """The same scores under another name: it says something else of its training."""
    return replace(artifact, training={**artifact.training, **facts})


def until(artifact: Artifact, days: int) -> str:
    """The end of the data a version learned from, moved by some days."""
    told = parse_instant(artifact.training["data_until"], "data_until")
    return text_of(told + days * 86_400_000_000)


# --- the first version ------------------------------------------------------------------------


def test_the_first_version_is_promoted_with_what_it_gains(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, None, history)
    assert verdict.promote
    gain = f"{-trained.against['base_rate'].value:.4f}"
    assert verdict.why == f"Promoted: the first version, and better than the base rate by {gain} log loss."


@pytest.mark.parametrize("gain", [Interval(0.0, -0.1, 0.1), Interval(0.01, -0.1, 0.1), Interval(-0.01, -0.03, 0.0)])
def test_a_first_version_whose_gain_may_be_chance_is_not_promoted(
    trained: Trained, history: Dataset, gain: Interval
) -> None:
    verdict = judged(replace(trained, against={"base_rate": gain}), None, history)
    assert not verdict.promote
    assert verdict.why == (
        f"Not promoted: log loss {gain.value:+.4f} against the base rate "
        f"(95% interval {gain.low:+.4f} to {gain.high:+.4f}) is no clear gain."
    )


def test_a_first_version_that_is_not_calibrated_is_not_promoted(trained: Trained, history: Dataset) -> None:
    verdict = judged(shifted_version(trained, 1.0), None, history)
    assert not verdict.promote
    assert re.match(
        r"Not promoted: it is not calibrated: 0\.\d\d conversions for each one that was predicted", verdict.why
    )
    assert verdict.figures["calibration_p"] < 0.001


# --- against the champion ---------------------------------------------------------------------


def test_a_better_version_is_promoted(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, shifted(trained.artifact, 1.0), history)
    assert verdict.promote
    assert verdict.why.startswith("Promoted: log loss -0.")
    assert verdict.why.endswith("test trials: it is better.")


def test_a_worse_version_is_not_promoted_even_if_its_data_is_newer(trained: Trained, history: Dataset) -> None:
    older = told_otherwise(trained.artifact, data_until=until(trained.artifact, -30))
    verdict = judged(shifted_version(trained, 1.0), older, history)
    assert not verdict.promote
    assert verdict.why.startswith("Not promoted: log loss +0.")
    assert verdict.why.endswith("test trials: it is worse.")


@pytest.mark.parametrize(
    ("interval", "news", "wins"),
    [
        (Interval(-0.010, -0.020, -0.001), None, True),  # clearly better wins without anything new
        (Interval(-0.010, -0.020, 0.001), None, False),  # what may be chance does not
        (Interval(0.0, 0.0, 0.0), None, False),
        (Interval(-0.010, -0.020, 0.001), "news", True),
        (Interval(0.0, 0.0, 0.0), "news", True),
        (Interval(0.005, -0.001, 0.011), "news", True),  # up to a tenth of what the champion gains
        (Interval(0.006, -0.001, 0.013), "news", False),  # looks worse by more
        (Interval(0.001, 0.0005, 0.002), "news", False),  # clearly worse, however little
    ],
)
def test_a_tie_goes_to_what_is_new_but_not_at_any_price(interval: Interval, news: str | None, wins: bool) -> None:
    assert _tied(interval, 0.005, news)[0] is wins


def test_as_good_on_newer_data_replaces_the_champion(trained: Trained, history: Dataset) -> None:
    champion = told_otherwise(trained.artifact, data_until=until(trained.artifact, -7))
    verdict = judged(trained, champion, history)
    assert verdict.promote
    assert "log loss +0.0000" in verdict.why
    assert verdict.why.endswith("both score alike, and it learned from newer data.")


def test_as_good_under_a_changed_definition_replaces_the_champion(trained: Trained, history: Dataset) -> None:
    text = trained.artifact.definition_text.replace("product: Corkboard", "product: Pinboard")
    verdict = judged(trained, replace(trained.artifact, definition_text=text), history)
    assert verdict.promote
    assert verdict.why.endswith("and its definition asks for something else.")


def test_as_good_under_a_changed_definition_on_older_data_does_not(trained: Trained, history: Dataset) -> None:
    text = trained.artifact.definition_text.replace("product: Corkboard", "product: Pinboard")
    champion = told_otherwise(replace(trained.artifact, definition_text=text), data_until=until(trained.artifact, 7))
    assert not judged(trained, champion, history).promote


@pytest.mark.parametrize("days", [0, 7])
def test_as_good_with_nothing_new_does_not_replace_the_champion(trained: Trained, history: Dataset, days: int) -> None:
    champion = told_otherwise(trained.artifact, product="Another", data_until=until(trained.artifact, days))
    assert champion.version != trained.artifact.version
    verdict = judged(trained, champion, history)
    assert not verdict.promote
    assert verdict.why.endswith("it has learned nothing that the champion did not know.")


def test_the_difference_named_is_that_of_both_on_the_same_trials(trained: Trained, history: Dataset) -> None:
    converted, ours = trained.predictions["converted"], trained.predictions["probability"]
    theirs = shifted_version(trained, 1.0).predictions["probability"]
    difference = log_loss(converted, ours) - log_loss(converted, theirs)
    verdict = judged(trained, shifted(trained.artifact, 1.0), history)
    found = re.search(
        r"log loss (\S+) against the champion, 95% interval (\S+) to (\S+), on the same (\d+) test trials", verdict.why
    )
    assert found is not None
    value, low, high = map(float, found.groups()[:3])
    assert value == pytest.approx(difference, abs=1e-4)
    assert low < value < high
    assert int(found[4]) == trained.predictions["lead_id"].nunique() == verdict.figures["judged_leads"]
    assert verdict.figures["log_loss_minus_champion"] == pytest.approx(difference, abs=1e-9)


def test_the_verdict_names_the_champion_it_was_compared_with(trained: Trained, history: Dataset) -> None:
    champion = shifted(trained.artifact, 1.0)
    assert judged(trained, champion, history).champion == champion.version
    assert judged(trained, None, history).champion is None


def test_the_version_in_service_is_not_promoted_again(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, trained.artifact, history)
    assert not verdict.promote
    assert verdict.why == "Not promoted: the same data and definition made the version that is in service."


# --- trials that the champion may know --------------------------------------------------------


def who_learned_until(trained: Trained, share: float) -> Artifact:
    """The same version, worse by its shift, whose own test began within that of the challenger."""
    moment = int(np.quantile(trained.table.started_at[trained.split.test], share, method="lower"))
    return told_otherwise(shifted(trained.artifact, 1.0), test_from=text_of(moment))


def test_trials_that_the_champion_may_have_learned_from_are_left_out(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, who_learned_until(trained, 0.3), history)
    started = trained.table.started_at[trained.split.test]
    new = started >= np.quantile(started, 0.3, method="lower")
    table = trained.predictions[new]
    known = trained.predictions["lead_id"].nunique() - table["lead_id"].nunique()
    theirs = expit(logit(table["probability"]) + 1.0)
    difference = log_loss(table["converted"], table["probability"]) - log_loss(table["converted"], theirs)
    assert known > 50
    assert f"log loss {difference:+.4f} against the champion" in verdict.why
    assert verdict.why.endswith(f"The champion may have learned from {known} of the test trials; they are left out.")
    assert verdict.figures["left_out_leads"] == known


def test_where_too_few_others_are_left_all_trials_count_and_it_is_said(trained: Trained, history: Dataset) -> None:
    verdict = judged(trained, who_learned_until(trained, 0.99), history)
    assert verdict.why.endswith("too few others converted, so they count, in its favour.")
    assert verdict.figures["left_out_leads"] == 0
    assert verdict.figures["judged_leads"] == trained.predictions["lead_id"].nunique()


@pytest.mark.parametrize("facts", [{}, {"test_from": None}])
def test_of_a_champion_that_learned_before_the_test_or_does_not_tell_no_trial_is_left_out(
    trained: Trained, history: Dataset, facts: dict[str, object]
) -> None:
    champion = told_otherwise(shifted(trained.artifact, 1.0), **facts)
    assert "may have learned" not in judged(trained, champion, history).why


# --- calibration ------------------------------------------------------------------------------


def test_an_uncalibrated_version_does_not_replace_a_champion_that_is_calibrated_better(
    trained: Trained, history: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log loss is lower all the same: it ranks, and the champion tells everybody the same."""
    usual = trained.predictions["base_rate"].to_numpy()
    monkeypatch.setattr(promote, "_champion_probabilities", lambda *_: usual)
    verdict = judged(shifted_version(trained, 0.7), shifted(trained.artifact, 0.1), history)
    assert verdict.figures["log_loss_minus_champion_high"] < 0
    assert not verdict.promote
    assert "and it is not calibrated: 0." in verdict.why
    assert verdict.why.endswith("and the champion is calibrated better.")


def test_an_uncalibrated_version_replaces_a_champion_that_is_calibrated_worse(
    trained: Trained, history: Dataset
) -> None:
    verdict = judged(shifted_version(trained, 0.8), shifted(trained.artifact, 2.0), history)
    assert verdict.figures["calibration_p"] < 0.001
    assert verdict.figures["champion_calibration_cost"] > verdict.figures["calibration_cost"]
    assert verdict.promote


def test_a_test_that_rejects_what_costs_nothing_keeps_nobody_out() -> None:
    assert Calibration(p_value=1e-9, cost=0.0024, observed_to_expected=0.93, gain=0.05).good
    assert not Calibration(p_value=1e-9, cost=0.0026, observed_to_expected=0.9, gain=0.05).good


def test_what_the_test_does_not_reject_is_good_whatever_it_seems_to_cost() -> None:
    assert Calibration(p_value=0.0011, cost=0.02, observed_to_expected=0.7, gain=0.05).good
    assert Calibration(p_value=float("nan"), cost=0.0, observed_to_expected=1.0, gain=0.0).good


def product(rng: np.random.Generator, leads: int, off: float) -> pd.DataFrame:
    """Three snapshots of each lead, one fate, and probabilities whose log-odds are off by so much."""
    odds = np.repeat(rng.normal(-2.0, 1.2, leads), 3)
    won = np.repeat(rng.random(leads), 3) < expit(odds)
    return pd.DataFrame({
        "account": np.repeat(np.arange(leads), 3), "converted": won.astype(int), "probability": expit(odds + off),
        "base_rate": won.mean(),
    })  # fmt: skip


def test_a_perfect_score_is_nearly_always_called_calibrated() -> None:
    rng = np.random.default_rng(3)
    good = [calibration_of(product(rng, 400, 0.0), "probability").good for _ in range(300)]
    assert np.mean(good) >= 0.99


def test_a_score_that_promises_twice_too_much_is_nearly_always_found() -> None:
    rng = np.random.default_rng(4)
    good = [calibration_of(product(rng, 400, 0.8), "probability").good for _ in range(100)]
    assert np.mean(good) <= 0.05


def test_what_recalibration_would_gain_is_that_of_the_best_line(trained: Trained) -> None:
    found = calibration_of(shifted_version(trained, 1.0).predictions, "probability")
    straight = calibration_of(trained.predictions, "probability")
    table = trained.predictions
    losses = [log_loss(table["converted"], expit(logit(table["probability"]) + by)) for by in (1.0, 0.0)]
    assert found.cost - straight.cost == pytest.approx(losses[0] - losses[1], abs=1e-6)


# --- champions that cannot be compared --------------------------------------------------------


def test_a_version_for_another_horizon_replaces_the_champion(trained: Trained, history: Dataset) -> None:
    champion = replace(trained.artifact, training={**trained.artifact.training, "horizon_days": 14.0})
    verdict = judged(trained, champion, history)
    assert verdict.promote
    assert "another horizon" in verdict.why


def test_where_no_champion_can_be_compared_a_version_must_still_be_calibrated(
    trained: Trained, history: Dataset
) -> None:
    champion = told_otherwise(trained.artifact, horizon_days=14.0)
    assert not judged(shifted_version(trained, 1.0), champion, history).promote


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
    assert verdict.why.startswith("Promoted: the definition scores users, and the champion accounts, and better than")


def test_a_refused_version_is_never_promoted_and_says_why(trained: Trained, history: Dataset) -> None:
    refused = replace(trained, refusal=Refusal("no signal: as if by chance."))
    for champion in (None, shifted(trained.artifact, 3.0)):
        verdict = judged(refused, champion, history)
        assert verdict == Verdict(promote=False, why="Not promoted: no signal: as if by chance.")


def test_a_version_without_a_cutoff_is_promoted_loudly(trained: Trained, history: Dataset) -> None:
    nobody = NoCutoff(0.9, 0.9, "no 40 leads in a row reach 90 %.")
    ranks = replace(trained, artifact=replace(trained.artifact, decision=nobody))
    for champion in (None, shifted(trained.artifact, 1.0)):
        verdict = judged(ranks, champion, history)
        assert verdict.promote
        assert verdict.why.endswith("BUT IT HAS NO CUTOFF, so nobody is called a PQL: no 40 leads in a row reach 90 %.")

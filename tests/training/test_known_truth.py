"""The whole way in a world whose true probabilities are known: what is said is true, and what is promised is kept."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.windows import Floats
from serving.scoring.decision import Cutoff, Decision
from serving.scoring.scorer import Scorer
from training import evaluate
from training.calibrate import UPDATING, calibrate, updated
from training.cutoff import choose_cutoff, first_flag_rows
from training.demo import simulate
from training.evaluate import METRICS, Interval
from training.pipeline import Settings, Trained, train
from training.rounds import rounds
from training.snapshots import Snapshots


@dataclass(frozen=True)
class Known:
    """A version, and the true probability behind each of its test predictions: at the ages of learning, and daily."""

    data: Dataset
    trained: Trained
    truth: Floats
    daily: Floats


@pytest.fixture(scope="module")
def known(definition_text: str) -> Known:
    demo = simulate(5000)
    data = dataset(demo.events, demo.trials, parse(definition_text))
    trained = train(data, definition_text, Settings())
    horizon = data.definition.conversion.horizon / DAY
    truth, daily = (
        demo.true_probability(
            table["lead_id"].tolist(), [moment.to_pydatetime() for moment in table["as_of"]], horizon
        )
        for table in (trained.predictions, trained.daily)
    )  # fmt: skip
    return Known(data, trained, truth, daily)


def against_truth(known: Known, name: str) -> Interval:
    table = known.trained.predictions
    draws = evaluate.bootstrap_weights(table["account"], seed=0)
    return evaluate.interval(METRICS[name], known.truth, table["probability"].to_numpy(), np.ones(len(table)), draws)


def first_flags(known: Known) -> pd.DataFrame:
    table = known.trained.daily.assign(truth=known.daily).sort_values("as_of", kind="stable")
    lead = pd.factorize(table["lead_id"])[0].astype(np.int64)
    return table.iloc[first_flag_rows(table["is_pql"].to_numpy(bool), lead)]


def test_predicted_probabilities_are_the_true_ones_on_average(known: Known) -> None:
    """As nearly as the conversions tell by which the calibration was brought up to date: to about one in their root."""
    assert known.trained.split.cutoff is not None
    updating = known.trained.artifact.training["parts"]["cutoff"]["converted"]
    assert updating > 250
    assert abs(against_truth(known, "calibration_intercept").value) < 2.5 / np.sqrt(updating)


def test_predicted_probabilities_are_neither_too_bold_nor_too_shy(known: Known) -> None:
    assert 1.0 in against_truth(known, "calibration_slope")


def test_predictions_come_close_to_the_true_probability_of_each_tenth(known: Known) -> None:
    table = known.trained.predictions.assign(truth=known.truth)
    tenth = table.groupby(pd.qcut(table["probability"], 10, labels=False))[["probability", "truth"]].mean()
    assert (tenth["truth"].is_monotonic_increasing, len(tenth)) == (True, 10)
    off = tenth["probability"] - tenth["truth"]
    assert (off.abs() < np.maximum(0.012, 0.2 * tenth["truth"])).all()


def test_most_of_what_can_be_known_is_known(known: Known) -> None:
    """The gain over the base rate in log loss, against that of the truth itself."""
    table = known.trained.predictions
    weight, outcomes = np.ones(len(table)), table["converted"].to_numpy()
    base, ours, best = (
        evaluate.log_loss(outcomes, found, weight)
        for found in (
            np.full(len(weight), outcomes.mean()),
            table["probability"].to_numpy(),
            known.truth.clip(0, 0.999),
        )
    )
    assert base - ours > 0.6 * (base - best)


def test_pqls_on_later_trials_convert_as_often_as_was_promised(known: Known) -> None:
    decision, promise = known.trained.artifact.decision, known.trained.promise
    assert isinstance(decision, Cutoff)
    assert promise.precision is not None
    assert decision.at_least == 0.3
    assert promise.precision.value >= decision.at_least


def test_the_true_chances_of_first_flagged_leads_keep_the_promise(known: Known) -> None:
    flagged = first_flags(known)
    assert len(flagged) == known.trained.promise.leads > 300
    assert known.trained.promise.asked_for == 0.3
    assert flagged["truth"].mean() >= known.trained.promise.asked_for


def decision_of(trained: Trained, data: Dataset, met: Snapshots, probabilities: Floats) -> Decision:
    """The decision that leads carry who are met on every day until the test begins."""
    began = data.leads.started_at
    beside = (began >= met.started_at.min()) & (began <= met.started_at.max())
    share = len(np.unique(met.lead)) / beside.sum()
    policy = trained.artifact.definition.cutoff
    return choose_cutoff(probabilities, met, policy, None, (), data.until, share)


def test_large_data_sets_the_cutoff_on_leads_that_were_not_learned_from(known: Known) -> None:
    trained, scorer = known.trained, Scorer(known.trained.artifact)
    assert trained.split.cutoff is not None
    leads = np.unique(trained.table.lead[trained.split.cutoff])
    met = rounds(known.data, leads, trained.split.test_from, complete=True)
    probabilities = scorer.probabilities(known.data.rows(scorer.builder, met.lead, met.as_of))
    assert decision_of(trained, known.data, met, probabilities) == trained.artifact.decision


def test_large_data_brings_the_calibration_up_to_date_on_the_newest_leads_known(known: Known) -> None:
    trained, calibration = known.trained, known.trained.artifact.calibration
    assert trained.split.cutoff is not None
    both = trained.artifact.rung == "lightgbm"
    ranking = trained.fitted.both if both else trained.fitted.scorecard
    unseen = trained.fitted.both_unseen if both else trained.fitted.scorecard_unseen
    older, newest = (trained.table.take(rows) for rows in (trained.split.fit, trained.split.cutoff))
    before = calibrate(unseen[: len(older)], older.converted, older.weight)
    rows = known.data.rows(trained.artifact.builder, newest.lead, newest.as_of)
    after = updated(before, ranking.margins(rows), newest.converted, newest.weight, UPDATING)
    assert (calibration.slope, calibration.shift) == pytest.approx((after.slope, after.shift), rel=1e-9)
    assert after != before


def test_small_data_sets_the_cutoff_by_scores_of_models_that_had_not_seen_the_lead(
    trained: Trained, history: Dataset
) -> None:
    assert trained.split.cutoff is None
    leads = np.unique(trained.table.lead[trained.split.fit])
    met = rounds(history, leads, trained.split.test_from, complete=True)
    scorer = Scorer(trained.artifact)
    seen = scorer.probabilities(history.rows(scorer.builder, met.lead, met.as_of))
    found = decision_of(trained, history, met, seen)
    assert isinstance(found, Cutoff)
    assert isinstance(trained.artifact.decision, Cutoff)
    # Scores of a model that has seen the leads would look better than they are, and set another cutoff.
    assert found != trained.artifact.decision
    assert found.measured_from == trained.artifact.decision.measured_from
    assert found.measured_until == trained.artifact.decision.measured_until

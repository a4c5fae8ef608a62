"""The whole way: figures that the predictions bear out, honest refusals, no look ahead, and probabilities that are true."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import metrics as sklearn_metrics

from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.errors import Refusal
from features.times import INSTANT, micros, moment_of
from features.windows import Floats
from serving.scoring.decision import Cutoff
from serving.scoring.scorer import Scorer
from training import evaluate, pipeline
from training.cutoff import choose_cutoff, first_flag_rows
from training.demo import Demo, simulate
from training.evaluate import METRICS, PREDICTION_COLUMNS, Interval
from training.pipeline import Settings, Trained, train
from training.snapshots import Snapshots
from training.split import Split

SEED = Settings().fit.seed


def frames(demo: Demo) -> tuple[pl.DataFrame, pl.DataFrame]:
    return demo.events, demo.trials


def converting(demo: Demo, text: str, converted_at: pl.Expr) -> Dataset:
    """The same behaviour with other conversions."""
    events = demo.events.filter(~pl.col("event").is_in(["subscription_started", "seat_added", "invoice_paid"]))
    trials = demo.trials.with_columns(converted_at.cast(INSTANT).alias("converted_at"))
    return dataset(events, trials, parse(text))


# --- what is reported -------------------------------------------------------------------------


def test_there_is_one_prediction_per_test_snapshot(trained: Trained, history: Dataset) -> None:
    test, ids = trained.table.take(trained.split.test), history.leads.ids
    assert list(trained.predictions.columns) == list(PREDICTION_COLUMNS)
    assert trained.predictions["lead_id"].tolist() == [ids[lead] for lead in test.lead]
    assert trained.predictions["as_of"].tolist() == [pd.Timestamp(moment_of(int(one))) for one in test.as_of]
    assert trained.predictions["converted"].tolist() == test.converted.tolist()


def test_reported_figures_are_those_of_the_predictions(trained: Trained) -> None:
    assert evaluate.evaluate(trained.predictions, SEED) == trained.figures


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("auc", "roc_auc_score"), ("log_loss", "log_loss"), ("average_precision", "average_precision_score"),
        ("brier", "brier_score_loss"),
    ],
)  # fmt: skip
def test_reported_figures_are_those_of_scikit_learn(trained: Trained, name: str, oracle: str) -> None:
    table = trained.predictions
    found = getattr(sklearn_metrics, oracle)(table["converted"], table["probability"])
    assert trained.figures[name].value == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("baseline", ["base_rate", "logistic"])
def test_the_gain_over_a_baseline_is_that_of_the_predictions(trained: Trained, baseline: str) -> None:
    table = trained.predictions
    ours, theirs = (sklearn_metrics.log_loss(table["converted"], table[name]) for name in ("probability", baseline))
    assert trained.against[baseline].value == pytest.approx(ours - theirs, rel=1e-9)


def test_the_promise_is_that_of_the_predictions(trained: Trained) -> None:
    flagged = trained.predictions[trained.predictions["is_pql"]].drop_duplicates("lead_id")
    assert (trained.promise.leads, trained.promise.converted) == (len(flagged), flagged["converted"].sum())


def test_a_pql_is_who_reaches_the_cutoff(trained: Trained) -> None:
    decision = trained.artifact.decision
    assert isinstance(decision, Cutoff)
    assert (
        trained.predictions["is_pql"].tolist() == (trained.predictions["probability"] >= decision.probability).tolist()
    )


def test_the_model_beats_both_the_base_rate_and_chance(trained: Trained) -> None:
    assert trained.against["base_rate"].high < 0
    assert trained.figures["auc"].low > 0.5
    assert trained.refusal is None


def test_the_base_rate_is_that_of_the_leads_learned_from(trained: Trained) -> None:
    learned = trained.table.take(trained.split.learned)
    assert trained.predictions["base_rate"].unique().tolist() == [pytest.approx(learned.converted.mean())]


def test_signals_are_listed_from_heaviest_to_lightest_and_none_is_missing(trained: Trained) -> None:
    weights = [weight for _, weight in trained.weights]
    assert weights == sorted(weights, reverse=True)
    owners = {column.owner for column in trained.artifact.builder.columns}
    assert {owner for owner, _ in trained.weights} == owners


def test_what_is_said_of_the_parts_is_what_they_hold(trained: Trained) -> None:
    parts = trained.artifact.training["parts"]
    test = trained.predictions
    assert parts["test"]["snapshots"] == len(test)
    assert parts["test"]["leads"] == test["lead_id"].nunique()
    assert parts["test"]["converted"] == test.groupby("lead_id")["converted"].max().sum()


def test_a_given_start_of_the_test_decides_who_judges(
    history: Dataset, definition_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int | None] = []

    def watched(_: Snapshots, test_from: int | None) -> Split:
        given.append(test_from)
        raise Refusal("enough")

    monkeypatch.setattr(pipeline, "split", watched)
    for moment in (None, 1_756_684_800_000_000):
        with pytest.raises(Refusal, match="enough"):
            train(history, definition_text, Settings(moment))
    assert given == [None, 1_756_684_800_000_000]


# --- the artifact -----------------------------------------------------------------------------


def test_the_artifact_scores_its_examples_as_it_did_when_trained(trained: Trained) -> None:
    found = Scorer(trained.artifact).probabilities(trained.artifact.examples)
    assert found.tolist() == trained.artifact.expected.tolist()


def test_its_examples_are_test_snapshots(trained: Trained) -> None:
    assert set(trained.artifact.expected.tolist()) <= set(trained.predictions["probability"].tolist())


def test_it_scores_leads_as_the_test_predictions_say(trained: Trained, history: Dataset) -> None:
    scorer, test = Scorer(trained.artifact), trained.table.take(trained.split.test)
    scored = scorer.score(history.rows(scorer.builder, test.lead, test.as_of))
    assert scored.probabilities.tolist() == trained.predictions["probability"].tolist()


def test_categories_are_learned_from_the_leads_learned_from_only(trained: Trained, history: Dataset) -> None:
    source, learned = history.leads.traits["source"], trained.table.take(trained.split.fit)
    known = {str(source.value_at(place)) for place in source.at(learned.lead, learned.as_of)}
    assert set(trained.artifact.levels["source"]) <= known


def test_percentiles_are_ranks_among_the_leads_that_set_the_cutoff(trained: Trained) -> None:
    reference = trained.artifact.reference
    median = np.median(trained.artifact.calibration.probabilities(trained.fitted.out_of_fold))
    assert trained.split.cutoff is None
    assert reference.percentiles(np.array([0.0, median, 1.0])).tolist() == pytest.approx([0, 50, 100], abs=0.2)


def test_the_share_of_converters_is_what_a_count_of_events_finds(
    trained: Trained, history: Dataset, demo_world: Demo
) -> None:
    day = 7
    rows = trained.table.take(trained.split.fit)
    won = rows.take(np.flatnonzero((rows.converted == 1) & (rows.as_of - rows.started_at == day * DAY)))
    ids = history.leads.ids
    users = pl.DataFrame({"user_id": [ids[i] for i in won.lead], "as_of": won.as_of})
    joined = users.join(demo_world.events.filter(pl.col("event") == "invite_sent"), on="user_id")
    did = joined.filter(pl.col("timestamp").dt.epoch("us") < pl.col("as_of"))["user_id"].n_unique()
    share = trained.artifact.reference.share_of_converters("invites_sent", day)
    assert share is not None
    assert share == pytest.approx((day, did / len(users)))


# --- the same again, and no look ahead --------------------------------------------------------


def test_the_order_of_the_events_does_not_change_the_version(
    trained: Trained, demo_world: Demo, definition_text: str
) -> None:
    events, trials = frames(demo_world)
    again = dataset(events.sample(fraction=1.0, shuffle=True, seed=1), trials, parse(definition_text))
    assert train(again, definition_text, Settings()).artifact.version == trained.artifact.version


@dataclass(frozen=True)
class Looked:
    """One test snapshot of each account, and the moment of it by account."""

    table: pd.DataFrame
    moments: pl.DataFrame


@pytest.fixture(scope="module")
def looked(trained: Trained, demo_world: Demo) -> Looked:
    one = trained.predictions.sample(frac=1.0, random_state=3).drop_duplicates("account")
    when = pl.DataFrame(
        {"user_id": one["lead_id"].tolist(), "as_of": [moment.to_pydatetime() for moment in one["as_of"]]}
    )
    moments = when.join(demo_world.trials.select("user_id", "account_id"), on="user_id")
    return Looked(one, moments.select("user_id", "account_id", pl.col("as_of").cast(INSTANT)))


def rescored(trained: Trained, looked: Looked, events: pl.DataFrame, trials: pl.DataFrame) -> list[float]:
    scorer = Scorer(trained.artifact)
    data = dataset(events, trials, scorer.builder.definition)
    place = {user: i for i, user in enumerate(data.leads.ids)}
    which = np.array([place[user] for user in looked.table["lead_id"]])
    as_of = np.array([micros(moment.to_pydatetime()) for moment in looked.table["as_of"]])
    found: list[float] = scorer.probabilities(data.rows(scorer.builder, which, as_of)).tolist()
    return found


def test_without_all_that_came_later_the_predictions_are_the_same(
    trained: Trained, demo_world: Demo, looked: Looked
) -> None:
    """Each account's history ends at the moment at which one of its leads was looked at; nobody is known to convert after."""
    ends = looked.moments.select("account_id", "as_of")
    events = demo_world.events.join(ends, on="account_id").filter(pl.col("timestamp") < pl.col("as_of"))
    trials = demo_world.trials.join(ends, on="account_id", maintain_order="left")
    begun = trials.filter(pl.col("started_at") < pl.col("as_of"))
    seen = [pl.when(pl.col(name) < pl.col("as_of")).then(name).alias(name) for name in ("converted_at", "closed_at")]
    assert len(events) < 0.6 * len(demo_world.events)
    found = rescored(trained, looked, events.drop("as_of"), begun.with_columns(seen).drop("as_of"))
    assert found == looked.table["probability"].tolist()


def test_events_exactly_at_the_moment_and_after_it_change_no_prediction(
    trained: Trained, demo_world: Demo, looked: Looked
) -> None:
    names = pl.DataFrame({"event": demo_world.events["event"].unique().sort()})
    parts = [
        looked.moments.select("user_id", "account_id", timestamp=pl.col("as_of") + delay).join(names, how="cross")
        for delay in (timedelta(0), timedelta(microseconds=1), timedelta(days=9))
    ]
    more = pl.concat(parts).with_columns(properties=pl.lit('{"plan": "business", "megabytes": 9, "limit": "x"}'))
    events = pl.concat([demo_world.events, more], how="diagonal")
    assert rescored(trained, looked, events, demo_world.trials) == looked.table["probability"].tolist()


def test_events_just_before_the_moment_do_change_predictions(
    trained: Trained, demo_world: Demo, looked: Looked
) -> None:
    more = looked.moments.select(
        "user_id", "account_id", timestamp=pl.col("as_of") - timedelta(microseconds=1), event=pl.lit("invite_accepted")
    )
    events = pl.concat([demo_world.events, more], how="diagonal")
    raised = np.array(rescored(trained, looked, events, demo_world.trials))
    assert (raised > looked.table["probability"].to_numpy()).mean() > 0.9


# --- refusals ---------------------------------------------------------------------------------


def test_without_any_conversion_training_is_refused_with_what_to_do(demo_world: Demo, definition_text: str) -> None:
    data = converting(demo_world, definition_text, pl.lit(None))
    with pytest.raises(
        Refusal, match=r"with 0 conversions; at least 20 .*Wait for more history, shorten the horizon"
    ) as refused:
        train(data, definition_text, Settings())
    assert refused.value.exit_code == 3


def test_where_everybody_converts_training_is_refused_with_what_to_do(demo_world: Demo, definition_text: str) -> None:
    data = converting(demo_world, definition_text, pl.col("started_at") + timedelta(days=20))
    with pytest.raises(
        Refusal, match=r"(\d+) mature leads with \1 conversions; .*20 that did not .*Wait for more history"
    ) as refused:
        train(data, definition_text, Settings())
    assert refused.value.exit_code == 3


def test_where_converting_has_nothing_to_do_with_behaviour_the_version_is_refused(
    demo_world: Demo, definition_text: str
) -> None:
    """Everybody converts at the same rate per day, so that not even the age of a trial says anything."""
    days = np.random.default_rng(0).exponential(250, len(demo_world.trials))
    moment = pl.col("started_at") + pl.lit(pl.Series((days * DAY).astype(np.int64)).cast(pl.Duration("us")))
    data = converting(demo_world, definition_text, pl.when(moment < demo_world.events["timestamp"].max()).then(moment))
    refusal = train(data, definition_text, Settings()).refusal
    assert refusal is not None
    assert refusal.exit_code == 3
    assert str(refusal).startswith("no signal: on later trials the AUC is")
    assert "Add signals that precede conversion, or wait for more" in str(refusal)


def test_data_that_ends_before_any_horizon_has_passed_is_refused(demo_world: Demo, definition_text: str) -> None:
    begin = demo_world.events["timestamp"].min()
    assert isinstance(begin, datetime)
    end = begin + timedelta(days=25)
    events = demo_world.events.filter(pl.col("timestamp") < end)
    trials = demo_world.trials.filter(pl.col("started_at") < end).with_columns(converted_at=pl.lit(None, INSTANT))
    with pytest.raises(Refusal, match="no snapshot has a known outcome yet"):
        train(dataset(events, trials, parse(definition_text)), definition_text, Settings())


# --- known truth ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A version, and the true probability behind each of its test predictions."""

    data: Dataset
    trained: Trained
    truth: Floats


@pytest.fixture(scope="module")
def known(definition_text: str) -> Known:
    demo = simulate(6000)
    data = dataset(*frames(demo), parse(definition_text))
    trained = train(data, definition_text, Settings())
    moments = [moment.to_pydatetime() for moment in trained.predictions["as_of"]]
    horizon = data.definition.conversion.horizon / DAY
    return Known(data, trained, demo.true_probability(trained.predictions["lead_id"].tolist(), moments, horizon))


def against_truth(known: Known, name: str) -> Interval:
    table = known.trained.predictions
    draws = evaluate.bootstrap_weights(table["account"], seed=0)
    return evaluate.interval(METRICS[name], known.truth, table["probability"].to_numpy(), np.ones(len(table)), draws)


def first_flags(known: Known) -> pd.DataFrame:
    table = known.trained.predictions.assign(truth=known.truth)
    lead = pd.factorize(table["lead_id"])[0].astype(np.int64)
    return table.iloc[first_flag_rows(table["is_pql"].to_numpy(bool), lead)]


def test_predicted_probabilities_are_the_true_ones_on_average(known: Known) -> None:
    assert 0.0 in against_truth(known, "calibration_intercept")


def test_predicted_probabilities_are_neither_too_bold_nor_too_shy(known: Known) -> None:
    assert 1.0 in against_truth(known, "calibration_slope")


def test_predictions_come_close_to_the_true_probability_of_each_tenth(known: Known) -> None:
    table = known.trained.predictions.assign(truth=known.truth)
    tenth = table.groupby(pd.qcut(table["probability"], 10, labels=False))[["probability", "truth"]].mean()
    assert (tenth["truth"].is_monotonic_increasing, len(tenth)) == (True, 10)
    assert (tenth["probability"] / tenth["truth"]).between(0.75, 1.33).all()


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
    assert promise.precision.value >= decision.at_least


def test_the_true_chances_of_first_flagged_leads_keep_the_promise(known: Known) -> None:
    flagged = first_flags(known)
    assert len(flagged) == known.trained.promise.leads > 300
    assert flagged["truth"].mean() >= known.trained.promise.asked_for


def test_large_data_sets_the_cutoff_on_leads_that_were_not_learned_from(known: Known) -> None:
    trained, scorer = known.trained, Scorer(known.trained.artifact)
    assert trained.split.cutoff is not None
    held = trained.table.take(trained.split.cutoff)
    scored = scorer.score(known.data.rows(scorer.builder, held.lead, held.as_of))
    assert choose_cutoff(scored.probabilities, held, known.data.definition.cutoff) == trained.artifact.decision


def test_small_data_sets_the_cutoff_by_scores_of_models_that_had_not_seen_the_lead(trained: Trained) -> None:
    assert trained.split.cutoff is None
    unseen = trained.artifact.calibration.probabilities(trained.fitted.out_of_fold)
    found = choose_cutoff(unseen, trained.table.take(trained.split.fit), trained.artifact.definition.cutoff)
    assert found == trained.artifact.decision

"""The whole way: figures that the predictions bear out, honest refusals, and no look ahead."""

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
from serving.scoring.decision import Cutoff, NoCutoff
from serving.scoring.scorer import Scorer
from training import evaluate, pipeline
from training.demo import Demo, simulate
from training.evaluate import PREDICTION_COLUMNS
from training.fit import FitSettings
from training.pipeline import Settings, Trained, train
from training.rounds import rounds
from training.snapshots import Snapshots
from training.split import Split

SEED = Settings().fit.seed
FEW_TREES = FitSettings(max_rounds=40, patience=10)


def converting(demo: Demo, text: str, converted_at: pl.Expr) -> Dataset:
    """The same behaviour with other conversions."""
    events = demo.events.filter(~pl.col("event").is_in(["subscription_started", "seat_added", "invoice_paid"]))
    trials = demo.trials.with_columns(converted_at.cast(INSTANT).alias("converted_at"))
    return dataset(events, trials, parse(text))


def unseen_probabilities(trained: Trained) -> Floats:
    """Probabilities of the fit part by rankings that had not seen the lead."""
    both = trained.artifact.rung == "lightgbm"
    margins = trained.fitted.both_unseen if both else trained.fitted.scorecard_unseen
    return trained.artifact.calibration.probabilities(margins[: len(trained.split.fit)])


# --- what is reported -------------------------------------------------------------------------


def test_there_is_one_prediction_per_test_snapshot(trained: Trained, history: Dataset) -> None:
    test, ids = trained.table.take(trained.split.test), history.leads.ids
    assert list(trained.predictions.columns) == list(PREDICTION_COLUMNS)
    assert trained.predictions["lead_id"].tolist() == [ids[lead] for lead in test.lead]
    assert trained.predictions["as_of"].tolist() == [pd.Timestamp(moment_of(int(one))) for one in test.as_of]
    assert trained.predictions["converted"].tolist() == test.converted.tolist()


def test_leads_are_met_on_every_day_from_the_first_age_to_the_end_of_the_trial(trained: Trained) -> None:
    daily = trained.daily
    assert list(daily.columns) == list(PREDICTION_COLUMNS)
    assert not daily.duplicated(["lead_id", "as_of"]).any()
    assert set(daily["lead_id"]) == set(trained.predictions["lead_id"])
    assert sorted(daily["trial_day"].unique()) == list(range(3, 14))
    assert sorted(trained.predictions["trial_day"].unique()) == [3, 7, 10]
    pd.testing.assert_frame_equal(daily[daily["trial_day"].isin([3, 7, 10])], trained.predictions)


def test_on_a_day_between_a_lead_is_scored_as_anybody_is(trained: Trained, history: Dataset) -> None:
    some = trained.daily[trained.daily["trial_day"] == 5].head(50)
    place = {lead: number for number, lead in enumerate(history.leads.ids)}
    which = np.array([place[lead] for lead in some["lead_id"]])
    as_of = np.array([micros(moment.to_pydatetime()) for moment in some["as_of"]])
    scorer = Scorer(trained.artifact)
    assert (
        scorer.score(history.rows(scorer.builder, which, as_of)).probabilities.tolist() == some["probability"].tolist()
    )


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
    flagged = trained.daily[trained.daily["is_pql"]].sort_values("as_of").drop_duplicates("lead_id")
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


def test_a_conversion_counts_where_it_comes_within_the_horizon(trained: Trained) -> None:
    table = trained.predictions
    known = table["converted_in_days"].notna()
    assert (table.loc[known, "converted_in_days"] >= 0).all()
    assert ((table["converted_in_days"] < 30) == (table["converted"] == 1)).all()
    assert (known & (table["converted"] == 0)).any()


def test_the_later_probability_is_what_the_course_says_and_never_the_lower_one(
    trained: Trained, history: Dataset
) -> None:
    scorer, test, table = Scorer(trained.artifact), trained.table.take(trained.split.test), trained.predictions
    scored = scorer.score(history.rows(scorer.builder, test.lead, test.as_of))
    assert table["later"].tolist() == scored.within[:, -1].tolist()
    assert table["later_days"].unique().tolist() == [90.0]
    assert (table["later"] >= table["probability"]).all()
    assert table["is_nurture"].tolist() == scored.is_nurture.tolist()
    assert not (table["is_nurture"] & table["is_pql"]).any()


def test_without_rules_points_and_segments_their_columns_say_nothing(trained: Trained) -> None:
    table = trained.predictions
    assert table["points"].isna().all()
    assert table["segment"].isna().all()
    assert not table["rule"].any()


def test_every_rung_is_reported_with_the_one_taken(trained: Trained) -> None:
    assert [step.rung for step in trained.ladder] == ["scorecard", "lightgbm"]
    taken = [step.rung for step in trained.ladder if step.taken]
    assert taken[-1] == trained.artifact.rung
    assert (trained.artifact.training["trees"] > 0) == (taken[-1] == "lightgbm")


def test_without_a_search_nothing_was_tried_and_without_leaks_nothing_is_left_out(
    trained: Trained, definition_text: str
) -> None:
    assert trained.tried is None
    assert trained.leaks == ()
    assert trained.artifact.training["left_out"] == []
    assert trained.artifact.definition_text == definition_text


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
    median = np.median(unseen_probabilities(trained))
    assert trained.split.cutoff is None
    assert reference.percentiles(np.array([0.0, median, 1.0])).tolist() == pytest.approx([0, 50, 100], abs=0.2)


def test_the_share_of_converters_is_what_a_count_of_events_finds(
    trained: Trained, history: Dataset, demo_world: Demo
) -> None:
    day = 7
    held = np.unique(trained.table.take(trained.split.fit).lead)
    met = rounds(history, held, trained.split.test_from, complete=True)
    won = met.take(np.flatnonzero((met.converted == 1) & (met.as_of - met.started_at == day * DAY)))
    ids = history.leads.ids
    users = pl.DataFrame({"user_id": [ids[i] for i in won.lead], "as_of": won.as_of})
    joined = users.join(demo_world.events.filter(pl.col("event") == "invite_sent"), on="user_id")
    did = joined.filter(pl.col("timestamp").dt.epoch("us") < pl.col("as_of"))["user_id"].n_unique()
    share = trained.artifact.reference.share_of_converters("invites_sent", day)
    assert share is not None
    assert len(users) > 30
    assert share == pytest.approx((day, did / len(users)))


# --- the same again, and no look ahead --------------------------------------------------------


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
        Refusal, match=r"with 0 conversions; at least 15 .*Wait for more history, shorten the horizon"
    ) as refused:
        train(data, definition_text, Settings())
    assert refused.value.exit_code == 3


def test_where_everybody_converts_training_is_refused_with_what_to_do(demo_world: Demo, definition_text: str) -> None:
    data = converting(demo_world, definition_text, pl.col("started_at") + timedelta(days=20))
    with pytest.raises(
        Refusal, match=r"(\d+) mature leads with \1 conversions; .*15 that did not .*Wait for more history"
    ) as refused:
        train(data, definition_text, Settings())
    assert refused.value.exit_code == 3


@pytest.fixture(scope="module")
def by_chance(definition_text: str) -> Trained:
    """Everybody converts at the same rate per day, so that not even the age of a trial says anything."""
    demo = simulate(700)
    days = np.random.default_rng(0).exponential(250, len(demo.trials))
    moment = pl.col("started_at") + pl.lit(pl.Series((days * DAY).astype(np.int64)).cast(pl.Duration("us")))
    data = converting(demo, definition_text, pl.when(moment < demo.events["timestamp"].max()).then(moment))
    return train(data, definition_text, Settings(fit=FEW_TREES))


def test_where_converting_has_nothing_to_do_with_behaviour_the_version_is_refused(by_chance: Trained) -> None:
    assert by_chance.refusal is not None
    assert by_chance.refusal.exit_code == 3
    assert str(by_chance.refusal).startswith("no signal: ")
    assert "Add signals that precede conversion, or wait for more conversions" in str(by_chance.refusal)


def test_a_refused_version_is_there_and_calls_nobody_a_pql(by_chance: Trained) -> None:
    version = by_chance.artifact
    assert len(version.version) == 12
    assert isinstance(version.decision, NoCutoff)
    assert version.decision.reason == str(by_chance.refusal)
    assert not by_chance.predictions["is_pql"].any()
    assert not by_chance.predictions["is_nurture"].any()
    assert by_chance.promise.leads == 0
    if version.course.later is not None:
        assert version.course.later.decision == version.decision


def test_data_that_ends_before_any_horizon_has_passed_is_refused(demo_world: Demo, definition_text: str) -> None:
    begin = demo_world.events["timestamp"].min()
    assert isinstance(begin, datetime)
    end = begin + timedelta(days=25)
    events = demo_world.events.filter(pl.col("timestamp") < end)
    trials = demo_world.trials.filter(pl.col("started_at") < end).with_columns(converted_at=pl.lit(None, INSTANT))
    with pytest.raises(Refusal, match="no snapshot has a known outcome yet"):
        train(dataset(events, trials, parse(definition_text)), definition_text, Settings())

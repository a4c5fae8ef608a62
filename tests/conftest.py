"""A small demo world with a version trained on it once, and scorers of other definitions that need no training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.leads import open_leads
from features.matrix import FeatureBuilder
from features.windows import Floats
from serving.scoring.artifact import Artifact
from serving.scoring.calibration import Sigmoid
from serving.scoring.course import Course, Later, Stage
from serving.scoring.decision import Cutoff
from serving.scoring.facts import leading_columns
from serving.scoring.reference import Reference, Usual
from serving.scoring.scorecard import Scorecard
from serving.scoring.scorer import Scorer

if TYPE_CHECKING:
    from training.demo import Demo
    from training.pipeline import Trained

ROOT = Path(__file__).parents[1]

# A shared machine has no honest clock, and a suite that draws new cases each time fails on somebody else's change.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def _no_receipts_in_the_checkout() -> Iterator[None]:
    """Tests that keep receipts say where."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PQL_RECEIPTS", "none")
        yield


@pytest.fixture(scope="session")
def demo_world() -> Demo:
    from training.demo import simulate

    return simulate(1500)


@pytest.fixture(scope="session")
def definition_text() -> str:
    """The definition of the demo product, as the repository has it."""
    return (ROOT / "pql.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def history(demo_world: Demo, definition_text: str) -> Dataset:
    return dataset(demo_world.events, demo_world.trials, parse(definition_text))


@pytest.fixture(scope="session")
def trained(history: Dataset, definition_text: str) -> Trained:
    from training.pipeline import Settings, train

    return train(history, definition_text, Settings())


@pytest.fixture(scope="session")
def model_folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact as `pql train` leaves it; tests copy it before they damage anything."""
    return trained.artifact.save(tmp_path_factory.mktemp("model") / "artifact")


@pytest.fixture(scope="session")
def other_model(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scorer]:
    """Another version and its folder: the same columns, other probabilities."""
    artifact = trained.artifact
    shifted = replace(artifact.calibration, shift=artifact.calibration.shift - 0.5)
    rows = artifact.examples
    expected = shifted.probabilities(Scorer(artifact).margins(rows))
    other = replace(artifact, calibration=shifted, expected=expected)
    folder = other.save(tmp_path_factory.mktemp("other") / "artifact")
    return folder, Scorer.from_folder(folder)


@pytest.fixture(scope="session")
def scorer(model_folder: Path) -> Scorer:
    return Scorer.from_folder(model_folder)


@pytest.fixture(scope="session")
def moments(history: Dataset) -> list[int]:
    """Moments all over the recorded time, none of them on a round hour."""
    begun = int(history.leads.started_at.min())
    spots = np.linspace(begun + 9 * DAY, history.until - DAY, 6)
    return [int(spot) + 123_457 for spot in spots]


@pytest.fixture(scope="session")
def rows(scorer: Scorer, history: Dataset, moments: list[int]) -> Floats:
    """Feature rows of every trial open at one of the moments, as the engine makes them."""
    parts = [(which := open_leads(history.leads, moment), np.full(len(which), moment)) for moment in moments]
    return np.concatenate([history.rows(scorer.builder, which, as_of) for which, as_of in parts])


@pytest.fixture(scope="session")
def made_scorer() -> Callable[..., Scorer]:
    """Return a scorer of any definition, its numbers drawn by chance, so that every column matters to the score."""
    return _made_scorer


def _made_scorer(text: str, levels: dict[str, Sequence[str]] | None = None, seed: int = 5) -> Scorer:
    import lightgbm as lgb

    rng = np.random.default_rng(seed)
    definition = parse(text)
    builder = FeatureBuilder(definition, {name: tuple(found) for name, found in (levels or {}).items()})
    width = len(builder.columns)
    drawn = np.where(rng.random((800, width)) < 0.1, np.nan, rng.exponential(3.0, (800, width)).round(1))
    won = (np.nansum(drawn * rng.normal(size=width), axis=1) > 0).astype(float)
    settings = {
        "objective": "binary",
        "num_leaves": 7,
        "num_threads": 1,
        "seed": 1,
        "deterministic": True,
        "verbose": -1,
    }
    booster = lgb.train(settings, lgb.Dataset(drawn, won), 15)
    card = Scorecard(
        -0.4, rng.normal(0, 0.2, width), rng.uniform(0, 1, width), rng.uniform(0.5, 2, width), rng.uniform(0, 9, width)
    )
    calibration, examples = Sigmoid(0.8, -0.3), drawn[:4]
    margins = card.margins(examples) + np.asarray(booster.predict(examples, raw_score=True))
    return Scorer(
        Artifact(
            booster_text=booster.model_to_string(), definition_text=text, levels=builder.levels, scorecard=card,
            calibration=calibration, decision=Cutoff(0.4, 0.3, 0.9, 900, 300, 0.31, "a", "b"),
            course=_made_course(width, rng),
            reference=_made_reference(builder, rng),
            training={"product": definition.product}, rung="lightgbm", examples=examples,
            expected=calibration.probabilities(margins),
        )
    )  # fmt: skip


def _made_reference(builder: FeatureBuilder, rng: np.random.Generator) -> Reference:
    """What is usual at three ages: typical contributions drawn by chance, and small counts among most other leads."""
    compared = [builder.columns[place].name for place in leading_columns(builder.definition, builder.columns)]
    usual = Usual(((0.0, 1.0, 2.0, 4.0, 60.0),) * 3, ((0.25, 0.4, 0.6, 0.9, 1.0),) * 3)
    return Reference(
        np.linspace(0, 1, 50, endpoint=False), (1.0, 3.0, 7.0), rng.normal(0, 0.05, (3, len(builder.columns))),
        {signal.name: (0.4, 0.72, 0.9) for signal in builder.definition.signals}, dict.fromkeys(compared, usual),
    )  # fmt: skip


def _made_course(width: int, rng: np.random.Generator) -> Course:
    card = Scorecard(
        -2.0, rng.normal(0, 0.1, width), rng.uniform(0, 1, width), rng.uniform(0.5, 2, width), rng.uniform(0, 9, width)
    )
    soon, later = Stage((7.0, 30.0), np.array([[-1.0, 0.0], [-0.4, 0.0]])), Stage((90.0,), np.zeros((2, 1)))
    nurture = Cutoff(0.3, 0.2, 0.9, 900, 300, 0.21, "a", "b")
    return Course((3.0, 7.0), soon, Later(later, card, Sigmoid(0.9, -0.1), nurture))


@pytest.fixture(scope="session")
def posted() -> Callable[..., dict[str, Any]]:
    """Return the lead of a `POST /score` body that says all that raw tables know of one user, and of its teammates."""
    return _posted


def _posted(events: pl.DataFrame, trials: pl.DataFrame, user: str, traits: Sequence[str]) -> dict[str, Any]:
    mine = trials.row(by_predicate=pl.col("user_id") == user, named=True)
    account = mine["account_id"]
    mates = trials.filter(pl.col("account_id") == account, pl.col("user_id") != user)
    theirs = events.filter(
        (pl.col("user_id") == user)
        | (pl.col("account_id") == account)
        | pl.col("user_id").is_in(mates["user_id"].to_list())
    )
    told = [
        {"user_id": who, "event": name, "timestamp": moment.isoformat()}
        for column, name in (("started_at", "$trial_started"), ("converted_at", "$converted"))
        for who, moment in mates.select("user_id", column).drop_nulls().iter_rows()
    ]
    return {
        "user_id": user, "account_id": account, "started_at": mine["started_at"].isoformat(),
        "traits": {name: mine[name] for name in traits},
        "events": [_event(row, user) for row in theirs.iter_rows(named=True)] + told,
    }  # fmt: skip


def _event(row: dict[str, Any], user: str) -> dict[str, Any]:
    event = {"event": row["event"], "timestamp": row["timestamp"].isoformat(), "message_id": row["message_id"]}
    if row["user_id"] != user:
        event["user_id"] = row["user_id"]
    if row["properties"] is not None:
        event["properties"] = json.loads(row["properties"])
    return event


@pytest.fixture(scope="session")
def rich_definition() -> str:
    """A definition with every measure, filters, account signals and all trait types, over the demo product's events."""
    return RICH


@pytest.fixture(scope="session")
def rich_account_definition() -> str:
    """The same with accounts as leads, which are not compared with their users."""
    return "lead: account\n" + RICH.replace(", lead_share, lead_rank", "")


RICH = """
product: Corkboard
trial: {length: 14d}
conversion: {event: subscription_started, horizon: 30d}
score_at: [3d, 7d]
windows: [12h, 1d, 7d, trial]
signals:
  - name: uploads
    kind: usage_depth
    events: [file_uploaded]
    measures: [
      count, sum(megabytes), mean(megabytes), active_days, streak, per_active_day, share, days_since_first,
      days_since_last, days_to_reach(2), trend, reached(2),
    ]
    text: "uploaded {count:file|files} of {sum_megabytes} MB on {active_days:day|days} {window}, last {last}"
    missing: uploaded a file
  - name: limits
    kind: limit
    events: [limit_reached]
    measures: [count, distinct(limit)]
    text: "hit {count:limit|limits} of {distinct_limit:kind|kinds} {window}"
    missing: hit a limit
    playbook: lift
  - name: plans
    kind: upgrade_intent
    events: [{event: pricing_viewed, where: {plan: [business, team]}}]
    measures: [count, distinct(plan)]
    windows: [2d, trial]
    text: "looked at {distinct_plan:plan|plans} {count:time|times} {window}"
    missing: looked at a plan
  - name: business
    kind: upgrade_intent
    events: [{event: pricing_viewed, where: {plan: business}}, export_downloaded]
    measures: [count]
    text: "meant business {count:time|times} {window}"
  - name: tickets
    kind: friction
    events: [support_ticket_opened, task_completed]
    direction: "-"
    text: "opened {count:ticket|tickets} {window}"
    missing: opened a ticket
    speakable: false
  - name: activity
    kind: consistency
    events: [session_started, task_completed, comment_added]
    measures: [count, active_days, days_since_last]
    text: "was active on {active_days:day|days} {window}"
  - name: team
    kind: team_growth
    scope: account
    events: [session_started, task_completed, comment_added]
    measures: [count, distinct(user), days_since_last, user_growth, lead_share, lead_rank]
    windows: [7d]
    direction: free
    text: "{distinct_user:person|people} active {window}"
  - name: starts
    kind: team_growth
    scope: account
    events: [$trial_started]
    measures: [count, distinct(user), days_since_first]
    windows: [5d, 60d]
    direction: free
    text: "{count:colleague|colleagues} began {window}"
  - name: upgrades
    kind: upgrade_intent
    scope: account
    events: [$converted]
    windows: [60d]
    direction: free
    text: "{count:colleague|colleagues} upgraded {window}, last {last}"
traits:
  - {name: company_size, type: number, direction: "+", speakable: true, text: "about {value} people"}
  - {name: source, type: category, speakable: true, text: "came by {value}"}
  - {name: email, type: email_domain, direction: "+", speakable: true, text: "a business address at {value}"}
cutoff: {policy: precision, at_least: 0.3}
playbooks:
  - {id: lift, title: Lift it, message: "You {reason} in {product}."}
  - {id: grow, title: Grow, message: "{product}: {reason}", kinds: [team_growth, consistency]}
"""

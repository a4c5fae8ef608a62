"""Accounts as leads, the whole way: the chance that any of an account's users converts, and reasons that count its people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.dataset import Dataset, dataset
from features.definition import Signal, parse
from features.durations import DAY
from features.windows import Floats
from serving.batch import score_open
from serving.requests import decode, score
from serving.scoring.answers import Answer, Asked
from serving.scoring.scorer import Scorer
from training import evaluate
from training.demo import Demo, simulate
from training.evaluate import METRICS, Interval
from training.pipeline import Settings, Trained, train

TEXT = (Path(__file__).parents[2] / "examples" / "accounts.yaml").read_text(encoding="utf-8")
HORIZON = 30


@dataclass(frozen=True)
class Known:
    """A version whose leads are accounts, and of each test prediction each of the account's users' true chance.

    `chances` has a row for each prediction (`row`) and user: `started` (days before as_of, negative for who is yet to come) and
    `chance`.
    """

    demo: Demo
    data: Dataset
    trained: Trained
    chances: pl.DataFrame

    @property
    def scorer(self) -> Scorer:
        return Scorer(self.trained.artifact)

    @property
    def table(self) -> pd.DataFrame:
        return self.trained.predictions

    def truth(self, chances: pl.DataFrame) -> Floats:
        """The chance that at least one of these users converts, by prediction."""
        none = chances.group_by("row").agg(none=(1 - pl.col("chance")).product())
        rows = pl.DataFrame({"row": np.arange(len(self.table))}).join(none, on="row", how="left", maintain_order="left")
        return 1 - rows["none"].fill_null(1.0).to_numpy()


@pytest.fixture(scope="module")
def known() -> Known:
    demo = simulate(5000)
    data = dataset(demo.events, demo.trials, parse(TEXT))
    trained = train(data, TEXT, Settings())
    moments = [moment.to_pydatetime() for moment in trained.predictions["as_of"]]
    asked = pl.DataFrame({"account_id": trained.predictions["lead_id"].tolist(), "as_of": moments}).with_row_index(
        "row"
    )
    users = asked.join(demo.trials.select("user_id", "account_id", "started_at"), on="account_id")
    chance = demo.true_probability(users["user_id"].to_list(), users["as_of"].to_list(), HORIZON)
    started = (pl.col("as_of") - pl.col("started_at")).dt.total_microseconds() / DAY
    return Known(
        demo, data, trained, users.select(pl.col("row").cast(pl.Int64), started=started, chance=pl.Series(chance))
    )


def against_truth(known: Known, name: str) -> Interval:
    table, draws = known.table, evaluate.bootstrap_weights(known.table["account"], seed=0)
    truth = known.truth(known.chances)
    return evaluate.interval(METRICS[name], truth, table["probability"].to_numpy(), np.ones(len(table)), draws)


# --- the chance that at least one converts ---------------------------------------------------------

# What a user will do is drawn before and apart from whether it converts, and users convert apart from one another. So, given
# all that will be done and none who converted yet, at least one converts with 1 - prod(1 - p) over all users of the account: of
# whoever closed p is 0 from then on, and who begins within the horizon may convert within it. A single such value knows
# more than a model may, the later users among it; over accounts with the same history its mean is their true chance.


def test_an_accounts_outcome_is_the_first_conversion_of_any_of_its_users(known: Known) -> None:
    won = dict(
        known.demo.trials.drop_nulls("converted_at")
        .group_by("account_id")
        .agg(pl.col("converted_at").min())
        .iter_rows()
    )
    for lead, as_of, converted in known.table[["lead_id", "as_of", "converted"]].itertuples(index=False):
        first = won.get(lead)
        within = first is not None and as_of <= first < as_of + timedelta(days=HORIZON)
        assert bool(converted) == within


def test_what_happened_is_what_the_truth_says_would(known: Known) -> None:
    truth = known.truth(known.chances)
    by_lead = pd.DataFrame({"lead": known.table["lead_id"], "off": known.table["converted"] - truth})
    off = by_lead.groupby("lead")["off"].sum()
    assert abs(off.sum()) < 3 * np.sqrt((off**2).sum())


def test_predicted_probabilities_of_accounts_are_the_true_ones_on_average(known: Known) -> None:
    updating = known.trained.artifact.training["parts"]["cutoff"]["converted"]
    assert updating > 150
    assert abs(against_truth(known, "calibration_intercept").value) < 2.5 / np.sqrt(updating)


def test_predicted_probabilities_of_accounts_are_neither_too_bold_nor_too_shy(known: Known) -> None:
    assert 1.0 in against_truth(known, "calibration_slope")


def test_predictions_come_close_to_the_true_chance_of_each_fifth_of_the_accounts(known: Known) -> None:
    table = known.table.assign(truth=known.truth(known.chances))
    fifth = table.groupby(pd.qcut(table["probability"], 5, labels=False))[["probability", "truth"]].mean()
    assert (fifth["truth"].is_monotonic_increasing, len(fifth)) == (True, 5)
    assert ((fifth["probability"] - fifth["truth"]).abs() < np.maximum(0.02, 0.2 * fifth["truth"])).all()


def test_it_is_the_chance_of_any_user_and_not_of_the_likeliest_nor_only_of_those_who_are_there(known: Known) -> None:
    likeliest = known.chances.sort("chance", descending=True).unique("row", keep="first", maintain_order=True)
    there = known.chances.filter(pl.col("started") > 0)
    every, best, present = (float(known.truth(chances).mean()) for chances in (known.chances, likeliest, there))
    said = float(known.table["probability"].mean())
    assert max(best, present) < 0.9 * every
    assert abs(said - every) < 0.5 * min(abs(said - best), abs(said - present))


def test_most_of_what_can_be_known_of_accounts_is_known(known: Known) -> None:
    weight, outcomes = np.ones(len(known.table)), known.table["converted"].to_numpy()
    base, ours, best = (
        evaluate.log_loss(outcomes, found, weight)
        for found in (
            np.full(len(weight), outcomes.mean()),
            known.table["probability"].to_numpy(),
            known.truth(known.chances).clip(1e-6, 0.999),
        )
    )
    assert base - ours > 0.5 * (base - best)


# --- one answer by every door ------------------------------------------------------------------------


def lead_in(known: Known, account: str, as_of: datetime) -> dict[str, Any]:
    """The lead of a `POST /score` body that says all that the tables know of an account."""
    users = known.demo.trials.filter(pl.col("account_id") == account)
    events = known.demo.events.filter(pl.col("account_id") == account)
    starts = [
        {"user_id": user, "event": "$trial_started", "timestamp": at.isoformat()}
        for user, at in users.select("user_id", "started_at").iter_rows()
    ]
    place = known.data.leads.ids.index(account)
    moment = int(as_of.timestamp() * 1_000_000)
    return {
        "user_id": account, "account_id": account, "started_at": users.select(pl.col("started_at").min()).item().isoformat(),
        "ends_at": users.select(pl.col("ends_at").max()).item().isoformat(),
        "traits": {name: log.value(place, moment) for name, log in known.data.leads.traits.items()},
        "events": starts + [
            {
                "user_id": row["user_id"], "event": row["event"], "timestamp": row["timestamp"].isoformat(),
                "message_id": row["message_id"], "properties": json.loads(row["properties"]),
            }
            for row in events.iter_rows(named=True)
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def scored(known: Known) -> pl.DataFrame:
    """All accounts that are open a month before the data ends, with their reasons."""
    return score_open(known.scorer, known.data, known.data.until - 30 * DAY - 123_457, Asked(whom="all"))


def test_a_request_says_of_an_account_what_the_batch_says(known: Known, scored: pl.DataFrame) -> None:
    chosen = scored.gather_every(max(1, len(scored) // 60))
    as_of: datetime = chosen["as_of"][0]
    leads = [lead_in(known, account, as_of) for account in chosen["lead_id"]]
    body = msgspec.json.encode({"leads": leads, "as_of": as_of.isoformat(), "reasons": 3})
    answers = score(known.scorer, decode(body), now=0)
    assert len(answers) == len(chosen) > 50
    for row, found in zip(chosen.iter_rows(named=True), answers, strict=True):
        assert isinstance(found, Answer), found
        assert (found.lead_id, found.account_id) == (row["lead_id"], row["account_id"])
        assert found.probability == row["probability"]
        assert (found.is_pql, found.track, found.trial_day) == (row["is_pql"], row["track"], row["trial_day"])
        assert [reason.text for reason in found.reasons] == [reason["text"] for reason in row["reasons"]]
        assert found.receipt_id == row["receipt_id"]


def test_colleagues_whom_no_account_names_make_the_same_leads_by_their_address(known: Known) -> None:
    company = pl.col("email").str.ends_with(".example")
    nameless = known.demo.trials.with_columns(
        account_id=pl.when(company & ~pl.col("account_id").is_first_distinct()).then(None).otherwise("account_id")
    )
    assert nameless["account_id"].null_count() > 1000
    data = dataset(known.demo.events, nameless, known.data.definition)
    assert data.set_right["users joined to an account by their e-mail's domain"] == nameless["account_id"].null_count()
    assert data.digest == known.data.digest


# --- how many people did what ---------------------------------------------------------------------

LENGTHS = {"in the last day": timedelta(days=1), "in the last 7 days": timedelta(days=7)}


def happened(known: Known, signal: Signal, account: str, as_of: datetime, window: str) -> pl.DataFrame:
    """The events behind a signal of an account in a window, each once, as the tables have them."""
    begun = known.demo.trials.filter(pl.col("account_id") == account).select(pl.col("started_at").min()).item()
    start = begun if window not in LENGTHS else as_of - LENGTHS[window]
    told = known.demo.trials.select(
        "account_id", "user_id", event=pl.lit("$trial_started"), timestamp="started_at", properties=pl.lit("{}"),
        message_id="user_id",
    )  # fmt: skip
    events = pl.concat([known.demo.events.select(told.columns), told]).filter(
        pl.col("account_id") == account, pl.col("timestamp") >= start, pl.col("timestamp") < as_of
    )
    wanted = pl.lit(value=False)
    for match in signal.events:
        where = [pl.col("properties").str.contains(f'"{v}"', literal=True) for vs in match.where.values() for v in vs]
        wanted |= pl.all_horizontal(pl.col("event") == match.event, *where)
    return events.filter(wanted).unique("message_id")


def test_every_person_and_event_in_a_reason_is_in_the_events(known: Known, scored: pl.DataFrame) -> None:
    said: Mapping[str, Signal] = known.data.definition.signal_of
    checked, people = 0, 0
    for row in scored.iter_rows(named=True):
        for reason in row["reasons"]:
            if reason["signal"] not in said:
                continue
            facts = json.loads(reason["facts"])
            found = happened(known, said[reason["signal"]], row["lead_id"], row["as_of"], facts["window"])
            true = {
                "count": len(found), "distinct_user": found["user_id"].n_unique(),
                "distinct_event": found["event"].n_unique(),
            }  # fmt: skip
            told = {name: facts[name] for name in true if name in facts}
            assert told == {name: true[name] for name in told}, reason["text"]
            if "distinct_user" in told:
                assert reason["text"].startswith(f"{told['distinct_user']} p")
                people += told["distinct_user"] > 1
            checked += len(told)
    assert checked > 500
    assert people > 100

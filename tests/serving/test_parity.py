"""One lead, two ways in: `POST /score` and a file say the same, to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from features.dataset import Dataset
from features.durations import DAY
from features.errors import InvalidInput
from features.times import micros, text_of
from serving.batch import read_for, score_open
from serving.scoring.answers import NAMED_BY_INPUT, Asked
from serving.scoring.scorer import Scorer
from tests.serving.inside import desk_of, front
from training.demo import Demo

Lead = dict[str, Any]
REASONS = 6
ASKED = Asked(REASONS)


def over_http(scorer: Scorer, leads: list[Lead], as_of: int) -> list[dict[str, Any]]:
    app = front(desk_of(scorer, 0))
    body = {"leads": leads, "as_of": text_of(as_of), "reasons": REASONS}
    with TestClient(app) as client:
        answer = client.post("/score", json=body)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def assert_same(row: dict[str, Any], result: dict[str, Any], scorer: Scorer) -> None:
    """Compare one row of a scored file with one result of the service."""
    # A request need not say which account a lead that is one belongs to.
    length = None if result["account_id"] == row["account_id"] else NAMED_BY_INPUT
    assert result["receipt_id"][:length] == row["receipt_id"][:length]
    assert result["probability"] == pytest.approx(row["probability"], abs=1e-12)
    for name in ("lead_id", "is_pql", "track", "percentile", "playbook"):
        assert result[name] == row[name]
    for name in ("reasons", "against", "missing"):
        told = [{**one, "facts": json.loads(one["facts"])} for one in row[name]]
        assert [{**one, "contribution": 0} for one in result[name]] == [{**one, "contribution": 0} for one in told]
        contributions = [one.get("contribution", 0) for one in told]
        assert [one.get("contribution", 0) for one in result[name]] == pytest.approx(contributions, abs=1e-12)
    assert row["model_version"] == scorer.artifact.version
    assert datetime.fromisoformat(result["as_of"]) == row["as_of"]


@pytest.fixture(scope="module", params=["trained", "rich", "rich by day"])
def model(request: pytest.FixtureRequest, made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    if request.param == "trained":
        trained: Scorer = request.getfixturevalue("scorer")
        return trained
    by_day = rich_definition.replace("trial: {length: 14d}", "trial: {length: 14d, round_start_to: day}")
    text = rich_definition if request.param == "rich" else by_day
    assert request.param == "rich" or "round_start_to" in text
    return made_scorer(text, {"source": ["partner", "referral"]})


def test_demo_leads_score_alike_in_a_request_and_in_a_file(
    model: Scorer, demo_world: Demo, moments: list[int], posted: Callable[..., Lead]
) -> None:
    data = read_for(model, demo_world.events, demo_world.trials)
    traits = [trait.name for trait in model.builder.definition.traits]
    said: set[str] = set()
    for moment in moments[1::2]:
        frame = score_open(model, data, moment, ASKED)
        rows = frame.gather_every(max(1, len(frame) // 20)).to_dicts()
        leads = [posted(demo_world.events, demo_world.trials, row["lead_id"], traits) for row in rows]
        for row, result in zip(rows, over_http(model, leads, moment), strict=True):
            assert_same(row, result, model)
            said |= {one["signal"] for one in row["reasons"]}
        assert over_http(model, leads[:1], moment) == over_http(model, leads[:3], moment)[:1]
    assert len(said) >= 6


def test_accounts_score_alike_in_a_request_and_in_a_file(
    made_scorer: Callable[..., Scorer], rich_account_definition: str, demo_world: Demo, moments: list[int]
) -> None:
    model = made_scorer(rich_account_definition, {"source": ["partner", "referral"]})
    data = read_for(model, demo_world.events, demo_world.trials)
    frame = score_open(model, data, moments[2], ASKED)
    rows = frame.gather_every(max(1, len(frame) // 25)).to_dicts()
    leads = [account(data, demo_world, row["lead_id"]) for row in rows]
    assert sum(len({event["user_id"] for event in lead["events"]}) > 1 for lead in leads) > 5
    for row, result in zip(rows, over_http(model, leads, moments[2]), strict=True):
        assert_same(row, result, model)


def account(data: Dataset, world: Demo, name: str) -> Lead:
    """Return an account as a lead: everything that its people did, each event with who did it."""
    row = data.trials.row(by_predicate=pl.col("user_id") == name, named=True)
    starts = world.trials.filter(pl.col("account_id") == name).select("user_id", "started_at")
    theirs = pl.col("user_id").is_in(starts["user_id"].to_list()) | (pl.col("account_id") == name)
    events = [
        {"event": one["event"], "timestamp": one["timestamp"].isoformat(), "user_id": one["user_id"],
         "message_id": one["message_id"], "properties": json.loads(one["properties"] or "{}")}
        for one in world.events.filter(theirs).iter_rows(named=True)
    ]  # fmt: skip
    events += [
        {"event": "$trial_started", "timestamp": began.isoformat(), "user_id": who} for who, began in starts.iter_rows()
    ]
    traits = {name: row[name] for name in ("company_size", "source", "email")}
    return {"user_id": name, "started_at": row["started_at"].isoformat(), "traits": traits, "events": events}


# --- worlds drawn by chance, with every oddity that an event can have -------------------------

AS_OF = datetime(2026, 1, 20, tzinfo=UTC)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.just(2**63), st.just(10**30), st.floats(-1e300, 1e300),
    st.sampled_from([1.0, -0.0, 1e308, "business", "team", "2.5", " 7", "1e3", "nan", "inf", "", "é\u202e😀", "True", "1"]),
    st.just([1, {"a": None}]), st.just({"b": 1}),
)  # fmt: skip
properties = st.none() | st.dictionaries(st.sampled_from(["megabytes", "limit", "plan", "other"]), scalars, max_size=3)
happenings = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u", "mate", "guest"]),
        "event": st.sampled_from(
            ["file_uploaded", "limit_reached", "pricing_viewed", "session_started", "export_downloaded", "unheard_of"]
        ),
        # Whole hours, so that events meet each other and the edges of windows.
        "hours": st.integers(-220, 4) | st.sampled_from([0, -12, -24, -48, -168]),
        "message_id": st.none() | st.sampled_from(["m1", "m2", "", " "]),
        "properties": properties,
    }
)


FACT_HOURS = st.sampled_from([-100, -50, -1, 0, 1])
"""When it was told how large a company is: events of a user, or of the account."""


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    lead = {
        "started_at": AS_OF
        - timedelta(hours=draw(st.sampled_from([0, 1, 24, 168, 200])), seconds=draw(st.integers(0, 9))),
        "mate_at": AS_OF - timedelta(hours=draw(st.sampled_from([-1, 0, 3, 120, 1440, 1441]))),
        "mate_won": draw(st.none() | st.sampled_from([0, 2, 48]).map(lambda hours: AS_OF - timedelta(hours=hours))),
        "company_size": draw(st.none() | st.integers(0, 9000) | st.floats(0, 1e300)),
        "source": draw(st.sampled_from([None, "partner", "referral", "elsewhere", "{count}"])),
        "email": draw(st.sampled_from([None, "a@gmail.com", "a@Acme.Example", "nobody", "@", "b.example"])),
        "sizes": draw(
            st.lists(st.tuples(st.sampled_from(["u", "mate", "acme"]), FACT_HOURS, st.integers(1, 9)), max_size=3)
        ),
    }
    return draw(st.lists(happenings, max_size=14)), lead


def told_sizes(lead: dict[str, Any]) -> list[dict[str, Any]]:
    """The facts as events; the hour is part of the id, so that two of one hour are one."""
    return [
        {
            "user_id": "guest" if who == "acme" else who, "event": "$group" if who == "acme" else "$identify",
            "hours": hours, "message_id": f"{who} {hours}", "properties": {"company_size": size},
        }
        for (who, hours), size in {(who, hours): size for who, hours, size in lead.get("sizes", [])}.items()
    ]  # fmt: skip


def tables(events: list[dict[str, Any]], lead: dict[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    far = {"user_id": "far", "event": "session_started", "hours": -5000, "message_id": None, "properties": None}
    rows = [
        {
            "user_id": one["user_id"], "account_id": None if one["user_id"] == "far" else "acme", "event": one["event"],
            "timestamp": AS_OF + timedelta(hours=one["hours"]), "message_id": one["message_id"],
            "properties": None if one["properties"] is None else json.dumps(one["properties"]),
        }
        for one in (*events, *told_sizes(lead), far)
    ]  # fmt: skip
    people = [
        {"user_id": "u", "account_id": "acme", "started_at": lead["started_at"], "converted_at": None,
         **{name: lead[name] for name in ("company_size", "source", "email")}},
        {"user_id": "mate", "account_id": "acme", "started_at": lead["mate_at"], "converted_at": lead["mate_won"],
         "company_size": None, "source": None, "email": None},
    ]  # fmt: skip
    texts = {"message_id": pl.String, "properties": pl.String}
    kinds: dict[str, pl.DataType] = {
        "converted_at": pl.Datetime("us", "UTC"),
        "source": pl.String(),
        "email": pl.String(),
        "company_size": pl.Float64(),
    }
    return pl.DataFrame(rows, schema_overrides=texts), pl.DataFrame(people, schema_overrides=kinds)


def known_traits(data: Dataset, lead: str) -> dict[str, Any]:
    """What a caller knows at the moment of scoring: facts change, and the newest is sent."""
    place = data.leads.ids.index(lead)
    return {name: log.value(place, micros(AS_OF)) for name, log in data.leads.traits.items()}


def request_of(events: list[dict[str, Any]], trials: pl.DataFrame, data: Dataset) -> Lead:
    mine = trials.row(0, named=True)
    sent: list[dict[str, Any]] = [
        {
            "event": one["event"], "timestamp": (AS_OF + timedelta(hours=one["hours"])).isoformat(),
            "properties": one["properties"], "message_id": one["message_id"],
            **({} if one["user_id"] == "u" else {"user_id": one["user_id"]}),
        }
        for one in events
    ]  # fmt: skip
    if len(trials) > 1:
        sent += [
            {"event": name, "timestamp": trials[column][1].isoformat(), "user_id": "mate"}
            for name, column in (("$trial_started", "started_at"), ("$converted", "converted_at"))
            if trials[column][1] is not None
        ]
    return {
        "user_id": "u", "account_id": "acme", "started_at": mine["started_at"].isoformat(),
        "traits": known_traits(data, "u"), "events": sent,
    }  # fmt: skip


def account_request_of(events: list[dict[str, Any]], data: Dataset) -> Lead:
    """The whole account as one lead: every event with who did it, and when each user's trial started."""
    row = data.trials.row(by_predicate=pl.col("user_id") == "acme", named=True)
    sent = [
        {
            "event": one["event"], "timestamp": (AS_OF + timedelta(hours=one["hours"])).isoformat(),
            "properties": one["properties"], "message_id": one["message_id"], "user_id": one["user_id"],
        }
        for one in events
    ]  # fmt: skip
    sent += [
        {"event": name, "timestamp": moment.isoformat(), "user_id": who}
        for name, column in (("$trial_started", "started_at"), ("$converted", "converted_at"))
        for who, moment in data.users.select("user_id", column).drop_nulls().iter_rows()
    ]
    return {
        "user_id": "acme", "started_at": row["started_at"].isoformat(), "traits": known_traits(data, "acme"), "events": sent
    }  # fmt: skip


FULL = {"user_id": "u", "event": "file_uploaded", "hours": -1, "message_id": None, "properties": {"megabytes": 1e308}}
LEAD = {
    "started_at": AS_OF - timedelta(days=2), "mate_at": AS_OF - timedelta(days=3), "mate_won": None, "company_size": 3.0,
    "source": "partner", "email": None,
}  # fmt: skip


TOLD = {**LEAD, "company_size": None, "sizes": [("u", -100, 4), ("acme", -50, 700), ("mate", -1, 9), ("u", 1, 8)]}


def test_a_trait_that_was_told_several_times_is_sent_as_it_was_at_the_moment(odd_model: Scorer) -> None:
    # Without this the property below could pass on traits that nobody ever told.
    data = read_for(odd_model, *tables([FULL], TOLD))
    assert known_traits(data, "u")["company_size"] == 700
    log = data.leads.traits["company_size"]
    place = data.leads.ids.index("u")
    assert [log.value(place, micros(AS_OF) + hours * DAY // 24) for hours in (-101, -99, -49, 2)] == [None, 4, 700, 8]


def test_properties_that_are_empty_and_none_at_all_make_two_events_both_ways(odd_model: Scorer) -> None:
    happened = [{**FULL, "properties": None}, {**FULL, "properties": {}}]
    data = read_for(odd_model, *(given := tables(happened, LEAD)))
    (row,) = [one for one in score_open(odd_model, data, micros(AS_OF), ASKED).to_dicts() if one["lead_id"] == "u"]
    (result,) = over_http(odd_model, [request_of(happened, given[1], data)], micros(AS_OF))
    assert_same(row, result, odd_model)


@settings(max_examples=150)
@given(worlds())
@example(([FULL, {**FULL, "hours": -2}, {**FULL, "hours": -3}], LEAD))
@example(([FULL, {**FULL, "message_id": " "}, {**FULL, "user_id": "mate", "message_id": " "}], LEAD))
@example(([FULL], TOLD))
def test_any_lead_scores_alike_in_a_request_and_in_a_file(
    odd_model: Scorer, world: tuple[list[dict[str, Any]], dict[str, Any]]
) -> None:
    events, trials = tables(*world)
    as_of = micros(AS_OF)
    data = read_for(odd_model, events, trials)
    trials = trials.filter(pl.col("user_id").is_in(data.trials["user_id"].to_list()))  # a mate that won before it began
    frame = score_open(odd_model, data, as_of, ASKED)
    (row,) = [one for one in frame.to_dicts() if one["lead_id"] == "u"]
    (result,) = over_http(odd_model, [request_of(world[0], trials, data)], as_of)
    assert_same(row, result, odd_model)


@settings(max_examples=80)
@given(worlds())
@example(([FULL, {**FULL, "user_id": "mate"}, {**FULL, "user_id": "guest"}], LEAD))
@example(([FULL], TOLD))
def test_any_account_scores_alike_in_a_request_and_in_a_file(
    odd_account_model: Scorer, world: tuple[list[dict[str, Any]], dict[str, Any]]
) -> None:
    happened, lead = world
    assume(lead["mate_won"] is None or lead["mate_won"] == AS_OF)
    data = read_for(odd_account_model, *tables(happened, lead))
    (row,) = score_open(odd_account_model, data, micros(AS_OF), ASKED).to_dicts()
    assert row["lead_id"] == "acme"
    (result,) = over_http(odd_account_model, [account_request_of(happened, data)], micros(AS_OF))
    assert_same(row, result, odd_account_model)


@pytest.fixture(scope="module")
def odd_account_model(made_scorer: Callable[..., Scorer], rich_account_definition: str) -> Scorer:
    return made_scorer(rich_account_definition, {"source": ["partner", "referral"]}, seed=29)


@pytest.fixture(scope="module")
def odd_model(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, {"source": ["partner", "referral"]}, seed=23)


def test_a_day_long_start_counts_the_same_hours_both_ways(
    made_scorer: Callable[..., Scorer], rich_definition: str
) -> None:
    text = rich_definition.replace("trial: {length: 14d}", "trial: {length: 14d, round_start_to: day}")
    model = made_scorer(text, {"source": ["partner", "referral"]})
    early = {"user_id": "u", "event": "file_uploaded", "hours": -60, "message_id": None, "properties": {"megabytes": 2}}
    lead = {**LEAD, "started_at": AS_OF - timedelta(hours=50), "mate_at": AS_OF - timedelta(hours=5 * 24 - 2)}
    events, trials = tables([early], lead)
    data = read_for(model, events, trials)
    (row,) = [one for one in score_open(model, data, micros(AS_OF), ASKED).to_dicts() if one["lead_id"] == "u"]
    (result,) = over_http(model, [request_of([early], trials, data)], micros(AS_OF))
    assert_same(row, result, model)
    whole = data.rows(model.builder, *_at(data, micros(AS_OF)))
    places = {column.name: place for place, column in enumerate(model.builder.columns)}
    assert whole[0, places["trial_age_days"]] == 3.0
    assert whole[0, places["uploads_count_trial"]] == 1.0  # before the exact start, on its day


def _at(data: Dataset, as_of: int) -> tuple[Any, Any]:
    import numpy as np

    place = data.leads.ids.index("u")
    return np.array([place]), np.array([as_of])


def test_no_lead_is_open_in_a_file_after_its_trial_ended(odd_model: Scorer) -> None:
    events, trials = tables([FULL], LEAD)
    data = read_for(odd_model, events, trials)
    with pytest.raises(InvalidInput, match=r"no open trials to score at 2026-03-01"):
        score_open(odd_model, data, micros(AS_OF) + 40 * DAY)

"""The demo world keeps its own promises: known truth, no leaks but the planted ones."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from training import demo as demo_module
from training.demo import CORKBOARD, Demo, simulate, timing, write

NAMES = CORKBOARD.names
START = datetime(2025, 1, 6, tzinfo=UTC)
DAYS = 270
CUT = START + timedelta(days=DAYS)
TIME = pl.Datetime("us", "UTC")
CONSEQUENCES = ["subscription_started", "seat_added", "invoice_paid"]
NOISE = ["theme_changed", "help_article_viewed"]
# Event, its weight in the log rate, and the count from which on more of it changes nothing.
SATURATING = [
    ("task_completed", 0.45, 6),
    ("report_viewed", 0.45, 3),
    ("api_call", 0.35, 6),
    ("export_downloaded", 0.30, 2),
    ("file_uploaded", 0.20, 3),
    ("comment_added", 0.10, 4),
]
RECENT, OLD, BOTH = 0.50, 0.20, 1.50


@pytest.fixture(scope="module")
def demo() -> Demo:
    return simulate(accounts=2500, seed=3, start=START, days=DAYS)


@pytest.fixture(scope="module")
def small() -> Demo:
    return simulate(accounts=60, seed=5, start=START, days=90)


def users(frame: pl.DataFrame) -> list[str]:
    return frame["user_id"].to_list()


def open_leads(demo: Demo, day: float, horizon: float, cut: datetime = CUT) -> pl.DataFrame:
    """Leads still open `day` days into the trial whose next `horizon` days are all recorded."""
    leads = demo.trials.with_columns(as_of=pl.col("started_at") + timedelta(days=day))
    until = pl.col("as_of") + timedelta(days=horizon)
    gone = pl.min_horizontal("converted_at", "closed_at") < pl.col("as_of")
    return leads.filter(until <= cut, ~gone.fill_null(False)).with_columns(
        converts=(pl.col("converted_at") < until).fill_null(False)
    )


def with_trial(demo: Demo, *events: str) -> pl.DataFrame:
    chosen = demo.events.filter(pl.col("event").is_in(events)) if events else demo.events
    return chosen.join(demo.trials.drop("account_id"), on="user_id")


def z_score(observed: np.ndarray, probability: np.ndarray) -> float:
    spread = np.sqrt((probability * (1 - probability)).sum())
    return float((observed.sum() - probability.sum()) / spread)


def drivers_after(demo: Demo, day: float, acts: dict[str, dict[int, int]]) -> dict[str, float]:
    """Drivers `day` days into a trial in which acts[event][trial day] times happened, and nothing else."""
    counts = np.zeros_like(demo.truth.counts)
    for event, course in acts.items():
        for when, times in course.items():
            counts[0, when + 1 :, NAMES.index(event)] += times
    acted, lead = replace(demo, truth=replace(demo.truth, counts=counts)), demo.trials.head(1)
    found = acted.true_drivers(users(lead), lead["started_at"] + timedelta(days=day))
    return dict(zip(NAMES, found.drop("user_id").row(0), strict=True))


# --- the same world again -------------------------------------------------------------------


def test_same_seed_gives_identical_frames(small: Demo) -> None:
    again = simulate(accounts=60, seed=5, start=START, days=90)
    assert_frame_equal(small.events, again.events)
    assert_frame_equal(small.trials, again.trials)
    np.testing.assert_array_equal(small.truth.log_rate, again.truth.log_rate)


def test_corkboard_is_the_same_world_as_ever() -> None:
    # Figures in the documents rest on this very world: a change here is a change of all of them.
    world = simulate(accounts=60, seed=5, start=START, days=90)
    written = "".join(frame.write_csv() for frame in (world.events, world.trials))
    assert sha256(written.encode()).hexdigest()[:16] == "11ed2a267acbaf32"


def test_another_seed_gives_another_world(small: Demo) -> None:
    other = simulate(accounts=60, seed=6, start=START, days=90)
    assert not small.trials.equals(other.trials)
    assert not small.events.equals(other.events)


def test_behaviour_does_not_depend_on_who_converts() -> None:
    sold = simulate(accounts=200, seed=5, start=START, days=90)
    unsold = simulate(accounts=200, seed=5, start=START, days=90, product=replace(CORKBOARD, base_log_rate=-50.0))
    stayed = unsold.trials.filter(pl.col("closed_at").is_null()).select("user_id")

    def behaviour(world: Demo) -> pl.DataFrame:
        acts = world.events.filter(pl.col("event").is_in(NAMES)).join(stayed, on="user_id")
        acts = acts.select("user_id", "event", "timestamp", "properties").unique()
        return acts.sort(acts.columns)

    assert sold.trials["converted_at"].count() > 20
    assert unsold.trials["converted_at"].count() == 0
    assert_frame_equal(behaviour(sold), behaviour(unsold))


# --- shape ----------------------------------------------------------------------------------


def test_frames_have_the_promised_columns_and_types(small: Demo) -> None:
    assert small.events.schema == {
        "user_id": pl.String,
        "account_id": pl.String,
        "event": pl.String,
        "timestamp": TIME,
        "received_at": TIME,
        "message_id": pl.String,
        "properties": pl.String,
    }
    assert small.trials.schema == {
        "user_id": pl.String,
        "account_id": pl.String,
        "started_at": TIME,
        "ends_at": TIME,
        "closed_at": TIME,
        "converted_at": TIME,
        "company_size": pl.Int64,
        "source": pl.String,
        "email": pl.String,
    }


def test_only_open_ends_are_null(demo: Demo) -> None:
    nulls = {c for c in demo.trials.columns if demo.trials[c].null_count()}
    assert nulls == {"closed_at", "converted_at"}
    assert sum(demo.events.null_count().row(0)) == 0


def test_users_and_their_mail_addresses_are_unique(demo: Demo) -> None:
    assert demo.trials["user_id"].is_unique().all()
    assert demo.trials["email"].is_unique().all()


def test_trials_last_fourteen_days(demo: Demo) -> None:
    length = demo.trials["ends_at"] - demo.trials["started_at"]
    assert (length == timedelta(days=14)).all()


def test_properties_are_json_with_the_key_of_their_event(demo: Demo) -> None:
    keys = {
        "file_uploaded": "megabytes",
        "pricing_viewed": "plan",
        "limit_reached": "limit",
        "api_call": "endpoint",
        "invite_sent": "role",
    }
    kinds = demo.events.select("event", "properties").unique()
    for event, text in kinds.iter_rows():
        assert list(json.loads(text)) == ([keys[event]] if event in keys else [])
    plans = kinds.filter(pl.col("event") == "pricing_viewed")["properties"]
    assert {json.loads(text)["plan"] for text in plans} == {"team", "business"}


def test_write_returns_two_files_that_read_back_the_same(small: Demo, tmp_path: Path) -> None:
    events, trials = write(small, tmp_path / "new" / "folder")
    assert (events.name, trials.name) == ("events.parquet", "trials.parquet")
    assert_frame_equal(pl.read_parquet(events), small.events)
    assert_frame_equal(pl.read_parquet(trials), small.trials)


def test_one_account_on_one_day_is_a_world_too() -> None:
    tiny = simulate(accounts=1, seed=1, start=START, days=1)
    assert tiny.trials["account_id"].n_unique() == 1
    assert "signed_up" in tiny.events["event"]


# --- order of things ------------------------------------------------------------------------


def test_every_user_signs_up_once_and_does_nothing_before(demo: Demo) -> None:
    signed = with_trial(demo, "signed_up").unique("message_id")
    assert sorted(users(signed)) == users(demo.trials)
    assert (signed["timestamp"] == signed["started_at"]).all()
    assert with_trial(demo).filter(pl.col("timestamp") < pl.col("started_at")).is_empty()


def test_nothing_happens_after_closing(demo: Demo) -> None:
    closed = with_trial(demo).filter(pl.col("closed_at").is_not_null())
    last = closed.filter(pl.col("timestamp") >= pl.col("closed_at"))
    assert set(last["event"]) == {"trial_cancelled"}
    assert (last["timestamp"] == last["closed_at"]).all()
    assert last["user_id"].n_unique() == demo.trials["closed_at"].count() > 100


def test_no_lead_both_converts_and_closes(demo: Demo) -> None:
    both = pl.col("converted_at").is_not_null() & pl.col("closed_at").is_not_null()
    assert demo.trials.filter(both).is_empty()


def test_consequences_come_only_after_conversion(demo: Demo) -> None:
    after = with_trial(demo, "seat_added", "invoice_paid")
    assert set(after["event"]) == {"seat_added", "invoice_paid"}
    assert (after["timestamp"] > after["converted_at"]).all()
    assert after["converted_at"].null_count() == 0


def test_subscription_starts_at_the_moment_of_conversion(demo: Demo) -> None:
    begun = with_trial(demo, "subscription_started").unique("message_id")
    assert (begun["timestamp"] == begun["converted_at"]).all()
    assert len(begun) == demo.trials["converted_at"].count()


def test_converted_users_go_on_using_the_product(demo: Demo) -> None:
    used = with_trial(demo, *NAMES).filter(pl.col("timestamp") > pl.col("converted_at"))
    assert used["user_id"].n_unique() > 0.8 * demo.trials["converted_at"].count()


def test_nothing_is_known_at_or_after_the_cut(demo: Demo) -> None:
    assert demo.events["timestamp"].max() < CUT  # type: ignore[operator]
    for column in ("started_at", "closed_at", "converted_at"):
        assert (demo.trials[column].drop_nulls() < CUT).all()


def test_conversions_after_the_cut_still_count_in_the_truth(demo: Demo) -> None:
    fresh = demo.trials.filter(pl.col("started_at") > CUT - timedelta(days=5))
    cut = pl.Series([CUT] * len(fresh))
    assert demo.true_probability(users(fresh), cut, 55).mean() > 0.05


# --- delivery -------------------------------------------------------------------------------


def test_events_arrive_in_order_and_never_before_they_happen(demo: Demo) -> None:
    assert demo.events["received_at"].is_sorted()
    assert (demo.events["received_at"] >= demo.events["timestamp"]).all()


def test_one_percent_arrives_late_by_minutes_to_hours(demo: Demo) -> None:
    delay = (demo.events["received_at"] - demo.events["timestamp"]).dt.total_seconds()
    late = (delay > 60).to_numpy().mean()
    assert 0.008 < late < 0.012
    assert 5 * 3600 < float(delay.to_numpy().max()) < 6 * 3600


def test_duplicates_share_message_id_and_everything_else(demo: Demo) -> None:
    twice = demo.events.filter(pl.col("message_id").is_duplicated())
    assert twice.is_duplicated().all()
    assert twice.group_by("message_id").len()["len"].unique().to_list() == [2]
    assert 0.004 < len(twice) / 2 / len(demo.events) < 0.006


# --- the truth ------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "horizon"), [(0.0, 60.0), (7.0, 30.0), (7.0, 7.0), (14.37, 11.6), (30.0, 30.0)])
def test_observed_conversions_agree_with_true_probability(demo: Demo, day: float, horizon: float) -> None:
    leads = open_leads(demo, day, horizon)
    probability = demo.true_probability(users(leads), leads["as_of"], horizon)
    assert probability.sum() > 50
    assert abs(z_score(leads["converts"].to_numpy(), probability)) < 4


def test_observed_conversions_agree_at_every_level_of_true_probability(demo: Demo) -> None:
    leads = open_leads(demo, 7, 30)
    probability = demo.true_probability(users(leads), leads["as_of"], 30)
    observed = leads["converts"].to_numpy()
    for part in np.array_split(np.argsort(probability), 5):
        assert abs(z_score(observed[part], probability[part])) < 4


def test_observed_conversions_agree_on_one_calendar_day(demo: Demo) -> None:
    as_of = START + timedelta(days=200, hours=11.3)
    gone = pl.min_horizontal("converted_at", "closed_at") < as_of
    leads = demo.trials.filter(pl.col("started_at") < as_of, ~gone.fill_null(False))
    until = as_of + timedelta(days=30)
    converts = (leads["converted_at"] < until).fill_null(False).to_numpy()
    probability = demo.true_probability(users(leads), [as_of] * len(leads), 30)
    assert abs(z_score(converts, probability)) < 4


def test_every_conversion_happened_while_its_rate_was_above_zero(demo: Demo) -> None:
    sold = demo.trials.filter(pl.col("converted_at").is_not_null())
    earlier = sold["converted_at"] - timedelta(minutes=1)
    assert (demo.true_probability(users(sold), earlier, 1 / 24) > 0).all()


def test_survival_over_neighbouring_spans_multiplies(demo: Demo) -> None:
    leads = demo.trials.head(500)
    first = leads["started_at"] + timedelta(days=3.3)
    middle = first + timedelta(days=9.61)
    whole = 1 - demo.true_probability(users(leads), first, 9.61 + 20.07)
    parts = (1 - demo.true_probability(users(leads), first, 9.61)) * (
        1 - demo.true_probability(users(leads), middle, 20.07)
    )
    np.testing.assert_allclose(whole, parts, rtol=1e-9, atol=1e-12)


def test_probability_is_zero_before_the_start_and_after_sixty_days(demo: Demo) -> None:
    leads = demo.trials.head(200)
    before = leads["started_at"] - timedelta(days=10)
    after = leads["started_at"] + timedelta(days=60)
    assert (demo.true_probability(users(leads), before, 10) == 0).all()
    assert (demo.true_probability(users(leads), before, 11) > 0).all()
    assert (demo.true_probability(users(leads), after, 100) == 0).all()


def test_probability_is_zero_from_closing_on(demo: Demo) -> None:
    closed = demo.trials.filter(pl.col("closed_at").is_not_null())
    earlier = closed["closed_at"] - timedelta(hours=6)
    at_closing = demo.true_probability(users(closed), closed["closed_at"], 30)
    # Closing times are rounded to the microsecond.
    np.testing.assert_allclose(at_closing, 0, atol=1e-9)
    assert (demo.true_probability(users(closed), earlier, 30) > 1e-8).all()


def test_rows_follow_the_order_of_the_request(small: Demo) -> None:
    ids, as_of = users(small.trials), small.trials["ends_at"]
    forward = small.true_probability(ids, as_of, 10)
    backward = small.true_probability(ids[::-1], as_of.reverse(), 10)
    np.testing.assert_array_equal(forward, backward[::-1])
    assert users(small.true_drivers(ids[::-1], as_of.reverse())) == ids[::-1]


def test_another_time_zone_means_the_same_instant(small: Demo) -> None:
    ids = users(small.trials)[:1]
    moment = START + timedelta(days=12)
    local = moment.astimezone(timezone(timedelta(hours=9)))
    expected = small.true_probability(ids, [moment], 10)
    np.testing.assert_array_equal(small.true_probability(ids, [local], 10), expected)


def test_nobody_asked_about_gives_nothing_back(small: Demo) -> None:
    assert small.true_probability([], [], 30).shape == (0,)
    assert small.true_drivers([], []).shape == (0, 1 + len(NAMES))


def test_unknown_user_is_refused_by_name(small: Demo) -> None:
    with pytest.raises(ValueError, match=r"users of this demo; got \['nobody'\]"):
        small.true_probability(["nobody"], [START], 30)


def test_naive_as_of_is_refused(small: Demo) -> None:
    naive = START.replace(tzinfo=None)
    with pytest.raises(ValueError, match="must be timezone-aware"):
        small.true_probability(users(small.trials)[:1], [naive], 30)


def test_missing_as_of_is_refused(small: Demo) -> None:
    with pytest.raises(ValueError, match="with 1 nulls"):
        small.true_probability(users(small.trials)[:2], pl.Series([START, None]), 30)


# --- the drivers ----------------------------------------------------------------------------


def test_noise_events_happen_but_drive_nothing(demo: Demo) -> None:
    assert set(NOISE) <= set(demo.events["event"])
    drivers = demo.true_drivers(users(demo.trials), demo.trials["ends_at"])
    assert (drivers.select(NOISE).to_numpy() == 0).all()


def test_support_tickets_hold_back_and_invites_push(demo: Demo) -> None:
    drivers = demo.true_drivers(users(demo.trials), demo.trials["ends_at"])
    assert drivers.columns == ["user_id", *NAMES]
    assert drivers["support_ticket_opened"].min() < 0 == drivers["support_ticket_opened"].max()  # type: ignore[operator]
    assert drivers["invite_accepted"].max() > 0 == drivers["invite_accepted"].min()  # type: ignore[operator]


def test_drivers_count_recorded_events_up_to_the_running_trial_day(demo: Demo) -> None:
    leads = open_leads(demo, 7.4, 0)
    counted = (
        demo.events.unique("message_id")
        .filter(pl.col("event") == "task_completed")
        .join(leads.select("user_id", "started_at"), on="user_id")
        .filter(pl.col("timestamp") < pl.col("started_at") + timedelta(days=7))
    )
    counts = leads.join(counted.group_by("user_id").len(), on="user_id", how="left")
    happened = counts.sort("user_id")["len"].fill_null(0).to_numpy()
    expected = 0.45 * np.log1p(np.minimum(happened, 6))
    drivers = demo.true_drivers(users(leads), leads["as_of"])
    assert (happened > 6).sum() > 100
    np.testing.assert_allclose(drivers["task_completed"].to_numpy(), expected)


def test_drivers_explain_how_the_log_rate_moved(demo: Demo) -> None:
    # Those who converted may hide a closing that never came to pass.
    undecided = pl.all_horizontal(pl.col("closed_at", "converted_at").is_null())
    leads = demo.trials.filter(undecided).head(1000)
    ids, hour = users(leads), 1 / 24

    def log_rate(at: pl.Series) -> np.ndarray:
        return np.asarray(np.log(-np.log1p(-demo.true_probability(ids, at, hour))))

    def pushed(at: pl.Series) -> np.ndarray:
        return np.asarray(demo.true_drivers(ids, at).drop("user_id").to_numpy().sum(axis=1))

    early, later = (leads["started_at"] + timedelta(days=d) for d in (1.5, 8.5))
    moved = log_rate(later) - log_rate(early)
    np.testing.assert_allclose(moved, pushed(later) - pushed(early), atol=1e-6)
    assert moved.std() > 0.5


def test_log_rate_is_fit_and_timing_and_drivers_on_every_day(demo: Demo) -> None:
    leads, truth = demo.trials.head(500), demo.truth
    drivers = np.stack(
        [
            demo.true_drivers(users(leads), leads["started_at"] + timedelta(days=day)).drop("user_id").to_numpy()
            for day in range(60)
        ],
        axis=1,
    )
    fit = truth.log_rate[:500] - timing(CORKBOARD) - drivers.sum(axis=2)
    np.testing.assert_allclose(fit, np.broadcast_to(fit[:, :1], fit.shape), atol=1e-12)
    # Among these 500 every kind of effect is at work.
    counts = truth.counts[:500, 59]
    assert (counts[:, NAMES.index("invite_accepted")] >= 3).any()
    assert (counts[:, [NAMES.index("limit_reached"), NAMES.index("pricing_viewed")]] > 0).all(axis=1).any()
    assert all((counts[:, NAMES.index(event)] > cap).any() for event, _, cap in SATURATING)


def test_fit_depends_on_the_company_alone(demo: Demo) -> None:
    ids = users(demo.trials)
    drivers = demo.true_drivers(ids, demo.trials["started_at"]).drop("user_id").to_numpy()
    assert (drivers == 0).all()
    fit = demo.trials.select("account_id", fit=pl.Series(demo.truth.log_rate[:, 0]))
    within = fit.group_by("account_id").agg(pl.col("fit").max() - pl.col("fit").min())["fit"].to_numpy()
    np.testing.assert_allclose(within, 0, atol=1e-12)
    assert fit["fit"].std() > 0.3  # type: ignore[operator]


@pytest.mark.parametrize(("event", "weight", "cap"), SATURATING)
def test_more_of_it_counts_up_to_its_cap_and_no_further(small: Demo, event: str, weight: float, cap: int) -> None:
    below, at_cap, above, far = (drivers_after(small, 1, {event: {0: n}})[event] for n in (cap - 1, cap, cap + 1, 99))
    assert below == pytest.approx(weight * np.log1p(cap - 1))
    assert at_cap == pytest.approx(weight * np.log1p(cap))
    assert at_cap == above == far


@pytest.mark.parametrize("event", ["project_created", "invite_sent", "invite_accepted", "integration_connected"])
def test_what_does_not_saturate_goes_on_counting(small: Demo, event: str) -> None:
    some, more = (drivers_after(small, 1, {event: {0: n}})[event] for n in (20, 40))
    assert more > some + 0.05


def test_third_accepted_invitation_makes_a_team(small: Demo) -> None:
    alone = [drivers_after(small, 1, {"invite_accepted": {0: n}})["invite_accepted"] for n in range(6)]
    jumps = np.array(alone) - 0.30 * np.log1p(np.arange(6))
    np.testing.assert_allclose(jumps, [0, 0, 0, 1.0, 1.0, 1.0], atol=1e-12)


def test_team_may_gather_over_any_number_of_days(small: Demo) -> None:
    gathered = drivers_after(small, 30, {"invite_accepted": {0: 1, 11: 1, 29: 1}})
    at_once = drivers_after(small, 30, {"invite_accepted": {29: 3}})
    assert gathered == at_once


def test_limit_and_pricing_together_add_a_half_each(small: Demo) -> None:
    limit, pricing = {"limit_reached": {0: 1}}, {"pricing_viewed": {0: 1}}
    alone = drivers_after(small, 1, limit)["limit_reached"], drivers_after(small, 1, pricing)["pricing_viewed"]
    both = drivers_after(small, 1, limit | pricing)
    assert alone == pytest.approx([RECENT * np.log(2)] * 2)
    assert both["limit_reached"] - alone[0] == pytest.approx(BOTH / 2)
    assert both["pricing_viewed"] - alone[1] == pytest.approx(BOTH / 2)
    assert sum(both.values()) - sum(alone) == pytest.approx(BOTH)


def test_limit_and_pricing_belong_together_however_often_and_however_far_apart(small: Demo) -> None:
    apart = drivers_after(small, 40, {"limit_reached": {2: 1}, "pricing_viewed": {39: 5}})
    assert apart["limit_reached"] == pytest.approx(OLD * np.log(2) + BOTH / 2)
    assert apart["pricing_viewed"] == pytest.approx(RECENT * np.log(6) + BOTH / 2)


@pytest.mark.parametrize("event", ["limit_reached", "pricing_viewed"])
def test_last_seven_days_count_more_than_those_before(small: Demo, event: str) -> None:
    acts = {event: {2: 3}}
    assert drivers_after(small, 2.99, acts)[event] == 0
    assert drivers_after(small, 3, acts)[event] == pytest.approx(RECENT * np.log(4))
    assert drivers_after(small, 9.99, acts)[event] == pytest.approx(RECENT * np.log(4))
    assert drivers_after(small, 10, acts)[event] == pytest.approx(OLD * np.log(4))
    mixed = drivers_after(small, 12, {event: {2: 3, 8: 1}})[event]
    assert mixed == pytest.approx(RECENT * np.log(2) + OLD * np.log(4))


def test_age_of_other_behaviour_does_not_matter(small: Demo) -> None:
    others = [name for name in NAMES if name not in ("limit_reached", "pricing_viewed")]
    early, late = (drivers_after(small, 50, {name: {day: 4} for name in others}) for day in (0, 49))
    assert early == late
    assert sum(early.values()) > 1


def test_one_behaviour_moves_no_driver_but_its_own(small: Demo) -> None:
    for event in NAMES:
        moved = drivers_after(small, 1, {event: {0: 5}})
        assert {name for name, part in moved.items() if part} <= {event}


# --- a world worth learning from ------------------------------------------------------------


def test_accounts_hold_one_to_eight_users(demo: Demo) -> None:
    sizes = demo.trials.group_by("account_id").len()["len"].to_numpy()
    assert sizes.min() == 1
    assert 5 <= sizes.max() <= 8
    assert (sizes > 1).mean() > 0.4


def test_colleagues_join_within_three_weeks_of_the_founder(demo: Demo) -> None:
    founded = pl.col("started_at").min().over("account_id")
    wait = demo.trials.select(wait=pl.col("started_at") - founded)["wait"]
    assert timedelta(days=15) < wait.max() < timedelta(days=21)  # type: ignore[operator]


def test_weekends_are_quieter(demo: Demo) -> None:
    weekend = demo.events["timestamp"].dt.weekday() > 5
    founders = demo.trials.sort("started_at").unique("account_id", keep="first")
    # Two sevenths would be 0.286.
    assert 0.02 < weekend.to_numpy().mean() < 0.12
    assert 0.05 < (founders["started_at"].dt.weekday() > 5).to_numpy().mean() < 0.17


def test_free_mail_is_a_third_and_belongs_to_smaller_companies(demo: Demo) -> None:
    business = demo.trials["email"].str.ends_with(".example")
    size = demo.trials["company_size"]
    assert 0.25 < 1 - business.to_numpy().mean() < 0.42
    assert size.filter(~business).median() < size.filter(business).median()  # type: ignore[operator]
    assert size.is_between(1, 5000).all()


def test_base_rates_are_those_of_a_free_trial(demo: Demo) -> None:
    assert 0.12 < open_leads(demo, 0, 60)["converts"].to_numpy().mean() < 0.16
    assert 0.085 < open_leads(demo, 7, 30)["converts"].to_numpy().mean() < 0.115
    assert 0.04 < demo.trials["closed_at"].count() / len(demo.trials) < 0.08


def test_command_writes_the_default_world_and_prints_where(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.demo", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(demo_module.__file__).parents[1], capture_output=True, text=True, check=True)
    events, trials = (Path(line) for line in run.stdout.splitlines())
    assert (events, trials) == (tmp_path / "events.parquet", tmp_path / "trials.parquet")
    assert pl.scan_parquet(events).select(pl.len()).collect().item() > 1_000_000
    told = pl.read_parquet(trials)
    assert told["account_id"].n_unique() == 8000
    cut = START + timedelta(days=365)
    assert told["started_at"].max() < cut  # type: ignore[operator]
    ripe = told.filter(pl.col("started_at") <= cut - timedelta(days=60))
    assert 0.12 < ripe["converted_at"].count() / len(ripe) < 0.16


def test_slow_burners_convert_after_day_twenty_one(demo: Demo) -> None:
    sold = open_leads(demo, 0, 60).filter("converts")
    late = sold["converted_at"] - sold["started_at"] > timedelta(days=21)
    assert 0.2 < late.to_numpy().mean() < 0.6
    acts = with_trial(demo, *NAMES).with_columns(age=pl.col("timestamp") - pl.col("started_at"))
    per_user = acts.group_by("user_id").agg(
        first=(pl.col("age") < timedelta(days=10)).sum(),
        later=(pl.col("age") > timedelta(days=25)).sum(),
    )
    assert per_user.filter(pl.col("later") > 5 * pl.col("first") + 20).height > 50


def test_early_counts_predict_and_the_truth_predicts_better(demo: Demo) -> None:
    leads = open_leads(demo, 7, 30)
    seen = demo.events.unique("message_id").join(leads.select("user_id", "as_of"), on="user_id")
    counts = seen.filter(pl.col("timestamp") < pl.col("as_of")).pivot(
        "event", index="user_id", values="message_id", aggregate_function="len"
    )
    rows = leads.join(counts, on="user_id", how="left", maintain_order="left")
    x = np.log1p(rows.select(pl.col(NAMES).fill_null(0)).to_numpy())
    y = leads["converts"].to_numpy()
    half = len(y) // 2
    model = LogisticRegression(max_iter=2000).fit(x[:half], y[:half])
    learned = roc_auc_score(y[half:], model.predict_proba(x[half:])[:, 1])
    truth = demo.true_probability(users(leads), leads["as_of"], 30)
    assert 0.77 < learned < 0.89
    assert roc_auc_score(y[half:], truth[half:]) > learned + 0.02


def test_consequences_would_give_the_answer_away(demo: Demo) -> None:
    payers = demo.events.filter(pl.col("event").is_in(CONSEQUENCES))["user_id"].unique()
    sold = demo.trials.filter(pl.col("converted_at").is_not_null())
    assert set(payers) == set(users(sold))

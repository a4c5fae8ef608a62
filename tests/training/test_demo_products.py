"""Every product of the demo world keeps the world's promises: known truth, honest noise, a share that converts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.errors import InvalidInput
from training.demo import Demo, Product, main, simulate, timing
from training.demo_products import API, CORKBOARD, DESIGN, EMAIL, MESSAGING, PRODUCTS, product_named

START = datetime(2025, 1, 6, tzinfo=UTC)
CUT = START + timedelta(days=150)
LIFE_DAYS = 60
EVERY = pytest.mark.parametrize("name", PRODUCTS)


@pytest.fixture(scope="module")
def worlds() -> dict[str, Demo]:
    return {name: simulate(500, 7, START, 150, product) for name, product in PRODUCTS.items()}


def open_leads(world: Demo, day: float, horizon: float) -> pl.DataFrame:
    """Leads still open `day` days into the trial whose next `horizon` days are all recorded."""
    leads = world.trials.with_columns(as_of=pl.col("started_at") + timedelta(days=day))
    until = pl.col("as_of") + timedelta(days=horizon)
    gone = pl.min_horizontal("converted_at", "closed_at") < pl.col("as_of")
    return leads.filter(until <= CUT, ~gone.fill_null(False)).with_columns(
        converts=(pl.col("converted_at") < until).fill_null(False)
    )


def drivers_after(world: Demo, day: float, acts: dict[str, int]) -> dict[str, float]:
    """Drivers `day` days into a trial on whose first day acts[event] times happened, and nothing else."""
    names = world.product.names
    counts = np.zeros_like(world.truth.counts)
    for event, times in acts.items():
        counts[0, 1:, names.index(event)] = times
    acted, lead = replace(world, truth=replace(world.truth, counts=counts)), world.trials.head(1)
    found = acted.true_drivers(lead["user_id"].to_list(), lead["started_at"] + timedelta(days=day))
    return dict(zip(names, found.drop("user_id").row(0), strict=True))


# --- the table of products --------------------------------------------------------------------


def test_there_are_six_products_with_names_of_their_own() -> None:
    assert list(PRODUCTS) == ["corkboard", "messaging", "documents", "design", "email", "api"]
    assert len({product.name for product in PRODUCTS.values()}) == 6


@EVERY
def test_a_product_has_twelve_to_sixteen_behaviours_each_named_once(name: str) -> None:
    names = PRODUCTS[name].names
    assert 12 <= len(names) <= 16
    assert len(set(names)) == len(names)


@EVERY
def test_a_product_has_pushes_brakes_and_noise(name: str) -> None:
    weights = [weight + fresh for weight, _, fresh in PRODUCTS[name].effects]
    assert sum(weight > 0 for weight in weights) >= 8
    assert 1 <= sum(weight < 0 for weight in weights) <= 2
    assert sum(weight == 0 for weight in weights) >= 2


@EVERY
def test_teams_and_pairs_are_behaviours_that_push(name: str) -> None:
    product = PRODUCTS[name]
    pushes = {one.event for one in product.behaviours if one.weight > 0}
    assert {product.team, *product.pair} <= pushes
    assert len(set(product.pair)) == 2


@EVERY
def test_timing_begins_on_the_first_day_and_covers_all_sixty(name: str) -> None:
    product = PRODUCTS[name]
    begins = [day for day, _ in product.timing]
    assert begins[0] == 0
    assert begins == sorted(set(begins))
    assert begins[-1] < LIFE_DAYS
    days = timing(product)
    assert days.shape == (LIFE_DAYS,)
    assert [days[day] for day in begins] == [adds for _, adds in product.timing]


def test_leads_decide_around_the_end_of_a_trial_that_ends() -> None:
    for product in PRODUCTS.values():
        if product.trial_days is not None:
            days = timing(product)
            assert days[product.trial_days - 1] == days[product.trial_days] == days.max()
            assert days[product.trial_days + 1] < days.max()


def test_other_behaviours_dominate_in_each_product() -> None:
    strongest = {
        frozenset(sorted(product.names, key=lambda event: -drive(product, event))[:3]) for product in PRODUCTS.values()
    }
    assert len(strongest) == len(PRODUCTS)


def drive(product: Product, event: str) -> float:
    behaviour = product.behaviours[product.names.index(event)]
    return behaviour.weight + behaviour.fresh + product.team_jump * (event == product.team)


def test_a_product_is_found_by_its_name() -> None:
    assert product_named("email") is EMAIL


def test_an_unknown_product_is_refused_with_the_closest_one() -> None:
    with pytest.raises(
        InvalidInput, match=r"product must be one of 'corkboard'.*got 'mesaging'\. Did you mean 'messaging'\?"
    ):
        product_named("mesaging")


# --- the worlds they make ---------------------------------------------------------------------


@EVERY
def test_a_tenth_to_a_sixth_of_users_convert_within_sixty_days(worlds: dict[str, Demo], name: str) -> None:
    leads = worlds[name].trials
    chances = worlds[name].true_probability(leads["user_id"].to_list(), leads["started_at"], LIFE_DAYS)
    assert 0.10 < chances.mean() < 0.18


@EVERY
@pytest.mark.parametrize(("day", "horizon"), [(0.0, 60.0), (7.0, 30.0)])
def test_observed_conversions_agree_with_true_probability(
    worlds: dict[str, Demo], name: str, day: float, horizon: float
) -> None:
    leads = open_leads(worlds[name], day, horizon)
    chance = worlds[name].true_probability(leads["user_id"].to_list(), leads["as_of"], horizon)
    spread = np.sqrt((chance * (1 - chance)).sum())
    assert chance.sum() > 20
    assert abs(leads["converts"].sum() - chance.sum()) / spread < 4


@EVERY
def test_log_rate_is_fit_and_timing_and_drivers_on_every_day(worlds: dict[str, Demo], name: str) -> None:
    world, leads = worlds[name], worlds[name].trials.head(200)
    ids = leads["user_id"].to_list()
    drivers = [
        world.true_drivers(ids, leads["started_at"] + timedelta(days=day)).drop("user_id").to_numpy().sum(axis=1)
        for day in range(LIFE_DAYS)
    ]
    fit = world.truth.log_rate[:200] - timing(world.product) - np.stack(drivers, axis=1)
    np.testing.assert_allclose(fit, np.broadcast_to(fit[:, :1], fit.shape), atol=1e-12)


@EVERY
def test_noise_happens_but_drives_nothing(worlds: dict[str, Demo], name: str) -> None:
    world = worlds[name]
    noise = [one.event for one in world.product.behaviours if one.weight == one.fresh == 0]
    assert set(noise) <= set(world.events["event"])
    drivers = world.true_drivers(world.trials["user_id"].to_list(), world.trials["started_at"] + timedelta(days=20))
    assert (drivers.select(noise).to_numpy() == 0).all()


@EVERY
def test_team_and_pair_jump_as_the_product_says(worlds: dict[str, Demo], name: str) -> None:
    world, product = worlds[name], worlds[name].product
    members = [drivers_after(world, 1, {product.team: count})[product.team] for count in (0, product.team_size - 1)]
    weight = product.behaviours[product.names.index(product.team)].weight
    whole = drivers_after(world, 1, {product.team: product.team_size})[product.team]
    assert members == pytest.approx([0, weight * np.log1p(product.team_size - 1)])
    assert whole == pytest.approx(weight * np.log1p(product.team_size) + product.team_jump)
    alone = [drivers_after(world, 1, {event: 1})[event] for event in product.pair]
    both = drivers_after(world, 1, dict.fromkeys(product.pair, 1))
    assert [both[event] for event in product.pair] == pytest.approx([one + product.pair_jump / 2 for one in alone])


@EVERY
def test_a_world_sends_its_own_events_and_no_others(worlds: dict[str, Demo], name: str) -> None:
    product = worlds[name].product
    ends = {product.cancelled, product.converted, product.expanded}
    assert set(worlds[name].events["event"]) == {*product.names, *ends, "signed_up", "invoice_paid"}


@EVERY
def test_a_cancelled_trial_ends_with_the_products_own_event(worlds: dict[str, Demo], name: str) -> None:
    world = worlds[name]
    closed = world.events.join(world.trials.filter(pl.col("closed_at").is_not_null()), on="user_id")
    after = closed.filter(pl.col("timestamp") >= pl.col("closed_at"))
    assert set(after["event"]) == {world.product.cancelled}
    assert after["user_id"].n_unique() == world.trials["closed_at"].count() > 10


def test_a_trial_ends_after_as_many_days_as_the_product_says(worlds: dict[str, Demo]) -> None:
    trials = worlds["design"].trials
    assert DESIGN.trial_days == 30
    assert (trials["ends_at"] - trials["started_at"] == timedelta(days=30)).all()


def test_free_use_without_an_end_has_no_end(worlds: dict[str, Demo]) -> None:
    trials = worlds["api"].trials
    assert API.trial_days is None
    assert trials["ends_at"].null_count() == len(trials)
    assert trials.schema == worlds["corkboard"].trials.schema


def test_another_product_leaves_the_people_and_their_companies_as_they_are(worlds: dict[str, Demo]) -> None:
    who = ("user_id", "account_id", "started_at", "company_size", "source", "email")
    assert worlds["email"].trials.select(who).equals(worlds["messaging"].trials.select(who))


def test_a_product_of_ones_own_can_be_played() -> None:
    quiet = replace(MESSAGING, base_log_rate=-50.0)
    assert simulate(40, 7, START, 60, quiet).trials["converted_at"].null_count() > 40


# --- the command ------------------------------------------------------------------------------


def test_command_writes_the_product_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path), "--product", "api", "--accounts", "30"])
    events, trials = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert "live_call_made" in pl.read_parquet(events)["event"]
    assert pl.read_parquet(trials)["account_id"].n_unique() == 30


def test_command_writes_corkboard_where_no_product_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(tmp_path), "--accounts", "30"])
    events = pl.read_parquet(Path(capsys.readouterr().out.splitlines()[0]))
    assert events.equals(simulate(30, product=CORKBOARD).events)


def test_command_refuses_an_unknown_product_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "new"), "--product", "desing"])
    assert stop.value.code == 2
    assert "got 'desing'. Did you mean 'design'?" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()

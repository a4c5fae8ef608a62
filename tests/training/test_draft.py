"""`pql init` drafts a definition that is valid whatever the data looks like, names its suspects, and leaves them out."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import dataset
from features.definition import Definition, parse
from features.durations import DAY
from features.errors import InvalidInput
from features.matrix import FeatureBuilder
from features.times import INSTANT, parse_instant
from training.demo import Demo
from training.draft import MIN_LEADS, Look, Options, draft, look
from training.pipeline import Settings, train

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TASKS = {
    "udacity_day3": ("udacity", "2015-04-01"), "udacity_day5": ("udacity", "2015-04-01"),
    "relax_day7_30d": ("relax", "2013-09-01"), "relax_day7_90d": ("relax", "2013-09-01"),
    "relax_day14_60d": ("relax", "2013-09-01"), "journey": ("journey", "2017-08-01"),
}  # fmt: skip


def drafted(
    events: pl.DataFrame, trials: pl.DataFrame | None = None, options: Options | None = None
) -> tuple[Look, str, Definition]:
    seen = look(events, trials, options or Options())
    text = draft(seen, options or Options())
    return seen, text, parse(text)


EVENTS = {
    "user_id": pl.String(), "account_id": pl.String(), "event": pl.String(), "timestamp": INSTANT, "properties": pl.String(),
}  # fmt: skip


def events_of(
    names: Sequence[str], leads: int = MIN_LEADS, delay: timedelta = timedelta(hours=1), properties: str | None = None
) -> pl.DataFrame:
    """Every lead does every event once, one after the other."""
    rows = [
        (f"u{i}", f"a{i}", name, START + delay * (place + 1), properties)
        for i in range(leads)
        for place, name in enumerate(names)
    ]
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def trials_of(
    leads: int = MIN_LEADS, converted: timedelta | None = None, account: str = "a{}", users: str = "u{}"
) -> pl.DataFrame:
    won = None if converted is None else START + converted
    return pl.DataFrame(
        {
            "user_id": [users.format(i) for i in range(leads)], "account_id": [account.format(i) for i in range(leads)],
            "started_at": [START] * leads, "converted_at": pl.Series([won] * leads, dtype=pl.Datetime("us", "UTC")),
        }
    )  # fmt: skip


def read_events(definition: Definition) -> list[str]:
    return [match.event for signal in definition.signals for match in signal.events]


# --- hostile names ----------------------------------------------------------------------------

odd_names = st.one_of(
    st.text(max_size=40),
    st.text("aA_ -:#'\"\\{}[],&*!|>%\n\t~.09é😀", max_size=12),
    st.sampled_from(
        ["yes", "null", "1e5", "2026-03-01", "trial_age", "account_activity", "Account Activity", "a" * 3_000, "a # b"]
    ),
).filter(lambda name: not name.startswith("$"))


@settings(max_examples=60)
@given(st.lists(odd_names, min_size=1, max_size=8, unique=True))
def test_any_names_give_a_definition_that_reads_just_these_events(names: list[str]) -> None:
    events = events_of([*names, "login"])
    _, _, definition = drafted(events, trials_of())
    wanted = {name for name in [*names, "login"] if name.strip()} - definition.outcome_events
    assert set(read_events(definition)) == wanted
    assert FeatureBuilder(definition, {}).columns


@settings(max_examples=30)
@given(odd_names.filter(str.strip))
def test_any_name_may_be_the_suspect_that_is_left_out(name: str) -> None:
    _, text, definition = drafted(events_of(["login", name]), trials_of(converted=timedelta(minutes=90)))
    assert name not in read_events(definition) or name == "login"
    assert any(line.lstrip().startswith("# left out: ") for line in text.splitlines()) or name == "login"


@settings(max_examples=30)
@given(odd_names.filter(str.strip))
def test_any_name_may_be_the_conversion(name: str) -> None:
    _, _, definition = drafted(events_of(["login page", name]), None, Options(conversion=name))
    assert definition.conversion.event == name


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=30).filter(str.strip))
def test_any_product_name_is_kept(product: str) -> None:
    assert drafted(events_of(["login"]), None, Options(product=product))[2].product == product


@settings(max_examples=40)
@given(st.lists(odd_names, min_size=1, max_size=5, unique=True))
def test_any_property_names_give_a_valid_definition(names: list[str]) -> None:
    frames = [events_of(["login"], properties=json.dumps(dict.fromkeys(names, value))) for value in (1.5, 2.5, 3.5)]
    _, _, definition = drafted(pl.concat(frames))
    assert read_events(definition) == ["login"]


@settings(max_examples=30)
@given(st.lists(odd_names.filter(str.strip), min_size=1, max_size=4, unique=True))
def test_any_names_of_trait_columns_give_a_valid_definition(names: list[str]) -> None:
    known = trials_of()
    columns = [name for name in names if name not in known.columns]
    trials = known.with_columns(pl.Series(name, [1.0] * MIN_LEADS) for name in columns)
    _, _, definition = drafted(events_of(["login"]), trials)
    assert {trait.source for trait in definition.traits} == {
        name for name in columns if name not in ("closed_at", "ends_at")
    }
    assert FeatureBuilder(definition, {}).columns


def test_a_trait_and_an_event_of_the_same_name_are_told_apart() -> None:
    trials = trials_of().with_columns(source=pl.lit("ads"))
    _, _, definition = drafted(events_of(["source"]), trials)
    assert read_events(definition) == ["source"]
    assert [trait.source for trait in definition.traits] == ["source"]


def test_names_with_a_dollar_are_names() -> None:
    _, _, definition = drafted(events_of(["$pageview", "login"]))
    assert sorted(read_events(definition)) == ["$pageview", "login"]


@pytest.mark.parametrize("name", ["$trial_started", "$converted"])
def test_names_that_are_made_from_the_trials_table_are_left_out(name: str) -> None:
    _, text, definition = drafted(events_of([name, "login"]), trials_of())
    assert name not in [
        match.event for signal in definition.signals if signal.scope == "lead" for match in signal.events
    ]
    assert "login" in read_events(definition)
    assert f"# left out: {name} (" in text


@pytest.mark.parametrize("name", ["$identify", "$group"])
def test_events_that_tell_facts_are_no_signals_but_traits(name: str) -> None:
    told = events_of([name], properties='{"company_size": 12}')
    _, text, definition = drafted(pl.concat([events_of(["login"]), told]))
    assert read_events(definition) == ["login"]
    assert f"# left out: {name} (" in text
    assert [(trait.source, trait.type) for trait in definition.traits] == [("company_size", "number")]


def test_only_what_identify_and_group_events_tell_becomes_a_trait() -> None:
    """Properties of all events lie in one column where a file nests them."""
    nested = pl.DataFrame(
        [
            {"user_id": f"u{i}", "event": event, "timestamp": START, "properties": properties}
            for i in range(MIN_LEADS)
            for event, properties in (
                ("login", {"megabytes": i, "size": None, "rare": None}),
                ("$identify", {"megabytes": None, "size": i, "rare": 1 if i == 0 else None}),
            )
        ]
    )
    assert isinstance(nested.schema["properties"], pl.Struct)
    assert [trait.source for trait in drafted(nested)[2].traits] == ["size"]


def test_sums_are_drafted_for_numbers_that_differ() -> None:
    frames = [
        events_of(["upload"], properties=json.dumps({"megabytes": value, "fixed": 1, "kind": "x"}))
        for value in (1, 2, 3)
    ]
    _, _, definition = drafted(pl.concat(frames))
    assert [measure.name for measure in definition.signals[0].measures if measure.how == "sum"] == ["sum_megabytes"]


# --- what is too rare or too much -------------------------------------------------------------


def test_an_event_that_too_few_leads_did_is_left_out() -> None:
    events = pl.concat([events_of(["login"]), events_of(["rare"], leads=MIN_LEADS - 1)])
    assert read_events(drafted(events)[2]) == ["login"]


def test_an_event_that_just_enough_leads_did_is_kept() -> None:
    assert read_events(drafted(events_of(["login"], leads=MIN_LEADS))[2]) == ["login"]


def test_the_most_widely_done_events_are_kept_where_there_are_too_many() -> None:
    events = pl.concat([events_of([f"e{i:02d}" for i in range(60)]), events_of(["login"], leads=MIN_LEADS + 1)])
    kept = read_events(drafted(events)[2])
    assert (len(kept), kept[0]) == (40, "login")


def test_where_hardly_anybody_did_anything_there_is_nothing_to_draft() -> None:
    with pytest.raises(InvalidInput, match=r"nothing to draft\. Give a longer history"):
        look(events_of(["login"], leads=MIN_LEADS - 1), None, Options())


@pytest.mark.parametrize("column", ["user_id", "event", "timestamp"])
def test_events_without_a_needed_column_are_refused_by_its_name(column: str) -> None:
    with pytest.raises(InvalidInput, match=rf"events: missing column\(s\) '{column}'"):
        look(events_of(["login"]).drop(column), None, Options())


@pytest.mark.parametrize("column", ["user_id", "started_at"])
def test_trials_without_a_needed_column_are_refused_by_its_name(column: str) -> None:
    with pytest.raises(InvalidInput, match=rf"trials: missing column\(s\) '{column}'"):
        look(events_of(["login"]), trials_of().drop(column), Options())


def test_events_without_accounts_whose_users_are_not_those_of_the_trials_are_refused() -> None:
    with pytest.raises(InvalidInput, match="account_id"):
        look(events_of(["login"]).drop("account_id"), trials_of(users="x{}"), Options())


# --- leaks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_the_demo(demo_world: Demo) -> tuple[Look, str, Definition]:
    return drafted(demo_world.events, demo_world.trials, Options(conversion="subscription_started"))


def test_what_only_payers_do_is_left_out_by_name(of_the_demo: tuple[Look, str, Definition]) -> None:
    seen, text, definition = of_the_demo
    assert [one.event for one in seen.suspects] == ["invoice_paid", "seat_added"]
    assert "# left out: seat_added (" in text
    assert not {"invoice_paid", "seat_added"} & set(read_events(definition))


def test_the_conversion_named_is_the_conversion(of_the_demo: tuple[Look, str, Definition]) -> None:
    assert of_the_demo[2].conversion.event == "subscription_started"


def test_an_event_that_ends_trials_closes_them(of_the_demo: tuple[Look, str, Definition]) -> None:
    assert of_the_demo[2].trial.closed_by == ("trial_cancelled",)


def test_all_other_behaviour_of_the_demo_is_drafted(
    of_the_demo: tuple[Look, str, Definition], demo_world: Demo
) -> None:
    left_out = {"invoice_paid", "seat_added", "subscription_started", "trial_cancelled"}
    drafted_events = {name for name in read_events(of_the_demo[2]) if not name.startswith("$")}
    assert drafted_events == set(demo_world.events["event"].unique().to_list()) - left_out


def test_with_a_trials_table_its_column_is_the_conversion(demo_world: Demo) -> None:
    seen, _, definition = drafted(demo_world.events, demo_world.trials)
    assert (definition.conversion.event, definition.conversion.column) == (None, "converted_at")
    assert {one.event for one in seen.suspects} == {"invoice_paid", "seat_added", "subscription_started"}


def test_without_a_trials_table_the_first_event_of_paying_is_the_conversion(demo_world: Demo) -> None:
    seen, _, definition = drafted(demo_world.events)
    assert definition.conversion.event == "subscription_started"
    assert {one.event for one in seen.suspects} == {"invoice_paid", "seat_added"}


def test_an_event_of_a_plain_name_that_falls_on_the_day_of_closing_closes() -> None:
    trials = trials_of().with_columns(closed_at=pl.col("started_at") + timedelta(hours=5))
    events = pl.concat(
        [events_of(["login"], delay=timedelta(days=2)), events_of(["goodbye"], delay=timedelta(hours=5))]
    )
    assert drafted(events, trials)[2].trial.closed_by == ("goodbye",)


# --- kinds of data ----------------------------------------------------------------------------


def test_events_of_accounts_are_recognised_where_users_are_not_those_of_the_trials() -> None:
    seen, _, definition = drafted(events_of(["basket"]), trials_of(users="{}-1"))
    assert seen.by_account
    assert definition.signals[0].scope == "account"


def test_events_of_leads_are_recognised() -> None:
    seen, _, definition = drafted(events_of(["basket"]), trials_of())
    assert not seen.by_account
    assert definition.signals[0].scope == "lead"


def test_dates_without_a_time_of_day_are_recognised() -> None:
    dates = events_of(["login", "visit"], delay=timedelta(0)).with_columns(pl.col("timestamp").dt.truncate("1d"))
    assert drafted(dates, trials_of())[2].trial.round_start_to == "day"
    assert drafted(events_of(["login"]), trials_of())[2].trial.round_start_to is None


def test_accounts_that_share_trials_get_signals_of_their_history() -> None:
    shared, alone = (drafted(events_of(["login"]), trials_of(account=name))[2] for name in ("one", "a{}"))
    assert [signal.name for signal in shared.signals] == [
        "login",
        "account_activity",
        "account_trials",
        "account_conversions",
    ]
    assert [signal.name for signal in alone.signals] == ["login"]


def test_a_history_that_lies_before_the_trials_is_scored_at_their_start() -> None:
    before = drafted(events_of(["basket"] * 3, delay=timedelta(days=-5)), trials_of())[2]
    assert (before.score_at, [window.name for window in before.windows]) == ((0,), ["30d", "90d"])


def test_a_history_that_lies_in_the_trials_is_scored_in_them() -> None:
    inside = drafted(events_of(["basket"]), trials_of())[2]
    assert 0 not in inside.score_at
    assert [window.name for window in inside.windows] == ["1d", "7d", "trial"]


def test_the_length_of_most_trials_is_drafted() -> None:
    trials = trials_of().with_columns(ends_at=pl.col("started_at") + timedelta(days=21))
    assert drafted(events_of(["login"]), trials)[2].trial.length == 21 * DAY


def test_trials_of_all_lengths_have_none() -> None:
    days = pl.duration(days=pl.int_range(1, MIN_LEADS + 1))
    trials = trials_of().with_columns(ends_at=pl.col("started_at") + days)
    assert drafted(events_of(["login"]), trials)[2].trial.length is None


@pytest.mark.parametrize(("days", "horizon"), [(5, 7), (12, 14), (29, 30), (45, 60), (200, 90)])
def test_the_horizon_holds_most_conversions(days: int, horizon: int) -> None:
    definition = drafted(events_of(["login"]), trials_of(converted=timedelta(days=days)))[2]
    assert definition.conversion.horizon == horizon * DAY


def test_what_is_said_on_the_command_line_is_kept() -> None:
    options = Options("Corkboard", "account", "paid", 10 * DAY, 20 * DAY, (2 * DAY, 4 * DAY))
    definition = drafted(events_of(["login", "paid"]), None, options)[2]
    said = (definition.product, definition.lead, definition.conversion.event, definition.conversion.horizon)
    assert said == ("Corkboard", "account", "paid", 10 * DAY)
    assert (definition.trial.length, definition.score_at) == (20 * DAY, (2 * DAY, 4 * DAY))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False], "flag"), ([1, 2], "number"), (["ads", "web"], "category"), (["a@x.com", "b@y.org"], "email_domain"),
        (["gmail.com", "x.example"], "email_domain"),
    ],
)  # fmt: skip
def test_the_kind_of_a_trait_is_told_by_its_values(values: list[object], kind: str) -> None:
    trials = trials_of().with_columns(pl.Series("trait", values * (MIN_LEADS // 2)))
    assert [trait.type for trait in drafted(events_of(["login"]), trials)[2].traits] == [kind]


def test_a_trait_of_too_many_values_is_left_out_by_name() -> None:
    trials = trials_of(leads=60).with_columns(pl.Series("note", [f"text {i}" for i in range(60)]))
    _, text, definition = drafted(events_of(["login"]), trials)
    assert definition.traits == ()
    assert "# left out: note (too many different values" in text


def test_the_share_asked_for_is_worth_a_reps_time() -> None:
    trials = trials_of(leads=100).with_columns(
        converted_at=pl.when(pl.int_range(100) < 12).then(pl.col("started_at") + timedelta(days=3))
    )
    assert drafted(events_of(["login"], leads=100), trials)[2].cutoff.at_least == 0.24


# --- public data ------------------------------------------------------------------------------

needs_public_data = pytest.mark.skipif(not SHARED.exists(), reason="the public data sets are not on this machine")


@cache
def public(name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    return pl.read_parquet(SHARED / name / "events.parquet"), pl.read_parquet(SHARED / name / "trials.parquet")


def without_task(text: str) -> list[str]:
    """Lines but those in which a task differs from what the data suggests."""
    return [line for line in text.splitlines() if not line.strip().startswith(("horizon:", "score_at:", "length:"))]


@needs_public_data
@pytest.mark.parametrize("task", TASKS)
def test_an_example_is_what_is_drafted_from_its_data_but_for_the_task(task: str) -> None:
    example = (ROOT / "examples" / f"{task}.yaml").read_text(encoding="utf-8")
    text = drafted(*public(TASKS[task][0]), Options(product=parse(example).product))[1]
    assert without_task(text) == without_task(example)


@needs_public_data
@pytest.mark.parametrize("task", TASKS)
def test_an_example_trains_on_its_data(task: str) -> None:
    text = (ROOT / "examples" / f"{task}.yaml").read_text(encoding="utf-8")
    moment = parse_instant(f"{TASKS[task][1]}T00:00:00Z", "test_from")
    trained = train(dataset(*public(TASKS[task][0]), parse(text)), text, Settings(moment))
    assert trained.refusal is None
    assert trained.figures["auc"].value > 0.6
    assert trained.against["base_rate"].value < 0

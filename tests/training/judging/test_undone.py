"""What had not happened is nowhere in a row: the same as if the raw tables had never told it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset, dataset
from features.definition import Definition, Signal, parse
from features.durations import DAY
from features.matrix import FeatureBuilder
from features.vocabulary import matches
from serving.scoring.reference import Usual
from serving.scoring.scorer import Scorer
from training.judging.undone import median, rows_without, signals_of_kinds, with_ordinary

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.windows import Floats, Ints
    from training.demo import Demo
    from training.judging.undone import Bools

TOLD_BY_TRIALS = ("starts", "upgrades")
"""Signals that read what the trials table says, which no event tells."""
NOBODY_ASKED = """
product: Corkboard
conversion: {event: subscription_started, horizon: 30d}
score_at: [3d]
windows: [7d, trial]
signals:
  - {name: mine, kind: value, events: [task_completed, session_started], text: "{count:task|tasks} {window}"}
  - {name: ours, kind: value, scope: account, events: [task_completed, comment_added], text: "{count:task|tasks} {window}"}
cutoff: {policy: precision, at_least: 0.3}
"""


def is_read(signal: Signal, event: str, properties: str | None) -> bool:
    said = json.loads(properties) if properties else {}
    return any(one.event == event and (not one.where or matches(one.where, said)) for one in signal.events)


def never_told(events: pl.DataFrame, data: Dataset, leads: Ints, taken: Bools) -> pl.DataFrame:
    """The raw events without those that each lead, or where a signal asks for it its account, is to have nothing of."""
    definition, by_account = data.definition, data.definition.lead == "account"
    of_lead = {data.leads.ids[lead]: place for place, lead in enumerate(leads.tolist())}
    of_account = {data.leads.account_ids[lead]: place for place, lead in enumerate(leads.tolist())}
    kept = []
    for user, account, event, properties in events.select("user_id", "account_id", "event", "properties").iter_rows():
        place = of_account.get(account)
        own = by_account or user in of_lead
        kept.append(
            place is None
            or not any(
                taken[place, number] and (own or signal.scope == "account") and is_read(signal, event, properties)
                for number, signal in enumerate(definition.signals)
            )
        )
    return events.filter(pl.Series(kept))


def one_of_each_account(data: Dataset, n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Leads of different accounts, ascending, each at a moment between the first day of its trial and the twelfth."""
    order = rng.permutation(len(data.leads))
    _, first = np.unique(data.leads.accounts[order], return_index=True)
    leads = np.sort(rng.choice(order[first], n, replace=False))
    return leads, data.leads.started_at[leads] + rng.integers(DAY, 12 * DAY, n)


def without(data: Dataset, builder: FeatureBuilder, leads: Ints, as_of: Ints, taken: Bools) -> Floats:
    found = np.empty((len(leads), len(builder.columns)))
    for part in data.parts(leads):
        here = np.searchsorted(leads, part.numbers)
        found[here] = rows_without(builder, part.leads, part.logs, as_of[here], taken[here])
    return found


def any_signals(definition: Definition, n: int, rng: np.random.Generator) -> Bools:
    taken = rng.random((n, len(definition.signals))) < 0.25
    for place, signal in enumerate(definition.signals):
        taken[:, place] &= signal.name not in TOLD_BY_TRIALS
    return taken


@pytest.fixture(scope="module")
def small(demo_world: Demo) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Raw tables of the teams of a part of the demo product's users, and of as many who are alone."""
    trials = demo_world.trials.head(300)
    return demo_world.events.filter(pl.col("account_id").is_in(trials["account_id"].unique().to_list())), trials


@pytest.mark.parametrize("way", ["demo", "rich", "accounts", "nobody asks who"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_row_is_the_one_of_tables_that_never_told_it(
    small: tuple[pl.DataFrame, pl.DataFrame], definition_text: str, rich_definition: str, rich_account_definition: str,
    way: str, seed: int,
) -> None:  # fmt: skip
    texts = {"demo": definition_text, "rich": rich_definition, "accounts": rich_account_definition}
    definition = parse(texts.get(way, NOBODY_ASKED))
    events, trials = small
    data, rng = dataset(events, trials, definition), np.random.default_rng(seed)
    builder = FeatureBuilder(definition, {"source": ("ads", "organic")})
    assert (builder.vocabulary.user_row < 0) == (way == "nobody asks who")
    leads, as_of = one_of_each_account(data, 60, rng)
    taken = any_signals(definition, len(leads), rng)
    found = without(data, builder, leads, as_of, taken)
    never = dataset(never_told(events, data, leads, taken), trials, definition)
    np.testing.assert_array_equal(found, never.rows(builder, leads, as_of))
    assert (found != data.rows(builder, leads, as_of)).any()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_taken_away_is_nothing_in_any_window(history: Dataset, scorer: Scorer, seed: int) -> None:
    rng, builder = np.random.default_rng(seed), scorer.builder
    leads, as_of = one_of_each_account(history, 40, rng)
    taken = rng.random((len(leads), len(builder.definition.signals))) < 0.3
    rows = without(history, builder, leads, as_of, taken)
    place_of = {signal.name: place for place, signal in enumerate(builder.definition.signals)}
    for at, column in enumerate(builder.columns):
        if column.measure and column.measure.spec.happened:
            gone = rows[taken[:, place_of[column.owner]], at]
            assert (np.isnan(gone) | (gone == 0)).all()


def test_where_nothing_is_taken_away_rows_stay_as_they_are(history: Dataset, scorer: Scorer) -> None:
    leads, as_of = one_of_each_account(history, 200, np.random.default_rng(3))
    nothing = np.zeros((len(leads), len(scorer.builder.definition.signals)), bool)
    found = without(history, scorer.builder, leads, as_of, nothing)
    np.testing.assert_array_equal(found, history.rows(scorer.builder, leads, as_of))


def test_leads_of_one_account_are_refused(history: Dataset, scorer: Scorer) -> None:
    accounts, counts = np.unique(history.leads.accounts, return_counts=True)
    mates = np.flatnonzero(history.leads.accounts == accounts[counts > 1][0])
    nothing = np.zeros((len(mates), len(scorer.builder.definition.signals)), bool)
    with pytest.raises(ValueError, match="different accounts, got two of one; choose one lead per account"):
        without(history, scorer.builder, mates, history.leads.started_at[mates] + DAY, nothing)


# --- small enough to check by eye -------------------------------------------------------------

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
TEAM = """
product: Corkboard
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [trial]
signals:
  - {name: tasks, kind: value, events: [task], measures: [count, share], text: "{count:task|tasks} {window}"}
  - {name: any, kind: value, events: [task, login], measures: [count], text: "{count:thing|things} {window}"}
  - {name: big, kind: value, events: [{event: task, where: {size: [big]}}], measures: [count], text: "{count:task|tasks}"}
  - name: team
    kind: value
    scope: account
    events: [task]
    measures: [count, distinct(user)]
    text: "{count:task|tasks}"
  - {name: upgrades, kind: value, scope: account, events: [$converted], measures: [count], windows: [60d], text: "{count}"}
cutoff: {policy: precision, at_least: 0.3}
"""


def told(taken: str) -> dict[str, float]:
    """The row of one of two colleagues, without one of its signals."""
    said = [
        ("u", "task", '{"size": "big"}'), ("u", "task", None), ("u", "login", None), ("v", "task", None), ("v", "login", None),
    ]  # fmt: skip
    events = pl.DataFrame(
        [(who, "A", event, BEGAN + timedelta(hours=hour), more) for hour, (who, event, more) in enumerate(said, 1)],
        schema=["user_id", "account_id", "event", "timestamp", "properties"], orient="row",
    )  # fmt: skip
    trials = pl.DataFrame(
        {"user_id": ["u", "v"], "account_id": ["A", "A"], "started_at": [BEGAN, BEGAN],
         "converted_at": [None, BEGAN + timedelta(hours=9)]},
        schema_overrides={"converted_at": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    definition = parse(TEAM)
    data, builder = dataset(events, trials, definition), FeatureBuilder(definition, {})
    lead = np.array([data.leads.ids.index("u")])
    names = [signal.name for signal in definition.signals]
    row = without(
        data, builder, lead, data.leads.started_at[lead] + DAY, np.array([[name == taken for name in names]])
    )[0]
    return {column.name: value for column, value in zip(builder.columns, row.tolist(), strict=True)}


ALL = {
    "tasks_count_trial": 2, "any_count_trial": 3, "big_count_trial": 1, "team_count_trial": 3, "team_distinct_user_trial": 2,
    "upgrades_count_60d": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ("", {}),
        ("tasks", {"tasks_count_trial": 0, "any_count_trial": 1, "big_count_trial": 0, "team_count_trial": 1,
                   "team_distinct_user_trial": 1}),
        ("any", {"tasks_count_trial": 0, "any_count_trial": 0, "big_count_trial": 0, "team_count_trial": 1,
                 "team_distinct_user_trial": 1}),
        ("big", {"tasks_count_trial": 1, "any_count_trial": 2, "big_count_trial": 0, "team_count_trial": 2}),
        ("team", {"tasks_count_trial": 0, "any_count_trial": 1, "big_count_trial": 0, "team_count_trial": 0,
                  "team_distinct_user_trial": 0}),
        ("upgrades", {"upgrades_count_60d": 0}),
    ],
)  # fmt: skip
def test_events_are_taken_from_every_signal_that_reads_them_and_from_nobody_else(
    taken: str, left: dict[str, float]
) -> None:
    row = told(taken)
    assert {name: row[name] for name in ALL} == {**ALL, **left}


def test_shares_are_those_of_the_events_that_are_left() -> None:
    assert [told(taken)["tasks_share_trial"] for taken in ("", "big")] == [2 / 3, 1 / 2]


def test_each_kind_is_read_by_the_signals_of_its_event_and_filters() -> None:
    builder = FeatureBuilder(parse(TEAM), {})
    reads, readings = signals_of_kinds(builder), builder.vocabulary.readings
    names = [signal.name for signal in builder.definition.signals]
    kinds = {"big task": readings["task"].kind({"size": "big"}), "task": readings["task"].kind({}),
             "login": readings["login"].kind({})}  # fmt: skip
    found = {
        what: [name for name, does in zip(names, reads[kind], strict=True) if does] for what, kind in kinds.items()
    }
    assert found == {"big task": ["tasks", "any", "big", "team"], "task": ["tasks", "any", "team"], "login": ["any"]}


# --- traits -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rich_scorer(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    """A scorer that compares with trials of which half have a company of at most one person."""
    scorer = made_scorer(rich_definition, {"source": ("ads", "organic")})
    usual = Usual(((0.0, 1.0, 4.0, 60.0),) * 3, ((0.3, 0.55, 0.9, 1.0),) * 3)
    reference = replace(scorer.artifact.reference, ages=(1.0, 3.0, 7.0), usual={"company_size": usual})
    return Scorer(replace(scorer.artifact, reference=reference))


@pytest.mark.parametrize(
    ("trait", "before", "after"),
    [
        ("company_size", {"company_size": 60.0}, {"company_size": 1.0}),
        ("source", {"source=ads": 0.0, "source=organic": 1.0}, {"source=ads": 0.0, "source=organic": 0.0}),
        ("email", {"email_is_business": 1.0}, {"email_is_business": 0.0}),
        ("email", {"email_is_business": 0.0}, {"email_is_business": 1.0}),
    ],
)
def test_a_trait_is_made_what_cannot_be_named(
    rich_scorer: Scorer, trait: str, before: dict[str, float], after: dict[str, float]
) -> None:
    names = [column.name for column in rich_scorer.builder.columns]
    row = np.full(len(names), 7.0)
    row[[names.index(name) for name in before]] = list(before.values())
    found = with_ordinary(rich_scorer, row, rich_scorer.builder.definition.trait_of[trait])
    expected = row.copy()
    expected[[names.index(name) for name in after]] = list(after.values())
    np.testing.assert_array_equal(found, expected)


def test_the_median_is_the_least_value_that_half_do_not_exceed_at_the_last_age_reached(rich_scorer: Scorer) -> None:
    reference = rich_scorer.artifact.reference
    usual = reference.usual["company_size"]
    other = replace(usual, values=((1.0, 2.0), (5.0, 6.0, 9.0), (8.0,)), up_to=((0.5, 1.0), (0.2, 0.49, 1.0), (1.0,)))
    known = replace(reference, usual={"company_size": other})
    assert [median(known, "company_size", age) for age in (1.0, 2.9, 3.0, 40.0)] == [1.0, 1.0, 9.0, 8.0]
    assert np.isnan([median(known, "company_size", 0.5), median(known, "unheard_of", 3.0)]).all()


def test_the_median_of_what_nobody_told_is_not_known(rich_scorer: Scorer) -> None:
    reference = rich_scorer.artifact.reference
    nobody = replace(reference.usual["company_size"], values=((), (), ()), up_to=((), (), ()))
    assert np.isnan(median(replace(reference, usual={"company_size": nobody}), "company_size", 3.0))

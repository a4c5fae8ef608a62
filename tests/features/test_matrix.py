"""Rows know nothing of the future, of the order of files, of other leads, or of the door they came in by."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import columns, fingerprint
from features.dataset import Dataset, dataset
from features.definition import CONVERTED, TRIAL_STARTED, parse
from features.durations import DAY
from features.leads import NEVER, Leads
from features.logs import Happening, read_requests
from features.matrix import FeatureBuilder
from features.times import INSTANT
from features.windows import Floats

DEFINITION = parse(
    """
product: Tested
conversion: {event: paid, horizon: 30d}
trial: {length: 14d, closed_by: [cancelled]}
score_at: [7d]
windows: [1d, 7d, trial]
cutoff: {at_least: 0.3}
signals:
  - name: work
    kind: usage_depth
    events: [done, {event: page, where: {path: [/a, 3]}}]
    measures: [count, sum(amount), distinct(plan), active_days, days_since_first, days_since_last, trend, reached(2)]
    text: worked
  - name: friction
    kind: friction
    direction: "-"
    events: [{event: page, where: {path: /b}}]
    windows: [36h]
    measures: [count, sum(seats)]
    text: got stuck
  - name: team
    kind: team_growth
    scope: account
    events: [done, page, $trial_started, $converted]
    measures: [count, distinct(user), sum(amount), days_since_last, trend]
    text: teamed up
traits:
  - {name: company_size, type: number}
  - {name: industry, type: category}
  - {name: email, type: email_domain}
  - {name: invited, type: flag}
"""
)
LEVELS = {"industry": ("retail", "health")}
BUILDER = FeatureBuilder(DEFINITION, LEVELS)
ZERO = 1_735_700_000_000_000
SEEDS = st.integers(0, 10**9)
MOMENTS = st.integers(-DAY, 25 * DAY).map(lambda offset: ZERO + offset)


@dataclass(frozen=True)
class World:
    """Raw tables of a handful of leads in a few accounts, times in microseconds at first."""

    events: pl.DataFrame
    trials: pl.DataFrame

    def data(self) -> Dataset:
        return dataset(self.events, self.trials, DEFINITION)


def world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    users = [f"u{i}" for i in range(8)]
    accounts: list[str | None] = [str(rng.choice(["A", "B", "u1"])) if rng.random() < 0.6 else None for _ in users]
    started = ZERO + rng.integers(0, 5 * DAY, len(users))
    trials = {
        "user_id": users,
        "account_id": accounts,
        "started_at": started,
        "closed_at": [int(at) + int(rng.integers(0, 20 * DAY)) if rng.random() < 0.3 else None for at in started],
        "company_size": [None if rng.random() < 0.2 else float(rng.integers(1, 500)) for _ in users],
        "industry": rng.choice(["retail", "health", "mining"], len(users)).tolist(),
        "email": rng.choice(["a@gmail.com", "b@firm.example", "nobody"], len(users)).tolist(),
        "invited": rng.choice(["true", "no", "?"], len(users)).tolist(),
    }
    n = 150
    # A few instants that many events share, so that ties are the rule.
    instants = ZERO + rng.integers(-2 * DAY, 25 * DAY, 40)
    doers = [str(user) for user in rng.choice([*users, "stranger"], n)]
    home = dict(zip(users, accounts, strict=True))
    # A teammate without a trial is known by the account that its events name.
    named = {**home, "stranger": "A"}
    events = {
        "user_id": doers,
        "account_id": [named[user] if rng.random() < 0.5 or user == "stranger" else None for user in doers],
        "event": rng.choice(
            ["done", "page", "page", "unread", "paid", "cancelled"], n, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05]
        ),
        "timestamp": rng.choice(instants, n),
        "message_id": [f"m{i}" for i in range(n)],
        "properties": [properties(rng) for _ in range(n)],
    }
    frame = pl.DataFrame(events, schema_overrides={"account_id": pl.String})
    # Nobody's trial is over before it began: such leads are refused.
    outcome = pl.col("event").is_in(["paid", "cancelled"]) & (pl.col("timestamp") < ZERO + 6 * DAY)
    frame = frame.filter(~outcome).with_columns(pl.col("timestamp").cast(INSTANT))
    table = pl.DataFrame(trials, schema_overrides={"account_id": pl.String, "closed_at": pl.Int64})
    return World(frame, table.with_columns(pl.col("started_at", "closed_at").cast(INSTANT)))


def properties(rng: np.random.Generator) -> str | None:
    if rng.random() < 0.2:
        return None
    # Values that do not add up exactly: a sum in another order has other bits.
    said = {
        "amount": [0.1, 0.2, 0.3, 1e16, "7.7", "none", None][int(rng.integers(7))],
        "seats": int(rng.integers(5)),
        "path": ["/a", "/b", 3, "3"][int(rng.integers(4))],
        "plan": ["x", "y", 1, 1.0, None][int(rng.integers(5))],
    }
    return json.dumps(said)


def rows(data: Dataset, as_of: int, builder: FeatureBuilder = BUILDER) -> dict[str, bytes]:
    """The bytes of each lead's row at one moment."""
    leads = data.leads
    matrix = builder.rows(leads, data.logs(builder), np.arange(len(leads)), np.full(len(leads), as_of))
    return {lead: matrix[i].tobytes() for i, lead in enumerate(leads.ids)}


# --- the future ------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, MOMENTS)
def test_rows_built_from_all_events_equal_rows_built_from_those_before_as_of(seed: int, as_of: int) -> None:
    whole = world(seed)
    told = pl.col("timestamp").cast(pl.Int64) < as_of
    earlier = pl.concat([whole.events.filter(told), whole.events.head(1).with_columns(event=pl.lit("unread"))])
    assert rows(whole.data(), as_of) == rows(replace(whole, events=earlier).data(), as_of)


@settings(max_examples=30, deadline=None)
@given(SEEDS, MOMENTS)
def test_what_became_of_a_lead_at_or_after_as_of_is_not_in_any_row(seed: int, as_of: int) -> None:
    data = world(seed).data()
    known = [
        pl.when(pl.col(name).cast(pl.Int64) < as_of).then(pl.col(name)).alias(name)
        for name in ("closed_at", "converted_at", "ends_at")
    ]
    assert rows(data, as_of) == rows(replace(data, trials=data.trials.with_columns(known)), as_of)


def test_a_past_event_does_change_a_row() -> None:
    # Without this the tests above would pass on rows of zeros.
    whole = world(1)
    assert whole.data().trials["converted_at"].count() > 0
    as_of = ZERO + 10 * DAY
    fewer = replace(whole, events=whole.events.filter(pl.col("timestamp").cast(pl.Int64) >= as_of))
    assert rows(whole.data(), as_of) != rows(fewer.data(), as_of)


# --- order and repetition --------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(SEEDS, MOMENTS)
def test_order_of_event_rows_trial_rows_and_columns_is_irrelevant(seed: int, as_of: int) -> None:
    whole, rng = world(seed), np.random.default_rng(seed)
    events = whole.events[rng.permutation(len(whole.events))].select(rng.permutation(whole.events.columns).tolist())
    trials = whole.trials[rng.permutation(len(whole.trials))].select(rng.permutation(whole.trials.columns).tolist())
    assert rows(whole.data(), as_of) == rows(World(events, trials).data(), as_of)


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS)
def test_events_sent_twice_count_once(seed: int, as_of: int) -> None:
    whole = world(seed)
    twice = pl.concat([whole.events, whole.events.reverse()])
    assert rows(whole.data(), as_of) == rows(replace(whole, events=twice).data(), as_of)


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS)
def test_identical_rows_without_message_id_count_once(seed: int, as_of: int) -> None:
    whole = world(seed)
    once = whole.events.drop("message_id").unique(maintain_order=True)
    twice = pl.concat([once, once.sample(fraction=1, shuffle=True, seed=seed)])
    assert rows(replace(whole, events=once).data(), as_of) == rows(replace(whole, events=twice).data(), as_of)


def test_a_trial_row_that_is_there_twice_is_one_lead() -> None:
    whole = world(2)
    twice = replace(whole, trials=pl.concat([whole.trials, whole.trials]))
    assert rows(whole.data(), ZERO + 9 * DAY) == rows(twice.data(), ZERO + 9 * DAY)


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS)
def test_events_that_no_signal_reads_change_nothing(seed: int, as_of: int) -> None:
    whole = world(seed)
    others = ("done", "page", "paid", "cancelled")
    fewer = replace(whole, events=whole.events.filter(pl.col("event").is_in(others)))
    assert rows(whole.data(), as_of) == rows(fewer.data(), as_of)


# --- one and many ----------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS)
def test_an_account_alone_equals_the_same_account_among_many(seed: int, as_of: int) -> None:
    whole = world(seed)
    together = rows(whole.data(), as_of)
    for accounts in (["A"], ["u1"], [None]):
        trials = whole.trials.filter(pl.col("account_id").is_in(accounts, nulls_equal=True))
        mine = pl.col("user_id").is_in(trials["user_id"].to_list()) | pl.col("account_id").is_in(accounts)
        if len(trials) and len(whole.events.filter(mine)):
            alone = World(whole.events.filter(mine.fill_null(value=False)), trials)
            assert rows(alone.data(), as_of).items() <= together.items()


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS)
def test_rows_asked_for_in_chunks_or_backwards_are_the_same_rows(seed: int, as_of: int) -> None:
    data = world(seed).data()
    leads, logs, every = data.leads, data.logs(BUILDER), np.arange(8)
    moments = as_of + every * DAY // 2
    together = BUILDER.rows(leads, logs, every, moments)
    chunks = [BUILDER.rows(leads, logs, part, moments[part]) for part in np.array_split(every, [3, 4])]
    assert np.concatenate(chunks).tobytes() == together.tobytes()
    assert BUILDER.rows(leads, logs, every[::-1].copy(), moments[::-1].copy())[::-1].tobytes() == together.tobytes()


def test_nobody_asked_about_gives_no_rows() -> None:
    data, nobody = world(3).data(), np.zeros(0, np.int64)
    assert BUILDER.rows(data.leads, data.logs(BUILDER), nobody, nobody).shape == (0, len(BUILDER.columns))


# --- the two doors ---------------------------------------------------------------------------


def request_row(whole: World, data: Dataset, place: int, as_of: int) -> Floats:
    """The row of one lead from a request with its own and its teammates' events."""
    trial = data.trials.row(place, named=True)
    alone = Leads(
        [trial["user_id"]], [trial["account_id"]], np.zeros(1, np.int64), data.leads.started_at[place : place + 1],
        np.array([NEVER]), np.array([NEVER]), np.array([NEVER]),
        {name: [values[place]] for name, values in data.leads.traits.items()},
    )  # fmt: skip
    logs = read_requests(happenings(whole, data, trial["user_id"], trial["account_id"]), BUILDER.vocabulary).logs(1, 1)
    return BUILDER.rows(alone, logs, np.zeros(1, np.int64), np.array([as_of]))


def happenings(whole: World, data: Dataset, user: str, account: str | None) -> Iterator[Happening]:
    home = dict(data.trials.select("user_id", "account_id").iter_rows())
    for row in whole.events.with_columns(at=pl.col("timestamp").cast(pl.Int64)).iter_rows(named=True):
        theirs = row["account_id"] or home.get(row["user_id"])
        if row["user_id"] == user or (account is not None and theirs == account):
            said = json.loads(row["properties"] or "{}")
            yield Happening(0, row["user_id"], row["user_id"] == user, row["event"], row["at"], said)
    for trial in data.trials.iter_rows(named=True):
        if trial["user_id"] == user or (account is not None and trial["account_id"] == account):
            for name, at in ((TRIAL_STARTED, trial["started_at"]), (CONVERTED, trial["converted_at"])):
                if at is not None:
                    moment = pl.Series([at]).dt.epoch("us")[0]
                    yield Happening(0, trial["user_id"], trial["user_id"] == user, name, moment, {})


@settings(max_examples=40, deadline=None)
@given(SEEDS, MOMENTS)
def test_a_request_gives_the_same_row_as_the_tables_to_the_bit(seed: int, as_of: int) -> None:
    whole = world(seed)
    data = whole.data()
    table = rows(data, as_of)
    for place, lead in enumerate(data.leads.ids):
        assert request_row(whole, data, place, as_of).tobytes() == table[lead]


def test_leads_of_one_request_do_not_see_each_others_events() -> None:
    never, traits = np.full(2, NEVER), {trait.name: [None, None] for trait in DEFINITION.traits}
    leads = Leads(["a", "b"], ["A", "A"], np.arange(2), np.full(2, ZERO), never, never, never, traits)
    logs = read_requests([Happening(0, "a", own=True, event="done", time=ZERO, properties={})], BUILDER.vocabulary)
    matrix = BUILDER.rows(leads, logs.logs(2, 2), np.arange(2), np.full(2, ZERO + 1))
    names = [column.name for column in BUILDER.columns]
    assert matrix[:, names.index("work_count_1d")].tolist() == [1, 0]
    assert matrix[:, names.index("team_count_1d")].tolist() == [1, 0]


def test_a_request_without_events_gives_zeros_and_not_known() -> None:
    never, traits = np.array([NEVER]), {trait.name: [None] for trait in DEFINITION.traits}
    leads = Leads(["a"], [None], np.zeros(1, np.int64), np.array([ZERO]), never, never, never, traits)
    row = BUILDER.rows(
        leads, read_requests([], BUILDER.vocabulary).logs(1, 1), np.zeros(1, np.int64), np.array([ZERO + DAY])
    )
    named = dict(zip([column.name for column in BUILDER.columns], row[0], strict=True))
    assert named.pop("trial_age_days") == 1
    unknown = {"work_days_since_first", "work_days_since_last", "team_days_since_last"}
    unknown |= {"company_size", "industry=retail", "industry=health", "email_is_business", "invited"}
    assert {name for name, number in named.items() if np.isnan(number)} == unknown
    assert {number for name, number in named.items() if name not in unknown} == {0.0}


# --- the rest --------------------------------------------------------------------------------


def test_rows_hold_traits_beside_behaviour() -> None:
    data = world(4).data()
    leads = data.leads
    matrix = BUILDER.rows(leads, data.logs(BUILDER), np.arange(8), np.full(8, ZERO))
    assert matrix.dtype == np.float64
    names = [column.name for column in BUILDER.columns]
    sizes = [np.nan if size is None else size for size in leads.traits["company_size"]]
    np.testing.assert_array_equal(matrix[:, names.index("company_size")], np.array(sizes, np.float64))
    retail = [industry == "retail" for industry in leads.traits["industry"]]
    np.testing.assert_array_equal(matrix[:, names.index("industry=retail")], retail)


@pytest.mark.parametrize("part", ["signals", "traits"])
def test_a_definition_of_one_sort_alone_gives_rows_too(part: str) -> None:
    whole = world(5)
    narrow = DEFINITION.model_copy(update={part: ()})
    data = dataset(whole.events, whole.trials, narrow)
    builder = FeatureBuilder(narrow, LEVELS)
    kept = [column.name for column in builder.columns]
    assert 1 < len(kept) < len(BUILDER.columns)
    assert kept_of(rows(data, ZERO + DAY, builder)) == kept_of(rows(whole.data(), ZERO + DAY), kept)


def kept_of(found: dict[str, bytes], names: Sequence[str] | None = None) -> dict[str, bytes]:
    every = [column.name for column in BUILDER.columns]
    places = None if names is None else [every.index(name) for name in names]
    return {lead: row if places is None else np.frombuffer(row)[places].tobytes() for lead, row in found.items()}


def test_a_builder_knows_its_columns_and_their_fingerprint() -> None:
    assert BUILDER.columns == columns(DEFINITION, LEVELS)
    assert BUILDER.fingerprint == fingerprint(BUILDER.columns, DEFINITION)
    assert BUILDER.fingerprint != FeatureBuilder(DEFINITION, {"industry": ("retail",)}).fingerprint

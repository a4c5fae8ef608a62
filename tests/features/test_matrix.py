"""Rows know nothing of the future, of the order of files, of other leads, or of the door they came in by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import columns, fingerprint
from features.dataset import Dataset, dataset
from features.definition import CONVERTED, TRIAL_STARTED, parse
from features.durations import DAY
from features.leads import NEVER, Leads, TraitLog
from features.logs import Happening, read_requests
from features.matrix import FeatureBuilder
from features.measures import SPECS
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
    measures: [
      count, sum(amount), mean(amount), distinct(plan), active_days, streak, per_active_day, share, trend, reached(2),
      days_to_reach(3), days_since_first, days_since_last,
    ]
    text: worked
  - name: friction
    kind: friction
    direction: "-"
    events: [{event: page, where: {path: /b}}]
    windows: [36h]
    measures: [count, sum(seats), mean(seats), streak]
    text: got stuck
  - name: team
    kind: team_growth
    scope: account
    events: [done, page, $trial_started, $converted]
    measures: [
      count, distinct(user), distinct(plan), sum(amount), mean(amount), active_days, streak, per_active_day, share, trend,
      user_growth, lead_share, lead_rank, reached(4), days_to_reach(2), days_since_first, days_since_last,
    ]
    text: teamed up
traits:
  - {name: company_size, type: number}
  - {name: industry, type: category}
  - {name: email, type: email_domain}
  - {name: invited, type: flag}
"""
)
BY_CLOCK = {clock: DEFINITION.model_copy(update={"clock": clock}) for clock in ("timestamp", "received_at")}
LEVELS = {"industry": ("retail", "health")}
BUILDER = FeatureBuilder(DEFINITION, LEVELS)
ZERO = 1_735_700_000_000_000
HERALD = "herald"
"""Not a lead; it tells of company sizes before anything else happens, so that every world knows that trait."""
SEEDS = st.integers(0, 10**9)
MOMENTS = st.integers(-DAY, 25 * DAY).map(lambda offset: ZERO + offset)


@dataclass(frozen=True)
class World:
    """Raw tables of a handful of leads in a few accounts."""

    events: pl.DataFrame
    trials: pl.DataFrame

    def data(self, clock: str = "timestamp") -> Dataset:
        return dataset(self.events, self.trials, BY_CLOCK[clock])

    def before(self, as_of: int, clock: str) -> World:
        """The same world at a moment: what had happened, or arrived, by then."""
        known = "received_at" if clock == "received_at" else "timestamp"
        return replace(self, events=self.events.filter(pl.col(known).cast(pl.Int64) < as_of))


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
        "industry": rng.choice(["retail", "health", "mining"], len(users)).tolist(),
        "email": rng.choice(["a@gmail.com", "b@firm.example", "nobody"], len(users)).tolist(),
        "invited": rng.choice(["true", "no", "?"], len(users)).tolist(),
    }
    n = 150
    # A few instants that many events share, so that ties are the rule.
    instants = ZERO + rng.integers(-2 * DAY, 25 * DAY, 40)
    doers = [str(user) for user in rng.choice([*users, "stranger"], n)]
    home = dict(zip(users, accounts, strict=True))
    # A teammate without a trial is known by the account that its events name; who has no account may act in one.
    named = {user: account or "A" for user, account in {**home, "stranger": "A"}.items()}
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
    events["received_at"] = np.array(events["timestamp"]) + rng.choice([0, 0, 1, DAY // 2, 3 * DAY], n)
    frame = pl.concat([pl.DataFrame(events, schema_overrides={"account_id": pl.String}), facts(rng, users, instants)])
    # Some arrive a second time, later.
    again = frame.sample(fraction=0.2, seed=seed).with_columns(pl.col("received_at") + int(rng.integers(0, 2 * DAY)))
    frame = pl.concat([frame, again])
    # Nobody's trial is over before it began: such leads are refused.
    outcome = pl.col("event").is_in(["paid", "cancelled"]) & (pl.col("timestamp") < ZERO + 6 * DAY)
    frame = frame.filter(~outcome).with_columns(pl.col("timestamp").cast(INSTANT))
    table = pl.DataFrame(trials, schema_overrides={"account_id": pl.String, "closed_at": pl.Int64})
    frame = frame.with_columns(pl.col("received_at").cast(INSTANT))
    return World(frame, table.with_columns(pl.col("started_at", "closed_at").cast(INSTANT)))


def facts(rng: np.random.Generator, users: list[str], instants: npt.NDArray[np.int64]) -> pl.DataFrame:
    """How large companies were said to be: by their users, and of their accounts; first of all by somebody else."""
    n = 12
    by_user = rng.random(n) < 0.6
    who = rng.choice(users, n).tolist()
    happened = [ZERO - 3 * DAY, *rng.choice(instants, n).tolist()]
    sizes = [9, *rng.integers(1, 500, n).tolist()]
    return pl.DataFrame(
        {
            "user_id": [HERALD, *who],
            "account_id": [None, *(None if one else str(rng.choice(["A", "B"])) for one in by_user)],
            "event": ["$identify", *("$identify" if one else "$group" for one in by_user)],
            "timestamp": happened,
            "message_id": [f"f{i}" for i in range(n + 1)],
            "properties": [f'{{"company_size": {size}}}' for size in sizes],
            "received_at": [happened[0], *(at + int(rng.choice([0, DAY])) for at in happened[1:])],
        },
        schema_overrides={"account_id": pl.String},
    )


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
    n = len(data.leads)
    matrix = data.rows(builder, np.arange(n), np.full(n, as_of))
    return {lead: matrix[i].tobytes() for i, lead in enumerate(data.leads.ids)}


def test_the_definition_asks_for_every_measure_there_is() -> None:
    assert {measure.how for signal in DEFINITION.signals for measure in signal.measures} == set(SPECS)
    of_account = {
        measure.how for signal in DEFINITION.signals if signal.scope == "account" for measure in signal.measures
    }
    assert of_account == set(SPECS)


# --- the future ------------------------------------------------------------------------------


CLOCKS = st.sampled_from(["timestamp", "received_at"])


@settings(max_examples=60, deadline=None)
@given(SEEDS, MOMENTS, CLOCKS)
def test_rows_built_from_all_events_equal_rows_built_from_those_before_as_of(seed: int, as_of: int, clock: str) -> None:
    whole = world(seed)
    assert rows(whole.data(clock), as_of) == rows(whole.before(as_of, clock).data(clock), as_of)


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS)
def test_what_had_not_arrived_by_as_of_is_in_no_row_by_arrival(seed: int, as_of: int) -> None:
    """The same by the other clock: what had arrived is all that there is."""
    whole = world(seed)
    arrived = whole.before(as_of, "received_at")
    assert rows(whole.data("received_at"), as_of) == rows(arrived.data("timestamp"), as_of)


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS, CLOCKS)
def test_of_whom_facts_will_be_told_later_does_not_show_in_a_row_even_if_the_table_has_them_all(
    seed: int, as_of: int, clock: str
) -> None:
    whole = world(seed)
    told = whole.events.filter(pl.col("user_id") == HERALD).with_columns(user_id=pl.lit("u0"), message_id=pl.lit("f"))
    sized = World(pl.concat([whole.events, told]), whole.trials.with_columns(company_size=pl.lit(50.0)))
    assert rows(sized.data(clock), as_of) == rows(sized.before(as_of, clock).data(clock), as_of)


@settings(max_examples=30, deadline=None)
@given(SEEDS, MOMENTS)
def test_what_became_of_a_lead_at_or_after_as_of_is_not_in_any_row(seed: int, as_of: int) -> None:
    whole = world(seed)
    data = whole.data()
    known = [
        pl.when(pl.col(name).cast(pl.Int64) < as_of).then(pl.col(name)).alias(name)
        for name in ("closed_at", "converted_at", "ends_at")
    ]
    so_far = replace(whole, trials=data.trials.with_columns(known)).data()
    assert so_far.leads.ids == data.leads.ids
    assert rows(data, as_of) == rows(so_far, as_of)


def test_a_past_event_does_change_a_row() -> None:
    # Without this the tests above would pass on rows of zeros.
    whole = world(1)
    assert whole.data().trials["converted_at"].count() > 0
    as_of = ZERO + 10 * DAY
    late = pl.col("timestamp").cast(pl.Int64) >= as_of
    fewer = replace(whole, events=whole.events.filter(late | (pl.col("user_id") == HERALD)))
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
    others = ("done", "page", "paid", "cancelled", "$identify", "$group")
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
        mine = pl.col("user_id").is_in([*trials["user_id"].to_list(), HERALD]) | pl.col("account_id").is_in(accounts)
        if len(trials):
            alone = World(whole.events.filter(mine.fill_null(value=False)), trials)
            assert rows(alone.data(), as_of).items() <= together.items()


@settings(max_examples=20, deadline=None)
@given(SEEDS, MOMENTS)
def test_rows_asked_for_in_chunks_or_backwards_are_the_same_rows(seed: int, as_of: int) -> None:
    data = world(seed).data()
    every = np.arange(8)
    moments = as_of + every * DAY // 2
    together = data.rows(BUILDER, every, moments)
    chunks = [data.rows(BUILDER, part, moments[part]) for part in np.array_split(every, [3, 4])]
    assert np.concatenate(chunks).tobytes() == together.tobytes()
    assert data.rows(BUILDER, every[::-1].copy(), moments[::-1].copy())[::-1].tobytes() == together.tobytes()
    (part,) = data.parts()
    assert BUILDER.rows(part.leads, part.logs, every, moments).tobytes() == together.tobytes()


def test_nobody_asked_about_gives_no_rows() -> None:
    data, nobody = world(3).data(), np.zeros(0, np.int64)
    assert data.rows(BUILDER, nobody, nobody).shape == (0, len(BUILDER.columns))


# --- the two doors ---------------------------------------------------------------------------


def request_row(whole: World, data: Dataset, place: int, as_of: int) -> Floats:
    """The row of one lead from a request with its own and its teammates' events."""
    trial = data.trials.row(place, named=True)
    alone = Leads(
        [trial["user_id"]], [trial["account_id"]], np.zeros(1, np.int64), data.leads.started_at[place : place + 1],
        np.array([NEVER]), np.array([NEVER]), np.array([NEVER]),
        {name: TraitLog.constant([log.value(place, as_of)]) for name, log in data.leads.traits.items()},
    )  # fmt: skip
    told = list(happenings(whole, data, trial["user_id"], trial["account_id"]))
    np.random.default_rng(place).shuffle(told)
    logs = read_requests(told, alone.ids, BUILDER.vocabulary)
    return BUILDER.rows(alone, logs, np.zeros(1, np.int64), np.array([as_of]))


def happenings(whole: World, data: Dataset, user: str, account: str | None) -> Iterator[Happening]:
    home = dict(data.trials.select("user_id", "account_id").iter_rows())
    for row in whole.events.with_columns(at=pl.col("timestamp").cast(pl.Int64)).iter_rows(named=True):
        theirs = row["account_id"] or home.get(row["user_id"])
        if row["user_id"] == user or (account is not None and theirs == account):
            said = json.loads(row["properties"] or "{}")
            own = row["user_id"] == user
            yield Happening(0, row["user_id"], own, row["event"], row["at"], said, row["message_id"])
    for trial in data.trials.iter_rows(named=True):
        if trial["user_id"] == user or (account is not None and trial["account_id"] == account):
            for name, at in ((TRIAL_STARTED, trial["started_at"]), (CONVERTED, trial["converted_at"])):
                if at is not None:
                    moment = pl.Series([at]).dt.epoch("us")[0]
                    yield Happening(0, trial["user_id"], trial["user_id"] == user, name, moment, {})


@settings(max_examples=40, deadline=None)
@given(SEEDS, MOMENTS)
def test_a_request_gives_the_same_row_as_the_tables(seed: int, as_of: int) -> None:
    whole = world(seed)
    data = whole.data()
    table = rows(data, as_of)
    for place, lead in enumerate(data.leads.ids):
        found = request_row(whole, data, place, as_of)[0]
        np.testing.assert_allclose(found, np.frombuffer(table[lead]), rtol=1e-12, atol=1e-12)


def test_worlds_have_leads_that_act_in_accounts_that_are_not_theirs_facts_that_change_and_events_told_twice() -> None:
    # Without this the tests above would say little.
    wholes = [world(seed) for seed in range(5)]
    events = pl.concat(whole.events for whole in wholes)
    assert events["message_id"].is_duplicated().sum() > 50
    alone = [whole.trials.filter(pl.col("account_id").is_null())["user_id"].to_list() for whole in wholes]
    named = [whole.events.filter(pl.col("user_id").is_in(users), pl.col("account_id") == "A")
             for whole, users in zip(wholes, alone, strict=True)]  # fmt: skip
    assert sum(map(len, named)) > 20
    changed = [np.diff(whole.data().leads.traits["company_size"].offsets) > 1 for whole in wholes]
    assert np.concatenate(changed).mean() > 0.3


def test_leads_of_one_request_do_not_see_each_others_events() -> None:
    never, traits = np.full(2, NEVER), {trait.name: TraitLog.constant([None, None]) for trait in DEFINITION.traits}
    leads = Leads(["a", "b"], ["A", "A"], np.arange(2), np.full(2, ZERO), never, never, never, traits)
    done = Happening(0, "a", own=True, event="done", time=ZERO, properties={})
    logs = read_requests([done], leads.ids, BUILDER.vocabulary)
    matrix = BUILDER.rows(leads, logs, np.arange(2), np.full(2, ZERO + 1))
    names = [column.name for column in BUILDER.columns]
    assert matrix[:, names.index("work_count_1d")].tolist() == [1, 0]
    assert matrix[:, names.index("team_count_1d")].tolist() == [1, 0]


def test_a_request_without_events_gives_zeros_and_not_known() -> None:
    never, traits = np.array([NEVER]), {trait.name: TraitLog.constant([None]) for trait in DEFINITION.traits}
    leads = Leads(["a"], [None], np.zeros(1, np.int64), np.array([ZERO]), never, never, never, traits)
    nothing = read_requests([], leads.ids, BUILDER.vocabulary)
    row = BUILDER.rows(leads, nothing, np.zeros(1, np.int64), np.array([ZERO + DAY]))
    named = dict(zip([column.name for column in BUILDER.columns], row[0], strict=True))
    assert named.pop("trial_age_days") == 1
    absent = {how for how, spec in SPECS.items() if spec.absent is None}
    unknown = {column.name for column in BUILDER.columns if column.measure is not None and column.measure.how in absent}
    assert {"work_days_since_first", "work_mean_amount_7d", "team_lead_rank_1d", "team_days_to_reach_2"} <= unknown
    unknown |= {"company_size", "industry=retail", "industry=health", "email_is_business", "invited"}
    assert {name for name, number in named.items() if np.isnan(number)} == unknown
    assert {number for name, number in named.items() if name not in unknown} == {0.0}


# --- the rest --------------------------------------------------------------------------------


def test_rows_hold_traits_beside_behaviour() -> None:
    data = world(4).data()
    leads, moment = data.leads, ZERO + 25 * DAY
    matrix = data.rows(BUILDER, np.arange(8), np.full(8, moment))
    assert matrix.dtype == np.float64
    names = [column.name for column in BUILDER.columns]
    known = {name: [log.value(lead, moment) for lead in range(8)] for name, log in leads.traits.items()}
    sizes = [np.nan if size is None else size for size in known["company_size"]]
    assert len(set(sizes)) > 3
    np.testing.assert_array_equal(matrix[:, names.index("company_size")], np.array(sizes, np.float64))
    retail = [industry == "retail" for industry in known["industry"]]
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

"""Every measure, by way of tables and of requests, is what a slow reading of its written meaning says it is."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from math import nan
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import features.history
import features.roster
from features.dataset import dataset
from features.definition import Definition, Measure, parse
from features.leads import NEVER, Leads
from features.logs import Happening, read_requests
from features.matrix import FeatureBuilder
from features.measures import MEASURES, SPECS
from features.measures import parse as parse_written
from features.sources.source import Source
from features.spool import Spool
from features.times import INSTANT, micros, moment_of

HOUR = 3_600_000_000
DAY = 24 * HOUR
LENGTHS = {"1h": HOUR, "1d": DAY, "36h": 36 * HOUR, "7d": 7 * DAY, "14d": 14 * DAY, "trial": None}
NOON = micros(datetime(2024, 2, 29, 12, tzinfo=UTC))


@dataclass(frozen=True)
class Act:
    """One event as its sender tells it; `said` is its properties as JSON text."""

    user: str
    event: str
    at: int
    account: str | None = None
    said: str | None = None
    message: str | None = None
    arrived: int | None = None

    @property
    def known(self) -> int:
        return self.at if self.arrived is None else self.arrived

    def tells(self, name: str) -> Any:
        return json.loads(self.said or "{}").get(name)


@dataclass(frozen=True)
class Trial:
    user: str
    started: int
    account: str | None = None
    converted: int | None = None

    @property
    def home(self) -> tuple[str, str]:
        return ("user", self.user) if self.account is None else ("account", self.account)


@dataclass(frozen=True)
class World:
    acts: list[Act]
    trials: list[Trial]
    moments: list[int]


@dataclass(frozen=True)
class Lead:
    """One lead; its key is its id and the account that the answer names."""

    user: str
    account: str | None
    home: tuple[str, str]
    started: int


# --- definitions as plain data -----------------------------------------------------------------

Told = dict[str, Any]


def written(how: str, of: Sequence[str] = ("p", "q"), numbers: Sequence[int] = (1, 2, 4)) -> list[str]:
    """Every way to write a measure that these tests ask for."""
    if SPECS[how].brackets == "property":
        return [f"{how}({name})" for name in (*of, *(["user", "event"] if how == "distinct" else []))]
    return [f"{how}({n})" for n in numbers] if SPECS[how].brackets == "number" else [how]


def told(measures: Sequence[str], wheres: Sequence[Any] = (), **more: Any) -> Told:
    """A definition with a signal of either scope, and others beside them that read some of the same events."""
    # What is measured of accounts is measured of leads as well where they are accounts.
    as_account = more.get("lead") == "account"
    own = [text for text in measures if as_account or not SPECS[text.partition("(")[0]].account]
    first, second = (*wheres, {"p": "x"}, {"q": {"at_least": 1, "below": 2.5}})[:2]
    mine = ["act", {"event": "page", "where": first}]
    beside = ["other", {"event": "page", "where": second}]
    signals = [
        {"name": "mine", "events": mine, "measures": own, "direction": "free"},
        {"name": "beside", "events": beside, "measures": ["count"]},
        {"name": "team", "events": [*mine, "$trial_started"], "measures": [*measures], "scope": "account"},
        {"name": "around", "events": [*beside, "$converted"], "measures": ["count"], "scope": "account"},
    ]
    kept = [{"kind": "value", "text": "did", **signal} for signal in signals if signal["measures"]]
    return {
        "product": "P", "conversion": {"column": "converted_at", "horizon": "30d"}, "score_at": ["7d"],
        "windows": ["1d", "7d", "trial"], "cutoff": {"at_least": 0.3}, "signals": kept, **more,
    }  # fmt: skip


def read(definition: Told) -> Definition:
    return parse(json.dumps(definition))


EVERY = told([text for how in SPECS for text in written(how)])


# --- the reference: which events a signal sees ---------------------------------------------------


def number_in(value: object) -> float | None:
    """A property as a number: as one or as text, of at most 10^15 either way."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if -1e15 <= found <= 1e15 else None


def alike(value: object, wanted: object) -> bool:
    """Whether a property has a wanted value: numbers as numbers, all else as text; nothing has none."""
    if value is None:
        return False
    if number_in(value) is not None or number_in(wanted) is not None:
        return number_in(value) == number_in(wanted)
    one, other = (str(it).lower() if isinstance(it, bool) else str(it) for it in (value, wanted))
    return one == other


def passes(act: Act, match: str | Told) -> bool:
    """Whether an event is one of those that a signal names."""
    if isinstance(match, str):
        return act.event == match
    if act.event != match["event"]:
        return False
    for name, wanted in match["where"].items():
        value = act.tells(name)
        if isinstance(wanted, dict):
            size = number_in(value)
            if size is None or size < wanted.get("at_least", size) or size >= wanted.get("below", size + 1):
                return False
        elif not any(alike(value, one) for one in (wanted if isinstance(wanted, list) else [wanted])):
            return False
    return True


def belongs(act: Act, signal: Told) -> bool:
    return any(passes(act, match) for match in signal["events"])


def teams_of(act: Act, trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """The accounts an event counts for: the one it names, else its user's; and its user, where that has no account."""
    homes = [trial.home for trial in trials if trial.user == act.user]
    if act.account is None:
        return homes
    return [("account", act.account), *(home for home in homes if home[0] == "user")]


def once(acts: Sequence[Act], clock: str) -> list[Act]:
    """Each event once: the earliest copy, or by arrival the one that arrived first."""
    kept: dict[object, Act] = {}
    for act in sorted(acts, key=lambda act: (act.at, act.known) if clock == "timestamp" else (act.known, act.at)):
        row = (act.event, act.account, act.at, act.said)
        kept.setdefault((act.user, row if act.message is None else act.message), act)
    return list(kept.values())


def read_by_any(acts: Sequence[Act], definition: Told) -> list[Act]:
    """The events of a name that any signal reads; of the others nothing is kept at all."""
    names = {
        match if isinstance(match, str) else match["event"] for s in definition["signals"] for match in s["events"]
    }
    return [act for act in acts if act.event in names]


# --- the reference: what is measured of them ----------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """One measure over one window: what a signal sees before as_of, and what all signals of its scope see."""

    seen: list[Act]
    all_seen: list[Act]
    as_of: int
    started: int
    user: str
    of: str
    length: int | None
    lengths: list[int | None]

    def start(self, length: int | None) -> int:
        return self.started if length is None else self.as_of - length

    def within(self, acts: list[Act]) -> list[Act]:
        return [act for act in acts if self.start(self.length) <= act.at]

    @property
    def found(self) -> list[Act]:
        return self.within(self.seen)

    @property
    def before(self) -> list[Act]:
        """What lies in the window before this one."""
        assert self.length is not None
        return [act for act in self.seen if self.as_of - 2 * self.length <= act.at < self.as_of - self.length]

    @property
    def in_any_window(self) -> list[Act]:
        return [act for act in self.seen if any(self.start(length) <= act.at for length in self.lengths)]

    def days(self) -> set[int]:
        return {(self.as_of - act.at - 1) // DAY for act in self.found}


def values_in(acts: list[Act], name: str) -> list[Fraction]:
    return [Fraction(size) for act in acts if (size := number_in(act.tells(name))) is not None]


def different(ask: Ask) -> int:
    seen: list[object] = []
    for act in ask.found:
        value = {"user": act.user, "event": act.event}.get(ask.of) or act.tells(ask.of)
        # Python calls True and 1 equal; they are different values of a property.
        if value is not None and not any(
            one == value and isinstance(one, bool) == isinstance(value, bool) for one in seen
        ):
            seen.append(value)
    return len(seen)


def longest_run(days: set[int]) -> int:
    return max((sum(1 for day in days if all(n in days for n in range(first, day + 1)) and day >= first)
                for first in days), default=0)  # fmt: skip


def compared(recent: int, before: int) -> float:
    return (recent - before) / (recent + before) if recent + before else 0.0


def ratio(part: float, whole: float, otherwise: float = 0.0) -> float:
    return part / whole if whole else otherwise


def mean(ask: Ask) -> float:
    values = values_in(ask.found, ask.of)
    return float(sum(values)) / len(values) if values else nan


def days_to_reach(ask: Ask) -> float:
    times = sorted(act.at for act in ask.seen if act.at >= ask.started)
    n = int(ask.of)
    return (times[n - 1] - ask.started) / DAY if len(times) >= n else nan


def place(ask: Ask) -> float:
    how_often = Counter(act.user for act in ask.found)
    mine = how_often[ask.user]
    return 1.0 + sum(1 for often in how_often.values() if often > mine) if mine else nan


def days_since(ask: Ask, chosen: Callable[[list[int]], int]) -> float:
    ages = [ask.as_of - act.at for act in ask.in_any_window]
    return chosen(ages) / DAY if ages else nan


REFERENCE: dict[str, Callable[[Ask], float]] = {
    "count": lambda ask: len(ask.found),
    "sum": lambda ask: float(sum(values_in(ask.found, ask.of))),
    "mean": mean,
    "distinct": different,
    "active_days": lambda ask: len(ask.days()),
    "streak": lambda ask: longest_run(ask.days()),
    "per_active_day": lambda ask: ratio(len(ask.found), len(ask.days())),
    "share": lambda ask: ratio(len(ask.found), len(ask.within(ask.all_seen))),
    "trend": lambda ask: compared(len(ask.found), len(ask.before)),
    "reached": lambda ask: float(len(ask.found) >= int(ask.of)),
    "days_to_reach": days_to_reach,
    "days_since_first": lambda ask: days_since(ask, max),
    "days_since_last": lambda ask: days_since(ask, min),
    "user_growth": lambda ask: compared(len({act.user for act in ask.found}), len({act.user for act in ask.before})),
    "lead_share": lambda ask: ratio(sum(act.user == ask.user for act in ask.found), len(ask.found)),
    "lead_rank": place,
}
ONE_FOR_ALL_WINDOWS = ("days_to_reach", "days_since_first", "days_since_last")
FIXED_ONLY = ("trend", "user_growth")


def expected(definition: Told, lead: Lead, as_of: int, own: list[Act], everyone: list[Act]) -> dict[str, float]:
    """Every column of one lead at one moment."""
    row: dict[str, float] = {"trial_age_days": (as_of - lead.started) / DAY}
    clock = definition.get("clock", "timestamp")
    for signal in definition["signals"]:
        scope = signal.get("scope", "lead")
        logged = once(read_by_any(everyone if scope == "account" else own, definition), clock)
        past = [act for act in logged if act.at < as_of and (clock == "timestamp" or act.known < as_of)]
        mine = [act for act in past if belongs(act, signal)]
        rivals = [one for one in definition["signals"] if one.get("scope", "lead") == scope]
        every = [act for act in past if any(belongs(act, one) for one in rivals)]
        windows = {name: LENGTHS[name] for name in signal.get("windows", definition["windows"])}
        for text in signal["measures"]:
            how, _, of = text.removesuffix(")").partition("(")
            name = f"{signal['name']}_{how}" + (f"_{of}" if of else "")
            ask = Ask(mine, every, as_of, lead.started, lead.user, of, None, list(windows.values()))
            if how in ONE_FOR_ALL_WINDOWS:
                row[name] = REFERENCE[how](ask)
                continue
            for window, length in windows.items():
                if length is not None or how not in FIXED_ONLY:
                    row[f"{name}_{window}"] = float(REFERENCE[how](replace(ask, length=length)))
    return row


# --- the real paths ------------------------------------------------------------------------------

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Europe/Vienna")


def spelled(at: int | None, turn: int) -> str | None:
    """A moment as text, each time in another zone."""
    return None if at is None else moment_of(at).astimezone(ZoneInfo(ZONES[turn % len(ZONES)])).isoformat()


def events_table(acts: Sequence[Act]) -> pl.DataFrame:
    # Somebody else's event is always there, because a table without a row is refused.
    rows = [*acts, Act("nobody", "unread", NOON)]
    return pl.DataFrame(
        {
            "user_id": [act.user for act in rows],
            "account_id": [act.account for act in rows],
            "event": [act.event for act in rows],
            "timestamp": [spelled(act.at, turn) for turn, act in enumerate(rows)],
            "received_at": [spelled(act.arrived, turn + 1) for turn, act in enumerate(rows)],
            "message_id": [act.message for act in rows],
            "properties": [act.said for act in rows],
        },
        schema_overrides=dict.fromkeys(("account_id", "received_at", "message_id", "properties"), pl.String),
    )


def trials_table(trials: Sequence[Trial]) -> pl.DataFrame:
    table = {
        "user_id": [trial.user for trial in trials],
        "account_id": [trial.account for trial in trials],
        "started_at": [spelled(trial.started, len(trial.user)) for trial in trials],
        "converted_at": [spelled(trial.converted, 3) for trial in trials],
    }
    return pl.DataFrame(table, schema_overrides={"account_id": pl.String, "converted_at": pl.String})


Rows = dict[tuple[str, str | None, int], dict[str, float]]


def by_tables(world: World, definition: Told, clock: str | None = None, batch: int = 10_000) -> Rows:
    """Every lead's row at every moment."""
    meant = read(definition)
    table = events_table(world.acts)
    data = dataset(Source("events", lambda _: table.iter_slices(batch)), trials_table(world.trials), meant)
    builder = FeatureBuilder(meant, {})
    which = np.repeat(np.arange(len(data.leads)), len(world.moments))
    as_of = np.tile(np.array(world.moments, np.int64), len(data.leads))
    rows = data.rows(builder, which, as_of, clock)
    names = [column.name for column in builder.columns]
    return {
        (data.leads.ids[i], data.leads.account_ids[i], moment): dict(zip(names, map(float, row), strict=True))
        for i, moment, row in zip(which.tolist(), as_of.tolist(), rows, strict=True)
    }


def scored(trials: list[Trial], definition: Told) -> list[Trial]:
    """The trials that are not refused: as an account, a user must not be called like a real one."""
    names = {trial.account for trial in trials} if definition.get("lead") == "account" else set()
    return [trial for trial in trials if trial.account is not None or trial.user not in names]


def leads_of(world: World, definition: Told) -> list[Lead]:
    if definition.get("lead") != "account":
        return [Lead(trial.user, trial.account, trial.home, trial.started) for trial in world.trials]
    homes: dict[tuple[str, str], list[Trial]] = {}
    for trial in scored(world.trials, definition):
        homes.setdefault(trial.home, []).append(trial)
    return [Lead(home[1], found[0].account, home, min(trial.started for trial in found))
            for home, found in homes.items()]  # fmt: skip


def history_of(trials: Sequence[Trial]) -> list[Act]:
    """What a trials table tells of accounts."""
    began = [Act(trial.user, "$trial_started", trial.started, trial.account) for trial in trials]
    won = [Act(t.user, "$converted", t.converted, t.account) for t in trials if t.converted is not None]
    return began + won


def check_tables(world: World, definition: Told) -> None:
    rows = by_tables(world, definition)
    leads = leads_of(world, definition)
    assert len(rows) == len(leads) * len(set(world.moments))
    for lead in leads:
        told_of = world.acts + history_of(scored(world.trials, definition))
        everyone = [act for act in told_of if lead.home in teams_of(act, world.trials)]
        own = [act for act in world.acts if act.user == lead.user]
        own = everyone if definition.get("lead") == "account" else own
        for as_of in world.moments:
            wanted = expected(definition, lead, as_of, own, everyone)
            np.testing.assert_equal(rows[lead.user, lead.account, as_of], wanted, f"{lead} at {as_of}")


def by_requests(leads: Sequence[tuple[Lead, list[Act]]], definition: Told, as_of: int) -> list[dict[str, float]]:
    """The rows of leads that are all in one request, each with the events that are sent with it."""
    builder = FeatureBuilder(read(definition), {})
    sent = [
        Happening(i, act.user, act.user == lead.user, act.event, act.at, json.loads(act.said or "{}"), act.message)
        for i, (lead, acts) in enumerate(leads)
        for act in acts
    ]
    n = len(leads)
    never, ids = np.full(n, NEVER), [lead.user for lead, _ in leads]
    started = np.array([lead.started for lead, _ in leads], np.int64)
    found = Leads(ids, [lead.account for lead, _ in leads], np.arange(n), started, never, never, never, {})
    rows = builder.rows(found, read_requests(sent, ids, builder.vocabulary), np.arange(n), np.full(n, as_of))
    return [dict(zip([c.name for c in builder.columns], map(float, row), strict=True)) for row in rows]


def check_requests(world: World, definition: Told) -> None:
    # A request tells neither which account an event named nor when it arrived.
    plain = [replace(act, account=None, arrived=None) for act in world.acts + history_of(world.trials)]
    for as_of in world.moments:
        asked = [(lead, plain if n % 2 else [act for act in plain if act.user == lead.user])
                 for n, lead in enumerate(leads_of(world, definition))]  # fmt: skip
        for (lead, acts), row in zip(asked, by_requests(asked, definition, as_of), strict=True):
            own = [act for act in acts if act.user == lead.user]
            np.testing.assert_equal(row, expected(definition, lead, as_of, own, acts), f"{lead} at {as_of}")


# --- adversarial timelines -----------------------------------------------------------------------

ZEROS = [
    NOON, NOON + 12 * HOUR,
    micros(datetime(2024, 3, 1, tzinfo=UTC)), micros(datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    # Clocks changed in New York and in Vienna.
    micros(datetime(2024, 3, 10, 7, tzinfo=UTC)), micros(datetime(2024, 10, 27, 1, tzinfo=UTC)),
]  # fmt: skip
EDGES = [0, HOUR, 2 * HOUR, DAY, 36 * HOUR, 2 * DAY, 3 * DAY, 4 * DAY, 7 * DAY, 14 * DAY, 28 * DAY]
AGES = st.builds(int.__add__, st.sampled_from(EDGES), st.sampled_from([-1, 0, 0, 1])) | st.integers(-DAY, 30 * DAY)
# Quarters add up without rounding, so that the order of addition cannot hide a mistake.
VALUES = st.integers(-40, 40).map(lambda n: n / 4) | st.sampled_from([
    "2.5", "-3", " 4 ", "1e2", "many", "", "NaN", "inf", "1e300", 10**16, 10**400, True, "true", False, None, 0, 0.0, "x",
    "X", 1, 1.0, "1", "1.0", 2**60, 2**60 + 1, [1], {"a": 1},
])  # fmt: skip
SAID = st.none() | st.fixed_dictionaries(
    {}, optional={"p": VALUES, "q": VALUES, "r": st.just([])}
).map(lambda said: json.dumps(said) if said else None)  # fmt: skip
LEADS = ["u1", "u2", "u3", "A"]
WHERES = st.sampled_from([
    {"p": "x"}, {"p": ["x", 1]}, {"p": True}, {"p": [0, "many"]}, {"p": [1, "X"], "q": {"at_least": 0}}, {},
    {"q": {"at_least": 1, "below": 2.5}}, {"q": {"below": 0}}, {"q": {"at_least": 1}}, {"q": {"below": 1}, "p": [1, 4]},
])  # fmt: skip
WINDOWS = st.lists(st.sampled_from(list(LENGTHS)), min_size=1, max_size=4, unique=True)
KNOWN_LATE = st.none() | st.sampled_from([-300_000_000, -1, 0, 1, HOUR, DAY, 8 * DAY]) | st.integers(0, 9 * DAY)


@st.composite
def worlds(draw: st.DrawFn, most: int = 14, late: bool = True) -> World:
    zero = draw(st.sampled_from(ZEROS))
    accounts = st.sampled_from([None, None, "A", "B"])
    trials = []
    for user in draw(st.lists(st.sampled_from(LEADS), min_size=1, max_size=4, unique=True)):
        started = zero - draw(AGES)
        won = draw(st.none() | st.integers(0, 10 * DAY) | st.just(7 * DAY))
        trials.append(Trial(user, started, draw(accounts), None if won is None else started + won))
    instants = [zero - age for age in draw(st.lists(AGES, min_size=1, max_size=5))]
    instants += [trial.started + wobble for trial in trials for wobble in (-1, 0, 1)]
    times = st.sampled_from(instants) | AGES.map(lambda age: zero - age)
    acts = []
    for number in range(draw(st.integers(0, most))):
        user, event = draw(st.sampled_from([*LEADS, "stranger"])), draw(st.sampled_from(EVENTS))
        at, delay = draw(times), draw(KNOWN_LATE) if late else None
        message = f"m{number}" if draw(st.booleans()) else None
        named = draw(accounts | st.just("Z"))
        acts.append(Act(user, event, at, named, draw(SAID), message, None if delay is None else at + delay))
    acts += draw(st.lists(repetitions(acts, late), max_size=5)) if acts else []
    known = [act.known for act in acts]
    moments = st.sampled_from([zero, *instants, *known, *(time + 1 for time in known)]) | AGES.map(
        lambda age: zero - age
    )
    return World(told_apart(acts), trials, draw(st.lists(moments, min_size=1, max_size=4, unique=True)))


EVENTS = ["act", "act", "page", "page", "other", "unread"]


def repetitions(acts: list[Act], late: bool) -> st.SearchStrategy[Act]:
    """An event sent again: as it was, later, as having happened at another time, or under another name."""
    shifts = st.sampled_from([0, 0, 1, -1, DAY, -DAY])

    def again(act: Act, shift: int, delay: int | None, other: Act) -> Act:
        at = act.at + shift
        changed = replace(act, at=at, arrived=at + delay if late and delay is not None else None)
        return changed if shift == 0 else replace(changed, said=other.said, event=other.event)

    return st.builds(again, st.sampled_from(acts), shifts, KNOWN_LATE, st.sampled_from(acts))


def told_apart(acts: list[Act]) -> list[Act]:
    """Leave out copies of a message that say something else at the very same time: nothing tells which one is right."""
    first: dict[object, Act] = {}
    return [
        act for act in acts
        if act.message is None or first.setdefault((act.user, act.message, act.at, act.known), act) == act
    ]  # fmt: skip


FEW = settings(max_examples=24, deadline=None)


@pytest.mark.parametrize("how", MEASURES)
@FEW
@given(worlds(), st.data())
def test_a_measure_is_what_its_meaning_says(how: str, world: World, data: st.DataObject) -> None:
    definition = told(
        written(how), data.draw(st.tuples(WHERES, WHERES)), windows=data.draw(windows_for(how)),
        clock=data.draw(st.sampled_from(["timestamp", "received_at"])), lead=data.draw(leads_for(how)),
    )  # fmt: skip
    check_tables(world, definition)


@pytest.mark.parametrize("how", MEASURES)
@FEW
@given(worlds(late=False), st.data())
def test_a_request_gives_each_measure_as_its_meaning_says(how: str, world: World, data: st.DataObject) -> None:
    wheres = data.draw(st.tuples(WHERES, WHERES))
    check_requests(world, told(written(how), wheres, windows=data.draw(windows_for(how))))


def windows_for(how: str) -> st.SearchStrategy[list[str]]:
    return WINDOWS.filter(lambda names: names != ["trial"]) if SPECS[how].fixed else WINDOWS


def leads_for(how: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["user", "user", "account"]) if how not in ("lead_share", "lead_rank") else st.just("user")


@settings(max_examples=60, deadline=None)
@given(worlds(most=20))
@example(World([], [Trial("u1", NOON - DAY)], [NOON]))
@example(World([Act("u1", "act", NOON - 1, None, '{"p": "1"}')], [Trial("u1", NOON)], [NOON, NOON - DAY]))
def test_all_measures_side_by_side_are_what_their_meanings_say(world: World) -> None:
    check_tables(world, EVERY)


def test_every_measure_has_a_reference_and_a_column_in_these_tests() -> None:
    assert set(REFERENCE) == set(SPECS) == set(MEASURES)
    columns = FeatureBuilder(read(EVERY), {}).columns
    assert {column.measure.how for column in columns if column.measure} == set(SPECS)


def test_thousands_of_events_at_one_instant_are_what_their_meanings_say() -> None:
    at = NOON - 7 * DAY
    acts = [Act(LEADS[n % 3], "act", at, None, json.dumps({"p": n / 4, "q": n % 7}), f"m{n}") for n in range(2_500)]
    trials = [Trial("u1", at, "A"), Trial("u2", NOON, "A", NOON), Trial("u3", at + 1)]
    check_tables(World(acts, trials, [at, at + 1, NOON, NOON + 1]), EVERY)


# --- what must not matter ------------------------------------------------------------------------


def same(one: Rows, other: Rows) -> None:
    """Fail unless the rows of the first are also those of the second, to the bit."""
    assert one.keys() <= other.keys()
    for key, row in one.items():
        assert np.array(list(row.values())).tobytes() == np.array(list(other[key].values())).tobytes(), key


CLOCKS = st.sampled_from(["timestamp", "received_at"])
SOME = settings(max_examples=25, deadline=None)


@SOME
@given(worlds(), CLOCKS, st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(world: World, clock: str, random: Any) -> None:
    acts, trials = list(world.acts), list(world.trials)
    random.shuffle(acts)
    random.shuffle(trials)
    shuffled = replace(world, acts=acts, trials=trials)
    same(by_tables(world, EVERY, clock), by_tables(shuffled, EVERY, clock))


@SOME
@given(worlds(), st.randoms(use_true_random=False))
def test_sums_have_the_same_bits_in_any_order(world: World, random: Any) -> None:
    # Tenths do not add up exactly, and the large ones swallow the small: in another order there are other bits.
    rough = [0.1, 0.2, 0.3, 9e14, -9e14, 1e-9, 7.7]
    acts = [replace(act, said=json.dumps({"p": random.choice(rough)}), message=None) for act in world.acts]
    straight = by_tables(replace(world, acts=acts), EVERY)
    same(straight, by_tables(replace(world, acts=acts[::-1]), EVERY, batch=3))


@SOME
@given(worlds(), CLOCKS, st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3, 100]))
def test_how_leads_are_put_in_parts_and_events_in_batches_never_matters(
    world: World, clock: str, leads: int, batch: int
) -> None:
    whole = by_tables(world, EVERY, clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features.roster, "PART_LEADS", leads)
        patch.setattr(features.history, "Spool", partial(Spool, budget=1))
        same(whole, by_tables(world, EVERY, clock, batch))


def test_the_parts_of_these_tests_are_many_and_lie_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without this the test above would pass on one part in memory.
    monkeypatch.setattr(features.roster, "PART_LEADS", 1)
    monkeypatch.setattr(features.history, "Spool", partial(Spool, budget=1))
    trials = [Trial(user, NOON) for user in LEADS]
    data = dataset(events_table([Act("u1", "act", NOON)]), trials_table(trials), read(EVERY))
    assert len(list(data.parts())) == 4
    assert data.history.own._file is not None
    assert data.history.everyone._file is not None


@SOME
@given(worlds(), CLOCKS, worlds())
def test_what_happens_at_or_after_as_of_never_changes_a_row(world: World, clock: str, more: World) -> None:
    as_of = max(world.moments)
    later = [replace(act, at=as_of + abs(act.at - as_of), message=None, arrived=None) for act in more.acts]
    at_once = replace(world, moments=[as_of])
    same(by_tables(at_once, EVERY, clock), by_tables(replace(at_once, acts=world.acts + later), EVERY, clock))


@SOME
@given(worlds(), worlds())
def test_what_arrives_at_or_after_as_of_never_changes_a_row_where_arrival_counts(world: World, more: World) -> None:
    as_of = max(world.moments)
    late = [replace(act, at=min(act.at, as_of), arrived=as_of + abs(act.at - as_of), message=None) for act in more.acts]
    # A row that is there already and is told again later on stays what it was.
    at_once = replace(world, moments=[as_of])
    with_late = replace(at_once, acts=late + world.acts)
    same(by_tables(at_once, EVERY, "received_at"), by_tables(with_late, EVERY, "received_at"))


@SOME
@given(worlds(), CLOCKS, worlds())
def test_other_peoples_trials_and_events_never_change_a_row(world: World, clock: str, more: World) -> None:
    def far(name: str | None) -> str | None:
        return None if name is None else f"far {name}"

    acts = [replace(act, user=f"far {act.user}", account=far(act.account)) for act in more.acts]
    trials = [replace(trial, user=f"far {trial.user}", account=far(trial.account)) for trial in more.trials]
    crowd = replace(world, acts=acts + world.acts, trials=trials + world.trials)
    same(by_tables(world, EVERY, clock), by_tables(crowd, EVERY, clock))


@SOME
@given(worlds(), CLOCKS)
def test_rows_that_are_all_there_twice_change_nothing(world: World, clock: str) -> None:
    twice = replace(world, acts=world.acts + world.acts[::-1], trials=world.trials + world.trials)
    same(by_tables(world, EVERY, clock), by_tables(twice, EVERY, clock))


def test_a_past_event_does_change_every_measure() -> None:
    # Without this the tests above would pass on rows of zeros.
    said = json.dumps({"p": 2, "q": 3})
    trials = [Trial("u1", NOON - 9 * DAY, "A")]
    acts = [Act("u1", "act", NOON - age, None, said, f"m{age}") for age in (1, DAY, 3 * DAY, 8 * DAY)]
    acts += [Act("u2", "act", NOON - 1, "A", said, f"n{n}") for n in range(9)]
    nothing, something = (by_tables(World(found, trials, [NOON]), EVERY) for found in ([], acts))
    row, other = (found["u1", "A", NOON] for found in (nothing, something))
    changed = {name for name in row if repr(row[name]) != repr(other[name])}
    of = {column.name: column.measure for column in FeatureBuilder(read(EVERY), {}).columns}
    assert {measure.how for name in changed if (measure := of[name])} == set(SPECS)


# --- one edge each -------------------------------------------------------------------------------


def team_row(measures: Sequence[str], acts: Sequence[Act], trials: Sequence[Trial] = ()) -> dict[str, float]:
    """The columns of the account signal of u1, who is in account A, at noon; only what u1 and u2 `act` is counted."""
    definition = told(measures, windows=["7d"])
    definition["signals"][-2]["events"] = ["act"]
    world = World(list(acts), [Trial("u1", NOON - 7 * DAY, "A"), *trials], [NOON])
    return {
        name.removeprefix("team_"): value
        for name, value in by_tables(world, definition)["u1", "A", NOON].items()
        if name.startswith("team_")
    }


def done(user: str, *ages: int, account: str | None = "A") -> list[Act]:
    return [Act(user, "act", NOON - age, account, None, f"{user} {n}") for n, age in enumerate(ages)]


def test_places_are_shared_by_those_who_did_it_equally_often() -> None:
    mates = done("u2", 1, 2) + done("u3", 1, 2) + done("u4", 1, 2, 3)
    assert team_row(["lead_rank"], done("u1", 1, 2) + mates) == {"lead_rank_7d": 2}
    assert team_row(["lead_rank"], done("u1", 1) + mates) == {"lead_rank_7d": 4}
    assert team_row(["lead_rank"], done("u1", 1, 2, 3, 4) + mates) == {"lead_rank_7d": 1}


def test_who_did_nothing_in_the_window_has_no_place_and_no_share() -> None:
    idle = team_row(["lead_rank", "lead_share"], done("u1", 7 * DAY + 1) + done("u2", 1))
    np.testing.assert_equal(idle, {"lead_rank_7d": nan, "lead_share_7d": 0.0})
    np.testing.assert_equal(team_row(["lead_rank", "lead_share"], []), {"lead_rank_7d": nan, "lead_share_7d": 0.0})


def test_a_share_in_the_account_is_of_what_counts_for_the_account() -> None:
    abroad = done("u1", 5, account="B")
    assert team_row(["lead_share"], abroad + done("u1", 1)[:1]) == {"lead_share_7d": 1}
    assert team_row(["lead_share"], done("u1", 1) + done("u2", 1, 2, 3)) == {"lead_share_7d": 0.25}


def test_growth_in_people_counts_each_once_in_either_window() -> None:
    stayed, gone, came = done("u1", 1, 2, 8 * DAY, 9 * DAY), done("u2", 8 * DAY), done("u3", 1, 2, 3)
    assert team_row(["user_growth"], stayed + gone + came) == {"user_growth_7d": 0}
    assert team_row(["user_growth"], stayed + came) == {"user_growth_7d": 1 / 3}
    assert team_row(["user_growth"], gone) == {"user_growth_7d": -1}
    assert team_row(["user_growth"], came) == {"user_growth_7d": 1}
    assert team_row(["user_growth"], []) == {"user_growth_7d": 0}


def test_growth_in_people_is_cut_to_the_microsecond() -> None:
    assert team_row(["user_growth"], done("u1", 7 * DAY)) == {"user_growth_7d": 1}
    assert team_row(["user_growth"], done("u1", 7 * DAY + 1)) == {"user_growth_7d": -1}
    assert team_row(["user_growth"], done("u1", 14 * DAY)) == {"user_growth_7d": -1}
    assert team_row(["user_growth"], done("u1", 14 * DAY + 1)) == {"user_growth_7d": 0}
    assert team_row(["user_growth"], done("u1", 0)) == {"user_growth_7d": 0}


def lead_row(
    measures: Sequence[str], acts: Sequence[Act], clock: str = "timestamp", batch: int = 10_000
) -> dict[str, float]:
    """The columns of the lead signal of u1, who has no account, at noon."""
    world = World(list(acts), [Trial("u1", NOON - 7 * DAY), Trial("u2", NOON - 7 * DAY)], [NOON])
    definition = told(measures, windows=["7d"], clock=clock)
    return {
        name.removeprefix("mine_"): value
        for name, value in by_tables(world, definition, batch=batch)["u1", None, NOON].items()
        if name.startswith("mine_")
    }


def test_numbers_of_more_than_ten_to_the_fifteenth_are_no_numbers() -> None:
    said = [10**15, -(10**15), "1e15", 10**15 + 1, "1000000000000001", -1.1e15, 5]
    acts = [Act("u1", "act", NOON - 1, None, json.dumps({"p": size}), f"m{n}") for n, size in enumerate(said)]
    assert lead_row(["sum(p)", "mean(p)"], acts) == {"sum_p_7d": 1e15 + 5, "mean_p_7d": (1e15 + 5) / 4}


@pytest.mark.parametrize(("clock", "counts"), [("timestamp", 2), ("received_at", 1)])
def test_a_message_counts_as_the_earliest_or_by_arrival_as_it_arrived_first(clock: str, counts: int) -> None:
    first = Act("u1", "act", NOON - 5, None, '{"p": 1}', "m", NOON - 3)
    second = Act("u1", "act", NOON - 6, None, '{"p": 2}', "m", NOON - 2)
    for acts in ([first, second], [second, first]):
        assert lead_row(["sum(p)", "count"], acts, clock=clock) == {"sum_p_7d": counts, "count_7d": 1}


def test_a_message_that_arrived_twice_at_once_counts_as_it_happened_first() -> None:
    first = Act("u1", "act", NOON - 6, None, '{"p": 1}', "m", NOON - 3)
    second = Act("u1", "act", NOON - 5, None, '{"p": 2}', "m", NOON - 3)
    for acts in ([first, second], [second, first]):
        assert lead_row(["sum(p)", "count"], acts) == {"sum_p_7d": 1, "count_7d": 1}


def test_a_message_said_by_two_users_counts_for_both() -> None:
    acts = [Act("u1", "act", NOON - 1, "A", None, "m"), Act("u2", "act", NOON - 1, "A", None, "m")]
    assert lead_row(["count"], acts) == {"count_7d": 1}
    assert team_row(["count"], acts) == {"count_7d": 2}


def test_a_blank_message_id_is_none() -> None:
    acts = [Act("u1", "act", NOON - age, None, None, blank) for age, blank in ((1, ""), (2, ""), (3, "  "))]
    assert lead_row(["count"], acts) == {"count_7d": 3}


def test_what_had_not_arrived_before_as_of_is_unknown_only_where_arrival_counts() -> None:
    for arrived, known in ((NOON - 1, 1), (NOON, 0), (NOON + DAY, 0), (None, 1)):
        acts = [Act("u1", "act", NOON - HOUR, None, None, "m", arrived)]
        assert lead_row(["count"], acts, "received_at") == {"count_7d": known}
        assert lead_row(["count"], acts, "timestamp") == {"count_7d": 1}


def test_the_clock_of_one_question_goes_before_the_definitions() -> None:
    late = World([Act("u1", "act", NOON - HOUR, None, None, "m", NOON)], [Trial("u1", NOON - DAY)], [NOON])
    for said in ("timestamp", "received_at"):
        for clock, known in (("timestamp", 1), ("received_at", 0)):
            definition = told(["count"], clock=said)
            assert by_tables(late, definition, clock)["u1", None, NOON]["mine_count_1d"] == known


def test_identical_rows_in_different_batches_count_once() -> None:
    # The first batch also names an account, which the second does not.
    row = Act("u1", "act", NOON - 1, None, '{"p": 1}')
    acts = [row, Act("u2", "act", NOON - 1, "A", '{"p": 2}'), row]
    assert lead_row(["count"], acts, batch=2) == lead_row(["count"], acts) == {"count_7d": 1}


def test_a_message_that_says_two_things_at_once_is_read_alike_in_any_order() -> None:
    acts = [
        Act("u1", "act", NOON - 1, None, '{"p": "x"}', "m"),
        Act("u1", "act", NOON - 1, None, '{"p": "y"}', "m"),
        Act("u1", "act", NOON - 1, None, '{"p": "x"}', "n"),
    ]
    assert lead_row(["distinct(p)"], acts) == lead_row(["distinct(p)"], acts[::-1])


@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("name", ["user", "event"])
def test_a_property_may_be_called_user_or_event(how: str, name: str) -> None:
    acts = [Act("u1", "act", NOON - 1, None, json.dumps({name: 3}), "m")]
    assert lead_row([f"{how}({name})"], acts) == {f"{how}_{name}_7d": 3}
    lead = Lead("u1", None, ("user", "u1"), NOON - DAY)
    assert by_requests([(lead, acts)], told([f"{how}({name})"]), NOON)[0][f"mine_{how}_{name}_1d"] == 3


def test_breadth_is_how_many_events_of_the_signal_were_done_whatever_they_say_of_an_event() -> None:
    said = ['{"event": "a"}', '{"event": "b", "p": "x"}']
    acts = [Act("u1", event, NOON - 1 - n, None, text) for event in ("act", "page") for n, text in enumerate(said)]
    alone = Lead("u1", None, ("user", "u1"), NOON - DAY)
    definition = told(["distinct(event)"])
    for done, breadth in ((acts[:2], 1), (acts[:3], 1), (acts, 2), ([Act("u1", "other", NOON - 1)], 0)):
        # Only pages of which p is x are the signal's.
        rows = by_tables(World(done, [Trial("u1", NOON - DAY)], [NOON]), definition)
        assert rows["u1", None, NOON]["mine_distinct_event_1d"] == breadth
        assert by_requests([(alone, done)], definition, NOON)[0]["mine_distinct_event_1d"] == breadth


# --- the table of measures -----------------------------------------------------------------------


@pytest.mark.parametrize("how", MEASURES)
def test_a_measure_is_read_as_it_is_written(how: str) -> None:
    for text in written(how):
        name, of = parse_written(text)
        assert name == how
        assert text == (how if of is None else f"{how}({of})")


@pytest.mark.parametrize(
    ("text", "must"),
    [
        ("median", "must be one of count, sum(...), mean(...), distinct(...), active_days"),
        ("sum", "sum needs a property in brackets"),
        ("mean", "mean needs a property in brackets"),
        ("reached", "reached needs a number in brackets"),
        ("days_to_reach", "days_to_reach needs a number in brackets"),
        ("lead_rank(3)", "lead_rank takes no brackets"),
        ("days_to_reach(0)", "days_to_reach(n) needs a whole number from 1"),
        ("reached(1.5)", "reached(n) needs a whole number from 1"),
        ("reached(1234567890)", "reached(n) needs a whole number from 1"),
        ("Count", "must be one of"),
        ("sum()", "must be one of"),
        ("", "must be one of"),
        (None, "must be one of"),
        (7, "must be one of"),
    ],
)
def test_what_is_no_measure_is_told_what_it_must_be(text: object, must: str) -> None:
    with pytest.raises(ValueError, match="^" + must.replace("(", r"\(").replace(")", r"\)")):
        parse_written(text)


@pytest.mark.parametrize("how", MEASURES)
def test_a_measure_says_its_meaning_and_its_sentence_with_facts_that_are_there(how: str) -> None:
    spec = SPECS[how]
    assert ("{of}" in spec.meaning) == (spec.brackets is not None)
    assert ("{window}" in spec.sentence) == spec.windowed
    assert "{signal}" in spec.sentence
    assert ("{value" in spec.sentence) == (how != "reached")


def test_only_what_lessens_with_more_of_it_is_never_where_it_is_not_known() -> None:
    never = {how for how, spec in SPECS.items() if spec.never}
    assert never == {"days_to_reach", "days_since_first", "days_since_last", "lead_rank"}


def test_the_columns_of_a_lead_that_did_nothing_hold_what_the_table_says() -> None:
    world = World([], [Trial("u1", NOON - DAY)], [NOON])
    definition = told([text for how in SPECS for text in written(how)])
    definition["signals"][2]["events"] = ["act"]
    row = by_tables(world, definition)["u1", None, NOON]
    for column in FeatureBuilder(read(definition), {}).columns:
        if column.measure is not None:
            absent = column.measure.spec.absent
            np.testing.assert_equal(row[column.name], nan if absent is None else absent)


def test_a_measure_knows_its_row_of_the_table() -> None:
    assert Measure(how="lead_rank").spec is SPECS["lead_rank"]


def test_times_of_the_tests_are_what_the_tables_say() -> None:
    # The texts that the tests write are read back as the very instants, in every zone.
    for turn in range(len(ZONES)):
        text = pl.Series([spelled(NOON + 1, turn)])
        read_back = text.str.to_datetime("%+", time_unit="us", time_zone="UTC").cast(INSTANT)
        assert read_back.dt.epoch("us").to_list() == [NOON + 1]

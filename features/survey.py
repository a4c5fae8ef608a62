"""What the events of a whole history tell beside the windows: firsts, facts about leads, the end of the data, delays.

Takes batches in any order and keeps only sums, firsts and trait changes, never the events themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import polars as pl

from features.definition import Definition
from features.durations import DAY
from features.times import INSTANT
from features.windows import Ints, days_of

IDENTIFY, GROUP = "$identify", "$group"
"""Events whose properties are facts about the user, or about the account that the event names."""

STRAY_DAYS, STRAY_SHARE = 7, 1e-4
"""A tail of at most 1 in 10,000 events that begins more than 7 days after all others is broken clocks, not history."""

DELAYS = (("a minute", 60), ("an hour", 3_600), ("a day", 86_400), ("a week", 604_800))
"""How late events are counted as, in words and seconds."""

_FACTS: dict[str, type[pl.DataType]] = {"id": pl.String, "since": pl.Int64, "arrived": pl.Int64, "value": pl.String}
_TIMES: dict[str, pl.DataType | type[pl.DataType]] = {"user_id": pl.String, "at": INSTANT}


@dataclass(frozen=True)
class Wanted:
    """What a survey looks for.

    Attributes
    ----------
    times : events whose times per user are wanted, by a name of their own; None stands for the first of any event
    sources : names of facts that are read off `$identify` and `$group` events
    accounts : whether the first account of each user is wanted
    """

    times: Mapping[str, tuple[str, ...] | None]
    sources: frozenset[str]
    accounts: bool = False


def wanted(definition: Definition, columns: Iterable[str] | None) -> Wanted:
    """Return what a definition needs of the events beside a trials table with these columns (None: no table)."""
    there = frozenset(columns or ())
    times: dict[str, tuple[str, ...] | None] = {}
    if columns is None:
        start = definition.trial.start_event
        times["started_at"] = None if start is None else (start,)
    ends = {"converted_at": definition.conversion.event, "closed_at": definition.trial.closed_by}
    given = {"converted_at": definition.conversion.column in there or "converted_at" in there}
    for name, happened in ends.items():
        names = (happened,) if isinstance(happened, str) else happened or ()
        if names and not given.get(name, name in there):
            times[name] = names
    return Wanted(times, frozenset(trait.source for trait in definition.traits), columns is None)


@dataclass
class Survey:
    """Grows batch by batch."""

    wanted: Wanted
    events: int = 0
    with_arrival: int = 0
    late: Counter[str] = field(default_factory=Counter)
    _days: Counter[int] = field(default_factory=Counter)
    _last_of_day: dict[int, int] = field(default_factory=dict)
    _times: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    _accounts: list[pl.DataFrame] = field(default_factory=list)
    _facts: dict[tuple[str, str], list[pl.DataFrame]] = field(default_factory=dict)

    def add(self, batch: pl.DataFrame) -> None:
        """Look at one batch of canonical events."""
        if not len(batch):
            return
        self.events += len(batch)
        self._note_days(batch["timestamp"].dt.epoch("us").to_numpy())
        self._note_delays(batch)
        for name, events in self.wanted.times.items():
            # A vendor's group call may come from a server, in the name of nobody.
            begun = pl.col("event") != GROUP if events is None else pl.col("event").is_in(events)
            happened = batch.filter(begun)
            found = happened.select("user_id", at="timestamp")
            found = found.group_by("user_id").agg(pl.col("at").min()) if name == "started_at" else found.unique()
            self._times.setdefault(name, []).append(found)
        if self.wanted.accounts:
            known = batch.filter(pl.col("account_id").is_not_null())
            self._accounts.append(_first_accounts(known.select("user_id", "account_id", at="timestamp")))
        if self.wanted.sources:
            self._note_facts(batch)

    def _note_days(self, times: Ints) -> None:
        for day, count, last in days_of(times):
            self._days[day] += count
            self._last_of_day[day] = max(self._last_of_day.get(day, last), last)

    def _note_delays(self, batch: pl.DataFrame) -> None:
        arrived = batch["received_at"].drop_nulls()
        if not len(arrived):
            return
        self.with_arrival += len(arrived)
        delays = batch.select(
            (pl.col("received_at").dt.epoch("us") - pl.col("timestamp").dt.epoch("us")).drop_nulls().alias("delay")
        )["delay"]
        for words, seconds in DELAYS:
            self.late[words] += int((delays > seconds * 1_000_000).sum())

    def _note_facts(self, batch: pl.DataFrame) -> None:
        """Read the facts off `$identify` events, by user, and off `$group` events, by account."""
        for event, key in ((IDENTIFY, "user_id"), (GROUP, "account_id")):
            told = batch.filter(
                (pl.col("event") == event) & pl.col(key).is_not_null() & pl.col("properties").is_not_null()
            )
            found: dict[str, list[tuple[str, int, int, str]]] = {}
            since = told["timestamp"].dt.epoch("us")
            arrived = told["received_at"].dt.epoch("us").fill_null(since) if len(told) else since
            for who, at, known, text in zip(told[key], since, arrived, told["properties"], strict=True):
                for source, value in _members(text).items():
                    if source in self.wanted.sources:
                        found.setdefault(source, []).append((who, at, known, value))
            for source, rows in found.items():
                frame = pl.DataFrame(rows, schema=_FACTS, orient="row")
                self._facts.setdefault((key, source), []).append(frame)

    def end(self) -> int | None:
        """Return the last moment that events tell of, in microseconds since 1970 UTC, None where there were none.

        A stray tail (see STRAY_SHARE) does not count: one broken clock would make young trials look mature.
        """
        days = sorted(self._days)
        kept, stray = len(days), 0
        for k in range(len(days) - 1, 0, -1):
            stray += self._days[days[k]]
            if stray > STRAY_SHARE * self.events:
                break
            if days[k] - days[k - 1] > STRAY_DAYS:
                kept = k
        return max((self._last_of_day[day] for day in days[:kept]), default=None)

    def after(self, moment: int) -> int:
        """Return how many events lie on days after a moment's day."""
        return sum(count for day, count in self._days.items() if day > moment // DAY)

    def times(self, name: str) -> pl.DataFrame:
        """Return when users did what `wanted.times` calls by this name: columns user_id and at."""
        found = self._times.get(name, [])
        return pl.concat(found) if found else pl.DataFrame(schema=_TIMES)

    def first(self, name: str) -> pl.DataFrame:
        """Return when each user first did it, the earliest first: columns user_id and at."""
        return self.times(name).group_by("user_id").agg(pl.col("at").min()).sort("at", "user_id")

    def first_accounts(self) -> pl.DataFrame:
        """Return the first account that each user's events named: columns user_id and account_id."""
        if not self._accounts:
            return pl.DataFrame(schema={"user_id": pl.String, "account_id": pl.String})
        return _first_accounts(pl.concat(self._accounts)).select("user_id", "account_id")

    def facts(self, key: str, source: str) -> pl.DataFrame:
        """Return what was told of a source by `user_id` or `account_id`: columns id, since, arrived, value (JSON)."""
        found = self._facts.get((key, source), [])
        return pl.concat(found) if found else pl.DataFrame(schema=_FACTS)

    def knows(self, source: str) -> bool:
        """Whether any event told of a source."""
        return any((key, source) in self._facts for key in ("user_id", "account_id"))


def _first_accounts(known: pl.DataFrame) -> pl.DataFrame:
    return known.sort("at", "account_id").unique("user_id", keep="first", maintain_order=True)


def _members(text: str) -> dict[str, str]:
    """Return the members of a JSON object, their values as JSON; none where the text is no object."""
    try:
        members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return {}
    return {name: bytes(value).decode() for name, value in members.items() if _is_json(value)}


def _is_json(value: msgspec.Raw) -> bool:
    """Whether a value can be read; finding where it ends is not yet reading it."""
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True

"""Events -> logs that the windows can read, from tables and from requests, with one reading of each event."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import polars as pl

from features.vocabulary import USER, Vocabulary, number
from features.windows import EventLog, Floats, Ints, group


@dataclass(frozen=True)
class Logs:
    """What leads did, and what everybody in their accounts did."""

    lead: EventLog
    account: EventLog


@dataclass(frozen=True)
class Readings:
    """Events as numbers, one position per event.

    `lead` is -1 for an event that only counts for the account; see `EventLog` for the other arrays.
    """

    lead: Ints
    account: Ints
    times: Ints
    kinds: Ints
    numbers: Floats
    codes: Ints

    def logs(self, n_leads: int, n_accounts: int) -> Logs:
        """Return both logs, each sorted for the windows."""
        return Logs(self._log(self.lead, n_leads), self._log(self.account, n_accounts))

    def _log(self, key: Ints, size: int) -> EventLog:
        mine = np.flatnonzero(key >= 0)
        kinds, times = self.kinds[mine], self.times[mine]
        return group(key[mine], times, kinds, self.numbers[:, mine], self.codes[:, mine], size)


@dataclass
class PropertyReader:
    """Reads kinds, numbers and codes off events one by one; codes tell values apart and mean nothing else."""

    vocabulary: Vocabulary
    kinds: list[int] = field(default_factory=list)
    numbers: list[list[float]] = field(default_factory=list)
    codes: list[list[int]] = field(default_factory=list)
    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def read(self, event: str, properties: Mapping[str, object], user: object) -> None:
        """Add one event of the vocabulary."""
        self.kinds.append(self.vocabulary.readings[event].kind(properties))
        self.numbers.append([number(properties.get(name)) for name in self.vocabulary.numbers])
        self.codes.append(
            [self._code(name, user if name == USER else properties.get(name)) for name in self.vocabulary.codes]
        )

    def _code(self, name: str, value: object) -> int:
        if value is None:
            return -1
        return self.known.setdefault((name, repr(_same(value))), len(self.known))

    def arrays(self) -> tuple[Ints, Floats, Ints]:
        """Return kinds (n,), numbers (n_numbers, n) and codes (n_codes, n)."""
        n, vocabulary = len(self.kinds), self.vocabulary
        numbers = np.array(self.numbers, np.float64).reshape(n, len(vocabulary.numbers)).T
        codes = np.array(self.codes, np.int64).reshape(n, len(vocabulary.codes)).T
        return np.array(self.kinds, np.int64), np.ascontiguousarray(numbers), np.ascontiguousarray(codes)


def _same(value: object) -> object:
    """Return numbers that are equal in one form, so that 1 and 1.0 are one value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int):
        return value
    return (int(value) if value.is_integer() else value) if math.isfinite(value) else None


def read_table(events: pl.DataFrame, vocabulary: Vocabulary) -> Readings:
    """Return the readings of a table with columns lead, account (int64), user (int64), timestamp (int64), event, properties.

    Only rows whose event has properties to read are looked at one by one; the others are mapped all at once.
    """
    bases = {name: reading.base for name, reading in vocabulary.readings.items()}
    # A definition of traits alone has no events; polars then forgets the type.
    kinds = events["event"].replace_strict(bases, return_dtype=pl.Int64).to_numpy().astype(np.int64)
    numbers = np.full((len(vocabulary.numbers), len(events)), math.nan)
    codes = np.full((len(vocabulary.codes), len(events)), -1, np.int64)
    codes[vocabulary.codes.index(USER)] = events["user"].to_numpy()
    names = [name for name, reading in vocabulary.readings.items() if reading.reads_properties]
    rows = events["event"].is_in(names).arg_true().to_numpy()
    if len(rows):
        reader = _read_rows(events[rows], vocabulary)
        kinds[rows], numbers[:, rows], read_codes = reader.arrays()
        others = [i for i, name in enumerate(vocabulary.codes) if name != USER]
        codes[np.ix_(np.array(others, np.int64), rows)] = read_codes[others]
    return Readings(
        events["lead"].to_numpy(), events["account"].to_numpy(), events["timestamp"].to_numpy(), kinds, numbers, codes
    )


def _read_rows(events: pl.DataFrame, vocabulary: Vocabulary) -> PropertyReader:
    reader = PropertyReader(vocabulary)
    decode = msgspec.json.Decoder().decode
    for event, text in zip(events["event"], events["properties"], strict=True):
        reader.read(event, decode(text) if text else {}, None)
    return reader


@dataclass(frozen=True)
class Happening:
    """One event of a request: who did it, what, when (microseconds since 1970 UTC), and its properties."""

    lead: int
    user: str
    own: bool
    event: str
    time: int
    properties: Mapping[str, object]


def read_requests(happenings: Iterable[Happening], vocabulary: Vocabulary) -> Readings:
    """Return the readings of events in requests; each request is a world of its own, so its number is also its account's."""
    reader = PropertyReader(vocabulary)
    mine: list[Happening] = [one for one in happenings if one.event in vocabulary.readings]
    for one in mine:
        reader.read(one.event, one.properties, one.user)
    kinds, numbers, codes = reader.arrays()
    account = np.array([one.lead for one in mine], np.int64)
    lead = np.array([one.lead if one.own else -1 for one in mine], np.int64)
    return Readings(lead, account, np.array([one.time for one in mine], np.int64), kinds, numbers, codes)


def unread(names: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Return the event names that no signal reads."""
    return sorted({name for name in names if name not in vocabulary.readings})

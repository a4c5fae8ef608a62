"""Events -> logs that the windows can read, from tables and from requests, with one reading of each event."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from features.measures import TOLD_APART
from features.vocabulary import Vocabulary, number
from features.windows import EventLog, Events, Floats, Ints, Small, group

NOBODY = -1
"""The code of what is not known."""
FEW_VALUES = 64
"""Up to here plain lists put values in order faster than arrays do."""
_NONE: Ints = np.empty(0, np.int64)


@dataclass(frozen=True)
class Logs:
    """What leads did, what everybody in their accounts did, and by which code each lead is known there (-1: not at all)."""

    lead: EventLog
    account: EventLog
    users: Ints

    def known_by_time(self) -> Logs:
        """Return the same logs as if every event had arrived when it happened."""
        lead, account = (replace(log, known=log.times) for log in (self.lead, self.account))
        return Logs(lead, account, self.users)


def build_logs(
    own: Events, everyone: Events, n_leads: int, n_accounts: int, who: Ints, vocabulary: Vocabulary, *,
    by_arrival: bool = True,
) -> Logs:  # fmt: skip
    """Return the logs of leads (`own`) and of their accounts (`everyone`), each event once and in order.

    `who` holds each lead's own code in the events' row of users: int64 array of shape (n_leads,). Where every lead is an
    account of the same number and nobody else did anything, `own` may be `everyone` itself. `by_arrival` says which of an
    event's repetitions counts, see `features.windows.group`.
    """
    same = own is everyone
    everyone, users = _numbered(everyone, vocabulary)
    own = everyone if same else _numbered(own, vocabulary)[0]
    return _grouped(own, everyone, n_leads, n_accounts, _places(who, users), by_arrival=by_arrival)


def _grouped(
    own: Events, everyone: Events, n_leads: int, n_accounts: int, users: Ints, *, by_arrival: bool = True
) -> Logs:
    account = group(everyone, n_accounts, by_arrival=by_arrival)
    return Logs(account if own is everyone else group(own, n_leads, by_arrival=by_arrival), account, users)


def _places(who: Ints, users: Ints) -> Ints:
    """Return the place of each of `who` among the users, whose codes ascend, NOBODY where it is not there."""
    place = np.searchsorted(users, who)
    there = place < len(users)
    there[there] = users[place[there]] == who[there]
    return np.where(there, place, NOBODY).astype(np.int64)


def _numbered(events: Events, vocabulary: Vocabulary) -> tuple[Events, Ints]:
    """Return events whose codes are numbered from 0 without gaps, and the codes that the users had before."""
    users, codes = _NONE, np.full(events.codes.shape, NOBODY, np.int64)
    for row, values in enumerate(events.codes):
        if row == vocabulary.user_row:
            users, codes[row] = _ranked(values)
        else:
            known = values != NOBODY
            codes[row, known] = _ranked(values[known])[1]
    numbered = Events(events.group, events.times, events.known, events.kinds, events.keys, events.numbers, codes)
    return numbered, users


def _ranked(values: Ints) -> tuple[Ints, Ints | list[int]]:
    """Return the values once each, ascending, and the place of each value among them."""
    if len(values) > FEW_VALUES:
        found, places = np.unique(values, return_inverse=True)
        return found, places
    listed = values.tolist()
    once = sorted(set(listed))
    place = {value: i for i, value in enumerate(once)}
    return np.array(once, np.int64), [place[value] for value in listed]


@dataclass
class PropertyReader:
    """Reads kinds, numbers and codes off events one by one; codes tell values apart and mean nothing else."""

    vocabulary: Vocabulary
    kinds: list[int] = field(default_factory=list)
    numbers: list[list[float]] = field(default_factory=list)
    codes: list[list[int]] = field(default_factory=list)

    def read(self, event: str, properties: Mapping[str, object]) -> None:
        """Add one event of the vocabulary."""
        self.kinds.append(self.vocabulary.readings[event].kind(properties))
        self.numbers.append([number(properties.get(name)) for name in self.vocabulary.numbers])
        codes = self.vocabulary.codes
        self.codes.append([NOBODY if name in TOLD_APART else _code(name, properties.get(name)) for name in codes])

    def arrays(self) -> tuple[Ints, Floats, Ints]:
        """Return kinds (n,), numbers (n_numbers, n) and codes (n_codes, n)."""
        n, vocabulary = len(self.kinds), self.vocabulary
        numbers = np.array(self.numbers, np.float64).reshape(n, len(vocabulary.numbers)).T
        codes = np.array(self.codes, np.int64).reshape(n, len(vocabulary.codes)).T
        return np.array(self.kinds, np.int64), np.ascontiguousarray(numbers), np.ascontiguousarray(codes)


def _code(name: str, value: object) -> int:
    return NOBODY if value is None else code_of(f"{name}={_same(value)!r}")


def code_of(text: str) -> int:
    """Return 64 bits that stand for a text, so that no list of all texts has to be kept; the same in every process."""
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little", signed=True)


def _same(value: object) -> object:
    """Return numbers that are equal in one form, so that 1 and 1.0 are one value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int):
        return value
    return (int(value) if value.is_integer() else value) if math.isfinite(value) else None


def read_table(events: pl.DataFrame, vocabulary: Vocabulary) -> Said:
    """Return kinds, numbers and codes of a table with the columns event, base, user and, where they are read, properties.

    `base` is the first kind of the event, `user` the code of who did it. Only rows whose event has properties to read
    are looked at one by one; the others are mapped all at once.
    """
    names = vocabulary.with_properties
    rows = events["event"].is_in(names).arg_true().to_numpy() if names and "properties" in events.columns else _NONE
    users = events["user"].to_numpy() if vocabulary.user_row >= 0 else _NONE
    bases = events["base"].to_numpy()
    if not len(rows):
        return _filled(bases, users, rows, None, vocabulary)
    # What is said often is read once.
    asked = events[rows].select("event", "properties")
    once = asked.unique().with_row_index("place")
    place = asked.join(once, on=["event", "properties"], how="left", nulls_equal=True, maintain_order="left")["place"]
    decode = msgspec.json.Decoder().decode
    said = ((event, decode(text) if text else {}) for _, event, text in once.iter_rows())
    kinds, numbers, codes = _read(said, vocabulary)
    at = place.to_numpy()
    return _filled(bases, users, rows, (kinds[at], numbers[:, at], codes[:, at]), vocabulary)


Said = tuple[Small, Floats, Ints]
"""Kinds (n,), numbers (n_numbers, n) and codes (n_codes, n) of events."""


def _read(said: Iterable[tuple[str, Mapping[str, object]]], vocabulary: Vocabulary) -> Said:
    """Return what events with these properties say; who did it, and what was done, are not in it."""
    reader = PropertyReader(vocabulary)
    for event, properties in said:
        reader.read(event, properties)
    return reader.arrays()


def _filled(bases: Small, users: Ints, rows: Ints, said: Said | None, vocabulary: Vocabulary) -> Said:
    """Return what all events say, of which those at `rows` have properties that were read."""
    numbers = np.full((len(vocabulary.numbers), len(bases)), math.nan)
    codes = np.full((len(vocabulary.codes), len(bases)), NOBODY, np.int64)
    kinds = bases
    if said is not None:
        kinds = bases.copy()
        kinds[rows], numbers[:, rows], codes[:, rows] = said
    if vocabulary.user_row >= 0:
        codes[vocabulary.user_row] = users
    if vocabulary.event_row >= 0:
        codes[vocabulary.event_row] = bases
    return kinds, numbers, codes


class Happening(NamedTuple):
    """One event of a request: who did it, what, when (microseconds since 1970 UTC), its properties and its message's id."""

    lead: int
    user: str
    own: bool
    event: str
    time: int
    properties: Mapping[str, object]
    message_id: str | None = None


@dataclass
class Happenings:
    """Events of requests, column by column: what a `Happening` says of each."""

    lead: list[int] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    own: list[bool] = field(default_factory=list)
    event: list[str] = field(default_factory=list)
    time: list[int] = field(default_factory=list)
    properties: list[Mapping[str, object]] = field(default_factory=list)
    message_id: list[str | None] = field(default_factory=list)


def read_requests(happenings: Iterable[Happening], ids: Sequence[str], vocabulary: Vocabulary) -> Logs:
    """Return the logs of requests, see `read_columns`; events that nobody asks about are passed over."""
    columns = zip(*(one for one in happenings if one.event in vocabulary.bases), strict=True)
    return read_columns(Happenings(*map(list, columns)), ids, vocabulary)


def read_columns(happened: Happenings, ids: Sequence[str], vocabulary: Vocabulary) -> Logs:
    """Return the logs of requests; each request is a world of its own, so its number is also its account's.

    Parameters
    ----------
    happened : events of the vocabulary
    ids : user ids of the leads, by number
    """
    event, n = happened.event, len(happened.event)
    bases = np.fromiter(map(vocabulary.bases.__getitem__, event), np.int32, n)
    hashes = {name: code_of(name) for name in {*happened.user, *ids}}
    alone = len(hashes) == 1 and n > 0
    users = (
        np.full(n, hashes[happened.user[0]])
        if alone
        else np.fromiter(map(hashes.__getitem__, happened.user), np.int64, n)
    )
    texts = [repr(said) if said else "" for said in happened.properties]
    kinds, numbers, codes = _said_once(event, happened.properties, texts, bases, users, vocabulary)
    times, keys = np.array(happened.time, np.int64), _keys(kinds, users, texts, happened.message_id)
    told = Events(np.array(happened.lead, np.int64), times, times, kinds, keys, numbers, codes)
    # Numbered once for both logs, so that codes of the leads' own events may leave gaps: that costs a little memory.
    everyone, known = _numbered(told, vocabulary)
    mine, who = np.array(happened.own, bool), np.array([hashes[name] for name in ids], np.int64)
    own = everyone if mine.all() else everyone.take(mine)
    return _grouped(own, everyone, len(ids), len(ids), _places(who, known))


def _said_once(
    event: Sequence[str], properties: Sequence[Mapping[str, object]], texts: Sequence[str], bases: Small, users: Ints,
    vocabulary: Vocabulary,
) -> Said:  # fmt: skip
    """Return what events say, where `texts` spell their properties out: what is said often is read once."""
    asked_of = vocabulary.with_properties
    asked = [place for place, name in enumerate(event) if name in asked_of] if asked_of else []
    if not asked:
        return _filled(bases, users, _NONE, None, vocabulary)
    number: dict[tuple[str, str], int] = {}
    at = [number.setdefault((event[place], texts[place]), len(number)) for place in asked]
    first = dict(zip(reversed(at), reversed(asked), strict=True))
    read = ((event[first[one]], properties[first[one]]) for one in range(len(number)))
    kinds, numbers, codes = _read(read, vocabulary)
    return _filled(bases, users, np.array(asked, np.int64), (kinds[at], numbers[:, at], codes[:, at]), vocabulary)


def _keys(kinds: Small, users: Ints, texts: Sequence[str], ids: Sequence[str | None]) -> Ints:
    """Return what tells that an event was said before; see `features.windows.Events`."""
    keys = (kinds.astype(np.int64) << 1) ^ (users & ~1)
    n = len(keys)
    if any(texts):
        keys ^= np.fromiter(map(hash, texts), np.int64, n) & ~1
    if any(ids):
        # Users are told apart by 64 bits that stand for their names, so that the two can be laid over each other.
        named = np.fromiter(map(hash, ids), np.int64, n) ^ users | 1
        keys = np.where(np.fromiter(map(bool, ids), bool, n), named, keys)
    return keys

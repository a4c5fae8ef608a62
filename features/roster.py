"""Who is who: which lead and which account an event counts for, and which of them are worked on together.

Leads are put side by side account by account and cut into parts, so that everything about one account lies in one part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.definition import CONVERTED, TRIAL_STARTED, Definition
from features.logs import read_table
from features.vocabulary import Vocabulary, vocabulary
from features.windows import Events, Ints, Small

SAID = ("account_id", "properties")
"""What an event says beside who, what and when."""

PART_LEADS = 2_048
"""Leads per part: their events fit into a processor's cache, and a part costs little to begin."""


@dataclass(frozen=True)
class Roster:
    """Users and accounts by number.

    Attributes
    ----------
    users : columns user_id, place (its number), home (its account's), alone (whether it is an account of its own)
    accounts : columns account_id and account (its number), for real accounts only
    user_starts, account_starts : int64 arrays of shape (n_parts + 1,), the numbers at which each part starts
    """

    users: pl.DataFrame
    accounts: pl.DataFrame
    user_starts: Ints
    account_starts: Ints

    @classmethod
    def of(cls, trials: pl.DataFrame) -> Roster:
        """Return the roster of a table with user_id and account_id; users without a name or with two accounts are left out."""
        known = trials.select("user_id", "account_id").drop_nulls("user_id").unique(maintain_order=True)
        known = known.filter(~pl.col("user_id").is_duplicated())
        # A lead without an account is one of its own, apart from any real account's name.
        key = pl.coalesce("account_id", pl.concat_str(pl.lit("\0"), "user_id"))
        users = (
            known.with_columns(key.alias("key"), alone=pl.col("account_id").is_null())
            .with_columns(home=(pl.col("key").rank("dense") - 1).cast(pl.Int32))
            .sort("home", maintain_order=True)
            .with_row_index("place")
            .with_columns(pl.col("place").cast(pl.Int32))
        )
        real = users.filter(~pl.col("alone")).select("account_id", account="home").unique("account_id")
        return cls(users.select("user_id", "place", "home", "alone"), real, *_parts(users["home"].to_numpy()))

    @property
    def n_parts(self) -> int:
        return len(self.user_starts) - 1

    def homes(self, users: pl.DataFrame) -> pl.Series:
        """Return the number of the account of each row's user, null for users who are not on the roster."""
        known = self.users.select("user_id", "home")
        return users.select("user_id").join(known, on="user_id", how="left", maintain_order="left")["home"]


def _parts(homes: np.ndarray[tuple[int], np.dtype[np.int32]]) -> tuple[Ints, Ints]:
    """Return where the parts start, by user and by account; no account is cut in two."""
    first_of_account = np.searchsorted(homes, np.arange(int(homes[-1]) + 2)) if len(homes) else np.zeros(1, np.int64)
    part = np.maximum(first_of_account[:-1], 0) // PART_LEADS
    accounts = np.concatenate([[0], np.flatnonzero(np.diff(part)) + 1, [len(part)]]).astype(np.int64)
    accounts = np.unique(accounts) if len(part) else np.zeros(1, np.int64)
    return first_of_account[accounts].astype(np.int64), accounts


@dataclass(frozen=True)
class Reader:
    """Reads batches of canonical events as one definition does, for the leads and accounts of one roster."""

    roster: Roster
    definition: Definition

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return vocabulary(self.definition)

    @property
    def by_account(self) -> bool:
        """Whether anything is asked of what accounts did."""
        return self.definition.lead == "account" or any(one.scope == "account" for one in self.definition.signals)

    def events(self, batch: pl.DataFrame) -> Iterator[tuple[bool, Events]]:
        """Yield (whether by account, events) for what a batch says of leads, and of accounts where they are asked for."""
        located = self._located(batch)
        if self.definition.lead == "user":
            strangers = located["place"].has_nulls()
            yield False, self._numbers(located.drop_nulls("place") if strangers else located, "place")
        if self.by_account:
            yield True, self._numbers(self._for_accounts(located), "account")

    def trial_events(self, trials: pl.DataFrame) -> Iterator[tuple[bool, Events]]:
        """Yield the starts and conversions in a trials table, for signals about an account's history."""
        if self.by_account:
            parts = [
                trials.select("user_id", "account_id", event=pl.lit(name), timestamp=pl.col(column)).drop_nulls(
                    "timestamp"
                )
                for name, column in ((TRIAL_STARTED, "started_at"), (CONVERTED, "converted_at"))
            ]
            happened = pl.concat(parts).with_columns(
                received_at=pl.lit(None, pl.Datetime("us", "UTC")), message_id=pl.lit(None, pl.String),
                properties=pl.lit(None, pl.String),
            )  # fmt: skip
            yield True, self._numbers(self._for_accounts(self._located(happened)), "account")

    def _located(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return the events that the definition reads, with the place and home of who did them."""
        number = batch["event"].cast(pl.Enum(list(self.vocabulary.readings)), strict=False).to_physical()
        bases = pl.Series([reading.base for reading in self.vocabulary.readings.values()], dtype=pl.Int32)
        read = batch.with_columns(base=bases.gather(number))
        if number.has_nulls():
            read = read.filter(pl.col("base").is_not_null())
        # Joined alone, so that the other columns need not be copied.
        who = read.select("user_id").join(self.roster.users, on="user_id", how="left", maintain_order="left")
        return read.hstack(who.drop("user_id"))

    def _for_accounts(self, located: pl.DataFrame) -> pl.DataFrame:
        """Return events with the account they count for; what a lead without one did counts for itself in any case."""
        named = located.join(self.roster.accounts, on="account_id", how="left", maintain_order="left")
        known = pl.when(pl.col("account_id").is_null()).then("home").otherwise("account")
        own = named.filter(pl.col("alone") & pl.col("account_id").is_not_null()).with_columns(account="home")
        return pl.concat([named.with_columns(account=known), own]).filter(pl.col("account").is_not_null())

    def _numbers(self, located: pl.DataFrame, group: str) -> Events:
        who = pl.col("user_id").hash().reinterpret(signed=True).alias("user")
        asked = self.vocabulary.user_row >= 0 or group == "account"
        table = located.with_columns(who) if asked else located
        kinds, numbers, codes = read_table(table, self.vocabulary)
        times = table["timestamp"].dt.epoch("us").to_numpy()
        return Events(
            table[group].to_numpy(), times, _arrivals(table, times), kinds, _keys(table, kinds, group), numbers, codes
        )


def _arrivals(table: pl.DataFrame, times: Ints) -> Ints:
    """Return when events arrived: at their time where nobody noted it."""
    if table["received_at"].null_count() == len(table):
        return times
    return table.select(pl.coalesce("received_at", "timestamp").dt.epoch("us")).to_series().to_numpy()


def _keys(table: pl.DataFrame, kinds: Small, group: str) -> Ints | None:
    """Return what tells repetitions, see `features.windows.Events`; None where kinds say it all."""
    said = [(seed, name) for seed, name in enumerate(SAID) if table[name].null_count() < len(table)]
    named = table["message_id"].null_count() < len(table)
    if not said and not named and group != "account":
        return None
    keys = kinds.astype(np.int64) << 1
    for seed, name in said:
        # Nothing said adds nothing, so that a table that never says it has the same keys.
        hashes = pl.when(pl.col(name).is_not_null() & (pl.col(name) != "{}")).then(pl.col(name).hash(seed)).otherwise(0)
        keys ^= table.select(hashes.cast(pl.UInt64).reinterpret(signed=True)).to_series().to_numpy()
    keys &= ~1
    if named:
        ids = table.select(pl.col("message_id").hash().reinterpret(signed=True)).to_series().to_numpy()
        keys = np.where(table["message_id"].is_not_null().to_numpy(), ids | 1, keys)
    return keys if group != "account" else keys ^ (table["user"].to_numpy() & ~1)

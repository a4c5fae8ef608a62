"""Who can be scored: leads as arrays, what was known of them when, and which of them are open at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.windows import ALWAYS, Ints, newest_before

NEVER = int(np.iinfo(np.int64).max)
"""The time of what has not happened."""


@dataclass(frozen=True)
class TraitLog:
    """What was known of one trait of each lead, and since when.

    Attributes
    ----------
    offsets : int64 array of shape (n_leads + 1,)
        Lead i had the values offsets[i] to offsets[i + 1], one after the other.
    since : int64 array of shape (n_values,), microseconds since 1970 UTC, ascending within a lead
    values : what the trait was from then on, None where it was not known
    always : whether each lead has one value, which was always so
    """

    offsets: Ints
    since: Ints
    values: Sequence[object]
    always: bool = False

    @classmethod
    def constant(cls, values: Sequence[object]) -> TraitLog:
        """Return the log of values that were always so, one per lead."""
        return cls(np.arange(len(values) + 1), np.full(len(values), ALWAYS), values, always=True)

    def at(self, which: Ints, as_of: Ints) -> Ints:
        """Return, for each (lead, moment), the place of the value known just before it, -1 where there was none."""
        return which if self.always else newest_before(self.offsets, self.since, which, as_of)

    def value(self, lead: int, as_of: int) -> object:
        """Return what was known of one lead just before a moment, None where nothing was."""
        return self.value_at(int(self.at(np.array([lead]), np.array([as_of]))[0]))

    def value_at(self, place: int) -> object:
        """Return the value at a place that `at` gave."""
        return None if place < 0 else self.values[place]

    def take(self, leads: Ints) -> TraitLog:
        """Return the log of some leads."""
        sizes = self.offsets[leads + 1] - self.offsets[leads]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[leads] - offsets[:-1], sizes)
        return TraitLog(offsets, self.since[places], [self.values[place] for place in places])


@dataclass(frozen=True)
class Leads:
    """Leads side by side; times are int64 arrays of shape (n,), microseconds since 1970 UTC, NEVER where nothing happened.

    `accounts` numbers the account that each lead belongs to; a lead without one is an account of its own.
    """

    ids: Sequence[str]
    account_ids: Sequence[str | None]
    accounts: Ints
    started_at: Ints
    ends_at: Ints
    closed_at: Ints
    converted_at: Ints
    traits: Mapping[str, TraitLog]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: Ints) -> Leads:
        """Return some leads, in the order of `which`."""
        return Leads(
            [self.ids[i] for i in which], [self.account_ids[i] for i in which], self.accounts[which],
            self.started_at[which], self.ends_at[which], self.closed_at[which], self.converted_at[which],
            {name: log.take(which) for name, log in self.traits.items()},
        )  # fmt: skip


def running(leads: Leads, which: Ints, as_of: Ints) -> npt.NDArray[np.bool_]:
    """Whether each lead's trial has begun and is neither closed nor converted just before as_of."""
    began = leads.started_at[which] <= as_of
    return began & (leads.closed_at[which] >= as_of) & (leads.converted_at[which] >= as_of)


def open_leads(leads: Leads, as_of: int) -> Ints:
    """Return the numbers of the leads to score at as_of: running, and not past the end of their trial."""
    every = np.arange(len(leads))
    moments = np.full(len(leads), as_of)
    return np.flatnonzero(running(leads, every, moments) & (leads.ends_at > as_of)).astype(np.int64)

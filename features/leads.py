"""Who can be scored: leads as arrays, and which of them are open at a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.windows import Ints

NEVER = int(np.iinfo(np.int64).max)
"""The time of what has not happened."""


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
    traits: Mapping[str, Sequence[object]]

    def __len__(self) -> int:
        return len(self.ids)


def running(leads: Leads, which: Ints, as_of: Ints) -> npt.NDArray[np.bool_]:
    """Whether each lead's trial has begun and is neither closed nor converted just before as_of."""
    began = leads.started_at[which] <= as_of
    return began & (leads.closed_at[which] >= as_of) & (leads.converted_at[which] >= as_of)


def open_leads(leads: Leads, as_of: int) -> Ints:
    """Return the numbers of the leads to score at as_of: running, and not past the end of their trial."""
    every = np.arange(len(leads))
    moments = np.full(len(leads), as_of)
    return np.flatnonzero(running(leads, every, moments) & (leads.ends_at > as_of)).astype(np.int64)

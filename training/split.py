"""Time and accounts decide who is learned from, who sets the cutoff, and who judges: never chance.

Each part begins where the labels of the part before it have ended (an embargo of one horizon), so nothing that was
learned had seen anything of what it is judged on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.errors import NotEnoughData, Refusal
from features.times import text_of
from features.windows import Ints
from training.snapshots import Snapshots

TEST_SHARE = 0.25
CUTOFF_SHARE = 0.35
MIN_LEARNED, MIN_JUDGED = 15, 5
"""Leads of either outcome below which nothing can be learned, or judged."""
MIN_CUTOFF_LEADS, MIN_CUTOFF_CONVERSIONS = 1_000, 150
MIN_FIT_CONVERSIONS = 200
MOST_ROWS_LOST = 0.5
"""Accounts are kept apart unless that costs more of the older conversions than this: then they recur by nature."""


@dataclass(frozen=True)
class Split:
    """Row numbers of each part, ascending in time.

    `cutoff` is None where the data is too small to spare a part: the cutoff then comes from out-of-fold scores of
    `fit`.
    """

    fit: Ints
    cutoff: Ints | None
    test: Ints
    test_from: int
    accounts_apart: bool

    @property
    def learned(self) -> Ints:
        """All rows before the test: what the baselines may learn from too."""
        return self.fit if self.cutoff is None else np.concatenate([self.fit, self.cutoff])


def split(table: Snapshots, test_from: int | None = None) -> Split:
    """Return the parts of a table; `test_from` (microseconds since 1970 UTC) is the first trial start of the test part.

    Raises
    ------
    Refusal
        Where a part would be empty or lack one of the outcomes.
    """
    if not len(table):
        raise Refusal(
            "no snapshot has a known outcome yet. Wait for more history, shorten the horizon, or score earlier."
        )
    moment = _newest(table.started_at, table.lead, TEST_SHARE) if test_from is None else test_from
    older, test = _parts(table, np.arange(len(table)), moment)
    older, apart = _keep_accounts_apart(table, older, test)
    for name, rows, least in (("training part", older, MIN_LEARNED), ("test part", test, MIN_JUDGED)):
        _check_classes(table, rows, f"{name} (tested from {text_of(moment)})", least)
    fit, cutoff = _fit_and_cutoff(table, older)
    return Split(fit, cutoff, test, moment, apart)


def _newest(started_at: Ints, lead: Ints, share: float) -> int:
    """Return the start time from which the newest `share` of leads began."""
    _, first = np.unique(lead, return_index=True)
    return int(np.quantile(started_at[first], 1 - share, method="higher"))


def _parts(table: Snapshots, rows: Ints, moment: int) -> tuple[Ints, Ints]:
    """Return the rows whose label had ended by a moment, and those of trials that began from then on."""
    return rows[table.label_end[rows] <= moment], rows[table.started_at[rows] >= moment]


def _keep_accounts_apart(table: Snapshots, older: Ints, newer: Ints) -> tuple[Ints, bool]:
    shared = np.isin(table.account[older], table.account[newer])
    apart = older[~shared]
    enough = table.converted[apart].sum() >= MOST_ROWS_LOST * table.converted[older].sum()
    return (apart, True) if enough else (older, not shared.any())


def _check_classes(table: Snapshots, rows: Ints, name: str, least: int) -> None:
    trials, won = counts(table, rows)
    if min(won, trials - won) < least:
        raise NotEnoughData.conversions(name, trials, won, least)


def counts(table: Snapshots, rows: Ints) -> tuple[int, int]:
    """Return how many leads the rows are of, and how many of these convert within the horizon of any of them."""
    return len(np.unique(table.lead[rows])), len(np.unique(table.lead[rows][table.converted[rows] == 1]))


def _fit_and_cutoff(table: Snapshots, older: Ints) -> tuple[Ints, Ints | None]:
    """Give the newest part of the older rows to the cutoff, where both parts stay large enough."""
    moment = _newest(table.started_at[older], table.lead[older], CUTOFF_SHARE)
    fit, cutoff = _parts(table, older, moment)
    fit, apart = _keep_accounts_apart(table, fit, cutoff)
    leads, won = counts(table, cutoff)
    large = leads >= MIN_CUTOFF_LEADS and won >= MIN_CUTOFF_CONVERSIONS and counts(table, fit)[1] >= MIN_FIT_CONVERSIONS
    return (fit, cutoff) if large and apart else (older, None)


def folds(table: Snapshots, rows: Ints, k: int = 5, converted: Ints | None = None) -> list[tuple[Ints, Ints]]:
    """Return (learn, held out) positions within `rows` for k blocks of accounts, in order of first appearance.

    Parameters
    ----------
    converted : int64 array of shape (n_rows,), the outcomes that no block may lack; by default those of the table

    Raises
    ------
    NotEnoughData
        Where a block would lack one of the outcomes even with two blocks.
    """
    accounts, first = np.unique(table.account[rows], return_index=True)
    rank = np.empty(len(accounts), np.int64)
    rank[np.argsort(table.as_of[rows][first], kind="stable")] = np.arange(len(accounts))
    order = rank[np.searchsorted(accounts, table.account[rows])]
    outcomes = table.converted[rows] if converted is None else converted
    for blocks in range(k, 1, -1):
        block = order * blocks // len(accounts)
        if _both_classes(outcomes, block, blocks):
            return [(np.flatnonzero(block != b), np.flatnonzero(block == b)) for b in range(blocks)]
    trials, won = counts(table, rows)
    raise NotEnoughData(
        f"training part: {trials} mature leads with {won} conversions, but not some of either outcome in each half of the time. "
        "Wait for more history, shorten the horizon, or move --test-from."
    )


def _both_classes(converted: Ints, block: Ints, blocks: int) -> bool:
    won: npt.NDArray[np.int64] = np.bincount(block, weights=converted, minlength=blocks).astype(np.int64)
    size = np.bincount(block, minlength=blocks)
    return bool((won > 0).all() and (won < size).all())

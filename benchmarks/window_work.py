"""The workload of the window benchmark: an event log as a product keeps one, trials, and the columns to compute from them.

Made from a seed and kept in `build/bench`; every side of the benchmark reads the same two Parquet files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
DAY = 86_400_000_000
SNAPSHOT_DAYS = (1, 3, 7, 10, 14)
EVENTS = (
    "session_started", "report_viewed", "comment_added", "task_completed", "file_uploaded", "search_run", "report_created",
    "board_created", "filter_saved", "export_downloaded", "invited_teammate", "template_used", "integration_connected",
    "api_key_created", "dashboard_shared", "pricing_viewed", "limit_reached", "help_opened", "settings_changed",
    "billing_opened",
)  # fmt: skip
WINDOWS = ("1d", "7d", "trial")
COLUMNS = (
    *(f"{event}_{measure}" for event in EVENTS for measure in (*(f"count_{w}" for w in WINDOWS), "days_since_last")),
    *(f"activity_active_days_{window}" for window in WINDOWS),
)
BEFORE, AFTER = 10 * DAY, 20 * DAY
LATE_SHARE, LATEST = 0.02, 6 * 3_600_000_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Work:
    """One size of the workload and the files that hold it."""

    events: Path
    trials: Path
    n_events: int
    n_trials: int

    @property
    def n_rows(self) -> int:
        return self.n_trials * len(SNAPSHOT_DAYS)


def make(n_events: int, n_trials: int, folder: Path = ROOT / "build" / "bench", seed: int = 0) -> Work:
    """Return the workload of this size; its files are written where they are not there yet."""
    stem = f"windows_{n_events}_{n_trials}_{seed}"
    work = Work(folder / f"{stem}_events.parquet", folder / f"{stem}_trials.parquet", n_events, n_trials)
    if not (work.events.exists() and work.trials.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        _write(work, np.random.default_rng(seed))
    return work


def _write(work: Work, rng: np.random.Generator) -> None:
    year = 365 * DAY
    started = np.sort(1_735_689_600_000_000 + rng.integers(0, year, work.n_trials))
    # Identifiers tell nothing of the order in which the trials began, as with those of real accounts.
    names = pl.Series("user_id", [f"u{number:07d}" for number in rng.permutation(work.n_trials)])
    trials = pl.DataFrame({"user_id": names, "started_at": started}).with_columns(
        account_id=pl.lit(None, pl.String), started_at=_instant("started_at")
    )
    user, times, event = _happenings(work, started, rng)
    order = _file_order(times, rng)
    kinds = pl.Series("event", EVENTS, dtype=pl.String)
    events = pl.DataFrame({"user_id": names[user[order]], "event": kinds[event[order]], "timestamp": times[order]})
    events.with_columns(_instant("timestamp")).write_parquet(work.events, row_group_size=1_000_000)
    trials.select("user_id", "account_id", "started_at").write_parquet(work.trials)


def _instant(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Datetime("us", "UTC"))


def _happenings(work: Work, started: Ints, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Return user, time and event of everything that happened, by user and time; no user does two things at one instant."""
    weight = rng.lognormal(0.0, 1.2, work.n_trials)
    user = np.repeat(np.arange(work.n_trials), rng.multinomial(work.n_events, weight / weight.sum()))
    span = BEFORE + AFTER
    keys = np.sort(user * span + rng.integers(0, span, work.n_events))
    while len(again := np.flatnonzero(keys[1:] == keys[:-1])):
        keys[again] = keys[again] // span * span + rng.integers(0, span, len(again))
        keys.sort()
    user = keys // span
    times = started[user] + keys % span - BEFORE
    popularity = 1.0 / np.arange(1, len(EVENTS) + 1) ** 0.9
    return user, times, rng.choice(len(EVENTS), work.n_events, p=popularity / popularity.sum())


def _file_order(times: Ints, rng: np.random.Generator) -> Ints:
    """Return the order of arrival: that of time, but for the few that come up to some hours late."""
    late = rng.random(len(times)) < LATE_SHARE
    return np.argsort(times + late * rng.integers(0, LATEST, len(times)), kind="stable")


def settled(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a side's rows in the one form in which sides are compared: by user and day, in whole numbers.

    Days since last become whole microseconds, which is what they were before each engine divided them its own way (they
    differ in the last bit); missing stays missing. Counts where nothing happened are 0.
    """
    recency = [name for name in COLUMNS if name.endswith("_days_since_last")]
    return rows.sort("user_id", "day").select(
        "user_id", pl.col("day").cast(pl.Int64),
        *(pl.col(name).fill_null(0).cast(pl.Int64) for name in COLUMNS if name not in recency),
        *((pl.col(name).fill_nan(None) * DAY).round().cast(pl.Int64) for name in recency),
    )  # fmt: skip

"""The window benchmark's columns for a few users, counted event by event in plain Python: slow, and hard to get wrong."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from benchmarks.window_work import COLUMNS, DAY, EVENTS, SNAPSHOT_DAYS, Work, settled

Happened = list[tuple[int, str]]


def reference_rows(work: Work, n_busiest: int = 20, n_others: int = 180) -> pl.DataFrame:
    """Return the settled rows of the busiest users and of some others."""
    events = pl.scan_parquet(work.events)
    busiest = events.group_by("user_id").len().sort("len", "user_id", descending=True).head(n_busiest).collect()
    trials = pl.read_parquet(work.trials)
    others = trials.sample(min(n_others, len(trials)), seed=0)
    users = sorted({*busiest["user_id"], *others["user_id"]})
    theirs = events.filter(pl.col("user_id").is_in(users)).select(
        "user_id", pl.col("timestamp").dt.epoch("us"), "event"
    )
    happened: dict[str, Happened] = {user: [] for user in users}
    for user, time, event in theirs.collect().iter_rows():
        happened[user].append((time, event))
    started = dict(trials.select("user_id", pl.col("started_at").dt.epoch("us")).iter_rows())
    rows = [(user, day, *_row(happened[user], started[user], day)) for user in users for day in SNAPSHOT_DAYS]
    return settled(pl.DataFrame(rows, schema=["user_id", "day", *COLUMNS], orient="row", infer_schema_length=None))


def _row(happened: Happened, started: int, day: int) -> list[float | None]:
    as_of = started + day * DAY
    lengths = (DAY, 7 * DAY, as_of - started)
    row: list[float | None] = []
    for event in EVENTS:
        times = [time for time, name in happened if name == event]
        row += [len(_inside(times, as_of, length)) for length in lengths]
        newest = max(_inside(times, as_of, max(lengths)), default=None)
        row.append(None if newest is None else (as_of - newest) / DAY)
    every = [time for time, _ in happened]
    row += [len({(as_of - time - 1) // DAY for time in _inside(every, as_of, length)}) for length in lengths]
    return row


def _inside(times: Sequence[int], as_of: int, length: int) -> list[int]:
    return [time for time in times if as_of - length <= time < as_of]

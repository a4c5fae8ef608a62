"""The window benchmark's peers: the best Polars and DuckDB queries we found for its columns, and what sorting alone costs.

`python -m benchmarks.window_peers NAME EVENTS TRIALS [OUT]` runs one of them as a process. All but `polars_moments` lean on
the snapshots being whole days after the start, so that every window is a run of whole days of the trial.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from benchmarks.window_duckdb import duckdb_filtered, duckdb_rows
from benchmarks.window_work import DAY, EVENTS, SNAPSHOT_DAYS, WINDOWS, Work, make, settled

if TYPE_CHECKING:
    import duckdb

Cells = Mapping[str, pl.Series]
"""A measure's values for all events, event by event and within it row by row."""

FIRST_DAY = min(0, *(day - 7 for day in SNAPSHOT_DAYS))
LAST_DAY = max(SNAPSHOT_DAYS)
_START = {day: dict(zip(WINDOWS, (day - 1, day - 7, 0), strict=True)) for day in SNAPSHOT_DAYS}
"""The day of the trial with which each window begins."""

_KIND = pl.col("event").cast(pl.Enum(EVENTS)).to_physical().cast(pl.Int32)
_DAY = (pl.col("since_start") // DAY).cast(pl.Int8).alias("day")


def polars_floor(work: Work) -> pl.DataFrame:
    """Return the events sorted by user and time, and nothing else: what any method based on sorting pays first."""
    return pl.scan_parquet(work.events).sort("user_id", "timestamp").collect(engine="streaming")


def polars_grid(work: Work) -> pl.DataFrame:
    """Return the rows by one small group_by per snapshot day, put into a grid whose slices are the columns."""
    trials = pl.read_parquet(work.trials)
    n = len(trials)
    near = _near(work, trials).select("since_start", _DAY, _bit(), cell=_KIND * n + pl.col("user")).collect(
        engine="streaming"
    )  # fmt: skip
    seen = near.lazy().group_by(pl.col("cell") % n).agg(pl.col("bit").bitwise_or()).collect(engine="streaming")
    days_seen = _put(seen["cell"], seen["bit"], n, 0)
    return pl.concat(_frame(trials, day, _day_cells(near, day, n), _active(days_seen, day)) for day in SNAPSHOT_DAYS)


def _near(work: Work, trials: pl.DataFrame) -> pl.LazyFrame:
    """Return the events that any window can see, with the user's number and the time since the trial began."""
    starts = pl.lit(trials["started_at"].dt.epoch("us"))
    # An Enum of all users numbers them while the file is decoded, which is cheaper than a join.
    user = pl.col("user_id").cast(pl.Enum(trials["user_id"])).to_physical().cast(pl.Int32)
    events = pl.scan_parquet(work.events).select("event", user=user, at=pl.col("timestamp").dt.epoch("us"))
    since_start = pl.col("at") - starts.gather(pl.col("user"))
    return events.select("event", "user", since_start=since_start).filter(
        pl.col("since_start") >= FIRST_DAY * DAY, pl.col("since_start") < LAST_DAY * DAY
    )


def _bit() -> pl.Expr:
    """Return an event's day of the trial as a bit, so that the days on which something happened are one number."""
    powers = pl.Series([1 << k for k in range(LAST_DAY - FIRST_DAY)], dtype=pl.Int32)
    return pl.lit(powers).gather(_DAY.cast(pl.Int32) - FIRST_DAY).alias("bit")


def _day_cells(near: pl.DataFrame, day: int, n: int) -> Cells:
    """Return the counts and days since last of all users at one snapshot day."""
    farthest, at = min(_START[day].values()), pl.col("day")
    counts = {
        str(start): (pl.len() if start == farthest else (at >= start).sum()).cast(pl.UInt32)
        for start in set(_START[day].values())
    }
    inside = near.lazy().filter(at.is_between(farthest, day - 1))
    found = inside.group_by("cell").agg(last=pl.col("since_start").max(), **counts).collect(engine="streaming")
    totals = {name: _put(found["cell"], found[name], n * len(EVENTS), 0) for name in counts}
    last = _put(found["cell"], (day * DAY - found["last"]) / DAY, n * len(EVENTS), None)
    return {f"count_{window}": totals[str(start)] for window, start in _START[day].items()} | {"days_since_last": last}


def _put(places: pl.Series, values: pl.Series, size: int, empty: int | None) -> pl.Series:
    return pl.repeat(empty, size, dtype=values.dtype, eager=True).scatter(places, values)


def _active(days_seen: pl.Series, day: int) -> Iterator[pl.Series]:
    """Yield the active days of each window from the bits of the days on which something happened."""
    for window, start in _START[day].items():
        mask = (1 << (day - FIRST_DAY)) - (1 << (start - FIRST_DAY))
        yield (days_seen & mask).bitwise_count_ones().alias(window)


def _frame(rows: pl.DataFrame, day: int | pl.Series, cells: Cells, active: Iterator[pl.Series]) -> pl.DataFrame:
    """Return finished rows; a column is a slice of its measure's cells, so nothing is copied."""
    n = len(rows)
    days = day if isinstance(day, pl.Series) else pl.repeat(day, n, dtype=pl.Int32, eager=True)
    columns = [rows["user_id"], days.alias("day")]
    for k, event in enumerate(EVENTS):
        columns += [cell.slice(k * n, n).alias(f"{event}_{measure}") for measure, cell in cells.items()]
    columns += [series.alias(f"activity_active_days_{series.name}") for series in active]
    return pl.DataFrame(columns)


def polars_layers(work: Work) -> pl.DataFrame:
    """Return the rows from one group_by over the runs of days between window edges, each run a layer of a dense grid."""
    trials = pl.read_parquet(work.trials)
    n = len(trials)
    size = n * len(EVENTS)
    edges = sorted({edge for day in SNAPSHOT_DAYS for edge in (day, *_START[day].values())})
    layer_of = [layer for layer, (a, b) in enumerate(pairwise(edges)) for _ in range(b - a)]
    layer = pl.lit(pl.Series(layer_of, dtype=pl.Int32)).gather(_DAY.cast(pl.Int32) - FIRST_DAY)
    cell = layer * size + _KIND * n + pl.col("user")
    near = _near(work, trials).select("since_start", _bit(), cell=cell).collect(engine="streaming")
    seen = near.lazy().group_by(pl.col("cell") % n).agg(pl.col("bit").bitwise_or()).collect(engine="streaming")
    days_seen = _put(seen["cell"], seen["bit"], n, 0)
    found = near.lazy().group_by("cell").agg(pl.len(), pl.col("since_start").max()).collect(engine="streaming")
    counts = _put(found["cell"], found["len"], size * len(edges), 0)
    lasts = _put(found["cell"], found["since_start"], size * len(edges), None)

    def day_cells(day: int) -> Cells:
        def layers(values: pl.Series, start: int) -> list[pl.Series]:
            return [values.slice(k * size, size) for k in range(edges.index(start), edges.index(day))]

        totals = {f"count_{window}": reduce(add, layers(counts, start)) for window, start in _START[day].items()}
        newest = pl.select(last=pl.max_horizontal(layers(lasts, min(_START[day].values()))))["last"]
        return totals | {"days_since_last": (day * DAY - newest) / DAY}

    return pl.concat(_frame(trials, day, day_cells(day), _active(days_seen, day)) for day in SNAPSHOT_DAYS)


def polars_moments(work: Work) -> pl.DataFrame:
    """Return the rows by joining events to snapshots, as one must where snapshots may lie at any moment."""
    moments = pl.DataFrame({"day": SNAPSHOT_DAYS}, schema={"day": pl.Int32})
    snapshots = pl.read_parquet(work.trials).join(moments, how="cross").with_row_index("row")
    n = len(snapshots)
    seen = _seen(work, snapshots.lazy())
    counts = [pl.col(f"in_{window}").sum().alias(f"count_{window}") for window in WINDOWS]
    cell = (_KIND * n + pl.col("row").cast(pl.Int32)).alias("cell")
    found = seen.group_by(cell).agg(*counts, days_since_last=pl.col("age").min() / DAY).collect(engine="streaming")
    cells = {
        name: _put(found["cell"], found[name], n * len(EVENTS), None if name == "days_since_last" else 0)
        for name in found.columns[1:]
    }
    a_day = seen.group_by("row", (pl.col("age") - 1) // DAY).agg(pl.col(f"in_{window}").any() for window in WINDOWS)
    active = a_day.group_by("row").agg(pl.col(f"in_{window}").sum() for window in WINDOWS).collect(engine="streaming")
    days = (_put(active["row"], active[f"in_{window}"], n, 0).alias(window) for window in WINDOWS)
    return _frame(snapshots, snapshots["day"], cells, days)


def _seen(work: Work, snapshots: pl.LazyFrame) -> pl.LazyFrame:
    """Return every pair of a snapshot and an event in one of its windows: row, event, age, and in which windows it is."""
    moments = snapshots.select(
        "user_id", "row", span=pl.col("day").cast(pl.Int64) * DAY, start=pl.col("started_at").dt.epoch("us")
    )
    age = pl.col("start") + pl.col("span") - pl.col("timestamp").dt.epoch("us")
    pairs = pl.scan_parquet(work.events).join(moments, on="user_id").select("row", "event", "span", age=age)
    lengths = dict(zip(WINDOWS, (pl.lit(DAY), pl.lit(7 * DAY), pl.col("span")), strict=True))
    near = pairs.filter(pl.col("age") > 0, pl.col("age") <= pl.max_horizontal(*lengths.values()))
    return near.select(
        "row", "event", "age", **{f"in_{window}": pl.col("age") <= length for window, length in lengths.items()}
    )


PEERS: dict[str, Callable[[Work], pl.DataFrame | duckdb.DuckDBPyRelation]] = {
    "polars_floor": polars_floor,
    "polars_grid": polars_grid,
    "polars_layers": polars_layers,
    "polars_moments": polars_moments,
    "duckdb": duckdb_rows,
    "duckdb_filtered": duckdb_filtered,
}


def main(name: str, n_events: int, n_trials: int, out: Path | None) -> None:
    """Compute one peer's rows and keep them in memory; write them, settled, where a file is named."""
    rows = PEERS[name](make(n_events, n_trials))
    if out is not None:
        settled(rows if isinstance(rows, pl.DataFrame) else rows.pl()).write_parquet(out)


if __name__ == "__main__":
    _name, _events, _trials, *_out = sys.argv[1:]
    main(_name, int(_events), int(_trials), Path(*_out) if _out else None)

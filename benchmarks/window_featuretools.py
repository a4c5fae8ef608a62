"""Featuretools' side of the window benchmark, on a sample of users: every row has a cutoff time of its own.

Runs in the environment of `benchmarks/peers.lock`: `python -m benchmarks.window_featuretools EVENTS TRIALS USERS OUT`. With
`include_cutoff_time=False` its training window is [cutoff - length, cutoff), as ours, so all columns can be compared. It has no
window since a user's own start, so each snapshot day takes a call with that many days; and no measure of active days, so
one is declared here as a primitive of its own.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

from benchmarks.window_work import COLUMNS, EVENTS, SNAPSHOT_DAYS, Work, make, settled

Features = list[Any]
FAR = 7


def featuretools_rows(work: Work, users: int) -> pl.DataFrame:
    """Return the rows of a random sample of users."""
    import featuretools as ft  # type: ignore[import-not-found]

    trials = pl.read_parquet(work.trials).sample(users, seed=0)
    entities = _entities(work, trials)
    starts = pd.DataFrame({"user_id": trials["user_id"].to_list(), "time": _naive(trials["started_at"])})
    counts, last = _features(entities)

    def rows(features: Features, days: tuple[int, ...], length: int) -> pd.DataFrame:
        cutoffs = pd.concat(starts.assign(time=starts["time"] + pd.Timedelta(days=day), day=day) for day in days)
        window = ft.Timedelta(length, "d")
        made: pd.DataFrame = ft.calculate_feature_matrix(
            features, entities, cutoffs, training_window=window, include_cutoff_time=False, n_jobs=1
        )
        return made.reset_index().set_index(["user_id", "day"])

    young, old = (tuple(day for day in SNAPSHOT_DAYS if (day > FAR) == after) for after in (False, True))
    of_1d = rows(counts, SNAPSHOT_DAYS, 1)
    of_7d = pd.concat([rows(counts + last, young, FAR), rows(counts, old, FAR)])
    known = {1: of_1d, FAR: of_7d}
    of_trial = {
        day: known[day].xs(day, level="day", drop_level=False)
        if day in known
        else rows(counts + (last if day > FAR else []), (day,), day)
        for day in SNAPSHOT_DAYS
    }
    return _table(of_1d, of_7d, pd.concat(of_trial.values()), pd.concat([of_7d, *(of_trial[day] for day in old)]))


def _naive(times: pl.Series) -> Any:
    return times.dt.replace_time_zone(None).to_numpy()


def _entities(work: Work, trials: pl.DataFrame) -> Any:
    import featuretools as ft

    theirs = pl.scan_parquet(work.events).filter(pl.col("user_id").is_in(trials["user_id"].implode())).collect()
    events = pd.DataFrame({name: theirs[name].to_list() for name in ("user_id", "event")})
    events = events.assign(timestamp=_naive(theirs["timestamp"]), number=range(len(theirs)))
    entities = ft.EntitySet("product")
    entities.add_dataframe(pd.DataFrame({"user_id": trials["user_id"].to_list()}), "users", index="user_id")
    kinds = {"event": "Categorical", "user_id": "Categorical"}
    entities.add_dataframe(events, "events", index="number", time_index="timestamp", logical_types=kinds)
    entities.add_relationship("users", "user_id", "events", "user_id")
    entities.add_interesting_values(dataframe_name="events", values={"event": list(EVENTS)})
    return entities


def _features(entities: Any) -> tuple[Features, Features]:
    """Return the features of counts and active days, and those of days since last."""
    import featuretools as ft

    def made(primitive: Any, *, by_event: bool) -> Features:
        found = ft.dfs(
            entityset=entities, target_dataframe_name="users", agg_primitives=[primitive], trans_primitives=[],
            where_primitives=[primitive] if by_event else [], max_depth=1, features_only=True,
        )  # fmt: skip
        return [feature for feature in found if ("WHERE" in feature.get_name()) == by_event]

    active = made(_active_days(), by_event=False)
    since = ft.primitives.TimeSinceLast(unit="days")
    return made(ft.primitives.Count(), by_event=True) + active, made(since, by_event=True)


def _active_days() -> Any:
    from featuretools.primitives import AggregationPrimitive  # type: ignore[import-not-found]
    from woodwork.column_schema import ColumnSchema  # type: ignore[import-not-found]
    from woodwork.logical_types import Datetime, Double  # type: ignore[import-not-found]

    def days(times: Any, time: pd.Timestamp) -> int:
        return int(((time - times - pd.Timedelta(microseconds=1)) // pd.Timedelta(days=1)).nunique())

    class ActiveDays(AggregationPrimitive):  # type: ignore[misc]
        name = "active_days"
        input_types = [ColumnSchema(logical_type=Datetime, semantic_tags={"time_index"})]  # noqa: RUF012 - it wants a list
        return_type = ColumnSchema(logical_type=Double, semantic_tags={"numeric"})
        uses_calc_time = True
        default_value = 0

        def get_function(self) -> Any:
            return days

    return ActiveDays


def _table(of_1d: pd.DataFrame, of_7d: pd.DataFrame, of_trial: pd.DataFrame, widest: pd.DataFrame) -> pl.DataFrame:
    keys = of_1d.index
    columns: dict[str, Any] = {}
    # The last row of a key is the one of its widest window.
    widest = widest[~widest.index.duplicated(keep="last")].reindex(keys)
    for window, frame in (("1d", of_1d), ("7d", of_7d), ("trial", of_trial)):
        rows = frame.reindex(keys)
        columns |= {f"{event}_count_{window}": rows[f"COUNT(events WHERE event = {event})"] for event in EVENTS}
        columns[f"activity_active_days_{window}"] = rows["ACTIVE_DAYS(events.timestamp)"]
    for event in EVENTS:
        columns[f"{event}_days_since_last"] = widest[
            f"TIME_SINCE_LAST(events.timestamp WHERE event = {event}, unit=days)"
        ]
    numbers = {name: columns[name].to_numpy(dtype="float64") for name in COLUMNS}
    return pl.DataFrame({"user_id": [key[0] for key in keys], "day": [key[1] for key in keys], **numbers})


if __name__ == "__main__":
    # The release predates the pandas and setuptools it is installed with, and says so many times.
    warnings.simplefilter("ignore")
    _events, _trials, _users = map(int, sys.argv[1:4])
    settled(featuretools_rows(make(_events, _trials), _users)).write_parquet(Path(sys.argv[4]))

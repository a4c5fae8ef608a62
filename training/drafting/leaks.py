"""Events that a draft leaves out because they follow conversions, and why: the same judgement as a training's.

Works on raw tables; what the times mean is the business of `training.leakage.onset`.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from features.durations import DAY
from features.times import INSTANT
from training.leakage.onset import ALMOST_ALL, around_conversion, onset


@dataclass(frozen=True)
class Suspect:
    """An event left out of the draft, and why."""

    event: str
    why: str


def conversions(events: pl.DataFrame, trials: pl.DataFrame | None, conversion: str | None, key: str) -> pl.DataFrame:
    """Return each converter's first conversion: columns `key` and converted_at."""
    if trials is not None and "converted_at" in trials.columns:
        found = trials.drop_nulls("converted_at").select(key, pl.col("converted_at").cast(INSTANT))
    else:
        found = events.filter(pl.col("event") == (conversion or "")).select(
            key, pl.col("timestamp").alias("converted_at")
        )
    return found.group_by(key).agg(pl.col("converted_at").min())


def suspects(
    events: pl.DataFrame, trials: pl.DataFrame | None, ends: pl.DataFrame, key: str, known: tuple[str, ...], least: int
) -> list[Suspect]:
    """Return the events, not among `known`, that are a part of converting or only follow it, in order of their names.

    `ends` are the conversions; events that fewer than `least` leads ever did are not looked at.
    """
    done = events.filter(~pl.col("event").is_in(known))
    first = done.group_by(key, "event").agg(pl.col("timestamp").min())
    begun = _starts(events, trials, key)
    seen = first.join(ends, on=key, how="left").join(begun, on=key, how="left")
    found = []
    for (event,), mine in sorted(seen.group_by("event"), key=lambda pair: str(pair[0][0])):
        if len(mine) >= least and (why := _why(mine)):
            found.append(Suspect(str(event), why))
    return found


def _starts(events: pl.DataFrame, trials: pl.DataFrame | None, key: str) -> pl.DataFrame:
    """Return when each lead began: columns `key` and started_at."""
    if trials is not None:
        return trials.group_by(key).agg(pl.col("started_at").min())
    return events.group_by(key).agg(started_at=pl.col("timestamp").min())


def _why(first: pl.DataFrame) -> str | None:
    """Return what is wrong with an event by the first time that each lead did it, None where nothing is."""
    after = (pl.col("timestamp") >= pl.col("converted_at")).fill_null(value=False).mean()
    share = float(first.select(after).item())
    if share >= ALMOST_ALL:
        return f"{share:.0%} of those who did it had converted before: a consequence, not a sign"
    won = first.drop_nulls(("converted_at", "started_at"))
    lead_time, age = (
        won.select((pl.col("converted_at") - pl.col(since)).dt.total_microseconds() / DAY).to_series().to_numpy()
        for since in ("timestamp", "started_at")
    )
    verdict = around_conversion(onset(lead_time, age))
    return None if verdict is None else verdict.why

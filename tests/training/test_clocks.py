"""What arrives late is measured: on events, on snapshots, and signal by signal."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset, dataset
from features.definition import parse
from features.matrix import FeatureBuilder
from training.clocks import Clocks, compare_clocks
from training.snapshots import snapshots

TEXT = """
product: T
clock: {clock}
conversion: {{column: converted_at, horizon: 2d}}
score_at: [1d]
windows: [trial]
cutoff: {{at_least: 0.3}}
signals:
  - {{name: slow, kind: activation, events: [slow], measures: [count], text: "did {{count:once|times}}"}}
  - {{name: quick, kind: activation, events: [quick], measures: [count], text: "did {{count:once|times}}"}}
"""
START = datetime(2026, 3, 1, tzinfo=UTC)


def data(delays: Sequence[timedelta | None], clock: str = "timestamp") -> Dataset:
    """One user per delay: each did `slow` an hour into the trial, which arrived that much later, and `quick` at once."""
    rows = []
    for i, delay in enumerate(delays):
        happened = START + timedelta(hours=1)
        arrived = None if delay is None else happened + delay
        rows.append({"user_id": f"u{i}", "event": "slow", "timestamp": happened, "received_at": arrived})
        soon = None if delay is None else happened
        rows.append({"user_id": f"u{i}", "event": "quick", "timestamp": happened, "received_at": soon})
    rows.append({"user_id": "u0", "event": "quick", "timestamp": START + timedelta(days=5), "received_at": None})
    trials = pl.DataFrame(
        {"user_id": [f"u{i}" for i in range(len(delays))], "started_at": START, "converted_at": None},
        schema_overrides={"converted_at": pl.Datetime("us", "UTC"), "started_at": pl.Datetime("us", "UTC")},
    )
    schema = {"timestamp": pl.Datetime("us", "UTC"), "received_at": pl.Datetime("us", "UTC")}
    return dataset(pl.DataFrame(rows, schema_overrides=schema), trials, parse(TEXT.format(clock=clock)))


def clocks(found: Dataset) -> Clocks | None:
    table, builder = snapshots(found, found.leads), FeatureBuilder(found.definition, {})
    return compare_clocks(found, builder, table, found.rows(builder, table.lead, table.as_of))


def test_events_that_do_not_say_when_they_arrived_have_one_clock() -> None:
    assert clocks(data([None, None])) is None


@pytest.mark.parametrize("clock", ["timestamp", "received_at"])
def test_the_two_clocks_differ_where_an_event_arrived_after_the_snapshot(clock: str) -> None:
    delays = [timedelta(0), timedelta(hours=23) - timedelta(microseconds=1), timedelta(hours=23), timedelta(days=30)]
    found = clocks(data(delays, clock))
    assert found is not None
    assert found.clock == clock
    assert found.with_arrival == 8
    assert found.rows_differ == 0.5
    assert found.signals_differ == (("slow", 0.5),)
    assert dict(found.late) == {"a minute": 3 / 8, "an hour": 3 / 8, "a day": 1 / 8, "a week": 1 / 8}


def test_the_features_follow_the_clock_of_the_definition() -> None:
    late = [timedelta(days=3)]
    counts = {}
    for clock in ("timestamp", "received_at"):
        found = data(late, clock)
        builder = FeatureBuilder(found.definition, {})
        names = [column.name for column in builder.columns]
        table = snapshots(found, found.leads)
        row = found.rows(builder, table.lead, table.as_of)[0]
        counts[clock] = (row[names.index("slow_count_trial")], row[names.index("quick_count_trial")])
    assert counts == {"timestamp": (1.0, 1.0), "received_at": (0.0, 1.0)}


def test_unknown_values_by_both_clocks_are_no_difference() -> None:
    never = 'events: [x], measures: [days_since_last], text: "did"'
    text = TEXT.format(clock="timestamp")
    text = text.replace('events: [slow], measures: [count], text: "did {count:once|times}"', never)
    found = data([timedelta(0)])
    found = dataset(found.source, found.trials, parse(text))
    builder, table = FeatureBuilder(found.definition, {}), snapshots(found, found.leads)
    rows = found.rows(builder, table.lead, table.as_of)
    assert np.isnan(rows).any()
    compared = compare_clocks(found, builder, table, rows)
    assert compared is not None
    assert compared.rows_differ == 0.0

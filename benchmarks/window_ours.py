"""Our side of the window benchmark, through the calls that training, batch scoring and requests use.

`python -m benchmarks.window_ours rows EVENTS TRIALS [OUT]` computes the workload's rows and holds them all; `streamed` computes
them part by part, for more than memory holds; `one_lead` prints how many microseconds one lead takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.window_work import COLUMNS, DAY, EVENTS, SNAPSHOT_DAYS, Work, make, settled
from features.dataset import dataset
from features.definition import Definition, parse
from features.leads import NEVER, Leads
from features.logs import Happening, read_requests
from features.matrix import FeatureBuilder
from features.sources.locations import open_source
from features.windows import Floats

_SIGNAL = """
  - name: {name}
    kind: usage_depth
    events: [{events}]
    measures: [{measures}]
    windows: [1d, 7d, trial]
    text: "{text}"
"""
_DEFINITION = """
product: Benchmark
trial: {{length: 14d}}
conversion: {{event: subscription_started, horizon: 30d}}
score_at: [14d]
windows: [1d, 7d, trial]
cutoff: {{policy: precision, at_least: 0.3}}
signals:{signals}
"""


def definition() -> Definition:
    """Return the definition with the workload's columns."""
    each = [
        _SIGNAL.format(name=event, events=event, measures="count, days_since_last", text="{count} {window}")
        for event in EVENTS
    ]
    every = _SIGNAL.format(
        name="activity", events=", ".join(EVENTS), measures="active_days", text="{active_days} {window}"
    )
    return parse(_DEFINITION.format(signals="".join([*each, every])), "the benchmark's definition")


@dataclass(frozen=True)
class Rows:
    """The matrix as training sees it, day by day and within a day user by user, and what is needed to read it."""

    matrix: Floats
    names: list[str]
    users: Sequence[str]

    def table(self) -> pl.DataFrame:
        """Return the workload's columns of the matrix."""
        columns = {name: self.matrix[:, self.names.index(name)] for name in COLUMNS}
        keys = {
            "user_id": list(self.users) * len(SNAPSHOT_DAYS),
            "day": np.repeat(SNAPSHOT_DAYS, len(self.users)),
        }
        return pl.DataFrame(keys | columns)


def ours(work: Work) -> Rows:
    """Return the workload's rows, all in memory."""
    rules = definition()
    builder = FeatureBuilder(rules, {})
    data = dataset(open_source(str(work.events)), pl.read_parquet(work.trials), rules)
    n = len(data.leads)
    which = np.tile(np.arange(n), len(SNAPSHOT_DAYS))
    as_of = data.leads.started_at[which] + np.repeat(SNAPSHOT_DAYS, n) * DAY
    return Rows(data.rows(builder, which, as_of), [column.name for column in builder.columns], data.leads.ids)


def streamed(work: Work) -> int:
    """Compute the workload's rows part by part, keep none, and return how many there were."""
    rules = definition()
    builder = FeatureBuilder(rules, {})
    data = dataset(open_source(str(work.events)), pl.read_parquet(work.trials), rules)
    days, made = np.array(SNAPSHOT_DAYS, np.int64) * DAY, 0
    for part in data.parts():
        which = np.repeat(np.arange(len(part.numbers)), len(days))
        as_of = part.leads.started_at[which] + np.tile(days, len(part.numbers))
        made += len(builder.rows(part.leads, part.logs, which, as_of))
    return made


def one_lead(n_events: int = 500, calls: int = 2000) -> float:
    """Return the median time in microseconds from one lead's events, as a request has them, to its row."""
    rules = definition()
    builder = FeatureBuilder(rules, {})
    rng = np.random.default_rng(0)
    start = 1_735_689_600_000_000
    times = start + rng.integers(-10 * DAY, 14 * DAY, n_events)
    names = rng.choice(EVENTS, n_events).tolist()
    happened = [Happening(0, "u", True, name, int(at), {}) for name, at in zip(names, times, strict=True)]  # noqa: FBT003
    never, nobody = np.array([NEVER]), np.array([0])
    leads = Leads(["u"], [None], nobody, np.array([start]), never, never, never, {})
    as_of = np.array([start + 14 * DAY])
    spent = []
    for _ in range(calls):
        began = time.perf_counter()
        builder.rows(leads, read_requests(happened, leads.ids, builder.vocabulary), nobody, as_of)
        spent.append(time.perf_counter() - began)
    # The first call loads the compiled windows, which the median does not see.
    return float(np.median(spent)) * 1e6


def main(what: str, *arguments: str) -> None:
    """Do one of the things that the module's text names."""
    if what == "one_lead":
        print(one_lead())
    elif what == "rows":
        rows = ours(make(int(arguments[0]), int(arguments[1])))
        if len(arguments) > 2:
            settled(rows.table()).write_parquet(Path(arguments[2]))
    elif what == "streamed":
        print(streamed(make(int(arguments[0]), int(arguments[1]))))
    else:
        sys.exit(f"The first word must be rows, streamed or one_lead, got {what!r}.")


if __name__ == "__main__":
    main(*sys.argv[1:])

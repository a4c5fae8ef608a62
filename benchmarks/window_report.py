"""The window benchmark's findings as a section of `docs/results.md`: what each side costs, and which bars are met."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.window_work import COLUMNS, SNAPSHOT_DAYS, Work

WORDS = {
    "ours": "this project",
    "polars_grid": "Polars, a group_by per snapshot day, results scattered into a dense grid",
    "polars_layers": "Polars, one group_by over runs of whole days, layers of a dense grid",
    "polars_moments": "Polars, events joined to snapshots (works for snapshots at any moment)",
    "duckdb": "DuckDB, events joined to snapshots, grouped twice",
    "duckdb_filtered": "DuckDB, one filtered aggregate per column",
    "polars_floor": "floor: Polars sorts the events by user and time, no features",
}
BEST_POLARS = ("polars_grid", "polars_layers", "polars_moments")


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int

    @classmethod
    def best(cls, runs: Sequence[Cost]) -> Cost:
        """Return the cheapest run's times, with the highest memory of all runs."""
        cheapest = min(runs, key=lambda cost: cost.cpu_seconds)
        return cls(cheapest.cpu_seconds, cheapest.wall_seconds, max(cost.peak_bytes for cost in runs))


@dataclass(frozen=True)
class Findings:
    """All that was measured.

    Attributes
    ----------
    checked : rows that were compared with plain Python
    costs : of every side on the workload
    start : our cost on next to nothing, which is what loading the program costs
    sizes : our cost on the smaller and the larger workload
    streamed : our cost on the larger one where its rows are made part by part and not kept
    featuretools : its cost on a sample and the sample's rows, None where it was not measured
    one_lead : microseconds
    """

    work: Work
    repeats: int
    checked: int
    costs: Mapping[str, Cost]
    start: Cost
    sizes: Mapping[Work, Cost]
    streamed: Cost
    featuretools: tuple[Cost, int] | None
    one_lead: float

    @property
    def ours(self) -> Cost:
        return self.costs["ours"]

    def times(self, side: str) -> float:
        """How many times as many rows per CPU second ours makes."""
        return self.costs[side].cpu_seconds / self.ours.cpu_seconds

    def per_event(self, work: Work, cost: Cost) -> float:
        """Return CPU microseconds per event, without what loading the program costs at any size."""
        return (cost.cpu_seconds - self.start.cpu_seconds) / work.n_events * 1e6


@dataclass(frozen=True)
class Bar:
    """A promise about our side; `met` is None where it was not measured."""

    what: str
    needed: str
    got: str
    met: bool | None

    @property
    def row(self) -> str:
        verdict = {True: "met", False: "**missed**", None: "not measured"}[self.met]
        return f"| {self.what} | {self.needed} | {self.got} | {verdict} |"


def bars(found: Findings) -> Iterator[Bar]:
    """Yield every bar with what was measured."""
    best = min(BEST_POLARS, key=lambda side: found.costs[side].cpu_seconds)
    yield _at_least("rows per CPU second, against the best Polars query", found.times(best), 6)
    yield _at_least("the same, against one DuckDB query with filtered aggregates", found.times("duckdb_filtered"), 25)
    yield _against_featuretools(found)
    share = 1 / found.times("polars_floor")
    yield Bar("CPU, against Polars only sorting the events", "at most 1.1x", f"{share:.2f}x", share <= 1.1)
    small, large = sorted(found.sizes, key=lambda work: work.n_events)
    growth = found.per_event(found.work, found.ours) / found.per_event(small, found.sizes[small]) - 1
    sizes = f"{_count(small.n_events)} to {_count(found.work.n_events)} events"
    yield Bar(f"CPU per event, from {sizes}", "grows by at most 15 %", f"{growth:+.0%}", growth <= 0.15)
    yield _peak(found.work, found.ours, 1.5)
    yield _peak(large, found.sizes[large], 2.0)
    yield Bar("one lead with 500 events, all columns", "under 150 µs", f"{found.one_lead:.0f} µs", found.one_lead < 150)


def _at_least(what: str, times: float, needed: int) -> Bar:
    return Bar(what, f"at least {needed:,}x", _times(times), times >= needed)


def _against_featuretools(found: Findings) -> Bar:
    what, needed = "the same, against Featuretools", 5000
    if found.featuretools is None:
        return Bar(what, f"at least {needed:,}x", "", None)
    cost, rows = found.featuretools
    times = found.work.n_rows / found.ours.cpu_seconds / (rows / cost.cpu_seconds)
    return _at_least(what, times, needed)


def _peak(work: Work, cost: Cost, most: float) -> Bar:
    got = cost.peak_bytes / 1e9
    return Bar(f"peak memory, {_count(work.n_events)} events", f"under {most:g} GB", f"{got:.2f} GB", got < most)


def _times(times: float) -> str:
    return f"{times:,.2f}x" if times < 10 else f"{times:,.0f}x"


def _count(n: int) -> str:
    return f"{n / 1e6:g}M" if n >= 1_000_000 else f"{n:,}"


def section(found: Findings) -> str:
    """Return the section as Markdown."""
    work, days = found.work, ", ".join(map(str, SNAPSHOT_DAYS))
    against = f" and with plain Python on {found.checked:,} of them" if found.checked else ""
    return f"""## Feature windows

{work.n_events:,} events of {work.n_trials:,} trials in one Parquet file, in order of arrival; {work.n_rows:,} rows (days {days}
of each trial) of {len(COLUMNS)} columns: for 20 events the counts in 1 day, 7 days and since the trial began and the days since
the last one, and the active days over all events. Each side is a process of its own; CPU is user and system time of all of it,
imports and reading included, the least of {found.repeats} runs that took turns. The peers run on one thread, which costs each of
them less CPU time than two. All sides agree on every row{against}; days are compared in whole microseconds.

| side | CPU s | wall s | peak GB | rows per CPU s |
|---|---|---|---|---|
{chr(10).join(_lines(found))}

| bar | needed | measured | |
|---|---|---|---|
{chr(10).join(bar.row for bar in bars(found))}

Growth is counted without the {found.start.cpu_seconds:.2f} CPU s that our program takes for next to nothing. Against the Polars
query for snapshots at any moment, which is what ours answers, the factor is {_times(found.times("polars_moments"))}; the faster
Polars queries hold for whole-day windows and whole-day snapshots only. Against the best DuckDB query we found it is
{_times(found.times("duckdb"))}. Ours checks and cleans what it reads and counts repeated events once; the peers' data has neither.

{_machine()}
"""


def _lines(found: Findings) -> Iterator[str]:
    for side, cost in found.costs.items():
        yield _line(WORDS[side], cost, None if side == "polars_floor" else found.work.n_rows)
    for work, cost in found.sizes.items():
        yield _line(f"this project, {_count(work.n_events)} events, {work.n_rows:,} rows", cost, work.n_rows)
    large = max(found.sizes, key=lambda work: work.n_events)
    what = f"this project, {_count(large.n_events)} events, rows made part by part and not kept"
    yield _line(what, found.streamed, large.n_rows)
    if found.featuretools:
        cost, rows = found.featuretools
        yield _line(f"Featuretools, {rows:,} of the rows", cost, rows)


def _line(what: str, cost: Cost, rows: int | None) -> str:
    rate = (
        ""
        if rows is None
        else f"{rows / cost.cpu_seconds:,.3g}"
        if rows < 10_000
        else f"{rows / cost.cpu_seconds:,.0f}"
    )
    times = f"{cost.cpu_seconds:.2f} | {cost.wall_seconds:.2f} | {cost.peak_bytes / 1e9:.2f}"
    return f"| {what} | {times} | {rate} |"


def _machine() -> str:
    """Return processor, memory and versions in a sentence."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "numpy", "numba", "duckdb"))
    lock = (Path(__file__).parent / "peers.lock").read_text(encoding="utf-8").split()
    older = next(line for line in lock if line.startswith("featuretools==")).replace("==", " ")
    memory = _fact("/proc/meminfo", "MemTotal").split()
    ram = f"{int(memory[0]) / 1024**2:.0f} GB" if memory else "unknown memory"
    processor = _fact("/proc/cpuinfo", "model name") or platform.machine()
    return f"{os.cpu_count()} cores of {processor}, {ram}; Python {platform.python_version()}, {packages}, {older}."


def _fact(path: str, key: str) -> str:
    """Return a value that Linux tells of the machine, an empty text elsewhere."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")

"""Feature windows against their peers, as processes side by side: `python -m benchmarks.windows --out PAGE.md`.

Every side reads the same Parquet files and ends with the same rows in memory, which are compared before anything is timed.
A side's cost is the CPU time of its whole process, imports and reading included; the cheapest of its runs counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from benchmarks.results import put
from benchmarks.window_reference import reference_rows
from benchmarks.window_report import Cost, Findings, section
from benchmarks.window_work import ROOT, Work, make

PEERS_PYTHON = ROOT / "build" / "peers" / "bin" / "python"
"""The environment of benchmarks/peers.lock, see `main`."""

OURS = "ours"
SIDES = (OURS, "polars_grid", "polars_layers", "polars_moments", "duckdb", "duckdb_filtered", "polars_floor")
STREAMED = "streamed"
COMPARED = tuple(side for side in SIDES if side != "polars_floor")


def command(side: str, work: Work, out: Path | None = None) -> list[str]:
    """Return the command that runs one side."""
    size = [str(work.n_events), str(work.n_trials), *([str(out)] if out else [])]
    if side in (OURS, STREAMED):
        return [sys.executable, "-m", "benchmarks.window_ours", "rows" if side == OURS else side, *size]
    return [sys.executable, "-m", "benchmarks.window_peers", side, *size]


def environment(side: str) -> dict[str, str]:
    """Return the environment of one side; a second thread costs every peer CPU time, so they get one."""
    # Compiled modules may be kept, as they are wherever a program runs twice.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **({} if side in (OURS, STREAMED) else {"POLARS_MAX_THREADS": "1"})}


def run(words: Sequence[str], env: dict[str, str]) -> tuple[Cost, str]:
    """Return what a command costs and what it printed; ends the benchmark where it fails."""
    words = [sys.executable, "-S", str(ROOT / "benchmarks" / "measured.py"), *words]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True)  # noqa: S603
    told = json.loads(done.stdout)
    if told.pop("exit_code"):
        sys.exit(f"{' '.join(words[3:])} failed:\n{done.stderr[-2000:]}")
    return Cost(**told), done.stderr


def compare(work: Work) -> int:
    """Check that all sides agree with one another on every row and with plain Python on some; return how many those are.

    Ends the benchmark at the first side that differs.
    """
    expected = reference_rows(work)
    for side in COMPARED:
        path = results(work, side)
        run(command(side, work, path), environment(side))
        rows = pl.read_parquet(path)
        _must_equal(side, rows, pl.read_parquet(results(work, OURS)))
        _must_equal(side, rows.join(expected.select("user_id").unique(), on="user_id", how="semi"), expected)
    return len(expected)


def results(work: Work, side: str) -> Path:
    """Return where the settled rows of a side are kept."""
    return work.events.with_name(f"{work.events.stem}_{side}.parquet")


def _must_equal(side: str, rows: pl.DataFrame, expected: pl.DataFrame) -> None:
    if rows.equals(expected):
        return
    if rows.shape != expected.shape:
        sys.exit(f"{side}: must have {expected.shape} rows and columns, got {rows.shape}.")
    differing = [name for name in expected.columns if not rows[name].equals(expected[name])]
    sys.exit(f"{side}: {len(differing)} columns differ from what they must be, the first of them {differing[:5]}.")


def featuretools(work: Work, users: int) -> tuple[Cost, int] | None:
    """Return what Featuretools costs on a sample, and the sample's rows; None where it is not installed or not asked for."""
    if not users or not PEERS_PYTHON.exists():
        return None
    path = results(work, "featuretools")
    size = [str(work.n_events), str(work.n_trials), str(users), str(path)]
    cost, _ = run([str(PEERS_PYTHON), "-m", "benchmarks.window_featuretools", *size], environment("featuretools"))
    rows = pl.read_parquet(path)
    everyone = pl.read_parquet(results(work, OURS))
    _must_equal("featuretools", rows, everyone.join(rows.select("user_id").unique(), on="user_id", how="semi"))
    return cost, len(rows)


def timed(work: Work, sides: Sequence[str], repeats: int) -> dict[str, list[Cost]]:
    """Return the costs of each side's runs; they take turns, every other time in reverse order."""
    costs: dict[str, list[Cost]] = {side: [] for side in sides}
    for turn in range(repeats):
        for side in sides if turn % 2 == 0 else reversed(sides):
            costs[side].append(run(command(side, work), environment(side))[0])
            print(
                f"{side:>16} {work.n_events:>12,}  {costs[side][-1].cpu_seconds:8.2f} CPU s",
                file=sys.stderr,
                flush=True,
            )
    return costs


def find(n_events: int, n_trials: int, repeats: int, users: int) -> Findings:
    """Make the workloads, compare the sides and measure them."""
    small, work, large = (make(n_events * k // 10, n_trials * k // 10) for k in (1, 10, 30))
    checked = compare(work)
    costs = timed(work, SIDES, repeats)
    one_lead = [sys.executable, "-m", "benchmarks.window_ours", "one_lead"]
    micros = min(float(run(one_lead, environment(OURS))[1].split()[-1]) for _ in range(repeats))
    # The smallest that makes sense stands for what our program costs at any size.
    sizes = (make(1000, 10), small, large)
    tiny, *ours = (Cost.best(timed(size, [OURS], repeats)[OURS]) for size in sizes)
    streamed = Cost.best(timed(large, [STREAMED], repeats)[STREAMED])
    best = {side: Cost.best(runs) for side, runs in costs.items()}
    return Findings(
        work,
        repeats,
        checked,
        best,
        tiny,
        dict(zip((small, large), ours, strict=True)),
        streamed,
        featuretools(work, users),
        micros,
    )


def main() -> None:
    """Run everything and write the section; see `--help`.

    Featuretools needs packages older than ours, which `make bench` puts into build/peers. Without them its line says that it was
    not measured.
    """
    parser = argparse.ArgumentParser(description="Measure feature windows against their peers.")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--featuretools-users", type=int, default=200, help="0 leaves Featuretools out")
    parser.add_argument("--out", type=Path, required=True, help="the Markdown file to write the section into")
    asked = parser.parse_args()
    text = section(find(asked.events, asked.trials, asked.repeats, asked.featuretools_users))
    put(asked.out, text)
    print(text)


if __name__ == "__main__":
    main()

"""What a batch job costs: a million leads with 60 ready values each, against LightGBM's own prediction of the same rows.

`python -m benchmarks.serving_batch` prints a table. Times are processor time of the whole process that scores, its start,
the reading of the file and the writing of the result with them; the ratio is of one run, so that other work on the machine
weighs on both sides.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from benchmarks.serving_model import ROOT, World, world
from features.sources import files
from features.windows import Floats
from serving.jobs.manager import LIMITS
from serving.jobs.reading import Form
from serving.jobs.store import Asked, Job, Store

LEADS: Final = 1_000_000
NOW: Final = 1_767_000_000_000_000
"""2025-12-29, the moment of every lead."""


@dataclass(frozen=True)
class Case:
    """One way to ask for a job."""

    form: Form
    output: Form
    reasons: int = 0
    explain: Literal["likely", "all"] = "likely"

    @property
    def name(self) -> str:
        words = f", reasons for {self.explain}" if self.reasons else ""
        return f"{self.form} in, {self.output} out{words}"


CASES: Final = (
    Case("parquet", "parquet"), Case("csv", "csv"), Case("jsonl", "jsonl"), Case("parquet", "parquet", 3),
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What a job took.

    Attributes
    ----------
    seconds : processor time of its process
    peak_mb : the most memory that it held, in MiB
    explained : leads that got words
    """

    name: str
    seconds: float
    peak_mb: float
    leads: int
    explained: int

    def share(self, predicting: float) -> float:
        """Return its rate as a share of that of a prediction of the same rows which took so long."""
        return predicting / self.seconds


def measure(n: int = LEADS, cases: tuple[Case, ...] = CASES) -> dict[str, Any]:
    """Return what LightGBM's prediction and each job took, in seconds of processor time, and the jobs' peak memory."""
    made = world(64)
    rows = drawn(made, n)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = made.scorer.artifact.save(place / "model")
        files = {form: _written(made, rows, place, form) for form in sorted({case.form for case in cases})}
        # The first start compiles what later ones find on the disk.
        started = [_job(Case("parquet", "parquet"), _small(made, place), place, model) for _ in range(2)][-1]
        predicting = _predicting(made, rows)
        del rows
        jobs = [_job(case, files[case.form], place, model) for case in cases]
    return {
        "leads": n,
        "columns": len(made.scorer.builder.columns),
        "predict_seconds": predicting,
        "start_seconds": started.seconds,
        "start_mb": started.peak_mb,
        "jobs": [asdict(one) | {"share": one.share(predicting)} for one in jobs],
    }


def drawn(made: World, n: int) -> Floats:
    """Return rows whose values are those of leads of the world, column by column by chance; ages all over a trial."""
    rng, base = np.random.default_rng(2), made.rows()
    rows = np.empty((n, base.shape[1]))
    for column in range(base.shape[1]):
        rows[:, column] = base[rng.integers(0, len(base), n), column]
    rows[:, 0] = rng.uniform(3.0, 13.9, n)
    return rows


def _table(made: World, rows: Floats) -> pl.DataFrame:
    names = [column.name for column in made.scorer.builder.columns]
    ids = pl.Series("lead_id", [f"u_{place:07d}" for place in range(len(rows))])
    values = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.all().fill_nan(None))
    return values.insert_column(0, ids)


def _written(made: World, rows: Floats, folder: Path, form: Form) -> Path:
    table, path = _table(made, rows), folder / f"leads.{form}"
    files.write(table, path)
    return path


def _small(made: World, folder: Path) -> Path:
    path = folder / "small.parquet"
    _table(made, drawn(made, 10)).write_parquet(path)
    return path


def _predicting(made: World, rows: Floats) -> float:
    """Return the least of three times that LightGBM takes for all rows, already in memory as it likes them best."""
    booster, times = made.scorer.artifact.booster, []
    for _ in range(3):
        started = time.process_time()
        booster.predict(rows, num_threads=1)
        times.append(time.process_time() - started)
    return min(times)


def _job(case: Case, file: Path, folder: Path, model: Path) -> Cost:
    store = Store(folder / "jobs")
    asked = Asked(case.form, case.output, "features", case.reasons, case.explain, None, NOW)
    with store.upload(case.form) as upload, file.open("rb") as source:
        while part := source.read(1 << 20):
            upload.write(part)
        job = upload.finish(asked)
    command = [sys.executable, "-m", "serving.jobs.work", str(job.folder), str(model)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # The command is our own.
    child = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env={**environment, **LIMITS})  # noqa: S603
    peak = _peak(child.pid)
    _, child.returncode, used = os.wait4(child.pid, 0)
    if child.stdin is not None:
        child.stdin.close()
    cost = Cost(case.name, used.ru_utime + used.ru_stime, peak, _scored(job), _explained(job, case))
    job.remove()
    return cost


def _peak(pid: int) -> float:
    """Return the most memory that a process has held when it ends, in MiB.

    What `wait4` tells of that counts from the fork on, when the child was a copy of this process.
    """
    peak = 0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        time.sleep(0.02)
    return peak / 1024


def _scored(job: Job) -> int:
    state = job.state
    assert state.status == "success", state
    return state.scored or 0


def _explained(job: Job, case: Case) -> int:
    if not case.reasons or case.output != "parquet":
        return 0
    said = pl.scan_parquet(job.result("parquet")).select((pl.col("reasons").list.len() > 0).sum())
    return int(said.collect().item())


def main() -> None:
    """Print the table."""
    found = measure()
    print(f"{found['leads']:,} leads x {found['columns']} columns, one thread; seconds of processor time")
    print(f"{'LightGBM, rows in memory':45} {found['predict_seconds']:8.2f} s")
    print(f"{'start of a job, in the times below':45} {found['start_seconds']:8.2f} s {found['start_mb']:12.0f} MB")
    for one in found["jobs"]:
        told = f", {one['explained']:,} explained" if one["explained"] else ""
        rate = one["leads"] / one["seconds"]
        print(
            f"{one['name']:45} {one['seconds']:8.2f} s {one['peak_mb']:12.0f} MB {one['share']:8.0%} "
            f"{rate:10,.0f} leads/s{told}"
        )


if __name__ == "__main__":
    main()

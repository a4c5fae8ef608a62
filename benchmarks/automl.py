"""Our ranking against FLAML with the same columns and ten minutes a task: `python -m benchmarks.automl PAGE`.

FLAML learns from the same rows as ours (those whose outcome was known), is scored on the same later leads, and may try
every learner it knows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reference_tasks import DATA, ROOT, TASKS, Judged, Task, judged
from benchmarks.results import put
from training import evaluate

SECONDS = 600
PEER = ROOT / "build" / "automl" / "bin" / "python"


@dataclass(frozen=True)
class Pair:
    """Our figures and theirs on one task's later leads, with what they chose."""

    task: Task
    learner: str
    ours: tuple[float, float]
    theirs: tuple[float, float]


def run(task: Task, seconds: float = SECONDS) -> Pair:
    """Return both sides' AUC and average precision on one task."""
    found = judged(task)
    answer = _peer(found, seconds)
    return Pair(
        task, answer["learner"], _figures(found, found.probabilities), _figures(found, np.array(answer["scores"]))
    )


def _peer(found: Judged, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.npz"
        fit = found.trained.split.fit
        np.savez(table, rows=found.rows[fit], converted=found.trained.table.converted[fit], later=found.later)
        command = [str(PEER), str(ROOT / "benchmarks" / "automl_peer.py"), str(table), str(seconds)]
        quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet, cwd=folder)  # noqa: S603 - our own command
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _figures(found: Judged, scores: np.ndarray) -> tuple[float, float]:
    weight = np.ones(len(scores))
    return (
        evaluate.auc(found.outcomes, scores, weight),
        evaluate.average_precision(found.outcomes, scores, weight),
    )


def section(pairs: list[Pair]) -> str:
    """Return the section of docs/results.md."""
    rows = "\n".join(
        f"| {pair.task.name} | **{pair.ours[0]:.4f}** | {pair.theirs[0]:.4f} | **{pair.ours[1]:.4f}** | {pair.theirs[1]:.4f} "
        f"| {pair.learner} |"
        for pair in pairs
    )
    mean = [np.mean([side[figure] for side in sides]) for figure in (0, 1) for sides in _sides(pairs)]
    return f"""## Against automatic machine learning

FLAML 2.7.0, {SECONDS} seconds a task on one core, all its learners, searching for the best AUC; the same columns, the
same rows to learn from and the same later leads as ours. Our training takes one to three seconds a task.

| task | AUC | FLAML | average precision | FLAML | what FLAML chose |
|---|---|---|---|---|---|
{rows}
| mean | **{mean[0]:.4f}** | {mean[1]:.4f} | **{mean[2]:.4f}** | {mean[3]:.4f} | |
"""


def _sides(pairs: list[Pair]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    return [pair.ours for pair in pairs], [pair.theirs for pair in pairs]


def main(out: Path) -> None:
    """Run every task and write the section."""
    for needed in (DATA, PEER):
        if not needed.exists():
            sys.exit(f"{needed} is not here; see `make bench`.")
    pairs = []
    for task in TASKS:
        pairs.append(run(task))
        print(pairs[-1], flush=True)
    put(out, section(pairs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

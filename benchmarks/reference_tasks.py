"""Ranking on three public data sets against their README's reference: `python -m benchmarks.reference_tasks PAGE`.

Each task is a definition in `examples/` as `pql init` drafts it, with horizon and snapshot day set to the task's.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.results import put
from features.dataset import dataset
from features.definition import parse
from features.leads import NEVER
from features.sources.locations import open_source
from features.times import parse_instant
from features.windows import Floats, Ints
from serving.scoring.scorer import Scorer
from training import evaluate
from training.evaluate import Interval
from training.judging.recalibration import cox_test
from training.pipeline import Settings, Trained, train

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Task:
    """A test set that others can rebuild, and the better of LightGBM and logistic regression on plain counts there.

    `every_trial` judges on all trials from `test_from` on with the outcome seen so far, as the reference does for
    `journey`; otherwise on those whose horizon has passed.
    """

    name: str
    data: str
    test_from: str
    auc: float
    average_precision: float
    leads: int
    converted: int
    every_trial: bool = False

    @property
    def definition(self) -> Path:
        return ROOT / "examples" / f"{self.name}.yaml"


TASKS = (
    Task("udacity_day3", "udacity", "2015-04-01", 0.658, 0.909, 613, 517),
    Task("udacity_day5", "udacity", "2015-04-01", 0.701, 0.940, 589, 517),
    Task("relax_day7_30d", "relax", "2013-09-01", 0.782, 0.192, 4554, 170),
    Task("relax_day7_90d", "relax", "2013-09-01", 0.748, 0.348, 3156, 380),
    Task("relax_day14_60d", "relax", "2013-09-01", 0.800, 0.370, 3633, 345),
    Task("journey", "journey", "2017-08-01", 0.807, 0.451, 3739, 513, every_trial=True),
)


@dataclass(frozen=True)
class Judged:
    """A trained version and the leads that judge it.

    Attributes
    ----------
    rows : float64 array of shape (n_snapshots, n_columns), of the version's own table
    later : float64 array of shape (n, n_columns), of the leads that judge it
    outcomes, probabilities, accounts : arrays of shape (n,)
    """

    trained: Trained
    rows: Floats
    later: Floats
    outcomes: Ints
    probabilities: Floats
    accounts: Ints


@dataclass(frozen=True)
class Score:
    """What a task's test set says of our model."""

    task: Task
    leads: int
    converted: int
    auc: Interval
    average_precision: Interval
    calibrated: float
    log_loss: float
    log_loss_of_base_rate: float


def run(task: Task) -> Score:
    """Return our figures on one task."""
    found = judged(task)
    weight, draws = np.ones(len(found.outcomes)), _draws(found.accounts)
    auc, precision = (
        evaluate.interval(metric, found.outcomes, found.probabilities, weight, draws)
        for metric in (evaluate.auc, evaluate.average_precision)
    )
    rate = np.full(len(found.outcomes), found.trained.predictions["base_rate"].iloc[0])
    return Score(
        task, len(found.outcomes), int(found.outcomes.sum()), auc, precision, _cox(found),
        evaluate.log_loss(found.outcomes, found.probabilities, weight), evaluate.log_loss(found.outcomes, rate, weight),
    )  # fmt: skip


def judged(task: Task) -> Judged:
    """Return the version trained on one task, with the leads that judge it."""
    text = task.definition.read_text(encoding="utf-8")
    folder = DATA / task.data
    data = dataset(open_source(str(folder / "events.parquet")), pl.read_parquet(folder / "trials.parquet"), parse(text))
    moment = parse_instant(f"{task.test_from}T00:00:00Z", "test_from")
    trained = train(data, text, Settings(moment))
    scorer, leads = Scorer(trained.artifact), data.leads
    if task.every_trial:
        which = np.flatnonzero(leads.started_at >= moment)
        as_of = leads.started_at[which] + data.definition.score_at[0]
        outcomes = (leads.converted_at[which] < NEVER).astype(np.int64)
    else:
        test = trained.table.take(trained.split.test)
        which, as_of, outcomes = test.lead, test.as_of, test.converted
    later = data.rows(scorer.builder, which, as_of)
    rows = data.rows(scorer.builder, trained.table.lead, trained.table.as_of)
    return Judged(trained, rows, later, outcomes, scorer.probabilities(later), leads.accounts[which])


def _cox(found: Judged) -> float:
    import pandas as pd

    return cox_test(found.outcomes, found.probabilities, pd.Series(found.accounts)).p_value


def _draws(accounts: Ints) -> Floats:
    import pandas as pd

    return evaluate.bootstrap_weights(pd.Series(accounts), seed=0)


def table(scores: list[Score]) -> str:
    """Return the results as Markdown."""
    rows = [
        "| task | test leads (converted) | AUC (95 % interval) | reference | AP (95 % interval) | reference "
        "| Cox test, p | log loss | of the base rate |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(score) for score in scores),
        _mean_row(scores),
    ]
    return "\n".join(rows)


def _row(score: Score) -> str:
    task = score.task
    return (
        f"| {task.name} | {score.leads:,} ({score.converted:,}) | {_words(score.auc)} | {task.auc:.3f} "
        f"| {_words(score.average_precision)} | {task.average_precision:.3f} "
        f"| {score.calibrated:.2f} | {score.log_loss:.4f} | {score.log_loss_of_base_rate:.4f} |"
    )


def _words(one: Interval) -> str:
    return f"**{one.value:.3f}** ({one.low:.3f} to {one.high:.3f})"


def _mean_row(scores: list[Score]) -> str:
    names = ("auc", "average_precision")
    auc, ap = (np.mean([getattr(score, name).value for score in scores]) for name in names)
    auc_ref, ap_ref = (np.mean([getattr(score.task, name) for score in scores]) for name in names)
    return f"| mean | | **{auc:.4f}** | {auc_ref:.4f} | **{ap:.4f}** | {ap_ref:.4f} |"


def section(scores: list[Score]) -> str:
    """Return the section of docs/results.md."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("lightgbm", "scikit-learn", "numpy", "polars"))
    return f"""## Ranking on public data

Test sets lie after the training data in time, with the label window purged. The reference is the better of untuned
LightGBM and logistic regression on plain counts, figure by figure. Intervals are from resampling accounts. The
definitions are in
`examples/`, as `pql init` drafts them, with the horizon, the snapshot day and the trial length set to the task's.

{table(scores)}

Python {platform.python_version()}, {platform.machine()}; {packages}.
"""


def main(out: Path) -> None:
    """Run every task and write the section."""
    if not DATA.exists():
        sys.exit(f"{DATA} is not here; the public data sets are needed for this benchmark.")
    scores = []
    for task in TASKS:
        scores.append(run(task))
        print(_row(scores[-1]), flush=True)
    put(out, section(scores))
    print(_mean_row(scores))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

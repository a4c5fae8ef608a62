"""What explaining costs beside scoring: `python -m benchmarks.reasons_cost PAGE [--rows 100000]`."""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np

from benchmarks.results import put
from benchmarks.truth_page import Bar, Part, table, text_of
from features.dataset import dataset
from features.definition import parse
from features.windows import Floats
from serving.scoring.answers import Asked, Subject, answers_of
from serving.scoring.decision import Cutoff
from serving.scoring.scorer import Scorer
from serving.scoring.tree_contributions import TreeContributions
from training.demo import simulate
from training.fit import DEFAULTS
from training.pipeline import Settings, train

HEADING: Final = "## Cost of reasons"
N_COLUMNS: Final = 60
LEARNED_FROM: Final = 20_000
PEERS_ROWS: Final = 5_000
"""The peers take minutes for all rows; their cost per row does not depend on how many there are."""
EXPLAINED: Final = 0.05
"""The share of leads that get reasons: about as many as become PQLs."""
REPEATS: Final = 3
DEMO_ACCOUNTS: Final = 1_500
ONE_BY_ONE: Final = 300

LARGE: Final = {"objective": "binary", "num_leaves": 31, "learning_rate": 0.05, "feature_fraction": 0.5}
ONE_THREAD: Final = {"num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}
MODELS: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "300 trees of 31 leaves, any depth": ({**LARGE, **ONE_THREAD}, 300),
    "200 trees of depth 3, as `pql train` grows them": (dict(DEFAULTS), 200),
}


@dataclass(frozen=True)
class Costs:
    """What a model's sides cost, in CPU seconds on one thread; `scaled` sides were run on `PEERS_ROWS` rows.

    Attributes
    ----------
    one_row : microseconds of wall time for a call with a single row, the median of many calls
    tables_megabytes : what our tables take
    difference : the largest absolute difference between ours and `shap.TreeExplainer`'s contributions
    """

    scoring: float
    making_tables: float
    ours: float
    ours_some: float
    lightgbm: float
    shap: float
    one_row: dict[str, float]
    tables_megabytes: float
    difference: float


def drawn(n_rows: int, seed: int) -> tuple[Floats, Floats]:
    """Return rows of counts, amounts and missing values, and who of them converted."""
    rng = np.random.default_rng(seed)
    rows: Floats = rng.normal(size=(n_rows, N_COLUMNS))
    rows[:, ::3] = rng.poisson(1.5, rows[:, ::3].shape)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    known = np.nan_to_num(rows)
    odds = (
        0.5 * known[:, 0] + known[:, 1] * known[:, 2] + np.sin(3 * known[:, 4]) + 0.2 * known[:, 5:15].sum(axis=1) - 1
    )
    return rows, (rng.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def cpu(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the CPU seconds of the cheapest run."""
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def one_by_one(work: Callable[[Floats], object], rows: Floats) -> float:
    """Return the microseconds of one call with one row."""
    found = []
    for i in range(ONE_BY_ONE):
        begun = time.perf_counter()
        work(rows[i : i + 1])
        found.append(time.perf_counter() - begun)
    return float(np.median(found) * 1e6)


def explainer_of(booster: lgb.Booster) -> Callable[[Floats], Floats]:
    """Return shap's way from rows to contributions, without what it warns of: its plots, and what it once gave back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from shap import TreeExplainer
    explainer = TreeExplainer(booster, feature_perturbation="tree_path_dependent")

    def explain(rows: Floats) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(explainer.shap_values(rows))

    return explain


def costs_of(parameters: dict[str, Any], rounds: int, n_rows: int) -> Costs:
    """Grow a model and measure every side of it."""
    booster = lgb.train(parameters, lgb.Dataset(*drawn(LEARNED_FROM, seed=0)), rounds)
    rows, text = drawn(n_rows, seed=1)[0], booster.model_to_string()
    few = rows[: min(PEERS_ROWS, n_rows)]
    scaled = n_rows / len(few)
    explain = explainer_of(booster)

    def raw(rows: Floats) -> object:
        return booster.predict(rows, raw_score=True, num_threads=1)

    def pred_contrib(rows: Floats) -> object:
        return booster.predict(rows, pred_contrib=True, num_threads=1)

    # Compiled before anything is timed, as it is from the second start of a program on.
    contributions = TreeContributions.of(text, N_COLUMNS).contributions
    difference = np.abs(contributions(few)[:, :-1] - explain(few)).max()
    return Costs(
        scoring=cpu(lambda: raw(rows)),
        making_tables=cpu(lambda: TreeContributions.of(text, N_COLUMNS)),
        ours=cpu(lambda: contributions(rows)),
        ours_some=cpu(lambda: contributions(rows[: int(EXPLAINED * n_rows)])),
        lightgbm=scaled * cpu(lambda: pred_contrib(few), 1),
        shap=scaled * cpu(lambda: explain(few), 1),
        one_row={name: one_by_one(work, rows) for name, work in
                 (("scoring", raw), ("ours", contributions), ("lightgbm", pred_contrib), ("shap", explain))},
        tables_megabytes=TreeContributions.of(text, N_COLUMNS).cells.nbytes / 1e6,
        difference=float(difference),
    )  # fmt: skip


@dataclass(frozen=True)
class Told:
    """CPU seconds for the answers to all leads: probabilities alone, reasons in words for the likely ones, and for all."""

    scored: float
    likely: float
    everybody: float
    explained: int


def large_scorer() -> tuple[Scorer, Floats]:
    """Return the demo product's version with the large model in its place, one lead in twenty a PQL, and rows to score."""
    text = Path("pql.yaml").read_text(encoding="utf-8")
    demo = simulate(DEMO_ACCOUNTS)
    data = dataset(demo.events, demo.trials, parse(text))
    trained = train(data, text, Settings())
    builder, snapshots = trained.artifact.builder, trained.table
    rows = data.rows(builder, snapshots.lead, snapshots.as_of)
    parameters, rounds = next(iter(MODELS.values()))
    booster = lgb.train(parameters, lgb.Dataset(rows, snapshots.converted), rounds)
    version = replace(trained.artifact, booster_text=booster.model_to_string(), examples=rows[:0], expected=np.empty(0))
    scorer = Scorer(version)
    cutoff = float(np.quantile(scorer.probabilities(rows), 1 - EXPLAINED))
    decision = Cutoff(cutoff, 0.3, 0.9, 900, 300, 0.31, "2025-01-01", "2025-12-01")
    course = replace(version.course, later=None)
    return Scorer(replace(version, decision=decision, course=course)), rows


def told(n_rows: int) -> Told:
    """Measure answers with and without reasons."""
    scorer, rows = large_scorer()
    traits = {"company_size": 120, "source": "ads", "email": "someone@granite.example"}
    subjects = [Subject(f"u{i}", None, 0, None, traits, rows[i % len(rows)]) for i in range(n_rows)]

    def answered(asked: Asked) -> int:
        return sum(bool(answer.reasons) for answer in answers_of(scorer, subjects, asked))

    def cost(asked: Asked) -> float:
        return cpu(partial(answered, asked), 2)

    explained = answered(Asked(3, "likely"))
    return Told(cost(Asked(0)), cost(Asked(3, "likely")), cost(Asked(3, "all")), explained)


def bars_of(costs: Costs, told: Told) -> list[Bar]:
    """Return what contributions and reasons may cost, for the large model."""
    times, whole = costs.shap / costs.ours, 1 + costs.ours_some / costs.scoring
    in_words = told.likely / told.scored
    return [
        Bar("contributions for all rows", "at most 40 CPU s", f"{costs.ours:.1f}", costs.ours <= 40),
        Bar("times less than `shap.TreeExplainer`", "at least 8", f"{times:.0f}", times >= 8),
        Bar("largest difference from `shap.TreeExplainer`", "at most 1e-5", f"{costs.difference:.0e}", costs.difference <= 1e-5),
        Bar(
            f"raw scores of all rows with contributions for {EXPLAINED:.0%}", "at most 2 times raw scores alone",
            f"{whole:.2f}", whole <= 2,
        ),
        Bar("answers with reasons for PQLs and leads near the cutoff", "at most 2 times answers without any", f"{in_words:.2f}",
            in_words <= 2),
    ]  # fmt: skip


def section(found: dict[str, Costs], words: Told, n_rows: int, seconds: float) -> str:
    """Return the section of the page; the first model is the one that the bars are about."""
    world = (
        f"{n_rows:,} rows of {N_COLUMNS} columns, CPU seconds on one thread (one row: microseconds a call). "
        f"`pred_contrib` and `shap.TreeExplainer` were run on {min(PEERS_ROWS, n_rows):,} rows and scaled; the latter hands "
        "the work to the former. "
        f"{platform.machine()}, Python {platform.python_version()}, LightGBM {version('lightgbm')}, shap {version('shap')}, "
        f"numba {version('numba')}."
    )
    first = next(iter(found.values()))
    sides = "\n\n".join(f"**{name}**\n\n{beside(costs)}" for name, costs in found.items())
    answered = (
        f"**Answers from {n_rows:,} feature rows of the demo product, the large model in place of its own, CPU seconds**: "
        f"{words.scored:.1f} without reasons, {words.likely:.1f} with reasons in words for {words.explained:,} leads, "
        f"{words.everybody:.1f} with reasons for all."
    )
    part = text_of(Part("Contributions", world, bars_of(first, words), f"{sides}\n\n{answered}"), seconds)
    return f"{HEADING}\n\n{part}\n"


def beside(costs: Costs) -> str:
    """Return a model's sides as a table."""
    one = costs.one_row
    rows = [
        ("raw scores (LightGBM)", f"{costs.scoring:.2f}", f"{one['scoring']:.0f}"),
        ("contributions, this project", f"{costs.ours:.2f}", f"{one['ours']:.0f}"),
        (f"contributions for {EXPLAINED:.0%}, this project", f"{costs.ours_some:.2f}", ""),
        ("`pred_contrib` (LightGBM)", f"{costs.lightgbm:.1f}", f"{one['lightgbm']:.0f}"),
        ("`shap.TreeExplainer`", f"{costs.shap:.1f}", f"{one['shap']:.0f}"),
    ]
    made = f"Tables: {costs.tables_megabytes:.1f} MB, made in {costs.making_tables:.2f} CPU s when a version is loaded."
    return f"{table(('side', 'all rows, CPU s', 'one row, µs'), rows)}\n\n{made}"


def main() -> None:
    """Measure everything and write the section."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("page", type=Path)
    words.add_argument("--rows", type=int, default=100_000)
    asked = words.parse_args()
    begun, found = time.process_time(), {}
    for name, (parameters, rounds) in MODELS.items():
        print(f"{name} ...", flush=True)
        found[name] = costs_of(parameters, rounds, asked.rows)
    text = section(found, told(asked.rows), asked.rows, time.process_time() - begun)
    put(asked.page, text)
    print(text)


if __name__ == "__main__":
    main()

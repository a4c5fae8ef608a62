"""A bounded, seeded search for better settings of the fit. The only door to optuna.

Each candidate is judged as the ladder judges: by the log loss on held-out blocks of accounts. The settings that come with
the project are the first candidate, so the search can only find better ones, on those blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from training.fit import FitSettings, Tick, fit
from training.learn import Table, seen_to_learn
from training.split import folds
from training.watched import lessons

if TYPE_CHECKING:
    from optuna import Trial

BLOCKS: Final = 3
"""Held-out blocks per candidate; the fit that follows uses more."""


@dataclass(frozen=True)
class Search:
    """How long to search: so many candidates, each costing some `BLOCKS` fits."""

    candidates: int = 25


@dataclass(frozen=True)
class Tuned:
    """The settings found, and what was tried, for people."""

    settings: FitSettings
    facts: Mapping[str, object]


def tuned(table: Table, settings: FitSettings, search: Search, tick: Tick = lambda _: None) -> Tuned:
    """Return the settings with the lowest held-out log loss among the candidates; same input, same seed, same settings."""
    import optuna

    numbers, seen = seen_to_learn(table)
    lesson, places = lessons(seen, 0.0, table.horizon, table.builder.columns, settings.ridge)
    blocks = folds(table.snapshots, numbers[places], BLOCKS, lesson.converted)

    def loss(trial: Trial) -> float:
        tick(f"candidate {trial.number + 1} of {search.candidates}")
        return float(fit(lesson, table.builder.columns, blocks, _candidate(trial, settings)).curve.min())

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=settings.seed))
    study.enqueue_trial(_as_they_are(settings))
    study.optimize(loss, n_trials=search.candidates)
    facts = {
        "candidates": len(study.trials), "chosen": dict(study.best_params), "held_out_log_loss": study.best_value,
        "held_out_log_loss_of_defaults": study.trials[0].value, "found_at": study.best_trial.number + 1,
    }  # fmt: skip
    return Tuned(_with(settings, study.best_params), facts)


def _as_they_are(settings: FitSettings) -> dict[str, float]:
    names = ("max_depth", "min_data_in_leaf", "lambda_l2", "feature_fraction", "learning_rate")
    return {"ridge": settings.ridge, **{name: settings.parameters[name] for name in names}}


def _candidate(trial: Trial, settings: FitSettings) -> FitSettings:
    chosen = {
        "ridge": trial.suggest_float("ridge", 1.0, 300.0, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 6),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 300, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 300.0, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.1, 1.0),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.1, log=True),
    }
    return _with(settings, chosen)


def _with(settings: FitSettings, chosen: Mapping[str, float]) -> FitSettings:
    trees = {name: value for name, value in chosen.items() if name != "ridge"}
    # As many leaves as a tree of that depth has, but never more than are cheap to explain.
    trees["num_leaves"] = min(2 ** int(chosen["max_depth"]) - 1, 31)
    return replace(settings, ridge=float(chosen["ridge"]), parameters={**settings.parameters, **trees})

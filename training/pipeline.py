"""The whole way from clean data to a version with evidence.

Reads data and writes nothing; `training.run` has the effects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from features.dataset import Dataset
from features.durations import DAY
from features.errors import Refusal
from features.leads import Leads
from features.matrix import FeatureBuilder
from features.times import moment_of, text_of
from features.traits import learn_levels
from features.windows import Floats, Ints
from serving.scoring.artifact import Artifact
from serving.scoring.reasons import Explainer
from serving.scoring.reference import Reference
from serving.scoring.scorer import Scorer
from training import baselines, evaluate
from training.calibrate import calibrate
from training.clocks import Clocks, compare_clocks
from training.cutoff import choose_cutoff
from training.fit import FitSettings, Fitted, fit
from training.snapshots import Snapshots, snapshots
from training.split import Split, counts, folds, split

QUANTILES = 1_000
EXAMPLES = 8
MOST_EXPLAINED = 4_000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to train; `test_from` is the first trial start of the test part, in microseconds since 1970 UTC."""

    test_from: int | None = None
    fit: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True)
class Trained:
    """A version and everything that speaks for or against it.

    Attributes
    ----------
    predictions : DataFrame with the columns `evaluate.PREDICTION_COLUMNS`, one row per test snapshot
    figures : test figures of the model, by name in `evaluate.METRICS`
    against : model minus baseline in log loss, by baseline; below 0 is better
    weights : mean absolute contribution of each signal and trait to the log-odds, the heaviest first
    refusal : why the version must not be promoted, or None
    clocks : what the events that arrived late change, or None where no event says when it arrived
    """

    artifact: Artifact
    table: Snapshots
    split: Split
    fitted: Fitted
    predictions: pd.DataFrame
    figures: dict[str, evaluate.Interval]
    against: dict[str, evaluate.Interval]
    promise: evaluate.Promise
    weights: list[tuple[str, float]]
    refusal: Refusal | None
    clocks: Clocks | None = None


def train(data: Dataset, definition_text: str, settings: Settings, progress: Progress = lambda _: None) -> Trained:
    """Return a trained, calibrated, judged version.

    Raises
    ------
    Refusal
        Where there is nothing to learn from; a model that learned but found no signal comes back with `refusal` set.
    """
    leads = data.leads
    table = snapshots(data, leads)
    parts = split(table, settings.test_from)
    builder = FeatureBuilder(data.definition, _levels(data, leads, table, parts))
    progress(f"feature windows for {len(table):,} snapshots of {len(leads):,} leads")
    rows = data.rows(builder, table.lead, table.as_of)
    learn = table.take(parts.fit)
    progress(f"learning from {len(learn):,} snapshots")
    fitted = fit(
        rows[parts.fit], learn.converted, learn.weight, builder.columns, folds(table, parts.fit), settings.fit, progress
    )
    progress("calibrating and choosing the cutoff")
    artifact = _artifact(data, definition_text, builder, rows, table, parts, fitted)
    progress("judging on later trials")
    judged = _judged(artifact, leads, rows, table, parts, fitted, settings)
    return replace(judged, clocks=compare_clocks(data, builder, table, rows))


def _levels(data: Dataset, leads: Leads, table: Snapshots, parts: Split) -> dict[str, tuple[str, ...]]:
    """Return the categories worth a column, from what was known of each lead when it was last learned from."""
    learned = table.take(parts.fit)
    _, newest = np.unique(learned.lead[::-1], return_index=True)
    which, as_of = learned.lead[::-1][newest], learned.as_of[::-1][newest]
    known = {name: [log.value_at(place) for place in log.at(which, as_of)] for name, log in leads.traits.items()}
    return learn_levels(data.definition, known)


def _artifact(
    data: Dataset, text: str, builder: FeatureBuilder, rows: Floats, table: Snapshots, parts: Split, fitted: Fitted
) -> Artifact:
    unseen = fitted.out_of_fold
    if parts.cutoff is not None:
        # Calibration may look at the cutoff part too: it keeps the order, and the promise is about ranks only.
        unseen = np.concatenate([unseen, fitted.ranking.margins(rows[parts.cutoff])])
    older = table.take(parts.learned)
    calibration = calibrate(unseen, older.converted, older.weight)
    held = parts.fit if parts.cutoff is None else parts.cutoff
    probabilities = calibration.probabilities(unseen[-len(held) :])
    held_table = table.take(held)
    examples = rows[parts.test[np.linspace(0, len(parts.test) - 1, EXAMPLES).astype(np.int64)]]
    return Artifact(
        booster_text=fitted.ranking.booster.model_to_string(),
        definition_text=text,
        levels=builder.levels,
        scorecard=fitted.ranking.scorecard,
        calibration=calibration,
        decision=choose_cutoff(probabilities, held_table, data.definition.cutoff),
        reference=_reference(probabilities, rows[held], held_table, builder),
        training=_facts(data, table, parts, fitted),
        rung="lightgbm",
        examples=examples,
        expected=calibration.probabilities(fitted.ranking.margins(examples)),
    )


def _reference(probabilities: Floats, rows: Floats, table: Snapshots, builder: FeatureBuilder) -> Reference:
    """Return what is usual among held-out leads: their scores, and what their converters had done by when."""
    quantiles = np.quantile(probabilities, np.linspace(0, 1, QUANTILES, endpoint=False))
    ages = tuple(age for age in builder.definition.scored_days())
    won_at = [(table.converted == 1) & (table.as_of - table.started_at == round(age * DAY)) for age in ages]
    shares: dict[str, tuple[float, ...]] = {}
    for signal in builder.definition.signals:
        counted = [
            place for place, column in enumerate(builder.columns)
            if column.owner == signal.name and column.measure and column.measure.how == "count"
        ]  # fmt: skip
        if counted:
            did = np.asarray(rows[:, counted].any(axis=1))
            shares[signal.name] = tuple(float(did[won].mean()) if won.any() else 0.0 for won in won_at)
    return Reference(quantiles, ages, shares)


def _facts(data: Dataset, table: Snapshots, parts: Split, fitted: Fitted) -> dict[str, Any]:
    """Return what the version learned from, for people and for `GET /model`."""
    names = {"fit": parts.fit, "cutoff": parts.cutoff, "test": parts.test}
    described = {name: _part_facts(table, rows) for name, rows in names.items() if rows is not None}
    return {
        "product": data.definition.product,
        "data_until": text_of(data.until),
        "horizon_days": data.definition.conversion.horizon / DAY,
        "scored_at_days": list(data.definition.scored_days()),
        "test_from": text_of(parts.test_from),
        "accounts_apart": parts.accounts_apart,
        "parts": described,
        "trees": fitted.rounds,
    }


def _part_facts(table: Snapshots, rows: Ints) -> dict[str, Any]:
    leads, won = counts(table, rows)
    started = table.started_at[rows]
    span = {"first_trial": text_of(int(started.min())), "last_trial": text_of(int(started.max()))}
    return {"snapshots": len(rows), "leads": leads, "converted": won, **span}


def _judged(
    artifact: Artifact, leads: Leads, rows: Floats, table: Snapshots, parts: Split, fitted: Fitted, settings: Settings
) -> Trained:
    scorer = Scorer(artifact)
    predictions = _predictions(scorer, leads, rows, table, parts)
    seed = settings.fit.seed
    figures = evaluate.evaluate(predictions, seed)
    against = {
        name: evaluate.compare(predictions, "probability", name, evaluate.log_loss, seed)
        for name in ("base_rate", "logistic")
    }
    return Trained(
        artifact, table, parts, fitted, predictions, figures, against, evaluate.promise(predictions, artifact.decision),
        _weights(scorer, rows[parts.test]), _no_signal(figures["auc"]),
    )  # fmt: skip


def _predictions(scorer: Scorer, leads: Leads, rows: Floats, table: Snapshots, parts: Split) -> pd.DataFrame:
    test, learned = table.take(parts.test), table.take(parts.learned)
    scored = scorer.score(rows[parts.test])
    values: dict[str, Any] = {
        "lead_id": [leads.ids[i] for i in test.lead],
        "account": test.account,
        "as_of": pd.to_datetime([moment_of(int(moment)) for moment in test.as_of], utc=True),
        "trial_day": (test.as_of - test.started_at) / DAY,
        "probability": scored.probabilities,
        "converted": test.converted,
        "is_pql": scored.is_pql,
        "logistic": baselines.logistic(
            rows[parts.learned], learned.converted, learned.weight, rows[parts.test], scorer.builder.columns
        ),
        "base_rate": baselines.base_rate(learned.converted, learned.weight, len(test)),
    }
    return pd.DataFrame(values)[list(evaluate.PREDICTION_COLUMNS)]


def _weights(scorer: Scorer, rows: Floats) -> list[tuple[str, float]]:
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_EXPLAINED).astype(np.int64))]
    explainer = Explainer(scorer.builder, scorer.artifact.reference)
    totals = [explainer.by_owner(row[:-1]) for row in scorer.contributions(sample)]
    means = {owner: float(np.mean([abs(total[owner]) for total in totals])) for owner in totals[0]}
    return sorted(means.items(), key=lambda item: (-item[1], item[0]))


def _no_signal(auc: evaluate.Interval) -> Refusal | None:
    """A ranking whose advantage over chance may be chance must not be served."""
    if auc.low > 0.5:
        return None
    return Refusal(
        f"no signal: on later trials the AUC is {auc.value:.3f}, 95% interval {auc.low:.3f} to {auc.high:.3f}, "
        "which chance explains. Add signals that precede conversion, or wait for more conversions."
    )

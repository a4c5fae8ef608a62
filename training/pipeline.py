"""The whole way from clean data to a version with evidence.

Reads data and writes nothing; `training.run` has the effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from features import rules
from features.dataset import Dataset
from features.definition import parse
from features.definition_text import without_names
from features.durations import DAY
from features.errors import NotEnoughData, Refusal
from features.leads import NEVER
from features.matrix import FeatureBuilder
from features.times import moment_of
from features.windows import Floats
from serving.scoring.artifact import Artifact
from serving.scoring.decision import NoCutoff
from serving.scoring.scorer import Scorer
from training import baselines, evaluate
from training.assemble import artifact
from training.clocks import Clocks, compare_clocks
from training.fit import FitSettings, Fitted
from training.judging.evidence import Evidence, evidence
from training.judging.fidelity import Spoken, met_as_pqls, spoken
from training.ladder import Step
from training.leaks import Leak, faulty_trials, find_leaks, without, written_starts
from training.learn import Learned, Table, learn, segments_of
from training.rounds import rounds
from training.snapshots import Snapshots, evenly, known_levels, snapshots, together
from training.split import Split, split
from training.tune import Search, Tuned, tuned

MOST_EXPLAINED = 4_000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to train; `test_from` is the first trial start of the test part, in microseconds since 1970 UTC.

    `search` None takes the settings of `fit` as they are.
    """

    test_from: int | None = None
    fit: FitSettings = field(default_factory=FitSettings)
    search: Search | None = None


@dataclass(frozen=True)
class Trained:
    """A version and everything that speaks for or against it.

    Attributes
    ----------
    daily : DataFrame with the columns `evaluate.PREDICTION_COLUMNS`, one row per test lead and day on which it may be met
    figures : test figures of the model, by name in `evaluate.METRICS`
    against : model minus baseline in log loss, by baseline; below 0 is better
    weights : mean absolute contribution of each signal and trait to the log-odds, the heaviest first
    refusal : why the version must not be promoted, or None
    clocks : what the events that arrived late change, or None where no event says when it arrived
    leaks : what tells the outcome because it was written once that was known
    ladder : the rungs that were tried, the lowest first
    tried : what the search for settings tried and chose, or None where none was asked for
    spoken : whether the reasons of PQLs are true to the score, or None where nobody is one
    """

    artifact: Artifact
    table: Snapshots
    split: Split
    fitted: Fitted
    daily: pd.DataFrame
    figures: dict[str, evaluate.Interval]
    against: dict[str, evaluate.Interval]
    promise: evaluate.Promise
    weights: list[tuple[str, float]]
    refusal: Refusal | None
    clocks: Clocks | None = None
    leaks: tuple[Leak, ...] = ()
    ladder: tuple[Step, ...] = ()
    tried: Mapping[str, object] | None = None
    spoken: Spoken | None = None

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The rows of `daily` at the ages of learning, in the order of the test snapshots: they judge the score itself."""
        return evaluate.at_ages(self.daily)

    @cached_property
    def evidence(self) -> Evidence:
        """All that the test predictions show."""
        return evidence(self.daily, pd.Timestamp(self.artifact.training["data_until"]))


def train(data: Dataset, definition_text: str, settings: Settings, progress: Progress = lambda _: None) -> Trained:
    """Return a trained, calibrated, judged version.

    Raises
    ------
    Refusal
        Where there is nothing to learn from; a model that learned but found no signal comes back with `refusal` set.
    """
    whole = _table(data, settings, progress)
    progress("looking for what tells the outcome because it was written once that was known")
    leaks = find_leaks(whole.data, whole.builder, whole.snapshots, whole.rows, whole.parts.fit)
    table, text = _without_leaks(whole, definition_text, leaks)
    tried = None if settings.search is None else tuned(table, settings.fit, settings.search, progress)
    chosen = settings.fit if tried is None else tried.settings
    progress(f"learning from {len(table.parts.fit):,} snapshots")
    learned = learn(table, chosen, progress)
    version = artifact(table, text, learned, leaks)
    progress("judging on later trials")
    judged = _judged(version, table, learned, settings)
    if judged.refusal is not None:
        judged = _silenced(judged, judged.refusal)
    clocks = compare_clocks(table.data, table.builder, table.snapshots, table.rows)
    return replace(judged, clocks=clocks, leaks=leaks, tried=_facts_of(tried))


def _silenced(judged: Trained, refusal: Refusal) -> Trained:
    """Return a version that labels nobody, whoever serves it by hand all the same."""
    policy, course = judged.artifact.definition.cutoff, judged.artifact.course
    nobody = NoCutoff(policy.at_least, policy.confidence, str(refusal))
    later = None if course.later is None else replace(course.later, decision=nobody)
    daily = judged.daily.assign(is_pql=False, is_nurture=False)
    version = replace(judged.artifact, decision=nobody, course=replace(course, later=later))
    return replace(judged, artifact=version, daily=daily, promise=evaluate.promise(daily, nobody), spoken=None)


def _table(data: Dataset, settings: Settings, progress: Progress) -> Table:
    leads = data.leads
    table = snapshots(data, leads)
    try:
        parts = split(table, settings.test_from)
    except NotEnoughData as shortage:
        fault = written_starts(leads)
        raise shortage if fault is None else (faulty_trials([fault]) or shortage) from None
    builder = FeatureBuilder(data.definition, known_levels(data, table.lead[parts.fit], table.as_of[parts.fit]))
    progress(f"feature windows for {len(table):,} snapshots of {len(leads):,} leads")
    return Table(data, builder, table, parts, data.rows(builder, table.lead, table.as_of))


def _without_leaks(table: Table, text: str, leaks: tuple[Leak, ...]) -> tuple[Table, str]:
    """Return the table and the definition's text without what leaks.

    Raises
    ------
    Refusal
        Where the trials themselves were written once the outcome was known, or too little is left.
    """
    refusal = faulty_trials(leaks)
    if refusal is not None:
        raise refusal
    out = {leak.name for leak in leaks if not leak.trusted}
    if not out:
        return table, text
    without(table.data.definition, leaks)
    text = without_names(text, out)
    data = table.data.under(parse(text))
    builder = FeatureBuilder(
        data.definition, {name: of for name, of in table.builder.levels.items() if name not in out}
    )
    rows = data.rows(builder, table.snapshots.lead, table.snapshots.as_of)
    return replace(table, data=data, builder=builder, rows=rows), text


def _judged(version: Artifact, table: Table, learned: Learned, settings: Settings) -> Trained:
    scorer = Scorer(version)
    daily = _predictions(scorer, table)
    predictions = evaluate.at_ages(daily)
    seed = settings.fit.seed
    figures = evaluate.evaluate(predictions, seed)
    against = {
        name: evaluate.compare(predictions, "probability", name, evaluate.log_loss, seed)
        for name in ("base_rate", "logistic")
    }
    return Trained(
        version, table.snapshots, table.parts, learned.fitted, daily, figures, against,
        evaluate.promise(daily, version.decision), _weights(scorer, table.rows[table.parts.test]),
        learned.refusal or _no_signal(figures["auc"]), ladder=learned.chosen.steps,
        spoken=spoken(scorer, table.data, *met_as_pqls(daily, table.leads.ids), seed),
    )  # fmt: skip


def _predictions(scorer: Scorer, table: Table) -> pd.DataFrame:
    """Return what is said of the test leads: at the ages of learning, and then on every other day on which they are met."""
    parts, leads, definition = table.parts, table.leads, table.data.definition
    learned, judged = table.snapshots.take(parts.learned), table.snapshots.take(parts.test)
    met = rounds(table.data, np.unique(judged.lead), table.data.until, complete=False)
    between = met.take(np.flatnonzero(~np.isin(met.as_of - met.started_at, definition.score_at)))
    test = together(judged, between)
    rows = np.concatenate([table.rows[parts.test], table.data.rows(table.builder, between.lead, between.as_of)])
    columns, course = scorer.builder.columns, scorer.artifact.course
    scored = scorer.score(rows)
    converted_at = leads.converted_at[test.lead]
    values: dict[str, Any] = {
        "lead_id": [leads.ids[i] for i in test.lead],
        "account": test.account,
        "as_of": pd.to_datetime([moment_of(int(moment)) for moment in test.as_of], utc=True),
        "trial_day": (test.as_of - test.started_at) / DAY,
        "probability": scored.probabilities,
        "converted": test.converted,
        "converted_in_days": np.where(converted_at < NEVER, (converted_at - test.as_of) / DAY, np.nan),
        "is_pql": scored.is_pql,
        "segment": _segment_names(scorer, rows),
        "logistic": baselines.logistic(table.rows[parts.learned], learned.converted, learned.weight, rows, columns),
        "base_rate": baselines.base_rate(learned.converted, learned.weight, len(test)),
        "points": rules.points(definition.points, rows, columns) if definition.points else np.nan,
        "rule": rules.any_flags(definition.rules, rows, columns),
        "later": scored.within[:, -1] if course.later else np.nan,
        "later_days": course.days[-1] if course.later else np.nan,
        "is_nurture": scored.is_nurture,
        "at_age": np.arange(len(test)) < len(judged),
    }
    return pd.DataFrame(values)[list(evaluate.PREDICTION_COLUMNS)]


def _segment_names(scorer: Scorer, rows: Floats) -> list[str | None]:
    numbers, names = segments_of(scorer.builder, rows)
    if numbers is None:
        return [None] * len(rows)
    return [names[number] if number >= 0 else None for number in numbers]


def _weights(scorer: Scorer, rows: Floats) -> list[tuple[str, float]]:
    sample = rows[evenly(np.arange(len(rows)), MOST_EXPLAINED)]
    totals = scorer.explainer.by_owner(scorer.contributions(sample)[:, :-1])
    means = dict(zip(scorer.explainer.owners, np.abs(totals).mean(axis=0).tolist(), strict=True))
    return sorted(means.items(), key=lambda item: (-item[1], item[0]))


def _no_signal(auc: evaluate.Interval) -> Refusal | None:
    """A ranking whose advantage over chance may be chance must not be served."""
    if auc.low > 0.5:
        return None
    return Refusal(
        f"no signal: on later trials the AUC is {auc.value:.3f}, 95% interval {auc.low:.3f} to {auc.high:.3f}, "
        "which chance explains. Add signals that precede conversion, or wait for more conversions."
    )


def _facts_of(tried: Tuned | None) -> Mapping[str, object] | None:
    return None if tried is None else tried.facts

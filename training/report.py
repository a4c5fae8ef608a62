"""What a training came to, as one page that a product manager understands. The only door to jinja2.

Chooses the figures and finds the words for them; `report.html.jinja` has the page, `figures` the pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from features.dataset import Dataset
from features.durations import DAY, span_words
from features.errors import Refusal
from features.leads import NEVER
from features.phrases import number_words
from features.times import text_of
from features.windows import Floats
from serving.scoring.decision import Cutoff
from training import evaluate, figures
from training.cutoff import first_flag_rows
from training.evaluate import Interval
from training.pipeline import Trained
from training.snapshots import Snapshots, snapshots
from training.split import Split

LEAST_WEIGHT: Final = 0.01
"""Signals that weigh less than this share of the heaviest are left out of the picture."""
LONGEST_LABEL: Final = 34
TOO_GOOD_AUC, TOO_HEAVY = 0.97, 0.5
"""Beyond these a result is more often a leak than a good signal."""
SEED: Final = 7


def render(trained: Trained, data: Dataset, version: str | None, promotion: str) -> str:
    """Return the report of a version: one page of HTML that loads nothing and runs nothing.

    Parameters
    ----------
    promotion : one sentence that says whether the version went into service, and why
    """
    artifact = trained.artifact
    return _page(
        kind="version", title=f"{artifact.definition.product}: report on the PQL score", version=version,
        promotion=promotion, definition=artifact.definition, definition_text=artifact.definition_text,
        decision=artifact.decision, facts=artifact.training, horizon=span_words(artifact.definition.conversion.horizon),
        verdict=_verdict(trained), doubts=list(_doubts(trained)), tiles=list(_tiles(trained)),
        calibration=list(_calibration(trained)), comparisons=[_comparison(*one) for one in trained.against.items()],
        rows=list(_rows(trained)), rejections=data.rejections, set_right=data.set_right,
        clocks=trained.clocks, fates=_fates(data, trained.table, trained.split),
        **_signals(trained), **_scores(trained), **_days(trained, data), **_learned(trained),
    )  # fmt: skip


def render_refusal(refusal: Refusal, data: Dataset | None) -> str:
    """Return the report where there is no model: why not, what was seen of the data, and what would help."""
    return _page(
        kind="refusal", title="No PQL score", version=None, definition=data and data.definition, refusal=str(refusal),
        seen=data and _seen(data), rejections=data.rejections if data else (), set_right=data.set_right if data else {},
    )  # fmt: skip


def _page(**found: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    world = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    world.filters |= {"percent": percent, "count": "{:,}".format, "date": lambda moment: moment[:10]}
    return world.get_template("report.html.jinja").render(**found)


def percent(share: float) -> str:
    """Return a share as people say it: one digit after the point below 10 %, a dash for NaN.

    >>> percent(0.843), percent(0.037), percent(float("nan"))
    ('84%', '3.7%', '-')
    """
    return "-" if np.isnan(share) else f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"


def number(value: float) -> str:
    """Return a figure with three digits after the point, NaN as a dash."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def _between(found: Interval, form: Callable[[float], str] = number) -> str:
    return f"{form(found.low)} to {form(found.high)}"


@dataclass(frozen=True)
class Finding:
    """What is said first, and how: `bad` loudly, `doubt` with a raised finger, `good` calmly."""

    tone: str
    title: str
    text: str = ""


def _verdict(trained: Trained) -> Finding:
    decision, kept = trained.artifact.decision, trained.promise
    if trained.refusal is not None:
        return Finding("bad", "No signal: this version must not be used", _sentence(str(trained.refusal)))
    if not isinstance(decision, Cutoff):
        return Finding("bad", "There is no cutoff, so no lead is called a PQL", _sentence(decision.reason))
    horizon = span_words(trained.artifact.definition.conversion.horizon)
    said = f"Of 100 PQLs at least {100 * decision.at_least:.3g} convert within {horizon} ({decision.confidence:.0%} confidence)"
    if kept.precision is None:
        return Finding("doubt", f"{said}; on later trials nobody became a PQL", "So the promise is untested.")
    both = f"{said}; on later trials {100 * kept.precision.value:.0f} of 100 did"
    if kept.kept:
        return Finding("good", both)
    if decision.at_least in kept.precision:
        return Finding("doubt", both, "That is fewer than promised, but chance can explain the difference.")
    return Finding(
        "bad", both, "The promise was not kept, and chance does not explain it: later trials were different."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _doubts(trained: Trained) -> Iterator[str]:
    """Yield what a careful reader would ask about a result that looks too good."""
    auc, (heaviest, weight) = trained.figures["auc"].value, trained.weights[0]
    share = weight / (sum(one for _, one in trained.weights) or 1.0)
    if auc > TOO_GOOD_AUC:
        yield f"Converters are ranked above other leads {percent(auc)} of the time; behaviour rarely tells that much."
    if share > TOO_HEAVY:
        yield f"“{_words(heaviest)}” alone makes {percent(share)} of the score."


@dataclass(frozen=True)
class Tile:
    """A number to remember, what it is, and how sure it is."""

    value: str
    words: str
    note: str = ""


def _tiles(trained: Trained) -> Iterator[Tile]:
    auc, kept, test = trained.figures["auc"], trained.promise, trained.artifact.training["parts"]["test"]
    ranked = "of the time it ranks a converter above another lead"
    yield Tile(percent(auc.value), ranked, f"{_between(auc, percent)}; a coin: 50%")
    if kept.precision is None:
        yield Tile("0", "leads were called a PQL", f"asked for: {percent(kept.asked_for)} of them convert")
    else:
        interval = _between(kept.precision, percent)
        yield Tile(
            percent(kept.precision.value), "of PQLs converted", f"{interval}; promised: {percent(kept.asked_for)}"
        )
        yield Tile(percent(kept.caught), "of converters were PQLs before they converted", f"{kept.leads:,} PQLs in all")
    yield Tile(f"{test['leads']:,}", "later leads judged it", f"{test['converted']:,} of them converted")


# For each figure of calibration: the right value, and what an interval around, below and above it says of the scores.
_CALIBRATION: Final = {
    "observed_to_expected": (1, "On average they look right", "On average they are too high", "On average they are too low"),
    "calibration_slope": (
        1, "They look as far apart as they should be", "They are overconfident: high ones are too high, low ones too low",
        "They are too timid: high ones should be higher, low ones lower",
    ),
    "calibration_intercept": (
        0, "They do not look shifted", "They are shifted up: leads convert less than told",
        "They are shifted down: leads convert more than told",
    ),
}  # fmt: skip
_NAMES: Final = {
    "auc": ("AUC", "how often a converter is ranked above another lead; a coin has 0.5"),
    "average_precision": (
        "average precision",
        "share of converters among the leads down to each converter, on average; higher is better",
    ),
    "log_loss": ("log loss", "how much the outcomes surprised the score; lower is better"),
    "brier": ("Brier score", "mean squared error of the probability; lower is better"),
    "observed_to_expected": (
        "observed / expected",
        "conversions that came over those that the scores add up to; 1 is right",
    ),
    "calibration_intercept": ("calibration intercept", "shift of the log-odds; 0 is right"),
    "calibration_slope": ("calibration slope", "spread of the log-odds; 1 is right, less is overconfident"),
}
_WAYS: Final = {"logistic": "logistic regression", "base_rate": "giving everybody the base rate"}


def _calibration(trained: Trained) -> Iterator[str]:
    for name, (right, around, below, above) in _CALIBRATION.items():
        found = trained.figures[name]
        says = around if right in found else below if found.high < right else above
        holds = "contains" if right in found else "does not contain"
        yield f"{says} ({_NAMES[name][0]} {number(found.value)}; the interval {_between(found)} {holds} {right})."


def _comparison(way: str, gain: Interval) -> str:
    """Return whether the version beats a simpler way in log loss."""
    told = f"log loss {_gain(gain.value)}, 95% interval {_between(gain, _gain)}"
    if gain.high < 0:
        return f"Better than {_WAYS[way]}, and chance does not explain it: {told}."
    if gain.low > 0:
        return f"Worse than {_WAYS[way]}, and chance does not explain it: {told}."
    return f"Not clearly better or worse than {_WAYS[way]}: {told}, which contains 0."


def _gain(difference: float) -> str:
    return f"{difference:+.4f}"


@dataclass(frozen=True)
class Row:
    """A line of the table of all figures."""

    key: str
    name: str
    value: str
    interval: str
    words: str


def _rows(trained: Trained) -> Iterator[Row]:
    for key, found in trained.figures.items():
        yield Row(key, _NAMES[key][0], number(found.value), _between(found), _NAMES[key][1])
    for way, gain in trained.against.items():
        name = f"log loss minus that of {_WAYS[way]}"
        yield Row(f"against_{way}", name, _gain(gain.value), _between(gain, _gain), "below 0 the model is better")
    kept, decision = trained.promise, trained.artifact.decision
    if kept.precision is not None:
        told = f"{kept.converted:,} of {kept.leads:,} PQLs converted; promised: {percent(kept.asked_for)}"
        yield Row("precision", "precision of PQLs", number(kept.precision.value), _between(kept.precision), told)
        yield Row("caught", "converters caught", number(kept.caught), "", "share of converters that were PQLs before")
    if isinstance(decision, Cutoff):
        told = f"chosen on {decision.leads:,} earlier leads, of which {decision.converted:,} converted"
        yield Row("cutoff", "cutoff", number(decision.probability), "", told)


def _words(owner: str) -> str:
    words = _sentence(owner.replace("_", " "))
    return words if len(words) <= LONGEST_LABEL else words[: LONGEST_LABEL - 1] + "…"


def _signals(trained: Trained) -> dict[str, Any]:
    total = sum(weight for _, weight in trained.weights) or 1.0
    shown = [one for one in trained.weights if one[1] > 0 and one[1] >= LEAST_WEIGHT * trained.weights[0][1]]
    bars = [figures.Bar(_words(owner), weight / total, _kind(trained, owner)) for owner, weight in shown]
    return {"signals": figures.bars(bars), "left_out": len(trained.weights) - len(shown)}


def _kind(trained: Trained, owner: str) -> str:
    definition = trained.artifact.definition
    signal = definition.signal_of.get(owner)
    if signal is None:
        return "about the lead" if owner in definition.trait_of else "time"
    return signal.kind.replace("_", " ") + (", lowers the score" if signal.sign < 0 else "")


def _scores(trained: Trained) -> dict[str, Any]:
    curve = figures.reliability_of(trained.predictions)
    flags = figures.precision_curve(trained.predictions, trained.artifact.definition.cutoff)
    told = {
        "auc": "AUC (higher is better)",
        "average_precision": "Average precision (higher)",
        "log_loss": "Log loss (lower)",
    }
    return {
        "reliability": figures.reliability(curve), "inside": curve.inside,
        "cutoff": figures.cutoff(flags, trained.promise),
        "ways": figures.ways([(title, _ways(trained, name)) for name, title in told.items()]),
    }  # fmt: skip


def _ways(trained: Trained, name: str) -> list[figures.Way]:
    table, found = trained.predictions, trained.figures[name]
    outcomes, weight = table["converted"].to_numpy(), evaluate.row_weights(table)
    simpler = {"logistic": "Logistic regression", "base_rate": "Base rate"}
    others = {way: evaluate.METRICS[name](outcomes, table[way].to_numpy(np.float64), weight) for way in simpler}
    return [
        figures.Way("This version", found.value, found),
        *(figures.Way(simpler[way], value) for way, value in others.items()),
    ]


def _days(trained: Trained, data: Dataset) -> dict[str, Any]:
    """Return what is known on which day of the trial, and how long before converting."""
    table = trained.predictions.assign(left=_days_left(trained, data)).sort_values("as_of", kind="stable")
    first = table.iloc[
        first_flag_rows(table["is_pql"].to_numpy(bool), pd.factorize(table["lead_id"])[0].astype(np.int64))
    ]
    new = first["trial_day"].value_counts()
    ages = [
        figures.Day(day, _auc(table[table["trial_day"] == day]), int(new.get(day, 0)))
        for day in np.unique(table["trial_day"].to_numpy(np.float64)).tolist()
    ]
    ahead = first["left"][first["converted"] == 1].to_numpy(np.float64)
    horizon = trained.artifact.definition.conversion.horizon / DAY
    return {
        "days": figures.days(ages) if len(ages) > 1 else None, "only_day": _moment(ages[0].day),
        "ahead": figures.ahead(ahead, horizon) if len(ahead) else None, "ahead_count": len(ahead),
        "ahead_median": float(np.median(ahead)) if len(ahead) else 0.0,
    }  # fmt: skip


def _moment(day: float) -> str:
    return f"{number_words(day)} days after they began" if day else "when they begin"


def _days_left(trained: Trained, data: Dataset) -> Floats:
    """Return for each prediction the days until the lead converts, whenever that is; huge where it never does."""
    test = trained.table.take(trained.split.test)
    left: Floats = (data.leads.converted_at[test.lead] - test.as_of) / DAY
    return left


def _auc(group: pd.DataFrame) -> Interval:
    """Return the AUC among snapshots of one age; NaN where all came out the same."""
    outcomes = group["converted"].to_numpy()
    if outcomes.min() == outcomes.max():
        return Interval(*[float("nan")] * 3)
    draws = evaluate.bootstrap_weights(group["account"], SEED)
    return evaluate.interval(
        evaluate.auc, outcomes, group["probability"].to_numpy(), evaluate.row_weights(group), draws
    )


_PARTS: Final = {"fit": "Learned from", "cutoff": "Set the cutoff", "test": "Judged the score"}


def _learned(trained: Trained) -> dict[str, Any]:
    definition, parts = trained.artifact.definition, trained.artifact.training["parts"]
    watch = timedelta(microseconds=max(definition.score_at) + definition.conversion.horizon)
    spans = []
    for name, part in parts.items():
        began, ended = (datetime.fromisoformat(part[key]) for key in ("first_trial", "last_trial"))
        note = f"{part['leads']:,} leads, {part['converted']:,} converted"
        spans.append(figures.Span(_PARTS[name], began, ended, ended + watch, note))
    return {
        "timeline": figures.timeline(spans),
        "learning": figures.learning(trained.fitted.curve, trained.fitted.rounds),
        "trees_help": int(trained.fitted.curve.argmin()) > 0,
    }


def _fates(data: Dataset, table: Snapshots, parts: Split | None) -> list[tuple[str, int]]:
    """Return what became of every lead of the data: each is in exactly one line."""
    leads, age = data.leads, min(data.definition.score_at)
    known = np.isin(np.arange(len(leads)), table.lead)
    used = {name: getattr(parts, name, None) for name in _PARTS}
    fates = [(_PARTS[name], len(np.unique(table.lead[rows]))) for name, rows in used.items() if rows is not None]
    rest = int(known.sum()) - sum(n for _, n in fates)
    spare = "Outcome known, but only after the next part began, or the account is in a later part: kept out"
    first = leads.started_at + age
    won = ~known & (leads.converted_at < first)
    over = ~known & ~won & (leads.closed_at < first)
    young = ~known & ~won & ~over
    return [
        *fates, (spare if parts else "Outcome known", rest),
        (f"Converted within {span_words(age)}, before any score", int(won.sum())),
        (f"Closed within {span_words(age)}, before any score", int(over.sum())),
        ("Outcome not known yet: began too recently", int(young.sum())),
    ]  # fmt: skip


def _seen(data: Dataset) -> dict[str, Any]:
    leads = data.leads
    won = int((leads.converted_at < NEVER).sum())
    tiles = [
        Tile(f"{n:,}", words)
        for n, words in ((data.n_events, "events"), (len(leads), "leads"), (won, "that converted"))
    ]
    return {
        "tiles": tiles, "fates": _fates(data, snapshots(data, leads), None), "until": text_of(data.until),
        "first": text_of(int(leads.started_at.min())), "last": text_of(int(leads.started_at.max())),
        "horizon": span_words(data.definition.conversion.horizon), "age": span_words(min(data.definition.score_at)),
    }  # fmt: skip

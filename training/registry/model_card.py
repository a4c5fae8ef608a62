"""The model card of a version: what it is for, what it learned from, how it was judged and where its limits are.

Markdown in plain words; every figure in it stands in metrics.json too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from features.dataset import Dataset
from features.definition import Definition
from features.durations import span_text, span_words
from features.times import text_of
from serving.scoring.decision import Cutoff
from training.cutoff_words import in_short, why_nobody
from training.pipeline import Trained
from training.promote import Verdict

MODEL_CARD: Final = "model_card.md"
FIGURES: Final = {
    "auc": "how often a converter is ranked above another lead; 0.5 is a coin",
    "average_precision": "mean share of converters among the leads ranked above each converter",
    "log_loss": "mean surprise of the outcomes in nats; lower is better",
    "brier": "mean squared error of the probabilities; lower is better",
    "observed_to_expected": "conversions seen for each one predicted; 1 is right",
    "calibration_intercept": "how far the log-odds are off on average; 0 is right",
    "calibration_slope": "below 1 the probabilities are too extreme, above 1 too timid",
    "pql_precision": "share of PQLs that converted",
    "log_loss_minus_base_rate": "log loss against telling everybody the base rate; below 0 is better",
    "log_loss_minus_logistic": "log loss against a logistic regression on the same columns; below 0 is better",
}
PARTS: Final = {"fit": "learning", "cutoff": "choosing the cutoff", "test": "judging"}
CLOCKS: Final = {
    "timestamp": "An event counts from the moment it happened.",
    "received_at": "An event counts from the moment it arrived.",
}


class Suspect(Protocol):
    """A signal or trait that seems to know the outcome; left out unless the definition trusts it."""

    @property
    def name(self) -> str: ...

    @property
    def why(self) -> str: ...

    @property
    def trusted(self) -> bool: ...


def render(
    trained: Trained, data: Dataset, verdict: Verdict, figures: Mapping[str, float], leaks: Sequence[Suspect] = ()
) -> str:
    """Return the card of a version, promoted or not; `figures` are those of metrics.json."""
    definition = trained.artifact.definition
    sections = {
        "What it is for": _purpose(definition),
        "What it is not for": _not_for(definition),
        "What it learned from": _data(trained, data),
        "Who is scored, and what counts as a conversion": _label(definition),
        "What it looks at": _definition(trained),
        "How it was judged": _judged(trained),
        "Figures on later trials": _figures(figures),
        "Calibration": _calibration(figures),
        "What is promised": _promise(trained, figures),
        "Why it is in service, or not": iter([verdict.why]),
        "Limits": _limits(trained, data),
        "Left out as leaks": _leaks(leaks),
        "How to go back": _back(),
    }
    title = f"# Model card: PQL score of {definition.product}, version {trained.artifact.version}"
    return "\n\n".join([title, *(f"## {name}\n\n{_text(lines)}" for name, lines in sections.items())]) + "\n"


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def _purpose(definition: Definition) -> Iterator[str]:
    ages = _listed([span_text(age) for age in sorted(definition.score_at)])
    horizon = span_words(definition.conversion.horizon)
    whose = "account" if definition.lead == "account" else "user"
    yield f"For every open trial of {definition.product}, at the ages {ages}, it says how likely the {whose} is to become a"
    yield f"customer within {horizon}, whether that makes a product-qualified lead (PQL), and which behaviour speaks for it."
    yield "It helps sales people to choose whom to talk to first, and about what."


def _not_for(definition: Definition) -> Iterator[str]:
    yield f"- Another product than {definition.product}, or leads whose trial is over or who have converted."
    yield "- Decisions about people that have legal or like effects: credit, prices, employment, access."
    yield "- Proof of causes: that converters did something does not mean that doing it makes others convert."
    yield "- Judging sales people: who is talked to changes who converts."


def _data(trained: Trained, data: Dataset) -> Iterator[str]:
    refused = sum(one.count for one in data.rejections)
    yield f"Data `{data.digest}` from {data.source.name}: {data.n_events:,} events of {len(data.leads):,} leads, known"
    yield f"until {text_of(data.until)[:16].replace('T', ' ')} UTC; {refused:,} rows were refused."
    yield ""
    yield "| part | snapshots | leads | of them converted | trials began from | to |"
    yield "|---|---|---|---|---|---|"
    for name, part in trained.artifact.training["parts"].items():
        counts = f"{part['snapshots']:,} | {part['leads']:,} | {part['converted']:,}"
        yield f"| {PARTS.get(name, name)} | {counts} | {part['first_trial'][:10]} | {part['last_trial'][:10]} |"


def _label(definition: Definition) -> Iterator[str]:
    trial, conversion = definition.trial, definition.conversion
    length = "no fixed length" if trial.length is None else f"a length of {span_words(trial.length)}"
    ended = f" or {_listed([f'`{event}`' for event in trial.closed_by])}" if trial.closed_by else ""
    yield f"Scored are {definition.lead}s while their trial runs; a trial has {length} and ends with its conversion{ended}."
    what = f"the first `{conversion.event}`" if conversion.event else f"the time in `{conversion.column}`"
    yield f"A conversion is {what} within {span_words(conversion.horizon)} from the moment of scoring, that moment included."
    yield "Who had not converted when the data ended, and still had time to, judges nothing; what was learned from such leads, if"
    yield "anything, is only that they had not converted so far."


def _definition(trained: Trained) -> Iterator[str]:
    definition = trained.artifact.definition
    spans = _listed([window.name for window in definition.windows])
    yield f"{len(definition.signals)} signals and {len(definition.traits)} traits in {len(trained.artifact.builder.columns)}"
    yield f"columns (fingerprint `{trained.artifact.builder.fingerprint[:12]}`), windows {spans}. {CLOCKS[definition.clock]}"
    yield f"Signals: {_listed([one.name for one in definition.signals]) or 'none'}."
    yield f"Traits: {_listed([one.name for one in definition.traits]) or 'none'}."
    heavy = _listed([name for name, weight in trained.weights[:5] if weight > 0])
    yield f"The score leans most on {heavy or 'nothing'}. The whole definition, `pql.yaml`, is part of the version."


def _judged(trained: Trained) -> Iterator[str]:
    facts = trained.artifact.training
    yield f"On trials that began from {facts['test_from'][:10]} on, none of which it learned from: the labels it learned from"
    apart = "No account is on both sides." if facts["accounts_apart"] else "Some accounts are on both sides."
    yield f"had ended by then. {apart} Intervals hold 95 % and come from resampling accounts, but that of the precision of"
    yield "PQLs, each of which counts once, is exact binomial."


def _figures(known: Mapping[str, float]) -> Iterator[str]:
    yield "| figure | value | 95% interval | what it is |"
    yield "|---|---|---|---|"
    for name, words in FIGURES.items():
        if math.isfinite(known.get(name, math.nan)):
            yield f"| `{name}` | {known[name]:.4f} | {_interval(known, name)} | {words} |"


def _interval(known: Mapping[str, float], name: str) -> str:
    low, high = known.get(f"{name}_low"), known.get(f"{name}_high")
    ends = [f"{bound:.4f}" for bound in (low, high) if bound is not None]
    return " to ".join(ends) if len(ends) == 2 else f"at most {ends[0]}" if ends else "-"


def _calibration(known: Mapping[str, float]) -> Iterator[str]:
    seen, slope = known["observed_to_expected"], known["calibration_slope"]
    yield f"For each conversion that was predicted, {seen:.4f} were seen; the calibration slope is {slope:.4f}."
    inside = known["observed_to_expected_low"] <= 1 <= known["observed_to_expected_high"]
    yield "Chance can explain the difference from 1." if inside else "Chance does not explain the difference from 1."


def _promise(trained: Trained, known: Mapping[str, float]) -> Iterator[str]:
    decision = trained.artifact.decision
    nobody = why_nobody(decision)
    if nobody is not None:
        yield f"Nothing: there is no cutoff, and nobody is called a PQL. {nobody}"
        return
    if isinstance(decision, Cutoff):
        yield f"A lead is a PQL from a probability of {known['cutoff']:.4f} on."
    else:
        yield f"Segments have cutoffs of their own: {in_short(decision)}."
    if decision.at_least is not None:
        yield f"At least {decision.at_least:.0%} of PQLs convert, with {decision.confidence:.0%} confidence."
    else:
        yield "No share of them is promised to convert."
    yield f"On later trials {known['pql_converted']:,.0f} of {known['pql_leads']:,.0f} PQLs converted, each counted when it"
    yield "first became one."


def _limits(trained: Trained, data: Dataset) -> Iterator[str]:
    yield f"- It knows the product as it was until {text_of(data.until)[:10]}. Prices, plans and onboarding change: train again."
    yield "- It knows only what is in the events and traits; calls, e-mails and budgets are not."
    yield "- Intervals say how far chance can move a figure, not what a change of the product would do."
    if not trained.artifact.training["accounts_apart"]:
        yield "- Accounts recur, so some figures may be too good for accounts that were never seen."
    if trained.clocks is not None:
        yield "- Some events arrive late; what that changes is in the report."
    if trained.refusal is not None:
        yield f"- It must not be used: {trained.refusal}"


def _leaks(leaks: Sequence[Suspect]) -> Iterator[str]:
    if not leaks:
        yield "None was found."
    for leak in leaks:
        kept = " It was kept all the same, because the definition trusts it." if leak.trusted else ""
        yield f"- `{leak.name}`: {leak.why.rstrip('.')}.{kept}"


def _back() -> Iterator[str]:
    yield "`pql models` lists the versions and why each is in service or not, `pql rollback` goes back to the version before,"
    yield "and `pql promote VERSION` puts any version into service. A version that is put into service is verified first."


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)

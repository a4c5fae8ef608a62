"""What a training came to, in the few lines that a person reads on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.scoring.decision import Cutoff, Decision, NoCutoff, Segmented, overall, parts
from training.evaluate import Promise
from training.leaks import Leak
from training.pipeline import Trained
from training.record import REPORT
from training.run import Outcome

NEXT = "Next     make serve (or pql serve), then POST a lead: the curl line at the top of README.md"


def facts(outcome: Outcome) -> dict[str, Any]:
    """Return what was found and where it lies, for machines."""
    trained = outcome.trained
    return {
        "folder": str(outcome.folder), "report": str(outcome.folder / REPORT), "registered": outcome.number,
        "version": trained and trained.artifact.version,
        "promoted": outcome.verdict.promote, "why": outcome.verdict.why,
        "left_out": [str(leak) for leak in trained.leaks if not leak.trusted] if trained else [],
        "figures": dict(outcome.figures), "rejections": [str(one) for one in outcome.rejections],
        "set_right": dict(outcome.set_right),
    }  # fmt: skip


def summary(outcome: Outcome) -> list[str]:
    """Return what was found, where it lies, and what to do next."""
    refused = [str(one) for one in outcome.rejections]
    refused += [f"kept: {rows:,} {what}" for what, rows in sorted(outcome.set_right.items())]
    if outcome.trained is None:
        return [*refused, *_by_hand(outcome), f"Report   {outcome.folder / REPORT}"]
    artifact = outcome.trained.artifact
    return [
        *refused,
        *leak_lines(outcome.trained.leaks),
        *_judgement(outcome.trained),
        f"Version  {artifact.version}, registered as pql-scorer/{outcome.number}. {outcome.verdict.why}",
        f"Model    {outcome.folder / 'artifact'}",
        f"Report   {outcome.folder / REPORT}",
        *([NEXT] if outcome.verdict.promote else []),
    ]


def leak_lines(leaks: Sequence[Leak]) -> list[str]:
    """Return what told the outcome because it was written once that was known, a line each."""
    return [f"{'Mind' if leak.trusted else 'Left out':<8} {leak}" for leak in leaks]


def _by_hand(outcome: Outcome) -> list[str]:
    if outcome.number is None:
        return []
    return [
        f"By hand  the definition's own points are registered as pql-scorer/{outcome.number}, not in service; "
        f"`pql promote {outcome.number} --force` serves them, without a promise"
    ]


def _judgement(trained: Trained) -> list[str]:
    auc, counted = trained.figures["auc"], trained.artifact.training["parts"]
    test = counted["test"]
    return [
        f"Learned  from {counted['fit']['leads']:,} leads ({counted['fit']['converted']:,} converted), "
        f"judged on {test['leads']:,} later ones ({test['converted']:,} converted)",
        f"Ranking  AUC {auc.value:.3f} (95% interval {auc.low:.3f} to {auc.high:.3f})",
        *cutoff_lines(trained.artifact.decision, trained.promise),
    ]


def cutoff_lines(decision: Decision, kept: Promise) -> list[str]:
    """Return what was decided, on segments too, and how it went on later trials, a line each."""
    lines = [f"Cutoff   {_decided(overall(decision))}"]
    if isinstance(decision, Segmented):
        for name, own in zip(decision.names, decision.each, strict=True):
            said = "as all leads, for it has too few of its own" if own is None else _decided(own)
            lines.append(f"         {decision.trait} {name}: {said}")
    if any(isinstance(part, Cutoff) for part in parts(decision)):
        lines.append(f"         {_kept(kept)}")
    return lines


def _kept(kept: Promise) -> str:
    if kept.precision is None:
        return "none of the later leads reached it"
    return f"on later trials {kept.converted:,} of {kept.leads:,} PQLs converted ({kept.precision.value:.0%})"


def _decided(decision: Cutoff | NoCutoff) -> str:
    """Return a cutoff with what it says of PQLs, and the lines beside it, or why there is none."""
    if isinstance(decision, NoCutoff):
        return f"NONE, so nobody is called a PQL: {decision.reason}"
    text = f"{decision.probability:.3f}: {_said(decision)}"
    if len(decision.lines) > 1:
        beside = ", ".join(f"{_LINES[line.name]} from {line.probability:.3f} on" for line in decision.lines)
        text += f"; {beside}: {_LINES[decision.binds]} binds"
    return text if decision.expires is None else f"{text}; its evidence counts until {decision.expires[:10]}"


_LINES = {"promise": "the promise", "capacity": "capacity", "value": "value"}


def _said(decision: Cutoff) -> str:
    if decision.at_least is not None:
        return f"at least {decision.at_least:.0%} of PQLs convert, with {decision.confidence:.0%} confidence"
    rate = "" if decision.leads_per_week is None else f"{decision.leads_per_week:.3g} PQLs a week; "
    seen = f"{decision.converted:,} of {decision.leads:,} held-out ones converted"
    return f"{rate}{seen}, at least {decision.precision_low:.0%} with {decision.confidence:.0%} confidence"

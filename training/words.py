"""What a training came to, in the few lines that a person reads on the terminal."""

from __future__ import annotations

from serving.scoring.decision import Cutoff
from training.pipeline import Trained
from training.record import REPORT
from training.run import Outcome

NEXT = "Next     make serve (or pql serve), then POST a lead: the curl line at the top of README.md"


def summary(outcome: Outcome) -> list[str]:
    """Return what was found, where it lies, and what to do next."""
    refused = [str(one) for one in outcome.rejections]
    refused += [f"kept: {rows:,} {what}" for what, rows in sorted(outcome.set_right.items())]
    if outcome.trained is None:
        return [*refused, f"Report   {outcome.folder / REPORT}"]
    artifact = outcome.trained.artifact
    return [
        *refused,
        *_judgement(outcome.trained),
        f"Version  {artifact.version}, registered as pql-scorer/{outcome.number}. {outcome.verdict.why}",
        f"Model    {outcome.folder / 'artifact'}",
        f"Report   {outcome.folder / REPORT}",
        *([NEXT] if outcome.verdict.promote else []),
    ]


def _judgement(trained: Trained) -> list[str]:
    auc, parts = trained.figures["auc"], trained.artifact.training["parts"]
    test = parts["test"]
    return [
        f"Learned  from {parts['fit']['leads']:,} leads ({parts['fit']['converted']:,} converted), "
        f"judged on {test['leads']:,} later ones ({test['converted']:,} converted)",
        f"Ranking  AUC {auc.value:.3f} (95% interval {auc.low:.3f} to {auc.high:.3f})",
        f"Cutoff   {_cutoff(trained)}",
    ]


def _cutoff(trained: Trained) -> str:
    decision, kept = trained.artifact.decision, trained.promise
    if not isinstance(decision, Cutoff):
        return f"NONE, so nobody is called a PQL: {decision.reason}"
    promised = f"at least {decision.at_least:.0%} of PQLs convert, with {decision.confidence:.0%} confidence"
    text = f"{decision.probability:.3f}: {promised}"
    if kept.precision is None:
        return f"{text}; none of the later leads reached it"
    return f"{text}; on later trials {kept.converted:,} of {kept.leads:,} did ({kept.precision.value:.0%})"

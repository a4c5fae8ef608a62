"""The section on the cutoff: what each limit would set, which of them binds, on what evidence, and until when it counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from serving.scoring.decision import Cutoff, Line, Segmented, overall, parts
from training.judging.choices import precision_curve
from training.pipeline import Trained
from training.reporting import figures_flags as pictures
from training.reporting.words import Facts, Said, count, days, percent, say, sentence

LIMITS: Final = {"promise": "the promise", "capacity": "what sales can take", "value": "what a contact is worth"}


def a_week(rate: float) -> str:
    """Return how many leads a week: whole ones from ten on.

    >>> a_week(122.4), a_week(2.46)
    ('122', '2.5')
    """
    return count(rate) if rate >= 10 else days(rate)


def section(trained: Trained, facts: Facts) -> dict[str, Any]:
    """Return the picture, sentences and tables of the section, and what the page says of the cutoff elsewhere."""
    decision = trained.artifact.decision
    curve = precision_curve(trained.daily, decision.confidence)
    return {
        "cutoff": pictures.cutoff(curve, trained.promise), "sure": percent(decision.confidence),
        "pql_from": _pql_from(trained, facts), "promises": list(_promises(trained, facts)), "evidence": _evidence(trained, facts),
        "lines": list(_lines(trained, facts)), "segments": list(_segments(trained, facts)), "holds": _holds(trained),
    }  # fmt: skip


def _pql_from(trained: Trained, facts: Facts) -> Said:
    decision = trained.artifact.decision
    if not any(isinstance(part, Cutoff) for part in parts(decision)):
        return say("It still ranks leads, but nobody should promise how many of the best will convert.")
    if isinstance(decision, Segmented):
        told = "A lead is a PQL from the first moment at which its score reaches the cutoff of its {trait}."
        return say(told, trait=decision.trait.replace("_", " "))
    return say(
        "A lead is a PQL from the first moment at which its score reaches {cutoff}. Most PQLs score higher than that, so the "
        "share of them that converts is higher too.",
        cutoff=facts.show("cutoff", percent),
    )  # fmt: skip


def _promises(trained: Trained, facts: Facts) -> Iterator[Said]:
    """Yield what is promised, what binds, how many to expect, and until when the evidence counts."""
    decision = overall(trained.artifact.decision)
    if not isinstance(decision, Cutoff):
        yield say("{reason}", reason=sentence(decision.reason))
        return
    confidence = percent(decision.confidence)
    if decision.at_least is None:
        yield say(
            "No share of conversions is promised; of such leads at least {low} convert with {confidence} confidence.",
            low=facts.show("cutoff_precision_low", percent), confidence=confidence,
        )  # fmt: skip
    else:
        yield say(
            "Promised: at least {asked} of PQLs convert, with {confidence} confidence.",
            asked=percent(decision.at_least), confidence=confidence,
        )  # fmt: skip
    if len(decision.lines) > 1:
        yield say("The strictest limit sets the cutoff, and here that is {limit}.", limit=LIMITS[decision.binds])
    # Where segments have cutoffs of their own this is the rate of none of them.
    if decision.leads_per_week is not None and not isinstance(trained.artifact.decision, Segmented):
        yield say("Expect about {n} new PQLs a week.", n=facts.show("cutoff_leads_per_week", a_week))
    if decision.expires is not None:
        yield say("The evidence counts until {date}; train again before that.", date=decision.expires[:10])


def _evidence(trained: Trained, facts: Facts) -> Said:
    decision = overall(trained.artifact.decision)
    if not isinstance(decision, Cutoff):
        return say(
            "There is no cutoff on it, as the earlier leads that should have set one could not carry what is asked; what "
            "later leads show here may not be used to choose one."
        )  # fmt: skip
    return say(
        "The cutoff was not chosen here but on {n} earlier leads, of which {won} converted (at least {low} with {confidence} "
        "confidence).",
        n=facts.show("cutoff_leads", count), won=facts.show("cutoff_converted", count),
        low=facts.show("cutoff_precision_low", percent), confidence=percent(decision.confidence),
    )  # fmt: skip


def _lines(trained: Trained, facts: Facts) -> Iterator[dict[str, object]]:
    """Yield the cutoff that each limit alone would set, where there is more than one."""
    decision = overall(trained.artifact.decision)
    if isinstance(decision, Cutoff) and len(decision.lines) > 1:
        for line in decision.lines:
            yield _line(line, facts, binds=line.name == decision.binds)


def _line(line: Line, facts: Facts, *, binds: bool) -> dict[str, object]:
    key = f"cutoff_by_{line.name}"
    return {
        "limit": sentence(LIMITS[line.name]), "binds": binds, "why": line.why,
        "cutoff": facts.show(key), "leads": facts.show(f"{key}_leads", count), "converted": facts.show(f"{key}_converted", count),
        "low": facts.show(f"{key}_precision_low", percent), "week": facts.show(f"{key}_leads_per_week", a_week),
    }  # fmt: skip


def _segments(trained: Trained, facts: Facts) -> Iterator[dict[str, object]]:
    """Yield what is decided on each segment, and what became of its PQLs on later trials."""
    decision = trained.artifact.decision
    if not isinstance(decision, Segmented):
        return
    for place, (name, own) in enumerate(zip(decision.names, decision.each, strict=True), 1):
        key = f"cutoff_segment_{place}"
        rule = facts.show(key) if isinstance(own, Cutoff) else "the overall cutoff" if own is None else "none"
        yield {"name": name, "rule": rule, **_evidence_of(key, own, facts), **_became(name, facts)}


def _evidence_of(key: str, own: object, facts: Facts) -> dict[str, object]:
    if not isinstance(own, Cutoff):
        return {"leads": "-", "low": "-"}
    low = say("{low} ({sure} sure)", low=facts.show(f"{key}_precision_low", percent), sure=percent(own.confidence))
    return {"leads": facts.show(f"{key}_leads", count), "low": low}


def _became(name: str, facts: Facts) -> dict[str, object]:
    place = next((place for place, one in enumerate(facts.segments, 1) if one == name), None)
    if place is None:
        return {"pqls": "0", "precision": "-", "interval": "-"}
    key = f"segment_{place}_pql"
    return {
        "pqls": facts.show(f"{key}_leads", count), "precision": facts.show(f"{key}_precision", percent),
        "interval": facts.spread(f"{key}_precision", percent),
    }  # fmt: skip


def _holds(trained: Trained) -> Said:
    decision = overall(trained.artifact.decision)
    changes = "after a change of price, product or audience, measure again"
    if not isinstance(decision, Cutoff):
        return say("All figures hold as long as new trials are like the measured ones: {changes}.", changes=changes)
    return say(
        "The cutoff was measured on leads from {start} to {end}. It holds as long as new trials are like those: {changes}.",
        start=decision.measured_from[:10], end=decision.measured_until[:10], changes=changes,
    )  # fmt: skip

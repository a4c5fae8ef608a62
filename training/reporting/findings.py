"""What the report says first: the verdict, what to doubt, and the few numbers to remember."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from features.durations import span_words
from serving.scoring.decision import Cutoff, NoCutoff, overall, parts
from training.pipeline import Trained
from training.reporting.words import Facts, Said, count, out_of_hundred, percent, say, sentence

TOO_GOOD_AUC, TOO_HEAVY = 0.97, 0.5
"""Beyond these a result is more often a leak than a good signal."""
LONGEST_LABEL: Final = 34


@dataclass(frozen=True)
class Finding:
    """What is said first, and how: `bad` loudly, `doubt` with a raised finger, `good` calmly."""

    tone: str
    title: Said | str
    text: str = ""


@dataclass(frozen=True)
class Tile:
    """A number to remember, what it is, and how sure it is."""

    value: object
    words: str
    note: Said | str = ""


def verdict(trained: Trained, facts: Facts) -> Finding:
    """Return whether the version may be used and whether its promise was kept."""
    decision, kept = trained.artifact.decision, trained.promise
    if trained.refusal is not None:
        return Finding("bad", "No signal: this version must not be used", sentence(str(trained.refusal)))
    chosen = overall(decision)
    if not any(isinstance(part, Cutoff) for part in parts(decision)) and isinstance(chosen, NoCutoff):
        return Finding("bad", "There is no cutoff, so no lead is called a PQL", sentence(chosen.reason))
    horizon = span_words(trained.artifact.definition.conversion.horizon)
    if decision.at_least is None:
        return _unpromised(trained, facts, horizon)
    said = say(
        "Of 100 PQLs at least {asked} convert within {horizon} ({confidence} confidence)",
        asked=f"{100 * decision.at_least:.3g}", horizon=horizon, confidence=f"{decision.confidence:.0%}",
    )  # fmt: skip
    if kept.precision is None:
        return Finding(
            "doubt", say("{said}; on later trials nobody became a PQL", said=said), "So the promise is untested."
        )
    both = say("{said}; on later trials {did} of 100 did", said=said, did=facts.show("pql_precision", out_of_hundred))
    if kept.kept:
        return Finding("good", both)
    if decision.at_least in kept.precision:
        return Finding("doubt", both, "That is fewer than promised, but chance can explain the difference.")
    return Finding(
        "bad", both, "The promise was not kept, and chance does not explain it: later trials were different."
    )


def _unpromised(trained: Trained, facts: Facts, horizon: str) -> Finding:
    """Say of a cutoff that promises no share what its evidence was, and whether later trials bore it out."""
    kept, decision = trained.promise.precision, overall(trained.artifact.decision)
    if kept is None:
        return Finding("doubt", "On later trials nobody became a PQL", "So nothing is known of what PQLs are worth.")
    title = say(
        "Of 100 PQLs on later trials {n} converted within {h}", n=facts.show("pql_precision", out_of_hundred), h=horizon
    )
    if isinstance(decision, Cutoff) and kept.high < decision.precision_low:
        return Finding(
            "bad", title, "Earlier leads converted more often, and chance does not explain it: later trials differ."
        )
    return Finding("good", title, "No share is promised: the definition asks for none.")


def doubts(trained: Trained, facts: Facts) -> Iterator[Said]:
    """Yield what a careful reader would ask about a result that looks too good."""
    heaviest, weight = trained.weights[0]
    share = weight / (sum(one for _, one in trained.weights) or 1.0)
    if facts.value("auc") > TOO_GOOD_AUC:
        told = "Converters are ranked above other leads {auc} of the time; behaviour rarely tells that much."
        yield say(told, auc=facts.show("auc", percent))
    if share > TOO_HEAVY:
        yield say("“{name}” alone makes {share} of the score.", name=words(heaviest), share=percent(share))


def tiles(trained: Trained, facts: Facts) -> Iterator[Tile]:
    """Yield the numbers to remember."""
    ranked = "of the time it ranks a converter above another lead"
    yield Tile(facts.show("auc", percent), ranked, say("{auc}; a coin: 50%", auc=facts.spread("auc", percent)))
    if trained.promise.precision is None:
        asked = trained.promise.asked_for
        yield Tile(
            "0", "leads were called a PQL", "" if asked is None else f"asked for: {percent(asked)} of them convert"
        )
    else:
        yield Tile(facts.show("pql_precision", percent), "of PQLs converted", _asked(trained, facts))
        total = say("{n} PQLs in all", n=facts.show("pql_leads", count))
        yield Tile(facts.show("pql_caught", percent), "of converters were PQLs before they converted", total)
    won = say("{n} of them converted", n=facts.show("judged_converted", count))
    yield Tile(facts.show("judged_leads", count), "later leads judged it", won)


def _asked(trained: Trained, facts: Facts) -> Said:
    told, asked = facts.spread("pql_precision", percent), trained.promise.asked_for
    if asked is None:
        return told
    return say("{told}; promised: {asked}", told=told, asked=percent(asked))


def words(owner: str) -> str:
    """Return the name of a signal or trait as a short label."""
    label = sentence(owner.replace("_", " "))
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"

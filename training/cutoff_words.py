"""Who is a PQL in a few words, wherever a version is spoken of: its verdict, its tags, its card."""

from __future__ import annotations

from serving.scoring.decision import Cutoff, Decision, NoCutoff, Segmented, overall, parts


def in_short(decision: Decision) -> str:
    """Return the probability from which a lead is a PQL, for each segment that has its own, or why there is none."""
    words = _one(overall(decision))
    if isinstance(decision, Segmented):
        own = [f"{name} {_one(each)}" for name, each in zip(decision.names, decision.each, strict=True) if each]
        return "; ".join([words, *own])
    return words


def _one(decision: Cutoff | NoCutoff) -> str:
    return f"{decision.probability:.4f}" if isinstance(decision, Cutoff) else f"none: {decision.reason}"


def why_nobody(decision: Decision) -> str | None:
    """Return why nobody at all is called a PQL, None where somebody may be."""
    everybody = overall(decision)
    if isinstance(everybody, Cutoff) or any(isinstance(one, Cutoff) for one in parts(decision)):
        return None
    return everybody.reason

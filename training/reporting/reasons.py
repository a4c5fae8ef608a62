"""The section on what reps are told: whether reasons are true to the score, what they are about, and what they lead to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from training.judging.fidelity import LEAST_COVERED, LEAST_FIRST, LEAST_THREE, Spoken
from training.pipeline import Trained
from training.reporting import figures_reasons as pictures
from training.reporting.findings import words
from training.reporting.words import Facts, Said, count, percent, say

_BARS: Final = {"first_lowers": LEAST_FIRST, "three_lower_more": LEAST_THREE, "covered": LEAST_COVERED}


def times(fall: float) -> str:
    """Return a fall in log-odds as the number of times by which the odds are smaller.

    >>> times(math.log(2.5)), times(0.0)
    ('2.5', '1.0')
    """
    return f"{math.exp(fall):.1f}"


def nearly(share: float) -> str:
    """Return a share as a percentage with three digits, so that nearly all does not look like all.

    >>> nearly(0.9987), nearly(0.97), nearly(1.0)
    ('99.9%', '97%', '100%')
    """
    return f"{100 * share:.3g}%"


def section(trained: Trained, facts: Facts) -> dict[str, Any]:
    """Return the picture, sentences and table of the section, and what must be doubted; nothing where nobody is a PQL."""
    found = trained.spoken
    if found is None:
        return {"spoken": None, "spoken_words": [], "playbooks": [], "unfaithful": []}
    rows = [pictures.Told(words(one.name), found.share(one.first), found.share(one.named)) for one in found.signals]
    return {
        "spoken": pictures.told(rows), "spoken_words": [*_sentences(found, facts), *_last(trained)],
        "playbooks": list(_playbooks(trained, found)), "unfaithful": list(unfaithful(found, facts)),
        "spoken_pqls": facts.show("reasons_pqls", count),
    }  # fmt: skip


def _sentences(found: Spoken, facts: Facts) -> Iterator[Said]:
    yield say(
        "Without what the first reason names, the score falls for {did}. The odds of converting are then {times} times smaller "
        "on average.",
        did=_of_all("first_lowers", facts), times=facts.show("reasons_fall_first", times),
    )  # fmt: skip
    yield say(
        "Without the three leading reasons it falls by more than without three other things that the lead did, drawn by lot, for "
        "{did}. The odds are {times} times smaller without the reasons, and {lot} times without the others.",
        did=_of_all("three_lower_more", facts), times=facts.show("reasons_fall_three", times),
        lot=facts.show("reasons_fall_lot", times),
    )  # fmt: skip
    yield say("{did} have three reasons to be told.", did=_of_all("covered", facts))
    if found.contradicting:
        yield _contradicting(found, facts)
    else:
        told = facts.show("reasons_told", count)
        yield say("None of the {told} reasons for and against contradicts the direction of what it names.", told=told)


def _last(trained: Trained) -> Iterator[Said]:
    """Say which signals and traits are named after the others, because they may only go with them."""
    definition, reference = trained.artifact.definition, trained.artifact.reference
    told = [one.name for one in definition.signals if one.speakable]
    told += [one.name for one in definition.traits if one.speakable]
    said = [name for name in told if not reference.shows(name)]
    if said:
        yield say(
            "Named after the others, because older leads do not show that they matter by themselves: {names}.",
            names=", ".join(words(name) for name in said),
        )


def _of_all(name: str, facts: Facts) -> Said:
    return say(
        "{n} of {all} PQLs ({share}; asked for: at least {asked})",
        n=facts.show(f"reasons_{name}_pqls", count), all=facts.show("reasons_pqls", count),
        share=facts.show(f"reasons_{name}", nearly), asked=nearly(_BARS[name]),
    )  # fmt: skip


def _contradicting(found: Spoken, facts: Facts) -> Said:
    template = "{n} of {told} reasons for and against contradict the direction of what they name."
    if found.contradicting == 1:
        template = "{n} of {told} reasons for and against contradicts the direction of what it names."
    return say(template, n=facts.show("reasons_contradicting", count), told=facts.show("reasons_told", count))


def unfaithful(found: Spoken, facts: Facts) -> Iterator[Said]:
    """Yield what a reader must know of reasons that are not as true as they have to be."""
    if found.share(found.first_lowers) < LEAST_FIRST:
        told = "Without what the first reason names, the score falls for only {did}."
        yield say(told, did=_of_all("first_lowers", facts))
    if found.share(found.three_lower_more) < LEAST_THREE:
        told = "The leading reasons matter more than other things that the lead did for only {did}."
        yield say(told, did=_of_all("three_lower_more", facts))
    if found.share(found.covered) < LEAST_COVERED:
        yield say("Only {did} have three reasons to be told.", did=_of_all("covered", facts))
    if found.contradicting:
        yield _contradicting(found, facts)


def _playbooks(trained: Trained, found: Spoken) -> Iterator[dict[str, str]]:
    title_of = {book.id: book.title for book in trained.artifact.definition.playbooks}
    for name, pqls in found.playbooks:
        yield {"title": title_of[name], "pqls": count(pqls), "share": percent(found.share(pqls))}
    none = found.pqls - sum(pqls for _, pqls in found.playbooks)
    if none and title_of:
        yield {"title": "none", "pqls": count(none), "share": percent(found.share(none))}

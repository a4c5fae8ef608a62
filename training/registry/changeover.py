"""Changing by hand what is in service: which version is meant, whether it can serve, and then the alias.

`pql rollback` goes to the version that the champion replaced, so doing it twice leads back to where it began.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import InvalidInput, Refusal, listing
from serving.scoring.scorer import Scorer
from training import tracking
from training.cutoff_words import why_nobody
from training.tracking import MODEL, PREVIOUS, Version

SHORTEST: Final = 4
"""Characters of a content name from which on they may stand for it."""


@dataclass(frozen=True)
class Change:
    """What is in service now, and what was; `warning` is what its users should know."""

    now: Version
    before: Version | None
    changed: bool
    warning: str | None = None


def promote(name: str, why: str | None, *, force: bool = False) -> Change:
    """Put a version into service by its number, its content's name or the beginning of that.

    Raises
    ------
    InvalidInput
        Where no version, or more than one, is called so.
    ArtifactError
        Where its files are damaged or cannot be served by this release.
    Refusal
        Where its training ended in a refusal, unless forced.
    """
    known = tracking.versions()
    meant, before = find(name, known), champion_of(known)
    if meant.in_service:
        return Change(meant, before, changed=False)
    refusal = meant.tags.get("refusal")
    if refusal is not None and not force:
        raise Refusal(
            f"version {meant.number} ended in a refusal: {refusal} To put it into service anyway, add --force."
        )
    despite = "" if refusal is None else f" (forced, although: {refusal})"
    return _change(meant, before, "promote", f"{why or 'put into service by hand'}{despite}")


def rollback(why: str | None) -> Change:
    """Go back to the version that the one in service replaced.

    Raises
    ------
    InvalidInput
        Where nothing is in service, or it replaced nothing.
    ArtifactError
        Where the files of the version before are damaged or cannot be served by this release.
    """
    known = tracking.versions()
    before = champion_of(known)
    if before is None:
        raise InvalidInput(
            "nothing is in service, so there is nothing to go back from.",
            hint="Train with `pql train`, see `pql models`.",
        )
    target = _replaced_by(before, known)
    if target is None:
        raise InvalidInput(
            f"version {before.number} is in service and replaced none that is still there, so there is nothing to go back to.",
            hint="`pql models` lists the versions, `pql promote VERSION` puts one into service.",
        )
    return _change(target, before, "rollback", why or f"rolled back from version {before.number}")


def champion_of(known: Sequence[Version]) -> Version | None:
    """Return the version in service, or None where none is."""
    return next((one for one in known if one.in_service), None)


def _replaced_by(champion: Version, known: Sequence[Version]) -> Version | None:
    others = [one for one in known if one is not champion]
    # What is written on the version is true even where a process died before it moved the alias.
    told = [one for one in others if str(one.number) == champion.tags.get("replaced")]
    return next(iter([*told, *(one for one in others if PREVIOUS in one.aliases)]), None)


def find(name: str, known: Sequence[Version]) -> Version:
    """Return the version of a number, a content's name or the beginning of one; `known` is ordered newest first.

    Raises
    ------
    InvalidInput
        Where there is none, or the beginning fits more than one content.
    """
    name = name.removeprefix(f"{MODEL}/")
    for one in known:
        if str(one.number) == name:
            return one
    fitting = [one for one in known if len(name) >= SHORTEST and one.content.startswith(name)]
    contents = list(dict.fromkeys(one.content for one in fitting))
    if len(contents) == 1:
        # The same content, registered twice: the one in service, else the newest.
        return champion_of(fitting) or fitting[0]
    if contents:
        raise InvalidInput(
            f"version {name!r} could be {listing(contents)}.", "VERSION", "Write more of it, or its number."
        )
    there = listing([f"{one.number} ({one.content})" for one in known]) or "none"
    raise InvalidInput(
        f"there is no version {name!r}; registered are {there}.",
        "VERSION",
        f"Name a number, or at least {SHORTEST} characters of a content name, as `pql models` lists them.",
    )


def registered(name: str) -> str:
    """Return what the registry calls a version, such as `pql-scorer/3`; `name` and errors as in `find`."""
    return f"{MODEL}/{find(name, tracking.versions()).number}"


def _change(to: Version, before: Version | None, by: str, why: str) -> Change:
    decision = _verified(to).artifact.decision
    tracking.promote(to.number, by, why)
    nobody = why_nobody(decision)
    warning = None if nobody is None else f"IT HAS NO CUTOFF, so nobody is called a PQL: {nobody}"
    return Change(to, before, changed=True, warning=warning)


def _verified(version: Version) -> Scorer:
    """Load a version as the service would: hashes, format and stored examples; what cannot be served is not promoted."""
    with tempfile.TemporaryDirectory() as scratch:
        return Scorer.from_folder(tracking.fetch(f"{MODEL}/{version.number}", Path(scratch)))

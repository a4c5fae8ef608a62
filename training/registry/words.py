"""The versions of the registry, and what changed in service, in the words that a person reads on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any, Final

from features.times import moment_of
from training.registry.changeover import Change
from training.tracking import CHAMPION, MODEL, Version

WIDTH: Final = 100
SHOWN: Final = {"auc": "AUC", "log_loss": "log loss", "pql_precision": "PQL prec.", "cutoff": "cutoff"}
NONE_YET: Final = "No version is registered yet. Train one with `pql train`."
_HEAD: Final = f"  {'no.':>4}  {'content':<12}  {'trained (UTC)':<16}"
_INDENT: Final = " " * 8


def table(known: Sequence[Version]) -> list[str]:
    """Return the versions newest first, at most 100 columns wide; a star marks the one in service."""
    if not known:
        return [NONE_YET]
    head = _HEAD + "".join(f"{label:>10}" for label in SHOWN.values())
    lines = [head, *(line for one in known for line in _version(one))]
    if not any(one.in_service for one in known):
        lines.append("Nothing is in service. Put a version into service with `pql promote VERSION`.")
    return lines


def _version(one: Version) -> Iterator[str]:
    made = f"{moment_of(one.created_ms * 1000):%Y-%m-%d %H:%M}"
    numbers = "".join(f"{_figure(one, name):>10}" for name in SHOWN)
    called = f"  {', '.join(one.aliases)}" if one.aliases else ""
    yield f"{'*' if one.in_service else ' '} {one.number:>4}  {one.content:<12}  {made:<16}{numbers}{called}"
    for text in _why(one):
        yield from wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _figure(one: Version, name: str) -> str:
    return f"{one.figures[name]:.3f}" if name in one.figures else "-"


def _why(one: Version) -> Iterator[str]:
    """Yield how a version was judged, and how it got into service where that is another story."""
    told = one.tags
    if one.verdict:
        yield one.verdict
    at = told.get("promoted_at", "")[:16].replace("T", " ")
    if at and told.get("promoted_by") != "train":
        yield f"Put into service by `pql {told.get('promoted_by', '?')}` on {at} UTC: {told.get('promoted_why', '')}"
    elif not at and not one.in_service and told.get("wins") == "yes":
        yield f"It never got into service: the run ended before. To put it there: `pql promote {one.number}`."


def change(done: Change) -> list[str]:
    """Return what is in service now and how to undo it."""
    if not done.changed:
        return [f"{_named(done.now)} is in service already; nothing was changed."]
    was = "nothing was before" if done.before is None else f"before it was {_named(done.before)}"
    lines = [f"{_named(done.now)} is in service now; {was}."]
    lines += [done.warning] if done.warning else []
    return lines if done.before is None else [*lines, "To undo it: `pql rollback`."]


def _named(one: Version) -> str:
    return f"{MODEL}/{one.number} ({one.content})"


def facts(one: Version) -> dict[str, Any]:
    """Return a version for machines."""
    return {**asdict(one), "in_service": CHAMPION in one.aliases}


def change_facts(done: Change) -> dict[str, Any]:
    """Return a change for machines."""
    return {
        "changed": done.changed, "champion": done.now.number, "content": done.now.content,
        "before": done.before and done.before.number, "warning": done.warning,
    }  # fmt: skip

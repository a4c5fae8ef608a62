"""What a part of the benchmark of truth came to, and its place in the section of docs/results.md."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import put

HEADING = "## Truth"
_SAID = {True: "met", False: "**missed**", None: ""}


@dataclass(frozen=True)
class Bar:
    """What was asked for, what was measured, and whether that is enough; None where it only stands beside the others."""

    what: str
    needed: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Part:
    """One `###` of the section: what the world is like, the bars, and tables that stand beside them."""

    title: str
    world: str
    bars: Sequence[Bar]
    beside: str = ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text_of(part: Part, seconds: float) -> str:
    """Return a part as Markdown."""
    bars = table(
        ("bar", "needed", "measured", ""),
        ((bar.what, bar.needed, bar.measured, _SAID[bar.met]) for bar in part.bars),
    )
    blocks = [f"### {part.title}", part.world, bars, part.beside, f"{seconds:,.0f} CPU seconds."]
    return "\n\n".join(block.strip() for block in blocks if block.strip())


def write(page: Path, parts: Sequence[str], order: Sequence[str]) -> None:
    """Write the section with these parts in place of those of their titles; other parts that it has stay as they are.

    Parameters
    ----------
    order : the titles, in the order in which they stand
    """
    texts = {**_on(page), **{_title(part): part for part in parts}}
    put(page, "\n\n".join([_introduction(), *(texts[title] for title in order if title in texts)]))


def _on(page: Path) -> dict[str, str]:
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    section = re.search(rf"(?ms)^{HEADING}$.*?(?=^## |\Z)", old)
    parts = re.split(r"(?m)^(?=### )", section.group())[1:] if section else []
    return {_title(part): part.strip() for part in parts}


def _title(part: str) -> str:
    return part.splitlines()[0].removeprefix("### ")


def _introduction() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("lightgbm", "scikit-learn", "numpy"))
    return f"""{HEADING}

Simulated products whose true probabilities are known, so that what is measured is the error itself and no luck of a
test set, unless it says otherwise. Every seed is fixed. `python -m benchmarks.truth PAGE` makes it anew.

Python {platform.python_version()}, {platform.machine()}; {packages}."""

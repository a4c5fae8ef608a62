"""What a part of a benchmark came to, and its place in a section of docs/results.md."""

from __future__ import annotations

import argparse
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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


Parts = Mapping[str, tuple[str, Callable[[], Part]]]
"""The parts of a section by the names that `--only` knows: their titles, in the order in which they stand, and their measuring."""


def measure(description: str, parts: Parts, head: str) -> None:
    """Measure the parts that the command line asks for and write each into its section, which begins with `head`."""
    words = argparse.ArgumentParser(description=description)
    words.add_argument("page", type=Path)
    words.add_argument("--only", choices=parts, action="append", help="measure this part, keep the others")
    asked = words.parse_args()
    order = [title for title, _ in parts.values()]
    for name in asked.only or parts:
        print(f"{name} ...", flush=True)
        begun = time.process_time()
        part = parts[name][1]()
        text = text_of(part, time.process_time() - begun)
        write(asked.page, [text], order, head)
        print(text, flush=True)


def write(page: Path, parts: Sequence[str], order: Sequence[str], head: str) -> None:
    """Write a section with these parts in place of those of their titles; other parts that it has stay as they are.

    Parameters
    ----------
    order : the titles, in the order in which they stand
    head : how the section begins; its first line is the heading
    """
    texts = {**_on(page, head.splitlines()[0]), **{_title(part): part for part in parts}}
    put(page, "\n\n".join([head, *(texts[title] for title in order if title in texts)]))


def _on(page: Path, heading: str) -> dict[str, str]:
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    section = re.search(rf"(?ms)^{heading}$.*?(?=^## |\Z)", old)
    parts = re.split(r"(?m)^(?=### )", section.group())[1:] if section else []
    return {_title(part): part.strip() for part in parts}


def _title(part: str) -> str:
    return part.splitlines()[0].removeprefix("### ")


def introduction() -> str:
    """Return how the section on truth begins."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("lightgbm", "scikit-learn", "numpy"))
    return f"""{HEADING}

Simulated products whose true probabilities are known, so that what is measured is the error itself and no luck of a
test set, unless it says otherwise. Every seed is fixed. `python -m benchmarks.truth PAGE` makes it anew.

Python {platform.python_version()}, {platform.machine()}; {packages}."""

"""The picture of what reasons are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.reporting import figures
from training.reporting.figures import ACCENT, INK, MUTED, SOFT
from training.reporting.words import percent

if TYPE_CHECKING:
    from training.reporting.figures import Canvas


@dataclass(frozen=True)
class Told:
    """A signal or trait with the shares of PQLs whose first reason it is, and whose leading reasons it is among."""

    label: str
    first: float
    named: float


def told(rows: Sequence[Told]) -> str:
    """Return a bar for each row, in the given order from the top: how often it is named, and the part where it is first."""

    def draw(figure: Canvas) -> None:
        axes, places = figure.subplots(), range(len(rows))
        axes.barh(places, [row.named for row in rows], color=SOFT, height=0.62)
        axes.barh(places, [row.first for row in rows], color=ACCENT, height=0.62)
        axes.set_yticks(places, labels=[row.label for row in rows], color=INK)
        widest = max((row.named for row in rows), default=0.0) or 1.0
        for place, row in enumerate(rows):
            first = f" · first for {percent(row.first)}" if row.first else ""
            axes.text(row.named + 0.015 * widest, place, percent(row.named) + first, va="center", color=MUTED, size=8.5)
        axes.set(xlim=(0, 1.3 * widest), ylim=(len(rows) - 0.4, -0.6))
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(left=False, bottom=False, labelbottom=False)

    return figures.picture("reasons", 0.3 + 0.25 * max(1, len(rows)), draw)

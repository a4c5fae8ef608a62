"""Pictures of the model: what it is made of, how it was chosen, and which trials it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.windows import Floats
from training.evaluate import Interval
from training.reporting import figures
from training.reporting.figures import ACCENT, INK, MUTED, SOFT

if TYPE_CHECKING:
    from training.reporting.figures import Canvas


@dataclass(frozen=True)
class Bar:
    """A label, the share that its bar is long, and what stands behind the bar."""

    label: str
    share: float
    note: str


def bars(rows: Sequence[Bar]) -> str:
    """Return horizontal bars, in the given order from the top."""

    def draw(figure: Canvas) -> None:
        axes = figure.subplots()
        axes.barh(range(len(rows)), [row.share for row in rows], color=ACCENT, height=0.62)
        axes.set_yticks(range(len(rows)), labels=[row.label for row in rows], color=INK)
        widest = max((row.share for row in rows), default=0.0) or 1.0
        for place, row in enumerate(rows):
            share = f"{row.share:.0%}" if row.share >= 0.01 else "< 1%"
            axes.text(row.share + 0.015 * widest, place, f"{share} · {row.note}", va="center", color=MUTED, size=8.5)
        axes.set(xlim=(0, 1.45 * widest), ylim=(len(rows) - 0.4, -0.6))
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(left=False, bottom=False, labelbottom=False)

    return figures.picture("signals", 0.3 + 0.25 * len(rows), draw)


@dataclass(frozen=True)
class Span:
    """A part of the trials: from the first to the last that began, and until when their outcomes were watched."""

    name: str
    first: datetime
    last: datetime
    watched: datetime
    note: str


def timeline(spans: Sequence[Span]) -> str:
    """Return the parts under each other on one axis of time, their outcomes' watch a thinner bar behind."""

    def draw(figure: Canvas) -> None:
        axes = figure.subplots()
        for place, span in enumerate(spans):
            axes.barh(place, span.watched - span.first, left=span.first, height=0.12, color=SOFT)  # type: ignore[arg-type]
            axes.barh(place, span.last - span.first, left=span.first, height=0.34, color=ACCENT)  # type: ignore[arg-type]
            axes.annotate(span.note, (span.first, place), (0, 9), textcoords="offset points")
        axes.set_yticks(range(len(spans)), labels=[span.name for span in spans], color=INK)
        axes.set_ylim(len(spans) - 0.5, -0.75)
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)

    return figures.picture("timeline", 0.5 + 0.5 * len(spans), draw)


def learning(curve: Floats, trees: int) -> str:
    """Return held-out log loss by number of trees, with the number that was kept."""

    def draw(figure: Canvas) -> None:
        axes = figure.subplots()
        axes.plot(range(len(curve)), curve, color=MUTED, linewidth=1.5)
        axes.plot([trees], curve[[min(trees, len(curve) - 1)]], "o", color=ACCENT, markersize=7)
        axes.set(xlabel="trees", title="Log loss on leads held out (lower is better)")
        axes.margins(y=0.2)

    return figures.picture("learning", 2.0, draw, 5.0)


def ladder(rows: Sequence[tuple[str, Interval, bool]]) -> str:
    """Return for each step of the ladder what it changes in log loss, with its interval; steps taken stand out."""

    def draw(figure: Canvas) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        for place, (_, found, taken) in enumerate(rows):
            colour = ACCENT if taken else MUTED
            axes.hlines(place, found.low, found.high, color=colour, linewidth=2)
            axes.plot([found.value], [place], "o", color=colour, markersize=7)
            axes.annotate(f"{found.value:+.4f}", (found.value, place), (0, 7), textcoords="offset points", ha="center")
        axes.set_yticks(range(len(rows)), labels=[label for label, _, _ in rows], color=INK)
        axes.set(ylim=(len(rows) - 0.4, -0.7), title="Change in log loss (left of the line is better)")
        axes.margins(x=0.2)

    return figures.picture("ladder", 0.8 + 0.42 * len(rows), draw)

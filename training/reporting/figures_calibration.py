"""Pictures of whether the score says what happens: over all scores, and in each part of the leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from training.judging.breakdown import Part
from training.judging.reliability import Reliability
from training.reporting import figures
from training.reporting.figures import ACCENT, INK, MUTED, SOFT

if TYPE_CHECKING:
    from training.reporting.figures import Canvas


def reliability(curve: Reliability) -> str:
    """Return the reliability diagram, zoomed into low rates, above a histogram of the leads' scores."""
    bottom, top = _zoom(curve)
    # Roots draw low rates apart as logarithms do, and have a place for zero.
    roots = {"functions": (lambda x: np.sqrt(np.maximum(x, 0)), np.square)}
    marks = np.linspace(0, 1, 11) if bottom else (0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1)
    ticks = [tick for tick in marks if bottom <= tick <= top]

    def draw(figure: Canvas) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=[6, 1])
        above.set_xscale("function", **roots)
        above.set_yscale("function", **roots)
        above.fill_between(curve.scores, curve.low, curve.high, color=SOFT, linewidth=0)
        above.plot([bottom, top], [bottom, top], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        above.plot(curve.scores, curve.observed, color=ACCENT, linewidth=2)
        above.set(xlim=(bottom, top), ylim=(bottom, top), yticks=ticks, title="Share that converted")
        edges = (np.linspace(np.sqrt(bottom), np.sqrt(top), 41) ** 2).tolist()
        below.hist(curve.probabilities, edges, weights=curve.weight, color=MUTED, rwidth=0.8)
        below.set(xlabel="score: probability to convert", xticks=ticks, yticks=[])
        below.set_title("Where the scores are", color=MUTED)
        for axis in (above.yaxis, below.xaxis):
            figures.percents(axis)

    return figures.picture("reliability", 5.2, draw, 5.6)


def _zoom(curve: Reliability) -> tuple[float, float]:
    """Return the limits of both axes: all scores, and what became of all but the lowest and the highest few."""
    few = np.quantile(curve.probabilities, [0.005, 0.995])
    seen = [*np.interp(few, curve.scores, curve.observed), curve.scores[0], curve.scores[-1]]
    lowest = 0.95 * float(min(seen))
    return (0.0 if lowest < 0.2 else lowest), min(1.0, 1.1 * float(max(seen)))


NARROWEST, WIDEST = 0.25, 4.0
"""Ratios beyond these are drawn at the edge: a part with two leads may be anywhere."""


def parts(rows: Sequence[tuple[str, Part]]) -> str:
    """Return conversions over those predicted in each labelled part, with its interval, around the line of 1."""
    ends = [end for _, part in rows for end in (part.ratio.low, part.ratio.high, 0.8, 1.25)]
    low, high = max(NARROWEST, 0.95 * min(ends)), min(WIDEST, 1.05 * max(ends))
    ticks = [tick for tick in (0.25, 0.5, 0.7, 0.8, 1, 1.25, 1.5, 2, 3, 4) if low <= tick <= high]

    def draw(figure: Canvas) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.axvline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        for place, (_, part) in enumerate(rows):
            ratio = part.ratio
            left, dot, right = (float(np.clip(one, low, high)) for one in (ratio.low, ratio.value, ratio.high))
            axes.hlines(place, left, right, color=ACCENT if part.off else MUTED, linewidth=2)
            axes.plot([dot], [place], "o", color=ACCENT if part.off else MUTED, markersize=7)
            note = f"{part.observed:,} came, {part.expected:,.0f} predicted"
            axes.annotate(note, (1.01, place), xycoords=("axes fraction", "data"), va="center", color=MUTED)
        axes.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6), title="Conversions that came over those predicted")
        axes.set_yticks(range(len(rows)), labels=[label for label, _ in rows], color=INK)
        axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)

    return figures.picture("parts", 0.8 + 0.3 * len(rows), draw)

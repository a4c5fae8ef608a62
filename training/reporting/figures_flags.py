"""Pictures of who is flagged: how many, when, how long before converting, and against other ways of choosing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from features.windows import Floats
from training.evaluate import Interval, Promise
from training.judging.backtest import BUYING, Day
from training.judging.choices import PrecisionCurve
from training.reporting import figures
from training.reporting.figures import ACCENT, INK, MUTED, SOFT

if TYPE_CHECKING:
    from training.reporting.figures import Canvas, Plane

FEW_DAYS: Final = 5
MOST_NAMED: Final = 7
MOST_COUNTED: Final = 14
"""Days up to which each has its word, as many as have room for one, and up to which each bar has its count."""


def cutoff(curve: PrecisionCurve, promise: Promise) -> str:
    """Return precision and caught converters against the number of leads flagged, with the cutoff that was chosen."""
    asked = promise.asked_for

    def draw(figure: Canvas) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=[5, 3])
        above.fill_between(curve.flagged, curve.low, curve.precision, color=SOFT, linewidth=0)
        above.plot(curve.flagged, curve.precision, color=ACCENT, linewidth=2)
        if asked is not None:
            _level(above, asked)
        below.plot(curve.flagged, curve.caught, color=ACCENT, linewidth=2)
        tallest = max(1.25 * (asked or 0.0), float(curve.precision.max()))
        above.set(ylim=(0, min(1.02, 1.1 * tallest)), title="Share of flagged leads that converted")
        below.set(ylim=(0, 1.02), xlim=(0, 1.01 * curve.flagged[-1]), title="Share of all converters that are flagged")
        below.set_xlabel("leads flagged, the highest scores first")
        below.xaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
        figures.percents(above.yaxis)
        figures.percents(below.yaxis)
        if promise.precision is not None:
            _mark(
                above, promise.leads, promise.precision.value, f"the cutoff: {promise.leads:,} PQLs, {{:.0%}} converted"
            )
            _mark(below, promise.leads, promise.caught, "{:.0%} of converters", shift=-16)

    return figures.picture("cutoff", 4.6, draw)


def _level(axes: Plane, asked: float) -> None:
    axes.axhline(asked, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(
        f"asked for: {asked:.0%}", (1, asked), (0, 4), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right",
    )  # fmt: skip


def _mark(axes: Plane, x: float, y: float, text: str, shift: float = 8) -> None:
    """Put a dot with a label on the side that has room, `shift` points above it."""
    left = x < np.mean(axes.get_xlim())
    axes.axvline(x, color=MUTED, linewidth=0.8)
    axes.plot([x], [y], "o", color=ACCENT, markersize=7)
    axes.annotate(
        text.format(y), (x, y), (8 if left else -8, shift), textcoords="offset points",
        ha="left" if left else "right", weight="bold",
    )  # fmt: skip


def days(rows: Sequence[Day]) -> str:
    """Return, by age of the trial, the ranking's quality and the number of new PQLs side by side."""
    places = range(len(rows))
    named = range(0, len(rows), math.ceil(len(rows) / MOST_NAMED))
    labels = [rows[place].label if len(rows) <= FEW_DAYS else f"{rows[place].day:g}" for place in named]
    aucs = [row.auc for row in rows]  # NaN, of a day on which all came out the same, is drawn as nothing

    def draw(figure: Canvas) -> None:
        left, right = figure.subplots(1, 2)
        left.bar(places, [auc.value for auc in aucs], color=SOFT, width=0.55)
        left.vlines(places, [auc.low for auc in aucs], [auc.high for auc in aucs], color=ACCENT, linewidth=2)
        for place in named:
            auc = aucs[place]
            left.annotate(f"{auc.value:.0%}", (place, auc.high), (0, 4), textcoords="offset points", ha="center")
        left.set(ylim=(0.5, 1.05), title="Converter ranked above another lead")
        left.set_yticks([0.5, 0.75, 1.0], labels=["50% (coin)", "75%", "100%"])
        drawn = right.bar(places, [row.pqls for row in rows], color=ACCENT, width=0.55)
        told = [
            f"{row.pqls:,}" if len(rows) <= MOST_COUNTED or place in named else "" for place, row in enumerate(rows)
        ]
        right.bar_label(drawn, told, padding=3)
        right.set(
            ylim=(0, 1.2 * max(1, *(row.pqls for row in rows))), title="Leads that became a PQL on this day", yticks=[]
        )
        for axes in (left, right):
            axes.set_xticks(named, labels=labels)
            if len(rows) > FEW_DAYS:
                axes.set_xlabel("day of the trial")
            axes.set_xlim(-0.6, len(rows) - 0.4)

    return figures.picture("days", 2.5, draw)


def ahead(spans: Floats, horizon: float) -> str:
    """Return a histogram of how many days after becoming a PQL leads converted, over [0, horizon); the first day stands out."""

    def draw(figure: Canvas) -> None:
        axes = figure.subplots()
        edges = np.linspace(0, horizon, min(31, max(2, round(horizon) + 1)))
        counts, _ = np.histogram(spans, edges)
        colours = [MUTED if start < BUYING else ACCENT for start in edges[:-1]]
        axes.bar(edges[:-1], counts, 0.85 * np.diff(edges), align="edge", color=colours)
        axes.axvline(float(np.median(spans)), color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            f"half within {np.median(spans):.1f} days", (float(np.median(spans)), 1), (5, -4),
            xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
        )  # fmt: skip
        axes.set(xlim=(0, horizon), title="PQLs that converted", xlabel="days from becoming a PQL to converting")
        axes.set_ylim(0, 1.3 * max(1, int(counts.max())))
        figures.whole_numbers(axes.yaxis)

    return figures.picture("ahead", 2.1, draw)


@dataclass(frozen=True)
class Way:
    """One way to score, with a figure of it; `interval` where it has one of its own."""

    name: str
    value: float
    interval: Interval | None = None


def ways(
    name: str, panels: Sequence[tuple[str, Sequence[Way]]], form: Callable[[float], str], *, shares: bool = False
) -> str:
    """Return a dot for each way to score, one panel per figure; the first way is the version itself."""
    height = 0.9 + 0.4 * max(len(rows) for _, rows in panels)

    def draw(figure: Canvas) -> None:
        beside = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, rows) in zip(beside, panels, strict=True):
            for place, row in enumerate(rows):
                colour = MUTED if place else ACCENT
                if row.interval:
                    axes.hlines(place, row.interval.low, row.interval.high, color=colour, linewidth=2)
                axes.plot([row.value], [place], "o", color=colour, markersize=7)
                axes.annotate(form(row.value), (row.value, place), (0, 7), textcoords="offset points", ha="center")
            axes.set(ylim=(len(rows) - 0.6, -0.6), title=title)
            axes.set_yticks(range(len(rows)), labels=[row.name for row in rows], color=INK)
            axes.margins(x=0.2)
            axes.locator_params(axis="x", nbins=4)
            if shares:
                figures.percents(axes.xaxis)

    return figures.picture(name, height, draw)

"""Pictures of a version as inline SVG, and the curves they show. The only door to matplotlib; says nothing in words."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from features.definition import PrecisionPolicy
from features.windows import Floats, Ints
from training.cutoff import first_flag_rows, lower_bound
from training.evaluate import Interval, Promise, row_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIMULATED: Final = 200
SEED: Final = 7
WIDTH: Final = 7.6
"""Inches; at 108 pixels an inch a picture is as wide as the page's text."""

# Stand-ins that the page's style sheet gives colours to, so that one picture suits light, dark and paper.
INK, MUTED, ACCENT, SOFT, GRID = "#010101", "#020202", "#030303", "#040404", "#050505"
_PAINT: Final = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    ACCENT: "var(--accent)",
    SOFT: "var(--soft)",
    GRID: "var(--line)",
}
_STYLE: Final[dict[str, Any]] = {
    "font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left", "axes.titlepad": 8,
    "text.color": INK, "axes.titlecolor": INK, "axes.labelcolor": MUTED, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
    "axes.edgecolor": GRID, "xtick.color": GRID, "ytick.color": GRID, "axes.spines.top": False, "axes.spines.right": False,
    # Text stays text (read aloud, searched, in the page's font), and a dollar in a name is no formula.
    "svg.fonttype": "none", "text.parse_math": False,
}  # fmt: skip


@dataclass(frozen=True)
class Reliability:
    """How often leads of each score converted, beside what chance does to a score that is exactly right.

    `scores`, `observed`, `low` and `high` are float64 arrays of shape (m,), ascending; `inside` is the share of snapshots
    where `observed` lies between `low` and `high`, the 5th and the 95th percentile of what was simulated.
    """

    scores: Floats
    observed: Floats
    low: Floats
    high: Floats
    inside: float
    probabilities: Floats
    weight: Floats


def reliability_of(predictions: pd.DataFrame) -> Reliability:
    """Return the isotonic reliability curve of test predictions (CORP, Dimitriadis et al. 2021)."""
    probabilities, weight = predictions["probability"].to_numpy(np.float64), row_weights(predictions)
    levels, place = np.unique(probabilities, return_inverse=True)
    mass = np.bincount(place, weight)
    roots = np.linspace(np.sqrt(levels[0]), np.sqrt(levels[-1]), 120)
    scores = np.unique(np.concatenate([roots**2, np.quantile(levels, np.linspace(0, 1, 120))]))
    scores = scores.clip(levels[0], levels[-1])

    def smooth(outcomes: Floats) -> Floats:
        share = np.bincount(place, weight * outcomes) / mass
        line: Floats = np.interp(scores, levels, isotonic_regression(share, weights=mass).x)
        return line

    lead, rng = pd.factorize(predictions["lead_id"])[0], np.random.default_rng(SEED)
    # One draw for all snapshots of a lead: their outcomes go together, and as if apart the band would be too narrow.
    luck = (rng.random(lead.max() + 1)[lead] for _ in range(SIMULATED))
    low, high = np.quantile([smooth(1.0 * (one < probabilities)) for one in luck], [0.05, 0.95], axis=0)
    observed = smooth(predictions["converted"].to_numpy(np.float64))
    within = (low - 1e-9 <= observed) & (observed <= high + 1e-9)
    inside = float(np.average(np.interp(levels, scores, within), weights=mass))
    return Reliability(scores, observed, low, high, inside, probabilities, weight)


@dataclass(frozen=True)
class PrecisionCurve:
    """What becomes of the leads flagged as the cutoff is lowered: arrays of shape (m,), each lead counted at its first flag.

    `low` is the one-sided lower bound of `precision` at the policy's confidence; `caught` the share of converters flagged.
    """

    flagged: Ints
    precision: Floats
    low: Floats
    caught: Floats


def precision_curve(predictions: pd.DataFrame, policy: PrecisionPolicy) -> PrecisionCurve:
    """Return the curve over the test part, from its ten highest-scored leads to all of them."""
    ordered = predictions.sort_values("as_of", kind="stable")
    scores, won = ordered["probability"].to_numpy(np.float64), ordered["converted"].to_numpy(np.int64)
    lead = pd.factorize(ordered["lead_id"])[0].astype(np.int64)
    peaks = np.sort(pd.Series(scores).groupby(lead).max().to_numpy())[::-1]
    ranks = np.unique(np.geomspace(min(10, len(peaks)), len(peaks), 120).round().astype(np.int64))
    flags = [first_flag_rows(scores >= threshold, lead) for threshold in np.unique(peaks[ranks - 1])[::-1]]
    flagged, hits = np.array([len(rows) for rows in flags]), np.array([won[rows].sum() for rows in flags])
    low = [lower_bound(int(hit), int(n), policy.confidence) for hit, n in zip(hits, flagged, strict=True)]
    converters = np.unique(lead[won == 1])
    caught = [np.isin(converters, lead[rows]).sum() / max(1, len(converters)) for rows in flags]
    return PrecisionCurve(flagged, hits / flagged, np.array(low), np.array(caught))


def _picture(name: str, height: float, draw: Callable[[Figure], None], width: float = WIDTH) -> str:
    """Return what `draw` draws as an SVG element: nothing global changed, no date in it, ids of its own."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    out = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=nobody)
    return _inline(out.getvalue(), name, width)


def _inline(text: str, name: str, width: float) -> str:
    """Return an SVG file as an element of a page: without outside addresses, its ids, sizes and colours fit for the page."""
    inner = text[text.index(">", text.index("<svg")) + 1 :]
    inner = re.sub(r"<style.*?</style>", "", inner, flags=re.DOTALL)
    inner = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", inner)
    inner = re.sub("|".join(_PAINT), lambda found: _PAINT[found[0]], inner)
    found = re.search(r'viewBox="[^"]*"', text)
    assert found is not None  # matplotlib writes one
    return f'<svg {found[0]} style="max-width:{108 * width:.0f}px" aria-hidden="true">{inner}'


def _percents(axis: Any) -> None:
    axis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")


@dataclass(frozen=True)
class Bar:
    """A label, the share that its bar is long, and what stands behind the bar."""

    label: str
    share: float
    note: str


def bars(rows: Sequence[Bar]) -> str:
    """Return horizontal bars, in the given order from the top."""

    def draw(figure: Figure) -> None:
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

    return _picture("signals", 0.3 + 0.25 * len(rows), draw)


def reliability(curve: Reliability) -> str:
    """Return the reliability diagram, zoomed into low rates, above a histogram of the leads' scores."""
    bottom, top = _zoom(curve)
    # Roots draw low rates apart as logarithms do, and have a place for zero.
    roots = {"functions": (lambda x: np.sqrt(np.maximum(x, 0)), np.square)}
    marks = np.linspace(0, 1, 11) if bottom else (0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1)
    ticks = [tick for tick in marks if bottom <= tick <= top]

    def draw(figure: Figure) -> None:
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
            _percents(axis)

    return _picture("reliability", 5.2, draw, 5.6)


def _zoom(curve: Reliability) -> tuple[float, float]:
    """Return the limits of both axes: all scores, and what became of all but the lowest and the highest few."""
    few = np.quantile(curve.probabilities, [0.005, 0.995])
    seen = [*np.interp(few, curve.scores, curve.observed), curve.scores[0], curve.scores[-1]]
    lowest = 0.95 * float(min(seen))
    return (0.0 if lowest < 0.2 else lowest), min(1.0, 1.1 * float(max(seen)))


def cutoff(curve: PrecisionCurve, promise: Promise) -> str:
    """Return precision and caught converters against the number of leads flagged, with the cutoff that was chosen."""

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=[5, 3])
        above.fill_between(curve.flagged, curve.low, curve.precision, color=SOFT, linewidth=0)
        above.plot(curve.flagged, curve.precision, color=ACCENT, linewidth=2)
        above.axhline(promise.asked_for, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        above.annotate(
            f"asked for: {promise.asked_for:.0%}", (1, promise.asked_for), (0, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right",
        )  # fmt: skip
        below.plot(curve.flagged, curve.caught, color=ACCENT, linewidth=2)
        tallest = max(1.25 * promise.asked_for, float(curve.precision.max()))
        above.set(ylim=(0, min(1.02, 1.1 * tallest)), title="Share of flagged leads that converted")
        below.set(ylim=(0, 1.02), xlim=(0, 1.01 * curve.flagged[-1]), title="Share of all converters that are flagged")
        below.set_xlabel("leads flagged, the highest scores first")
        below.xaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
        _percents(above.yaxis)
        _percents(below.yaxis)
        if promise.precision is not None:
            _mark(
                above, promise.leads, promise.precision.value, f"the cutoff: {promise.leads:,} PQLs, {{:.0%}} converted"
            )
            _mark(below, promise.leads, promise.caught, "{:.0%} of converters", shift=-16)

    return _picture("cutoff", 4.6, draw)


def _mark(axes: Axes, x: float, y: float, text: str, shift: float = 8) -> None:
    """Put a dot with a label on the side that has room, `shift` points above it."""
    left = x < np.mean(axes.get_xlim())
    axes.axvline(x, color=MUTED, linewidth=0.8)
    axes.plot([x], [y], "o", color=ACCENT, markersize=7)
    axes.annotate(
        text.format(y), (x, y), (8 if left else -8, shift), textcoords="offset points",
        ha="left" if left else "right", weight="bold",
    )  # fmt: skip


@dataclass(frozen=True)
class Day:
    """The test trials at one age: how well they are ranked among themselves, and how many became a PQL then."""

    day: float
    auc: Interval
    pqls: int

    @property
    def label(self) -> str:
        return f"day {self.day:g}"


def days(rows: Sequence[Day]) -> str:
    """Return, by age of the trial, the ranking's quality and the number of new PQLs side by side."""
    places, labels = range(len(rows)), [row.label for row in rows]
    aucs = [row.auc for row in rows]  # NaN, of a day on which all came out the same, is drawn as nothing

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.bar(places, [auc.value for auc in aucs], color=SOFT, width=0.55)
        left.vlines(places, [auc.low for auc in aucs], [auc.high for auc in aucs], color=ACCENT, linewidth=2)
        for place, auc in enumerate(aucs):
            left.annotate(f"{auc.value:.0%}", (place, auc.high), (0, 4), textcoords="offset points", ha="center")
        left.set(ylim=(0.5, 1.05), title="Converter ranked above another lead")
        left.set_yticks([0.5, 0.75, 1.0], labels=["50% (coin)", "75%", "100%"])
        drawn = right.bar(places, [row.pqls for row in rows], color=ACCENT, width=0.55)
        right.bar_label(drawn, [f"{row.pqls:,}" for row in rows], padding=3)
        right.set(
            ylim=(0, 1.2 * max(1, *(row.pqls for row in rows))), title="Leads that became a PQL on this day", yticks=[]
        )
        for axes in (left, right):
            axes.set_xticks(places, labels=labels)
            axes.set_xlim(-0.6, len(rows) - 0.4)

    return _picture("days", 2.5, draw)


def ahead(spans: Floats, horizon: float) -> str:
    """Return a histogram of how many days after becoming a PQL leads converted, over [0, horizon)."""
    from matplotlib.ticker import MaxNLocator

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        edges = np.linspace(0, horizon, min(31, max(2, round(horizon) + 1))).tolist()
        axes.hist(spans, edges, color=ACCENT, rwidth=0.85)
        axes.axvline(float(np.median(spans)), color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            f"half within {np.median(spans):.1f} days", (float(np.median(spans)), 1), (5, -4),
            xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
        )  # fmt: skip
        axes.set(xlim=(0, horizon), title="PQLs that converted", xlabel="days from becoming a PQL to converting")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))

    return _picture("ahead", 2.1, draw)


@dataclass(frozen=True)
class Way:
    """One way to score, with a figure of it; `interval` where it has one of its own."""

    name: str
    value: float
    interval: Interval | None = None


def ways(panels: Sequence[tuple[str, Sequence[Way]]]) -> str:
    """Return a dot for each way to score, one panel per figure; the first way is the version itself."""

    def draw(figure: Figure) -> None:
        for axes, (title, rows) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
            for place, row in enumerate(rows):
                colour = MUTED if place else ACCENT
                if row.interval:
                    axes.hlines(place, row.interval.low, row.interval.high, color=colour, linewidth=2)
                axes.plot([row.value], [place], "o", color=colour, markersize=7)
                axes.annotate(f"{row.value:.3f}", (row.value, place), (0, 7), textcoords="offset points", ha="center")
            axes.set(ylim=(len(rows) - 0.6, -0.6), title=title)
            axes.set_yticks(range(len(rows)), labels=[row.name for row in rows], color=INK)
            axes.margins(x=0.2)
            axes.locator_params(axis="x", nbins=4)

    return _picture("ways", 2.1, draw)


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

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, span in enumerate(spans):
            axes.barh(place, span.watched - span.first, left=span.first, height=0.12, color=SOFT)  # type: ignore[arg-type]
            axes.barh(place, span.last - span.first, left=span.first, height=0.34, color=ACCENT)  # type: ignore[arg-type]
            axes.annotate(span.note, (span.first, place), (0, 9), textcoords="offset points")
        axes.set_yticks(range(len(spans)), labels=[span.name for span in spans], color=INK)
        axes.set_ylim(len(spans) - 0.5, -0.75)
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)

    return _picture("timeline", 0.5 + 0.5 * len(spans), draw)


def learning(curve: Floats, trees: int) -> str:
    """Return held-out log loss by number of trees, with the number that was kept."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(range(len(curve)), curve, color=MUTED, linewidth=1.5)
        axes.plot([trees], curve[[min(trees, len(curve) - 1)]], "o", color=ACCENT, markersize=7)
        axes.set(xlabel="trees", title="Log loss on leads held out (lower is better)")
        axes.margins(y=0.2)

    return _picture("learning", 2.0, draw, 5.0)

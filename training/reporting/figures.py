"""Pictures as inline SVG that suits light, dark and paper. The only door to matplotlib; knows nothing of what is shown."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Canvas = Figure
    Plane = Axes

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


def picture(name: str, height: float, draw: Callable[[Canvas], None], width: float = WIDTH) -> str:
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


def percents(axis: Any) -> None:
    """Write shares on an axis as percentages."""
    axis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")


def whole_numbers(axis: Any) -> None:
    """Write only whole numbers on an axis."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(5, integer=True))

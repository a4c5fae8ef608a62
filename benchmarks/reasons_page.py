"""How well reasons agree with a truth that is known, and the bars that they are held to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.truth_page import Bar
from features.windows import Floats

HEADING: Final = "## Reasons"
INTRODUCTION: Final = """Whether reasons name what is true, in simulated products whose true drivers are known. Every seed is
fixed. `python -m benchmarks.reasons_truth PAGE` makes it anew."""
LEADING: Final = 3
OVERLAP: Final = 0.87
FIRST: Final = 0.74
NULL: Final = 0.02
STABLE: Final = 0.78

Names = list[str]


@dataclass(frozen=True)
class Agreed:
    """Mean share of the truest three that are named, and shares of leads: the first is the truest, one without effect is named."""

    overlap: float
    first: float
    null: float


def agreed(
    named: Sequence[Sequence[str]], truth: Floats, names: Sequence[str], told: Sequence[Sequence[str]], null: Collection[str]
) -> Agreed:  # fmt: skip
    """Return how well what is named of leads agrees with what is true of them.

    Parameters
    ----------
    named : up to three of `names` for each lead, the strongest first
    truth : float64 array of shape (n_leads, n_names); what is not above 0 is no reason
    told : all that is said of each lead, in which nothing of `null` should be
    """
    order = np.argsort(-truth, axis=1, kind="stable")[:, :LEADING]
    truest = [[names[i] for i in mine if row[i] > 0] for mine, row in zip(order.tolist(), truth, strict=True)]
    pairs = [(list(own), true) for own, true in zip(named, truest, strict=True) if true]
    return Agreed(
        overlap=float(np.mean([len({*own} & {*true}) / len(true) for own, true in pairs])),
        first=float(np.mean([own[:1] == true[:1] for own, true in pairs])),
        null=float(np.mean([any(name in null for name in own) for own in told])),
    )


def overlap(one: Sequence[Names], other: Sequence[Names]) -> float:
    """Return the mean Jaccard overlap of what two versions name of the same leads.

    >>> overlap([["a", "b", "c"], ["a"]], [["c", "b", "d"], ["a"]])
    0.75
    """
    return float(np.mean([len({*a} & {*b}) / max(1, len({*a} | {*b})) for a, b in zip(one, other, strict=True)]))


def mean_of(found: Sequence[Agreed]) -> Agreed:
    """Return the mean over worlds."""
    return Agreed(*(float(np.mean([getattr(one, name) for one in found])) for name in ("overlap", "first", "null")))


def truth_bars(found: Sequence[Agreed], whose: str) -> list[Bar]:
    """Return the bars of truth, over worlds."""
    mean = mean_of(found)
    return [
        number_bar("mean share of the three truest among the three named", OVERLAP, mean.overlap),
        share_bar(f"{whose} whose first reason is the truest", FIRST, mean.first),
        Bar(f"{whose} of whom something without effect is named", f"at most {NULL:.0%}", f"{mean.null:.1%}", mean.null <= NULL),
    ]  # fmt: skip


def share_bar(what: str, least: float, measured: float) -> Bar:
    """Return a bar that a share must reach."""
    return Bar(what, f"at least {least:.0%}", f"{measured:.1%}", measured >= least)


def number_bar(what: str, least: float, measured: float) -> Bar:
    """Return a bar that a number must reach."""
    return Bar(what, f"at least {least:.2f}", f"{measured:.3f}", measured >= least)


def cells(one: Agreed) -> tuple[str, str, str]:
    """Return the cells of a table's row."""
    return f"{one.overlap:.3f}", f"{one.first:.1%}", f"{one.null:.1%}"

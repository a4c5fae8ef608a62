"""Which cutoffs can be promised to keep a floor under the precision.

Learn-then-test (Angelopoulos et al., arXiv 2110.01052): cutoffs are tried from strict to lax in an order fixed
beforehand, each by an exact binomial test, and the first failure ends the search, so that all tests together err with
probability at most 1 - confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import betainc
from scipy.stats import binom

from features.windows import Ints
from training.first_flags import FirstFlags, lower_bound

FEWEST_LEADS: Final = 30
"""No cutoff is tried that flags fewer held-out leads than this."""
STEP: Final = 1.1
"""Each cutoff tried flags this many times the leads of the one before. A fixed density: a finer grid errs more often, a
coarser one stops short of leads that could be had."""
OPTIMISTIC_ODDS: Final = 1.6
POWER: Final = 0.8
"""Nothing is tried that even a good score, whose PQLs have such odds over the promised ones, passes less often."""
MOST_FLAGGED: Final = 0.5
"""No cutoff is tried that flags more than this share of the held-out leads: they would be no qualified ones."""
MOST_LEADS: Final = 100_000


@dataclass(frozen=True)
class Floor:
    """The share of PQLs that must convert, and with which confidence that is promised."""

    at_least: float
    confidence: float


@dataclass(frozen=True)
class Tried:
    """A cutoff that was tried."""

    threshold: float
    leads: int
    converted: int


@dataclass(frozen=True)
class Shortfall:
    """Why no cutoff carries the floor, and how many more flagged held-out leads would help (None: they would not).

    `tried` is whether anything was tested at all.
    """

    reason: str
    needed: int | None
    tried: bool


def certify(seen: FirstFlags, floor: Floor) -> tuple[Tried, ...] | Shortfall:
    """Return the cutoffs that keep the floor, from the strictest to the laxest, or why none does."""
    short = too_few(len(seen), seen.won, floor)
    if short:
        return short
    passed: list[Tried] = []
    for threshold in np.unique(seen.peaks[ranks(floor, len(seen)) - 1])[::-1]:
        one = Tried(float(threshold), *seen.at(float(threshold)))
        if p_value(one, floor.at_least, seen.design_effect(one.threshold)) > 1 - floor.confidence:
            return tuple(passed) or _missed(one, floor)
        passed.append(one)
    return tuple(passed)


def p_value(one: Tried, at_least: float, design_effect: float = 1.0) -> float:
    """Return how likely so many conversions are where PQLs convert at `at_least` only: the exact binomial test.

    Counts are divided by the design effect (see `FirstFlags.design_effect`), and need not be whole then: the binomial tail
    is an incomplete beta function, which knows fractions.
    """
    n, won = one.leads / design_effect, one.converted / design_effect
    return float(betainc(won, n - won + 1, at_least)) if won > 0 else 1.0


def strictest_rank(at_least: float) -> int:
    """Return how many leads the first cutoff tried flags: precision half-way from the promise to 1 would pass.

    For 95 % confidence, whatever is asked for: where to start must not depend on it, or more of it could start the
    search at a laxer cutoff, and end it there.
    """
    return leads_needed((1 + at_least) / 2, Floor(at_least, 0.95)) or FEWEST_LEADS


def ranks(floor: Floor, n_leads: int) -> Ints:
    """Return how many leads each cutoff tried would flag, strict to lax: up to half of them, in equal ratios."""
    strictest = strictest_rank(floor.at_least)
    steps = math.ceil(math.log(max(1.0, n_leads * MOST_FLAGGED / strictest)) / math.log(STEP))
    return np.unique(
        (strictest * STEP ** np.arange(steps + 1)).clip(max=max(strictest, n_leads * MOST_FLAGGED)).astype(np.int64)
    )


def too_few(n_leads: int, won: int, floor: Floor) -> Shortfall | None:
    """Return why a search is not worth beginning, None where it is.

    A promise that is hard to show is kept only by luck where it is shown: with few leads most searches end in a refusal,
    and of the rest one in five is wrong. So what even a good score could hardly pass is not tried. A refusal more never
    breaks a promise, so that this may look at how many leads converted, which the tests' order may not.
    """
    strictest = strictest_rank(floor.at_least)
    if n_leads < strictest:
        reason = f"only {n_leads:,} held-out leads; at least {strictest:,} are needed to try a cutoff."
        return Shortfall(reason, strictest - n_leads, tried=False)
    if not won:
        return Shortfall(f"none of the {n_leads:,} held-out leads converted. Wait for conversions.", None, tried=False)
    share, needed = flagged_share(won / n_leads, floor.at_least), leads_to_carry(floor)
    flagged = int(n_leads * share)
    if flagged >= needed:
        return None
    reason = (
        f"only {n_leads:,} held-out leads, of which {won:,} converted. A good score would call about {flagged:,} of them "
        f"PQLs; a promise of {floor.at_least:.0%} with {floor.confidence:.0%} confidence needs about {needed:,}. "
        f"Wait for about {math.ceil(needed / share):,} held-out leads, or ask for less."
    )
    return Shortfall(reason, needed - flagged, tried=False)


def flagged_share(converting: float, at_least: float) -> float:
    """Return which share of leads a good score can be expected to flag where `converting` of all of them convert.

    The rarer conversions are, compared with what is asked for, the fewer leads stand out so far: the square of that
    ratio, which is what scores with an AUC of about 0.8 reach (docs/decisions/0004-cutoff-and-calibration.md).
    """
    return float(min(MOST_FLAGGED, (converting / at_least) ** 2))


def leads_to_carry(floor: Floor) -> int:
    """Return how many flagged leads pass the test with probability `POWER` where they convert at the optimistic rate."""
    odds = OPTIMISTIC_ODDS * floor.at_least / (1 - floor.at_least)
    n = _sizes(MOST_LEADS)
    failing = binom.isf(1 - floor.confidence, n, floor.at_least)
    enough = np.asarray(binom.sf(failing, n, odds / (1 + odds)) >= POWER)
    return int(n[np.argmax(enough)]) if enough.any() else MOST_LEADS


def leads_needed(precision: float, floor: Floor, most: int = MOST_LEADS) -> int | None:
    """Return how many leads converting at `precision` would pass the test, None where no number up to `most` would."""
    n = _sizes(most)
    passes = np.asarray(binom.sf(np.round(precision * n) - 1, n, floor.at_least) <= 1 - floor.confidence)
    return int(n[np.argmax(passes)]) if passes.any() else None


def _sizes(most: int) -> Ints:
    return np.unique(np.geomspace(FEWEST_LEADS, most, 400).astype(np.int64))


def _missed(one: Tried, floor: Floor) -> Shortfall:
    share = one.converted / one.leads
    low = lower_bound(one.converted, one.leads, floor.confidence)
    text = (
        f"of the {one.leads} highest-scored held-out leads {one.converted} converted ({share:.0%}); "
        f"with {floor.confidence:.0%} confidence that shows {low:.0%} or more, and {floor.at_least:.0%} is asked for. "
    )
    needed = leads_needed(share, floor)
    if needed is None:
        less = f"Ask for less than {share:.0%}, or give" if one.converted else "Give"
        return Shortfall(text + f"{less} the model signals that tell converters apart better.", None, tried=True)
    text += f"If they go on converting at {share:.0%}, about {needed:,} such leads would carry the promise."
    return Shortfall(text, max(1, needed - one.leads), tried=True)

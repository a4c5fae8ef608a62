"""Choosing the cutoff so that a promise can be made about it.

Learn-then-test (Angelopoulos et al., arXiv 2110.01052): cutoffs are tried from strict to lax in an order fixed
beforehand, each by an exact binomial test, and the first failure ends the search, so that all tests together err with
probability at most 1 -
confidence. What is counted is a lead as a rep meets it: once, at the first of its snapshots that crosses the cutoff.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom

from features.definition import PrecisionPolicy
from features.times import text_of
from features.windows import Floats, Ints
from serving.scoring.decision import Cutoff, Decision, NoCutoff
from training.snapshots import Snapshots

FEWEST_LEADS: Final = 30
"""No cutoff is tried that flags fewer held-out leads than this."""
CUTOFFS_TRIED: Final = 60


def choose_cutoff(probabilities: Floats, table: Snapshots, policy: PrecisionPolicy) -> Decision:
    """Return the laxest cutoff that is certified, or why none is.

    Parameters
    ----------
    probabilities : float64 array of shape (n,)
        Of the table's rows, from a model that has not learned from them.
    table : Snapshots of shape (n,), ordered by as_of
    """
    peaks = np.sort(_peaks(probabilities, table.lead))[::-1]
    strictest = strictest_rank(policy)
    if len(peaks) < strictest:
        return _refuse(
            policy, f"only {len(peaks):,} held-out leads; at least {strictest:,} are needed to try a cutoff."
        )
    best: Decision | None = None
    n = converted = 0
    for rank in _ranks(strictest, len(peaks)):
        threshold = float(peaks[rank - 1])
        n, converted = first_flags(probabilities, table, threshold)
        if binom.sf(converted - 1, n, policy.at_least) > 1 - policy.confidence:
            break
        best = _certified(threshold, n, converted, table, policy)
    return best or _refuse(policy, _shortfall(n, converted, policy))


def strictest_rank(policy: PrecisionPolicy) -> int:
    """Return how many leads the first cutoff tried flags: precision half-way from the promise to 1 would pass."""
    return leads_needed((1 + policy.at_least) / 2, policy) or FEWEST_LEADS


def _ranks(strictest: int, n_leads: int) -> Ints:
    """Return how many leads each cutoff tried would flag, strict to lax, evenly spaced on a log scale."""
    widest = max(strictest, n_leads // 2)
    return np.unique(np.geomspace(strictest, widest, CUTOFFS_TRIED).round().astype(np.int64))


def _peaks(probabilities: Floats, lead: Ints) -> Floats:
    """Return the highest probability that each lead ever has: float64 array of shape (n_leads,)."""
    _, position = np.unique(lead, return_inverse=True)
    peaks = np.full(position.max(initial=-1) + 1, -np.inf)
    np.maximum.at(peaks, position, probabilities)
    return peaks


def first_flag_rows(flagged: npt.NDArray[np.bool_], lead: Ints) -> Ints:
    """Return, of rows in time order, the first flagged row of each lead."""
    rows = np.flatnonzero(flagged)
    _, first = np.unique(lead[rows], return_index=True)
    return rows[first]


def first_flags(probabilities: Floats, table: Snapshots, threshold: float) -> tuple[int, int]:
    """Return how many leads cross a threshold, and how many of them convert within the horizon of that moment."""
    rows = first_flag_rows(probabilities >= threshold, table.lead)
    return len(rows), int(table.converted[rows].sum())


def lower_bound(converted: int, n: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a share; 0 where nothing was seen."""
    return float(beta.ppf(1 - confidence, converted, n - converted + 1)) if converted else 0.0


def _certified(threshold: float, n: int, converted: int, table: Snapshots, policy: PrecisionPolicy) -> Cutoff:
    low = lower_bound(converted, n, policy.confidence)
    span = text_of(int(table.as_of.min())), text_of(int(table.label_end.max()))
    return Cutoff(threshold, policy.at_least, policy.confidence, n, converted, low, *span)


def _refuse(policy: PrecisionPolicy, reason: str) -> NoCutoff:
    return NoCutoff(policy.at_least, policy.confidence, reason)


def _shortfall(n: int, converted: int, policy: PrecisionPolicy) -> str:
    seen = converted / n
    low = lower_bound(converted, n, policy.confidence)
    text = (
        f"of the {n} highest-scored held-out leads {converted} converted ({seen:.0%}); "
        f"with {policy.confidence:.0%} confidence that shows {low:.0%} or more, and {policy.at_least:.0%} is asked for. "
    )
    needed = leads_needed(seen, policy)
    if needed is None:
        less = f"Ask for less than {seen:.0%}, or give" if converted else "Give"
        return text + f"{less} the model signals that tell converters apart better."
    return text + f"If they go on converting at {seen:.0%}, about {needed:,} such leads would carry the promise."


def leads_needed(precision: float, policy: PrecisionPolicy, most: int = 100_000) -> int | None:
    """Return how many leads converting at `precision` would pass the test, None where no number up to `most` would."""
    for n in np.unique(np.geomspace(FEWEST_LEADS, most, 400).astype(np.int64)):
        if binom.sf(round(precision * n) - 1, n, policy.at_least) <= 1 - policy.confidence:
            return int(n)
    return None

"""What the times of converters' first events say: that something begins with the conversion, and so is no sign of it.

Judges by converters alone; `pql init` and a training share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from features.windows import Floats
from training.leakage.odds import SURE

FEWEST = 12
"""Converters that must have done something before its times say anything."""
DAY_BEFORE = 1.0
"""Days before a conversion within which no sales rep can act any more."""
SHARE_OF_TRIAL = 0.25
"""Where leads decide within days, what comes before is closer too: no more than this share of the usual time counts as close."""
AFTER = 45.0
"""Days after a conversion within which its consequences begin: a month's invoice, the seats of a team."""
MOSTLY = 0.75
ALMOST_ALL = 0.9
JUMP = 5.0
"""How many times as often something must begin at the conversion as before, surely; the day of converting is a busy one."""


@dataclass(frozen=True)
class Verdict:
    """What is wrong with something, why in a sentence without its subject, and the numbers said."""

    kind: str
    why: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Onset:
    """How first times lie around the conversions of those who ever did it: counts of converters.

    Attributes
    ----------
    close : days before a conversion that count as close to it
    early, near, after : first before these days, within them, and from the conversion to AFTER days later
    late : of those who began before converting, the share that began within these days, of trials twice as old
    jump : how many times as often per day it began from `close` days before the conversion on as earlier in the trial
    jump_near : the same with only the days before the conversion
    typical : median days from the first time to the conversion, below 0 where it came after, of `near` and `after`
    """

    close: float
    early: int
    near: int
    after: int
    late: float
    jump: float
    jump_near: float
    typical: float

    @property
    def begun(self) -> int:
        return self.near + self.after

    @property
    def done(self) -> int:
        return self.early + self.near + self.after


def close_to(age: Floats) -> float:
    """Return how many days before conversions at these ages are too close to them for anybody to act."""
    return min(DAY_BEFORE, SHARE_OF_TRIAL * float(np.median(age))) if len(age) else DAY_BEFORE


def onset(lead_time: Floats, age: Floats) -> Onset:
    """Return how first times lie around conversions.

    Parameters
    ----------
    lead_time : float64 array of shape (n,), days from each converter's first time to its conversion, NaN where never
    age : float64 array of shape (n,), days from the start of the trial to the conversion
    """
    close = close_to(age)
    early, near = lead_time > close, (lead_time > 0) & (lead_time <= close)
    after = (lead_time <= 0) & (lead_time > -AFTER)
    old = (age >= 2 * close) & (lead_time > 0)
    before = np.maximum(age - close, 0.0)
    # Days during which it had not begun yet: earlier in the trial, close to the conversion, and after it.
    waited = np.where(early, np.clip(age - lead_time, 0.0, before), before).sum()
    near_days = np.where(near, close - lead_time, close)[~early].sum()
    after_days = np.where(after, -lead_time, np.where(near, 0.0, AFTER))[~early].sum()
    n_early, n_near, n_after = int(early.sum()), int(near.sum()), int(after.sum())
    began = lead_time[near | after]
    return Onset(
        close, n_early, n_near, n_after,
        float(near[old].mean()) if old.sum() >= FEWEST else 0.0,
        _jump(n_near + n_after, near_days + after_days, n_early, waited),
        _jump(n_near, near_days, n_early, waited),
        float(np.median(began)) if len(began) else 0.0,
    )  # fmt: skip


def _jump(now: int, days: float, earlier: int, days_earlier: float) -> float:
    """Return the ratio of two rates, SURE standard errors lower; half an event is added to each."""
    if not now or min(days, days_earlier) <= 0:
        return 0.0
    a, c = now + 0.5, earlier + 0.5
    return float((a / days) / (c / days_earlier) * np.exp(-SURE * np.sqrt(1 / a + 1 / c)))


def around_conversion(found: Onset, mostly: float = MOSTLY) -> Verdict | None:
    """Return that something belongs to converting, None where its times do not say so.

    `mostly` is the share of those who did it before converting that must have begun close to it.
    """
    begins_close = found.near >= FEWEST and found.late >= mostly and found.jump_near >= JUMP
    begins_with_it = found.done >= FEWEST and found.begun >= ALMOST_ALL * found.done and found.jump >= JUMP
    return _belongs(found) if begins_close or begins_with_it else None


def _belongs(found: Onset) -> Verdict:
    figures = {
        "converters": found.done, "earlier": found.early, "close": found.near, "after": found.after,
        "days_before": found.typical,
    }  # fmt: skip
    within = f"{24 * found.close:.0f} hours" if found.close >= 1 / 12 else f"{1440 * found.close:.0f} minutes"
    share = f"{found.begun / found.done:.0%} of the {found.done:,} converters who did it began"
    if found.after >= found.near:
        why = f"{share} after converting ({found.after:,}) or in the {within} before ({found.near:,}): a consequence, not a sign"
        return Verdict("consequence", why, figures)
    if found.typical <= 1 / 24:
        why = (
            f"{share} in the {within} before converting or later, half of them {1440 * found.typical:.0f} minutes before or "
            "later: it is a part of converting, and leaves sales no time"
        )
        return Verdict("consequence", why, figures)
    why = (
        f"{share} in the {within} before converting or later, typically {24 * found.typical:.0f} hours before: "
        "it is dated back, or a part of converting"
    )
    return Verdict("back_dated", why, figures)

"""Every measure that a signal can have: how it is written, what it holds, its unit, and how a sentence says it.

The one table from which the definition's rules, the columns, the windows' plan and `docs/features.md` derive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from features.windows import Op

LONGEST_MEMORY = 1_000
"""Events per signal whose days are remembered while a lead's history is walked."""

USER, EVENT = "user", "event"
"""`distinct(user)` tells apart who did it and `distinct(event)` what was done, not a property."""
TOLD_APART: Mapping[str, str] = {USER: "people", EVENT: "events"}
"""What `distinct` tells apart beside properties, in words."""


@dataclass(frozen=True)
class Spec:
    """What one measure is.

    Attributes
    ----------
    op : what the windows compute
    meaning, unit : words with `{of}` for what stands in the brackets
    sentence : how one value is said, with `{signal}`, `{value}` and `{window}`
    brackets : what must stand in the brackets: a property, a whole number from 1, or nothing
    windowed : one column per window, or one for the signal as a whole
    sense : +1 where more of it means more of the behaviour, -1 where less of it does, 0 where neither is sure
    absent : what the column holds where nothing happened: 0, or None for "not known"
    fixed : only for windows of fixed length
    account : only for signals with `scope: account`
    happened : whether a value above 0 says by itself that the behaviour happened, so that a reason can rest on it
    """

    op: Op
    meaning: str
    unit: str
    sentence: str
    brackets: Literal["property", "number"] | None = None
    windowed: bool = True
    sense: int = 1
    absent: float | None = 0.0
    fixed: bool = False
    account: bool = False
    happened: bool = True

    @property
    def never(self) -> bool:
        """Whether an absent value means that it never happened, which is as far from happening as can be."""
        return self.absent is None and self.sense <= 0


SPECS: Mapping[str, Spec] = {
    "count": Spec(Op.COUNT, "how often", "events", "{signal} {value:once|times} {window}"),
    "sum": Spec(Op.SUM, "sum of {of}", "{of}", "{value} {of} in all of {signal} {window}", "property"),
    "mean": Spec(
        Op.MEAN, "mean of {of} where it is given", "{of}", "{value} {of} on average of {signal} {window}", "property",
        absent=None,
    ),
    "distinct": Spec(
        Op.DISTINCT, "different values of {of}", "values", "{value} different {of} of {signal} {window}", "property"
    ),
    "active_days": Spec(
        Op.ACTIVE_DAYS, "24-hour days with at least one (counted back from as_of)", "days",
        "{signal} on {value:day|days} {window}",
    ),
    "streak": Spec(
        Op.STREAK, "longest run of 24-hour days on end with at least one (counted back from as_of)", "days",
        "{signal} on {value:day|days} on end {window}",
    ),
    "per_active_day": Spec(
        Op.PER_ACTIVE_DAY, "how often per day with at least one", "events per day",
        "{signal} {value:once|times} per active day {window}",
    ),
    "share": Spec(
        Op.SHARE, "share in all events that any signal reads", "0 to 1", "{signal} as {value} of all that was done {window}"
    ),
    "trend": Spec(
        Op.TREND, "this window against the one before it, -1 (stopped) to 1 (new)", "-1 to 1",
        "{signal} changed by {value} against the time before, {window}", fixed=True, happened=False,
    ),
    "reached": Spec(
        Op.REACHED, "whether it happened {of} times", "0 or 1", "{signal} at least {of} times {window}", "number",
        happened=False,
    ),
    "days_to_reach": Spec(
        Op.DAYS_TO_REACH, "days from the trial's start until it had happened {of} times since then", "days",
        "{signal} {of} times within {value:day|days} of the trial's start", "number", windowed=False, sense=-1, absent=None,
    ),
    "days_since_first": Spec(
        Op.DAYS_SINCE_FIRST, "days since the first one in any of its windows", "days",
        "{signal} for the first time {value:day|days} ago", windowed=False, sense=0, absent=None,
    ),
    "days_since_last": Spec(
        Op.DAYS_SINCE_LAST, "days since the last one in any of its windows", "days",
        "{signal} for the last time {value:day|days} ago", windowed=False, sense=-1, absent=None,
    ),
    "user_growth": Spec(
        Op.USER_GROWTH, "users who did it in this window against those in the one before it, -1 (none left) to 1 (all new)",
        "-1 to 1", "number of people with {signal} changed by {value} against the time before, {window}",
        fixed=True, account=True, happened=False,
    ),
    "lead_share": Spec(
        Op.LEAD_SHARE, "the lead's own share in the account's", "0 to 1",
        "{value} of the account's {signal} by this lead {window}", account=True,
    ),
    "lead_rank": Spec(
        Op.LEAD_RANK, "place of the lead among the account's users by how often, 1 is most", "place",
        "number {value} in the account by {signal} {window}", sense=-1, absent=None, account=True, happened=False,
    ),
}  # fmt: skip

MEASURES: tuple[str, ...] = tuple(SPECS)
_WRITTEN = re.compile(r"([a-z_]+)(?:\(\s*([^()]+?)\s*\))?")


def parse(text: object) -> tuple[str, str | None]:
    """Return (how, of) for a text such as `count` or `sum(spend)`; raises ValueError with what it must be.

    >>> parse("reached( 3 )")
    ('reached', '3')
    """
    match = _WRITTEN.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or match[1] not in SPECS:
        bracketed = ", ".join(f"{how}(...)" if spec.brackets else how for how, spec in SPECS.items())
        raise ValueError(f"must be one of {bracketed}")
    how, of = match[1], match[2]
    wanted = SPECS[how].brackets
    if (wanted is None) != (of is None):
        needs = "takes no brackets" if wanted is None else f"needs a {wanted} in brackets"
        raise ValueError(f"{how} {needs}, such as sum(amount), distinct(plan), reached(3)")
    if wanted == "number" and not re.fullmatch(r"0*[1-9][0-9]{0,8}", of or ""):
        raise ValueError(f"{how}(n) needs a whole number from 1")
    if how == "days_to_reach" and int(of or 0) > LONGEST_MEMORY:
        raise ValueError(f"{how}(n) needs a whole number from 1 to {LONGEST_MEMORY}")
    return how, of

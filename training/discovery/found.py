"""What exploring came to: conditions measured on older and on later leads, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.rules import Condition, PointCard
from training.discovery.evidence import Found
from training.discovery.timing import Day, Timing
from training.evaluate import Interval

SURE: Final = 0.05
"""A corrected p below this is taken for more than chance."""


@dataclass(frozen=True)
class Checked:
    """Conditions that must hold together, measured on older leads and on later ones.

    Attributes
    ----------
    name : of the rule, or the signal or trait that one condition is about
    corrected : p in the older part, corrected for all that was tried; as it is for what was written by hand
    confirmed : whether the later part shows the same, corrected for how many are checked there
    floor, sure : of a rule that was searched for: the share of all converters that it had to catch, and what its precision
        is at least in the older part, allowing for the number of rules tried
    """

    name: str
    conditions: tuple[Condition, ...]
    older: Found
    later: Found
    corrected: float
    confirmed: bool = False
    floor: float = 0.0
    sure: float = float("nan")

    @property
    def survives(self) -> bool:
        """Whether it is more than chance would find among so many."""
        return self.corrected < SURE


@dataclass(frozen=True)
class Signal:
    """The threshold of one signal or trait with the strongest evidence, and when it tells and happens."""

    best: Checked
    days: tuple[Day, ...] = ()
    timing: Timing | None = None


@dataclass(frozen=True)
class Card:
    """A point card on both parts; `asked` is the precision wanted from its threshold on, `reached` whether older leads had it."""

    card: PointCard
    asked: float
    reached: bool
    older: Found
    later: Found
    older_ranking: Interval
    later_ranking: Interval


@dataclass(frozen=True)
class Explored:
    """All that was tried, and the best of it; `everyone` is every lead when it is first looked at."""

    everyone: Checked
    tried: tuple[Checked, ...]
    signals: tuple[Signal, ...]
    rules: tuple[Checked, ...]
    rules_tried: int
    card: Card | None
    hand_rules: tuple[Checked, ...]
    hand_card: Card | None

    @property
    def surviving(self) -> tuple[Signal, ...]:
        """The signals and traits whose best threshold is more than chance would find, the strongest evidence first."""
        return tuple(one for one in self.signals if one.best.survives)

"""When converters first show a behaviour, and at which age it tells most: whether it leads to buying or is part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.dataset import Dataset, Part
from features.durations import DAY
from features.leads import NEVER
from features.rules import Flags
from features.vocabulary import vocabulary
from features.windows import Floats, Ints
from training.discovery.evidence import Stage, ranking
from training.evaluate import Interval

LATE_DAYS: Final = 1.0
"""Behaviour that half the converters first show this shortly before converting is part of buying, not a way to it."""
FEWEST: Final = 10
"""Converters without which nothing is said of when they do something."""


@dataclass(frozen=True)
class Timing:
    """When converters first did something.

    Attributes
    ----------
    converters : how many did it at all
    after : the share of these who did it only when or after they converted
    ahead : median days from the first time to the conversion among the others, NaN where there are none
    """

    converters: int
    after: float
    ahead: float

    @property
    def consequence(self) -> bool:
        """Whether it more likely comes from deciding to buy than leads to it."""
        return self.converters >= FEWEST and (self.after > 0.5 or self.ahead < LATE_DAYS)


def timings(data: Dataset, which: Ints) -> dict[str, Timing]:
    """Return, for every signal of the leads themselves, when those of `which` that ever convert first showed it."""
    names = [signal.name for signal in data.definition.signals if signal.scope == "lead"]
    start, series = vocabulary(data.definition).series_of_kinds({name: place for place, name in enumerate(names)})
    belongs = np.zeros((len(start) - 1, len(names)), bool)
    belongs[np.repeat(np.arange(len(start) - 1), np.diff(start)), series] = True
    won = np.unique(which[data.leads.converted_at[which] < NEVER])
    ahead = np.concatenate([np.empty((0, len(names))), *(_ahead(part, belongs) for part in data.parts(won))])
    return {name: _timing(ahead[:, place]) for place, name in enumerate(names)}


def _ahead(part: Part, belongs: Flags) -> Floats:
    """Return the days from first doing it to converting, NaN where it was never done: shape (n_leads, n_signals)."""
    log = part.logs.lead
    lead = np.repeat(np.arange(len(part.leads)), np.diff(log.offsets))
    ahead = np.full((len(part.leads), belongs.shape[1]), np.nan)
    for place in range(belongs.shape[1]):
        mine = np.flatnonzero(belongs[log.kinds, place])
        who, at = np.unique(lead[mine], return_index=True)
        ahead[who, place] = (part.leads.converted_at[who] - log.times[mine[at]]) / DAY
    return ahead


def _timing(ahead: Floats) -> Timing:
    known = ahead[np.isfinite(ahead)]
    # Done in the very moment of converting is done by converting.
    before = known[known > 0]
    after = 1 - len(before) / len(known) if len(known) else 0.0
    return Timing(len(known), after, float(np.median(before)) if len(before) else float("nan"))


@dataclass(frozen=True)
class Day:
    """How well a behaviour tells converters from others when trials are this many days old."""

    day: float
    ranking: Interval


def by_day(stage: Stage, values: Floats, sense: int) -> tuple[Day, ...]:
    """Return the ranking by a column's values at each age; `sense` is -1 where less of it is more of the behaviour.

    What is not known, or never happened, ranks last. An age at which all came out the same is left out.
    """
    known = np.where(np.isnan(values), -np.inf, sense * values)
    found = []
    for place, day in enumerate(stage.days.tolist()):
        here = stage.age == place
        found.append(Day(day, ranking(known[here], stage.converted[here], stage.account[here])))
    return tuple(one for one in found if np.isfinite(one.ranking.value))

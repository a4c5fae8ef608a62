"""What a definition reads of an event: to which signals it belongs, and which of its properties count.

One piece of code reads every event's properties, whether it comes from a file or in a request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.definition import Definition, EventMatch, Range, Scalar
from features.measures import EVENT, TOLD_APART, USER
from features.windows import Ints

LARGEST_NUMBER = 1e15
"""No property that is worth adding up is larger; beyond it lie broken values, and sums that lose their cents."""


@dataclass(frozen=True)
class EventReading:
    """How events of one name are read.

    `filters[i]` sets bit i of the event's kind where its properties match; the kind is `base` plus those bits.
    """

    base: int
    filters: tuple[Mapping[str, tuple[Scalar, ...] | Range], ...]
    always: frozenset[str]
    filtered: tuple[frozenset[str], ...]
    reads_properties: bool

    def kind(self, properties: Mapping[str, object]) -> int:
        """Return the kind of an event with these properties."""
        return self.base + sum(1 << i for i, wanted in enumerate(self.filters) if matches(wanted, properties))


@dataclass(frozen=True)
class Vocabulary:
    """Every event name that a definition reads, and the properties it sums (`numbers`) or tells apart (`codes`).

    Where a measure asks who did it, the first of `codes` is USER; where one asks what was done, EVENT is among them.
    """

    readings: Mapping[str, EventReading]
    numbers: tuple[str, ...]
    codes: tuple[str, ...]

    @cached_property
    def user_row(self) -> int:
        """The row of the codes that tells who did it, -1 where nothing asks."""
        return 0 if USER in self.codes else -1

    @cached_property
    def event_row(self) -> int:
        """The row of the codes that tells what was done, -1 where nothing asks."""
        return self.codes.index(EVENT) if EVENT in self.codes else -1

    @cached_property
    def bases(self) -> Mapping[str, int]:
        """The first kind of each event."""
        return {name: reading.base for name, reading in self.readings.items()}

    @cached_property
    def with_properties(self) -> frozenset[str]:
        """The events whose properties are read."""
        return frozenset(name for name, reading in self.readings.items() if reading.reads_properties)

    def series_of_kinds(self, series: Mapping[str, int]) -> tuple[Ints, Ints]:
        """Return the series that each kind belongs to, as (start of each kind's part, the series).

        `series` maps the signals that take part to their number; signals that do not take part are left out.
        """
        parts: list[list[int]] = []
        for reading in sorted(self.readings.values(), key=lambda one: one.base):
            for bits in range(1 << len(reading.filters)):
                names = reading.always.union(
                    *(reading.filtered[i] for i in range(len(reading.filters)) if bits >> i & 1)
                )
                parts.append(sorted(series[name] for name in names if name in series))
        start = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
        return start, np.array([row for part in parts for row in part], np.int64)


def vocabulary(definition: Definition) -> Vocabulary:
    """Return what a definition reads of events."""
    numbers = _properties(definition, ("sum", "mean"))
    distinct = _properties(definition, ("distinct",))
    asks_who = USER in distinct or any(measure.spec.account for one in definition.signals for measure in one.measures)
    codes = tuple(dict.fromkeys((*([USER] if asks_who else []), *distinct)))
    readings: dict[str, EventReading] = {}
    base = 0
    for event in dict.fromkeys(match.event for signal in definition.signals for match in signal.events):
        reading = _reading(definition, event, base)
        base += 1 << len(reading.filters)
        readings[event] = reading
    return Vocabulary(readings, numbers, codes)


def _properties(definition: Definition, hows: tuple[str, ...]) -> tuple[str, ...]:
    found = [measure.of for signal in definition.signals for measure in signal.measures if measure.how in hows]
    return tuple(dict.fromkeys(name for name in found if name is not None))


def _reading(definition: Definition, event: str, base: int) -> EventReading:
    users = [(signal, match) for signal in definition.signals for match in signal.events if match.event == event]
    always = frozenset(signal.name for signal, match in users if not match.where)
    by_filter: dict[str, tuple[EventMatch, set[str]]] = {}
    for signal, match in users:
        if match.where:
            by_filter.setdefault(repr(sorted(match.where.items())), (match, set()))[1].add(signal.name)
    measured = any(
        measure.spec.brackets == "property" and not (measure.how == "distinct" and measure.of in TOLD_APART)
        for signal, _ in users
        for measure in signal.measures
    )
    filters = tuple(match.where for match, _ in by_filter.values())
    names = tuple(frozenset(found) for _, found in by_filter.values())
    return EventReading(base, filters, always, names, measured or bool(filters))


def matches(wanted: Mapping[str, Sequence[Scalar] | Range], properties: Mapping[str, object]) -> bool:
    """Whether each wanted property has one of its wanted values or lies in its range; numbers also match as text."""
    return all(_is_wanted(want, properties.get(name)) for name, want in wanted.items())


def _is_wanted(want: Sequence[Scalar] | Range, value: object) -> bool:
    if not isinstance(want, Range):
        return _plain(value) in {_plain(one) for one in want}
    size = number(value)
    # A property that is no number compares false both ways, and so lies in no range.
    low = -math.inf if want.at_least is None else want.at_least
    return low <= size < (math.inf if want.below is None else want.below)


def _plain(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    number_or_nan = number(value)
    return str(value) if math.isnan(number_or_nan) else number_or_nan


def number(value: object) -> float:
    """Return a property as a number of at most 10^15 either way, NaN where it is none; numbers sent as text count.

    >>> number("2.5"), number(True), number("many"), number(1e300)
    (2.5, nan, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return result if abs(result) <= LARGEST_NUMBER else math.nan

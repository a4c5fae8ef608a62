"""What was discovered as one page of HTML that loads nothing and runs nothing. A door to jinja2.

Chooses the figures; `words` has the sentences, `discover.html.jinja` the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.columns import plain_words
from features.durations import span_words
from features.phrases import number_words
from training.discover import Discovery
from training.discovery import words as told
from training.discovery.found import Card, Checked, Signal
from training.discovery.paste import paste
from training.evaluate import Interval
from training.reporting.words import days, percent

WIDEST: Final = 16.0
"""Lifts beyond this, or below one over it, are drawn at the edge."""


@dataclass(frozen=True)
class Mark:
    """A lift on the page: where its dot and the ends of its line lie on a scale from 0 to 100."""

    dot: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """Conditions as the page tells them: words, figures of both parts, and where they are drawn."""

    name: str
    words: str
    one: Checked
    usual: float
    older: Mark | None
    later: Mark | None
    notes: Sequence[str] = ()


def render(seen: Discovery) -> str:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    world = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    world.filters |= {
        "percent": percent, "count": "{:,}".format, "date": lambda moment: moment[:10], "rate": told.rate, "times": told.times,
        "days": days, "number": number_words, "weekly": _weekly, "plain": plain_words,
    }  # fmt: skip
    return world.get_template("discover.html.jinja").render(**_facts(seen))


def _weekly(leads: float) -> str:
    return number_words(round(leads) if leads >= 10 else leads)


def _facts(seen: Discovery) -> dict[str, Any]:
    found, horizon = seen.found, seen.definition.conversion.horizon
    scale, wide = _Scale.of([one.best for one in found.surviving]), _Scale.of([*found.rules, *found.hand_rules])
    return {
        "seen": seen, "found": found, "horizon": span_words(horizon),
        "headline": told.headline(seen), "verdict": told.verdict(seen),
        "cause": told.CAUSE, "signals": [scale.line(seen, one.best, told.notes(one, horizon)) for one in found.surviving],
        "others": [one.best.name for one in found.signals if not one.best.survives],
        "ticks": scale.ticks(), "wide_ticks": wide.ticks(), "days": list(_days(seen)), "timings": list(_timings(found.signals)),
        "rules": [wide.line(seen, one) for one in found.rules],
        "cards": [_card(seen, one) for one in (found.card,) if one],
        "hand_cards": [_card(seen, one) for one in (found.hand_card,) if one],
        "hand_rules": [wide.line(seen, one) for one in found.hand_rules],
        "tried": [(plain_words(name), lines) for name, lines in _tried(seen, scale).items()], "paste": paste(seen),
    }  # fmt: skip


@dataclass(frozen=True)
class _Scale:
    """Lifts on a logarithmic scale from `low` to `high`, drawn from 0 to 100."""

    low: float
    high: float

    @classmethod
    def of(cls, found: Sequence[Checked]) -> _Scale:
        ends = [end for one in found for part in (one.older, one.later) for end in (part.lift.low, part.lift.high)]
        known = np.clip([end for end in ends if np.isfinite(end)] or [1.0], 1 / WIDEST, WIDEST)
        return cls(min(0.8, float(known.min())), max(2.0, float(known.max())))

    def place(self, lift: float) -> float:
        inside = min(max(lift, self.low), self.high)
        return round(100 * float(np.log(inside / self.low) / np.log(self.high / self.low)), 2)

    def ticks(self) -> list[tuple[float, str]]:
        return [
            (self.place(lift), f"{lift:g}")
            for lift in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16)
            if self.low <= lift <= self.high
        ]

    def mark(self, lift: Interval) -> Mark | None:
        if not np.isfinite(lift.value):
            return None
        return Mark(self.place(lift.value), self.place(lift.low), self.place(lift.high))

    def line(self, seen: Discovery, one: Checked, notes: Sequence[str] = ()) -> Line:
        words = told.said(one.conditions, seen.columns)
        return Line(one.name, words, one, self.place(1.0), self.mark(one.older.lift), self.mark(one.later.lift), notes)


def _days(seen: Discovery) -> Iterator[dict[str, Any]]:
    """Yield, for every signal that survives, how well it ranks converters at each age, and the best one."""
    for one in seen.found.surviving:
        best = told.best_day(one.days)
        if best is not None:
            by_day = {day.day: day.ranking for day in one.days}
            yield {"name": plain_words(one.best.name), "best": best.day, "by_day": by_day}


def _timings(signals: Sequence[Signal]) -> Iterator[dict[str, Any]]:
    """Yield when converters first do what signals are about, the closest to the conversion first."""
    known = [(one.best.name, one.timing) for one in signals if one.timing is not None and one.timing.converters]
    for name, timing in sorted(known, key=lambda pair: (-(pair[1].after > 0.5), np.nan_to_num(pair[1].ahead))):
        yield {"name": plain_words(name), "timing": timing}


def _card(seen: Discovery, card: Card) -> dict[str, Any]:
    return {"card": card, "items": told.items(card.card, seen.columns)}


def _tried(seen: Discovery, scale: _Scale) -> dict[str, list[Line]]:
    by_owner: dict[str, list[Line]] = {one.best.name: [] for one in seen.found.signals}
    for one in seen.found.tried:
        by_owner[one.name].append(scale.line(seen, one))
    return by_owner

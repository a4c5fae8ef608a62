"""Sentences with figures in them that say which figure they are, so that each one on the page can be looked up and recomputed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from string import Formatter

from training.evaluate import Interval

Form = Callable[[float], str]


def percent(share: float) -> str:
    """Return a share as people say it: one digit after the point below 10 %, a dash for NaN.

    >>> percent(0.843), percent(0.037), percent(float("nan"))
    ('84%', '3.7%', '-')
    """
    return "-" if math.isnan(share) else f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"


def number(value: float) -> str:
    """Return a figure with three digits after the point, NaN as a dash."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def count(value: float) -> str:
    """Return a number of things, with thousands apart."""
    return f"{value:,.0f}"


def out_of_hundred(share: float) -> str:
    """Return how many of 100, as a whole number."""
    return "-" if math.isnan(share) else f"{100 * share:.0f}"


def days(value: float) -> str:
    """Return a number of days with one digit after the point."""
    return "-" if math.isnan(value) else f"{value:.1f}"


def signed(difference: float) -> str:
    """Return a difference in log loss with its sign and four digits."""
    return "-" if math.isnan(difference) else f"{difference:+.4f}"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return "-" if math.isnan(difference) else f"{100 * difference:+.1f}"


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it: its name in metrics.json, its value, and how that is written."""

    key: str
    value: float
    text: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return f'<span data-figure="{escape(self.key)}" data-value="{self.value!r}">{escape(self.text)}</span>'


@dataclass(frozen=True)
class Said:
    """A template such as "Of {n} leads {share} convert" with what stands in its braces; words of others are escaped."""

    template: str
    facts: Mapping[str, object]

    def __str__(self) -> str:
        return self._join(str, str)

    def __html__(self) -> str:
        return self._join(escape, _html)

    def _join(self, plain: Callable[[str], str], fact: Callable[[object], str]) -> str:
        pieces = Formatter().parse(self.template)
        return "".join(plain(text) + ("" if name is None else fact(self.facts[name])) for text, name, *_ in pieces)


def _html(fact: object) -> str:
    return fact.__html__() if isinstance(fact, Shown | Said) else escape(str(fact))


def say(template: str, **facts: object) -> Said:
    """Return a sentence; the words of others come in as facts, never in the template.

    >>> str(say("{n} of {who}", n=Shown("pqls", 3.0, "3"), who="{them}"))
    '3 of {them}'
    """
    return Said(template, facts)


@dataclass(frozen=True)
class Facts:
    """The figures of a version by name, ready to be shown; `segments` in the order in which their figures are numbered."""

    figures: Mapping[str, float]
    segments: tuple[str, ...] = ()

    def __contains__(self, key: str) -> bool:
        return key in self.figures

    def value(self, key: str) -> float:
        """Return a figure as a number."""
        return self.figures[key]

    def show(self, key: str, form: Form = number) -> Shown:
        """Return a figure as the page shows it."""
        value = float(self.figures[key])
        return Shown(key, value, form(value))

    def spread(self, key: str, form: Form = number) -> Said:
        """Return both ends of a figure's interval: "0.8 to 0.9"."""
        return say("{low} to {high}", low=self.show(f"{key}_low", form), high=self.show(f"{key}_high", form))

    def interval(self, key: str) -> Interval:
        """Return a figure with its interval as numbers."""
        return Interval(*(self.value(one) for one in (key, f"{key}_low", f"{key}_high")))

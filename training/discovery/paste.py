"""The best rules and the point card as lines of YAML that can be pasted into a definition."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from features.columns import Column
from features.rules import Condition, PointCard
from training.discover import Discovery
from training.discovery.words import said
from training.reporting.words import percent

_PLAIN: Final = re.compile(r"[a-z][a-z0-9_]*(\([a-zA-Z0-9_ ]+\))?|\d+[dh]")
_NO_TEXT: Final = frozenset("y n yes no on off true false null".split())
"""What YAML takes for something else than a text."""


def paste(seen: Discovery) -> str:
    """Return the keys `rules` and `points` as YAML, a comment alone where nothing was found."""
    found = seen.found
    lines = [f"# Found on leads that began before {seen.test_from[:10]}, checked on those from then on."]
    rules = list(_rules(seen))
    lines += ["rules:", *rules] if rules else ["# No rule is better than its conditions alone."]
    lines += (
        list(_card(found.card.card, seen.columns))
        if found.card
        else ["# No point card: no signal tells converters apart."]
    )
    return "\n".join(lines) + "\n"


def _rules(seen: Discovery) -> Iterator[str]:
    names: dict[str, int] = {}
    for one in seen.found.rules:
        names[one.name] = names.get(one.name, 0) + 1
        unique = one.name if names[one.name] == 1 else f"{one.name}_{names[one.name]}"
        held = "" if one.confirmed else ", not confirmed"
        told = f"{percent(one.older.precision.value)} convert, later {percent(one.later.precision.value)}{held}"
        yield f"  - name: {unique}  # {told}"
        yield "    all:"
        yield from (f"      - {{{written(condition)}}}" for condition in one.conditions)


def _card(card: PointCard, columns: Sequence[Column]) -> Iterator[str]:
    yield "points:"
    yield f"  threshold: {_number(card.threshold)}"
    yield "  card:"
    for item in card.card:
        yield f"    - {{{written(item)}, points: {_number(item.points)}}}  # {' '.join(said([item], columns).split())}"


def written(condition: Condition) -> str:
    """Return a condition as the inside of a YAML mapping, without what it has by itself."""
    given: dict[str, object] = {"signal": condition.signal, "trait": condition.trait}
    if condition.signal is not None:
        given |= {"measure": condition.measure if condition.measure != "count" else None, "window": condition.window}
    given |= {"at_least": condition.at_least, "below": condition.below, "equals": condition.equals}
    return ", ".join(f"{key}: {_scalar(value)}" for key, value in given.items() if value is not None)


def _scalar(value: object) -> str:
    if isinstance(value, float):
        return _number(value)
    plain = _PLAIN.fullmatch(str(value)) and value not in _NO_TEXT
    return str(value) if plain else f'"{"".join(map(_escaped, str(value)))}"'


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)

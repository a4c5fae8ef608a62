"""Reads PromQL as far as it names things: metrics, labels and functions."""

from __future__ import annotations

import re
from typing import Final

FUNCTIONS: Final = frozenset(
    "abs avg avg_over_time changes clamp_max clamp_min count delta histogram_quantile increase max max_over_time min "
    "min_over_time rate round sum time vector".split()
)
WORDS: Final = frozenset("and bool by group_left group_right ignoring offset on or unless without".split())

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_:][\w:]*")


def names_in(query: str) -> tuple[set[str], set[str], set[str]]:
    """Return the metrics, labels and functions that a query names.

    >>> names_in('sum by (le) (rate(a_bucket{job=~"$job"}[5m])) / 2e3')
    ({'a_bucket'}, {...}, {...})
    """
    bare = _RANGE.sub("", _TEXT.sub("''", query))
    labels = {name for inside in _SELECTOR.findall(bare) + _LABELS.findall(bare) for name in _NAME.findall(inside)}
    bare = _LABELS.sub(" ", _SELECTOR.sub("", bare))
    functions = {found[0] for found in re.finditer(rf"{_NAME.pattern}(?=\s*\()", bare) if found[0] not in WORDS}
    # `sum by (le) (...)`: the function stands before the labels, which are gone by now.
    metrics = set(_NAME.findall(bare)) - functions - WORDS
    return metrics, labels, functions


def is_balanced(query: str) -> bool:
    """Whether brackets of every kind are closed in turn.

    >>> is_balanced("sum(a[5m]) > 1"), is_balanced("sum(a[5m)]"), is_balanced("sum(a")
    (True, False, False)
    """
    open_ones: list[str] = []
    for character in _TEXT.sub("", query):
        if character in "([{":
            open_ones.append(character)
        elif character in ")]}" and (not open_ones or open_ones.pop() + character not in ("()", "[]", "{}")):
            return False
    return not open_ones

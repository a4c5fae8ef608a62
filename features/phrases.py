"""Sentences with facts in them: `invited {count:teammate|teammates} {window}`.

Only plain names can stand in braces, so a definition cannot reach into objects, and facts are put in as text, never parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

WHOLE = frozenset({"once"})
"""Forms that say the number themselves."""


@dataclass(frozen=True)
class Phrase:
    """A template split into literal texts and the facts between them.

    >>> Phrase.parse("invited {count:teammate|teammates} {window}").fill({"count": 1, "window": "today"})
    'invited 1 teammate today'
    """

    source: str
    parts: tuple[tuple[str, str | None, tuple[str, str] | None], ...]

    @classmethod
    def parse(cls, source: object) -> Phrase:
        """Split a text into its parts; raises ValueError for braces that are not `{name}` or `{name:one|many}`."""
        if isinstance(source, Phrase):
            return source
        if not isinstance(source, str) or not source.strip():
            raise ValueError("must be a sentence")
        try:
            pieces = list(Formatter().parse(source))
        except ValueError as error:
            raise ValueError(f"must have matching braces ({error})") from None
        return cls(source, tuple(_part(literal, name, spec, conversion) for literal, name, spec, conversion in pieces))

    @property
    def names(self) -> frozenset[str]:
        """The facts this sentence quotes."""
        return frozenset(name for _, name, _ in self.parts if name is not None)

    def fill(self, facts: Mapping[str, object]) -> str:
        """Return the sentence with the facts in it; a fact that is not there raises KeyError."""
        return "".join(literal + _say(facts, name, forms) for literal, name, forms in self.parts)


def _part(
    literal: str, name: str | None, spec: str | None, conversion: str | None
) -> tuple[str, str | None, tuple[str, str] | None]:
    if name is None:
        return literal, None, None
    if not name.isidentifier() or conversion:
        raise ValueError(f"must have only plain facts such as {{count}} in braces, not {{{name}}}")
    if not spec:
        return literal, name, None
    one, bar, many = spec.partition("|")
    if not bar:
        raise ValueError(f"must give both forms of {{{name}:…}}, such as {{{name}:invite|invites}}")
    return literal, name, (one, many)


def _say(facts: Mapping[str, object], name: str | None, forms: tuple[str, str] | None) -> str:
    if name is None:
        return ""
    value = facts[name]
    text = number_words(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    if forms is None:
        return text
    # `{count:once|times}` needs no number where it happened once.
    if value == 1:
        return forms[0] if forms[0] in WHOLE else f"{text} {forms[0]}"
    return f"{text} {forms[1]}"


def number_words(value: float) -> str:
    """Return a number as a person would write it: `1,204`, `2.5`.

    >>> number_words(1204.0), number_words(2.46)
    ('1,204', '2.5')
    """
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.1f}"

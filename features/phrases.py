"""Sentences with facts in them: `invited {count:teammate|teammates} {window}`.

Only plain names can stand in braces, so a definition cannot reach into objects, and facts are put in as text, never parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import floor, log10
from string import Formatter

from features.languages import LANGUAGES
from features.wording import Wording, plain
from features.wording import wording as wording_of

WHOLE = LANGUAGES["en"].once
"""Forms that say the number themselves."""
OWN = frozenset({"window", "last", "product", "reason", "mention"})
"""Facts in this project's or the definition's own words; what a stranger wrote in them was made plain when they were made."""

NUMBERS = (int, float)

Part = tuple[str, str | None, tuple[str, ...] | None]


@dataclass(frozen=True)
class Phrase:
    """A template split into literal texts and the facts between them.

    >>> Phrase.parse("invited {count:teammate|teammates} {window}").fill({"count": 1, "window": "today"})
    'invited 1 teammate today'
    """

    source: str
    parts: tuple[Part, ...]

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

    @cached_property
    def names(self) -> frozenset[str]:
        """The facts this sentence quotes."""
        return frozenset(name for _, name, _ in self.parts if name is not None)

    def fill(self, facts: Mapping[str, object], wording: Wording | None = None) -> str:
        """Return the sentence with the facts in it, in English where no wording is given.

        A text among the facts stands there as `plain` leaves it.

        Raises
        ------
        KeyError
            Where a fact is not there.
        ValueError
            Where one is a number that is not finite.
        """
        language = wording.language if wording else "en"
        text = ""
        for literal, name, forms in self.parts:
            if name is None:
                text += literal
            else:
                text += literal + _say(facts[name], name, forms, language)
        return text


def _part(literal: str, name: str | None, spec: str | None, conversion: str | None) -> Part:
    if name is None:
        return literal, None, None
    if not name.isidentifier() or conversion:
        raise ValueError(f"must have only plain facts such as {{count}} in braces, not {{{name}}}")
    if not spec:
        return literal, name, None
    forms = tuple(spec.split("|"))
    if len(forms) == 1:
        raise ValueError(f"must give both forms of {{{name}:…}}, such as {{{name}:invite|invites}}")
    return literal, name, forms


def _say(value: object, name: str, forms: tuple[str, ...] | None, language: str) -> str:
    if isinstance(value, NUMBERS) and not isinstance(value, bool):
        return _say_number(value, forms, language)
    text = str(value) if name in OWN else plain(str(value))
    return f"{text} {forms[-1]}" if forms else text


@lru_cache(maxsize=8192)
def _say_number(value: float, forms: tuple[str, ...] | None, language: str) -> str:
    # Most counts are small, and what is equal is said alike, 3 and 3.0 too.
    says = wording_of(language)
    return says.counted(value, forms) if forms else says.number(value)


def problems_of(phrase: Phrase, language: str) -> Iterator[str]:
    """Yield, without the place, what keeps a sentence's forms from being those of a language.

    >>> list(problems_of(Phrase.parse("{count:a|b|c}"), "de"))
    ["must give 2 forms of {count:…} in language 'de' (one|other), got 3."]
    """
    says = wording_of(language)
    once = {word for each in LANGUAGES.values() for word in each.once} - says.says.once
    fitting = sorted({2, len(says.categories)})
    for _, name, forms in phrase.parts:
        if forms is None:
            continue
        if len(forms) not in fitting:
            orders = " or ".join("one|other" if n == 2 else "|".join(says.categories) for n in fitting)
            numbers = " or ".join(map(str, fitting))
            yield f"must give {numbers} forms of {{{name}:…}} in language {language!r} ({orders}), got {len(forms)}."
        if forms[0].lower() in once:
            yield f"must say {min(says.says.once)!r} for one in language {language!r}, got {forms[0]!r}."


def number_words(value: float) -> str:
    """Return a number as a report writes it in English: `1,204`, `2.5`; a small one to its first digit.

    >>> number_words(1204.0), number_words(2.46), number_words(0.042)
    ('1,204', '2.5', '0.04')
    """
    if 0 < abs(value) < 0.05:
        # A limit has to be a number: "at least less than 0.1" is none.
        return f"{value:.{-floor(log10(abs(value)))}f}"
    return wording_of("en").number(value)

"""How a language says numbers, spans and comparisons, and what of a stranger's text may stand in a sentence.

Rounding never turns something into nothing and never makes a share larger than it is. Sentences are those of
`features.languages`; the definition's own are `features.phrases`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from features.durations import DAY, HOUR
from features.errors import InvalidSetting, listing
from features.languages import LANGUAGES, Language, Peers

CATEGORIES = ("zero", "one", "two", "few", "many", "other")
"""What the Unicode locale data tells plural forms apart by, in the order in which a sentence gives its forms."""


@dataclass(frozen=True)
class Wording:
    """One language's way to say what is put around and into a definition's sentences; see `wording`.

    >>> wording("en").window(7 * DAY), wording("de").ago(5.9), wording("es").number(1204.6)
    ('in the last 7 days', 'vor 5 Tagen', '1205')
    """

    language: str
    categories: tuple[str, ...] = field(compare=False)
    """The plural categories that the language has, in the order of `CATEGORIES`."""
    says: Language = field(repr=False, compare=False)
    plural: Callable[[float], str] = field(repr=False, compare=False)
    marks: Mapping[int, str] = field(repr=False, compare=False)
    """What stands in this language where English has a comma or a point in a number."""
    percent: str = field(repr=False, compare=False)

    def number(self, value: float) -> str:
        """Return a number as a person would write it: whole from 100 on, else to a tenth, and never 0 for something.

        Raises
        ------
        ValueError
            For what is not a number or not finite.
        """
        return self._text(value, rounded(value))

    def counted(self, value: float, forms: Sequence[str]) -> str:
        """Return a number with the form that fits it; a form such as `once` says a single time without the number.

        Two forms are the one for one and the one for all else; otherwise there is one for each of `categories`.
        """
        said = rounded(value)
        alone = forms[0].lower() in self.says.once
        if alone and said == 1:
            return forms[0]
        if alone and said == 2 and self.says.twice:
            return self.says.twice
        form = self._form(said or _least(value), forms)
        # In French none and one and a half are "one" too, and not "une fois".
        return f"{self._text(value, said)} {forms[-1] if alone and form == forms[0] else form}"

    def window(self, length: int | None, *, trial: bool = True) -> str:
        """Return the window of so many microseconds, or of the time since the start where `length` is None, in words.

        What started is a trial, or else the use of a plan that never ends.

        Whole weeks are said in days, as definitions write them.
        """
        if length is None:
            return self.says.since_start if trial else self.says.since_signup
        if length <= 0 or length % HOUR:
            raise ValueError(f"a window must be whole hours long, got {length} microseconds")
        if length % DAY == 0:
            days = length // DAY
            return self.says.last_day if days == 1 else self.says.last_days.format(days=self._digits(days))
        hours = length // HOUR
        return self.says.last_hour if hours == 1 else self.says.last_hours.format(hours=self._digits(hours))

    def ago(self, days: float) -> str:
        """Return how long ago a moment was, in whole days that have passed."""
        if not 0 <= days < math.inf:
            raise ValueError(f"a moment must lie a finite number of days back, got {days!r}")
        return _days_ago(self.language, math.floor(days))

    def day(self, age: float) -> str:
        """Return a day of the trial in words: `day 6`, `day 2.5`."""
        if not 0 <= age < math.inf:
            raise ValueError(f"an age must be a finite number of days, got {age!r}")
        # An hour is 0.04 days, and not day 0.
        shown = rounded(age) or (max(0.01, round(age, 2)) if age else 0)
        return self.says.day.format(day=self._digits(shown))

    def more_than(self, percent: float, day: float | None = None, *, whom: Peers = "trials") -> str:
        """Return that it is more than with so many per cent of others, at a day if any, rounded down."""
        return self._compared(self.says.more_than, percent, day, whom)

    def fewer_than(self, percent: float, day: float | None = None, *, whom: Peers = "trials") -> str:
        """Return that it is less than with so many per cent of others, at a day if any, rounded down."""
        return self._compared(self.says.fewer_than, percent, day, whom)

    def never_yet(self, what: str) -> str:
        """Return that a lead has not done what a signal's `missing` names."""
        return self.says.never_yet.format(what=what)

    def never(self, what: str, tenths: int, day: float) -> str:
        """Return the same with how many in ten converters had done it by a day, from 1 to 10."""
        if not 1 <= tenths <= 10:
            raise ValueError(f"converters in ten must be from 1 to 10, got {tenths!r}")
        template = self.says.never[0 if tenths == 1 else 1]
        return template.format(never_yet=self.never_yet(what), tenths=self._digits(tenths), day=self.day(day))

    def joined(self, text: str, more: str) -> str:
        """Return a sentence with a comparison at its end, in brackets where it has a comma already."""
        if not more:
            return text
        body, stop = (text[:-1], ".") if text.endswith(".") else (text, "")
        return f"{body} ({more}){stop}" if ", " in body else f"{body}, {more}{stop}"

    def _compared(self, template: str, percent: float, day: float | None, whom: Peers) -> str:
        share = self.percent.format(self._digits(whole_percent(percent)))
        told = template.format(percent=share, whom=self.says.whom[whom])
        return told if day is None else self.says.at_day.format(comparison=told, day=self.day(day))

    def _text(self, value: float, said: float) -> str:
        if said or not value:
            return self._digits(said)
        return (self.says.under if value > 0 else self.says.over).format(number=self._digits(_least(value)))

    def _form(self, said: float, forms: Sequence[str]) -> str:
        category = _category(self.language, said)
        if len(forms) == len(self.categories):
            return forms[self.categories.index(category)]
        return forms[0] if category == "one" else forms[-1]

    def _digits(self, said: float) -> str:
        text = f"{said:,}" if abs(said) >= self.says.grouped_from else f"{said}"
        return text.translate(self.marks) if self.marks else text


@cache
def wording(language: str) -> Wording:
    """Return how a language says things: `en`, `de`, `fr` or `es`.

    Raises
    ------
    InvalidSetting
        For any other.
    """
    if language not in LANGUAGES:
        raise InvalidSetting.at("language", f"must be one of {listing(LANGUAGES)}", language)
    # Reads its locale data from disk when it is loaded, so not on import.
    from babel import Locale

    locale = Locale.parse(language)
    symbols = locale.number_symbols["latn"]
    marks = {ord(","): symbols["group"], ord("."): symbols["decimal"]}
    return Wording(
        language=language,
        categories=tuple(name for name in CATEGORIES if name in locale.plural_form.tags or name == "other"),
        says=LANGUAGES[language],
        plural=locale.plural_form,
        marks={} if language == "en" else marks,
        percent=locale.percent_formats[None].pattern.replace("#,##0", "{}"),
    )


@lru_cache(maxsize=8192)
def _category(language: str, said: float) -> str:
    # Asking the rules takes microseconds, and most counts are small.
    return wording(language).plural(said)


@lru_cache(maxsize=1024)
def _days_ago(language: str, days: int) -> str:
    says = wording(language)
    if days == 0:
        return says.says.under_a_day_ago
    return says._form(days, says.says.days_ago).format(days=says._digits(days))


def rounded(value: float) -> int | float:
    """Return the number that a text says for one: whole from 100 on, else to a tenth; see `Wording.number`."""
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise ValueError(f"a number in a text must be finite, got {value!r}")
    if abs(value) >= 100:
        return round(value)
    shown = round(float(value), 1)
    return int(shown) if shown.is_integer() else shown


def _least(value: float) -> float:
    """Return the nearest number to nothing that is said, or nothing for nothing."""
    return math.copysign(0.1, value) if value else 0


def whole_percent(percent: float) -> int:
    """Return a percentage as a text says it: rounded down, so never more than it is, and never all.

    Raises
    ------
    ValueError
        Outside 0 to 100.

    >>> whole_percent(99.7), whole_percent(100), whole_percent(100 * 0.29)
    (99, 99, 29)
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentage must be from 0 to 100, got {percent!r}")
    # 100 * 0.29 is a hair below 29; more than all of them is nobody.
    return min(99, math.floor(percent + 1e-9))


# Letters, marks and symbols by their category that show nothing: fillers, joiners and variation selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# The narrow and the common no-break space stand in numbers, and only runs of them are none of ours.
_BLANKS = re.compile("\\s{2,}|[^\\S \u00a0\u202f]")
_LOOKED_AT = 16
"""Characters that are read for each that may be said."""


def plain(text: str, longest: int = 80) -> str:
    r"""Return a stranger's text as one line that shows all it holds, cut with an ellipsis after `longest` characters.

    Control and format characters (those that turn the direction of writing among them), and whatever else shows nothing,
    are left out. What is left is text and not markup; whoever puts it into a page or a message has to escape it there.

    >>> plain("  Ann\u202e \n Smith\x00 ")
    'Ann Smith'
    """
    if len(text) <= longest and text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    # However long a text is, no more of it is looked at than can matter.
    seen = text[: _LOOKED_AT * longest]
    seen = "".join(char for char in seen if char.isprintable() or char.isspace())
    seen = _BLANKS.sub(" ", _UNSEEN.sub("", seen)).strip()
    if len(seen) <= longest and len(text) <= _LOOKED_AT * longest:
        return seen
    return seen[: longest - 1].rstrip() + "…"

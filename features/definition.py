"""`pql.yaml` as frozen, validated objects: what a conversion is, which events are which signals, what the cutoff must achieve.

Owns the meaning of every key; knows nothing of data, models or files other than the definition itself.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from features.accounts import Accounts
from features.definition_rules import CONVERTED, TRIAL_STARTED, problems
from features.definition_text import place, read_yaml, settings_error
from features.domains import Domains, real_domains
from features.durations import DAY, parse_span, span_text, span_words
from features.errors import InvalidInput, InvalidSetting
from features.measures import MEASURES, SPECS, Spec
from features.measures import parse as parse_written
from features.phrases import Phrase
from features.policies import CapacityPolicy, CutoffPolicy, PrecisionPolicy, ValuePolicy
from features.rules import PointCard, Rule
from features.setting import LongSpan, Setting, SpanOrNone, some_time

Kind = Literal[
    "activation", "usage_depth", "frequency", "consistency", "value", "team_growth", "upgrade_intent",
    "api_usage", "limit", "fit", "time", "friction",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)


def _plain_name(text: object) -> object:
    if isinstance(text, str) and not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", text):
        raise ValueError("must be small letters, digits and _ and begin with a letter")
    return text


Name = Annotated[str, BeforeValidator(_plain_name)]
Span = Annotated[int, BeforeValidator(parse_span)]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be an IANA zone such as 'Europe/Vienna'") from None
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]
Domain = Annotated[str, AfterValidator(lambda text: text.strip().lower().removeprefix("@"))]
MailDomains = Annotated[tuple[Domain, ...], AfterValidator(real_domains)]
Scalar = str | bool | int | float
PhraseOrNone = Annotated[Phrase | None, BeforeValidator(lambda text: None if text is None else Phrase.parse(text))]


class Window(Setting):
    """The half-open span [as_of - length, as_of), or the one since the trial began where `length` is None.

    An event at as_of is not yet known; one exactly `length` earlier counts.
    """

    length: int | None

    @property
    def name(self) -> str:
        return "trial" if self.length is None else span_text(self.length)

    @property
    def width(self) -> float:
        """Its length in microseconds, infinite since the trial began: the longest of all."""
        return float("inf") if self.length is None else self.length

    @property
    def words(self) -> str:
        """How a sentence says it, e.g. `in the last 7 days`."""
        if self.length is None:
            return "since the trial began"
        return f"in the last {span_words(self.length).removeprefix('1 ')}"


class Measure(Setting):
    """What is measured over a window: `count`, `sum(spend)`, `distinct(plan)`, `reached(3)`; see `features.measures`."""

    how: str
    of: str | None = None

    @property
    def name(self) -> str:
        return self.how if self.of is None else f"{self.how}_{re.sub(r'[^a-zA-Z0-9]+', '_', self.of)}"

    @property
    def spec(self) -> Spec:
        return SPECS[self.how]


def parse_measure(text: object) -> object:
    """Return the measure that a text such as `sum(spend)` stands for."""
    if isinstance(text, Measure):
        return text
    how, of = parse_written(text)
    return Measure(how=how, of=of)


def parse_window(text: object) -> object:
    """Return the window that `7d`, `12h` or `trial` stands for."""
    if isinstance(text, Window):
        return text
    return Window(length=None if text == "trial" else some_time(text))


class Range(Setting):
    """Numbers in [at_least, below); an end that is not given is open."""

    at_least: float | None = Field(default=None, allow_inf_nan=False)
    below: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _holds_something(self) -> Range:
        if self.at_least is None and self.below is None:
            raise ValueError("must have at_least, below or both")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError("must have at_least lower than below")
        return self


# The tags only tell which of the two was meant; error messages leave out what stands in such brackets.
Wanted = Annotated[
    Annotated[tuple[Scalar, ...], Field(min_length=1), Tag("[values]")] | Annotated[Range, Tag("[range]")],
    Discriminator(lambda given: "[range]" if isinstance(given, dict | Range) else "[values]"),
]


class EventMatch(Setting):
    """Events of one name, and where given only those whose properties have one of these values or lie in a range."""

    event: str = Field(min_length=1)
    where: dict[str, Wanted] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, raw: object) -> object:
        if isinstance(raw, str):
            return {"event": raw}
        if isinstance(raw, dict) and isinstance(raw.get("where"), dict):
            where = {key: value if isinstance(value, list | dict) else [value] for key, value in raw["where"].items()}
            return {**raw, "where": where}
        return raw


class Signal(Setting):
    """A behaviour that sales people understand, the events behind it, and how to say it.

    A `trusted` one is kept even where it looks as if it told the outcome. `mention` is what may be said of it to the customer;
    facts that are `private` never leave the service.
    """

    name: Name
    kind: Kind
    events: tuple[EventMatch, ...] = Field(min_length=1)
    measures: tuple[Annotated[Measure, BeforeValidator(parse_measure)], ...] = (
        Measure(how="count"),
        Measure(how="days_since_last"),
    )
    windows: tuple[Annotated[Window, BeforeValidator(parse_window)], ...] | None = None
    direction: Literal["+", "-", "free"] = "+"
    scope: Literal["lead", "account"] = "lead"
    text: Annotated[Phrase, BeforeValidator(Phrase.parse)]
    mention: PhraseOrNone = None
    missing: str | None = None
    speakable: bool = True
    private: tuple[str, ...] = ()
    playbook: Name | None = None
    trusted: bool = False

    @property
    def sign(self) -> int:
        return {"+": 1, "-": -1, "free": 0}[self.direction]


class Trait(Setting):
    """A fact about the lead that does not change with its behaviour.

    `against` says that it is not so; the value of a `private` one never leaves the service. Of an address, `enterprise` lists
    the domains that get a column of their own, and `free_mail` the company's own additions to the known providers. Where
    there is such a list of enterprises, `playbook` is for those alone.
    """

    name: Name
    type: Literal["number", "category", "flag", "email_domain"]
    column: str | None = None
    direction: Literal["+", "-", "free"] = "free"
    text: Annotated[Phrase, BeforeValidator(Phrase.parse)] = Phrase.parse("{value}")
    against: PhraseOrNone = None
    speakable: bool = False
    private: bool = False
    playbook: Name | None = None
    trusted: bool = False
    enterprise: MailDomains = ()
    free_mail: MailDomains = ()

    @model_validator(mode="after")
    def _lists_domains(self) -> Trait:
        if (self.enterprise or self.free_mail) and self.type != "email_domain":
            raise ValueError("must have type email_domain where it lists `enterprise` or `free_mail`")
        if both := sorted({*self.enterprise} & {*self.free_mail}):
            raise ValueError(f"must not list {both[0]!r} as an enterprise and as free mail")
        return self

    @property
    def source(self) -> str:
        """The column of the trials table that holds it."""
        return self.column or self.name

    @cached_property
    def domains(self) -> Domains:
        """What the domain of an address tells."""
        return Domains.of(self.enterprise, self.free_mail)

    @property
    def sign(self) -> int:
        return {"+": 1, "-": -1, "free": 0}[self.direction]


class Trial(Setting):
    """When a trial starts, how long it lasts (None: freemium), what closes it."""

    length: SpanOrNone = None
    start_event: str | None = None
    closed_by: tuple[str, ...] = ()
    round_start_to: Literal["day"] | None = None


class Conversion(Setting):
    """What winning is, and within which time it must happen to count.

    `later` is the time within which a slow burner may still convert, from the same moment; None where nobody asks.
    """

    event: str | None = None
    column: str = "converted_at"
    horizon: LongSpan
    later: SpanOrNone = 90 * DAY


class Exclusions(Setting):
    """Leads that are nobody's customers: own staff, competitors, students."""

    email_domains: tuple[Domain, ...] = ()
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()


class Playbook(Setting):
    """What to do about a lead whose leading reasons are of these kinds, on this track, whose trial ends within this time."""

    id: Name
    title: str = Field(min_length=1)
    message: Annotated[Phrase, BeforeValidator(Phrase.parse)]
    kinds: tuple[Kind, ...] = ()
    track: Literal["now", "nurture"] | None = None
    ends_within: SpanOrNone = None

    @property
    def asks_for_circumstances(self) -> bool:
        return self.track is not None or self.ends_within is not None


class Definition(Setting):
    """The whole of `pql.yaml`.

    `clock` says what counts as known at a moment: all that had happened (`timestamp`), or only what had also arrived
    (`received_at`). `language` is what the texts are in.
    """

    product: str = Field(min_length=1)
    language: Literal["en", "de", "fr", "es"] = "en"
    lead: Literal["user", "account"] = "user"
    accounts: Accounts = Accounts()
    timezone: Zone | None = None
    clock: Literal["timestamp", "received_at"] = "timestamp"
    trial: Trial = Trial()
    conversion: Conversion
    score_at: tuple[Span, ...] = Field(min_length=1)
    windows: tuple[Annotated[Window, BeforeValidator(parse_window)], ...] = Field(min_length=1, max_length=6)
    signals: tuple[Signal, ...] = ()
    traits: tuple[Trait, ...] = ()
    exclude: Exclusions = Exclusions()
    cutoff: CutoffPolicy
    playbooks: tuple[Playbook, ...] = ()
    rules: tuple[Rule, ...] = ()
    points: PointCard | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Definition:
        for problem in problems(self):
            raise ValueError(problem)
        return self

    @cached_property
    def signal_of(self) -> dict[str, Signal]:
        return {signal.name: signal for signal in self.signals}

    @cached_property
    def trait_of(self) -> dict[str, Trait]:
        return {trait.name: trait for trait in self.traits}

    @cached_property
    def outcome_events(self) -> frozenset[str]:
        """Events that are the outcome itself, and therefore never a signal."""
        ends = (self.conversion.event,) if self.conversion.event else ()
        return frozenset(ends + self.trial.closed_by)

    @cached_property
    def by_circumstances_alone(self) -> frozenset[str]:
        """The playbooks that fit whatever the reasons are about: no kind and nobody leads to them."""
        named = {owner.playbook for owner in self.signals} | {owner.playbook for owner in self.traits}
        return frozenset(
            one.id for one in self.playbooks if one.asks_for_circumstances and not one.kinds and one.id not in named
        )

    def windows_of(self, signal: Signal) -> tuple[Window, ...]:
        return signal.windows or self.windows

    def scored_days(self) -> tuple[float, ...]:
        """The ages in days at which a trial is scored for training, ascending."""
        return tuple(sorted(span / DAY for span in self.score_at))


def parse(text: str, where: str = "pql.yaml") -> Definition:
    """Return the definition written in a YAML text.

    Raises
    ------
    InvalidSetting
        With file, line, key, what it must be and what was found, for the first thing that is wrong.
    """
    raw, root = read_yaml(text, where)
    try:
        return Definition.model_validate(raw)
    except ValidationError as error:
        raise settings_error(error, Definition, raw, root, where) from None


def load(path: Path) -> Definition:
    """Return the definition in a file; see `parse`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput.unreadable(path, error) from None
    return parse(text, path.name)


__all__ = [
    "CONVERTED", "KINDS", "MEASURES", "TRIAL_STARTED", "CapacityPolicy", "CutoffPolicy", "Definition", "EventMatch",
    "InvalidSetting", "Measure", "Playbook", "PrecisionPolicy", "Range", "Signal", "Trait", "ValuePolicy", "Window", "load",
    "parse", "place",
]  # fmt: skip

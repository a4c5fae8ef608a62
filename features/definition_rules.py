"""What must hold between the parts of a definition: names that are there once, facts that exist, no outcome among the signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from features.durations import span_text
from features.errors import suggestion
from features.phrases import problems_of
from features.rules import rule_problems

if TYPE_CHECKING:
    from features.definition import Definition, Playbook, Signal, Trait

# Made from the trials table, so that an account's history can be a signal like any other; only account signals may use them.
TRIAL_STARTED, CONVERTED = "$trial_started", "$converted"
# Every combination of an event's filters is a kind of its own: 4,096 of them read in milliseconds, 2 to the 20 in seconds.
MOST_FILTERS = 12
OUTCOME_COLUMNS = ("ends_at", "closed_at", "converted_at")
TRAIT_FACTS = frozenset({"value"})
PLAYBOOK_FACTS = ("product", "reason", "mention", "days_left")


def problems(definition: Definition) -> Iterator[str]:
    """Yield, as a sentence each, what keeps a definition's parts from fitting together."""
    names = [*(signal.name for signal in definition.signals), *(trait.name for trait in definition.traits)]
    yield from _repeated("signals and traits", names)
    yield from _repeated("playbooks", [book.id for book in definition.playbooks])
    if not definition.signals and not definition.traits:
        yield "signals: at least one signal or trait is needed, got none. Draft them with `pql init`."
    yield from _window_problems(definition)
    yield from _trait_problems(definition)
    yield from _account_problems(definition)
    yield from _filter_problems(definition)
    yield from _segment_problems(definition)
    yield from _language_problems(definition)
    yield from rule_problems(definition)
    for book in definition.playbooks:
        yield from _playbook_problems(definition, book)
    books = {book.id for book in definition.playbooks}
    for signal in definition.signals:
        yield from _signal_problems(definition, signal)
    for part, owners in (("signals", definition.signals), ("traits", definition.traits)):
        for owner in owners:
            if owner.playbook and owner.playbook not in books:
                yield f"{part}.{owner.name}.playbook: must be the id of a playbook, got {owner.playbook!r}."


def _signal_problems(definition: Definition, signal: Signal) -> Iterator[str]:
    for match in signal.events:
        if match.event in definition.outcome_events:
            yield (
                f"signals.{signal.name}.events: {match.event!r} is the outcome itself; a model that sees it "
                "predicts the past. Leave it out."
            )
        if match.event in (TRIAL_STARTED, CONVERTED) and signal.scope != "account":
            yield (
                f"signals.{signal.name}.events: {match.event!r} is made from the trials table for signals with "
                "`scope: account` only, got `scope: lead`."
            )
    unknown = signal.text.names - facts_of(signal)
    if unknown:
        yield (
            f"signals.{signal.name}.text: must quote facts of its own measures ({', '.join(sorted(facts_of(signal)))}), "
            f"got {{{min(unknown)}}}."
        )
    yield from _privacy_problems(signal)
    yield from _measure_problems(definition, signal)


def _privacy_problems(signal: Signal) -> Iterator[str]:
    where, known = f"signals.{signal.name}", facts_of(signal)
    if signal.missing and set("{}") & set(signal.missing):
        yield f"{where}.missing: must quote no facts, because nothing has happened then, got {signal.missing!r}."
    for name in signal.private:
        if name not in known - {"window", "last"}:
            guess = suggestion(name, known)
            yield f"{where}.private: must name facts of its own measures, got {name!r}.{guess}"
    quoted = {"text": signal.text.names, "mention": signal.mention.names if signal.mention else frozenset()}
    for key, names in quoted.items():
        told = {"days_since_last"} & set(signal.private) if "last" in names else set()
        for name in sorted(told | names & set(signal.private)):
            yield f"{where}.{key}: must not quote what is private, got {{{name}}}. Quote another fact, or take it from `private`."
    for name in sorted(quoted["mention"] - (known - times(known) - {"window"})):
        allowed = ", ".join(sorted(known - times(known) - {"window"} - set(signal.private))) or "none"
        yield f"{where}.mention: must quote no times, because the customer reads it (facts: {allowed}), got {{{name}}}."


def _playbook_problems(definition: Definition, book: Playbook) -> Iterator[str]:
    where, names = f"playbooks.{book.id}.message", book.message.names
    if names - set(PLAYBOOK_FACTS):
        known = ", ".join(f"{{{name}}}" for name in PLAYBOOK_FACTS)
        yield f"{where}: must quote only {known}, got {book.message.source!r}."
    if "days_left" in names and book.ends_within is None:
        yield f"{where}: must not quote {{days_left}} without `ends_within`, got {book.message.source!r}."
    if "reason" in names and book.id in definition.by_circumstances_alone:
        yield f"{where}: must not quote {{reason}} without `kinds`, got {book.message.source!r}. Quote {{mention}} instead."
    for signal in definition.signals:
        if not signal.speakable or not leads_to(signal.playbook, signal.kind, book):
            continue
        if "reason" in names and times(signal.text.names):
            yield (
                f"{where}: quotes {{reason}}, and the text of {signal.name!r} says when it was last done, which reads like "
                f"surveillance, got {signal.text.source!r}. Quote {{mention}} instead."
            )


def times(facts: Iterable[str]) -> frozenset[str]:
    """Return those facts that say when somebody did something: read aloud to that somebody, they sound like surveillance."""
    whens = ("last", "days_since_last", "days_since_first")
    return frozenset(name for name in facts if name in whens or name.startswith("days_to_reach_"))


def leads_to(own: str | None, kind: str, book: Playbook) -> bool:
    """Whether a reason of this kind, whose signal names `own` as its playbook, leads to a playbook."""
    return own == book.id if own else kind in book.kinds


def _measure_problems(definition: Definition, signal: Signal) -> Iterator[str]:
    where = f"signals.{signal.name}.measures"
    only_trial = all(window.length is None for window in definition.windows_of(signal))
    for measure in signal.measures:
        if measure.spec.fixed and only_trial:
            yield f"{where}: {measure.how} needs a window of fixed length, got only 'trial'."
        if measure.spec.account and signal.scope != "account" and definition.lead != "account":
            yield f"{where}: {measure.how} needs `scope: account`, got `scope: {signal.scope}`."
        if measure.how in ("lead_share", "lead_rank") and definition.lead == "account":
            yield f"{where}: {measure.how} compares a user with the account, and needs `lead: user`, got `lead: account`."


def _trait_problems(definition: Definition) -> Iterator[str]:
    for trait in definition.traits:
        for key, phrase in (("text", trait.text), ("against", trait.against)):
            if phrase is not None and phrase.names - TRAIT_FACTS:
                yield f"traits.{trait.name}.{key}: must quote only {{value}}, got {phrase.source!r}."
            if phrase is not None and trait.private and trait.speakable and phrase.names:
                yield f"traits.{trait.name}.{key}: must not quote {{value}}, which is private, got {phrase.source!r}."
        yield from _trait_conflicts(trait)
        if trait.source in (*OUTCOME_COLUMNS, definition.conversion.column):
            yield (
                f"traits.{trait.name}.column: {trait.source!r} tells the outcome; a model that sees it predicts the past. "
                "Leave it out."
            )
    if definition.exclude.email_domains and not any(trait.type == "email_domain" for trait in definition.traits):
        yield "exclude.email_domains: needs a trait of type email_domain, whose addresses it is about, got none."


def _account_problems(definition: Definition) -> Iterator[str]:
    name = definition.accounts.by_domain
    if name is None:
        return
    known = {trait.name: trait.type for trait in definition.traits}
    if known.get(name) != "email_domain":
        addresses = [trait for trait, kind in known.items() if kind == "email_domain"]
        got = f"{name!r} of type {known[name]}" if name in known else f"{name!r}"
        yield (
            f"accounts.by_domain: must name a trait of type email_domain ({', '.join(addresses) or 'there is none'}), "
            f"got {got}.{suggestion(name, addresses)}"
        )


def _trait_conflicts(trait: Trait) -> Iterator[str]:
    if trait.type == "category" and trait.direction != "free":
        yield f"traits.{trait.name}.direction: must be free for a category, which has no more and less, got {trait.direction!r}."
    if trait.private and trait.enterprise and trait.playbook:
        yield (
            f"traits.{trait.name}.playbook: would tell which of the enterprises a lead is from, which is private, got "
            f"{trait.playbook!r}. Leave out one of `private`, `enterprise` and `playbook`."
        )


def _segment_problems(definition: Definition) -> Iterator[str]:
    name = definition.cutoff.segments
    if name is None:
        return
    known = {trait.name: trait.type for trait in definition.traits}
    if name not in known:
        guess = suggestion(name, known)
        yield f"cutoff.segments: must be the name of a trait, got {name!r}.{guess}"
    elif known[name] == "number":
        yield f"cutoff.segments: must be a trait of type category, flag or email_domain, got {name!r} of type number."


def _language_problems(definition: Definition) -> Iterator[str]:
    phrases = {
        **{f"signals.{one.name}.{key}": getattr(one, key) for one in definition.signals for key in ("text", "mention")},
        **{f"traits.{one.name}.{key}": getattr(one, key) for one in definition.traits for key in ("text", "against")},
        **{f"playbooks.{one.id}.message": one.message for one in definition.playbooks},
    }
    for where, phrase in phrases.items():
        if phrase is not None:
            yield from (f"{where}: {problem}" for problem in problems_of(phrase, definition.language))


def _filter_problems(definition: Definition) -> Iterator[str]:
    matches = [match for signal in definition.signals for match in signal.events if match.where]
    for event in dict.fromkeys(match.event for match in matches):
        filters = {repr(sorted(match.where.items())) for match in matches if match.event == event}
        if len(filters) > MOST_FILTERS:
            yield f"signals: at most {MOST_FILTERS} different filters on one event, got {len(filters)} on {event!r}."


def facts_of(signal: Signal) -> frozenset[str]:
    """The facts that a signal's sentence may quote: its measures, the window in words, and when it last happened."""
    last = {"last"} if any(measure.how == "days_since_last" for measure in signal.measures) else set()
    return frozenset({measure.name for measure in signal.measures} | last | {"window"})


def _window_problems(definition: Definition) -> Iterator[str]:
    yield from _repeated("windows", [window.name for window in definition.windows])
    for signal in definition.signals:
        yield from _repeated(f"signals.{signal.name}.windows", [window.name for window in signal.windows or ()])
        yield from _repeated(f"signals.{signal.name}.measures", [measure.name for measure in signal.measures])
    yield from _repeated("score_at", [span_text(span) for span in definition.score_at])


def _repeated(what: str, names: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what}: every name must be there once, got {name!r} twice."
        seen.add(name)

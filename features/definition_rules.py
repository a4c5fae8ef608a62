"""What must hold between the parts of a definition: names that are there once, facts that exist, no outcome among the signals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from features.durations import span_text
from features.errors import suggestion
from features.rules import rule_problems

if TYPE_CHECKING:
    from features.definition import Definition, Signal

# Made from the trials table, so that an account's history can be a signal like any other; only account signals may use them.
TRIAL_STARTED, CONVERTED = "$trial_started", "$converted"
# Every combination of an event's filters is a kind of its own: 4,096 of them read in milliseconds, 2 to the 20 in seconds.
MOST_FILTERS = 12
OUTCOME_COLUMNS = ("ends_at", "closed_at", "converted_at")
TRAIT_FACTS = frozenset({"value"})
PLAYBOOK_FACTS = frozenset({"product", "reason"})


def problems(definition: Definition) -> Iterator[str]:
    """Yield, as a sentence each, what keeps a definition's parts from fitting together."""
    names = [*(signal.name for signal in definition.signals), *(trait.name for trait in definition.traits)]
    yield from _repeated("signals and traits", names)
    yield from _repeated("playbooks", [book.id for book in definition.playbooks])
    for book in definition.playbooks:
        if book.message.names - PLAYBOOK_FACTS:
            yield f"playbooks.{book.id}.message: must quote only {{product}} and {{reason}}, got {book.message.source!r}."
    if not definition.signals and not definition.traits:
        yield "signals: at least one signal or trait is needed, got none. Draft them with `pql init`."
    yield from _window_problems(definition)
    yield from _trait_problems(definition)
    yield from _filter_problems(definition)
    yield from _segment_problems(definition)
    yield from rule_problems(definition)
    books = {book.id for book in definition.playbooks}
    for signal in definition.signals:
        yield from _signal_problems(definition, signal)
        if signal.playbook and signal.playbook not in books:
            yield f"signals.{signal.name}.playbook: must be the id of a playbook, got {signal.playbook!r}."


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
    yield from _measure_problems(definition, signal)


def _measure_problems(definition: Definition, signal: Signal) -> Iterator[str]:
    where = f"signals.{signal.name}.measures"
    only_trial = all(window.length is None for window in definition.windows_of(signal))
    for measure in signal.measures:
        if measure.spec.fixed and only_trial:
            yield f"{where}: {measure.how} needs a window of fixed length, got only 'trial'."
        if measure.spec.account and signal.scope != "account":
            yield f"{where}: {measure.how} needs `scope: account`, got `scope: {signal.scope}`."
        if measure.how in ("lead_share", "lead_rank") and definition.lead == "account":
            yield f"{where}: {measure.how} compares a user with the account, and needs `lead: user`, got `lead: account`."


def _trait_problems(definition: Definition) -> Iterator[str]:
    for trait in definition.traits:
        if trait.text.names - TRAIT_FACTS:
            yield f"traits.{trait.name}.text: must quote only {{value}}, got {trait.text.source!r}."
        if trait.source in (*OUTCOME_COLUMNS, definition.conversion.column):
            yield (
                f"traits.{trait.name}.column: {trait.source!r} tells the outcome; a model that sees it predicts the past. "
                "Leave it out."
            )
    if definition.exclude.email_domains and not any(trait.type == "email_domain" for trait in definition.traits):
        yield "exclude.email_domains: needs a trait of type email_domain, whose addresses it is about, got none."


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

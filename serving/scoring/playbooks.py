"""Which playbook fits a lead: by what its leading reasons are about, its track, and how soon its trial ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from features.definition import Definition, Playbook
from features.definition_rules import leads_to
from features.durations import DAY
from features.wording import Wording
from serving.scoring.facts import said
from serving.scoring.reasons import Reason

LEADING: Final = 3
"""Reasons that choose a playbook, however many are asked for."""

Track = Literal["now", "nurture"]
"""What a lead is for: a call now, or patience; None where neither can be promised."""


@dataclass(frozen=True)
class Advice:
    """A playbook with the facts filled in; the texts are plain, never markup."""

    id: str
    title: str
    message: str


@dataclass(frozen=True)
class Circumstances:
    """What a playbook may ask for beside reasons; `days_left` is the time until the trial ends, None where it does not."""

    track: Track | None = None
    days_left: float | None = None

    def meet(self, book: Playbook) -> bool:
        """Whether they are what a playbook asks for."""
        on_track = book.track in (None, self.track)
        soon = book.ends_within is None or (self.days_left is not None and 0 < self.days_left * DAY <= book.ends_within)
        return on_track and soon


def advise(
    definition: Definition, reasons: Sequence[Reason], circumstances: Circumstances, wording: Wording
) -> Advice | None:
    """Return the playbook that fits a lead, or None.

    One that asks for circumstances comes before those that do not, then the one that the leading reasons speak for most, then
    the first in the file. A signal's own playbook comes before that of its kind.
    """
    found: list[tuple[bool, float, Playbook, Reason | None]] = []
    leading = reasons[:LEADING]
    own = [_own(definition, reason) for reason in leading]
    for book in definition.playbooks:
        mine = [one for one, named in zip(leading, own, strict=True) if leads_to(named, one.kind, book)]
        if circumstances.meet(book) and (mine or book.id in definition.by_circumstances_alone):
            quotes = book.message.names & {"reason", "mention"}
            # Words of one's own are better than those for any signal of its kind.
            quoted = min(mine or leading, key=lambda one: "mention" in quotes and one.mention is None, default=None)
            if quoted is not None or not quotes:
                found.append((book.asks_for_circumstances, sum(reason.contribution for reason in mine), book, quoted))
    if not found:
        return None
    _, _, book, quoted = max(found, key=lambda one: one[:2])
    return Advice(book.id, book.title, book.message.fill(_facts(definition, quoted, circumstances, wording), wording))


def _own(definition: Definition, reason: Reason) -> str | None:
    """Return the playbook that a reason's signal or trait names; one of listed enterprises is for those alone."""
    signal, trait = definition.signal_of.get(reason.signal), definition.trait_of.get(reason.signal)
    if trait is not None and trait.enterprise and reason.facts.get("standing") != "enterprise":
        return None
    owner = signal or trait
    return owner.playbook if owner else None


def _facts(
    definition: Definition, reason: Reason | None, circumstances: Circumstances, wording: Wording
) -> Mapping[str, object]:
    facts: dict[str, object] = {"product": definition.product}
    if reason is not None:
        owner = definition.signal_of.get(reason.signal) or definition.trait_of[reason.signal]
        # Without the comparison with others: a customer reads it.
        compared = reason.facts.keys() & {"more_than_percent", "fewer_than_percent"}
        facts["reason"] = owner.text.fill(said(reason.facts, wording), wording) if compared else reason.text
        facts["mention"] = reason.mention or wording.says.mentions[reason.kind]
    if circumstances.days_left is not None:
        facts["days_left"] = max(1, round(circumstances.days_left))
    return facts

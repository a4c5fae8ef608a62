"""Which playbook fits a lead: by what its leading reasons are about, its track, and how soon its trial ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from features.definition import KINDS, Definition, Playbook, Signal, Trait
from features.definition_rules import leads_to
from features.durations import DAY
from features.wording import Wording
from serving.scoring.facts import sentence

if TYPE_CHECKING:
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


class Circumstances(NamedTuple):
    """What a playbook may ask for beside reasons; `days_left` is the time until the trial ends, None where it does not."""

    track: Track | None = None
    days_left: float | None = None

    def meet(self, book: Playbook) -> bool:
        """Whether they are what a playbook asks for."""
        on_track = book.track is None or book.track == self.track
        left, within = self.days_left, book.ends_within
        return on_track and (within is None or (left is not None and 0 < left * DAY <= within))


@dataclass(frozen=True)
class Advisor:
    """Chooses among the playbooks of a definition, in its language."""

    definition: Definition
    wording: Wording

    def advise(self, reasons: Sequence[Reason], circumstances: Circumstances) -> Advice | None:
        """Return the playbook that fits a lead, or None.

        One that asks for circumstances comes before those that do not, then the one that the leading reasons speak for most,
        then the first in the file. A signal's own playbook comes before that of its kind.
        """
        books, leading = self.definition.playbooks, reasons[:LEADING]
        about = self._led_to(leading)
        found = [
            (books[place].asks_for_circumstances, sum([reason.contribution for reason in mine]), -place)
            for place, mine in about.items()
            if circumstances.meet(books[place])
        ]
        found += [
            (True, 0.0, -place)
            for place in self._alone
            if circumstances.meet(books[place]) and (leading or not _quotes(books[place]))
        ]
        if not found:
            return None
        place = -max(found)[2]
        return self._advice(books[place], about.get(place, leading), circumstances)

    def _led_to(self, leading: Sequence[Reason]) -> dict[int, list[Reason]]:
        """Return the places of the playbooks that reasons lead to, and which of them do."""
        about: dict[int, list[Reason]] = {}
        for reason in leading:
            for place in self._led[self._own(reason), reason.kind]:
                about.setdefault(place, []).append(reason)
        return about

    @cached_property
    def _led(self) -> dict[tuple[str | None, str], tuple[int, ...]]:
        """The places of the playbooks that a reason leads to, by the one that its signal names and by its kind."""
        books = self.definition.playbooks
        owns = {None, *self._owns.values()}
        return {
            (own, kind): tuple(place for place, book in enumerate(books) if leads_to(own, kind, book))
            for own, kind in product(owns, KINDS)
        }

    @cached_property
    def _alone(self) -> tuple[int, ...]:
        """The places of the playbooks that fit whatever the reasons are about."""
        alone = self.definition.by_circumstances_alone
        return tuple(place for place, book in enumerate(self.definition.playbooks) if book.id in alone)

    @cached_property
    def _owners(self) -> Mapping[str, Signal | Trait]:
        return {**self.definition.trait_of, **self.definition.signal_of}

    @cached_property
    def _owns(self) -> dict[str, str | None]:
        return {name: owner.playbook for name, owner in self._owners.items()}

    @cached_property
    def _listed(self) -> frozenset[str]:
        """The traits that list enterprises."""
        return frozenset(trait.name for trait in self.definition.traits if trait.enterprise)

    def _own(self, reason: Reason) -> str | None:
        """Return the playbook that a reason's signal or trait names; one of listed enterprises is for those alone."""
        if reason.signal in self._listed and reason.facts.get("standing") != "enterprise":
            return None
        return self._owns[reason.signal]

    def _advice(self, book: Playbook, about: Sequence[Reason], circumstances: Circumstances) -> Advice:
        names = book.message.names
        quoted = about[0] if about else None
        if "mention" in names:
            # Words of one's own are better than those for any signal of its kind.
            quoted = next((reason for reason in about if reason.mention is not None), quoted)
        facts: dict[str, object] = {"product": self.definition.product}
        if quoted is not None and "reason" in names:
            facts["reason"] = self._uncompared(quoted)
        if quoted is not None and "mention" in names:
            facts["mention"] = quoted.mention or self.wording.says.mentions[quoted.kind]
        if circumstances.days_left is not None:
            facts["days_left"] = max(1, round(circumstances.days_left))
        return Advice(book.id, book.title, book.message.fill(facts, self.wording))

    def _uncompared(self, reason: Reason) -> str:
        """Return the words of a reason without the comparison with others: a customer reads them."""
        if "more_than_percent" in reason.facts or "fewer_than_percent" in reason.facts:
            return sentence(self._owners[reason.signal].text, reason.facts, self.wording)
        return reason.text


def _quotes(book: Playbook) -> bool:
    """Whether a playbook's message has words of a reason in it."""
    return not book.message.names.isdisjoint(("reason", "mention"))

"""Which playbook fits a lead: the one of its leading reason, by signal first and by kind otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.definition import Definition
from serving.scoring.reasons import Reason


@dataclass(frozen=True)
class Advice:
    """A playbook with the facts filled in; the texts are plain, never markup."""

    id: str
    title: str
    message: str


def advise(definition: Definition, reasons: Sequence[Reason]) -> Advice | None:
    """Return the playbook of the strongest reason that has one, or None."""
    by_id = {book.id: book for book in definition.playbooks}
    for reason in reasons:
        signal = definition.signal_of.get(reason.signal)
        named = by_id.get(signal.playbook) if signal and signal.playbook else None
        book = named or next((one for one in definition.playbooks if reason.kind in one.kinds), None)
        if book is not None:
            facts = {"product": definition.product, "reason": reason.text}
            return Advice(book.id, book.title, book.message.fill(facts))
    return None

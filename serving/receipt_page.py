"""Receipts as people read them: lines of plain text. Prints nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from features.times import text_of
from serving.receipt_search import Kept
from serving.scoring.answers import Answer
from serving.scoring.decision import Cutoff, NoCutoff
from serving.scoring.difference import Difference, Move
from serving.scoring.receipt import Receipt, Replayed
from serving.scoring.statement import Explanation, Statement, Whose

WIDEST: Final = 24
"""Characters of the longest bar."""


# --- one receipt ------------------------------------------------------------------------------


def receipt_lines(told: Statement, kept: Kept) -> list[str]:
    """Return all that made one score, the verdict of the replay first."""
    replayed = told.replayed
    return [
        *_head(told, kept), "", *_verdict(told), "", "Cutoff", *_indented(_decided(told, replayed.answer)), "",
        *_totals(told), "", "Columns", *_columns(told), "", "Said", *_indented(_said(replayed.answer)),
    ]  # fmt: skip


def _head(told: Statement, kept: Kept) -> list[str]:
    receipt = kept.receipt
    subject, asked = receipt.subject, receipt.asked
    whom = "all leads" if asked.whom == "all" else "likely leads only"
    traits = ", ".join(f"{name} {value}" for name, value in subject.traits.items() if value is not None)
    ends = "; no known end" if told.whose.has_trial else ""
    if subject.ends_at is not None:
        ends = f"; the trial ends {text_of(subject.ends_at)}"
    return [
        f"Receipt {receipt.id}",
        f"  lead        {_who(receipt)}",
        f"  window end  {text_of(subject.as_of)}, {_day(told.replayed.answer, told.whose)}{ends}",
        f"  traits      {printable(traits) or 'none'}",
        f"  version     {receipt.version}",
        f"  definition  sha256 {told.definition_sha256}",
        f"  asked for   {asked.reasons} reasons each way, for {whom}",
        f"  kept        {text_of(kept.at)} in {printable(str(kept.place))}",
    ]


def _who(receipt: Receipt) -> str:
    account = receipt.subject.account_id
    return printable(receipt.subject.lead_id) + (f" of account {printable(account)}" if account else "")


def _day(answer: Answer, whose: Whose) -> str:
    return f"day {answer.trial_day:g} {'of the trial' if whose.has_trial else 'since signing up'}"


def _verdict(told: Statement) -> list[str]:
    weighed, answer = told.weighed, told.replayed.answer
    added = float(weighed.contributions.sum())
    sums = (
        f"base {weighed.base:+.6f} and contributions {added:+.6f} are the log-odds {weighed.log_odds:+.6f}"
        if told.adds_up
        else f"BASE AND CONTRIBUTIONS ARE NOT THE LOG-ODDS: {weighed.rounding:+.3g} is left over"
    )
    return [verdict(told.replayed), f"probability {answer.probability:.2%} ({answer.probability!r}): {sums}"]


def verdict(replayed: Replayed) -> str:
    """Return whether an answer is the same again, and otherwise what differs and why that may be."""
    if replayed.same:
        return f"REPLAYS BIT FOR BIT (sha256 of the answer {replayed.digest.whole})"
    if not replayed.same_input:
        return (
            f"DOES NOT REPLAY: the receipt is damaged. Its lead, moment and feature values make the name "
            f"{replayed.answer.receipt_id}, not {replayed.receipt.id}."
        )
    given, now = replayed.receipt.probability, replayed.answer.probability
    score = "the probability is the same" if given == now else f"the probability was {given!r} and is {now!r}"
    what = " and ".join(replayed.differs) or "the digest"
    return (
        f"DOES NOT REPLAY: other {what}; {score}. The receipt's traits or digest are damaged, or another release or "
        "processor answers otherwise: replay it with the release that gave it."
    )


def _decided(told: Statement, answer: Answer) -> list[str]:
    decision = told.decision
    if isinstance(decision, NoCutoff):
        return [f"there is none, so nobody is a PQL: {decision.reason}"]
    promise = "nothing is promised" if decision.at_least is None else f"at least {decision.at_least:.1%} convert"
    expires = f"; the evidence expires {decision.expires}" if decision.expires else ""
    it_is = "one" if answer.is_pql else f"none{_despite(told, answer)}"
    return [
        f"from {decision.probability:.2%} on a lead is a PQL: it is {it_is}",
        f"{promise}, with {decision.confidence:.0%} confidence; of {decision.leads} held-out leads {decision.converted} did "
        f"(lower bound {decision.precision_low:.1%}), {decision.measured_from} to {decision.measured_until}{expires}",
        f"policy {decision.policy}, bound by {decision.binds}",
    ]


def _despite(told: Statement | Explanation, answer: Answer) -> str:
    """Return why a lead over the cutoff is no PQL: the version has not learned from leads of its age."""
    decision = told.decision
    over = isinstance(decision, Cutoff) and answer.probability >= decision.probability
    return f", for nothing is promised at {_day(answer, told.whose)}" if over and not answer.is_pql else ""


def _totals(told: Statement) -> list[str]:
    heaviest = max((abs(total) for _, total in told.totals), default=0.0)
    rows = [(owner, told.kinds[owner], f"{total:+.4f}", bar(total, heaviest)) for owner, total in told.totals if total]
    typical = _typical(told.whose)
    first = (typical, "", f"{told.weighed.base_of_age:+.4f}", "")
    return [f"What moved it, in log-odds against {typical} of the same age", *table([first, *rows])]


def _typical(whose: Whose) -> str:
    return "a typical trial" if whose.has_trial and whose.lead == "user" else f"a typical {whose.lead}"


def bar(value: float, largest: float) -> str:
    """Return a bar as long as a value is of the largest one, never empty.

    >>> bar(0.5, 1.0), bar(-1e-9, 1.0)
    ('++++++++++++', '-')
    """
    length = max(1, round(WIDEST * abs(value) / largest)) if largest else 1
    return ("+" if value > 0 else "-") * length


def _columns(told: Statement) -> list[str]:
    weighed = told.weighed
    numbers = zip(
        weighed.columns, weighed.row.tolist(), weighed.contributions.tolist(), weighed.typical.tolist(), strict=True
    )
    rows = [
        (column.name, _value(value), column.unit, f"{own:+.4f}", f"{typical:+.4f}", column.meaning)
        for column, value, own, typical in numbers
    ]
    return table([("column", "value", "unit", "adds", "typically", "meaning"), *rows])


def _value(value: float) -> str:
    if math.isnan(value):
        return "not known"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _said(answer: Answer) -> Iterator[str]:
    for mark, said in (("for", answer.reasons), ("against", answer.against)):
        yield from (f"{mark:<9}{printable(one.text)}" for one in said)
    yield from (f"{'missing':<9}{printable(one.text)}" for one in answer.missing)
    if answer.playbook is not None:
        yield f"{'playbook':<9}{answer.playbook.id}: {printable(answer.playbook.title)}"
        yield f"{'':<9}{printable(answer.playbook.message)}"
    if not (answer.reasons or answer.against or answer.missing or answer.playbook):
        yield "nothing"


# --- two receipts -----------------------------------------------------------------------------


def difference_lines(found: Difference) -> list[str]:
    """Return what moved the score from one receipt to another, the behaviour that moved it furthest first."""
    return [
        *_ends(found), "", *(verdict(one) for one in (found.before, found.after)), "",
        "What moved it, in log-odds", *_steps(found), "", *(line for move in found.moves for line in _move(move)),
    ]  # fmt: skip


def _ends(found: Difference) -> list[str]:
    ends = ((found.before, found.from_log_odds), (found.after, found.to_log_odds))
    rows = [
        (
            f"receipt {one.receipt.id}", _who(one.receipt), text_of(one.receipt.subject.as_of),
            f"version {one.receipt.version}", f"{one.answer.probability:.2%}", f"log-odds {odds:+.6f}",
            "PQL" if one.answer.is_pql else "no PQL",
        )
        for one, odds in ends
    ]  # fmt: skip
    lines = table(rows)
    if found.before.receipt.subject.lead_id != found.after.receipt.subject.lead_id:
        lines.append("These are two different leads.")
    if not found.same_columns:
        lines.append(
            "The versions measure other things: signals are compared by name, and all the rest counts for the model."
        )
    return lines


def _steps(found: Difference) -> list[str]:
    heaviest = max((abs(move.change) for move in found.moves), default=0.0)
    rows = [
        (move.owner, move.kind, f"{move.change:+.4f}", bar(move.change, heaviest))
        for move in found.moves
        if move.change
    ]
    if found.same_columns:
        aged = "trial" if found.whose.has_trial else found.whose.lead
        days = f"day {found.ages.before:.2f} to {found.ages.after:.2f}"
        rows.append((f"the {aged}'s age", days, f"{found.older:+.4f}", ""))
    if not found.same_version:
        rows.append(("the other version", "", f"{found.model:+.4f}", ""))
    return table([*rows, ("in all", "", f"{found.total:+.4f}", "")])


def _move(move: Move) -> list[str]:
    said = [f"said {when}: {printable(text)}" for when, texts in (("before", move.said_before), ("after", move.said_after))
            for text in texts]  # fmt: skip
    facts = [
        f"{one.column}: {_value(one.before)} -> {_value(one.after)} {one.unit} ({one.meaning})" for one in move.facts
    ]
    return [f"{move.owner} {move.change:+.4f}", *_indented([*said, *facts])] if said or facts else []


# --- one lead ---------------------------------------------------------------------------------


def lead_lines(told: Explanation) -> list[str]:
    """Return one lead as a rep reads it."""
    answer, decision, receipt = told.answer, told.decision, told.replayed.receipt
    cutoff = f"from {decision.probability:.1%} on" if isinstance(decision, Cutoff) else "nobody is one: no cutoff"
    called = "PQL" if answer.is_pql else "not a PQL, worth nurturing" if answer.track == "nurture" else "not a PQL"
    within = ", ".join(f"{probability:.1%} within {days}" for days, probability in answer.within.items())
    lines = [
        f"{_who(receipt)} at {text_of(answer.as_of)}, {_day(answer, told.whose)}",
        f"{answer.probability:.1%}: {called} ({cutoff}{_despite(told, answer)}); higher than {answer.percentile:g}% of leads",
        f"to convert: {within}", "", *_said(answer), "",
        f"receipt {receipt.id} of version {receipt.version}",
    ]  # fmt: skip
    return lines if told.replayed.same else [*lines, verdict(told.replayed)]


# --- text -------------------------------------------------------------------------------------


SPACES: Final = "\u00a0\u202f"
"""What stands between a number and its sign in French, German and Spanish."""


def printable(text: str) -> str:
    r"""Return a text of somebody else's with all that could steer a terminal spelled out.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(
        letter if letter.isprintable() or letter in SPACES else letter.encode("unicode_escape").decode()
        for letter in text
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as indented lines whose columns stand under each other.

    >>> table([("a", "1"), ("long", "2")])
    ['  a     1', '  long  2']
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return list(_indented(lines))


def _indented(lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)

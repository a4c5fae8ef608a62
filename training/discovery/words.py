"""What was discovered, in plain words: what each finding is worth, what it is not, and the few lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from features.columns import Column, plain_words
from features.durations import span_words
from features.phrases import number_words
from features.rules import Condition, PointCard, place_of
from training.discover import Discovery
from training.discovery.conditions import words
from training.discovery.evidence import Found, sharpness
from training.discovery.found import Card, Checked, Signal
from training.discovery.timing import Day
from training.reporting.words import percent

CAUSE: Final = (
    "These figures say who converts, not why. People who have decided to buy do many things, and making others do them "
    "need not make them buy; only an experiment can tell."
)
CONSEQUENCE: Final = "Those who do it are about to buy; making others do it need not help."
SHOWN: Final = 5


def said(parts: Sequence[Condition], columns: Sequence[Column]) -> str:
    """Return conditions in words, joined by "and"."""
    return ", and ".join(_one(condition, columns) for condition in parts)


def _one(condition: Condition, columns: Sequence[Column]) -> str:
    place = place_of(condition, columns)
    # Written by hand about a category that too few leads have.
    return (
        f"{plain_words(condition.owner)} is {condition.equals}" if place is None else words(condition, columns[place])
    )


def rate(found: Found) -> str:
    """Return a precision with its interval: `24% (20% to 28%)`."""
    shown = found.precision
    return "nobody" if not found.leads else f"{percent(shown.value)} ({percent(shown.low)} to {percent(shown.high)})"


def times(lift: float) -> str:
    """Return a lift as people say it: `2.1 times`, a dash for what is not known."""
    return "-" if np.isnan(lift) else f"{lift:.1f} times"


def headline(seen: Discovery) -> str:
    """Return the one thing to know."""
    found = seen.found
    if not found.surviving:
        return "Nothing here tells converters from other leads"
    holding = [one for one in found.surviving if one.best.confirmed]
    if not holding:
        return "What told converters apart among older leads does not show on later ones"
    clean = [one for one in holding if not (one.timing and one.timing.consequence)]
    strongest = max(clean or holding, key=lambda one: sharpness(one.best.later.lift))
    lift = strongest.best.later.lift.value
    how = f"{lift:.1f} times as likely" if lift >= 1 else f"only {lift:.1f} times as likely"
    return (
        f"Leads with {said(strongest.best.conditions, seen.columns)} are {how} to convert as leads of their age on average"
        + (", but they are about to buy" if strongest not in clean else "")
    )


def verdict(seen: Discovery) -> str:
    """Return how many thresholds were tried, how many signals are more than chance, and how many hold on later leads."""
    found, n = seen.found, len(seen.found.surviving)
    tried = f"{len(found.tried):,} thresholds on {_number(len(found.signals), 'signal or trait', 'signals and traits')}"
    if not n:
        return (
            f"Of {tried}, none tells converters apart by more than chance finds among so many. With "
            f"{seen.older.converters:,} converters among the older leads only strong differences would show."
        )
    held = sum(one.best.confirmed for one in found.surviving)
    how_many = "all" if held == n else f"{held:,}" if held else "none"
    return (
        f"Of {tried}, those on {n:,} tell converters apart by more than chance finds among so many; "
        f"{how_many} of these {n:,} also {'hold' if held > 1 else 'holds'} on later leads."
    )


def _number(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def notes(signal: Signal, horizon: int) -> list[str]:
    """Return what must be said beside a signal's figures, in sentences."""
    best, timing, found = signal.best, signal.timing, []
    if timing is not None and timing.consequence:
        if timing.after > 0.5:
            found.append(f"{percent(timing.after)} of the converters who do it first do so when or after they convert.")
        else:
            found.append(
                f"Half of the converters who do it first do so less than {_span(timing.ahead)} before converting."
            )
        found.append(CONSEQUENCE)
    if best.survives and not best.confirmed:
        found.append("Not confirmed on later leads: it may have been luck, or it may have changed.")
    if best.survives and best.older.lift.value < 1:
        found.append(f"A bad sign: fewer of these convert within {span_words(horizon)} than of others of their age.")
    return found


def _span(days: float) -> str:
    hours = max(1, int(np.ceil(days * 24)))
    if hours < 48:
        return "an hour" if hours == 1 else f"{hours} hours"
    return f"{number_words(np.ceil(10 * days) / 10)} days"


def best_day(days: Sequence[Day]) -> Day | None:
    """Return the age at which a behaviour tells most, None where there is only one age or nothing to tell."""
    return max(days, key=lambda one: abs(one.ranking.value - 0.5)) if len(days) > 1 else None


def card_words(card: Card) -> str:
    """Return what a card's threshold came to."""
    start = f"From {number_words(card.card.threshold)} points on, {rate(card.older)} of the older leads convert"
    later = f"; of the later ones {rate(card.later)}"
    if card.reached:
        return f"{start}{later}. There the interval's lower end among older leads reaches the {percent(card.asked)} asked for."
    return (
        f"{start}{later}. No number of points reaches the {percent(card.asked)} asked for by the interval's lower end."
    )


def items(card: PointCard, columns: Sequence[Column]) -> list[tuple[str, float]]:
    """Return the lines of a card as (words, points)."""
    return [(_one(item, columns), item.points) for item in card.card]


def summary(seen: Discovery) -> list[str]:
    """Return what was found in a few lines."""
    found = seen.found
    lines = [
        f"Looked   at {seen.older.leads:,} older leads ({percent(found.everyone.older.precision.value)} converted), "
        f"checked on {seen.later.leads:,} later ones ({percent(found.everyone.later.precision.value)})",
        f"Found    {verdict(seen)}",
        *(f"  {_line(one.best, seen)}{_finger(one)}" for one in found.surviving[:SHOWN]),
    ]
    if found.rules:
        firsts = {one.floor: one for one in reversed(found.rules)}
        lines.append(f"Rules    the best of {found.rules_tried:,} pairs and triples")
        lines += [f"  {_line(one, seen)}" for one in found.rules if one is firsts[one.floor]]
    if found.card:
        lines.append(f"Card     {card_words(found.card)}")
    for rule in found.hand_rules:
        lines.append(f"Yours    {rule.name}: {_line(rule, seen)}")
    if found.hand_card:
        lines.append(f"Yours    points: {hand_words(found.hand_card)}")
    return [*lines, f"Mind     {CAUSE}"]


def hand_words(card: Card) -> str:
    """Return what the threshold of a card written by hand came to."""
    return (
        f"from {number_words(card.card.threshold)} points on, {rate(card.older)} of the older leads convert; "
        f"of the later ones {rate(card.later)}"
    )


def _line(one: Checked, seen: Discovery) -> str:
    later = f"later {percent(one.later.precision.value)} of {one.later.leads:,}" if one.later.leads else "later nobody"
    return f"{times(one.older.lift.value):>10}  {said(one.conditions, seen.columns)}: {rate(one.older)}, {later}"


def _finger(one: Signal) -> str:
    if one.timing is not None and one.timing.consequence:
        return " [likely a consequence]"
    return "" if one.best.confirmed else " [not confirmed]"

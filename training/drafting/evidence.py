"""What the data says of each signal and trait of a draft, written beside it: the strongest first.

Works on the text of a draft and the tables it was made from; what separates converters is the business of `discover`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isnan
from textwrap import wrap
from typing import Final

import polars as pl

from features.columns import Column
from features.dataset import Dataset, dataset
from features.definition import Definition, parse
from features.definition import Signal as Behaviour
from features.errors import PQLError
from training.discover import Halves, Settings, halves
from training.discovery.evidence import Found
from training.discovery.explore import separating
from training.discovery.found import Signal
from training.discovery.timing import timings
from training.discovery.words import notes, said
from training.drafting.words import yaml_text
from training.evaluate import Interval
from training.reporting.words import percent

UP: Final = '    direction: "+"'
SIGNALS: Final = "signals:"
COUNTING: Final = ("count", "sum")
UNTOLD: Final = (
    "nothing tells who converted. Name the event with --conversion, or give a table with converted_at by --trials."
)
WIDTH: Final = 112
FREE: Final = "    direction: free    # more of it is a bad sign here, so the data decides"


@dataclass(frozen=True)
class Weighed:
    """A draft with the evidence beside its signals; `head` is what to know of all of them."""

    text: str
    head: str


@dataclass(frozen=True)
class _Remark:
    """What to write beside a signal or trait; `against` where the data clearly says the other way."""

    lines: tuple[str, ...]
    against: bool


def weigh(text: str, events: pl.DataFrame, trials: pl.DataFrame | None) -> Weighed:
    """Return a draft with what the tables say of its signals; they go unweighed where the tables do not carry it.

    One threshold of each is told, of how often something was done or what it added up to: what a reader can check.
    """
    definition = parse(text)
    if trials is None and definition.conversion.event is None:
        head = f"No figures beside the signals: {UNTOLD}"
        return Weighed(_headed(text, head), head)
    try:
        data = dataset(events, trials, _counting(definition))
        seen = halves(data, Settings())
    except PQLError as why:
        head = _plain(f"No figures beside the signals: {why}")
        return Weighed(_headed(text, head), head)
    found = _found(data, seen)
    horizon = definition.conversion.horizon
    remarks = {yaml_text(one.best.name): _remark(one, seen.columns, horizon) for one in found}
    head = _head(found, seen)
    return Weighed(_headed(_beside(text, remarks), head), head)


def _counting(definition: Definition) -> Definition:
    """Return the definition with those measures only that count or add up."""
    fields = {name: getattr(definition, name) for name in type(definition).model_fields}
    fields["signals"] = tuple(_only_counts(signal) for signal in definition.signals)
    return Definition.model_construct(definition.model_fields_set, **fields)


def _only_counts(signal: Behaviour) -> Behaviour:
    return signal.model_copy(update={"measures": tuple(one for one in signal.measures if one.how in COUNTING)})


def _found(data: Dataset, seen: Halves) -> list[Signal]:
    """Return the best threshold of each signal and trait that tells converters apart, the strongest evidence first."""
    when = timings(data, seen.learned)
    best = separating(seen.older, seen.later, seen.columns)
    return [replace(one, timing=when.get(one.best.name)) for one in best if one.best.survives]


def _remark(one: Signal, columns: tuple[Column, ...], horizon: int) -> _Remark:
    older, later = one.best.older, one.best.later
    told = (
        f"{said(one.best.conditions, columns)}: {_likely(older.lift, later.lift)}, "
        f"{percent(older.coverage)} of converters{_ahead(older)}"
    )
    lines = (line for text in (told, *notes(one, horizon)) for line in wrap(_plain(text), WIDTH))
    return _Remark(tuple(lines), max(older.lift.high, later.lift.high) < 1)


def _likely(older: Interval, later: Interval) -> str:
    """Return a lift as `2.1 times as likely to convert (1.9 to 2.2; later 1.8)`, finer where the interval is narrow."""
    digits = 1 if older.high - older.low >= 0.2 else 2
    shown = [f"{lift:.{digits}f}" for lift in (older.value, older.low, older.high, later.value)]
    then = "unknown" if isnan(later.value) else shown[3]
    return f"{shown[0]} times as likely to convert ({shown[1]} to {shown[2]}; later {then})"


def _ahead(found: Found) -> str:
    """Return how long before converting half of those who convert met it, in whole days, or hours below two days."""
    if isnan(found.ahead):
        return ""
    days, hours = int(found.ahead), int(found.ahead * 24)
    long = f"{days} days" if days > 1 else "an hour" if hours == 1 else f"{hours} hours"
    return f", half of them {long} or more before"


def _head(found: list[Signal], seen: Halves) -> str:
    older, later = f"{seen.older.leads:,} older leads", f"{seen.later.leads:,} later ones"
    if not found:
        return f"Nothing here tells converters from other leads by more than chance, on {older} and {later}"
    held = sum(one.best.confirmed for one in found)
    how_much = (
        f"{held} of these {len(found)} also hold"
        if 0 < held < len(found)
        else f"{'all' if held else 'none'} of it holds"
    )
    return f"Strongest evidence first, from {older}; {how_much} on {later}. It says who converts, not why"


def _plain(text: str) -> str:
    """Return a text that can stand in a comment: the words of others may hold anything."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _headed(text: str, head: str) -> str:
    before, start, after = text.partition(f"\n{SIGNALS}")
    opening, end, rest = after.partition("\n")
    return f"{before}{start}{opening}{end}  # {head}\n{rest}"


def _beside(text: str, remarks: Mapping[str, _Remark]) -> str:
    """Return a draft with each remark in the block of that name; blocks that stand together are put in the order of the remarks."""
    place = {name: number for number, name in enumerate(remarks)}
    lines: list[str] = []
    for together in _groups(text.splitlines()):
        if isinstance(together, str):
            lines.append(together)
            continue
        for name, block in sorted(together, key=lambda one: place.get(one[0], len(place))):
            lines += _with(block, remarks[name]) if name in remarks else block
    return "\n".join(lines) + "\n"


def _groups(lines: Iterable[str]) -> Iterator[str | list[tuple[str, list[str]]]]:
    """Yield lines that belong to no signal or trait as they are, and runs of blocks as (name, lines)."""
    run: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("  - name: "):
            run.append((line.removeprefix("  - name: "), [line]))
        elif run and line.startswith("    "):
            run[-1][1].append(line)
        else:
            if run:
                yield run
            run = []
            yield line
    if run:
        yield run


def _with(block: list[str], remark: _Remark) -> list[str]:
    first, *others = block
    turned = [FREE if line == UP and remark.against else line for line in others]
    return [first, *(f"    # {line}" for line in remark.lines), *turned]

"""The columns of a definition as a page for people: what each is called, what it holds, in which unit, and how it is said.

`python -m features.catalogue pql.yaml docs/features.md` writes it; a test keeps the page of the demo product fresh.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from features.columns import Column, columns
from features.definition import Definition, load
from features.measures import SPECS, Spec

HEAD = """# Features

Made by `make docs` from `features/measures.py` and `pql.yaml`; a test fails where this page and they differ.

A window is the half-open span `[as_of - length, as_of)`: an event at `as_of` is not yet known, one exactly `length` earlier
counts. `trial` is the window since the trial began. A day is 24 hours, counted back from `as_of`, so that no time zone matters.
How events are cleaned before they are counted is written in [events.md](events.md).

## Measures

Any signal can have any of these, as `measures: [count, sum(amount), reached(3)]`. Those marked *account* need `scope: account`:
they look at everybody in the lead's account. *More is* says which way the score may move where the signal's direction is `+`.
"""
TEAM = """`distinct(user)` tells apart who did it, which makes an account's active users, and `distinct(event)` which of the
signal's events were done, which makes its breadth; neither reads a property. Those who joined are the count of `$trial_started`,
and those who bought that of `$converted`, both made from the trials table for signals with `scope: account`."""
_MORE = {1: "higher", -1: "lower", 0: "free"}


def page(definition: Definition) -> str:
    """Return the whole page, as Markdown."""
    lines = [
        HEAD,
        "| measure | what it holds | unit | where nothing happened | windows | more is |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_measure_line(how, spec) for how, spec in SPECS.items()]
    lines += ["", TEAM]
    table = columns(definition, {})
    lines += [
        "",
        f"## Columns of {definition.product}",
        "",
        f"{len(table)} columns, before the categories that training finds.",
    ]
    for owner, mine in _by_owner(table):
        lines += ["", f"### {owner}", "", *_about(definition, owner)]
        lines += ["| column | what it holds | unit | more is | as a sentence, for 3 |", "|---|---|---|---|---|"]
        lines += [_column_line(column) for column in mine]
    lines += _categories(definition)
    return "\n".join(lines) + "\n"


def _measure_line(how: str, spec: Spec) -> str:
    written = {None: how, "property": f"{how}(property)", "number": f"{how}(n)"}[spec.brackets]
    windows = "one value" if not spec.windowed else "of fixed length" if spec.fixed else "each"
    absent = "not known" if spec.absent is None else f"{spec.absent:g}"
    words = spec.meaning.format(of="n" if spec.brackets == "number" else "the property")
    unit = spec.unit.format(of="as the property's")
    return _row(
        f"`{written}`" + (" *account*" if spec.account else ""), words, unit, absent, windows, _MORE[spec.sense]
    )


def _by_owner(table: tuple[Column, ...]) -> Iterator[tuple[str, list[Column]]]:
    for owner in dict.fromkeys(column.owner for column in table):
        yield owner, [column for column in table if column.owner == owner]


def _about(definition: Definition, owner: str) -> list[str]:
    signal = definition.signal_of.get(owner)
    if signal is None:
        return []
    events = ", ".join(f"`{match.event}`" for match in signal.events)
    whose = "of everybody in the account" if signal.scope == "account" else "of the lead"
    said = f'Reps read: "{signal.text.source}".' if signal.speakable else "Never said to a customer."
    return [f"{signal.kind}: events {events} {whose}. {said}", ""]


def _column_line(column: Column) -> str:
    sentence = column.sentence.fill({"value": 3})
    return _row(f"`{column.name}`", column.meaning, column.unit, _MORE[column.direction], sentence)


def _categories(definition: Definition) -> Iterator[str]:
    """Yield a line on each trait whose columns only training can name."""
    for trait in definition.traits:
        if trait.type == "category":
            yield f"\n### {trait.name}\n"
            yield f"One column per value of `{trait.source}` that training saw often enough: 1 where it is so, else 0."


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(load(Path(sys.argv[1]))), encoding="utf-8")

"""The traits of a draft: columns of the trials table, and facts that `$identify` and `$group` events tell."""

from __future__ import annotations

import msgspec
import polars as pl

from features.survey import GROUP, IDENTIFY
from training.drafting.words import event_slug, event_words, yaml_text

MIN_TOLD = 20
"""Facts that fewer events than this tell are left out of a draft."""
MAX_CATEGORIES = 50
_KNOWN = ("user_id", "account_id", "started_at", "ends_at", "closed_at", "converted_at")


def trait_lines(events: pl.DataFrame, trials: pl.DataFrame | None, taken: set[str]) -> list[str]:
    """Return the lines of the definition that name the traits; names in `taken` are in use, new ones are added."""
    lines = []
    for column, values in _candidates(events, trials).items():
        kind = _trait_type(values)
        if kind is None:
            lines.append(f"  # left out: {yaml_text(column)} (too many different values to learn from)")
        else:
            slug = event_slug(column, taken)
            taken.add(slug)
            lines += [f"  - name: {yaml_text(slug)}", f"    column: {yaml_text(column)}", f"    type: {kind}"]
            lines += [f"    text: {yaml_text(event_words(column) + ': {value}')}"]
    return (
        ["", "traits:                # facts about the lead", *lines]
        if any("name:" in line for line in lines)
        else lines
    )


def _candidates(events: pl.DataFrame, trials: pl.DataFrame | None) -> dict[str, pl.Series]:
    """Return what could be traits, by the name under which a definition finds them."""
    columns = [] if trials is None else [name for name in trials.columns if name not in _KNOWN]
    table = {} if trials is None else {name: trials[name] for name in columns}
    return table | {name: values for name, values in _told(events).items() if name not in table}


def _told(events: pl.DataFrame) -> dict[str, pl.Series]:
    """Return the facts that events tell, as columns."""
    if "properties" not in events.columns:
        return {}
    told = events.filter(pl.col("event").is_in([IDENTIFY, GROUP]))["properties"].drop_nulls()
    if isinstance(told.dtype, pl.Struct):
        fields = {name: told.struct.field(name) for name in told.struct.fields}
        return {name: values for name, values in fields.items() if values.count() >= MIN_TOLD}
    found: dict[str, list[object]] = {}
    for text in told:
        for name, value in _members(text).items():
            if isinstance(value, str | bool | int | float):
                found.setdefault(name, []).append(value)
    return {name: _column(values) for name, values in sorted(found.items()) if len(values) >= MIN_TOLD}


def _members(text: str) -> dict[str, object]:
    try:
        members = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return {}
    return members if isinstance(members, dict) else {}


def _column(values: list[object]) -> pl.Series:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return pl.Series(values, dtype=pl.Boolean)
    if kinds <= {int, float}:
        return pl.Series(values, dtype=pl.Float64, strict=False)
    return pl.Series([str(value) for value in values], dtype=pl.String)


def _trait_type(values: pl.Series) -> str | None:
    if values.dtype == pl.Boolean:
        return "flag"
    if values.dtype.is_numeric():
        return "number"
    if values.dtype != pl.String:
        return None
    known = values.drop_nulls()
    if len(known) and known.str.contains(r"^([^@\s]+@)?[\w.-]+\.[a-z]{2,}$").mean() > 0.9:  # type: ignore[operator]
        return "email_domain"
    return "category" if known.n_unique() <= MAX_CATEGORIES else None

"""`pql discover`: files in, a page, figures and lines to paste out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from features.dataset import dataset
from features.definition import load
from features.rejections import Rejection, Sieve
from features.rules import Condition
from features.sources.locations import open_source, open_trials
from features.times import parse_instant
from training.discover import Discovery, Settings, discover
from training.discovery.found import Card, Checked
from training.discovery.page import render
from training.discovery.paste import paste
from training.discovery.words import CAUSE, headline, notes, said, summary, verdict

PAGE: Final = "discover.html"
FIGURES: Final = "discover.json"
PASTE: Final = "rules.yaml"


@dataclass(frozen=True)
class Outcome:
    """What was discovered, where it was written, and what was refused of the data."""

    folder: Path
    seen: Discovery
    rejections: tuple[Rejection, ...]
    set_right: Mapping[str, int]

    @property
    def lines(self) -> list[str]:
        """What to say on a terminal."""
        refused = [str(one) for one in self.rejections]
        refused += [f"kept: {rows:,} {what}" for what, rows in sorted(self.set_right.items())]
        return [*refused, *summary(self.seen), f"Page     {self.folder / PAGE}", f"Paste    {self.folder / PASTE}"]

    @property
    def facts(self) -> dict[str, Any]:
        """What to say to a machine."""
        refused = {"rejections": [str(one) for one in self.rejections], "set_right": dict(self.set_right)}
        written = {"page": str(self.folder / PAGE), "rules": str(self.folder / PASTE)}
        return {"folder": str(self.folder), **written, **facts(self.seen), **refused}


def run(
    events: str, trials: str | None, definition: Path, out: Path, form: str | None, test_from: str | None, read_at: int,
    progress: Callable[[str], None],
) -> Outcome:  # fmt: skip
    """Read, look, and write; `events` and `trials` are locations, `read_at` is now in microseconds since 1970 UTC.

    Raises
    ------
    Refusal
        Where there is too little to look at; nothing is written then.
    """
    settings = load(definition)
    # A bare date is its first moment in UTC, as for training.
    moment = None if test_from is None else parse_instant(test_from, "--test-from", "UTC")
    progress("reading and checking events and trials")
    sieve = Sieve("trials")
    table = None if trials is None else open_trials(trials, form).table(sieve)
    data = dataset(open_source(events, form), table, settings, read_at, sieve)
    seen = discover(data, Settings(moment), progress)
    write(seen, out)
    return Outcome(out, seen, data.rejections, data.set_right)


def write(seen: Discovery, folder: Path) -> None:
    """Write the page, the figures and the lines to paste into a folder (made if missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(render(seen), encoding="utf-8")
    (folder / FIGURES).write_text(json.dumps(facts(seen), indent=1), encoding="utf-8")
    (folder / PASTE).write_text(paste(seen), encoding="utf-8")


def facts(seen: Discovery) -> dict[str, Any]:
    """Return all figures as JSON can hold them, what is not known as null."""
    found, horizon = seen.found, seen.definition.conversion.horizon
    signals = [
        {
            **_checked(one.best, seen), "survives": one.best.survives, "notes": notes(one, horizon),
            "consequence": bool(one.timing and one.timing.consequence),
            "timing": asdict(one.timing) if one.timing else None, "days": [asdict(day) for day in one.days],
        }
        for one in found.signals
    ]  # fmt: skip
    told = {
        "product": seen.definition.product, "headline": headline(seen), "verdict": verdict(seen), "caution": CAUSE,
        "data_until": seen.until, "test_from": seen.test_from, "older": asdict(seen.older), "later": asdict(seen.later),
        "everyone": _checked(found.everyone, seen), "signals": signals, "thresholds_tried": len(found.tried),
        "tried": [_checked(one, seen) for one in found.tried],
        "rules": [_checked(one, seen) for one in found.rules], "rules_tried": found.rules_tried,
        "card": _card(found.card), "hand_rules": [_checked(one, seen) for one in found.hand_rules],
        "hand_card": _card(found.hand_card),
    }  # fmt: skip
    plain: dict[str, Any] = _plain(told)
    return plain


def _checked(one: Checked, seen: Discovery) -> dict[str, Any]:
    return {
        **asdict(one), "conditions": [_condition(condition) for condition in one.conditions],
        "words": said(one.conditions, seen.columns),
    }  # fmt: skip


def _condition(condition: Condition) -> dict[str, Any]:
    return condition.model_dump(exclude_none=True, exclude={"measure"} if condition.trait else None)


def _card(card: Card | None) -> dict[str, Any] | None:
    if card is None:
        return None
    items = [_condition(item) for item in card.card.card]
    return {**asdict(card), "card": {"threshold": card.card.threshold, "card": items}}


def _plain(value: Any) -> Any:
    """Return a value in which every number that is none, or has no end, is None."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""How a number compares with that of other trials of the same age, as far as it is surely true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from features.columns import Column
from features.languages import Peers
from features.wording import Wording, whole_percent
from serving.scoring.facts import Fact, Facts, Row, exact
from serving.scoring.reference import Reference, Usual

AT_LEAST_HALF: Final = 0.5
"""A good behaviour speaks for a lead only where at least half of the trials of its age had less of it, and against only where at
least half had more."""
NOTABLE: Final = 0.75
"""From this share of other trials on, that a lead has more than they do is worth a word."""


@dataclass(frozen=True)
class Comparisons:
    """Compares the columns of rows; `whom` says what those are that a lead is compared with.

    Everywhere `at` is the place of a lead's age, as `Reference.place` gives it.
    """

    columns: Sequence[Column]
    reference: Reference
    wording: Wording
    whom: Peers

    @cached_property
    def _usual(self) -> tuple[Usual | None, ...]:
        """What is usual of each column, None where there is nothing to compare it with."""
        return tuple(self.reference.usual.get(column.name) for column in self.columns)

    @cached_property
    def _said(self) -> dict[tuple[tuple[str, Fact], ...], str]:
        """Comparisons in words, each worded once: there are a hundred percentages, and few ages."""
        return {}

    def knows(self, place: int | None) -> bool:
        """Whether there is anything to compare a column with."""
        return place is not None and self._usual[place] is not None

    @cached_property
    def _days(self) -> tuple[int | float, ...]:
        return tuple(exact(age) for age in self.reference.ages)

    def floors(self, place: int | None) -> Row | None:
        """Return for each age the value above which a number `agrees` upwards; None where there is nothing to compare."""
        usual = None if place is None else self._usual[place]
        return None if usual is None else usual.half

    def agrees(self, place: int, row: Row, at: int, way: int) -> bool:
        """Whether a number is above (`way` 1) or below (-1) that of at least half of the trials of whom it is known.

        True where nothing is known to compare it with. A number that grows with age is never below at an age younger than
        all that are known.
        """
        usual = self._usual[place]
        if usual is None:
            return True
        if way > 0:
            return row[place] > usual.half[max(at, 0)]
        # A fact about the lead has nothing to do with its age.
        if at < 0 and self.columns[place].measure:
            return False
        at = max(at, 0)
        return usual.above(at, row[place]) >= AT_LEAST_HALF * usual.known(at)

    def more_than(self, place: int | None, row: Row, at: int) -> Facts:
        """Return the facts of a comparison with trials that have less, none where it is nothing out of the ordinary."""
        if place is None or (usual := self._compared(place, row, at)) is None:
            return {}
        share = usual.below(at, row[place])
        return {"more_than_percent": whole_percent(100 * share), "day": self._days[at]} if share >= NOTABLE else {}

    def fewer_than(self, place: int | None, row: Row, at: int) -> Facts:
        """Return the facts of a comparison with trials that have more, none where most do not."""
        if place is None or (usual := self._compared(place, row, at)) is None:
            return {}
        share = usual.above(at, row[place])
        return (
            {"fewer_than_percent": whole_percent(100 * share), "day": self._days[at]} if share >= AT_LEAST_HALF else {}
        )

    def _compared(self, place: int, row: Row, at: int) -> Usual | None:
        """Return with what a column is compared, None where it cannot be compared in words."""
        return self._usual[place] if at >= 0 and row[0] < self.reference.until else None

    def beyond(self, place: int, row: Row, at: int, way: int) -> Facts:
        """Return how far out of the ordinary a number is either way, without the day, which has nothing to do with it."""
        compared = self.more_than(place, row, at) if way > 0 else self.fewer_than(place, row, at)
        percent = int(compared.get("more_than_percent", compared.get("fewer_than_percent", 0)))
        return {name: fact for name, fact in compared.items() if name != "day"} if percent >= 100 * NOTABLE else {}

    def words(self, text: str, compared: Mapping[str, Fact]) -> str:
        """Return a sentence with a comparison at its end; the sentence itself where there is none."""
        if not compared:
            return text
        key = tuple(compared.items())
        words = self._said.get(key)
        if words is None:
            words = self._said[key] = self._words(compared)
        return self.wording.joined(text, words)

    def _words(self, compared: Mapping[str, Fact]) -> str:
        day = float(compared["day"]) if "day" in compared else None
        more = "more_than_percent" in compared
        say = self.wording.more_than if more else self.wording.fewer_than
        return say(int(compared["more_than_percent" if more else "fewer_than_percent"]), day, whom=self.whom)

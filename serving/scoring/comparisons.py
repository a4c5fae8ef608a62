"""How a number compares with that of other trials of the same age, as far as it is surely true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from features.columns import Column
from features.languages import Peers
from features.windows import Floats
from features.wording import Wording, whole_percent
from serving.scoring.facts import Fact, Facts, exact
from serving.scoring.reference import Reference

AT_LEAST_HALF: Final = 0.5
"""A good behaviour speaks for a lead only where at least half of the trials of its age had less of it, and against only where at
least half had more."""
NOTABLE: Final = 0.75
"""From this share of other trials on, that a lead has more than they do is worth a word."""


@dataclass(frozen=True)
class Comparisons:
    """Compares the columns of rows; `whom` says what those are that a lead is compared with."""

    columns: Sequence[Column]
    reference: Reference
    wording: Wording
    whom: Peers

    def knows(self, place: int | None) -> bool:
        """Whether there is anything to compare a column with."""
        return place is not None and self.columns[place].name in self.reference.usual

    def agrees(self, place: int, row: Floats, way: int) -> bool:
        """Whether a number is above (`way` 1) or below (-1) that of at least half of the trials of whom it is known.

        True where nothing is known to compare it with. A number that grows with age is never below at an age younger than
        all that are known.
        """
        if not self.knows(place):
            return True
        column = self.columns[place]
        # A fact about the lead has nothing to do with its age.
        age = float(row[0]) if column.measure else max(float(row[0]), self.reference.ages[0])
        shares = self.reference.share_below if way > 0 else self.reference.share_above
        found = shares(column.name, age, float(row[place]))
        return found is not None and found.share >= AT_LEAST_HALF * self.reference.share_known(column.name, age)

    def more_than(self, place: int | None, row: Floats) -> Facts:
        """Return the facts of a comparison with trials that have less, none where it is nothing out of the ordinary."""
        if place is None or not self.reference.covers(float(row[0])):
            return {}
        found = self.reference.share_below(self.columns[place].name, float(row[0]), float(row[place]))
        if found is None or found.share < NOTABLE:
            return {}
        return {"more_than_percent": whole_percent(100 * found.share), "day": exact(found.age)}

    def fewer_than(self, place: int | None, row: Floats) -> Facts:
        """Return the facts of a comparison with trials that have more, none where most do not."""
        if place is None or not self.reference.covers(float(row[0])):
            return {}
        found = self.reference.share_above(self.columns[place].name, float(row[0]), float(row[place]))
        if found is None or found.share < AT_LEAST_HALF:
            return {}
        return {"fewer_than_percent": whole_percent(100 * found.share), "day": exact(found.age)}

    def beyond(self, place: int, row: Floats, way: int) -> Facts:
        """Return how far out of the ordinary a number is either way, without the day, which has nothing to do with it."""
        compared = self.more_than(place, row) if way > 0 else self.fewer_than(place, row)
        percent = int(compared.get("more_than_percent", compared.get("fewer_than_percent", 0)))
        return {name: fact for name, fact in compared.items() if name != "day"} if percent >= 100 * NOTABLE else {}

    def words(self, text: str, compared: Mapping[str, Fact]) -> str:
        """Return a sentence with a comparison at its end; the sentence itself where there is none."""
        if not compared:
            return text
        day = float(compared["day"]) if "day" in compared else None
        if "more_than_percent" in compared:
            more = self.wording.more_than(int(compared["more_than_percent"]), day, whom=self.whom)
        else:
            more = self.wording.fewer_than(int(compared["fewer_than_percent"]), day, whom=self.whom)
        return self.wording.joined(text, more)

"""Whether a reason agrees with the direction of what it names, found from what it says and not from how it was chosen."""

from __future__ import annotations

from dataclasses import dataclass

from features.definition import Signal, Trait
from features.windows import Floats
from serving.scoring.comparisons import AT_LEAST_HALF
from serving.scoring.reasons import Explainer, Reason
from serving.scoring.scorer import Scorer


@dataclass(frozen=True)
class Agreement:
    """Compares reasons with the definition and with the trials that the version was made with."""

    explainer: Explainer

    @classmethod
    def of(cls, scorer: Scorer) -> Agreement:
        """Return that of a version."""
        return cls(scorer.explainer)

    def contradicts(self, reason: Reason, row: Floats, way: int) -> bool:
        """Whether a reason that speaks for (`way` 1) or against (-1) a lead of this row says the opposite of its direction.

        It does where its contribution has the other sign, where something bad speaks for a lead, where much is called much
        although most trials of the age have more, and where little is called little although most have less.
        """
        definition = self.explainer.builder.definition
        signal, trait = definition.signal_of.get(reason.signal), definition.trait_of.get(reason.signal)
        if way * reason.contribution <= 0:
            return True
        if signal is not None and signal.sign:
            return way > signal.sign or self._is_other_way(self._place(signal, reason), row, way * signal.sign)
        return trait is not None and trait.sign != 0 and self._is_other_trait(trait, row, way * trait.sign)

    def _place(self, signal: Signal, reason: Reason) -> int | None:
        """Return the column of the fact that the sentence leads with, in the window that it speaks of."""
        said = reason.facts.get("window")
        return next((pane.leading for pane in self.explainer.panes[signal.name] if pane.words == said), None)

    def _is_other_trait(self, trait: Trait, row: Floats, much: int) -> bool:
        places = self.explainer.builder.places_of[trait.name]
        if trait.type == "number":
            return self._is_other_way(places[0], row, much)
        return bool(row[places[0]] > 0) != (much > 0)

    def _is_other_way(self, place: int | None, row: Floats, much: int) -> bool:
        """Whether most trials of the age have more of what is called much (`much` 1), or less of what is called little (-1)."""
        if place is None:
            return False
        reference, column = self.explainer.reference, self.explainer.builder.columns[place].name
        compare = reference.share_above if much > 0 else reference.share_below
        found = compare(column, float(row[0]), float(row[place]))
        return found is not None and found.share > AT_LEAST_HALF

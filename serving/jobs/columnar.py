"""Scored rows as a table, column by column: the figures of `answers_of` without an object per lead.

Who is a PQL and on which track is decided here as `serving.scoring.answers` decides it; a property test holds the two equal.
Words are made by `answers_of` itself, for those leads alone that get any. There are no receipts: to name the answers of a
million leads costs more than to score them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.times import INSTANT
from features.windows import Floats, Ints
from serving.batch import LEADS_OUT, answers_frame
from serving.jobs.checking import Checked
from serving.jobs.layout import Layout
from serving.scoring.answers import HIGHEST, NEAR, Asked, answers_of
from serving.scoring.decision import Cutoff, Flags, overall
from serving.scoring.scorer import Scored, Scorer

WORDS: Final = ("reasons", "against", "missing", "playbook")


@dataclass(frozen=True)
class Table:
    """What makes tables of scored rows, for one version and one way to ask."""

    scorer: Scorer
    layout: Layout
    asked: Asked

    def of(self, leads: Checked) -> pl.DataFrame:
        """Return the leads with the columns of `LEADS_OUT`, in their order."""
        scored = self.scorer.score(leads.rows)
        figures = _figures(self.scorer, leads, scored)
        words = self._words(leads, np.flatnonzero(wanted(self.scorer, scored, self.asked)))
        return figures.hstack(words).select(list(LEADS_OUT))

    def _words(self, leads: Checked, told: Ints) -> list[pl.Series]:
        """Return the columns of words; `told` are the places of the leads that get any."""
        if not len(told):
            return [_SILENCE[name].new_from_index(0, len(leads.rows)) for name in WORDS]
        definition = self.scorer.builder.definition
        subjects = [leads.subject(place, definition, self.layout) for place in told.tolist()]
        answers = list(answers_of(self.scorer, subjects, Asked(self.asked.reasons, "all")))
        # Behind what is said stands the row that says nothing, to which all others point.
        said = pl.concat([answers_frame(answers, self.scorer).select(WORDS), _SILENCE])
        place_of = np.full(len(leads.rows), len(told))
        place_of[told] = np.arange(len(told))
        return [said[name].gather(place_of) for name in WORDS]


_SILENCE: Final = pl.DataFrame(
    [pl.Series(name, [None if name == "playbook" else []], dtype=LEADS_OUT[name]) for name in WORDS]
)


def wanted(scorer: Scorer, scored: Scored, asked: Asked) -> Flags:
    """Return which rows get words, as `answers_of` chooses them: bool array of shape (n,)."""
    if asked.reasons == 0 or asked.whom == "all":
        return np.full(len(scored.rows), asked.reasons > 0)
    if not scorer.decides:
        return (scored.percentiles >= HIGHEST) | scored.is_nurture
    near = scorer.artifact.decision.flags(scored.probabilities / NEAR, scorer.segments(scored.rows))
    return near | scored.is_nurture


def _figures(scorer: Scorer, leads: Checked, scored: Scored) -> pl.DataFrame:
    n, decision = len(leads.rows), overall(scorer.artifact.decision)
    runs = leads.as_of < leads.ends_at
    is_pql = scored.is_pql & runs
    track = np.where(is_pql, 1, np.where(scored.is_nurture & runs, 2, 0))
    cutoff = decision.probability if isinstance(decision, Cutoff) else None
    return pl.DataFrame(
        [
            leads.lead_ids.alias("lead_id"),
            leads.account_ids.alias("account_id"),
            pl.Series("as_of", leads.as_of).cast(INSTANT),
            pl.Series("trial_day", rounded(leads.rows[:, 0], 3)),
            pl.Series("probability", scored.probabilities),
            pl.Series("is_pql", is_pql),
            pl.Series("track", [None, "now", "nurture"], dtype=pl.String).gather(track),
            _within(scorer.artifact.course.days, scored.within),
            pl.Series("percentile", rounded(scored.percentiles, 1)),
            _same("model_version", scorer.version, n),
            _same("cutoff", cutoff, n),
            _same("receipt_id", None, n),
        ]
    )


def _same(name: str, value: object, n: int) -> pl.Series:
    return pl.Series(name, [value], dtype=LEADS_OUT[name]).new_from_index(0, n)


def _within(days: tuple[float, ...], grown: Floats) -> pl.Series:
    """Return the probabilities by day, a list of (days, probability) for each row."""
    flat = pl.DataFrame({"days": np.tile(days, len(grown)), "probability": grown.ravel()}).to_struct("within")
    return flat.reshape((len(grown), len(days))).arr.to_list().cast(LEADS_OUT["within"])


def rounded(values: Floats, digits: int) -> Floats:
    """Return what `round` gives for each value: the decimal nearest to the exact value, ties to even.

    Multiplying first, as numpy does, takes a value just below a tie for the tie; the few so close to one are rounded singly.
    """
    scale = 10.0**digits
    with np.errstate(over="ignore", invalid="ignore"):
        grown = values * scale
        found: Floats = np.rint(grown) / scale
        close = np.abs(grown - np.floor(grown) - 0.5) < 1e-6
    for place in np.flatnonzero(close | ~(np.abs(grown) < 1e9)).tolist():
        found[place] = round(float(values[place]), digits)
    return found

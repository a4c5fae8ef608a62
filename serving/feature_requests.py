"""Leads of `POST /score_features`, each with the value of every column -> subjects, for callers with features of their own.

The values are taken at their word; only what the engine could never have worked out is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from features.durations import DAY
from features.errors import InvalidInput, PQLError
from features.times import EARLIEST, text_of
from features.windows import Floats
from serving.answering import Failed, Made, Reading, Result, answering, drained, failed, result_body
from serving.asking import (
    DECODING_ERRORS,
    ScoreIn,
    TraitValue,
    check_customer,
    check_id,
    check_traits,
    decode,
    end_of_trial,
    lead_of,
    moment_of_scoring,
)
from serving.scoring.answers import Asked, Subject
from serving.scoring.receipt import Keep
from serving.scoring.scorer import Scorer


class FeatureLeadIn(msgspec.Struct, forbid_unknown_fields=True):
    """One lead with the value of every column of the version by name, null where it is not known.

    `traits` only tell the sentences what to quote; the score is made of `features` alone.
    """

    lead_id: str
    features: dict[str, float | None]
    account_id: str | None = None
    as_of: str | None = None
    ends_at: str | None = None
    traits: dict[str, TraitValue] = {}


_LEAD: Final = msgspec.json.Decoder(FeatureLeadIn)


def score(scorer: Scorer, request: ScoreIn, now: int, keep: Keep | None = None) -> list[Result]:
    """Return one result per lead of the request, in its order; see `serving.requests.score`."""
    return drained(answering(reading(scorer, request, now), keep))


def reading(scorer: Scorer, request: ScoreIn, now: int) -> Reading:
    """Return how a request is read; raises InvalidInput where its moment of scoring is none."""
    as_of = moment_of_scoring(request.as_of, now, "as_of", scorer.builder.definition)
    return Reading(scorer, Asked(request.reasons), request.leads, _Reader(scorer, as_of).part)


@dataclass(frozen=True)
class _Reader:
    """Reads the leads of one request; `as_of` is the moment of those that name none."""

    scorer: Scorer
    as_of: int

    def part(self, start: int, raws: Sequence[msgspec.Raw]) -> list[Made]:
        return [self._tried(start + i, raw) for i, raw in enumerate(raws)]

    def _tried(self, index: int, raw: msgspec.Raw) -> Subject | Failed:
        try:
            return self._read(raw, f"leads[{index}]")
        except PQLError as error:
            return failed(index, raw, error, ("lead_id",))

    def _read(self, raw: msgspec.Raw, spot: str) -> Subject:
        builder = self.scorer.builder
        definition = builder.definition
        try:
            told = lead_of(_LEAD, raw, spot)
        except InvalidInput as error:
            raise _wrong_value(raw, spot) or error from None
        name = check_id(told.lead_id, f"{spot}.lead_id")
        check_traits(told.traits, definition, spot)
        by_account = definition.lead == "account"
        check_customer(definition, name, name if by_account else told.account_id, told.traits, spot)
        as_of = moment_of_scoring(told.as_of, self.as_of, f"{spot}.as_of", definition)
        row = builder.ready.row(told.features, f"{spot}.features")
        started_at = _started(row, as_of, builder.columns[0].name, spot)
        ends_at = end_of_trial(told.ends_at, started_at, definition, spot)
        traits = {trait: told.traits.get(trait) for trait in definition.trait_of}
        return Subject(name, told.account_id, as_of, ends_at, traits, row)


def _started(row: Floats, as_of: int, age: str, spot: str) -> int:
    """Return when a lead's trial began, exactly: an age in days tells it to the microsecond."""
    days = float(row[0])
    where = f"{spot}.features.{age}"
    if days * DAY > as_of - EARLIEST:
        raise InvalidInput(
            f"{where} must not reach back before {text_of(EARLIEST)} from as_of {text_of(as_of)}, got {days:g}.", where
        )
    return as_of - round(days * DAY)


def _wrong_value(raw: msgspec.Raw, spot: str) -> InvalidInput | None:
    """Return which feature value is no number, None where something else is wrong: a decoder does not say which key it was at."""
    try:
        lead = msgspec.json.decode(raw)
    except DECODING_ERRORS:
        return None
    features = lead.get("features") if isinstance(lead, dict) else None
    for name, value in features.items() if isinstance(features, dict) else ():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            where = f"{spot}.features.{name[:100]}"
            return InvalidInput(f"{where} must be a number or null, got {str(value)[:100]!r}.", where)
    return None


__all__ = ["Failed", "FeatureLeadIn", "ScoreIn", "decode", "reading", "result_body", "score"]

"""What all parts of the definition are made of: frozen settings whose unknown keys are errors, and spans of time."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from features.durations import parse_span


class Setting(BaseModel):
    """A part of the definition: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def some_time(text: object) -> int:
    """Return the span in microseconds that a text such as `14d` stands for; a ValueError where it is no time at all."""
    micros = parse_span(text)
    if micros == 0:
        raise ValueError("must be longer than nothing")
    return micros


LongSpan = Annotated[int, BeforeValidator(some_time)]


def _time_or_none(text: object) -> int | None:
    return None if text in (None, "none") else some_time(text)


SpanOrNone = Annotated[int | None, BeforeValidator(_time_or_none)]
"""A span such as `14d`, or `none`."""

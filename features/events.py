"""The canonical table of events, batch by batch: its rules, what is mended and what is refused.

A row that breaks a rule is refused, counted and shown; the good rows beside it are kept. docs/events.md says the rules in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec
import polars as pl

from features.definition import CONVERTED, TRIAL_STARTED, Definition
from features.errors import InvalidInput
from features.rejections import Sieve
from features.times import EARLIEST, INSTANT, instants
from features.vocabulary import vocabulary

EVENT_COLUMNS = ("user_id", "account_id", "event", "timestamp", "received_at", "message_id", "properties")
SKEW_COLUMNS = ("sent_at", "original_timestamp")
"""What a client's own clock said when it sent an event and when the event happened there; optional."""

LEAST = pl.lit(EARLIEST).cast(INSTANT)
TOLERANCE = pl.duration(minutes=5)
"""How far two clocks that are both right may be apart."""


@dataclass(frozen=True)
class EventRules:
    """How raw events become canonical ones under one definition.

    `read_at` (microseconds since 1970 UTC, or None for "not known") is when the data is read: nothing can have happened
    after it.
    """

    definition: Definition
    read_at: int | None = None

    def clean(self, raw: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        """Return one batch of canonical events; what is refused or mended is counted in the sieve.

        - user_id, event and timestamp are there -> else the row is refused; without the columns InvalidInput
        - times carry a zone, or the definition names one -> else NaiveTimestamp
        - a client's skewed clock is set right where the event tells how far off it was
        - nothing happens after it arrived, or after it was read -> moved to its arrival, or refused
        - properties are a JSON object where a signal reads them -> else the row is refused

        Raises
        ------
        InvalidInput
            Where a column is missing, or times have no zone.
        """
        need("events", raw, ("user_id", "event", "timestamp"))
        frame = _shaped(raw).with_columns(given=pl.col("timestamp"))
        for column in ("timestamp", "received_at", *(name for name in SKEW_COLUMNS if name in frame.columns)):
            frame = instants(frame, column, self.definition.timezone)
        frame = _refuse_unreadable(_unskewed(frame, sieve), sieve)
        frame = self._placed_in_time(frame, sieve)
        return self._refuse_broken_properties(frame, sieve)

    def _placed_in_time(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        show = ("user_id", "event", "timestamp")
        if frame["received_at"].null_count() < len(frame):
            ahead = (pl.col("timestamp") > pl.col("received_at") + TOLERANCE).fill_null(value=False)
            sieve.mend("events dated after their arrival, moved to it", frame, ahead)
            frame = frame.with_columns(timestamp=pl.when(ahead).then("received_at").otherwise("timestamp"))
        if self.read_at is not None:
            ahead = pl.col("timestamp") > pl.lit(self.read_at).cast(INSTANT) + TOLERANCE
            frame = sieve.refuse(frame, ahead, "timestamp lies in the future", show)
        return frame

    @cached_property
    def _with_properties(self) -> frozenset[str]:
        return vocabulary(self.definition).with_properties

    def _refuse_broken_properties(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        """Refuse rows whose properties a signal would read but that are no JSON object."""
        if not self._with_properties or frame["properties"].null_count() == len(frame):
            return frame
        read = pl.col("event").is_in(self._with_properties)
        texts = frame.filter(read)["properties"].drop_nulls().unique()
        broken = [text for text in texts if text and not is_json_object(text)]
        if not broken:
            return frame
        bad = read & pl.col("properties").is_in(broken).fill_null(value=False)
        return sieve.refuse(frame, bad, "properties are no JSON object", ("user_id", "event", "properties"))


def need(table: str, frame: pl.DataFrame, columns: tuple[str, ...]) -> None:
    """Raise InvalidInput unless the frame has all these columns."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InvalidInput.missing_columns(table, missing, frame.columns)


def blank(column: str) -> pl.Expr:
    """Whether an identifier is missing: null or only spaces."""
    return pl.col(column).cast(pl.String).str.strip_chars().str.len_bytes().fill_null(0) == 0


def _may_be_blank(texts: pl.Series) -> bool:
    """Whether looking at each text closely could find a blank one; comparing with two letters is much faster.

    A space sorts before all that is printed in ASCII; beyond ASCII there are other spaces.
    """
    return texts.has_nulls() or bool(((texts < "!") | (texts > "~")).any())


def _shaped(raw: pl.DataFrame) -> pl.DataFrame:
    """Return all canonical columns, identifiers as texts and properties as JSON text."""
    frame = raw.with_columns(pl.lit(None).alias(name) for name in EVENT_COLUMNS if name not in raw.columns)
    if isinstance(frame.schema["properties"], pl.Struct):
        known = pl.col("properties").is_not_null()
        frame = frame.with_columns(pl.when(known).then(pl.col("properties").struct.json_encode()).alias("properties"))
    texts = ("user_id", "account_id", "event", "message_id", "properties")
    skew = SKEW_COLUMNS if all(name in raw.columns for name in SKEW_COLUMNS) else ()
    shaped = as_texts("events", frame.select(*EVENT_COLUMNS, *skew), texts)
    told = (name for name in ("account_id", "message_id") if shaped[name].null_count() < len(shaped))
    return shaped.with_columns(or_null(name) for name in told if _may_be_blank(shaped[name]))


def as_texts(table: str, frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return the frame with columns as texts; raises InvalidInput where one cannot be read as such."""
    for column in columns:
        try:
            frame = frame.with_columns(pl.col(column).cast(pl.String))
        except pl.exceptions.PolarsError:
            raise InvalidInput(
                f"{table}: {column} must be texts, got {frame.schema[column]} that cannot be read as such.", column
            ) from None
    return frame


def or_null(column: str) -> pl.Expr:
    """Return identifiers with null for blank ones, so that leads without an account do not share one."""
    return pl.when(~blank(column)).then(pl.col(column)).alias(column)


def _unskewed(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    """Set a client's clock right: it happened as long before its arrival as it happened there before it was sent.

    Segment's rule, timestamp = receivedAt - (sentAt - originalTimestamp), where all three are known.
    """
    if not all(name in frame.columns for name in SKEW_COLUMNS):
        return frame
    told = pl.col("received_at") - (pl.col("sent_at") - pl.col("original_timestamp"))
    right = pl.coalesce(told, "timestamp")
    sieve.mend("events of a clock that was more than 5 minutes off, set right", frame, _far(right, pl.col("timestamp")))
    return frame.with_columns(timestamp=right).drop(SKEW_COLUMNS)


def _far(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    return ((one - other > TOLERANCE) | (other - one > TOLERANCE)).fill_null(value=False)


def _refuse_unreadable(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    show = ("user_id", "event", "timestamp")
    if _may_be_blank(frame["user_id"]):
        frame = sieve.refuse(frame, blank("user_id"), "user_id is empty", show)
    if _may_be_blank(frame["event"]):
        frame = sieve.refuse(frame, blank("event"), "event has no name", show)
    made = pl.col("event").is_in([TRIAL_STARTED, CONVERTED])
    frame = sieve.refuse(frame, made, "event has a name that is made from the trials table", show)
    as_given = ("user_id", "event", pl.col("given").alias("timestamp"))
    unreadable = pl.col("timestamp").is_null()
    frame = sieve.refuse(frame, unreadable, "timestamp is no time with a zone", as_given).drop("given")
    return sieve.refuse(frame, pl.col("timestamp") < LEAST, "timestamp lies before 1990", show)


def is_json_object(text: str) -> bool:
    """Whether a text is one strict JSON object (NaN and Infinity are not JSON)."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False


def nothing() -> pl.DataFrame:
    """Return the canonical table without a row."""
    kinds = {name: INSTANT if name in ("timestamp", "received_at") else pl.String for name in EVENT_COLUMNS}
    return pl.DataFrame(schema=kinds)

"""The canonical tables of events and trials: their rules, and what is refused.

A row that breaks a rule is refused, counted and shown; the good rows beside it are kept.
"""

from __future__ import annotations

import msgspec
import polars as pl

from features.definition import Definition, Exclusions
from features.errors import InvalidInput
from features.exclusions import is_excluded
from features.rejections import Sieve
from features.times import INSTANT, instants
from features.vocabulary import vocabulary

EVENT_COLUMNS = ("user_id", "account_id", "event", "timestamp", "received_at", "message_id", "properties")
TRIAL_TIMES = ("started_at", "ends_at", "closed_at", "converted_at")
# Before this, a time is a broken clock or a wrong unit, not history of a SaaS product.
EARLIEST = pl.lit("1990-01-01T00:00:00Z").str.to_datetime("%+", time_unit="us", time_zone="UTC")


def clean_events(raw: pl.DataFrame, definition: Definition) -> tuple[pl.DataFrame, Sieve]:
    """Return the canonical events and what was refused.

    - user_id, event and timestamp are there -> else the row is refused; without the columns InvalidInput
    - timestamp carries a zone, or the definition names one -> else NaiveTimestamp
    - properties are a JSON object where a signal reads them -> else the row is refused
    - an event sent twice (same message_id, or identical rows where there is none) counts once

    Raises
    ------
    InvalidInput
        Where a column is missing, no row is usable, or times have no zone.
    """
    need("events", raw, ("user_id", "event", "timestamp"))
    if not len(raw):
        raise InvalidInput.empty("events")
    frame = _shaped(raw).with_columns(given=pl.col("timestamp"))
    for column in ("timestamp", "received_at"):
        frame = instants(frame, column, definition.timezone)
    sieve = Sieve("events")
    show = ("user_id", "event", "timestamp")
    frame = sieve.refuse(frame, blank("user_id"), "user_id is empty", show)
    frame = sieve.refuse(frame, blank("event"), "event has no name", show)
    as_given = ("user_id", "event", pl.col("given").alias("timestamp"))
    frame = sieve.refuse(frame, pl.col("timestamp").is_null(), "timestamp is no time with a zone", as_given).drop(
        "given"
    )
    frame = sieve.refuse(frame, pl.col("timestamp") < EARLIEST, "timestamp lies before 1990", show)
    frame = _refuse_broken_properties(frame, definition, sieve)
    frame = _once(frame)
    if not len(frame):
        raise InvalidInput(f"events: no usable row. {' '.join(map(str, sieve))}", hint="Mend the export.")
    return frame, sieve


def need(table: str, frame: pl.DataFrame, columns: tuple[str, ...]) -> None:
    """Raise InvalidInput unless the frame has all these columns."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InvalidInput.missing_columns(table, missing, frame.columns)


def blank(column: str) -> pl.Expr:
    """Whether an identifier is missing: null or only spaces."""
    return pl.col(column).cast(pl.String).str.strip_chars().str.len_chars().fill_null(0) == 0


def _shaped(raw: pl.DataFrame) -> pl.DataFrame:
    """Return all canonical columns, identifiers as texts and properties as JSON text."""
    frame = raw.with_columns(pl.lit(None).alias(name) for name in EVENT_COLUMNS if name not in raw.columns)
    if isinstance(frame.schema["properties"], pl.Struct):
        known = pl.col("properties").is_not_null()
        frame = frame.with_columns(pl.when(known).then(pl.col("properties").struct.json_encode()).alias("properties"))
    texts = ("user_id", "account_id", "event", "message_id", "properties")
    return _as_texts("events", frame.select(EVENT_COLUMNS), texts).with_columns(_or_null("account_id"))


def _as_texts(table: str, frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    for column in columns:
        try:
            frame = frame.with_columns(pl.col(column).cast(pl.String))
        except pl.exceptions.PolarsError:
            raise InvalidInput(
                f"{table}: {column} must be texts, got {frame.schema[column]} that cannot be read as such.", column
            ) from None
    return frame


def _or_null(column: str) -> pl.Expr:
    """Return identifiers with null for blank ones, so that leads without an account do not share one."""
    return pl.when(~blank(column)).then(pl.col(column)).alias(column)


def _refuse_broken_properties(frame: pl.DataFrame, definition: Definition, sieve: Sieve) -> pl.DataFrame:
    """Refuse rows whose properties a signal would read but that are no JSON object."""
    names = [name for name, reading in vocabulary(definition).readings.items() if reading.reads_properties]
    texts = frame.filter(pl.col("event").is_in(names))["properties"].drop_nulls().unique()
    broken = [text for text in texts if text and not is_json_object(text)]
    if not broken:
        return frame
    bad = pl.col("event").is_in(names) & pl.col("properties").is_in(broken).fill_null(value=False)
    return sieve.refuse(frame, bad, "properties are no JSON object", ("user_id", "event", "properties"))


def is_json_object(text: str) -> bool:
    """Whether a text is one strict JSON object (NaN and Infinity are not JSON)."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    """Return each event once: by message_id where there is one, else by all of what it says."""
    named = ~blank("message_id")
    with_id = frame.filter(named).unique("message_id", keep="first", maintain_order=True)
    said = ["user_id", "account_id", "event", "timestamp", "properties"]
    without = frame.filter(~named).unique(said, keep="first", maintain_order=True)
    return pl.concat([with_id, without])


def clean_trials(raw: pl.DataFrame, events: pl.DataFrame, definition: Definition) -> tuple[pl.DataFrame, Sieve]:
    """Return the canonical trials and what was refused.

    - user_id is there once -> users with contradicting rows are refused
    - started_at is there, every time is one, and nothing ends, closes or converts before the start -> else the row is refused
    - every trait of the definition has its column -> else InvalidInput
    - what the table does not know (closed, converted, end) comes from the definition and the events
    """
    need("trials", raw, ("user_id", "started_at", *(trait.source for trait in definition.traits)))
    if definition.conversion.event is None:
        need("trials", raw, (definition.conversion.column,))
    frame = raw.unique(maintain_order=True)
    frame = frame.with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("account_id",) if name not in raw.columns
    )
    frame = _as_texts("trials", frame, ("user_id", "account_id")).with_columns(_or_null("account_id"))
    frame = _with_outcomes(_renamed_conversion(frame, definition), events, definition)
    frame = frame.with_columns(pl.col(column).alias(_given(column)) for column in TRIAL_TIMES)
    for column in TRIAL_TIMES:
        frame = instants(frame, column, definition.timezone)
    if definition.trial.round_start_to == "day":
        frame = frame.with_columns(pl.col("started_at").dt.truncate("1d"))
    sieve = Sieve("trials")
    frame = _refuse_trials(frame, sieve).drop(map(_given, TRIAL_TIMES))
    if definition.trial.length is not None:
        length = pl.duration(microseconds=definition.trial.length)
        frame = frame.with_columns(pl.col("ends_at").fill_null(pl.col("started_at") + length))
    if not len(frame):
        raise InvalidInput(f"trials: no usable row. {' '.join(map(str, sieve))}", hint="Mend the table.")
    if definition.exclude == Exclusions():
        return frame, sieve
    return _without_excluded(frame, definition), sieve


def _renamed_conversion(frame: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    column = definition.conversion.column
    if column == "converted_at" or column not in frame.columns:
        return frame
    return frame.drop("converted_at", strict=False).rename({column: "converted_at"})


def _given(column: str) -> str:
    return f"{column} as given"


def _refuse_trials(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    show = ("user_id", *TRIAL_TIMES)
    frame = sieve.refuse(frame, blank("user_id"), "user_id is empty", show)
    frame = sieve.refuse(frame, pl.col("user_id").is_duplicated(), "user_id is there more than once", show)
    frame = sieve.refuse(frame, blank(_given("started_at")), "started_at is empty", show)
    for column in TRIAL_TIMES:
        unreadable = pl.col(column).is_null() & ~blank(_given(column))
        as_given = ("user_id", pl.col(_given(column)).alias(column))
        frame = sieve.refuse(frame, unreadable, f"{column} is no time with a zone", as_given)
    frame = sieve.refuse(frame, pl.col("started_at") < EARLIEST, "started_at lies before 1990", show)
    for column in ("ends_at", "closed_at", "converted_at"):
        # An end on the day of a start that is known to the minute only looks earlier when one of the two is a date.
        early = pl.col(column).dt.truncate("1d") < pl.col("started_at").dt.truncate("1d")
        frame = sieve.refuse(frame, early.fill_null(value=False), f"{column} lies before started_at", show)
    return frame


def _with_outcomes(frame: pl.DataFrame, events: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    """Add the outcome columns that the table lacks: first conversion and first closing event of each user."""
    names = {"converted_at": (definition.conversion.event,), "closed_at": definition.trial.closed_by}
    for column, happened in names.items():
        if column not in frame.columns:
            first = _first(events, [name for name in happened if name], column)
            frame = frame.join(first, on="user_id", how="left", maintain_order="left")
    if "ends_at" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, INSTANT).alias("ends_at"))
    return frame


def _first(events: pl.DataFrame, names: list[str], column: str) -> pl.DataFrame:
    """Return when each user first did one of these: columns user_id and `column`."""
    return events.filter(pl.col("event").is_in(names)).group_by("user_id").agg(pl.col("timestamp").min().alias(column))


def derive_trials(events: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    """Return the trials that the events themselves tell: from the start event, or else from a user's first event.

    Traits are empty: events carry none.
    """
    start = definition.trial.start_event
    begun = events if start is None else events.filter(pl.col("event") == start)
    if not len(begun):
        raise InvalidInput(
            f"events: no {start!r} event, so no trial can be derived.",
            "trial.start_event",
            "Name the event that starts a trial.",
        )
    first = begun.sort("timestamp", "account_id").group_by("user_id", maintain_order=True)
    sources = [trait.source for trait in definition.traits]
    trials = first.agg(pl.col("timestamp").first().alias("started_at"), pl.col("account_id").drop_nulls().first())
    return trials.with_columns(pl.lit(None, pl.String).alias(source) for source in dict.fromkeys(sources))


def _without_excluded(frame: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    """Return the trials of leads that are not on the definition's exclusion lists."""
    sources = {trait.name: trait.source for trait in definition.traits}
    rows = frame.select("user_id", "account_id", *dict.fromkeys(sources.values())).iter_rows(named=True)
    out = [
        is_excluded(
            definition, row["user_id"], row["account_id"], {name: row[source] for name, source in sources.items()}
        )
        for row in rows
    ]
    return frame.filter(~pl.Series(out, dtype=pl.Boolean))


def data_end(events: pl.DataFrame, trials: pl.DataFrame) -> int:
    """Return the last moment that the data knows of, in microseconds since 1970 UTC."""
    last = [events["timestamp"].max(), trials["started_at"].max(), trials["converted_at"].max()]
    ends = pl.Series([moment for moment in last if moment is not None]).cast(INSTANT)
    return int(ends.dt.epoch("us").max())  # type: ignore[arg-type]  # never null: events are not empty

"""Anonymous visitors joined to the users they turned out to be, the same way for every vendor.

A vendor's record says who acted (a user, or an anonymous visitor) and sometimes that a visitor is a user: a link. An
event belongs to a user from its link on and not before, so that nobody scores with what was not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

import polars as pl

from features.rejections import SAMPLES, Sieve
from features.sources.files import Text
from features.sources.lines import batches, json_records, texts_of
from features.sources.source import Source
from features.times import INSTANT, instants

T = TypeVar("T")

NEVER_IDENTIFIED = "anonymous visitor who never identified themselves"
LINK_COLUMNS = ("visitor", "user", "at", "known", "renames")
"""A link: this visitor is this user, since `at`, received at `known`; `renames` where the visitor may be a user's old id."""
ROW_SCHEMA = dict.fromkeys(
    ("user_id", "account_id", "event", "timestamp", "received_at", "message_id", "properties"), pl.String
)
"""What a vendor's rows have. Columns for `attributed` say who acted where `user_id` does not."""
_VISITORS = ("visitor", "second_visitor")
_ASIDE = ("presumed", "event_of_its_own")
_RUN_SCHEMA: dict[str, pl.DataType] = {"visitor": pl.String(), "user": pl.String(), "last": INSTANT, "known": INSTANT}
# An id renamed more often than this is a loop in the data.
_MOST_RENAMES = 4


@dataclass(frozen=True)
class Links:
    """Who each visitor turned out to be, as runs of links to one and the same user without another user between.

    Attributes
    ----------
    runs : one row per run: visitor, user, `last` (when its last link happened), `known` (when its first one was received);
        ordered by visitor and time
    """

    runs: pl.DataFrame

    def of(self, visitors: pl.DataFrame) -> pl.DataFrame:
        """Return user and `known` for each row of visitor and `at`, null for a visitor without a link.

        An event belongs to the user of the next link at or after it, else of the last one before it; an event whose time
        cannot be read belongs to the last.
        """
        asked = visitors.select("visitor", "at").with_row_index("row").sort("at", maintain_order=True)
        ends = self.runs.unique(["visitor", "last"], keep="first", maintain_order=True).sort("last")
        coming = asked.join_asof(
            ends, left_on="at", right_on="last", by="visitor", strategy="forward", check_sortedness=False
        )
        final = self.runs.group_by("visitor").agg(pl.col("user", "known").last())
        found = coming.join(final, on="visitor", how="left", suffix="_final").sort("row")
        chosen = pl.col("user").is_not_null()
        return found.select(
            pl.when(chosen).then(name).otherwise(f"{name}_final").alias(name) for name in ("user", "known")
        )


def links(read: Callable[[], Iterator[pl.DataFrame]]) -> tuple[Links, Links]:
    """Return all links, and those that rename users, however many rows tell them.

    `read` yields frames of LINK_COLUMNS and is called up to twice. Most visitors are one user, and need one row of memory.
    Only those who are several need all of their links, which the second reading collects.
    """
    pair = ["visitor", "user", "renames"]
    pairs = pl.DataFrame(schema=_RUN_SCHEMA).with_columns(renames=pl.lit(None, pl.Boolean))
    for frame in batches(read()):
        new = _complete(frame).select(*_RUN_SCHEMA, "renames")
        pairs = pl.concat([pairs, new]).group_by(pair).agg(pl.max("last"), pl.min("known")).select(pairs.columns)
    shared = pairs.filter(pl.col("user").n_unique().over("visitor") > 1)["visitor"].unique().implode()
    if not len(shared[0]):
        return _links(pairs, shared), _links(pairs.filter("renames"), shared)
    several = (frame.filter(pl.col("visitor").is_in(shared)) for frame in read())
    points = pl.concat(map(_complete, batches(several)))
    points = pl.concat([pairs.filter(~pl.col("visitor").is_in(shared)), points.select(pairs.columns)])
    return _links(points, shared), _links(points.filter("renames"), shared)


def _links(points: pl.DataFrame, shared: pl.Series) -> Links:
    several = pl.col("visitor").is_in(shared)
    single = points.filter(~several).group_by("visitor", "user").agg(pl.max("last"), pl.min("known"))
    ordered = points.filter(several).drop("renames").unique().sort("visitor", "last", "known", "user")
    run = pl.struct("visitor", "user").rle_id().alias("run")
    runs = ordered.group_by(run, "visitor", "user", maintain_order=True).agg(pl.max("last"), pl.min("known"))
    return Links(pl.concat([single.select(*_RUN_SCHEMA), runs.select(*_RUN_SCHEMA)]))


def _complete(points: pl.DataFrame) -> pl.DataFrame:
    """Return the links of which it is known who, to whom and when."""
    points = points.with_columns(moments(points, "at"), moments(points, "known"))
    filled = points.with_columns(pl.coalesce("at", "known").alias("last"), pl.coalesce("known", "at").alias("known"))
    itself = pl.col("visitor") == pl.col("user")
    return filled.filter(_given("visitor") & _given("user") & pl.col("last").is_not_null() & ~itself)


def _given(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.len_chars().fill_null(0) > 0


# --- events of their users -------------------------------------------------------------------


def attributed(rows: pl.DataFrame, visitors: Links, renamed: Links, sieve: Sieve) -> pl.DataFrame:
    """Return the rows under their users' ids, those of visitors who never identified themselves left out and counted.

    Parameters
    ----------
    rows : ROW_SCHEMA, and of these what the vendor has: `visitor`, `second_visitor`, `presumed` (the user where no link
        says otherwise) and `event_of_its_own` (false for what another row's record told besides, which is not counted)
    visitors : whom rows without a user belong to
    renamed : links of ids that are users themselves, followed from user to user
    """
    rows = rows.with_columns(pl.when(_given("user_id")).then("user_id"))
    asked = [name for name in _VISITORS if name in rows.columns]
    for name in asked:
        rows = _linked(rows, pl.col("user_id").is_null() & _given(name), name, visitors)
    if "presumed" in rows.columns:
        rows = rows.with_columns(user_id=pl.coalesce("user_id", "presumed"))
    old = renamed.runs["visitor"].unique().implode()
    for _ in range(_MOST_RENAMES if len(old[0]) else 0):
        rows = _linked(rows, pl.col("user_id").is_in(old).fill_null(value=False), "user_id", renamed)
    anonymous = pl.col("user_id").is_null() & pl.any_horizontal(_given(name) for name in asked)
    lost = rows.filter(anonymous & pl.col("event_of_its_own") if "event_of_its_own" in rows.columns else anonymous)
    if len(lost):
        shown = lost.select("visitor", "event", "timestamp").head(SAMPLES)
        sieve.count(NEVER_IDENTIFIED, len(lost), [str(row) for row in shown.to_dicts()])
    return rows.filter(~anonymous).drop(*_VISITORS, *_ASIDE, strict=False)


def _linked(rows: pl.DataFrame, which: pl.Expr, visitor: str, known: Links) -> pl.DataFrame:
    """Return the rows with the users of those that `which` picks, received when the link was if that is later."""
    rows = rows.with_row_index("row")
    asked = rows.filter(which).select("row", pl.col(visitor).alias("visitor"), "timestamp", "received_at")
    if not len(asked) or not len(known.runs):
        return rows.drop("row")
    when = moments(asked, "timestamp").alias("at")
    found = asked.select("row", received=moments(asked, "received_at")).hstack(
        known.of(asked.select("visitor", when)).hstack([when])
    )
    found = found.filter(pl.col("user").is_not_null()).select(
        "row", "user", later=pl.max_horizontal(pl.coalesce("received", "at"), "known")
    )
    later = pl.col("later") if rows.schema["received_at"] != pl.String else _iso("later")
    return (
        rows.join(found, on="row", how="left", maintain_order="left")
        .with_columns(user_id=pl.coalesce("user", "user_id"), received_at=pl.coalesce(later, "received_at"))
        .drop("row", "user", "later")
    )


def _iso(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


def moments(frame: pl.DataFrame, column: str) -> pl.Series:
    """Return a column's times, null where one cannot be read; here they are only put in order, so any zone will do."""
    times = frame[column]
    if times.dtype == pl.String:
        quick = times.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        if quick.null_count() == times.null_count():
            return quick
    return instants(frame.select(column), column, "UTC")[column]


def utc_texts(happened: Sequence[str | None], received: Sequence[str | None]) -> tuple[pl.Series, pl.Series]:
    """Return both times of events whose vendor writes UTC without saying so, as ISO texts that say it."""
    schema = {"timestamp": pl.String, "received_at": pl.String}
    times = pl.DataFrame({"timestamp": happened, "received_at": received}, schema=schema).select(map(_as_utc, schema))
    return times["timestamp"], times["received_at"]


def _as_utc(column: str) -> pl.Expr:
    text = pl.col(column)
    naive = text.str.contains(r"^\d{4}-\d\d-\d\d[T ]") & ~text.str.slice(11).str.contains("[Zz+-]")
    return pl.when(naive).then(text.str.replace(" ", "T", literal=True) + "Z").otherwise(text).alias(column)


def link_frame(
    visitor: Sequence[Any], user: Sequence[Any], times: tuple[pl.Series, pl.Series], *, renames: bool = False
) -> pl.DataFrame:
    """Return links as a frame of LINK_COLUMNS, from ids that may be numbers; `times` are when they happened and came in."""
    ids = [texts_of("visitor", visitor), texts_of("user", user)]
    return pl.DataFrame(
        [
            *ids,
            times[0].alias("at"),
            times[1].alias("known"),
            pl.Series("renames", [renames]).new_from_index(0, len(visitor)),
        ]
    )


# --- a vendor's export as a source -----------------------------------------------------------


@dataclass(frozen=True)
class Vendor(Generic[T]):
    """What differs from vendor to vendor.

    Attributes
    ----------
    decode : makes a record of a line, or raises a msgspec error
    links : who is who, as some of the records say
    rows : the records' rows; the dictionary is one reading's memory of what earlier records said
    """

    decode: Callable[[bytes], T]
    links: Callable[[list[T]], pl.DataFrame]
    rows: Callable[[list[T], dict[Any, Any]], pl.DataFrame]

    def source(self, name: str, texts: Sequence[Text]) -> Source:
        """Return an export in JSON lines as a source; it is read once or twice for who is who, and then for the rows."""
        return self.source_of(name, lambda sieve: json_records(texts, self.decode, sieve))

    def source_of(self, name: str, records: Callable[[Sieve], Iterator[list[T]]]) -> Source:
        """Return records of any origin as a source."""

        def read(sieve: Sieve) -> Iterator[pl.DataFrame]:
            # A line that cannot be read is counted once: where the rows are made, not where links are looked for.
            uncounted = Sieve("events")
            visitors, renamed = links(lambda: (self.links(chunk) for chunk in records(uncounted)))
            memory: dict[Any, Any] = {}
            frames = batches(self.rows(chunk, memory) for chunk in records(sieve))
            first = next(frames, None)
            if first is None:
                yield pl.DataFrame(schema=ROW_SCHEMA)
                return
            for frame in chain([first], frames):
                yield attributed(frame, visitors, renamed, sieve)

        return Source(name, read)

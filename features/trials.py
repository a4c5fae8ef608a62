"""The canonical table of trials: its rules, what is refused, and what the events say that the table does not."""

from __future__ import annotations

import msgspec
import polars as pl

from features.definition import Definition, Exclusions
from features.domains import domain_of
from features.errors import InvalidInput
from features.events import LEAST, TOLERANCE, as_texts, blank, need, or_null
from features.rejections import Sieve
from features.survey import Survey
from features.times import INSTANT, instants

_GIVEN = " as given"
TRIAL_TIMES = ("started_at", "ends_at", "closed_at", "converted_at")


def clean_trials(
    raw: pl.DataFrame, survey: Survey, definition: Definition, sieve: Sieve, read_at: int | None = None
) -> pl.DataFrame:
    """Return the canonical trials; what is refused is counted in the sieve.

    - user_id is there once -> users with contradicting rows are refused
    - started_at is there, every time is one, and nothing ends, closes or converts before the start -> else the row is refused
    - nothing started, closed or converted after `read_at` (microseconds since 1970 UTC) -> else the row is refused
    - every trait of the definition has its column, or events that tell it -> else InvalidInput
    - what the table does not know (closed, converted, end) comes from the definition and the events
    """
    told = [trait.source for trait in definition.traits if survey.knows(trait.source)]
    need("trials", raw, ("user_id", "started_at", *(t.source for t in definition.traits if t.source not in told)))
    if definition.conversion.event is None:
        need("trials", raw, (definition.conversion.column,))
    frame = raw.unique(maintain_order=True)
    absent = dict.fromkeys(name for name in ("account_id", *told) if name not in raw.columns)
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    frame = as_texts("trials", frame, ("user_id", "account_id")).with_columns(or_null("account_id"))
    frame = _renamed_conversion(frame, definition)
    if "ends_at" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, INSTANT).alias("ends_at"))
    given = [column for column in TRIAL_TIMES if column in frame.columns]
    frame = frame.with_columns(pl.col(column).alias(_given(column)) for column in given)
    for column in given:
        frame = instants(frame, column, definition.timezone)
    # One trial may be there twice with its times spelled in two zones.
    frame = frame.unique(
        [name for name in frame.columns if not name.endswith(_GIVEN)], keep="first", maintain_order=True
    )
    if definition.trial.round_start_to == "day":
        frame = frame.with_columns(pl.col("started_at").dt.truncate("1d"))
    frame = _refuse_trials(frame, given, sieve, read_at).drop(map(_given, given))
    frame = _with_outcomes(frame, survey)
    if definition.trial.length is not None:
        length = pl.duration(microseconds=definition.trial.length)
        frame = frame.with_columns(pl.col("ends_at").fill_null(pl.col("started_at") + length))
    if not len(frame):
        raise InvalidInput(f"trials: no usable row. {' '.join(map(str, sieve))}", hint="Mend the table.")
    return without_excluded(frame, survey, definition)


def _renamed_conversion(frame: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    column = definition.conversion.column
    if column == "converted_at" or column not in frame.columns:
        return frame
    return frame.drop("converted_at", strict=False).rename({column: "converted_at"})


def _given(column: str) -> str:
    return column + _GIVEN


def _refuse_trials(frame: pl.DataFrame, given: list[str], sieve: Sieve, read_at: int | None) -> pl.DataFrame:
    show = ("user_id", *given)
    frame = sieve.refuse(frame, blank("user_id"), "user_id is empty", show)
    frame = sieve.refuse(frame, pl.col("user_id").is_duplicated(), "user_id is there more than once", show)
    frame = sieve.refuse(frame, blank(_given("started_at")), "started_at is empty", show)
    for column in given:
        unreadable = pl.col(column).is_null() & ~blank(_given(column))
        as_given = ("user_id", pl.col(_given(column)).alias(column))
        frame = sieve.refuse(frame, unreadable, f"{column} is no time with a zone", as_given)
    frame = sieve.refuse(frame, pl.col("started_at") < LEAST, "started_at lies before 1990", show)
    for column in given[1:]:
        frame = sieve.refuse(frame, _before_start(column), f"{column} lies before started_at", show)
    for column in given if read_at is not None else ():
        if column != "ends_at":
            ahead = (pl.col(column) > pl.lit(read_at).cast(INSTANT) + TOLERANCE).fill_null(value=False)
            frame = sieve.refuse(frame, ahead, f"{column} lies in the future", show)
    return frame


def _before_start(column: str) -> pl.Expr:
    # An end on the day of a start that is known to the minute only looks earlier when one of the two is a date.
    early = pl.col(column).dt.truncate("1d") < pl.col("started_at").dt.truncate("1d")
    return early.fill_null(value=False)


def _with_outcomes(frame: pl.DataFrame, survey: Survey) -> pl.DataFrame:
    """Add the outcomes that only the events tell: the first conversion and closing event since each trial's start."""
    for column in ("converted_at", "closed_at"):
        if column not in frame.columns:
            happened = frame.select("user_id", "started_at").join(survey.times(column), on="user_id")
            # What a customer did before this trial belongs to an earlier one.
            happened = happened.rename({"at": column}).filter(~_before_start(column))
            first = happened.group_by("user_id").agg(pl.col(column).min())
            frame = frame.join(first, on="user_id", how="left", maintain_order="left")
    return frame


def derive_trials(survey: Survey, definition: Definition) -> pl.DataFrame:
    """Return the trials that the events themselves tell: from the start event, or else from a user's first event."""
    start = definition.trial.start_event
    begun = survey.first("started_at").rename({"at": "started_at"})
    if not len(begun):
        raise InvalidInput(
            f"events: no {start!r} event, so no trial can be derived.",
            "trial.start_event",
            "Name the event that starts a trial.",
        )
    trials = begun.join(survey.first_accounts(), on="user_id", how="left", maintain_order="left")
    sources = [trait.source for trait in definition.traits]
    return trials.with_columns(pl.lit(None, pl.String).alias(source) for source in dict.fromkeys(sources))


def without_excluded(frame: pl.DataFrame, survey: Survey, definition: Definition) -> pl.DataFrame:
    """Return the trials of leads that are not on the definition's exclusion lists, whatever was ever told of them."""
    lists = definition.exclude
    if lists == Exclusions():
        return frame
    users, accounts, addressed = set(lists.users), set(lists.accounts), pl.lit(value=False)
    for source in [trait.source for trait in definition.traits if trait.type == "email_domain"]:
        # Many leads share few domains, so each address is looked at once.
        listed = [one for one in frame[source].unique() if domain_of(one) in lists.email_domains]
        addressed |= pl.col(source).is_in(pl.Series(listed, dtype=frame.schema[source]).implode())
        users |= _told_listed(survey.facts("user_id", source), lists)
        accounts |= _told_listed(survey.facts("account_id", source), lists)
    named = pl.col("user_id").is_in(list(users)) | pl.col("account_id").is_in(list(accounts))
    return frame.filter(~(named.fill_null(value=False) | addressed.fill_null(value=False)))


def _told_listed(facts: pl.DataFrame, lists: Exclusions) -> set[str]:
    """Return of whom an address with a listed domain was told."""
    told = facts.select("id", "value").iter_rows()
    return {who for who, value in told if domain_of(msgspec.json.decode(value)) in lists.email_domains}

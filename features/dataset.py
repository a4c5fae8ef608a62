"""Clean tables -> leads and logs: the one form in which history enters training and files enter batch scoring."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from features.definition import CONVERTED, TRIAL_STARTED, Definition
from features.events import clean_events, clean_trials, data_end, derive_trials
from features.leads import NEVER, Leads
from features.logs import Logs, read_table
from features.matrix import FeatureBuilder
from features.rejections import Rejection
from features.windows import Ints


@dataclass(frozen=True)
class Dataset:
    """Canonical events and trials under one definition, and what was refused on the way.

    `until` is the last moment the data knows of, in microseconds since 1970 UTC: what comes later is unknown, not absent.
    """

    definition: Definition
    events: pl.DataFrame
    trials: pl.DataFrame
    until: int
    rejections: tuple[Rejection, ...]

    @property
    def leads(self) -> Leads:
        """Every lead of the trials table, in its order."""
        times = {name: _instants(self.trials[name]) for name in ("started_at", "ends_at", "closed_at", "converted_at")}
        traits = {trait.name: self.trials[trait.source].to_list() for trait in self.definition.traits}
        accounts = _numbered(_account_keys(self.trials)).to_numpy()
        return Leads(
            self.trials["user_id"].to_list(), self.trials["account_id"].to_list(), accounts, **times, traits=traits
        )

    def logs(self, builder: FeatureBuilder) -> Logs:
        """Return what leads and their accounts did, as far as the definition reads it."""
        known = self.trials.select(
            "user_id", account=_account_keys(self.trials), lead=pl.int_range(pl.len(), dtype=pl.Int64)
        )
        numbers = known.select("account", number=pl.Series(self.leads.accounts)).unique("account")
        happened = pl.concat(
            [_with_persons(self.events), _with_persons(_trial_events(self.trials))], how="diagonal_relaxed"
        )
        read = happened.filter(pl.col("event").is_in(list(builder.vocabulary.readings)))
        joined = read.join(known, on="user_id", how="left", maintain_order="left")
        account = pl.coalesce("account_id", "account")
        joined = joined.with_columns(account.alias("account")).join(
            numbers, on="account", how="left", maintain_order="left"
        )
        table = joined.select(
            pl.col("lead").fill_null(-1), account=pl.col("number").fill_null(-1), event="event", properties="properties",
            user=_numbered(joined["person"]), timestamp=pl.col("timestamp").dt.epoch("us"),
        )  # fmt: skip
        return read_table(table, builder.vocabulary).logs(len(self.trials), len(numbers))


def dataset(events: pl.DataFrame, trials: pl.DataFrame | None, definition: Definition) -> Dataset:
    """Return the clean data of raw tables; where no trials table is given, the events tell the trials.

    Raises
    ------
    InvalidInput
        Where a table lacks a column, has no usable row, or has times without a zone.
    """
    clean, events_sieve = clean_events(events, definition)
    raw_trials = derive_trials(clean, definition) if trials is None else trials
    started, trials_sieve = clean_trials(raw_trials, clean, definition)
    until = data_end(clean, started)
    if definition.lead == "account":
        clean, started = _by_account(clean, started, definition)
    return Dataset(definition, clean, started, until, (*events_sieve, *trials_sieve))


def _instants(times: pl.Series) -> Ints:
    return times.dt.epoch("us").fill_null(NEVER).to_numpy()


def _numbered(texts: pl.Series) -> pl.Series:
    """Return equal texts as equal numbers from 0 without gaps."""
    return (texts.rank("dense") - 1).cast(pl.Int64)


def _account_keys(trials: pl.DataFrame) -> pl.Series:
    """Return the account of each lead; a lead without one is an account of its own, apart from any real account's name."""
    return trials.select(pl.coalesce("account_id", pl.concat_str(pl.lit("\0"), "user_id")).alias("account"))["account"]


def _trial_events(trials: pl.DataFrame) -> pl.DataFrame:
    """Return trial starts and conversions as events, for signals about an account's history."""
    parts = [
        trials.select("user_id", "account_id", event=pl.lit(name), timestamp=pl.col(column)).drop_nulls("timestamp")
        for name, column in ((TRIAL_STARTED, "started_at"), (CONVERTED, "converted_at"))
    ]
    return pl.concat(parts)


def _with_persons(events: pl.DataFrame) -> pl.DataFrame:
    """Return events with who did them; where accounts are leads, `_by_account` has noted it already."""
    return events if "person" in events.columns else events.with_columns(person="user_id")


def _by_account(
    events: pl.DataFrame, trials: pl.DataFrame, definition: Definition
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return both tables with accounts as leads: from its first user's start to its first conversion."""
    lead = pl.coalesce("account_id", "user_id")
    of_user = trials.select("user_id", account=lead)
    events = _with_persons(events).join(of_user, on="user_id", how="left", maintain_order="left")
    events = events.with_columns(user_id=pl.coalesce("account_id", "account", "user_id")).drop("account")
    still_open = pl.col("closed_at").is_null().any()
    accounts = trials.sort("started_at", "user_id").group_by(lead.alias("user_id"), maintain_order=True).agg(
        pl.col("account_id").drop_nulls().first(), pl.col("started_at").min(), pl.col("converted_at").min(),
        pl.when(pl.col("ends_at").is_not_null().all()).then(pl.col("ends_at").max()).alias("ends_at"),
        pl.when(~still_open).then(pl.col("closed_at").max()).alias("closed_at"),
        *(pl.col(name).drop_nulls().first() for name in dict.fromkeys(trait.source for trait in definition.traits)),
    )  # fmt: skip
    return events, accounts

"""Tables -> leads and what they did: the one form in which history enters training and files enter batch scoring.

Events are read once, batch by batch, and put aside part by part; only one part at a time is in memory as logs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import polars as pl

from features.definition import Definition
from features.errors import InvalidInput
from features.events import EventRules, as_texts, need, or_null
from features.history import History
from features.joining import JOINED, joined, with_accounts
from features.leads import NEVER, Leads
from features.logs import Logs
from features.matrix import FeatureBuilder
from features.rejections import Rejection, Sieve
from features.roster import Reader, Roster
from features.sources.source import Source
from features.survey import STRAY_DAYS, Survey, Wanted, wanted
from features.times import INSTANT
from features.trait_history import trait_logs
from features.trials import TRIAL_TIMES, clean_trials, derive_trials, without_excluded
from features.windows import Floats, Ints

Progress = Callable[[int, int], None]


def _silent(_: int, __: int) -> None:
    """Say nothing of how far the work has come."""


@dataclass(frozen=True)
class Part:
    """Some leads, whole accounts at a time, with all that they and their accounts did.

    `numbers` are the places of these leads in the whole data: int64 array of shape (n,), ascending.
    """

    numbers: Ints
    leads: Leads
    logs: Logs


@dataclass(frozen=True)
class Dataset:
    """History under one definition, and what was refused on the way.

    Attributes
    ----------
    rules : the definition, and when the data was read
    source : where the events come from; they are read again only where another definition asks for them
    trials, users : the canonical trials, one row per lead and one per user; the same where users are the leads
    derived : whether the events told the trials, because no table was given
    leads : the same as arrays
    until : microseconds since 1970 UTC, the last moment the data knows of; what comes later is unknown, not absent
    rejections : what was refused, reason by reason
    mended : how many rows were kept but set right, by what was done
    survey : what the events tell as a whole: how many there were, how late they came
    """

    rules: EventRules
    source: Source
    trials: pl.DataFrame
    users: pl.DataFrame
    leads: Leads
    until: int
    rejections: tuple[Rejection, ...]
    mended: Counter[str]
    survey: Survey
    history: History
    derived: bool = False

    @property
    def definition(self) -> Definition:
        return self.rules.definition

    @property
    def n_events(self) -> int:
        """How many usable events were read, whether or not a signal asks for them."""
        return self.survey.events

    @cached_property
    def set_right(self) -> dict[str, int]:
        """How many rows were kept but set right or counted once, by what was done."""
        _, repeated = self._content
        said = {"events that were there more than once, counted once": repeated} if repeated else {}
        return {**self.mended, **said}

    @property
    def digest(self) -> str:
        """A short name for the content: equal trials, facts and events that signals read, equal digest."""
        return self._content[0]

    @cached_property
    def _content(self) -> tuple[str, int]:
        """The digest, and how many events were there more than once: both need every part once."""
        content = sha256(self.trials.hash_rows(seed=0).to_numpy().tobytes())
        for log in self.leads.traits.values():
            content.update(log.offsets.tobytes() + log.since.tobytes() + repr(list(log.values)).encode())
        repeated = 0
        for part in self.parts():
            repeated += (part.logs.account if self.definition.lead == "account" else part.logs.lead).repeated
            for events in (part.logs.lead, part.logs.account):
                for values in (events.offsets, events.times, events.known, events.kinds, events.numbers, events.codes):
                    content.update(np.ascontiguousarray(values).data)
        return content.hexdigest()[:16], repeated

    def parts(self, which: Ints | None = None, clock: str | None = None) -> Iterator[Part]:
        """Yield all leads, or those numbered `which`, part by part.

        `clock` says what counts as known, see `Definition`; by default the definition says it.
        """
        chosen = np.arange(len(self.leads)) if which is None else np.unique(which)
        for p, rows in self._by_part(chosen):
            yield self._part(p, chosen[rows], clock)

    def rows(
        self, builder: FeatureBuilder, which: Ints, as_of: Ints, clock: str | None = None, progress: Progress = _silent
    ) -> Floats:
        """Return the feature rows of leads `which` at moments `as_of`: float64 array of shape (n, n_columns).

        Raises
        ------
        ValueError
            Where `builder` reads events in another way than this data's definition does; see `under`.
        """
        if builder.vocabulary != self.history.reader.vocabulary:
            raise ValueError("the builder must be of the definition that the data was read by")
        out = np.empty((len(which), len(builder.columns)))
        done = 0
        for p, rows in self._by_part(which):
            part = self._part(p, np.unique(which[rows]), clock)
            local = np.searchsorted(part.numbers, which[rows])
            builder.fill(out, rows, part.leads, part.logs, local, as_of[rows])
            done += len(rows)
            progress(done, len(which))
        return out

    def _by_part(self, which: Ints) -> Iterator[tuple[int, Ints]]:
        """Yield (part, the places in `which` of its leads) for every part that has any."""
        part_of = np.searchsorted(self.history.starts, self._places[which], side="right") - 1
        order = np.argsort(part_of, kind="stable")
        cuts = np.searchsorted(part_of[order], np.arange(len(self.history.starts)))
        for p in np.flatnonzero(np.diff(cuts)):
            yield int(p), order[cuts[p] : cuts[p + 1]]

    def _part(self, p: int, numbers: Ints, clock: str | None) -> Part:
        clock = clock or self.definition.clock
        leads = (self.leads if clock == self.definition.clock else self._by_other_clock).take(numbers)
        leads = replace(leads, accounts=leads.accounts - int(self.history.everyone.starts[p]))
        places = self._places[numbers] - int(self.history.starts[p])
        return Part(numbers, leads, self.history.logs(p, leads, places, clock))

    @cached_property
    def _by_other_clock(self) -> Leads:
        """The leads with what was known of them by the clock that the definition does not name."""
        clock = "timestamp" if self.definition.clock == "received_at" else "received_at"
        members = _members(self.trials, self.users, self.history.reader.roster, self.definition)
        return replace(self.leads, traits=trait_logs(self.trials, members, self.survey, self.definition, clock))

    @cached_property
    def _places(self) -> Ints:
        """Where each lead stands in the roster."""
        if self.definition.lead == "account":
            return self.leads.accounts
        known = self.history.reader.roster.users.select("user_id", "place")
        joined = self.trials.select("user_id").join(known, on="user_id", how="left", maintain_order="left")
        return joined["place"].cast(pl.Int64).to_numpy()

    def under(self, definition: Definition) -> Dataset:
        """Return the same trials and outcomes, with what else happened read as another definition does."""
        if definition == self.definition:
            return self
        survey = Survey(Wanted({}, frozenset(trait.source for trait in definition.traits)))
        history = History.of(Reader(self.history.reader.roster, definition))
        rules = replace(self.rules, definition=definition)
        _read(self.source, rules, Sieve("events"), survey, history, _silent)
        history.add(history.reader.trial_events(self.users))
        told = [trait.source for trait in definition.traits if self.derived or survey.knows(trait.source)]
        need("trials", self.trials, tuple(t.source for t in definition.traits if t.source not in told))
        absent = [name for name in dict.fromkeys(told) if name not in self.trials.columns]
        trials = self.trials.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
        leads = _leads(trials, self.users, self.history.reader.roster, survey, definition)
        return replace(self, rules=rules, trials=trials, leads=leads, survey=survey, history=history)


def dataset(
    events: Source | pl.DataFrame, trials: pl.DataFrame | None, definition: Definition, read_at: int | None = None,
    trials_sieve: Sieve | None = None, progress: Progress = _silent,
) -> Dataset:  # fmt: skip
    """Return the clean data of raw tables; where no trials table is given, the events tell the trials.

    Parameters
    ----------
    read_at : microseconds since 1970 UTC, when the data is read; what is dated later is refused (None: not checked)
    trials_sieve : what reading the trials has refused already
    progress : called with (events read, 0) after each batch

    Raises
    ------
    InvalidInput
        Where a table lacks a column, has no usable row, or has times without a zone.
    """
    source = events if isinstance(events, Source) else Source.of(events)
    rules, sieve, trials_sieve = EventRules(definition, read_at), Sieve("events"), trials_sieve or Sieve("trials")
    survey, history, raw, homes = _read_all(source, trials, rules, sieve, progress)
    users = clean_trials(raw, survey, definition, trials_sieve, read_at)
    if definition.lead == "account":
        users = _refuse_homonyms(users, trials_sieve)
    history.add(history.reader.trial_events(users))
    until = data_end(survey, users, () if trials is None else trials.columns)
    if beyond := survey.after(until):
        sieve.count(f"timestamp lies more than {STRAY_DAYS} days after all others", beyond, [])
    trials_sieve.mended.update(_unread(users, survey, definition))
    if placed := len(users.join(homes, on="user_id", how="semi")):
        trials_sieve.mended[JOINED] += placed
    table = _accounts(users, history.reader.roster) if definition.lead == "account" else users
    leads = _leads(table, users, history.reader.roster, survey, definition)
    rejections, mended = (*sieve, *trials_sieve), sieve.mended + trials_sieve.mended
    return Dataset(
        rules, source, table, users, leads, until, rejections, mended, survey, history, derived=trials is None
    )


def _read_all(
    source: Source, trials: pl.DataFrame | None, rules: EventRules, sieve: Sieve, progress: Progress
) -> tuple[Survey, History, pl.DataFrame, pl.DataFrame]:
    """Return what the events tell as a whole, what happened, and the raw trials, which events tell where none are given.

    The last is who was joined to an account, see `features.joining.joined`.
    """
    definition = rules.definition
    if trials is None and definition.conversion.event is None:
        raise InvalidInput.no_conversions(definition.conversion.column)
    survey = Survey(wanted(definition, None if trials is None else trials.columns))
    if trials is None:
        _read(source, rules, sieve, survey, None, progress)
        trials = derive_trials(survey, definition)
        homes = joined(trials, survey, definition)
        trials = named = with_accounts(trials, homes)
    else:
        homes = joined(trials, Survey(Wanted({}, frozenset())), definition)
        trials = with_accounts(trials, homes)
        named = _named(trials, definition)
        history = History.of(Reader(Roster.of(named), definition))
        _read(source, rules, sieve, survey, history, progress)
        told = joined(trials, survey, definition)
        if not len(told) and len(without_excluded(named, survey, definition)) == len(named):
            return survey, history, trials, homes
        homes, trials = pl.concat([homes, told]), with_accounts(trials, told)
        named = _named(trials, definition)
    # Who is whose lead, or nobody's customer, was only known once all events had been seen, so they are read again.
    history = History.of(Reader(Roster.of(without_excluded(named, survey, definition)), definition))
    _read(source, rules, Sieve("events"), None, history, progress)
    return survey, history, trials, homes


def _read(
    source: Source, rules: EventRules, sieve: Sieve, survey: Survey | None, history: History | None, progress: Progress
) -> None:
    """Read all events once, and let a survey and a history have each clean batch."""
    read = 0
    for raw in source.read(sieve):
        batch = rules.clean(raw, sieve)
        read += len(raw)
        if survey is not None:
            survey.add(batch)
        if history is not None:
            history.add(history.reader.events(batch))
        progress(read, 0)
    if read == 0 and not sieve.total:
        raise InvalidInput.empty("events")
    if read == 0 or (survey is not None and survey.events == 0):
        raise InvalidInput(f"events: no usable row. {' '.join(map(str, sieve))}", hint="Mend the export.")


def data_end(survey: Survey, trials: pl.DataFrame, given: Sequence[str]) -> int:
    """Return the last moment that the data knows of, in microseconds since 1970 UTC.

    `given` are the columns of the trials table; what the events told instead may be a stray.
    """
    told = {"started_at": "started_at" in given, "converted_at": "converted_at" not in survey.wanted.times}
    last = [trials[name].max() for name, is_given in told.items() if is_given and given]
    known = pl.Series([moment for moment in last if moment is not None]).cast(INSTANT).dt.epoch("us").to_list()
    end = survey.end()
    return max(int(moment) for moment in (*known, end) if moment is not None)


def _unread(users: pl.DataFrame, survey: Survey, definition: Definition) -> dict[str, int]:
    """Return how many facts that events tell are not read, because the trials table has them as a column."""
    told = dict.fromkeys(trait.source for trait in definition.traits if users[trait.source].count())
    counts = {one: len(survey.facts("user_id", one)) + len(survey.facts("account_id", one)) for one in told}
    return {f"facts about {one!r} not read from events: trials have that column": n for one, n in counts.items() if n}


def _named(trials: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    """Return who a raw trials table is about, as texts, without those who are nobody's customers."""
    need("trials", trials, ("user_id",))
    frame = trials if "account_id" in trials.columns else trials.with_columns(account_id=pl.lit(None, pl.String))
    frame = as_texts("trials", frame, ("user_id", "account_id")).with_columns(or_null("user_id"), or_null("account_id"))
    sources = dict.fromkeys(trait.source for trait in definition.traits if trait.source not in frame.columns)
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in sources)
    return without_excluded(frame.drop_nulls("user_id"), Survey(Wanted({}, frozenset())), definition)


def _refuse_homonyms(users: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    """Refuse users without an account who are called like one: as leads, the two could not be told apart."""
    called = pl.col("account_id").is_null() & pl.col("user_id").is_in(users["account_id"].drop_nulls().implode())
    return sieve.refuse(users, called, "user_id of a user without an account is also an account_id", ("user_id",))


def _instants(times: pl.Series) -> Ints:
    return times.dt.epoch("us").fill_null(NEVER).to_numpy()


def _leads(table: pl.DataFrame, users: pl.DataFrame, roster: Roster, survey: Survey, definition: Definition) -> Leads:
    times = {name: _instants(table[name]) for name in ("started_at", "ends_at", "closed_at", "converted_at")}
    homes = (roster.homes(table) if definition.lead == "user" else table["home"]).cast(pl.Int64).to_numpy()
    traits = trait_logs(table, _members(table, users, roster, definition), survey, definition)
    return Leads(table["user_id"].to_list(), table["account_id"].to_list(), homes, **times, traits=traits)


def _members(table: pl.DataFrame, users: pl.DataFrame, roster: Roster, definition: Definition) -> pl.DataFrame:
    """Return the users with the number of the lead that each belongs to, as the column lead."""
    who = users.select(*dict.fromkeys(("user_id", "account_id", "started_at", *_addressed(users, definition))))
    if definition.lead == "user":
        return who.with_columns(lead=pl.int_range(pl.len(), dtype=pl.Int64))
    numbered = table.select("home", lead=pl.int_range(pl.len(), dtype=pl.Int64))
    return who.with_columns(home=roster.homes(users)).join(numbered, on="home").drop("home")


def _addressed(users: pl.DataFrame, definition: Definition) -> list[str]:
    """Return the columns of the users' table that hold e-mail addresses."""
    addresses = [trait.source for trait in definition.traits if trait.type == "email_domain"]
    return [source for source in addresses if source in users.columns]


def _accounts(users: pl.DataFrame, roster: Roster) -> pl.DataFrame:
    """Return the trials with accounts as leads: from its first user's start to its first conversion."""
    still_open = pl.col("closed_at").is_null().any()
    known = ("user_id", "account_id", *TRIAL_TIMES)
    return users.with_columns(home=roster.homes(users)).sort("started_at", "user_id").group_by("home", maintain_order=True).agg(
        pl.coalesce("account_id", "user_id").first().alias("user_id"), pl.col("account_id").first(),
        pl.col("started_at").min(), pl.col("converted_at").min(),
        pl.when(pl.col("ends_at").is_not_null().all()).then(pl.col("ends_at").max()).alias("ends_at"),
        pl.when(~still_open).then(pl.col("closed_at").max()).alias("closed_at"),
        *(pl.col(name).drop_nulls().first() for name in users.columns if name not in known),
    )  # fmt: skip

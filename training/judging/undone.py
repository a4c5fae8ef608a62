"""What a lead's row would be had it not done something, or were it not what it is.

The events are taken away and the row is built anew. A column set to zero would be a row that no lead can have; here every
window, share and trend is that of the events left.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from features.definition import Trait
from features.leads import Leads
from features.logs import Logs
from features.matrix import FeatureBuilder
from features.windows import EventLog, Floats, Ints
from serving.scoring.comparisons import AT_LEAST_HALF
from serving.scoring.reference import Reference
from serving.scoring.scorer import Scorer

Bools = npt.NDArray[np.bool_]


def rows_without(builder: FeatureBuilder, leads: Leads, logs: Logs, as_of: Ints, taken: Bools) -> Floats:
    """Return the row of each lead as if some of its behaviour had never happened: float64 array of shape (n, n_columns).

    What a lead did is taken from its account's log too, and what its account did from the lead's own: an event that did not
    happen is nowhere. Signals that read the same events lose them together.

    Parameters
    ----------
    leads : of shape (n,), no two of them in one account
    as_of : int64 array of shape (n,), the moment of each lead
    taken : bool array of shape (n, n_signals), which signals of the definition each lead is to have nothing of

    Raises
    ------
    ValueError
        Where two leads share an account: what one of them had not done, the other one's account would not have done either.
    """
    if len(np.unique(leads.accounts)) < len(leads):
        raise ValueError("leads must be of different accounts, got two of one; choose one lead per account")
    every = np.arange(len(leads))
    reads = signals_of_kinds(builder)
    whose = np.repeat(every, np.diff(logs.lead.offsets))
    kept = ~(reads[logs.lead.kinds] & taken[whose]).any(axis=1)
    own = _only(logs.lead, np.flatnonzero(kept), whose[kept])
    account = _account_without(builder, leads, logs, taken, reads)
    return builder.rows(leads, Logs(own, account, logs.users), every, as_of)


def signals_of_kinds(builder: FeatureBuilder) -> Bools:
    """Return which signals read each kind of event: bool array of shape (n_kinds, n_signals)."""
    names = [signal.name for signal in builder.definition.signals]
    start, signals = builder.vocabulary.series_of_kinds({name: place for place, name in enumerate(names)})
    reads = np.zeros((len(start) - 1, len(names)), bool)
    reads[np.repeat(np.arange(len(start) - 1), np.diff(start)), signals] = True
    return reads


def _account_without(builder: FeatureBuilder, leads: Leads, logs: Logs, taken: Bools, reads: Bools) -> EventLog:
    """Return what is left of the accounts of these leads; what other accounts did is left out."""
    lead_of = np.full(len(logs.account.offsets) - 1, -1, np.int64)
    lead_of[leads.accounts] = np.arange(len(leads))
    group = np.repeat(np.arange(len(lead_of)), np.diff(logs.account.offsets))
    here = np.flatnonzero(lead_of[group] >= 0)
    lead, kinds = lead_of[group[here]], logs.account.kinds[here]
    of_account = np.array([signal.scope == "account" for signal in builder.definition.signals], bool)
    asked = reads[kinds] & taken[lead]
    own = np.ones(len(here), bool) if builder.definition.lead == "account" else _own(builder, logs, here, lead)
    kept = ~(asked & (of_account | own[:, None])).any(axis=1)
    return _only(logs.account, here[kept], group[here][kept])


def _own(builder: FeatureBuilder, logs: Logs, here: Ints, lead: Ints) -> Bools:
    """Return which events of accounts, at these places of their log, were done by the account's lead."""
    log, row = logs.account, builder.vocabulary.user_row
    if row >= 0:
        own: Bools = log.codes[row, here] == logs.users[lead]
        return own
    # Nothing asks who did it, so the log does not know; the lead's own log has the same events.
    mine = np.repeat(np.arange(len(logs.lead.offsets) - 1), np.diff(logs.lead.offsets))
    known = pl.DataFrame({"lead": mine, "time": logs.lead.times, "kind": logs.lead.kinds.astype(np.int64)})
    asked = pl.DataFrame({"lead": lead, "time": log.times[here], "kind": log.kinds[here].astype(np.int64)})
    found = np.zeros(len(here), bool)
    found[asked.with_row_index("place").join(known, on=["lead", "time", "kind"], how="semi")["place"].to_numpy()] = True
    return found


def _only(log: EventLog, kept: Ints, group: Ints) -> EventLog:
    """Return a log of the events at some places, which belong to these groups; the groups keep their numbers."""
    counts = np.bincount(group, minlength=len(log.offsets) - 1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(
        log, offsets=offsets, times=log.times[kept], known=log.known[kept], kinds=log.kinds[kept],
        numbers=log.numbers[:, kept], codes=log.codes[:, kept],
    )  # fmt: skip


def with_ordinary(scorer: Scorer, row: Floats, trait: Trait) -> Floats:
    """Return a row in which a trait is nothing that could be named: nobody can have not done what it is.

    A number becomes the median of trials of that age, NaN where it is not known; what is so is not so, and the other way round.
    """
    columns, places = scorer.builder.columns, scorer.builder.places_of[trait.name]
    changed = row.copy()
    if trait.type == "number":
        changed[places] = median(scorer.artifact.reference, columns[places[0]].name, float(row[0]))
    elif (row[places] > 0).any():
        changed[places] = 0.0
    else:
        changed[places[0]] = 1.0
    return changed


def median(reference: Reference, column: str, age: float) -> float:
    """Return the least value that half of the trials of an age do not exceed, NaN where that is not known."""
    place = reference.place(age)
    if column not in reference.usual or place < 0:
        return float("nan")
    usual = reference.usual[column]
    known = zip(usual.values[place], usual.up_to[place], strict=True)
    return next((value for value, share in known if share >= AT_LEAST_HALF), float("nan"))

"""What happened, put aside part by part as one definition reads it, and handed out as logs of some leads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from features.leads import Leads
from features.logs import Logs, build_logs
from features.roster import Reader
from features.spool import Spool
from features.windows import Events, Ints


@dataclass(frozen=True)
class History:
    """The events of a roster's leads and of their accounts, apart from one another and part by part."""

    reader: Reader
    own: Spool
    everyone: Spool

    @classmethod
    def of(cls, reader: Reader) -> History:
        """Return a history in which nothing has happened yet."""
        roster, vocabulary = reader.roster, reader.vocabulary
        numbers, codes = len(vocabulary.numbers), len(vocabulary.codes)
        return cls(reader, Spool(roster.user_starts, numbers, codes), Spool(roster.account_starts, numbers, codes))

    @property
    def starts(self) -> Ints:
        """The roster's number at which the leads of each part start."""
        return (self.everyone if self.reader.definition.lead == "account" else self.own).starts

    def add(self, batches: Iterable[tuple[bool, Events]]) -> None:
        """Put events aside; each batch says whether it is by account."""
        for by_account, events in batches:
            (self.everyone if by_account else self.own).add(events)

    def logs(self, p: int, leads: Leads, places: Ints, clock: str) -> Logs:
        """Return the logs of leads that stand at these places of part p."""
        everyone = self.everyone.part(p)
        n_accounts = int(np.diff(self.everyone.starts)[p])
        # Where accounts are the leads, one log serves for both.
        by_account = self.reader.definition.lead == "account"
        own = _only(everyone if by_account else self.own.part(p), places)
        who = pl.Series(leads.ids, dtype=pl.String).hash().reinterpret(signed=True).to_numpy()
        by_arrival = clock == "received_at"
        logs = build_logs(own, everyone, len(leads), n_accounts, who, self.reader.vocabulary, by_arrival=by_arrival)
        return logs if by_arrival else logs.known_by_time()


def _only(events: Events, places: Ints) -> Events:
    """Return the events of the groups that stand at `places`, numbered as they stand there."""
    number = np.full(max(int(places.max(initial=-1)), int(events.group.max(initial=-1))) + 1, -1, np.int64)
    number[places] = np.arange(len(places))
    group = number[events.group]
    asked = group >= 0
    if asked.all():
        return replace(events, group=group)
    return replace(events.take(np.flatnonzero(asked)), group=group[asked])

"""Leads and logs at moments -> the matrix a model sees. Training, batch and online all come through here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.columns import Column, Levels, columns, fingerprint
from features.definition import Definition
from features.durations import DAY
from features.leads import Leads
from features.logs import Logs
from features.plan import plan
from features.ready import ReadyValues
from features.traits import trait_column
from features.vocabulary import Vocabulary, vocabulary
from features.windows import Floats, Ints, Plan, Snapshots, measure_into


@dataclass(frozen=True)
class FeatureBuilder:
    """Everything that turns leads into rows, fixed by a definition and the categories that training saw."""

    definition: Definition
    levels: Levels

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        return columns(self.definition, self.levels)

    @cached_property
    def places_of(self) -> dict[str, list[int]]:
        """Where the columns of each signal and trait, and of the clock, stand: side by side, in the order of the columns."""
        places: dict[str, list[int]] = {}
        for place, column in enumerate(self.columns):
            places.setdefault(column.owner, []).append(place)
        return places

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return vocabulary(self.definition)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.columns, self.definition)

    @cached_property
    def _plans(self) -> tuple[Plan, Plan]:
        lead = plan(self.columns, self.definition, self.vocabulary, "lead")
        return lead, plan(self.columns, self.definition, self.vocabulary, "account")

    @cached_property
    def _places(self) -> dict[str, Ints]:
        scopes = np.array([column.scope for column in self.columns])
        return {scope: np.flatnonzero(scopes == scope) for scope in ("lead", "account", "clock")}

    @cached_property
    def _read_traits(self) -> tuple[str, ...]:
        """The traits that have a column."""
        return tuple(name for name in self.definition.trait_of if name in self.places_of)

    @cached_property
    def ready(self) -> ReadyValues:
        """What makes rows of values that somebody else has worked out."""
        return ReadyValues(self.columns)

    def rows(self, leads: Leads, logs: Logs, which: Ints, as_of: Ints) -> Floats:
        """Return the feature rows of leads `which` at moments `as_of`: float64 array of shape (n, n_columns).

        Nothing at or after a row's as_of has any influence on it. NaN is "not known" or "never".
        """
        out = np.empty((len(which), len(self.columns)))
        self.fill(out, np.arange(len(which)), leads, logs, which, as_of)
        return out

    def fill(self, out: Floats, rows: Ints, leads: Leads, logs: Logs, which: Ints, as_of: Ints) -> None:
        """Write the feature rows of leads `which` at moments `as_of` into these rows of `out`."""
        started_at, users = leads.started_at[which], logs.users[which]
        lead, account = self._plans
        for place in self._places["clock"]:
            out[rows, place] = (as_of - started_at) / DAY
        measure_into(out, rows, self._places["lead"], logs.lead, Snapshots(which, as_of, started_at, users), lead)
        if len(account.ops):
            homes = Snapshots(leads.accounts[which], as_of, started_at, users)
            measure_into(out, rows, self._places["account"], logs.account, homes, account)
        for name in self._read_traits:
            trait, known = self.definition.trait_of[name], leads.traits[name]
            # -1, where nothing was known, is the last place: None.
            values, newest = [*known.values, None], known.at(which, as_of)
            for place in self.places_of[name]:
                out[rows, place] = trait_column(self.columns[place], trait, values)[newest]

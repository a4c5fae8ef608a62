"""Columns -> the plan by which the windows fill them: spans, tally rows and one operation per column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.columns import Column, Scope
from features.definition import Definition, Window
from features.measures import USER
from features.vocabulary import Vocabulary
from features.windows import TRIAL, Note, Op, Plan

_NOTES = {
    **dict.fromkeys((Op.COUNT, Op.SHARE, Op.TREND, Op.REACHED, Op.DAYS_SINCE_LAST), 0),
    **dict.fromkeys((Op.ACTIVE_DAYS, Op.STREAK, Op.PER_ACTIVE_DAY), Note.DAYS),
    Op.DAYS_SINCE_FIRST: Note.FIRST,
}
"""What an operation needs beside counts and the last time; any other needs what only few series note."""

WHOLE = -1
"""The inner span of a tally that looks beyond none."""


def plan(table: Sequence[Column], definition: Definition, vocabulary: Vocabulary, scope: Scope) -> Plan:
    """Return how the windows fill the columns of one scope, in their order in `table`."""
    mine = tuple(column for column in table if column.scope == scope and column.measure is not None)
    layout = _Layout(mine, definition, vocabulary)
    row_of = layout.row_of
    series_start, series = vocabulary.series_of_kinds(
        {signal.name: row_of[signal.name] for signal in definition.signals if signal.scope == scope}
    )
    sum_start, sums = _by_series(layout.sums, len(row_of))
    distinct_start, distincts = _by_series(layout.distincts, len(row_of))
    return Plan(
        np.array(layout.spans, np.int64), series_start, series, layout.notes,
        sum_start, np.array([number for _, number in sums], np.int64),
        distinct_start, np.array([code for _, code, _ in distincts], np.int64),
        np.array([inner for _, _, inner in distincts], np.int64),
        layout.reach, layout.per_user, vocabulary.user_row,
        np.array([layout.op(column) for column in mine], np.int64).reshape(len(mine), 6),
    )  # fmt: skip


def _by_series(
    rows: Sequence[tuple[int, ...]], n_series: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[tuple[int, ...]]]:
    """Return where each series' rows start, and the rows in order of their series."""
    ordered = sorted(rows)
    return np.searchsorted([row[0] for row in ordered], np.arange(n_series + 1)).astype(np.int64), ordered


def _length(window: Window) -> int:
    return TRIAL if window.length is None else window.length


@dataclass(frozen=True)
class _Layout:
    """Where each tally of some columns lies; the order of rows is that of `features.windows.Plan.ops`."""

    table: tuple[Column, ...]
    definition: Definition
    vocabulary: Vocabulary

    @cached_property
    def row_of(self) -> dict[str, int]:
        return {signal.name: row for row, signal in enumerate(self.definition.signals)}

    @cached_property
    def spans(self) -> list[int]:
        """Every span needed; days since first or last look as far back as the signal's widest window."""
        spans: dict[int, None] = {}
        for column in self.table:
            spans |= dict.fromkeys(self._reach(column))
            if column.measure and column.measure.spec.fixed and column.window:
                spans[2 * _length(column.window)] = None
        return list(spans)

    def _reach(self, column: Column) -> tuple[int, int]:
        """Return the span of a column, twice, or the two lengths of which the longer one is its signal's widest window."""
        if column.window is not None:
            return _length(column.window), _length(column.window)
        if column.measure and column.measure.how == "days_to_reach":
            return TRIAL, TRIAL
        lengths = [_length(window) for window in self.definition.windows_of(self.definition.signal_of[column.owner])]
        longest = max(lengths)
        # A trial may be older or younger than the longest fixed window.
        return longest, TRIAL if TRIAL in lengths else longest

    @cached_property
    def sums(self) -> list[tuple[int, int]]:
        """(series, row of the numbers) of every property that is added up, in order of the series."""
        found = {
            (self.row_of[column.owner], self.vocabulary.numbers.index(column.measure.of))
            for column in self.table
            if column.measure and column.measure.how in ("sum", "mean") and column.measure.of
        }
        return sorted(found)

    @cached_property
    def distincts(self) -> list[tuple[int, int, int]]:
        """(series, row of the codes, inner span) of everything whose values are told apart, in order of the series."""
        found: set[tuple[int, int, int]] = set()
        for column in self.table:
            series = self.row_of[column.owner]
            if column.measure and column.measure.how == "distinct" and column.measure.of:
                found.add((series, self.vocabulary.codes.index(column.measure.of), WHOLE))
            elif column.measure and column.measure.how == "user_growth":
                user = self.vocabulary.codes.index(USER)
                found |= {(series, user, WHOLE), (series, user, self.spans.index(self._reach(column)[0]))}
        return sorted(found)

    @cached_property
    def notes(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """What each series has to note, as bits of `Note`."""
        found = np.zeros(len(self.row_of), np.int64)
        for column in self.table:
            op = column.measure.spec.op if column.measure else Op.COUNT
            found[self.row_of[column.owner]] |= _NOTES.get(op, Note.MORE)
        return found

    @cached_property
    def reach(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The highest count whose day each series must remember."""
        found = np.zeros(len(self.row_of), np.int64)
        for column in self.table:
            if column.measure and column.measure.how == "days_to_reach":
                row = self.row_of[column.owner]
                found[row] = max(found[row], int(column.measure.of or 0))
        return found

    @cached_property
    def per_user(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The place of each series among those that are counted user by user, -1 for the others."""
        counted = sorted({
            self.row_of[column.owner] for column in self.table
            if column.measure and column.measure.how in ("lead_share", "lead_rank")
        })  # fmt: skip
        found = np.full(len(self.row_of), -1, np.int64)
        found[counted] = np.arange(len(counted))
        return found

    def op(self, column: Column) -> tuple[int, int, int, int, int, int]:
        """Return the operation that fills a column."""
        assert column.measure is not None  # `plan` passes measured columns only
        measure = column.measure
        span, wide = map(self.spans.index, self._reach(column))
        if measure.spec.fixed:
            wide = self.spans.index(2 * self._reach(column)[0])
        argument = int(measure.of or 0) if measure.spec.brackets == "number" else 0
        return int(measure.spec.op), *self._rows(column), span, wide, argument

    def _rows(self, column: Column) -> tuple[int, int]:
        """Return the rows of the tally that a column reads."""
        assert column.measure is not None
        measure, series, n = column.measure, self.row_of[column.owner], len(self.row_of)
        at_present = 2 * n + len(self.sums)
        at_distinct = at_present + len(self.sums)
        if measure.spec.op in (Op.SUM, Op.MEAN):
            place = self.sums.index((series, self.vocabulary.numbers.index(measure.of or "")))
            return 2 * n + place, at_present + place
        if measure.spec.op in (Op.DISTINCT, Op.USER_GROWTH):
            code = self.vocabulary.codes.index(measure.of or USER)
            inner = WHOLE if measure.spec.op == Op.DISTINCT else self.spans.index(self._reach(column)[0])
            return (
                at_distinct + self.distincts.index((series, code, WHOLE)),
                at_distinct + self.distincts.index((series, code, inner)),
            )
        second = {Op.SHARE: at_distinct + len(self.distincts), Op.PER_ACTIVE_DAY: n + series}
        first = n + series if measure.spec.op == Op.ACTIVE_DAYS else series
        return first, second.get(measure.spec.op, 0)

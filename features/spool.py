"""Events put aside part by part: in memory while they fit, on disk beyond that, so that history may be larger than memory."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from features.windows import Events, Ints, order_by_part

BUDGET = 256 * 2**20
"""Bytes of events that stay in memory; once there are more, they go to a temporary file."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Stored:
    """An array in the temporary file."""

    file: IO[bytes]
    start: int
    dtype: np.dtype[Any]

    def rows(self, low: int, high: int) -> Array:
        self.file.seek(self.start + low * self.dtype.itemsize)
        return np.frombuffer(self.file.read((high - low) * self.dtype.itemsize), self.dtype)


@dataclass
class _Block:
    """One batch of events in order of their parts; part p owns the rows offsets[p] to offsets[p + 1]."""

    offsets: Ints
    columns: dict[str, Array | _Stored]

    @property
    def bytes_in_memory(self) -> int:
        return sum(column.nbytes for column in self.columns.values() if isinstance(column, np.ndarray))

    def rows(self, name: str, part: int) -> Array:
        low, high = int(self.offsets[part]), int(self.offsets[part + 1])
        column = self.columns[name]
        return column.rows(low, high) if isinstance(column, _Stored) else column[low:high]


@dataclass
class Spool:
    """Events of groups, kept apart by part.

    Attributes
    ----------
    starts : int64 array of shape (n_parts + 1,)
        Part p owns the groups starts[p] to starts[p + 1].
    numbers, codes : how many properties of either sort an event has
    """

    starts: Ints
    numbers: int
    codes: int
    budget: int = BUDGET
    _blocks: list[_Block] = field(default_factory=list)
    _file: IO[bytes] | None = None

    def __post_init__(self) -> None:
        self._part_of = np.repeat(np.arange(self.n_parts, dtype=np.int32), np.diff(self.starts))

    @property
    def n_parts(self) -> int:
        return len(self.starts) - 1

    def __len__(self) -> int:
        return sum(int(block.offsets[-1]) for block in self._blocks)

    def add(self, events: Events) -> None:
        """Put one batch aside; it may be in any order."""
        if not len(events):
            return
        offsets = np.zeros(self.n_parts + 1, np.int64)
        order = order_by_part(self._part_of[events.group], offsets)
        columns: dict[str, Array | _Stored] = {name: values[order] for name, values in _columns(events).items()}
        self._blocks.append(_Block(offsets, columns))
        if sum(block.bytes_in_memory for block in self._blocks) > self.budget:
            self._move_to_disk()

    def _move_to_disk(self) -> None:
        if self._file is None:
            # It has no name in any folder, so nothing is left behind however the program ends.
            self._file = tempfile.TemporaryFile(prefix="pql-events-")  # noqa: SIM115 - lives as long as the spool
            weakref.finalize(self, self._file.close)
        for block in self._blocks:
            for name, column in block.columns.items():
                if isinstance(column, np.ndarray):
                    start = self._file.seek(0, 2)
                    self._file.write(np.ascontiguousarray(column).data)
                    block.columns[name] = _Stored(self._file, start, column.dtype)

    def part(self, p: int) -> Events:
        """Return the events of one part, with its groups numbered from 0."""
        times = self._joined("times", p, np.int64)
        kinds = self._joined("kinds", p, np.int32)
        known = self._joined("known", p, np.int64, times)
        keys = self._joined("keys", p, np.int64, kinds.astype(np.int64) << 1)
        group = self._joined("group", p, np.int32) - np.int32(self.starts[p])
        numbers = [self._joined(f"numbers {row}", p, np.float64) for row in range(self.numbers)]
        codes = [self._joined(f"codes {row}", p, np.int64) for row in range(self.codes)]
        return Events(
            group, times, known, kinds, keys,
            np.array(numbers, np.float64).reshape(self.numbers, len(times)),
            np.array(codes, np.int64).reshape(self.codes, len(times)),
        )  # fmt: skip

    def _joined(self, name: str, p: int, dtype: Any, instead: Array | None = None) -> Array:
        """Return one column of a part; blocks that lack it have the rows of `instead`."""
        found, row = [np.empty(0, dtype)], 0
        if instead is not None and not any(name in block.columns for block in self._blocks):
            return instead
        for block in self._blocks:
            size = int(block.offsets[p + 1] - block.offsets[p])
            if name in block.columns:
                found.append(block.rows(name, p))
            elif instead is not None:
                found.append(instead[row : row + size])
            row += size
        return np.concatenate(found)


def _columns(events: Events) -> dict[str, Array]:
    """Return what has to be kept of events: arrivals and keys only where they say more than times and kinds do."""
    columns: dict[str, Array] = {"group": events.group, "times": events.times, "kinds": events.kinds}
    if events.known is not events.times:
        columns["known"] = events.known
    if events.keys is not None:
        columns["keys"] = events.keys
    columns |= {f"numbers {row}": values for row, values in enumerate(events.numbers)}
    return columns | {f"codes {row}": values for row, values in enumerate(events.codes)}

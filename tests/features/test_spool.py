"""What is put aside comes back, part by part, whether it lay in memory or on disk, and nothing stays behind."""

import gc
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.spool import Spool
from features.windows import Events, Ints

STARTS = np.array([0, 2, 3, 7], np.int64)
"""Three parts of two, one and four groups."""


def made(seed: int, n: int, *, known: bool = True, keys: bool = True, numbers: int = 2, codes: int = 1) -> Events:
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 1_000, n)
    arrived = times + rng.integers(0, 9, n) if known else times
    return Events(
        rng.integers(0, 7, n).astype(np.int32), times, arrived, rng.integers(0, 5, n).astype(np.int32),
        rng.integers(-(10**12), 10**12, n) if keys else None,
        np.where(rng.random((numbers, n)) < 0.2, np.nan, rng.normal(size=(numbers, n))),
        rng.integers(-1, 2**62, (codes, n)),
    )  # fmt: skip


def rows(events: Events, shift: int = 0) -> list[tuple[object, ...]]:
    """Every event as a tuple, with the key that it would have where it has none."""
    keys = events.kinds.astype(np.int64) << 1 if events.keys is None else events.keys
    columns = (events.group + shift, events.times, events.known, events.kinds, keys, *events.numbers, *events.codes)
    return list(zip(*(map(repr, np.asarray(column).tolist()) for column in columns), strict=True))


def spooled(batches: list[Events], budget: int, numbers: int = 2, codes: int = 1) -> Spool:
    spool = Spool(STARTS, numbers, codes, budget)
    for batch in batches:
        spool.add(batch)
    return spool


def part_of(events: Events, p: int) -> Ints:
    return np.flatnonzero((events.group >= STARTS[p]) & (events.group < STARTS[p + 1]))


KINDS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.booleans(), st.booleans()), max_size=5)


@settings(max_examples=80)
@given(KINDS, st.sampled_from([0, 700, 2_000, 10**9]))
def test_each_part_comes_back_as_it_was_put_aside_batch_by_batch(
    kinds: list[tuple[int, int, bool, bool]], budget: int
) -> None:
    batches = [made(seed, n, known=known, keys=keys) for seed, n, known, keys in kinds]
    spool = spooled(batches, budget)
    assert len(spool) == sum(map(len, batches))
    assert spool.n_parts == 3
    for p in range(3):
        expected = [row for batch in batches for row in rows(batch.take(part_of(batch, p)))]
        # Parts number their groups from 0.
        assert rows(spool.part(p), int(STARTS[p])) == expected
        assert rows(spool.part(p)) == rows(spool.part(p))


@settings(max_examples=20)
@given(KINDS)
def test_on_disk_and_in_memory_parts_are_the_same_to_the_bit(kinds: list[tuple[int, int, bool, bool]]) -> None:
    batches = [made(seed, n, known=known, keys=keys) for seed, n, known, keys in kinds]
    memory, disk = spooled(batches, 10**9), spooled(batches, 0)
    for p in range(3):
        one, other = memory.part(p), disk.part(p)
        for name in ("group", "times", "known", "kinds", "keys", "numbers", "codes"):
            left, right = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            assert left.tobytes() == right.tobytes()


def test_a_part_of_which_nothing_was_told_is_empty() -> None:
    for budget in (0, 10**9):
        spool = spooled([made(1, 30).take(np.zeros(0, np.int64))], budget)
        part = spool.part(1)
        assert (len(spool), len(part)) == (0, 0)
        assert (part.numbers.shape, part.codes.shape) == ((2, 0), (1, 0))


def test_events_without_properties_are_kept_too() -> None:
    batch = made(3, 25, numbers=0, codes=0)
    part = spooled([batch], 0, numbers=0, codes=0).part(2)
    assert rows(part, int(STARTS[2])) == rows(batch.take(part_of(batch, 2)))
    assert (part.numbers.shape[0], part.codes.shape[0]) == (0, 0)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def in_memory(spool: Spool) -> int:
    return sum(block.bytes_in_memory for block in spool._blocks)


def test_within_its_budget_a_spool_touches_no_disk(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file was made"))
    batch = made(1, 100)
    spool = spooled([batch], budget=10**6)
    assert in_memory(spool) > 0
    assert files_in(temporary) == []


def test_beyond_its_budget_everything_goes_to_disk_and_memory_is_free(temporary: Path) -> None:
    batches = [made(seed, 200) for seed in range(5)]
    spool = spooled(batches, budget=3_000)
    assert in_memory(spool) <= 3_000
    assert sum(len(spool.part(p)) for p in range(3)) == 1_000
    # The file has no name that anybody could leave behind.
    assert files_in(temporary) == []


def test_a_spool_that_is_given_up_closes_its_file(temporary: Path) -> None:
    spool = spooled([made(1, 100)], budget=0)
    number = spool._file.fileno() if spool._file else -1
    os.fstat(number)
    del spool
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    assert files_in(temporary) == []


def test_arrivals_and_keys_that_say_nothing_more_are_not_stored() -> None:
    plain, told = made(1, 1_000, known=False, keys=False), made(1, 1_000)
    sizes = [in_memory(spooled([batch], 10**9)) for batch in (plain, told)]
    assert sizes[1] - sizes[0] == 2 * 8 * 1_000

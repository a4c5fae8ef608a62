"""Receipts that were kept are read back to the bit, whoever writes beside them and whenever a writer is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.durations import DAY
from features.errors import InvalidInput
from serving.receipt_search import find
from serving.receipts import FOLDER, Receipts, folder_named, table_of, write_table
from serving.requests import decode
from serving.scoring.answers import Asked, Subject
from serving.scoring.receipt import Digest, Receipt, replay
from serving.scoring.scorer import Scorer
from tests.serving.answered import LEVELS, NOW, receipts_of

ROOT = Path(__file__).parents[2]
HEX = st.text("0123456789abcdef", min_size=20, max_size=20)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
micros = st.integers(-(2**62), 2**62)
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | texts
numbers = st.floats(allow_subnormal=True) | st.sampled_from([-0.0, float("inf"), float("-inf"), float("nan")])
drawn = st.builds(
    Receipt,
    id=HEX,
    version=HEX.map(lambda text: text[:12]),
    subject=st.builds(
        Subject, lead_id=texts, account_id=st.none() | texts, as_of=micros, ends_at=st.none() | micros,
        traits=st.dictionaries(texts, scalars, max_size=4),
        row=st.lists(numbers, min_size=3, max_size=3).map(lambda row: np.array(row, np.float64)),
    ),
    asked=st.builds(Asked, reasons=st.integers(0, 20), whom=st.sampled_from(["all", "likely"])),
    probability=st.floats(0, 1, exclude_min=True),
    digest=st.builds(Digest, HEX, HEX),
)  # fmt: skip


def clock(at: int = NOW) -> Callable[[], int]:
    return lambda: at


def bits(receipt: Receipt) -> Any:
    """Return all of a receipt in a form in which -0.0 is not 0.0, NaN is NaN and 1 is neither 1.0 nor True."""
    subject = receipt.subject
    traits = {name: (type(value), repr(value)) for name, value in subject.traits.items()}
    told = (subject.lead_id, subject.account_id, subject.as_of, subject.ends_at, traits, subject.row.tobytes())
    return receipt.id, receipt.version, told, receipt.asked, repr(receipt.probability), receipt.digest


# --- there and back ---------------------------------------------------------------------------


@given(receipts=st.lists(drawn, min_size=1, max_size=4, unique_by=lambda one: one.id), as_table=st.booleans())
@settings(max_examples=150)
def test_what_was_kept_is_found_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, receipts: list[Receipt], as_table: bool
) -> None:
    folder = tmp_path_factory.mktemp("receipts")
    if as_table:
        write_table(folder, table_of(receipts, NOW))
    else:
        writer = Receipts(folder, clock())
        writer.keep(receipts)
        writer.close()
    for one in receipts:
        kept = find(folder, one.id)
        assert bits(kept.receipt) == bits(one)
        assert kept.at == NOW
        assert kept.place.parent == folder / "2026-03-01"


@pytest.fixture(scope="module")
def made(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, LEVELS)


@pytest.fixture(scope="module")
def receipts(made: Scorer) -> list[Receipt]:
    return receipts_of(made, 40)


@pytest.mark.parametrize("kind", ["lines", "table"])
def test_a_kept_receipt_replays_bit_for_bit(made: Scorer, receipts: list[Receipt], tmp_path: Path, kind: str) -> None:
    if kind == "table":
        write_table(tmp_path, table_of(receipts, NOW))
    else:
        Receipts(tmp_path, clock()).keep(receipts)
    for one in receipts:
        assert replay(made, find(tmp_path, one.id).receipt).same


def test_a_text_that_no_file_could_hold_is_no_request() -> None:
    body = b'{"leads": [{"user_id": "u\\ud800 and more", "started_at": "2026-02-20T00:00:00Z", "events": []}]}'
    with pytest.raises(InvalidInput, match=r"malformed"):
        decode(body)


def test_no_receipts_are_no_file(tmp_path: Path) -> None:
    Receipts(tmp_path, clock()).keep([])
    assert write_table(tmp_path, table_of([], NOW)) is None
    assert list(tmp_path.iterdir()) == []


# --- the files of a service -------------------------------------------------------------------


def lines_of(folder: Path) -> dict[Path, list[bytes]]:
    return {path: path.read_bytes().splitlines() for path in sorted(folder.rglob("*.jsonl"))}


def test_each_day_has_its_folder_and_each_writer_its_file(receipts: list[Receipt], tmp_path: Path) -> None:
    at = [NOW]
    writer = Receipts(tmp_path, lambda: at[0])
    writer.keep(receipts[:2])
    writer.keep(receipts[2:3])
    at[0] += DAY
    writer.keep(receipts[3:4])
    Receipts(tmp_path, clock()).keep(receipts[4:5])
    found = {path.parent.name: len(lines) for path, lines in lines_of(tmp_path).items()}
    assert len(lines_of(tmp_path)) == 3
    assert set(found) == {"2026-03-01", "2026-03-02"}
    assert sorted(len(lines) for lines in lines_of(tmp_path).values()) == [1, 1, 3]
    assert all(path.name.startswith(f"{os.getpid()}-") for path in lines_of(tmp_path))


def test_a_writer_that_was_closed_goes_on_in_a_new_file(receipts: list[Receipt], tmp_path: Path) -> None:
    writer = Receipts(tmp_path, clock())
    writer.keep(receipts[:1])
    writer.close()
    writer.close()
    writer.keep(receipts[1:2])
    assert [len(lines) for lines in lines_of(tmp_path).values()] == [1, 1]


def test_files_are_not_for_everybody(receipts: list[Receipt], tmp_path: Path) -> None:
    Receipts(tmp_path, clock()).keep(receipts)
    assert all(path.stat().st_mode & 0o007 == 0 for path in lines_of(tmp_path))


def test_threads_that_share_a_writer_lose_nothing_and_tear_nothing(receipts: list[Receipt], tmp_path: Path) -> None:
    writer = Receipts(tmp_path, clock())

    def work(part: list[Receipt]) -> None:
        for _ in range(25):
            for one in part:
                writer.keep([one])

    threads = [threading.Thread(target=work, args=(receipts[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [lines] = lines_of(tmp_path).values()
    assert len(lines) == 25 * len(receipts)
    assert len(set(lines)) == len(receipts)


def test_a_write_that_fails_leaves_the_lines_after_it_whole(
    receipts: list[Receipt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Receipts(tmp_path, clock())
    writer.keep(receipts[:1])
    real = os.write

    def full(file: int, data: bytes) -> int:
        real(file, data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        writer.keep(receipts[1:2])
    monkeypatch.setattr(os, "write", real)
    writer.keep(receipts[2:3])
    assert bits(find(tmp_path, receipts[2].id).receipt) == bits(receipts[2])
    assert bits(find(tmp_path, receipts[0].id).receipt) == bits(receipts[0])


def test_a_write_that_takes_only_a_part_is_gone_on_with(
    receipts: list[Receipt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:777]))
    Receipts(tmp_path, clock()).keep(receipts)
    assert bits(find(tmp_path, receipts[-1].id).receipt) == bits(receipts[-1])


# --- processes --------------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from serving.receipts import Receipts
from serving.scoring.answers import Asked, Subject
from serving.scoring.receipt import Digest, Receipt

writer = Receipts(Path(sys.argv[1]), lambda: time.time_ns() // 1000)
start, count = int(sys.argv[2]), int(sys.argv[3])
for number in range(start, start + count):
    subject = Subject(f"u-{number}", None, number, None, {"plan": "x" * 400}, np.arange(60.0))
    writer.keep([Receipt(f"{number:020x}", "v", subject, Asked(), 0.5, Digest("d", "p"))])
    print(number, flush=True)
"""


def started(folder: Path, start: int, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(folder), str(start), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    running = [started(tmp_path, 1_000 * i, 200) for i in range(3)]
    yield running
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_processes_that_write_side_by_side_lose_nothing(writers: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    told = [int(line) for process in writers for line in process.communicate()[0].splitlines()]
    assert len(told) == 600
    assert len(lines_of(tmp_path)) == 3
    for number in told[::37]:
        assert find(tmp_path, f"{number:020x}").receipt.subject.as_of == number
    assert sum(map(len, lines_of(tmp_path).values())) == 600


def test_a_process_that_is_killed_has_kept_all_that_it_said_it_had(tmp_path: Path) -> None:
    process = started(tmp_path, 0, 10**6)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.communicate()[0].splitlines() if line]
    for number in (*told[::50], told[-1]):
        assert find(tmp_path, f"{number:020x}").receipt.subject.as_of == number
    [lines] = lines_of(tmp_path).values()
    assert len(told) <= len(lines) <= len(told) + 1


# --- the files of a batch ---------------------------------------------------------------------


def test_a_table_is_whole_or_not_there(
    receipts: list[Receipt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_table(tmp_path, table_of(receipts, NOW))
    assert list((tmp_path / "2026-03-01").iterdir()) == []


def test_two_runs_at_the_same_moment_are_two_files(receipts: list[Receipt], tmp_path: Path) -> None:
    paths = {write_table(tmp_path, table_of(receipts[:i], NOW)) for i in (1, 2, 3)}
    assert len(paths) == 3
    assert set((tmp_path / "2026-03-01").iterdir()) == paths


# --- which folder -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "environment", "folder"),
    [
        ("mine", {"PQL_RECEIPTS": "theirs"}, Path("mine")),
        (None, {"PQL_RECEIPTS": "theirs"}, Path("theirs")),
        (None, {}, Path(FOLDER)),
        ("none", {"PQL_RECEIPTS": "theirs"}, None),
        (None, {"PQL_RECEIPTS": "none"}, None),
    ],
)
def test_the_folder_is_the_one_given_else_that_of_the_environment_else_the_usual(
    given: str | None, environment: dict[str, str], folder: Path | None
) -> None:
    assert folder_named(given, environment) == folder

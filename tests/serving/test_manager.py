"""Who does the jobs: one at a time, whatever is killed, and to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from features.windows import Floats
from serving.jobs import manager as module
from serving.jobs.manager import MOST_STARTS, Manager
from serving.jobs.store import Job, State, Store
from serving.jobs.work import work
from serving.scoring.scorer import Scorer
from tests.serving.job_files import NOW, job_of, table_of, written

WAIT = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "jobs")


@pytest.fixture
def running(store: Store, scorer: Scorer) -> Iterator[Callable[[], Manager]]:
    managers: list[Manager] = []

    def run() -> Manager:
        managers.append(Manager(store, lambda: scorer, lambda: NOW))
        managers[-1].start()
        return managers[-1]

    yield run
    for one in managers:
        one.stop()


@pytest.fixture
def content(scorer: Scorer, rows: Floats, tmp_path: Path) -> bytes:
    return written(table_of(scorer, rows), tmp_path / "file", "csv").read_bytes()


def until(ready: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not ready():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def ended(job: Job) -> State:
    until(lambda: job.state.status != "in_progress")
    return job.state


def expected(content: bytes, model_folder: Path, tmp_path: Path) -> bytes:
    job = job_of(Store(tmp_path / "alone"), content, reasons=2)
    work(job, model_folder)
    return job.result("csv").read_bytes()


def test_a_job_is_done_with_the_version_in_service(
    store: Store, content: bytes, running: Callable[[], Manager], scorer: Scorer, model_folder: Path, tmp_path: Path
) -> None:
    job = job_of(store, content, reasons=2)
    running()
    state = ended(job)
    assert (state.status, state.starts, state.executed_at) == ("success", 1, NOW)
    assert state.model_version == scorer.version
    assert job.result("csv").read_bytes() == expected(content, model_folder, tmp_path)


def test_a_job_that_comes_later_is_seen(store: Store, content: bytes, running: Callable[[], Manager]) -> None:
    manager = running()
    job = job_of(store, content)
    manager.wake()
    assert ended(job).status == "success"


def test_of_two_workers_one_does_a_job_and_the_other_takes_over(
    store: Store, content: bytes, running: Callable[[], Manager]
) -> None:
    first, _ = running(), running()
    job = job_of(store, content)
    assert ended(job).starts == 1
    first.stop()
    job = job_of(store, content)
    assert ended(job).starts == 1


def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float = 60.0) -> None:
    """Let the first process of a job sleep before it works; `go` lets those after it work at once."""
    script = tmp_path / "slow.py"
    script.write_text(
        "import pathlib, sys, time\n"
        f"mark = pathlib.Path({str(tmp_path / 'go')!r})\n"
        f"if not mark.exists():\n    mark.touch(); time.sleep({seconds})\n"
        "from serving.jobs import work\nwork.main()\n"
    )
    shim = tmp_path / "python"
    shim.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(module.ROOT))
    monkeypatch.setattr("sys.executable", str(shim))


def test_a_job_whose_process_is_killed_is_started_again_and_comes_to_the_same_bytes(
    store: Store, content: bytes, running: Callable[[], Manager], model_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    wanted = expected(content, model_folder, tmp_path)
    slow(monkeypatch, tmp_path)
    job = job_of(store, content, reasons=2)
    running()
    until((tmp_path / "go").exists)
    (pid,) = [one for one in all_children() if b"slow.py" in cmdline(one)]
    os.kill(pid, signal.SIGKILL)
    state = ended(job)
    assert (state.status, state.starts) == ("success", 2)
    assert job.result("csv").read_bytes() == wanted


def all_children() -> list[int]:
    """Return the children of every thread of this process."""
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_job_whose_process_never_ends_well_fails_after_three_starts(
    store: Store, running: Callable[[], Manager], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python"
    shim.write_text("#!/bin/sh\necho /secret/path >&2\nkill -9 $$\n")
    shim.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(shim))
    job = job_of(store, b"x")
    running()
    state = ended(job)
    assert (state.status, state.starts) == ("failure", MOST_STARTS)
    assert state.error is not None
    assert "ended 3 times before the file was scored" in state.error["message"]
    assert "secret" not in str(state.error)
    assert (job.folder / "log").read_text().count("/secret/path") == MOST_STARTS


def test_a_stopped_service_leaves_the_job_to_the_next_one(
    store: Store, content: bytes, running: Callable[[], Manager], model_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    wanted = expected(content, model_folder, tmp_path)
    slow(monkeypatch, tmp_path)
    job = job_of(store, content, reasons=2)
    manager = running()
    until((tmp_path / "go").exists)
    manager.stop()
    assert (job.state.status, job.state.starts) == ("in_progress", 0)
    assert not [one for one in all_children() if b"slow.py" in cmdline(one)]
    running()
    assert ended(job).starts == 1
    assert job.result("csv").read_bytes() == wanted


def test_a_killed_service_leaves_no_second_process_and_its_job_to_the_next_one(
    store: Store, content: bytes, running: Callable[[], Manager], model_folder: Path, tmp_path: Path
) -> None:
    wanted = expected(content, model_folder, tmp_path)
    job = job_of(store, content, reasons=2)
    service = (
        "import pathlib, time; from serving.jobs import manager; from serving.jobs.store import Store;"
        "from serving.scoring.scorer import Scorer;"
        f"scorer = Scorer.from_folder(pathlib.Path({str(model_folder)!r}));"
        f"manager.Manager(Store(pathlib.Path({str(store.folder)!r})), lambda: scorer, lambda: {NOW}).start();"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", service], cwd=module.ROOT)
    until(lambda: job.state.starts == 1)
    parent.kill()
    parent.wait()
    running()
    assert ended(job).status == "success"
    assert job.result("csv").read_bytes() == wanted


def test_a_version_that_goes_into_service_meanwhile_does_not_change_a_job(
    store: Store, content: bytes, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, tmp_path)
    asked: list[Scorer] = []

    def in_service() -> Scorer:
        asked.append(scorer)
        return scorer

    job = job_of(store, content)
    for _ in range(2):
        manager = Manager(store, in_service, lambda: NOW)
        manager.start()
        until((tmp_path / "go").exists)
        if _ == 0:
            manager.stop()
    assert ended(job).status == "success"
    manager.stop()
    assert len(asked) == 1


def test_a_job_that_is_called_off_ends(
    store: Store, running: Callable[[], Manager], content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, tmp_path)
    job, other = job_of(store, content, created_at=1), job_of(store, content, created_at=2)
    running()
    until((tmp_path / "go").exists)
    job.call_off()
    assert ended(job).status == "cancelled"
    assert ended(other).status == "success"


def test_a_store_is_full_with_so_many_jobs_that_wait_or_are_being_sent(
    store: Store, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 2)
    manager = Manager(store, lambda: scorer, lambda: NOW)
    first, _ = job_of(store, b"x"), job_of(store, b"x")
    assert not manager.full
    with manager.sending():
        assert manager.full
        first.tell(State(status="success"))
        assert not manager.full
        with manager.sending():
            assert manager.full
    assert manager.coming == 0


def test_a_disk_that_comes_back_finds_its_jobs_done(
    store: Store, content: bytes, running: Callable[[], Manager], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, failures = Job.tell, [OSError(28, "No space left on device")] * 2

    def sometimes(job: Job, state: State) -> None:
        if failures:
            raise failures.pop()
        tell(job, state)

    monkeypatch.setattr(Job, "tell", sometimes)
    job = job_of(store, content)
    running()
    assert ended(job).status == "success"


def test_stopping_what_never_started_is_nothing_to_do(store: Store, scorer: Scorer) -> None:
    Manager(store, lambda: scorer, lambda: NOW).stop()


def test_what_nobody_thought_of_is_logged_and_does_not_end_the_doing_of_jobs(
    store: Store, content: bytes, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    monkeypatch.setattr("serving.web.logs.log", lambda: SimpleNamespace(error=lambda name, **_: logged.append(name)))
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    asked = 0

    def in_service() -> Scorer:
        nonlocal asked
        asked += 1
        if asked <= 3:
            raise ValueError("out of nowhere")
        return scorer

    job, manager = job_of(store, content), Manager(store, in_service, lambda: NOW)
    manager.start()
    try:
        assert ended(job).status == "success"
    finally:
        manager.stop()
    assert logged == ["jobs_not_done"]

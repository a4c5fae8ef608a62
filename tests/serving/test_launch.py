"""The server that the command starts gets its model and its settings, and ends as the command is asked to end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from features.errors import ArtifactError, InvalidInput, PQLError
from serving import launch
from serving.launch import Order
from serving.settings import JOBS, KEYS, WORKERS
from serving.web.keys import new_key

ROOT = Path(__file__).parents[2]
LONGEST_STOP = 20
# Ends on SIGTERM only, like a server that is in no hurry.
STUB = "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_to_the_command_alone_is_handed_on(how: signal.Signals) -> None:
    script = (
        "import os, sys; from serving.launch import run_until_stopped; "
        "sys.exit(run_until_stopped([sys.executable, '-c', sys.argv[1]], dict(os.environ)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, STUB], stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(how)
        assert process.wait(LONGEST_STOP) == 0
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.communicate()


def test_a_server_that_ends_by_itself_ends_the_command_with_its_code() -> None:
    with signals_as_before():
        assert launch.run_until_stopped([sys.executable, "-c", "raise SystemExit(7)"], dict(os.environ)) == 7


BESIDE = (
    "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(__import__('os').getpid())); time.sleep(60)"
)


def test_what_runs_beside_the_server_ends_with_it(tmp_path: Path) -> None:
    told = tmp_path / "beside"
    # The server ends as soon as what runs beside it has begun.
    server = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)"
    with signals_as_before():
        beside = [sys.executable, "-c", BESIDE, str(told)]
        code = launch.run_until_stopped([sys.executable, "-c", server, str(told)], dict(os.environ), None, beside)
    assert code == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text() or "0"), 0)


def test_a_server_that_cannot_begin_is_ended_and_the_reason_told() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def begun(server: subprocess.Popen[bytes]) -> None:
        started.append(server)
        raise ArtifactError("damaged")

    with signals_as_before(), pytest.raises(ArtifactError, match="damaged"):
        launch.run_until_stopped([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), begun)
    assert started[0].returncode == -signal.SIGTERM


def test_a_server_that_does_not_end_when_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LONGEST_STOP", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        launch._end(server)
    assert server.returncode == -signal.SIGKILL


@contextmanager
def signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


# --- what the server is told ------------------------------------------------------------------

Launched = list[tuple[list[str], dict[str, str], list[str]]]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_folder: Path) -> Launched:
    """What would have been run: command, environment and what beside, a launch each."""
    seen: Launched = []

    def run(command: list[str], environment: dict[str, str], _: object, beside: list[str]) -> int:
        seen.append((command, environment, beside))
        return 0

    monkeypatch.setattr(launch, "run_until_stopped", run)
    monkeypatch.chdir(tmp_path)
    for name in (KEYS, WORKERS):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(model_folder, tmp_path / "model")
    return seen


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_server_is_told_its_model_its_address_and_where_receipts_are_kept(
    launched: Launched, tmp_path: Path
) -> None:
    port = free_port()
    assert launch.launch(Order(Path("model"), "0.0.0.0", port, "kept"), ["beside"]) == 0
    [(command, environment, beside)] = launched
    assert command[command.index("--port") : command.index("--port") + 4] == ["--port", str(port), "--host", "0.0.0.0"]
    # It runs in another folder than the caller.
    assert environment["PQL_MODEL"] == str(tmp_path / "model")
    assert environment["PQL_RECEIPTS"] == str(tmp_path / "kept")
    assert environment["PQL_WORKERS"] == "1"
    assert KEYS not in environment
    assert beside == ["beside"]


def test_the_server_is_told_its_keys_and_its_workers(launched: Launched, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(new_key("app", ("score",))[1] + "\n", encoding="utf-8")
    launch.launch(Order(Path("model"), port=free_port(), keys=Path("keys.txt"), workers=3))
    assert launched[0][1][KEYS] == str(tmp_path / "keys.txt")
    assert launched[0][1][WORKERS] == "3"


def test_a_server_that_keeps_no_receipts_is_told_so(launched: Launched) -> None:
    launch.launch(Order(Path("model"), port=free_port()))
    assert launched[0][1]["PQL_RECEIPTS"] == "none"


def test_what_the_caller_has_set_for_the_server_stays(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    launch.launch(Order(Path("model"), port=free_port()))
    assert launched[0][1]["OMP_NUM_THREADS"] == "3"
    assert launched[0][1]["BENTOML_DO_NOT_TRACK"] == "True"


# --- what ends before it begins ---------------------------------------------------------------


def test_a_damaged_model_is_told_before_a_server_is_started(launched: Launched, tmp_path: Path) -> None:
    (tmp_path / "model" / "booster.txt").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"/model/booster\.txt: its SHA-256 is not"):
        launch.launch(Order(Path("model"), port=free_port()))
    assert not launched


def test_keys_that_cannot_be_read_are_told_before_a_server_is_started(launched: Launched) -> None:
    with pytest.raises(InvalidInput, match=r"nokeys\.txt"):
        launch.launch(Order(Path("model"), port=free_port(), keys=Path("nokeys.txt")))
    assert not launched


def test_a_setting_that_cannot_be_used_is_told_before_a_server_is_started(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PQL_ACCESS_LOG", "some")
    with pytest.raises(InvalidInput, match=r"PQL_ACCESS_LOG: must be one of all, refused, none, got 'some'"):
        launch.launch(Order(Path("model"), port=free_port()))
    assert not launched


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_address_that_is_in_use_is_told(host: str) -> None:
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            InvalidInput, match=rf"cannot listen on {host}:{port} \(Address already in use\)\. Stop what"
        ):
            launch.check_address(host, port)
    launch.check_address(host, port)


def test_a_host_that_is_a_name_is_refused_with_an_address() -> None:
    with pytest.raises(InvalidInput, match=r"--host must be an address such as 127\.0\.0\.1 or 0\.0\.0\.0, got 'here'"):
        launch.check_address("here", 3000)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.7", "::", "2001:db8::1"])
def test_where_others_can_reach_it_keys_are_needed_or_it_is_meant_to_be_open(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"no keys are asked for\. Make one with `pql key NAME`.*--open"):
        launch.check_open(host, None, everybody=False)
    launch.check_open(host, None, everybody=True)
    launch.check_open(host, Path("keys.txt"), everybody=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_at_home_no_keys_are_needed(host: str) -> None:
    launch.check_open(host, None, everybody=False)


# --- until it is ready ------------------------------------------------------------------------


class Process:
    """A server that runs."""

    def __init__(self, code: int | None = None) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code


def ready(process: Process, order: Order) -> bool:
    return launch._ready(cast("subprocess.Popen[bytes]", process), order)


def test_a_server_is_ready_when_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([False, False, True])
    monkeypatch.setattr(launch, "_says_ready", lambda host, port: (host, port) == ("127.0.0.1", 1) and next(said))
    assert ready(Process(), Order(Path("model"), "0.0.0.0", 1))


def test_a_server_that_ended_is_not_waited_for() -> None:
    assert not ready(Process(1), Order(Path("model")))


def test_a_model_that_only_trying_finds_damaged_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path
) -> None:
    monkeypatch.setattr(launch, "USUAL_START", 0.0)
    monkeypatch.setattr(launch, "_says_ready", lambda *_: False)

    def died(folder: Path) -> str:
        raise ArtifactError(f"{folder}: the process that tried the model was ended by SIGSEGV.", "check_died")

    monkeypatch.setattr(launch, "examined", died)
    with pytest.raises(ArtifactError, match=rf"^{model_folder}: the process that tried the model"):
        ready(Process(), Order(model_folder))


def test_a_server_that_is_never_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "LONGEST_START", 0.2)
    with pytest.raises(PQLError, match=r"the server was not ready within 0\.2 s; what it wrote above says why"):
        ready(Process(), Order(Path("model"), port=free_port()))


@pytest.mark.parametrize(
    ("answer", "expected"), [(b"HTTP/1.1 200 OK", True), (b"HTTP/1.1 503 No", False), (b"?", False)]
)
def test_what_it_says_is_its_status(answer: bytes, expected: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        told = Thread(target=_answer, args=(server, answer))
        told.start()
        assert launch._says_ready("127.0.0.1", server.getsockname()[1]) is expected
        told.join()


def _answer(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        assert connection.recv(1000).startswith(b"GET /readyz HTTP/1.1")
        connection.sendall(answer + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


@pytest.mark.parametrize(("said", "meant"), [(None, "jobs"), ("kept/jobs", "kept/jobs")])
def test_batch_jobs_are_kept_where_the_caller_stands_and_not_beside_the_code(
    said: str | None, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(JOBS, raising=False) if said is None else monkeypatch.setenv(JOBS, said)
    assert Order(tmp_path).environment[JOBS] == str(tmp_path / meant)

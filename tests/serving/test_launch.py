"""The server that the command starts gets its model and its settings, and ends as the command is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving import launch

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
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        assert launch.run_until_stopped([sys.executable, "-c", "raise SystemExit(7)"], dict(os.environ)) == 7
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


Launched = list[tuple[list[str], dict[str, str]]]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Launched:
    """What would have been run, one command and environment a launch."""
    seen: Launched = []

    def run(command: list[str], environment: dict[str, str]) -> int:
        seen.append((command, environment))
        return 0

    monkeypatch.setattr(launch, "run_until_stopped", run)
    monkeypatch.chdir(tmp_path)
    return seen


def test_the_server_is_told_its_model_its_address_and_where_receipts_are_kept(
    launched: Launched, tmp_path: Path
) -> None:
    assert launch.launch(Path("model"), "0.0.0.0", 3001, "kept") == 0
    [(command, environment)] = launched
    assert command[-4:] == ["--port", "3001", "--host", "0.0.0.0"]
    # It runs in another folder than the caller.
    assert environment["PQL_MODEL"] == str(tmp_path / "model")
    assert environment["PQL_RECEIPTS"] == str(tmp_path / "kept")


def test_a_server_that_keeps_no_receipts_is_told_so(launched: Launched) -> None:
    launch.launch(Path("model"), "127.0.0.1", 3000, "none")
    assert launched[0][1]["PQL_RECEIPTS"] == "none"


def test_what_the_caller_has_set_for_the_server_stays(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    launch.launch(Path("model"), "127.0.0.1", 3000, "none")
    assert launched[0][1]["OMP_NUM_THREADS"] == "3"
    assert launched[0][1]["BENTOML_DO_NOT_TRACK"] == "True"

"""The real server as a process of its own, and what any of them must be able to do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from serving import feature_requests, requests
from serving.answering import result_body
from serving.asking import decode
from serving.scoring.scorer import Scorer

ROOT = Path(__file__).parents[2]
LEAD, FEATURES = (ROOT / "examples" / name for name in ("lead.json", "features.json"))
JSON = "application/json"
LONGEST_START, LONGEST_STOP = 120.0, 30.0


class Answered(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))


@dataclass
class Server:
    """A server in a session of its own, and the processes that it started."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, path: str, body: bytes | None = None, kind: str = JSON, method: str | None = None, **headers: str
    ) -> Answered:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        told |= {} if body is None else {"content-type": kind}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, told, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answered(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as refused:
            return Answered(refused.code, dict(refused.headers), refused.read())

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + LONGEST_START
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(OSError):
                if self.ask("/readyz").status == 200:
                    return
            time.sleep(0.05)
        pytest.fail(f"not ready after {LONGEST_START} s: {self.log.read_text()}")

    def wait_for_version(self, version: str, seconds: float = 30.0) -> None:
        """Wait until a version is in service: one that was promoted must be within 30 s."""
        deadline = time.monotonic() + seconds
        while (found := self.ask("/readyz").json()["model_version"]) != version:
            assert time.monotonic() < deadline, f"{found} is still in service"
            time.sleep(0.1)

    def family(self) -> set[int]:
        """Return the ids of the process and of all that descend from it."""
        parents = dict(alive())
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def stop(self, how: signal.Signals) -> set[int]:
        """Send a signal to the one process that was started, wait, and return who is still there."""
        family = self.family()
        assert len(family) >= 2
        self.process.send_signal(how)
        self.process.wait(LONGEST_STOP)
        deadline = time.monotonic() + 5
        while (left := family & {pid for pid, _ in alive()}) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


def alive() -> Iterator[tuple[int, int]]:
    """Yield (process, its parent) for every process that has not ended."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            yield int(path.parent.name), int(parent)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], port: int, scratch: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Yield a server that is ready, in another folder than the project's: nothing may depend on where it is started."""
    log = scratch / "log"
    told = {**os.environ, "BENTOML_HOME": str(scratch / "bento"), "PYTHONUNBUFFERED": "1", **environment}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=scratch, env=told, start_new_session=True)
    server = Server(process, port, log)
    try:
        server.wait_until_ready()
        yield server
    finally:
        for pid in server.family() if process.poll() is None else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(LONGEST_STOP)


# --- what any server of ours must be able to do -----------------------------------------------


def check_smoke(server: Server, scorer: Scorer) -> None:
    """Check every route once, the scoring ones against the same request in process."""
    check_scores(server, scorer)
    check_batch(server, scorer)
    assert server.ask("/livez").json() == {"status": "alive"}
    assert server.ask("/readyz").json() == {"status": "ready", "model_version": scorer.version}
    assert server.ask("/model").json()["model_version"] == scorer.version
    assert set(server.ask("/docs.json").json()["paths"]) >= {"/score", "/score_features", "/score_batch", "/model"}
    assert b"pql_scores_total" in server.ask("/metrics").body


def check_scores(server: Server, scorer: Scorer) -> None:
    for path, example, room in (("/score", LEAD, requests), ("/score_features", FEATURES, feature_requests)):
        answer = server.ask(path, example.read_bytes())
        assert answer.status == 200, answer.body
        told = answer.json()
        assert told["model_version"] == scorer.version
        expected = [result_body(one) for one in room.score(scorer, decode(example.read_bytes()), 0)]
        assert told["results"] == json.loads(msgspec.json.encode(expected))
        assert 0 < told["results"][0]["probability"] < 1
        assert told["results"][0]["reasons"]


def check_batch(server: Server, scorer: Scorer) -> None:
    lead = json.loads(FEATURES.read_bytes())["leads"][0]
    line = {"lead_id": lead["lead_id"], "as_of": json.loads(FEATURES.read_bytes())["as_of"], **lead["features"]}
    task = server.ask("/score_batch", json.dumps(line).encode() + b"\n", "application/x-ndjson").json()
    deadline = time.monotonic() + 60
    while (status := server.ask(f"/score_batch/status?task_id={task['task_id']}").json())["status"] == "in_progress":
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    assert status["status"] == "success", status
    (told,) = server.ask(f"/score_batch/result?task_id={task['task_id']}").body.splitlines()
    (expected,) = feature_requests.score(scorer, decode(FEATURES.read_bytes()), 0)
    assert json.loads(told)["probability"] == expected.probability  # type: ignore[union-attr]

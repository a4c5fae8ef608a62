"""The real server, started as an operator starts it: it answers, it stops when told, and it does not start on a bad model."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import pql
from features.errors import ArtifactError
from features.times import parse_instant
from serving.requests import decode, result_body, score
from serving.scoring.artifact import load
from serving.scoring.scorer import Scorer

ROOT = Path(__file__).parents[2]
README_LEAD = ROOT / "examples" / "lead.json"
LONGEST_START, LONGEST_STOP = 120.0, 30.0


@dataclass
class Server:
    """A `pql serve` of ours, in a session of its own, and the processes that it started."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
        headers = {} if body is None else {"content-type": kind}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + LONGEST_START
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.ask("/readyz")[0] == 200:
                    return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"not ready after {LONGEST_START} s: {self.log.read_text()}")

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
        assert len(family) >= 3  # ours, BentoML's, and its worker
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


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start(model_folder, tmp_path_factory.mktemp("server"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        for pid in server.family() if server.process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        server.process.wait(LONGEST_STOP)


def start(folder: Path, scratch: Path) -> Server:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "BENTOML_HOME": str(scratch / "bento"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pql", "serve", "--model", str(folder), "--port", str(port)]
    log = scratch / "log"
    with log.open("wb") as out:
        # In another folder than the project's: nothing may depend on where it is started.
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=scratch, env=environment, start_new_session=True
        )
    return Server(process, port, log)


def test_the_lead_of_the_readme_is_scored_as_in_process(server: Server, scorer: Scorer) -> None:
    body = README_LEAD.read_bytes()
    status, answer = server.ask("/score", body)
    assert status == 200
    told = json.loads(answer)
    assert told["model_version"] == scorer.artifact.version
    expected = [result_body(one) for one in score(scorer, decode(body), 0)]
    assert told["results"] == json.loads(msgspec.json.encode(expected))
    (lead,) = told["results"]
    assert lead["reasons"]
    assert 0 < lead["probability"] < 1


def test_the_default_moment_is_now(server: Server) -> None:
    body = {"leads": [{"user_id": "u", "started_at": "2026-01-01T00:00:00Z"}]}
    before = time.time_ns() // 1_000
    _, answer = server.ask("/score", json.dumps(body).encode())
    assert before <= parse_instant(json.loads(answer)["results"][0]["as_of"], "as_of") <= time.time_ns() // 1_000


def test_health_and_metrics_are_there(server: Server) -> None:
    assert server.ask("/livez")[0] == 200
    assert server.ask("/readyz")[0] == 200
    server.ask("/score", b"{}")
    status, metrics = server.ask("/metrics")
    assert status == 200
    counted = [line for line in metrics.decode().splitlines() if line.startswith("bentoml_service_request_total")]
    assert any('endpoint="/score"' in line and 'http_response_code="400"' in line for line in counted)


def test_the_model_in_service_is_told(server: Server, scorer: Scorer) -> None:
    status, answer = server.ask("/model")
    assert (status, json.loads(answer)["model_version"]) == (200, scorer.artifact.version)


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "code"),
    [
        ("/score", b"{}", "application/json", 400, "invalid_input"),
        ("/score", b"{}", "text/plain", 415, "unsupported_media_type"),
        ("/score", b"\x80\x04.", "application/vnd.bentoml+pickle", 415, "unsupported_media_type"),
        ("/score", b" " * 9_000_000, "application/json", 413, "too_large"),
        ("/score", None, "", 405, "method_not_allowed"),
        ("/livez", b"{}", "application/json", 405, "method_not_allowed"),
        ("/nowhere", None, "", 404, "not_found"),
    ],
)
def test_every_refusal_has_the_one_shape(
    server: Server, path: str, body: bytes | None, kind: str, status: int, code: str
) -> None:
    found, answer = server.ask(path, body, kind)
    assert found == status, answer
    assert json.loads(answer)["error"]["code"] == code
    assert json.loads(answer)["error"]["message"]


def test_told_to_stop_it_ends_with_all_that_it_started(server: Server) -> None:
    assert server.ask("/livez")[0] == 200
    assert server.stop(signal.SIGTERM) == set()
    assert server.process.returncode == 0, server.log.read_text()
    log = server.log.read_text()
    assert "Serving version" in log
    assert "Traceback" not in log
    with pytest.raises(OSError, match=r"refused"):
        server.ask("/livez")


# --- what must not be served ------------------------------------------------------------------


def flipped(folder: Path) -> None:
    content = bytearray((folder / "booster.txt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "booster.txt").write_bytes(content)


def wrong_examples(folder: Path) -> None:
    """Write a folder whole in itself, whose examples do not get the scores that they must."""
    artifact = load(folder)
    replace(artifact, expected=artifact.expected * 0.9).save(folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            flipped,
            r"ArtifactError: .*booster\.txt: its SHA-256 is not the one in scorer\.json\. Publish the version again",
        ),
        (wrong_examples, r"ArtifactError: booster\.txt: a stored example must score .* and scores"),
        (lambda folder: (folder / "pql.yaml").unlink(), r"ArtifactError: .*pql\.yaml: cannot be read"),
    ],
    ids=["damaged", "scores otherwise", "a file is missing"],
)
def test_it_does_not_start_on_a_model_that_must_not_be_served(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, sentence: str
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "bad")
    damage(folder)
    monkeypatch.setattr("serving.launch.subprocess.Popen", lambda *_, **__: pytest.fail("the server was started"))
    result = CliRunner().invoke(pql.main, ["serve", "--model", str(folder)])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.match(sentence, result.stderr)


def test_a_damaged_model_ends_the_real_command_with_one_sentence(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "bad")
    flipped(folder)
    command = [sys.executable, "-m", "pql", "serve", "--model", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_START, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ArtifactError: ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def service() -> Iterator[Any]:
    """The service class itself, as BentoML's worker makes it."""
    from serving import service

    yield service
    gc.unfreeze()


def test_the_service_loads_the_folder_that_it_is_told(
    service: Any, scorer: Scorer, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(service.MODEL_FOLDER, str(model_folder))
    service.PQLService.inner()
    assert service.routes.state.desk.scorer.artifact.version == scorer.artifact.version
    assert service.PQLService.name == "pql"


def test_the_service_refuses_a_damaged_model(
    service: Any, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "bad")
    flipped(folder)
    monkeypatch.setenv(service.MODEL_FOLDER, str(folder))
    with pytest.raises(ArtifactError, match=r"its SHA-256"):
        service.PQLService.inner()


SCORE_WITHOUT = """
import json, sys
unwanted = ("mlflow", "shap", "sklearn", "matplotlib", "pandas", "training", "hypothesis", "pytest")
for name in unwanted:
    sys.modules[name] = None  # LightGBM takes what it finds; so nothing of this can be found
import serving.http, serving.requests, serving.scoring.scorer, serving.batch, serving.service
from pathlib import Path
scorer = serving.scoring.scorer.Scorer.from_folder(Path(sys.argv[1]))
request = serving.requests.decode(Path(sys.argv[2]).read_bytes())
(answer,) = serving.requests.score(scorer, request, 0)
loaded = sorted(name for name, module in sys.modules.items() if module and name.partition(".")[0] in unwanted)
print(json.dumps({"probability": answer.probability, "reasons": len(answer.reasons), "loaded": loaded}))
"""


def test_scoring_needs_nothing_that_only_training_needs(model_folder: Path, scorer: Scorer, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCORE_WITHOUT, str(model_folder), str(README_LEAD)]
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_START, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    (expected,) = score(scorer, decode(README_LEAD.read_bytes()), 0)
    told = json.loads(done.stdout)
    assert told == {"probability": expected.probability, "reasons": 3, "loaded": []}  # type: ignore[union-attr]

"""The real server, started as an operator starts it: it answers, it stops when told, and it does not start on a bad model."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import pql
from features.errors import ArtifactError
from features.times import parse_instant
from serving.asking import decode
from serving.requests import score
from serving.scoring.artifact import load
from serving.scoring.scorer import Scorer
from tests.serving.server import LEAD, LONGEST_START, Server, check_smoke, free_port, running


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port, scratch = free_port(), tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "pql", "serve", "--model", str(model_folder), "--port", str(port)]
    with running(command, port, scratch, {}) as server:
        yield server


def test_every_route_does_what_it_says(server: Server, scorer: Scorer) -> None:
    check_smoke(server, scorer)


def test_the_default_moment_is_now(server: Server) -> None:
    body = {"leads": [{"user_id": "u", "started_at": "2026-01-01T00:00:00Z"}]}
    before = time.time_ns() // 1_000
    answer = server.ask("/score", json.dumps(body).encode()).json()
    assert before <= parse_instant(answer["results"][0]["as_of"], "as_of") <= time.time_ns() // 1_000


def test_what_is_asked_is_counted(server: Server) -> None:
    server.ask("/score", b"{}")
    counted = server.ask("/metrics").body.decode().splitlines()
    assert any(line.startswith("pql_requests_total{") and 'route="/score",status="400"' in line for line in counted)


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
        # What BentoML would answer by itself.
        ("/", None, "", 404, "not_found"),
        ("/schema.json", None, "", 404, "not_found"),
        ("/healthz", None, "", 404, "not_found"),
        ("/static_content/index.css", None, "", 404, "not_found"),
    ],
)
def test_every_refusal_has_the_one_shape(
    server: Server, path: str, body: bytes | None, kind: str, status: int, code: str
) -> None:
    answer = server.ask(path, body, kind)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


def test_told_to_stop_it_ends_with_all_that_it_started(server: Server) -> None:
    assert server.ask("/livez").status == 200
    assert server.stop(signal.SIGTERM) == set()
    assert server.process.returncode == 0, server.log.read_text()
    log = server.log.read_text()
    assert "Ready on http://127.0.0.1" in log
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
        (lambda folder: (folder / "pql.yaml").unlink(), r"ArtifactError: .*pql\.yaml: cannot be read"),
    ],
    ids=["damaged", "a file is missing"],
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


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (flipped, r"ArtifactError: .*its SHA-256"),
        (wrong_examples, r"(?s).*ArtifactError: .*a stored example must score"),
    ],
)
def test_a_model_that_must_not_be_served_ends_the_real_command_with_one_sentence(
    model_folder: Path, tmp_path: Path, damage: Any, sentence: str
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "bad")
    damage(folder)
    command = [sys.executable, "-m", "pql", "serve", "--model", str(folder), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_START, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert re.match(sentence, done.stderr)
    assert "Traceback (most recent call last):\n" not in done.stderr


@pytest.fixture
def service() -> Iterator[Any]:
    """The service class itself, as BentoML's worker makes it."""
    from serving import service

    yield service
    gc.unfreeze()


def test_the_service_loads_the_folder_that_it_is_told(
    service: Any, scorer: Scorer, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PQL_MODEL", str(model_folder))
    made = service.PQLService.inner()
    assert made.opened.desk.holder.served.scorer.version == scorer.version
    assert service.PQLService.name == "pql"
    made.close()


def test_what_a_version_tells_of_its_data_does_not_keep_it_from_being_served(
    service: Any, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = replace(scorer.artifact, training={**scorer.artifact.training, "data_until": "soon"})
    monkeypatch.setenv("PQL_MODEL", str(told.save(tmp_path / "told")))
    made = service.PQLService.inner()
    assert made.opened.desk.holder.served.scorer.version == told.version
    made.close()


def test_the_service_refuses_a_damaged_model(
    service: Any, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "bad")
    flipped(folder)
    monkeypatch.setenv("PQL_MODEL", str(folder))
    with pytest.raises(ArtifactError, match=r"its SHA-256"):
        service.PQLService.inner()


SCORE_WITHOUT = """
import json, sys
unwanted = ("mlflow", "shap", "sklearn", "matplotlib", "pandas", "training", "hypothesis", "pytest")
for name in unwanted:
    sys.modules[name] = None  # LightGBM takes what it finds; so nothing of this can be found
import serving.requests, serving.scoring.scorer, serving.batch, serving.service
from pathlib import Path
scorer = serving.scoring.scorer.Scorer.from_folder(Path(sys.argv[1]))
(answer,) = serving.requests.score(scorer, serving.requests.decode(Path(sys.argv[2]).read_bytes()), 0)
loaded = sorted(name for name, module in sys.modules.items() if module and name.partition(".")[0] in unwanted)
print(json.dumps({"probability": answer.probability, "reasons": len(answer.reasons), "loaded": loaded}))
"""


def test_scoring_needs_nothing_that_only_training_needs(model_folder: Path, scorer: Scorer, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCORE_WITHOUT, str(model_folder), str(LEAD)]
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_START, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    (expected,) = score(scorer, decode(LEAD.read_bytes()), 0)
    told = json.loads(done.stdout)
    assert told == {"probability": expected.probability, "reasons": 3, "loaded": []}  # type: ignore[union-attr]

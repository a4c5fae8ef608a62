"""The Bento that `make bento` builds: two packages and a model, built without asking a registry, and it serves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving.scoring.scorer import Scorer
from tests.serving.server import ROOT, Server, check_smoke, free_port, running

STORE = """
import shutil, sys
from pathlib import Path
import bentoml
with bentoml.models.create("pql-scorer:made") as model:
    for path in Path(sys.argv[1]).iterdir():
        shutil.copyfile(path, model.path_of(path.name))
"""
SPEAKS_TO_NOBODY = {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1", "BENTOML_DO_NOT_TRACK": "True"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A Bento home with the model and the Bento built of it."""
    home = tmp_path_factory.mktemp("bento-home")
    environment = {**os.environ, "BENTOML_HOME": str(home), **SPEAKS_TO_NOBODY}
    subprocess.run([sys.executable, "-c", STORE, str(model_folder)], env=environment, check=True, timeout=120)
    build = [sys.executable, "-m", "bentoml", "build", "--version", "made"]
    subprocess.run(build, cwd=ROOT, env=environment, check=True, timeout=300, capture_output=True)
    return home


def test_it_holds_two_packages_and_nothing_else(home: Path) -> None:
    sources = home / "bentos" / "pql" / "made" / "src"
    held = {path.relative_to(sources).as_posix() for path in sources.rglob("*") if path.is_file()}
    ours = {
        path.relative_to(ROOT).as_posix() for name in ("features", "serving") for path in (ROOT / name).rglob("*.py")
    }
    assert {path for path in held if path.endswith(".py")} == ours
    assert not {path for path in held if not path.startswith(("features/", "serving/"))} - {"bentofile.yaml"}


def test_its_requirements_are_the_lock(home: Path) -> None:
    told = (home / "bentos" / "pql" / "made" / "env" / "python" / "requirements.txt").read_text()
    assert pins(told) >= pins((ROOT / "requirements" / "serve.lock").read_text())


def pins(lock: str) -> set[tuple[str, str]]:
    """Return name and version of each line; how a marker is quoted does not matter."""
    found = [Requirement(line) for line in lock.splitlines() if line.strip() and line[0] not in "#-"]
    return {(canonicalize_name(one.name), str(one.specifier)) for one in found}


@pytest.fixture(scope="module")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Bento, served where the project is nowhere to be found."""
    port, scratch = free_port(), tmp_path_factory.mktemp("served")
    environment = {"BENTOML_HOME": str(home), "PYTHONPATH": "", "OTEL_SDK_DISABLED": "true", **SPEAKS_TO_NOBODY}
    command = [sys.executable, "-P", "-m", "bentoml", "serve", "pql:made", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port, scratch, environment) as server:
        yield server


def test_it_serves_as_the_project_does(server: Server, scorer: Scorer) -> None:
    check_smoke(server, scorer)


def test_nothing_of_a_lead_becomes_part_of_it(server: Server, home: Path) -> None:
    assert server.ask("/livez").status == 200
    files = {path.name for path in (home / "bentos" / "pql" / "made" / "src").iterdir()}
    assert not files & {"jobs", "receipts"}
    assert list((home / "pql" / "jobs").iterdir())


def test_another_model_in_its_store_is_served_without_a_restart(
    server: Server, home: Path, other_model: tuple[Path, Scorer]
) -> None:
    folder, other = other_model
    environment = {**os.environ, "BENTOML_HOME": str(home), **SPEAKS_TO_NOBODY}
    store = STORE.replace("pql-scorer:made", "pql-scorer:other")
    subprocess.run([sys.executable, "-c", store, str(folder)], env=environment, check=True, timeout=120)
    server.wait_for_version(other.version)
    shutil.rmtree(home / "models" / "pql-scorer" / "other", ignore_errors=True)

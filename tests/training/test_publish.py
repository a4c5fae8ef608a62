"""What is built into a Bento is the version that was registered, with what is told of it, and the service takes it from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import InvalidInput
from serving.models.served import About
from serving.models.shelf import about_in, private_copy
from serving.models.verifying import check_files
from serving.scoring.artifact import FILES
from serving.scoring.scorer import Scorer
from training import publish, tracking
from training.tracking import Version

ROOT = Path(__file__).parents[2]
STORE = """
import sys
from pathlib import Path
from training import publish, tracking
from training.tracking import Version

def fetch(name, into):
    assert name == "pql-scorer/4", name
    return Path(sys.argv[1])

tracking.version_called = lambda name: Version(4, "c", ("champion",), 0, "Promoted.", {"auc": 0.8})
tracking.fetch = fetch
tag = publish.publish("pql-scorer@champion")
import bentoml
print(tag, bentoml.models.get("pql-scorer:latest").path, sep="\\n")
"""


@pytest.fixture(scope="module")
def stored(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The tag that was made, and the folder in the store; in a process of its own, for a store is one for all of a process."""
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path_factory.mktemp("bento")), "BENTOML_DO_NOT_TRACK": "True"}
    copy = shutil.copytree(model_folder, tmp_path_factory.mktemp("fetched") / "artifact")
    done = subprocess.run(
        [sys.executable, "-c", STORE, str(copy)], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    tag, folder = done.stdout.splitlines()
    return tag, Path(folder)


def test_the_store_has_the_bytes_that_were_registered(
    stored: tuple[str, Path], model_folder: Path, scorer: Scorer
) -> None:
    tag, folder = stored
    assert tag == f"pql-scorer:{scorer.version}"
    assert {name: (folder / name).read_bytes() for name in FILES} == {
        name: (model_folder / name).read_bytes() for name in FILES
    }


def test_what_the_registry_knows_is_told_beside_them(stored: tuple[str, Path]) -> None:
    told = about_in(stored[1])
    assert told == About(number=4, trained_at="1970-01-01T00:00:00Z", verdict="Promoted.", figures={"auc": 0.8})


def test_the_service_can_take_it_from_there(stored: tuple[str, Path]) -> None:
    with private_copy(stored[1]) as copy:
        check_files(copy)


def test_a_version_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: str) -> Version | None:
        return None

    monkeypatch.setattr(tracking, "version_called", nobody)
    with pytest.raises(InvalidInput, match=r"there is no model 'pql-scorer@nobody' in the registry\. Train one"):
        publish.publish("pql-scorer@nobody")

"""A shelf follows the registry: what is promoted is brought, and while the registry is gone all stays as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.dataset import Dataset
from features.errors import ArtifactError, InvalidInput
from serving.models.shelf import Shelf
from serving.scoring.artifact import FILES, Artifact
from serving.scoring.calibration import Sigmoid
from training import shelving, tracking
from training.pipeline import Trained
from training.promote import Verdict
from training.record import figures
from training.registry import telling
from training.shelving import HEADLINES, Follower, about, bring, follow
from training.tracking import Version

ROOT = Path(__file__).parents[2]
NAME = "pql-scorer@champion"


def shifted(artifact: Artifact, by: float) -> Artifact:
    """Another version: the same ranking with every log-odds moved."""
    calibration = Sigmoid(artifact.calibration.slope, artifact.calibration.shift + by)
    odds = np.log(artifact.expected / (1 - artifact.expected)) + by
    return replace(artifact, calibration=calibration, expected=1 / (1 + np.exp(-odds)))


@dataclass(frozen=True)
class Registry:
    """Two versions, the first of them in service."""

    database: Path
    names: tuple[str, str]


@pytest.fixture(scope="module")
def made(trained: Trained, history: Dataset, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    home = tmp_path_factory.mktemp("registry")
    versions = (trained, replace(trained, artifact=shifted(trained.artifact, 0.1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(empty_store, home / 'mlflow.db')}")
        patch.chdir(home)
        for one in versions:
            entry = telling.of_trained(one, history, Verdict(promote=True, why="Promoted: better."), figures(one))
            tracking.log(home, (), entry)
        tracking.promote(1, "train", "Promoted: better.")
    return Registry(home / "mlflow.db", (versions[0].artifact.version, versions[1].artifact.version))


@pytest.fixture
def registry(made: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry, whose aliases each test may move as it likes."""
    database = shutil.copyfile(made.database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.chdir(tmp_path)
    return replace(made, database=Path(database))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "served")


@dataclass
class Heard:
    """What a follower says."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


# --- one version ------------------------------------------------------------------------------


def test_what_is_in_service_is_brought_byte_for_byte_and_pointed_to(registry: Registry, shelf: Shelf) -> None:
    assert bring(NAME, shelf) == registry.names[0]
    assert shelf.current() == registry.names[0]
    fetched = tracking.fetch(NAME, shelf.folder.parent / "fetched")
    put = shelf.folder / registry.names[0]
    assert {name: (put / name).read_bytes() for name in FILES} == {
        name: (fetched / name).read_bytes() for name in FILES
    }
    assert shelf.followed() == NAME


def test_what_the_registry_knows_is_told_beside_it(registry: Registry, shelf: Shelf) -> None:
    bring(NAME, shelf)
    told = shelf.about(registry.names[0])
    assert told is not None
    known = tracking.versions()[-1]
    assert (told.number, told.verdict) == (1, "Promoted: better.")
    assert told.promoted_at == known.tags["promoted_at"]
    assert told.trained_at is not None
    assert told.trained_at.endswith("Z")
    assert told.figures["auc"] == known.figures["auc"]
    assert {"auc_low", "auc_high"} <= set(told.figures)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("name", ["pql-scorer@nobody", "pql-scorer/99", "other@champion"])
def test_a_version_that_is_not_there_is_named_and_leaves_no_shelf(shelf: Shelf, name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"there is no model '{name}' in the registry"):
        bring(name, shelf)
    assert not shelf.folder.exists()


def test_a_version_that_is_named_by_number_is_brought(registry: Registry, shelf: Shelf) -> None:
    assert bring("pql-scorer/2", shelf) == registry.names[1]


@pytest.mark.parametrize("name", ["pql-scorer", "@champion", "a/b/c", "pql-scorer@x@y", "pql-scorer/x", "x' OR 1@y"])
def test_a_name_that_is_none_is_refused_without_asking(shelf: Shelf, name: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"there is no model .*\. Name a folder that is there, NAME@alias or NAME/version"
    ):
        bring(name, shelf)


def test_what_is_damaged_in_the_registry_is_not_put_on_the_shelf(registry: Registry, shelf: Shelf) -> None:
    bring("pql-scorer/2", shelf)
    paths = [path for path in made_files(tracking.versions()[-1]) if path.name == "booster.txt"]
    before = paths[0].read_bytes()
    paths[0].write_bytes(before[:-1])
    try:
        with pytest.raises(ArtifactError, match=r"^pql-scorer/1/booster\.txt: its SHA-256"):
            bring("pql-scorer/1", shelf)
    finally:
        paths[0].write_bytes(before)
    assert shelf.current() == registry.names[1]
    assert shelf.followed() == "pql-scorer/2"


def made_files(version: Version) -> Iterator[Path]:
    with tracking._client() as client:
        uri = client.get_run(version.run).info.artifact_uri
    yield from Path(uri.removeprefix("file://")).rglob("*")


def test_figures_that_are_no_number_are_not_told() -> None:
    told = about(Version(1, "c", (), 0, "", {"auc": float("nan"), "log_loss": 0.5, "day_3_auc": 0.7}))
    assert told.figures == {"log_loss": 0.5}
    assert told.verdict is None
    assert msgspec.json.decode(msgspec.json.encode(told)) == msgspec.to_builtins(told)


def test_every_headline_is_a_figure_that_training_writes(trained: Trained) -> None:
    assert set(HEADLINES) <= set(figures(trained))


# --- following --------------------------------------------------------------------------------


def test_a_promotion_is_brought_at_the_next_look(registry: Registry, shelf: Shelf, heard: Heard) -> None:
    follower = Follower(NAME, shelf, heard)
    follower.look()
    tracking.promote(2, "promote", "by hand")
    follower.look()
    assert shelf.current() == registry.names[1]
    assert [line[:40] for line in heard.lines] == [
        "pql-scorer@champion is version 1 (" + registry.names[0][:6], "pql-scorer@champion is version 2 (" + registry.names[1][:6]
    ]  # fmt: skip
    told = shelf.about(registry.names[1])
    assert told is not None
    assert told.number == 2


def test_while_nothing_is_promoted_nothing_is_fetched(
    registry: Registry, shelf: Shelf, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(NAME, shelf, heard)
    follower.look()
    monkeypatch.setattr(tracking, "fetch", lambda *_: pytest.fail("fetched again"))
    follower.look()
    assert len(heard.lines) == 1
    assert shelf.current() == registry.names[0]


def test_what_lies_on_the_shelf_already_is_not_fetched_again(
    registry: Registry, shelf: Shelf, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(NAME, shelf)
    monkeypatch.setattr(tracking, "fetch", lambda *_: pytest.fail("fetched again"))
    Follower(NAME, shelf, heard).look()
    assert shelf.current() == registry.names[0]


def test_another_registry_whose_numbers_are_the_same_is_not_taken_for_this_one(
    registry: Registry, shelf: Shelf, heard: Heard
) -> None:
    bring("pql-scorer/2", shelf)
    shelf.follow(NAME)
    other = shelf.about(registry.names[1])
    assert other is not None
    shelf.put(shelf.folder / registry.names[1], msgspec.structs.replace(other, number=1))
    Follower(NAME, shelf, heard).look()
    assert shelf.current() == registry.names[0]


def test_a_registry_that_is_gone_is_told_once_and_the_shelf_stays(
    registry: Registry, shelf: Shelf, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(NAME, shelf, heard)
    follower.look()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registry.database}/below/mlflow.db")
        follower.look()
        follower.look()
    assert len(heard.lines) == 2
    assert heard.lines[1].startswith("the registry cannot be asked for 'pql-scorer@champion' (")
    assert heard.lines[1].endswith(f"What is on the shelf {shelf.folder} stays in service.")
    assert shelf.current() == registry.names[0]
    follower.look()
    assert heard.lines[2] == "pql-scorer@champion is version 1 still; the registry answers again."


def test_an_alias_that_was_taken_away_leaves_the_shelf_as_it_is(registry: Registry, shelf: Shelf, heard: Heard) -> None:
    follower = Follower(NAME, shelf, heard)
    follower.look()
    with tracking._client() as client:
        client.delete_registered_model_alias("pql-scorer", "champion")
    follower.look()
    assert shelf.current() == registry.names[0]
    assert heard.lines[1].startswith("there is no model 'pql-scorer@champion' in the registry.")


def test_a_shelf_that_cannot_be_written_is_told_and_tried_again(registry: Registry, shelf: Shelf, heard: Heard) -> None:
    shelf.folder.write_text("in the way", encoding="utf-8")
    follower = Follower(NAME, shelf, heard)
    follower.look()
    assert "stays in service" in heard.lines[0]
    shelf.folder.unlink()
    follower.look()
    assert shelf.current() == registry.names[0]


def test_without_a_registry_installed_it_is_told(shelf: Shelf, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    Follower(NAME, shelf, heard).look()
    assert heard.lines[0].startswith("no registry is installed here.")


# --- the process ------------------------------------------------------------------------------


def test_it_looks_again_and_again_and_ends_with_the_process_that_started_it(shelf: Shelf) -> None:
    looks: list[float] = []

    class Looking(Follower):
        def look(self) -> None:
            looks.append(1.0)

    parents = iter([7, 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getppid", lambda: next(parents))
        follow(Looking(NAME, shelf, print), 10.0, looks.append, parent=7)
    assert looks == [1.0, 10.0]


def test_the_command_brings_what_is_in_service_and_ends_without_its_parent(registry: Registry, shelf: Shelf) -> None:
    # A parent that ends at once.
    script = (
        "import os, subprocess, sys; words = ['training.shelving', sys.argv[1], '--every', '1', '--parent', str(os.getpid())]; "
        "subprocess.Popen([sys.executable, '-m', *words])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(shelf.folder)], capture_output=True, text=True, check=True, timeout=60,
        cwd=ROOT,
    )  # fmt: skip
    # Its stderr is ours too, so it has ended.
    assert "Traceback" not in done.stderr


def test_patience_with_a_registry_is_short(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setattr(shelving, "follow", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert shelving.main([str(shelf.folder)]) == 0
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"

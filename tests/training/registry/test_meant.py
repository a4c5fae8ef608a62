"""Which model a command means, and what serves it while the registry is gone."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from features.errors import InvalidInput
from serving.models.shelf import Shelf
from serving.models.verifying import check_files
from serving.scoring.scorer import Scorer
from training import shelving
from training.registry.meant import ToServe, model_folder, scorer_of, to_serve

NAME = "pql-scorer@champion"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "served")


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> list[str]:
    """The names that were asked of the registry, which has the one model under all of them."""
    asked: list[str] = []

    def bring(name: str, shelf: Shelf) -> str:
        asked.append(name)
        version = shelf.put(model_folder)
        shelf.point(version)
        shelf.follow(name)
        return version

    monkeypatch.setattr(shelving, "bring", bring)
    return asked


def quiet(_: str) -> None:
    """Hear nothing."""


def test_a_folder_is_the_model_itself(tmp_path: Path) -> None:
    with model_folder(str(tmp_path)) as folder:
        assert folder == tmp_path


def test_the_scorer_of_a_folder_is_its_own(
    made_scorer: Callable[..., Scorer], definition_text: str, tmp_path: Path
) -> None:
    made = made_scorer(definition_text)
    made.artifact.save(tmp_path / "one")
    assert scorer_of([str(tmp_path / "one")], made.version).version == made.version


def test_a_folder_is_served_as_it_is_and_needs_nothing_beside(
    model_folder: Path, shelf: Shelf, brought: list[str]
) -> None:
    assert to_serve(str(model_folder), shelf.folder, quiet) == ToServe(model_folder)
    assert not brought
    assert not shelf.folder.exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path, shelf: Shelf) -> None:
    with pytest.raises(InvalidInput, match=r"must be a folder with 'booster\.txt'"):
        to_serve(str(tmp_path), shelf.folder, quiet)


def test_a_registered_version_is_fetched_the_first_time_and_followed(
    shelf: Shelf, brought: list[str], scorer: Scorer
) -> None:
    told: list[str] = []
    served = to_serve(NAME, shelf.folder, told.append)
    assert brought == [NAME]
    assert served.folder == shelf.folder
    assert served.beside[:3] == (sys.executable, "-m", "training.shelving")
    assert served.beside[3:] == (str(shelf.folder), "--follow", NAME, "--parent", str(os.getpid()))
    assert told == [f"Serving version {scorer.version} of {NAME} from the shelf {shelf.folder}."]


def test_what_lies_on_the_shelf_is_served_without_asking(shelf: Shelf, brought: list[str]) -> None:
    to_serve(NAME, shelf.folder, quiet)
    to_serve(NAME, shelf.folder, quiet)
    assert brought == [NAME]


def test_a_version_that_was_damaged_on_the_shelf_is_brought_anew(shelf: Shelf, brought: list[str]) -> None:
    to_serve(NAME, shelf.folder, quiet)
    version, told = shelf.current(), list[str]()
    assert version is not None
    with (shelf.folder / version / "booster.txt").open("a") as file:
        file.write("x")
    to_serve(NAME, shelf.folder, told.append)
    assert len(brought) == 2
    assert "brought anew from the registry" in told[0]
    check_files(shelf.folder / version)


def test_a_shelf_of_another_name_is_not_served_under_this_one(shelf: Shelf, brought: list[str]) -> None:
    to_serve(NAME, shelf.folder, quiet)
    to_serve("pql-scorer@previous", shelf.folder, quiet)
    assert brought == [NAME, "pql-scorer@previous"]
    assert shelf.followed() == "pql-scorer@previous"


def test_a_number_means_one_version_and_is_not_followed(shelf: Shelf, brought: list[str]) -> None:
    assert to_serve("pql-scorer/3", shelf.folder, quiet) == ToServe(shelf.folder)
    assert brought == ["pql-scorer/3"]


def test_with_the_registry_gone_and_nothing_on_the_shelf_it_is_told(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(InvalidInput, match=r"the registry cannot be asked for 'pql-scorer@champion' \("):
        to_serve(NAME, shelf.folder, quiet)


def test_without_a_registry_installed_it_is_told(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        InvalidInput, match=r"no registry is installed here\. Install the project with its training part"
    ):
        to_serve(NAME, shelf.folder, quiet)
    with pytest.raises(InvalidInput, match=r"no registry is installed here"), model_folder(NAME):
        pass


def test_without_a_registry_installed_the_shelf_is_served(
    shelf: Shelf, brought: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    to_serve(NAME, shelf.folder, quiet)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert to_serve(NAME, shelf.folder, quiet).folder == shelf.folder


def test_a_shelf_that_was_copied_is_served(shelf: Shelf, brought: list[str], tmp_path: Path) -> None:
    to_serve(NAME, shelf.folder, quiet)
    copy = shutil.copytree(shelf.folder, tmp_path / "copy")
    assert to_serve(str(copy), shelf.folder, quiet) == ToServe(copy)
    assert brought == [NAME]

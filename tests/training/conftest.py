"""A model registry of its own for every test that needs one."""

import shutil
from pathlib import Path

import pytest

from training import tracking


@pytest.fixture(scope="session")
def definition_path() -> Path:
    return Path(__file__).resolve().parents[2] / "pql.yaml"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's database with its tables made, which takes seconds; tests copy it."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        assert tracking.versions() == []
    return folder / "mlflow.db"


@pytest.fixture
def workplace(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with an empty registry."""
    use(shutil.copyfile(empty_store, tmp_path / "mlflow.db"), monkeypatch)
    return tmp_path


def use(database: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    patch.chdir(database.parent)

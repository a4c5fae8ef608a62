"""The only door to MLflow: one run per training, one version per run, and aliases that say what is in service."""

from __future__ import annotations

import io
import logging
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from features.errors import InvalidInput
from serving.scoring.artifact import FILES, Artifact, load

MODEL: Final = "pql-scorer"
EXPERIMENT: Final = "pql"
CHAMPION, PREVIOUS = "champion", "previous"
DEFAULT_STORE: Final = "sqlite:///mlflow.db"
_CONTENT, _VERDICT = "content_version", "verdict"
_RUNTIME = ("lightgbm", "msgspec", "numba", "numpy", "polars", "pydantic", "pyyaml")


@dataclass(frozen=True)
class Version:
    """A registered version: its number, its content's name, what it is called, and its run's figures."""

    number: int
    content: str
    aliases: tuple[str, ...]
    created_ms: int
    verdict: str
    figures: Mapping[str, float]


@contextmanager
def _mlflow() -> Iterator[Any]:
    """Yield the mlflow module, set to the store of MLFLOW_TRACKING_URI or `mlflow.db` in the current folder."""
    # No pickle of anybody's is ever loaded through us, and nothing is reported to anybody.
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        # Its own and SQLAlchemy's deprecations are not ours to mend, and hide what is.
        warnings.simplefilter("ignore")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_STORE))
        yield mlflow


def log(
    folder: Path, written: Sequence[str], parameters: Mapping[str, Any], figures: Mapping[str, float], digest: str,
    artifact: Artifact | None,
) -> int | None:  # fmt: skip
    """Log a run with what a training wrote into `folder`, register its artifact, and return the new version's number.

    A refusal that left no model is logged too, and has no version (None).
    """
    with _mlflow() as mlflow:
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run():
            mlflow.log_params({key: str(value)[:500] for key, value in parameters.items()})
            mlflow.log_metrics({key: value for key, value in figures.items() if not math.isnan(value)})
            mlflow.set_tag("data_digest", digest)
            # By name: the folder may hold what is not ours to copy.
            for path in (folder / name for name in written if (folder / name).exists()):
                mlflow.log_artifacts(path, path.name) if path.is_dir() else mlflow.log_artifact(path)
            if artifact is None:
                return None
            # It tells the terminal of each registration; what we say ourselves is enough.
            with redirect_stderr(io.StringIO()):
                number = int(_register(mlflow, folder / "artifact", artifact))
        mlflow.MlflowClient().set_model_version_tag(MODEL, str(number), _CONTENT, artifact.version)
        return number


def _register(mlflow: Any, folder: Path, artifact: Artifact) -> str:
    """Register the three text files as they are; the generic model interface loads them through our own code."""
    inputs = [mlflow.types.ColSpec("double", column.name) for column in artifact.builder.columns]
    outputs = [mlflow.types.ColSpec("double", "probability"), mlflow.types.ColSpec("boolean", "is_pql")]
    signature = mlflow.models.ModelSignature(mlflow.types.Schema(inputs), mlflow.types.Schema(outputs))
    info = mlflow.pyfunc.log_model(
        name="scorer",
        loader_module="serving.scoring.pyfunc",
        data_path=str(folder),
        signature=signature,
        # Named here, because finding them out starts a process and takes half a minute.
        pip_requirements=[f"{name}=={installed(name)}" for name in _RUNTIME],
        registered_model_name=MODEL,
    )
    return str(info.registered_model_version)


def promote(number: int, verdict: str) -> None:
    """Put a version into service: it becomes the champion, the champion before it `previous`."""
    with _mlflow() as mlflow:
        client = mlflow.MlflowClient()
        before = _aliased(client, CHAMPION)
        if before is not None and int(before) != number:
            client.set_registered_model_alias(MODEL, PREVIOUS, before)
        client.set_registered_model_alias(MODEL, CHAMPION, str(number))
        client.set_model_version_tag(MODEL, str(number), _VERDICT, verdict[:1_000])


def note_verdict(number: int, verdict: str) -> None:
    """Write down why a version was not promoted."""
    with _mlflow() as mlflow:
        mlflow.MlflowClient().set_model_version_tag(MODEL, str(number), _VERDICT, verdict[:1_000])


def _aliased(client: Any, alias: str) -> str | None:
    found = [one for one in _versions(client) if alias in one.aliases]
    return str(found[0].version) if found else None


def _versions(client: Any) -> list[Any]:
    """Return the registry's versions, newest first; a list, empty where the model was never registered."""
    if not client.search_registered_models(f"name = '{MODEL}'"):
        return []
    numbers = [one.version for one in client.search_model_versions(f"name = '{MODEL}'")]
    # Only the single look-up fills in the aliases.
    return [client.get_model_version(MODEL, number) for number in sorted(numbers, key=int, reverse=True)]


def versions() -> list[Version]:
    """Return every registered version, newest first."""
    with _mlflow() as mlflow:
        client = mlflow.MlflowClient()
        return [_version(client, one) for one in _versions(client)]


def _version(client: Any, one: Any) -> Version:
    figures = dict(client.get_run(one.run_id).data.metrics) if one.run_id else {}
    tags = one.tags or {}
    created = int(one.creation_timestamp)
    return Version(
        int(one.version), tags.get(_CONTENT, ""), tuple(one.aliases), created, tags.get(_VERDICT, ""), figures
    )


def fetch(name: str, into: Path) -> Path:
    """Copy a version's three files into a folder and return it; `name` is `pql-scorer@champion` or `pql-scorer/3`.

    Raises
    ------
    InvalidInput
        Where there is no such version.
    ArtifactError
        Where its files are not what was registered.
    """
    with _mlflow() as mlflow, tempfile.TemporaryDirectory() as scratch:
        try:
            got = Path(mlflow.artifacts.download_artifacts(f"models:/{name}", dst_path=scratch))
        except mlflow.exceptions.MlflowException as error:
            raise InvalidInput(
                f"there is no model {name!r} in the registry ({str(error).splitlines()[0]}).",
                "model",
                "Train one with `pql train`.",
            ) from None
        into.mkdir(parents=True, exist_ok=True)
        # By fixed names: nothing in the registry's own description of the model decides what is read.
        for file in FILES:
            shutil.copyfile(got / "data" / "artifact" / file, into / file)
    load(into)
    return into


def champion() -> Artifact | None:
    """Return the artifact in service, or None where nothing is."""
    with _mlflow() as mlflow:
        if _aliased(mlflow.MlflowClient(), CHAMPION) is None:
            return None
    with tempfile.TemporaryDirectory() as scratch:
        return load(fetch(f"{MODEL}@{CHAMPION}", Path(scratch)))

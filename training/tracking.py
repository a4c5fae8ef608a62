"""The only door to MLflow: one run per training, one version per run, and aliases that say what is in service.

The alias `champion` alone decides what is in service, and it moves last, in one transaction: a process that is killed
anywhere before leaves the old champion as it was. What a version replaced is written on it before, so going back does not
depend on the alias `previous` having moved too.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from json import dumps
from pathlib import Path
from time import time_ns
from typing import Any, Final

from features.errors import InvalidInput, PQLError
from features.times import text_of
from serving.scoring.artifact import FILES, Artifact, load
from training.registry.entry import LONGEST, DataFacts, Entry

MODEL: Final = "pql-scorer"
EXPERIMENT: Final = "pql"
CHAMPION, PREVIOUS = "champion", "previous"
DEFAULT_STORE: Final = "sqlite:///mlflow.db"
ABOUT: Final = f"""Scores trial users by how likely they are to become customers.

- **{CHAMPION}** is the version in service: `pql score` and `pql serve` load it, and nothing else decides.
- **{PREVIOUS}** is the version that was in service before it; `pql rollback` goes back to it.

Each version says in its description and in its tag `verdict` how it was judged, and a version that was in service says in
`promoted_by`, `promoted_why`, `promoted_at` and `replaced` how it got there. `pql models` lists them all."""
_RUNTIME = ("lightgbm", "msgspec", "numba", "numpy", "polars", "pydantic", "pyyaml")
_NAME: Final = re.compile(r"([\w.-]+)(?:@([\w.-]+)|/([0-9]{1,9}))")
_SCORER = "scorer"
_DATA = "data/artifact"
_MOST_FIGURES, _MOST_PARAMETERS = 1_000, 100
"""In one call, by the registry's rule."""


@dataclass(frozen=True)
class Version:
    """A registered version: its number, its content's name, what it is called, its run and that run's figures."""

    number: int
    content: str
    aliases: tuple[str, ...]
    created_ms: int
    verdict: str
    figures: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    run: str = ""

    @property
    def in_service(self) -> bool:
        return CHAMPION in self.aliases


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
        try:
            import mlflow
        except ImportError:
            hint = "Install the project with its training part, or name the model's folder."
            raise InvalidInput("no registry is installed here.", "model", hint) from None

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_STORE))
        yield mlflow


@contextmanager
def _client() -> Iterator[Any]:
    with _mlflow() as mlflow:
        yield mlflow.MlflowClient()


def log(folder: Path, written: Sequence[str], entry: Entry, pictures: Mapping[str, str] | None = None) -> int | None:
    """Log a run with what a training wrote into `folder`, register its artifact, and return the new version's number.

    `pictures` are SVG texts by name. A refusal that left no model is logged too, and has no version (None).
    """
    with _mlflow() as mlflow, _run(mlflow, entry) as run:
        client, run_id = mlflow.MlflowClient(), run.info.run_id
        _log_facts(mlflow, client, run_id, entry)
        # By name: the folder may hold what is not ours to copy.
        for path in (folder / name for name in written if (folder / name).is_file()):
            client.log_artifact(run_id, str(path))
        client.log_text(run_id, entry.definition, "pql.yaml")
        for name, picture in (pictures or {}).items():
            client.log_text(run_id, picture, f"figures/{name}.svg")
        if entry.artifact is None:
            return None
        with tempfile.TemporaryDirectory() as scratch:
            _write_model(mlflow, run_id, Path(scratch), entry.artifact)
            client.log_artifacts(run_id, scratch, _SCORER)
        _name_model(client)
        # Tags and description in the call that makes it: there is no version that does not say what it is.
        made = client.create_model_version(
            MODEL, f"{run.info.artifact_uri}/{_SCORER}", run_id, tags=dict(entry.tags), description=entry.description
        )
        return int(made.version)


@contextmanager
def _run(mlflow: Any, entry: Entry) -> Iterator[Any]:
    """Yield a new run that ends as finished, or as failed where logging did.

    Made without the fluent interface, which looks for notebooks, clusters and git, and takes longer than all else here.
    """
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
    name = "refused" if entry.artifact is None else entry.artifact.version
    tags = {
        **entry.tags, "release": installed("pql-scoring-service"),
        "mlflow.source.name": "pql train", "mlflow.note.content": entry.description,
    }  # fmt: skip
    run = client.create_run(experiment, tags=tags, run_name=name)
    try:
        yield run
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id, "FINISHED")


def _log_facts(mlflow: Any, client: Any, run_id: str, entry: Entry) -> None:
    entities, now = mlflow.entities, time_ns() // 1_000_000
    figures = [entities.Metric(name, value, now, 0) for name, value in entry.figures.items()]
    told = [entities.Param(name, value) for name, value in entry.parameters.items()]
    for start in range(0, len(figures), _MOST_FIGURES):
        client.log_batch(run_id, metrics=figures[start : start + _MOST_FIGURES])
    for start in range(0, len(told), _MOST_PARAMETERS):
        client.log_batch(run_id, params=told[start : start + _MOST_PARAMETERS])
    client.log_inputs(run_id, [_dataset(entities, entry.data)])


def _dataset(entities: Any, data: DataFacts) -> Any:
    found = entities.Dataset(
        "trials", data.digest, "location", dumps({"name": data.source}), profile=dumps(dict(data.facts))
    )
    return entities.DatasetInput(found, [entities.InputTag("mlflow.data.context", "training")])


def _write_model(mlflow: Any, run_id: str, folder: Path, artifact: Artifact) -> None:
    """Write the three text files as they are, and what the generic model interface needs to load them by our own code.

    Its own saving would compare every requirement with every installed file first.
    """
    artifact.save(folder / _DATA)
    needs = [f"{name}=={installed(name)}" for name in ("mlflow", *_RUNTIME)]
    (folder / "requirements.txt").write_text("\n".join(needs) + "\n", encoding="utf-8")
    python = platform.python_version()
    (folder / "python_env.yaml").write_text(
        f"python: {python}\nbuild_dependencies: []\ndependencies:\n- -r requirements.txt\n", encoding="utf-8"
    )
    inputs = [mlflow.types.ColSpec("double", column.name) for column in artifact.builder.columns]
    outputs = [mlflow.types.ColSpec("double", "probability"), mlflow.types.ColSpec("boolean", "is_pql")]
    signature = mlflow.models.ModelSignature(mlflow.types.Schema(inputs), mlflow.types.Schema(outputs))
    model = mlflow.models.Model(artifact_path=_SCORER, run_id=run_id, signature=signature)
    model.add_flavor(
        "python_function", loader_module="serving.scoring.pyfunc", data=_DATA,
        python_version=python, env={"virtualenv": "python_env.yaml"}, streamable=False,
    )  # fmt: skip
    model.save(str(folder / "MLmodel"))


def _name_model(client: Any) -> None:
    """Make the registered model where there is none, and see that it says what its aliases mean."""
    found = _registered(client)
    if found is None:
        client.create_registered_model(MODEL, description=ABOUT)
    elif found.description != ABOUT:
        client.update_registered_model(MODEL, ABOUT)


def _registered(client: Any) -> Any | None:
    found = client.search_registered_models(f"name = '{MODEL}'")
    return found[0] if found else None


def _aliases(client: Any) -> dict[str, int]:
    found = _registered(client)
    return {} if found is None else {name: int(number) for name, number in found.aliases.items()}


def promote(number: int, by: str, why: str) -> None:
    """Put a version into service: it becomes the champion, the champion before it `previous`.

    `by` says which verb did it. What is in service changes in one step, the alias `champion`; before it the version says
    why and what it replaces, after it when.
    """
    with _client() as client:
        before = _aliases(client).get(CHAMPION)
        told = {"promoted_by": by, "promoted_why": why}
        if before is not None and before != number:
            told["replaced"] = str(before)
        for key, value in told.items():
            client.set_model_version_tag(MODEL, str(number), key, value[:LONGEST])
        if before is not None and before != number:
            client.set_registered_model_alias(MODEL, PREVIOUS, str(before))
        client.set_registered_model_alias(MODEL, CHAMPION, str(number))
        client.set_model_version_tag(MODEL, str(number), "promoted_at", text_of(time_ns() // 1_000_000 * 1_000))


def versions() -> list[Version]:
    """Return every registered version, newest first; a list, empty where the model was never registered."""
    with _client() as client:
        called = _aliases(client)
        found = client.search_model_versions(f"name = '{MODEL}'") if _registered(client) else []
        made = [_version(client, one, called) for one in found]
        return sorted(made, key=lambda one: one.number, reverse=True)


def version_called(name: str) -> Version | None:
    """Return the version that is called `pql-scorer@champion` or `pql-scorer/3`; None where none is.

    Raises
    ------
    InvalidInput
        Where the registry cannot be asked.
    """
    model, number, alias = _parts(name)
    with _asked(name) as client:
        found = client.search_registered_models(f"name = '{model}'")
        called = {} if not found else {key: int(at) for key, at in found[0].aliases.items()}
        meant = called.get(alias) if number is None else number
        there = [] if not found or meant is None else client.search_model_versions(f"name = '{model}'")
        return next((_version(client, one, called) for one in there if int(one.version) == meant), None)


def number_called(name: str) -> int | None:
    """Return the number of the version that is called so, None where none is: one small question, to be asked often.

    Raises
    ------
    InvalidInput
        Where the registry cannot be asked.
    """
    model, number, alias = _parts(name)
    if number is not None:
        return number
    with _asked(name) as client:
        found = client.search_registered_models(f"name = '{model}'")
        return int(found[0].aliases[alias]) if found and alias in found[0].aliases else None


@contextmanager
def _asked(name: str) -> Iterator[Any]:
    """Yield a client, whose failures are told as what they mean: below a registry may be a file, a database or a server."""
    try:
        with _client() as client:
            yield client
    except PQLError:
        raise
    except Exception as error:
        why = (str(error).splitlines() or [repr(error)])[0]
        hint = "Look at MLFLOW_TRACKING_URI."
        raise InvalidInput(f"the registry cannot be asked for {name!r} ({why[:300]}).", "model", hint) from error


def _parts(name: str) -> tuple[str, int | None, str]:
    """Return the model's name and a number or an alias."""
    found = _NAME.fullmatch(name)
    if found is None:
        hint = "Name a folder that is there, NAME@alias or NAME/version."
        raise InvalidInput(f"there is no model {name!r}.", "model", hint)
    model, alias, number = found.groups()
    return model, None if number is None else int(number), alias or ""


def _version(client: Any, one: Any, called: Mapping[str, int]) -> Version:
    figures = dict(client.get_run(one.run_id).data.metrics) if one.run_id else {}
    tags, number = dict(one.tags or {}), int(one.version)
    aliases = tuple(sorted(alias for alias, at in called.items() if at == number))
    created, content = int(one.creation_timestamp), tags.get("content_version", "")
    return Version(number, content, aliases, created, tags.get("verdict", ""), figures, tags, one.run_id or "")


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
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise InvalidInput(
                f"there is no model {name!r} in the registry ({str(error).splitlines()[0]}).",
                "model",
                "Train one with `pql train`.",
            ) from None
        into.mkdir(parents=True, exist_ok=True)
        # By fixed names: nothing in the registry's own description of the model decides what is read.
        for file in (one for one in FILES if (got / _DATA / one).is_file()):
            shutil.copyfile(got / _DATA / file, into / file)
    load(into)
    return into


def champion() -> Artifact | None:
    """Return the artifact in service, or None where nothing is."""
    with _client() as client:
        if CHAMPION not in _aliases(client):
            return None
    with tempfile.TemporaryDirectory() as scratch:
        return load(fetch(f"{MODEL}@{CHAMPION}", Path(scratch)))

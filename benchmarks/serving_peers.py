"""The service and those it is held against: how each is started, and the same leads in the words of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.serving_model import World
from benchmarks.serving_process import ROOT, Server, free_port, started

OURS, BARE, OBVIOUS, MLFLOW = "this service", "bare route", "obvious BentoML service", "`mlflow models serve`"
RECEIPTS: Final = "this service, receipts kept"
WORKERS: Final = "this service, 2 workers"
PYTHON: Final = sys.executable
QUIET: Final[Mapping[str, str]] = {
    "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}  # fmt: skip
MAKE_MLFLOW: Final = """
import json, sys, lightgbm, mlflow.lightgbm, pandas
from mlflow.models import infer_signature
booster, body = lightgbm.Booster(model_file=sys.argv[1]), json.load(open(sys.argv[3]))
rows = pandas.DataFrame(**body["dataframe_split"]).astype("float64")
needed = [f"lightgbm=={lightgbm.__version__}", "pandas", "numpy"]
signature = infer_signature(rows, booster.predict(rows))
mlflow.lightgbm.save_model(booster, sys.argv[2], signature=signature, pip_requirements=needed)
"""


@dataclass(frozen=True)
class Peer:
    """One server, its route, and the bodies that are posted to it.

    Attributes
    ----------
    command : with `{port}` for the port
    ready : the path that answers 200 once it serves
    bodies : files, one lead each
    """

    name: str
    command: Sequence[str]
    path: str
    ready: str
    bodies: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, folder: Path) -> Server:
        """Start it with a folder for its log and whatever it writes."""
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        command = [word.format(port=port) for word in self.command]
        # MLflow starts uvicorn by its name.
        path = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"BENTOML_HOME": str(folder / "bento"), "PYTHONPATH": str(ROOT), "PATH": path}
        return started(command, port, {**QUIET, **own, **self.environment}, folder, folder / "log")

    def at(self, path: str, bodies: Sequence[str], name: str) -> Peer:
        """Return the same server at another route."""
        return Peer(name, self.command, path, self.ready, bodies, self.environment)


def deployed() -> Mapping[str, str]:
    """Return the environment that the built Bento runs in."""
    told = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    return {one["name"]: str(one["value"]) for one in told.get("envs", [])}


def ours(model: Path, bodies: Sequence[str], folder: Path, name: str = OURS, **settings: str) -> Peer:
    """Return this service over a version's folder; `settings` are variables of its environment."""
    told = {
        **deployed(), "PQL_MODEL": str(model), "PQL_RECEIPTS": "none", "PQL_JOBS": str(folder / "jobs"), **settings,
    }  # fmt: skip
    return Peer(name, _bentoml("serving.service:PQLService"), "/score_features", "/readyz", bodies, told)


def bare(model: Path, bodies: Sequence[str]) -> Peer:
    """Return the bare route over a version's folder."""
    command = [PYTHON, "-m", "benchmarks.serving_bare", str(model), "{port}"]
    return Peer(BARE, command, "/score_features", "/ready", bodies)


def obvious(booster: Path, bodies: Sequence[str]) -> Peer:
    """Return the BentoML service that its pages lead to, over a booster's file."""
    return Peer(
        OBVIOUS, _bentoml("benchmarks.serving_obvious:Obvious"), "/score", "/readyz", bodies, {"BOOSTER": str(booster)}
    )


def _bentoml(service: str) -> list[str]:
    return [PYTHON, "-m", "bentoml", "serve", service, "--port", "{port}", "--host", "127.0.0.1"]


def mlflow(booster: Path, bodies: Sequence[str], folder: Path) -> Peer:
    """Return MLflow's own server over the same booster, saved as a model in a folder."""
    saved = folder / "mlflow_model"
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", **QUIET}
    subprocess.run(  # noqa: S603 - our own command
        [PYTHON, "-c", MAKE_MLFLOW, str(booster), str(saved), bodies[0]],
        check=True, env={**os.environ, **store}, cwd=folder,
    )  # fmt: skip
    command = [
        PYTHON, "-m", "mlflow", "models", "serve", "-m", str(saved), "--env-manager", "local", "--port", "{port}",
        "--host", "127.0.0.1", "--workers", "1",
    ]  # fmt: skip
    return Peer(MLFLOW, command, "/invocations", "/ping", bodies, store)


@dataclass(frozen=True)
class Posted:
    """The same leads as files of bodies, one a lead, in the words of each server."""

    ready: Sequence[str]
    raw: Sequence[str]
    records: Sequence[str]
    split: Sequence[str]

    @classmethod
    def written(cls, world: World, folder: Path) -> Posted:
        """Write the bodies of all leads into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        n = len(world.subjects)
        return cls(
            _files(folder, "ready", n, lambda place: world.ready([place])),
            _files(folder, "raw", n, world.raw),
            _files(folder, "records", n, lambda place: _json({"rows": [world.named(place)]})),
            _files(folder, "split", n, lambda place: _json({"dataframe_split": _split(world, place)})),
        )


def _split(world: World, place: int) -> dict[str, Any]:
    named = world.named(place)
    return {"columns": list(named), "data": [list(named.values())]}


def _files(folder: Path, kind: str, n: int, body: Callable[[int], bytes]) -> list[str]:
    paths = [folder / f"{kind}{place}.json" for place in range(n)]
    for place, path in enumerate(paths):
        path.write_bytes(body(place))
    return [str(path) for path in paths]


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()

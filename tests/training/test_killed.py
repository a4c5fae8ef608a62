"""A training that is killed, at whatever step, leaves what was in service in service, whole."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.scoring.scorer import Scorer
from training import tracking
from training.registry.changeover import champion_of, rollback
from training.registry.entry import DataFacts, Entry

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

DRIVER = '''
"""Log and promote in a child for each moment to die at; the parent never opens a database, so each child is as if new."""
import json, os, shutil, signal, sys
from pathlib import Path

import mlflow
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store
import sqlalchemy
import sqlalchemy.orm

from serving.scoring.artifact import load
from training import tracking
from training.registry.entry import DataFacts, Entry

EFFECTS = ("create_run", "log_", "create_registered_model", "update_registered_model", "create_model_version",
           "set_terminated", "set_model_version_tag", "set_registered_model_alias")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def train_and_die(home, kind, moment, folder, database):
    shutil.copyfile(database, home / "mlflow.db")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{home}/mlflow.db"
    done = []
    def tick(what):
        done.append(what)
        if len(done) - 1 == moment:
            (home / "died_at").write_text(what)
            die()
    if kind == "call":
        for name in dir(mlflow.MlflowClient):
            if name.startswith(EFFECTS):
                def before(self, *given, _real=getattr(mlflow.MlflowClient, name), _name=name, **named):
                    alias = given[1] if _name == "set_registered_model_alias" else ""
                    tick(f"{_name} {alias}".strip())
                    return _real(self, *given, **named)
                setattr(mlflow.MlflowClient, name, before)
    else:
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", lambda _: tick("commit"))
    artifact = load(folder / "artifact")
    said = Entry({"a": "b"}, {"c": 1.0}, DataFacts("d", "e", {}), "f", {"content_version": artifact.version}, "g", artifact)
    number = tracking.log(folder, ("metrics.json",), said, {"days": "<svg/>"})
    tracking.promote(number, "train", "because")
    return len(done)

def die_at(home, kind, moment, folder, database):
    """Return how many effects there were, none where it was killed."""
    home.mkdir()
    child = os.fork()
    if child == 0:
        try:
            done = train_and_die(home, kind, moment, folder, database)
            (home / "effects").write_text(str(done))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return int((home / "effects").read_text()) if (home / "effects").exists() else None

def main(out, folder, database):
    sqlalchemy.orm.configure_mappers()
    told = []
    for kind in ("call", "commit"):
        whole = out / f"{kind}-whole"
        n = die_at(whole, kind, None, folder, database)
        # All of the promotion, and samples of what comes before it.
        for moment in [*range(0, n - 8, 8), *range(n - 8, n)]:
            home = out / f"{kind}{moment}"
            assert die_at(home, kind, moment, folder, database) is None
            told.append([str(home), kind, (home / "died_at").read_text()])
        told.append([str(whole), kind, "nothing"])
    print(json.dumps(told))

main(*map(Path, sys.argv[1:]))
'''


@dataclass(frozen=True)
class Killed:
    """Where a training died, before which call or while writing, and the registry that it left."""

    home: Path
    kind: str
    before: str


@dataclass(frozen=True)
class Deaths:
    old: str
    new: str
    each: list[Killed]


@pytest.fixture(scope="module")
def deaths(
    empty_store: Path, made_scorer: Callable[..., Scorer], rich_definition: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deaths:  # fmt: skip
    home = tmp_path_factory.mktemp("killed")
    artifact, new = (made_scorer(rich_definition, {"source": ("ads", "search")}, seed).artifact for seed in (1, 2))
    said = Entry({}, {}, DataFacts("d", "e", {}), "f", {"content_version": artifact.version}, "g", artifact)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(empty_store, home / 'mlflow.db')}")
        patch.chdir(home)
        number = tracking.log(home, (), said)
        assert number is not None
        tracking.promote(number, "train", "the first")
    new.save(home / "next" / "artifact")
    (home / "next" / "metrics.json").write_text("{}", encoding="utf-8")
    (home / "homes").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER, home / "homes", home / "next", home / "mlflow.db"],
        capture_output=True, text=True, env=environment, cwd=home, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    each = [Killed(Path(place), kind, before) for place, kind, before in json.loads(done.stdout)]
    return Deaths(artifact.version, new.version, each)


def in_service(killed: Killed, patch: pytest.MonkeyPatch) -> str | None:
    """Load what is in service in the registry that a killed training left: verified, as the service would."""
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{killed.home}/mlflow.db")
    champion = tracking.champion()
    return None if champion is None else champion.version


def test_trainings_were_killed_all_over_their_effects_and_in_transactions(deaths: Deaths) -> None:
    calls = [one.before for one in deaths.each if one.kind == "call"]
    assert calls[0] == "create_run"
    assert "create_model_version" in calls
    assert calls[-4:] == [
        "set_registered_model_alias previous", "set_registered_model_alias champion", "set_model_version_tag", "nothing",
    ]  # fmt: skip
    assert sum(one.before == "commit" for one in deaths.each) >= 8


def test_killed_before_the_alias_moves_the_old_champion_is_in_service(
    deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [one for one in deaths.each if one.kind == "call"]
    moves = [one.before for one in calls].index("set_registered_model_alias champion")
    for place, killed in enumerate(calls):
        expected = deaths.old if place <= moves else deaths.new
        assert in_service(killed, monkeypatch) == expected, killed.before


def test_killed_within_a_transaction_one_of_the_two_is_in_service_and_never_neither(
    deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [in_service(one, monkeypatch) for one in deaths.each if one.kind == "commit"]
    moved = found.index(deaths.new)
    assert set(found[:moved]) == {deaths.old}
    assert set(found[moved:]) == {deaths.new}


def test_what_a_killed_training_left_can_be_finished_and_undone_by_hand(
    deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two aliases, `previous` is what is in service; going back still leads to the right version."""
    (between,) = [one for one in deaths.each if one.before == "set_registered_model_alias champion"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{between.home}/mlflow.db")
    newest = tracking.versions()[0]
    assert (newest.content, newest.in_service, newest.tags["promoted_why"]) == (deaths.new, False, "because")
    tracking.promote(newest.number, "promote", "finish it")
    assert rollback(None).now.content == deaths.old
    champion = champion_of(tracking.versions())
    assert champion is not None
    assert champion.content == deaths.old

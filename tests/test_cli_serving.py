"""`pql serve` says what is wrong before anything is started, and `pql key` shows a key once and keeps its hash."""

from __future__ import annotations

import json
import re
import socket
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import pql
from serving import launch
from serving.launch import Order
from serving.models.shelf import Shelf
from serving.web.keys import Keys
from training import shelving


def run(*words: object) -> Result:
    """Run one command; an error that we did not mean to tell is a failure of the test."""
    result = CliRunner().invoke(pql.main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Order, tuple[str, ...]]]:
    """What would have been served, and what beside."""
    seen: list[tuple[Order, tuple[str, ...]]] = []

    def begin(order: Order, beside: tuple[str, ...], _: object) -> int:
        seen.append((order, beside))
        return 5

    monkeypatch.setattr(launch, "launch", begin)
    monkeypatch.chdir(tmp_path)
    for name in ("PQL_KEYS", "PQL_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    return seen


Launched = list[tuple[Order, tuple[str, ...]]]


# --- serving ----------------------------------------------------------------------------------


def test_a_folder_is_served_as_it_is_and_the_servers_code_is_ours(
    launched: Launched, model_folder: Path, port: int
) -> None:
    assert run("serve", "--model", model_folder, "--port", port).exit_code == 5
    assert launched == [(Order(model_folder, "127.0.0.1", port, "none"), ())]


def test_keys_and_workers_are_those_of_the_options_or_of_the_environment(
    launched: Launched, model_folder: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("serve", "--model", model_folder, "--port", port, "--keys", "mine.txt", "--workers", 2)
    monkeypatch.setenv("PQL_KEYS", "theirs.txt")
    monkeypatch.setenv("PQL_WORKERS", "3")
    run("serve", "--model", model_folder, "--port", port)
    assert [(order.keys, order.workers) for order, _ in launched] == [(Path("mine.txt"), 2), (Path("theirs.txt"), 3)]


def test_a_registered_version_is_served_from_a_shelf_that_is_kept_up(
    launched: Launched, model_folder: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bring(name: str, shelf: Shelf) -> str:
        version = shelf.put(model_folder)
        shelf.point(version)
        shelf.follow(name)
        return version

    monkeypatch.setattr(shelving, "bring", bring)
    told = run("serve", "--port", port, "--shelf", "kept").stderr
    [(order, beside)] = launched
    assert order.model == Path("kept")
    assert beside[:3] == (sys.executable, "-m", "training.shelving")
    assert re.match(r"Serving version [0-9a-f]{12} of pql-scorer@champion from the shelf kept\.\n", told)


def test_a_port_that_is_in_use_ends_the_command_with_a_sentence(launched: Launched, model_folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = run("serve", "--model", model_folder, "--port", other.getsockname()[1])
    assert result.exit_code == 2
    assert re.fullmatch(
        r"InvalidInput: cannot listen on 127\.0\.0\.1:\d+ \(Address already in use\)\. Stop what listens there, or name "
        r"another with --port and --host\.\n",
        result.stderr,
    )
    assert not launched


def test_others_are_let_in_with_keys_or_when_it_is_meant(launched: Launched, model_folder: Path, port: int) -> None:
    words = ("serve", "--model", model_folder, "--port", port, "--host", "0.0.0.0")
    result = run(*words)
    assert result.exit_code == 2
    assert "no keys are asked for. Make one with `pql key NAME`" in result.stderr
    assert not launched
    assert run(*words, "--open").exit_code == 5
    assert run(*words, "--keys", "keys.txt").exit_code == 5


def test_a_damaged_model_ends_the_command_before_a_server_is_started(
    model_folder: Path, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> int:
        pytest.fail("a server was started")

    monkeypatch.setattr(launch, "run_until_stopped", started)
    shelf = Shelf(tmp_path / "served")
    shelf.point(shelf.put(model_folder))
    (shelf.folder / str(shelf.current()) / "pql.yaml").write_text("product: Other\n", encoding="utf-8")
    result = run("serve", "--model", shelf.folder, "--port", port)
    assert result.exit_code == 2
    assert re.fullmatch(r"ArtifactError: .*/served/[0-9a-f]{12}/pql\.yaml: its SHA-256 is not .*\n", result.stderr)


def test_a_folder_that_holds_no_model_is_refused(launched: Launched, tmp_path: Path, port: int) -> None:
    result = run("serve", "--model", tmp_path, "--port", port)
    assert result.exit_code == 2
    assert "must be a folder with 'booster.txt', 'scorer.json', 'pql.yaml', or a shelf" in result.stderr
    assert not launched


# --- keys -------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_lets_its_owner_in(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    result = run("key", "app", "--file", file)
    key = result.stdout.splitlines()[0]
    assert "only time it is shown" in result.stdout
    assert key not in file.read_text(encoding="utf-8")
    caller = Keys.read(file).caller(f"Bearer {key}".encode())
    assert caller is not None
    assert (caller.name, caller.scopes) == ("app", frozenset({"score"}))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_keys_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    made = [json.loads(run("key", name, "--file", file, "--json").stdout) for name in ("one", "two")]
    file.write_text(file.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    made.append(json.loads(run("key", "three", "--file", file, "--json").stdout))
    keys = Keys.read(file)
    found = [keys.caller(f"Bearer {one['key']}".encode()) for one in made]
    assert [one and one.name for one in found] == ["one", "two", "three"]


def test_a_key_is_good_for_the_scopes_it_was_made_with(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    made = json.loads(run("key", "job", "--scope", "batch", "--scope", "model", "--file", file, "--json").stdout)
    caller = Keys.read(file).caller(f"Bearer {made['key']}".encode())
    assert caller is not None
    assert caller.scopes == frozenset({"batch", "model"})


@pytest.mark.parametrize("words", [("app", "--scope", "everything"), ("two words",), ("",)])
def test_a_key_that_cannot_be_leaves_the_file_alone(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run("key", *words, "--file", tmp_path / "keys.txt")
    assert result.exit_code == 2
    assert result.stderr.startswith("InvalidInput: a new key: ")
    assert not (tmp_path / "keys.txt").exists()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = run("key", "app", "--file", tmp_path)
    assert result.exit_code == 2
    assert "no key can be written to it" in result.stderr

"""`pql receipt` and `pql explain` as people and machines use them, in processes that know nothing but the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import pql
from features.durations import DAY
from features.errors import InvalidInput
from serving.receipts import Receipts, table_of, write_table
from serving.scoring.receipt import Receipt
from serving.scoring.scorer import Scorer
from tests.serving.answered import LEVELS, NOW, answered, receipts_of, subjects_of
from training import tracking
from training.registry import changeover
from training.registry.entry import DataFacts, Entry

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Home:
    """A folder with receipts of two versions, of which the registry there has only the first."""

    folder: Path
    first: Receipt
    second: Receipt
    other: Receipt
    broken: Receipt

    @property
    def model(self) -> Path:
        return self.folder / "model"


def entry(scorer: Scorer) -> Entry:
    tags = {"content_version": scorer.artifact.version}
    return Entry({}, {}, DataFacts("d", "e", {}), "f", tags, "g", scorer.artifact)


@pytest.fixture(scope="module")
def home(made_scorer: Callable[..., Scorer], rich_definition: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("receipts")
    one, two = (made_scorer(rich_definition, LEVELS, seed=seed) for seed in (5, 6))
    first, second, broken = receipts_of(one, 3)
    broken = replace(broken, subject=replace(broken.subject, account_id="other"))
    other = answered(two, subjects_of(two, 1, as_of=NOW + DAY))[0][0]
    write_table(folder / "receipts", table_of([first, broken], NOW))
    Receipts(folder / "receipts", lambda: NOW + DAY).keep([second, other])
    two.artifact.save(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.chdir(folder)
        assert tracking.log(folder, (), entry(one)) == 1
    return Home(folder, first, second, other, broken)


@pytest.fixture(autouse=True)
def here(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home.folder}/mlflow.db")
    monkeypatch.delenv("PQL_RECEIPTS", raising=False)


def run(*words: object) -> Result:
    result = CliRunner().invoke(pql.main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(*words: object, code: int = 0) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert isinstance(found, dict)
    return found


def refused(code: int, *words: object) -> str:
    result = run(*words)
    assert result.exit_code == code, result.output
    return result.stderr


# --- pql receipt ------------------------------------------------------------------------------


def test_a_receipt_replays_bit_for_bit_in_a_new_process(home: Home) -> None:
    command = [sys.executable, str(ROOT / "pql.py"), "receipt", home.first.id]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=home.folder, env=dict(os.environ), check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Receipt {home.first.id}\n")
    assert f"REPLAYS BIT FOR BIT (sha256 of the answer {home.first.digest.whole})" in done.stdout
    assert repr(home.first.probability) in done.stdout


def test_the_registry_is_asked_for_the_version_that_gave_the_answer(home: Home) -> None:
    found = said("receipt", home.second.id[:7])
    assert found["replays"] is True
    assert found["model_version"] == home.second.version
    assert found["answer"]["probability"] == home.second.probability


def test_a_version_that_the_registry_does_not_have_can_be_named_by_its_folder(home: Home) -> None:
    error = refused(2, "receipt", home.other.id)
    assert (
        f"version {home.other.version}, which gave the answer, cannot be had from the registry: "
        f"there is no version {home.other.version!r}; registered are '1 ({home.first.version})'. Name its folder with --model"
    ) in error
    assert said("receipt", home.other.id, "--model", home.model)["replays"] is True


def test_where_no_registry_is_installed_that_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "training.registry.changeover", None)
    error = refused(2, "receipt", home.first.id)
    assert (
        f"version {home.first.version}, which gave the answer, is needed, and no registry is installed here. "
        "Name its folder with --model"
    ) in error


def test_what_is_wrong_with_the_registry_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def ambiguous(name: str) -> str:
        raise InvalidInput(f"version {name!r} could be 'a', 'b'.", "VERSION", "Write more of it.")

    monkeypatch.setattr(changeover, "registered", ambiguous)
    error = refused(2, "explain", "u-1")
    assert (
        f"cannot be had from the registry: version {home.second.version!r} could be 'a', 'b'. Name its folder" in error
    )
    assert "Write more of it" not in error


def test_a_folder_of_another_version_is_refused(home: Home) -> None:
    error = refused(2, "receipt", home.first.id, "--model", home.model)
    assert error.startswith(
        f"OtherVersion: receipt {home.first.id}: it must be replayed by version {home.first.version}"
    )


def test_what_does_not_replay_ends_with_1_and_says_what_differs(home: Home) -> None:
    result = run("receipt", home.broken.id)
    assert result.exit_code == 1
    assert "DOES NOT REPLAY: other figures; the probability is the same." in result.stdout
    found = said("receipt", home.broken.id, code=1)
    assert (found["replays"], found["differs"]) == (False, ["figures"])


def test_a_difference_says_which_behaviour_moved_the_score(home: Home) -> None:
    found = said("receipt", home.first.id, "--diff", home.second.id)
    moved = sum(signal["change"] for signal in found["signals"]) + found["age"] + found["rounding"]
    assert moved == pytest.approx(found["to_log_odds"] - found["from_log_odds"], abs=1e-12)
    result = run("receipt", home.first.id, "--diff", home.second.id)
    assert f"  {found['signals'][0]['signal']}" in result.stdout.split("in log-odds\n")[1].splitlines()[0]


def test_a_difference_across_versions_takes_a_folder_for_each(home: Home, tmp_path: Path) -> None:
    tracking.fetch("pql-scorer/1", tmp_path / "one")
    words = ("receipt", home.first.id, "--diff", home.other.id, "--model", tmp_path / "one", "--model", home.model)
    found = said(*words)
    assert found["model"] != 0
    assert found["before"]["model_version"] != found["after"]["model_version"]
    assert found["before"]["replays"]
    assert found["after"]["replays"]


def test_a_difference_with_what_does_not_replay_ends_with_1(home: Home) -> None:
    assert run("receipt", home.first.id, "--diff", home.broken.id).exit_code == 1


@pytest.mark.parametrize(
    "words", [[], ["abcdef", "--prune", "9d"], ["--prune", "9d", "--diff", "abcdef"], ["--diff", "abc"]]
)
def test_one_thing_is_asked_at_a_time(words: list[str]) -> None:
    assert "Give the ID of a receipt, or --prune with a span." in refused(2, "receipt", *words)


def test_the_folder_may_be_given_by_option_or_environment(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = home.folder / "receipts"
    monkeypatch.chdir(tmp_path)
    error = refused(2, "receipt", home.other.id, "--model", home.model)
    assert error.startswith("InvalidInput: receipts: must be the folder that receipts are kept in")
    assert said("receipt", home.other.id, "--model", home.model, "--receipts", elsewhere)["replays"]
    monkeypatch.setenv("PQL_RECEIPTS", str(elsewhere))
    assert said("receipt", home.other.id, "--model", home.model)["replays"]


def test_days_that_ended_long_enough_ago_are_deleted_on_request(home: Home, tmp_path: Path) -> None:
    moment = pql.now()
    for back in (1, 40):
        Receipts(tmp_path, lambda back=back: moment - back * DAY).keep([home.first])  # type: ignore[misc]
    found = said("receipt", "--prune", "30d", "--receipts", tmp_path)
    assert len(found["deleted"]) == 1
    assert run("receipt", "--prune", "30d", "--receipts", tmp_path).stdout == "Receipts of 0 days deleted.\n"
    assert said("receipt", home.first.id, "--receipts", tmp_path)["replays"]


# --- pql explain ------------------------------------------------------------------------------


def test_a_lead_is_explained_as_it_was_last_answered(home: Home) -> None:
    result = run("explain", "u-1")
    assert result.exit_code == 0
    assert result.stdout.startswith("u-1 of account a-1 at 2026-03-01T00:00:00.000001Z, day ")
    assert f"receipt {home.second.id} of version {home.second.version}" in result.stdout
    found = said("explain", "u-0", "--model", home.model, "--reasons", 1)
    assert found["receipt_id"] == home.other.id
    assert len(found["answer"]["reasons"]) == 1


def test_a_lead_without_receipts_is_refused() -> None:
    assert "there is no receipt of lead 'nobody' in receipts" in refused(2, "explain", "nobody")

"""A folder is served only after another process has tried it; what is wrong with it never reaches this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.damages import Damage, plain, seal, sealed
from features.errors import ArtifactError
from serving.models import verifying
from serving.models.served import About
from serving.models.verifying import ABOUT, check_files, examined, verified
from serving.scoring.artifact import BOOSTER, SCORER
from serving.scoring.scorer import Scorer

ROOT = Path(__file__).parents[2]
# A process each; benchmarks/soak_models.py tries the others.
TRIED = (
    "a child out of range", "a child that is its parent", "two thousand million leaves", "a leaf that is no number",
    "leaves written twice", "a tree less", "a pickle for a model",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(made_scorer: Callable[..., Scorer], definition_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_scorer(definition_text).artifact.save(tmp_path_factory.mktemp("whole") / "artifact")


@pytest.fixture(scope="module")
def another(made_scorer: Callable[..., Scorer], definition_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    other = made_scorer(definition_text.replace("Corkboard", "Other"), seed=6)
    return other.artifact.save(tmp_path_factory.mktemp("other") / "artifact")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(whole, tmp_path / "copy")


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be tried: what the files tell is enough."""

    def started(*_: object, **__: object) -> None:
        pytest.fail("a process was started for a folder that its files alone tell of")

    monkeypatch.setattr(subprocess, "Popen", started)


# --- what is whole ----------------------------------------------------------------------------


def test_what_training_wrote_is_served_with_the_scores_it_was_made_with(model_folder: Path, scorer: Scorer) -> None:
    found = verified(model_folder)
    assert found.version == scorer.version
    assert found.probabilities(found.artifact.examples).tolist() == scorer.artifact.expected.tolist()


def test_what_is_told_beside_the_files_is_no_stranger(folder: Path) -> None:
    (folder / ABOUT).write_text("{}", encoding="utf-8")
    check_files(folder)


def test_every_rung_reads_back_as_the_text_it_was_written_as(
    made_scorer: Callable[..., Scorer], tmp_path: Path
) -> None:
    from training.hand_trees import Chain, Split, booster

    made = made_scorer((ROOT / "pql.yaml").read_text(encoding="utf-8")).artifact
    chains = [Chain((Split(3, 1.5, passes_left=False), Split(4, 2.5, passes_left=True)), 2.0)]
    names = [column.name for column in made.builder.columns]
    written = booster(chains, names, made.examples, 1.0).model_to_string()
    import lightgbm

    assert lightgbm.Booster(model_str=written).model_to_string() == written


# --- what the files tell ----------------------------------------------------------------------


@pytest.mark.usefixtures("no_child")
def test_what_the_files_tell_is_refused_before_anything_is_tried(whole: Path, another: Path, tmp_path: Path) -> None:
    ways = list(plain(another, 12))
    assert len(ways) >= 60
    for number, damage in enumerate(ways):
        broken = damage(shutil.copytree(whole, tmp_path / str(number) / "artifact"))
        with pytest.raises(ArtifactError, match=r"artifact"):
            verified(broken)


@pytest.mark.usefixtures("no_child")
def test_a_file_more_is_named(folder: Path) -> None:
    (folder / "MLmodel").write_text("code: x", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"must hold 'booster\.txt'.* alone, got 'MLmodel' as well"):
        verified(folder)


@pytest.mark.usefixtures("no_child")
def test_a_link_is_refused_although_what_it_leads_to_is_whole(folder: Path) -> None:
    kept = (folder / BOOSTER).rename(folder.parent / "kept")
    (folder / BOOSTER).symlink_to(kept)
    with pytest.raises(ArtifactError, match=r"booster\.txt: cannot be read \(it must be a file, no link or folder\)"):
        verified(folder)


@pytest.mark.usefixtures("no_child")
def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    os.truncate(folder / BOOSTER, verifying.MOST_BYTES + 1)
    with pytest.raises(ArtifactError, match=r"at most 268,435,456 bytes, got 268,435,457"):
        verified(folder)


@pytest.mark.usefixtures("no_child")
def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere: cannot be read \(No such file"):
        verified(tmp_path / "nowhere")


@pytest.mark.usefixtures("no_child")
def test_text_nested_deeper_than_can_be_written_is_refused(folder: Path) -> None:
    facts = (folder / SCORER).read_text(encoding="utf-8")
    (folder / SCORER).write_text(
        facts.replace('"format"', f'"deep": {"[" * 900}{"]" * 900},\n "format"', 1), encoding="utf-8"
    )
    with pytest.raises(ArtifactError, match=r"scorer\.json"):
        verified(folder)


# --- what only trying tells -------------------------------------------------------------------


@pytest.mark.parametrize("damage", [one for one in sealed(cuts=0) if one.name in TRIED], ids=lambda damage: damage.name)
def test_what_only_trying_tells_is_refused_by_the_process_that_tries(whole: Path, folder: Path, damage: Damage) -> None:
    damage(folder)
    check_files(folder)
    with pytest.raises(ArtifactError, match=r"the process that tried|booster\.txt|cannot be loaded"):
        verified(folder)


@pytest.mark.parametrize("damage", [one for one in sealed() if not one.sealed], ids=lambda damage: damage.name)
def test_facts_that_cannot_be_are_refused(folder: Path, damage: Damage) -> None:
    damage(folder)
    check_files(folder)
    told = verifying.told_of(folder)
    assert told["version"] is None
    assert told["refused"]
    assert told["reason"]


def test_a_process_that_dies_is_told_with_its_signal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(verifying, "_command", lambda *_: [sys.executable, "-c", died])
    with pytest.raises(ArtifactError, match=r"copy: the process that tried the model was ended by SIGSEGV") as refused:
        examined(folder)
    assert refused.value.reason == "check_died"


@pytest.mark.parametrize("said", ["", "null", "[]", "{}", "1\n2", '{"version": "x"}'])
def test_a_process_that_says_something_else_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    script = "echo first >&2; echo 'MemoryError: no more' >&2; printf '%s' \"$0\"; exit 3"
    monkeypatch.setattr(verifying, "_command", lambda *_: ["/bin/sh", "-c", script, said])
    with pytest.raises(ArtifactError, match=r"ended with code 3: MemoryError: no more\."):
        examined(folder)


def test_a_process_that_takes_too_long_is_ended(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"trying the model took more than 0\.01 s"):
        examined(folder, seconds=0.01)


def test_where_no_process_can_be_started_nothing_is_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ArtifactError, match=r"no process could be started to check it \(No such file"):
        verified(folder)


def test_a_folder_that_changes_under_the_check_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "examined", lambda *_, **__: "0" * 12)
    with pytest.raises(ArtifactError, match=r"was version 000000000000 a moment ago and is [0-9a-f]{12}"):
        verified(folder)


def test_a_wrong_release_of_the_library_is_told_with_its_reason(folder: Path) -> None:
    seal(folder, lambda facts: facts["examples"]["probabilities"].__setitem__(0, 0.123))
    with pytest.raises(ArtifactError, match=r"a stored example must score 0\.123") as refused:
        examined(folder)
    assert refused.value.reason == "example_differs"


# --- the process that tries -------------------------------------------------------------------

SPY = """
import json, os, resource, sys
from pathlib import Path
from serving.models import verifying
def examine(folder):
    limits = [resource.getrlimit(one)[0] for one in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)]
    os.write(1, b"noise of the library\\n")
    return json.dumps({"limits": limits, "nice": os.nice(0), "stdin": sys.stdin.read(), "environment": dict(os.environ),
                       "folder": str(folder)})
verifying.examine = examine
verifying.main(Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the process that tries a folder sees around it."""
    command = verifying._command

    def spied(folder: Path, nice: int) -> list[str]:
        python, *module = command(folder, nice)
        assert module[:2] == ["-m", "serving.models.verifying"]
        # Noise on stdout would make the answer unreadable.
        return [python, "-c", SPY, *module[2:]]

    monkeypatch.setattr(verifying, "_command", spied)
    monkeypatch.setenv("PQL_KEYS", "/secret/keys.txt")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://name:secret@host")
    found: dict[str, Any] = json.loads(examined(folder, nice=verifying.GENTLE))
    return found


def test_it_has_little_memory_and_time_and_leaves_no_core(seen: dict[str, Any]) -> None:
    most = [verifying.MOST_MEMORY, verifying.MOST_CPU_SECONDS, 0]
    assert all(got <= limit for got, limit in zip(seen["limits"], most, strict=True))
    assert seen["nice"] >= min(os.nice(0) + verifying.GENTLE, 19)


def test_it_knows_no_secret_and_reads_nothing(seen: dict[str, Any]) -> None:
    assert "secret" not in json.dumps(seen["environment"])
    assert seen["stdin"] == ""


def test_it_is_told_the_folder_as_it_is_from_anywhere(seen: dict[str, Any], folder: Path) -> None:
    assert seen["folder"] == str(folder.resolve())


def test_it_needs_nothing_that_learns_or_tracks(whole: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from serving.models.verifying import examine; "
        "examine(Path(sys.argv[1])); print(sorted({'sklearn', 'pandas', 'mlflow', 'bentoml', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, whole], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_the_parent_reads_nothing_but_bytes_of_what_the_child_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(folder, lambda facts: facts.update(examples={"rows": [], "probabilities": []}))

    def parsed(*_: object) -> None:
        pytest.fail("the model was parsed by the process that serves")

    monkeypatch.setattr("serving.scoring.artifact.lightgbm", parsed)
    with pytest.raises(ArtifactError, match=r"must hold examples with their scores, got none"):
        verified(folder)


def test_about_is_the_file_that_the_shelf_writes() -> None:
    assert ABOUT == "about.json"
    assert About() == About(number=None, figures={})

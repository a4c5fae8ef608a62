"""A newer version takes the old one's place once it was checked; whatever is wrong, the old one goes on."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from features.errors import ArtifactError, PQLError
from serving.models import watching
from serving.models.served import About, Holder, Served
from serving.models.shelf import CURRENT, Candidate, Plain, Shelf, Source, Stored
from serving.models.verifying import ABOUT, SLOW
from serving.models.watching import Watch, check
from serving.scoring.artifact import BOOSTER, DEFINITION, FILES, SCORER
from serving.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def artifacts(
    made_scorer: Callable[..., Scorer], definition_text: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    home = tmp_path_factory.mktemp("artifacts")
    return [
        made_scorer(definition_text.replace("Corkboard", f"Product {seed}"), seed=seed).artifact.save(home / str(seed))
        for seed in range(3)
    ]


@pytest.fixture(autouse=True)
def one_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tries a folder is tests/serving/test_verifying.py's business; here hashes and examples are enough."""
    if "real" not in request.fixturenames:
        monkeypatch.setattr(watching, "verified", lambda folder, _: Scorer.from_folder(folder))


@pytest.fixture
def real() -> None:
    """All checks, in another process too."""


@dataclass
class Watched:
    """A watch on a source, and all that it told."""

    watch: Watch
    holder: Holder
    changes: list[Served] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def look(self, times: int = 1) -> str:
        """Look so often and return the version in service."""
        for _ in range(times):
            self.watch.look(self.holder)
        return self.holder.served.scorer.version


def watched(source: Source, every: float = 1.0) -> Watched:
    moments = iter(range(1, 1000))
    changes: list[Served] = []
    refusals: list[str] = []

    def refused(error: PQLError) -> None:
        refusals.append(str(error))

    watch = Watch(source, lambda: next(moments), changes.append, refused, every)
    return Watched(watch, Holder(watch.first()), changes, refusals)


@pytest.fixture
def shelf(artifacts: list[Path], tmp_path: Path) -> Shelf:
    """A shelf with three versions, the first current."""
    shelf = Shelf(tmp_path / "served")
    names = [shelf.put(artifact, About(number=number)) for number, artifact in enumerate(artifacts)]
    shelf.point(names[0])
    return shelf


@pytest.fixture
def names(shelf: Shelf, artifacts: list[Path]) -> list[str]:
    return [shelf.put(artifact, About(number=number)) for number, artifact in enumerate(artifacts)]


@pytest.fixture
def folder(artifacts: list[Path], tmp_path: Path) -> Path:
    return shutil.copytree(artifacts[0], tmp_path / "artifact")


# --- the first --------------------------------------------------------------------------------


def test_the_first_version_is_the_newest_with_what_is_told_of_it(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    assert seen.holder.served.scorer.version == names[0]
    assert seen.holder.served.about == About(number=0)
    assert seen.holder.served.since == 1


def test_without_a_model_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no model to serve\. Train one"):
        watched(Plain(tmp_path / "nowhere"))


def test_with_a_damaged_model_nothing_begins_and_the_message_names_the_file(folder: Path) -> None:
    (folder / BOOSTER).write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=rf"^{folder}/booster\.txt: its SHA-256 is not the one"):
        watched(Plain(folder))


def test_a_store_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    def find() -> Path:
        raise KeyError("pql-scorer:latest")

    with pytest.raises(ArtifactError, match=r"no model can be had \('pql-scorer:latest'\)"):
        watched(Stored(find))


@pytest.mark.usefixtures("real")
def test_every_check_is_made_before_a_version_is_served(artifacts: list[Path], names: list[str]) -> None:
    served = check(Candidate("key", artifacts[0]), lambda: 7)
    assert (served.scorer.version, served.since) == (names[0], 7)


# --- promotions -------------------------------------------------------------------------------


def test_a_promoted_version_takes_the_place_in_one_step(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    before = seen.holder.served
    shelf.point(names[1])
    assert seen.look() == names[1]
    assert seen.changes == [seen.holder.served]
    assert seen.holder.served.about == About(number=1)
    assert seen.holder.served.since > before.since
    # A request that began before keeps what it read.
    assert before.scorer.version == names[0]


def test_while_nothing_changes_nothing_is_read_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(shelf)
    monkeypatch.setattr(watching, "check", lambda *_: pytest.fail("checked again"))
    seen.look(5)
    assert (seen.changes, seen.refusals) == ([], [])


def test_going_back_is_a_promotion_too(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    for version in (names[1], names[0], names[2]):
        shelf.point(version)
        assert seen.look() == version
    assert len(seen.changes) == 3


def test_the_same_version_under_another_key_goes_on_as_it_was(folder: Path) -> None:
    seen = watched(Plain(folder))
    before = seen.holder.served
    (folder / DEFINITION).write_bytes((folder / DEFINITION).read_bytes())
    seen.look(3)
    assert seen.holder.served is before
    assert not seen.changes


def test_what_is_told_of_a_version_later_is_taken_over(folder: Path) -> None:
    seen = watched(Plain(folder))
    before = seen.holder.served
    (folder / ABOUT).write_text('{"number": 12}', encoding="utf-8")
    seen.look(3)
    assert seen.holder.served.about == About(number=12)
    assert seen.holder.served.scorer is before.scorer
    assert seen.holder.served.since == before.since


def test_an_artifact_that_is_overwritten_is_served_once_it_has_settled(folder: Path, artifacts: list[Path]) -> None:
    seen = watched(Plain(folder))
    before = seen.look()
    for name in FILES:
        (folder / name).write_bytes((artifacts[1] / name).read_bytes()[:-20])
        assert seen.look() == before
        (folder / name).write_bytes((artifacts[1] / name).read_bytes())
        assert seen.look() == before
    assert seen.look() != before
    assert not seen.refusals


# --- what is wrong ----------------------------------------------------------------------------


def test_a_damaged_version_is_refused_once_and_the_old_one_goes_on(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    (shelf.folder / names[1] / BOOSTER).write_bytes(b"damaged")
    shelf.point(names[1])
    assert seen.look(4) == names[0]
    [told] = seen.refusals
    assert told.startswith(f"{shelf.folder / names[1] / BOOSTER}: its SHA-256")
    assert not seen.changes


def test_after_a_refused_version_the_next_one_is_served(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    (shelf.folder / names[1] / BOOSTER).write_bytes(b"damaged")
    for version, expected in ((names[1], names[0]), (names[2], names[2])):
        shelf.point(version)
        assert seen.look() == expected


def test_a_refused_version_is_tried_again_when_it_was_pointed_to_anew(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    whole = (shelf.folder / names[1] / BOOSTER).read_bytes()
    (shelf.folder / names[1] / BOOSTER).write_bytes(b"damaged")
    shelf.point(names[1])
    seen.look()
    (shelf.folder / names[1] / BOOSTER).write_bytes(whole)
    for version in (names[0], names[1]):
        shelf.point(version)
        seen.look()
    assert seen.look() == names[1]


def test_an_artifact_that_was_refused_is_tried_again_when_it_changes(folder: Path, artifacts: list[Path]) -> None:
    seen = watched(Plain(folder))
    before = seen.look()
    shutil.copyfile(artifacts[1] / SCORER, folder / SCORER)
    assert seen.look(3) == before
    assert len(seen.refusals) == 1
    for name in FILES:
        shutil.copyfile(artifacts[1] / name, folder / name)
    assert seen.look(3) != before


def test_a_folder_that_is_gone_is_told_once_and_the_old_version_goes_on(folder: Path) -> None:
    seen = watched(Plain(folder))
    before = seen.look()
    shutil.rmtree(folder)
    assert seen.look(3) == before
    assert seen.refusals == ["there is no model any more where it came from. Publish the version again."]


def test_a_folder_that_comes_back_is_served_again_without_a_word(folder: Path, artifacts: list[Path]) -> None:
    seen = watched(Plain(folder))
    before = seen.look()
    shutil.rmtree(folder)
    seen.look()
    shutil.copytree(artifacts[0], folder)
    assert seen.look(3) == before
    assert len(seen.refusals) == 1


@pytest.mark.parametrize("text", ["", "../other", "0123456789ab"])
def test_a_pointer_that_leads_nowhere_is_told_once(shelf: Shelf, names: list[str], text: str) -> None:
    seen = watched(shelf)
    (shelf.folder / CURRENT).write_text(text, encoding="utf-8")
    assert seen.look(3) == names[0]
    assert len(seen.refusals) == 1


def test_trouble_that_comes_again_is_told_again(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    for _ in range(2):
        (shelf.folder / CURRENT).write_text("", encoding="utf-8")
        seen.look(2)
        shelf.point(names[0])
        seen.look()
    assert len(seen.refusals) == 2


def test_what_nobody_thought_of_does_not_end_the_watch(
    shelf: Shelf, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(shelf)

    def broken(*_: Any) -> Served:
        raise ZeroDivisionError("what now")

    with monkeypatch.context() as patch:
        patch.setattr(watching, "check", broken)
        shelf.point(names[1])
        assert seen.look() == names[0]
    assert seen.refusals == ["the model cannot be looked for (ZeroDivisionError('what now'))."]
    shelf.point(names[2])
    assert seen.look() == names[2]


def test_a_check_that_a_busy_machine_did_not_end_is_made_again(
    shelf: Shelf, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(shelf)

    def slow(folder: Path, _: int) -> Scorer:
        raise ArtifactError(f"{folder}: trying the model took more than 30 s.", SLOW)

    with monkeypatch.context() as patch:
        patch.setattr(watching, "verified", slow)
        shelf.point(names[1])
        assert seen.look(3) == names[0]
    assert len(seen.refusals) == 1
    assert seen.look() == names[1]


def test_what_is_checked_is_what_is_loaded(
    shelf: Shelf, names: list[str], artifacts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(shelf)

    def swapped(folder: Path, _: int) -> Scorer:
        # Somebody changes the version between the check and the loading.
        assert folder != shelf.folder / names[1]
        (shelf.folder / names[1] / BOOSTER).write_bytes(b"damaged")
        return Scorer.from_folder(folder)

    monkeypatch.setattr(watching, "verified", swapped)
    shelf.point(names[1])
    assert seen.look() == names[1]


# --- the thread -------------------------------------------------------------------------------


def test_the_thread_serves_what_is_promoted_and_ends_when_told(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf, every=0.01)
    seen.watch.start(seen.holder)
    shelf.point(names[1])
    deadline = time.monotonic() + 20
    while seen.holder.served.scorer.version != names[1] and time.monotonic() < deadline:
        time.sleep(0.01)
    seen.watch.stop()
    assert seen.holder.served.scorer.version == names[1]
    assert "watch-model" not in {thread.name for thread in threading.enumerate()}


def test_a_service_that_stops_does_not_change_its_version_any_more(shelf: Shelf, names: list[str]) -> None:
    seen = watched(shelf)
    seen.watch.stop()
    shelf.point(names[1])
    assert seen.look() == names[0]
    assert not seen.changes


def test_a_version_that_could_not_be_copied_for_want_of_room_is_tried_again(
    shelf: Shelf, names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = watched(shelf)
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        shelf.point(names[1])
        assert seen.look(3) == names[0]
    (said,) = seen.refusals
    assert "cannot be copied to be checked" in said
    assert seen.look() == names[1]


def test_a_version_that_no_process_could_try_is_tried_again(
    shelf: Shelf, names: list[str], monkeypatch: pytest.MonkeyPatch, real: None
) -> None:
    seen = watched(shelf)

    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("serving.models.verifying.subprocess.Popen", refused)
        shelf.point(names[1])
        assert seen.look(2) == names[0]
    assert ["no process could be started" in said for said in seen.refusals] == [True]
    assert seen.look() == names[1]

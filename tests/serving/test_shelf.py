"""A shelf shows a whole version or none at any moment, and every source tells when what lies there is another."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from features.errors import ArtifactError, InvalidInput
from serving.models import shelf as shelves
from serving.models.served import About
from serving.models.shelf import CURRENT, KEPT, Plain, Shelf, Stored, about_in, copied, private_copy, source_of
from serving.models.verifying import ABOUT
from serving.scoring.artifact import BOOSTER, DEFINITION, FILES, SCORER, load
from serving.scoring.scorer import Scorer

ROOT = Path(__file__).parents[2]
TOLD = About(number=3, trained_at="2026-01-01T00:00:00Z", verdict="Promoted: better.", figures={"auc": 0.8})


@pytest.fixture(scope="module")
def artifacts(
    made_scorer: Callable[..., Scorer], definition_text: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """More versions than a shelf keeps."""
    home = tmp_path_factory.mktemp("artifacts")
    return [
        made_scorer(definition_text, seed=seed).artifact.save(home / str(seed) / "artifact") for seed in range(KEPT + 2)
    ]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "served")


@pytest.fixture
def folder(artifacts: list[Path], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(artifacts[0], tmp_path / "artifact")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- what is put there ------------------------------------------------------------------------


def test_what_is_put_there_is_named_by_its_content_and_is_the_same_bytes(shelf: Shelf, artifacts: list[Path]) -> None:
    version = shelf.put(artifacts[0], TOLD)
    assert version == load(artifacts[0]).version
    put = files_of(shelf.folder / version)
    told = put.pop(ABOUT)
    assert put == files_of(artifacts[0])
    assert b'"number":3' in told
    assert shelf.about(version) == TOLD


def test_a_version_is_current_only_when_pointed_to(shelf: Shelf, artifacts: list[Path]) -> None:
    version = shelf.put(artifacts[0])
    assert shelf.current() is None
    assert shelf.newest() is None
    shelf.point(version)
    found = shelf.newest()
    assert found is not None
    assert (found.key, found.folder) == (version, shelf.folder / version)


def test_others_can_neither_read_nor_write_it(shelf: Shelf, artifacts: list[Path]) -> None:
    version = shelf.put(artifacts[0])
    assert stat.S_IMODE((shelf.folder / version).stat().st_mode) == 0o700


def test_putting_the_same_again_tells_the_newer_things_of_it(shelf: Shelf, artifacts: list[Path]) -> None:
    version = shelf.put(artifacts[0], TOLD)
    before = (shelf.folder / version / BOOSTER).stat().st_ino
    assert shelf.put(artifacts[0], About(number=4)) == version
    assert shelf.about(version) == About(number=4)
    # It may be current: its folder was never gone.
    assert (shelf.folder / version / BOOSTER).stat().st_ino == before


def test_a_version_that_was_damaged_on_the_shelf_is_mended_by_putting_it_again(
    shelf: Shelf, artifacts: list[Path]
) -> None:
    version = shelf.put(artifacts[0])
    (shelf.folder / version / BOOSTER).write_text("damaged", encoding="utf-8")
    assert shelf.put(artifacts[0]) == version
    assert files_of(shelf.folder / version) == files_of(artifacts[0])


def test_what_cannot_be_put_leaves_nothing(shelf: Shelf, folder: Path) -> None:
    (folder / BOOSTER).unlink()
    with pytest.raises(ArtifactError, match=r"booster\.txt: cannot be read \(No such file"):
        shelf.put(folder)
    assert list(shelf.folder.iterdir()) == []


def test_what_is_told_beside_the_files_is_not_taken_over_unasked(shelf: Shelf, folder: Path) -> None:
    (folder / ABOUT).write_text('{"number": 9}', encoding="utf-8")
    version = shelf.put(folder)
    assert shelf.about(version) is None
    assert files_of(shelf.folder / version).keys() == set(FILES)


def test_the_last_versions_that_were_pointed_to_stay(shelf: Shelf, artifacts: list[Path]) -> None:
    names = []
    for artifact in artifacts:
        names.append(shelf.put(artifact))
        shelf.point(names[-1])
    assert shelf.current() == names[-1]
    assert shelf.versions() == names[::-1][:KEPT]


def test_going_back_keeps_the_version_gone_back_to(shelf: Shelf, artifacts: list[Path]) -> None:
    names = [shelf.put(artifact) for artifact in artifacts[:KEPT]]
    for name in (*names, names[0]):
        shelf.point(name)
    shelf.point(shelf.put(artifacts[KEPT]))
    assert names[0] in shelf.versions()
    assert names[1] not in shelf.versions()


@pytest.mark.parametrize("name", ["0123456789ab", "../../etc", "", "current"])
def test_the_pointer_cannot_be_set_to_what_is_not_there(shelf: Shelf, artifacts: list[Path], name: str) -> None:
    version = shelf.put(artifacts[0])
    shelf.point(version)
    with pytest.raises(ArtifactError, match=r"must hold version .* to point to it"):
        shelf.point(name)
    assert shelf.current() == version


@pytest.mark.parametrize("text", ["", "../../../etc/passwd", "0123456789AB", "0123456789ab/..", "\0", "x" * 5000, "é"])
def test_a_pointer_that_names_no_version_is_refused(shelf: Shelf, artifacts: list[Path], text: str) -> None:
    shelf.put(artifacts[0])
    (shelf.folder / CURRENT).write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"current: must be the name of a version"):
        shelf.newest()


def test_a_pointer_to_what_is_gone_is_refused(shelf: Shelf, artifacts: list[Path]) -> None:
    version = shelf.put(artifacts[0])
    shelf.point(version)
    shutil.rmtree(shelf.folder / version)
    with pytest.raises(ArtifactError, match=rf"points to {version}, which is no folder beside it"):
        shelf.newest()


def test_a_version_that_is_a_link_to_elsewhere_is_refused(shelf: Shelf, artifacts: list[Path]) -> None:
    version = shelf.put(artifacts[0])
    shelf.point(version)
    shutil.rmtree(shelf.folder / version)
    (shelf.folder / version).symlink_to(artifacts[0])
    with pytest.raises(ArtifactError, match=r"no folder beside it"):
        shelf.newest()


def test_parts_that_a_killed_process_left_are_removed_when_nobody_writes_them_any_more(
    shelf: Shelf, artifacts: list[Path]
) -> None:
    version = shelf.put(artifacts[0])
    old, new = shelf.folder / ".part-old", shelf.folder / ".part-new"
    for path in (old, new):
        path.mkdir()
        (path / BOOSTER).touch()
    os.utime(old, (time.time() - 4000,) * 2)
    shelf.point(version)
    assert not old.exists()
    assert new.exists()
    assert shelf.versions() == [version]


def test_whose_versions_lie_there_is_written_down(shelf: Shelf) -> None:
    assert shelf.followed() is None
    shelf.follow("pql-scorer@champion")
    assert shelf.followed() == "pql-scorer@champion"


KILLED = """
import os, sys
from pathlib import Path
from serving.models import shelf as shelves
at, calls = int(sys.argv[3]), 0
def dying(function):
    def called(*words, **more):
        global calls
        calls += 1
        if calls == at:
            os._exit(9)
        return function(*words, **more)
    return called
shelves._to_disk, shelves._copy, os.utime = dying(shelves._to_disk), dying(shelves._copy), dying(os.utime)
Path.rename, shelves.shutil.rmtree = dying(Path.rename), dying(shelves.shutil.rmtree)
shelf = shelves.Shelf(Path(sys.argv[1]))
shelf.point(shelf.put(Path(sys.argv[2])))
"""


def test_whoever_is_killed_anywhere_leaves_the_old_version_or_the_new_one(
    shelf: Shelf, artifacts: list[Path], tmp_path: Path
) -> None:
    before = shelf.put(artifacts[0])
    shelf.point(before)
    after = load(artifacts[1]).version
    seen = set()
    # Copying, syncing, renaming the version; renaming the pointer, and after it.
    for at in (2, 6, 8, 11, 12, 13):
        copy = Shelf(shutil.copytree(shelf.folder, tmp_path / str(at)))
        words = [sys.executable, "-c", KILLED, str(copy.folder), str(artifacts[1]), str(at)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 9, done.stderr
        found = copy.newest()
        assert found is not None
        assert load(found.folder).version == found.key
        seen.add(found.key)
        # And the next one is not in its way.
        copy.point(copy.put(artifacts[1]))
        assert copy.current() == after
    assert seen == {before, after}


# --- copies -----------------------------------------------------------------------------------


def test_a_private_copy_is_gone_afterwards(artifacts: list[Path]) -> None:
    with private_copy(artifacts[0]) as copy:
        assert files_of(copy) == files_of(artifacts[0])
        assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert not copy.exists()


def test_what_is_wrong_with_a_private_copy_is_told_of_what_was_copied(artifacts: list[Path]) -> None:
    told = rf"^{artifacts[0]}/booster\.txt: its SHA-256"
    with pytest.raises(ArtifactError, match=told) as refused, private_copy(artifacts[0]) as copy:
        raise ArtifactError.hash_differs(copy / BOOSTER)
    assert refused.value.reason == "hash_differs"


def test_a_store_may_write_its_own_description_beside_the_files(folder: Path, tmp_path: Path) -> None:
    (folder / "model.yaml").write_text("name: pql-scorer\n", encoding="utf-8")
    (tmp_path / "to").mkdir()
    assert files_of(copied(folder, tmp_path / "to")).keys() == set(FILES)


def test_nothing_else_may_lie_beside_the_files(folder: Path, tmp_path: Path) -> None:
    (folder / "code").mkdir()
    with pytest.raises(ArtifactError, match=r"alone, got 'code' as well"):
        copied(folder, tmp_path)


def test_a_link_that_takes_a_files_place_after_the_look_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at(path: Path) -> None:
        if path.name == SCORER:
            kept = path.rename(tmp_path / "kept")
            path.symlink_to(kept)

    monkeypatch.setattr(shelves, "check_file", looked_at)
    (tmp_path / "to").mkdir()
    with pytest.raises(ArtifactError, match=r"cannot be read \(Too many levels of symbolic links"):
        copied(folder, tmp_path / "to")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"number": "six"}', '{"figures": {"auc": NaN}}', "[" * 9000])
def test_what_is_told_and_cannot_be_read_is_left_out(folder: Path, text: str) -> None:
    (folder / ABOUT).write_text(text, encoding="utf-8")
    assert about_in(folder) is None


# --- sources ----------------------------------------------------------------------------------


def test_a_folder_is_a_shelf_or_an_artifact(shelf: Shelf, artifacts: list[Path]) -> None:
    shelf.point(shelf.put(artifacts[0]))
    assert source_of(shelf.folder) == shelf
    assert source_of(artifacts[0]) == Plain(artifacts[0])


def test_another_folder_is_refused_with_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"must be a folder with 'booster\.txt'.* or a shelf .*'current'"):
        source_of(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / DEFINITION).write_bytes((folder / DEFINITION).read_bytes() + b"\n"),
        lambda folder: (folder / DEFINITION).write_bytes((folder / DEFINITION).read_bytes()),
        lambda folder: (
            shutil.copy2(folder / DEFINITION, folder / "new") and (folder / "new").rename(folder / DEFINITION)
        ),
        lambda folder: (folder / BOOSTER).unlink(),
        lambda folder: (folder / ABOUT).touch(),
        lambda folder: (folder / BOOSTER).chmod(0o600),
    ],
    ids=["longer", "written again", "another file in its place", "gone", "told of", "other rights"],
)
def test_an_artifact_has_another_key_after_a_change(folder: Path, change: Callable[[Path], object]) -> None:
    before = Plain(folder).newest()
    time.sleep(0.02)
    assert Plain(folder).newest() == before
    change(folder)
    assert Plain(folder).newest() != before


def test_a_link_that_is_moved_to_another_folder_is_another_candidate(artifacts: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(artifacts[0])
    before = Plain(link).newest()
    link.unlink()
    link.symlink_to(artifacts[1])
    after = Plain(link).newest()
    assert before is not None
    assert after is not None
    assert (before.folder, after.folder) == (artifacts[0], artifacts[1])
    assert before.key != after.key


def test_where_an_artifact_was_there_is_nothing(tmp_path: Path) -> None:
    assert Plain(tmp_path / "gone").newest() is None


def test_a_store_is_asked_each_time(tmp_path: Path) -> None:
    names = iter(["one", "two"])
    source = Stored(lambda: tmp_path / next(names))
    first, second = source.newest(), source.newest()
    assert first is not None
    assert second is not None
    assert (first.folder.name, second.folder.name) == ("one", "two")
    assert first.key != second.key


def test_only_a_folder_that_is_written_in_place_must_settle(shelf: Shelf, folder: Path) -> None:
    assert (Plain(folder).settles, shelf.settles, Stored(lambda: folder).settles) == (True, False, False)

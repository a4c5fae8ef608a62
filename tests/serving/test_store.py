"""Jobs as folders: what is acknowledged is there after a crash, and what is not leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.jobs.store import KEPT_SECONDS, UPLOAD_SECONDS, Store
from tests.serving.job_files import job_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "jobs")


def test_a_job_that_was_sent_is_found_again(store: Store) -> None:
    job = job_of(store, b"lead_id\nu\n", reasons=2)
    found = Store(store.folder).job(job.task_id)
    assert found is not None
    assert found.input("csv").read_bytes() == b"lead_id\nu\n"
    assert (found.asked.reasons, found.state.status) == (2, "in_progress")


def test_ids_are_128_bits_that_nobody_guesses(store: Store) -> None:
    names = {job_of(store, b"x").task_id for _ in range(20)}
    assert len(names) == 20
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in names)


@pytest.mark.parametrize(
    "task_id",
    [
        "",
        ".",
        "..",
        "../jobs",
        "a" * 31,
        "A" * 32,
        "g" * 32,
        "a" * 33,
        "a" * 32 + "\n",
        "\0" * 32,
        "/etc/passwd",
        "ä" * 32,
    ],
)
def test_no_other_name_is_looked_up(task_id: str, store: Store) -> None:
    job_of(store, b"x")
    assert store.job(task_id) is None


def test_an_upload_that_is_left_leaves_nothing_behind(store: Store) -> None:
    with store.upload("csv") as upload:
        upload.write(b"half")
    assert list(store.folder.iterdir()) == []


def test_an_upload_that_the_disk_refuses_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serving.jobs.store.synced", full)
    with pytest.raises(OSError, match="No space"):
        job_of(store, b"whole")
    assert list(store.folder.iterdir()) == []


def test_an_upload_is_no_job_before_its_end(store: Store) -> None:
    with store.upload("csv") as upload:
        upload.write(b"half")
        (folder,) = store.folder.iterdir()
        assert store.job(folder.name) is None
        assert store.open_jobs() == []


def test_a_state_is_told_whole(store: Store) -> None:
    job = job_of(store, b"x")
    state = job.state
    job.tell(state)
    assert job.state == state
    assert not (job.folder / "state.json.part").exists()


def test_jobs_that_are_not_done_come_in_the_order_in_which_they_were_sent(store: Store) -> None:
    late, early = job_of(store, b"x", created_at=2), job_of(store, b"x", created_at=1)
    done = job_of(store, b"x", created_at=0)
    done.tell(type(done.state)(status="success"))
    assert [job.task_id for job in store.open_jobs()] == [early.task_id, late.task_id]


def test_a_folder_that_is_not_there_holds_no_jobs(store: Store) -> None:
    assert store.open_jobs() == []
    assert store.prune() == 0


def aged(path: Path, seconds: float) -> None:
    for one in [*path.rglob("*"), path]:
        moment = one.stat().st_mtime - seconds
        os.utime(one, (moment, moment))


def test_jobs_go_after_seven_days(store: Store) -> None:
    old, young = job_of(store, b"x"), job_of(store, b"x")
    aged(old.folder, KEPT_SECONDS + 60)
    aged(young.folder, KEPT_SECONDS - 60)
    assert store.prune() == 1
    assert store.job(old.task_id) is None
    assert store.job(young.task_id) is not None
    assert [path.name for path in store.folder.iterdir()] == [young.task_id]


def test_uploads_that_came_to_no_end_go_and_those_under_way_stay(store: Store) -> None:
    for name, age in (("a" * 32, UPLOAD_SECONDS + 60), ("b" * 32, 10)):
        (store.folder / name).mkdir(parents=True)
        (store.folder / name / "input.part").write_bytes(b"half")
        aged(store.folder / name, age)
    assert store.prune() == 1
    assert [path.name for path in store.folder.iterdir()] == ["b" * 32]


def test_a_job_that_is_being_removed_is_none_any_more_and_goes_at_the_next_look(store: Store) -> None:
    job = job_of(store, b"x")
    job.folder.rename(store.folder / f"removed-{job.task_id}")
    assert store.job(job.task_id) is None
    assert store.open_jobs() == []
    assert store.prune() == 1
    assert list(store.folder.iterdir()) == []


def test_what_is_no_job_is_left_alone(store: Store) -> None:
    (store.folder / "notes").mkdir(parents=True)
    aged(store.folder / "notes", 10 * KEPT_SECONDS)
    assert store.prune() == 0
    assert (store.folder / "notes").is_dir()


def test_a_job_is_removed_with_all_that_is_kept_of_it(store: Store) -> None:
    job = job_of(store, b"x")
    job.remove()
    job.remove()
    assert list(store.folder.iterdir()) == []


def test_a_job_can_be_called_off(store: Store) -> None:
    job = job_of(store, b"x")
    assert not job.cancelled
    job.call_off()
    assert job.cancelled

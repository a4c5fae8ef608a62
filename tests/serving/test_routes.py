"""The routes of batch jobs: taken, asked about, fetched, called off, and refused in the one shape of all errors."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.errors import InvalidInput
from features.windows import Floats
from serving.jobs import manager as managing
from serving.jobs.manager import Manager
from serving.jobs.reading import Form
from serving.jobs.routes import TYPES, Jobs
from serving.jobs.store import State, Store
from serving.jobs.work import work
from serving.scoring.scorer import Scorer
from serving.web.front import Front, House
from serving.web.keys import Caller
from tests.serving.inside import Told, inner
from tests.serving.job_files import NOW, table_of, written

CSV = {"content-type": "text/csv"}
MOST = 5_000_000


class TwoKeys:
    """Knows the keys `a` and `b`, both good for jobs, and `c`, which is not."""

    def caller(self, authorization: bytes | None) -> Caller | None:
        name = (authorization or b"").removeprefix(b"Bearer ").decode()
        return Caller(name, frozenset({"batch"} if name in "ab" else {"score"})) if name in ("a", "b", "c") else None


@pytest.fixture
def manager(scorer: Scorer, tmp_path: Path) -> Iterator[Manager]:
    one = Manager(Store(tmp_path / "jobs"), lambda: scorer, lambda: NOW)
    yield one
    one.stop()


def client_of(manager: Manager, scorer: Scorer, keys: TwoKeys | None = None) -> TestClient:
    told = Told()
    entries = Jobs(manager, lambda: scorer.builder.definition, lambda: NOW, MOST).entries()
    house = House(entries, keys, told.observe, told.unexpected)
    front = Front(inner, lambda: house)
    front.open(house)
    return TestClient(front)


@pytest.fixture
def client(manager: Manager, scorer: Scorer) -> TestClient:
    return client_of(manager, scorer)


@pytest.fixture
def content(scorer: Scorer, rows: Floats, tmp_path: Path) -> bytes:
    return written(table_of(scorer, rows[:20]), tmp_path / "file", "csv").read_bytes()


def sent(client: TestClient, content: bytes, query: str = "", **headers: str) -> Any:
    return client.post(f"/score_batch{query}", content=content, headers={**CSV, **headers})


def test_a_file_is_taken_scored_and_fetched(
    client: TestClient, manager: Manager, content: bytes, scorer: Scorer, rows: Floats, tmp_path: Path
) -> None:
    for form in ("csv", "jsonl", "parquet"):
        body = written(table_of(scorer, rows[:20]), tmp_path / "file", form).read_bytes()
        answer = client.post("/score_batch", content=body, headers={"content-type": TYPES[form]})
        assert answer.status_code == 202
        task = answer.json()
        assert task["status"] == "in_progress"
        if form == "csv":
            manager.start()
        status = client.get(task["status_url"]).json()
        end = time.monotonic() + 60
        while status["status"] == "in_progress" and time.monotonic() < end:
            time.sleep(0.1)
            status = client.get(task["status_url"]).json()
        assert (status["status"], status["rows"], status["scored"], status["rejected"]) == ("success", 20, 20, 0)
        assert status["model_version"] == scorer.version
        assert status["created_at"] == "2025-12-29T09:20:00Z"
        result = client.get(task["result_url"])
        assert result.status_code == 200
        assert result.headers["content-type"].partition(";")[0] == TYPES[form]
        assert result.headers["content-disposition"] == f'attachment; filename="scores-{task["task_id"]}.{form}"'
        assert result.headers["x-content-type-options"] == "nosniff"
        assert result.content == (tmp_path / "jobs" / task["task_id"] / f"result.{form}").read_bytes()


def test_what_is_asked_for_lies_beside_the_file(client: TestClient, manager: Manager, content: bytes) -> None:
    query = "?as_of=2026-01-09T09:00:00Z&reasons=3&explain=all&output=parquet&of=features"
    job = manager.store.job(sent(client, content, query).json()["task_id"])
    assert job is not None
    asked = job.asked
    assert (asked.reasons, asked.explain, asked.output, asked.of, asked.form) == (
        3,
        "all",
        "parquet",
        "features",
        "csv",
    )
    assert asked.as_of == 1_767_949_200_000_000
    assert job.input("csv").read_bytes() == content


def test_a_gzipped_body_is_unpacked(client: TestClient, manager: Manager, content: bytes) -> None:
    answer = sent(client, gzip.compress(content), **{"content-encoding": "gzip"})
    job = manager.store.job(answer.json()["task_id"])
    assert job is not None
    assert job.input("csv").read_bytes() == content


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("?reasons=-1", "reasons", "a whole number from 0 to 20"), ("?reasons=21", "reasons", "got '21'"),
        ("?reasons=", "reasons", "got ''"), ("?reasons=%C2%B2", "reasons", "whole number"),
        ("?output=parket", "output", "Did you mean 'parquet'"), ("?explain=some", "explain", "one of likely, all"),
        ("?of=leads", "of", "one of features, events"), ("?as_of=now", "as_of", "must be an ISO 8601 time"),
        ("?as_of=2026-01-09", "as_of", "must carry a time zone"), ("?reason=3", "query", "unknown parameter"),
        ("?reasons=1&reasons=2", "reasons", "once"),
    ],
)  # fmt: skip
def test_options_that_there_are_not_are_refused(
    query: str, field: str, said: str, client: TestClient, manager: Manager, content: bytes
) -> None:
    answer = sent(client, content, query)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["field"] == field
    assert said in error["message"]
    assert manager.store.open_jobs() == []


def test_an_unknown_option_is_told_what_it_may_mean(manager: Manager, scorer: Scorer) -> None:
    jobs = Jobs(manager, lambda: scorer.builder.definition, lambda: NOW, MOST)

    class Asking:
        query, content_type = {"reason": "3"}, "text/csv"

    with pytest.raises(InvalidInput, match=r"'reason' is no option of a job\. Did you mean 'reasons'"):
        jobs._asked(Asking())  # type: ignore[arg-type]


def test_a_body_without_a_byte_is_refused_and_leaves_nothing(client: TestClient, tmp_path: Path) -> None:
    assert sent(client, b"").status_code == 400
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_file_larger_than_allowed_is_refused_and_leaves_nothing(client: TestClient, tmp_path: Path) -> None:
    packed = gzip.compress(bytes(MOST + 1))
    assert sent(client, packed, **{"content-encoding": "gzip"}).status_code == 413
    assert list((tmp_path / "jobs").iterdir()) == []


def test_another_content_type_is_refused(client: TestClient) -> None:
    answer = client.post("/score_batch", content=b"x", headers={"content-type": "application/json"})
    assert answer.status_code == 415


def test_a_full_disk_is_said_and_leaves_nothing(
    client: TestClient, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serving.jobs.store.synced", full)
    answer = sent(client, content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
    assert "retry-after" in answer.headers
    assert list((tmp_path / "jobs").iterdir()) == []


def test_when_too_many_wait_no_other_is_taken(
    client: TestClient, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managing, "MOST_OPEN", 1)
    assert sent(client, content).status_code == 202
    answer = sent(client, content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_many_jobs")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/score_batch/status", "/score_batch/result"])
@pytest.mark.parametrize("task_id", ["f" * 32, "..%2F..%2Fetc", "", "%00", "a" * 500])
def test_a_job_that_there_is_not_is_not_found(path: str, task_id: str, client: TestClient) -> None:
    answer = client.get(f"{path}?task_id={task_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_task")


def test_a_task_must_be_named(client: TestClient) -> None:
    answer = client.get("/score_batch/status")
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "task_id")


def test_a_result_is_not_there_before_the_job_is_done(client: TestClient, content: bytes) -> None:
    answer = client.get(sent(client, content).json()["result_url"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "in_progress")


def test_why_a_job_failed_is_told(client: TestClient, manager: Manager, model_folder: Path) -> None:
    task = sent(client, b"lead_id\nu\n").json()
    job = manager.store.job(task["task_id"])
    assert job is not None
    work(job, model_folder)
    status = client.get(task["status_url"]).json()
    assert status["status"] == "failure"
    assert "lacks column(s)" in status["error"]["message"]
    answer = client.get(task["result_url"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_failure")


def test_examples_of_refused_rows_are_told(
    client: TestClient, manager: Manager, content: bytes, model_folder: Path
) -> None:
    lines = content.splitlines(keepends=True)
    task = sent(client, b"".join([*lines[:3], b"short\n", *lines[3:]])).json()
    job = manager.store.job(task["task_id"])
    assert job is not None
    work(job, model_folder)
    status = client.get(task["status_url"]).json()
    assert (status["rows"], status["scored"], status["rejected"]) == (21, 20, 1)
    (example,) = status["examples_of_rejected"]
    assert example["row"] == 3
    assert example["error"]["code"] == "invalid_input"


def test_a_job_can_be_called_off_and_removed(
    client: TestClient, manager: Manager, content: bytes, tmp_path: Path
) -> None:
    task = sent(client, content).json()
    where = f"/score_batch?task_id={task['task_id']}"
    answer = client.delete(where)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert client.get(task["status_url"]).json()["status"] == "cancelled"
    # Its process may still be at it, so the folder stays until that has ended.
    assert client.delete(where).status_code == 200
    assert client.get(task["result_url"]).json()["error"]["code"] == "job_cancelled"
    job = manager.store.job(task["task_id"])
    assert job is not None
    job.tell(State(status="cancelled"))
    assert client.get(task["result_url"]).json()["error"]["code"] == "job_cancelled"
    assert client.delete(where).status_code == 204
    assert client.delete(where).status_code == 404
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_job_is_told_to_nobody_but_whose_key_it_came_with(manager: Manager, scorer: Scorer, content: bytes) -> None:
    client = client_of(manager, scorer, TwoKeys())
    assert sent(client, content).status_code == 401
    assert sent(client, content, authorization="Bearer c").status_code == 403
    task = sent(client, content, authorization="Bearer a").json()
    codes = [client.get(task["status_url"], headers={"authorization": f"Bearer {key}"}).status_code for key in "ab"]
    assert codes == [200, 404]
    where = f"/score_batch?task_id={task['task_id']}"
    assert client.delete(where, headers={"authorization": "Bearer b"}).status_code == 404


def test_a_damaged_job_is_not_found_instead_of_failing(client: TestClient, manager: Manager, content: bytes) -> None:
    task = sent(client, content).json()
    job = manager.store.job(task["task_id"])
    assert job is not None
    (job.folder / "request.json").write_bytes(b"{")
    assert client.get(task["status_url"]).status_code == 404
    assert json.dumps(manager.store.open_jobs()) == "[]"


def test_every_format_has_a_content_type() -> None:
    forms: tuple[Form, ...] = ("csv", "jsonl", "parquet")
    assert sorted(TYPES) == sorted(forms)


@pytest.fixture
def done(client: TestClient, manager: Manager, content: bytes, scorer: Scorer, tmp_path: Path) -> Any:
    """A task whose result is there."""
    task = sent(client, content).json()
    job = manager.store.job(task["task_id"])
    assert job is not None
    assert work(job, scorer.artifact.save(tmp_path / "version")).status == "success"
    return task


def test_a_result_that_is_gone_is_not_found_instead_of_failing(client: TestClient, done: Any, tmp_path: Path) -> None:
    (tmp_path / "jobs" / done["task_id"] / "result.csv").unlink()
    answer = client.get(done["result_url"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_task")


@pytest.mark.parametrize("wanted", ["xyz", "bytes=abc", "bytes=99999999-", "bytes=0-1,4-5", "bytes=0-3"])
def test_a_result_is_given_whole_whatever_range_is_asked_for(wanted: str, client: TestClient, done: Any) -> None:
    answer = client.get(done["result_url"], headers={"range": wanted})
    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
    assert answer.content == client.get(done["result_url"]).content

"""What the service tells of itself is as documented, whichever version is in service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from starlette.testclient import TestClient

from serving.jobs.manager import Manager
from serving.jobs.store import Store
from serving.jobs.work import work
from serving.models.served import About
from serving.scoring.decision import Cutoff, Decision, Line, NoCutoff, Segmented
from serving.scoring.scorer import Scorer
from serving.web.wire import ErrorOut
from serving.web.wire_status import (
    CutoffOut,
    LiveOut,
    ModelOut,
    NoCutoffOut,
    ReadyOut,
    SegmentedOut,
    StatusOut,
    TaskOut,
)
from tests.serving.in_process import client_of, front_of
from tests.serving.inside import NOW
from tests.serving.test_wire import same

CUTOFF = Cutoff(
    0.4, 0.3, 0.9, 900, 300, 0.31, "a", "b", 12.5, "2026-04-05T23:19:14Z", lines=(Line("promise", 0.4, 900, 300, 0.31, 12.5),)
)  # fmt: skip
NONE = NoCutoff(0.3, 0.9, "too few leads convert", 120)
NOTHING_ASKED = NoCutoff(None, 0.9, "nothing is promised")


@pytest.fixture(scope="module")
def client(scorer: Scorer) -> TestClient:
    return client_of(scorer)


def test_the_version_that_training_made_is_told_as_documented(client: TestClient, scorer: Scorer) -> None:
    found = same(client.get("/model").content, ModelOut)
    assert found.model_version == scorer.version
    assert [one.name for one in found.columns] == [one.name for one in scorer.builder.columns]
    assert {one.nullable for one in found.columns} == {True, False}
    assert found.number is None


def test_what_the_registry_knows_is_told_as_documented(scorer: Scorer) -> None:
    about = About(number=7, trained_at="2026-01-08T21:04:11Z", promoted_at="2026-01-08T21:05:02Z", verdict="better")
    about = msgspec.structs.replace(about, figures={"auc": 0.83})
    found = same(client_of(scorer, about).get("/model").content, ModelOut)
    assert (found.number, found.verdict, found.figures) == (7, "better", {"auc": 0.83})


@pytest.mark.parametrize(
    ("decision", "kind"),
    [
        (CUTOFF, CutoffOut),
        (replace(CUTOFF, at_least=None, expires=None, leads_per_week=None, lines=()), CutoffOut),
        (NONE, NoCutoffOut),
        (NOTHING_ASKED, NoCutoffOut),
        (Segmented("source", ("ads", "web", "other"), (CUTOFF, NONE, None), CUTOFF), SegmentedOut),
        (Segmented("source", ("ads",), (None,), NONE), SegmentedOut),
    ],
)
def test_every_decision_is_told_as_documented(
    made_scorer: Callable[..., Scorer], rich_definition: str, decision: Decision, kind: type[msgspec.Struct]
) -> None:
    made = made_scorer(rich_definition, {"source": ["ads", "web", "other"]})
    scorer = Scorer(replace(made.artifact, decision=decision))
    found = same(client_of(scorer).get("/model").content, ModelOut)
    assert isinstance(found.decision, kind)


def test_that_it_lives_and_is_ready_is_told_as_documented(client: TestClient, scorer: Scorer) -> None:
    same(client.get("/livez").content, LiveOut)
    assert same(client.get("/readyz").content, ReadyOut).model_version == scorer.version


def test_a_job_is_told_as_documented(scorer: Scorer, tmp_path: Path) -> None:
    nobody_works = Manager(Store(tmp_path), lambda: scorer, lambda: NOW)
    client = TestClient(front_of(scorer, jobs=nobody_works))
    task = same(client.post("/score_batch", content=b"x", headers={"content-type": "text/csv"}).content, TaskOut)
    waiting = same(client.get(task.status_url).content, StatusOut)
    assert (waiting.task_id, waiting.status, waiting.rows) == (task.task_id, "in_progress", None)
    assert waiting.error is msgspec.UNSET
    job = Store(tmp_path).job(task.task_id)
    assert job is not None
    work(job, scorer.artifact.save(tmp_path / "model"))
    failed = same(client.get(task.status_url).content, StatusOut)
    assert failed.status == "failure"
    assert isinstance(failed.error, ErrorOut)
    assert failed.model_version == scorer.version


def test_rows_that_were_refused_are_told_as_documented(scorer: Scorer, tmp_path: Path) -> None:
    names = [column.name for column in scorer.builder.columns]
    lines = [["lead_id", *names], ["u-1", *["1"] * len(names)], ["u-2", *["x"] * len(names)]]
    client = TestClient(front_of(scorer, jobs=Manager(Store(tmp_path), lambda: scorer, lambda: NOW)))
    file = "".join(",".join(line) + "\n" for line in lines)
    task = same(client.post("/score_batch", content=file, headers={"content-type": "text/csv"}).content, TaskOut)
    job = Store(tmp_path).job(task.task_id)
    assert job is not None
    work(job, scorer.artifact.save(tmp_path / "model"))
    told = same(client.get(task.status_url).content, StatusOut)
    assert (told.status, told.rows, told.scored, told.rejected) == ("success", 2, 1, 1)
    (refused,) = told.examples_of_rejected
    assert refused["lead_id"] == "u-2"

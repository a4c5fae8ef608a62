"""One job from its file to its result: good rows beside bad ones, every format, and words for what fails."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.times import text_of
from features.windows import Floats
from serving.batch import LEADS_OUT, read_for, score_open
from serving.jobs import work as module
from serving.jobs.reading import Form
from serving.jobs.store import Job, State, Store
from serving.jobs.work import EXAMPLES, NICE, work
from serving.scoring.answers import Asked
from serving.scoring.scorer import Scorer
from tests.serving.job_files import NOW, job_of, read, table_of, written
from training.demo import Demo

FORMS: tuple[Form, ...] = ("csv", "jsonl", "parquet")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "jobs")


def done(store: Store, frame: pl.DataFrame, form: Form, model: Path, **asked: object) -> tuple[Job, State]:
    content = written(frame, store.folder.parent / "file", form).read_bytes()
    job = job_of(store, content, form, **asked)
    return job, work(job, model)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("output", FORMS)
def test_the_same_leads_get_the_same_figures_in_every_format(
    form: Form, output: Form, scorer: Scorer, rows: Floats, model_folder: Path, store: Store
) -> None:
    job, state = done(store, table_of(scorer, rows), form, model_folder, output=output)
    assert (state.status, state.rows, state.scored, state.rejected) == ("success", len(rows), len(rows), 0)
    assert state.model_version == scorer.version
    found, scored = read(job.result(output)), scorer.score(rows)
    assert found.columns == list(LEADS_OUT)
    assert found["lead_id"].to_list() == [f"lead {i}" for i in range(len(rows))]
    assert found["probability"].to_list() == scored.probabilities.tolist()
    assert found["percentile"].to_list() == [round(one, 1) for one in scored.percentiles.tolist()]


def test_bad_rows_are_left_out_counted_and_told(scorer: Scorer, rows: Floats, model_folder: Path, store: Store) -> None:
    table = table_of(scorer, rows[:40])
    ages = [-1.0 if i % 3 == 0 else age for i, age in enumerate(table["trial_age_days"].to_list())]
    job, state = done(store, table.with_columns(trial_age_days=pl.Series(ages)), "csv", model_folder)
    assert (state.status, state.rows, state.scored, state.rejected) == ("success", 40, 26, 14)
    assert len(state.examples) == EXAMPLES
    told = [json.loads(line) for line in job.rejected.read_text().splitlines()]
    assert [one["row"] for one in told] == [i + 1 for i in range(40) if i % 3 == 0]
    assert told[0]["lead_id"] == "lead 0"
    assert told[0]["error"]["code"] == "invalid_input"
    assert len(read(job.result("csv"))) == 26


def test_no_more_bad_rows_are_told_than_anybody_reads(
    scorer: Scorer, rows: Floats, model_folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REJECTED", 5)
    monkeypatch.setattr(module, "AT_ONCE", 3)
    table = table_of(scorer, rows[:20]).with_columns(lead_id=pl.lit(None, pl.String))
    job, state = done(store, table, "parquet", model_folder)
    assert (state.status, state.scored, state.rejected) == ("success", 0, 20)
    assert len(job.rejected.read_text().splitlines()) == 5
    assert len(read(job.result("parquet"))) == 0


def test_parts_change_nothing(
    scorer: Scorer, rows: Floats, model_folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = done(store, table_of(scorer, rows), "jsonl", model_folder, reasons=3)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    other, _ = done(store, table_of(scorer, rows), "jsonl", model_folder, reasons=3)
    assert one.result("jsonl").read_bytes() == other.result("jsonl").read_bytes()


@pytest.mark.parametrize(("explain", "all_of_them"), [("likely", False), ("all", True)])
def test_reasons_are_given_to_whom_they_are_asked_for(
    explain: str, all_of_them: bool, scorer: Scorer, rows: Floats, model_folder: Path, store: Store
) -> None:
    job, _ = done(store, table_of(scorer, rows), "parquet", model_folder, reasons=2, explain=explain)
    found = read(job.result("parquet"))
    said = found.select((pl.col("reasons").list.len() + pl.col("missing").list.len()) > 0).to_series()
    assert said.any()
    assert int(said.sum()) > 0.9 * len(said) if all_of_them else not said.all()
    assert (found["reasons"].list.len() <= 2).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (pl.col("trial_age_days").alias("trial_age"), "does not know: 'trial_age'"),
        (pl.lit("x").alias("lead"), "does not know: 'lead'. Did you mean 'lead_id'"),
    ],
)
def test_an_unknown_column_fails_the_whole_job(
    change: pl.Expr, said: str, scorer: Scorer, rows: Floats, model_folder: Path, store: Store
) -> None:
    _, state = done(store, table_of(scorer, rows[:3]).with_columns(change), "csv", model_folder)
    assert state.status == "failure"
    assert state.error is not None
    assert said in state.error["message"]


def test_a_missing_column_fails_the_whole_job(scorer: Scorer, rows: Floats, model_folder: Path, store: Store) -> None:
    job, state = done(store, table_of(scorer, rows[:3]).drop("company_size"), "csv", model_folder)
    assert state.error is not None
    assert state.error["field"] == "company_size"
    assert not job.result("csv").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "content", [b"\0" * 99, b"PAR1PAR1", b"\xff\xfe", b"{}", b"[]\n" * 3, b'"', b"lead_id\n", b"{" * 9_999]
)
def test_garbage_fails_the_job_in_words_and_never_ends_the_process(
    content: bytes, form: Form, model_folder: Path, store: Store
) -> None:
    job = job_of(store, content, form)
    state = work(job, model_folder)
    assert state.status == "failure" == job.state.status
    assert state.error is not None
    assert str(store.folder) not in json.dumps(state.error)


def test_a_table_without_rows_fails_the_job(scorer: Scorer, rows: Floats, model_folder: Path, store: Store) -> None:
    for form in FORMS[:1] + FORMS[2:]:
        _, state = done(store, table_of(scorer, rows[:1]).clear(), form, model_folder)
        assert state.error is not None
        assert "at least one usable row" in state.error["message"]


@pytest.mark.parametrize("of", [None, "events"])
def test_a_table_of_events_is_scored_as_the_command_line_does(
    of: str | None, scorer: Scorer, demo_world: Demo, model_folder: Path, store: Store
) -> None:
    events = demo_world.events.head(20_000)
    job, state = done(store, events, "parquet", model_folder, of=of, reasons=2)
    expected = score_open(scorer, read_for(scorer, events, None, NOW), None, Asked(2, "likely"))
    found = read(job.result("parquet"))
    assert_frame_equal(found.drop("receipt_id"), expected.drop("receipt_id"), check_exact=True)
    assert found["receipt_id"].null_count() == len(found)
    assert (state.status, state.rows, state.scored) == ("success", 20_000, len(expected))


def test_rows_of_events_that_are_refused_are_told_by_reason(demo_world: Demo, model_folder: Path, store: Store) -> None:
    events = demo_world.events.head(20_000).with_columns(
        timestamp=pl.when(pl.int_range(pl.len()) >= 5).then("timestamp")
    )
    job, state = done(store, events, "parquet", model_folder)
    assert (state.status, state.rows, state.rejected) == ("success", 20_000, 5)
    (told,) = [json.loads(line) for line in job.rejected.read_text().splitlines()]
    assert told == state.examples[0]
    assert told["rows"] == 5
    assert str(store.folder) not in json.dumps(told)


def test_what_a_table_holds_can_be_said(scorer: Scorer, rows: Floats, model_folder: Path, store: Store) -> None:
    _, state = done(store, table_of(scorer, rows[:3]), "csv", model_folder, of="events")
    assert state.error is not None
    assert "user_id" in state.error["message"]


def test_a_moment_that_is_asked_for_is_that_of_all_leads(
    scorer: Scorer, rows: Floats, model_folder: Path, store: Store
) -> None:
    for as_of in (None, NOW - 5_000_000):
        job, _ = done(store, table_of(scorer, rows[:3]), "jsonl", model_folder, as_of=as_of)
        moments = {text_of(NOW if as_of is None else as_of)[:19]}
        assert {one[:19] for one in read(job.result("jsonl"))["as_of"]} == moments


def test_progress_is_told_at_most_once_a_second(
    scorer: Scorer, rows: Floats, model_folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int | None] = []
    clock = iter(np.arange(1.0, 1e6, 0.25).tolist())
    monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr("serving.jobs.work.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(Job, "tell", lambda _, state: told.append(state.rows))
    done(store, table_of(scorer, rows[:40]), "csv", model_folder)
    first, *between, last = told
    assert (first, last) == (None, 40)
    assert 3 <= len(between) < 20


def test_the_process_ends_with_the_one_that_started_it(model_folder: Path, store: Store) -> None:
    job = job_of(store, b"x")
    code = (
        "import sys, time; from serving.jobs import work; work.work = lambda *_: time.sleep(60); work._step_back = lambda: None;"
        f"sys.argv = ['work', {str(job.folder)!r}, {str(model_folder)!r}]; print('up', flush=True); work.main()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()
    started = time.monotonic()
    assert child.wait(30) == 3
    assert time.monotonic() - started < 30
    child.stdout.close()


def test_the_process_steps_back_behind_requests_and_bounds_its_memory() -> None:
    code = (
        "import os, resource; from serving.jobs import work; work._step_back();"
        "print(os.nice(0), resource.getrlimit(resource.RLIMIT_DATA)[0] == work.MOST_MEMORY)\n"
        "try: bytearray(work.MOST_MEMORY)\n"
        "except MemoryError: print('refused')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    nice, *words = told.stdout.split()
    assert int(nice) >= NICE
    assert words == ["True", "refused"]

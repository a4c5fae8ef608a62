"""`pql train` from files to a registered version, in the order that leaves a champion whole whatever happens."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.dataset import Dataset
from features.errors import ArtifactError, InvalidInput, InvalidSetting, NaiveTimestamp, Refusal
from features.times import INSTANT, micros
from serving.scoring.artifact import load
from training import record, report, tracking
from training import run as run_module
from training.demo import simulate, write
from training.pipeline import Settings
from training.registry import model_card, telling
from training.run import Outcome, run


@dataclass(frozen=True)
class Files:
    events: str
    trials: str


READ_AT = micros(datetime(2026, 6, 1, tzinfo=UTC))
"""After all that the demo's events tell of."""


def silent(_: str) -> None: ...


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(*map(str, write(simulate(700), tmp_path_factory.mktemp("demo"))))


@dataclass(frozen=True)
class Done:
    """A first training, and the registry and the announcements it left."""

    outcome: Outcome
    home: Path
    said: list[str]


@pytest.fixture(scope="module")
def done(files: Files, empty_store: Path, definition_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    home = tmp_path_factory.mktemp("home")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(empty_store, home / 'mlflow.db')}")
        patch.chdir(home)
        outcome = run(files.events, files.trials, definition_path, home / "out", None, None, READ_AT, said.append)
    return Done(outcome, home, said)


@pytest.fixture
def after(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, whose registry holds the first training's version as champion."""
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(done.home / 'mlflow.db', tmp_path / 'mlflow.db')}"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def again(
    done: Done, files: Files, definition_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Outcome]:
    """Run once more on the same files; learning, which is not what these tests are about, is remembered."""
    trained = done.outcome.trained
    assert trained is not None
    monkeypatch.setattr(run_module, "train", lambda *_: trained)
    monkeypatch.setattr(report, "render", lambda *_: "<p>report</p>")
    return lambda out: run(files.events, files.trials, definition_path, out, None, None, READ_AT, silent)


def test_a_first_training_registers_and_promotes_its_version(done: Done) -> None:
    assert (done.outcome.number, done.outcome.verdict.promote, done.outcome.refusal) == (1, True, None)


def test_everything_promised_is_in_the_folder(done: Done) -> None:
    written = {str(path.relative_to(done.home / "out")) for path in (done.home / "out").rglob("*") if path.is_file()}
    artifact = {f"artifact/{name}" for name in ("booster.txt", "scorer.json", "pql.yaml")}
    assert written == {"report.html", "metrics.json", "test_predictions.parquet", "model_card.md"} | artifact


def test_the_report_names_the_version_and_the_verdict(done: Done) -> None:
    page = (done.home / "out" / "report.html").read_text(encoding="utf-8")
    assert done.outcome.trained is not None
    assert done.outcome.trained.artifact.version in page
    assert "Promoted: the first version" in page


def test_each_step_is_announced_as_it_begins(done: Done) -> None:
    steps = (
        "reading and checking",
        "feature windows",
        "learning from",
        "calibrating",
        "judging",
        "comparing",
        "logging",
    )
    places = [next(i for i, text in enumerate(done.said) if text.startswith(step)) for step in steps]
    assert places == sorted(places)


def test_the_artifact_in_the_folder_is_the_champion(done: Done, after: Path) -> None:
    champion = tracking.champion()
    assert champion is not None
    assert champion.version == load(done.home / "out" / "artifact").version


def test_the_same_again_is_registered_but_not_promoted(after: Path, again: Callable[[Path], Outcome]) -> None:
    outcome = again(after / "out")
    assert (outcome.number, outcome.verdict.promote) == (2, False)
    assert {one.number: one.aliases for one in tracking.versions()} == {2: (), 1: ("champion",)}
    assert tracking.versions()[0].verdict.startswith("Not promoted: the same data")


def fail(*_: object, **__: object) -> int:
    raise OSError("the registry is gone")


STEPS = [
    (run_module, "train"), (run_module, "judge"), (record, "write_trained"), (report, "render"), (model_card, "render"),
    (telling, "of_trained"), (run_module, "pictures_of"), (tracking, "log"), (tracking, "promote"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "step"), STEPS, ids=[name for _, name in STEPS])
def test_a_run_that_fails_at_any_step_leaves_the_champion_in_service(
    done: Done, after: Path, again: Callable[[Path], Outcome], monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    monkeypatch.setattr(run_module, "judge", lambda *_, **__: done.outcome.verdict)
    with monkeypatch.context() as patch:
        patch.setattr(module, step, fail)
        with pytest.raises(OSError, match="the registry is gone"):
            again(after / "out")
    champion = tracking.champion()
    assert champion is not None
    assert champion.version == load(done.home / "out" / "artifact").version
    assert [one.number for one in tracking.versions() if one.in_service] == [1]


CALLS = ["set_model_version_tag", "set_registered_model_alias", "create_model_version", "log_batch", "log_artifacts"]


@pytest.mark.parametrize("call", CALLS)
def test_a_registry_that_fails_in_the_middle_leaves_the_champion_in_service(
    done: Done, after: Path, again: Callable[[Path], Outcome], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    import mlflow

    monkeypatch.setattr(run_module, "judge", lambda *_, **__: done.outcome.verdict)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, call, fail)
        with pytest.raises(OSError, match="the registry is gone"):
            again(after / "out")
    assert [one.number for one in tracking.versions() if one.in_service] == [1]
    assert tracking.champion() is not None


def test_a_version_that_ended_in_a_refusal_is_written_and_registered_but_not_promoted(
    done: Done, after: Path, again: Callable[[Path], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert done.outcome.trained is not None
    refused = replace(done.outcome.trained, refusal=Refusal("no signal: by chance."))
    monkeypatch.setattr(run_module, "train", lambda *_: refused)
    outcome = again(after / "out")
    assert (outcome.number, outcome.verdict.promote, outcome.refusal) == (2, False, refused.refusal)
    assert {one.number: one.aliases for one in tracking.versions()} == {2: (), 1: ("champion",)}
    assert tracking.versions()[0].tags["refusal"] == "no signal: by chance."
    written = {path.name for path in (after / "out").iterdir()}
    assert {"report.html", "metrics.json", "test_predictions.parquet", "model_card.md", "artifact"} <= written
    assert "It must not be used: no signal" in (after / "out" / "model_card.md").read_text(encoding="utf-8")


def test_the_figures_of_the_outcome_are_those_that_were_written(done: Done) -> None:
    written = json.loads((done.home / "out" / "metrics.json").read_text(encoding="utf-8"))["figures"]
    assert dict(done.outcome.figures) == written


def test_the_run_says_why_the_version_is_in_service(done: Done, after: Path) -> None:
    (version,) = tracking.versions()
    assert version.tags["promoted_by"] == "train"
    assert version.tags["promoted_why"] == version.verdict == done.outcome.verdict.why
    assert {f"verdict_{name}" for name in done.outcome.verdict.figures} <= set(version.figures)
    pictures = [path.stem for path in done.home.glob("mlruns/*/*/artifacts/figures/*.svg")]
    assert len(pictures) >= 4


def test_a_champion_that_no_longer_loads_does_not_stop_a_training(
    after: Path, again: Callable[[Path], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade that reads other artifacts, training anew is the only way out."""

    def cannot() -> None:
        raise ArtifactError.wrong_format("scorer.json", 2, 1)

    monkeypatch.setattr(tracking, "champion", cannot)
    outcome = again(after / "out")
    assert outcome.verdict.promote
    assert "artifact format must be 2" in outcome.verdict.why
    assert {one.number: one.aliases for one in tracking.versions()} == {2: ("champion",), 1: ("previous",)}


# --- refusals ---------------------------------------------------------------------------------


@pytest.fixture
def nobody_converts(files: Files, tmp_path: Path) -> Files:
    events = pl.read_parquet(files.events).filter(pl.col("event") != "subscription_started")
    trials = pl.read_parquet(files.trials).with_columns(converted_at=pl.lit(None, INSTANT))
    events.write_parquet(tmp_path / "events.parquet")
    trials.write_parquet(tmp_path / "trials.parquet")
    return Files(str(tmp_path / "events.parquet"), str(tmp_path / "trials.parquet"))


def test_a_refusal_is_written_and_logged_and_the_champion_stays(
    nobody_converts: Files, after: Path, definition_path: Path
) -> None:
    (after / "out").mkdir()
    (after / "out" / "model_card.md").write_text("of an earlier version", encoding="utf-8")
    outcome = run(
        nobody_converts.events, nobody_converts.trials, definition_path, after / "out", None, None, READ_AT, silent
    )
    assert outcome.refusal is not None
    assert (outcome.trained, outcome.number, outcome.verdict.promote) == (None, None, False)
    assert sorted(path.name for path in (after / "out").iterdir()) == [
        "metrics.json",
        "report.html",
        "test_predictions.parquet",
    ]
    assert len(pl.read_parquet(after / "out" / "test_predictions.parquet")) == 0
    assert json.loads((after / "out" / "metrics.json").read_text(encoding="utf-8"))["refusal"] == str(outcome.refusal)
    assert "0 conversions" in (after / "out" / "report.html").read_text(encoding="utf-8")
    assert {one.number: one.aliases for one in tracking.versions()} == {1: ("champion",)}


def test_a_definition_that_changes_while_events_are_read_does_not_change_what_is_trained_and_said(
    files: Files, definition_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = definition_path.read_text(encoding="utf-8")
    (workplace / "pql.yaml").write_text(text, encoding="utf-8")
    seen: list[object] = []

    def edit(_: str) -> None:
        (workplace / "pql.yaml").write_text("product: Another\n", encoding="utf-8")

    def watch(*given: object) -> None:
        seen.append(given[1])
        raise Refusal("enough")

    monkeypatch.setattr(run_module, "train", watch)
    run(files.events, files.trials, workplace / "pql.yaml", workplace / "out", None, None, READ_AT, edit)
    assert seen == [text]
    (kept,) = workplace.glob("mlruns/*/*/artifacts/pql.yaml")
    assert kept.read_text(encoding="utf-8") == text


# --- input ------------------------------------------------------------------------------------


def test_a_bare_date_begins_the_test_at_its_first_moment_in_utc(
    files: Files, definition_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | None] = []

    def watch(*given: object) -> None:
        settings = given[2]
        assert isinstance(settings, Settings)
        seen.append(settings.test_from)
        raise InvalidInput("enough")

    monkeypatch.setattr(run_module, "train", watch)
    for text in ("2025-09-01", "2025-09-01T02:00:00+02:00"):
        with pytest.raises(InvalidInput, match="enough"):
            run(files.events, files.trials, definition_path, workplace / "out", None, text, READ_AT, silent)
    assert seen == [1_756_684_800_000_000] * 2


@pytest.mark.parametrize("text", ["soon", "2025-13-01", "2025-09-01T00:00:00"])
def test_a_start_of_the_test_that_is_no_time_with_a_zone_is_refused(
    files: Files, definition_path: Path, workplace: Path, text: str
) -> None:
    with pytest.raises((InvalidInput, NaiveTimestamp), match="--test-from must"):
        run(files.events, files.trials, definition_path, workplace / "out", None, text, READ_AT, silent)


def test_a_definition_that_is_wrong_is_refused_before_anything_is_read_or_written(workplace: Path) -> None:
    (workplace / "pql.yaml").write_text("product: X\n", encoding="utf-8")
    with pytest.raises(InvalidSetting, match=r"pql\.yaml"):
        run(
            str(workplace / "no such file"),
            None,
            workplace / "pql.yaml",
            workplace / "out",
            None,
            None,
            READ_AT,
            silent,
        )
    assert not (workplace / "out").exists()


def test_events_alone_are_enough(files: Files, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a trials table the events tell when trials began and who converted; they carry no traits."""
    text = (Path(__file__).resolve().parents[2] / "pql.yaml").read_text(encoding="utf-8")
    start, end = text.index("traits:"), text.index("cutoff:")
    (workplace / "pql.yaml").write_text(text[:start] + text[end:], encoding="utf-8")
    seen: list[int] = []

    def watch(*given: object) -> None:
        data = given[0]
        assert isinstance(data, Dataset)
        assert data.trials["converted_at"].count() > 50
        assert (data.trials["ends_at"] - data.trials["started_at"]).unique().to_list() == [timedelta(days=14)]
        seen.append(len(data.trials))
        raise InvalidInput("enough")

    monkeypatch.setattr(run_module, "train", watch)
    with pytest.raises(InvalidInput, match="enough"):
        run(files.events, None, workplace / "pql.yaml", workplace / "out", None, None, READ_AT, silent)
    assert seen == [pl.read_parquet(files.events)["user_id"].n_unique()]


def test_rows_that_are_refused_or_set_right_are_told_of_both_tables(
    files: Files, definition_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, trials = pl.read_parquet(files.events).head(2_000), pl.read_parquet(files.trials)
    first = pl.int_range(pl.len()) == 0
    broken = events.with_columns(
        user_id=pl.when(first).then(pl.lit("")).otherwise("user_id"),
        received_at=pl.when(first.shift(1)).then(pl.col("timestamp") - timedelta(hours=1)).otherwise("received_at"),
    )
    broken.write_parquet(workplace / "events.parquet")
    trials.with_columns(started_at=pl.when(first).then(None).otherwise("started_at")).write_parquet(
        workplace / "trials.parquet"
    )
    seen: list[Dataset] = []

    def watch(*given: object) -> None:
        assert isinstance(given[0], Dataset)
        seen.append(given[0])
        raise InvalidInput("enough")

    monkeypatch.setattr(run_module, "train", watch)
    with pytest.raises(InvalidInput, match="enough"):
        run(
            str(workplace / "events.parquet"), str(workplace / "trials.parquet"), definition_path, workplace / "out",
            None, None, READ_AT, silent,
        )  # fmt: skip
    (data,) = seen
    assert [(one.table, one.reason, one.count) for one in data.rejections] == [
        ("events", "user_id is empty", 1), ("trials", "started_at is empty", 1),
    ]  # fmt: skip
    assert data.mended["events dated after their arrival, moved to it"] == 1


def test_what_is_dated_after_the_moment_of_reading_is_refused(
    files: Files, definition_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dataset] = []

    def watch(*given: object) -> None:
        assert isinstance(given[0], Dataset)
        seen.append(given[0])
        raise InvalidInput("enough")

    monkeypatch.setattr(run_module, "train", watch)
    times = pl.read_parquet(files.events)["timestamp"]
    middle = times.sort()[len(times) // 2]
    with pytest.raises(InvalidInput, match="enough"):
        run(files.events, files.trials, definition_path, workplace / "out", None, None, micros(middle), silent)
    (data,) = seen
    late = {one.reason: one.count for one in data.rejections}
    assert late["timestamp lies in the future"] == (times > middle + timedelta(minutes=5)).sum()
    assert late["started_at lies in the future"] > 0
    assert data.until <= micros(middle) + 300_000_000


def test_reading_many_events_gives_signs_of_life(
    files: Files, definition_path: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def stop(*_: object) -> None:
        raise InvalidInput("enough")

    monkeypatch.setattr(run_module, "train", stop)
    monkeypatch.setattr(run_module, "SHOWN_EVERY", 1_000)
    with pytest.raises(InvalidInput, match="enough"):
        run(files.events, files.trials, definition_path, workplace / "out", None, None, READ_AT, said.append)
    assert said[0] == "reading and checking events and trials"
    assert [text for text in said if text.startswith("reading events: ") and text.endswith(" so far")]

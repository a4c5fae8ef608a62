"""The registry: a version is its three text files, aliases say what is in service, and nothing in it is a pickle."""

import json
import pickletools
import shutil
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.dataset import Dataset
from features.errors import ArtifactError, InvalidInput, Refusal, SchemaMismatch
from features.windows import Floats
from serving.scoring.artifact import FILES, Artifact
from serving.scoring.calibration import Sigmoid
from serving.scoring.pyfunc import TableScorer
from serving.scoring.scorer import Scorer
from training import record, tracking
from training.cutoff_words import in_short
from training.pipeline import Trained
from training.promote import Verdict
from training.registry import telling
from training.registry.model_card import MODEL_CARD


def shifted(artifact: Artifact, by: float) -> Artifact:
    """Another version: the same ranking with every log-odds moved."""
    calibration = Sigmoid(artifact.calibration.slope, artifact.calibration.shift + by)
    odds = np.log(artifact.expected / (1 - artifact.expected)) + by
    return replace(artifact, calibration=calibration, expected=1 / (1 + np.exp(-odds)))


WHY = Verdict(
    promote=True, why="Promoted: because.", figures={"log_loss_minus_champion": -0.01}, champion="0123456789ab"
)
PICTURES = {"days": "<svg><g/></svg>"}


def logged(trained: Trained, data: Dataset, folder: Path, verdict: Verdict = WHY) -> int:
    record.write_trained(trained, data, folder)
    (folder / record.REPORT).write_text("<p>report</p>", encoding="utf-8")
    (folder / MODEL_CARD).write_text("# Card\n", encoding="utf-8")
    entry = telling.of_trained(trained, data, verdict, record.figures(trained))
    number = tracking.log(folder, (*record.WRITTEN, MODEL_CARD), entry, PICTURES)
    assert number is not None
    return number


@dataclass(frozen=True)
class Registry:
    """Two versions, the first promoted and then the second."""

    database: Path
    first: Trained
    second: Trained
    folders: tuple[Path, Path]
    numbers: tuple[int, int]


@pytest.fixture(scope="module")
def made(trained: Trained, history: Dataset, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    home = tmp_path_factory.mktemp("registry")
    second = replace(trained, artifact=shifted(trained.artifact, 0.1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(empty_store, home / 'mlflow.db')}")
        patch.chdir(home)
        numbers = []
        for name, version in (("one", trained), ("two", second)):
            numbers.append(logged(version, history, home / name))
            tracking.promote(numbers[-1], "train", f"Promoted: {name}.")
    return Registry(home / "mlflow.db", trained, second, (home / "one", home / "two"), (numbers[0], numbers[1]))


@pytest.fixture
def registry(made: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry, whose aliases each test may move as it likes."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(made.database, tmp_path / 'mlflow.db')}")
    monkeypatch.chdir(tmp_path)
    return made


def aliases() -> dict[int, set[str]]:
    return {one.number: set(one.aliases) for one in tracking.versions()}


# --- versions ---------------------------------------------------------------------------------


def test_versions_are_numbered_one_after_the_other(registry: Registry) -> None:
    assert registry.numbers == (1, 2)


def test_versions_are_listed_newest_first_with_their_content(registry: Registry) -> None:
    listed = [(one.number, one.content) for one in tracking.versions()]
    assert listed == [(2, registry.second.artifact.version), (1, registry.first.artifact.version)]


def test_a_listed_version_carries_its_figures(registry: Registry) -> None:
    known = {name: value for name, value in record.figures(registry.first).items() if not np.isnan(value)}
    known["verdict_log_loss_minus_champion"] = -0.01
    assert dict(tracking.versions()[1].figures) == pytest.approx(known, rel=1e-12)


def test_a_listed_version_carries_what_was_said_of_it(registry: Registry) -> None:
    assert [one.verdict for one in tracking.versions()] == ["Promoted: because."] * 2
    assert [one.tags["promoted_why"] for one in tracking.versions()] == ["Promoted: two.", "Promoted: one."]


def test_figures_that_are_no_number_are_left_out(trained: Trained, history: Dataset, workplace: Path) -> None:
    logged(replace(trained, promise=replace(trained.promise, caught=float("nan"))), history, workplace / "out")
    assert "pql_caught" not in tracking.versions()[0].figures


def test_where_nothing_was_registered_there_are_no_versions_and_no_champion(workplace: Path) -> None:
    assert (tracking.versions(), tracking.champion()) == ([], None)


def test_without_a_setting_the_registry_lies_in_the_current_folder(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(tracking.versions()) == 2


# --- aliases ----------------------------------------------------------------------------------


def test_promoting_moves_the_champion_and_remembers_the_one_before(registry: Registry) -> None:
    assert aliases() == {2: {"champion"}, 1: {"previous"}}


def test_going_back_moves_both_again(registry: Registry) -> None:
    tracking.promote(1, "promote", "by hand")
    assert aliases() == {1: {"champion"}, 2: {"previous"}}


def test_promoting_the_champion_again_keeps_the_one_before(registry: Registry) -> None:
    tracking.promote(2, "promote", "again")
    assert aliases() == {2: {"champion"}, 1: {"previous"}}


def test_a_version_says_who_put_it_into_service_why_when_and_what_it_replaced(registry: Registry) -> None:
    before = datetime.now(UTC)
    tracking.promote(1, "rollback", "too many calls")
    tags = tracking.versions()[1].tags
    assert (tags["promoted_by"], tags["promoted_why"], tags["replaced"]) == ("rollback", "too many calls", "2")
    assert before - timedelta(seconds=1) < datetime.fromisoformat(tags["promoted_at"]) < datetime.now(UTC)


def test_the_first_version_in_service_replaced_nothing(registry: Registry) -> None:
    assert "replaced" not in tracking.versions()[1].tags


def test_a_version_that_is_only_logged_changes_no_alias(
    registry: Registry, trained: Trained, history: Dataset, tmp_path: Path
) -> None:
    number = logged(trained, history, tmp_path / "three", Verdict(promote=False, why="Not promoted: worse."))
    assert aliases() == {number: set(), 2: {"champion"}, 1: {"previous"}}
    newest = tracking.versions()[0]
    assert (newest.verdict, newest.tags["wins"], newest.in_service) == ("Not promoted: worse.", "no", False)
    assert "promoted_at" not in newest.tags


def test_a_long_reason_is_kept_as_far_as_the_registry_takes_it(
    registry: Registry, trained: Trained, history: Dataset, tmp_path: Path
) -> None:
    logged(trained, history, tmp_path / "three", Verdict(promote=True, why="x" * 9_000))
    tracking.promote(3, "train", "y" * 9_000)
    newest = tracking.versions()[0]
    assert (newest.verdict, newest.tags["promoted_why"]) == ("x" * 1_000, "y" * 1_000)


def test_the_champion_is_the_artifact_in_service(registry: Registry) -> None:
    champion = tracking.champion()
    assert champion is not None
    assert champion.version == registry.second.artifact.version


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"), [("pql-scorer@champion", 1), ("pql-scorer@previous", 0), ("pql-scorer/1", 0)]
)
def test_fetched_files_are_those_registered_byte_by_byte(
    registry: Registry, tmp_path: Path, name: str, place: int
) -> None:
    folder = tracking.fetch(name, tmp_path / "fetched")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for file in FILES:
        assert (folder / file).read_bytes() == (registry.folders[place] / "artifact" / file).read_bytes()


@pytest.mark.parametrize("name", ["pql-scorer@nobody", "pql-scorer/99", "another@champion"])
def test_a_version_that_is_not_there_is_named_with_what_to_do(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"there is no model '{name}' in the registry .*Train one with `pql train`"):
        tracking.fetch(name, tmp_path / "fetched")


def stored(registry: Registry, file: str) -> list[Path]:
    return sorted(registry.database.parent.glob(f"mlruns/**/data/artifact/{file}"))


def test_a_version_damaged_in_the_registry_is_refused(registry: Registry, tmp_path: Path) -> None:
    damaged = stored(registry, "pql.yaml")
    before = {path: path.read_bytes() for path in damaged}
    try:
        for path in damaged:
            path.write_bytes(before[path] + b"# edited\n")
        with pytest.raises(ArtifactError, match="SHA-256"):
            tracking.fetch("pql-scorer@champion", tmp_path / "fetched")
    finally:
        for path in damaged:
            path.write_bytes(before[path])


def is_pickle(content: bytes) -> bool:
    """Whether bytes are a pickle; every protocol since the second begins with 0x80."""
    try:
        return content[:1] == b"\x80" and bool(list(pickletools.genops(content)))
    except ValueError:
        return False


def test_nothing_in_the_registry_is_a_pickle(registry: Registry) -> None:
    files = [path for path in registry.database.parent.glob("mlruns/**/*") if path.is_file()]
    assert len(files) > 10
    assert [path.name for path in files if path.suffix in {".pkl", ".pickle", ".joblib", ".cloudpickle"}] == []
    assert [path.name for path in files if is_pickle(path.read_bytes())] == []


def test_the_registered_model_holds_only_text(registry: Registry) -> None:
    for file in FILES:
        assert len(stored(registry, file)) >= 2  # other tests of this module may have logged more
    for path in registry.database.parent.glob("mlruns/**/data/artifact/*"):
        assert path.read_text(encoding="utf-8")


def test_a_version_whose_files_are_gone_is_refused_with_a_sentence(registry: Registry, tmp_path: Path) -> None:
    away = [path.rename(path.with_name("away")) for path in stored(registry, "booster.txt")]
    try:
        with pytest.raises((ArtifactError, InvalidInput), match=r"booster\.txt|there is no model"):
            tracking.fetch("pql-scorer@champion", tmp_path / "fetched")
    finally:
        for path in away:
            path.rename(path.with_name("booster.txt"))


def test_a_run_keeps_what_was_written_but_nothing_else_of_the_folder(
    trained: Trained, history: Dataset, workplace: Path
) -> None:
    (workplace / "secret.txt").write_text("mine", encoding="utf-8")
    logged(trained, history, workplace)
    kept = {path.relative_to(path.parents[1]).as_posix() for path in workplace.glob("mlruns/*/*/artifacts/*")}
    names = (
        "report.html",
        "metrics.json",
        "test_predictions.parquet",
        "model_card.md",
        "pql.yaml",
        "figures",
        "scorer",
    )
    assert kept == {f"artifacts/{name}" for name in names}


def test_a_refusal_is_logged_without_a_version(history: Dataset, workplace: Path) -> None:
    record.write_refusal(Refusal("why"), history, workplace / "out")
    said = telling.of_refusal(Refusal("why"), history, "product: X\n")
    assert (tracking.log(workplace / "out", record.WRITTEN, said), tracking.versions()) == (None, [])
    (metrics,) = workplace.glob("mlruns/**/metrics.json")
    assert (metrics.parent / "pql.yaml").read_text(encoding="utf-8") == "product: X\n"
    (run,) = stranger().search_runs(["1"])
    assert (run.info.status, run.data.tags["refusal"], run.data.tags["verdict"]) == (
        "FINISHED",
        "why",
        "Not promoted: why",
    )
    assert run.data.tags["data_digest"] == history.digest


def test_a_run_whose_logging_fails_says_so_and_has_no_version(
    trained: Trained, history: Dataset, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(tracking, "_write_model", full)
    with pytest.raises(OSError, match="no space left"):
        logged(trained, history, workplace / "out")
    (run,) = stranger().search_runs(["1"])
    assert run.info.status == "FAILED"
    assert tracking.versions() == []


def test_more_figures_and_parameters_than_one_call_takes_are_all_kept(
    trained: Trained, history: Dataset, workplace: Path
) -> None:
    said = telling.of_refusal(Refusal("why"), history, "")
    many = replace(
        said, figures={f"f{i}": float(i) for i in range(2_300)}, parameters={f"p{i}": str(i) for i in range(230)}
    )
    tracking.log(workplace, (), many)
    (run,) = stranger().search_runs(["1"])
    assert (run.data.metrics, run.data.params) == (dict(many.figures), dict(many.parameters))


# --- what a stranger finds through plain MLflow -----------------------------------------------


def stranger() -> Any:
    import os

    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    return mlflow.MlflowClient()


@pytest.fixture
def run(registry: Registry) -> Any:
    """The run behind the version in service, found by its alias."""
    client = stranger()
    return client.get_run(client.get_model_version_by_alias("pql-scorer", "champion").run_id)


def artifact(run: Any, name: str) -> str:
    return Path(stranger().download_artifacts(run.info.run_id, name)).read_text(encoding="utf-8")


def test_the_run_is_finished_and_named_after_its_version(run: Any, registry: Registry) -> None:
    assert (run.info.status, run.info.run_name) == ("FINISHED", registry.second.artifact.version)
    assert run.data.tags["mlflow.source.name"] == "pql train"


def test_the_run_holds_the_parameters(run: Any, registry: Registry) -> None:
    assert run.data.params == {name: str(value) for name, value in record.parameters(registry.second).items()}
    assert run.data.params["data_until"] == registry.second.artifact.training["data_until"]


def test_the_run_holds_the_figures_of_metrics_json(run: Any, registry: Registry) -> None:
    written = json.loads((registry.folders[1] / "metrics.json").read_text())["figures"]
    known = {name: value for name, value in written.items() if value is not None}
    assert len(known) > 20
    assert {name: run.data.metrics[name] for name in known} == pytest.approx(known, rel=1e-12)


def test_the_run_holds_the_verdict_and_its_figures(run: Any) -> None:
    assert run.data.tags["verdict"] == "Promoted: because."
    assert run.data.tags["champion_then"] == "0123456789ab"
    assert run.data.metrics["verdict_log_loss_minus_champion"] == -0.01


def test_the_run_names_the_data_by_its_digest(run: Any, history: Dataset) -> None:
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.digest == history.digest
    assert json.loads(given.dataset.source) == {"name": history.source.name}
    told = json.loads(given.dataset.profile)
    assert (told["events"], told["leads"]) == (history.n_events, len(history.leads))
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]


def test_the_run_holds_the_definition_report_card_and_pictures(run: Any, registry: Registry) -> None:
    assert artifact(run, "pql.yaml") == registry.second.artifact.definition_text
    assert artifact(run, "report.html") == "<p>report</p>"
    assert artifact(run, "model_card.md") == "# Card\n"
    assert artifact(run, "figures/days.svg") == PICTURES["days"]
    assert json.loads(artifact(run, "metrics.json"))["version"] == registry.second.artifact.version


def test_the_run_holds_the_artifact_that_is_in_service(run: Any, registry: Registry) -> None:
    for file in FILES:
        own = (registry.folders[1] / "artifact" / file).read_text(encoding="utf-8")
        assert artifact(run, f"scorer/data/artifact/{file}") == own


def test_the_version_says_in_words_why_it_was_promoted_and_on_what(registry: Registry, history: Dataset) -> None:
    text = stranger().get_model_version_by_alias("pql-scorer", "champion").description
    assert text.startswith("**Promoted: because.**")
    auc = registry.second.figures["auc"]
    assert f"| AUC | {auc.value:.3f} | {auc.low:.3f} to {auc.high:.3f} |" in text
    for fact in (history.digest, registry.second.artifact.version, f"{history.n_events:,} events", "report.html"):
        assert fact in text


def test_the_version_carries_its_facts_as_tags(registry: Registry, history: Dataset) -> None:
    tags = stranger().get_model_version_by_alias("pql-scorer", "champion").tags
    assert tags["content_version"] == registry.second.artifact.version
    assert (tags["data_digest"], tags["horizon"], tags["lead"]) == (history.digest, "30d", "user")
    assert (tags["rung"], tags["wins"]) == (registry.second.artifact.rung, "yes")
    assert tags["cutoff"] == in_short(registry.second.artifact.decision)
    assert "refusal" not in tags


def test_the_registered_model_says_what_its_aliases_mean(registry: Registry) -> None:
    text = stranger().get_registered_model("pql-scorer").description
    assert "**champion** is the version in service" in text
    assert "**previous**" in text
    assert "pql rollback" in text


def test_a_registered_model_of_an_older_release_learns_to_say_it(
    registry: Registry, trained: Trained, history: Dataset, tmp_path: Path
) -> None:
    stranger().update_registered_model("pql-scorer", "old words")
    logged(trained, history, tmp_path / "three")
    assert stranger().get_registered_model("pql-scorer").description == tracking.ABOUT


def test_a_refused_version_is_told_apart(trained: Trained, history: Dataset, workplace: Path) -> None:
    refused = replace(trained, refusal=Refusal("no signal: by chance."))
    logged(refused, history, workplace / "out", Verdict(promote=False, why="Not promoted: no signal: by chance."))
    (version,) = tracking.versions()
    assert (version.tags["refusal"], version.tags["wins"]) == ("no signal: by chance.", "no")


# --- the generic model interface --------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(made: Registry) -> Any:
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made.database}")
        mlflow.set_tracking_uri(f"sqlite:///{made.database}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own, while it is imported
            return mlflow.pyfunc.load_model("models:/pql-scorer/1")


def table_of(trained: Trained, rows: Floats) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[column.name for column in trained.artifact.builder.columns])


def test_the_generic_interface_scores_a_table_like_the_scorer(loaded: Any, trained: Trained, rows: Floats) -> None:
    found, expected = loaded.predict(table_of(trained, rows[:200])), Scorer(trained.artifact).score(rows[:200])
    assert np.asarray(found["probability"]).tolist() == expected.probabilities.tolist()
    assert np.asarray(found["is_pql"]).tolist() == expected.is_pql.tolist()


def test_the_generic_interface_does_not_mind_the_order_of_columns(loaded: Any, trained: Trained, rows: Floats) -> None:
    table = table_of(trained, rows[:50])
    turned = table[table.columns[::-1]]
    assert (
        np.asarray(loaded.predict(turned)["probability"]).tolist()
        == np.asarray(loaded.predict(table)["probability"]).tolist()
    )


def test_the_generic_interface_refuses_a_table_that_lacks_a_column(loaded: Any, trained: Trained, rows: Floats) -> None:
    table = table_of(trained, rows[:5]).rename(columns={"invites_sent_count_7d": "invite_sent_count_7d"})
    with pytest.raises(Exception, match="invites_sent_count_7d"):
        loaded.predict(table)


def test_our_own_side_of_it_refuses_other_columns_with_the_difference(trained: Trained, rows: Floats) -> None:
    table = table_of(trained, rows[:5]).rename(columns={"invites_sent_count_7d": "invite_sent_count_7d"})
    with pytest.raises(SchemaMismatch, match=r"(?s)- invites_sent_count_7d.*\+ invite_sent_count_7d"):
        TableScorer(Scorer(trained.artifact)).predict(table)


def test_the_registered_model_says_which_columns_it_takes(loaded: Any, trained: Trained) -> None:
    expected = [column.name for column in trained.artifact.builder.columns]
    assert loaded.metadata.signature.inputs.input_names() == expected


def test_the_registered_model_names_our_loader_and_no_code_of_anybodys(registry: Registry) -> None:
    import yaml

    for path in registry.database.parent.glob("mlruns/**/MLmodel"):
        flavor = yaml.safe_load(path.read_text(encoding="utf-8"))["flavors"]["python_function"]
        assert (flavor["loader_module"], flavor.get("code")) == ("serving.scoring.pyfunc", None)
        assert "python_model" not in json.dumps(flavor)

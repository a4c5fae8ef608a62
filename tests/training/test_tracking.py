"""The registry: a version is its three text files, aliases say what is in service, and nothing in it is a pickle."""

import json
import pickletools
import shutil
from dataclasses import dataclass, replace
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
from training.pipeline import Trained


def shifted(artifact: Artifact, by: float) -> Artifact:
    """Another version: the same ranking with every log-odds moved."""
    calibration = Sigmoid(artifact.calibration.slope, artifact.calibration.shift + by)
    odds = np.log(artifact.expected / (1 - artifact.expected)) + by
    return replace(artifact, calibration=calibration, expected=1 / (1 + np.exp(-odds)))


def logged(trained: Trained, data: Dataset, folder: Path) -> int:
    record.write_trained(trained, data, folder)
    (folder / record.REPORT).write_text("<p>report</p>", encoding="utf-8")
    number = tracking.log(
        folder,
        record.WRITTEN,
        record.parameters(trained),
        record.figures(trained),
        data.digest,
        trained.artifact,
    )
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
            tracking.promote(numbers[-1], f"Promoted: {name}.")
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
    assert dict(tracking.versions()[1].figures) == pytest.approx(known, rel=1e-12)


def test_a_listed_version_carries_what_was_said_of_it(registry: Registry) -> None:
    assert [one.verdict for one in tracking.versions()] == ["Promoted: two.", "Promoted: one."]


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
    tracking.promote(1, "by hand")
    assert aliases() == {1: {"champion"}, 2: {"previous"}}


def test_promoting_the_champion_again_keeps_the_one_before(registry: Registry) -> None:
    tracking.promote(2, "again")
    assert aliases() == {2: {"champion"}, 1: {"previous"}}


def test_a_version_not_promoted_changes_no_alias(registry: Registry) -> None:
    tracking.note_verdict(1, "Not promoted: worse.")
    assert aliases() == {2: {"champion"}, 1: {"previous"}}
    assert tracking.versions()[1].verdict == "Not promoted: worse."


def test_a_long_verdict_is_kept_as_far_as_the_registry_takes_it(registry: Registry) -> None:
    tracking.note_verdict(1, "x" * 9_000)
    assert tracking.versions()[1].verdict == "x" * 1_000


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
        assert len(stored(registry, file)) == 2
    for path in registry.database.parent.glob("mlruns/**/data/artifact/*"):
        assert path.read_text(encoding="utf-8")


def test_a_run_keeps_the_report_figures_and_predictions_but_nothing_else_of_the_folder(
    trained: Trained, history: Dataset, workplace: Path
) -> None:
    (workplace / "secret.txt").write_text("mine", encoding="utf-8")
    logged(trained, history, workplace)
    kept = {path.relative_to(path.parents[1]).as_posix() for path in workplace.glob("mlruns/*/*/artifacts/*")}
    assert kept == {
        f"artifacts/{name}" for name in ("report.html", "metrics.json", "test_predictions.parquet", "artifact")
    }


def test_a_refusal_is_logged_without_a_version(history: Dataset, workplace: Path) -> None:
    record.write_refusal(Refusal("why"), history, workplace / "out")
    number = tracking.log(workplace / "out", record.WRITTEN, {"refusal": "why"}, {}, history.digest, None)
    assert (number, tracking.versions()) == (None, [])
    assert len(list(workplace.glob("mlruns/**/metrics.json"))) == 1


# --- the generic model interface --------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(made: Registry) -> Any:
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made.database}")
        mlflow.set_tracking_uri(f"sqlite:///{made.database}")
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

"""Changing by hand what is in service: the right version, one that can serve, and nothing else changed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from features.errors import ArtifactError, InvalidInput, PQLError, Refusal
from serving.scoring.artifact import Artifact
from serving.scoring.decision import NoCutoff
from serving.scoring.scorer import Scorer
from training import tracking
from training.registry.changeover import Change, find, promote, registered, rollback
from training.registry.entry import DataFacts, Entry
from training.tracking import Version


def said_of(artifact: Artifact, **tags: str) -> Entry:
    return Entry(
        {}, {"auc": 0.8}, DataFacts("d", "e", {}), "f", {"content_version": artifact.version, **tags}, "g", artifact
    )


@dataclass(frozen=True)
class Made:
    home: Path
    contents: tuple[str, ...]


@pytest.fixture(scope="module")
def made(
    empty_store: Path,
    made_scorer: Callable[..., Scorer],
    rich_definition: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Versions 1 and 2, never promoted; 3, refused; 4, without a cutoff; 5, the content of 1 once more."""
    home = tmp_path_factory.mktemp("registry")
    one, two, three, four = (
        made_scorer(rich_definition, {"source": ("ads", "search")}, seed).artifact for seed in range(4)
    )
    four = replace(four, decision=NoCutoff(0.9, 0.9, "Nobody reaches it."))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(empty_store, home / 'mlflow.db')}")
        patch.chdir(home)
        entries = [
            said_of(one), said_of(two), said_of(three, refusal="no signal: by chance."), said_of(four), said_of(one),
        ]  # fmt: skip
        assert [tracking.log(home, (), entry) for entry in entries] == [1, 2, 3, 4, 5]
    return Made(home, tuple(artifact.version for artifact in (one, two, three, four)))


@pytest.fixture
def registry(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copyfile(made.home / 'mlflow.db', tmp_path / 'mlflow.db')}"
    )
    monkeypatch.chdir(tmp_path)
    return made


def aliases() -> dict[str, int]:
    return {alias: one.number for one in tracking.versions() for alias in one.aliases}


def came_to(done: Change) -> tuple[int, int | None, bool]:
    return done.now.number, None if done.before is None else done.before.number, done.changed


# --- which version is meant -------------------------------------------------------------------


def version(number: int, content: str, *aliases: str) -> Version:
    return Version(number, content, aliases, 0, "", {})


KNOWN = [
    version(12, "abcdef012345"), version(7, "123400000000"), version(5, "abcd99999999"), version(3, "777777777777"),
    version(2, "777777777777", "champion"), version(1, "12aaaaaaaaaa"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("12", 12), ("1", 1), ("pql-scorer/5", 5), ("abcdef012345", 12), ("abcde", 12), ("1234", 7), ("12aa", 1),
        ("7777", 2),  # registered twice: the one in service
    ],
)  # fmt: skip
def test_a_version_is_found_by_number_content_or_the_beginning_of_it(name: str, number: int) -> None:
    assert find(name, KNOWN).number == number


def test_of_a_content_registered_twice_the_newest_is_meant() -> None:
    assert find("7777", [version(3, "777777777777"), version(2, "777777777777")]).number == 3


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("abcd", r"version 'abcd' could be 'abcdef012345', 'abcd99999999'\. Write more of it"),
        ("99", r"there is no version '99'; registered are '12 \(abcdef012345\)'.*as `pql models` lists them"),
        ("abc", r"there is no version 'abc'.*at least 4 characters"),
        ("", r"there is no version ''"),
        ("champion", r"there is no version 'champion'"),
    ],
)
def test_what_is_no_version_or_more_than_one_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        find(name, KNOWN)


def test_where_nothing_is_registered_no_version_is_found() -> None:
    with pytest.raises(InvalidInput, match="registered are none"):
        find("1", [])


def test_a_version_is_called_by_its_number_in_the_registry(registry: Made) -> None:
    assert registered(registry.contents[1]) == "pql-scorer/2"
    # Registered twice, it is the newer one: the same content.
    assert registered(registry.contents[0][:8]) == "pql-scorer/5"
    with pytest.raises(InvalidInput, match=r"there is no version 'ffffffffffff'"):
        registered("ffffffffffff")


# --- promoting --------------------------------------------------------------------------------


def test_promoting_puts_a_version_into_service_with_the_reason_given(registry: Made) -> None:
    assert came_to(promote("1", "sales asked for it")) == (1, None, True)
    assert came_to(promote(registry.contents[1][:6], None)) == (2, 1, True)
    assert aliases() == {"champion": 2, "previous": 1}
    first, second = find("1", tracking.versions()), find("2", tracking.versions())
    assert (first.tags["promoted_by"], first.tags["promoted_why"]) == ("promote", "sales asked for it")
    assert (second.tags["promoted_why"], second.tags["replaced"]) == ("put into service by hand", "1")
    assert tracking.champion() is not None


def test_promoting_what_is_in_service_changes_nothing(registry: Made) -> None:
    promote("1", None)
    promote("2", "first")
    before = [one.tags for one in tracking.versions()]
    assert came_to(promote("2", "second")) == (2, 2, False)
    assert aliases() == {"champion": 2, "previous": 1}
    assert [one.tags for one in tracking.versions()] == before


def test_a_version_that_ended_in_a_refusal_is_refused_and_nothing_changes(registry: Made) -> None:
    promote("1", None)
    with pytest.raises(Refusal, match=r"version 3 ended in a refusal: no signal: by chance\. .*add --force") as caught:
        promote("3", None)
    assert caught.value.exit_code == 3
    assert aliases() == {"champion": 1}


def test_a_refused_version_can_be_forced_and_says_so_ever_after(registry: Made) -> None:
    promote("1", None)
    assert came_to(promote("3", "a demo", force=True)) == (3, 1, True)
    assert find("3", tracking.versions()).tags["promoted_why"] == "a demo (forced, although: no signal: by chance.)"


def test_a_version_without_a_cutoff_is_promoted_with_a_warning(registry: Made) -> None:
    assert promote("4", None).warning == "IT HAS NO CUTOFF, so nobody is called a PQL: Nobody reaches it."
    assert promote("2", None).warning is None


@pytest.fixture
def damaged(registry: Made) -> None:
    """Every stored file of version 2 has been edited; the others of its kind are as they were."""
    promote("1", None)
    promote("5", None)
    run = find("2", tracking.versions()).run
    (path,) = registry.home.glob(f"mlruns/*/{run}/artifacts/scorer/data/artifact/pql.yaml")
    text = path.read_text(encoding="utf-8")
    if not text.endswith("# edited\n"):
        path.write_text(text + "# edited\n", encoding="utf-8")


def restore(registry: Made) -> None:
    for path in registry.home.glob("mlruns/*/*/artifacts/scorer/data/artifact/pql.yaml"):
        path.write_text(path.read_text(encoding="utf-8").removesuffix("# edited\n"), encoding="utf-8")


@pytest.mark.usefixtures("damaged")
def test_a_damaged_version_is_not_promoted(registry: Made) -> None:
    try:
        with pytest.raises(ArtifactError, match="SHA-256") as caught:
            promote("2", None, force=True)
    finally:
        restore(registry)
    assert caught.value.exit_code == 2
    assert aliases() == {"champion": 5, "previous": 1}
    assert "promoted_by" not in find("2", tracking.versions()).tags


# --- going back -------------------------------------------------------------------------------


def test_going_back_leads_to_the_version_before_and_twice_to_where_it_began(registry: Made) -> None:
    for name in ("1", "2", "5"):
        promote(name, None)
    assert came_to(rollback("it was worse")) == (2, 5, True)
    assert aliases() == {"champion": 2, "previous": 5}
    second = find("2", tracking.versions())
    assert (second.tags["promoted_by"], second.tags["promoted_why"]) == ("rollback", "it was worse")
    assert came_to(rollback(None)) == (5, 2, True)
    assert find("5", tracking.versions()).tags["promoted_why"] == "rolled back from version 2"


def test_after_going_back_a_version_can_be_promoted_again(registry: Made) -> None:
    promote("1", None)
    promote("2", None)
    rollback(None)
    assert came_to(promote("2", "mended")) == (2, 1, True)
    assert aliases() == {"champion": 2, "previous": 1}


def test_without_a_champion_there_is_nothing_to_go_back_from(registry: Made) -> None:
    with pytest.raises(InvalidInput, match=r"nothing is in service.*`pql train`"):
        rollback(None)


def test_from_the_first_champion_there_is_nothing_to_go_back_to(registry: Made) -> None:
    promote("1", None)
    with pytest.raises(
        InvalidInput, match=r"version 1 is in service and replaced none.*`pql promote VERSION`"
    ) as caught:
        rollback(None)
    assert caught.value.exit_code == 2
    assert aliases() == {"champion": 1}


def test_a_version_that_is_gone_cannot_be_gone_back_to(registry: Made) -> None:
    import mlflow

    promote("1", None)
    promote("2", None)
    mlflow.MlflowClient().delete_model_version("pql-scorer", "1")
    with pytest.raises(InvalidInput, match="replaced none that is still there"):
        rollback(None)
    assert aliases() == {"champion": 2}


@pytest.mark.usefixtures("damaged")
def test_a_damaged_version_is_not_gone_back_to(registry: Made) -> None:
    try:
        tracking.promote(2, "train", "before it was damaged")
        tracking.promote(1, "train", "after")
        with pytest.raises(PQLError, match="SHA-256"):
            rollback(None)
    finally:
        restore(registry)
    assert aliases() == {"champion": 1, "previous": 2}

"""A model folder is served as it was written, byte for byte, or not at all."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import ArtifactError
from features.windows import Floats
from serving.scoring.artifact import BOOSTER, DEFINITION, FILES, SCORER, Artifact, load
from serving.scoring.reference import Reference, Usual
from serving.scoring.scorer import Scorer


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def other_folder(
    made_scorer: Callable[..., Scorer], definition_text: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Another version, whole in itself."""
    other = made_scorer(definition_text.replace("Corkboard", "Other")).artifact
    return other.save(tmp_path_factory.mktemp("other"))


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM must not be reached: a damaged file ends the whole process there."""

    def reached(*_: object, **__: object) -> None:
        pytest.fail("LightGBM was given the text of a folder that must be refused")

    monkeypatch.setattr("serving.scoring.artifact.lightgbm", reached)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit scorer.json and mend its hash, as somebody would who knows how: what is left to notice is the content."""
    facts = json.loads((folder / SCORER).read_text(encoding="utf-8"))
    change(facts)
    facts["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (BOOSTER, DEFINITION)}
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    facts["sha256"][SCORER] = hashlib.sha256(text.encode()).hexdigest()
    (folder / SCORER).write_bytes((json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())


def test_what_was_saved_loads_with_equal_scores(model_folder: Path, rows: Floats, scorer: Scorer, trained: Any) -> None:
    before, after = Scorer(trained.artifact), Scorer.from_folder(model_folder)
    np.testing.assert_array_equal(before.probabilities(rows), after.probabilities(rows))
    np.testing.assert_array_equal(before.contributions(rows), after.contributions(rows))
    np.testing.assert_array_equal(before.score(rows).percentiles, scorer.score(rows).percentiles)


def test_saving_what_was_loaded_writes_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    loaded = load(model_folder)
    again = loaded.save(tmp_path / "again")
    assert {name: (again / name).read_bytes() for name in FILES} == {
        name: (model_folder / name).read_bytes() for name in FILES
    }
    assert loaded.version == load(again).version


def test_the_folder_holds_three_files_of_plain_text_and_no_pickle(model_folder: Path) -> None:
    assert sorted(path.name for path in model_folder.iterdir()) == sorted(FILES)
    for name in FILES:
        content = (model_folder / name).read_bytes()
        text = content.decode("utf-8")
        assert {letter for letter in text if not letter.isprintable()} <= {"\n", "\t"}
        with pytest.raises(Exception, match=r".*"):
            pickle.loads(content)


def test_the_version_names_the_content(model_folder: Path, folder: Path) -> None:
    assert load(model_folder).version == hashlib.sha256((model_folder / SCORER).read_bytes()).hexdigest()[:12]
    other = replace(load(model_folder), rung="scorecard")
    assert other.version != load(model_folder).version


def damaged(content: bytes, how: str, at: int, value: int) -> bytes:
    if how == "cut off":
        return content[:at]
    if how == "flipped":
        return content[:at] + bytes([content[at] ^ value]) + content[at + 1 :]
    if how == "lost":
        return content[:at] + content[at + 1 :]
    return content[:at] + bytes([value]) + content[at:]


@pytest.mark.usefixtures("unparsed")
@settings(max_examples=240, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(FILES),
    how=st.sampled_from(["cut off", "flipped", "lost", "put in"]),
    where=st.floats(0, 1, exclude_max=True),
    value=st.integers(1, 255),
)
def test_no_byte_can_be_changed_anywhere(
    model_folder: Path, folder: Path, name: str, how: str, where: float, value: int
) -> None:
    content = (model_folder / name).read_bytes()
    changed = damaged(content, how, int(where * len(content)), value)
    (folder / name).write_bytes(changed)
    try:
        if changed == content:
            load(folder)
        else:
            with pytest.raises(ArtifactError):
                load(folder)
    finally:
        (folder / name).write_bytes(content)


TINY = """
product: Tiny
conversion: {horizon: 30d}
score_at: [7d]
windows: [7d]
signals: [{name: acts, kind: frequency, events: [act], text: acted}]
cutoff: {at_least: 0.3}
"""


def small_reference(made: Artifact) -> Reference:
    """Return a reference with one age and one fact."""
    columns = made.builder.columns
    spread = Usual(((0.0, 2.0),), ((0.5, 1.0),))
    return Reference(np.array([0.25, 0.5]), (7.0,), np.full((1, len(columns)), 0.25), {}, {columns[1].name: spread})


def test_no_single_byte_of_a_small_description_can_be_changed(
    made_scorer: Callable[..., Scorer], tmp_path: Path
) -> None:
    made = made_scorer(TINY).artifact
    made = replace(made, reference=small_reference(made), examples=made.examples[:1])
    path = replace(made, expected=made.expected[:1]).save(tmp_path) / SCORER
    content = path.read_bytes()
    assert b'"later"' in content
    for at in range(len(content)):
        path.write_bytes(damaged(content, "flipped", at, 1))
        with pytest.raises(ArtifactError):
            load(tmp_path)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", FILES)
def test_every_byte_of_the_last_lines_counts(model_folder: Path, folder: Path, name: str) -> None:
    content = (model_folder / name).read_bytes()
    for at in range(len(content) - 60, len(content)):
        (folder / name).write_bytes(damaged(content, "flipped", at, 1))
        with pytest.raises(ArtifactError):
            load(folder)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text + b"\n",
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.decode().encode("utf-16"),
        lambda _: b"",
        lambda _: b"\0" * 1000,
        lambda text: text + text,
    ],
    ids=["CRLF", "no newline at the end", "one more newline", "byte order mark", "UTF-16", "empty", "zeros", "twice"],
)
def test_another_spelling_of_the_same_text_is_refused(
    folder: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(ArtifactError, match=rf"{name}"):
        load(folder)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: cannot be read"):
        load(folder)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ArtifactError, match=rf"{name}: cannot be read"):
        load(folder)


def test_an_unknown_folder_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere.*cannot be read.*Name a folder that `pql train` wrote"):
        load(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder_is_refused(model_folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot be read"):
        load(model_folder / SCORER)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("number", [0, 1, 2, 4, 99, "3", None, [3]])
def test_any_other_format_number_is_refused_by_number(folder: Path, number: object) -> None:
    rewritten(folder, lambda facts: facts.update(format=number))
    with pytest.raises(
        ArtifactError, match=r"scorer\.json: artifact format must be 3, got .*Train again, or use the matching"
    ):
        load(folder)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_older_and_a_newer_format_are_told_apart_from_damage(folder: Path, number: int) -> None:
    (folder / SCORER).write_text(f'{{"format": {number}, "model": {{"all": "other"}}}}', encoding="utf-8")
    with pytest.raises(
        ArtifactError, match=rf"artifact format must be 3, got {number}\. Train again, or use the match"
    ):
        load(folder)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("text", ["[]", "null", "1", '"format"', "{}", "[" * 100_000, "NaN", "9" * 10_000])
def test_json_that_describes_no_scorer_is_refused(folder: Path, text: str) -> None:
    (folder / SCORER).write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"scorer\.json"):
        load(folder)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", FILES)
def test_a_pickle_in_the_place_of_a_file_is_never_opened(folder: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "went off"
    bomb = pickle.dumps(Bomb(marker))
    pickle.loads(bomb)
    assert marker.exists()  # it would go off if it were opened
    marker.unlink()
    (folder / name).write_bytes(bomb)
    with pytest.raises(ArtifactError):
        load(folder)
    assert not marker.exists()


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("name", [BOOSTER, DEFINITION])
def test_a_file_of_another_version_is_refused(folder: Path, other_folder: Path, name: str) -> None:
    shutil.copyfile(other_folder / name, folder / name)
    with pytest.raises(ArtifactError, match=rf"{name}: its SHA-256 is not the one in scorer\.json"):
        load(folder)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize(
    "path",
    [
        ("calibration", "slope"),
        ("scorecard", "base"),
        ("decision", "probability"),
        ("course", "ages", 1),
        ("course", "soon", "days", 0),
        ("course", "soon", "shift", 0, 0),
        ("course", "later", "scorecard", "base"),
        ("course", "later", "calibration", "shift"),
        ("course", "later", "stage", "days", 0),
    ],
    ids=str,
)
def test_an_edited_number_is_refused(folder: Path, path: tuple[Any, ...]) -> None:
    facts = json.loads((folder / SCORER).read_text(encoding="utf-8"))
    place = facts
    for step in path[:-1]:
        place = place[step]
    assert place[path[-1]] != 0.0
    place[path[-1]] *= 1.0000000001
    (folder / SCORER).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"scorer\.json: its SHA-256 is not"):
        load(folder)


@pytest.mark.usefixtures("unparsed")
def test_a_key_written_twice_is_refused(folder: Path) -> None:
    text = (folder / SCORER).read_text(encoding="utf-8")
    (folder / SCORER).write_text(text.replace('"format": 3,', '"format": 3,\n "format": 3,'), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"scorer\.json: its SHA-256 is not"):
        load(folder)


@pytest.mark.usefixtures("unparsed")
def test_columns_of_another_release_are_refused(folder: Path) -> None:
    rewritten(folder, lambda facts: facts.update(fingerprint="0" * 64))
    with pytest.raises(ArtifactError, match=r"this release builds other columns .*trained on \(00000000\)"):
        load(folder)


@pytest.mark.usefixtures("unparsed")
def test_a_definition_that_this_release_cannot_read_is_refused(folder: Path) -> None:
    with (folder / DEFINITION).open("a", encoding="utf-8") as file:
        file.write("\nbrand_new_setting: true\n")
    rewritten(folder, lambda _: None)
    with pytest.raises(ArtifactError, match=r"pql\.yaml: this release cannot read it .*brand_new_setting"):
        load(folder)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("calibration"),
        lambda facts: facts.update(levels=["a list"]),
        lambda facts: facts.update(reference=None),
        lambda facts: facts["reference"].update(converters=[1]),
        lambda facts: facts["reference"].pop("usual"),
        lambda facts: facts["reference"].update(usual={"acts": {"values": [[1.0]]}}),
        lambda facts: facts["reference"].update(typical=[[0.5]]),
        lambda facts: facts["reference"]["ages"].append(90.0),
        lambda facts: facts["decision"].update(kind="Guess"),
        lambda facts: facts["decision"].update(extra=1),
        lambda facts: facts["scorecard"].update(points=["many"]),
        lambda facts: facts["examples"].update(rows=3),
        lambda facts: facts.pop("course"),
        lambda facts: facts["course"].pop("later"),
        lambda facts: facts["course"].update(ages=3),
        lambda facts: facts["course"]["soon"].update(shift=[["much"]]),
        lambda facts: facts["course"]["later"]["calibration"].update(power=2),
        lambda facts: facts["course"]["later"]["decision"].update(kind="Guess"),
    ],
    ids=[
        "no calibration",
        "levels",
        "reference",
        "converters",
        "nothing usual",
        "half of what is usual",
        "typical columns",
        "more ages than typical ones",
        "kind",
        "more than known",
        "points",
        "rows",
        "no course",
        "no later stage",
        "ages",
        "shift",
        "later calibration",
        "later decision",
    ],
)
def test_parts_of_the_wrong_shape_are_refused_even_with_a_mended_hash(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewritten(folder, change)
    with pytest.raises(ArtifactError, match=r"scorer\.json: not a scorer description"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts["calibration"].update(shift=facts["calibration"]["shift"] + 1e-6),
        lambda facts: facts["scorecard"].update(base=facts["scorecard"]["base"] - 1e-6),
        lambda facts: facts["examples"]["probabilities"].__setitem__(3, 0.5),
        lambda facts: facts["examples"]["probabilities"].__setitem__(0, float("nan")),
    ],
    ids=["calibration", "scorecard", "expected", "not a number"],
)
def test_a_model_that_scores_its_examples_otherwise_is_not_served(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewritten(folder, change)
    with pytest.raises(ArtifactError, match=r"a stored example must score .* and scores"):
        Scorer.from_folder(folder)


def test_a_model_made_in_memory_is_verified_as_well(trained: Any) -> None:
    wrong = replace(trained.artifact, expected=trained.artifact.expected + 1e-6)
    with pytest.raises(ArtifactError, match=r"a stored example must score"):
        Scorer(wrong)

"""A model version as a folder of text: `booster.txt`, `scorer.json`, `pql.yaml`. No pickle, no project class.

The same bytes lie in the registry, in the model store and in a bucket. Loading checks the hashes before anything is
parsed (a damaged LightGBM file ends the process instead of raising), then scores the stored examples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from features.columns import Levels
from features.definition import Definition, parse
from features.errors import ArtifactError, InvalidSetting
from features.matrix import FeatureBuilder
from features.traits import levels_of
from features.windows import Floats
from serving.scoring.calibration import Sigmoid
from serving.scoring.course import Course, Later, Stage
from serving.scoring.decision import Decision, from_facts, to_facts
from serving.scoring.library import lightgbm
from serving.scoring.reference import Reference, Usual
from serving.scoring.scorecard import Scorecard

if TYPE_CHECKING:
    from lightgbm import Booster

FORMAT: Final = 3
BOOSTER, SCORER, DEFINITION = "booster.txt", "scorer.json", "pql.yaml"
FILES: Final = (BOOSTER, SCORER, DEFINITION)
TOLERANCE: Final = 1e-9
"""How far a stored example may be off on another processor; a wrong library or file is off by far more."""


@dataclass(frozen=True)
class Artifact:
    """Everything that turns a feature row into a decision with reasons.

    `examples` are rows (m, n_columns) with the probabilities (m,) they must get; `training` says what it learned from.
    """

    booster_text: str
    definition_text: str
    levels: Levels
    scorecard: Scorecard
    calibration: Sigmoid
    decision: Decision
    course: Course
    reference: Reference
    training: Mapping[str, Any]
    rung: str
    examples: Floats
    expected: Floats

    @cached_property
    def definition(self) -> Definition:
        return parse(self.definition_text, DEFINITION)

    @cached_property
    def builder(self) -> FeatureBuilder:
        return FeatureBuilder(self.definition, self.levels)

    @cached_property
    def booster(self) -> Booster:
        found: Booster = lightgbm().Booster(model_str=self.booster_text)
        return found

    @cached_property
    def version(self) -> str:
        """A name made of the content: equal bytes, equal version."""
        return hashlib.sha256(self._scorer_text.encode()).hexdigest()[:12]

    def save(self, folder: Path) -> Path:
        """Write the three files into a folder, which is made; returns the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {BOOSTER: self.booster_text, DEFINITION: self.definition_text, SCORER: self._scorer_text}
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode())
        return folder

    @cached_property
    def _scorer_text(self) -> str:
        facts: dict[str, Any] = {
            "format": FORMAT,
            "rung": self.rung,
            "columns": [{"name": c.name, "unit": c.unit, "meaning": c.meaning} for c in self.builder.columns],
            "fingerprint": self.builder.fingerprint,
            "levels": levels_of(self.levels),
            "scorecard": _plain(asdict(self.scorecard)),
            "calibration": asdict(self.calibration),
            "decision": to_facts(self.decision),
            "course": _course_facts(self.course),
            "reference": _reference_facts(self.reference),
            "training": dict(self.training),
            "examples": {"rows": _nullable(self.examples), "probabilities": self.expected.tolist()},
            "sha256": {BOOSTER: sha256(self.booster_text), DEFINITION: sha256(self.definition_text)},
        }
        facts["sha256"][SCORER] = sha256(_dumped(facts))
        return _dumped(facts)


def _dumped(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"


def sha256(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in facts.items()}


def _course_facts(course: Course) -> dict[str, Any]:
    later = course.later
    # JSON knows no infinity.
    until = course.until if np.isfinite(course.until) else None
    facts: dict[str, Any] = {
        "ages": list(course.ages), "until": until, "soon": _plain(asdict(course.soon)), "later": None,
    }  # fmt: skip
    if later is not None:
        facts["later"] = {
            "stage": _plain(asdict(later.stage)), "scorecard": _plain(asdict(later.scorecard)),
            "calibration": asdict(later.calibration), "decision": to_facts(later.decision),
        }  # fmt: skip
    return facts


def _reference_facts(reference: Reference) -> dict[str, Any]:
    return {
        "quantiles": reference.quantiles.tolist(), "ages": list(reference.ages), "typical": reference.typical.tolist(),
        "converters": {name: list(shares) for name, shares in reference.converters.items()},
        "usual": {name: {"values": one.values, "up_to": one.up_to} for name, one in reference.usual.items()},
        "until": reference.until if np.isfinite(reference.until) else None,
        "proven": None if reference.proven is None else sorted(reference.proven),
    }  # fmt: skip


def _nullable(rows: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in rows]


def load(folder: Path) -> Artifact:
    """Return the artifact in a folder, verified.

    Raises
    ------
    ArtifactError
        Where a file is missing, damaged, of another format, or does not score its own examples as it did when trained.
    """
    facts, texts = _hashed(folder)
    try:
        artifact = _artifact(facts, texts[BOOSTER], texts[DEFINITION])
        builds = artifact.builder.fingerprint
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{folder / SCORER}: not a scorer description ({error!r}). Publish the version again."
        ) from None
    except InvalidSetting as error:
        raise ArtifactError(
            f"{folder / DEFINITION}: this release cannot read it ({error}) Train again, or use the matching release."
        ) from None
    if builds != facts["fingerprint"]:
        raise ArtifactError(
            f"{folder}: this release builds other columns (fingerprint {builds[:8]}) than the model was "
            f"trained on ({facts['fingerprint'][:8]}). Train again, or use the matching release."
        )
    return artifact


def check_hashes(folder: Path) -> None:
    """See that the files of a folder are of this format and are the bytes that were written; no model is parsed.

    Raises
    ------
    ArtifactError
    """
    _hashed(folder)


def _hashed(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    facts = _read_scorer(folder)
    return facts, {name: _verified(folder / name, facts["sha256"][name]) for name in (BOOSTER, DEFINITION)}


def _read_scorer(folder: Path) -> dict[str, Any]:
    path = folder / SCORER
    try:
        text = path.read_bytes().decode()
        facts = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}). Name a folder that `pql train` wrote.") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ArtifactError.wrong_format(path, FORMAT, facts.get("format") if isinstance(facts, dict) else facts)
    if not isinstance(facts.get("sha256"), dict) or set(facts["sha256"]) != set(FILES):
        raise ArtifactError.hash_differs(path)
    # The file's own hash is taken over all of it but that hash.
    without = {**facts, "sha256": {name: facts["sha256"][name] for name in (BOOSTER, DEFINITION)}}
    # As text too: line ends, spaces and repeated keys that parsing forgives are not the bytes that were written.
    try:
        same = _dumped(facts) == text and sha256(_dumped(without)) == facts["sha256"][SCORER]
    except RecursionError:
        # What is nested deeper than can be written was never written.
        same = False
    if not same:
        raise ArtifactError.hash_differs(path)
    return facts


def _verified(path: Path, expected: object) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error}). Publish the version again.") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise ArtifactError.hash_differs(path)
    try:
        return content.decode()
    except ValueError as error:
        raise ArtifactError(f"{path}: must be UTF-8 ({error}). Publish the version again.") from None


def _artifact(facts: Mapping[str, Any], booster: str, definition: str) -> Artifact:
    rows = [[np.nan if value is None else value for value in row] for row in facts["examples"]["rows"]]
    return Artifact(
        booster_text=booster,
        definition_text=definition,
        levels={name: tuple(values) for name, values in facts["levels"].items()},
        scorecard=_scorecard(facts["scorecard"]),
        calibration=Sigmoid(**facts["calibration"]),
        decision=from_facts(facts["decision"]),
        course=_course(facts["course"]),
        reference=_reference(facts["reference"], len(facts["columns"])),
        training=facts["training"],
        rung=facts["rung"],
        examples=np.array(rows, np.float64),
        expected=np.array(facts["examples"]["probabilities"], np.float64),
    )


def _reference(facts: Mapping[str, Any], n_columns: int) -> Reference:
    ages, converters = tuple(facts["ages"]), {name: tuple(values) for name, values in facts["converters"].items()}
    usual = {
        name: Usual(tuple(map(tuple, one["values"])), tuple(map(tuple, one["up_to"])))
        for name, one in facts["usual"].items()
    }
    typical = np.array(facts["typical"], np.float64).reshape(len(ages), n_columns)
    proven = None if facts["proven"] is None else frozenset(facts["proven"])
    until = np.inf if facts["until"] is None else float(facts["until"])
    return Reference(np.array(facts["quantiles"]), ages, typical, converters, usual, proven, until)


def _scorecard(facts: Mapping[str, Any]) -> Scorecard:
    arrays = {name: np.array(facts[name], np.float64) for name in ("points", "center", "scale", "absent")}
    return Scorecard(base=facts["base"], **arrays)


def _course(facts: Mapping[str, Any]) -> Course:
    until = np.inf if facts["until"] is None else float(facts["until"])
    return Course(tuple(facts["ages"]), _stage(facts["soon"]), _later(facts["later"]), until)


def _later(facts: Mapping[str, Any] | None) -> Later | None:
    if facts is None:
        return None
    calibration, decision = Sigmoid(**facts["calibration"]), from_facts(facts["decision"])
    return Later(_stage(facts["stage"]), _scorecard(facts["scorecard"]), calibration, decision)


def _stage(facts: Mapping[str, Any]) -> Stage:
    return Stage(tuple(facts["days"]), np.array(facts["shift"], np.float64))

"""What the soak of models sends and breaks: every way another, and every version with an answer of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak_models import Asked, known_answer, row, versions_of, ways_to_break
from serving.scoring.artifact import load

ROOT = Path(__file__).parents[1]
BODY = (ROOT / "examples" / "lead.json").read_bytes()


def test_versions_differ_in_name_and_answer(model_folder: Path) -> None:
    made = list(versions_of(load(model_folder), 3))
    assert len({one.version for one in made}) == 3
    assert len({known_answer(one, BODY) for one in made}) == 3


def test_six_hundred_ways_are_six_hundred_and_some_of_them_have_hashes_that_fit(model_folder: Path) -> None:
    ways = ways_to_break(model_folder, 600)
    assert len(ways) == 600
    assert len({one.name for one in ways}) > 590
    assert 50 <= sum(one.sealed for one in ways) <= 80


def test_an_answer_of_another_version_than_it_says_counts_as_wrong() -> None:
    known = {"a": 0.25, "b": 0.5}
    asked = [Asked(0.0, 0.002, 200, "a", 0.25), Asked(0.0, 0.002, 200, "b", 0.25), Asked(0.0, 0.004, 503, "", -1.0)]
    assert row("load", asked, known) == "| load | 3 | 1 | 1 | 2.0 | 4.0 | 4 |"

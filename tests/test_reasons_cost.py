"""The benchmark of what reasons cost says met where a bar is met and missed where it is not, and writes its section."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reasons_cost import HEADING, Costs, Told, bars_of, drawn

ROOT = Path(__file__).resolve().parent.parent
EDGE = Costs(
    scoring=10.0, making_tables=0.1, ours=40.0, ours_some=10.0, lightgbm=320.0, shap=320.0, one_row={},
    tables_megabytes=1.0, difference=1e-5,
)  # fmt: skip


IN_WORDS = Told(scored=10.0, likely=20.0, everybody=90.0, explained=5_000)


def test_a_bar_is_met_exactly_at_its_edge() -> None:
    assert [bar.met for bar in bars_of(EDGE, IN_WORDS)] == [True] * 5


def test_reasons_in_words_may_cost_no_more_than_the_scores() -> None:
    assert [bar.met for bar in bars_of(EDGE, replace(IN_WORDS, likely=20.1))] == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("costs", "missed"),
    [
        (replace(EDGE, ours=40.1, shap=400.0), 0),
        (replace(EDGE, shap=319.0), 1),
        (replace(EDGE, difference=1.1e-5), 2),
        (replace(EDGE, ours_some=10.1), 3),
    ],
)
def test_a_bar_is_missed_just_beyond_its_edge(costs: Costs, missed: int) -> None:
    assert [place for place, bar in enumerate(bars_of(costs, IN_WORDS)) if not bar.met] == [missed]


def test_the_same_seed_draws_the_same_rows() -> None:
    for one, other in zip(drawn(50, seed=1), drawn(50, seed=1), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_benchmark_measures_every_side_and_writes_its_section(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    words = [sys.executable, "-m", "benchmarks.reasons_cost", str(page), "--rows", "400"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert HEADING in text
    assert text.count("| `shap.TreeExplainer` |") == 2
    assert "| largest difference from `shap.TreeExplainer` | at most 1e-5 |" in text

"""The benchmark of batch jobs, on few leads: it measures what it says it does."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import serving_batch
from benchmarks.serving_batch import Case, Cost, drawn, measure
from benchmarks.serving_model import World, world


@pytest.fixture(scope="module")
def small() -> World:
    return world(16, accounts=1_500)


@pytest.fixture(scope="module")
def found(small: World) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_batch, "world", lambda *_: small)
        return measure(400, (Case("csv", "jsonl"), Case("parquet", "parquet", 2)))


def test_every_lead_is_scored_and_some_are_explained(found: dict[str, Any]) -> None:
    assert [one["leads"] for one in found["jobs"]] == [400, 400]
    assert [one["explained"] > 0 for one in found["jobs"]] == [False, True]


def test_times_and_memory_are_those_of_whole_processes(found: dict[str, Any]) -> None:
    assert found["predict_seconds"] > 0
    for one in found["jobs"]:
        assert one["seconds"] > 0.2
        assert 50 < one["peak_mb"] < 1_000
        assert one["share"] == pytest.approx(found["predict_seconds"] / one["seconds"])


def test_a_share_is_of_the_rate() -> None:
    assert Cost("a", 5.0, 1.0, 10, 0).share(4.0) == pytest.approx(0.8)


def test_the_leads_have_values_of_the_world_and_ages_all_over_a_trial(small: World) -> None:
    rows = drawn(small, 50)
    assert rows.shape == (50, len(small.scorer.builder.columns))
    assert 3.0 <= rows[:, 0].min() < rows[:, 0].max() < 14.0
    assert set(rows[:, 1].tolist()) <= set(small.rows()[:, 1].tolist())

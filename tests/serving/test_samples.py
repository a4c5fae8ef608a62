"""The examples in the documents of the wire are those of the repository, which others hold against the code."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from serving.scoring.scorer import Scorer
from serving.web import samples
from tests.serving.in_process import client_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("sample", "name"), [(samples.SCORE, "lead"), (samples.FEATURES, "features")])
def test_an_example_request_is_the_file_of_the_repository(sample: str, name: str) -> None:
    assert json.loads(sample) == json.loads((ROOT / "examples" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_example_file_is_that_of_the_repository_and_has_the_events_of_the_example_lead() -> None:
    assert (ROOT / "examples" / "events.csv").read_text(encoding="utf-8") == samples.EVENTS
    (lead,) = json.loads(samples.SCORE)["leads"]
    rows = list(csv.DictReader(samples.EVENTS.splitlines()))
    assert [(one["event"], one["timestamp"]) for one in rows] == [
        (one["event"], one["timestamp"]) for one in lead["events"]
    ]
    assert [one["user_id"] for one in rows] == [one.get("user_id", lead["user_id"]) for one in lead["events"]]
    assert [json.loads(one["properties"] or "null") for one in rows] == [
        one.get("properties") for one in lead["events"]
    ]


def test_the_example_answer_is_that_of_the_readme() -> None:
    shown = re.search(r"```json\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert shown is not None
    assert json.loads(samples.SCORED) == json.loads(shown[1])


def test_an_example_request_is_answered(scorer: Scorer) -> None:
    client = client_of(scorer)
    for route, sample in (("/score", samples.SCORE), ("/score_features", samples.FEATURES)):
        answer = client.post(route, content=sample, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        assert "error" not in answer.json()["results"][0], answer.json()


def test_ready_values_of_the_example_lead_score_as_its_events_do(scorer: Scorer) -> None:
    client, headers = client_of(scorer), {"content-type": "application/json"}
    events, values = (
        client.post(route, content=sample, headers=headers).json()["results"][0]
        for route, sample in (("/score", samples.SCORE), ("/score_features", samples.FEATURES))
    )
    assert events["probability"] == values["probability"]
    assert events["within"] == values["within"]

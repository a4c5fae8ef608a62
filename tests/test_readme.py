"""The README is held against the code: its answer, its commands, its first lines."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pql import main
from serving.models.served import Served
from serving.requests import decode, result_body, score
from serving.scoring.answers import Answer
from serving.scoring.scorer import Scorer

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEAD = json.loads((ROOT / "examples" / "lead.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown() -> Any:
    block = re.search(r"```json\n(.*?)```", README, re.S)
    assert block is not None
    return json.loads(block[1])


def test_the_first_lines_are_the_two_commands() -> None:
    first = README.split("\n\n")[1].splitlines()
    assert [line.split()[:2] for line in first] == [["make", "train"], ["make", "test"]]


def test_the_answer_shown_counts_what_the_lead_posted(shown: Any) -> None:
    counts = Counter(event["event"] for event in LEAD["leads"][0]["events"] if "user_id" not in event)
    events = {
        "pricing_views": "pricing_viewed",
        "integrations": "integration_connected",
        "teammates_joined": "invite_accepted",
        "limits_hit": "limit_reached",
    }
    reasons = shown["results"][0]["reasons"]
    assert len(reasons) >= 3
    for reason in reasons:
        assert reason["facts"]["count"] == counts[events[reason["signal"]]]
        count = reason["facts"]["count"]
        spoken = {1: " once ", 2: " twice "}
        assert f" {count} " in f" {reason['text']}" or spoken.get(count, "?") in reason["text"]


def test_the_answer_shown_has_the_shape_of_a_real_one(shown: Any, scorer: Scorer) -> None:
    results = score(scorer, decode(json.dumps(LEAD).encode()), now=0)
    assert isinstance(results[0], Answer)
    body = result_body(results[0])
    assert isinstance(body, dict)
    assert set(shown) == {*Served(scorer, 0).named, "results"}
    assert list(shown["results"][0]) == list(body)
    assert len(body["reasons"]) >= 3


def test_every_command_is_there_and_no_other_is_named() -> None:
    named = set(re.findall(r"`?pql ([a-z]+)", README)) | set(re.findall(r"bin/pql ([a-z]+)", README))
    assert named == set(main.commands)


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target

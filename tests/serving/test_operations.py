"""What is said of the routes agrees with what the code takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving.web.openapi import REFUSED
from serving.web.operations import OPERATIONS, TAGS, Operation

SERVING = Path(__file__).parents[2] / "serving"


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda one: one.id)
def test_an_operation_is_told_in_full(operation: Operation) -> None:
    assert operation.tag in TAGS
    assert operation.gives
    assert operation.description.endswith(".")
    assert not operation.summary.endswith(".")
    assert set(operation.refuses) <= set(REFUSED)


def test_every_status_that_the_code_refuses_with_is_documented() -> None:
    """But for what no documented request meets: another method, and an error of ours."""
    texts = [path.read_text(encoding="utf-8") for path in SERVING.rglob("*.py")]
    used = {int(status) for text in texts for status in re.findall(r"Refused\(\s*(\d{3}),", text)}
    assert {400, 404, 413, 503} <= used
    assert used - {405, 500} <= set(REFUSED)

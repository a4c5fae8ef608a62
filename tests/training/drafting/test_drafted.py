"""What `pql init` says of a drafted definition, in words and for machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from features.definition import parse
from training.drafting.drafted import Drafted

TEXT = """
product: Corkboard
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [7d]
signals:
  - {name: uploads, kind: usage_depth, events: [file_uploaded], text: "uploaded {count:file|files} {window}"}
traits:
  - {name: company_size, type: number}
cutoff: {policy: precision, at_least: 0.3}
"""


@pytest.fixture
def done() -> Drafted:
    return Drafted(
        Path("my.yaml"), parse(TEXT), "the evidence", ["paid: it is the outcome"], ["2 rows refused"], ["a.csv"]
    )


def test_what_was_drafted_left_out_and_refused_is_told_and_then_the_next_command(done: Drafted) -> None:
    assert done.lines == [
        "Drafted my.yaml with 1 signals and 1 traits. Read it, edit it, then:",
        "  the evidence",
        "  left out paid: it is the outcome",
        "2 rows refused",
        "  pql train a.csv -d my.yaml",
    ]


def test_a_trials_table_is_part_of_the_next_command(done: Drafted) -> None:
    assert replace(done, sources=["a.csv", "b.csv"]).lines[-1] == "  pql train a.csv --trials b.csv -d my.yaml"


def test_machines_get_the_same(done: Drafted) -> None:
    assert done.facts == {
        "definition": "my.yaml", "signals": ["uploads"], "evidence": "the evidence",
        "left_out": ["paid: it is the outcome"], "rejections": ["2 rows refused"],
    }  # fmt: skip

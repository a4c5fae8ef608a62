"""docs/features.md says what the code does, for every measure and every column of the demo product."""

import re
from pathlib import Path

import pytest

from features.catalogue import page
from features.columns import columns
from features.definition import load, parse
from features.measures import SPECS

ROOT = Path(__file__).parents[2]
DEMO = load(ROOT / "pql.yaml")
SMALL = """
product: "A | B"
conversion: {column: converted_at, horizon: 30d}
score_at: [1d]
windows: [7d, trial]
cutoff: {at_least: 0.3}
signals:
  - {name: odd_one, kind: activation, events: ["a|b"], measures: [count, "distinct(x{y)"], text: "did {count:once|times}", speakable: false}
traits:
  - {name: plan, type: category}
"""  # noqa: E501


def test_the_page_in_docs_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "docs" / "features.md").read_text(encoding="utf-8") == page(DEMO), "Run `make docs`."


@pytest.mark.parametrize("how", SPECS)
def test_every_measure_is_explained(how: str) -> None:
    assert re.search(rf"^\| `{how}(\(property\)|\(n\))?`( \*account\*)? \| \w", page(DEMO), re.MULTILINE)


@pytest.mark.parametrize("column", columns(DEMO, {}), ids=lambda column: column.name)
def test_every_column_has_its_line_with_meaning_unit_and_sentence(column: object) -> None:
    from features.columns import Column

    assert isinstance(column, Column)
    (line,) = [line for line in page(DEMO).splitlines() if line.startswith(f"| `{column.name}` |")]
    assert [cell.strip() for cell in line.strip("|").split(" | ")][1:3] == [column.meaning, column.unit]
    assert column.sentence.fill({"value": 3}) in line


def test_words_of_the_definition_cannot_break_the_tables() -> None:
    text = page(parse(SMALL))
    rows = [line for line in text.splitlines() if line.startswith("| `odd_one")]
    assert len(rows) == 4
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    assert "distinct_x_y_7d" in text
    assert "x{y" in text
    assert "Never said to a customer." in text
    assert "One column per value of `plan`" in text

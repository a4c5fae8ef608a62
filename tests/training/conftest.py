"""Where every training test may put things."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def definition_path() -> Path:
    return ROOT / "pql.yaml"

"""What the environment may say, and what is said where it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from serving.settings import VARIABLES, Settings


def test_an_empty_environment_has_the_defaults() -> None:
    assert Settings.read({}) == Settings(receipts=Path("receipts"))
    assert Settings.read(dict.fromkeys(VARIABLES, "")) == Settings.read({})


def test_every_variable_is_read() -> None:
    told = {
        "PQL_MODEL": "m", "PQL_KEYS": "k", "PQL_RECEIPTS": "none", "PQL_JOBS": "j", "PQL_WORKERS": "3",
        "PQL_MOST_CONNECTIONS": "5", "PQL_MOST_UPLOAD": "7", "PQL_ACCESS_LOG": "all",
    }  # fmt: skip
    assert set(told) == set(VARIABLES)
    assert Settings.read(told) == Settings(Path("m"), Path("k"), None, Path("j"), 3, 5, 7, "all")


@pytest.mark.parametrize("name", ["PQL_WORKERS", "PQL_MOST_CONNECTIONS", "PQL_MOST_UPLOAD"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1e3", "9" * 30, "٣"])
def test_a_count_that_is_none_is_refused_with_its_name(name: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}: must be a whole number from 1 to [\d,]+, got '") as refused:
        Settings.read({name: text})
    assert refused.value.field == name


def test_an_unknown_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"^PQL_ACCESS_LOG: must be one of all, refused, none, got 'some'\."):
        Settings.read({"PQL_ACCESS_LOG": "some"})


@given(st.integers(1, 64))
def test_counts_are_read_as_they_are_written(count: int) -> None:
    assert Settings.read({"PQL_WORKERS": str(count)}).workers == count

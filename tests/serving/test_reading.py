"""Files of each format as blocks: the same leads whatever the format, and clear words for what is no such file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from features.errors import InvalidInput
from features.windows import Floats
from serving.jobs import reading
from serving.jobs.layout import Layout
from serving.jobs.reading import Form, blocks, columns_of, told
from serving.scoring.scorer import Scorer
from tests.serving.job_files import table_of, written

FORMS: tuple[Form, ...] = ("csv", "jsonl", "parquet")


def values(path: Path, form: Form, scorer: Scorer) -> Floats:
    layout = Layout.of(scorer.builder)
    return np.concatenate([one.frame.select(layout.features).to_numpy() for one in blocks(path, form, layout)])


@pytest.mark.parametrize("form", FORMS)
def test_a_table_has_the_same_values_in_every_format(form: Form, scorer: Scorer, rows: Floats, tmp_path: Path) -> None:
    path = written(table_of(scorer, rows), tmp_path / "input", form)
    assert_array_equal(values(path, form, scorer), rows)


@pytest.mark.parametrize("form", FORMS)
def test_columns_may_come_in_any_order(form: Form, scorer: Scorer, rows: Floats, tmp_path: Path) -> None:
    table = table_of(scorer, rows[:5])
    path = written(table.select(table.columns[::-1]), tmp_path / "input", form)
    assert_array_equal(values(path, form, scorer), rows[:5])


def test_parquet_is_read_in_slices_that_are_numbered_on(
    scorer: Scorer, rows: Floats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(scorer, rows[:40])
    monkeypatch.setattr(reading, "CELLS", 7 * table.width)
    path = written(table, tmp_path / "input", "parquet")
    found = list(blocks(path, "parquet", Layout.of(scorer.builder)))
    assert [len(one.frame) for one in found] == [7, 7, 7, 7, 7, 5]
    assert np.concatenate([one.numbers for one in found]).tolist() == list(range(1, 41))


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float32, pl.Boolean, pl.Null, pl.Decimal(10, 2)])
def test_numbers_of_any_kind_are_numbers(kind: pl.DataType, scorer: Scorer, rows: Floats, tmp_path: Path) -> None:
    table = table_of(scorer, rows[:3])
    name = table.columns[5]
    changed = table.with_columns(pl.lit(None if kind == pl.Null else 1).cast(kind).alias(name))
    path = written(changed, tmp_path / "input", "parquet")
    expected = np.nan if kind == pl.Null else 1.0
    assert_array_equal(values(path, "parquet", scorer)[:, 4], [expected] * 3)


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("trial_age_days", pl.lit("3"), "must be a column of numbers, got String"),
        ("lead_id", pl.lit([1]), "must be a column of texts, numbers or times, got List"),
        ("lead_id", pl.lit(b"u"), "must be a column of texts, numbers or times, got Binary"),
    ],
)
def test_a_column_of_another_kind_fails_the_file(
    name: str, column: pl.Expr, said: str, scorer: Scorer, rows: Floats, tmp_path: Path
) -> None:
    table = table_of(scorer, rows[:3]).with_columns(column.first().alias(name))
    path = written(table, tmp_path / "input", "parquet")
    with pytest.raises(InvalidInput, match=said):
        list(blocks(path, "parquet", Layout.of(scorer.builder)))


GARBAGE = {
    "nothing": b"", "zeros": bytes(5_000), "noise": np.random.default_rng(1).bytes(5_000), "html": b"<html></html>\n" * 9,
    "gzip": b"\x1f\x8b\x08\0" + bytes(40), "cut parquet": b"PAR1" + bytes(400), "fake parquet": b"PAR1\0\xff\xff\xff\x7fPAR1",
    "utf-16": "lead_id,a\nu,1\n".encode("utf-16"), "one line": b"x" * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused_in_words(content: bytes, form: Form, scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as raised:
        list(blocks(path, form, Layout.of(scorer.builder)))
    assert str(tmp_path) not in str(raised.value)


def test_a_parquet_file_damaged_inside_is_refused_in_words(scorer: Scorer, rows: Floats, tmp_path: Path) -> None:
    path = written(table_of(scorer, rows), tmp_path / "input", "parquet")
    content = bytearray(path.read_bytes())
    content[100:5_000] = os.urandom(4_900)
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="must be Parquet"):
        list(blocks(path, "parquet", Layout.of(scorer.builder)))


def test_a_table_of_events_is_told_from_one_of_leads(tmp_path: Path) -> None:
    assert told(["user_id", "event", "timestamp", "account_id"]) == "events"
    assert told(["lead_id", "trial_age_days"]) == "features"
    assert told(["user_id", "event"]) == "features"


@pytest.mark.parametrize("form", FORMS)
def test_the_columns_of_a_file_are_told_without_reading_it(form: Form, tmp_path: Path) -> None:
    path = written(pl.DataFrame({"a": [1], "b": ["x"]}), tmp_path / "input", form)
    assert columns_of(path, form) == ["a", "b"]

"""Results as files: the same leads in every format, in parts that change nothing, and no file that is not whole."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.sources import files
from features.windows import Floats
from serving.batch import LEADS_OUT
from serving.jobs import writing
from serving.jobs.columnar import Table
from serving.jobs.layout import Layout
from serving.jobs.reading import Form
from serving.jobs.writing import Result
from serving.scoring.answers import Asked
from serving.scoring.scorer import Scorer
from tests.serving.test_columnar import leads_of

FORMS: tuple[Form, ...] = ("csv", "jsonl", "parquet")


@pytest.fixture(scope="module")
def leads(scorer: Scorer, rows: Floats) -> pl.DataFrame:
    given = leads_of(rows[:50], [9_000_000_000_000_000] * 50, scorer)
    return Table(scorer, Layout.of(scorer.builder), Asked(3)).of(given)


def write(path: Path, form: Form, leads: pl.DataFrame, rows: int) -> bytes:
    with Result(path, form) as result:
        for part in leads.iter_slices(rows):
            result.add(part)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return path.read_bytes()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_texts_are_what_the_command_line_writes(form: Form, leads: pl.DataFrame, tmp_path: Path) -> None:
    files.write(leads, tmp_path / "whole", form)
    expected = (tmp_path / "whole").read_bytes()
    (tmp_path / "whole").unlink()
    assert write(tmp_path / "result", form, leads, 7) == expected


@pytest.mark.parametrize("form", FORMS)
def test_parts_change_nothing(form: Form, leads: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PART_ROWS", 14)
    for rows in (7, 50):
        path = tmp_path / f"{rows}" / "result"
        path.parent.mkdir()
        write(path, form, leads, rows)
        if form == "parquet":
            assert_frame_equal(pl.read_parquet(path), leads, check_exact=True)
        else:
            assert path.read_bytes() == (tmp_path / "7" / "result").read_bytes()


def test_large_words_make_smaller_parts(leads: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PART_BYTES", 1)
    write(tmp_path / "result", "parquet", leads, 10)
    assert_frame_equal(pl.read_parquet(tmp_path / "result"), leads, check_exact=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_result_without_rows_still_has_its_columns(form: Form, tmp_path: Path) -> None:
    content = write(tmp_path / "result", form, pl.DataFrame(schema=LEADS_OUT), 1)
    if form == "parquet":
        assert pl.read_parquet(tmp_path / "result").schema == LEADS_OUT
    else:
        assert content == (",".join(LEADS_OUT).encode() + b"\n" if form == "csv" else b"")


@pytest.mark.parametrize("form", FORMS)
def test_what_fails_leaves_no_file(form: Form, leads: pl.DataFrame, tmp_path: Path) -> None:
    def failing() -> None:
        with Result(tmp_path / "result", form) as result:
            result.add(leads)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_what_a_killed_writer_left_is_written_over(form: Form, leads: pl.DataFrame, tmp_path: Path) -> None:
    first = write(tmp_path / "result", form, leads, 10)
    (tmp_path / "result.part").write_bytes(b"half")
    (tmp_path / "result.parts").mkdir()
    (tmp_path / "result.parts" / "000000").write_bytes(b"half")
    assert write(tmp_path / "result", form, leads, 10) == first

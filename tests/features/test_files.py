"""Files of every format come back as they were written, and what cannot be read is named without a traceback."""

import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.errors import InvalidInput
from features.sources.files import FORMATS, format_of, write


def read(path: Path, form: str | None = None) -> pl.DataFrame:
    """What Polars finds in a file, everything in CSV as text."""
    form = form or format_of(path)
    if form == "csv":
        return pl.read_csv(path, infer_schema=False)
    return pl.read_parquet(path) if form == "parquet" else pl.read_ndjson(path, infer_schema_length=None)


TEXTS = pl.DataFrame({"user_id": ["007", "1e3", "é\"',\n"], "event": ["a b", None, "c"]})
NESTED = pl.DataFrame(
    {
        "lead_id": ["a", "b", "c"],
        "reasons": [[{"text": 'said "é"', "facts": {"count": 3}}], [], None],
        "properties": [{"k": 1, "s": "é"}, None, {"k": None, "s": "\\"}],
    }
)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.parquet", "parquet"),
        ("a.pq", "parquet"),
        ("a.csv", "csv"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.json", "jsonl"),
        ("a.csv.gz", "csv"),
        ("a.b.jsonl.gz", "jsonl"),
        ("A.CSV", "csv"),
        ("A.JSONL.GZ", "jsonl"),
        ("export.2026-03-01.csv", "csv"),
    ],
)
def test_the_name_of_a_file_tells_its_format(name: str, form: str) -> None:
    assert format_of(Path("some.folder") / name) == form


@pytest.mark.parametrize("name", ["events", "events.txt", "events.gz", "events.csv.zip", "csv", ".csv"])
def test_a_name_that_tells_no_format_is_refused_with_what_it_must_be(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"{re.escape(name)}: its format cannot be told .*'\.parquet'.* --format"):
        format_of(Path(name))


@pytest.mark.parametrize(
    "name", ["a.parquet", "a.pq", "a.csv", "a.jsonl", "a.ndjson", "a.csv.gz", "a.jsonl.gz", "A.CSV.GZ"]
)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / name
    write(TEXTS, path)
    assert_frame_equal(read(path), TEXTS)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.lower().endswith(".gz")


@pytest.mark.parametrize("form", FORMATS)
def test_a_named_format_beats_the_name_of_the_file(form: str, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    write(TEXTS, path, form)
    assert_frame_equal(read(path, form), TEXTS)


CELLS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_any_texts_survive_every_format(
    form: str, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    path = tmp_path_factory.mktemp("texts") / f"t.{form}"
    write(frame, path)
    # JSON lines in which nobody has a value do not tell its type.
    assert_frame_equal(read(path).cast(pl.String), frame)


def test_nested_columns_are_json_in_csv_and_themselves_elsewhere(tmp_path: Path) -> None:
    write(NESTED, tmp_path / "a.csv")
    assert read(tmp_path / "a.csv").to_dicts() == [
        {"lead_id": "a", "reasons": '[{"text":"said \\"é\\"","facts":{"count":3}}]', "properties": '{"k":1,"s":"é"}'},
        {"lead_id": "b", "reasons": "[]", "properties": None},
        {"lead_id": "c", "reasons": None, "properties": '{"k":null,"s":"\\\\"}'},
    ]
    for name in ("a.parquet", "a.jsonl", "a.jsonl.gz"):
        write(NESTED, tmp_path / name)
        assert read(tmp_path / name).to_dicts() == NESTED.to_dicts()


def test_times_in_parquet_keep_their_zone(tmp_path: Path) -> None:
    frame = pl.DataFrame({"t": [datetime(2026, 3, 1, 9, 0, 0, 1, tzinfo=UTC)]})
    write(frame, tmp_path / "a.parquet")
    assert_frame_equal(read(tmp_path / "a.parquet"), frame)


# --- what cannot be written -------------------------------------------------------------------


def test_a_format_that_nobody_knows_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"format must be one of 'parquet', 'csv', 'jsonl', got 'xlsx'") as caught:
        write(TEXTS, path, "xlsx")
    assert caught.value.field == "format"
    assert path.read_text(encoding="utf-8") == "a\n1\n"

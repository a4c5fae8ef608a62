"""Files of every format come back as they were written, and what cannot be read is named without a traceback."""

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.errors import InvalidInput
from features.sources.files import FORMATS, form_by_name, format_of, parquet_frames, read, write

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


def test_identifiers_in_csv_keep_their_leading_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,started_at\n007,2026-03-01\n", encoding="utf-8")
    assert read(path).rows() == [("007", "2026-03-01")]


def test_an_empty_cell_of_a_csv_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,account_id\nu,\n", encoding="utf-8")
    assert read(path).rows() == [("u", None)]


def test_a_csv_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfuser_id\r\n7\r\n")
    assert read(path).to_dicts() == [{"user_id": "7"}]


def test_a_type_that_shows_late_in_json_lines_is_still_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"amount": 1}\n' * 5_000 + '{"amount": 2.5, "late": true}\n', encoding="utf-8")
    frame = read(path)
    assert frame["amount"].to_list() == [1.0] * 5_000 + [2.5]
    assert frame["late"].to_list() == [None] * 5_000 + [True]


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


# --- what cannot be read ---------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nothing\.csv: there is no such file\. Check the path\."):
        read(tmp_path / "nothing.csv")


@pytest.mark.parametrize("work", ["read", "write"])
def test_a_format_that_nobody_knows_is_named_with_those_that_are(work: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"format must be one of 'parquet', 'csv', 'jsonl', got 'xlsx'") as caught:
        read(path, "xlsx") if work == "read" else write(TEXTS, path, "xlsx")
    assert caught.value.field == "format"
    assert path.read_text(encoding="utf-8") == "a\n1\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b""),
        ("a.parquet", b"PAR1 and rubbish PAR1"),
        ("a.parquet", b"user_id,event\n1,2\n"),
        ("a.csv", b""),
        ("a.csv", b"a,b\n1,2,3\n"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 1_000)[:40]),
        ("a.jsonl", b""),
        ("a.jsonl", b"{"),
        ("a.jsonl", b'{"a": 1}\nrubbish\n'),
        ("a.jsonl", b'[{"a": 1}]'),
        ("a.jsonl", b"1\n2\n"),
        ("a.jsonl", b'{"a": NaN}'),
        ("a.jsonl", b"\xff\xff\n"),
    ],
)
def test_a_damaged_file_is_named_with_its_format(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"{re.escape(name)}: cannot be read \(not {format_of(path)}: .+\)\. Check"):
        read(path)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_wrong_format_that_was_named_is_in_the_error(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=rf"a\.csv: cannot be read \(not {form}: "):
        read(path, form)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_folder_is_no_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InvalidInput, match="cannot be read"):
        read(tmp_path / name)


# --- in pieces -------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (100, [3])])
def test_a_parquet_file_is_read_in_pieces(rows: int, sizes: list[int], tmp_path: Path) -> None:
    write(TEXTS, tmp_path / "a.parquet")
    pieces = list(parquet_frames(tmp_path / "a.parquet", rows))
    assert [len(piece) for piece in pieces] == sizes
    assert_frame_equal(pl.concat(pieces), TEXTS)


def test_a_parquet_file_without_rows_is_one_piece_with_its_columns(tmp_path: Path) -> None:
    write(TEXTS.clear(), tmp_path / "a.parquet")
    [piece] = parquet_frames(tmp_path / "a.parquet")
    assert_frame_equal(piece, TEXTS.clear())


def test_a_parquet_file_with_a_star_in_its_name_is_that_file(tmp_path: Path) -> None:
    write(TEXTS, tmp_path / "a*.parquet")
    write(TEXTS, tmp_path / "ab.parquet")
    assert sum(map(len, parquet_frames(tmp_path / "a*.parquet"))) == 3


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and rubbish PAR1")
    with pytest.raises(InvalidInput, match=r"a\.parquet: cannot be read \(not parquet: "):
        list(parquet_frames(tmp_path / "a.parquet"))


@pytest.mark.parametrize(("name", "form"), [("a.csv.gz", "csv"), ("a.gz", None), ("a.txt", None)])
def test_a_name_may_tell_no_format(name: str, form: str | None) -> None:
    assert form_by_name(Path(name)) == form

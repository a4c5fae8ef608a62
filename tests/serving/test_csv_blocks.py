"""CSV in pieces: what is read, what is refused beside it, and that both readers agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InvalidInput
from serving.jobs import csv_blocks as module
from serving.jobs.csv_blocks import csv_blocks, header_of
from serving.jobs.layout import Layout, Rejected

LAYOUT = Layout(
    ("a", "b"), ("plan",), np.zeros(2), np.full(2, 1e308), np.array([False, True]), np.array([False, False]), None
)
HEAD = b"lead_id,a,b\n"


def read(content: bytes, path: Path) -> tuple[list[tuple[int, object, object, object]], list[Rejected]]:
    """Return (number, lead_id, a, b) of each row, and what was refused."""
    file = path / "input.csv"
    file.write_bytes(content)
    rows, refused = [], []
    for block in csv_blocks(file, LAYOUT):
        told = block.frame.select("lead_id", "a", "b").rows()
        rows += [(number, *row) for number, row in zip(block.numbers.tolist(), told, strict=True)]
        refused += block.rejected
    return rows, refused


def test_rows_are_numbered_from_one_without_the_header(tmp_path: Path) -> None:
    assert read(HEAD + b"u,1,2\nv,3,\n", tmp_path) == ([(1, "u", 1.0, 2.0), (2, "v", 3.0, None)], [])


@pytest.mark.parametrize(
    "content", [HEAD + b"u,1,2", b"\xef\xbb\xbf" + HEAD + b"u,1,2\n", b"lead_id, a ,b\r\nu,1,2\r\n"]
)
def test_a_missing_last_line_end_a_byte_mark_and_other_line_ends_do_not_matter(content: bytes, tmp_path: Path) -> None:
    rows, refused = read(content, tmp_path)
    assert refused == []
    assert rows == [(1, "u", 1.0, 2.0)]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    rows, refused = read(HEAD + b"\nu,1,2\n\n\r\nv,3,4\n\n", tmp_path)
    assert (rows, refused) == ([(1, "u", 1.0, 2.0), (2, "v", 3.0, 4.0)], [])


def test_what_stands_in_quotes_may_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    rows, refused = read(HEAD + b'"u, ""x""\ny",1,2\nv,3,4\n', tmp_path)
    assert (rows, refused) == ([(1, 'u, "x"\ny', 1.0, 2.0), (2, "v", 3.0, 4.0)], [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"u,1", "must have 3 fields, as the header has; it has 2"),
        (b"u,1,2,3", "it has 4"),
        (b"u,x,2", "a must be a number, got 'x'"),
        (b"u,1,1_0", "b must be a number, got '1_0'"),
        (b'"u,1,2', "cannot be read as CSV"),
        (b"\xff,1,2", "cannot be read as CSV in UTF-8"),
    ],
)
def test_a_bad_row_is_refused_and_those_beside_it_are_kept(line: bytes, said: str, tmp_path: Path) -> None:
    rows, (refused,) = read(HEAD + b"p,1,2\n" + line + b"\nq,3,4\n", tmp_path)
    assert rows == [(1, "p", 1.0, 2.0), (3, "q", 3.0, 4.0)]
    assert refused.row == 2
    assert said in refused.error["message"]
    assert refused.error["code"] == "invalid_input"


def test_a_row_whose_number_is_none_tells_its_lead(tmp_path: Path) -> None:
    _, (refused,) = read(HEAD + b"u,x,2\n", tmp_path)
    assert (refused.lead_id, refused.error["field"]) == ("u", "a")


def test_a_short_row_is_not_filled_up(tmp_path: Path) -> None:
    # b may be unknown, so nothing else would find the cut.
    rows, refused = read(HEAD + b"u,1,2\nv,3\n", tmp_path)
    assert len(rows) == len(refused) == 1


def test_spaces_around_numbers_do_not_matter_in_either_reader(tmp_path: Path) -> None:
    for other in (b"", b"bad\n"):
        rows, _ = read(HEAD + b"u, 1,2 \n" + other, tmp_path)
        assert rows == [(1, "u", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must have a header"), (b"\n\n", "must have a header"), (b"a,a\n1,2\n", "'a' more than once"),
        (b"\xff\xfe\n", "must be CSV in UTF-8"), (b"lead_id,\0\n", "must have a header"), (b'"lead_id\n', "must be CSV"),
    ],
)  # fmt: skip
def test_a_first_line_that_names_no_columns_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "input.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        header_of(tmp_path / "input.csv")


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 100)
    with pytest.raises(InvalidInput, match="a line of more than 100 bytes"):
        read(HEAD + b"u" * 500, tmp_path)


def test_a_quote_left_open_costs_its_own_row_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 64)
    lines = [b"u%d,1,2" % i for i in range(60)]
    lines[7] = b'u7",1,2'
    lines[30] = b'"u30,1,2'
    rows, refused = read(HEAD + b"\n".join(lines) + b"\n", tmp_path)
    assert [one.row for one in refused] == [31]
    assert [number for number, *_ in rows] == [i for i in range(1, 61) if i != 31]


FIELD = st.one_of(st.floats(0, 1e6).map(repr), st.sampled_from(["", "x", '"', '"1"', "1,2", " 3", "nan", "inf", "1e5"]))
ID = st.sampled_from(["u", '"u, v"', '"a\nb"', '"', "", "é", '"q""q"'])
LINE = st.tuples(ID, FIELD, FIELD).map(",".join)


@settings(max_examples=150)
@given(lines=st.lists(LINE, min_size=1, max_size=12), size=st.integers(8, 200))
def test_no_text_breaks_the_reader_and_each_row_comes_at_most_once(lines: list[str], size: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", size)
        rows, refused = read(HEAD + "\n".join(lines).encode() + b"\n", Path(folder))
    numbers = [number for number, *_ in rows] + [one.row for one in refused]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


PLAIN = st.tuples(st.sampled_from(["u", '"u, v"', "é"]), *[st.one_of(st.floats(0, 1e6).map(repr), st.just(""))] * 2)


@settings(max_examples=60)
@given(lines=st.lists(PLAIN.map(",".join), min_size=1, max_size=12), size=st.integers(30, 200))
def test_both_readers_read_the_same(lines: list[str], size: int) -> None:
    import tempfile

    content = HEAD + "\n".join(lines).encode() + b"\n"
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", size)
        fast = read(content, Path(folder))
        patch.setattr(module, "_fast", lambda *_: None)
        assert read(content, Path(folder)) == fast
    assert len(fast[0]) == len(lines)
    assert fast[1] == []


def test_texts_stay_texts(tmp_path: Path) -> None:
    file = tmp_path / "input.csv"
    file.write_bytes(b"lead_id,a,b,plan\n007,1,2,1\n")
    (block,) = csv_blocks(file, LAYOUT)
    assert block.frame.schema == {"lead_id": pl.String, "a": pl.Float64, "b": pl.Float64, "plan": pl.String}
    assert block.frame["lead_id"].to_list() == ["007"]

"""JSON lines in pieces: what is read, what is refused beside it, and that both readers agree."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InvalidInput
from serving.jobs import json_blocks as module
from serving.jobs.json_blocks import json_blocks, keys_of
from serving.jobs.layout import Layout, Rejected

LAYOUT = Layout(
    ("a", "b"), ("plan",), np.zeros(2), np.full(2, 1e308), np.array([False, True]), np.array([False, False]), None
)
GOOD = b'{"lead_id":"p","a":1,"b":2}\n'


def read(content: bytes, path: Path) -> tuple[list[tuple[object, ...]], list[Rejected]]:
    """Return (number, lead_id, a, b) of each row, and what was refused."""
    file = path / "input.jsonl"
    file.write_bytes(content)
    rows, refused = [], []
    for block in json_blocks(file, LAYOUT):
        told = block.frame.select("lead_id", "a", "b").rows()
        rows += [(number, *row) for number, row in zip(block.numbers.tolist(), told, strict=True)]
        refused += block.rejected
    return rows, refused


@pytest.mark.parametrize(
    "content", [GOOD, GOOD.strip(), b"\xef\xbb\xbf" + GOOD, b"\n\n" + GOOD + b"\r\n", GOOD.replace(b":", b" : ")]
)
def test_line_ends_a_byte_mark_and_spaces_do_not_matter(content: bytes, tmp_path: Path) -> None:
    assert read(content, tmp_path) == ([(1, "p", 1.0, 2.0)], [])


def test_a_key_that_a_line_lacks_is_null_there(tmp_path: Path) -> None:
    rows, refused = read(b'{"lead_id":"p","a":1}\n{"b":2,"lead_id":"q"}\n', tmp_path)
    assert (rows, refused) == ([(1, "p", 1.0, None), (2, "q", None, 2.0)], [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"lead_id":"u","a":1,"c":2}', "unknown column 'c'"),
        (b'{"lead_id":"u","a":"1","b":2}', 'a must be a number, got "1"'),
        (b'{"lead_id":"u","a":true,"b":2}', "a must be a number, got true"),
        (b'{"lead_id":"u","a":[1],"b":2}', "a must be a number, got [1]"),
        (b'{"lead_id":{"x":1},"a":1,"b":2}', "lead_id must be a text"),
        (b'{"lead_id":"u","a":1,"a":2}', "a key stands there twice"),
        (b'{"lead_id":"u","a":NaN,"b":2}', "NaN is no JSON"),
        (b'{"lead_id":"u","a":1,"b":2', "must be a JSON object"),
        (b'{"lead_id":"\\ud800","a":1,"b":2}', "must be a JSON object"),
        (b'{"lead_id":"\xff","a":1,"b":2}', "must be a JSON object"),
        (b"[1, 2]", "must be a JSON object (got [1, 2])"),
        (b'{"lead_id":' + b"[" * 100_000, "nested too deeply"),
        (b"null", "must be a JSON object"),
    ],
)
def test_a_bad_line_is_refused_and_those_beside_it_are_kept(line: bytes, said: str, tmp_path: Path) -> None:
    rows, (refused,) = read(GOOD + line + b"\n" + GOOD, tmp_path)
    assert rows == [(1, "p", 1.0, 2.0), (3, "p", 1.0, 2.0)]
    assert refused.row == 2
    assert said in refused.error["message"]


def test_a_misspelled_key_is_never_taken_for_a_value_that_is_not_known(tmp_path: Path) -> None:
    # As many keys as the first line, and b may be null: only the count of nulls tells.
    _, (refused,) = read(GOOD + b'{"lead_id":"u","a":1,"bb":2}\n', tmp_path)
    assert refused.lead_id == "u"


def test_numbers_too_large_for_any_are_infinite_and_left_to_the_check(tmp_path: Path) -> None:
    rows, _ = read(b'{"lead_id":"p","a":1e400,"b":' + b"9" * 400 + b"}\n", tmp_path)
    assert rows == [(1, "p", float("inf"), float("inf"))]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"1\n2\n", b"lead_id,a\nu,1\n", b"PAR1\0\0"])
def test_a_file_without_an_object_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "input.jsonl").write_bytes(content)
    with pytest.raises(InvalidInput, match="must be JSON lines"):
        keys_of(tmp_path / "input.jsonl")


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 100)
    with pytest.raises(InvalidInput, match="a line of more than 100 bytes"):
        read(GOOD + b'{"lead_id":"' + b"u" * 500, tmp_path)


NUMBER = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**20), 10**20))
TEXT = st.one_of(st.sampled_from(["u", 'a":b', "null", "\U0001f600", "", "a\nb"]), st.text(max_size=4))
LINE = st.fixed_dictionaries({"lead_id": TEXT, "a": NUMBER, "b": NUMBER})


@settings(max_examples=100)
@given(lines=st.lists(LINE, min_size=1, max_size=10), size=st.integers(10, 300), ascii_only=st.booleans())
def test_both_readers_read_the_same(lines: list[dict[str, Any]], size: int, ascii_only: bool) -> None:
    texts = [json.dumps(line, ensure_ascii=ascii_only, separators=(",", ":")) for line in lines]
    content = "\n".join(texts).encode() + b"\n"
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", size)
        rows, refused = read(content, Path(folder))
        patch.setattr(module, "_fast", lambda *_: None)
        assert read(content, Path(folder)) == (rows, refused)
    told = [
        (i + 1, one["lead_id"], *(None if one[k] is None else float(one[k]) for k in "ab"))
        for i, one in enumerate(lines)
    ]
    assert (rows, refused) == (told, [])

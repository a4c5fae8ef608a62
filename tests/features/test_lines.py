"""Lines become records; a broken line is refused alone, counted under its reason and shown with its place."""

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InvalidInput
from features.rejections import Sieve
from features.sources import files
from features.sources.files import TOO_LONG, TORN, Bytes, Text, blocks
from features.sources.lines import (
    BROKEN_QUOTES,
    NOT_AN_OBJECT,
    NOT_JSON,
    NOT_UTF8,
    OTHER_WIDTH,
    batches,
    csv_frames,
    json_frames,
    json_records,
    texts_of,
)


def text(content: bytes, name: str = "events.jsonl", *, packed: bool = False) -> Text:
    @contextmanager
    def opened() -> Iterator[Bytes]:
        yield gzip.GzipFile(fileobj=io.BytesIO(content)) if packed else io.BytesIO(content)

    return Text(name, opened)


def read(frames: Callable[[list[Text], Sieve], Iterator[pl.DataFrame]], *texts: Text) -> tuple[pl.DataFrame, Sieve]:
    sieve = Sieve("events")
    return pl.concat(list(batches(frames(list(texts), sieve))), how="diagonal_relaxed"), sieve


def counts(sieve: Sieve) -> dict[str, int]:
    return {rejection.reason: rejection.count for rejection in sieve}


# --- JSON lines ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"rubbish", NOT_JSON),
        (b'{"user_id":', NOT_JSON),
        (b'{"user_id":NaN}', NOT_JSON),
        (b'{"user_id":1} {"user_id":2}', NOT_JSON),
        (b"{'user_id':1}", NOT_JSON),
        (b"[1]", NOT_AN_OBJECT),
        (b'"text"', NOT_AN_OBJECT),
        (b"null", NOT_AN_OBJECT),
        (b'{"user_id":"\xff"}', NOT_UTF8),
        (b"[" * 100_000, NOT_JSON),
        (b'{"a":' * 100_000, NOT_JSON),
    ],
)
def test_a_broken_line_is_refused_between_two_good_ones(line: bytes, reason: str) -> None:
    frame, sieve = read(json_frames, text(b'{"user_id":"a"}\n' + line + b'\n{"user_id":"b"}\n'))
    assert frame["user_id"].to_list() == ["a", "b"]
    [rejection] = sieve
    assert rejection.count == 1
    assert rejection.reason in ({reason, NOT_AN_OBJECT} if line[:2] == b"[[" else {reason})
    assert rejection.samples[0].startswith("events.jsonl line 2: ")
    assert len(rejection.samples[0]) <= 101


def test_blank_lines_are_no_records_and_the_last_needs_no_end() -> None:
    frame, sieve = read(json_frames, text(b'\n{"user_id":"a"}\r\n \n\n{"user_id":"b"}'))
    assert frame["user_id"].to_list() == ["a", "b"]
    assert sieve.total == 0


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    frame, sieve = read(json_frames, text(b'\xef\xbb\xbf{"user_id":"a"}\n'))
    assert frame["user_id"].to_list() == ["a"]
    assert sieve.total == 0


def test_properties_stay_the_text_they_are() -> None:
    content = b'{"properties":{"b": 1,  "a":[1.50]}}\n{"properties":null}\n{}\n{"properties":"{\\"c\\":1}"}\n'
    frame, _ = read(json_frames, text(content))
    assert frame["properties"].to_list() == ['{"b": 1,  "a":[1.50]}', None, None, '{"c":1}']


def test_identifiers_and_times_are_texts_however_they_are_written() -> None:
    frame, _ = read(
        json_frames, text(b'{"user_id":7,"timestamp":12345678901234567890}\n{"user_id":"x","timestamp":1e3}\n')
    )
    assert frame.rows() == [("7", "12345678901234567890"), ("x", "1e3")]


@pytest.mark.parametrize(
    ("values", "dtype", "kept"),
    [
        ("1 2", pl.Int64, [1, 2]),
        ("1 2.5", pl.Float64, [1.0, 2.5]),
        ("true null", pl.Boolean, [True, None]),
        ('"a" "1"', pl.String, ["a", "1"]),
        ('1 "a"', pl.String, ["1", "a"]),
        ('true "a"', pl.String, ["true", "a"]),
        ("true 1", pl.String, ["true", "1"]),
        ("2.5 false", pl.String, ["2.5", "false"]),
        ("12345678901234567890123 1", pl.Int128, [12345678901234567890123, 1]),
        ('{"a":1} [2]', pl.String, ['{"a":1}', "[2]"]),
        ("null null", pl.Null, [None, None]),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_other_columns_keep_their_types(
    *, values: str, dtype: type[pl.DataType], kept: list[object], apart: bool
) -> None:
    contents = [f'{{"trait":{value}}}\n'.encode() for value in values.split(" ")]
    texts = [text(content) for content in contents] if apart else [text(b"".join(contents))]
    frame, _ = read(json_frames, *texts)
    assert frame.schema["trait"] == dtype
    assert frame["trait"].to_list() == kept


def test_a_number_too_large_for_any_type_is_a_text() -> None:
    frame, sieve = read(json_frames, text(b'{"x":1e999}\n{"x":"a"}\n{"x":null}\n{"x":{"a":1e999}}\n'))
    assert frame["x"].to_list() == ["1e999", "a", None, '{"a":1e999}']
    assert sieve.total == 0


def test_nothing_nested_is_an_identifier() -> None:
    frame, _ = read(json_frames, text(b'{"user_id":{"id":1}}\n{"user_id":[1]}\n{"user_id":true}\n'))
    assert frame["user_id"].to_list() == [None, None, "true"]


def test_an_object_without_fields_is_a_row() -> None:
    frame, sieve = read(json_frames, text(b"{}\n{}\n"))
    assert frame.to_dicts() == [{"user_id": None}] * 2
    assert sieve.total == 0


def test_columns_are_those_of_all_lines_in_the_order_of_the_first() -> None:
    frame, _ = read(json_frames, text(b'{"user_id":"a","z":1}\n{"b":2,"user_id":"c"}\n'))
    assert frame.to_dicts() == [{"user_id": "a", "z": 1, "b": None}, {"user_id": "c", "z": None, "b": 2}]
    assert frame.columns == ["user_id", "z", "b"]


class _Strict(msgspec.Struct):
    name: str
    size: int | None = None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{}", "the record has no field 'name'"),
        (b'{"name":"a","size":"big"}', "the record's field 'size' holds what this format does not know"),
        (b'{"name":null}', "the record's field 'name' holds what this format does not know"),
    ],
)
def test_a_record_of_another_shape_is_refused_with_its_field(line: bytes, reason: str) -> None:
    sieve = Sieve("events")
    decode = msgspec.json.Decoder(_Strict).decode
    [records] = json_records([text(b'{"name":"a"}\n' + line + b'\n{"name":"b"}\n')], decode, sieve)
    assert [record.name for record in records] == ["a", "b"]
    assert counts(sieve) == {reason: 1}


GOOD = st.dictionaries(st.sampled_from(["user_id", "event", "x"]), st.text(max_size=8), min_size=1)
BROKEN = st.sampled_from(
    [(b"oops", NOT_JSON), (b'{"a"', NOT_JSON), (b"[1,2]", NOT_AN_OBJECT), (b"7", NOT_AN_OBJECT), (b"\xfe{}", NOT_UTF8)]
)


@settings(max_examples=120, deadline=None)
@given(items=st.lists(GOOD | BROKEN, max_size=30), block=st.integers(1, 60))
def test_any_mixture_gives_all_good_lines_in_order_and_exact_counts(
    items: list[dict[str, str] | tuple[bytes, str]], block: int
) -> None:
    written = [json.dumps(item).encode() if isinstance(item, dict) else item[0] for item in items]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK_BYTES", block)
        sieve = Sieve("events")
        decode = msgspec.json.Decoder(dict[str, str]).decode
        records = [record for chunk in json_records([text(b"\n".join(written))], decode, sieve) for record in chunk]
    assert records == [item for item in items if isinstance(item, dict)]
    assert counts(sieve) == Counter(item[1] for item in items if isinstance(item, tuple))
    for rejection in sieve:
        for sample in rejection.samples:
            number = int(sample.removeprefix("events.jsonl line ").partition(":")[0])
            assert not isinstance(items[number - 1], dict)


# --- packed files ----------------------------------------------------------------------------


def test_a_torn_gzip_gives_the_lines_before_the_tear_and_counts_the_tear_once() -> None:
    packed = gzip.compress(b"".join(b'{"user_id":"u%d"}\n' % number for number in range(50_000)))
    frame, sieve = read(json_frames, text(packed[: len(packed) // 2], packed=True))
    assert 10_000 < len(frame) < 40_000
    assert frame["user_id"].to_list() == [f"u{number}" for number in range(len(frame))]
    [rejection] = sieve
    assert (rejection.reason, rejection.count) == (TORN, 1)
    assert rejection.samples[0].startswith(f"events.jsonl line {len(frame) + 1}: ")


def test_a_gzip_damaged_in_its_middle_gives_what_lies_before() -> None:
    packed = bytearray(gzip.compress(b"".join(b'{"user_id":"u%d"}\n' % (number * 7919) for number in range(50_000))))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
    frame, sieve = read(json_frames, text(bytes(packed), packed=True))
    assert len(frame) > 0
    assert sieve.total >= 1
    assert TORN in counts(sieve)


def test_a_line_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(files, "_LONGEST_LINE", 100)
    content = b'{"user_id":"a"}\n{"user_id":"' + b"x" * 500 + b'"}\n{"user_id":"b"}\nrubbish\n'
    frame, sieve = read(json_frames, text(content))
    assert frame["user_id"].to_list() == ["a", "b"]
    assert counts(sieve) == {TOO_LONG: 1, NOT_JSON: 1}
    assert [rejection.samples[0].split(":")[0] for rejection in sieve] == ["events.jsonl line 2", "events.jsonl line 4"]


@settings(deadline=None)
@given(content=st.binary(max_size=40).map(lambda raw: raw.replace(b"\xef", b"\n")), block=st.integers(1, 9))
def test_blocks_are_all_lines_however_the_bytes_arrive(content: bytes, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK_BYTES", block)
        found = list(blocks(text(content), Sieve("events")))
    together = [line for part in found for line in part.lines]
    assert b"\n".join(together).rstrip(b"\n") == content.rstrip(b"\n")
    numbers = [part.number for part in found]
    assert numbers == [1 + sum(len(part.lines) for part in found[:index]) for index in range(len(found))]


# --- CSV -------------------------------------------------------------------------------------


def test_csv_fields_are_texts_and_empty_ones_are_not_known() -> None:
    frame, sieve = read(csv_frames, text(b'\xef\xbb\xbfuser_id,event\r\n007,\r\n1e3,""\r\n" a ","x,y"\r\n', "a.csv"))
    assert frame.rows() == [("007", None), ("1e3", None), (" a ", "x,y")]
    assert sieve.total == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"only", OTHER_WIDTH),
        (b"1,2,3", OTHER_WIDTH),
        (b'1,"open', BROKEN_QUOTES),
        (b'1,"a"b', BROKEN_QUOTES),
        (b"1,\xff", NOT_UTF8),
    ],
)
def test_a_broken_row_is_refused_between_two_good_ones(line: bytes, reason: str) -> None:
    frame, sieve = read(csv_frames, text(b'a,b\n1,"x"\n' + line + b'\n3,"z"\n4,w\n', "a.csv"))
    assert frame.rows() == [("1", "x"), ("3", "z"), ("4", "w")]
    assert counts(sieve) == {reason: 1}
    [rejection] = sieve
    assert rejection.samples[0].startswith("a.csv line 3: ")


def test_a_field_may_run_over_lines_also_blank_ones_and_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK_BYTES", 8)
    frame, sieve = read(csv_frames, text(b'a,b\n1,"x\n\ny"\n\n2,"say ""hi"""\n', "a.csv"))
    assert frame.rows() == [("1", "x\n\ny"), ("2", 'say "hi"')]
    assert sieve.total == 0


def test_a_row_over_two_lines_with_a_field_too_many_is_one_row() -> None:
    frame, sieve = read(csv_frames, text(b'a,b\n1,"x\ny",3\n4,5\n', "a.csv"))
    assert frame.rows() == [("4", "5")]
    assert counts(sieve) == {OTHER_WIDTH: 1}


def test_an_open_quote_at_the_end_costs_its_line_only() -> None:
    frame, sieve = read(csv_frames, text(b'a,b\n1,"x\n2,y\n3,z', "a.csv"))
    assert frame.rows() == [("2", "y"), ("3", "z")]
    assert counts(sieve) == {BROKEN_QUOTES: 1}


def test_files_with_other_headers_come_together_by_name() -> None:
    frame, _ = read(csv_frames, text(b"a,b\n1,2\n", "a.csv"), text(b"b,a\n3,4\n", "b.csv"))
    assert frame.rows() == [("1", "2"), ("4", "3")]


def test_a_header_alone_is_a_table_without_rows() -> None:
    frame, sieve = read(csv_frames, text(b"a,b\n", "a.csv"))
    assert (frame.columns, len(frame), sieve.total) == (["a", "b"], 0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b,a\n1,2,3\n", "a.csv: the header must name each column once, got 'a' more than once"),
        (b"u1,2026-03-01T09:00:00Z\n", "a.csv: the first line must name the columns, got 'u1,2026-03-01"),
        (b"7,signed up\n", "the first line must name the columns"),
        (b"a,,b\n1,2,3\n", "the first line must name the columns"),
        (b'u1,"{""a"":1}"\n', "the first line must name the columns"),
        (b"\n\n", "must have a header and rows, got nothing"),
        (b'a,"b\n1,2\n', "a.csv: cannot be read .not csv: header"),
    ],
)
def test_a_header_that_is_none_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        list(csv_frames([text(content, "a.csv")], Sieve("events")))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=5)
FAULTS = st.sampled_from([("one", OTHER_WIDTH), ("1,2,3", OTHER_WIDTH), ('x,"y"z', BROKEN_QUOTES)])


@settings(max_examples=120, deadline=None)
@given(items=st.lists(st.lists(CELL, min_size=2, max_size=2) | FAULTS, max_size=20), block=st.integers(1, 40))
def test_any_rows_and_faults_give_all_good_rows_in_order_and_exact_counts(
    items: list[list[str] | tuple[str, str]], block: int
) -> None:
    content = io.StringIO()
    content.write("a,b\n")
    for item in items:
        if isinstance(item, list):
            csv.writer(content, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(item)
        else:
            content.write(f"{item[0]}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK_BYTES", block)
        frame, sieve = read(csv_frames, text(content.getvalue().encode(), "a.csv"))
    assert frame.rows() == [tuple(cell or None for cell in item) for item in items if isinstance(item, list)]
    assert counts(sieve) == Counter(item[1] for item in items if isinstance(item, tuple))


# --- rows together ---------------------------------------------------------------------------


def test_batches_hold_the_same_rows_in_order() -> None:
    frames = [pl.DataFrame({"a": [number] * number}) for number in range(5)]
    found = list(batches(frames, 3))
    assert pl.concat(found)["a"].to_list() == [1, 2, 2, 3, 3, 3, 4, 4, 4, 4]
    assert [len(frame) for frame in found] == [3, 3, 4]


def test_a_frame_without_rows_is_a_batch_and_nothing_is_none() -> None:
    assert [frame.columns for frame in batches([pl.DataFrame({"a": []})])] == [["a"]]
    assert list(batches([])) == []


def test_scalars_are_texts() -> None:
    assert texts_of("a", ["x", None, 7]).to_list() == ["x", None, "7"]
    assert texts_of("a", []).dtype == pl.String

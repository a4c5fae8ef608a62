"""Bodies of requests: within their sizes and times, unpacked, and strict JSON."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from serving.web.bodies import MOST_CONTAINERS, Gone, gunzip, gunzipped, parts, strict, whole
from serving.web.refusals import Refused

BOMB = gzip.compress(bytes(50_000_000), 9)


def source(pieces: Sequence[bytes], pause: float = 0.0, gone: bool = False) -> Any:
    """Return a `receive` that gives these pieces, and then the end or that the client has gone."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        if not left:
            return {"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or gone}

    return receive


def no_more(size: int) -> None:
    """Hold any body."""


async def listed(found: Any) -> list[bytes]:
    return [part async for part in found]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_a_body_is_what_its_parts_are(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert asyncio.run(whole(source(pieces), 400, 5, no_more)) == body
    assert b"".join(asyncio.run(listed(parts(source(pieces), 400, 5)))) == body


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 5, b"y" * 5, b"z"]])
def test_one_byte_more_than_allowed_is_413(pieces: list[bytes]) -> None:
    with pytest.raises(Refused, match=r"at most 10 bytes") as refused:
        asyncio.run(whole(source(pieces), 10, 5, no_more))
    assert (refused.value.status, refused.value.close) == (413, True)


def test_a_body_that_comes_too_slowly_is_408() -> None:
    for slow in (
        whole(source([b"x"] * 100, pause=0.01), 1000, 0.05, no_more),
        listed(parts(source([b"x"], 1), 10, 0.05)),
    ):
        with pytest.raises(Refused, match=r"within 0\.05 seconds") as refused:
            asyncio.run(slow)
        assert refused.value.status == 408


def test_bytes_are_told_as_they_come_and_may_be_refused() -> None:
    held = []

    def hold(size: int) -> None:
        held.append(size)
        if sum(held) > 5:
            raise Refused(503, "overloaded", "enough")

    with pytest.raises(Refused, match="enough"):
        asyncio.run(whole(source([b"xx", b"yyy", b"z", b"never"]), 100, 5, hold))
    assert held == [2, 3, 1]


def test_parts_may_take_long_together() -> None:
    assert len(asyncio.run(listed(parts(source([b"x"] * 20, pause=0.01), 1000, 0.1)))) == 20


def test_a_client_that_has_gone_is_not_waited_for() -> None:
    with pytest.raises(Gone):
        asyncio.run(whole(source([b"x"], gone=True), 10, 5, no_more))


# --- gzip -------------------------------------------------------------------------------------


@given(st.binary(max_size=3000), st.integers(1, 200))
def test_what_was_packed_comes_out(body: bytes, size: int) -> None:
    packed = gzip.compress(body)
    assert gunzipped(packed, 3000) == body
    pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
    assert b"".join(asyncio.run(listed(gunzip(parts(source(pieces), 10_000, 5), 3000)))) == body


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    tracemalloc.start()
    with pytest.raises(Refused) as refused:
        gunzipped(BOMB, 1_000_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.status == 413
    assert most < 3_000_000


def test_the_largest_that_is_allowed_comes_out_and_one_byte_more_does_not() -> None:
    assert len(gunzipped(gzip.compress(bytes(1000)), 1000)) == 1000
    with pytest.raises(Refused, match=r"at most 1,000 bytes"):
        gunzipped(gzip.compress(bytes(1001)), 1000)


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (gzip.compress(b"{}")[:-1], "cut off"),
        (b"", "cut off"),
        (b"{}", "damaged"),
        (gzip.compress(b"{}") + b"x", "one member"),
        (gzip.compress(b"{}") + gzip.compress(b"{}"), "one member"),
        (gzip.compress(b"{}")[:-6] + b"123456", "damaged"),
    ],
)
def test_what_is_no_gzip_is_400(packed: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        gunzipped(packed, 1000)
    assert (refused.value.status, refused.value.code) == (400, "invalid_gzip")


@given(st.binary(max_size=200), st.data())
def test_damaged_gzip_is_refused_and_never_read_as_something_else(body: bytes, data: st.DataObject) -> None:
    packed = bytearray(gzip.compress(body, mtime=0))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(Refused):
        assert gunzipped(bytes(packed), 1000) == body


# --- strict JSON ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}', b'{"a": 1, "\\u0061": 2}', b'{"x": [{"b": 1, "b": 1}]}', b"[NaN]", b"[Infinity]",
        b"[-Infinity]", b"", b"{", b"{} {}", b"[1,]", b"[01]", b"'a'", b'"\xff"', b'"\xc0\xaf"', b'"\\ud800"', b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"), b"[" * 100_000, b'{"a":' * 100_000, b'"\n"', b"[" * 202 + b"]" * 202,
    ],
)  # fmt: skip
def test_json_that_parsers_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^body: "):
        strict(body, "body")


@pytest.mark.parametrize("piece", [b"[]", b"{}"])
def test_a_body_that_is_mostly_brackets_is_refused_before_it_is_read(piece: bytes) -> None:
    strict(b"[" + b",".join([piece] * (MOST_CONTAINERS - 1)) + b"]", "leads[0]")
    with pytest.raises(InvalidInput, match=r"^leads\[0\]: it must have at most 50,000 objects and lists"):
        strict(b"[" + b",".join([piece] * MOST_CONTAINERS) + b"]", "leads[0]")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(st.text(), deeper, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_every_other_json_is_let_through(value: Any) -> None:
    strict(msgspec.json.encode(value), "body")
    strict(json.dumps(value, ensure_ascii=False, indent=1).encode(), "x")


@given(st.binary(max_size=60))
def test_whatever_comes_is_refused_or_json(body: bytes) -> None:
    try:
        strict(body, "body")
    except InvalidInput:
        return
    json.loads(body, parse_constant=pytest.fail)

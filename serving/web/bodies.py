"""Bodies of requests: read within a time and a size, unpacked within a size, and strict where they are JSON.

Sizes are counted as bytes come, whatever a header says of them, so that no body is held that will be refused.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import jiter
from starlette.types import Message, Receive

from features.errors import InvalidInput
from serving.web.connections import has_come
from serving.web.refusals import Refused

GZIP: Final = 31
"""What tells zlib to expect the head and the check of gzip."""
STEP: Final = 256 * 1024
"""Bytes unpacked at once."""

MOST_SAID: Final = 300
"""Letters of what a parser says."""
MOST_CONTAINERS: Final = 50_000
"""Twice those of a lead with as many events as are taken."""


class Gone(Exception):
    """The client has closed the connection: nobody waits for the answer."""


async def whole(receive: Receive, most: int, seconds: float, hold: Callable[[int], None]) -> bytes:
    """Return a whole body; `hold` is told of the bytes of each part before it is kept, and may refuse it.

    Raises
    ------
    Refused
        413 as soon as it is larger than `most` bytes, 408 where it has not come within `seconds`.
    Gone
        Where the client has gone.
    """
    if has_come(receive):
        # Most bodies have, and a timer costs as much as reading one.
        body, _ = _part(await receive())
        if len(body) > most:
            raise too_large(most)
        hold(len(body))
        return body
    got: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(seconds):
            while more:
                part, more = _part(await receive())
                size += len(part)
                if size > most:
                    raise too_large(most)
                hold(len(part))
                got.append(part)
    except TimeoutError:
        raise _too_slow(seconds) from None
    return got[0] if len(got) == 1 else b"".join(got)


async def parts(receive: Receive, most: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield a body as it comes; each next part must come within `seconds`. Raises as `whole` does."""
    size, more = 0, True
    while more:
        try:
            async with asyncio.timeout(seconds):
                part, more = _part(await receive())
        except TimeoutError:
            raise _too_slow(seconds) from None
        size += len(part)
        if size > most:
            raise too_large(most)
        if part:
            yield part


def _part(message: Message) -> tuple[bytes, bool]:
    """Return the next bytes of a body and whether more come."""
    if message["type"] == "http.disconnect":
        raise Gone
    return message.get("body", b""), message.get("more_body", False)


def _too_slow(seconds: float) -> Refused:
    return Refused(408, "too_slow", f"the body must come within {seconds:g} seconds.", close=True)


def too_large(most: int) -> Refused:
    """Return the refusal of a body of more than `most` bytes."""
    hint = "Send it in parts, or as a file to POST /score_batch."
    return Refused(413, "too_large", f"the body must be at most {most:,} bytes.", hint=hint, close=True)


class Gunzip:
    """Unpacks gzip piece by piece, at most `most` bytes of it."""

    def __init__(self, most: int) -> None:
        self._unpacker = zlib.decompressobj(GZIP)
        self._most, self._left = most, most

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        """Yield what comes out of the next packed bytes; raises Refused where that is too much or no gzip."""
        while packed:
            if self._unpacker.eof:
                raise _no_gzip("it must end where its one member ends")
            try:
                piece = self._unpacker.decompress(packed, min(STEP, self._left + 1))
            except zlib.error:
                raise _no_gzip("it is damaged, or something else") from None
            self._left -= len(piece)
            if self._left < 0:
                raise Refused(
                    413, "too_large", f"the unpacked body must be at most {self._most:,} bytes.", hint="Send it in parts."
                )  # fmt: skip
            # What zlib was not asked to unpack yet lies in the tail, what stands behind the end in the unused data.
            packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data
            yield piece

    def ended(self) -> None:
        """Raise Refused where the packed bytes stopped before their end."""
        if not self._unpacker.eof:
            raise _no_gzip("it is cut off")


def gunzipped(packed: bytes, most: int) -> bytes:
    """Return what a gzip body holds; raises Refused where it is damaged or holds more than `most` bytes."""
    unpacker, body = Gunzip(most), bytearray()
    for piece in unpacker.pieces(packed):
        body += piece
    unpacker.ended()
    return bytes(body)


async def gunzip(packed: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Yield what the parts of a gzip body hold; raises as `gunzipped` does."""
    unpacker = Gunzip(most)
    async for part in packed:
        for piece in unpacker.pieces(part):
            yield piece
    unpacker.ended()


def _no_gzip(why: str) -> Refused:
    return Refused(400, "invalid_gzip", f"Content-Encoding says gzip, and the body is none: {why}.")


def strict(text: bytes, where: str) -> None:
    """Raise InvalidInput, which names `where`, for a text that is not JSON which every parser reads alike, or is mostly brackets.

    Refused beside broken syntax: repeated keys, nesting over 201 levels, lone surrogates, bytes that are no UTF-8, and NaN
    or Infinity. Numbers too large for a float are left to the typed decoder, which refuses them.
    """
    if len(text) > MOST_CONTAINERS and text.count(b"{") + text.count(b"[") > MOST_CONTAINERS:
        # Each becomes an object of many times its size: a megabyte of them would take a tenth of a second and 20 MB.
        raise InvalidInput(f"{where}: it must have at most {MOST_CONTAINERS:,} objects and lists.", where)
    try:
        jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        # It may quote a key of any length.
        why = "it is nested too deeply" if "recursion" in str(error) else str(error)[-MOST_SAID:]
        raise InvalidInput(f"{where}: {why}.", None if where == "body" else where) from None

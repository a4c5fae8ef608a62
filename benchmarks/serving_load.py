"""Load from a process of its own: connections that each send, wait for the whole answer, and send again.

`python -m benchmarks.serving_load` reads one `Burst` a line of JSON and answers each with one line, until its input ends.
Raw sockets on uvloop and no parsing but status and length, so that the load costs little beside what it measures.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import uvloop

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length:"
RETRY: Final = b"\r\nretry-after:"
BUSY: Final = b"503"
GOLDEN: Final = 0.6180339887
LONGEST_RAMP: Final = 5.0
"""Seconds within which every connection should have had its first answer."""
LONGEST_WAIT: Final = 60.0
"""Seconds after a burst within which its last answers must have come."""


@dataclass(frozen=True)
class Burst:
    """What to send: the files `bodies` in turn, as JSON, over so many connections for so long, from their first answers on.

    A connection that is told to come back later (503) waits for about `pause` seconds.
    """

    port: int
    path: str
    bodies: Sequence[str]
    connections: int
    seconds: float
    pause: float = 0.0
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Outcome:
    """What came of a burst.

    Attributes
    ----------
    seconds : in which the answers of `microseconds` came
    microseconds : of each answer's way, in the order in which they came, from when every connection had its first one
    first : of each connection's first answer: a busy loop takes connections up one by one
    statuses : how many answers had each status, first ones too
    by_status : the same times, apart by status
    told_to_wait : answers with a Retry-After
    lost : connections that ended without the answer that they owed
    """

    seconds: float
    microseconds: list[int]
    first: list[int]
    statuses: dict[str, int]
    by_status: dict[str, list[int]]
    sent_bytes: int
    received_bytes: int
    told_to_wait: int
    lost: int


class _Client(asyncio.Protocol):
    """One connection: a closed loop of requests."""

    def __init__(self, run: _Run, first: int) -> None:
        self.run, self.turn = run, first
        self.transport: asyncio.Transport | None = None
        self.buffer, self.needed, self.status, self.sent_at = b"", 0, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if not self.needed:
            head = self.buffer.find(HEAD_END)
            if head < 0:
                return
            self.status = self.buffer[9:12]
            if self.status == BUSY and RETRY in self.buffer[:head].lower():
                self.run.told_to_wait += 1
            self.needed = head + len(HEAD_END) + _length(self.buffer[:head])
        if len(self.buffer) >= self.needed:
            self._answered()

    def connection_lost(self, _: Exception | None) -> None:
        if self.sent_at:
            self.run.lost += 1
        self.run.left()

    def _answered(self) -> None:
        now = time.perf_counter()
        self.run.answered(self, int((now - self.sent_at) * 1e6), self.status, now)
        self.run.received += self.needed
        self.buffer, self.needed, self.sent_at = b"", 0, 0.0
        if self.run.pause and self.status == BUSY:
            # Clients that were refused together do not come back together.
            apart = 0.5 + self.turn * GOLDEN % 1
            asyncio.get_running_loop().call_later(self.run.pause * apart, self._next)
        else:
            self._next()

    def _next(self) -> None:
        assert self.transport is not None
        if self.transport.is_closing():
            return
        if time.perf_counter() < self.run.until:
            self._send()
        else:
            self.transport.close()

    def _send(self) -> None:
        request = self.run.requests[self.turn % len(self.run.requests)]
        self.turn += 1
        self.run.sent += len(request)
        self.sent_at = time.perf_counter()
        assert self.transport is not None
        self.transport.write(request)


class _Run:
    """One burst while it runs."""

    def __init__(self, requests: list[bytes], connections: int, seconds: float, pause: float) -> None:
        self.requests, self.connections, self.open, self.pause = requests, connections, connections, pause
        self.sent = self.received = self.lost = self.told_to_wait = 0
        self.answers: list[tuple[int, bytes]] = []
        self.first: dict[_Client, int] = {}
        self.steady_from = 0
        self.began = self.steady_since = time.perf_counter()
        self.seconds, self.until = seconds, self.began + seconds + LONGEST_RAMP
        self.done = asyncio.get_running_loop().create_future()

    def answered(self, client: _Client, taken: int, status: bytes, now: float) -> None:
        self.answers.append((taken, status))
        if len(self.first) < self.connections and client not in self.first:
            self.first[client] = taken
            if len(self.first) == self.connections:
                self.steady_from, self.steady_since = len(self.answers), now
                self.until = now + self.seconds

    def left(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(LENGTH)
    if at < 0:
        raise ValueError("an answer must tell its content-length")
    return int(lower[at + len(LENGTH) :].partition(b"\r\n")[0])


def _request(burst: Burst, body: bytes) -> bytes:
    head = (
        f"POST {burst.path} HTTP/1.1\r\nHost: {burst.host}:{burst.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(burst: Burst) -> Outcome:
    """Return what came of a burst, after the last answer."""
    loop = asyncio.get_running_loop()
    requests = [_request(burst, Path(body).read_bytes()) for body in burst.bodies]
    going = _Run(requests, burst.connections, burst.seconds, burst.pause)
    for place in range(burst.connections):
        # Each connection begins elsewhere, so that no two send the same at the same time.
        first = place * len(requests) // burst.connections
        await loop.create_connection(partial(_Client, going, first), burst.host, burst.port)
    await asyncio.wait_for(going.done, burst.seconds + LONGEST_RAMP + LONGEST_WAIT)
    by_status: dict[str, list[int]] = {}
    for taken, status in going.answers:
        by_status.setdefault(status.decode(), []).append(taken)
    return Outcome(
        seconds=time.perf_counter() - going.steady_since,
        microseconds=[taken for taken, _ in going.answers[going.steady_from :]],
        first=list(going.first.values()),
        statuses=dict(Counter(status.decode() for _, status in going.answers)),
        by_status=by_status,
        sent_bytes=going.sent,
        received_bytes=going.received,
        told_to_wait=going.told_to_wait,
        lost=going.lost,
    )


def main() -> None:
    """Answer bursts until there are no more."""
    for line in sys.stdin:
        outcome = uvloop.run(run(Burst(**json.loads(line))))
        # A loop may leave it otherwise, and what does not fit into the pipe at once would be lost.
        os.set_blocking(sys.stdout.fileno(), True)
        print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()

"""What uvicorn lacks: limits on connections, and on how long and how large what comes before a body may be.

Every refusal is answered in the one error shape, in the order of the requests, and ends its connection.
"""

from __future__ import annotations

import resource
from asyncio import Transport
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import Any, ClassVar, Final, cast

import httptools
from starlette.types import Receive
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.web.refusals import JSON, Refused, error_body, json_bytes

# Files beside the connections: those of a crowd, the model, receipts, jobs, the arbiter's pipes.
OTHER_FILES: Final = 512


@dataclass(frozen=True)
class Limits:
    """How much one connection, and all of them together, may ask of us.

    Attributes
    ----------
    connections : open at a time; a further one is answered 503
    crowd : of those, so many at a time are waited for until they have read it
    seconds : from the first byte of a request to the end of its headers; the same for a body that nobody reads any more
    head_bytes, headers : of a request line with its headers; the same for what a body holds beside its content
    queued : requests sent ahead on one connection while another one is answered
    linger, unread : seconds and bytes for which we listen after the last word, so that it arrives
    stalled : seconds without a byte taken by a peer that we write to
    told : gets the code of every refusal
    """

    connections: int = 1024
    crowd: int = 256
    seconds: float = 10.0
    head_bytes: int = 32 * 1024
    headers: int = 100
    queued: int = 16
    linger: float = 2.0
    unread: int = 16 * 1024 * 1024
    stalled: float = 30.0
    told: Callable[[str], None] = lambda _: None


def register(most_connections: int, told: Callable[[str], None] = lambda _: None) -> None:
    """Make the guarded protocol the one that uvicorn takes on its own; to be called before its `Config` is loaded.

    Also lets the process open as many files as the connections need, as far as the system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most_connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
    # uvicorn imports what is a text here, and takes a class as it is.
    HTTP_PROTOCOLS["auto"] = guarded(Limits(connections=most_connections, told=told))  # type: ignore[assignment]


def has_come(receive: Receive) -> bool:
    """Whether the whole body of a request is here already, so that nobody needs to be waited for."""
    cycle = getattr(receive, "__self__", None)
    return isinstance(cycle, RequestResponseCycle) and not cycle.more_body


def guarded(limits: Limits) -> type[Guarded]:
    """Return the protocol with limits of its own."""
    return type("Guarded", (Guarded,), {"limits": limits, "crowd": {}})


def last_words(error: Refused, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a whole answer as it goes over the wire, after which the connection ends."""
    content = json_bytes({"error": error_body(error)})
    told = {**error.headers, "content-type": JSON, "content-length": str(len(content)), "connection": "close"}
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in headers]
    lines += [f"{name}: {value}".encode() for name, value in told.items()]
    return b"\r\n".join([*lines, b"", content])


class Wire:
    """A transport that sends the head of an answer together with its body, and whose end does not hurt.

    The end waits, for a while, for a peer that is still sending and has not read the answer: closing a socket with unread bytes
    in it makes the system reset the connection, and the peer may lose what we said.
    """

    __slots__ = ("_close", "_held", "ended", "inner")

    def __init__(self, inner: Transport, close: Callable[[], None]) -> None:
        self.inner, self._close, self._held, self.ended = inner, close, b"", False

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self.inner.writelines((held, data))
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._held = data
        else:
            self.inner.write(data)

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self.inner.write(held)

    def is_closing(self) -> bool:
        return self.ended or self.inner.is_closing()

    def close(self) -> None:
        if not self.ended:
            self.flush()
            self.ended = True
            self._close()


class Guarded(HttpToolsProtocol):
    """uvicorn's protocol with limits.

    A connection has one timer, which looks now and then whether the time that is set in `until` is over: what happens with every
    request is an assignment, not a timer. `accepted` connections came so far, and `requests` are under way, in this process.
    """

    limits: ClassVar[Limits] = Limits()
    crowd: ClassVar[dict[Guarded, None]] = {}
    accepted: ClassVar[int] = 0
    requests: ClassVar[Collection[object]] = ()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        Guarded.accepted, Guarded.requests = Guarded.accepted + 1, self.tasks
        super().connection_made(transport)
        self.access_log = False  # ours is structured
        self.wire = Wire(transport, self._ended)
        self.transport = cast(Transport, self.wire)
        self.answering: RequestResponseCycle | None = None
        self.last: bytes | None = None  # words for after the answers that are under way
        self.heading, self.silent = True, True  # before the end of the headers; before the first byte
        self.head = self.chunk = self.extra = self.discarded = 0
        self.coding: bytes | None = None
        self.again = b""
        self.tick = max(min(self.limits.seconds, self.timeout_keep_alive), 0.01)
        self._waits(self.limits.seconds)
        self.timer = self.loop.call_later(self.tick, self._check)
        self.stall: Any = None
        if len(self.connections) > self.limits.connections:
            self.connections.discard(self)
            self._too_many()

    def _too_many(self) -> None:
        error = Refused(503, "too_many_connections", "too many connections are open.", retry_after=1)
        self.limits.told(error.code)
        self._say(last_words(error, self.server_state.default_headers))
        # Each holds a file until it has read the answer: the oldest must go where they are too many.
        self.crowd[self] = None
        if len(self.crowd) > self.limits.crowd:
            oldest = next(iter(self.crowd))
            del self.crowd[oldest]
            oldest.wire.inner.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.crowd.pop(self, None)
        self.timer.cancel()
        self.resume_writing()
        self.pipeline.clear()
        self.until = inf

    # --- what comes in -----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.wire.ended or self.last is not None:
            self._discard(len(data))
            return
        if self.silent:
            self._begins()
        self.chunk = len(data)
        self.head += self.chunk
        try:
            self._feed(data)
        except Refused as refused:
            self._refuse(refused)
        except httptools.HttpParserError as error:
            ours = error.__context__
            self._refuse(
                ours if isinstance(ours, Refused) else Refused(400, "malformed_request", "not a valid HTTP request.")
            )
        else:
            if self.head > self.limits.head_bytes:
                self._refuse(self._too_large())

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # The parser takes no body from a request that offers another protocol: what follows would be read as
                # a request of its own. Read once more by a new parser, without the offer.
                data = self.again + data[offer.args[0] :]
                self.parser, self.again = httptools.HttpRequestParser(self), b""
            else:
                return

    def _begins(self) -> None:
        self.silent = False
        self._waits(self.limits.seconds)

    def _waits(self, seconds: float) -> None:
        self.until = self.loop.time() + seconds

    def on_message_begin(self) -> None:
        if self.silent:
            self._begins()
        if len(self.pipeline) >= self.limits.queued:
            raise Refused(400, "too_many_requests_ahead", f"at most {self.limits.queued} requests may be sent ahead.")
        self.head, self.extra, self.coding = 0, 0, None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.heading:
            # What comes after a body is no header: the request was let in without it.
            self.extra += 1
            if self.extra > self.limits.headers:
                raise self._too_large()
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"transfer-encoding":
            self.coding = value
        self.headers.append((name, value))
        if len(self.headers) > self.limits.headers:
            raise self._too_large()

    def on_headers_complete(self) -> None:
        if self.chunk + self.head > self.limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.head_bytes:
                raise self._too_large()
        version = self.parser.get_http_version()
        if version != "1.1" and version != "1.0":  # noqa: PLR1714  # on the way of every request
            raise Refused(400, "http_version_not_supported", "HTTP/1.1 and HTTP/1.0 are spoken here.")
        if self.coding is not None and (version == "1.0" or self.coding.lower() != b"chunked"):
            raise Refused(400, "malformed_request", "Transfer-Encoding must be chunked, and of HTTP/1.1.")
        if self.parser.should_upgrade():
            self.again = self._without_the_offer()
            return
        super().on_headers_complete()
        self.heading, self.until = False, inf

    def _without_the_offer(self) -> bytes:
        """Return the head of a request that offers another protocol, such as `h2c`, as if it did not."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise Refused(400, "no_proxy", "CONNECT: this is no proxy.")
        if any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers):
            raise Refused(400, "no_websockets", "websockets are not spoken here.")
        lines = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([b"%s %s HTTP/1.1" % (method, self.url), *lines, b"", b""])

    def _should_upgrade(self) -> bool:
        return False

    def on_body(self, body: bytes) -> None:
        self.head, cycle = 0, self.cycle
        if cycle.response_complete:
            self.discarded += len(body)
            if self.discarded > self.limits.unread:
                raise Refused(413, "unread_body", "the request was answered; the rest of its body is too long.")
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self.again:
            return
        cycle = self.cycle
        self.heading = self.silent = True
        self.head = self.discarded = 0
        if cycle.response_complete:
            self._waits(self.timeout_keep_alive)
        else:
            self.until = inf
            cycle.more_body = False
            cycle.message_event.set()

    # --- what goes out -----------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.wire.flush()
        self.server_state.total_requests += 1
        if self.wire.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.last is not None:
            self._say(self.last)
        elif not self.heading:
            self._waits(self.limits.seconds)  # for the rest of a body that was not wanted
        elif self.silent:
            self._waits(self.timeout_keep_alive)

    def _too_large(self) -> Refused:
        most = f"{self.limits.headers} headers and {self.limits.head_bytes:,} bytes"
        return Refused(431, "headers_too_large", f"the request line and headers must be at most {most}.")

    def _refuse(self, error: Refused) -> None:
        """Answer what is coming in with an error, after all that came before it, and end the connection."""
        self.limits.told(error.code)
        self.until = inf
        words = last_words(error, self.server_state.default_headers)
        mine = None if self.heading else self.cycle
        if mine is not None:
            mine.disconnected = True
            mine.message_event.set()
            if self.pipeline and self.pipeline[0][0] is mine:
                self.pipeline.popleft()
        busy = self.answering is not None and self.answering is not mine and not self.answering.response_complete
        if busy:
            self.last = words
        elif mine is not None and mine.response_started:
            self.transport.close()
        else:
            self._say(words)

    def _say(self, words: bytes) -> None:
        self.transport.write(words)
        self.heading = False  # there may be more to come, which nobody reads
        self.transport.close()

    # --- how it ends -------------------------------------------------------------------------

    def _check(self) -> None:
        """Look whether what was waited for has come; the one timer of a connection."""
        left = self.until - self.loop.time()
        if left > 0:
            self.timer = self.loop.call_later(min(left, self.tick), self._check)
        elif self.silent or not self.heading:
            self.transport.close()
        else:
            seconds = f"{self.limits.seconds:g}"
            self._refuse(Refused(408, "request_timeout", f"the headers must have come within {seconds} seconds."))

    def _ended(self) -> None:
        self.timer.cancel()
        inner = self.wire.inner
        if inner.is_closing():
            return
        if self.heading or not inner.can_write_eof():
            inner.close()
        else:
            self.flow.resume_reading()
            inner.write_eof()
        unsent = inner.get_write_buffer_size()
        self.timer = self.loop.call_later(self.limits.stalled if unsent else self.limits.linger, self._gone, unsent)

    def _gone(self, size: int) -> None:
        """End for good, but for a peer that is still taking what it asked for."""
        left = self.wire.inner.get_write_buffer_size()
        if 0 < left < size:
            self.timer = self.loop.call_later(self.limits.stalled, self._gone, left)
        else:
            self.wire.inner.abort()

    def _discard(self, size: int) -> None:
        self.discarded += size
        if self.discarded > self.limits.unread:
            self.wire.inner.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stall = self.loop.call_later(self.limits.stalled, self.wire.inner.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.stall is not None:
            self.stall.cancel()
            self.stall = None

"""The guarded protocol under a real uvicorn: what is refused, in which words, in which order, and how connections end."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvicorn
from uvicorn.config import HTTP_PROTOCOLS

from serving.web import connections
from serving.web.connections import Guarded, Limits, guarded, register

GET = b"GET /read HTTP/1.1\r\nHost: a\r\n\r\n"
QUICK = Limits(seconds=0.3, linger=0.5, stalled=0.6)


@dataclass
class Application:
    """Answers how much of a body it read, or 404 at once, or later when told to; keeps what it was asked."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        self.asked.append(scope)
        size, path, more = 0, scope["path"], scope["path"] != "/unread"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(path)
                return
            size, more = size + len(message["body"]), message["more_body"]
        while path == "/later" and not self.go.is_set():
            await asyncio.sleep(0.005)
        content = b"x" * 20_000_000 if path == "/large" else str(size).encode()
        headers = [(b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 404 if path == "/unread" else 200, "headers": headers})
        for start in range(0, len(content), 100_000):
            part = content[start : start + 100_000]
            await send({"type": "http.response.body", "body": part, "more_body": start + 100_000 < len(content)})


@dataclass
class Running:
    port: int
    app: Application
    server: uvicorn.Server

    def open(self, *parts: bytes) -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        for part in parts:
            peer.sendall(part)
        return peer

    def ask(self, *parts: bytes) -> bytes:
        """Send, and return all that comes until the connection ends."""
        with self.open(*parts) as peer:
            return everything(peer)

    def open_ones(self) -> int:
        return len(self.server.server_state.connections)


def everything(peer: socket.socket) -> bytes:
    found = b""
    try:
        while part := peer.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found


def one(peer: socket.socket) -> tuple[int, Any]:
    """Return (status, body) of the next answer of a connection that stays."""
    found = b""
    while b"\r\n\r\n" not in found or not answers(found):
        part = peer.recv(65_536)
        assert part, found
        found += part
    ((status, body, _),) = answers(found)
    return status, body


def answers(text: bytes) -> list[tuple[int, Any, dict[str, str]]]:
    """Return (status, body, headers) of every answer in what came over a connection."""
    found = []
    while text:
        head, _, rest = text.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers["content-length"])
        if len(rest) < size:
            return []
        found.append((int(first.split()[1]), json.loads(rest[:size]), headers))
        text = rest[size:]
    return found


def only(text: bytes) -> tuple[int, str]:
    """Return status and code of the one refusal that came."""
    ((status, body, headers),) = answers(text)
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/json"
    assert set(body) == {"error"}
    assert body["error"]["message"]
    return status, body["error"]["code"]


def waiting(found: Running) -> dict[Any, None]:
    protocol: Any = found.server.config.http_protocol_class
    return dict(protocol.crowd)


@contextmanager
def running(limits: Limits, loop: Any = "uvloop", keep_alive: int = 5) -> Iterator[Running]:
    app, listening = Application(), socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=guarded(limits), loop=loop, lifespan="off", log_config=None, ws="auto", server_header=False,
        timeout_keep_alive=keep_alive, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        until(lambda: server.started)
        yield Running(listening.getsockname()[1], app, server)
    finally:
        app.go.set()
        server.should_exit = True
        thread.join()
        listening.close()


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def usual(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(Limits(), request.param) as found:
        yield found


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def quick(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(QUICK, request.param) as found:
        yield found


# --- what is well -----------------------------------------------------------------------------


def test_a_request_is_answered_and_the_connection_stays(usual: Running) -> None:
    with usual.open() as peer:
        for _ in range(3):
            peer.sendall(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert one(peer) == (200, 3)


def test_head_and_body_of_an_answer_arrive_together(usual: Running) -> None:
    with usual.open() as peer:
        for _ in range(50):
            peer.sendall(GET)
            assert [body for _, body, _ in answers(peer.recv(1000))] == [0]


def test_http_1_0_is_answered_and_ends(usual: Running) -> None:
    ((status, body, headers),) = answers(usual.ask(b"GET /read HTTP/1.0\r\n\r\n"))
    assert (status, body, headers["connection"]) == (200, 0, "close")


def test_a_body_in_chunks_is_read(usual: Running) -> None:
    text = b"POST /read HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert answers(usual.ask(text))[0][:2] == (200, 5)


def test_a_request_that_comes_byte_by_byte_is_answered(usual: Running) -> None:
    text = b"POST /read HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
    assert answers(usual.ask(*(bytes([one]) for one in text)))[0][:2] == (200, 3)


def test_requests_sent_ahead_are_answered_in_their_order(usual: Running) -> None:
    bodies = [b"POST /read HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (size, b"x" * size) for size in range(10)]
    last = b"GET /read HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert [body for _, body, _ in answers(usual.ask(b"".join(bodies) + last))] == [*range(10), 0]


def test_an_offer_to_speak_http_2_is_passed_over(usual: Running) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    posted = b"POST /read HTTP/1.1\r\n" + offer + b"Content-Length: 3\r\n\r\nabc"
    last = b"GET /read HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert [body for _, body, _ in answers(usual.ask(posted + posted, posted + last))] == [3, 3, 3, 0]
    assert b"upgrade" not in dict(usual.app.asked[-2]["headers"])


def test_the_body_of_a_request_that_offers_another_protocol_is_no_request(usual: Running) -> None:
    usual.app.asked.clear()
    offer = b"POST /read HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: x\r\nContent-Length: %d\r\n\r\n" % len(GET)
    assert answers(usual.ask(offer, GET))[0][:2] == (200, len(GET))
    assert len(usual.app.asked) == 1


def test_who_waits_for_100_continue_is_told_to_go_on(usual: Running) -> None:
    with usual.open(b"POST /read HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n") as peer:
        assert peer.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"abc")
        assert one(peer) == (200, 3)


def test_what_comes_after_a_body_does_not_become_a_header(usual: Running) -> None:
    text = (
        b"POST /read HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: x\r\n\r\n"
    )
    assert answers(usual.ask(text))[0][0] == 200
    assert b"authorization" not in dict(usual.app.asked[-1]["headers"])


# --- what is no request -----------------------------------------------------------------------

HOST = b"Host: a\r\n"


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"FOO / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET /\xe9 HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b"GET http://a:99999/ HTTP/1.1\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_request_or_could_be_read_as_two_is_refused(usual: Running, text: bytes) -> None:
    status, _ = only(usual.ask(text))
    assert status == 400


@pytest.mark.parametrize(
    "body", [b"-3\r\nabc", b"3 \r\nabc", b"fffffffffffffffff\r\n", b"2\r\nabc\r\n", b"3\nabc\n0\n\n"]
)
def test_a_body_that_breaks_off_is_refused_and_its_request_forgotten(usual: Running, body: bytes) -> None:
    usual.app.left.clear()
    text = b"POST /broken HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    assert only(usual.ask(text)) == (400, "malformed_request")
    until(lambda: usual.app.left == ["/broken"])


def test_websockets_are_not_spoken(usual: Running) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
    assert only(usual.ask(b"GET /read HTTP/1.1\r\n" + HOST + offer + b"\r\n")) == (400, "no_websockets")
    assert only(usual.ask(b"GET /read HTTP/1.1\r\n" + offer + HOST + b"\r\n")) == (400, "no_websockets")


def test_what_comes_before_garbage_is_answered_first(usual: Running) -> None:
    usual.app.go.clear()
    with usual.open(b"GET /later HTTP/1.1\r\n\r\n" + GET + b"garbage\r\n\r\n") as peer:
        time.sleep(0.05)
        usual.app.go.set()
        found = answers(everything(peer))
    assert [status for status, _, _ in found] == [200, 200, 400]


def test_a_broken_body_of_a_request_sent_ahead_is_refused_in_its_turn(usual: Running) -> None:
    usual.app.go.clear()
    ahead = b"POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    with usual.open(b"GET /later HTTP/1.1\r\n\r\n" + ahead) as peer:
        time.sleep(0.05)
        usual.app.go.set()
        found = answers(everything(peer))
    assert [status for status, _, _ in found] == [200, 400]
    assert usual.app.asked[-1]["path"] == "/later"


# --- how large and how many -------------------------------------------------------------------


def with_headers(count: int, size: int = 1) -> bytes:
    lines = [b"a%d: %s" % (number, b"x" * size) for number in range(count)]
    return b"\r\n".join([b"GET /read HTTP/1.1", b"Connection: close", *lines, b"", b""])


def test_a_hundred_headers_are_read_and_one_more_is_not(usual: Running) -> None:
    assert answers(usual.ask(with_headers(99)))[0][0] == 200
    assert only(usual.ask(with_headers(100))) == (431, "headers_too_large")


def test_headers_of_32_kilobytes_are_read_and_larger_ones_are_not(usual: Running) -> None:
    assert answers(usual.ask(with_headers(30, 1000)))[0][0] == 200
    assert only(usual.ask(with_headers(33, 1000))) == (431, "headers_too_large")
    assert only(usual.ask(b"GET /" + b"x" * 33_000 + b" HTTP/1.1\r\n\r\n")) == (431, "headers_too_large")


@pytest.mark.parametrize("begun", [b"GET /", b"GET / HTTP/1.1\r\na: ", b"", b"GET / HTTP/1.1\r\n"])
def test_headers_without_end_are_not_kept(usual: Running, begun: bytes) -> None:
    junk = b"\r\n" * 40_000 if not begun else b"x" * 40_000
    assert only(usual.ask(begun, *[junk] * 10))[0] in (400, 431)


@pytest.mark.parametrize("part", [b"t: " + b"x" * 40_000, b"1;" + b"x" * 40_000, b"t: x\r\n" * 101])
def test_what_a_body_holds_beside_its_content_is_limited_too(usual: Running, part: bytes) -> None:
    beginning = b"1\r\na\r\n" if part.startswith(b"1") else b"0\r\n"
    text = b"POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + beginning
    assert only(usual.ask(text, *[part] * 9)) == (431, "headers_too_large")


def test_a_large_body_behind_small_headers_is_read(usual: Running) -> None:
    text = b"POST /read HTTP/1.1\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    assert answers(usual.ask(text))[0][:2] == (200, 3_000_000)


def test_sixteen_requests_may_be_sent_ahead_and_one_more_ends_it(usual: Running) -> None:
    later = b"GET /later HTTP/1.1\r\n\r\n"
    for ahead, statuses in ((16, [200] * 17), (17, [200] * 17 + [400])):
        usual.app.go.clear()
        with usual.open(later + GET * ahead) as peer:
            time.sleep(0.1)
            usual.app.go.set()
            peer.settimeout(0.3)
            found = b""
            try:
                while part := peer.recv(65_536):
                    found += part
            except TimeoutError:
                pass
        assert [status for status, _, _ in answers(found)] == statuses


def test_one_connection_too_many_is_told_when_to_come_again(usual: Running) -> None:
    told: list[str] = []
    with running(replace(QUICK, connections=3, seconds=5, told=told.append)) as found:
        peers = [found.open(GET) for _ in range(3)]
        for peer in peers:
            one(peer)
        for text in (b"", *[GET] * 30):
            told_so = found.ask(text)
            assert only(told_so) == (503, "too_many_connections")
            assert answers(told_so)[0][2]["retry-after"] == "1"
        peers.pop().close()
        until(lambda: found.open_ones() == 2)
        peers.append(found.open(GET))
        assert one(peers[-1])[0] == 200
        for peer in peers:
            peer.close()
    assert told == ["too_many_connections"] * 31


def test_a_crowd_is_sent_away_and_only_the_last_are_waited_for() -> None:
    with running(replace(QUICK, connections=1, crowd=3, linger=60, seconds=60)) as found, found.open(GET) as first:
        one(first)
        peers = [found.open() for _ in range(8)]
        for peer in peers:
            assert only(everything(peer))[0] == 503
        assert len(waiting(found)) == 3
        for peer in peers:
            peer.close()
        until(lambda: not waiting(found))


# --- how long ---------------------------------------------------------------------------------


def test_headers_that_do_not_end_in_time_are_answered_408(quick: Running) -> None:
    begun = time.monotonic()
    with quick.open() as peer:
        for _ in range(6):
            peer.sendall(b"GET / HTTP/1.1\r\n" if _ == 0 else b"a: b\r\n")
            time.sleep(0.07)
        assert only(everything(peer)) == (408, "request_timeout")
    assert 0.29 <= time.monotonic() - begun < 1.5  # the loop's clock is coarser than ours


def test_the_time_of_a_second_request_begins_with_its_first_byte(quick: Running) -> None:
    with quick.open(GET) as peer:
        one(peer)
        time.sleep(0.5)
        peer.sendall(GET)
        assert one(peer)[0] == 200
        begun = time.monotonic()
        peer.sendall(GET[:10])
        assert only(everything(peer))[0] == 408
    assert 0.29 <= time.monotonic() - begun < 1.5  # the loop's clock is coarser than ours


def test_blank_lines_do_not_keep_a_connection(quick: Running) -> None:
    with quick.open() as peer:
        for _ in range(6):
            peer.sendall(b"\r\n")
            time.sleep(0.07)
        assert only(everything(peer))[0] == 408


def test_who_says_nothing_is_left_without_a_word(quick: Running) -> None:
    begun = time.monotonic()
    assert quick.ask() == b""
    assert 0.29 <= time.monotonic() - begun < 1.5  # the loop's clock is coarser than ours


def test_an_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    with running(replace(QUICK, seconds=30), keep_alive=1) as found, found.open(GET) as peer:
        assert answers(everything(peer))[0][0] == 200


def test_a_long_work_is_not_cut_off(quick: Running) -> None:
    quick.app.go.clear()
    with quick.open(b"GET /later HTTP/1.1\r\nConnection: close\r\n\r\n") as peer:
        time.sleep(0.8)
        quick.app.go.set()
        assert answers(everything(peer))[0][0] == 200


def test_half_a_request_sent_ahead_is_refused_after_the_answer(quick: Running) -> None:
    quick.app.go.clear()
    with quick.open(b"GET /later HTTP/1.1\r\n\r\nGET /") as peer:
        time.sleep(0.6)
        quick.app.go.set()
        found = answers(everything(peer))
    assert [status for status, _, _ in found] == [200, 408]


def test_a_body_that_nobody_reads_must_end_in_time(quick: Running) -> None:
    with quick.open(b"POST /unread HTTP/1.1\r\nContent-Length: 100\r\n\r\n") as peer:
        assert one(peer)[0] == 404
        assert everything(peer) == b""


def test_a_body_that_nobody_reads_must_end_soon(usual: Running) -> None:
    with usual.open(b"POST /unread HTTP/1.1\r\nContent-Length: 300000000\r\n\r\n") as peer:
        assert one(peer)[0] == 404
        with pytest.raises(ConnectionError):
            peer.sendall(b"x" * 300_000_000)


def test_a_short_body_that_nobody_reads_does_not_end_the_connection(usual: Running) -> None:
    with usual.open(b"POST /unread HTTP/1.1\r\nContent-Length: 4\r\n\r\n") as peer:
        assert one(peer)[0] == 404
        peer.sendall(b"abcd" + GET)
        assert one(peer)[0] == 200


def test_a_refusal_arrives_although_the_peer_is_still_sending(usual: Running) -> None:
    with usual.open(b"POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n") as peer:
        time.sleep(0.05)
        for _ in range(5):
            peer.sendall(b"x" * 10_000)
        assert only(everything(peer))[0] == 400


def test_who_does_not_take_the_answer_is_cut_off(quick: Running) -> None:
    until(lambda: quick.open_ones() == 0)
    with quick.open(b"GET /large HTTP/1.1\r\n\r\n"):
        until(lambda: quick.open_ones() == 1)
        until(lambda: quick.open_ones() == 0)


def test_who_takes_a_large_answer_slowly_gets_all_of_it(quick: Running) -> None:
    size = 0
    with quick.open(b"GET /large HTTP/1.1\r\nConnection: close\r\n\r\n") as peer:
        while part := peer.recv(200_000):
            size += len(part)
            time.sleep(0.01)
    assert size > 20_000_000


def test_connections_leave_nothing_behind(quick: Running) -> None:
    until(lambda: quick.open_ones() == 0)
    until(lambda: not quick.server.server_state.tasks)


# --- where it is put --------------------------------------------------------------------------


def test_uvicorn_takes_the_registered_protocol_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])
    register(7)
    config = uvicorn.Config(Application(), log_config=None)
    config.load()
    assert issubclass(config.http_protocol_class, connections.Guarded)
    assert config.http_protocol_class.limits.connections == 7


@pytest.mark.parametrize(
    ("soft", "hard", "then"), [(100, 10_000, 1512), (100, 1000, 1000), (2000, 5000, None), (100, -1, 1512)]
)
def test_as_many_files_are_allowed_as_connections_need(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, then: int | None
) -> None:
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    set_: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, found: set_.append(found))
    register(1000)
    assert set_ == ([] if then is None else [(then, hard)])


def test_every_connection_is_counted_for_those_who_take_turns() -> None:
    before = Guarded.accepted
    with running(QUICK) as found:
        for count in (1, 2, 3):
            found.open(GET).close()
            end = time.monotonic() + 5
            while Guarded.accepted < before + count and time.monotonic() < end:
                time.sleep(0.005)
            assert Guarded.accepted == before + count

"""The front: what is not in its table does not exist, and what goes wrong is answered in one shape."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from features.errors import InvalidInput, PQLError
from serving.web import front as front_module
from serving.web.front import Call, Entry, Front, House
from serving.web.keys import Caller
from serving.web.refusals import JSON, Refused

JSON_ONLY = frozenset({JSON})
MOST = 1000


async def echo(call: Call) -> Response:
    return JSONResponse({"body": json.loads(await call.body()), "query": dict(call.query), "type": call.content_type})


async def count(call: Call) -> Response:
    return JSONResponse({"bytes": sum([len(part) async for part in call.chunks()])})


async def get(call: Call) -> Response:
    return JSONResponse({"caller": call.caller.name if call.caller else None})


async def fail(call: Call) -> Response:
    raise ZeroDivisionError("the secret of the inside")


async def refuse(call: Call) -> Response:
    raise InvalidInput("x must be y.", "x", "Write y.")


ENTRIES = [
    Entry("POST", "/echo", echo, "score", JSON_ONLY, MOST, MOST, 0.3, frozenset({"a", "b"})),
    Entry("POST", "/upload", count, "batch", frozenset({"text/csv"}), MOST, 2 * MOST, 0.3),
    Entry("GET", "/model", get, "model"),
    Entry("GET", "/open", get),
    Entry("GET", "/fail", fail),
    Entry("GET", "/refuse", refuse),
]


@dataclass
class Seen:
    """What the house was told of."""

    requests: list[tuple[str, int, str | None, str | None]] = field(default_factory=list)
    unexpected: list[tuple[str, str]] = field(default_factory=list)

    def observe(self, route: str, status: int, seconds: float, code: str | None, caller: str | None) -> None:
        assert 0 <= seconds < 60
        self.requests.append((route, status, code, caller))

    def fail(self, route: str, error: BaseException) -> None:
        self.unexpected.append((route, type(error).__name__))


class Keys:
    def caller(self, authorization: bytes | None) -> Caller | None:
        known = {b"Bearer s": "score", b"Bearer m": "model"}
        scope = known.get(authorization or b"")
        return Caller(f"key of {scope}", frozenset({scope})) if scope else None


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for BentoML's application, which must get nothing but start and stop."""
    assert scope["type"] == "lifespan"
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def made(keys: Keys | None = None) -> tuple[Front, Seen]:
    seen = Seen()
    return Front(inner, lambda: House(ENTRIES, keys, seen.observe, seen.fail)), seen


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def client(seen: Seen) -> Iterator[TestClient]:
    with TestClient(Front(inner, lambda: House(ENTRIES, None, seen.observe, seen.fail))) as client:
        yield client


def post(client: TestClient, body: bytes, path: str = "/echo", **headers: str) -> Any:
    told = {"content-type": JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.post(path, content=body, headers=told)


def assert_refused(answer: Any, status: int, code: str) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == JSON
    body = answer.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "field", "hint"}
    assert body["error"]["code"] == code
    error: dict[str, str] = body["error"]
    return error


def test_a_request_of_the_table_is_answered_by_its_handler(client: TestClient, seen: Seen) -> None:
    answer = client.post("/echo?a=1&b=", content=b'{"x": 1}', headers={"content-type": JSON})
    assert answer.json() == {"body": {"x": 1}, "query": {"a": "1", "b": ""}, "type": JSON}
    assert seen.requests == [("/echo", 200, None, None)]


def test_before_the_start_is_over_requests_are_sent_away_for_a_moment() -> None:
    front, _ = made()
    answer = TestClient(front).get("/open")
    assert_refused(answer, 503, "not_ready")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/schema.json", "/static_content/x", "/healthz", "/echo/", "//echo", "/%00"]
)
def test_what_is_not_in_the_table_is_404(client: TestClient, path: str, seen: Seen) -> None:
    assert_refused(client.get(f"http://testserver{path}"), 404, "not_found")
    assert seen.requests == [("other", 404, "not_found", None)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_405_and_told_which_are_right(client: TestClient, method: str) -> None:
    answer = client.request(method, "/echo")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_what_can_be_got_can_be_asked_with_head(client: TestClient) -> None:
    assert client.head("/open").status_code == 200
    assert client.post("/open").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON", "application/json; charset=utf-8"])
def test_a_type_is_known_however_it_is_spelled(client: TestClient, kind: str) -> None:
    assert post(client, b"{}", content_type=kind).status_code == 200


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "text/csv", "application/jsonp", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/vnd.bentoml+pickle"],
)  # fmt: skip
def test_any_other_type_is_415(client: TestClient, kind: str) -> None:
    assert JSON in assert_refused(post(client, b"{}", content_type=kind), 415, "unsupported_media_type")["message"]


def test_no_type_at_all_is_415(client: TestClient) -> None:
    assert_refused(client.post("/echo", content=b"{}"), 415, "unsupported_media_type")


# --- sizes and codings ------------------------------------------------------------------------


def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not(client: TestClient) -> None:
    assert post(client, b"{}".ljust(MOST)).status_code == 200
    answer = post(client, b"{}".ljust(MOST + 1))
    assert_refused(answer, 413, "too_large")
    assert answer.headers["connection"] == "close"


def test_a_size_that_is_not_declared_is_counted(client: TestClient) -> None:
    answer = client.post("/echo", content=iter([b" " * 600, b" " * 600]), headers={"content-type": JSON})
    assert_refused(answer, 413, "too_large")


def test_a_packed_body_is_unpacked_within_its_size(client: TestClient) -> None:
    assert post(client, gzip.compress(b'{"x": 1}'), content_encoding="gzip").json()["body"] == {"x": 1}
    assert_refused(post(client, gzip.compress(bytes(MOST + 1)), content_encoding="gzip"), 413, "too_large")
    assert_refused(post(client, b"{}", content_encoding="gzip"), 400, "invalid_gzip")
    assert_refused(post(client, b"{}", content_encoding="br"), 415, "unsupported_encoding")
    assert_refused(post(client, b"{}", content_encoding="gzip, gzip"), 415, "unsupported_encoding")
    assert post(client, b"{}", content_encoding="identity").status_code == 200


def test_an_upload_is_taken_in_parts_within_its_sizes(client: TestClient) -> None:
    kind = {"content_type": "text/csv"}
    assert post(client, b"x" * MOST, "/upload", **kind).json() == {"bytes": MOST}
    packed = gzip.compress(bytes(2 * MOST))
    assert post(client, packed, "/upload", content_encoding="gzip", **kind).json() == {"bytes": 2 * MOST}
    packed = gzip.compress(bytes(2 * MOST + 1))
    assert_refused(post(client, packed, "/upload", content_encoding="gzip", **kind), 413, "too_large")


def test_many_large_bodies_at_once_are_sent_away(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "MOST_HELD", 500)
    assert post(client, b"{}".ljust(500)).status_code == 200
    answer = post(client, b"{}".ljust(501))
    assert_refused(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert client.app.held == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("query", ["c=1", "a=1&a=2", "a", "a=1&&", "a=%ff", "=1", "a=1;b=2&", "a=" + "x" * 3000])
def test_a_query_that_is_none_is_400(client: TestClient, query: str) -> None:
    answer = client.post(f"http://testserver/echo?{query}", content=b"{}", headers={"content-type": JSON})
    assert_refused(answer, 400, "invalid_input")


# --- keys -------------------------------------------------------------------------------------

WALK = [
    ("POST", "/echo", {None: 401, "Bearer x": 401, "Bearer m": 403, "Bearer s": 200}),
    ("POST", "/upload", {None: 401, "Bearer x": 401, "Bearer m": 403, "Bearer s": 403}),
    ("GET", "/model", {None: 401, "Bearer x": 401, "Bearer m": 200, "Bearer s": 403}),
    ("GET", "/open", {None: 200, "Bearer x": 200, "Bearer m": 200, "Bearer s": 200}),
]


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [(method, path, key, status) for method, path, expected in WALK for key, status in expected.items()],
)
def test_a_key_lets_in_where_it_is_good_for(method: str, path: str, key: str | None, status: int) -> None:
    front, seen = made(Keys())
    with TestClient(front) as client:
        headers = {"content-type": "text/csv" if path == "/upload" else JSON} | ({"authorization": key} if key else {})
        body = b"{}" if method == "POST" else None
        answer = client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert_refused(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    if status == 200 and path != "/open":
        assert seen.requests[0][3] is not None


def test_without_a_good_key_no_body_is_read() -> None:
    front, _ = made(Keys())
    front.open(House(ENTRIES, Keys(), Seen().observe, Seen().fail))
    assert asked(front, "/echo", [(b"content-type", JSON.encode())], reads=0) == 401


# --- what goes wrong --------------------------------------------------------------------------


def test_an_error_of_ours_tells_nothing_of_the_inside(client: TestClient, seen: Seen) -> None:
    answer = client.get("/fail")
    assert_refused(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "Zero" not in answer.text
    assert seen.unexpected == [("/fail", "ZeroDivisionError")]
    assert seen.requests == [("/fail", 500, "internal", None)]


def test_an_error_of_the_caller_is_told_with_its_place_and_what_to_do(client: TestClient, seen: Seen) -> None:
    assert assert_refused(client.get("/refuse"), 400, "invalid_input") == {
        "code": "invalid_input", "message": "x must be y.", "field": "x", "hint": "Write y.",
    }  # fmt: skip
    assert seen.requests == [("/refuse", 400, "invalid_input", None)]


def asked(front: Front, path: str, headers: list[tuple[bytes, bytes]], reads: int, pause: float = 0.0) -> int:
    """Return the status of a request whose body never ends and may be asked for only so often."""
    sent: list[dict[str, Any]] = []
    left = reads

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        assert left >= 0, "it goes on reading"
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": b" " * 400, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    asyncio.run(front(scope, receive, send))
    status: int = sent[0]["status"]
    return status


def test_a_body_without_end_is_refused_as_soon_as_it_is_too_large() -> None:
    front, seen = made()
    front.open(House(ENTRIES, None, seen.observe, seen.fail))
    headers = [(b"content-type", JSON.encode()), (b"transfer-encoding", b"chunked")]
    assert asked(front, "/echo", headers, reads=3) == 413


def test_a_slow_body_is_408(client: TestClient) -> None:
    front, seen = made()
    front.open(House(ENTRIES, None, seen.observe, seen.fail))
    headers = [(b"content-type", JSON.encode()), (b"content-length", b"900")]
    assert asked(front, "/echo", headers, reads=10, pause=0.2) == 408
    assert seen.requests == [("/echo", 408, "too_slow", None)]


def test_a_client_that_has_gone_gets_nothing_and_counts_for_nothing() -> None:
    front, seen = made()
    front.open(House(ENTRIES, None, seen.observe, seen.fail))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", JSON.encode())]
    scope = {"type": "http", "method": "POST", "path": "/echo", "query_string": b"", "headers": headers}
    asyncio.run(front(scope, receive, send))
    assert sent == seen.requests == []


def test_websockets_are_closed() -> None:
    front, _ = made()
    with TestClient(front) as client, pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/echo"):
        pass
    assert closed.value.code == 1008


@settings(max_examples=80)
@given(
    st.text(st.characters(codec="ascii"), max_size=12),
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]),
    st.binary(max_size=30),
    st.dictionaries(st.sampled_from(["content-type", "content-encoding", "authorization", "expect"]), st.sampled_from(
        [JSON, "gzip", "text/csv", "Bearer s", "x" * 50, "100-continue", ""])),
)  # fmt: skip
def test_no_request_whatever_is_an_error_of_ours(path: str, method: str, body: bytes, headers: dict[str, str]) -> None:
    front, seen = made(Keys())
    with TestClient(front) as client:
        address = "http://testserver/" + "".join(f"%{ord(letter):02x}" for letter in path)
        for url in (address, "http://testserver/echo", "http://testserver/upload"):
            answer = client.request(method, url, content=body, headers=headers)
            assert answer.status_code < 500
            if answer.status_code >= 400 and method != "HEAD":
                assert set(answer.json()) == {"error"}
    assert seen.unexpected == []


def test_errors_are_answered_with_the_status_they_say() -> None:
    assert Refused(409, "conflict", "no").status == 409
    assert issubclass(InvalidInput, PQLError)

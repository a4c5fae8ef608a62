"""Whatever is sent to the real server: it is refused in few words and little work, and others are answered meanwhile."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import select
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from serving.models.served import Holder, Served
from serving.scoring.scorer import Scorer
from serving.web.connections import Limits, guarded
from serving.web.desk import Desk
from serving.web.front import Front, House
from serving.web.handlers import Handlers
from serving.web.keys import SCOPES, new_key
from serving.web.metrics import Metrics
from tests.serving.server import JSON, LEAD, ROOT, Server, free_port, running

MEGABYTE = 1024 * 1024
MOST_CONNECTIONS = 40
MOST_CPU = 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Door:
    """The server, the keys to it, and what one request costs it."""

    server: Server
    keys: dict[str, str] = field(repr=False)

    def bearer(self, scope: str = "score") -> str:
        return f"Bearer {self.keys[scope]}"

    def head(self, first: str, *lines: str) -> bytes:
        told = [first, "Host: a", f"Authorization: {self.bearer()}", *lines, "", ""]
        return "\r\n".join(told).encode("latin-1")

    def worker(self) -> int:
        """Return the process that answers: the one that holds a model."""
        return max(self.server.family(), key=resident)

    def cpu(self) -> float:
        return sum(map(cpu_of, self.server.family()))


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def cpu_of(pid: int) -> float:
    """Return the seconds that a process has worked, in itself and for it in the kernel."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / TICKS


def bentoml_serve(port: int) -> list[str]:
    place = ["--working-dir", str(ROOT), "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "bentoml", "serve", "serving.service:PQLService", *place]


@pytest.fixture(scope="module")
def door(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    scratch, port = tmp_path_factory.mktemp("hostile"), free_port()
    made = {scope: new_key(scope, [scope]) for scope in SCOPES}
    (scratch / "keys").write_text("\n".join(line for _, line in made.values()))
    told = {
        "PQL_MODEL": model_folder, "PQL_KEYS": scratch / "keys", "PQL_JOBS": scratch / "jobs",
        "PQL_MOST_CONNECTIONS": MOST_CONNECTIONS,
        # What is larger goes back to the system at once, and not into the allocator's keeping.
        "MALLOC_MMAP_THRESHOLD_": MEGABYTE,
    }  # fmt: skip
    with running(bentoml_serve(port), port, scratch, {name: str(value) for name, value in told.items()}) as server:
        yield Door(server, {scope: key for scope, (key, _) in made.items()})


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))

    @property
    def code(self) -> str:
        """What the one shape of errors says; fails on any other shape."""
        told = self.json()
        assert set(told) == {"error"}, told
        assert set(told["error"]) <= {"code", "message", "field", "hint"}
        assert all(isinstance(one, str) and one for one in told["error"].values())
        assert self.headers["content-type"] == JSON
        for inside in (b"Traceback", b"/serving/", b'.py"', b"site-packages", b"uvicorn", b"bentoml"):
            assert inside not in self.body
        code: str = told["error"]["code"]
        return code


def exchange(port: int, parts: Iterable[bytes], seconds: float = 20.0) -> Answer | None:
    """Send until there is an answer, and return it; None where the connection ends without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as peer:
        with suppress(ConnectionError):
            for part in parts:
                if select.select([peer], [], [], 0)[0]:
                    break
                peer.sendall(part)
        return answer_on(peer)


def answer_on(peer: socket.socket, method: str = "POST") -> Answer | None:
    answer = http.client.HTTPResponse(peer, method=method)
    try:
        answer.begin()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    except (http.client.HTTPException, ConnectionError):
        return None
    finally:
        answer.close()


def ask(
    door: Door, path: str, body: bytes = b"", kind: str | None = JSON, coding: str | None = None, method: str = "POST"
) -> Answer:
    """Send one whole request by somebody who may score."""
    lines = [f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {kind}"] if kind is not None else []
    lines += [f"Content-Encoding: {coding}"] if coding is not None else []
    answer = exchange(door.server.port, [door.head(f"{method} {path} HTTP/1.1", *lines) + body])
    assert answer is not None
    return answer


# --- bombs ------------------------------------------------------------------------------------


def zeros(megabytes: int) -> bytes:
    """Return gzip of so many megabytes of nothing, a thousandth of that."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([packer.compress(bytes(MEGABYTE)) for _ in range(megabytes)]) + packer.flush()


ZEROS = zeros(60)


def posted(*lines: str) -> Callable[[Door], bytes]:
    return lambda door: door.head("POST /score HTTP/1.1", f"Content-Type: {JSON}", *lines)


def whole(body: bytes, *lines: str) -> Callable[[Door], Iterator[bytes]]:
    return lambda door: iter([posted(f"Content-Length: {len(body)}", *lines)(door), body])


def in_chunks(piece: bytes, count: int | None) -> Callable[[Door], Iterator[bytes]]:
    def parts(door: Door) -> Iterator[bytes]:
        yield posted("Transfer-Encoding: chunked")(door)
        yield from repeat(b"%x\r\n%s\r\n" % (len(piece), piece), *([] if count is None else [count]))
        yield b"0\r\n\r\n"

    return parts


def declared(door: Door) -> Iterator[bytes]:
    yield posted(f"Content-Length: {300 * MEGABYTE}")(door)
    yield from repeat(b"x" * MEGABYTE, 300)


def expecting(door: Door) -> Iterator[bytes]:
    yield posted(f"Content-Length: {300 * MEGABYTE}", "Expect: 100-continue")(door)
    time.sleep(0.3)


KEYS = b",".join(b'"%x":0' % i for i in range(700_000))
Bomb = tuple[Callable[[Door], Iterator[bytes]], int, str]
BOMBS: dict[str, Bomb] = {
    "gzip bomb": (whole(ZEROS, "Content-Encoding: gzip"), 413, "too_large"),
    "gzip bomb of JSON": (whole(gzip.compress(b'{"leads": [' + b" " * 60 * MEGABYTE), "Content-Encoding: gzip"), 413, "too_large"),
    "300 MB declared": (declared, 413, "too_large"),
    "300 MB declared, and asked first": (expecting, 413, "too_large"),
    "300 MB in chunks": (in_chunks(b"x" * MEGABYTE, 300), 413, "too_large"),
    "without end": (in_chunks(b" " * MEGABYTE, None), 413, "too_large"),
    "without end in small chunks": (in_chunks(b" " * 4000, None), 413, "too_large"),
    "deep lists": (whole(b"[" * 8_000_000), 400, "invalid_input"),
    "deep objects": (whole(b'{"a":' * 1_600_000), 400, "invalid_input"),
    "deep lists in a field that is not read": (whole(b'{"x":' + b"[" * 4_000_000), 400, "invalid_input"),
    "deep properties": (whole(b'{"leads":[{"user_id":"u","events":[{"properties":' + b'{"a":' * 1_000_000), 400, "invalid_input"),
    "many lists": (whole(b"[" + b"[]," * 2_700_000 + b"[]]"), 400, "invalid_input"),
    "many objects": (whole(b"[" + b"{}," * 2_700_000 + b"{}]"), 400, "invalid_input"),
    "many leads": (whole(b'{"leads":[' + b"{}," * 2_700_000 + b"{}]}"), 400, "invalid_input"),
    "many lists in a field that is not read": (whole(b'{"leads":[],"x":[' + b"[]," * 2_700_000 + b"[]]}"), 400, "invalid_input"),
    "many keys in a lead": (whole(b'{"leads":[{"user_id":"u","traits":{' + KEYS + b"}}]}"), 400, "invalid_input"),
    "many keys": (whole(b"{" + KEYS + b"}"), 400, "invalid_input"),
    "a number of many digits": (whole(b'{"leads":[],"as_of":' + b"9" * 8_000_000 + b"}"), 400, "invalid_input"),
    "a text without end": (whole(b'{"leads":[{"user_id":"' + b"\\u0061" * 1_300_000), 400, "invalid_input"),
    "blanks": (whole(b" " * 8_000_000), 400, "invalid_input"),
}  # fmt: skip


def all_wrong(answer: Answer) -> bool:
    """Whether a request was answered, and every lead of it is an error: what is wrong lies within the leads."""
    if answer.status != 200:
        return False
    return all(lead["error"]["code"] == "invalid_input" for lead in answer.json()["results"])


# Seconds for what is counted, or told by its id, only after it was read: more than the bar, and still bounded.
SLOWEST = {"many leads": 2.0, "many keys in a lead": 0.5}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_little_work(door: Door, name: str) -> None:
    parts, status, code = BOMBS[name]
    before = door.cpu()
    answer = exchange(door.server.port, parts(door))
    assert answer is not None
    assert (status == 400 and all_wrong(answer)) or (answer.status, answer.code) == (status, code)
    assert door.cpu() - before < SLOWEST.get(name, MOST_CPU)


@dataclass
class Healthy:
    """A client that asks for the score of one lead again and again, over one connection."""

    door: Door
    ended: threading.Event = field(default_factory=threading.Event)
    statuses: list[int] = field(default_factory=list)
    answers: set[bytes] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.door.server.port, timeout=30)
        headers = {"content-type": JSON, "authorization": self.door.bearer()}
        while not self.ended.wait(0.02):
            begun = time.monotonic()
            connection.request("POST", "/score", LEAD.read_bytes(), headers)
            answer = connection.getresponse()
            self.answers.add(answer.read())
            self.statuses.append(answer.status)
            self.seconds.append(time.monotonic() - begun)
        connection.close()


@contextmanager
def healthy(door: Door) -> Iterator[Healthy]:
    client = Healthy(door)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        yield client
    finally:
        client.ended.set()
        thread.join()


def test_bombs_leave_no_memory_behind_and_healthy_clients_alone(door: Door) -> None:
    worker = door.worker()
    before = resident(worker)
    with healthy(door) as client:
        for parts, _, _ in BOMBS.values():
            exchange(door.server.port, parts(door))
    assert resident(worker) - before < 10 * MEGABYTE
    assert len(client.statuses) > 20
    assert set(client.statuses) == {200}
    assert len(client.answers) == 1
    # Each took its turn beside a bomb; a shared machine is slow, not blocked.
    assert sorted(client.seconds)[len(client.seconds) * 9 // 10] < 0.5


def test_bombs_at_the_same_time_are_refused_too(door: Door) -> None:
    found: list[int] = []

    def throw(parts: Callable[[Door], Iterator[bytes]]) -> None:
        answer = exchange(door.server.port, parts(door))
        found.append(0 if answer is None else answer.status)

    threads = [threading.Thread(target=throw, args=(BOMBS[name][0],)) for name in [*BOMBS][:4] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) <= {413, 503}
    assert 413 in found


# --- JSON that is not -------------------------------------------------------------------------

LEAD_TEXT = '{"user_id":"u","started_at":"2026-01-01T00:00:00Z","traits":{"company_size":%s}}'


def with_value(text: str) -> bytes:
    return f'{{"leads":[{LEAD_TEXT % text}]}}'.encode()


ODD: dict[str, bytes] = {
    "nothing": b"",
    "NaN": with_value("NaN"),
    "Infinity": with_value("Infinity"),
    "-Infinity": with_value("-Infinity"),
    "a key twice": b'{"leads":[],"leads":[]}',
    "a key twice inside": with_value('1,"company_size":2'),
    "a key twice in other letters": b'{"leads":[],"l\\u0065ads":[]}',
    "a comma at the end": b'{"leads":[],}',
    "a comment": b'{"leads":[]} // x',
    "two texts": b'{"leads":[]}{"leads":[]}',
    "single quotes": b"{'leads':[]}",
    "hexadecimal": with_value("0x10"),
    "a leading zero": with_value("010"),
    "a byte that is no UTF-8": with_value('"@"').replace(b"@", b"\xff"),
    "an overlong slash": with_value('"@"').replace(b"@", b"\xc0\xaf"),
    "a surrogate in bytes": with_value('"@"').replace(b"@", b"\xed\xa0\x80"),
    "half a pair": with_value('"\\ud800"'),
    "the other half": with_value('"\\udc00x"'),
    "a pair turned round": with_value('"\\udc00\\ud800"'),
    "a byte order mark": b"\xef\xbb\xbf" + with_value("1"),
    "UTF-16": with_value("1").decode().encode("utf-16"),
    "UTF-32": with_value("1").decode().encode("utf-32-le"),
    "NUL behind": with_value("1") + b"\0",
    "NUL inside": with_value('"\0"'),
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "an unknown field": b'{"leads":[],"lead":[]}',
    "gzip without saying so": gzip.compress(with_value("1")),
    "a pickle": b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
}  # fmt: skip


@pytest.mark.parametrize("route", ["/score", "/score_features"])
@pytest.mark.parametrize("name", ODD)
def test_what_is_not_strict_json_of_the_right_shape_is_a_bad_request(door: Door, route: str, name: str) -> None:
    answer = ask(door, route, ODD[name])
    assert all_wrong(answer) or (answer.status, answer.code) == (400, "invalid_input")


NUMBERS = ["1e999", "-1e999", "1e308", "9" * 400, "1e-999", "-0.0", '"NaN"', '"Infinity"', "true", "[]", "{}"]


@pytest.mark.parametrize("text", NUMBERS)
def test_no_number_makes_an_answer_that_is_none(door: Door, text: str) -> None:
    answer = ask(door, "/score", with_value(text))
    assert answer.status == 200
    (lead,) = answer.json()["results"]
    assert lead["error"]["code"] == "invalid_input" if "error" in lead else 0 < lead["probability"] < 1


@pytest.mark.parametrize("text", ["1e999", '"NaN"', '"Infinity"', "[]", "{}"])
def test_what_is_no_number_is_an_error_of_its_lead(door: Door, text: str) -> None:
    (lead,) = ask(door, "/score", with_value(text)).json()["results"]
    assert lead["error"]["code"] == "invalid_input"


def test_a_lead_that_is_none_is_an_error_beside_the_others(door: Door) -> None:
    answer = ask(door, "/score", b'{"leads":[1,null,[],"u",' + (LEAD_TEXT % "1").encode() + b"]}")
    assert ["error" in lead for lead in answer.json()["results"]] == [True, True, True, True, False]


# --- gzip that is not, and other encodings ----------------------------------------------------

GOOD = LEAD.read_bytes()
CODINGS: dict[str, tuple[bytes, str, int, str | None]] = {
    "gzip": (gzip.compress(GOOD), "gzip", 200, None),
    "its old name": (gzip.compress(GOOD), "X-GZip", 200, None),
    "none": (GOOD, "identity", 200, None),
    "twice": (gzip.compress(gzip.compress(GOOD)), "gzip", 400, "invalid_input"),
    "twice and told": (gzip.compress(gzip.compress(GOOD)), "gzip, gzip", 415, "unsupported_encoding"),
    "cut off": (gzip.compress(GOOD)[:-10], "gzip", 400, "invalid_gzip"),
    "only a head": (gzip.compress(GOOD)[:10], "gzip", 400, "invalid_gzip"),
    "nothing": (b"", "gzip", 400, "invalid_gzip"),
    "a second member": (gzip.compress(GOOD) * 2, "gzip", 400, "invalid_gzip"),
    "an empty second member": (gzip.compress(GOOD) + gzip.compress(b""), "gzip", 400, "invalid_gzip"),
    "something behind": (gzip.compress(GOOD) + b"x", "gzip", 400, "invalid_gzip"),
    "a wrong check": (gzip.compress(GOOD)[:-8] + bytes(8), "gzip", 400, "invalid_gzip"),
    "no gzip": (GOOD, "gzip", 400, "invalid_gzip"),
    "zlib": (zlib.compress(GOOD), "gzip", 400, "invalid_gzip"),
    "deflate": (zlib.compress(GOOD), "deflate", 415, "unsupported_encoding"),
    "brotli": (b"\x0b\x02\x80", "br", 415, "unsupported_encoding"),
    "zstd": (b"\x28\xb5\x2f\xfd", "zstd", 415, "unsupported_encoding"),
}


@pytest.mark.parametrize("name", CODINGS)
def test_gzip_once_and_whole_is_unpacked_and_nothing_else(door: Door, name: str) -> None:
    body, coding, status, code = CODINGS[name]
    answer = ask(door, "/score", body, coding=coding)
    assert answer.status == status
    assert code is None or answer.code == code


@pytest.mark.parametrize(
    "kind",
    [
        None, "", "text/plain", "text/json", "application/jsonp", "application/json-patch+json", "application/x-ndjson",
        "application/x-www-form-urlencoded", "multipart/form-data; boundary=" + "b" * 5000, "multipart/form-data",
        "application/vnd.bentoml+pickle", "application/octet-stream", "application/jsonx", "json", "*/*",
        "text/plain; application/json", "application/json, text/plain",
    ],
)  # fmt: skip
def test_a_body_of_another_type_is_not_looked_at(door: Door, kind: str | None) -> None:
    for route in ("/score", "/score_features"):
        answer = ask(door, route, GOOD, kind)
        assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;x"])
def test_json_may_be_told_in_other_letters_and_with_parameters(door: Door, kind: str) -> None:
    assert ask(door, "/score", GOOD, kind).status == 200


@pytest.mark.parametrize("name", ["Payload-Container", "Args-Container", "Kwargs-Container", "Buffer-Lengths"])
def test_the_headers_by_which_runners_unpickle_do_nothing(door: Door, name: str) -> None:
    lines = [f"{name}: PickableBatchContainer", f"Content-Length: {len(GOOD)}", f"Content-Type: {JSON}"]
    answer = exchange(door.server.port, [door.head("POST /score HTTP/1.1", *lines) + GOOD])
    assert answer is not None
    assert answer.status == 200


# --- every route ------------------------------------------------------------------------------

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
# What BentoML answers by itself, and what others often do.
STRANGE = (
    "/", "/healthz", "/schema.json", "/docs", "/redoc", "/openapi.json", "/static_content/index.css", "/static_content/..%2f",
    "/predict", "/is_ready", "/__monitor", "/score_batch/submit", "/score_batch/cancel", "/score_batch/retry", "/favicon.ico",
    "/robots.txt", "/.env", "/admin", "/v2/health/live", "/score/", "/SCORE", "/score.json", "/score%2f", "/score%00",
    "//score", "/./score", "/x/../score", "/%2e/score", "/score;x=1", "/score%20", "/score%23", "/%2fscore", "/score%3fa=b",
    "/%ff%fe", "/" + "x" * 8000, "/" + "../" * 1000 + "etc/passwd", "/model/..", "/livez/", "*",
)  # fmt: skip


@pytest.fixture(scope="module")
def table(door: Door) -> dict[str, set[str]]:
    """Return the methods of every path that the service says it has."""
    told = json.loads(door.server.ask("/docs.json").body)["paths"]
    return {path: {method.upper() for method in methods} for path, methods in told.items()}


def test_the_document_names_every_route(table: dict[str, set[str]]) -> None:
    routes = {entry.path: {entry.method} for entry in Handlers(None, bytes).entries()}  # type: ignore[arg-type]
    assert routes.items() <= table.items()
    assert {"/score", "/score_features", "/model", "/metrics", "/docs.json", "/livez", "/readyz"} <= set(table)


def walked(door: Door, path: str, method: str, scope: str = "score") -> Answer | None:
    lines = [f"{method} {path} HTTP/1.1", "Host: a", f"Authorization: {door.bearer(scope)}", "Connection: close"]
    with socket.create_connection(("127.0.0.1", door.server.port), timeout=20) as peer:
        peer.sendall("\r\n".join([*lines, "", ""]).encode())
        return answer_on(peer, method)


def test_nothing_but_the_table_answers(door: Door, table: dict[str, set[str]]) -> None:
    for method in METHODS:
        for path in [*table, *STRANGE]:
            answer = walked(door, path, method)
            assert answer is not None, (method, path)
            if path not in table:
                assert answer.status in (404, 400), (method, path)
            elif method not in table[path] and not (method == "HEAD" and "GET" in table[path]):
                assert answer.status == 405, (method, path)
                assert set(answer.headers["allow"].split(", ")) >= table[path]
            if method == "HEAD":
                assert answer.body == b""
            elif path not in table or method not in table[path]:
                assert answer.code in ("not_found", "method_not_allowed", "malformed_request"), (method, path)


def test_a_path_written_otherwise_is_guarded_like_the_route_that_it_is(door: Door) -> None:
    answer = exchange(door.server.port, [b"POST /%73core HTTP/1.1\r\nContent-Length: 0\r\n\r\n"])
    assert answer is not None
    assert answer.status == 401


def test_every_route_asks_for_its_key(door: Door, table: dict[str, set[str]]) -> None:
    needed = {entry.path: entry.scope for entry in Handlers(None, bytes).entries()}  # type: ignore[arg-type]
    needed |= {path: "batch" for path in table if path.startswith("/score_batch")}
    assert set(needed) == set(table)
    assert {path for path, scope in needed.items() if scope is None} == {"/docs.json", "/livez", "/readyz"}
    for path, methods in table.items():
        for method in methods:
            scope = needed[path]
            good = {"right": door.bearer(scope)} if scope else {"none": None, "wrong": "Bearer x"}
            bad = {"wrong scope": door.bearer(next(one for one in SCOPES if one != scope))} if scope else {}
            none = {"none": None, "wrong": f"{door.bearer()[:-1]}-", "not a key": "Basic YTpi"} if scope else {}
            for told, statuses in ((good, None), (bad, (403,)), (none, (401,))):
                for state, authorization in told.items():
                    status = with_key(door, method, path, authorization)
                    assert status not in (401, 403) if statuses is None else status in statuses, (path, method, state)


def with_key(door: Door, method: str, path: str, authorization: str | None) -> int:
    lines = [f"{method} {path} HTTP/1.1", *([f"Authorization: {authorization}"] if authorization else [])]
    answer = exchange(door.server.port, ["\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()])
    assert answer is not None
    assert answer.status < 400 or answer.code
    return answer.status


def test_who_has_no_key_is_told_so_before_the_body_is_read(door: Door) -> None:
    head = f"POST /score HTTP/1.1\r\nContent-Type: {JSON}\r\nContent-Length: 5000000\r\n\r\n".encode()
    answer = exchange(door.server.port, [head])
    assert answer is not None
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "query", ["x=1", "=", "&&", "a", "%zz=1", "as_of=1&as_of=2", "x" * 9000, "%00=%00", "a=%ff", "[]=1"]
)
def test_a_query_that_a_route_does_not_know_is_refused(door: Door, query: str) -> None:
    for method, path in (("GET", "/model"), ("POST", "/score"), ("GET", "/livez")):
        answer = ask(door, f"{path}?{query}", GOOD if method == "POST" else b"", method=method)
        assert answer.status in (400, 401, 403), answer
        assert answer.code


def test_headers_that_are_too_many_or_too_large_are_refused(door: Door) -> None:
    for lines in ([f"a{n}: b" for n in range(200)], ["a: " + "b" * 40_000]):
        answer = exchange(door.server.port, [door.head("GET /livez HTTP/1.1", *lines)])
        assert answer is not None
        assert (answer.status, answer.code) == (431, "headers_too_large")


def test_one_connection_too_many_is_refused_and_then_there_is_room_again(door: Door) -> None:
    with ExitStack() as idle:
        for _ in range(MOST_CONNECTIONS + 5):
            idle.enter_context(socket.create_connection(("127.0.0.1", door.server.port)))
        answer = exchange(door.server.port, [b"GET /livez HTTP/1.1\r\n\r\n"])
        assert answer is not None
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "too_many_connections", "1")
    deadline = time.monotonic() + 5
    while (answer := exchange(door.server.port, [b"GET /livez HTTP/1.1\r\n\r\n"])) is None or answer.status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_after_all_this_the_server_is_the_same_and_has_nothing_to_report(door: Door) -> None:
    assert ask(door, "/score", GOOD).status == 200
    log = door.server.log.read_text()
    assert "Traceback" not in log
    assert '"unexpected"' not in log
    counted = door.server.ask("/metrics", authorization=door.bearer("metrics")).body.decode()
    assert not [line for line in counted.splitlines() if 'status="500"' in line and not line.endswith(" 0.0")]
    assert 'status="413"' in counted


# --- who is slow ------------------------------------------------------------------------------


async def nobody(*_: Any) -> None:
    pytest.fail("a request got past the front")


@pytest.fixture(scope="module")
def impatient(scorer: Scorer) -> Iterator[int]:
    """The port of the same routes in this process, which wait for nobody longer than 0.4 s."""
    desk = Desk(Holder(Served(scorer, 0)), Metrics(), lambda: 0)
    entries = [replace(entry, seconds=0.4) for entry in Handlers(desk, lambda: b"{}").entries()]
    front = Front(nobody, lambda: pytest.fail("it is open"))
    front.open(House(entries, None, lambda *_: None, lambda _, error: pytest.fail(repr(error))))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(front, http=guarded(Limits(seconds=0.4)), lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def slowly(head: bytes, part: bytes) -> Iterator[bytes]:
    yield head
    for _ in range(100):
        time.sleep(0.05)
        yield part


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"POST /score HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n", b" "),
        (
            b"POST /score HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
        ),
        (b"POST /score HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (
            b"POST /score HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"a: b\r\n",
        ),
        (b"POST /score HTTP/1.1\r\n", b"a: b\r\n"),
        (b"POST /score HTTP/1.1\r\na: ", b"b"),
        (b"POST /", b"s"),
        (b"\r\n", b"\r\n"),
    ],
    ids=["body", "chunks", "extension", "trailers", "headers", "a header", "a path", "blank lines"],
)
def test_who_is_slow_is_not_waited_for(impatient: int, head: bytes, part: bytes) -> None:
    begun = time.monotonic()
    answer = exchange(impatient, slowly(head, part))
    assert answer is not None
    assert answer.status == 408
    assert answer.code in ("too_slow", "request_timeout")
    assert 0.3 < time.monotonic() - begun < 3


def test_hundred_slow_clients_do_not_slow_others_down(impatient: int) -> None:
    with ExitStack() as opened:
        slow = [opened.enter_context(socket.create_connection(("127.0.0.1", impatient))) for _ in range(100)]
        for peer in slow:
            peer.sendall(b"POST /score HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
        for _ in range(5):
            head = f"POST /score HTTP/1.1\r\nContent-Type: {JSON}\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode()
            answer = exchange(impatient, [head + GOOD])
            assert answer is not None
            assert answer.status == 200
        for peer in slow:
            found = answer_on(peer)
            assert found is not None
            assert found.status == 408

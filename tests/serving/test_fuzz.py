"""A few thousand upset requests to the real server, and whether those who judge the answers would notice what must not be."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import soak_requests
from benchmarks.soak_checks import wrong_leads
from benchmarks.soak_requests import Found, answers, cases, columns_of, fuzzed, judged, schemathesis, upset
from serving.web.keys import SCOPES, new_key
from tests.serving.server import LEAD, ROOT, Server, free_port, running

RAW, GENERATED = 3000, 100


@dataclass(frozen=True)
class Target:
    server: Server
    key: str
    score: bytes
    family: frozenset[int]

    def known(self) -> bytes:
        return self.server.ask("/score", LEAD.read_bytes(), authorization=f"Bearer {self.key}").body


@pytest.fixture(scope="module")
def target(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    scratch, port = tmp_path_factory.mktemp("fuzz"), free_port()
    key, line = new_key("fuzz", SCOPES)
    (scratch / "keys").write_text(line)
    told = {"PQL_MODEL": model_folder, "PQL_KEYS": scratch / "keys", "PQL_JOBS": scratch / "jobs"}
    place = ["--working-dir", str(ROOT), "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:PQLService", *place]
    with running(command, port, scratch, {name: str(value) for name, value in told.items()}) as server:
        body = server.ask("/score", LEAD.read_bytes(), authorization=f"Bearer {key}").body
        yield Target(server, key, body, frozenset(server.family()))


def test_no_upset_request_upsets_the_server(target: Target) -> None:
    port = target.server.port
    found = asyncio.run(fuzzed(port, cases(target.key, columns_of(port, target.key), 7, RAW)))
    assert found.troubles == [], found.told()
    assert found.sent == RAW
    assert {200, 400, 401, 404, 415, 431} <= set(found.statuses)


def test_schemathesis_finds_nothing_by_any_of_its_checks(target: Target, tmp_path: Path) -> None:
    sent, trouble = schemathesis(target.server.port, target.key, GENERATED, 7, tmp_path)
    assert trouble == ""
    assert sent > GENERATED


def test_after_that_the_same_processes_give_the_same_score_and_report_nothing(target: Target) -> None:
    assert target.known() == target.score
    assert target.family <= target.server.family()
    log = target.server.log.read_text()
    assert "Traceback" not in log
    assert '"unexpected"' not in log


# --- who judges -------------------------------------------------------------------------------


def told(status: str, body: bytes, *lines: bytes) -> bytes:
    head = [
        b"HTTP/1.1 " + status.encode(),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        *lines,
    ]
    return b"\r\n".join([*head, b"", body])


def troubles(got: bytes, sent: bytes = b"GET / HTTP/1.1") -> list[str]:
    found = Found()
    judged(sent, got, found)
    return [why for _, why in found.troubles]


@pytest.mark.parametrize(
    "got",
    [
        told("500 Internal Server Error", b'{"error":{}}'),
        told("503 Service Unavailable", b'{"error":{}}'),
        told("200 OK", b'{"p":NaN}'),
        told("200 OK", b'{"p":-Infinity}'),
        told("200 OK", b'{"p":'),
        told("200 OK", b"{}")[:-1],
        told("400 Bad Request", b'{"detail":"x"}'),
        told("200 OK", b"{}") + b"x",
        b"Internal Server Error",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_an_answer_that_must_not_be_is_noticed(got: bytes) -> None:
    assert len(troubles(got)) == 1
    assert len(troubles(told("200 OK", b"{}") + got)) == 1


@pytest.mark.parametrize(
    "got",
    [
        b"",
        told("200 OK", b"{}"),
        told("200 OK", b"{}") + told("400 Bad Request", b'{"error":{}}'),
        told("503 Service Unavailable", b'{"error":{}}', b"retry-after: 1"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + told("200 OK", b"{}"),
    ],
)
def test_an_answer_that_may_be_is_not_complained_of(got: bytes) -> None:
    assert troubles(got) == []


def test_an_answer_to_head_has_no_body() -> None:
    got = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + told("200 OK", b"{}")
    assert troubles(got, b"HEAD / HTTP/1.1") == []
    assert len(troubles(got)) == 1
    assert [body for _, _, body in answers(got, heads=True)] == [b"", b"{}"]


def test_a_server_that_neither_answers_nor_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_requests, "LONGEST", 0.3)

    async def run() -> Found:
        left = asyncio.Event()

        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.5)
            writer.close()
            left.set()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            found = await fuzzed(server.sockets[0].getsockname()[1], iter([b"GET / HTTP/1.1\r\n\r\n"]))
            await left.wait()
            return found

    ((_, why),) = asyncio.run(run()).troubles
    assert why.startswith("neither answered nor ended within 0.3 s")


# --- what is sent -----------------------------------------------------------------------------


def test_the_same_seed_sends_the_same_and_another_does_not() -> None:
    assert list(cases("k", ["a"], 1, 200)) == list(cases("k", ["a"], 1, 200))
    assert list(cases("k", ["a"], 1, 200)) != list(cases("k", ["a"], 2, 200))
    assert all(cases("k", ["a"], 1, 200))


def test_a_changed_value_is_still_json_that_python_writes() -> None:
    rng = Random(3)
    bodies = set()
    for _ in range(200):
        body = json.loads(LEAD.read_bytes())
        upset(rng, body)
        bodies.add(json.dumps(body))
    assert len(bodies) > 100


def test_the_leads_that_break_the_document_are_told_from_those_that_do_not() -> None:
    item = {"type": "object", "properties": {"n": {"type": "integer"}, "t": {"type": "string", "format": "date-time"}}}
    body = {"properties": {"leads": {"type": "array", "items": {"$ref": "#/components/schemas/Lead"}}}}
    post = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}}}
    raw = {"paths": {"/score": {"post": post}}, "components": {"schemas": {"Lead": item, "Body": body}}}

    def wrong(leads: Any) -> list[int]:
        operation = SimpleNamespace(schema=SimpleNamespace(raw_schema=raw))
        return wrong_leads(SimpleNamespace(body=leads, path="/score", operation=operation))

    assert wrong({"leads": [{"n": 1}, {"n": "x"}, 3, {"t": "2026-01-01T00:00:00Z"}, {"t": "1000-00-00"}]}) == [1, 2, 4]
    assert wrong({"leads": 3}) == []
    assert wrong("text") == []

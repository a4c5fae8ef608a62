"""The routes over HTTP, in process: one shape for what comes out, one shape for what is refused, never a 500."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from features.durations import DAY
from features.times import parse_instant
from serving.http import MOST_BYTES, MOST_WAITING, Desk, OneShape, application, clock
from serving.requests import decode, result_body, score
from serving.scoring.decision import Cutoff, Decision, NoCutoff, Segmented, from_facts, to_facts
from serving.scoring.scorer import Scorer

NOW = parse_instant("2026-01-09T09:00:00Z", "now")
JSON = {"content-type": "application/json"}
LEAD: dict[str, Any] = {
    "user_id": "u-1", "started_at": "2026-01-02T08:15:00Z", "traits": {"company_size": 120},
    "events": [
        {"event": "invite_accepted", "timestamp": "2026-01-05T09:05:00Z"},
        {"event": "pricing_viewed", "timestamp": "2026-01-08T09:50:00Z", "properties": {"plan": "business"}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(scorer: Scorer) -> Desk:
    return Desk(scorer, lambda: NOW)


@pytest.fixture(scope="module")
def client(desk: Desk) -> Iterator[TestClient]:
    app = application()
    app.state.desk = desk
    with TestClient(app) as client:
        yield client


def assert_refused(answer: Any, status: int, code: str) -> dict[str, str]:
    """Check that an answer has the one shape of all errors and return what it says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "field", "hint"}
    assert all(isinstance(value, str) and value for value in body["error"].values())
    assert body["error"]["code"] == code
    found: dict[str, str] = body["error"]
    return found


def test_leads_are_scored(client: TestClient, scorer: Scorer) -> None:
    answer = client.post("/score", json={"leads": [LEAD, {**LEAD, "user_id": "u-2"}], "reasons": 2})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"model_version", "cutoff", "results"}
    assert body["model_version"] == scorer.artifact.version
    assert body["cutoff"] == scorer.artifact.decision.probability  # type: ignore[union-attr]
    first, second = body["results"]
    assert (first["lead_id"], second["lead_id"]) == ("u-1", "u-2")
    assert {
        "lead_id", "probability", "is_pql", "percentile", "reasons", "against", "missing", "playbook", "receipt_id"
    } <= set(first)  # fmt: skip
    assert first["is_pql"] is (first["probability"] >= body["cutoff"])
    assert len(first["reasons"]) == 2
    assert len(first["against"]) <= 2
    assert first["as_of"] == "2026-01-09T09:00:00Z"


def test_what_is_answered_is_what_the_scorer_says(client: TestClient, scorer: Scorer) -> None:
    text = json.dumps({"leads": [LEAD]}).encode()
    results = client.post("/score", content=text, headers=JSON).json()["results"]
    expected = [result_body(one) for one in score(scorer, decode(text), NOW)]
    assert results == json.loads(msgspec.json.encode(expected))


def test_a_lead_that_cannot_be_scored_stands_beside_those_that_can(client: TestClient) -> None:
    answer = client.post("/score", json={"leads": [LEAD, {"user_id": "u-2", "started_at": "2026-01-02"}]})
    assert answer.status_code == 200
    good, bad = answer.json()["results"]
    assert 0 < good["probability"] < 1
    assert bad == {
        "index": 1,
        "lead_id": "u-2",
        "error": {
            "code": "naive_timestamp",
            "field": "leads[1].started_at",
            "message": "leads[1].started_at must carry a time zone, got '2026-01-02'.",
            "hint": "Write it like 2026-03-01T09:00:00Z, or set `timezone:` in pql.yaml.",
        },
    }


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON", "application/json; charset=utf-8"])
def test_json_is_taken_however_its_type_is_spelled(client: TestClient, kind: str) -> None:
    answer = client.post("/score", content=json.dumps({"leads": [LEAD]}), headers={"content-type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain", "", None, "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp",
        "application/vnd.bentoml+pickle", "application/xml", "text/json", "application/json+zip",
    ],
)  # fmt: skip
def test_any_other_content_type_is_refused(client: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = client.post("/score", content=json.dumps({"leads": [LEAD]}).encode(), headers=headers)
    assert "application/json" in assert_refused(answer, 415, "unsupported_media_type")["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None), (b"not json", None), (b'{"leads": []}', "leads"), (b'{"leads": [], "as_of": 1}', "as_of"),
        (b'{"leads": [{}], "as_of": "soon"}', "as_of"), (b'{"leads": [{}], "reasons": 99}', "reasons"),
        (b'{"leads": [NaN]}', None), (b"[" * 100_000, None), (b"\xff\xfe", None), (b'{"leads":' + b"[" * 100_000, None),
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_refused_with_400(client: TestClient, body: bytes, field: str | None) -> None:
    found = assert_refused(client.post("/score", content=body, headers=JSON), 400, "invalid_input")
    assert found.get("field") == field


def test_a_moment_without_a_zone_is_refused_with_400(client: TestClient) -> None:
    answer = client.post("/score", json={"leads": [LEAD], "as_of": "2026-01-09T09:00:00"})
    assert assert_refused(answer, 400, "naive_timestamp")["field"] == "as_of"


@pytest.mark.parametrize("path", ["/", "/scores", "/model/1", "/%00", "/score/../../etc/passwd"])
def test_a_path_that_is_none_of_ours_is_404(client: TestClient, path: str) -> None:
    assert_refused(client.get(path, follow_redirects=False), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/score"), ("PUT", "/score"), ("DELETE", "/score"), ("POST", "/model")]
)
def test_another_method_is_405_and_told_which_one_is_right(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert_refused(answer, 405, "method_not_allowed")
    assert ("POST" if path == "/score" else "GET") in answer.headers["allow"]


def test_a_body_of_the_largest_size_is_read_and_one_byte_more_is_not(client: TestClient) -> None:
    body = json.dumps({"leads": [LEAD]}).encode()
    assert client.post("/score", content=body.ljust(MOST_BYTES), headers=JSON).status_code == 200
    answer = client.post("/score", content=body.ljust(MOST_BYTES + 1), headers=JSON)
    assert "Send the leads in parts" in assert_refused(answer, 413, "too_large")["message"]


def test_a_body_without_end_is_refused_as_soon_as_it_is_too_large(client: TestClient) -> None:
    sent, answered = 0, []
    scope = {
        "type": "http", "method": "POST", "path": "/score", "root_path": "", "query_string": b"", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        assert sent < 100, "the service goes on reading"
        return {"type": "http.request", "body": b" " * 1024 * 1024, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        answered.append(message)

    # In process and by hand, because the test client joins a body before it sends it.
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert answered[0]["status"] == 413
    assert json.loads(answered[1]["body"])["error"]["code"] == "too_large"
    assert sent == MOST_BYTES // (1024 * 1024) + 1


def test_too_many_waiting_requests_are_sent_away_for_a_moment(client: TestClient, desk: Desk) -> None:
    desk.waiting = MOST_WAITING
    try:
        answer = client.post("/score", json={"leads": [LEAD]})
        assert_refused(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        desk.waiting = MOST_WAITING - 1
        assert client.post("/score", json={"leads": [LEAD]}).status_code == 200
    finally:
        desk.waiting = 0


def test_nobody_is_left_waiting_after_good_and_bad_requests(client: TestClient, desk: Desk) -> None:
    for body in (b"{}", b"nonsense", json.dumps({"leads": [LEAD]}).encode(), b'{"leads": [{}], "as_of": "x"}'):
        client.post("/score", content=body, headers=JSON)
    assert desk.waiting == 0


def test_requests_at_the_same_time_are_scored_as_alone(client: TestClient) -> None:
    bodies = [{"leads": [{**LEAD, "user_id": f"u-{i}", "traits": {"company_size": i}}]} for i in range(12)]
    alone = [client.post("/score", json=body).json() for body in bodies]
    together: list[Any] = [None] * len(bodies)

    def send(i: int) -> None:
        together[i] = client.post("/score", json=bodies[i]).json()

    threads = [threading.Thread(target=send, args=(i,)) for i in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_the_model_says_what_is_in_service_and_why(client: TestClient, scorer: Scorer, trained: Any) -> None:
    answer = client.get("/model")
    assert answer.status_code == 200
    body = json.loads(answer.content, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    artifact = scorer.artifact
    assert body["model_version"] == artifact.version
    assert body["product"] == "Corkboard"
    assert body["rung"] == "lightgbm"
    decision = body["decision"]
    assert body["cutoff"] == decision["probability"]
    assert decision["kind"] == "Cutoff"
    assert decision["precision_low"] >= decision["at_least"] == 0.3
    assert 0 < decision["converted"] < decision["leads"]
    assert decision == to_facts(artifact.decision)
    assert body["expired"] is False
    assert body["training"] == json.loads(json.dumps(trained.artifact.training))
    assert [column["name"] for column in body["columns"]] == [column.name for column in scorer.builder.columns]
    assert all(set(column) == {"name", "unit", "meaning"} for column in body["columns"])


def model_told(scorer: Scorer, decision: Decision, now: int = NOW) -> dict[str, Any]:
    """What `GET /model` says of a scorer with such a decision."""
    app = application()
    app.state.desk = Desk(Scorer(replace(scorer.artifact, decision=decision)), lambda: now)
    with TestClient(app) as client:
        told: dict[str, Any] = client.get("/model").json()
    return told


CUTOFF = Cutoff(0.25, 0.3, 0.9, 900, 300, 0.31, "a", "b", expires="2026-01-09T09:00:00Z")


def test_the_model_says_when_the_evidence_of_its_cutoff_is_stale(scorer: Scorer) -> None:
    assert model_told(scorer, CUTOFF)["expired"] is True
    assert model_told(scorer, CUTOFF, NOW - 1)["expired"] is False
    assert model_told(scorer, replace(CUTOFF, expires=None))["expired"] is False


def test_the_model_says_why_nobody_is_a_pql(scorer: Scorer) -> None:
    told = model_told(scorer, NoCutoff(0.3, 0.9, "too few leads", 40))
    assert (told["cutoff"], told["expired"]) == (None, False)
    assert told["decision"] == {
        "kind": "NoCutoff", "at_least": 0.3, "confidence": 0.9, "reason": "too few leads", "needed": 40
    }  # fmt: skip


def test_the_model_tells_of_every_segment(scorer: Scorer) -> None:
    decision = Segmented("plan", ("pro",), (replace(CUTOFF, probability=0.1),), CUTOFF)
    told = model_told(scorer, decision)
    assert told["cutoff"] == CUTOFF.probability
    assert from_facts(told["decision"]) == decision


def test_the_clock_tells_microseconds_of_today() -> None:
    first = parse_instant("2026-01-01T00:00:00Z", "x")
    assert first < clock() < first + 100 * 365 * DAY
    assert clock() <= clock()


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
anything = st.recursive(
    scalars, lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(st.text(max_size=9), deeper, max_size=4)
)
requests = st.fixed_dictionaries(
    {"leads": st.lists(st.fixed_dictionaries({"user_id": anything, "started_at": st.just("2026-01-02T08:15:00Z") | anything},
                                              optional={"traits": anything, "events": anything, "x": anything}), max_size=3)},
    optional={"as_of": anything, "reasons": st.integers(-1, 22)},
)  # fmt: skip


@settings(max_examples=150)
@given(st.binary(max_size=80) | (anything | requests).map(lambda body: json.dumps(body).encode()))
def test_no_body_whatever_makes_an_error_of_ours(client: TestClient, body: bytes) -> None:
    answer = client.post("/score", content=body, headers=JSON)
    if answer.status_code == 200:
        assert set(answer.json()) == {"model_version", "cutoff", "results"}
    else:
        assert answer.status_code == 400
        assert {"code", "message"} <= set(answer.json()["error"])


@settings(max_examples=60)
@given(st.text(st.characters(codec="ascii"), max_size=20), st.sampled_from(["GET", "POST", "PATCH", "OPTIONS", "HEAD"]))
def test_no_path_and_method_whatever_makes_an_error_of_ours(client: TestClient, path: str, method: str) -> None:
    answer = client.request(method, "http://testserver/" + "".join(f"%{ord(letter):02x}" for letter in path))
    assert answer.status_code in {200, 404, 405, 415}


# --- the application around the routes, which has errors of another shape ---------------------


@pytest.fixture(scope="module")
def outer() -> Iterator[TestClient]:
    """An application that refuses in plain text, as the one does that our routes are mounted in."""

    async def fine(_: Request) -> Response:
        return PlainTextResponse("fine")

    async def ours(_: Request) -> Response:
        return Response(b'{"error": {"code": "x", "message": "y"}}', 404, media_type="application/json")

    async def failing(_: Request) -> Response:
        return PlainTextResponse("busy", 503)

    routes = [Route("/fine", fine), Route("/ours", ours), Route("/failing", failing)]
    app = Starlette(routes=routes)
    app.add_middleware(OneShape)
    with TestClient(app) as client:
        yield client


def test_its_404_and_405_get_our_shape(outer: TestClient) -> None:
    assert_refused(outer.get("/nowhere"), 404, "not_found")
    assert_refused(outer.post("/fine"), 405, "method_not_allowed")


def test_its_other_answers_pass_unchanged(outer: TestClient) -> None:
    assert outer.get("/fine").text == "fine"
    assert (outer.get("/failing").status_code, outer.get("/failing").text) == (503, "busy")
    assert outer.get("/ours").json() == {"error": {"code": "x", "message": "y"}}

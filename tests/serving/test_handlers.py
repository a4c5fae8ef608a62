"""The routes that score and that tell of the service, over HTTP and in process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from features.durations import DAY
from features.times import parse_instant
from serving import feature_requests, requests
from serving.answering import answers_to, result_body
from serving.asking import decode
from serving.models.served import About, Served
from serving.scoring.decision import Cutoff, Decision, NoCutoff, Segmented, from_facts, to_facts
from serving.scoring.receipt import Receipt
from serving.scoring.scorer import Scorer
from serving.web.desk import Desk, clock
from serving.web.turns import Turns
from tests.serving.answered import may_be_unknown
from tests.serving.inside import NOW, desk_of, front

ROOT = Path(__file__).parents[2]

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
    return desk_of(scorer)


@pytest.fixture(scope="module")
def client(desk: Desk) -> Iterator[TestClient]:
    with TestClient(front(desk)) as client:
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
    expected = [result_body(one) for one in requests.score(scorer, decode(text), NOW)]
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


def test_too_many_waiting_requests_are_sent_away_for_a_moment(scorer: Scorer) -> None:
    desk = replace(desk_of(scorer), turns=Turns(answers_to, most=0))
    with TestClient(front(desk)) as client:
        answer = client.post("/score", json={"leads": [LEAD]})
    assert_refused(answer, 503, "overloaded")
    assert int(answer.headers["retry-after"]) > 0


def test_no_answer_is_given_whose_receipt_was_not_kept(scorer: Scorer) -> None:
    kept: list[Receipt] = []

    def keep(receipts: list[Receipt]) -> None:
        if kept:
            raise OSError(28, "no space")
        kept.extend(receipts)

    with TestClient(front(replace(desk_of(scorer), keep=keep))) as client:
        answer = client.post("/score", json={"leads": [LEAD]})
        assert [one.id for one in kept] == [answer.json()["results"][0]["receipt_id"]]
        refused = client.post("/score", json={"leads": [LEAD]})
    assert_refused(refused, 503, "receipts_unavailable")
    assert int(refused.headers["retry-after"]) > 0


def test_ready_feature_values_are_answered_as_the_events_that_they_come_from(
    client: TestClient, scorer: Scorer
) -> None:
    body = (ROOT / "examples" / "features.json").read_bytes()
    answer = client.post("/score_features", content=body, headers=JSON)
    assert answer.status_code == 200
    expected = [result_body(one) for one in feature_requests.score(scorer, decode(body), NOW)]
    assert answer.json()["results"] == json.loads(msgspec.json.encode(expected))


def test_a_request_is_answered_by_one_version_whatever_goes_into_service(
    scorer: Scorer, other_model: tuple[Any, Scorer]
) -> None:
    desk = desk_of(scorer)
    _, other = other_model
    body = json.dumps({"leads": [{**LEAD, "user_id": f"u-{i}"} for i in range(60)]}).encode()
    both = {
        one.version: json.loads(msgspec.json.encode([result_body(r) for r in requests.score(one, decode(body), NOW)]))
        for one in (scorer, other)
    }
    stop = threading.Event()

    def promote() -> None:
        while not stop.is_set():
            for one in (other, scorer):
                desk.holder.served = Served(one, NOW)
                time.sleep(0.001)

    thread = threading.Thread(target=promote)
    with TestClient(front(desk)) as client:
        thread.start()
        try:
            answers = [client.post("/score", content=body, headers=JSON).json() for _ in range(20)]
        finally:
            stop.set()
            thread.join()
    for answer in answers:
        assert answer["results"] == both[answer["model_version"]]


def test_what_is_answered_and_refused_is_counted(scorer: Scorer) -> None:
    desk = desk_of(scorer)
    with TestClient(front(desk)) as client:
        client.post("/score", json={"leads": [LEAD, {**LEAD, "started_at": "x"}, LEAD]})
        counted = client.get("/metrics").text
    assert 'pql_scores_total{route="/score"} 2.0' in counted
    assert 'pql_refused_total{code="invalid_input",route="/score"} 1.0' in counted


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
    assert all(set(column) == {"name", "unit", "meaning", "nullable"} for column in body["columns"])
    nullable = [column["nullable"] for column in body["columns"]]
    assert nullable == may_be_unknown(scorer).tolist()
    assert body["in_service_since"] == "2026-01-09T08:59:59.999999Z"


def test_what_the_registry_knows_of_a_version_is_told(scorer: Scorer) -> None:
    about = About(number=7, trained_at="2026-01-01T00:00:00Z", verdict="Promoted.", figures={"auc": 0.8})
    with TestClient(front(desk_of(scorer, about=about))) as client:
        body = client.get("/model").json()
    assert (body["number"], body["trained_at"], body["verdict"]) == (7, "2026-01-01T00:00:00Z", "Promoted.")
    assert body["figures"] == {"auc": 0.8}
    assert body["promoted_at"] is None


def test_it_is_ready_as_long_as_it_scores_a_stored_example(scorer: Scorer) -> None:
    desk = desk_of(scorer)
    with TestClient(front(desk)) as client:
        assert client.get("/readyz").json() == {"status": "ready", "model_version": scorer.version}
        broken = Scorer(scorer.artifact)
        broken.artifact = replace(scorer.artifact, expected=scorer.artifact.expected + 0.1)
        desk.holder.served = Served(broken, NOW)
        assert_refused(client.get("/readyz"), 503, "not_ready")
        assert client.get("/livez").json() == {"status": "alive"}


def model_told(scorer: Scorer, decision: Decision, now: int = NOW) -> dict[str, Any]:
    """What `GET /model` says of a scorer with such a decision."""
    desk = desk_of(Scorer(replace(scorer.artifact, decision=decision)), now)
    with TestClient(front(desk)) as client:
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
asked = st.fixed_dictionaries(
    {"leads": st.lists(st.fixed_dictionaries({"user_id": anything, "started_at": st.just("2026-01-02T08:15:00Z") | anything},
                                              optional={"traits": anything, "events": anything, "x": anything}), max_size=3)},
    optional={"as_of": anything, "reasons": st.integers(-1, 22)},
)  # fmt: skip


@settings(max_examples=150)
@given(st.binary(max_size=80) | (anything | asked).map(lambda body: json.dumps(body).encode()))
def test_no_body_whatever_makes_an_error_of_ours(client: TestClient, body: bytes) -> None:
    answer = client.post("/score", content=body, headers=JSON)
    if answer.status_code == 200:
        assert set(answer.json()) == {"model_version", "cutoff", "results"}
    else:
        assert answer.status_code == 400
        assert {"code", "message"} <= set(answer.json()["error"])

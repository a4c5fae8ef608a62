"""The client asks as documented, reads all that is documented, and keeps its manners when the service is busy or away."""

from __future__ import annotations

import copy
import gzip
import json
import logging
import math
import pickle
import re
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

import msgspec
import pql_client
import pytest
from pql_client import Answer, Client, Failed, Lead, PQLServiceError, Task

from serving.scoring.scorer import Scorer
from serving.web import samples
from serving.web.api_page import table
from serving.web.openapi import document
from tests.serving.in_process import doing_jobs, front_of
from tests.serving.listening import listening

ROOT = Path(__file__).parents[2]
DOCUMENT = document(table())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
BODY = json.loads(samples.SCORE)
LEADS: list[Lead] = BODY["leads"]


# --- what it knows ----------------------------------------------------------------------------

SAME: dict[str, Any] = {
    "ErrorOut": pql_client.ErrorOut, "Reason": pql_client.Reason, "Missing": pql_client.Missing,
    "Advice": pql_client.Advice, "Answer": Answer, "Failed": Failed,
    "TaskOut": Task, "StatusOut": pql_client.Status, "ModelOut": pql_client.Model, "ColumnOut": pql_client.Column,
    "EventIn": pql_client.Event, "LeadIn": pql_client.Lead, "FeatureLeadIn": pql_client.FeatureLead,
}  # fmt: skip


OTHERS = {
    "ScoreOut", "Refusal", "ScoreIn", "FeaturesIn", "AccountIn", "LiveOut", "ReadyOut", "CutoffOut", "NoCutoffOut",
    "SegmentedOut", "LineOut",
}  # fmt: skip
"""What the client's methods take apart or put together, or hand on as plain data."""


def kinds(schema: dict[str, Any]) -> set[str]:
    """Return what a documented value can be, in the words of JSON Schema."""
    if "anyOf" in schema:
        return set().union(*map(kinds, schema["anyOf"]))
    if "$ref" in schema:
        return {"object"}
    if schema.get("type") == "array":
        return {f"array of {one}" for one in kinds(schema["items"])}
    if schema.get("type") == "object" and schema.get("additionalProperties"):
        return {f"object of {one}" for one in kinds(schema["additionalProperties"])}
    return {"string"} if "enum" in schema else {schema["type"]}


PLAIN = {str: "string", datetime: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def kinds_of(hint: Any) -> set[str]:
    """Return what a value of the client's can be, in the same words; a datetime is sent as text."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in PLAIN:
        return {PLAIN[hint]}
    if origin in (UnionType, Union):
        return set().union(*map(kinds_of, parts))
    if origin is NotRequired:
        return kinds_of(parts[0])
    if origin is Literal:
        return {"string"}
    if origin in (list, Sequence):
        return {f"array of {one}" for one in kinds_of(parts[0])}
    if origin in (dict, Mapping):
        return {"object"} if parts[1] is Any else {f"object of {one}" for one in kinds_of(parts[1])}
    assert isinstance(hint, type), hint
    return {"object"}


def optional_of(kind: Any) -> set[str]:
    """Return the names that may be left out."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {one.name for one in msgspec.structs.fields(kind) if not one.required}
    hints = get_type_hints(kind, include_extras=True)
    return {name for name, hint in hints.items() if get_origin(hint) is NotRequired}


@pytest.mark.parametrize("name", [name for name in SAME if name in SCHEMAS])
def test_every_documented_property_is_known_with_its_type_and_no_other(name: str) -> None:
    schema, kind = SCHEMAS[name], SAME[name]
    hints, optional = get_type_hints(kind), optional_of(kind)
    assert set(hints) == set(schema["properties"])
    assert optional == set(schema["properties"]) - set(schema["required"])
    for each, about in schema["properties"].items():
        # What an answer leaves out, the client has as None.
        absent = {"null"} if each in optional else set()
        assert kinds_of(hints[each]) | absent == kinds(about) | absent, each


def test_everything_that_is_documented_is_known() -> None:
    assert set(SCHEMAS) <= {*SAME, *OTHERS}


def test_every_documented_part_of_a_result_is_known() -> None:
    """Which its kinds of results keep from being read in one go."""
    assert list(SCHEMAS["ScoreOut"]["properties"]) == list(pql_client.ScoreResult.__struct_fields__)
    result: Any = get_type_hints(pql_client.ScoreResult)
    assert result == {"model_version": str, "cutoff": float | None, "results": list[Answer | Failed]}


def test_every_route_that_is_for_programs_has_a_method() -> None:
    ids = {one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()}
    methods = {
        "score": "score", "scoreFeatures": "score_features", "submitBatch": "submit", "batchStatus": "status",
        "batchResult": "download", "removeBatch": "remove", "model": "model", "ready": "ready",
    }  # fmt: skip
    assert ids - set(methods) == {"live", "metrics", "document"}
    assert all(callable(getattr(Client, name)) for name in methods.values())


def test_the_formats_of_files_are_those_documented() -> None:
    from pql_client.client import TYPES

    from serving.web.operations import FILES

    assert sorted(TYPES.values()) == sorted(FILES)


def test_it_needs_two_libraries_and_says_its_version_once() -> None:
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {re.split(r"[<>=]", one)[0] for one in project["dependencies"]} == {"msgspec", "urllib3"}
    source = ROOT / "clients" / "python" / "src" / "pql_client"
    texts = {path.name: path.read_text(encoding="utf-8") for path in source.glob("*.py")}
    found = {name for text in texts.values() for name in re.findall(r"^(?:from|import) ([a-z0-9]+)", text, re.M)}
    assert found & {"msgspec", "urllib3", "serving", "features"} == {"msgspec", "urllib3"}
    assert f"pql-client/{project['version']}" in texts["client.py"]
    assert (source / "py.typed").exists()


# --- against the service ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with doing_jobs(scorer, tmp_path_factory.mktemp("jobs")) as jobs, listening(front_of(scorer, jobs=jobs)) as address:
        yield address


@pytest.fixture
def client(service: str) -> Iterator[Client]:
    with Client(service) as made:
        yield made


def test_a_lead_is_scored(client: Client, scorer: Scorer) -> None:
    result = client.score(LEADS, as_of=BODY["as_of"])
    assert result.model_version == scorer.version
    (answer,) = result.answers
    assert result.results == [answer]
    assert answer.lead_id == "u-4711"
    assert 0 < answer.probability < 1
    assert answer.reasons[0].text
    assert answer.as_of == BODY["as_of"]


def test_times_may_be_aware_datetimes(client: Client) -> None:
    moment = datetime(2026, 1, 9, 9, tzinfo=UTC)
    lead: Lead = {**LEADS[0], "started_at": datetime(2026, 1, 2, 8, 15, tzinfo=UTC)}
    assert client.score([lead], moment) == client.score(LEADS, BODY["as_of"])


def test_as_many_reasons_come_as_are_asked_for(client: Client) -> None:
    assert client.score(LEADS, BODY["as_of"], reasons=0).answers[0].reasons == []
    assert len(client.score(LEADS, BODY["as_of"], reasons=1).answers[0].reasons) == 1


def test_a_lead_that_is_refused_stands_beside_one_that_is_not(client: Client) -> None:
    wrong: Lead = {"user_id": "u-1", "started_at": "yesterday"}
    result = client.score([wrong, *LEADS], BODY["as_of"])
    assert [type(one) for one in result.results] == [Failed, Answer]
    (failed,) = result.failed
    assert (failed.index, failed.lead_id, failed.error.field) == (0, "u-1", "leads[0].started_at")
    assert failed.error.hint


def test_ready_values_are_scored(client: Client) -> None:
    features = {column.name: 1.0 for column in client.model().columns}
    (answer,) = client.score_features([{"lead_id": "u-1", "features": features}]).answers
    assert answer.lead_id == "u-1"


def test_a_value_that_is_not_a_number_is_not_known(client: Client) -> None:
    features: dict[str, float | None] = {column.name: 1.0 for column in client.model().columns}
    unknown = next(column.name for column in client.model().columns if column.nullable)
    told = [
        client.score_features([{"lead_id": "u", "features": features | {unknown: one}}]) for one in (None, math.nan)
    ]
    assert told[0].answers
    assert told[0] == told[1]


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_value_that_is_infinite_is_never_sent_as_not_known(client: Client, value: float) -> None:
    with pytest.raises(ValueError, match=r"leads\[1\].features.b must be finite, got -?inf"):
        client.score_features(
            [{"lead_id": "u", "features": {"a": 1}}, {"lead_id": "v", "features": {"a": 1, "b": value}}]
        )


def test_the_example_of_the_readme_runs(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "clients" / "python" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(example.replace("http://127.0.0.1:3000", service), {})
    assert capsys.readouterr().out.startswith("u-4711 0.")
    assert all((ROOT / "clients" / "python" / link).exists() for link in re.findall(r"\]\(([^)]+)\)", text))
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert set(re.findall(r"`([a-z_]+)\(", text)) == methods


def test_a_request_that_is_refused_says_why(client: Client) -> None:
    with pytest.raises(PQLServiceError, match="leads must be 1 to 1000 leads") as raised:
        client.score([])
    error = raised.value
    assert (error.status, error.code, error.field) == (400, "invalid_input", "leads")
    assert error.hint


def test_the_version_in_service_is_told(client: Client, scorer: Scorer) -> None:
    model = client.model()
    assert model.model_version == scorer.version
    assert [one.name for one in model.columns] == [one.name for one in scorer.builder.columns]


def test_a_service_that_can_score_is_ready(client: Client) -> None:
    assert client.ready()


def test_threads_share_a_client(client: Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: client.score(LEADS, BODY["as_of"]), range(40)))
    assert all(one == found[0] for one in found)


def test_a_file_is_scored(client: Client, scorer: Scorer, tmp_path: Path) -> None:
    task = client.submit(ROOT / "examples" / "events.csv", as_of=BODY["as_of"], output="jsonl")
    status = client.wait(task, timeout=120)
    assert (status.status, status.scored, status.model_version) == ("success", 2, scorer.version)
    lines = client.download(task, tmp_path / "leads.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["lead_id"] for line in lines} == {"u-4711", "u-4712"}


def test_a_file_that_is_none_ends_with_the_reason(client: Client, tmp_path: Path) -> None:
    status = client.wait(client.submit(b"a,b\n1,2\n", "csv"), timeout=120)
    assert status.status == "failure"
    assert status.error is not None
    with pytest.raises(PQLServiceError, match="no result") as raised:
        client.download(status.task_id, tmp_path / "leads.csv")
    assert raised.value.status == 409


def test_a_job_that_nobody_handed_in_is_unknown(client: Client) -> None:
    with pytest.raises(PQLServiceError, match="no job of this task_id") as raised:
        client.status("0" * 32)
    assert (raised.value.status, raised.value.field) == (404, "task_id")


# --- against a service that does as it is told ------------------------------------------------

ERROR = b'{"error": {"code": "overloaded", "message": "too many requests are waiting.", "hint": "Try again."}}'
ANSWER = samples.SCORED.encode()
TASK = {"task_id": "t1", "status": "in_progress", "status_url": "/s", "result_url": "/r"}
STATUS: dict[str, Any] = {
    "task_id": "t1", "status": "success", "created_at": "2026-01-09T09:00:00Z", "executed_at": None, "rows": 2,
    "scored": 2, "rejected": 0, "examples_of_rejected": [], "model_version": "v",
}  # fmt: skip


@dataclass
class Said:
    """One answer: a status, a body and headers; status 0 breaks the connection, `cut` breaks it in the middle of the body."""

    status: int = 200
    body: bytes = ANSWER
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Script:
    """A server that gives these answers, one after the other, and keeps what it was asked."""

    answers: list[Said]
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def scripted() -> Iterator[Callable[..., Script]]:
    servers: list[ThreadingHTTPServer] = []

    def start(*answers: Said) -> Script:
        script = Script(list(answers))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.asked.append((self.command, self.path, headers, body))
                said = script.answers.pop(0)
                self.close_connection = not said.status or said.cut is not None
                if said.status:
                    self.send_response(said.status)
                    for name, value in {"content-length": str(len(said.body)), **said.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(said.body[: said.cut])

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that the library asks for

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        script.address = f"http://127.0.0.1:{server.server_port}"
        return script

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Start = Callable[..., Script]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that are made, without making them."""
    made: list[float] = []
    clock = SimpleNamespace(sleep=made.append, time=time.time, monotonic=time.monotonic)
    for module in ("urllib3.util.retry", "pql_client.client"):
        monkeypatch.setattr(f"{module}.time", clock)
    return made


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_when_it_says(scripted: Start, pauses: list[float], status: int) -> None:
    script = scripted(Said(status, ERROR, {"retry-after": "7"}), Said())
    with Client(script.address) as client:
        assert client.score(LEADS).model_version == json.loads(ANSWER)["model_version"]
    assert pauses == [7]
    assert script.asked[0] == script.asked[1]


def test_a_service_that_asks_for_an_hour_is_asked_again_within_half_a_minute(
    scripted: Start, pauses: list[float]
) -> None:
    script = scripted(Said(503, ERROR, {"retry-after": "3600"}), Said())
    with Client(script.address) as client:
        client.score(LEADS)
    assert pauses == [30]


def test_a_service_that_stays_busy_is_an_error(scripted: Start, pauses: list[float]) -> None:
    script = scripted(*[Said(503, ERROR, {"retry-after": "1"})] * 3)
    with Client(script.address, retries=2) as client, pytest.raises(PQLServiceError, match="too many") as raised:
        client.score(LEADS)
    assert (raised.value.status, raised.value.code, raised.value.hint) == (503, "overloaded", "Try again.")
    assert len(pauses) == 2


def test_without_retries_a_request_is_sent_once(scripted: Start, pauses: list[float]) -> None:
    script = scripted(Said(503, ERROR, {"retry-after": "1"}))
    with Client(script.address, retries=0) as client, pytest.raises(PQLServiceError):
        client.score(LEADS)
    assert (len(script.asked), pauses) == (1, [])


@pytest.mark.parametrize("broken", [Said(0), Said(cut=10)], ids=["before the answer", "in the middle of it"])
def test_a_connection_that_breaks_is_no_error_of_a_request_that_changes_nothing(
    scripted: Start, pauses: list[float], broken: Said
) -> None:
    script = scripted(broken, Said())
    with Client(script.address) as client:
        assert client.score(LEADS).answers
    assert len(script.asked) == 2


def test_a_file_is_not_handed_in_twice_where_the_connection_breaks(scripted: Start, pauses: list[float]) -> None:
    script = scripted(Said(0), Said(202, json.dumps(TASK).encode()))
    with Client(script.address) as client, pytest.raises(PQLServiceError, match="could not be reached") as raised:
        client.submit(b"x", "csv")
    assert (raised.value.status, raised.value.code) == (0, "unreachable")
    assert len(script.asked) == 1


def test_a_file_is_handed_in_again_where_the_service_was_busy(
    scripted: Start, pauses: list[float], tmp_path: Path
) -> None:
    file = tmp_path / "leads.jsonl"
    file.write_bytes(b'{"lead_id": "u-1"}\n')
    script = scripted(Said(503, ERROR, {"retry-after": "1"}), Said(202, json.dumps(TASK).encode()))
    with Client(script.address) as client:
        assert client.submit(file).task_id == "t1"
    assert [body for *_, body in script.asked] == [file.read_bytes()] * 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415])
def test_a_refusal_is_not_asked_again(scripted: Start, pauses: list[float], status: int) -> None:
    script = scripted(Said(status, ERROR, {"retry-after": "1"} if status == 413 else {}))
    with Client(script.address, retries=0 if status == 413 else 3) as client, pytest.raises(PQLServiceError) as raised:
        client.score(LEADS)
    assert raised.value.status == status
    assert (len(script.asked), pauses) == (1, [])


def test_an_error_that_is_not_the_services_own_is_told_without_its_text(scripted: Start) -> None:
    script = scripted(Said(502, b"<html>secret</html>"))
    with Client(script.address) as client, pytest.raises(PQLServiceError, match="502 unknown") as raised:
        client.model()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"model_version": "v", "cutoff": null, "results": [{}]}'])
def test_an_answer_that_is_none_is_an_error(scripted: Start, body: bytes) -> None:
    script = scripted(Said(200, body))
    with Client(script.address) as client, pytest.raises(PQLServiceError, match="as it must be"):
        client.score(LEADS)


def test_fields_of_a_newer_service_are_passed_over(scripted: Start) -> None:
    told = json.loads(samples.SCORED)
    newer = copy.deepcopy(told) | {"later": 1}
    newer["results"][0] |= {"later": {}}
    newer["results"][0]["reasons"][0] |= {"later": []}
    script = scripted(Said(), Said(200, json.dumps(newer).encode()))
    with Client(script.address) as client:
        assert client.score(LEADS) == client.score(LEADS)


def test_a_redirect_is_not_followed_with_the_key(scripted: Start) -> None:
    other = scripted(Said())
    script = scripted(Said(307, b"", {"location": f"{other.address}/score"}))
    with Client(script.address, "secret") as client, pytest.raises(PQLServiceError, match="307"):
        client.score(LEADS)
    assert other.asked == []


def test_the_key_is_sent_and_never_shown(scripted: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = scripted(Said(), Said(401, ERROR))
    with Client(script.address, "pql_id_secret") as client:
        client.score(LEADS)
        with pytest.raises(PQLServiceError) as raised:
            client.score(LEADS)
        assert "secret" not in repr(client) + repr(raised.value)
    assert script.asked[0][2]["authorization"] == "Bearer pql_id_secret"
    assert "secret" not in caplog.text
    assert "u-4711" not in caplog.text


def test_without_a_key_none_is_sent(scripted: Start) -> None:
    script = scripted(Said())
    with Client(script.address) as client:
        client.score(LEADS)
    assert "authorization" not in script.asked[0][2]


def test_a_service_that_is_away_or_not_ready_is_not_ready(scripted: Start) -> None:
    script = scripted(Said(503, ERROR, {"retry-after": "1"}), Said(0))
    with Client(script.address) as client:
        assert [client.ready(), client.ready()] == [False, False]


def test_a_refused_question_for_readiness_is_an_error(scripted: Start) -> None:
    with Client(scripted(Said(403, ERROR)).address) as client, pytest.raises(PQLServiceError, match="403"):
        client.ready()


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="http"):
        Client("scores.example.com")


def test_an_error_survives_the_way_to_another_process() -> None:
    error = PQLServiceError(400, "invalid_input", "x must be y.", "x", "Write y.")
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error)
    assert str(again) == str(error) == "400 invalid_input: x must be y. Write y."


# --- batch jobs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "encoding"),
    [
        ("a.csv", "text/csv", None), ("a.jsonl", "application/x-ndjson", None), ("a.ndjson", "application/x-ndjson", None),
        ("a.parquet", "application/vnd.apache.parquet", None), ("a.csv.gz", "text/csv", "gzip"),
    ],
)  # fmt: skip
def test_a_file_is_sent_as_what_its_name_says(
    scripted: Start, tmp_path: Path, name: str, kind: str, encoding: str | None
) -> None:
    content = gzip.compress(b"a,b\n") if encoding else b"a,b\n"
    (tmp_path / name).write_bytes(content)
    script = scripted(Said(202, json.dumps(TASK).encode()))
    with Client(script.address) as client:
        client.submit(str(tmp_path / name))
    ((method, path, headers, body),) = script.asked
    assert (method, path, body) == ("POST", "/score_batch", content)
    assert (headers["content-type"], headers.get("content-encoding")) == (kind, encoding)
    assert "transfer-encoding" not in headers


def test_what_is_asked_of_a_job_goes_into_the_query(scripted: Start) -> None:
    script = scripted(Said(202, json.dumps(TASK).encode()))
    moment = datetime(2026, 1, 9, 9, tzinfo=UTC)
    with Client(script.address) as client:
        client.submit(b"x", "parquet", as_of=moment, reasons=2, explain="all", output="csv")
    assert script.asked[0][1] == "/score_batch?as_of=2026-01-09T09%3A00%3A00%2B00%3A00&reasons=2&explain=all&output=csv"


@pytest.mark.parametrize("data", [b"x", "leads.txt", "leads.gz"])
def test_a_file_of_unknown_format_is_refused_before_it_is_sent(data: bytes | str) -> None:
    with pytest.raises(ValueError, match="must"):
        Client("http://127.0.0.1:9").submit(data)


def test_waiting_ends_with_the_job(scripted: Start, pauses: list[float]) -> None:
    running = Said(200, json.dumps({**STATUS, "status": "in_progress"}).encode())
    script = scripted(running, running, Said(200, json.dumps(STATUS).encode()))
    with Client(script.address) as client:
        status = client.wait(Task("t1", "in_progress", "", ""))
    assert (status.status, status.scored, status.ended) == ("success", 2, True)
    assert [path for _, path, *_ in script.asked] == ["/score_batch/status?task_id=t1"] * 3
    assert pauses == [0.5, 0.75]


def test_waiting_gives_up(scripted: Start) -> None:
    running = Said(200, json.dumps({**STATUS, "status": "in_progress"}).encode())
    with (
        Client(scripted(*[running] * 9).address) as client,
        pytest.raises(TimeoutError, match="t1 is still in progress"),
    ):
        client.wait("t1", timeout=0.1, every=0.05)


def test_a_job_that_failed_says_why(scripted: Start) -> None:
    told = {**STATUS, "status": "failure", "error": {"code": "invalid_input", "message": "no such column."}}
    with Client(scripted(Said(200, json.dumps(told).encode())).address) as client:
        status = client.wait("t1")
    assert status.error is not None
    assert status.error.message == "no such column."


def test_a_result_is_written_to_a_file(scripted: Start, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    script = scripted(Said(200, content, {"content-type": "application/vnd.apache.parquet"}))
    with Client(script.address) as client:
        path = client.download("t 1", tmp_path / "leads.parquet")
    assert path.read_bytes() == content
    assert script.asked[0][1] == "/score_batch/result?task_id=t+1"
    assert list(tmp_path.iterdir()) == [path]


def test_a_job_is_called_off_or_removed(scripted: Start) -> None:
    told = json.dumps({**STATUS, "status": "cancelled"}).encode()
    script = scripted(Said(200, told), Said(204, b""))
    with Client(script.address) as client:
        called_off = client.remove("t1")
        assert called_off is not None
        assert called_off.status == "cancelled"
        assert client.remove("t1") is None
    assert {(method, path) for method, path, *_ in script.asked} == {("DELETE", "/score_batch?task_id=t1")}


@pytest.mark.parametrize("said", [Said(409, ERROR), Said(200, b"x" * 1000, cut=10)], ids=["no result", "it breaks off"])
def test_a_result_that_does_not_come_whole_leaves_what_was_there(scripted: Start, tmp_path: Path, said: Said) -> None:
    path = tmp_path / "leads.parquet"
    path.write_bytes(b"before")
    with Client(scripted(said).address) as client, pytest.raises(PQLServiceError):
        client.download("t1", path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"before"


def test_types_of_the_public_names_can_be_read() -> None:
    for name in pql_client.__all__:
        public = getattr(pql_client, name)
        if isinstance(public, type) and issubclass(public, msgspec.Struct):
            assert get_type_hints(public)

"""The OpenAPI document is valid, leaves nothing unsaid, says nothing untrue, and is of all routes and no others."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import validate

from features.errors import InvalidInput
from features.times import parse_instant
from serving.scoring.scorer import Scorer
from serving.web.api_page import table
from serving.web.openapi import REFUSED, SECURITY, document, document_bytes
from serving.web.operations import OPERATIONS
from serving.web.wire import INSTANT
from tests.serving.in_process import client_of

Json = dict[str, Any]
DOCUMENT = document(table())
OPERATION = {
    one["operationId"]: (method, path, one) for path, found in DOCUMENT["paths"].items() for method, one in found.items()
}  # fmt: skip
SCHEMAS: Json = DOCUMENT["components"]["schemas"]


def checked(value: object, schema: Json) -> list[str]:
    """Return what is wrong with a value by a schema of the document."""
    root = {"components": DOCUMENT["components"], "allOf": [schema]}
    validator = OAS31Validator(root, format_checker=oas31_format_checker)
    return [one.message for one in validator.iter_errors(value)]


def walk(node: object, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield every object in the document with its place."""
    if isinstance(node, dict):
        yield path, node
        for name, part in node.items():
            yield from walk(part, f"{path}/{name}")
    elif isinstance(node, list):
        for i, part in enumerate(node):
            yield from walk(part, f"{path}/{i}")


# --- the linter -------------------------------------------------------------------------------


def flaws(told: Json) -> list[str]:
    """Return where a document breaks the rules that all of ours keep."""
    return [*flaws_of_operations(told), *flaws_of_schemas(told), *flaws_of_references(told)]


def flaws_of_operations(told: Json) -> Iterator[str]:
    seen: list[str] = []
    for path, methods in told["paths"].items():
        for method, one in methods.items():
            seen.append(one.get("operationId", ""))
            for name in ("operationId", "summary", "description", "tags", "security", "responses"):
                if name not in one or (not one[name] and name != "security"):
                    yield f"{method} {path}: no {name}"
            if not re.fullmatch(r"[a-z][A-Za-z]*", one.get("operationId", "")):
                yield f"{method} {path}: operationId must be one word in camelCase"
            statuses = one.get("responses", {})
            if sum(status.startswith("2") for status, answer in statuses.items() if answer.get("content")) != 1:
                yield f"{method} {path}: must have one success with a body"
            wanted = {"400", "408", "431", "503"} | ({"401", "403"} if one.get("security") else set())
            wanted |= {"413", "415"} if "requestBody" in one else set()
            if wanted - set(statuses):
                yield f"{method} {path}: no {min(wanted - set(statuses))}"
            yield from (f"{method} {path}: {status} has no place here" for status in {"422", "500"} & set(statuses))
            for parameter in one.get("parameters", ()):
                if not parameter.get("description") or "example" not in parameter:
                    yield f"{method} {path}: {parameter['name']} has no description or example"
    yield from (f"{name}: two operations" for name in {one for one in seen if seen.count(one) > 1})


def flaws_of_schemas(told: Json) -> Iterator[str]:
    for name, schema in told["components"]["schemas"].items():
        if not schema.get("description"):
            yield f"{name}: no description"
        for field, about in schema.get("properties", {}).items():
            if not about.get("description"):
                yield f"{name}.{field}: no description"
            yield from (
                f"{name}.{field}: its example {example!r} is none: {wrong}"
                for example in about.get("examples", ())
                for wrong in checked(example, about)
            )
            if "default" in about and checked(about["default"], about):
                yield f"{name}.{field}: its default is none"
        if name.endswith("In") and schema.get("additionalProperties") is not False:
            yield f"{name}: takes fields that nobody reads"
    for place, node in walk(told["paths"]):
        schema = node.get("schema")
        if isinstance(schema, dict) and "example" in node:
            yield from (f"{place}: the example is none: {wrong}" for wrong in checked(node["example"], schema))


def flaws_of_references(told: Json) -> Iterator[str]:
    used = {one["$ref"] for _, one in walk(told) if isinstance(one.get("$ref"), str)}
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in told["components"][kind]}
    yield from (f"{one}: nobody refers to it" for one in there - used)
    yield from (f"{one}: it is nowhere" for one in used - there)
    keys = {name for _, one in walk(told["paths"]) for need in one.get("security", ()) for name in need}
    yield from (
        f"{name}: no such security scheme" for name in keys ^ set(told["components"].get("securitySchemes", {}))
    )
    ids = {one["operationId"] for methods in told["paths"].values() for one in methods.values() if "operationId" in one}
    links = [link for _, one in walk(told["paths"]) for link in one.get("links", {}).values()]
    yield from (f"{link['operationId']}: no such operation" for link in links if link["operationId"] not in ids)
    tags = {tag for _, one in walk(told["paths"]) for tag in one.get("tags", ())}
    yield from (f"{name}: no such tag" for name in tags ^ {one["name"] for one in told["tags"]})


@pytest.mark.parametrize("keyed", [True, False])
def test_the_document_is_valid_openapi(keyed: bool) -> None:
    validate(document(table(), keyed=keyed))


@pytest.mark.parametrize("keyed", [True, False])
def test_the_document_has_no_flaws(keyed: bool) -> None:
    assert flaws(document(table(), keyed=keyed)) == []


Spoil = Callable[[Json], object]


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (lambda told: told["paths"]["/score"]["post"].pop("summary"), "no summary"),
        (lambda told: told["paths"]["/score"]["post"].update(operationId="model"), "two operations"),
        (lambda told: told["paths"]["/score"]["post"].update(operationId="post /score"), "camelCase"),
        (lambda told: told["paths"]["/score"]["post"]["responses"].pop("413"), "no 413"),
        (lambda told: told["paths"]["/score"]["post"]["responses"].pop("200"), "one success with"),
        (lambda told: told["paths"]["/model"]["get"]["responses"].pop("401"), "no 401"),
        (lambda told: told["paths"]["/model"]["get"]["responses"].update({"422": {}}), "422 has no place"),
        (lambda told: told["components"]["schemas"]["LeadIn"].pop("description"), "LeadIn: no description"),
        (lambda told: told["components"]["schemas"]["LeadIn"]["properties"]["events"].pop("description"), "LeadIn.events"),
        (lambda told: told["components"]["schemas"]["LeadIn"].pop("additionalProperties"), "nobody reads"),
        (lambda told: told["components"]["schemas"]["ScoreIn"]["properties"]["reasons"].update(default=21), "default"),
        (lambda told: told["components"]["schemas"]["ScoreIn"]["properties"]["as_of"].update(examples=["now"]), "example"),
        (
            lambda told: told["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"].update(example={}),
            "example is none",
        ),
        (lambda told: told["components"]["schemas"].update(Spare={"description": "x"}), "nobody refers"),
        (lambda told: told["components"]["schemas"].pop("Answer"), "it is nowhere"),
        (lambda told: told["components"].pop("securitySchemes"), "no such security scheme"),
        (lambda told: told["tags"].pop(), "no such tag"),
        (lambda told: told["paths"]["/score_batch/status"]["get"].update(operationId="x"), "no such operation"),
    ],
)  # fmt: skip
def test_the_linter_sees(spoil: Spoil, seen: str) -> None:
    told = copy.deepcopy(DOCUMENT)
    spoil(told)
    assert any(seen in flaw for flaw in flaws(told)), flaws(told)


# --- the routes -------------------------------------------------------------------------------


def test_every_route_is_documented_and_no_other() -> None:
    documented = {(method.upper(), path) for path, found in DOCUMENT["paths"].items() for method in found}
    assert documented == {(one.method, one.path) for one in table()}


def test_a_route_that_nothing_is_said_of_is_an_error() -> None:
    class Other:
        method, path, scope, types, most_bytes, most_inflated = "GET", "/other", None, frozenset[str](), 1, 1

    with pytest.raises(KeyError, match="/other"):
        document([Other()])


@pytest.mark.parametrize("entry", table(), ids=lambda one: f"{one.method} {one.path}")
def test_a_route_takes_what_is_documented(entry: Any) -> None:
    operation = OPERATIONS[entry.method, entry.path]
    told = DOCUMENT["paths"][entry.path][entry.method.lower()]
    assert entry.types == frozenset(operation.takes)
    assert entry.parameters == {one.name for one in operation.parameters}
    assert told["security"] == ([] if entry.scope is None else [{SECURITY: [entry.scope]}])
    if entry.types:
        assert f"{entry.most_bytes:,} bytes" in told["requestBody"]["description"]


def test_a_service_without_keys_asks_for_none() -> None:
    told = document(table(), keyed=False)
    assert all(one["security"] == [] for found in told["paths"].values() for one in found.values())
    assert "securitySchemes" not in told["components"]
    assert not {"401", "403"} & {status for _, one in walk(told["paths"]) for status in one.get("responses", ())}


def test_the_service_gives_the_document(scorer: Scorer) -> None:
    answer = client_of(scorer).get("/docs.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == document_bytes(table(), keyed=False)
    assert answer.json() == json.loads(json.dumps(document(table(), keyed=False)))


# --- what is answered -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model", "live", "ready"])
def test_what_a_route_tells_is_what_is_documented(name: str, scorer: Scorer) -> None:
    method, path, told = OPERATION[name]
    answer = client_of(scorer).request(method.upper(), path)
    schema = told["responses"][str(answer.status_code)]["content"][answer.headers["content-type"]]["schema"]
    assert checked(answer.json(), schema) == []


@pytest.mark.parametrize("name", ["score", "scoreFeatures"])
def test_the_example_of_a_request_gets_what_is_documented(name: str, scorer: Scorer) -> None:
    method, path, told = OPERATION[name]
    example = told["requestBody"]["content"]["application/json"]["example"]
    answer = client_of(scorer).request(method.upper(), path, json={**example, "leads": [*example["leads"], {}]})
    schema = told["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
    assert checked(answer.json(), schema) == []
    assert ["error" in one for one in answer.json()["results"]] == [False, True]


def test_metrics_come_as_documented(scorer: Scorer) -> None:
    answer = client_of(scorer).get("/metrics")
    (kind,) = OPERATION["metrics"][2]["responses"]["200"]["content"]
    assert answer.headers["content-type"].partition(";")[0] == kind


@pytest.mark.parametrize(
    ("status", "ask"),
    [
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"json": {"leads": [{}]}, "params": {"a": "b"}}),
        (413, {"content": b" " * (8 * 1024 * 1024 + 1), "headers": {"content-type": "application/json"}}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ],
)
def test_a_refusal_has_the_documented_status_and_shape(status: int, ask: Json, scorer: Scorer) -> None:
    answer = client_of(scorer).post("/score", **ask)
    told = OPERATION["score"][2]["responses"][str(answer.status_code)]
    met = DOCUMENT["components"]["responses"][told["$ref"].rpartition("/")[2]]
    assert answer.status_code == status
    assert checked(answer.json(), met["content"]["application/json"]["schema"]) == []
    assert answer.json()["error"]["code"] == REFUSED[status][2]["code"]


# --- what is taken ----------------------------------------------------------------------------


@given(st.from_regex(INSTANT, fullmatch=True))
def test_a_time_of_the_documented_spelling_is_read_or_no_day_of_the_calendar(text: str) -> None:
    if checked(text, {"type": "string", "format": "date-time"}):
        with pytest.raises(InvalidInput):
            parse_instant(text, "as_of")
    elif not text.startswith("9999-12-31"):
        parse_instant(text, "as_of")


def generated(name: str) -> st.SearchStrategy[Any]:
    """Return bodies that the document allows."""
    from schemathesis.openapi import from_dict

    _, path, _ = OPERATION[name]
    operation = from_dict(json.loads(json.dumps(DOCUMENT)))[path]["POST"]
    bodies = operation.as_strategy().map(lambda case: case.body)
    return bodies.filter(lambda body: isinstance(body, dict))


# Making a smaller case of one that failed takes minutes with such large ones.
SLOW = settings(max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", ["score", "scoreFeatures"])
def test_every_body_that_the_document_allows_is_answered(name: str, scorer: Scorer) -> None:
    _, path, told = OPERATION[name]
    client = client_of(scorer)
    schema = told["responses"]["200"]["content"]["application/json"]["schema"]

    @SLOW
    @given(generated(name))
    def answered(body: Any) -> None:
        answer = client.post(path, content=msgspec.json.encode(body), headers={"content-type": "application/json"})
        assert answer.status_code == 200, answer.text
        assert checked(answer.json(), schema) == []
        assert len(answer.json()["results"]) == len(body["leads"])

    answered()


@pytest.mark.parametrize(
    "wrong",
    [
        {"leads": []}, {"leads": [{}] * 1001}, {}, {"leads": [{}], "reasons": 21}, {"leads": [{}], "reasons": -1},
        {"leads": [{}], "reasons": 1.5}, {"leads": [{}], "as_of": "2026-01-09"}, {"leads": [{}], "as_of": 5},
        {"leads": [{}], "lead": 1}, [], None, "x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["score", "scoreFeatures"])
def test_what_the_document_forbids_is_refused(name: str, wrong: object, scorer: Scorer) -> None:
    _, path, told = OPERATION[name]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    assert checked(wrong, schema)
    headers = {"content-type": "application/json"}
    assert client_of(scorer).post(path, content=json.dumps(wrong), headers=headers).status_code == 400

"""The service's OpenAPI document: the table of routes, what each of them is for, and the bodies, put together."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from serving.web import wire
from serving.web.operations import OPERATIONS, TAGS, Body, Operation
from serving.web.refusals import JSON

REF: Final = "#/components/schemas/{name}"
TITLE: Final = "PQL scoring service"
VERSION: Final = "1"
"""Of the wire, not of the model: another one would be another contract."""
SECURITY: Final = "key"


class Route(Protocol):
    """What the document says of a line in the table of routes."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def scope(self) -> str | None: ...
    @property
    def types(self) -> Collection[str]: ...
    @property
    def most_bytes(self) -> int: ...
    @property
    def most_inflated(self) -> int: ...


REFUSED: Final[Mapping[int, tuple[str, str, dict[str, str]]]] = {
    400: (
        "Invalid", "The request can be mended by its sender; the error says where and how.",
        {
            "code": "invalid_input", "message": "leads must be 1 to 1000 leads, got 0.", "field": "leads",
            "hint": "Send them in parts.",
        },
    ),
    401: (
        "NoKey", "A key is needed, and none or an unknown one came.",
        {
            "code": "unauthorized", "message": "a key is needed, and none or an unknown one came.",
            "hint": "Send `Authorization: Bearer KEY`; `pql key` makes keys.",
        },
    ),
    403: (
        "KeyNotGood", "The key is not good for this route.",
        {"code": "forbidden", "message": "this key is not good for 'score'."},
    ),
    404: (
        "NoSuchJob", "There is no such job.",
        {
            "code": "unknown_task", "message": "there is no job of this task_id.", "field": "task_id",
            "hint": "Jobs are kept for seven days.",
        },
    ),
    408: (
        "TooSlow", "The request did not come in time.",
        {"code": "too_slow", "message": "the body must come within 15 seconds."},
    ),
    409: (
        "NoResult", "The job runs, or it failed: there is no result.",
        {
            "code": "in_progress", "message": "the job is not done yet.", "field": "task_id",
            "hint": "GET /score_batch/status tells how far it is.",
        },
    ),
    413: (
        "TooLarge", "The body is too large, as it came or unpacked.",
        {"code": "too_large", "message": "the body must be at most 8,388,608 bytes.", "hint": "Send it in parts."},
    ),
    415: (
        "OtherType", "The body has another content type or encoding than the route takes.",
        {"code": "unsupported_media_type", "message": "Content-Type must be one of: application/json."},
    ),
    431: (
        "HeadersTooLarge", "The request line and headers are too large.",
        {"code": "headers_too_large", "message": "the request line and headers must be at most 100 headers and 32,768 bytes."},
    ),
    503: (
        "Later", "There is too much to do, or something that is needed is not there at the moment: try again after `Retry-After`.",
        {"code": "overloaded", "message": "too many requests are waiting.", "hint": "Try again."},
    ),
}  # fmt: skip
_HEADERS: Final[Mapping[int, tuple[str, str, dict[str, Any]]]] = {
    401: ("WWW-Authenticate", "How a key is sent.", {"type": "string", "const": "Bearer"}),
    503: ("Retry-After", "Seconds to wait before the request is sent again.", {"type": "integer", "minimum": 0}),
}


def document(routes: Iterable[Route], *, keyed: bool = True) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the routes.

    Parameters
    ----------
    keyed : whether requests need a key, where the route says which

    Raises
    ------
    KeyError
        For a route that nothing is said of.
    """
    table = sorted(routes, key=lambda route: _PLACES[route.method, route.path])
    paths: dict[str, dict[str, Any]] = {}
    used: set[int] = set()
    for route in table:
        operation = OPERATIONS[route.method, route.path]
        refused = refusals_of(route, operation, keyed=keyed)
        used.update(refused)
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation, refused, keyed=keyed)
    parts: dict[str, Any] = {
        "schemas": _schemas([OPERATIONS[route.method, route.path] for route in table]),
        "responses": {REFUSED[status][0]: _refusal(status) for status in sorted(used)},
    }
    if keyed:
        told = "A key, as `pql key` makes them; the operator says what it is good for."
        parts["securitySchemes"] = {SECURITY: {"type": "http", "scheme": "bearer", "description": told}}
    tags = {OPERATIONS[route.method, route.path].tag for route in table}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "summary": SUMMARY, "description": DESCRIPTION},
        "servers": [{"url": "/", "description": "Where this document came from."}],
        "tags": [{"name": name, "description": told} for name, told in TAGS.items() if name in tags],
        "paths": paths,
        "components": parts,
    }


def document_bytes(routes: Iterable[Route], *, keyed: bool = True) -> bytes:
    """Return the document as `GET /docs.json` gives it; made once, when the service starts."""
    return msgspec.json.encode(document(routes, keyed=keyed))


_PLACES: Final = {key: place for place, key in enumerate(OPERATIONS)}
SUMMARY: Final = "Product events in, calibrated and explained leads out."
DESCRIPTION: Final = """\
Errors have one shape, `{"error": {"code", "message", "field"?, "hint"?}}`: `code` is for programs and stays, `message` and
`hint` are for people. 400 is what the sender can mend; after 503 the same request may be sent again, once `Retry-After` has
passed. Scoring changes nothing, so that it may always be sent again.

Requests are read strictly: a field or parameter that is not listed is an error, as are repeated keys and numbers that are not
finite. Answers may get more fields; what is listed stays. Bodies may be packed with gzip (`Content-Encoding: gzip`)."""


def refusals_of(route: Route, operation: Operation, *, keyed: bool) -> list[int]:
    """Return the statuses other than success that a route answers."""
    found = {400, 408, 431, 503, *operation.refuses}
    found |= {401, 403} if keyed and route.scope is not None else set()
    return sorted(found | ({413, 415} if route.types else set()))


def _operation(route: Route, operation: Operation, refused: Iterable[int], *, keyed: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": [{SECURITY: [route.scope]}] if keyed and route.scope is not None else [],
    }
    if operation.parameters:
        told["parameters"] = [
            {
                "name": one.name, "in": "query", "required": one.required, "description": one.description,
                "schema": dict(one.schema), "example": _typed(one.example, one.schema),
            }
            for one in operation.parameters
        ]  # fmt: skip
    if operation.takes:
        most = f"At most {route.most_bytes:,} bytes as it comes, and {route.most_inflated:,} unpacked."
        told["requestBody"] = {"required": True, "description": most, "content": _content(operation.takes)}
    answers: dict[str, Any] = {
        str(operation.status): {"description": operation.given, "content": _content(operation.gives)}
    }
    if operation.leads_to:
        answers[str(operation.status)]["links"] = {
            name: {
                "operationId": name,
                "parameters": {"task_id": "$response.body#/task_id"},
                "description": "The same job.",
            }
            for name in operation.leads_to
        }
    answers |= {str(status): {"description": done} for status, done in operation.also.items()}
    answers |= {str(status): {"$ref": f"#/components/responses/{REFUSED[status][0]}"} for status in refused}
    return {**told, "responses": answers}


def _typed(example: str, schema: Mapping[str, Any]) -> object:
    return int(example) if schema["type"] == "integer" else example


def _content(bodies: Mapping[str, Body]) -> dict[str, Any]:
    return {name: _body(body) for name, body in bodies.items()}


def _body(body: Body) -> dict[str, Any]:
    schema = dict(body.schema) if body.type is None else {"$ref": REF.format(name=body.type.__name__)}
    told: dict[str, Any] = {"schema": schema}
    if body.example is not None:
        # Examples of documented bodies may be kept as the texts that files and pages show.
        parsed = json.loads(body.example) if body.type and isinstance(body.example, str) else body.example
        told["example"] = parsed
    return told


def _refusal(status: int) -> dict[str, Any]:
    _, told, example = REFUSED[status]
    schema = {"$ref": REF.format(name=wire.Refusal.__name__)}
    answer: dict[str, Any] = {"description": told, "content": {JSON: {"schema": schema, "example": {"error": example}}}}
    if status in _HEADERS:
        name, about, of = _HEADERS[status]
        answer["headers"] = {name: {"description": about, "required": True, "schema": of}}
    return answer


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the schemas of all bodies of the operations and of what they are made of, by name."""
    bodies = [body for one in operations for body in (*one.takes.values(), *one.gives.values())]
    types = dict.fromkeys([body.type for body in bodies if body.type is not None] + [wire.Refusal])
    inner = {
        wire.ScoreIn: (wire.LeadIn, wire.AccountIn),
        wire.FeaturesIn: (wire.FeatureLeadIn,),
        wire.ScoreOut: (wire.Answer, wire.Failed),
    }
    every = [*types, *(one for outer in types for one in inner.get(outer, ()))]
    _, found = msgspec.json.schema_components(every, ref_template=REF)
    return {name: _told(found[name]) for name in sorted(found)}


def _told(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in whose properties nothing is left unsaid."""
    kind = schema["properties"].get("kind")
    if kind is not None and "enum" in kind:
        kind.setdefault("type", "string")
        kind.setdefault("description", "Which of the kinds of decisions it is.")
    return schema

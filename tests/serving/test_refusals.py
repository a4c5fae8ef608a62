"""Errors have one shape, and the headers that go with their status."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from starlette.responses import Response

from features.errors import ArtifactError, InvalidInput, NaiveTimestamp, PQLError
from serving.web.refusals import JSON, KEPT_BY_NOBODY, Given, Refused, code_of, error_body, json_bytes, refusal


def body(error: PQLError | Refused) -> dict[str, Any]:
    answer = refusal(error)
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = json.loads(bytes(answer.body))
    assert set(told) == {"error"}
    return told["error"]  # type: ignore[no-any-return]


def test_what_a_caller_can_mend_is_400_with_place_and_hint() -> None:
    error = InvalidInput("x must be y.", "x", "Write y.")
    assert refusal(error).status_code == 400
    assert body(error) == {"code": "invalid_input", "message": "x must be y.", "field": "x", "hint": "Write y."}


def test_what_is_not_known_is_left_out() -> None:
    assert body(InvalidInput("no.")) == {"code": "invalid_input", "message": "no."}
    assert body(ArtifactError("no.")) == {"code": "artifact_error", "message": "no."}


def test_a_code_is_the_name_of_its_class() -> None:
    assert code_of(NaiveTimestamp.of("x", "2026")) == "naive_timestamp"
    assert error_body(Refused(409, "conflict", "no."))["code"] == "conflict"


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (Refused(503, "busy", "x", retry_after=7), {"retry-after": "7"}),
        (Refused(405, "no", "x", allow="GET"), {"allow": "GET"}),
        (Refused(413, "large", "x", close=True), {"connection": "close"}),
        (Refused(401, "who", "x"), {"www-authenticate": "Bearer"}),
        (Refused(404, "gone", "x"), {}),
    ],
)
def test_headers_go_with_what_is_said(error: Refused, headers: dict[str, str]) -> None:
    answer = refusal(error)
    assert answer.status_code == error.status
    told = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
    assert told == {**KEPT_BY_NOBODY, **headers}


def test_an_answer_has_the_headers_that_any_response_would_have() -> None:
    given = Given({"x": 1})
    usual = Response(given.body, headers=KEPT_BY_NOBODY, media_type=JSON)
    assert sorted(given.raw_headers) == sorted(usual.raw_headers)
    assert (given.status_code, given.body) == (200, b'{"x":1}')


def test_a_number_that_is_not_finite_is_null() -> None:
    assert msgspec.json.decode(json_bytes([float("nan"), float("inf"), 1.5])) == [None, None, 1.5]

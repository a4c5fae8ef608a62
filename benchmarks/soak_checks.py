"""What schemathesis must know of this service beside its document.

A wrong lead is an error beside the others, in an answer 200; what a file holds is looked at later than its request; and a
service that is full says so with 503 and Retry-After. Loaded by schemathesis (`SCHEMATHESIS_HOOKS`).
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

INSTEAD_OF = ("not_a_server_error", "negative_data_rejection", "positive_data_acceptance")
FILES = "/score_batch"


@schemathesis.serializer("application/vnd.apache.parquet", "application/x-ndjson", "text/csv")
def as_it_is(_: Any, value: Any) -> bytes:
    """Return any value as the bytes of a file."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.check
def no_fault_of_ours(ctx: Any, response: Any, case: Any) -> None:
    """Check that no answer is 5xx, but for 503 of a full service, which says when to come again."""
    if response.status_code != 503 or "retry-after" not in response.headers:
        not_a_server_error(ctx, response, case)


@schemathesis.check
def wrong_data_is_told(ctx: Any, response: Any, case: Any) -> None:
    """Check that a request that breaks the document is refused, or that each lead that breaks it is."""
    try:
        negative_data_rejection(ctx, response, case)
    except Failure:
        if case.path == FILES and response.status_code == 202:
            return
        wrong = wrong_leads(case)
        if response.status_code != 200 or not wrong:
            raise
        results = json.loads(response.content)["results"]
        assert all("error" in results[place] for place in wrong)


@schemathesis.check
def right_data_is_answered(ctx: Any, response: Any, case: Any) -> None:
    """Check that a request as the document has it is answered; that 3.0 is a whole number is left to JSON Schema."""
    try:
        positive_data_acceptance(ctx, response, case)
    except Failure:
        if case.path != FILES and b"Expected `int`, got `float`" not in response.content:
            raise


@schemathesis.check
def numbers_are_finite(_: Any, response: Any, __: Any) -> None:
    """Check that an answer of JSON is strict JSON."""
    if "json" in response.headers.get("content-type", [""])[0]:
        json.loads(response.content or b"null", parse_constant=_not_finite)


def _not_finite(text: str) -> None:
    raise AssertionError(f"{text} in an answer")


def wrong_leads(case: Any) -> list[int]:
    """Return the places of the leads in a request that break the document."""
    body, raw = case.body, case.operation.schema.raw_schema
    if not isinstance(body, dict) or not isinstance(body.get("leads"), list):
        return []
    named = raw["paths"][case.path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    whole = raw["components"]["schemas"][named["$ref"].rpartition("/")[2]] if "$ref" in named else named
    one = jsonschema_rs.validator_for(
        {**whole["properties"]["leads"]["items"], "components": raw["components"]}, validate_formats=True
    )
    return [place for place, lead in enumerate(body["leads"]) if not one.is_valid(lead)]

"""What is documented of the bodies is what is written and read: field by field, on real answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from serving import asking, feature_requests, requests
from serving.scoring.scorer import Scorer
from serving.web import wire
from serving.web.wire import Answer, Failed, Refusal, ScoreOut
from tests.serving.in_process import client_of

LEAD = json.loads((Path(__file__).parents[2] / "examples" / "lead.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def client(scorer: Scorer) -> TestClient:
    return client_of(scorer)


@pytest.fixture(scope="module")
def rich(made_scorer: Callable[..., Scorer], rich_definition: str) -> TestClient:
    return client_of(made_scorer(rich_definition, {"source": ["partner", "referral"]}))


def same(content: bytes, kind: Any) -> Any:
    """Return an answer as a documented kind, which must hold all of it, under the same names and in the same order."""
    found = msgspec.json.decode(content, type=kind, strict=True)
    assert json.dumps(msgspec.to_builtins(found)) == json.dumps(json.loads(content))
    return found


def told(content: bytes) -> list[Answer | Failed]:
    """Return the results of an answer, each as what it is documented to be."""
    results = msgspec.json.decode(content, type=ScoreOut).results
    return [same(bytes(one), Failed if b'"error"' in bytes(one)[:200] else Answer) for one in results]


# --- answers ----------------------------------------------------------------------------------


def test_an_answer_is_as_documented(client: TestClient) -> None:
    answer = client.post("/score", json=LEAD)
    assert list(answer.json()) == list(ScoreOut.__struct_fields__)
    (found,) = told(answer.content)
    assert isinstance(found, Answer)
    assert found.lead_id == "u-4711"
    assert found.reasons
    assert found.as_of == LEAD["as_of"]


def test_an_answer_with_all_that_it_can_hold_is_as_documented(rich: TestClient) -> None:
    """Of leads of all sorts, so that each list is filled and each value that may be null is and is not."""
    first = LEAD["leads"][0]
    events = [{"event": name, "timestamp": "2026-01-05T09:00:00Z"} for name in ("file_uploaded", "limit_reached") * 4]
    leads = [
        first, {**first, "events": []}, {**first, "events": events, "account_id": None}, {**first, "events": events[:1]},
        {"user_id": "u", "started_at": "2025-12-31T00:00:00Z", "traits": {"source": "partner", "company_size": 9}},
    ]  # fmt: skip
    content = rich.post("/score", json={**LEAD, "leads": leads, "reasons": 20}).content
    found = [one for one in told(content) if isinstance(one, Answer)]
    assert len(found) == len(leads)
    for name in ("reasons", "against", "missing", "playbook", "account_id"):
        assert {bool(getattr(one, name)) for one in found} >= {True}, name
    assert {one.account_id for one in found} == {"acme", None}
    assert {reason.contribution > 0 for one in found for reason in [*one.reasons, *one.against]} == {True, False}


def test_an_answer_without_reasons_is_as_documented(client: TestClient) -> None:
    (found,) = told(client.post("/score", json={**LEAD, "reasons": 0}).content)
    assert isinstance(found, Answer)
    assert (found.reasons, found.against, found.missing, found.playbook) == ([], [], [], None)


def test_a_lead_that_fails_is_as_documented_beside_one_that_does_not(client: TestClient) -> None:
    leads = [{"user_id": 5}, LEAD["leads"][0], {"user_id": "u", "started_at": "yesterday"}]
    nobody, scored, late = told(client.post("/score", json={**LEAD, "leads": leads}).content)
    assert isinstance(scored, Answer)
    assert isinstance(nobody, Failed)
    assert isinstance(late, Failed)
    assert (nobody.index, nobody.lead_id) == (0, None)
    assert (late.index, late.lead_id) == (2, "u")
    assert late.error.field == "leads[2].started_at"
    assert late.error.hint is not msgspec.UNSET


def test_a_refusal_is_as_documented(client: TestClient) -> None:
    found = same(client.post("/score", json={"leads": []}).content, Refusal)
    assert (found.error.code, found.error.field) == ("invalid_input", "leads")


def test_a_refusal_without_field_and_hint_is_as_documented(client: TestClient) -> None:
    found = same(client.post("/model").content, Refusal)
    assert found.error.code == "method_not_allowed"
    assert found.error.field is msgspec.UNSET


def test_ready_values_get_the_same_answer(client: TestClient) -> None:
    columns = client.get("/model").json()["columns"]
    features = {one["name"]: 1 for one in columns}
    answer = client.post("/score_features", json={"leads": [{"lead_id": "u-1", "features": features}]})
    (found,) = told(answer.content)
    assert isinstance(found, Answer)
    assert found.lead_id == "u-1"


# --- requests ---------------------------------------------------------------------------------

READ = [
    (wire.EventIn, requests.EventIn),
    (wire.LeadIn, requests.LeadIn),
    (wire.AccountIn, requests.AccountIn),
    (wire.ScoreIn, asking.ScoreIn),
    (wire.FeatureLeadIn, feature_requests.FeatureLeadIn),
    (wire.FeaturesIn, asking.ScoreIn),
]


def fields_of(kind: type[msgspec.Struct]) -> list[tuple[Any, ...]]:
    """Return what a decoder makes of each field: its name, its type and its default."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    assert info.forbid_unknown_fields
    return [(one.encode_name, plain(one.type), one.required, one.default, one.default_factory) for one in info.fields]


def plain(kind: msgspec.inspect.Type) -> object:
    """Return a type without what is only said of it; structs by their names."""
    match kind:
        case msgspec.inspect.Metadata():
            return plain(kind.type)
        case msgspec.inspect.StructType():
            return kind.cls.__name__
        case msgspec.inspect.UnionType():
            return sorted(map(repr, map(plain, kind.types)))
        case msgspec.inspect.ListType():
            return ["list", plain(kind.item_type)]
        case msgspec.inspect.DictType():
            return ["dict", plain(kind.key_type), plain(kind.value_type)]
    return kind


@pytest.mark.parametrize(("documented", "read"), READ, ids=[one.__name__ for one, _ in READ])
def test_what_is_read_is_what_is_documented(documented: type[msgspec.Struct], read: type[msgspec.Struct]) -> None:
    assert fields_of(read) == fields_of(documented)


def test_the_check_of_fields_sees_another_type_and_another_default() -> None:
    class Other(msgspec.Struct, forbid_unknown_fields=True):
        leads: list[msgspec.Raw]
        as_of: str | None = None
        reasons: int = 5

    class Wider(msgspec.Struct, forbid_unknown_fields=True):
        leads: list[msgspec.Raw]
        as_of: str | None = None
        reasons: int | None = 3

    assert fields_of(Other)[:2] == fields_of(wire.ScoreIn)[:2]
    assert fields_of(Other)[2:] != fields_of(wire.ScoreIn)[2:]
    assert fields_of(Wider)[2:] != fields_of(wire.ScoreIn)[2:]


def test_the_bounds_that_are_documented_are_those_that_are_kept() -> None:
    assert (wire.MOST_LEADS, wire.MOST_REASONS) == (asking.MOST_LEADS, asking.MOST_REASONS)

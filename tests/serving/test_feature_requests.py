"""Ready feature values are answered like the events they were made of, and a lead that is wrong only takes itself out."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InvalidInput
from features.leads import open_leads
from features.times import parse_instant, text_of
from serving import feature_requests, requests
from serving.answering import Failed, Result, answering, drained, result_body
from serving.asking import decode
from serving.scoring.answers import Answer, Subject
from serving.scoring.scorer import Scorer
from tests.serving.answered import NOW, subjects_of
from training.demo import Demo

Lead = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"
EVENTS, FEATURES = ((EXAMPLES / name).read_bytes() for name in ("lead.json", "features.json"))
AGE = "trial_age_days"


def plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def ready(scorer: Scorer, subject: Subject) -> Lead:
    """Return a lead of `POST /score_features` that says the same as a subject."""
    names = [column.name for column in scorer.builder.columns]
    return {
        "lead_id": subject.lead_id, "account_id": subject.account_id, "as_of": text_of(subject.as_of),
        "ends_at": None if subject.ends_at is None else text_of(subject.ends_at), "traits": dict(subject.traits),
        "features": {name: plain(value) for name, value in zip(names, subject.row.tolist(), strict=True)},
    }  # fmt: skip


def ask(scorer: Scorer, *leads: object, **rest: Any) -> list[Result]:
    return feature_requests.score(scorer, decode(json.dumps({"leads": leads, **rest}).encode()), NOW)


def answer(scorer: Scorer, lead: object, **rest: Any) -> Answer:
    (found,) = ask(scorer, lead, **rest)
    assert isinstance(found, Answer), found
    return found


def error(scorer: Scorer, lead: object) -> dict[str, str]:
    (found,) = ask(scorer, lead)
    assert isinstance(found, Failed), found
    return found.error


@pytest.fixture(scope="module")
def rich(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, {"source": ["partner", "referral"]})


@pytest.fixture(scope="module")
def lead() -> Lead:
    (found,) = json.loads(FEATURES)["leads"]
    return {**found, "as_of": json.loads(FEATURES)["as_of"]}


# --- the same as from events ------------------------------------------------------------------


def test_the_example_is_made_of_the_example_with_events(scorer: Scorer) -> None:
    reading = requests.reading(scorer, decode(EVENTS), 0)
    (subject,) = reading.part(0, reading.leads)
    assert isinstance(subject, Subject)
    made = ready(scorer, subject)
    as_of = made.pop("as_of")
    assert json.loads(FEATURES) == {"as_of": as_of, "leads": [made]}


def test_the_example_gets_the_answer_of_the_example_with_events(scorer: Scorer) -> None:
    assert feature_requests.score(scorer, decode(FEATURES), 0) == requests.score(scorer, decode(EVENTS), 0)


@pytest.mark.parametrize("model", ["scorer", "rich"])
def test_the_rows_of_leads_with_events_get_the_answers_of_these(
    model: str, request: pytest.FixtureRequest, demo_world: Demo, history: Dataset, moments: list[int],
    posted: Callable[..., Lead],
) -> None:  # fmt: skip
    scorer: Scorer = request.getfixturevalue(model)
    traits = [trait.name for trait in scorer.builder.definition.traits]
    for moment in moments[1::2]:
        names = [history.leads.ids[place] for place in open_leads(history.leads, moment)[:40]]
        sent = [posted(demo_world.events, demo_world.trials, name, traits) for name in names]
        body = decode(json.dumps({"leads": sent, "as_of": text_of(moment), "reasons": 5}).encode())
        reading = requests.reading(scorer, body, 0)
        subjects = reading.part(0, reading.leads)
        expected = drained(answering(reading))
        told = [ready(scorer, one) for one in subjects if isinstance(one, Subject)]
        assert ask(scorer, *told, reasons=5) == expected
        # Ages tell when trials began and so when they end.
        assert ask(scorer, *({**one, "ends_at": None} for one in told), reasons=5) == expected
        assert len({one.receipt_id for one in expected if isinstance(one, Answer)}) == len(names)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), reasons=st.integers(0, 6))
def test_any_row_comes_through_to_the_last_bit(rich: Scorer, seed: int, reasons: int) -> None:
    subjects = [one for one in subjects_of(rich, 3, seed) if rich.builder.ready._fits(one.row)]
    sent = [ready(rich, one) for one in subjects]
    body = json.dumps({"leads": [*sent, {}], "reasons": reasons}).encode()
    reading = feature_requests.reading(rich, decode(body), NOW)
    *made, broken = reading.part(0, reading.leads)
    assert isinstance(broken, Failed)
    for one, other in zip(made, subjects, strict=True):
        assert isinstance(one, Subject)
        assert one.row.tobytes() == np.where(np.isnan(other.row), np.nan, other.row).tobytes()
        assert (one.lead_id, one.account_id, one.as_of, one.ends_at) == (
            other.lead_id, other.account_id, other.as_of, other.ends_at,
        )  # fmt: skip


# --- moments ----------------------------------------------------------------------------------


def test_a_leads_own_moment_comes_before_the_requests_and_that_before_now(scorer: Scorer, lead: Lead) -> None:
    own = "2026-01-09T09:00:01Z"
    bare = {name: value for name, value in lead.items() if name != "as_of"}
    assert answer(scorer, {**lead, "as_of": own}, as_of="2026-01-09T09:00:00Z").as_of == parse_instant(own, "")
    assert answer(scorer, bare, as_of=own).as_of == parse_instant(own, "")
    assert answer(scorer, bare).as_of == NOW


def test_a_moment_that_is_none_fails_its_lead_or_the_whole_request(scorer: Scorer, lead: Lead) -> None:
    found = error(scorer, {**lead, "as_of": "noon"})
    assert found["field"] == "leads[0].as_of"
    with pytest.raises(InvalidInput, match=r"as_of must be an ISO 8601 time"):
        ask(scorer, lead, as_of="noon")


def test_nobody_is_a_pql_after_the_end_of_its_trial(scorer: Scorer, lead: Lead) -> None:
    as_of, began = parse_instant(lead["as_of"], ""), lead["features"][AGE]
    assert began < 14
    usual = answer(scorer, {**lead, "ends_at": None})
    assert usual.is_pql
    ended = answer(scorer, {**lead, "ends_at": text_of(as_of)})
    assert (ended.probability, ended.is_pql, ended.track) == (usual.probability, False, None)


def test_an_age_that_no_trial_can_have_is_refused(scorer: Scorer, lead: Lead) -> None:
    for age in (20_000, 1e300):
        found = error(scorer, {**lead, "features": {**lead["features"], AGE: age}})
        assert found["field"] == f"leads[0].features.{AGE}"
        assert "must not reach back before 1990-01-01T00:00:00Z" in found["message"]


def test_the_same_lead_at_two_moments_is_two_answers(scorer: Scorer, lead: Lead) -> None:
    first, second = ask(scorer, lead, {**lead, "as_of": "2026-01-09T09:00:01Z"})
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert first.receipt_id != second.receipt_id


# --- what is wrong with one lead --------------------------------------------------------------


def changed(lead: Lead, **features: Any) -> Lead:
    return {**lead, "features": {**lead["features"], **features}}


@pytest.mark.parametrize(
    ("change", "code", "field", "message"),
    [
        ({"lead_id": " "}, "invalid_input", "leads[0].lead_id", "must not be empty"),
        ({"lead_id": 5}, "invalid_input", "leads[0].lead_id", "Expected `str`, got `int`"),
        ({"lead": "u"}, "invalid_input", "leads[0]", "unknown field `lead`"),
        ({"features": None}, "invalid_input", "leads[0].features", "Expected `object`, got `null`"),
        ({"features": []}, "invalid_input", "leads[0].features", "Expected `object`, got `array`"),
        ({"features": {}}, "schema_mismatch", "leads[0].features", "missing 80: 'trial_age_days'"),
        ({"ends_at": "noon"}, "invalid_input", "leads[0].ends_at", "ISO 8601"),
        ({"as_of": "2026-01-09T09:00:00"}, "naive_timestamp", "leads[0].as_of", "time zone"),
        ({"traits": {"sauce": "ads"}}, "invalid_input", "leads[0].traits", "unknown trait 'sauce'"),
        ({"traits": {"company_size": "ten"}}, "invalid_input", "leads[0].traits.company_size", "must be a number"),
        ({"traits": {"email": "a@corkboard.example"}}, "excluded", "leads[0]", "list of excluded leads"),
    ],
)
def test_a_lead_that_cannot_be_scored_says_why_and_where(
    scorer: Scorer, lead: Lead, change: Lead, code: str, field: str, message: str
) -> None:
    found = error(scorer, {**lead, **change})
    assert (found["code"], found["field"]) == (code, field)
    assert message in found["message"]


@pytest.mark.parametrize("value", ["3", "x", True, False, [], {}, [1]])
def test_a_value_that_is_no_number_is_named(scorer: Scorer, lead: Lead, value: object) -> None:
    found = error(scorer, changed(lead, pricing_views_count_1d=value))
    assert found["field"] == "leads[0].features.pricing_views_count_1d"
    assert found["message"] == f"{found['field']} must be a number or null, got {str(value)!r}."


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400])
def test_a_number_that_is_too_large_to_be_one_fails_its_lead(scorer: Scorer, lead: Lead, number: str) -> None:
    body = json.dumps({"leads": [changed(lead, pricing_views_count_1d="HERE"), lead]}).replace('"HERE"', number)
    bad, good = feature_requests.score(scorer, decode(body.encode()), NOW)
    assert isinstance(bad, Failed)
    assert "out of range" in bad.error["message"]
    assert isinstance(good, Answer)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_no_number_for_is_no_json(lead: Lead, number: str) -> None:
    body = json.dumps({"leads": [changed(lead, pricing_views_count_1d="HERE")]}).replace('"HERE"', number)
    with pytest.raises(InvalidInput, match="malformed"):
        decode(body.encode())


def test_bad_leads_leave_the_good_ones_beside_them_alone_and_in_order(scorer: Scorer, lead: Lead) -> None:
    bad = changed(lead, pricing_views_count_1d=-1)
    missing = copy.deepcopy(lead)
    del missing["features"][AGE]
    sent = [bad, {**lead, "lead_id": "a"}, missing, 5, {**lead, "lead_id": "b"}]
    found = ask(scorer, *sent)
    assert [one.index for one in found if isinstance(one, Failed)] == [0, 2, 3]
    assert [one.lead_id for one in found] == ["u-4711", "a", "u-4711", None, "b"]
    assert found[1] == answer(scorer, sent[1])


def test_traits_are_quoted_but_do_not_score(scorer: Scorer, lead: Lead) -> None:
    silent, usual = answer(scorer, {**lead, "traits": {}}, reasons=20), answer(scorer, lead, reasons=20)
    assert silent.probability == usual.probability
    signals, traits = [one.signal for one in usual.reasons], {"company_size", "source", "email"}
    assert set(signals) & traits
    assert not {one.signal for one in silent.reasons} & traits
    assert {one.signal for one in silent.reasons} >= set(signals) - traits


@settings(max_examples=150)
@given(st.data())
def test_any_value_anywhere_is_scored_or_refused(scorer: Scorer, lead: Lead, data: st.DataObject) -> None:
    value = data.draw(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5)
    )
    body = copy.deepcopy(lead)
    if data.draw(st.booleans()):
        body["features"][data.draw(st.sampled_from([*lead["features"], "else"]))] = value
    else:
        body[data.draw(st.sampled_from([*lead, "else"]))] = value
    (found,) = ask(scorer, body)
    told = json.loads(msgspec.json.encode(result_body(found)))
    assert told["error"]["message"] if isinstance(found, Failed) else 0 < told["probability"] < 1

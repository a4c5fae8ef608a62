"""What stays inside stays inside: private facts, silent signals, and whatever a trial user writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.times import micros
from features.traits import trait_number
from serving.batch import read_for, score_open
from serving.requests import decode, result_body, score
from serving.scoring.answers import Answer, Asked, Subject, answers_of
from serving.scoring.scorer import Scorer

TEXT = """
product: Tiny
trial: {length: 14d}
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [7d, trial]
signals:
  - name: spends
    kind: value
    events: [spend]
    measures: [count, sum(amount), mean(amount), active_days, days_since_last]
    text: "spent on {active_days:day|days} {window}"
    mention: "you spent on {active_days:day|days}"
    missing: spent anything
    private: [count, sum_amount, mean_amount, days_since_last]
  - {name: hushed, kind: friction, events: [hush], text: "{count} hushed", missing: hushed anything, speakable: false}
  - {name: visits, kind: frequency, events: [visit], measures: [count], text: "{count:visit|visits} {window}", direction: free}
traits:
  - {name: income, type: number, direction: "+", speakable: true, private: true, text: "earns much"}
  - {name: sector, type: category, speakable: true, private: true, text: "is in a sector we know"}
  - {name: email, type: email_domain, speakable: true, private: true, text: "has a business address", against: "has a free one"}
  - {name: rival, type: flag, text: "is a rival"}
  - {name: site, type: email_domain, speakable: true, text: "has a site at {value}", against: "has a free site at {value}"}
  - {name: source, type: category, speakable: true, text: "came by {value}"}
  - {name: seats, type: number, speakable: true, text: "has {value} seats"}
cutoff: {policy: precision, at_least: 0.3}
playbooks:
  - {id: praise, title: Praise, message: "{product}: {reason}, and {mention}.", kinds: [value]}
  - {id: fits, title: Fits, message: "{product}: {reason}.", kinds: [fit, frequency]}
"""
LEVELS = {"sector": ["banking", "mining"], "source": ["partner", "friend"]}
SILENT = {"hushed", "rival"}
NOW = datetime(2026, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="module", params=["for", "against"])
def version(request: pytest.FixtureRequest, made_scorer: Callable[..., Scorer]) -> Scorer:
    """A version in which nearly all that is known of a lead speaks for it, and one in which it speaks against it."""
    made, typical = made_scorer(TEXT, LEVELS), {"for": -3.0, "against": 3.0}[request.param]
    usual = np.full_like(made.artifact.reference.typical, typical)
    return Scorer(replace(made.artifact, reference=replace(made.artifact.reference, typical=usual)))


def lead(n: int, **traits: Any) -> dict[str, Any]:
    """Return a lead with numbers in its facts that stand nowhere else."""
    events = [
        {"event": "spend", "timestamp": (NOW - timedelta(days=d, hours=7, minutes=41)).isoformat(),
         "properties": {"amount": 7919.25 + d}}
        for d in range(n)
    ]  # fmt: skip
    for name, many in (("hush", n), ("visit", 2 * n)):
        events += [{"event": name, "timestamp": (NOW - timedelta(days=4, hours=h)).isoformat()} for h in range(many)]
    known = {"income": 104729, "sector": "mining", "email": "dana@acme.example", "rival": True, "seats": 5, **traits}
    started = (NOW - timedelta(days=6, hours=1)).isoformat()
    return {"user_id": f"u{n}", "started_at": started, "traits": known, "events": events}


def told(version: Scorer, *leads: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answers as they leave the service, as plain JSON."""
    body = json.dumps({"leads": list(leads), "reasons": 20}).encode()
    answers = [result_body(one) for one in score(version, decode(body), micros(NOW))]
    found: list[dict[str, Any]] = json.loads(msgspec.json.encode(answers))
    assert all("reasons" in one for one in found), found
    return found


def walk(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key and every value of a JSON text, with where it stands."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield f"{path}.{key}", key
            yield from walk(value, f"{path}.{key}")
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from walk(value, f"{path}[{i}]")
    else:
        yield path, part


def said(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [*answer["reasons"], *answer["against"], *answer["missing"]]


def texts(answer: dict[str, Any]) -> list[str]:
    """Return every sentence of an answer."""
    found = [one["text"] for one in said(answer)] + [one["mention"] for one in answer["reasons"] if one["mention"]]
    return found + ([answer["playbook"]["message"]] if answer["playbook"] else [])


CROWD = [
    lead(0),
    lead(1),
    lead(3),
    lead(5),
    lead(3, sector="banking", income=1, email="d@gmail.com"),
    lead(2, income=None),
]


# --- private and silent -----------------------------------------------------------------------


def test_what_may_be_said_is_said_in_these_answers(version: Scorer) -> None:
    # Without this the tests below could pass on answers that say nothing.
    answers = told(version, *CROWD)
    ways = [{one["signal"] for answer in answers for one in answer[way]} for way in ("reasons", "against")]
    assert {"spends", "income", "sector", "email", "seats", "visits"} <= ways[0] | ways[1]
    assert any(answer["playbook"] for answer in answers) or not ways[0]


def test_private_facts_and_values_are_nowhere_in_an_answer(version: Scorer) -> None:
    secrets = {
        "count",
        "sum_amount",
        "mean_amount",
        "days_since_last",
        "mining",
        "banking",
        "gmail.com",
        "acme.example",
    }
    for answer in told(version, *CROWD):
        for one in said(answer):
            if one["signal"] == "spends":
                assert not secrets & set(one["facts"])
            if one["signal"] in ("income", "sector", "email"):
                assert one["facts"] == {}
        for path, value in walk(answer):
            assert value not in secrets - {"count"}, path
            assert "7919." not in str(value), path
            assert "104729" not in str(value), path
            assert not any(secret in str(value) for secret in ("mining", "banking", "acme", "gmail")), path


def test_private_facts_are_nowhere_in_a_scored_table(version: Scorer) -> None:
    some = CROWD[:4]
    events = pl.DataFrame([
        {"user_id": one["user_id"], "event": event["event"], "timestamp": datetime.fromisoformat(event["timestamp"]),
         "properties": json.dumps(event.get("properties", {}))}
        for one in some for event in one["events"]
    ])  # fmt: skip
    trials = pl.DataFrame([
        {"user_id": one["user_id"], "started_at": datetime.fromisoformat(one["started_at"]), **one["traits"],
         "site": "acme.example", "source": "partner"}
        for one in some
    ])  # fmt: skip
    frame = score_open(version, read_for(version, events, trials), micros(NOW), Asked(20)).drop("lead_id", "receipt_id")
    written = frame.write_json()
    assert sum(len(row["reasons"]) + len(row["against"]) for row in frame.to_dicts()) > 4
    for secret in ("sum_amount", "mean_amount", "days_since_last", "7919.", "104729", "mining", "hushed", "rival"):
        assert secret not in written


def test_silent_signals_and_traits_are_named_nowhere(version: Scorer) -> None:
    for answer in told(version, *CROWD):
        for path, value in walk(answer):
            assert not any(name in str(value) for name in SILENT), path


# --- what a trial user writes -----------------------------------------------------------------

HOSTILE = (
    "x@<script>alert(1)</script>.com", "x@a.com<b>", "a@evil\u202egpj.example", "a@\u2066acme\u2069.example", "a@b.example/../x",
    "a@<!here>.example", "a@[click](https://evil.example)", "a@{product}.example", "a@acme.example\x00", "a@-.example ",
    "a@acme.ex\u200bample", "a@" + "y" * 200 + ".example", "=cmd|' /C calc'!A0.example", "a@acme .example",
)  # fmt: skip


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_is_no_plain_domain_is_in_no_text(version: Scorer, address: str) -> None:
    usual = told(version, lead(3, site="x@acme.example", source=None))
    (answer,) = told(version, lead(3, site=address, source=None))
    assert not [one for one in said(answer) if one["signal"] == "site"]
    for text in texts(answer):
        assert not any(mark in text for mark in "<>[]{}|\x00\u202e\u2066\u2069\u200b"), text
        assert "acme" not in text
        assert "evil" not in text
    assert usual


@given(domain=st.text(max_size=30))
def test_whatever_stands_in_an_address_a_text_is_of_letters_digits_dots_and_hyphens(shown: Scorer, domain: str) -> None:
    (answer,) = saying(shown, {"site": f"x@{domain}.example"})
    for one in [*answer.reasons, *answer.against]:
        if one.signal == "site":
            place = one.facts["value"]
            assert isinstance(place, str)
            assert all(letter.isalnum() or letter in "._-" for letter in place)
            assert one.text.endswith(f" at {place}")


@given(value=st.text(min_size=1) | st.sampled_from(["<b>x</b>", "{count}", "friend\u202e", "Friend", "partner "]))
def test_a_category_that_training_did_not_learn_is_in_no_text(shown: Scorer, value: str) -> None:
    (answer,) = saying(shown, {"source": value})
    named = [one for one in [*answer.reasons, *answer.against] if one.signal == "source"]
    assert all(one.facts == {"value": value} and value in LEVELS["source"] for one in named)


@pytest.fixture(scope="module")
def shown(made_scorer: Callable[..., Scorer]) -> Scorer:
    """A version in which what was typed in speaks, however it is understood."""
    made = made_scorer(TEXT, LEVELS, seed=1)
    typical = made.artifact.reference.typical.copy()
    for place, column in enumerate(made.builder.columns):
        typical[:, place] = -9.0 if column.owner in ("site", "source", "seats") else 0.0
    return Scorer(replace(made.artifact, reference=replace(made.artifact.reference, typical=typical)))


def saying(scorer: Scorer, traits: dict[str, object]) -> list[Answer]:
    row = np.zeros(len(scorer.builder.columns))
    row[0] = 5.0
    for place, column in enumerate(scorer.builder.columns):
        if column.owner in scorer.builder.definition.trait_of:
            trait = scorer.builder.definition.trait_of[column.owner]
            row[place] = trait_number(column, trait, traits.get(column.owner))
    return list(answers_of(scorer, [Subject("u", None, 0, None, traits, row)], Asked(20)))


def test_what_was_typed_in_speaks_where_it_is_one_of_many_alike(shown: Scorer) -> None:
    # Without this the properties above could pass on answers that never name it.
    (answer,) = saying(shown, {"site": "x@acme.example", "source": "partner"})
    assert {"has a site at acme.example", "came by partner"} <= {one.text for one in answer.reasons}
    (free,) = saying(shown, {"site": "x@gmail.com"})
    assert "has a free site at gmail.com" in {one.text for one in free.reasons}


def test_facts_are_numbers_and_plain_texts(version: Scorer) -> None:
    for answer in told(version, *CROWD, lead(3, site=HOSTILE[0], source="<b>")):
        for one in said(answer):
            assert all(type(value) in (int, float, str) for value in one["facts"].values())

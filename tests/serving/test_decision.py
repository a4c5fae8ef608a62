"""From the cutoff on a lead is a PQL; without a cutoff nobody is; and a decision survives being written down."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.times import parse_instant
from serving.scoring.decision import (
    Cutoff,
    Decision,
    Line,
    NoCutoff,
    Segmented,
    expired,
    from_facts,
    overall,
    parts,
    to_facts,
)

CUTOFF = Cutoff(0.25, 0.3, 0.9, 900, 300, 0.31, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z")
NONE = NoCutoff(0.3, 0.9, "the best precision is 0.22")
HIGH = replace(CUTOFF, probability=0.7, confidence=0.95)
SEGMENTED = Segmented("plan", ("pro", "team", "free"), (HIGH, None, NONE), CUTOFF)


# --- flags ------------------------------------------------------------------------------------


def test_a_lead_exactly_at_the_cutoff_is_a_pql_and_one_just_below_is_not() -> None:
    below = np.nextafter(0.25, 0)
    assert CUTOFF.flags(np.array([below, 0.25, 0.9, 0.1])).tolist() == [False, True, True, False]


def test_a_higher_cutoff_never_flags_more() -> None:
    probabilities = np.random.default_rng(0).random(500)
    higher = replace(CUTOFF, probability=0.4).flags(probabilities)
    assert (higher <= CUTOFF.flags(probabilities)).all()
    assert 0 < higher.sum() < CUTOFF.flags(probabilities).sum()


def test_without_a_cutoff_nobody_is_a_pql_however_high_the_score() -> None:
    flags = NONE.flags(np.array([0.0, 0.5, 1.0]))
    assert flags.dtype == bool
    assert not flags.any()


@pytest.mark.parametrize("decision", [CUTOFF, NONE, SEGMENTED])
def test_nobody_gets_no_flags(decision: Decision) -> None:
    assert decision.flags(np.empty(0)).shape == (0,)
    assert decision.flags(np.empty(0), np.empty(0, np.int64)).dtype == bool


@pytest.mark.parametrize("decision", [CUTOFF, NONE])
def test_where_all_leads_have_one_decision_segments_mean_nothing(decision: Decision) -> None:
    probabilities = np.linspace(0, 1, 9)
    assert (decision.flags(probabilities, np.arange(9) % 3) == decision.flags(probabilities)).all()


@pytest.mark.parametrize(
    ("segment", "flagged"),
    [(0, [False, False, True]), (1, [False, True, True]), (2, [False] * 3), (-1, [False, True, True])],
    ids=["of its own", "too small", "refused", "of no level"],
)
def test_each_segment_is_flagged_by_its_own_decision(segment: int, flagged: list[bool]) -> None:
    probabilities = np.array([0.2, 0.5, 0.8])
    assert SEGMENTED.flags(probabilities, np.full(3, segment)).tolist() == flagged


def test_leads_of_different_segments_are_flagged_side_by_side() -> None:
    flags = SEGMENTED.flags(np.full(4, 0.5), np.array([0, 1, 2, -1]))
    assert flags.tolist() == [False, True, False, True]


def test_where_nothing_is_known_of_segments_the_overall_decision_holds() -> None:
    probabilities = np.array([0.2, 0.5, 0.8])
    assert SEGMENTED.flags(probabilities).tolist() == CUTOFF.flags(probabilities).tolist()


# --- what it is made of -----------------------------------------------------------------------


def test_the_overall_decision_is_that_on_leads_of_no_segment() -> None:
    assert [overall(one) for one in (CUTOFF, NONE, SEGMENTED)] == [CUTOFF, NONE, CUTOFF]


def test_parts_are_all_that_decide() -> None:
    assert list(parts(NONE)) == [NONE]
    assert list(parts(SEGMENTED)) == [CUTOFF, HIGH, NONE]


def test_segments_promise_what_the_overall_decision_promises() -> None:
    assert (SEGMENTED.at_least, SEGMENTED.confidence) == (CUTOFF.at_least, CUTOFF.confidence)


END = "2026-04-30T00:00:00Z"
STALE = replace(CUTOFF, expires=END)


def test_evidence_is_stale_from_the_moment_on_at_which_it_expires() -> None:
    end = parse_instant(END, "x")
    assert (expired(STALE, end - 1), expired(STALE, end)) == (False, True)


def test_evidence_that_never_expires_is_never_stale() -> None:
    assert not expired(CUTOFF, 2**62)


def test_where_there_is_no_evidence_none_is_stale() -> None:
    assert not expired(NONE, 2**62)


@pytest.mark.parametrize("segmented", [replace(SEGMENTED, overall=STALE), replace(SEGMENTED, each=(STALE, None, NONE))])
def test_segments_are_stale_where_any_evidence_of_theirs_is(segmented: Segmented) -> None:
    assert expired(segmented, parse_instant(END, "x"))
    assert not expired(segmented, parse_instant(END, "x") - 1)


# --- written down -----------------------------------------------------------------------------

shares, names = st.floats(0, 1), st.sampled_from(["promise", "capacity", "value"])
counts, texts = st.integers(0, 10**9), st.text(max_size=20)
weekly = st.floats(0, 1e9)
lines = st.builds(Line, names, shares, counts, counts, shares, weekly, texts)
cutoffs = st.builds(
    Cutoff, shares, st.none() | shares, shares, counts, counts, shares, texts, texts, st.none() | weekly,
    st.none() | texts, texts, names, st.lists(lines, max_size=3).map(tuple),
)  # fmt: skip
refusals = st.builds(NoCutoff, st.none() | shares, shares, texts, st.none() | counts)
plain = cutoffs | refusals
levels = st.lists(st.tuples(texts, st.none() | plain), max_size=4)
segmenteds = st.builds(
    lambda trait, each, rest: Segmented(trait, tuple(name for name, _ in each), tuple(own for _, own in each), rest),
    texts, levels, plain,
)  # fmt: skip


@given(plain | segmenteds)
def test_a_decision_is_the_same_after_it_was_written_as_json(decision: Decision) -> None:
    facts = to_facts(decision)
    assert facts["kind"] == type(decision).__name__
    assert json.loads(json.dumps(facts)) == facts
    assert from_facts(json.loads(json.dumps(facts))) == decision


def test_writing_and_reading_change_nothing_in_the_facts() -> None:
    facts = to_facts(SEGMENTED)
    before = json.dumps(facts)
    from_facts(facts)
    assert json.dumps(facts) == before


def test_facts_from_before_there_were_other_policies_are_read() -> None:
    first = (
        "probability",
        "at_least",
        "confidence",
        "leads",
        "converted",
        "precision_low",
        "measured_from",
        "measured_until",
    )
    old = {"kind": "Cutoff", **{name: getattr(CUTOFF, name) for name in first}}
    assert from_facts(old) == CUTOFF


def facts_of(decision: Decision, **changes: Any) -> dict[str, Any]:
    return {**to_facts(decision), **changes}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "decision.kind must be one of Cutoff, NoCutoff, Segmented, got None"),
        (facts_of(CUTOFF, kind="Cut"), "decision.kind must be one of Cutoff, NoCutoff, Segmented, got 'Cut'"),
        (facts_of(CUTOFF, kind=["Cutoff"]), "decision.kind must be one of"),
        (facts_of(CUTOFF, kind="NoCutoff"), "decision of kind NoCutoff has no key 'binds'"),
        (facts_of(CUTOFF, cutof=1), "decision of kind Cutoff has no key 'cutof'"),
        (facts_of(CUTOFF, probability="0.3"), "decision of kind Cutoff: Expected `float`, got `str`"),
        (facts_of(CUTOFF, probability=None), "decision of kind Cutoff: Expected `float`, got `null`"),
        (facts_of(CUTOFF, binds="chance"), "decision of kind Cutoff: Invalid enum value 'chance'"),
        (facts_of(CUTOFF, lines=[{"name": "value"}]), "decision of kind Cutoff: .*required field `probability`"),
        ({"kind": "NoCutoff", "at_least": 0.3}, "decision of kind NoCutoff: .*required field `confidence`"),
        (facts_of(SEGMENTED, each=[]), "has 3 names and 0 decisions"),
        (facts_of(SEGMENTED, each=5), "decision of kind Segmented: TypeError"),
        (facts_of(SEGMENTED, names=None), "decision of kind Segmented: ValidationError"),
        ({"kind": "Segmented", "trait": "plan"}, "decision of kind Segmented: KeyError"),
        (facts_of(SEGMENTED, overall=to_facts(SEGMENTED)), "a segment must not have segments"),
        (facts_of(SEGMENTED, overall={"kind": "All"}), "decision.kind must be one of"),
    ],
)
def test_facts_of_no_decision_are_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_facts(facts)


def test_facts_are_the_fields_and_the_kind() -> None:
    assert to_facts(NONE) == {"kind": "NoCutoff", **asdict(NONE)}

"""What a cutoff must achieve can be written in three ways, and whatever is wrong is named with what it must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import definition, policies
from features.definition import Definition, parse
from features.durations import DAY
from features.errors import InvalidSetting
from features.policies import CapacityPolicy, PrecisionPolicy, ValuePolicy

TEXT = """product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
traits: [{name: plan, type: category}, {name: seats, type: number}, {name: invited, type: flag}]
cutoff: """


def read(cutoff: str) -> Definition:
    return parse(TEXT + cutoff)


def problem(cutoff: str) -> str:
    with pytest.raises(InvalidSetting) as caught:
        read(cutoff)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("{at_least: 0.3}", PrecisionPolicy(at_least=0.3)),
        ("{policy: precision, at_least: 0.3, confidence: 0.95}", PrecisionPolicy(at_least=0.3, confidence=0.95)),
        ("{at_least: 0.3, leads_per_week: 40}", PrecisionPolicy(at_least=0.3, leads_per_week=40)),
        ("{policy: capacity, leads_per_week: 40}", CapacityPolicy(leads_per_week=40)),
        ("{policy: capacity, leads_per_week: 0.5, at_least: 0.2}", CapacityPolicy(leads_per_week=0.5, at_least=0.2)),
        ("{policy: value, deal_value: 900, touch_cost: 60}", ValuePolicy(deal_value=900, touch_cost=60)),
        (
            "{policy: value, deal_value: 900, touch_cost: 60, uplift: 0.2, at_least: 0.1, leads_per_week: 9}",
            ValuePolicy(deal_value=900, touch_cost=60, uplift=0.2, at_least=0.1, leads_per_week=9),
        ),
        (
            "{at_least: 0.3, segments: plan, valid_for: 60d}",
            PrecisionPolicy(at_least=0.3, segments="plan", valid_for="60d"),
        ),
        ("{at_least: 0.3, segments: invited}", PrecisionPolicy(at_least=0.3, segments="invited")),
    ],
)
def test_each_policy_is_read_as_it_is_written(text: str, policy: object) -> None:
    found = read(text).cutoff
    assert found == policy
    assert type(found) is type(policy)


def test_nothing_is_limited_unasked_and_evidence_counts_for_ninety_days() -> None:
    found = PrecisionPolicy(at_least=0.3)
    assert (found.policy, found.confidence, found.leads_per_week, found.segments, found.valid_for) == (
        "precision", 0.9, None, None, 90 * DAY
    )  # fmt: skip


def test_evidence_may_count_for_ever() -> None:
    assert read("{at_least: 0.3, valid_for: none}").cutoff.valid_for is None


def test_evidence_is_valid_for_a_span() -> None:
    assert read("{at_least: 0.3, valid_for: 60d}").cutoff.valid_for == 60 * DAY


def test_policies_are_found_with_the_definition_too() -> None:
    for name in ("PrecisionPolicy", "CapacityPolicy", "ValuePolicy", "CutoffPolicy"):
        assert getattr(definition, name) is getattr(policies, name)


money = st.floats(0.01, 1e6)


@given(money, money, st.floats(0.01, 2))
def test_at_the_probability_from_which_it_pays_a_contact_costs_what_it_brings(
    deal: float, cost: float, uplift: float
) -> None:
    if cost < uplift * deal:
        worth_it = ValuePolicy(deal_value=deal, touch_cost=cost, uplift=uplift).worth_it
        assert 0 < worth_it < 1
        assert uplift * worth_it * deal == pytest.approx(cost)


def test_money_decides_nothing_where_it_is_not_given() -> None:
    assert PrecisionPolicy(at_least=0.3).worth_it is CapacityPolicy(leads_per_week=3).worth_it is None


KNOWN = "Known here: policy, at_least, confidence, leads_per_week, segments, valid_for"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{policy: capacty, leads_per_week: 9}",
         "cutoff.policy must be 'precision', 'capacity' or 'value', got 'capacty'. Did you mean 'capacity'?"),
        ("{policy: 3}", "cutoff.policy must be 'precision', 'capacity' or 'value', got 3."),
        ("{policy: [value]}", "cutoff.policy must be 'precision', 'capacity' or 'value', got ['value']."),
        ("{policy: null, at_least: 0.3}", "cutoff.policy must be 'precision', 'capacity' or 'value', got None."),
        ("5", "cutoff must be keys with values, got 5."),
        ("{policy: precision}", "cutoff.at_least is missing; it must be given."),
        ("{policy: capacity}", "cutoff.leads_per_week is missing; it must be given."),
        ("{policy: capacity, at_least: 0.3}", "cutoff.leads_per_week is missing; it must be given."),
        ("{policy: value, touch_cost: 3}", "cutoff.deal_value is missing; it must be given."),
        ("{policy: value, deal_value: 3}", "cutoff.touch_cost is missing; it must be given."),
        ("{at_least: 1.3}", "cutoff.at_least must be less than 1, got 1.3."),
        ("{policy: capacity, leads_per_week: 9, at_least: 0}", "cutoff.at_least must be greater than 0, got 0."),
        ("{policy: capacity, leads_per_week: 0}", "cutoff.leads_per_week must be greater than 0, got 0."),
        ("{policy: capacity, leads_per_week: .inf}", "cutoff.leads_per_week must be a finite number, got inf."),
        ("{policy: capacity, leads_per_week: 9, confidence: 0.2}",
         "cutoff.confidence must be greater than or equal to 0.5, got 0.2."),
        ("{policy: value, deal_value: 9, touch_cost: 0}", "cutoff.touch_cost must be greater than 0, got 0."),
        ("{policy: value, deal_value: 9, touch_cost: 1, uplift: -1}", "cutoff.uplift must be greater than 0, got -1."),
        ("{policy: value, deal_value: 60, touch_cost: 30, uplift: 0.5}",
         "cutoff must have touch_cost lower than uplift times deal_value (30), or no contact ever pays, got {"),
        ("{at_least: 0.3, valid_for: soon}", "cutoff.valid_for must be a whole number of days or hours"),
        ("{at_least: 0.3, valid_for: 0d}", "cutoff.valid_for must be longer than nothing, got '0d'."),
        ("{atleast: 0.3}", f"unknown key cutoff.atleast. Did you mean 'at_least'? {KNOWN}."),
        ("{policy: capacity, leads_per_weak: 9}",
         f"unknown key cutoff.leads_per_weak. Did you mean 'leads_per_week'? {KNOWN}."),
        ("{policy: value, deal_value: 9, touch_costs: 1}",
         f"unknown key cutoff.touch_costs. Did you mean 'touch_cost'? {KNOWN}, deal_value, touch_cost, uplift."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line_and_what_it_must_be(text: str, said: str) -> None:
    assert problem(text).startswith(f"pql.yaml line 6: {said}")


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ("plam", "cutoff.segments: must be the name of a trait, got 'plam'. Did you mean 'plan'?"),
        (
            "seats",
            "cutoff.segments: must be a trait of type category, flag or email_domain, got 'seats' of type number.",
        ),
    ],
)
def test_segments_must_be_the_levels_of_a_trait(segments: str, said: str) -> None:
    assert problem(f"{{at_least: 0.3, segments: {segments}}}") == f"pql.yaml: {said}"

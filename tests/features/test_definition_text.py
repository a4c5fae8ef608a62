"""A definition's text without what leaks says the rest, exactly."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.definition import Definition, parse
from features.definition_text import without_names
from training.leaks import Leak, without

TEXT = """
# A comment that is lost.
product: Bäckerei "Zum Löwen"
conversion: {horizon: 30d, later: 60d}
score_at: [3d, 7d]
windows: [7d, trial]
signals:
  - {name: acts, kind: frequency, events: [act], measures: [count, days_since_last], text: "acted {last}"}
  - {name: invites, kind: team_growth, events: [{event: invite, where: {plan: "on"}}], text: "invited {count:one|some}"}
  - {name: seats, kind: usage_depth, events: [seat_added], text: added seats, direction: "+", playbook: more}
traits:
  - {name: size, type: number, direction: "-"}
  - {name: source, type: category}
  - {name: paying, type: flag}
exclude: {users: [tester]}
cutoff: {policy: capacity, leads_per_week: 7, at_least: 0.25, segments: source}
rules:
  - {name: busy, all: [{signal: acts, at_least: 3}, {signal: seats, at_least: 1}]}
  - {name: early, all: [{signal: invites, at_least: 1}, {trait: source, equals: "1"}]}
  - {name: paying, all: [{trait: paying, at_least: 1}]}
points:
  threshold: 5
  card:
    - {signal: acts, at_least: 3, points: 2}
    - {signal: seats, at_least: 1, points: 4.5}
    - {trait: source, equals: ads, points: -1}
playbooks:
  - {id: more, title: More, message: "More of {product}."}
"""
WHOLE = parse(TEXT)
NAMES = ("acts", "invites", "seats", "size", "source", "paying")


def pruned(*names: str) -> Definition:
    return parse(without_names(TEXT, names))


def left(definition: Definition) -> list[str]:
    return [*definition.signal_of, *definition.trait_of]


@settings(max_examples=30)
@given(st.sets(st.sampled_from(NAMES), min_size=1))
def test_what_is_parsed_again_is_the_definition_without_them(names: set[str]) -> None:
    """As `leaks.without` leaves it, field by field; where that refuses, too little is left to ask."""
    assume(not names >= {"acts", "invites", "seats"})
    leaks = [Leak(name, "back_dated", "why", {}) for name in sorted(names)]
    assert pruned(*names) == without(WHOLE, leaks)
    assert left(pruned(*names)) == [name for name in NAMES if name not in names]


def test_signals_and_traits_that_stay_are_as_they_were() -> None:
    found = pruned("seats", "size")
    for name in ("acts", "invites"):
        assert found.signal_of[name] == WHOLE.signal_of[name]
    for name in ("source", "paying"):
        assert found.trait_of[name] == WHOLE.trait_of[name]


def test_a_rule_goes_with_any_of_its_signals_and_traits() -> None:
    assert [rule.name for rule in pruned("seats").rules] == ["early", "paying"]
    assert [rule.name for rule in pruned("source").rules] == ["busy", "paying"]
    assert [rule.name for rule in pruned("seats", "source", "paying").rules] == []


def test_only_the_lines_of_a_card_that_rest_on_them_go() -> None:
    card = pruned("seats").points
    assert card is not None
    assert [(item.owner, item.points) for item in card.card] == [("acts", 2.0), ("source", -1.0)]
    assert card.threshold == 5


def test_a_card_without_any_line_goes_as_a_whole() -> None:
    assert parse(without_names(TEXT, ["acts", "seats", "source"])).points is None


def test_segments_by_what_is_left_out_go_and_the_policy_stays() -> None:
    found = pruned("source").cutoff
    assert found.segments is None
    assert found == WHOLE.cutoff.model_copy(update={"segments": None})
    assert pruned("size").cutoff == WHOLE.cutoff


def test_all_else_stays() -> None:
    found = pruned("seats")
    for name in ("product", "conversion", "score_at", "windows", "exclude", "playbooks", "trial", "lead"):
        assert getattr(found, name) == getattr(WHOLE, name)


def test_the_first_line_says_what_was_left_out() -> None:
    first = without_names(TEXT, {"seats", "paying"}).splitlines()[0]
    assert first == "# Left out, because they tell the outcome: paying, seats."


@pytest.mark.parametrize("names", [("seats",), ("source", "acts")])
def test_it_is_a_text_that_stays_as_it_is(names: tuple[str, ...]) -> None:
    once = without_names(TEXT, names)
    assert without_names(once, names) == once


def test_a_definition_without_traits_rules_and_points_is_no_trouble() -> None:
    plain = """
product: Tiny
conversion: {horizon: 30d}
score_at: [7d]
windows: [7d]
signals:
  - {name: acts, kind: frequency, events: [act], text: acted}
  - {name: seats, kind: usage_depth, events: [seat_added], text: added seats}
cutoff: {at_least: 0.3}
"""
    assert left(parse(without_names(plain, ["seats"]))) == ["acts"]

"""What tells the outcome is found and named, honest signals are not accused, and what is named can be left out."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.leak_plants import PLANTS
from benchmarks.leak_products import HONEST, Product, Setting, honest, made
from features.dataset import Dataset
from features.definition import parse
from features.errors import Refusal
from features.leads import NEVER, Leads
from features.matrix import FeatureBuilder
from features.windows import Floats, Ints
from training.leaks import (
    KINDS,
    TRIALS,
    Leak,
    faulty_trials,
    find_leaks,
    too_good,
    without,
    written_starts,
)
from training.snapshots import snapshots
from training.split import Split, split

SETTING = Setting(900, 21, rate=0.15, coverage=0.85, noise=0.02)


@cache
def honest_product() -> Product:
    return honest(SETTING)


def product() -> Product:
    """Return the same honest product, its chance at the same point, for every test."""
    return replace(honest_product(), rng=np.random.default_rng(3))


def found(changed: Product) -> dict[str, Leak]:
    data = made(changed).read()
    return {leak.name: leak for leak in find_leaks(*seen(data)[:-1])}


def seen(data: Dataset) -> tuple[Dataset, FeatureBuilder, Any, Floats, Ints, Split]:
    table, builder = snapshots(data, data.leads), FeatureBuilder(data.definition, {})
    parts = split(table)
    return data, builder, table, data.rows(builder, table.lead, table.as_of), parts.fit, parts


# --- what is found ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        ("event dated to midnight of the day of conversion", "back_dated"),
        ("event dated back by days", "too_good"),
        ("event recorded late, dated in the trial", "back_dated"),
        ("consequence within a month", "consequence"),
        ("part of converting, minutes before", "consequence"),
        ("property to sum that payers have", "too_good"),
        ("own consequence in an account window", "back_dated"),
        ("seats that are 0 for others", "outcome_in_trait"),
        ("plan that is free for others", "outcome_in_trait"),
        ("id handed out on conversion", "identifier"),
        ("place in a table sorted by outcome", "identifier"),
        ("fact told by billing, dated back", "back_dated"),
        ("use that begins after the conversion", "starts_after_conversion"),
    ],
)
def test_a_planted_leak_is_found_by_name_and_nothing_else_is_accused(plant: str, kind: str) -> None:
    planted, name = PLANTS[plant](product())
    leaks = found(planted)
    assert list(leaks) == [name]
    assert leaks[name].kind == kind
    assert kind in KINDS


def test_a_sentence_gives_the_numbers_that_the_figures_hold() -> None:
    planted, name = PLANTS["flag that is the outcome"](product())
    leak = found(planted)[name]
    assert f"{leak.figures['converters']:.0%} of those who convert" in leak.why
    assert str(leak) == f"{name}: {leak.why}."


@pytest.mark.parametrize("name", ["as it is", "conversions by chance", "a step that all take before", "seldom used"])
def test_nothing_is_accused_where_nothing_leaks(name: str) -> None:
    assert found(HONEST[name](product())) == {}


def test_what_arrives_late_for_everybody_accuses_nothing() -> None:
    """A history that was imported says of every event that it came after the conversion."""
    assert found(HONEST["history imported on one day"](product())) == {}


def test_the_leads_that_judge_are_never_looked_at() -> None:
    """A fact that gives away only the test part's outcomes is not seen."""
    data = product().read()
    parts = seen(data)[-1]
    later = product().trials["started_at"].dt.epoch("us").to_numpy() >= parts.test_from
    told = product().with_trait("plan", "flag", [bool(one) for one in later & product().won])
    assert found(told) == {}
    everywhere = product().with_trait("plan", "flag", [bool(one) for one in product().won])
    assert list(found(everywhere)) == ["plan"]


def test_the_same_data_gives_the_same_leaks() -> None:
    planted, _ = PLANTS["event dated back by hours"](product())
    assert found(planted) == found(planted)


def test_what_the_definition_trusts_is_still_named_but_not_left_out() -> None:
    planted, name = PLANTS["plan that is free for others"](product())
    traits = [{**one, "trusted": True} if one["name"] == name else one for one in planted.definition["traits"]]
    trusted = replace(planted, definition={**planted.definition, "traits": traits})
    data = trusted.read()
    leaks = find_leaks(*seen(data)[:-1])
    assert [(leak.name, leak.trusted) for leak in leaks] == [(name, True)]
    assert "trusts" in str(leaks[0])
    assert without(data.definition, leaks) is data.definition


# --- trials -----------------------------------------------------------------------------------


def leads(took: list[int | None]) -> Leads:
    n = len(took)
    start = np.zeros(n, np.int64)
    won = np.array([NEVER if one is None else one for one in took])
    never = np.full(n, NEVER)
    return Leads([f"u{i}" for i in range(n)], [None] * n, np.arange(n), start, never, never, won, {})


def test_trials_that_begin_when_they_convert_are_a_fault_even_where_nothing_can_be_learned() -> None:
    leak = written_starts(leads([0] * 20 + [None] * 50))
    assert leak is not None
    assert (leak.name, leak.kind) == (TRIALS, "starts_after_conversion")
    assert "100% of trials that converted" in leak.why


def test_trials_of_which_less_than_two_in_five_convert_at_once_are_no_fault() -> None:
    assert written_starts(leads([0] * 20 + [10**12] * 31 + [None] * 50)) is None


def test_a_fault_of_the_trials_is_refused_because_no_signal_can_be_blamed() -> None:
    refusal = faulty_trials([Leak(TRIALS, "starts_after_conversion", "they begin too late", {})])
    assert refusal is not None
    assert "they begin too late. Export the moment" in str(refusal)
    assert faulty_trials([Leak("plan", "outcome_in_trait", "it is the outcome", {})]) is None


# --- leaving out ------------------------------------------------------------------------------

DEFINITION = """
product: T
conversion: {column: converted_at, horizon: 7d}
score_at: [1d]
windows: [7d, trial]
cutoff: {at_least: 0.3, segments: plan}
signals:
  - {name: logins, kind: frequency, events: [login], text: "{count:login|logins} {window}"}
  - {name: bills, kind: value, events: [bill], text: "{count:bill|bills} {window}"}
traits:
  - {name: plan, type: category}
rules:
  - {name: busy, all: [{signal: logins, at_least: 3}]}
  - {name: paying, all: [{signal: logins, at_least: 1}, {signal: bills, at_least: 1}]}
points:
  threshold: 10
  card:
    - {signal: logins, at_least: 2, points: 5}
    - {signal: bills, at_least: 1, points: 50}
"""


def leak(name: str, *, trusted: bool = False) -> Leak:
    return Leak(name, "consequence", "it follows the conversion", {}, trusted)


def test_a_leaky_signal_goes_with_the_rules_and_points_that_rest_on_it() -> None:
    rest = without(parse(DEFINITION), [leak("bills")])
    assert [one.name for one in rest.signals] == ["logins"]
    assert [rule.name for rule in rest.rules] == ["busy"]
    assert rest.points is not None
    assert [item.owner for item in rest.points.card] == ["logins"]
    assert list(rest.signal_of) == ["logins"]


def test_a_leaky_trait_no_longer_divides_leads_into_segments() -> None:
    definition = parse(DEFINITION)
    assert definition.cutoff.segments == "plan"
    rest = without(definition, [leak("plan")])
    assert rest.traits == ()
    assert rest.cutoff.segments is None


def test_a_card_without_points_is_no_card() -> None:
    text = DEFINITION.replace("    - {signal: logins, at_least: 2, points: 5}\n", "")
    assert without(parse(text), [leak("bills")]).points is None


def test_without_leaks_the_definition_stays_as_it_is() -> None:
    definition = parse(DEFINITION)
    assert without(definition, []) is definition
    assert without(definition, [leak(TRIALS)]) is definition


def test_a_definition_of_which_nothing_would_be_left_is_refused_by_name() -> None:
    with pytest.raises(Refusal, match=r"'bills', 'logins', 'plan'.*at least one signal or trait.*trusted: true"):
        without(parse(DEFINITION), [leak("logins"), leak("bills"), leak("plan")])


# --- a ranking that is too good -----------------------------------------------------------------


def test_two_facts_that_give_the_outcome_only_together_are_refused_by_their_ranking() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random(2_000) < 0.5, rng.random(2_000) < 0.5
    margins = np.where(one ^ other, 3.0, -3.0) + rng.normal(0, 0.5, 2_000)
    refusal = too_good(margins, (one ^ other).astype(np.int64))
    assert refusal is not None
    assert "too good to be true" in str(refusal)


def test_a_leak_that_marks_two_converters_in_three_is_seen_at_the_top_of_the_ranking() -> None:
    rng = np.random.default_rng(2)
    won = rng.random(8_000) < 0.1
    margins = rng.normal(size=8_000) + 10.0 * (won & (rng.random(8_000) < 0.7))
    assert too_good(margins, won.astype(np.int64)) is not None


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.3])
def test_honest_rankings_up_to_an_auc_of_95_percent_pass(apart: float) -> None:
    rng = np.random.default_rng(3)
    for share in (0.03, 0.74):
        won = rng.random(6_000) < share
        assert too_good(rng.normal(size=6_000) + apart * won, won.astype(np.int64)) is None


def test_a_handful_of_converters_proves_nothing() -> None:
    won = np.arange(100) < 5
    assert too_good(won.astype(np.float64), won.astype(np.int64)) is None


def test_margins_that_are_all_the_same_are_no_ranking() -> None:
    won = (np.arange(200) % 2).astype(np.int64)
    assert too_good(np.zeros(200), won) is None

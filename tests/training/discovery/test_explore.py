"""What is found is what is there: rules that were planted are found and hold later, and noise yields nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import beta

from features.columns import Column, columns
from features.definition import parse
from features.rules import Condition, PointCard, Rule, flags, holds, place_of, points
from features.windows import Floats
from training.discovery.conditions import conditions, opposite, thresholds, words
from training.discovery.evidence import Stage, measure
from training.discovery.explore import explore, met
from training.discovery.found import Explored
from training.discovery.rules import FLOORS, Candidate, search

SIGNALS = ("invites", "views", "exports", "tickets")
DEFINITION = """
product: Small
trial: {length: 14d}
conversion: {event: paid, horizon: 30d}
score_at: [3d, 7d]
windows: [7d, trial]
cutoff: {at_least: 0.3}
traits: [{name: size, type: number}, {name: work, type: flag}, {name: source, type: category}]
signals:
"""


@cache
def table() -> tuple[Column, ...]:
    measured = "kind: value, measures: [count, days_since_last], text: did"
    lines = [f"  - {{name: {name}, events: [{name}], {measured}}}" for name in SIGNALS]
    return columns(parse(DEFINITION + "\n".join(lines)), {"source": ("ad", "friend")})


def place(name: str) -> int:
    return [column.name for column in table()].index(name)


def world(
    rng: np.random.Generator, leads: int, odds: Callable[[Floats], Floats], ages: int = 2, mates: int = 1
) -> Stage:
    """Leads at some ages; `odds` says from the rows of the last age how likely each lead is to convert.

    `mates` leads share an account, whose own luck pulls both what they do and how likely they convert.
    """
    account = np.arange(leads) // mates
    luck = rng.normal(size=(account.max() + 1, 2)) * (mates > 1)
    rows = np.full((ages, leads, len(table())), np.nan)
    for name in SIGNALS:
        busy = rng.gamma(1.0, 1.5, leads) * np.exp(luck[account, 0])
        made = rng.poisson(busy / ages, (ages, leads)).cumsum(axis=0)
        rows[:, :, place(f"{name}_count_trial")] = made
        rows[:, :, place(f"{name}_count_7d")] = rng.binomial(made, 0.7)
        rows[:, :, place(f"{name}_days_since_last")] = np.where(made > 0, rng.uniform(0, 7, (ages, leads)), np.nan)
    rows[:, :, place("size")] = rng.lognormal(3, 1, leads)
    rows[:, :, place("work")] = rng.random(leads) < 0.5
    rows[:, :, place("source=ad")] = rng.random(leads) < 0.3
    rows[:, :, place("source=friend")] = 0.0
    chance = odds(rows[-1]) * np.exp(luck[account, 1] - (mates > 1))
    won = rng.random(leads) < chance.clip(0, 0.95)
    return Stage(
        rows.reshape(ages * leads, -1), np.tile(np.arange(leads), ages), np.tile(account, ages),
        np.repeat(np.arange(ages), leads), np.tile(won.astype(np.int64), ages),
        np.tile(np.where(won, rng.uniform(1, 30, leads), 1e9), ages), np.arange(1.0, ages + 1), 10.0,
    )  # fmt: skip


def chance_of(rate: float) -> Callable[[Floats], Floats]:
    return lambda rows: np.full(len(rows), rate)


# --- noise ------------------------------------------------------------------------------------


def test_in_noise_nothing_survives_the_correction() -> None:
    fooled = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ages, mates = [(1, 1), (2, 1), (2, 4)][seed % 3]
        older, later = (world(rng, 240, chance_of(0.15), ages, mates) for _ in range(2))
        found = explore(older, later, table())
        fooled.append(bool(found.surviving or found.rules or found.card))
        assert len(found.tried) > 30
    assert sum(fooled) <= 5


def test_what_tells_only_in_the_older_part_is_not_confirmed() -> None:
    rng = np.random.default_rng(1)
    found = explore(world(rng, 1500, both), world(rng, 800, chance_of(0.15)), table())
    assert found.surviving
    assert found.rules
    assert not any(one.best.confirmed for one in found.surviving)
    assert not any(one.confirmed for one in found.rules)


def test_what_turns_round_later_is_not_confirmed_however_clear_it_is() -> None:
    rng = np.random.default_rng(2)
    found = explore(world(rng, 1500, both), world(rng, 1500, lambda rows: 0.6 - both(rows)), table())
    views = next(one for one in found.surviving if one.best.name == "views")
    assert views.best.later.p < 1e-6
    assert not views.best.confirmed


# --- what was planted -------------------------------------------------------------------------


def both(rows: Floats) -> Floats:
    """Those convert who invited twice and viewed twice; either alone does nothing."""
    planted = (rows[:, place("invites_count_trial")] >= 2) & (rows[:, place("views_count_trial")] >= 2)
    return np.where(planted, 0.6, 0.05)


PLANTED = Rule(name="planted", all=(Condition(signal="invites", at_least=2), Condition(signal="views", at_least=2)))


@cache
def planted() -> tuple[Stage, Stage, Explored]:
    rng = np.random.default_rng(4)
    older, later = world(rng, 3000, both), world(rng, 1500, both)
    return older, later, explore(older, later, table(), 0.4, [PLANTED])


def test_a_planted_rule_is_found_and_holds_later() -> None:
    best = max(planted()[2].rules, key=lambda one: one.sure)
    assert {condition.owner for condition in best.conditions} == {"invites", "views"}
    assert best.confirmed
    assert best.older.precision.low < 0.62 < best.older.precision.high + 0.05
    assert best.later.precision.low < 0.6 < best.later.precision.high + 0.05


def test_no_rule_drags_along_a_condition_that_adds_nothing() -> None:
    for one in planted()[2].rules:
        assert {condition.owner for condition in one.conditions} == {"invites", "views"}


def test_only_the_planted_signals_survive() -> None:
    found = planted()[2]
    assert {one.best.name for one in found.surviving} == {"invites", "views"}
    assert all(one.best.confirmed for one in found.surviving)


def test_the_card_gives_points_to_the_planted_signals_alone_and_keeps_its_precision() -> None:
    found = planted()[2].card
    assert found is not None
    assert {item.owner for item in found.card.card} == {"invites", "views"}
    assert all(item.points in range(5, 41, 5) for item in found.card.card)
    assert max(item.points for item in found.card.card) == 40
    assert found.reached
    assert found.older.precision.low >= 0.4
    assert found.later.precision.value > 0.4
    assert found.later_ranking.low > 0.6


def test_the_card_s_threshold_is_the_lowest_that_reaches_what_is_asked() -> None:
    older, _, found = planted()
    assert found.card is not None
    totals = points(found.card.card, older.rows, table())
    lower = [level for level in np.unique(totals) if 0 < level < found.card.card.threshold]
    assert lower
    assert all(measure(older, totals >= level).precision.low < 0.4 for level in lower)


def test_a_card_that_cannot_reach_what_is_asked_says_so() -> None:
    older, later, _ = planted()
    found = explore(older, later, table(), 0.95).card
    assert found is not None
    assert not found.reached
    assert found.older.precision.low > 0.5


def test_rules_written_by_hand_are_measured_beside_what_is_found() -> None:
    older, later, found = planted()
    (hand,) = found.hand_rules
    assert hand.older == measure(older, flags(PLANTED, older.rows, table()))
    assert hand.later == measure(later, flags(PLANTED, later.rows, table()))
    assert hand.confirmed


def test_points_written_by_hand_are_measured_too() -> None:
    older, later, _ = planted()
    card = PointCard.model_validate({"threshold": 30, "card": [{"signal": "views", "at_least": 2, "points": 30}]})
    found = explore(older, later, table(), 0.4, (), card).hand_card
    assert found is not None
    assert found.later == measure(later, holds(Condition(signal="views", at_least=2), later.rows, table()))


def test_a_behaviour_that_lowers_conversion_is_turned_round_for_rules() -> None:
    def odds(rows: Floats) -> Floats:
        good = rows[:, place("invites_count_trial")] >= 2
        bad = rows[:, place("tickets_count_trial")] >= 1
        return np.where(good & ~bad, 0.5, 0.08)

    rng = np.random.default_rng(6)
    found = explore(world(rng, 3000, odds), world(rng, 1500, odds), table())
    tickets = next(one for one in found.surviving if one.best.name == "tickets")
    assert tickets.best.older.lift.value < 1
    parts = max(found.rules, key=lambda one: one.sure).conditions
    assert any(one.owner == "tickets" and one.below is not None for one in parts)


def test_every_figure_of_a_rule_is_what_its_conditions_give() -> None:
    older, later, found = planted()
    for one in found.rules:
        assert one.older == measure(older, met(one.conditions, older, table()))
        assert one.later == measure(later, met(one.conditions, later, table()))
        assert one.older.coverage >= one.floor
        assert one.sure < one.older.precision.low


# --- the search -------------------------------------------------------------------------------


def slow_search(stage: Stage, candidates: list[Candidate]) -> dict[tuple[int, ...], tuple[int, int, float]]:
    """Leads, converted and coverage of every pair and triple, one by one."""
    found = {}
    for length in (2, 3):
        for parts in combinations(range(len(candidates)), length):
            if len({candidates[i].condition.owner for i in parts}) == length:
                one = measure(stage, np.logical_and.reduce([candidates[i].met for i in parts]))
                found[parts] = (one.leads, one.converted, one.coverage)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_what_trying_one_by_one_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = world(rng, 500, both, ages=3)
    wanted = [Condition(signal=name, at_least=k) for name in SIGNALS for k in (1, 3)]
    candidates = [Candidate(one, holds(one, part.rows, table())) for one in wanted]
    picks, tried = search(part, candidates)
    slow = slow_search(part, candidates)
    assert tried == len(slow)
    tail = 0.05 / tried

    def low(parts: tuple[int, ...]) -> float:
        if len(parts) == 1:
            one = measure(part, candidates[parts[0]].met)
            return bound(one.leads, one.converted, tail)
        return bound(*slow[parts][:2], tail)

    for floor in FLOORS:
        fit = [
            parts for parts, (_, _, coverage) in slow.items()
            if coverage >= floor and low(parts) > max(low(less) for less in combinations(parts, len(parts) - 1))
        ]  # fmt: skip
        best = max((low(parts) for parts in fit), default=0.0)
        assert best == pytest.approx(max((pick.sure for pick in picks if slow[pick.parts][2] >= floor), default=0.0))
    assert picks
    assert all(pick.sure == pytest.approx(low(pick.parts)) for pick in picks)


def bound(leads: int, converted: int, tail: float) -> float:
    return float(beta.ppf(tail, converted, leads - converted + 1)) if leads >= 20 and converted else 0.0


def test_one_condition_makes_no_rule() -> None:
    part = world(np.random.default_rng(0), 100, both)
    one = Condition(signal="views", at_least=1)
    assert search(part, [Candidate(one, holds(one, part.rows, table()))]) == ((), 0)


def test_two_conditions_on_one_signal_make_no_rule() -> None:
    part = world(np.random.default_rng(0), 100, both)
    two = [Condition(signal="views", at_least=k) for k in (1, 2)]
    assert search(part, [Candidate(one, holds(one, part.rows, table())) for one in two]) == ((), 0)


# --- thresholds and words ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0, 0, 1, 1, 2, 5], [1, 2, 3, 4]),
        ([0, 0, 0], []),
        ([], []),
        ([3, 3, 3], []),
        ([0.0, 0.123, 0.456], [0.12, 0.21, 0.29, 0.37, 0.42]),
        ([-1.0, 0.5, 1.0], [-0.25, 0.5, 0.75, 0.9]),
        ([0, 1234, 1234], [1200]),
    ],
)
def test_thresholds_are_neat_and_leave_some_on_either_side(values: list[float], wanted: list[float]) -> None:
    assert thresholds(np.array(values)) == wanted


def test_days_are_whole() -> None:
    assert thresholds(np.array([0.4, 2.2, 2.9, 5.1]), whole=True) == [1, 2, 3, 4]


def test_every_column_but_the_age_is_tried_and_turned_the_right_way() -> None:
    part = world(np.random.default_rng(0), 300, both)
    tried = list(conditions(table(), part.rows))
    assert {table()[at].owner for at, _ in tried} == {*SIGNALS, "size", "work", "source"}
    for at, condition in tried:
        recency = table()[at].name.endswith("days_since_last")
        assert (condition.below is not None) == recency
        assert (
            opposite(condition) is None
            or not (
                holds(condition, part.rows, table()) & holds(opposite(condition), part.rows, table())  # type: ignore[arg-type]
            ).any()
        )


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"signal": "views", "at_least": 1, "window": "7d"}, "views at least once in the last 7 days"),
        ({"signal": "views", "at_least": 3}, "views at least 3 times since the trial began"),
        ({"signal": "views", "below": 1}, "no views since the trial began"),
        ({"signal": "views", "below": 3, "window": "7d"}, "views less than 3 times in the last 7 days"),
        ({"signal": "views", "measure": "days_since_last", "below": 1}, "views for the last time less than 1 day ago"),
        ({"signal": "views", "at_least": 2, "below": 9}, "views at least 2 times since the trial began and views less than 9 times "
         "since the trial began"),
        ({"trait": "size", "at_least": 1200}, "size: at least 1,200"),
        ({"trait": "work", "at_least": 1}, "work: yes"),
        ({"trait": "work", "below": 1}, "work: no"),
        ({"trait": "source", "equals": "ad"}, "source is ad"),
    ],
)  # fmt: skip
def test_a_condition_is_said_in_plain_words(condition: dict[str, object], text: str) -> None:
    one = Condition.model_validate(condition)
    at = place_of(one, table())
    assert at is not None
    assert words(one, table()[at]) == text

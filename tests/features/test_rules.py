"""Rules and point cards: what they may say, what is told where they say something else, and what they say of rows."""

from __future__ import annotations

import math
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.columns import Column, columns
from features.definition import Definition, parse
from features.errors import InvalidSetting
from features.rules import CardItem, Condition, PointCard, Rule, any_flags, flags, holds, place_of, points

TEXT = """
product: Corkboard
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [1d, 7d, trial]
cutoff: {policy: precision, at_least: 0.3}
signals:
  - {name: joins, kind: team_growth, events: [join], measures: [count, days_since_last, trend], text: joined}
  - {name: views, kind: value, events: [view], measures: [count, sum(seats)], windows: [7d, 30d], text: viewed}
  - {name: clicks, kind: value, events: [click], measures: [active_days], text: clicked}
traits:
  - {name: size, type: number}
  - {name: work, type: email_domain, column: email}
  - {name: source, type: category}
"""


@cache
def table() -> tuple[Column, ...]:
    return columns(parse(TEXT), {"source": ("ad", "3")})


def with_rule(condition: str) -> Definition:
    return parse(f"{TEXT}\nrules:\n  - name: one\n    all: [{condition}]\n")


def told(condition: str) -> str:
    with pytest.raises(InvalidSetting) as error:
        with_rule(condition)
    return str(error.value)


def column_of(condition: str) -> str:
    place = place_of(with_rule(condition).rules[0].all[0], table())
    assert place is not None
    return table()[place].name


# --- which column a condition is about --------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "column"),
    [
        ("{signal: joins, at_least: 1}", "joins_count_trial"),
        ("{signal: joins, at_least: 1, window: 24h}", "joins_count_1d"),
        ("{signal: joins, measure: trend, at_least: 0.1}", "joins_trend_7d"),
        ("{signal: joins, measure: days_since_last, below: 2}", "joins_days_since_last"),
        ("{signal: views, at_least: 1}", "views_count_30d"),
        ("{signal: views, measure: sum( seats ), window: 7d, at_least: 2.5}", "views_sum_seats_7d"),
        ("{trait: size, at_least: 50}", "size"),
        ("{trait: work, at_least: 1}", "work_is_business"),
        ("{trait: source, equals: ad}", "source=ad"),
        ("{trait: source, equals: 3.0}", "source=3"),
    ],
)
def test_a_condition_is_about_the_column_it_names_and_by_default_the_longest_window(
    condition: str, column: str
) -> None:
    assert column_of(condition) == column


@pytest.mark.parametrize(
    ("condition", "must"),
    [
        ("{signal: joins, at_least: 1, window: 14d}", r"signals\.joins\.windows: add 14d\.$"),
        ("{signal: views, at_least: 1, window: trial}", r"got 'trial'\. signals\.views\.windows: add trial\.$"),
        ("{signal: clicks, at_least: 1}", r"got count, which it has not\. signals\.clicks\.measures: add count\.$"),
        ("{signal: joins, measure: trend, window: trial, at_least: 0}", r"needs a window of fixed length, got 'trial'"),
        ("{signal: joins, measure: days_since_last, window: 7d, below: 1}", r"has no window, got '7d'\. Leave it out"),
        (
            "{signal: nobody, at_least: 1}",
            r"must name a signal of this definition, got 'nobody'\. Known: joins, views, clicks",
        ),
        (
            "{trait: joins, at_least: 1}",
            r"must name a trait of this definition, got 'joins'\. Known: size, work, source",
        ),
        ("{trait: source, at_least: 1}", r"must be compared with equals, because the trait is a category"),
        ("{trait: size, equals: 5}", r"size \(a number\) must be compared with at_least or below"),
        ("{signal: joins, equals: a}", r"must be compared with at_least or below, got equals"),
        ("{trait: size, at_least: 1, window: 7d}", r"line \d+: .*must have no measure and no window"),
        ("{signal: joins, trait: size, at_least: 1}", r"must name a signal or a trait, and not both"),
        ("{at_least: 1}", r"must name a signal or a trait"),
        ("{signal: joins}", r"must have at_least, below or both, or else equals"),
        ("{signal: joins, at_least: 1, equals: a}", r"must have at_least, below or both, or else equals"),
        ("{signal: joins, at_least: 2, below: 2}", r"must have at_least lower than below"),
        ("{signal: joins, at_least: .inf}", r"at_least must be a finite number"),
        (
            "{signal: joins, atleast: 2}",
            r"unknown key rules\[0\] \(one\)\.all\[0\]\.atleast\. Did you mean 'at_least'\?",
        ),
        ("{signal: joins, measure: counts, at_least: 2}", r"measure must be one of count, "),
        ("{signal: joins, window: 7, at_least: 2}", r"window must be a whole number of days or hours .*, got 7"),
    ],
)
def test_what_a_condition_must_be_is_said(condition: str, must: str) -> None:
    assert re.search(must, told(condition)), told(condition)


def test_the_card_is_held_to_the_same_rules() -> None:
    with pytest.raises(InvalidSetting, match=r"points\.card: joins must have the window .* add 9d"):
        parse(f"{TEXT}\npoints: {{threshold: 5, card: [{{signal: joins, window: 9d, at_least: 1, points: 5}}]}}")


def test_two_rules_of_one_name_are_refused() -> None:
    rule = "  - {name: one, all: [{signal: joins, at_least: 1}]}\n"
    with pytest.raises(InvalidSetting, match="rules: every name must be there once, got 'one' twice"):
        parse(f"{TEXT}\nrules:\n{rule}{rule}")


def test_a_definition_without_rules_has_none() -> None:
    assert (parse(TEXT).rules, parse(TEXT).points) == ((), None)


# --- what is said of rows ---------------------------------------------------------------------

numbers = st.one_of(st.just(math.nan), st.integers(-2, 4).map(float), st.floats(-3, 5))
limits = st.one_of(st.integers(-1, 3).map(float), st.floats(-2, 4))


@st.composite
def any_condition(draw: st.DrawFn) -> Condition:
    if draw(st.integers(0, 4)) == 0:
        return Condition(trait="source", equals=draw(st.sampled_from(["ad", "3", "never seen"])))
    low = draw(st.none() | limits)
    high = draw((st.none() if low is not None else st.nothing()) | limits.filter(lambda x: low is None or x > low))
    about = draw(
        st.sampled_from(
            [
                {"signal": "joins"}, {"signal": "joins", "window": "7d"}, {"signal": "views", "measure": "sum(seats)"},
                {"signal": "joins", "measure": "days_since_last"}, {"trait": "size"}, {"trait": "work"},
            ]
        )
    )  # fmt: skip
    return Condition(**about, at_least=low, below=high)


@st.composite
def some_rows(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(0, 6))
    values = draw(st.lists(numbers, min_size=size * len(table()), max_size=size * len(table())))
    return np.array(values, np.float64).reshape(size, len(table()))


NAMES = {
    ("joins", "count", None): "joins_count_trial", ("joins", "count", "7d"): "joins_count_7d",
    ("views", "sum(seats)", None): "views_sum_seats_30d", ("joins", "days_since_last", None): "joins_days_since_last",
    ("size", "count", None): "size", ("work", "count", None): "work_is_business",
}  # fmt: skip


def meets(condition: Condition, row: dict[str, float]) -> bool:
    """The same in plain words of Python, one row at a time."""
    if condition.equals is not None:
        return row.get(f"source={condition.equals}", 0.0) >= 1
    value = row[NAMES[condition.owner, condition.measure, condition.window]]
    if math.isnan(value):
        return False
    if condition.at_least is not None and value < condition.at_least:
        return False
    return condition.below is None or value < condition.below


def as_dicts(rows: np.ndarray) -> list[dict[str, float]]:
    return [dict(zip((column.name for column in table()), row, strict=True)) for row in rows.tolist()]


@given(any_condition(), some_rows())
def test_a_condition_holds_where_plain_reading_says_so(condition: Condition, rows: np.ndarray) -> None:
    assert holds(condition, rows, table()).tolist() == [meets(condition, row) for row in as_dicts(rows)]


@given(st.lists(st.lists(any_condition(), min_size=1, max_size=3), max_size=3), some_rows())
def test_a_rule_is_all_of_its_conditions_and_any_of_the_rules_flags(
    wanted: list[list[Condition]], rows: np.ndarray
) -> None:
    rules = [Rule(name="r", all=tuple(parts)) for parts in wanted]
    met = [[all(meets(one, row) for one in rule.all) for row in as_dicts(rows)] for rule in rules]
    assert [flags(rule, rows, table()).tolist() for rule in rules] == met
    assert any_flags(rules, rows, table()).tolist() == [any(one[i] for one in met) for i in range(len(rows))]


@given(st.lists(st.tuples(any_condition(), st.integers(-20, 40)), min_size=1, max_size=4), some_rows())
def test_points_add_up_what_holds(worth: list[tuple[Condition, int]], rows: np.ndarray) -> None:
    items = tuple(CardItem(**one.model_dump(exclude_unset=True), points=value) for one, value in worth)
    card = PointCard(threshold=10, card=items)
    expected = [float(sum(value for one, value in worth if meets(one, row))) for row in as_dicts(rows)]
    assert points(card, rows, table()).tolist() == expected


def test_what_never_happened_is_neither_recent_nor_long_ago() -> None:
    rows = np.full((1, len(table())), math.nan)
    recent = Condition(signal="joins", measure="days_since_last", below=3)
    long_ago = Condition(signal="joins", measure="days_since_last", at_least=3)
    assert [holds(recent, rows, table())[0], holds(long_ago, rows, table())[0]] == [False, False]


def test_exactly_the_threshold_is_enough_and_exactly_the_end_is_too_much() -> None:
    rows = np.full((1, len(table())), 2.0)
    assert holds(Condition(signal="joins", at_least=2), rows, table())[0]
    assert not holds(Condition(signal="joins", below=2), rows, table())[0]


def test_no_rule_flags_nobody() -> None:
    assert any_flags((), np.zeros((3, len(table()))), table()).tolist() == [False] * 3

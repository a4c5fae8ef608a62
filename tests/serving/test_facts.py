"""Which window tells most, what happened in it, and what of a trait may be quoted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definition import Trait, Window, parse
from features.durations import DAY
from features.matrix import FeatureBuilder
from features.phrases import Phrase
from features.wording import wording
from serving.scoring.facts import (
    Pane,
    comparable,
    exact,
    leading_columns,
    leading_measure,
    narrowest,
    panes,
    says_something,
    sentence,
    trait_fact,
)

TEXT = """
product: Tiny
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [1d, 7d, trial]
signals:
  - name: days
    kind: consistency
    events: [a]
    measures: [count, active_days, days_since_last, trend]
    text: "active on {active_days:day|days}, {count:time|times}, {window}, last {last}"
    private: [trend]
  - {name: often, kind: value, events: [b], measures: [trend, days_since_first, count], text: "{trend} {count} {window}"}
  - {name: named, kind: value, events: [c], measures: [count, reached(2)], text: "tried {reached_2} it {window}"}
  - {name: hushed, kind: value, events: [d], measures: [count], text: "{count}", speakable: false}
  - {name: known, kind: value, events: [e], measures: [mean(x), sum(x)], text: "{mean_x} of {sum_x}"}
traits:
  - {name: seats, type: number, speakable: true}
  - {name: quiet, type: number}
  - {name: plan, type: category, speakable: true}
cutoff: {at_least: 0.3}
"""
BUILDER = FeatureBuilder(parse(TEXT), {"plan": ("team",)})
PLACES = {column.name: place for place, column in enumerate(BUILDER.columns)}
SIGNALS = BUILDER.definition.signal_of
ENGLISH = wording("en")


def panes_of(name: str) -> dict[str, Pane]:
    return {one.window.name: one for one in panes(SIGNALS[name], BUILDER.columns, BUILDER.definition, ENGLISH)}


def row(age: float = 0.0, **values: float) -> list[float]:
    found = [0.0] * len(PLACES)
    found[0] = age
    for name, value in values.items():
        found[PLACES[name]] = float(value)
    return found


# --- windows ----------------------------------------------------------------------------------


def test_each_window_knows_where_its_columns_stand() -> None:
    pane = panes_of("days")["7d"]
    assert set(pane.places) == {PLACES[f"days_{name}_7d"] for name in ("count", "active_days", "trend")}
    assert pane.counted == PLACES["days_count_7d"]
    assert pane.leading == PLACES["days_active_days_7d"]
    assert set(pane.happened) == {PLACES["days_count_7d"], PLACES["days_active_days_7d"]}
    assert pane.words == "in the last 7 days"


def test_on_how_many_days_of_one_day_is_not_said() -> None:
    assert set(panes_of("days")) == {"7d", "trial"}
    assert set(panes_of("often")) == {"1d", "7d", "trial"}


def test_facts_are_those_of_the_window_and_of_no_window_but_not_private_ones() -> None:
    done = row(days_count_7d=3, days_active_days_7d=2, days_trend_7d=0.5, days_days_since_last=1.25, days_count_trial=9)
    assert panes_of("days")["7d"].facts(done) == {
        "window": "in the last 7 days", "count": 3, "active_days": 2, "days_since_last": 1.25
    }  # fmt: skip


def test_what_is_not_known_is_no_fact() -> None:
    done = row(days_count_7d=3, days_days_since_last=np.nan)
    assert "days_since_last" not in panes_of("days")["7d"].facts(done)


def test_a_behaviour_happened_where_what_counts_it_is_above_nothing() -> None:
    pane = panes_of("days")["7d"]
    assert not pane.happened_in(row(days_trend_7d=1.0, days_count_trial=4))
    assert pane.happened_in(row(days_count_7d=1))
    assert not pane.happened_in(row(days_count_7d=np.nan))


@pytest.mark.parametrize(("age", "whole"), [(0.0, True), (7.0, True), (7.0 + 1e-9, False), (400.0, False)])
def test_a_window_is_whole_where_the_trial_began_within_it(age: float, whole: bool) -> None:
    assert panes_of("often")["7d"].is_whole(age) == whole
    assert panes_of("often")["trial"].is_whole(age)
    assert (panes_of("often")["7d"].length, panes_of("often")["trial"].length) == (7 * DAY, math.inf)


# --- what a sentence leads with ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "leading"),
    [("days", "active_days"), ("often", "count"), ("named", None), ("hushed", "count"), ("known", "sum_x")],
)
def test_a_sentence_leads_with_the_first_fact_that_says_how_much(name: str, leading: str | None) -> None:
    assert leading_measure(SIGNALS[name]) == leading


@pytest.mark.parametrize(
    ("text", "clear"),
    [("{count} {window}", True), ("on {active_days} {window}", True), ("{count}, last {last}", False),
     ("{count} on {active_days}", False), ("{window}", False), ("for {days_since_last} days", False)],
)  # fmt: skip
def test_a_comparison_is_clear_after_one_number_and_no_time(text: str, clear: bool) -> None:
    assert comparable(SIGNALS["days"].model_copy(update={"text": Phrase.parse(text)})) == clear


def test_what_is_compared_is_what_speakable_sentences_lead_with_and_speakable_numbers() -> None:
    names = {BUILDER.columns[place].name for place in leading_columns(BUILDER.definition, BUILDER.columns)}
    assert names == {
        *(f"days_active_days_{window}" for window in ("1d", "7d", "trial")),
        *(f"often_count_{window}" for window in ("1d", "7d", "trial")),
        *(f"known_sum_x_{window}" for window in ("1d", "7d", "trial")),
        "seats",
    }


def narrowed(best: str, age: float = 30.0, **counts: float) -> str:
    found = panes_of("often")
    done = row(age, **{f"often_count_{name}": value for name, value in counts.items()})
    return narrowest(found[best], list(found.values()), done).window.name


def test_of_windows_that_hold_the_same_the_narrowest_is_told() -> None:
    assert narrowed("trial", **{"1d": 2, "7d": 2, "trial": 2}) == "1d"
    assert narrowed("trial", **{"1d": 1, "7d": 2, "trial": 2}) == "7d"
    assert narrowed("trial", **{"1d": 1, "7d": 2, "trial": 3}) == "trial"
    assert narrowed("7d", **{"1d": 1, "7d": 2, "trial": 3}) == "7d"


def test_a_window_that_began_before_the_trial_is_told_as_the_trial() -> None:
    assert narrowed("7d", 4.0, **{"1d": 1, "7d": 2, "trial": 2}) == "trial"
    assert narrowed("7d", 8.0, **{"1d": 1, "7d": 2, "trial": 2}) == "7d"


def test_where_nothing_leads_or_is_known_the_best_window_stays() -> None:
    named = panes_of("named")
    assert narrowest(named["7d"], list(named.values()), row(30.0)) is named["7d"]
    often = panes_of("often")
    unknown = row(30.0, often_count_7d=np.nan)
    assert narrowest(often["7d"], [often["7d"]], unknown) is often["7d"]


# --- facts ------------------------------------------------------------------------------------


@given(st.floats(-1e12, 1e12))
def test_a_fact_is_the_number_itself_and_whole_where_it_is_whole(value: float) -> None:
    found = exact(value)
    assert found == value
    assert isinstance(found, int) == value.is_integer()


def test_when_it_last_happened_is_said_in_words() -> None:
    phrase = Phrase.parse("{count} times, last {last}")
    assert sentence(phrase, {"count": 2, "days_since_last": 3.9}, ENGLISH) == "2 times, last 3 days ago"


def test_what_a_sentence_does_not_quote_is_not_put_into_words() -> None:
    # No moment lies a negative number of days back, and nobody asks for one.
    assert sentence(Phrase.parse("{count} times"), {"count": 2, "days_since_last": -1.0}, ENGLISH) == "2 times"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"count": 1, "days_since_last": 0.5}, True), ({"count": 1, "days_since_last": 0.0}, True), ({"count": 1}, False),
        ({"count": 0, "days_since_last": 0.5}, False), ({"days_since_last": 0.5}, False),
    ],
)  # fmt: skip
def test_a_sentence_says_something_where_all_it_quotes_is_known_and_no_zero(
    facts: dict[str, int | float | str], expected: bool
) -> None:
    assert says_something(Phrase.parse("{count} times, last {last}"), facts) == expected


# --- traits -----------------------------------------------------------------------------------


def trait(kind: str) -> Trait:
    return Trait.model_validate({"name": "t", "type": kind})


@pytest.mark.parametrize(
    ("kind", "value", "columns", "expected"),
    [
        ("number", "40", [40.0], 40), ("number", "x", [np.nan], None), ("number", 2.5, [2.5], 2.5),
        ("category", "team", [1.0], "team"), ("category", " team ", [0.0], None), ("category", "other", [0.0], None),
        ("category", None, [np.nan], None),
        ("flag", "yes", [1.0], "yes"), ("flag", "perhaps", [np.nan], None),
        ("email_domain", "Ann@ACME.Example", [1.0], "acme.example"), ("email_domain", "x@büro.example", [1.0], "büro.example"),
        ("email_domain", "ann", [np.nan], None), ("email_domain", "a@x<b>.example", [1.0], None),
        ("email_domain", "a@x\u202ey.example", [1.0], None), ("email_domain", "a@x y.example", [1.0], None),
        ("email_domain", "a@" + "x" * 80 + ".example", [1.0], None), ("email_domain", "a@.example.", [1.0], None),
    ],
)  # fmt: skip
def test_of_a_trait_is_quoted_what_was_understood_and_is_plain(
    kind: str, value: object, columns: list[float], expected: object
) -> None:
    assert trait_fact(trait(kind), value, np.array(columns), ("team",)) == expected


@given(st.text(max_size=100))
def test_a_domain_that_is_quoted_holds_letters_digits_dots_and_hyphens_only(text: str) -> None:
    found = trait_fact(trait("email_domain"), text, np.array([1.0]), ())
    if found is not None:
        assert isinstance(found, str)
        assert 2 <= len(found) <= 80
        assert all(letter.isalnum() or letter in "._-" for letter in found)


def test_a_window_without_a_length_is_the_longest() -> None:
    found = panes_of("often").values()
    assert max(found, key=lambda one: one.length).window == Window(length=None)

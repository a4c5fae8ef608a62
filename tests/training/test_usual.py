"""What is called usual never claims more than the held-out leads show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definition import parse
from features.durations import DAY
from features.matrix import FeatureBuilder
from features.windows import Floats, Ints
from features.wording import whole_percent
from serving.scoring.facts import leading_columns
from serving.scoring.reference import Reference
from training.usual import (
    FEWEST,
    FEWEST_CONVERTERS,
    MOST_AGES,
    MOST_AVERAGED,
    MOST_VALUES,
    QUANTILES,
    quantiles_of,
    spread,
    usual,
)

BUILDER = FeatureBuilder(
    parse(
        """
product: Tiny
conversion: {event: paid, horizon: 30d}
score_at: [1d]
windows: [7d, trial]
signals:
  - {name: invites, kind: team_growth, events: [invite], measures: [count, days_since_last], text: "{count} {window}"}
  - {name: hushed, kind: friction, events: [hush], measures: [count], text: "{count}", speakable: false}
  - {name: daily, kind: frequency, events: [e], measures: [active_days], text: "on {active_days}"}
traits:
  - {name: seats, type: number, speakable: true}
  - {name: secret, type: number}
cutoff: {at_least: 0.3}
"""
    ),
    {},
)
PLACES = {column.name: place for place, column in enumerate(BUILDER.columns)}
numbers = st.one_of(
    st.integers(0, 5).map(float), st.floats(-1e6, 1e6), st.just(math.nan), st.floats(0, 1).map(lambda one: one * 1e-9)
)


@dataclass(frozen=True)
class Held:
    """Held-out leads at some ages, as training hands them over."""

    ages: Ints
    rows: Floats
    converted: Ints

    def reference(self, contributions: Callable[[Floats], Floats] | None = None) -> Reference:
        chances = np.linspace(0.1, 0.9, len(self.ages))
        return usual(BUILDER, contributions or parts_of, self.ages, self.rows, self.converted, chances)


def parts_of(rows: Floats) -> Floats:
    """What each column adds in a model that is a sum: the column itself, and a base."""
    return np.column_stack([np.nan_to_num(rows), np.full(len(rows), 0.25)])


def held(sizes: dict[int, int], seed: int = 0) -> Held:
    """So many leads at each age in days, mixed."""
    rng = np.random.default_rng(seed)
    days = rng.permutation(np.repeat(list(sizes), list(sizes.values())))
    rows = rng.poisson(2.0, (len(days), len(PLACES))).astype(np.float64)
    rows[:, 0] = days
    rows[rng.random(len(days)) < 0.3, PLACES["seats"]] = np.nan
    return Held(days.astype(np.int64) * DAY, rows, (rng.random(len(days)) < 0.3).astype(np.int64))


# --- how a fact is spread ---------------------------------------------------------------------


def true_shares(values: list[float], asked: float) -> tuple[float, float]:
    """Return the shares of all leads that had less and that had more, counted one by one."""
    return sum(one < asked for one in values) / len(values), sum(one > asked for one in values) / len(values)


@given(st.lists(numbers, min_size=1, max_size=120), st.data())
def test_a_share_never_exceeds_that_of_the_leads(values: list[float], data: st.DataObject) -> None:
    found = spread([np.array(values)])
    asked = data.draw(numbers.filter(math.isfinite) | st.sampled_from(values).filter(math.isfinite))
    less, more = true_shares(values, asked)
    assert 0 <= found.below(0, asked) <= less + 1e-12
    assert 0 <= found.above(0, asked) <= more + 1e-12
    assert whole_percent(100 * found.below(0, asked)) <= 100 * less + 1e-7
    assert whole_percent(100 * found.above(0, asked)) <= 100 * more + 1e-7


@given(st.lists(st.integers(0, MOST_VALUES - 1).map(float), min_size=1, max_size=80), st.data())
def test_where_few_values_are_known_the_shares_at_them_are_exact(values: list[float], data: st.DataObject) -> None:
    found, asked = spread([np.array(values)]), data.draw(st.sampled_from(values))
    assert (found.below(0, asked), found.above(0, asked)) == pytest.approx(true_shares(values, asked), abs=1e-12)


def test_a_value_between_or_beyond_those_that_are_known_claims_no_more_than_the_next_one() -> None:
    found = spread([np.array([2.0, 4.0, 4.0, 6.0])])
    assert [found.below(0, asked) for asked in (1, 3, 5, 9)] == [0.0, 0.25, 0.75, 1.0]
    assert [found.above(0, asked) for asked in (1, 3, 5, 9)] == [0.75, 0.25, 0.0, 0.0]


@given(st.lists(st.floats(0, 1e3), min_size=200, max_size=400))
def test_of_many_values_few_are_kept_and_no_share_is_off_by_more_than_one_step(values: list[float]) -> None:
    found = spread([np.array(values)])
    assert 1 <= len(found.values[0]) <= MOST_VALUES
    assert found.values[0][-1] == max(values)
    distinct, counts = np.unique(values, return_counts=True)
    step = 1 / (MOST_VALUES - 1) + 2 * counts.max() / len(values)
    for asked in distinct[:: max(1, len(distinct) // 20)].tolist():
        less, more = true_shares(values, asked)
        assert less - found.below(0, asked) <= step
        assert more - found.above(0, asked) <= step


def test_leads_of_whom_it_is_not_known_have_neither_less_nor_more() -> None:
    found = spread([np.array([1.0, 2.0, np.nan, np.nan]), np.array([np.nan, np.nan])])
    assert (found.below(0, 9.0), found.above(0, 1.0)) == (0.5, 0.25)
    assert (found.below(1, 9.0), found.above(1, 0.0)) == (0.0, 0.0)


def test_each_age_is_spread_by_itself() -> None:
    found = spread([np.array([1.0, 1.0]), np.array([5.0, 9.0])])
    assert [found.below(place, 6.0) for place in (0, 1)] == [1.0, 0.5]


# --- the whole reference ----------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(0, 9), st.integers(0, 8))
def test_no_comparison_claims_more_than_the_rows_of_its_age_show(seed: int, age: float, value: int) -> None:
    world = held({1: 40, 3: 35, 4: 60}, seed % 5)
    reference = REFERENCES.setdefault(seed % 5, world.reference())
    for place in leading_columns(BUILDER.definition, BUILDER.columns):
        name = BUILDER.columns[place].name
        for found, beats in (
            (reference.share_below(name, age, value), np.less),
            (reference.share_above(name, age, value), np.greater),
        ):
            assert (found is None) == (age < 1 and beats is np.greater)
            if found is not None:
                assert found.age == max((day for day in (1, 3, 4) if day <= age), default=1)
                true = beats(world.rows[world.ages == found.age * DAY, place], value).mean()
                assert found.share <= true + 1e-12
                assert whole_percent(100 * found.share) <= 100 * true + 1e-7


REFERENCES: dict[int, Reference] = {}


def test_what_may_be_said_is_compared_and_nothing_else() -> None:
    assert set(held({1: 40}).reference().usual) == {
        "invites_count_7d", "invites_count_trial", "daily_active_days_7d", "daily_active_days_trial", "seats",
    }  # fmt: skip


def test_a_typical_trial_is_the_mean_of_what_its_age_adds() -> None:
    world = held({1: 40, 3: 35})
    reference = world.reference()
    assert reference.ages == (1.0, 3.0)
    for place, age in enumerate(reference.ages):
        mine = np.nan_to_num(world.rows[world.ages == age * DAY])
        np.testing.assert_allclose(reference.typical[place], mine.mean(axis=0), rtol=0, atol=1e-12)


def test_the_base_is_no_part_of_a_typical_trial() -> None:
    assert held({1: 40}).reference().typical.shape == (1, len(PLACES))


def test_of_very_many_leads_a_part_evenly_over_them_is_averaged() -> None:
    asked: list[int] = []

    def watching(rows: Floats) -> Floats:
        asked.append(len(rows))
        return parts_of(rows)

    held({1: MOST_AVERAGED + 500, 2: 30}).reference(watching)
    assert asked == [MOST_AVERAGED, 30]


def test_an_age_with_too_few_leads_is_not_called_usual() -> None:
    assert held({1: FEWEST, 2: FEWEST - 1, 3: FEWEST + 1}).reference().ages == (1.0, 3.0)


def test_with_too_few_leads_of_any_age_only_scores_are_compared() -> None:
    world = held({1: FEWEST - 1, 2: 3})
    reference = world.reference()
    assert (reference.ages, dict(reference.converters), dict(reference.usual)) == ((0.0,), {}, {})
    assert reference.typical.tolist() == [[0.0] * len(PLACES)]
    assert len(reference.quantiles) == QUANTILES


@pytest.mark.parametrize("days", [MOST_AGES, MOST_AGES + 1, 90])
def test_ages_are_thinned_to_the_most_that_are_kept_first_and_last_among_them(days: int) -> None:
    ages = held(dict.fromkeys(range(1, days + 1), FEWEST)).reference().ages
    assert len(ages) == min(days, MOST_AGES)
    assert (ages[0], ages[-1]) == (1.0, float(days))
    assert max(np.diff(ages)) <= math.ceil((days - 1) / (MOST_AGES - 1))


# --- converters -------------------------------------------------------------------------------


def test_shares_of_converters_are_counted_among_those_who_then_converted() -> None:
    world = held({1: 90, 3: 80}, seed=4)
    world.rows[:, PLACES["invites_count_trial"]] *= np.arange(len(world.rows)) % 2
    world.rows[:, PLACES["invites_count_7d"]] = 0
    reference = world.reference()
    for place, age in enumerate(reference.ages):
        won = world.rows[(world.ages == age * DAY) & (world.converted == 1)]
        did = sum(row[PLACES["invites_count_7d"]] > 0 or row[PLACES["invites_count_trial"]] > 0 for row in won)
        assert reference.converters["invites"][place] == pytest.approx(did / len(won))
        assert 0 < did < len(won)


def test_a_signal_that_is_not_counted_has_no_share() -> None:
    assert set(held({1: 90}).reference().converters) == {"invites", "hushed"}


@pytest.mark.parametrize(("converters", "said"), [(FEWEST_CONVERTERS - 1, False), (FEWEST_CONVERTERS, True)])
def test_of_too_few_converters_no_share_is_said(converters: int, said: bool) -> None:
    world = held({1: 60})
    world.converted[:] = np.arange(60) < converters
    world.rows[:, PLACES["invites_count_trial"]] = 1
    assert world.reference().converters["invites"] == (1.0 if said else 0.0,)


def test_quantiles_are_even_and_ascend() -> None:
    found = quantiles_of(np.array([0.1, 0.2, 0.6]))
    assert len(found) == QUANTILES
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[QUANTILES // 2]) == (0.1, pytest.approx(0.2))

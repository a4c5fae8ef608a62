"""Values of traits and columns are judged by what they tell of outcomes, and said in words that fit them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from features.columns import columns
from features.definition import Trait, parse
from features.windows import Floats
from training.leakage.onset import Verdict
from training.leakage.values import judge_columns, judge_trait

N = 2_000
RNG = np.random.default_rng(4)
WON = RNG.random(N) < 0.15
HALF = RNG.random(N) < 0.5
START = np.arange(N) * 1_000_000
MARKED = WON & (RNG.random(N) < 0.8) | ~WON & (RNG.random(N) < 0.01)


def judged(kind: str, values: Sequence[object]) -> Verdict | None:
    trait = Trait.model_validate({"name": "fact", "type": kind})
    return judge_trait(trait, values, START, WON, HALF)


def test_a_fact_that_only_payers_have_is_not_empty_for_them() -> None:
    found = judged("category", ["pro" if one else None for one in MARKED])
    assert found is not None
    assert found.kind == "outcome_in_trait"
    assert re.match(r"it is not empty for \d\d% of those who convert", found.why)


def test_a_value_that_all_others_share_is_said() -> None:
    found = judged("number", [7 + i % 30 if one else 0 for i, one in enumerate(MARKED)])
    assert found is not None
    assert re.match(r"it is not '0' for \d\d% of those who convert", found.why)


def test_a_fact_that_is_empty_for_payers_only_is_said_so() -> None:
    found = judged("category", [None if one else "trial" + str(i % 9) for i, one in enumerate(MARKED)])
    assert found is not None
    assert re.match(r"it is empty for \d\d% of those who convert", found.why)


def test_numbers_that_lie_higher_for_payers_mark_them() -> None:
    found = judged("number", (RNG.random(N) + 10 * MARKED).round(3).tolist())
    assert found is not None
    assert (found.kind, found.why[:15]) == ("outcome_in_trait", "its values mark")


def test_a_number_that_nobody_shares_and_only_payers_have_is_an_identifier() -> None:
    found = judged("number", [i if one else None for i, one in enumerate(MARKED)])
    assert found is not None
    assert found.kind == "identifier"


def test_a_running_number_that_predicts_is_an_identifier() -> None:
    trait = Trait.model_validate({"name": "fact", "type": "number"})
    fewer = RNG.random(N) < np.linspace(0.4, 0.05, N)
    found = judge_trait(trait, list(range(N)), START, fewer, HALF)
    assert found is not None
    assert found.kind == "identifier"
    assert "running number" in found.why


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("number", list(range(N))),
        ("number", RNG.permutation(N).tolist()),
        ("number", np.exp(RNG.normal(5 + WON, 1)).tolist()),
        ("category", [f"city {k}" for k in RNG.integers(0, 80, N)]),
        ("category", [None] * N),
        ("flag", (RNG.random(N) < np.where(WON, 0.5, 0.06)).tolist()),
        ("flag", [bool(k) for k in RNG.random(N) < np.where(WON, 1.0, 0.6)]),
        ("category", ["a" if k else None for k in RNG.random(N) < np.where(WON, 0.95, 0.5)]),
    ],
)
def test_honest_facts_are_not_accused(kind: str, values: Sequence[object]) -> None:
    assert judged(kind, values) is None


TEXT = (
    "{product: T, conversion: {horizon: 7d}, score_at: [1d], windows: [7d], cutoff: {at_least: 0.3}, "
    "signals: [{name: s, kind: value, events: [e], measures: [sum(seats)], text: '{sum_seats}'}]}"
)


def column(values: Floats) -> Verdict | None:
    table = columns(parse(TEXT), {})
    rows = np.stack([np.zeros(N), values], axis=1)
    return judge_columns(rows, [1], table, WON, HALF)


def test_a_mean_that_is_another_for_payers_is_named() -> None:
    text = TEXT.replace("sum", "mean")
    rows = np.stack([np.zeros(N), RNG.normal(10, 1, N) + 20 * MARKED], axis=1)
    found = judge_columns(rows, [1], columns(parse(text), {}), WON, HALF)
    assert found is not None
    assert "s_mean_seats_7d" in found.why


def test_a_column_that_only_payers_have_is_named() -> None:
    found = column(np.where(MARKED, 5.0, 0.0))
    assert found is not None
    assert found.kind == "too_good"
    assert re.match(r"s_sum_seats_7d marks \d\d% of those who convert", found.why)


def test_a_column_that_payers_have_more_of_is_not() -> None:
    assert column(RNG.poisson(np.where(WON, 4, 1), N).astype(np.float64)) is None

"""Ready values become the row that the engine would have made; what it could not have made is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.columns import columns
from features.definition import parse
from features.errors import InvalidInput, SchemaMismatch
from features.ready import ReadyValues

TEXT = """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
signals:
  - name: work
    kind: value
    scope: account
    events: [done]
    measures: [
      count, sum(amount), mean(amount), trend, share, reached(3), days_since_last, days_to_reach(2), lead_rank, lead_share,
      user_growth, active_days,
    ]
    text: x
traits:
  - {name: size, type: number}
  - {name: sector, type: category}
  - {name: invited, type: flag}
"""
READY = ReadyValues(columns(parse(TEXT), {"sector": ("retail",)}))
NAMES = [column.name for column in READY.columns]
GOOD: dict[str, float | None] = {name: float(name == "work_lead_rank_7d") for name in NAMES}


def refused(values: dict[str, float | None]) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        READY.row(values, "leads[2].features")
    return raised.value


@given(st.permutations(NAMES))
def test_values_stand_in_the_order_of_the_columns_whatever_theirs_is(names: list[str]) -> None:
    values: dict[str, float | None] = {name: GOOD[name] for name in names} | {"work_count_7d": 4.0, "size": -0.5}
    row = READY.row(values)
    assert row.dtype == np.float64
    assert row.tolist() == [values[name] for name in NAMES]


def test_null_is_not_known_where_a_column_can_be_unknown() -> None:
    unknown = {
        "work_mean_amount_7d", "work_days_since_last", "work_days_to_reach_2", "work_lead_rank_7d", "size", "sector=retail",
        "invited",
    }  # fmt: skip
    assert {column.name for column in READY.columns if column.may_be_unknown} == unknown
    row = READY.row({**GOOD, **dict.fromkeys(unknown)})
    assert {name for name, value in zip(NAMES, row, strict=True) if np.isnan(value)} == unknown
    for name in set(NAMES) - unknown:
        found = refused({**GOOD, name: None})
        assert found.field == f"leads[2].features.{name}"
        assert re.search(r"must be .*, got null\.", found.message)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("trial_age_days", -0.001, "a number not below 0"),
        ("work_count_7d", -1.0, "a number not below 0"),
        ("work_active_days_7d", -1.0, "a number not below 0"),
        ("work_days_since_last", -1.0, "a number not below 0, or null"),
        ("work_trend_7d", 1.5, "a number from -1 to 1"),
        ("work_user_growth_7d", -1.5, "a number from -1 to 1"),
        ("work_share_7d", 1.01, "a number from 0 to 1"),
        ("work_lead_share_7d", -0.1, "a number from 0 to 1"),
        ("work_lead_rank_7d", 0.0, "a number not below 1, or null"),
        ("work_reached_3_7d", 0.5, "0 or 1"),
        ("invited", 2.0, "0 or 1, or null"),
        ("sector=retail", 0.5, "0 or 1, or null"),
        ("work_sum_amount_7d", np.inf, "a finite number"),
        ("size", -np.inf, "a finite number, or null"),
        ("work_count_7d", np.inf, "a number not below 0"),
    ],
)
def test_what_the_engine_could_not_have_made_is_refused(name: str, value: float, wanted: str) -> None:
    found = refused({**GOOD, name: value})
    assert found.field == f"leads[2].features.{name}"
    assert f"must be {wanted}" in found.message
    assert f"got {value:g}." in found.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trial_age_days", 0.0), ("work_count_7d", 2.5), ("work_trend_7d", -1.0), ("work_trend_7d", 1.0), ("work_share_7d", 1.0),
        ("work_sum_amount_7d", -3.5), ("work_mean_amount_7d", -1e15), ("size", -4.0), ("invited", 1.0), ("work_reached_3_7d", 1.0),
        ("work_count_7d", 1e300),
    ],
)  # fmt: skip
def test_what_lies_at_an_edge_or_may_be_meant_is_taken(name: str, value: float) -> None:
    assert READY.row({**GOOD, name: value})[NAMES.index(name)] == value


def test_missing_columns_are_named_but_not_all_of_them() -> None:
    found = refused({name: GOOD[name] for name in NAMES[2:]})
    assert isinstance(found, SchemaMismatch)
    assert found.field == "leads[2].features"
    assert "missing 2: 'trial_age_days', 'work_count_7d'." in found.message
    none = refused({})
    assert f"must hold the {len(NAMES)} columns" in none.message
    assert f"missing {len(NAMES)}: " in none.message
    assert f"and {len(NAMES) - 8} more." in none.message


def test_an_unknown_column_is_named_with_what_it_was_meant_to_be() -> None:
    values = {name: value for name, value in GOOD.items() if name != "work_count_7d"} | {"work_counts_7d": 1.0}
    found = refused(values)
    assert "missing 1: 'work_count_7d'." in found.message
    assert "unknown: 'work_counts_7d'. Did you mean 'work_count_7d'?" in found.message


def test_one_column_too_many_is_refused_too() -> None:
    assert "unknown: 'more'." in refused({**GOOD, "more": 1.0}).message
    assert "missing" not in refused({**GOOD, "more": 1.0}).message


def test_names_of_any_length_make_messages_of_some_length() -> None:
    assert len(refused({**GOOD, **{"x" * 100_000 + str(i): 1.0 for i in range(50)}}).message) < 1_500


def test_a_single_column_is_a_row_of_one() -> None:
    alone = ReadyValues(READY.columns[:1])
    assert alone.row({"trial_age_days": 3.0}).tolist() == [3.0]

"""Conversions over those predicted, part by part, with intervals that hold the truth even where few convert."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from training import evaluate
from training.judging.breakdown import FEW, parts


def told(n: int, seed: int, rate: float = 0.2, fault: float = 1.0, snapshots: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    right = rng.beta(2, 2 / rate - 2, n)
    converted = (rng.random(n) < right).astype(int)
    rows = np.tile(np.arange(n), snapshots)
    return pd.DataFrame(
        {
            "lead_id": [f"u{i}" for i in rows], "account": rows, "trial_day": np.repeat([3.0, 7.0, 10.0][:snapshots], n),
            "probability": (fault * right)[rows], "converted": converted[rows],
            "segment": np.where(rows % 3 == 0, "large", "small"),
        }
    )  # fmt: skip


def test_each_part_counts_its_own_rows() -> None:
    table = told(300, 1, snapshots=2)
    for part in parts(table, "segment", 0):
        rows = table[table["segment"] == part.name]
        assert (part.snapshots, part.leads, part.observed) == (
            len(rows),
            rows["lead_id"].nunique(),
            rows["converted"].sum(),
        )
        assert part.expected == pytest.approx(rows["probability"].sum())
        assert part.ratio.value == pytest.approx(rows["converted"].sum() / rows["probability"].sum())


def test_parts_come_in_order_and_days_are_written_plainly() -> None:
    table = told(100, 2, snapshots=3)
    assert [part.name for part in parts(table, "trial_day", 0)] == ["3", "7", "10"]
    assert [part.name for part in parts(table, "segment", 0)] == ["large", "small"]


def test_leads_of_no_segment_are_in_no_part() -> None:
    table = told(100, 3)
    table.loc[table["segment"] == "small", "segment"] = None
    assert [part.name for part in parts(table, "segment", 0)] == ["large"]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_parts_add_up_to_the_whole(seed: int) -> None:
    table = told(60, seed, snapshots=2)
    found = parts(table, "segment", 0)
    assert sum(part.observed for part in found) == table["converted"].sum()
    assert sum(part.expected for part in found) == pytest.approx(table["probability"].sum())


def test_where_enough_convert_the_interval_is_that_of_resampled_accounts() -> None:
    table = told(500, 4).assign(segment="all")
    (part,) = parts(table, "segment", 5)
    assert part.ratio == evaluate.evaluate(table, 5)["observed_to_expected"]


def test_where_few_convert_the_interval_is_that_of_poisson_counts() -> None:
    table = told(40, 5, rate=0.1).assign(segment="all")
    (part,) = parts(table, "segment", 0)
    won = int(table["converted"].sum())
    assert 0 < won < FEW
    expected = table["probability"].sum()
    assert part.ratio.low == pytest.approx(chi2.ppf(0.025, 2 * won) / 2 / expected)
    assert part.ratio.high == pytest.approx(chi2.ppf(0.975, 2 * won + 2) / 2 / expected)


def test_where_nobody_converts_the_interval_does_not_shrink_to_nothing() -> None:
    (part,) = parts(told(30, 6, snapshots=2).assign(segment="all", converted=0), "segment", 0)
    assert (part.ratio.value, part.ratio.low) == (0.0, 0.0)
    # Two snapshots an account: an account that converts brings two conversions.
    assert part.ratio.high == pytest.approx(2 * 3.689 / part.expected, rel=1e-3)


@pytest.mark.parametrize("n", [40, 400], ids=["few", "many"])
def test_the_interval_holds_the_truth_as_often_as_it_says(n: int) -> None:
    held = sum(not parts(told(n, seed, 0.1).assign(segment="all"), "segment", 0)[0].off for seed in range(150))
    assert held >= 0.88 * 150


def test_a_part_with_half_the_conversions_is_off() -> None:
    assert all(parts(told(1_000, seed, fault=2.0).assign(segment="all"), "segment", 0)[0].off for seed in range(5))


def test_snapshots_of_an_account_are_no_new_evidence() -> None:
    once, thrice = (parts(told(60, 7, snapshots=n).assign(segment="all"), "segment", 0)[0].ratio for n in (1, 3))
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))

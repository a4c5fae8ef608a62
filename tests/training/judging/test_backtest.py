"""What would have happened, counted by hand, by another way, and unmoved by scale, order and repetition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from tests.training.judging.made_predictions import START, complete
from training.judging import backtest
from training.judging.backtest import UNKNOWN, Trials, binomial, trials_of

Row = tuple[str, float, float, int]
"""Lead, age, probability, whether it converts within the horizon."""


def table_of(rows: list[Row], cutoff: float = 0.3) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["lead_id", "trial_day", "probability", "converted"])
    return complete(
        frame.assign(
            account=pd.factorize(frame["lead_id"])[0], as_of=START + pd.to_timedelta(frame["trial_day"], unit="D"),
            is_pql=frame["probability"] >= cutoff, logistic=0.5 * frame["probability"], base_rate=0.2,
        )
    )  # fmt: skip


BY_HAND: list[Row] = [
    ("a", 3, 0.5, 1), ("a", 7, 0.9, 1),
    ("b", 3, 0.1, 1), ("b", 7, 0.4, 1),
    ("c", 3, 0.2, 0), ("c", 7, 0.6, 0),
    ("d", 3, 0.2, 1), ("d", 7, 0.2, 0),
    ("e", 3, 0.4, 0),
]  # fmt: skip


def random_table(seed: int, n: int = 120, accounts: int | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for lead in range(n):
        mood = rng.beta(1, 3)
        won = rng.random() < mood
        seen = (3.0, 7.0, 10.0)[: rng.integers(1, 4)]
        rows += [(f"u{lead}", day, float(np.clip(mood + rng.normal(0, 0.1), 0.01, 0.99)), int(won)) for day in seen]
    table = table_of(rows)
    if accounts:
        table["account"] = pd.factorize(table["lead_id"])[0] % accounts
    days = rng.exponential(4, len(table)).round(2)
    return table.assign(converted_in_days=np.where(table["converted"] == 1, days, np.nan))


def trials(table: pd.DataFrame) -> Trials:
    return trials_of(table, 0)


# --- shares -----------------------------------------------------------------------------------


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_the_interval_of_clopper_and_pearson(counts: tuple[int, int]) -> None:
    found, oracle = binomial(*counts), binomtest(*counts).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-10)


def test_a_share_of_nobody_is_not_known() -> None:
    found = trials(table_of(BY_HAND))
    assert found.share(np.zeros(5), np.zeros(5)) == UNKNOWN


def test_leads_that_are_accounts_of_their_own_need_no_resampling() -> None:
    assert trials(table_of(BY_HAND)).draws is None


def test_colleagues_make_a_share_less_certain_and_never_more() -> None:
    rng = np.random.default_rng(3)
    won = np.repeat(rng.random(30) < 0.4, 8)  # eight colleagues who all do the same
    rows = [(f"u{i}", 3.0, 0.5, int(one)) for i, one in enumerate(won)]
    alone, together = (
        trials(table_of(rows).assign(account=account)) for account in (np.arange(240), np.repeat(np.arange(30), 8))
    )
    one, other = (found.share(won.astype(np.float64), np.ones(240)) for found in (alone, together))
    assert one.value == other.value == won.mean()
    assert other.high - other.low > 1.5 * (one.high - one.low)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_a_share_lies_within_its_interval(seed: int) -> None:
    found = trials(random_table(seed, 40, accounts=25))
    for day in backtest.by_day(found, 0):
        for share in (day.base_rate, day.caught):
            assert share.low <= share.value <= share.high


# --- by day -----------------------------------------------------------------------------------


def test_days_are_counted_as_by_hand() -> None:
    third, seventh = backtest.by_day(trials(table_of(BY_HAND)), 0)
    assert (third.day, third.leads, third.base_rate.value, third.pqls) == (3, 5, 3 / 5, 2)
    assert (third.precision.value, third.caught.value) == (1 / 2, 1 / 3)
    assert (seventh.day, seventh.leads, seventh.base_rate.value, seventh.pqls) == (7, 4, 2 / 4, 2)
    # By day 7 also b, who converts, and c, who does not, were flagged; d never was.
    assert (seventh.precision.value, seventh.caught.value) == (1 / 2, 2 / 3)


def test_the_ranking_of_a_day_is_that_of_scikit_learn() -> None:
    table = random_table(1)
    for day in backtest.by_day(trials(table), 0):
        rows = table[table["trial_day"] == day.day]
        assert day.auc.value == pytest.approx(roc_auc_score(rows["converted"], rows["probability"]))
        assert day.auc.low < day.auc.value < day.auc.high


def test_a_day_on_which_all_came_out_the_same_has_no_ranking() -> None:
    (day,) = backtest.by_day(trials(table_of([("a", 3, 0.5, 0), ("b", 3, 0.1, 0)])), 0)
    assert day.auc == UNKNOWN
    assert day.caught == UNKNOWN


def test_a_day_without_new_pqls_has_no_precision() -> None:
    third, _ = backtest.by_day(trials(table_of([("a", 3, 0.1, 1), ("a", 7, 0.9, 1)])), 0)
    assert (third.pqls, third.precision, third.caught.value) == (0, UNKNOWN, 0)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_new_pqls_of_all_days_are_all_pqls_and_more_are_caught_each_day(seed: int) -> None:
    table = random_table(seed, 60)
    days = backtest.by_day(trials(table), 0)
    assert sum(day.pqls for day in days) == table.loc[table["is_pql"], "lead_id"].nunique()
    caught = [day.caught.value for day in days]
    assert caught == sorted(caught)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_file_does_not_matter(seed: int) -> None:
    table = random_table(seed, 50)
    shuffled = table.sample(frac=1, random_state=seed % 1000)
    one, other = (
        [(day.leads, day.pqls, day.base_rate.value, day.precision.value, day.caught.value) for day in
         backtest.by_day(trials(rows), 0)]
        for rows in (table, shuffled)
    )  # fmt: skip
    assert repr(one) == repr(other)


def test_accounts_that_come_twice_change_no_figure() -> None:
    table = random_table(2, 60)
    copy = table.assign(lead_id=table["lead_id"] + "'", account=table["account"] + 1_000)
    one, twice = (backtest.by_day(trials(rows), 0) for rows in (table, pd.concat([table, copy])))
    for day, both in zip(one, twice, strict=True):
        assert (2 * day.leads, 2 * day.pqls) == (both.leads, both.pqls)
        assert (day.precision.value, day.caught.value) == pytest.approx((both.precision.value, both.caught.value))
        assert both.caught.high - both.caught.low < day.caught.high - day.caught.low


# --- how long before --------------------------------------------------------------------------


def test_time_runs_from_the_first_flag() -> None:
    table = table_of(BY_HAND).assign(converted_in_days=[5.0, 1.0, 9.0, 5.0, np.nan, np.nan, 20.0, 50.0, np.nan])
    found = backtest.ahead(trials(table))
    assert found is not None
    assert found.days.tolist() == [5.0, 5.0]
    assert (found.median, found.buying.value) == (5.0, 0.0)


def test_who_converts_within_a_day_was_already_buying() -> None:
    rows: list[Row] = [(name, 3, 0.9, 1) for name in "abcd"]
    found = backtest.ahead(trials(table_of(rows).assign(converted_in_days=[0.2, 1.0, 1.01, 8.0])))
    assert found is not None
    assert found.buying == binomial(2, 4)
    assert (found.quarter, found.median, found.three_quarters) == pytest.approx((0.8, 1.005, 2.7575))


def test_pqls_that_convert_too_late_or_never_are_not_waited_for() -> None:
    table = table_of([("a", 3, 0.9, 0), ("b", 3, 0.9, 0)]).assign(converted_in_days=[80.0, np.nan])
    assert backtest.ahead(trials(table)) is None


def test_without_times_of_conversion_nothing_is_said_of_them() -> None:
    assert backtest.ahead(trials(table_of(BY_HAND))) is None


# --- later ------------------------------------------------------------------------------------


def nurtured(until_day: float) -> backtest.Later | None:
    table = table_of([("a", 3, 0.1, 0), ("b", 3, 0.1, 0), ("c", 60, 0.1, 0), ("d", 3, 0.9, 1)]).assign(
        later=[0.4, 0.3, 0.5, 0.9], later_days=90.0, is_nurture=[True, True, True, False],
        converted_in_days=[40.0, np.nan, np.nan, 2.0],
    )  # fmt: skip
    return backtest.later(trials(table), START + pd.Timedelta(days=until_day), 0)


def test_only_those_whose_later_outcome_is_known_are_counted() -> None:
    found = nurtured(93)
    assert found is not None
    assert (found.days, found.leads, found.known) == (90, 3, 2)
    assert found.share == binomial(1, 2)
    assert found.expected == pytest.approx(0.4)


def test_where_nobodys_later_outcome_is_known_nothing_is_claimed() -> None:
    found = nurtured(92.9)
    assert found is not None
    assert (found.known, found.share) == (0, UNKNOWN)


def test_a_conversion_after_the_later_horizon_is_none() -> None:
    table = table_of([("a", 3, 0.1, 0)]).assign(
        later=0.4, later_days=90.0, is_nurture=True, converted_in_days=90.0
    )  # fmt: skip
    found = backtest.later(trials(table), START + pd.Timedelta(days=400), 0)
    assert found is not None
    assert found.share.value == 0


def test_a_lead_that_becomes_a_pql_is_not_counted_among_those_to_nurture() -> None:
    table = table_of([("a", 3, 0.1, 1), ("a", 7, 0.9, 1), ("b", 3, 0.1, 0)]).assign(
        later=0.4, later_days=90.0, is_nurture=[True, False, True]
    )  # fmt: skip
    found = backtest.later(trials(table), START + pd.Timedelta(days=400), 0)
    assert found is not None
    assert found.leads == 1


def test_the_later_probabilities_are_held_against_what_came() -> None:
    table = table_of([("a", 3, 0.1, 0), ("b", 3, 0.1, 0), ("c", 60, 0.1, 0)]).assign(
        later=[0.5, 0.3, 0.9], later_days=90.0, converted_in_days=[40.0, 95.0, 1.0]
    )  # fmt: skip
    found = backtest.later(trials(table), START + pd.Timedelta(days=100), 0)
    assert found is not None
    assert found.old == 2
    assert found.ratio.value == pytest.approx(1 / 0.8)


def test_without_a_later_horizon_there_is_nothing_later() -> None:
    assert backtest.later(trials(table_of(BY_HAND)), START, 0) is None


def test_nobody_to_nurture_is_said_and_not_left_out() -> None:
    table = table_of(BY_HAND).assign(later=0.1, later_days=90.0)
    found = backtest.later(trials(table), START, 0)
    assert found is not None
    assert (found.leads, found.known) == (0, 0)

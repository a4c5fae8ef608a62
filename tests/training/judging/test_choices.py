"""As many leads chosen in other ways: by hand, by a plain loop, with ties shared and chance as the expectation of chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.judging.made_predictions import START, complete
from training.first_flags import lower_bound
from training.judging.backtest import UNKNOWN, trials_of
from training.judging.choices import by_segment, capacity, precision_curve, rivals


def random_table(seed: int, n: int = 100) -> pd.DataFrame:
    """Leads with up to three snapshots; whether a snapshot's label is 1 may change from one to the next."""
    rng = np.random.default_rng(seed)
    lead = np.repeat(np.arange(n), rng.integers(1, 4, n))
    day = pd.Series(lead).groupby(lead).cumcount().to_numpy() * 3.0 + 3
    odds = rng.beta(1, 3, n)[lead]
    return complete(
        pd.DataFrame(
            {
                "lead_id": [f"u{i}" for i in lead], "account": lead, "as_of": START + pd.to_timedelta(day, unit="D"),
                "trial_day": day, "probability": (odds + rng.normal(0, 0.05, len(lead))).clip(0.01, 0.99),
                "converted": (rng.random(len(lead)) < odds).astype(int), "base_rate": 0.2,
                "logistic": (odds + rng.normal(0, 0.3, len(lead))).clip(0.01, 0.99),
            }
        ).assign(is_pql=lambda rows: rows["probability"] >= 0.35)
    )  # fmt: skip


def plainly(table: pd.DataFrame, column: str, n: int) -> tuple[int, int, int]:
    """Flagged leads, those of them that convert from their first flag on, converters among them; for scores without ties."""
    peaks = table.groupby("lead_id")[column].max().sort_values(ascending=False)
    least = peaks.iloc[n - 1]
    won = caught = 0
    for _, rows in table.sort_values("as_of").groupby("lead_id"):
        crossed = rows[rows[column] >= least]
        if len(crossed):
            won += int(crossed["converted"].iloc[0])
            caught += int(rows["converted"].max())
    return int((peaks >= least).sum()), won, caught


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_a_rival_chooses_as_many_and_each_lead_counts_at_its_first_flag(seed: int) -> None:
    table = random_table(seed)
    n = table.loc[table["is_pql"], "lead_id"].nunique()
    found = {one.other.way: one for one in rivals(trials_of(table, 0), 0)}["logistic"]
    leads, won, caught = plainly(table, "logistic", n)
    converters = table.loc[table["converted"] == 1, "lead_id"].nunique()
    assert (found.other.leads, found.ours.leads) == (leads, n)
    assert found.other.precision.value == pytest.approx(won / n)
    assert found.other.caught.value == pytest.approx(caught / converters)
    assert found.gain.value == pytest.approx(found.ours.precision.value - found.other.precision.value)


def test_the_versions_own_choice_is_its_pqls() -> None:
    table = random_table(1)
    first = table[table["is_pql"]].sort_values("as_of").groupby("lead_id").first()
    ours = rivals(trials_of(table, 0), 0)[0].ours
    assert ours.leads == len(first)
    assert ours.precision.value == pytest.approx(first["converted"].mean())


def test_chance_is_the_average_lead_at_its_first_look() -> None:
    table = random_table(2)
    chance = {one.other.way: one.other for one in rivals(trials_of(table, 0), 0)}["base_rate"]
    first = table.sort_values("as_of").groupby("lead_id").first()
    n = table.loc[table["is_pql"], "lead_id"].nunique()
    assert chance.leads == n
    assert chance.precision.value == pytest.approx(first["converted"].mean())
    assert chance.caught.value == pytest.approx(n / len(first))


def test_leads_that_tie_for_the_last_places_share_them() -> None:
    rows = [("a", 5.0, 1), ("b", 3.0, 1), ("c", 3.0, 0), ("d", 3.0, 0), ("e", 3.0, 0), ("f", 1.0, 1)]
    table = complete(
        pd.DataFrame(rows, columns=["lead_id", "points", "converted"]).assign(
            account=range(6), as_of=START, trial_day=3.0, probability=[0.9, 0.8, 0.7, 0.1, 0.1, 0.1], base_rate=0.3,
            is_pql=[True, True, True, False, False, False], logistic=[0.9, 0.8, 0.7, 0.1, 0.2, 0.3],
        )
    )  # fmt: skip
    card = {one.other.way: one.other for one in rivals(trials_of(table, 0), 0)}["points"]
    assert card.leads == 3
    # One place is a's; the four that tie share two, and one of them converts: 1 + 2 / 4 of 3.
    assert card.precision.value == pytest.approx(1.5 / 3)
    assert card.caught.value == pytest.approx(1.5 / 3)


def test_rules_flag_as_many_as_they_flag_and_the_score_is_asked_for_as_many() -> None:
    table = random_table(3)
    table["rule"] = table["lead_id"].str.endswith("7")
    found = {one.other.way: one for one in rivals(trials_of(table, 0), 0)}["rule"]
    first = table[table["rule"]].sort_values("as_of").groupby("lead_id").first()
    leads, won, _ = plainly(table, "probability", len(first))
    assert (found.other.leads, found.ours.leads) == (len(first), leads)
    assert found.other.precision.value == pytest.approx(first["converted"].mean())
    assert found.ours.precision.value == pytest.approx(won / leads)


def test_ways_that_do_not_exist_are_not_compared() -> None:
    assert [one.other.way for one in rivals(trials_of(random_table(4), 0), 0)] == ["logistic", "base_rate"]


def test_without_pqls_ways_are_compared_on_a_tenth_of_the_leads() -> None:
    found = rivals(trials_of(random_table(5).assign(is_pql=False), 0), 0)
    assert {one.other.leads for one in found} == {one.ours.leads for one in found} == {10}


def test_a_rival_that_is_the_score_itself_is_no_better_or_worse() -> None:
    table = random_table(6)
    table["logistic"] = table["probability"]
    one = {one.other.way: one for one in rivals(trials_of(table, 0), 0)}["logistic"]
    assert (one.gain.value, one.gain.low, one.gain.high) == pytest.approx((0, 0, 0))


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_scale_of_a_rival_does_not_matter(seed: int) -> None:
    table = random_table(seed)
    one, other = (
        rivals(trials_of(rows, 0), 0)[0].other for rows in (table, table.assign(logistic=7 * table["logistic"] - 3))
    )
    assert one == other


def test_the_order_of_the_file_does_not_matter() -> None:
    table = random_table(7)
    one, other = (
        [rival.other for rival in rivals(trials_of(rows, 0), 0)]
        for rows in (table, table.sample(frac=1, random_state=2))
    )
    assert one == other


def test_capacity_takes_the_highest_scores() -> None:
    table = random_table(8)
    for choice, n in zip(capacity(trials_of(table, 0)), (5, 10, 20), strict=True):
        leads, won, caught = plainly(table, "probability", n)
        assert choice.leads == leads == n
        assert choice.precision.value == pytest.approx(won / n)
        assert choice.caught.value == pytest.approx(caught / table.loc[table["converted"] == 1, "lead_id"].nunique())


def test_a_share_of_very_few_leads_is_at_least_one_lead() -> None:
    assert [one.leads for one in capacity(trials_of(random_table(9, 3), 0))] == [1, 1, 1]


def test_where_nobody_converts_nothing_is_caught() -> None:
    table = random_table(10).assign(converted=0)
    assert all(one.caught == UNKNOWN and one.precision.value == 0 for one in capacity(trials_of(table, 0)))


def test_pqls_of_each_segment_are_counted_apart() -> None:
    table = random_table(11)
    table.loc[table["lead_id"].str.endswith(("1", "2")), "segment"] = "large"
    (large,) = by_segment(trials_of(table, 0))
    first = table[table["is_pql"]].sort_values("as_of").groupby("lead_id").first()
    mine = first[first["segment"] == "large"]
    assert (large.way, large.leads) == ("large", len(mine))
    assert large.precision.value == pytest.approx(mine["converted"].mean())


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_the_curve_is_that_of_flagging_ever_more_leads(seed: int) -> None:
    table = random_table(seed, 20)
    curve = precision_curve(table, 0.9)
    for flagged, precision, low, caught in zip(curve.flagged, curve.precision, curve.low, curve.caught, strict=True):
        leads, won, found = plainly(table, "probability", int(flagged))
        assert leads == flagged
        assert precision == pytest.approx(won / leads)
        assert low == pytest.approx(lower_bound(won, leads, 0.9))
        assert caught == pytest.approx(found / max(1, table.loc[table["converted"] == 1, "lead_id"].nunique()))
    assert curve.flagged[-1] == 20

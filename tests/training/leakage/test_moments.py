"""Conversions stand beside open leads of the same age, and what each had first done is looked up as it happened."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset
from features.durations import DAY
from features.leads import NEVER, Leads
from training.demo import Demo
from training.leakage.moments import (
    ACCOUNT_MEMORY,
    CONTROLS,
    FEWEST_AT_RISK,
    Course,
    Moments,
    courses,
    moments,
    sampled,
)


@pytest.fixture(scope="module")
def beside(history: Dataset) -> Moments:
    return moments(history.leads, np.arange(len(history.leads)), history.until)


@pytest.fixture(scope="module")
def found(history: Dataset, beside: Moments) -> dict[str, Course]:
    return courses(history, beside)


def test_every_conversion_is_there_once_at_its_moment(history: Dataset, beside: Moments) -> None:
    won = np.flatnonzero(history.leads.converted_at < NEVER)
    assert beside.lead[beside.case].tolist() == won.tolist()
    assert (beside.at[beside.case] == history.leads.converted_at[won]).all()


def test_others_never_converted_and_were_still_open_at_that_age(history: Dataset, beside: Moments) -> None:
    others = beside.lead[~beside.case]
    assert len(others) > 1_000
    assert (history.leads.converted_at[others] == NEVER).all()
    assert (history.leads.closed_at[others] > beside.at[~beside.case]).all()
    assert (beside.at[~beside.case] < history.until).all()


def test_others_are_looked_at_when_they_are_as_old_as_the_one_who_converted(beside: Moments) -> None:
    cases = beside.age[beside.case]
    ages, times = np.unique(beside.age[~beside.case], return_counts=True)
    assert np.isin(ages, cases).all()
    assert set(times.tolist()) == {CONTROLS}


def leads(took: list[int | None], closed: list[int | None]) -> Leads:
    def times(days: list[int | None]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([NEVER if one is None else one * DAY for one in days])

    n, start = len(took), np.zeros(len(took), np.int64)
    ids = [str(i) for i in range(n)]
    return Leads(ids, [None] * n, np.arange(n), start, times([None] * n), times(closed), times(took), {})


@pytest.mark.parametrize(("left_after", "compared"), [(5, 0), (6, CONTROLS)])
def test_who_left_at_that_age_is_no_longer_open(left_after: int, compared: int) -> None:
    many = FEWEST_AT_RISK
    beside = moments(leads([5, *[None] * many], [None, *[left_after] * many]), np.arange(many + 1), 100 * DAY)
    assert (~beside.case).sum() == compared


def test_whoever_stays_with_too_few_others_is_compared_with_nobody() -> None:
    few = FEWEST_AT_RISK - 1
    beside = moments(leads([5, *[None] * few], [None] * (few + 1)), np.arange(few + 1), 100 * DAY)
    assert beside.case.tolist() == [True]


def test_a_sample_holds_whole_blocks_of_accounts(history: Dataset) -> None:
    every = np.arange(len(history.leads))
    assert sampled(history.leads, every, most=10_000) is every
    some = sampled(history.leads, every, most=100)
    assert 0 < len(some) < len(every)
    accounts = history.leads.accounts
    assert not set(accounts[some].tolist()) & set(accounts[np.setdiff1d(every, some)].tolist())


def test_first_times_are_those_in_the_events(
    history: Dataset, demo_world: Demo, beside: Moments, found: dict[str, Course]
) -> None:
    mine = demo_world.events.filter(pl.col("event") == "invite_accepted").group_by("user_id")
    firsts = dict(mine.agg(pl.col("timestamp").min().dt.epoch("us")).iter_rows())
    expected = [firsts.get(history.leads.ids[i]) for i in beside.lead]
    days = [np.nan if t is None else (at - t) / DAY for t, at in zip(expected, beside.at, strict=True)]
    assert np.isnan(days).any()
    np.testing.assert_allclose(found["teammates_joined"].lead_time, days, atol=1e-6)


def test_an_event_is_known_no_longer_than_since_it_happened(found: dict[str, Course]) -> None:
    course = found["activity"]
    did = ~np.isnan(course.lead_time)
    assert (course.known_for[did] <= course.lead_time[did]).all()
    assert (course.known_for[did] < course.lead_time[did] - 1e-9).any()


def test_of_accounts_only_the_recent_past_counts(found: dict[str, Course]) -> None:
    assert np.nanmax(found["team_activity"].lead_time) <= ACCOUNT_MEMORY / DAY + 1e-6
    assert np.nanmax(found["activity"].lead_time) > ACCOUNT_MEMORY / DAY


def test_what_is_made_from_the_trials_table_is_not_looked_at(found: dict[str, Course]) -> None:
    assert "team_upgrades" not in found
    assert "company_size" not in found

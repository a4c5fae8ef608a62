"""Leads are counted once, at the first look that crosses: for every threshold as a plain walk through the rows finds it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from features.durations import DAY
from features.windows import Floats, Ints
from training.first_flags import FirstFlags, first_flag_rows, lower_bound
from training.snapshots import Snapshots

START = 1_700_000_000_000_000
Rows = list[tuple[int, float, int]]


def table_of(lead: Ints, converted: Ints, as_of: Ints) -> Snapshots:
    n = len(lead)
    return Snapshots(lead, lead, as_of, np.full(n, START), as_of + 30 * DAY, converted, np.ones(n))


def scored(rows: Rows, step: int = DAY) -> tuple[Floats, Snapshots]:
    """Rows (lead, score, converted), one step apart."""
    lead, converted = (np.array([row[i] for row in rows], np.int64) for i in (0, 2))
    as_of = START + np.arange(len(rows)) * step
    return np.array([row[1] for row in rows], np.float64), table_of(lead, converted, as_of)


# --- the bound --------------------------------------------------------------------------------

seen = st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(seen, st.sampled_from([0.5, 0.8, 0.9, 0.99]))
def test_lower_bound_is_that_of_the_exact_one_sided_interval(counts: tuple[int, int], confidence: float) -> None:
    converted, n = counts
    interval = binomtest(converted, n, alternative="greater").proportion_ci(confidence, method="exact")
    assert lower_bound(converted, n, confidence) == pytest.approx(interval.low, abs=1e-12)


@given(seen.filter(lambda counts: counts[0] > 0), st.sampled_from([0.8, 0.9, 0.99]))
def test_at_the_lower_bound_so_many_conversions_are_just_as_rare_as_promised(
    counts: tuple[int, int], confidence: float
) -> None:
    converted, n = counts
    assert binom.sf(converted - 1, n, lower_bound(converted, n, confidence)) == pytest.approx(1 - confidence, rel=1e-6)


def test_lower_bound_of_nothing_seen_is_zero() -> None:
    assert lower_bound(0, 50, 0.9) == 0.0


# --- first flags ------------------------------------------------------------------------------

THRESHOLDS = (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
histories = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.integers(0, 1)), max_size=40
)


def plain_first_flags(rows: Rows, threshold: float) -> tuple[int, int]:
    first: dict[int, int] = {}
    for lead, score, converted in rows:
        if score >= threshold:
            first.setdefault(lead, converted)
    return len(first), sum(first.values())


@given(histories)
def test_a_lead_counts_once_when_it_first_crosses_the_threshold(rows: Rows) -> None:
    found = FirstFlags.of(*scored(rows))
    for threshold in THRESHOLDS:
        assert found.at(threshold) == plain_first_flags(rows, threshold)


@given(histories)
def test_rows_of_the_first_flags_count_the_same(rows: Rows) -> None:
    scores, table = scored(rows)
    for threshold in THRESHOLDS:
        first = first_flag_rows(scores >= threshold, table.lead)
        assert (len(first), int(table.converted[first].sum())) == plain_first_flags(rows, threshold)


@given(histories)
def test_first_flagged_rows_are_one_per_flagged_lead(rows: Rows) -> None:
    scores, table = scored(rows)
    flagged = scores >= 0.2
    found = first_flag_rows(flagged, table.lead)
    assert flagged[found].all()
    assert sorted(table.lead[found].tolist()) == sorted(set(table.lead[flagged].tolist()))


def test_a_score_exactly_at_the_threshold_crosses_it() -> None:
    assert FirstFlags.of(*scored([(0, 0.3, 1)])).at(0.3) == (1, 1)


def test_a_score_just_below_the_threshold_does_not() -> None:
    assert FirstFlags.of(*scored([(0, float(np.nextafter(0.3, 0)), 1)])).at(0.3) == (0, 0)


def test_the_outcome_counted_is_that_of_the_first_crossing_not_of_the_highest_score() -> None:
    assert FirstFlags.of(*scored([(0, 0.4, 0), (0, 0.9, 1)])).at(0.3) == (1, 0)


@given(histories)
def test_peaks_are_the_highest_score_of_each_lead_descending(rows: Rows) -> None:
    best: dict[int, float] = {}
    for lead, score, _ in rows:
        best[lead] = max(score, best.get(lead, 0.0))
    assert FirstFlags.of(*scored(rows)).peaks.tolist() == sorted(best.values(), reverse=True)


@given(histories)
def test_who_converts_is_counted_by_lead(rows: Rows) -> None:
    assert FirstFlags.of(*scored(rows)).won == len({lead for lead, _, converted in rows if converted})


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_leads_looked_at_in_the_same_moment_means_nothing(rows: Rows, chance: object) -> None:
    """Looks in rounds, each lead at most once in a round."""
    rounds: list[Rows] = []
    for row in rows:
        place = next((one for one in rounds if all(row[0] != other[0] for other in one)), None)
        if place is None:
            rounds.append(place := [])
        place.append(row)
    shuffled = [one.copy() for one in rounds]
    for one in shuffled:
        chance.shuffle(one)  # type: ignore[attr-defined]
    before, after = (FirstFlags.of(*scored([row for one in way for row in one])) for way in (rounds, shuffled))
    assert [before.at(t) for t in THRESHOLDS] == [after.at(t) for t in THRESHOLDS]


@pytest.mark.parametrize(("days", "weeks"), [(0, 1.0), (6, 1.0), (7, 1.0), (14, 2.0), (21, 3.0)])
def test_weeks_are_the_span_of_looks_and_at_least_one(days: int, weeks: float) -> None:
    assert FirstFlags.of(*scored([(0, 0.2, 0), (1, 0.3, 0)], step=days * DAY)).weeks == weeks


def test_no_rows_are_no_leads() -> None:
    found = FirstFlags.of(*scored([]))
    assert (len(found), found.won, found.weeks, found.at(0.0)) == (0, 0, 1.0, (0, 0))


# --- accounts ---------------------------------------------------------------------------------


def in_accounts(account: Ints, converted: Ints) -> FirstFlags:
    n = len(account)
    when = START + np.arange(n)
    table = Snapshots(np.arange(n), account, when, when, when + 30 * DAY, converted, np.ones(n))
    return FirstFlags.of(np.linspace(0.9, 0.1, n), table)


def test_leads_that_are_each_in_an_account_of_their_own_are_independent() -> None:
    rng = np.random.default_rng(0)
    assert in_accounts(np.arange(300), (rng.random(300) < 0.3).astype(np.int64)).design_effect(0.0) == 1.0


def test_accounts_that_convert_as_one_count_as_one_lead() -> None:
    rng = np.random.default_rng(0)
    whole = np.repeat((rng.random(500) < 0.3).astype(np.int64), 4)
    assert in_accounts(np.repeat(np.arange(500), 4), whole).design_effect(0.0) == pytest.approx(4, rel=0.01)


def test_accounts_whose_leads_decide_each_for_themselves_cost_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    alone = (rng.random(4_000) < 0.3).astype(np.int64)
    assert in_accounts(np.repeat(np.arange(1_000), 4), alone).design_effect(0.0) < 1.15


def test_only_flagged_leads_count_towards_the_design_effect() -> None:
    account = np.concatenate([np.arange(100), np.repeat(np.arange(100, 200), 4)])
    converted = np.concatenate([np.arange(100) % 2, np.repeat(np.arange(100) % 2, 4)])
    seen = in_accounts(account, converted)
    hundredth = float(seen.peaks[99])
    assert seen.design_effect(hundredth) == 1.0
    assert seen.design_effect(0.0) > 2

"""The cutoff keeps its promise: by the binomial law on each test, and in worlds whose truth is known on all of them."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binom, binomtest

from features.definition import PrecisionPolicy
from features.durations import DAY
from features.windows import Floats, Ints
from serving.scoring.decision import Cutoff, Decision, NoCutoff
from training.cutoff import (
    FEWEST_LEADS,
    choose_cutoff,
    first_flag_rows,
    first_flags,
    leads_needed,
    lower_bound,
    strictest_rank,
)
from training.snapshots import Snapshots

POLICY = PrecisionPolicy(at_least=0.3, confidence=0.9)
START = 1_700_000_000_000_000


def table_of(lead: Ints, converted: Ints, as_of: Ints | None = None) -> Snapshots:
    n = len(lead)
    when = START + np.arange(n) * DAY if as_of is None else as_of
    return Snapshots(lead, lead, when, np.full(n, START), when + 30 * DAY, converted, np.ones(n))


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


@given(st.floats(0.05, 0.9), st.floats(0.5, 0.99))
def test_so_many_leads_as_are_said_to_be_needed_pass_the_test(at_least: float, confidence: float) -> None:
    policy = PrecisionPolicy(at_least=at_least, confidence=confidence)
    precision = at_least + (1 - at_least) / 3
    needed = leads_needed(precision, policy)
    assert needed is not None
    assert needed >= FEWEST_LEADS
    assert lower_bound(round(precision * needed), needed, confidence) >= at_least - 1e-12


def test_no_number_of_leads_is_enough_for_less_than_is_asked() -> None:
    assert leads_needed(0.29, POLICY) is None


def test_the_first_cutoff_tried_is_one_that_can_pass() -> None:
    for at_least in (0.1, 0.3, 0.6, 0.9, 0.97):
        policy = PrecisionPolicy(at_least=at_least, confidence=0.9)
        n = strictest_rank(policy)
        assert lower_bound(n, n, 0.9) >= at_least


# --- first flags ------------------------------------------------------------------------------

histories = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.integers(0, 1)), max_size=40
)


def plain_first_flags(rows: list[tuple[int, float, int]], threshold: float) -> tuple[int, int]:
    first: dict[int, int] = {}
    for lead, probability, converted in rows:
        if probability >= threshold:
            first.setdefault(lead, converted)
    return len(first), sum(first.values())


@given(histories, st.sampled_from([0.05, 0.2, 0.35, 0.5]))
def test_a_lead_counts_once_when_it_first_crosses_the_threshold(
    rows: list[tuple[int, float, int]], threshold: float
) -> None:
    lead, probability, converted = (np.array([row[i] for row in rows]) for i in range(3))
    table = table_of(lead.astype(np.int64), converted.astype(np.int64))
    assert first_flags(probability.astype(np.float64), table, threshold) == plain_first_flags(rows, threshold)


def test_a_probability_exactly_at_the_threshold_crosses_it() -> None:
    assert first_flags(np.array([0.3]), table_of(np.array([0]), np.array([1])), 0.3) == (1, 1)


def test_the_outcome_counted_is_that_of_the_first_crossing_not_of_the_highest_score() -> None:
    table = table_of(np.array([0, 0]), np.array([0, 1]))
    assert first_flags(np.array([0.4, 0.9]), table, 0.3) == (1, 0)


@given(histories)
def test_first_flagged_rows_are_one_per_flagged_lead(rows: list[tuple[int, float, int]]) -> None:
    lead = np.array([row[0] for row in rows], np.int64)
    flagged = np.array([row[1] >= 0.2 for row in rows], bool)
    found = first_flag_rows(flagged, lead)
    assert flagged[found].all()
    assert sorted(lead[found].tolist()) == sorted(set(lead[flagged].tolist()))


# --- worlds with known truth ------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Leads looked at up to three times, with scores; `late[i]` is the highest score of the lead before row i."""

    probability: Floats
    table: Snapshots
    before: Floats


def world(rng: np.random.Generator, n: int, signal: float, base: float) -> World:
    """Leads of drifting interest that convert by it and then are gone; the score sees it through noise of its own."""
    rows = np.arange(n * 3)
    lead, look = rows // 3, rows % 3
    interest = rng.normal(size=n)[lead] + 0.5 * rng.normal(size=n * 3)
    truth = expit(base + signal * interest)
    converts_after = rng.random(n * 3) < truth
    # Whoever converts between two looks is gone at the second one.
    gone = converts_after & (rng.random(n * 3) < 0.5)
    is_open = np.ones((n, 3), bool)
    is_open[:, 1:] = ~np.logical_or.accumulate(gone.reshape(n, 3)[:, :2], axis=1)
    score = expit(base + signal * interest + 0.5 * rng.normal(size=n * 3))
    before = np.full((n, 3), -np.inf)
    before[:, 1:] = np.maximum.accumulate(score.reshape(n, 3)[:, :2], axis=1)
    order = np.flatnonzero(is_open.ravel())[np.argsort(look[is_open.ravel()], kind="stable")]
    table = table_of(lead[order], converts_after[order].astype(np.int64))
    return World(score[order], table, before.ravel()[order])


def true_precision(population: World) -> "FirstFlagPrecision":
    return FirstFlagPrecision.of(population)


@dataclass(frozen=True)
class FirstFlagPrecision:
    """The share of first-flagged leads that convert; row i is the first flag for thresholds in (before, score]."""

    scores: Floats
    won_from_score: Floats
    befores: Floats
    won_from_before: Floats

    @classmethod
    def of(cls, population: World) -> "FirstFlagPrecision":
        rising = population.probability > population.before
        converted = population.table.converted[rising].astype(np.float64)
        parts = []
        for edge in (population.probability[rising], population.before[rising]):
            order = np.argsort(edge)
            parts += [edge[order], np.append(converted[order][::-1].cumsum()[::-1], 0.0)]
        return cls(*parts)

    def __call__(self, threshold: float) -> float:
        at_score, at_before = (np.searchsorted(edges, threshold) for edges in (self.scores, self.befores))
        flagged = (len(self.scores) - at_score) - (len(self.befores) - at_before)
        return float((self.won_from_score[at_score] - self.won_from_before[at_before]) / flagged)


def naive_cutoff(one: World, at_least: float) -> float | None:
    """The lowest score at which the precision seen, of first flags, is what is asked for."""
    precision = true_precision(one)
    scores = np.sort(one.probability)[:-FEWEST_LEADS:5]
    return next((float(score) for score in scores if precision(float(score)) >= at_least), None)


WORLDS, LEADS = 300, 1_000
DELTA = 1 - POLICY.confidence


@pytest.fixture(scope="module")
def precision_of() -> FirstFlagPrecision:
    return true_precision(world(np.random.default_rng(99), 300_000, 1.0, -2.3))


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [world(np.random.default_rng(seed), LEADS, 1.0, -2.3) for seed in range(WORLDS)]


@pytest.fixture(scope="module")
def decisions(worlds: list[World]) -> list[Decision]:
    return [choose_cutoff(one.probability, one.table, POLICY) for one in worlds]


def at_most(share: float, n: int) -> float:
    """The count that so many trials of a chance of at most `share` exceed in one case of a thousand."""
    return float(binom.ppf(0.999, n, share))


def test_the_reference_for_true_precision_counts_like_first_flags() -> None:
    one = world(np.random.default_rng(5), 400, 1.0, -2.3)
    for threshold in (0.1, 0.25, 0.4):
        flagged, won = first_flags(one.probability, one.table, threshold)
        assert true_precision(one)(threshold) == pytest.approx(won / flagged)


def test_promises_are_broken_no_more_often_than_was_said(
    decisions: list[Decision], precision_of: FirstFlagPrecision
) -> None:
    certified = [one for one in decisions if isinstance(one, Cutoff)]
    broken = sum(precision_of(one.probability) < POLICY.at_least for one in certified)
    assert len(certified) > 0.7 * WORLDS
    assert broken <= at_most(DELTA, len(certified))


def test_the_naive_choice_breaks_its_promise_far_more_often(
    worlds: list[World], precision_of: FirstFlagPrecision
) -> None:
    chosen = [naive_cutoff(one, POLICY.at_least) for one in worlds]
    broken = sum(precision_of(one) < POLICY.at_least for one in chosen if one is not None)
    assert broken > 0.3 * WORLDS


def test_a_certified_cutoff_is_not_needlessly_strict(
    decisions: list[Decision], precision_of: FirstFlagPrecision
) -> None:
    promised = [precision_of(one.probability) for one in decisions if isinstance(one, Cutoff)]
    assert np.median(promised) < 0.42


def test_the_evidence_is_what_a_recount_finds(worlds: list[World], decisions: list[Decision]) -> None:
    for one, found in zip(worlds, decisions, strict=True):
        if isinstance(found, Cutoff):
            assert first_flags(one.probability, one.table, found.probability) == (found.leads, found.converted)
            assert (
                found.precision_low == lower_bound(found.converted, found.leads, POLICY.confidence) >= POLICY.at_least
            )


@pytest.mark.parametrize("share", [0.1, 0.29])
def test_pure_noise_is_hardly_ever_certified(share: float) -> None:
    rng = np.random.default_rng(4)
    lead, n = np.arange(LEADS), 100
    found = [
        choose_cutoff(rng.random(LEADS), table_of(lead, (rng.random(LEADS) < share).astype(np.int64)), POLICY)
        for _ in range(n)
    ]
    assert sum(isinstance(one, Cutoff) for one in found) <= at_most(DELTA, n)


# --- the choice -------------------------------------------------------------------------------

few = settings(max_examples=25)
seeds = st.integers(0, 2**32 - 1)


def chosen(one: World, policy: PrecisionPolicy = POLICY) -> float:
    """The cutoff, above every score where there is none."""
    found = choose_cutoff(one.probability, one.table, policy)
    return found.probability if isinstance(found, Cutoff) else np.inf


@few
@given(seeds)
def test_more_confidence_never_lowers_the_cutoff(seed: int) -> None:
    one = world(np.random.default_rng(seed), 600, 1.5, -1.5)
    # The same first rank for both, or they would try different cutoffs.
    cautious, bold = (chosen(one, replace_confidence(confidence)) for confidence in (0.95, 0.8))
    assert strictest_rank(replace_confidence(0.95)) == strictest_rank(replace_confidence(0.8))
    assert cautious >= bold


def replace_confidence(confidence: float) -> PrecisionPolicy:
    return PrecisionPolicy(at_least=POLICY.at_least, confidence=confidence)


@few
@given(seeds)
def test_only_the_order_of_scores_decides_who_is_flagged(seed: int) -> None:
    one = world(np.random.default_rng(seed), 600, 1.5, -1.5)
    squeezed = replace(one, probability=expit(0.3 * logit(one.probability) - 2))
    before, after = (
        choose_cutoff(each.probability, each.table, POLICY).flags(each.probability) for each in (one, squeezed)
    )
    assert before.tolist() == after.tolist()


def ranked(n: int, converted: npt.NDArray[np.bool_]) -> tuple[Floats, Snapshots]:
    """One look at each of n leads, scores falling from lead to lead."""
    return np.linspace(0.9, 0.1, n), table_of(np.arange(n), converted.astype(np.int64))


def test_the_search_ends_at_the_first_failure_even_where_laxer_cutoffs_would_pass() -> None:
    converted = np.arange(1_000) >= 30  # nobody among the thirty highest, everybody below
    assert isinstance(choose_cutoff(*ranked(1_000, converted), POLICY), NoCutoff)


def test_the_laxest_cutoff_flags_at_most_half_of_the_leads() -> None:
    probabilities, table = ranked(1_000, np.ones(1_000, bool))
    found = choose_cutoff(probabilities, table, POLICY)
    assert int(found.flags(probabilities).sum()) == 500


def test_leads_of_equal_score_are_flagged_together() -> None:
    converted = np.arange(200) < 60
    probabilities = np.where(np.arange(200) < 100, 0.6, 0.1)
    found = choose_cutoff(probabilities, table_of(np.arange(200), converted.astype(np.int64)), POLICY)
    assert isinstance(found, Cutoff)
    assert (found.probability, found.leads, found.converted) == (0.6, 100, 60)


def test_the_evidence_says_from_when_to_when_it_was_measured() -> None:
    found = choose_cutoff(*ranked(200, np.ones(200, bool)), POLICY)
    assert isinstance(found, Cutoff)
    assert (found.measured_from, found.measured_until) == ("2023-11-14T22:13:20Z", "2024-06-30T22:13:20Z")


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 29])
def test_too_few_leads_are_refused_with_how_many_are_needed(n: int) -> None:
    found = choose_cutoff(*ranked(n, np.ones(n, bool)), POLICY)
    assert isinstance(found, NoCutoff)
    assert found.reason == f"only {n} held-out leads; at least 30 are needed to try a cutoff."


def test_just_enough_leads_that_all_convert_are_certified() -> None:
    assert isinstance(choose_cutoff(*ranked(30, np.ones(30, bool)), POLICY), Cutoff)


def refusal(converted: int) -> str:
    found = choose_cutoff(*ranked(1_000, np.arange(1_000) < converted), POLICY)
    assert isinstance(found, NoCutoff)
    return found.reason


def test_a_shortfall_says_what_was_seen_and_how_many_leads_would_do() -> None:
    assert "of the 30 highest-scored held-out leads 11 converted (37%)" in refusal(11)
    assert "with 90% confidence" in refusal(11)
    assert "30% is asked for" in refusal(11)
    needed = leads_needed(11 / 30, POLICY)
    assert f"If they go on converting at 37%, about {needed} such leads would carry the promise" in refusal(11)


def test_a_precision_below_the_promise_is_met_with_what_to_change() -> None:
    assert "Ask for less than 20%, or give the model signals" in refusal(6)


def test_where_nobody_converts_nobody_is_told_to_ask_for_less_than_nothing() -> None:
    assert "less than 0%" not in refusal(0)
    assert "signals that tell converters apart" in refusal(0)


def test_without_a_cutoff_nobody_is_flagged() -> None:
    assert not NoCutoff(0.3, 0.9, "").flags(np.array([0.1, 0.99])).any()


def test_a_cutoff_flags_from_its_probability_on() -> None:
    found = choose_cutoff(*ranked(200, np.ones(200, bool)), POLICY)
    assert isinstance(found, Cutoff)
    at, below = found.probability, np.nextafter(found.probability, 0)
    assert found.flags(np.array([below, at])).tolist() == [False, True]

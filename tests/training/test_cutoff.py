"""Each limit draws its line, the strictest binds, and all that is said of the cutoff is what a recount finds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from features.durations import DAY
from features.policies import CapacityPolicy, CutoffPolicy, PrecisionPolicy, ValuePolicy
from features.times import parse_instant
from features.windows import Floats, Ints
from serving.scoring.decision import Cutoff, Decision, NoCutoff, Segmented, from_facts, to_facts
from training.certify import Floor, Shortfall, certify, leads_to_carry
from training.cutoff import choose_cutoff
from training.first_flags import FirstFlags, first_flag_rows, lower_bound
from training.snapshots import Snapshots

POLICY = PrecisionPolicy(at_least=0.3, confidence=0.9)
FLOOR = Floor(0.3, 0.9)
START = 1_700_000_000_000_000
few = settings(max_examples=40)
seeds = st.integers(0, 2**32 - 1)
rates = st.sampled_from([0.2, 1.0, 3.5, 10.0, 20.0, 40.0, 1e6])
costs = st.sampled_from([0.05, 0.2, 0.3, 0.5, 0.9, 0.999])


def table_of(lead: Ints, converted: Ints, as_of: Ints | None = None) -> Snapshots:
    n = len(lead)
    when = START + np.arange(n) * DAY if as_of is None else as_of
    return Snapshots(lead, lead, when, np.full(n, START), when + 30 * DAY, converted, np.ones(n))


def ranked(converted: npt.NDArray[np.bool_], days: float = 0.0) -> tuple[Floats, Snapshots]:
    """One look at each lead, scores falling from lead to lead, all looked at within so many days."""
    n = len(converted)
    as_of = START + (np.arange(n) * days * DAY / max(1, n - 1)).astype(np.int64)
    return np.linspace(0.9, 0.1, n), table_of(np.arange(n), converted.astype(np.int64), as_of)


def drawn(seed: int, n: int = 700) -> tuple[Floats, Snapshots]:
    """Three looks at each lead, over 60 days; the score tells much of who converts, and is tied here and there."""
    rng = np.random.default_rng(seed)
    lead = np.repeat(np.arange(n), 3)
    interest = rng.normal(size=n)[lead] + 0.5 * rng.normal(size=3 * n)
    converted = (rng.random(3 * n) < expit(-1.5 + 1.5 * interest)).astype(np.int64)
    as_of = START + rng.integers(0, 60, n)[lead] * DAY + np.tile(np.arange(3), n)
    order = np.argsort(as_of, kind="stable")
    scores = expit(-1.5 + 1.5 * interest + 0.5 * rng.normal(size=3 * n)).round(2)
    return scores[order], table_of(lead[order], converted[order], as_of[order])


def recount(scores: Floats, table: Snapshots, threshold: float) -> tuple[int, int]:
    rows = first_flag_rows(scores >= threshold, table.lead)
    return len(rows), int(table.converted[rows].sum())


def weekly(scores: Floats, table: Snapshots, threshold: float) -> float:
    weeks = max(1.0, (int(table.as_of.max()) - int(table.as_of.min())) / (7 * DAY))
    return recount(scores, table, threshold)[0] / weeks


def threshold_of(decision: Decision) -> float:
    """The cutoff, above every score where there is none."""
    return decision.probability if isinstance(decision, Cutoff) else np.inf


def cutoff_of(decision: Decision) -> Cutoff:
    assert isinstance(decision, Cutoff), decision
    return decision


def reason_of(decision: Decision) -> str:
    assert isinstance(decision, NoCutoff)
    return decision.reason


def value(worth_it: float, at_least: float | None = None, leads_per_week: float | None = None) -> ValuePolicy:
    """Return a policy whose contact pays from a probability on."""
    return ValuePolicy(deal_value=1000, touch_cost=1000 * worth_it, at_least=at_least, leads_per_week=leads_per_week)


policies = st.one_of(
    st.builds(PrecisionPolicy, at_least=st.just(0.3), leads_per_week=st.none() | rates),
    st.builds(CapacityPolicy, leads_per_week=rates, at_least=st.none() | st.just(0.3)),
    st.builds(value, costs, st.none() | st.just(0.3), st.none() | rates),
)


# --- all policies -----------------------------------------------------------------------------


@few
@given(seeds, policies)
def test_the_evidence_is_what_a_recount_finds(seed: int, policy: CutoffPolicy) -> None:
    scores, table = drawn(seed)
    found = choose_cutoff(scores, table, policy)
    if isinstance(found, Cutoff):
        assert (found.leads, found.converted) == recount(scores, table, found.probability)
        assert found.precision_low == lower_bound(found.converted, found.leads, policy.confidence)
        assert found.leads_per_week == pytest.approx(weekly(scores, table, found.probability))
        for line in found.lines:
            assert (line.leads, line.converted) == recount(scores, table, line.probability)
            assert line.leads_per_week == pytest.approx(weekly(scores, table, line.probability))


@few
@given(seeds, policies)
def test_the_strictest_line_binds(seed: int, policy: CutoffPolicy) -> None:
    found = choose_cutoff(*drawn(seed), policy)
    if isinstance(found, Cutoff):
        own = {line.name: line.probability for line in found.lines}
        asked = {"promise": policy.at_least, "capacity": policy.leads_per_week, "value": policy.worth_it}
        assert set(own) == {name for name, what in asked.items() if what is not None}
        assert own[found.binds] == max(own.values())
        assert found.probability >= max(own.values())
        assert policy.at_least is not None or found.probability == max(own.values())


@few
@given(seeds, policies)
def test_what_is_promised_is_shown_by_the_evidence(seed: int, policy: CutoffPolicy) -> None:
    found = choose_cutoff(*drawn(seed), policy)
    assert found.at_least == policy.at_least
    if isinstance(found, Cutoff) and found.at_least is not None:
        assert found.precision_low >= found.at_least


@few
@given(seeds, rates)
def test_at_most_so_many_and_never_below_keeps_both(seed: int, rate: float) -> None:
    scores, table = drawn(seed)
    both = choose_cutoff(scores, table, PrecisionPolicy(at_least=0.3, leads_per_week=rate))
    if isinstance(both, Cutoff):
        assert weekly(scores, table, both.probability) <= rate
        assert both.probability >= threshold_of(choose_cutoff(scores, table, POLICY))


@few
@given(seeds, rates)
def test_of_the_cutoffs_that_are_certified_the_laxest_that_is_allowed_is_taken(seed: int, rate: float) -> None:
    scores, table = drawn(seed)
    certified = certify(FirstFlags.of(scores, table), FLOOR)
    tried = () if isinstance(certified, Shortfall) else certified
    allowed = [one.threshold for one in tried if weekly(scores, table, one.threshold) <= rate]
    found = choose_cutoff(scores, table, CapacityPolicy(leads_per_week=rate, at_least=0.3))
    assert threshold_of(found) == min(allowed, default=np.inf)


@few
@given(seeds, policies, st.sampled_from([0.8, 0.95]))
def test_more_confidence_never_lowers_the_cutoff(seed: int, policy: CutoffPolicy, confidence: float) -> None:
    bold = policy.model_copy(update={"confidence": 0.6})
    cautious = policy.model_copy(update={"confidence": confidence})
    scores, table = drawn(seed)
    assert threshold_of(choose_cutoff(scores, table, cautious)) >= threshold_of(choose_cutoff(scores, table, bold))


@few
@given(seeds, policies.filter(lambda policy: policy.policy != "value"))
def test_only_the_order_of_scores_decides_who_is_flagged(seed: int, policy: CutoffPolicy) -> None:
    scores, table = drawn(seed)
    scores = scores.clip(0.005, 0.995)
    squeezed = expit(0.3 * logit(scores) - 2)
    before, after = (choose_cutoff(each, table, policy).flags(each) for each in (scores, squeezed))
    assert before.tolist() == after.tolist()


@few
@given(seeds, policies)
def test_the_order_of_rows_of_one_moment_means_nothing(seed: int, policy: CutoffPolicy) -> None:
    scores, table = drawn(seed)
    order = np.lexsort((np.random.default_rng(seed).random(len(table)), table.as_of))
    assert choose_cutoff(scores[order], table.take(order), policy) == choose_cutoff(scores, table, policy)


@few
@given(seeds, policies)
def test_facts_tell_all_of_a_decision(seed: int, policy: CutoffPolicy) -> None:
    found = choose_cutoff(*drawn(seed), policy)
    assert from_facts(to_facts(found)) == found


@pytest.mark.parametrize("policy", [POLICY, CapacityPolicy(leads_per_week=5), value(0.2)])
def test_without_leads_there_is_no_cutoff(policy: CutoffPolicy) -> None:
    assert reason_of(choose_cutoff(*ranked(np.ones(0, bool)), policy)).startswith("no held-out leads")


def test_the_evidence_says_from_when_to_when_it_was_measured_and_expires_ninety_days_later() -> None:
    scores, table = ranked(np.ones(200, bool), days=199)
    found = cutoff_of(choose_cutoff(scores, table, POLICY))
    assert (found.measured_from, found.measured_until) == ("2023-11-14T22:13:20Z", "2024-06-30T22:13:20Z")
    assert (found.expires, found.policy, found.binds) == ("2024-09-28T22:13:20Z", "precision", "promise")


def test_the_evidence_expires_so_long_after_the_last_outcome_was_known() -> None:
    scores, table = ranked(np.ones(200, bool), days=199)
    found = cutoff_of(choose_cutoff(scores, table, POLICY.model_copy(update={"valid_for": 60 * DAY})))
    assert found.expires is not None
    assert parse_instant(found.expires, "x") == int(table.label_end.max()) + 60 * DAY


def test_evidence_grows_older_from_the_end_of_the_data_on() -> None:
    scores, table = ranked(np.ones(200, bool), days=199)
    until = int(table.label_end.max()) + 45 * DAY
    found = cutoff_of(choose_cutoff(scores, table, POLICY, until=until))
    assert found.expires is not None
    assert parse_instant(found.expires, "x") == until + 90 * DAY


def test_evidence_that_counts_for_ever_has_no_expiry() -> None:
    scores, table = ranked(np.ones(200, bool), days=199)
    assert cutoff_of(choose_cutoff(scores, table, POLICY.model_copy(update={"valid_for": None}))).expires is None


# --- promise ----------------------------------------------------------------------------------


def test_a_refusal_says_how_many_more_flagged_leads_would_help() -> None:
    need = leads_to_carry(FLOOR)
    found = choose_cutoff(*ranked(np.arange(1_000) < 70), POLICY)
    assert isinstance(found, NoCutoff)
    assert (found.at_least, found.confidence, found.needed) == (0.3, 0.9, need - 54)
    assert found.reason.startswith("only 1,000 held-out leads, of which 70 converted.")


def test_a_precision_that_was_never_there_is_not_mended_by_more_leads() -> None:
    found = choose_cutoff(*ranked(np.arange(1_000) >= 700), POLICY)
    assert isinstance(found, NoCutoff)
    assert (found.needed, "0 converted (0%)" in found.reason) == (None, True)


# --- capacity ---------------------------------------------------------------------------------


def test_capacity_flags_as_many_leads_as_can_be_called() -> None:
    found = cutoff_of(choose_cutoff(*ranked(np.arange(100) < 20, days=28), CapacityPolicy(leads_per_week=10)))
    assert (found.leads, found.converted, found.leads_per_week) == (40, 20, 10.0)
    assert (found.binds, found.policy, found.at_least) == ("capacity", "capacity", None)
    assert found.precision_low == lower_bound(20, 40, 0.9)


def test_a_span_of_less_than_a_week_counts_as_a_week() -> None:
    found = cutoff_of(choose_cutoff(*ranked(np.arange(100) < 20, days=2), CapacityPolicy(leads_per_week=10)))
    assert found.leads == 10


def test_capacity_for_all_flags_all() -> None:
    found = cutoff_of(choose_cutoff(*ranked(np.arange(100) < 20), CapacityPolicy(leads_per_week=100)))
    assert found.leads == 100
    assert found.probability == pytest.approx(0.1)


@few
@given(seeds, rates)
def test_no_laxer_cutoff_would_do_for_the_capacity(seed: int, rate: float) -> None:
    scores, table = drawn(seed)
    found = choose_cutoff(scores, table, CapacityPolicy(leads_per_week=rate))
    fitting = [score for score in np.unique(scores).tolist() if weekly(scores, table, score) <= rate]
    peaks = FirstFlags.of(scores, table).peaks
    assert threshold_of(found) == min((score for score in fitting if score in peaks), default=np.inf)


@few
@given(seeds)
def test_more_capacity_never_raises_the_cutoff(seed: int) -> None:
    scores, table = drawn(seed)
    found = [
        threshold_of(choose_cutoff(scores, table, CapacityPolicy(leads_per_week=rate))) for rate in (1, 5, 20, 100)
    ]
    assert all(first >= second for first, second in pairwise(found))


def test_leads_of_equal_score_are_flagged_together_or_not_at_all() -> None:
    scores = np.array([0.9, 0.8, 0.8, 0.8, 0.1])
    table = table_of(np.arange(5), np.ones(5, np.int64), np.full(5, START))
    for rate, leads in ((1, 1), (3, 1), (4, 4), (5, 5)):
        assert cutoff_of(choose_cutoff(scores, table, CapacityPolicy(leads_per_week=rate))).leads == leads


def test_a_capacity_of_less_than_one_lead_is_refused() -> None:
    found = choose_cutoff(*ranked(np.ones(100, bool), days=28), CapacityPolicy(leads_per_week=0.2))
    assert reason_of(found) == (
        "at most 0.2 a week may be flagged, which is not one lead over the 4 week(s) of held-out leads. Raise leads_per_week."
    )


def test_a_capacity_that_would_divide_the_highest_scored_is_refused() -> None:
    table = table_of(np.arange(5), np.ones(5, np.int64), np.full(5, START))
    found = choose_cutoff(np.full(5, 0.5), table, CapacityPolicy(leads_per_week=4))
    assert reason_of(found) == (
        "at most 4 a week may be flagged, and the 5 highest-scored leads over the 1 week(s) of held-out leads have the same "
        "score. Raise leads_per_week."
    )


def test_a_capacity_below_what_carries_the_promise_is_refused_with_what_to_change() -> None:
    found = choose_cutoff(*ranked(np.arange(400) < 200), PrecisionPolicy(at_least=0.3, leads_per_week=20))
    assert reason_of(found) == (
        "the strictest cutoff that can carry the promise flags 30 held-out leads (30 a week), from a probability of 0.842 on; "
        "but at most 20 a week may be flagged. Raise leads_per_week, or drop at_least."
    )


def test_capacity_binds_where_it_is_stricter_than_the_promise() -> None:
    policy = PrecisionPolicy(at_least=0.3, leads_per_week=50)
    found = cutoff_of(choose_cutoff(*ranked(np.arange(400) < 200), policy))
    promise, capacity = found.lines
    assert (promise.name, promise.leads) == ("promise", 200)
    assert (capacity.name, capacity.leads) == ("capacity", 50)
    assert found.binds == "capacity"
    assert 40 < found.leads <= 50


def test_the_promise_binds_where_capacity_is_plenty() -> None:
    policy = CapacityPolicy(at_least=0.3, leads_per_week=390)
    found = cutoff_of(choose_cutoff(*ranked(np.arange(400) < 200), policy))
    assert (found.binds, found.leads, found.policy) == ("promise", 200, "capacity")
    assert {line.name: line.leads for line in found.lines} == {"promise": 200, "capacity": 390}


# --- value ------------------------------------------------------------------------------------


def test_a_contact_pays_from_cost_over_gain_on() -> None:
    policy = ValuePolicy(deal_value=900, touch_cost=60, uplift=0.5)
    scores, table = ranked(np.arange(100) < 20)
    found = cutoff_of(choose_cutoff(scores, table, policy))
    assert found.probability == pytest.approx(60 / 450)
    assert (found.leads, found.converted) == recount(scores, table, 60 / 450)
    assert (found.binds, found.policy, found.at_least) == ("value", "value", None)


def test_where_no_held_out_lead_is_worth_a_contact_the_cutoff_stands_without_evidence() -> None:
    found = cutoff_of(choose_cutoff(*ranked(np.arange(100) < 20), value(0.95)))
    assert (found.leads, found.precision_low, found.leads_per_week) == (0, 0.0, 0.0)


def test_capacity_binds_where_more_leads_are_worth_a_contact_than_can_be_called() -> None:
    found = cutoff_of(choose_cutoff(*ranked(np.arange(100) < 20), value(0.2, leads_per_week=10)))
    assert (found.binds, found.leads) == ("capacity", 10)
    assert {line.name for line in found.lines} == {"capacity", "value"}


def test_value_binds_where_fewer_leads_are_worth_a_contact_than_could_be_called() -> None:
    found = cutoff_of(choose_cutoff(*ranked(np.arange(100) < 20), value(0.8, leads_per_week=90)))
    assert (found.binds, found.probability) == ("value", 0.8)


def test_a_value_above_what_carries_the_promise_is_refused_with_what_to_change() -> None:
    found = choose_cutoff(*ranked(np.arange(400) < 200), value(0.88, at_least=0.3))
    assert reason_of(found).endswith(
        "but a contact pays from a probability of 0.880 on. Lower touch_cost to what it really is, or drop at_least."
    )


# --- segments ---------------------------------------------------------------------------------


def in_segments(*shares: float, n: int = 1_000) -> tuple[Floats, Snapshots, Ints]:
    """Segments of n leads each, of whose highest-scored tenth such a share converts, and a tenth of the others."""
    rng = np.random.default_rng(3)
    scores = rng.random(n * len(shares))
    segment = np.repeat(np.arange(len(shares)), n)
    chance = np.where(scores > 0.9, np.array(shares)[segment], 0.1)
    converted = (rng.random(len(scores)) < chance).astype(np.int64)
    return scores, table_of(np.arange(len(scores)), converted, np.full(len(scores), START)), segment


SEGMENTS = PrecisionPolicy(at_least=0.3, segments="plan")


def segmented(decision: Decision) -> Segmented:
    assert isinstance(decision, Segmented)
    return decision


def test_each_segment_with_evidence_enough_is_decided_on_its_own() -> None:
    scores, table, segment = in_segments(0.9, 0.5)
    found = segmented(choose_cutoff(scores, table, SEGMENTS, segment, ("pro", "team")))
    assert (found.trait, found.names) == ("plan", ("pro", "team"))
    assert isinstance(found.overall, NoCutoff)  # nobody is left over
    for number, own in enumerate(found.each):
        mine = np.flatnonzero(segment == number)
        third = SEGMENTS.model_copy(update={"confidence": 1 - 0.1 / 3})  # two segments, and whoever is left over
        assert own == choose_cutoff(scores[mine], table.take(mine), third)


def test_the_segments_tested_share_the_chance_of_being_wrong() -> None:
    scores, table, segment = in_segments(0.9, 0.9, 0.9, 0.9)
    found = segmented(choose_cutoff(scores, table, SEGMENTS, segment, "abcd"))
    assert [cutoff_of(own).confidence for own in found.each if own] == [pytest.approx(0.98)] * 4


def test_a_segment_too_small_to_carry_a_promise_is_decided_with_all_that_have_none() -> None:
    scores, table, segment = in_segments(0.9, 0.9)
    segment = np.where((segment == 1) & (np.arange(len(segment)) % 20 > 0), -1, segment)
    found = segmented(choose_cutoff(scores, table, SEGMENTS, segment, ("pro", "team")))
    own, small = found.each
    assert small is None
    assert [cutoff_of(one).confidence for one in (own, found.overall) if one] == [pytest.approx(0.95)] * 2
    rest = np.flatnonzero(segment != 0)
    half = SEGMENTS.model_copy(update={"confidence": 0.95})
    assert found.overall == choose_cutoff(scores[rest], table.take(rest), half)


def test_a_good_segment_does_not_carry_the_promise_of_a_bad_one_that_falls_back() -> None:
    # Of all leads together a good share converts; of those without a cutoff of their own hardly anybody does.
    scores, table, segment = in_segments(0.9, 0.05, n=3_000)
    few = (segment == 1) & (np.arange(len(segment)) % 4 > 0)
    keep = np.flatnonzero(~few)
    scores, table, segment = scores[keep], table.take(keep), segment[keep]
    assert isinstance(choose_cutoff(scores, table, SEGMENTS), Cutoff)
    table = replace(table, converted=np.where((segment == 1) & (scores > 0.5), 0, table.converted))
    found = segmented(choose_cutoff(scores, table, SEGMENTS, segment, ("pro", "team")))
    assert not found.flags(scores, segment)[segment == 1].any()


def test_a_segment_in_which_too_few_convert_falls_back() -> None:
    scores, table, segment = in_segments(0.9, 0.9)
    table = replace(table, converted=np.where(segment == 1, (scores > 0.97).astype(np.int64), table.converted))
    found = segmented(choose_cutoff(scores, table, SEGMENTS, segment, ("pro", "team")))
    assert [type(own) for own in found.each] == [Cutoff, type(None)]


def test_a_segment_that_had_evidence_enough_and_missed_the_promise_has_no_pqls() -> None:
    scores, table, segment = in_segments(0.9, 0.0, n=3_000)
    table = replace(table, converted=np.where((segment == 1) & (scores < 0.3), 1, table.converted))
    found = segmented(choose_cutoff(scores, table, SEGMENTS, segment, ("pro", "team")))
    assert [type(own) for own in found.each] == [Cutoff, NoCutoff]
    assert not found.flags(scores, segment)[segment == 1].any()


@few
@given(seeds, rates)
def test_all_segments_together_flag_no_more_leads_a_week_than_can_be_called(seed: int, rate: float) -> None:
    scores, table = drawn(seed, 1_500)
    segment = table.lead % 3 - 1
    policy = CapacityPolicy(leads_per_week=rate, at_least=0.3, segments="plan")
    flags = choose_cutoff(scores, table, policy, segment, ("a", "b")).flags(scores, segment)
    weeks = (int(table.as_of.max()) - int(table.as_of.min())) / (7 * DAY)
    assert len(first_flag_rows(flags, table.lead)) / weeks <= rate


def test_without_a_floor_segments_have_the_same_cutoff_and_evidence_of_their_own() -> None:
    scores, table, segment = in_segments(0.9, 0.5)
    segment = np.where(np.arange(len(segment)) % 3 == 0, -1, segment)
    policy = CapacityPolicy(leads_per_week=100, segments="plan")
    found = segmented(choose_cutoff(scores, table, policy, segment, ("pro", "team")))
    assert {threshold_of(own) for own in found.each if own} == {threshold_of(found.overall)}
    everybody = cutoff_of(choose_cutoff(scores, table, policy))
    assert sum(cutoff_of(own).leads for own in (*found.each, found.overall) if own) == everybody.leads


def test_leads_of_accounts_that_are_not_held_out_fill_the_week_too() -> None:
    scores, table = drawn(1, 3_000)
    policy = CapacityPolicy(leads_per_week=20)
    alone, among = (cutoff_of(choose_cutoff(scores, table, policy, of_all=share)) for share in (1.0, 0.5))
    assert among.probability > alone.probability
    assert among.leads <= alone.leads / 2
    assert among.leads_per_week is not None
    assert among.leads_per_week <= 20


def test_facts_tell_all_of_segments() -> None:
    scores, table, segment = in_segments(0.9, 0.0, n=3_000)
    found = choose_cutoff(scores, table, SEGMENTS, segment, ("pro", "team", "none"))
    assert from_facts(to_facts(found)) == found

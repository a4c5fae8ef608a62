"""What a version decides with is learned before the test only, from accounts that it is not judged on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.dataset import dataset
from features.definition import parse
from features.durations import DAY
from features.errors import Refusal
from features.leads import NEVER
from features.matrix import FeatureBuilder
from features.policies import CapacityPolicy, CutoffPolicy, PrecisionPolicy, ValuePolicy
from features.windows import Floats
from serving.scoring.calibration import odds_of
from serving.scoring.course import Stage
from serving.scoring.decision import Decision, NoCutoff
from training import learn as learning
from training.calibrate import SAME, calibrate
from training.cutoff import choose_cutoff
from training.demo import Demo
from training.fit import FitSettings
from training.learn import TOLD, Learned, Table, learn, nurture_policy
from training.rounds import rounds
from training.snapshots import Snapshots, snapshots
from training.split import split
from training.watched import stage_of

QUICK = FitSettings(max_rounds=25, patience=10)


TEXT = """
product: Corkboard
trial: {length: 14d, closed_by: [trial_cancelled]}
conversion: {event: subscription_started, horizon: 30d, later: 90d}
score_at: [3d, 7d, 10d]
windows: [trial]
signals:
  - {name: invites, kind: team_growth, events: [invite_accepted], measures: [count], text: a, direction: "+"}
  - {name: limits, kind: limit, events: [limit_reached], measures: [count], text: b, direction: "+"}
  - {name: prices, kind: upgrade_intent, events: [pricing_viewed], measures: [count], text: c, direction: "+"}
  - {name: tasks, kind: value, events: [task_completed], measures: [count, active_days], text: d, direction: "+"}
  - {name: calls, kind: api_usage, events: [api_call], measures: [count], text: e, direction: "+"}
  - {name: tickets, kind: friction, events: [support_ticket_opened], measures: [count], text: f, direction: "-"}
traits:
  - {name: company_size, type: number, direction: "+"}
cutoff: {at_least: 0.25, confidence: 0.8}
"""


@pytest.fixture(scope="module")
def table(demo_world: Demo) -> Table:
    data = dataset(demo_world.events, demo_world.trials, parse(TEXT))
    snapshots_, builder = snapshots(data, data.leads), FeatureBuilder(data.definition, {})
    parts = split(snapshots_)
    return Table(data, builder, snapshots_, parts, data.rows(builder, snapshots_.lead, snapshots_.as_of))


@pytest.fixture(scope="module")
def learned(table: Table) -> Learned:
    return learn(table, QUICK)


def numbers(learned: Learned) -> tuple[object, ...]:
    """All that was learned before the test begins, as it is served."""
    chosen, course = learned.chosen, learned.course
    assert course.later is not None
    return (
        chosen.rung, chosen.ranking.booster.model_to_string(), chosen.ranking.scorecard.points.tolist(),
        chosen.unseen.tolist(), learned.calibration, learned.decision, course.soon.shift.tolist(),
        course.later.scorecard.points.tolist(), course.later.calibration,
    )  # fmt: skip


# --- before the test, and of other accounts ---------------------------------------------------


def test_what_becomes_of_young_trials_after_the_test_began_changes_nothing(table: Table, learned: Learned) -> None:
    """They are learned from as far as they had been watched, and no further."""
    leads, begin = table.leads, table.parts.test_from
    fit = np.isin(np.arange(len(leads)), table.snapshots.lead[table.parts.fit])
    young = (leads.started_at < begin) & ~fit & (leads.converted_at >= begin)
    assert (young & (leads.converted_at < NEVER)).sum() > 10
    soon = begin + np.arange(len(leads)) % 50 * DAY
    for moments in (np.full(len(leads), NEVER), soon):
        other = replace(leads, converted_at=np.where(young, moments, leads.converted_at))
        moved = table.snapshots
        took = other.converted_at[moved.lead] - moved.as_of
        relabelled = replace(moved, converted=((took >= 0) & (took < 30 * DAY)).astype(np.int64))
        changed = replace(table, data=replace(table.data, leads=other), snapshots=relabelled)
        assert numbers(learn(changed, QUICK)) == numbers(learned)


def test_no_lesson_is_of_an_account_of_the_test(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def watching(lessons: object, accounts: object, *_: object) -> None:
        seen["accounts"] = accounts
        raise Refusal("enough")

    monkeypatch.setattr(learning, "climb", watching)
    with pytest.raises(Refusal, match="enough"):
        learn(table, replace(QUICK, max_rounds=1))
    assert table.parts.accounts_apart
    accounts = np.array(seen["accounts"])
    assert len(accounts) > len(table.parts.fit)
    assert not np.isin(accounts, table.snapshots.account[table.parts.test]).any()


def test_it_says_how_many_lessons_there_were_and_how_many_in_the_middle(table: Table, learned: Learned) -> None:
    lessons, in_the_middle = learned.lessons
    assert lessons - in_the_middle == len(table.parts.fit)
    assert in_the_middle > 100
    assert len(learned.chosen.unseen) == lessons


# --- calibration, cutoff and course -----------------------------------------------------------


def test_small_data_calibrates_and_sets_the_cutoff_out_of_fold(table: Table, learned: Learned) -> None:
    fit = table.parts.fit
    assert table.parts.cutoff is None
    assert learned.held.tolist() == fit.tolist()
    unseen, rows = learned.chosen.unseen[: len(fit)], table.snapshots.take(fit)
    assert learned.calibration == calibrate(unseen, rows.converted, rows.weight)
    assert learned.probabilities.tolist() == learned.calibration.probabilities(unseen).tolist()


def test_the_cutoff_is_set_by_held_out_leads_on_every_day_on_which_they_may_be_met(
    table: Table, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the ages of learning their probabilities are those that calibrated; on no day by a line that knows the account."""
    asked: list[tuple[Floats, Snapshots]] = []

    def watching(probabilities: Floats, rows: Snapshots, *_: object, **__: object) -> Decision:
        asked.append((probabilities, rows))
        return learned.decision

    monkeypatch.setattr(learning, "choose_cutoff", watching)
    learn(table, QUICK)
    probabilities, met = asked[0]
    expected = rounds(table.data, np.unique(table.snapshots.lead[learned.held]), table.parts.test_from, complete=True)
    assert met.lead.tolist() == expected.lead.tolist()
    assert met.as_of.tolist() == expected.as_of.tolist()
    held = table.snapshots.take(learned.held)
    known = dict(zip(zip(held.lead.tolist(), held.as_of.tolist(), strict=True), learned.probabilities, strict=True))
    pairs = list(zip(met.lead.tolist(), met.as_of.tolist(), strict=True))
    shared = [place for place, pair in enumerate(pairs) if pair in known]
    assert 500 < len(shared) < 0.5 * len(pairs)
    np.testing.assert_allclose(probabilities[shared], [known[pairs[place]] for place in shared], rtol=1e-12)


def test_what_is_usual_is_taken_from_the_leads_that_set_the_cutoff_on_every_day(table: Table, learned: Learned) -> None:
    met = learned.met.snapshots
    assert set(met.lead.tolist()) <= set(table.snapshots.lead[learned.held].tolist())
    assert learned.met.rows.tobytes() == table.data.rows(table.builder, met.lead, met.as_of).tobytes()
    assert (met.as_of + table.data.definition.conversion.horizon <= table.parts.test_from).all()
    assert len(np.unique(met.as_of - met.started_at)) > 8


def test_the_course_is_measured_on_those_who_set_the_cutoff(table: Table, learned: Learned) -> None:
    seen = table.seen(learned.held, table.data.until)
    ages = table.data.definition.scored_days()
    expected: Stage = stage_of(odds_of(learned.probabilities), seen, ages, (7.0, 14.0, 30.0))
    assert learned.course.ages == ages
    assert learned.course.soon.days == expected.days
    np.testing.assert_allclose(learned.course.soon.shift, expected.shift, atol=1e-9)


def test_the_days_told_are_those_before_the_horizon_the_horizon_and_the_later_ones(learned: Learned) -> None:
    assert TOLD == (7.0, 14.0, 30.0, 90.0)
    assert learned.course.days == (7.0, 14.0, 30.0, 90.0)


@pytest.mark.parametrize(
    ("later", "days"),
    [("45d", (7.0, 14.0, 30.0, 45.0)), ("none", (7.0, 14.0, 30.0)), ("20d", (7.0, 14.0, 30.0))],
)
def test_the_definition_says_how_far_to_look_ahead(table: Table, later: str, days: tuple[float, ...]) -> None:
    definition = parse(TEXT.replace("later: 90d", f"later: {later}"))
    changed = replace(table, data=table.data.under(definition))
    found = learn(changed, replace(QUICK, max_rounds=1)).course
    assert found.days == days
    assert (found.later is None) == (len(days) == 3)


def test_who_may_be_nurtured_is_decided_by_open_leads_that_are_no_pql(
    table: Table, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those watched to the last day; and they count as converted until then, not only within the horizon."""
    asked: list[Snapshots] = []

    def watching(probabilities: Floats, rows: Snapshots, *rest: object, **named: object) -> Decision:
        asked.append(rows)
        assert len(probabilities) == len(rows)
        return choose_cutoff(probabilities, rows, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(learning, "choose_cutoff", watching)
    again = learn(table, QUICK)
    assert numbers(again) == numbers(learned)
    seen = table.seen(learned.held, table.data.until)
    open_ = np.flatnonzero((seen.seen >= 90) & ~learned.decision.flags(learned.probabilities))
    rows = table.snapshots.take(learned.held[open_])
    assert asked[1].lead.tolist() == rows.lead.tolist()
    assert asked[1].converted.tolist() == (seen.took[open_] < 90).astype(int).tolist()
    assert asked[1].converted.sum() > rows.converted.sum()
    assert (asked[1].label_end - rows.as_of == 90 * DAY).all()


# --- refusals ---------------------------------------------------------------------------------


def test_a_ranking_that_is_upside_down_is_refused_and_nobody_is_a_pql(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upside_down(*_: object) -> None:
        raise Refusal("no signal: upside down")

    monkeypatch.setattr(learning, "calibrate", upside_down)
    found = learn(table, replace(QUICK, max_rounds=1))
    assert str(found.refusal) == "no signal: upside down"
    assert found.calibration == SAME
    assert isinstance(found.decision, NoCutoff)
    assert found.decision.reason == "no signal: upside down"


def test_what_is_too_good_to_be_true_is_refused(table: Table) -> None:
    """The first column says the outcome: no single signal was left to be accused."""
    told = table.rows.copy()
    told[:, 5] = table.snapshots.converted
    found = learn(replace(table, rows=told), QUICK)
    assert str(found.refusal).startswith("too good to be true")
    assert isinstance(found.decision, NoCutoff)


# --- the policy for nurturing -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            PrecisionPolicy(at_least=0.3, confidence=0.8, leads_per_week=5, segments="source", valid_for="60d"),
            PrecisionPolicy(at_least=0.3, confidence=0.8, valid_for="60d"),
        ),
        (CapacityPolicy(leads_per_week=5, at_least=0.2), PrecisionPolicy(at_least=0.2)),
        (CapacityPolicy(leads_per_week=5, segments="source"), CapacityPolicy(leads_per_week=5)),
        (
            ValuePolicy(deal_value=100, touch_cost=5, segments="source"),
            ValuePolicy(deal_value=100, touch_cost=5),
        ),
    ],
)  # fmt: skip
def test_nurturing_keeps_the_promise_of_pqls_or_else_their_policy(policy: CutoffPolicy, expected: CutoffPolicy) -> None:
    assert nurture_policy(policy) == expected

"""The plan tells the windows which spans, tallies and operations the columns of one scope need, and no others."""

import numpy as np
import pytest

from features.columns import columns
from features.definition import parse
from features.durations import DAY, HOUR
from features.measures import SPECS
from features.plan import plan
from features.vocabulary import vocabulary
from features.windows import TRIAL, Op, Plan

TEXT = """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [1d, 7d, trial]
cutoff: {at_least: 0.3}
signals:
  - name: invites
    kind: team_growth
    events: [invite_sent, {event: page, where: {path: /team}}]
    measures: [count, sum(seats), distinct(user), active_days, days_since_first, days_since_last, trend, reached(3)]
    text: invited
  - {name: stuck, kind: friction, direction: "-", events: [error], windows: [36h], text: got stuck}
  - {name: seen, kind: frequency, direction: free, events: [page], measures: [count], windows: [trial], text: came}
  - {name: team, kind: team_growth, scope: account, events: [invite_sent], windows: [2d],
     measures: [count, trend], text: t}
traits:
  - {name: size, type: number}
"""
DEFINITION = parse(TEXT)
TABLE = columns(DEFINITION, {})


def plan_of(measures: str, windows: str = "7d", scope: str = "account") -> Plan:
    """The plan of a signal with these measures, beside another one of the same scope."""
    text = f"""
product: Tested
conversion: {{event: paid, horizon: 30d}}
score_at: [7d]
windows: [{windows}]
cutoff: {{at_least: 0.3}}
signals:
  - {{name: other, kind: value, scope: {scope}, events: [e], measures: [count], text: x}}
  - {{name: mine, kind: value, scope: {scope}, events: [e], measures: [{measures}], text: x}}
"""
    definition = parse(text)
    return plan(
        columns(definition, {}), definition, vocabulary(definition), "account" if scope == "account" else "lead"
    )


def test_a_plan_fills_the_columns_of_its_scope_in_their_order() -> None:
    for scope in ("lead", "account"):
        made = plan(TABLE, DEFINITION, vocabulary(DEFINITION), "lead" if scope == "lead" else "account")
        mine = [column for column in TABLE if column.scope == scope]
        assert [Op(op).name.lower() for op in made.ops[:, 0]] == [c.measure.how for c in mine if c.measure]
        for column, (_, _, _, span, _, _) in zip(mine, made.ops, strict=True):
            if column.window is not None:
                assert made.lengths[span] == (TRIAL if column.window.length is None else column.window.length)


def test_every_measure_has_an_operation_of_its_own_name() -> None:
    assert [spec.op.name.lower() for spec in sorted(SPECS.values(), key=lambda spec: spec.op)] == [
        op.name.lower() for op in Op
    ]
    assert {how: spec.op.name.lower() for how, spec in SPECS.items()} == {how: how for how in SPECS}


def test_a_plan_reads_only_the_spans_that_its_columns_need() -> None:
    lead, account = (plan(TABLE, DEFINITION, vocabulary(DEFINITION), scope) for scope in ("lead", "account"))
    assert sorted(lead.lengths.tolist()) == [TRIAL, DAY, 36 * HOUR, 2 * DAY, 7 * DAY, 14 * DAY]
    assert sorted(account.lengths.tolist()) == [2 * DAY, 4 * DAY]


def test_trends_read_a_span_and_its_double() -> None:
    made = plan_of("trend, user_growth", "1d, 7d, trial")
    asked = [(Op(op), span, wide) for op, _, _, span, wide, _ in made.ops if op in (Op.TREND, Op.USER_GROWTH)]
    assert [(op, made.lengths[span] // DAY) for op, span, _ in asked] == [
        (Op.TREND, 1), (Op.TREND, 7), (Op.USER_GROWTH, 1), (Op.USER_GROWTH, 7),
    ]  # fmt: skip
    assert all(made.lengths[wide] == 2 * made.lengths[span] for _, span, wide in asked)


def test_days_since_read_the_signals_longest_span_or_its_trial() -> None:
    made = plan(TABLE, DEFINITION, vocabulary(DEFINITION), "lead")
    rows = {
        row: {made.lengths[span], made.lengths[wide]}
        for op, row, _, span, wide, _ in made.ops
        if op == Op.DAYS_SINCE_LAST
    }
    assert rows == {0: {7 * DAY, TRIAL}, 1: {36 * HOUR}}


def test_days_to_reach_read_the_trial_and_remember_as_many_events_as_are_asked_for() -> None:
    made = plan_of("days_to_reach(2), days_to_reach(5), reached(9)", "1d")
    assert made.reach.tolist() == [0, 5]
    asked = [(made.lengths[span], n) for op, _, _, span, _, n in made.ops if op == Op.DAYS_TO_REACH]
    assert asked == [(TRIAL, 2), (TRIAL, 5)]


def test_the_number_in_the_brackets_is_the_operations_threshold() -> None:
    made = plan_of("reached(03), count, sum(seats), days_to_reach(7)")
    assert made.ops[:, 5].tolist() == [0, 3, 0, 0, 7]


def test_a_sum_and_a_mean_of_one_property_share_their_tally() -> None:
    made = plan_of("sum(a), mean(b), mean(a), sum(b)")
    assert made.sum_start.tolist() == [0, 0, 2]
    assert made.sum_rows.tolist() == [0, 1]
    rows = {(Op(op), row) for op, row, _, _, _, _ in made.ops if op in (Op.SUM, Op.MEAN)}
    first, second = sorted({row for _, row in rows})
    assert rows == {(op, row) for op in (Op.SUM, Op.MEAN) for row in (first, second)}


def test_rows_of_different_tallies_never_meet() -> None:
    measures = "count, sum(a), mean(b), distinct(user), distinct(a), active_days, per_active_day, share, user_growth"
    made = plan_of(measures, "1d, 7d")
    n, sums, distincts = made.n_series, len(made.sum_rows), len(made.distinct_rows)
    assert (n, sums, distincts) == (2, 2, 4)
    bounds = {
        Op.COUNT: range(n), Op.ACTIVE_DAYS: range(n, 2 * n), Op.SUM: range(2 * n, 2 * n + sums),
        Op.MEAN: range(2 * n, 2 * n + sums), Op.PER_ACTIVE_DAY: range(n), Op.SHARE: range(n),
        Op.DISTINCT: range(2 * n + 2 * sums, 2 * n + 2 * sums + distincts),
        Op.USER_GROWTH: range(2 * n + 2 * sums, 2 * n + 2 * sums + distincts),
    }  # fmt: skip
    seconds = {
        Op.MEAN: range(2 * n + sums, 2 * n + 2 * sums), Op.PER_ACTIVE_DAY: range(n, 2 * n),
        Op.SHARE: range(2 * n + 2 * sums + distincts, 2 * n + 2 * sums + distincts + 1),
    }  # fmt: skip
    for op, row, second, _, _, _ in made.ops:
        assert row in bounds[Op(op)]
        assert Op(op) not in seconds or second in seconds[Op(op)]


def test_growth_tells_users_apart_within_its_span_and_again_beyond_it() -> None:
    made = plan_of("user_growth, distinct(user)", "1d, 7d")
    n, at_distinct = made.n_series, 2 * made.n_series
    assert made.distinct_start.tolist() == [0, 0, 3]
    assert made.distinct_rows.tolist() == [made.user_row] * 3
    for op, row, second, span, _, _ in made.ops[n:]:
        assert made.distinct_inner[row - at_distinct] == -1
        if op == Op.USER_GROWTH:
            assert made.distinct_inner[second - at_distinct] == span


@pytest.mark.parametrize("measure", ["lead_share", "lead_rank", "lead_share, lead_rank"])
def test_only_what_compares_a_lead_with_its_account_is_counted_user_by_user(measure: str) -> None:
    assert plan_of(measure).per_user.tolist() == [-1, 0]
    assert plan_of(measure).user_row == 0
    assert plan_of("user_growth").per_user.tolist() == [-1, -1]
    assert plan_of("count").user_row == -1


def test_a_scope_without_signals_has_an_empty_plan() -> None:
    bare = parse(TEXT.replace("scope: account, ", ""))
    made = plan(columns(bare, {}), bare, vocabulary(bare), "account")
    assert made.ops.shape == (0, 6)
    assert len(made.lengths) == len(made.series) == 0
    assert made.series_start.dtype == made.sum_rows.dtype == made.distinct_rows.dtype == np.int64
    assert made.sum_start.tolist() == made.distinct_start.tolist() == [0] * (len(bare.signals) + 1)

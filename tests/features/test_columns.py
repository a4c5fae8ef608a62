"""Columns are named, directed and described by their definition, and their fingerprint with what they hold."""

import numpy as np
import pytest

from features.columns import TRIAL_AGE, Column, columns, fingerprint, plan
from features.definition import MEASURES, Definition, parse
from features.durations import DAY
from features.errors import InvalidSetting
from features.matrix import FeatureBuilder
from features.vocabulary import vocabulary
from features.windows import TRIAL, Op

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
  - {name: size, type: number, direction: "+", column: company_size}
  - {name: sector, type: category}
  - {name: mail, type: email_domain, direction: "-"}
  - {name: invited, type: flag}
"""
DEFINITION = parse(TEXT)
LEVELS = {"sector": ("retail", "health care")}
TABLE = columns(DEFINITION, LEVELS)


def changed(old: str, new: str) -> Definition:
    assert TEXT.count(old) == 1
    return parse(TEXT.replace(old, new))


def named(name: str) -> Column:
    return next(column for column in TABLE if column.name == name)


def test_names_come_from_signal_measure_and_window_in_the_order_of_the_definition() -> None:
    assert [column.name for column in TABLE] == [
        "trial_age_days",
        "invites_count_1d", "invites_count_7d", "invites_count_trial",
        "invites_sum_seats_1d", "invites_sum_seats_7d", "invites_sum_seats_trial",
        "invites_distinct_user_1d", "invites_distinct_user_7d", "invites_distinct_user_trial",
        "invites_active_days_1d", "invites_active_days_7d", "invites_active_days_trial",
        "invites_days_since_first", "invites_days_since_last",
        "invites_trend_1d", "invites_trend_7d",
        "invites_reached_3_1d", "invites_reached_3_7d", "invites_reached_3_trial",
        "stuck_count_36h", "stuck_days_since_last",
        "seen_count_trial",
        "team_count_2d", "team_trend_2d",
        "size", "sector=retail", "sector=health care", "mail_is_business", "invited",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("trial_age_days", 0),
        ("invites_count_7d", 1),
        ("invites_trend_7d", 1),
        ("invites_days_since_last", -1),
        ("invites_days_since_first", 0),
        ("stuck_count_36h", -1),
        ("stuck_days_since_last", 1),
        ("seen_count_trial", 0),
        ("size", 1),
        ("sector=retail", 0),
        ("mail_is_business", -1),
        ("invited", 0),
    ],
)
def test_more_of_a_good_signal_can_only_raise_the_score_and_the_longer_ago_the_less_of_it(
    name: str, direction: int
) -> None:
    assert named(name).direction == direction


@pytest.mark.parametrize(
    ("name", "unit", "meaning"),
    [
        ("trial_age_days", "days", "days since the trial began"),
        ("invites_count_7d", "events", "how often, in the last 7 days"),
        ("invites_sum_seats_trial", "seats", "sum of seats, since the trial began"),
        ("invites_distinct_user_1d", "values", "different values of user, in the last day"),
        ("invites_reached_3_1d", "0 or 1", "whether it happened 3 times, in the last day"),
        (
            "invites_trend_7d",
            "-1 to 1",
            "this window against the one before it, -1 (stopped) to 1 (new), in the last 7 days",
        ),
        ("size", "number", "the trait company_size"),
        ("sector=retail", "0 or 1", "1 where sector is 'retail', else 0"),
        ("invited", "0 or 1", "the trait invited"),
    ],
)
def test_a_column_says_its_unit_and_its_meaning(name: str, unit: str, meaning: str) -> None:
    assert (named(name).unit, named(name).meaning) == (unit, meaning)


def test_every_measure_has_a_unit_and_a_meaning_without_braces() -> None:
    signals = [column for column in TABLE if column.measure is not None]
    assert {column.measure.how for column in signals if column.measure} == set(MEASURES)
    assert not any("{" in column.unit + column.meaning for column in TABLE)


def test_a_column_belongs_to_its_signal_trait_or_clock() -> None:
    assert {column.scope: column.owner for column in TABLE[::-1]} == {
        "clock": TRIAL_AGE,
        "lead": "invites",
        "account": "team",
        "trait": "size",
    }


def test_a_category_without_levels_has_no_columns() -> None:
    assert not [column for column in columns(DEFINITION, {}) if column.owner == "sector"]


# --- names that clash ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: invited, type: flag", "name: seen_count_trial, type: flag"),
        ("name: invited, type: flag", "name: trial_age_days, type: flag"),
        ("name: seen, kind", "name: trial_age, kind"),
        ("name: invited, type: flag", "name: trial_age, type: flag"),
    ],
)
def test_two_columns_of_one_name_are_a_wrong_definition(old: str, new: str) -> None:
    with pytest.raises(InvalidSetting, match=r"its columns must have names of their own, got '.*'\. Rename it\."):
        columns(changed(old, new), LEVELS)


def test_a_signal_and_a_property_that_spell_the_same_name_clash() -> None:
    text = TEXT.replace("name: stuck", "name: invites_distinct").replace("distinct(user)", "distinct(count)")
    with pytest.raises(InvalidSetting, match="'invites_distinct_count_36h'"):
        columns(parse(text.replace("windows: [36h]", "windows: [36h]").replace("[1d, 7d, trial]", "[1d, 36h]")), LEVELS)


# --- fingerprint -----------------------------------------------------------------------------

ORIGINAL = FeatureBuilder(DEFINITION, LEVELS).fingerprint


def test_the_same_definition_has_the_same_fingerprint() -> None:
    assert fingerprint(columns(parse(TEXT), dict(LEVELS)), parse(TEXT)) == ORIGINAL
    assert len(ORIGINAL) == 64


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: stuck", "name: blocked"),
        ('direction: "-", events', 'direction: "+", events'),
        ("windows: [36h]", "windows: [48h]"),
        ("[1d, 7d, trial]", "[1d, 8d, trial]"),
        ("events: [error]", "events: [failure]"),
        ("events: [error]", "events: [error, failure]"),
        ("path: /team", "path: /teams"),
        ("{event: page, where: {path: /team}}", "page"),
        ("sum(seats)", "sum(seat)"),
        ("reached(3)", "reached(4)"),
        ("column: company_size", "column: size"),
        ("{name: invited, type: flag}", "{name: invited, type: number}"),
        ("scope: account, ", ""),
        ("  - {name: invited, type: flag}\n", ""),
    ],
)
def test_whatever_changes_what_a_column_holds_changes_the_fingerprint(old: str, new: str) -> None:
    assert FeatureBuilder(changed(old, new), LEVELS).fingerprint != ORIGINAL


def test_a_wider_window_changes_the_fingerprint_of_a_signal_with_recency_alone() -> None:
    first, second = (
        changed("windows: [36h], text: got stuck", f"measures: [days_since_last], windows: [{window}], text: x")
        for window in ("36h", "48h")
    )
    assert [c.name for c in columns(first, LEVELS)] == [c.name for c in columns(second, LEVELS)]
    assert FeatureBuilder(first, LEVELS).fingerprint != FeatureBuilder(second, LEVELS).fingerprint


def test_other_levels_or_another_order_of_columns_change_the_fingerprint() -> None:
    assert FeatureBuilder(DEFINITION, {"sector": ("health care", "retail")}).fingerprint != ORIGINAL
    assert FeatureBuilder(DEFINITION, {"sector": ("retail",)}).fingerprint != ORIGINAL


@pytest.mark.parametrize(
    ("old", "new"),
    [("text: got stuck", "text: was stuck"), ("kind: friction", "kind: limit"), ("at_least: 0.3", "at_least: 0.4")],
)
def test_what_is_only_said_does_not_change_the_fingerprint(old: str, new: str) -> None:
    assert FeatureBuilder(changed(old, new), LEVELS).fingerprint == ORIGINAL


# --- plan ------------------------------------------------------------------------------------


def test_a_plan_fills_the_columns_of_its_scope_in_their_order() -> None:
    for scope in ("lead", "account"):
        made = plan(TABLE, DEFINITION, vocabulary(DEFINITION), scope)
        mine = [column for column in TABLE if column.scope == scope]
        assert [Op(op).name.lower() for op in made.ops[:, 0]] == [c.measure.how for c in mine if c.measure]
        for column, (_, _, span, _, _) in zip(mine, made.ops, strict=True):
            if column.window is not None:
                assert made.lengths[span] == (TRIAL if column.window.length is None else column.window.length)


def test_a_plan_reads_only_the_spans_that_its_columns_need() -> None:
    lead, account = (plan(TABLE, DEFINITION, vocabulary(DEFINITION), scope) for scope in ("lead", "account"))
    hours = DAY // 24
    assert sorted(lead.lengths.tolist()) == [TRIAL, DAY, 36 * hours, 2 * DAY, 7 * DAY, 14 * DAY]
    assert sorted(account.lengths.tolist()) == [2 * DAY, 4 * DAY]


def test_trend_reads_a_span_and_its_double() -> None:
    made = plan(TABLE, DEFINITION, vocabulary(DEFINITION), "lead")
    for op, _, span, wide, _ in made.ops:
        if op == Op.TREND:
            assert made.lengths[wide] == 2 * made.lengths[span]


def test_days_since_read_the_signals_longest_span_or_its_trial() -> None:
    made = plan(TABLE, DEFINITION, vocabulary(DEFINITION), "lead")
    rows = {
        row: {made.lengths[span], made.lengths[wide]} for op, row, span, wide, _ in made.ops if op == Op.DAYS_SINCE_LAST
    }
    assert rows == {0: {7 * DAY, TRIAL}, 1: {36 * DAY // 24}}


def test_a_scope_without_signals_has_an_empty_plan() -> None:
    bare = parse(TEXT.replace("scope: account, ", ""))
    made = plan(columns(bare, LEVELS), bare, vocabulary(bare), "account")
    assert made.ops.shape == (0, 5)
    assert len(made.lengths) == len(made.series) == 0
    assert made.series_start.dtype == np.int64

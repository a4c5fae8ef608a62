"""Columns are named, directed and described by their definition, and their fingerprint with what they hold."""

import pytest

from features.columns import TRIAL_AGE, Column, columns, fingerprint
from features.definition import Definition, parse
from features.errors import InvalidSetting
from features.matrix import FeatureBuilder
from features.measures import SPECS

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
     measures: [count, trend, user_growth, lead_share, lead_rank], text: t}
  - {name: depth, kind: usage_depth, events: [{event: page, where: {seconds: {at_least: 30, below: 600}}}],
     measures: [mean(seconds), streak, per_active_day, share, days_to_reach(2)], windows: [3d, trial], text: read}
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
        "team_count_2d", "team_trend_2d", "team_user_growth_2d", "team_lead_share_2d", "team_lead_rank_2d",
        "depth_mean_seconds_3d", "depth_mean_seconds_trial", "depth_streak_3d", "depth_streak_trial",
        "depth_per_active_day_3d", "depth_per_active_day_trial", "depth_share_3d", "depth_share_trial",
        "depth_days_to_reach_2",
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
        ("team_user_growth_2d", 1),
        ("team_lead_share_2d", 1),
        ("team_lead_rank_2d", -1),
        ("depth_mean_seconds_3d", 1),
        ("depth_streak_trial", 1),
        ("depth_per_active_day_3d", 1),
        ("depth_share_3d", 1),
        ("depth_days_to_reach_2", -1),
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
        ("depth_mean_seconds_3d", "seconds", "mean of seconds where it is given, in the last 3 days"),
        (
            "depth_streak_trial",
            "days",
            "longest run of 24-hour days on end with at least one (counted back from as_of), since the trial began",
        ),
        ("depth_share_3d", "0 to 1", "share in all events that any signal reads, in the last 3 days"),
        ("depth_days_to_reach_2", "days", "days from the trial's start until it had happened 2 times since then"),
        ("team_lead_share_2d", "0 to 1", "the lead's own share in the account's, in the last 2 days"),
        (
            "team_lead_rank_2d",
            "place",
            "place of the lead among the account's users by how often, 1 is most, in the last 2 days",
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
    assert {column.measure.how for column in signals if column.measure} == set(SPECS)
    assert not any("{" in column.unit + column.meaning for column in TABLE)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("invites_count_7d", 3, "invites 3 times in the last 7 days"),
        ("invites_count_1d", 1, "invites once in the last day"),
        ("invites_sum_seats_trial", 12.5, "12.5 seats in all of invites since the trial began"),
        ("invites_active_days_1d", 1, "invites on 1 day in the last day"),
        ("invites_days_since_last", 2, "invites for the last time 2 days ago"),
        ("invites_reached_3_7d", 1, "invites at least 3 times in the last 7 days"),
        ("depth_mean_seconds_3d", 40, "40 seconds on average of depth in the last 3 days"),
        ("depth_days_to_reach_2", 1, "depth 2 times within 1 day of the trial's start"),
        ("team_lead_share_2d", 0.5, "0.5 of the account's team by this lead in the last 2 days"),
        ("team_lead_rank_2d", 2, "number 2 in the account by team in the last 2 days"),
        ("trial_age_days", 4, "4 days since the trial began"),
        ("size", 80, "size: 80"),
        ("sector=health care", 1, "sector is health care: 1"),
    ],
)
def test_a_column_says_one_value_of_it(name: str, value: float, said: str) -> None:
    assert named(name).sentence.fill({"value": value}) == said


def test_braces_in_a_users_words_stay_words() -> None:
    braced = columns(changed("sum(seats)", '"sum({value} {})"'), LEVELS)
    column = next(column for column in braced if column.measure and column.measure.of == "{value} {}")
    assert column.sentence.fill({"value": 2}).startswith("2 {value} {} in all of invites")


def test_an_underscore_in_a_name_is_said_as_a_space() -> None:
    table = columns(changed("name: stuck", "name: got_stuck"), LEVELS)
    column = next(column for column in table if column.name == "got_stuck_count_36h")
    assert column.sentence.fill({"value": 2}) == "got stuck twice in the last 36 hours"


def test_every_column_has_a_sentence_that_needs_nothing_but_its_value() -> None:
    for column in TABLE:
        assert column.sentence.names <= {"value"}
        assert column.sentence.fill({"value": 2.0})


def test_trends_have_no_column_for_the_trial_whose_length_differs_from_lead_to_lead() -> None:
    for column in TABLE:
        if column.measure and column.measure.spec.fixed:
            assert column.window is not None
            assert column.window.length is not None


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
        ("[count, trend, user_growth, lead_share, lead_rank]", "[count, trend, user_growth, lead_rank, lead_share]"),
        ("at_least: 30", "at_least: 31"),
        ("below: 600", "below: 601"),
        (", below: 600", ""),
        ("days_to_reach(2)", "days_to_reach(3)"),
        ("mean(seconds)", "sum(seconds)"),
        ("score_at: [7d]", "score_at: [7d]\nclock: received_at"),
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


def test_the_scope_of_a_signal_changes_the_fingerprint() -> None:
    own, of_all = (
        parse(TEXT.replace("measures: [count, trend, user_growth, lead_share, lead_rank]", "measures: [count]")
              .replace("scope: account, ", scope))
        for scope in ("", "scope: account, ")
    )  # fmt: skip
    assert FeatureBuilder(own, LEVELS).fingerprint != FeatureBuilder(of_all, LEVELS).fingerprint


def test_the_usual_clock_may_be_named_without_changing_the_fingerprint() -> None:
    named_clock = changed("score_at: [7d]", "score_at: [7d]\nclock: timestamp")
    assert FeatureBuilder(named_clock, LEVELS).fingerprint == ORIGINAL


@pytest.mark.parametrize(
    ("old", "new"),
    [("text: got stuck", "text: was stuck"), ("kind: friction", "kind: limit"), ("at_least: 0.3", "at_least: 0.4")],
)
def test_what_is_only_said_does_not_change_the_fingerprint(old: str, new: str) -> None:
    assert FeatureBuilder(changed(old, new), LEVELS).fingerprint == ORIGINAL


# --- what a column can hold -------------------------------------------------------------------


def test_values_may_be_unknown_of_traits_and_of_measures_that_nothing_leaves_empty() -> None:
    unknown = {column.name for column in TABLE if column.may_be_unknown}
    assert unknown == {
        "invites_days_since_first", "invites_days_since_last", "stuck_days_since_last", "depth_mean_seconds_3d",
        "depth_mean_seconds_trial", "depth_days_to_reach_2", "team_lead_rank_2d", "size", "sector=retail",
        "sector=health care", "mail_is_business", "invited",
    }  # fmt: skip


def test_flags_are_thresholds_that_were_reached_and_traits_that_are_so_or_not() -> None:
    assert {column.name for column in TABLE if column.is_flag} == {
        "invites_reached_3_1d", "invites_reached_3_7d", "invites_reached_3_trial", "sector=retail", "sector=health care",
        "mail_is_business", "invited",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "span"),
    [
        ("trial_age_days", (0, float("inf"))), ("invites_count_1d", (0, float("inf"))),
        ("invites_sum_seats_1d", (-float("inf"), float("inf"))), ("invites_trend_1d", (-1, 1)),
        ("invites_reached_3_1d", (0, 1)), ("depth_share_3d", (0, 1)), ("depth_mean_seconds_3d", (-float("inf"), float("inf"))),
        ("team_user_growth_2d", (-1, 1)), ("team_lead_share_2d", (0, 1)), ("team_lead_rank_2d", (1, float("inf"))),
        ("depth_days_to_reach_2", (0, float("inf"))), ("size", (-float("inf"), float("inf"))), ("sector=retail", (0, 1)),
        ("mail_is_business", (0, 1)), ("invited", (0, 1)),
    ],
)  # fmt: skip
def test_a_column_knows_between_what_its_values_lie(name: str, span: tuple[float, float]) -> None:
    assert named(name).range == span

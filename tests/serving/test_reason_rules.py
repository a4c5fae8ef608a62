"""The rules of what is said, one by one, on rows made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definition import parse
from features.matrix import FeatureBuilder
from features.times import micros
from features.windows import Floats
from features.wording import wording
from serving.requests import decode, result_body, score
from serving.scoring.reasons import COMMON_AMONG_CONVERTERS, LEAST_PULL, LEAST_SHARE, Explainer, Reason
from serving.scoring.reference import Reference, Usual
from serving.scoring.scorer import Scorer

SMALL = """
product: Tiny
trial: {length: 14d}
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [1d, 7d, trial]
signals:
  - name: invites
    kind: team_growth
    events: [invite]
    measures: [count, active_days, days_since_last]
    text: "sent {count:invite|invites} {window}, last {last}"
    mention: you bring your team
    missing: invited anybody
  - {name: views, kind: value, events: [view], measures: [count], text: "{count:view|views} {window}"}
  - {name: recent, kind: value, events: [late], measures: [count], windows: [2d], text: "{count:x|xs}", missing: been late}
  - {name: hushed, kind: friction, events: [hush], measures: [count], text: "{count:hush|hushes}", speakable: false}
  - {name: gripes, kind: friction, events: [g], measures: [count], direction: "-", text: "{count:gripe|gripes} {window}"}
  - {name: calls, kind: value, events: [c], measures: [count], direction: free, text: "{count:call|calls} {window}"}
  - name: sizes
    kind: value
    events: [s]
    measures: [count, mean(megabytes)]
    windows: [trial]
    text: "{count:file|files} {window}"
    mention: "you work with files of {mean_megabytes} MB"
  - name: quiet
    kind: value
    events: [q]
    measures: [count, active_days]
    windows: [7d, trial]
    text: "on {active_days:day|days} {window}"
    private: [count]
    missing: been here
traits:
  - {name: seats, type: number, direction: "+", speakable: true, text: "has {value} seats"}
  - {name: height, type: number, speakable: true, text: "is {value} high"}
  - {name: debts, type: number, direction: "-", speakable: true, text: "owes {value}"}
  - {name: admin, type: flag, direction: "+", speakable: true, text: "is an admin", against: "is no admin"}
  - {name: novice, type: flag, direction: "-", speakable: true, text: "is new to it", against: "knows it"}
  - {name: mobile, type: flag, speakable: true, text: "is on a phone", against: "is on a desk"}
  - {name: beta, type: flag, speakable: true, text: "has the beta"}
  - {name: email, type: email_domain, direction: "+", speakable: true, text: "works at {value}", against: "writes from {value}"}
  - {name: plan, type: category, speakable: true, text: "is on {value}"}
  - {name: secret, type: number, text: "never said {value}"}
  - {name: income, type: number, speakable: true, private: true, text: "earns well"}
cutoff: {policy: precision, at_least: 0.3}
"""
BUILDER = FeatureBuilder(parse(SMALL), {"plan": ("free", "team")})
PLACES = {column.name: place for place, column in enumerate(BUILDER.columns)}
SPREAD = Usual(((0.0, 2.0, 5.0),) * 2, ((0.5, 0.8, 1.0),) * 2)
COMPARED = (
    "views_count_1d", "views_count_7d", "views_count_trial", "gripes_count_7d", "gripes_count_trial", "calls_count_7d",
    "invites_count_7d", "seats", "height", "debts", "income",
)  # fmt: skip
REFERENCE = Reference(
    np.array([0.5]),
    (1.0, 3.0),
    np.zeros((2, len(PLACES))),
    {"invites": (0.2, 0.75), "recent": (0.8, 0.9), "views": (0.9, 0.9), "hushed": (1.0, 1.0)},
    dict.fromkeys(COMPARED, SPREAD),
)
EXPLAINER = Explainer(BUILDER, REFERENCE)
DAY_THREE = {"trial_age_days": 3.0}


def row(**values: float) -> Floats:
    """Return a row of zeros, nothing ever having happened, with these columns set."""
    found = np.zeros(len(PLACES))
    for name in ("invites_days_since_last", "sizes_mean_megabytes_trial"):
        found[PLACES[name]] = np.nan
    for name, value in values.items():
        found[PLACES[name]] = value
    return found


def pulls(**values: float) -> Floats:
    found = np.zeros(len(PLACES))
    for name, value in values.items():
        found[PLACES[name]] = value
    return found


def reasons(row: Floats, relative: Floats, traits: Mapping[str, object] | None = None, most: int = 9) -> list[Reason]:
    return EXPLAINER.reasons(row, relative, traits or {}, most)


def against(row: Floats, relative: Floats, traits: Mapping[str, object] | None = None, most: int = 9) -> list[Reason]:
    return EXPLAINER.against(row, relative, traits or {}, most)


def test_what_is_not_proven_is_named_after_all_that_is() -> None:
    done = row(views_count_trial=9, calls_count_7d=9, invites_count_trial=9, invites_days_since_last=0.1, **DAY_THREE)
    pull = pulls(views_count_trial=1.0, calls_count_7d=2.0, invites_count_trial=0.3)
    assert [one.signal for one in reasons(done, pull)] == ["calls", "views", "invites"]
    some = Explainer(BUILDER, replace(REFERENCE, proven=frozenset({"views", "invites"})))
    assert [one.signal for one in some.reasons(done, pull, {}, 9)] == ["views", "invites", "calls"]
    assert [one.signal for one in some.reasons(done, pull, {}, 2)] == ["views", "invites"]


# --- how a behaviour is said ------------------------------------------------------------------


def test_one_is_said_in_the_singular_and_more_in_the_plural() -> None:
    texts = [
        reasons(row(views_count_7d=count, views_count_trial=count + 1), pulls(views_count_7d=1.0))[0].text
        for count in (1, 2, 1204)
    ]
    assert [text.removesuffix(", more than 99% of trials at day 1") for text in texts] == [
        "1 view in the last 7 days", "2 views in the last 7 days", "1,204 views in the last 7 days"
    ]  # fmt: skip


def test_the_windows_of_a_signal_add_up_to_one_reason_said_of_the_window_that_adds_most() -> None:
    done = row(views_count_1d=1, views_count_7d=2, views_count_trial=3)
    (reason,) = reasons(done, pulls(views_count_1d=0.5, views_count_7d=0.75, views_count_trial=-0.25))
    assert reason.contribution == pytest.approx(1.0)
    assert reason.text == "2 views in the last 7 days"
    assert reason.facts == {"window": "in the last 7 days", "count": 2}
    assert isinstance(reason.facts["count"], int)


def test_of_windows_that_hold_the_same_the_narrowest_is_said() -> None:
    done = row(trial_age_days=9.0, views_count_1d=2, views_count_7d=2, views_count_trial=2)
    assert reasons(done, pulls(views_count_trial=1.0))[0].text.startswith("2 views in the last day")


def test_a_window_longer_than_the_trial_so_far_is_said_as_the_trial() -> None:
    done = row(trial_age_days=4.0, views_count_7d=2, views_count_trial=2)
    assert reasons(done, pulls(views_count_7d=1.0))[0].text.startswith("2 views since the trial began")


def test_how_long_ago_is_said_in_whole_days_with_the_exact_fact_beside_it() -> None:
    done = row(invites_count_7d=3, invites_count_trial=4, invites_active_days_7d=2, invites_days_since_last=1.9)
    (reason,) = reasons(done, pulls(invites_count_7d=1.0))
    assert reason.text == "sent 3 invites in the last 7 days, last 1 day ago"
    assert reason.facts == {"window": "in the last 7 days", "count": 3, "active_days": 2, "days_since_last": 1.9}
    assert reason.mention == "you bring your team"


def test_a_signal_that_pulls_down_in_all_speaks_against_and_not_for() -> None:
    done = row(calls_count_1d=1, calls_count_7d=1, calls_count_trial=1)
    relative = pulls(calls_count_1d=0.5, calls_count_7d=-0.7)
    assert reasons(done, relative) == []
    (reason,) = against(done, relative)
    assert reason.signal == "calls"
    assert reason.contribution == pytest.approx(-0.2)


def test_a_signal_that_pulls_up_because_it_did_not_happen_is_no_reason() -> None:
    assert reasons(row(), pulls(views_count_7d=5.0, invites_count_1d=3.0, trial_age_days=9.0)) == []


def test_a_mention_that_quotes_what_is_not_known_is_not_made() -> None:
    (untold,) = reasons(row(sizes_count_trial=2), pulls(sizes_count_trial=1.0))
    assert (untold.text, untold.mention) == ("2 files since the trial began", None)
    (nothing,) = reasons(row(sizes_count_trial=2, sizes_mean_megabytes_trial=0), pulls(sizes_count_trial=1.0))
    assert nothing.mention is None
    (told,) = reasons(row(sizes_count_trial=2, sizes_mean_megabytes_trial=2.5), pulls(sizes_count_trial=1.0))
    assert told.mention == "you work with files of 2.5 MB"


# --- how many, and how strong -----------------------------------------------------------------


def test_a_reason_needs_its_share_of_all_that_speaks_for_the_lead() -> None:
    done = row(views_count_trial=1, invites_count_trial=1, invites_days_since_last=0.5)
    least = 100 * LEAST_SHARE / (1 - LEAST_SHARE)
    enough = reasons(done, pulls(views_count_trial=least * 1.01, invites_count_trial=100.0))
    assert [reason.signal for reason in enough] == ["invites", "views"]
    noise = reasons(done, pulls(views_count_trial=least * 0.99, invites_count_trial=100.0))
    assert [reason.signal for reason in noise] == ["invites"]


def test_what_hardly_moves_the_odds_is_no_reason_either_way() -> None:
    done = row(calls_count_trial=1)
    assert reasons(done, pulls(calls_count_trial=LEAST_PULL)) == []
    assert against(done, pulls(calls_count_trial=-LEAST_PULL)) == []
    assert len(reasons(done, pulls(calls_count_trial=LEAST_PULL * 1.01))) == 1
    assert len(against(done, pulls(calls_count_trial=-LEAST_PULL * 1.01))) == 1


def test_equal_reasons_come_in_the_order_of_the_definition() -> None:
    done = row(views_count_trial=1, invites_count_trial=1, invites_days_since_last=0.5)
    found = reasons(done, pulls(views_count_trial=1.0, invites_count_trial=1.0))
    assert [reason.signal for reason in found] == ["invites", "views"]


def test_not_more_reasons_than_asked_and_the_silent_ones_take_no_place() -> None:
    done = row(views_count_trial=1, invites_count_trial=1, invites_days_since_last=0.5, hushed_count_trial=4)
    relative = pulls(hushed_count_trial=9.0, views_count_trial=1.0, invites_count_trial=2.0)
    assert [reason.signal for reason in reasons(done, relative, most=1)] == ["invites"]
    assert [reason.signal for reason in reasons(done, relative, most=2)] == ["invites", "views"]
    assert reasons(done, relative, most=0) == []
    assert against(done, -relative, most=0) == []


def test_what_is_named_elsewhere_takes_no_place_against() -> None:
    relative = pulls(invites_count_trial=-2.0, quiet_active_days_trial=-1.0)
    both = EXPLAINER.against(row(**DAY_THREE), relative, {}, 9)
    assert [one.signal for one in both] == ["invites", "quiet"]
    rest = EXPLAINER.against(row(**DAY_THREE), relative, {}, 1, frozenset({"invites"}))
    assert [one.signal for one in rest] == ["quiet"]


# --- direction and comparison -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 view since the trial began"),
        (2, "2 views since the trial began"),
        (3, "3 views since the trial began, more than 80% of trials at day 3"),
        (6, "6 views since the trial began, more than 99% of trials at day 3"),
    ],
)
def test_how_a_lead_compares_is_said_where_it_is_notable(count: int, text: str) -> None:
    done = row(views_count_trial=count, **DAY_THREE)
    assert reasons(done, pulls(views_count_trial=1.0))[0].text == text


def test_after_a_time_nothing_is_compared_because_nobody_could_tell_what() -> None:
    done = row(invites_count_7d=9, invites_count_trial=10, invites_days_since_last=0.2, trial_age_days=8.0)
    (reason,) = reasons(done, pulls(invites_count_7d=1.0))
    assert reason.text == "sent 9 invites in the last 7 days, last less than a day ago"
    assert reason.facts == {"window": "in the last 7 days", "count": 9, "active_days": 0, "days_since_last": 0.2}


def test_less_of_a_good_behaviour_than_half_had_is_no_reason_for() -> None:
    assert reasons(row(views_count_trial=0.0, **DAY_THREE), pulls(views_count_trial=1.0)) == []
    low = Explainer(BUILDER, reference_with(views_count_trial=Usual(((3.0, 9.0),) * 2, ((0.49, 1.0),) * 2)))
    done = row(views_count_trial=4, **DAY_THREE)
    assert low.reasons(done, pulls(views_count_trial=1.0), {}, 9) == []
    half = Explainer(BUILDER, reference_with(views_count_trial=Usual(((3.0, 9.0),) * 2, ((0.5, 1.0),) * 2)))
    assert len(half.reasons(done, pulls(views_count_trial=1.0), {}, 9)) == 1


def reference_with(**usual: Usual) -> Reference:
    return Reference(np.array([0.5]), (1.0, 3.0), np.zeros((2, len(PLACES))), {}, usual)


def test_a_window_with_much_speaks_where_another_one_has_little() -> None:
    done = row(views_count_7d=0, views_count_trial=3, trial_age_days=30.0)
    (reason,) = reasons(done, pulls(views_count_7d=2.0, views_count_trial=0.1))
    assert reason.facts["window"] == "since the trial began"


def test_little_of_a_good_behaviour_speaks_against_with_how_many_did_more() -> None:
    scarce = Explainer(BUILDER, reference_with(views_count_trial=Usual(((0.0, 2.0, 5.0),) * 2, ((0.1, 0.4, 1.0),) * 2)))
    (reason,) = scarce.against(row(views_count_trial=2, **DAY_THREE), pulls(views_count_trial=-1.0), {}, 9)
    assert reason.text == "2 views since the trial began, fewer than 60% of trials at day 3"
    assert reason.facts == {"window": "since the trial began", "count": 2, "fewer_than_percent": 60, "day": 3}
    assert (reason.contribution, reason.mention) == (-1.0, None)
    assert scarce.against(row(views_count_trial=3, **DAY_THREE), pulls(views_count_trial=-1.0), {}, 9) == []


def test_much_of_a_good_behaviour_never_speaks_against() -> None:
    for count in (1, 3, 50):
        assert against(row(views_count_trial=count, **DAY_THREE), pulls(views_count_trial=-3.0)) == []


def test_what_was_never_done_speaks_against_where_there_are_words_for_it() -> None:
    (never,) = against(row(**DAY_THREE), pulls(invites_count_trial=-1.0, views_count_trial=-2.0))
    assert (never.signal, never.text, never.mention) == ("invites", "has not invited anybody", None)
    assert never.facts == {"window": "since the trial began", "count": 0}


def test_much_of_a_bad_behaviour_speaks_against_and_little_of_it_never_for() -> None:
    done = row(gripes_count_trial=3, **DAY_THREE)
    (reason,) = against(done, pulls(gripes_count_trial=-1.0))
    assert reason.text == "3 gripes since the trial began, more than 80% of trials at day 3"
    assert reasons(done, pulls(gripes_count_trial=1.0)) == []
    assert reasons(row(**DAY_THREE), pulls(gripes_count_trial=1.0)) == []
    assert against(row(**DAY_THREE), pulls(gripes_count_trial=-1.0)) == []


@pytest.mark.parametrize("way", [1, -1])
def test_what_may_go_either_way_is_said_either_way_where_it_happened(way: int) -> None:
    told = reasons if way > 0 else against
    assert [one.text for one in told(row(calls_count_trial=2, **DAY_THREE), pulls(calls_count_trial=float(way)))] == [
        "2 calls since the trial began"
    ]
    assert told(row(**DAY_THREE), pulls(calls_count_trial=float(way))) == []


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize(
    ("count", "text"),
    [
        (6, "6 calls in the last 7 days, more than 99% of trials at day 3"),
        (3, "3 calls in the last 7 days, more than 80% of trials at day 3"),
        (1, None),
    ],
)
def test_what_may_go_either_way_is_news_only_where_it_is_out_of_the_ordinary(
    way: int, count: int, text: str | None
) -> None:
    told = reasons if way > 0 else against
    done = row(calls_count_7d=count, calls_count_trial=count + 1, trial_age_days=9.0)
    assert [one.text for one in told(done, pulls(calls_count_7d=float(way)))] == ([text] if text else [])


def test_before_the_first_age_that_is_known_nothing_is_compared() -> None:
    (reason,) = reasons(row(views_count_trial=1, trial_age_days=0.9), pulls(views_count_trial=1.0))
    assert reason.text == "1 view since the trial began"
    assert against(row(views_count_trial=1, trial_age_days=0.9), pulls(views_count_trial=-1.0)) == []


# --- traits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "number", "trait", "value", "text", "fact"),
    [
        ("seats", 2.0, "seats", 2, "has 2 seats", 2),
        ("seats", 2.0, "seats", " 2 ", "has 2 seats", 2),
        ("seats", 2.0, "seats", "2.0", "has 2 seats", 2),
        ("admin", 1.0, "admin", True, "is an admin", "True"),
        ("email_is_business", 1.0, "email", "Dana@ACME.example", "works at acme.example", "acme.example"),
        ("plan=team", 1.0, "plan", "team", "is on team", "team"),
    ],
)
def test_a_trait_is_said_as_it_was_understood(
    column: str, number: float, trait: str, value: object, text: str, fact: object
) -> None:
    (reason,) = reasons(row(**{column: number}), pulls(**{column: 1.0}), {trait: value})
    assert (reason.kind, reason.text, dict(reason.facts)) == ("fit", text, {"value": fact})
    assert reason.mention is None


@pytest.mark.parametrize(
    ("column", "number", "trait", "value"),
    [
        ("seats", np.nan, "seats", "many"),
        ("seats", np.nan, "seats", "<script>alert(1)</script>"),
        ("seats", np.nan, "seats", int("9" * 400)),
        ("seats", np.nan, "seats", None),
        ("admin", np.nan, "admin", "maybe"),
        ("beta", 0.0, "beta", False),
        ("email_is_business", np.nan, "email", "nobody"),
        ("plan=team", 0.0, "plan", "a plan that nobody else has"),
        ("secret", 3.0, "secret", 3),
    ],
)
def test_a_trait_that_is_unknown_or_has_no_words_or_is_not_speakable_is_no_reason(
    column: str, number: float, trait: str, value: object
) -> None:
    for told, way in ((reasons, 1.0), (against, -1.0)):
        assert told(row(**{column: number}), pulls(**{column: way}), {trait: value}) == []


@pytest.mark.parametrize(
    ("trait", "column", "value", "so", "speaks"),
    [
        ("admin", "admin", "yes", True, 1), ("admin", "admin", "no", False, -1),
        ("novice", "novice", "yes", True, -1), ("novice", "novice", "no", False, 1),
        ("mobile", "mobile", "yes", True, 0), ("mobile", "mobile", "no", False, 0),
        ("email", "email_is_business", "a@acme.example", True, 1), ("email", "email_is_business", "a@gmail.com", False, -1),
    ],
)  # fmt: skip
def test_a_yes_and_a_no_speak_in_the_direction_of_their_trait_and_in_no_other(
    trait: str, column: str, value: str, so: bool, speaks: int
) -> None:
    definition = BUILDER.definition.trait_of[trait]
    expected = definition.text if so else definition.against
    assert expected is not None
    for told, way in ((reasons, 1), (against, -1)):
        found = told(row(**{column: float(so)}), pulls(**{column: float(way)}), {trait: value})
        assert [one.text for one in found] == (
            [expected.fill({"value": value.rpartition("@")[2]})] if speaks in (0, way) else []
        )


@pytest.mark.parametrize(
    ("trait", "value", "way", "said"),
    [
        ("seats", 3.0, 1, "more than 80%"), ("seats", 0.0, 1, None), ("seats", 3.0, -1, None),
        ("debts", 3.0, -1, "more than 80%"), ("debts", 0.0, -1, None), ("debts", 3.0, 1, None),
        ("height", 3.0, 1, "more than 80%"), ("height", 3.0, -1, "more than 80%"), ("height", 0.0, 1, ""),
    ],
)  # fmt: skip
def test_a_number_speaks_only_the_way_in_which_at_least_half_of_others_agree(
    trait: str, value: float, way: int, said: str | None
) -> None:
    told = reasons if way > 0 else against
    found = told(row(**{trait: value}, **DAY_THREE), pulls(**{trait: float(way)}), {trait: value})
    assert len(found) == (said is not None)
    if said is not None:
        assert found[0].facts["value"] == value
        assert said in found[0].text
        assert ("more_than_percent" in found[0].facts) == bool(said)


def test_a_small_number_speaks_against_where_more_would_speak_for() -> None:
    few = Explainer(BUILDER, reference_with(seats=Usual(((1.0, 9.0),) * 2, ((0.1, 0.9),) * 2)))
    (reason,) = few.against(row(seats=1.0, **DAY_THREE), pulls(seats=-1.0), {"seats": 1}, 9)
    assert reason.text.startswith("has 1 seats, ")
    assert reason.facts == {"value": 1, "fewer_than_percent": 80}
    usual = Explainer(BUILDER, reference_with(seats=Usual(((1.0, 9.0),) * 2, ((0.2, 0.9),) * 2)))
    (reason,) = usual.against(row(seats=1.0, **DAY_THREE), pulls(seats=-1.0), {"seats": 1}, 9)
    assert reason.text == "has 1 seats"


def test_where_a_number_is_known_of_few_they_alone_tell_what_is_much_but_no_share_of_all_is_claimed() -> None:
    rare = Explainer(BUILDER, reference_with(seats=Usual(((1.0, 9.0),) * 2, ((0.1, 0.2),) * 2)))
    (reason,) = rare.reasons(row(seats=9.0, **DAY_THREE), pulls(seats=1.0), {"seats": 9}, 9)
    assert reason.text == "has 9 seats"
    assert rare.reasons(row(seats=1.0, **DAY_THREE), pulls(seats=1.0), {"seats": 1}, 9) == []


@given(st.text(min_size=1))
def test_a_category_that_was_not_learned_is_never_said(hostile: str) -> None:
    for told, way in ((reasons, 1.0), (against, -1.0)):
        found = told(row(), pulls(**{"plan=free": way}), {"plan": hostile})
        assert [one.facts["value"] for one in found] == ([hostile] if hostile in ("free", "team") else [])


@pytest.mark.parametrize(
    ("business", "enterprise", "facts"),
    [
        (1.0, 1.0, {"value": "x.example", "standing": "enterprise"}), (1.0, 0.0, {"value": "x.example", "standing": "business"}),
        (0.0, 0.0, {"value": "x.example"}),
    ],
)  # fmt: skip
def test_of_an_address_it_is_a_fact_whether_it_is_a_listed_enterprises(
    business: float, enterprise: float, facts: dict[str, str]
) -> None:
    listed = SMALL.replace(
        'against: "writes from {value}"', 'against: "writes from {value}", enterprise: [bigco.example]'
    )
    builder = FeatureBuilder(parse(listed), BUILDER.levels)
    places = {column.name: place for place, column in enumerate(builder.columns)}
    known, relative = np.zeros(len(places)), np.zeros(len(places))
    known[[places["email_is_business"], places["email_is_enterprise"]]] = business, enterprise
    relative[places["email_is_business"]] = 1.0 if business else -1.0
    explainer = Explainer(builder, Reference.of_scores(np.array([0.5]), len(places)))
    told = explainer.reasons if business else explainer.against
    (reason,) = told(known, relative, {"email": "a@x.example"}, 9)
    assert dict(reason.facts) == facts


# --- missing ----------------------------------------------------------------------------------


def test_missing_is_the_most_common_first_and_never_what_was_done() -> None:
    assert [one.signal for one in EXPLAINER.missing(row(trial_age_days=1.5).tolist())] == ["recent"]
    assert (
        EXPLAINER.missing(row(trial_age_days=3.0).tolist())[0].text
        == "has not invited anybody; 7 in 10 converters had by day 3"
    )
    assert EXPLAINER.missing(row(trial_age_days=3.0, invites_count_trial=1).tolist()) == []


def test_nothing_is_missing_before_the_first_age_that_is_known() -> None:
    assert EXPLAINER.missing(row(trial_age_days=0.9).tolist()) == []


def test_a_window_shorter_than_the_trial_cannot_say_that_something_never_happened() -> None:
    assert "recent" in [one.signal for one in EXPLAINER.missing(row(trial_age_days=2.0).tolist())]
    assert "recent" not in [one.signal for one in EXPLAINER.missing(row(trial_age_days=2.01).tolist())]
    young, old = (against(row(trial_age_days=age), pulls(recent_count_2d=-1.0)) for age in (2.0, 2.01))
    assert ([one.text for one in young], old) == (["has not been late"], [])


@pytest.mark.parametrize(("share", "tenths"), [(0.5, 5), (0.55, 5), (0.6, 6), (0.79, 7), (0.96, 9), (1.0, 9)])
def test_missing_rounds_down_and_never_says_ten_in_ten(share: float, tenths: int) -> None:
    reference = Reference(np.array([0.5]), (1.0,), np.zeros((1, len(PLACES))), {"invites": (share,)})
    (one,) = Explainer(BUILDER, reference).missing(row(trial_age_days=2.0).tolist())
    assert one.facts == {"converters_in_10": tenths, "day": 1, "share": share}
    assert f"{tenths} in 10 converters had by day 1" in one.text


def test_a_lead_that_did_nothing_gets_no_reasons_of_behaviour_and_what_is_missing(scorer: Scorer) -> None:
    lead = {"user_id": "new", "started_at": "2026-01-01T00:00:00Z"}
    now = micros(datetime(2026, 1, 9, tzinfo=UTC))
    (body,) = [result_body(one) for one in score(scorer, decode(json.dumps({"leads": [lead]}).encode()), now)]
    assert isinstance(body, dict)
    assert body["reasons"] == []
    shares = scorer.artifact.reference
    usual = {
        signal.name for signal in scorer.builder.definition.signals
        if signal.missing and (known := shares.share_of_converters(signal.name, 8.0)) is not None
        and known.share >= COMMON_AMONG_CONVERTERS
    }  # fmt: skip
    assert usual
    assert {one.signal for one in body["missing"]} == usual
    for one in body["against"]:
        signal = scorer.builder.definition.signal_of[one.signal]
        assert one.text == f"has not {signal.missing}"


# --- sums -------------------------------------------------------------------------------------


@given(st.lists(st.floats(-5, 5), min_size=len(PLACES), max_size=len(PLACES)))
def test_owners_share_out_all_that_the_columns_add(relative: list[float]) -> None:
    found = EXPLAINER.by_owner(np.array(relative))
    expected = dict.fromkeys(EXPLAINER.owners, 0.0)
    for column, pull in zip(BUILDER.columns, relative, strict=True):
        expected[column.owner] += pull
    assert found.tolist() == pytest.approx(list(expected.values()), abs=1e-12)


def test_a_typical_trial_is_taken_off_by_age() -> None:
    typical = np.arange(2.0)[:, None] + np.zeros(len(PLACES))
    explainer = Explainer(BUILDER, Reference(np.array([0.5]), (1.0, 3.0), typical))
    rows = np.stack([row(trial_age_days=age) for age in (0.5, 1.0, 2.9, 3.0, 50.0)])
    added = np.full((5, len(PLACES) + 1), 10.0)
    assert explainer.relative(rows, added)[:, 1].tolist() == [10, 10, 10, 9, 9]
    assert explainer.relative(rows, added[:, :-1]).tolist() == explainer.relative(rows, added).tolist()


# --- languages --------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_what_stands_around_a_sentence_is_in_the_definitions_language(language: str) -> None:
    says = wording(language)
    explainer = Explainer(FeatureBuilder(parse(f"language: {language}\n{SMALL}"), BUILDER.levels), REFERENCE)
    (reason,) = explainer.reasons(row(views_count_trial=3, **DAY_THREE), pulls(views_count_trial=1.0), {}, 9)
    assert reason.text == f"3 views {says.window(None)}, {says.more_than(80, 3)}"
    assert reason.facts["window"] == says.window(None)
    (never,) = explainer.against(row(**DAY_THREE), pulls(invites_count_trial=-1.0), {}, 9)
    assert never.text == says.never_yet("invited anybody")

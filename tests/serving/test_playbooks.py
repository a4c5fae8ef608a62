"""What to do about a lead follows from its leading reasons, its track and the end of its trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definition import Definition, parse
from features.durations import DAY, HOUR
from features.wording import wording
from serving.scoring.facts import Fact
from serving.scoring.playbooks import LEADING, Advice, Advisor, Circumstances, Track
from serving.scoring.reasons import Reason

TEXT = """
product: Tiny {curly}
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [trial]
signals:
  - {name: invites, kind: team_growth, events: [invite], text: "{count:invite|invites}", playbook: invite_more}
  - {name: joins, kind: team_growth, events: [join], text: "{count:join|joins}"}
  - {name: views, kind: value, events: [view], text: "{count:view|views}"}
  - {name: tries, kind: activation, events: [try], text: "{count:try|tries}", mention: you tried it}
traits:
  - {name: seats, type: number, speakable: true, text: "{value} seats"}
  - {name: email, type: email_domain, speakable: true, text: "works at {value}", against: "writes from {value}"}
cutoff: {policy: precision, at_least: 0.3}
playbooks:
  - {id: grow, title: Grow, message: "In {product}: {reason}.", kinds: [team_growth]}
  - {id: grow_too, title: Grow as well, message: "Later in the file.", kinds: [team_growth, usage_depth]}
  - {id: fits, title: It fits, message: "They fit: {reason}.", kinds: [fit]}
  - {id: invite_more, title: Invite more, message: "You have {reason} already."}
"""
DEFINITION = parse(TEXT)
ENGLISH = wording("en")
NOTHING = Circumstances()


def reason(
    signal: str, kind: str, text: str = "3 invites", contribution: float = 0.5, mention: str | None = None,
    facts: Mapping[str, Fact] | None = None,
) -> Reason:  # fmt: skip
    return Reason(signal, kind, text, facts or {"count": 3}, contribution, mention)


def advised(
    reasons: Sequence[Reason], circumstances: Circumstances = NOTHING, definition: Definition = DEFINITION
) -> Advice | None:
    return Advisor(definition, ENGLISH).advise(reasons, circumstances)


def the_id(
    reasons: Sequence[Reason], circumstances: Circumstances = NOTHING, definition: Definition = DEFINITION
) -> str | None:
    found = advised(reasons, circumstances, definition)
    return None if found is None else found.id


# --- by reasons -------------------------------------------------------------------------------


def test_a_signals_own_playbook_comes_before_those_of_its_kind() -> None:
    advice = advised([reason("invites", "team_growth")])
    assert advice == Advice("invite_more", "Invite more", "You have 3 invites already.")


def test_a_signal_without_one_gets_the_first_of_its_kind() -> None:
    assert advised([reason("joins", "team_growth", "2 joins")]) == Advice("grow", "Grow", "In Tiny {curly}: 2 joins.")


def test_a_trait_gets_the_one_for_fit() -> None:
    advice = advised([reason("seats", "fit", "40 seats", facts={"value": 40})])
    assert advice == Advice("fits", "It fits", "They fit: 40 seats.")


def test_the_playbook_that_the_leading_reasons_speak_for_most_in_all_is_taken() -> None:
    joined = [reason("joins", "team_growth", contribution=0.4), reason("joins", "team_growth", contribution=0.3)]
    invited = reason("invites", "team_growth", contribution=0.6)
    assert the_id([invited, *joined]) == "grow"
    assert the_id([invited, joined[0]]) == "invite_more"


def test_of_equal_playbooks_the_first_in_the_file_is_taken() -> None:
    both = [reason("seats", "fit", contribution=0.5), reason("joins", "team_growth", contribution=0.5)]
    assert {the_id(list(order)) for order in permutations(both)} == {"grow"}


def test_only_the_leading_reasons_choose() -> None:
    silent = [reason("views", "value", contribution=0.9)] * LEADING
    assert the_id([*silent[1:], reason("joins", "team_growth")]) == "grow"
    assert the_id([*silent, reason("joins", "team_growth")]) is None


def test_without_a_fitting_reason_there_is_none() -> None:
    assert advised([reason("views", "value")]) is None
    assert advised([]) is None


# --- what a message says ----------------------------------------------------------------------


def test_what_a_reason_quotes_is_never_read_as_a_template() -> None:
    advice = advised([reason("joins", "team_growth", "{product} {0.__class__} <b>%s</b>")])
    assert advice is not None
    assert advice.message == "In Tiny {curly}: {product} {0.__class__} <b>%s</b>."


def test_how_a_lead_compares_with_others_is_not_told_to_it() -> None:
    compared: dict[str, Fact] = {"count": 3, "more_than_percent": 92, "day": 6}
    advice = advised([reason("joins", "team_growth", "3 joins, more than 92% of trials at day 6", facts=compared)])
    assert advice is not None
    assert advice.message == "In Tiny {curly}: 3 joins."


def test_what_is_not_so_is_not_told_as_if_it_were() -> None:
    advice = advised([reason("email", "fit", "writes from gmail.com", facts={"value": "gmail.com"})])
    assert advice is not None
    assert advice.message == "They fit: writes from gmail.com."


# --- by circumstances -------------------------------------------------------------------------

SOON = (
    TEXT
    + """\
  - {id: hurry, title: Hurry, message: "{days_left:day|days} left.", track: now, ends_within: 2d}
  - {id: patience, title: Wait, message: "No hurry.", track: nurture}
"""
)
CIRCUMSTANCES = parse(SOON)


@pytest.mark.parametrize(
    ("track", "days_left", "expected"),
    [
        ("now", 2.0, "hurry"),
        ("now", 1e-9, "hurry"),
        ("now", 2.0 + 1e-9, "grow"),
        ("now", 0.0, "grow"),
        ("now", -1.0, "grow"),
        ("now", None, "grow"),
        ("nurture", 1.0, "patience"),
        ("nurture", None, "patience"),
        (None, 1.0, "grow"),
        (None, None, "grow"),
    ],
)
def test_circumstances_that_are_met_come_before_reasons(
    track: Track | None, days_left: float | None, expected: str
) -> None:
    found = the_id([reason("joins", "team_growth", contribution=9.0)], Circumstances(track, days_left), CIRCUMSTANCES)
    assert found == expected


def test_circumstances_alone_need_no_reason() -> None:
    assert advised([], Circumstances("nurture"), CIRCUMSTANCES) == Advice("patience", "Wait", "No hurry.")
    assert advised([], Circumstances(None, 1.0), CIRCUMSTANCES) is None


@given(st.integers(1, 400), st.integers(-2, 2))
def test_a_trial_that_ends_exactly_then_ends_within_it_and_a_microsecond_later_does_not(hours: int, off: int) -> None:
    book = parse(SOON.replace("ends_within: 2d", f"ends_within: {hours}h")).playbooks[-2]
    left = hours * HOUR + off
    assert Circumstances("now", left / DAY).meet(book) == (off <= 0)


def test_a_playbook_with_circumstances_and_kinds_needs_both() -> None:
    both = parse(SOON.replace("title: Wait,", "title: Wait, kinds: [value],"))
    assert the_id([reason("views", "value")], Circumstances("nurture"), both) == "patience"
    assert the_id([reason("joins", "team_growth")], Circumstances("nurture"), both) == "grow"
    assert the_id([reason("views", "value")], Circumstances("now"), both) is None


def test_of_circumstances_that_fit_the_one_that_reasons_speak_for_comes_first() -> None:
    both = parse(SOON + "  - {id: wait_for_value, title: W, message: W, track: nurture, kinds: [value]}\n")
    assert the_id([reason("views", "value")], Circumstances("nurture"), both) == "wait_for_value"
    assert the_id([reason("joins", "team_growth")], Circumstances("nurture"), both) == "patience"


@pytest.mark.parametrize(
    ("days_left", "words"),
    [(0.01, "1 day"), (0.9, "1 day"), (1.0, "1 day"), (1.4, "1 day"), (1.6, "2 days"), (2.0, "2 days")],
)
def test_the_days_that_are_left_are_said_in_whole_days_and_never_as_none(days_left: float, words: str) -> None:
    assert advised([], Circumstances("now", days_left), CIRCUMSTANCES) == Advice("hurry", "Hurry", f"{words} left.")


# --- what the customer may hear ---------------------------------------------------------------

MENTIONING = parse(
    TEXT + '  - {id: ask, title: Ask, message: "{product}: {mention}.", track: now}\n'
    '  - {id: start, title: Start, message: "Good that {mention}.", kinds: [activation]}\n'
)
TRIED = reason("tries", "activation", "3 tries", 0.2, "you tried it")
VIEWED = reason("views", "value", "9 views", 0.9)


def test_a_playbook_that_mentions_takes_the_first_leading_reason_that_may_be_mentioned() -> None:
    found = advised([VIEWED, TRIED, reason("tries", "activation", mention="other")], Circumstances("now"), MENTIONING)
    assert found == Advice("ask", "Ask", "Tiny {curly}: you tried it.")


def message(reasons: Sequence[Reason], circumstances: Circumstances = NOTHING) -> str | None:
    found = advised(reasons, circumstances, MENTIONING)
    return None if found is None else found.message


def test_where_none_has_words_of_its_own_those_of_its_kind_are_mentioned() -> None:
    assert message([VIEWED], Circumstances("now")) == "Tiny {curly}: you get a lot done."
    assert advised([], Circumstances("now"), MENTIONING) is None


def test_a_reason_behind_the_leading_ones_is_not_mentioned() -> None:
    assert message([VIEWED] * LEADING + [TRIED], Circumstances("now")) == "Tiny {curly}: you get a lot done."
    assert message([VIEWED] * (LEADING - 1) + [TRIED], Circumstances("now")) == "Tiny {curly}: you tried it."


def test_a_playbook_for_a_kind_mentions_what_is_of_that_kind_and_nothing_else() -> None:
    elsewhere = reason("joins", "value", mention="you looked around")
    untold = reason("tries", "activation", mention=None)
    assert advised([elsewhere, TRIED], NOTHING, MENTIONING) == Advice("start", "Start", "Good that you tried it.")
    assert message([elsewhere, untold]) == "Good that you have got started in earnest."


# --- traits with a playbook of their own ------------------------------------------------------

COMPANIES = """
  - {id: big, title: Big, message: "For companies: {reason}."}
"""


def with_trait(keys: str) -> Definition:
    """Return a definition whose address leads to a playbook of its own."""
    return parse(TEXT.replace('against: "writes from {value}"}', f"{keys}}}") + COMPANIES.lstrip("\n"))


def test_a_traits_own_playbook_comes_before_that_of_its_kind() -> None:
    named = with_trait("playbook: big")
    address = reason("email", "fit", "works at acme.example", facts={"value": "acme.example"})
    assert the_id([address], NOTHING, named) == "big"
    assert the_id([reason("seats", "fit", "40 seats", facts={"value": 40})], NOTHING, named) == "fits"


@pytest.mark.parametrize(("standing", "expected"), [("enterprise", "big"), ("business", "fits"), (None, "fits")])
def test_where_enterprises_are_listed_the_playbook_of_an_address_is_for_them_alone(
    standing: str | None, expected: str
) -> None:
    listed = with_trait("playbook: big, enterprise: [bigco.example]")
    facts: Mapping[str, Fact] = {"value": "x.example"} | ({"standing": standing} if standing else {})
    assert the_id([reason("email", "fit", "works at x.example", facts=facts)], NOTHING, listed) == expected

"""A request is read strictly; a lead that cannot be read never takes the leads beside it with it."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InvalidInput
from features.leads import open_leads
from features.times import parse_instant, text_of
from serving.answering import answering, drained
from serving.requests import MOST_LEADS, MOST_REASONS, Failed, decode, reading, result_body, score
from serving.scoring.answers import NAMED_BY_INPUT, Answer
from serving.scoring.scorer import Scorer
from serving.web.refusals import error_body
from training.demo import Demo

Lead = dict[str, Any]
AS_OF = "2026-01-09T09:00:00Z"
NOW = parse_instant(AS_OF, "now")
LEAD: Lead = {
    "user_id": "u-1",
    "account_id": "acme",
    "started_at": "2026-01-02T08:15:00Z",
    "ends_at": "2026-01-16T08:15:00Z",
    "traits": {"company_size": 120, "source": "referral", "email": "dana@acme.example"},
    "events": [
        {"event": "invite_sent", "timestamp": "2026-01-02T08:31:00Z", "properties": {"role": "member"}},
        {"event": "invite_accepted", "timestamp": "2026-01-05T09:05:00Z", "message_id": "m-1"},
        {"event": "file_uploaded", "timestamp": "2026-01-05T11:00:00Z", "properties": {"megabytes": 2.5}},
        {"event": "pricing_viewed", "timestamp": "2026-01-08T09:50:00Z", "properties": {"plan": "business"}},
        {"event": "session_started", "timestamp": "2026-01-07T10:00:00Z", "user_id": "u-2"},
    ],
}


def lead(**changes: Any) -> Lead:
    return {**copy.deepcopy(LEAD), **changes}


def with_event(**event: Any) -> Lead:
    return lead(events=[*LEAD["events"], event])


def ask(scorer: Scorer, *leads: object, **rest: Any) -> list[Answer | Failed]:
    return score(scorer, decode(json.dumps({"leads": list(leads), "as_of": AS_OF, **rest}).encode()), NOW)


def answer(scorer: Scorer, one: object, **rest: Any) -> Answer:
    (found,) = ask(scorer, one, **rest)
    assert isinstance(found, Answer), found
    return found


def error(scorer: Scorer, one: object) -> dict[str, str]:
    (found,) = ask(scorer, one)
    assert isinstance(found, Failed), found
    return found.error


@pytest.fixture(scope="module")
def demo_leads(demo_world: Demo, history: Dataset, moments: list[int], posted: Callable[..., Lead]) -> list[Lead]:
    """Leads that are open at the third moment, with all that was ever recorded of them."""
    which = open_leads(history.leads, moments[2])[:40]
    traits = ("company_size", "source", "email")
    return [posted(demo_world.events, demo_world.trials, history.leads.ids[place], traits) for place in which]


@pytest.fixture(scope="module")
def rich(made_scorer: Callable[..., Scorer], rich_definition: str) -> Scorer:
    return made_scorer(rich_definition, {"source": ["partner", "referral"]})


@pytest.fixture(scope="module")
def rich_account(made_scorer: Callable[..., Scorer], rich_account_definition: str) -> Scorer:
    return made_scorer(rich_account_definition, {"source": ["partner", "referral"]})


# --- what is wrong with the whole request -----------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message", "field"),
    [
        (b"", r"body: Input data was truncated", None),
        (b"not json", r"body: JSON is malformed", None),
        (b"{'leads': []}", r"body: JSON is malformed", None),
        (b'{"leads": [1,]}', r"body: JSON is malformed", None),
        (b'{"leads": []} x', r"body: JSON is malformed", None),
        (b"[]", r"body: Expected `object`, got `array`", None),
        (b"null", r"body: Expected `object`, got `null`", None),
        (b"{}", r"Object missing required field `leads`", None),
        (b'{"leads": {}}', r"leads: Expected `array`, got `object`", "leads"),
        (b'{"leads": null}', r"leads: Expected `array`", "leads"),
        (b'{"leads": [], "as_of": 5}', r"as_of: Expected `str \| null`, got `int`", "as_of"),
        (b'{"leads": [], "reasons": "3"}', r"reasons: Expected `int`, got `str`", "reasons"),
        (b'{"leads": [], "reasons": true}', r"reasons: Expected `int`, got `bool`", "reasons"),
        (b'{"leads": [], "lead": 1}', r"unknown field `lead`", None),
        (b'{"leads": [NaN]}', r"body: JSON is malformed", None),
        (b'{"leads": [Infinity]}', r"body: JSON is malformed", None),
        (b'\xef\xbb\xbf{"leads": []}', r"body: ", None),
        ('{"leads": []}'.encode("utf-16"), r"body: ", None),
        (b'{"leads": []}', r"leads must be 1 to 1000 leads, got 0", "leads"),
        (b'{"leads": [{}], "reasons": -1}', rf"reasons must be 0 to {MOST_REASONS}, got -1", "reasons"),
        (b'{"leads": [{}], "reasons": 21}', rf"reasons must be 0 to {MOST_REASONS}, got 21", "reasons"),
        (b'{"leads": [{}], "reasons": 1' + b"0" * 30 + b"}", r"reasons", "reasons"),
    ],
)
def test_a_request_that_is_wrong_as_a_whole_is_refused_with_its_place(
    body: bytes, message: str, field: str | None
) -> None:
    with pytest.raises(InvalidInput, match=message) as raised:
        decode(body)
    assert raised.value.field == field


@pytest.mark.parametrize(
    "before", [b"", b'{"leads":', b'{"leads":[', b'{"leads":[{"user_id":', b'{"leads":[{"events":[']
)
@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_a_hundred_thousand_brackets_are_refused(before: bytes, bracket: bytes, closed: bool) -> None:
    end = (b"1" + (b"]" if bracket == b"[" else b"}") * 100_000) if closed else b""
    with pytest.raises(InvalidInput):
        decode(before + bracket * 100_000 + end)


def test_a_thousand_leads_are_taken_and_one_more_is_refused() -> None:
    many = json.dumps({"leads": [{}] * MOST_LEADS}).encode()
    assert len(decode(many).leads) == MOST_LEADS
    with pytest.raises(InvalidInput, match=r"leads must be 1 to 1000 leads, got 1001\. Send them in parts"):
        decode(json.dumps({"leads": [{}] * (MOST_LEADS + 1)}).encode())


@pytest.mark.parametrize(
    "text", ["yesterday", "", "2026-01-09", "2026-01-09T09:00:00", "2026-13-01T00:00:00Z", "9" * 40]
)
def test_a_moment_of_scoring_that_is_no_instant_is_refused(scorer: Scorer, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"as_of must") as raised:
        ask(scorer, LEAD, as_of=text)
    assert raised.value.field == "as_of"


# --- what is wrong with one lead --------------------------------------------------------------

BAD_LEADS = [
    (5, "invalid_input", r"Expected `object`, got `int`", "leads[0]"),
    (None, "invalid_input", r"Expected `object`, got `null`", "leads[0]"),
    ({}, "invalid_input", r"missing required field `user_id`", "leads[0]"),
    ({"user_id": "u"}, "invalid_input", r"missing required field `started_at`", "leads[0]"),
    (lead(user_id=7), "invalid_input", r"Expected `str`, got `int`", "leads[0].user_id"),
    (lead(user_id=""), "invalid_input", r"must not be empty", "leads[0].user_id"),
    (lead(user_id=" \t"), "invalid_input", r"must not be empty", "leads[0].user_id"),
    (lead(userid="u"), "invalid_input", r"unknown field `userid`", "leads[0]"),
    (lead(started_at=1767225600), "invalid_input", r"Expected `str`, got `int`", "leads[0].started_at"),
    (lead(started_at="2026-01-02"), "naive_timestamp", r"must carry a time zone", "leads[0].started_at"),
    (lead(started_at="2026-01-02T08:15:00"), "naive_timestamp", r"must carry a time zone", "leads[0].started_at"),
    (lead(started_at="2026-02-30T08:15:00Z"), "invalid_input", r"must be an ISO 8601 time", "leads[0].started_at"),
    (lead(started_at="2026-01-09T09:00:00.000001Z"), "invalid_input", r"must not lie after as_of", "leads[0].started_at"),
    (lead(started_at="1989-12-31T23:59:59.999999Z"), "invalid_input", r"not lie before 1990-01-01", "leads[0].started_at"),
    (lead(ends_at="soon"), "invalid_input", r"must be an ISO 8601 time", "leads[0].ends_at"),
    (lead(ends_at="2026-01-16T08:15:00"), "naive_timestamp", r"must carry a time zone", "leads[0].ends_at"),
    (lead(traits={"colour": "red"}), "invalid_input", r"unknown trait 'colour'.*knows company_size", "leads[0].traits"),
    (lead(traits={"company_size": "ten"}), "invalid_input", r"must be a number, got 'ten'", "leads[0].traits.company_size"),
    (lead(traits={"email": 5}), "invalid_input", r"must be an e-mail address or a domain, got '5'", "leads[0].traits.email"),
    (lead(traits={"company_size": [1]}), "invalid_input", r"Expected .*got `array`", "leads[0].traits[...]"),
    (lead(traits=[]), "invalid_input", r"Expected `object`, got `array`", "leads[0].traits"),
    (lead(traits=None), "invalid_input", r"Expected `object`, got `null`", "leads[0].traits"),
    (lead(events=None), "invalid_input", r"Expected `array`, got `null`", "leads[0].events"),
    (lead(events=[5]), "invalid_input", r"Expected `object`, got `int`", "leads[0].events[0]"),
    (lead(events=[{"event": "x"}]), "invalid_input", r"missing required field `timestamp`", "leads[0].events[0]"),
    (with_event(event="x", timestamp="2026-01-03T00:00:00Z", time=1), "invalid_input", r"`time`", "leads[0].events[5]"),
    (with_event(event=None, timestamp="2026-01-03T00:00:00Z"), "invalid_input", r"`str`", "leads[0].events[5].event"),
    (with_event(event="x", timestamp="2026-01-03"), "naive_timestamp", r"time zone", "leads[0].events[5].timestamp"),
    (with_event(event="x", timestamp="1970-01-21T00:00:00Z"), "invalid_input", r"before 1990", "leads[0].events[5].timestamp"),
    (
        with_event(event="x", timestamp="2026-01-03T00:00:00Z", user_id=" "),
        "invalid_input", r"must not be empty", "leads[0].events[5].user_id",
    ),
    (with_event(event="x", timestamp="noon"), "invalid_input", r"ISO 8601", "leads[0].events[5].timestamp"),
    (
        with_event(event="x", timestamp="2026-01-03T00:00:00Z", properties=[]),
        "invalid_input", r"Expected `object \| null`, got `array`", "leads[0].events[5].properties",
    ),
    (
        with_event(event="subscription_started", timestamp="2026-01-08T12:00:00Z"),
        "already_converted", r"before as_of 2026-01-09T09:00:00Z, got 'subscription_started' at 2026-01-08T12:00:00Z",
        "leads[0].events[5]",
    ),
    (
        with_event(event="trial_cancelled", timestamp="2026-01-08T12:00:00Z"),
        "trial_closed", r"before as_of 2026-01-09T09:00:00Z, got 'trial_cancelled' at 2026-01-08T12:00:00Z",
        "leads[0].events[5]",
    ),
    (lead(traits={"email": "me@corkboard.example"}), "excluded", r"'u-1' is on .* list of excluded leads", "leads[0]"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "code", "message", "field"), BAD_LEADS)
def test_a_lead_that_cannot_be_scored_says_why_and_where(
    scorer: Scorer, bad: object, code: str, message: str, field: str
) -> None:
    found = error(scorer, bad)
    assert found["code"] == code
    assert found["field"] == field
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    assert re.search(message, found["message"])


def test_bad_leads_leave_the_good_ones_beside_them_alone_and_in_order(scorer: Scorer) -> None:
    good = [lead(user_id="first"), lead(user_id="second", events=[]), lead(user_id="third")]
    bad = [one for one, *_ in BAD_LEADS]
    mixed: list[object] = [bad[0], good[0], *bad[1:9], good[1], *bad[9:], good[2]]
    found = ask(scorer, *mixed)
    assert len(found) == len(mixed)
    assert [one for one in found if isinstance(one, Answer)] == ask(scorer, *good)
    for place, (given_lead, one) in enumerate(zip(mixed, found, strict=True)):
        if given_lead in good:
            assert isinstance(one, Answer)
            assert one.lead_id == given_lead["user_id"]
        else:
            assert isinstance(one, Failed)
            assert one.index == place
            assert one.error["field"].startswith(f"leads[{place}]")
            told = given_lead.get("user_id") if isinstance(given_lead, dict) else None
            assert one.lead_id == (told if isinstance(told, str) else None)


def test_a_request_of_bad_leads_only_is_answered_with_their_errors(scorer: Scorer) -> None:
    found = ask(scorer, *(one for one, *_ in BAD_LEADS))
    assert all(isinstance(one, Failed) for one in found)
    assert len(found) == len(BAD_LEADS)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"user_id": "\xff", "started_at": "2026-01-02T08:15:00Z"}',
        b'{"user_id": "u", "started_at": "2026-01-02T08:15:00Z", "traits": {"source": "\xc3\x28"}}',
        b'{"user_id": "u", "started_at": "2026-01-02T08:15:00Z", "traits": {"\xff": 1}}',
        b'{"user_id": "u", "started_at": "2026-01-02T08:15:00Z", "events": [{"event": "\xed\xa0\x80", "timestamp": ""}]}',
        b'{"user_id": "u", "started_at": "2026-01-02T08:15:00Z", "traits": {"company_size": 1e999}}',
        b'{"user_id": "u", "started_at": "2026-01-02T08:15:00Z", "traits": {"company_size": ' + b"9" * 5000 + b"}}",
    ],
    ids=["user_id", "trait", "trait name", "event", "too large a number", "too long a number"],
)
def test_bytes_that_are_no_text_or_number_fail_their_lead_only(scorer: Scorer, raw: bytes) -> None:
    body = b'{"leads": [' + raw + b", " + json.dumps(LEAD).encode() + b'], "as_of": "2026-01-09T09:00:00Z"}'
    bad, good = score(scorer, decode(body), NOW)
    assert isinstance(bad, Failed)
    assert good == answer(scorer, LEAD)


@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"\ud800A", r"\udc00\ud800"])
def test_half_a_surrogate_pair_is_refused(escape: str) -> None:
    with pytest.raises(InvalidInput, match=r"body: "):
        decode(f'{{"leads": [{{"user_id": "{escape}"}}]}}'.encode())


def test_an_emoji_written_as_a_pair_is_one_letter(scorer: Scorer) -> None:
    body = b'{"leads": [{"user_id": "\\ud83d\\ude00", "started_at": "2026-01-02T08:15:00Z"}]}'
    (found,) = score(scorer, decode(body), NOW)
    assert isinstance(found, Answer)
    assert found.lead_id == "😀"


@pytest.mark.parametrize("depth", [10, 300, 900, 970, 980, 985, 990, 995, 1000, 1005, 1010, 1100, 5000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_properties_nested_however_deep_are_scored_or_refused(
    scorer: Scorer, depth: int, brackets: tuple[str, str]
) -> None:
    nested = brackets[0] * depth + "1" + brackets[1] * depth
    body = (
        f'{{"leads": [{{"user_id": "u", "started_at": "2026-01-02T08:15:00Z", "events": [{{"event": "limit_reached",'
        f' "timestamp": "2026-01-03T00:00:00Z", "properties": {{"limit": {nested}, "plan": {nested}}}}}]}}]}}'
    )
    outcome = outcome_of(scorer, body.encode())
    if depth < 190:
        assert isinstance(outcome, Answer)
    else:
        assert isinstance(outcome, Failed | InvalidInput)
        assert "nested too deeply" in (outcome.error["message"] if isinstance(outcome, Failed) else str(outcome))


def outcome_of(scorer: Scorer, body: bytes) -> Answer | Failed | InvalidInput:
    """Return what comes of a body with one lead, a refusal of all of it included."""
    try:
        (found,) = score(scorer, decode(body), NOW)
    except InvalidInput as refusal:
        return refusal
    return found


@pytest.mark.parametrize("huge", [2**63, 2**64, -(2**63) - 1, 10**400])
def test_a_number_too_large_for_the_machine_is_not_known(scorer: Scorer, huge: int) -> None:
    found = answer(scorer, lead(traits={"company_size": huge}), reasons=20)
    usual = answer(scorer, lead(traits={}))
    if huge == 10**400:
        assert found.receipt_id == usual.receipt_id
    assert 0 < found.probability < 1
    with_property = with_event(event="file_uploaded", timestamp="2026-01-06T00:00:00Z", properties={"megabytes": huge})
    assert 0 < answer(scorer, with_property, reasons=20).probability < 1


# --- what counts and what does not ------------------------------------------------------------


def same(one: Answer, other: Answer) -> bool:
    return result_body(one) == result_body(other)


def test_the_moment_of_scoring_is_now_where_none_is_given(scorer: Scorer) -> None:
    found = score(scorer, decode(json.dumps({"leads": [LEAD]}).encode()), NOW)
    assert found == [answer(scorer, LEAD)]


def test_a_zone_is_only_another_way_to_write_the_same_moment(scorer: Scorer) -> None:
    moved = lead(started_at="2026-01-02T13:45:00+05:30")
    assert same(answer(scorer, moved, as_of="2026-01-09T04:00:00-05:00"), answer(scorer, LEAD))


def test_an_event_sent_twice_counts_once(scorer: Scorer) -> None:
    twice = lead(events=[*LEAD["events"], *LEAD["events"]])
    assert same(answer(scorer, twice), answer(scorer, LEAD))
    again = with_event(event="task_completed", timestamp="2026-01-07T00:00:00Z", message_id="m-1")
    assert same(answer(scorer, again), answer(scorer, LEAD))


def test_equal_events_with_ids_of_their_own_count_each(scorer: Scorer) -> None:
    event = {"event": "invite_accepted", "timestamp": "2026-01-05T09:05:00Z"}
    one = lead(events=[{**event, "message_id": "a"}])
    two = lead(events=[{**event, "message_id": "a"}, {**event, "message_id": "b"}])
    assert answer(scorer, one).receipt_id != answer(scorer, two).receipt_id


UPLOAD = {"event": "file_uploaded", "timestamp": "2026-01-05T11:00:00Z"}


def test_an_event_without_an_id_that_is_the_same_in_all_it_says_counts_once(rich: Scorer) -> None:
    one = lead(events=[UPLOAD])
    assert same(answer(rich, lead(events=[UPLOAD, UPLOAD, {**UPLOAD, "message_id": " "}])), answer(rich, one))
    for more in ({"properties": {"megabytes": 1}}, {"timestamp": "2026-01-05T11:00:00.000001Z"}, {"message_id": "m"}):
        assert answer(rich, lead(events=[UPLOAD, {**UPLOAD, **more}])).receipt_id != answer(rich, one).receipt_id


def test_of_events_with_one_id_the_earliest_counts(rich: Scorer) -> None:
    early, late = ({**UPLOAD, "timestamp": f"2026-01-0{day}T11:00:00Z", "message_id": "m"} for day in (4, 8))
    for both in ([early, late], [late, early]):
        assert same(answer(rich, lead(events=both)), answer(rich, lead(events=[early])))
    assert not same(answer(rich, lead(events=[late])), answer(rich, lead(events=[early])))


def test_another_users_event_with_the_same_id_is_another_event(rich: Scorer) -> None:
    done = {"event": "task_completed", "timestamp": "2026-01-07T00:00:00Z", "message_id": "m"}
    mates = {**done, "user_id": "u-2"}
    with_id, without = (
        lead(events=[done, mates]),
        lead(events=[{**done, "message_id": None}, {**mates, "message_id": None}]),
    )
    assert same(answer(rich, with_id), answer(rich, without))
    assert answer(rich, with_id).receipt_id != answer(rich, lead(events=[done])).receipt_id


# --- when trials started ----------------------------------------------------------------------


def started(user: str | None, when: str) -> Lead:
    return {"event": "$trial_started", "timestamp": when, **({} if user is None else {"user_id": user})}


def test_a_users_own_start_is_what_started_at_says_however_often_it_is_said(rich: Scorer) -> None:
    own = [started(None, "2026-01-01T00:00:00Z"), started("u-1", LEAD["started_at"])]
    assert same(answer(rich, lead(events=own)), answer(rich, lead(events=[])))


def test_a_teammates_start_is_one_more_in_the_account(rich: Scorer) -> None:
    mate = lead(events=[started("u-2", "2026-01-08T00:00:00Z")])
    assert answer(rich, mate).receipt_id != answer(rich, lead(events=[])).receipt_id
    assert same(answer(rich, lead(events=mate["events"] * 2)), answer(rich, mate))


def test_an_account_whose_events_tell_no_starts_began_once_at_started_at(rich_account: Scorer) -> None:
    silent = lead(user_id="acme", events=[])
    told = lead(user_id="acme", events=[started("u-1", LEAD["started_at"])])
    assert same(answer(rich_account, told), answer(rich_account, silent))


def test_an_accounts_starts_count_once_per_user_and_started_at_not_besides(rich_account: Scorer) -> None:
    later = "2026-01-05T00:00:00Z"

    def begun(*starts: Lead) -> Answer:
        return answer(rich_account, lead(user_id="acme", events=list(starts)))

    both = begun(started("u-1", LEAD["started_at"]), started("u-2", LEAD["started_at"]))
    assert both.receipt_id != begun(started("u-1", LEAD["started_at"])).receipt_id
    assert begun(started("u-1", later)).receipt_id != begun(started("u-1", LEAD["started_at"])).receipt_id
    # Were started_at counted besides, these two would be alike.
    assert (
        begun(started("u-1", later)).receipt_id
        != begun(started("acme", LEAD["started_at"]), started("u-1", later)).receipt_id
    )


# --- accounts as leads ------------------------------------------------------------------------

ACCOUNT: Lead = {
    "account_id": "acme",
    "started_at": LEAD["started_at"],
    "traits": LEAD["traits"],
    "events": [{**event, "user_id": event.get("user_id", "u-1")} for event in LEAD["events"]],
}


def account(**changes: Any) -> Lead:
    return {name: value for name, value in {**copy.deepcopy(ACCOUNT), **changes}.items() if value is not ...}


def test_an_account_is_named_by_its_account_id(rich_account: Scorer) -> None:
    found = answer(rich_account, ACCOUNT)
    assert (found.lead_id, found.account_id) == ("acme", "acme")


def test_an_account_may_still_be_named_by_user_id_where_there_is_no_account_id(rich_account: Scorer) -> None:
    found = answer(rich_account, account(account_id=..., user_id="acme"))
    assert (found.lead_id, found.account_id) == ("acme", None)
    assert found.receipt_id[:NAMED_BY_INPUT] == answer(rich_account, ACCOUNT).receipt_id[:NAMED_BY_INPUT]


def test_of_both_names_the_account_id_is_the_leads_and_the_user_did_what_names_nobody(rich_account: Scorer) -> None:
    nameless = [{name: value for name, value in event.items() if name != "user_id"} for event in LEAD["events"][:4]]
    both = account(user_id="u-1", events=[*nameless, LEAD["events"][4]])
    assert same(answer(rich_account, both), answer(rich_account, ACCOUNT))
    assert answer(rich_account, account(events=[*nameless, {**nameless[0], "user_id": "acme"}])).receipt_id == (
        answer(rich_account, account(events=nameless)).receipt_id
    )


def test_an_account_without_a_name_is_refused(rich_account: Scorer) -> None:
    found = error(rich_account, account(account_id=...))
    assert found["field"] == "leads[0].account_id"
    assert "the leads of this model are accounts" in found["message"]
    assert error(rich_account, account(account_id=" "))["field"] == "leads[0].account_id"


def test_an_account_that_is_there_twice_is_scored_once(rich_account: Scorer) -> None:
    first, second, other = ask(rich_account, ACCOUNT, ACCOUNT, account(account_id="other"))
    assert isinstance(first, Answer)
    assert isinstance(other, Answer)
    assert isinstance(second, Failed)
    assert (second.index, second.lead_id, second.error["code"]) == (1, "acme", "same_account")


def test_an_account_is_found_again_in_another_part_of_the_request(rich_account: Scorer) -> None:
    request = decode(json.dumps({"leads": [ACCOUNT, account(account_id="other"), ACCOUNT], "as_of": AS_OF}).encode())
    found = drained(answering(reading(rich_account, request, NOW), None, 1))
    assert [isinstance(one, Failed) for one in found] == [False, False, True]


def test_a_blank_name_is_refused_even_where_it_names_nothing(rich_account: Scorer) -> None:
    assert error(rich_account, account(user_id=" "))["field"] == "leads[0].user_id"


def test_an_account_that_could_not_be_read_is_not_there_yet(rich_account: Scorer) -> None:
    broken, whole = ask(rich_account, account(started_at="noon"), ACCOUNT)
    assert isinstance(broken, Failed)
    assert isinstance(whole, Answer)


def test_accounts_that_are_excluded_are_so_by_either_name(
    made_scorer: Callable[..., Scorer], rich_account_definition: str
) -> None:
    closed_out = made_scorer(rich_account_definition + "exclude: {accounts: [acme]}", {"source": ["partner"]})
    assert error(closed_out, ACCOUNT)["code"] == "excluded"
    assert error(closed_out, account(account_id=..., user_id="acme"))["code"] == "excluded"
    assert isinstance(answer(closed_out, account(account_id="other")), Answer)


def test_an_account_has_converted_with_its_first_user(rich_account: Scorer) -> None:
    bought = {"event": "subscription_started", "timestamp": "2026-01-08T12:00:00Z", "user_id": "u-2"}
    assert error(rich_account, account(events=[*ACCOUNT["events"], bought]))["code"] == "already_converted"


def test_the_example_of_an_account_is_scored(made_scorer: Callable[..., Scorer]) -> None:
    examples = Path(__file__).parents[2] / "examples"
    model = made_scorer((examples / "accounts.yaml").read_text(encoding="utf-8"), {})
    (found,) = score(model, decode((examples / "account_lead.json").read_bytes()), NOW)
    assert isinstance(found, Answer), found
    assert (found.lead_id, found.account_id) == ("acme", "acme")
    assert found.trial_day == 7.031


# --- what ended before ------------------------------------------------------------------------


def test_a_teammate_who_converted_ends_nobodys_trial_but_its_own(scorer: Scorer) -> None:
    bought = with_event(event="subscription_started", timestamp="2026-01-08T12:00:00Z", user_id="u-2")
    assert isinstance(answer(scorer, bought), Answer)


def test_leads_that_have_converted_are_those_that_files_leave_out(
    scorer: Scorer, demo_world: Demo, history: Dataset, moments: list[int], posted: Callable[..., Lead]
) -> None:
    moment, traits = moments[3], ("company_size", "source", "email")
    begun = [i for i in range(len(history.leads)) if history.leads.started_at[i] <= moment][-250:]
    leads = [posted(demo_world.events, demo_world.trials, history.leads.ids[i], traits) for i in begun]
    found = ask(scorer, *leads, as_of=text_of(moment))
    for i, one in zip(begun, found, strict=True):
        won, closed = history.leads.converted_at[i] < moment, history.leads.closed_at[i] < moment
        expected = "already_converted" if won else "trial_closed" if closed else None
        assert (one.error["code"] if isinstance(one, Failed) else None) == expected
    assert sum(isinstance(one, Failed) for one in found) > 10
    assert {one.error["code"] for one in found if isinstance(one, Failed)} == {"already_converted", "trial_closed"}


# --- what changes nothing ---------------------------------------------------------------------


def test_event_names_that_no_signal_reads_change_nothing(scorer: Scorer) -> None:
    strange = with_event(event="__proto__", timestamp="2026-01-06T00:00:00Z", properties={"plan": "business"})
    assert same(answer(scorer, strange), answer(scorer, LEAD))


@pytest.mark.parametrize("when", ["2026-01-09T09:00:00Z", "2026-01-09T09:00:00.000001Z", "2999-01-01T00:00:00Z"])
def test_events_at_or_after_the_moment_of_scoring_are_not_yet_known(scorer: Scorer, when: str) -> None:
    later = with_event(event="invite_accepted", timestamp=when)
    assert same(answer(scorer, later), answer(scorer, LEAD))
    before = with_event(event="invite_accepted", timestamp="2026-01-09T08:59:59.999999Z")
    assert answer(scorer, before).receipt_id != answer(scorer, LEAD).receipt_id


def test_what_a_teammate_did_is_not_what_the_lead_did(scorer: Scorer) -> None:
    mine = with_event(event="invite_sent", timestamp="2026-01-06T00:00:00Z")
    theirs = with_event(event="invite_sent", timestamp="2026-01-06T00:00:00Z", user_id="u-2")
    named = with_event(event="invite_sent", timestamp="2026-01-06T00:00:00Z", user_id="u-1")
    assert same(answer(scorer, theirs), answer(scorer, LEAD))
    assert same(answer(scorer, named), answer(scorer, mine))
    assert not same(answer(scorer, mine), answer(scorer, LEAD))


def test_a_lead_scored_on_the_moment_its_trial_starts_is_taken(scorer: Scorer) -> None:
    assert 0 < answer(scorer, lead(started_at=AS_OF)).probability < 1


def test_no_reasons_are_worked_out_where_none_are_asked(scorer: Scorer) -> None:
    silent, said = answer(scorer, LEAD, reasons=0), answer(scorer, LEAD)
    assert (silent.reasons, silent.against, silent.missing, silent.playbook) == ([], [], [], None)
    assert silent.probability == said.probability
    assert silent.receipt_id[:NAMED_BY_INPUT] == said.receipt_id[:NAMED_BY_INPUT]
    assert said.reasons


def test_a_request_is_told_why_of_every_lead_however_unlikely(scorer: Scorer, demo_leads: list[Lead]) -> None:
    found = ask(scorer, *demo_leads, as_of=text_of(max(parse_instant(one["started_at"], "") for one in demo_leads)))
    told = [one for one in found if isinstance(one, Answer)]
    cutoff = scorer.artifact.decision.probability  # type: ignore[union-attr]
    unlikely = [one for one in told if one.probability < cutoff / 4 and one.track is None]
    assert any(one.against for one in unlikely)
    assert any(one.missing for one in unlikely)


def test_the_receipt_names_all_that_made_the_score(scorer: Scorer, made_scorer: Callable[..., Scorer]) -> None:
    usual = answer(scorer, LEAD).receipt_id
    assert answer(scorer, lead(user_id="somebody else", account_id=None, events=LEAD["events"][:4])).receipt_id != usual
    assert answer(scorer, LEAD, as_of="2026-01-09T09:00:01Z").receipt_id != usual
    assert answer(scorer, lead(traits={})).receipt_id != usual
    other = made_scorer(scorer.artifact.definition_text, scorer.artifact.levels)
    assert answer(other, LEAD).receipt_id != usual
    assert answer(scorer, LEAD).receipt_id == usual


def test_the_order_of_events_changes_nothing(scorer: Scorer, demo_leads: list[Lead], moments: list[int]) -> None:
    shuffled = copy.deepcopy(demo_leads)
    for one in shuffled:
        random.Random(1).shuffle(one["events"])
    as_of = text_of(moments[2])
    assert ask(scorer, *shuffled, as_of=as_of) == ask(scorer, *demo_leads, as_of=as_of)


def test_a_lead_alone_gets_what_it_gets_among_others(
    scorer: Scorer, demo_leads: list[Lead], moments: list[int]
) -> None:
    as_of = text_of(moments[2])
    together = ask(scorer, *demo_leads, as_of=as_of)
    assert [answer(scorer, one, as_of=as_of) for one in demo_leads] == together
    assert ask(scorer, *reversed(demo_leads), as_of=as_of) == together[::-1]


def test_the_same_lead_twice_in_a_request_gets_the_same_answer_twice(scorer: Scorer) -> None:
    one, two = ask(scorer, LEAD, LEAD)
    assert one == two


def test_an_answer_has_the_fields_that_are_promised(scorer: Scorer) -> None:
    body = json.loads(msgspec.json.encode(result_body(answer(scorer, LEAD))))
    assert set(body) == {
        "lead_id", "account_id", "as_of", "trial_day", "probability", "is_pql", "track", "within", "percentile", "reasons",
        "against", "missing", "playbook", "receipt_id",
    }  # fmt: skip
    assert body["lead_id"] == "u-1"
    assert body["as_of"] == AS_OF
    for said in (body["reasons"], body["against"]):
        assert set(said[0]) == {"signal", "kind", "text", "facts", "contribution", "mention"}
    assert body["reasons"][0]["contribution"] > 0 > body["against"][0]["contribution"]
    assert set(body["playbook"]) == {"id", "title", "message"}


# --- anything at all --------------------------------------------------------------------------

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
anything = st.recursive(
    scalars, lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(st.text(), deeper, max_size=4)
)
PATHS: list[tuple[str | int, ...]] = [
    ("leads",), ("as_of",), ("reasons",), ("else",), ("leads", 0), *[("leads", 0, name) for name in (*LEAD, "else")],
    *[("leads", 0, "traits", name) for name in (*LEAD["traits"], "else")], ("leads", 0, "events", 0),
    *[("leads", 0, "events", 2, name) for name in ("event", "timestamp", "properties", "user_id", "message_id", "else")],
    ("leads", 0, "events", 2, "properties", "megabytes"), ("leads", 0, "events", 3, "properties", "plan"),
]  # fmt: skip


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    """Return a good request of two leads with one or two places of the first replaced by anything at all."""
    body: Any = {"leads": [copy.deepcopy(LEAD), lead(user_id="other")], "as_of": AS_OF, "reasons": 20}
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(PATHS))
        try:
            place = body
            for step in way:
                place = place[step]
            place[last] = draw(anything | st.sampled_from([AS_OF, "1000-01-01T00:00:00Z", "2999-12-31T23:59:59-23:59"]))
        except (KeyError, IndexError, TypeError):
            pass  # the place is gone already
    return json.dumps(body).encode()


def answered(scorer: Scorer, body: bytes) -> None:
    """Score a body; nothing but an InvalidInput may come of one that is wrong."""
    for told in told_of(scorer, body):
        assert told["error"]["message"] if "error" in told else 0 < told["probability"] < 1


def told_of(scorer: Scorer, body: bytes) -> list[dict[str, Any]]:
    try:
        found = score(scorer, decode(body), NOW)
    except InvalidInput as refusal:
        return [{"error": error_body(refusal)}]
    return [json.loads(msgspec.json.encode(result_body(one))) for one in found]


@settings(max_examples=300)
@given(nearly_right())
def test_a_request_that_is_nearly_right_is_scored_or_refused(scorer: Scorer, body: bytes) -> None:
    answered(scorer, body)


@settings(max_examples=100)
@given(anything)
def test_any_json_is_scored_or_refused(scorer: Scorer, body: object) -> None:
    answered(scorer, json.dumps(body).encode())
    answered(scorer, json.dumps({"leads": [body]}).encode())


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60), st.integers(0, 600), st.booleans())
def test_any_bytes_are_scored_or_refused(scorer: Scorer, noise: bytes, place: int, put_in: bool) -> None:
    answered(scorer, noise)
    body = json.dumps({"leads": [LEAD]}).encode()
    answered(scorer, body[:place] + noise + body[place if put_in else place + len(noise) :])

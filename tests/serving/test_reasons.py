"""What is said of a lead can be counted in the events that were sent."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from features.dataset import Dataset
from features.definition import Definition, Signal, Window
from features.domains import FREE_MAIL, domain_of
from features.durations import DAY
from features.leads import open_leads
from features.times import micros, text_of
from serving.requests import decode, score
from serving.scoring.answers import NAMED_BY_INPUT, Answer
from serving.scoring.comparisons import AT_LEAST_HALF, NOTABLE
from serving.scoring.facts import leading_measure
from serving.scoring.reasons import COMMON_AMONG_CONVERTERS, LEAST_PULL, Missing, Reason
from serving.scoring.scorer import Scorer
from training.demo import Demo

Lead = dict[str, Any]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


# --- an oracle in plain Python ----------------------------------------------------------------


def instant(text: str) -> int:
    return micros(datetime.fromisoformat(text))


def length_of(window: Window, lead: Lead, as_of: int) -> int:
    return as_of - instant(lead["started_at"]) if window.length is None else window.length


def matching(signal: Signal, lead: Lead) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (time, who, properties) of each event of a signal, an event that was sent twice once."""
    told = {(event.get("user_id"), event.get("message_id") or json.dumps(event)): event for event in lead["events"]}
    own = {"event": "$trial_started", "timestamp": lead["started_at"]}
    found = []
    for event in (*told.values(), own):
        who, properties = event.get("user_id") or lead["user_id"], event.get("properties") or {}
        wanted = [match for match in signal.events if match.event == event["event"]]
        fits = any(all(properties.get(name) in values for name, values in one.where.items()) for one in wanted)
        if fits and (signal.scope == "account" or who == lead["user_id"]):
            found.append((instant(event["timestamp"]), who, properties))
    return found


def happenings(signal: Signal, lead: Lead, as_of: int) -> list[tuple[int, str, str]]:
    """Return what can be told apart of each event before as_of that a signal reads."""
    return [(time, who, repr(rest)) for time, who, rest in matching(signal, lead) if time < as_of]


Aged = list[tuple[int, str, dict[str, Any]]]
"""Events by age, who did them, and their properties."""


def recount_of_days(inside: Aged, signal: Signal, lead: Lead) -> dict[str, float]:
    days = {(age - 1) // DAY for age, _, _ in inside}
    runs = [next(n for n in range(1, len(days) + 2) if day + n not in days) for day in days]
    start = instant(lead["started_at"])
    since = sorted(time for time, _, _ in matching(signal, lead) if time >= start)
    facts: dict[str, float] = {"streak": max(runs, default=0), "per_active_day": len(inside) / max(1, len(days))}
    if len(since) >= 2:
        facts["days_to_reach_2"] = (since[1] - start) / DAY
    sizes = [one["megabytes"] for _, _, one in inside if "megabytes" in one]
    return facts | ({"mean_megabytes": sum(sizes) / len(sizes)} if sizes else {})


def recount_of_people(ages: Aged, length: int, lead: Lead) -> dict[str, float]:
    times = Counter(who for age, who, _ in ages if age <= length)
    now, before = len(times), len({who for age, who, _ in ages if length < age <= 2 * length})
    mine = times[lead["user_id"]]
    facts = {"user_growth": (now - before) / max(1, now + before), "lead_share": mine / max(1, times.total())}
    return facts | ({"lead_rank": 1 + sum(n > mine for n in times.values())} if mine else {})


def recount(signal: Signal, definition: Definition, lead: Lead, as_of: int, window: Window) -> dict[str, float]:
    """Return every fact of a signal in a window, counted one by one."""
    windows = definition.windows_of(signal)
    ages = [(as_of - time, who, properties) for time, who, properties in matching(signal, lead) if time < as_of]
    length = length_of(window, lead, as_of)
    inside = [one for one in ages if one[0] <= length]
    within_any = [one[0] for one in ages if one[0] <= max(length_of(each, lead, as_of) for each in windows)]
    both = sum(one[0] <= 2 * length for one in ages)
    facts: dict[str, float] = {
        "count": len(inside),
        "active_days": len({(age - 1) // DAY for age, _, _ in inside}),
        "distinct_user": len({who for _, who, _ in inside}),
        "sum_megabytes": sum(one.get("megabytes", 0) for _, _, one in inside),
        "reached_2": float(len(inside) >= 2),
        "trend": (2 * len(inside) - both) / both if both else 0.0,
    }
    for name in ("limit", "plan"):
        facts[f"distinct_{name}"] = len({one[name] for _, _, one in inside if name in one})
    facts |= recount_of_days(inside, signal, lead) | recount_of_people(ages, length, lead)
    everything = {
        one for each in definition.signals if each.scope == signal.scope for one in happenings(each, lead, as_of)
    }
    facts["share"] = len(inside) / max(1, sum(as_of - one[0] <= length for one in everything))
    if within_any:
        facts |= {"days_since_last": min(within_any) / DAY, "days_since_first": max(within_any) / DAY}
    return facts


# --- leads of the demo product, sent as a caller would send them ------------------------------


@pytest.fixture(scope="module", params=["trained", "made"])
def explained(
    request: pytest.FixtureRequest, demo_world: Demo, history: Dataset, moments: list[int], rich_definition: str,
    made_scorer: Callable[..., Scorer], posted: Callable[..., Lead],
) -> list[tuple[Scorer, Lead, Answer]]:  # fmt: skip
    """Many leads at several moments: what was sent, and everything that can be said of them."""
    if request.param == "trained":
        scorer: Scorer = request.getfixturevalue("scorer")
    else:
        scorer = made_scorer(rich_definition, {"source": ["partner", "referral"]}, seed=17)
    found = []
    for moment in moments[1::2]:
        which = open_leads(history.leads, moment)[::3][:30]
        traits = [trait.name for trait in scorer.builder.definition.traits]
        leads = [posted(demo_world.events, demo_world.trials, history.leads.ids[place], traits) for place in which]
        body = json.dumps({"leads": leads, "as_of": text_of(moment), "reasons": 20}).encode()
        for lead, answer in zip(leads, score(scorer, decode(body), 0), strict=True):
            assert isinstance(answer, Answer)
            found.append((scorer, lead, answer))
    return found


Explained = list[tuple[Scorer, Lead, Answer]]


COMPARED = ("more_than_percent", "fewer_than_percent", "day")


def said(explained: Explained) -> Iterator[tuple[Scorer, Lead, Answer, Signal, Reason]]:
    """Yield every reason either way that is about a signal."""
    for scorer, lead, answer in explained:
        for reason in [*answer.reasons, *answer.against]:
            signal = scorer.builder.definition.signal_of.get(reason.signal)
            if signal is not None:
                yield scorer, lead, answer, signal, reason


def everything(answer: Answer) -> list[Reason | Missing]:
    return [*answer.reasons, *answer.against, *answer.missing]


def is_never_yet(signal: Signal, reason: Reason) -> bool:
    return reason.text == f"has not {signal.missing}"


def stated_window(definition: Definition, signal: Signal, reason: Reason) -> Window:
    (window,) = [one for one in definition.windows_of(signal) if one.words == reason.facts["window"]]
    return window


def age_of(lead: Lead, answer: Answer) -> float:
    return (answer.as_of - instant(lead["started_at"])) / DAY


def counted(scorer: Scorer, lead: Lead, answer: Answer, signal: Signal, reason: Reason) -> dict[str, float]:
    definition = scorer.builder.definition
    return recount(signal, definition, lead, answer.as_of, stated_window(definition, signal, reason))


def test_there_is_much_to_check(explained: Explained) -> None:
    for told in ([one.reasons for *_, one in explained], [one.against for *_, one in explained]):
        assert sum(map(len, told)) > 60
        assert len({reason.signal for some in told for reason in some}) >= 5
    reasons = [reason for *_, reason in said(explained)]
    assert sum("more_than_percent" in reason.facts for reason in reasons) > 10
    assert sum("fewer_than_percent" in reason.facts for reason in reasons) > 5
    assert sum(len(answer.missing) for _, _, answer in explained) > 20


def test_every_fact_equals_a_recount_of_the_events_in_the_stated_window(explained: Explained) -> None:
    for scorer, lead, answer, signal, reason in said(explained):
        expected = counted(scorer, lead, answer, signal, reason)
        facts = {name: value for name, value in reason.facts.items() if name not in ("window", *COMPARED)}
        assert facts == pytest.approx({name: expected[name] for name in facts}, abs=1e-9), (reason, lead["user_id"])


def test_a_comparison_is_the_share_that_is_known_of_the_last_age_rounded_down(explained: Explained) -> None:
    for scorer, lead, answer, signal, reason in said(explained):
        if not set(COMPARED) & set(reason.facts):
            continue
        leading = leading_measure(signal)
        assert leading is not None
        window = stated_window(scorer.builder.definition, signal, reason)
        column, age = f"{signal.name}_{leading}_{window.name}", age_of(lead, answer)
        value = counted(scorer, lead, answer, signal, reason)[leading]
        ages = scorer.artifact.reference.ages
        day = max((one for one in ages if one <= age), default=ages[0])
        spread = scorer.artifact.reference.usual[column]
        place = scorer.artifact.reference.ages.index(day)
        pairs = list(zip(spread.values[place], spread.up_to[place], strict=True))
        less = max((share for one, share in pairs if one < value), default=0.0)
        more = max((1 - share for one, share in pairs if one >= value), default=0.0)
        assert reason.facts["day"] == day
        if "more_than_percent" in reason.facts:
            assert less >= NOTABLE
            assert reason.facts["more_than_percent"] == min(99, int(100 * less + 1e-9))
        else:
            assert more >= AT_LEAST_HALF
            assert reason.facts["fewer_than_percent"] == min(99, int(100 * more + 1e-9))
        assert reason.facts[leading] == pytest.approx(value)


def test_every_number_in_a_text_is_one_of_its_facts(explained: Explained) -> None:
    for _, _, answer in explained:
        for reason in everything(answer):
            allowed = {number for fact in reason.facts.values() for number in spellings(fact)}
            days = reason.facts.get("days_since_last")
            if days is not None:
                allowed |= set(NUMBER.findall(ago(float(days))))
            if isinstance(reason.facts.get("converters_in_10"), int):
                allowed.add("10")
            mention = getattr(reason, "mention", None) or ""
            assert set(NUMBER.findall(reason.text)) | set(NUMBER.findall(mention)) <= allowed, reason


def test_every_number_in_a_playbook_is_a_fact_of_a_leading_reason_or_the_days_that_are_left(
    explained: Explained,
) -> None:
    found = 0
    for _, lead, answer in explained:
        if answer.playbook is not None:
            left = (instant(lead["started_at"]) + 14 * DAY - answer.as_of) / DAY
            allowed = {number for one in answer.reasons for fact in one.facts.values() for number in spellings(fact)}
            allowed |= {str(max(1, round(left)))} if "day" in answer.playbook.message else set()
            assert set(NUMBER.findall(answer.playbook.message)) <= allowed
            found += 1
    assert found > 20


def ago(days: float) -> str:
    whole = int(days)
    return "less than a day ago" if whole == 0 else "1 day ago" if whole == 1 else f"{whole:,} days ago"


def spellings(fact: object) -> set[str]:
    if isinstance(fact, str):
        return set(NUMBER.findall(fact))
    assert isinstance(fact, int | float)
    shown = max(0.1, round(abs(float(fact)), 1)) if fact else 0.0
    return {f"{shown:,.0f}"} if shown.is_integer() or shown >= 100 else {f"{shown:,.1f}"}


def test_every_text_is_its_template_with_the_facts_put_in(explained: Explained) -> None:
    for _, _, _, signal, reason in said(explained):
        if is_never_yet(signal, reason):
            assert reason.facts["count"] == 0
            continue
        filled = put_in(signal.text.source, reason)
        facts = reason.facts
        if "more_than_percent" in facts:
            more = f"more than {facts['more_than_percent']}% of trials at day {facts['day']}"
        elif "fewer_than_percent" in facts:
            more = f"fewer than {facts['fewer_than_percent']}% of trials at day {facts['day']}"
        else:
            more = ""
        expected = filled if not more else f"{filled} ({more})" if ", " in filled else f"{filled}, {more}"
        assert reason.text == expected


def put_in(template: str, reason: Reason) -> str:
    """Return a sentence with its facts, written as a person would do it."""
    facts = {name: max(spellings(value), default="") for name, value in reason.facts.items() if name != "window"}
    facts |= {"window": str(reason.facts["window"])}
    if "days_since_last" in reason.facts:
        facts["last"] = ago(float(reason.facts["days_since_last"]))

    def say(match: re.Match[str]) -> str:
        name, one, many = match["name"], match["one"], match["many"]
        if one is None:
            return facts[name]
        if one == "once" and facts[name] in ("1", "2"):
            return {"1": "once", "2": "twice"}[facts[name]]
        return f"1 {one}" if facts[name] == "1" else f"{facts[name]} {many}"

    return re.sub(r"\{(?P<name>\w+)(?::(?P<one>[^|}]*)\|(?P<many>[^}]*))?\}", say, template)


def test_a_behaviour_that_did_not_happen_is_said_as_never_done_and_in_no_other_way(explained: Explained) -> None:
    never = 0
    for scorer, lead, answer, signal, reason in said(explained):
        definition = scorer.builder.definition
        if is_never_yet(signal, reason):
            assert recount(signal, definition, lead, answer.as_of, Window(length=None))["count"] == 0
            assert reason.contribution < 0
            never += 1
        else:
            assert counted(scorer, lead, answer, signal, reason)["count"] > 0
            assert not re.search(r"(?<![\d,.])0(?![\d,.])", reason.text), reason.text
    assert never > 3


def test_a_mention_is_the_signals_own_and_only_of_what_speaks_for_the_lead(explained: Explained) -> None:
    told = [(signal, reason) for *_, signal, reason in said(explained)]
    for signal, reason in told:
        if reason.contribution < 0 or signal.mention is None or "fewer_than_percent" in reason.facts:
            assert reason.mention is None
        else:
            assert reason.mention == put_in(signal.mention.source, reason)
    if any(signal.mention for signal, _ in told):
        assert any(reason.mention for _, reason in told)


# --- direction --------------------------------------------------------------------------------


def test_more_of_a_good_behaviour_speaks_for_a_lead_only_where_at_least_half_had_less(explained: Explained) -> None:
    compared = 0
    for scorer, lead, answer, signal, reason in said(explained):
        leading = leading_measure(signal)
        if signal.sign > 0 and reason.contribution > 0 and leading:
            window = stated_window(scorer.builder.definition, signal, reason)
            value = counted(scorer, lead, answer, signal, reason)[leading]
            known = scorer.artifact.reference.share_below(
                f"{signal.name}_{leading}_{window.name}", age_of(lead, answer), value
            )
            assert known is None or known.share >= AT_LEAST_HALF
            compared += known is not None
    assert compared > 20


def test_a_good_behaviour_speaks_against_a_lead_only_where_it_was_never_done_or_at_least_half_did_more(
    explained: Explained,
) -> None:
    compared = 0
    for scorer, lead, answer, signal, reason in said(explained):
        if signal.sign > 0 and reason.contribution < 0 and not is_never_yet(signal, reason):
            leading, window = leading_measure(signal), stated_window(scorer.builder.definition, signal, reason)
            assert leading is not None
            lengths = [one.length or np.inf for one in scorer.builder.definition.windows_of(signal)]
            assert (window.length or np.inf) == max(lengths)
            value = counted(scorer, lead, answer, signal, reason)[leading]
            known = scorer.artifact.reference.share_above(
                f"{signal.name}_{leading}_{window.name}", age_of(lead, answer), value
            )
            assert known is not None
            assert known.share >= AT_LEAST_HALF
            compared += 1
    assert compared > 5


def test_a_bad_behaviour_never_speaks_for_a_lead(explained: Explained) -> None:
    assert not [reason for *_, signal, reason in said(explained) if signal.sign < 0 and reason.contribution > 0]


def test_a_business_address_never_speaks_against_a_lead_and_free_mail_never_for_it(explained: Explained) -> None:
    for _, lead, answer in explained:
        free = domain_of(lead["traits"]["email"]) in FREE_MAIL
        assert not (free and "email" in {one.signal for one in answer.reasons})
        assert not (not free and "email" in {one.signal for one in answer.against})


def test_only_speakable_signals_and_traits_are_said(explained: Explained) -> None:
    for scorer, _, answer in explained:
        definition = scorer.builder.definition
        for one in everything(answer):
            owner = definition.signal_of.get(one.signal) or definition.trait_of[one.signal]
            assert owner.speakable


def test_reasons_are_the_strongest_first_each_way_and_each_signal_is_said_once(explained: Explained) -> None:
    for scorer, _, answer in explained:
        for way, told in ((1, answer.reasons), (-1, answer.against)):
            order = [(scorer.artifact.reference.shows(one.signal), way * one.contribution) for one in told]
            assert order == sorted(order, reverse=True)
            assert all(one > LEAST_PULL for _, one in order)
        named = [one.signal for one in (*answer.reasons, *answer.against)]
        assert len(set(named)) == len(named)


def test_a_contribution_is_the_sum_over_all_columns_of_its_signal_beyond_a_typical_trial(
    explained: Explained, history: Dataset
) -> None:
    scorer = explained[0][0]
    data, reference = history.under(scorer.builder.definition), scorer.artifact.reference
    for _, lead, answer in explained[::7]:
        place = np.array([data.leads.ids.index(lead["user_id"])])
        row = data.rows(scorer.builder, place, np.array([answer.as_of]))
        pulls = scorer.contributions(row)[0]
        typical = reference.typical[max(0, sum(one <= age_of(lead, answer) for one in reference.ages) - 1)]
        for reason in [*answer.reasons, *answer.against]:
            mine = [
                pull - usual
                for pull, usual, column in zip(pulls, typical, scorer.builder.columns, strict=False)
                if column.owner == reason.signal
            ]
            assert reason.contribution == pytest.approx(sum(mine), abs=1e-9)


def test_what_is_missing_was_not_done_and_most_converters_had_done_it(explained: Explained) -> None:
    for scorer, lead, answer in explained:
        definition, reference = scorer.builder.definition, scorer.artifact.reference
        age = age_of(lead, answer)
        shares = []
        for one in answer.missing:
            signal = definition.signal_of[one.signal]
            known = reference.share_of_converters(one.signal, age)
            assert known is not None
            assert recount(signal, definition, lead, answer.as_of, Window(length=None))["count"] == 0
            assert known.share >= COMMON_AMONG_CONVERTERS
            assert one.facts["share"] == known.share
            assert one.facts["day"] == known.age <= age
            tenths = one.facts["converters_in_10"]
            assert isinstance(tenths, int)
            assert tenths <= 10 * known.share + 1e-9
            assert one.text == f"has not {signal.missing}; {tenths} in 10 converters had by day {known.age:g}"
            shares.append(known.share)
        assert shares == sorted(shares, reverse=True)


def test_what_most_converters_did_and_this_lead_did_not_is_always_missing(explained: Explained) -> None:
    for scorer, lead, answer in explained:
        definition, reference = scorer.builder.definition, scorer.artifact.reference
        expected = set()
        for signal in definition.signals:
            known = reference.share_of_converters(signal.name, age_of(lead, answer))
            undone = recount(signal, definition, lead, answer.as_of, Window(length=None))["count"] == 0
            if signal.missing and signal.speakable and undone and known and known.share >= COMMON_AMONG_CONVERTERS:
                expected.add(signal.name)
        assert {one.signal for one in answer.missing} == expected


@pytest.mark.parametrize("most", [0, 1, 2, 5, 20])
def test_fewer_reasons_are_the_strongest_of_the_many(explained: Explained, most: int) -> None:
    for scorer, lead, answer in explained[::15]:
        body = json.dumps({"leads": [lead], "as_of": text_of(answer.as_of), "reasons": most}).encode()
        (fewer,) = score(scorer, decode(body), 0)
        assert isinstance(fewer, Answer)
        assert fewer.reasons == answer.reasons[:most]
        assert fewer.missing == answer.missing[:most]
        # What is missing is not said against a lead as well, but what there is no more room for there is.
        hidden = {one.signal for one in answer.missing[most:]}
        shared = [one for one in fewer.against if one.signal not in hidden]
        assert shared == answer.against[: len(shared)]
        assert fewer.probability == answer.probability
        assert fewer.receipt_id[:NAMED_BY_INPUT] == answer.receipt_id[:NAMED_BY_INPUT]

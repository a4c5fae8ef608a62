"""What is said of a lead can be counted in the events that were sent."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import Dataset
from features.definition import Definition, Signal, Window, parse
from features.durations import DAY
from features.leads import open_leads
from features.matrix import FeatureBuilder
from features.times import micros, text_of
from features.windows import Floats
from serving.requests import decode, result_body, score
from serving.scoring.answers import Answer
from serving.scoring.reasons import COMMON_AMONG_CONVERTERS, LEAST_SHARE, Explainer, Reason, ago
from serving.scoring.reference import Reference
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


def said(explained: Explained) -> Iterator[tuple[Scorer, Lead, Answer, Signal, Reason]]:
    """Yield every reason that is about a signal."""
    for scorer, lead, answer in explained:
        for reason in answer.reasons:
            signal = scorer.builder.definition.signal_of.get(reason.signal)
            if signal is not None:
                yield scorer, lead, answer, signal, reason


def stated_window(definition: Definition, signal: Signal, reason: Reason) -> Window:
    (window,) = [one for one in definition.windows_of(signal) if one.words == reason.facts["window"]]
    return window


def test_there_is_much_to_check(explained: Explained) -> None:
    reasons = list(said(explained))
    assert len(reasons) > 60
    assert len({reason.signal for *_, reason in reasons}) >= 6
    assert sum(len(answer.missing) for _, _, answer in explained) > 20


def test_every_fact_equals_a_recount_of_the_events_in_the_stated_window(explained: Explained) -> None:
    for scorer, lead, answer, signal, reason in said(explained):
        definition = scorer.builder.definition
        counted = recount(signal, definition, lead, answer.as_of, stated_window(definition, signal, reason))
        facts = {name: value for name, value in reason.facts.items() if name != "window"}
        assert facts == pytest.approx({name: counted[name] for name in facts}, abs=1e-9), (reason, lead["user_id"])


def test_every_number_in_a_text_is_one_of_its_facts(explained: Explained) -> None:
    for _, _, answer in explained:
        for reason in answer.reasons:
            allowed = {number for fact in reason.facts.values() for number in spellings(fact)}
            days = reason.facts.get("days_since_last")
            if days is not None:
                allowed |= set(NUMBER.findall(ago(float(days))))
            assert set(NUMBER.findall(reason.text)) <= allowed, reason


def spellings(fact: object) -> set[str]:
    if isinstance(fact, str):
        return set(NUMBER.findall(fact))
    assert isinstance(fact, int | float)
    return {f"{fact:,.0f}"} if float(fact).is_integer() or fact >= 100 else {f"{fact:,.1f}"}


def test_every_text_is_its_template_with_the_facts_put_in(explained: Explained) -> None:
    for _, _, _, signal, reason in said(explained):
        facts = {name: max(spellings(value), default="") for name, value in reason.facts.items() if name != "window"}
        facts |= {"window": str(reason.facts["window"])}
        if "days_since_last" in reason.facts:
            facts["last"] = ago(float(reason.facts["days_since_last"]))

        def put_in(match: re.Match[str], facts: Mapping[str, str] = facts) -> str:
            name, one, many = match["name"], match["one"], match["many"]
            if one is None:
                return facts[name]
            alone = "once" if one == "once" else f"1 {one}"
            return alone if facts[name] == "1" else f"{facts[name]} {many}"

        template = r"\{(?P<name>\w+)(?::(?P<one>[^|}]*)\|(?P<many>[^}]*))?\}"
        assert re.sub(template, put_in, signal.text.source) == reason.text


def test_a_behaviour_that_did_not_happen_is_never_a_reason(explained: Explained) -> None:
    for scorer, lead, answer, signal, reason in said(explained):
        definition = scorer.builder.definition
        window = stated_window(definition, signal, reason)
        assert recount(signal, definition, lead, answer.as_of, window)["count"] > 0
        assert not re.search(r"(?<![\d,.])0(?![\d,.])", reason.text), reason.text


def test_only_speakable_signals_and_traits_are_said(explained: Explained) -> None:
    for scorer, _, answer in explained:
        definition = scorer.builder.definition
        for name in [one.signal for one in answer.reasons] + [one.signal for one in answer.missing]:
            owner = definition.signal_of.get(name) or definition.trait_of[name]
            assert owner.speakable


def test_contributions_are_positive_and_descending_and_each_signal_is_said_once(explained: Explained) -> None:
    for _, _, answer in explained:
        contributions = [reason.contribution for reason in answer.reasons]
        assert contributions == sorted(contributions, reverse=True)
        assert all(contribution > 0 for contribution in contributions)
        assert len({reason.signal for reason in answer.reasons}) == len(answer.reasons)


def test_a_contribution_is_the_sum_over_all_columns_of_its_signal(explained: Explained, history: Dataset) -> None:
    scorer = explained[0][0]
    data = history.under(scorer.builder.definition)
    for _, lead, answer in explained[::7]:
        place = np.array([data.leads.ids.index(lead["user_id"])])
        row = data.rows(scorer.builder, place, np.array([answer.as_of]))
        pulls = scorer.contributions(row)[0]
        for reason in answer.reasons:
            mine = [
                pull
                for pull, column in zip(pulls, scorer.builder.columns, strict=False)
                if column.owner == reason.signal
            ]
            assert reason.contribution == pytest.approx(sum(mine), abs=1e-9)


def test_what_is_missing_was_not_done_and_most_converters_had_done_it(explained: Explained) -> None:
    for scorer, lead, answer in explained:
        definition, reference = scorer.builder.definition, scorer.artifact.reference
        age = (answer.as_of - instant(lead["started_at"])) / DAY
        shares = []
        for one in answer.missing:
            signal = definition.signal_of[one.signal]
            known = reference.share_of_converters(one.signal, age)
            assert known is not None
            assert recount(signal, definition, lead, answer.as_of, Window(length=None))["count"] == 0
            assert known[1] >= COMMON_AMONG_CONVERTERS
            assert one.facts["share"] == known[1]
            assert one.facts["day"] == known[0] <= age
            tenths = min(9, round(10 * known[1]))
            assert one.text == f"has not {signal.missing}; {tenths} in 10 converters had by day {known[0]:g}"
            shares.append(known[1])
        assert shares == sorted(shares, reverse=True)


def test_what_most_converters_did_and_this_lead_did_not_is_always_missing(explained: Explained) -> None:
    for scorer, lead, answer in explained:
        definition, reference = scorer.builder.definition, scorer.artifact.reference
        age = (answer.as_of - instant(lead["started_at"])) / DAY
        expected = set()
        for signal in definition.signals:
            known = reference.share_of_converters(signal.name, age)
            undone = recount(signal, definition, lead, answer.as_of, Window(length=None))["count"] == 0
            if signal.missing and signal.speakable and undone and known and known[1] >= COMMON_AMONG_CONVERTERS:
                expected.add(signal.name)
        assert {one.signal for one in answer.missing} == expected


@pytest.mark.parametrize("most", [0, 1, 2, 5, 20])
def test_fewer_reasons_are_the_strongest_of_the_many(explained: Explained, most: int) -> None:
    for scorer, lead, answer in explained[::15]:
        body = json.dumps({"leads": [lead], "as_of": text_of(answer.as_of), "reasons": most}).encode()
        (fewer,) = score(scorer, decode(body), 0)
        assert isinstance(fewer, Answer)
        assert fewer.reasons == answer.reasons[:most]
        assert fewer.probability == answer.probability
        assert fewer.receipt_id == answer.receipt_id


# --- single rules, on rows made by hand -------------------------------------------------------

SMALL = """
product: Tiny
conversion: {event: paid, horizon: 30d}
score_at: [3d]
windows: [1d, 7d, trial]
signals:
  - name: invites
    kind: team_growth
    events: [invite]
    measures: [count, active_days, days_since_last]
    text: "sent {count:invite|invites} {window}, last {last}"
    missing: invited anybody
  - {name: views, kind: value, events: [view], measures: [count], text: "{count:view|views} {window}"}
  - {name: recent, kind: value, events: [late], measures: [count], windows: [2d], text: "{count:x|xs}", missing: been late}
  - {name: hushed, kind: friction, events: [hush], measures: [count], text: "{count:hush|hushes}", speakable: false}
traits:
  - {name: seats, type: number, speakable: true, text: "has {value} seats"}
  - {name: admin, type: flag, speakable: true, text: "is an admin"}
  - {name: email, type: email_domain, speakable: true, text: "works at {value}"}
  - {name: plan, type: category, speakable: true, text: "is on {value}"}
  - {name: secret, type: number, text: "never said {value}"}
cutoff: {policy: precision, at_least: 0.3}
"""
BUILDER = FeatureBuilder(parse(SMALL), {"plan": ("free", "team")})
PLACES = {column.name: place for place, column in enumerate(BUILDER.columns)}
REFERENCE = Reference(
    np.array([0.5]),
    (1.0, 3.0),
    {"invites": (0.2, 0.75), "recent": (0.8, 0.9), "views": (0.9, 0.9), "hushed": (1.0, 1.0)},
)
EXPLAINER = Explainer(BUILDER, REFERENCE)


def row(**values: float) -> Floats:
    """Return a row of zeros, nothing ever having happened, with these columns set."""
    found = np.zeros(len(PLACES))
    found[PLACES["invites_days_since_last"]] = np.nan
    for name, value in values.items():
        found[PLACES[name]] = value
    return found


def pulls(**values: float) -> Floats:
    found = np.zeros(len(PLACES))
    for name, value in values.items():
        found[PLACES[name]] = value
    return found


def reasons(
    row: Floats, contributions: Floats, traits: Mapping[str, object] | None = None, most: int = 9
) -> list[Reason]:
    return EXPLAINER.reasons(row, contributions, traits or {}, most)


def test_one_is_said_in_the_singular_and_more_in_the_plural() -> None:
    texts = [
        reasons(row(views_count_7d=count, views_count_trial=count), pulls(views_count_7d=1.0))[0].text
        for count in (1, 2, 1204)
    ]
    assert texts == ["1 view in the last 7 days", "2 views in the last 7 days", "1,204 views in the last 7 days"]


def test_the_windows_of_a_signal_add_up_to_one_reason() -> None:
    done = row(views_count_1d=1, views_count_7d=2, views_count_trial=3)
    (reason,) = reasons(done, pulls(views_count_1d=0.5, views_count_7d=0.75, views_count_trial=-0.25))
    assert reason.contribution == pytest.approx(1.0)
    assert reason.text == "2 views in the last 7 days"
    assert reason.facts == {"window": "in the last 7 days", "count": 2}
    assert isinstance(reason.facts["count"], int)


def test_of_equal_windows_the_narrowest_is_said() -> None:
    done = row(views_count_1d=2, views_count_7d=2, views_count_trial=2)
    assert reasons(done, pulls(views_count_trial=1.0))[0].text == "2 views in the last day"


def test_a_signal_that_pulls_down_in_all_is_no_reason() -> None:
    done = row(views_count_1d=1, views_count_7d=1, views_count_trial=1)
    assert reasons(done, pulls(views_count_1d=0.5, views_count_7d=-0.6)) == []


def test_a_signal_that_pulls_up_because_it_did_not_happen_is_no_reason() -> None:
    assert reasons(row(), pulls(views_count_7d=5.0, invites_count_1d=3.0, trial_age_days=9.0)) == []


def test_how_long_ago_is_said_in_whole_days_with_the_exact_fact_beside_it() -> None:
    done = row(invites_count_7d=3, invites_count_trial=3, invites_active_days_7d=2, invites_days_since_last=1.9)
    (reason,) = reasons(done, pulls(invites_count_7d=1.0))
    assert reason.text == "sent 3 invites in the last 7 days, last 1 day ago"
    assert reason.facts == {"window": "in the last 7 days", "count": 3, "active_days": 2, "days_since_last": 1.9}


@given(st.floats(0, 4000))
def test_a_span_in_words_is_the_number_of_whole_days_in_it(days: float) -> None:
    words = ago(days)
    told = NUMBER.search(words)
    assert (int(told[0]) <= days < int(told[0]) + 1) if told else (words == "less than a day ago" and days < 1)


def test_a_reason_needs_its_share_of_all_that_speaks_for_the_lead() -> None:
    done = row(views_count_trial=1, invites_count_trial=1, invites_days_since_last=0.5)
    least = LEAST_SHARE / (1 - LEAST_SHARE)
    enough = reasons(done, pulls(views_count_trial=least * 1.01, invites_count_trial=1.0))
    assert [reason.signal for reason in enough] == ["invites", "views"]
    noise = reasons(done, pulls(views_count_trial=least * 0.99, invites_count_trial=1.0))
    assert [reason.signal for reason in noise] == ["invites"]


def test_equal_reasons_come_in_the_order_of_the_alphabet() -> None:
    done = row(views_count_trial=1, invites_count_trial=1, invites_days_since_last=0.5)
    found = reasons(done, pulls(views_count_trial=1.0, invites_count_trial=1.0))
    assert [reason.signal for reason in found] == ["invites", "views"]


def test_not_more_reasons_than_asked_and_the_silent_ones_take_no_place() -> None:
    done = row(views_count_trial=1, invites_count_trial=1, invites_days_since_last=0.5, hushed_count_trial=4)
    contributions = pulls(hushed_count_trial=9.0, views_count_trial=1.0, invites_count_trial=2.0)
    assert [reason.signal for reason in reasons(done, contributions, most=1)] == ["invites"]
    assert [reason.signal for reason in reasons(done, contributions, most=2)] == ["invites", "views"]
    assert reasons(done, contributions, most=0) == []


@pytest.mark.parametrize(
    ("column", "number", "trait", "value", "text", "fact"),
    [
        ("seats", 40.0, "seats", 40, "has 40 seats", 40),
        ("seats", 40.0, "seats", " 40 ", "has 40 seats", 40),
        ("seats", 2.5, "seats", "2.5", "has 2.5 seats", 2.5),
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


@pytest.mark.parametrize(
    ("column", "number", "trait", "value"),
    [
        ("seats", np.nan, "seats", "many"),
        ("seats", np.nan, "seats", "<script>alert(1)</script>"),
        ("seats", np.nan, "seats", int("9" * 400)),
        ("seats", np.nan, "seats", None),
        ("admin", 0.0, "admin", False),
        ("admin", np.nan, "admin", "maybe"),
        ("email_is_business", 0.0, "email", "dana@gmail.com"),
        ("email_is_business", np.nan, "email", "nobody"),
        ("secret", 3.0, "secret", 3),
    ],
)
def test_a_trait_that_is_unknown_or_not_so_or_not_speakable_is_no_reason(
    column: str, number: float, trait: str, value: object
) -> None:
    assert reasons(row(**{column: number}), pulls(**{column: 1.0}), {trait: value}) == []


@given(st.text(min_size=1))
def test_whatever_a_trial_user_writes_stays_plain_data(hostile: str) -> None:
    (reason,) = reasons(row(), pulls(**{"plan=free": 1.0}), {"plan": hostile})
    assert reason.text == f"is on {hostile}"
    assert reason.facts == {"value": hostile}


def test_missing_is_the_most_common_first_and_never_what_was_done() -> None:
    assert [one.signal for one in EXPLAINER.missing(row(trial_age_days=1.5))] == ["recent"]
    assert (
        EXPLAINER.missing(row(trial_age_days=3.0))[0].text == "has not invited anybody; 8 in 10 converters had by day 3"
    )
    assert EXPLAINER.missing(row(trial_age_days=3.0, invites_count_trial=1)) == []


def test_nothing_is_missing_before_the_first_age_that_is_known() -> None:
    assert EXPLAINER.missing(row(trial_age_days=0.9)) == []


def test_a_window_shorter_than_the_trial_cannot_say_that_something_never_happened() -> None:
    assert "recent" in [one.signal for one in EXPLAINER.missing(row(trial_age_days=2.0))]
    assert "recent" not in [one.signal for one in EXPLAINER.missing(row(trial_age_days=2.01))]


@pytest.mark.parametrize(("share", "tenths"), [(0.5, 5), (0.54, 5), (0.72, 7), (0.96, 9), (1.0, 9)])
def test_missing_never_says_ten_in_ten(share: float, tenths: int) -> None:
    one = Explainer(BUILDER, Reference(np.array([0.5]), (1.0,), {"invites": (share,)})).missing(
        row(trial_age_days=2.0)
    )[0]
    assert one.facts == {"converters_in_10": tenths, "day": 1, "share": share}
    assert f"{tenths} in 10 converters had by day 1" in one.text


def test_a_lead_that_did_nothing_gets_no_reasons_and_what_is_missing(scorer: Scorer) -> None:
    lead = {"user_id": "new", "started_at": "2026-01-01T00:00:00Z"}
    (body,) = [
        result_body(one)
        for one in score(scorer, decode(json.dumps({"leads": [lead]}).encode()), instant_of(2026, 1, 9))
    ]
    assert isinstance(body, dict)
    assert body["reasons"] == []
    assert body["playbook"] is None
    shares = scorer.artifact.reference.converters
    usual: Sequence[str] = [
        signal.name for signal in scorer.builder.definition.signals
        if signal.missing and shares[signal.name][1] >= COMMON_AMONG_CONVERTERS
    ]  # fmt: skip
    assert {one.signal for one in body["missing"]} == set(usual)


def instant_of(year: int, month: int, day: int) -> int:
    return micros(datetime(year, month, day, tzinfo=UTC))

"""Whatever is wrong in a definition is named: file, line where there is one, key, what it must be, what it is."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definition import (
    KINDS,
    MEASURES,
    Measure,
    Range,
    Signal,
    Window,
    load,
    parse,
)
from features.definition_rules import facts_of
from features.durations import DAY, HOUR
from features.errors import InvalidInput, InvalidSetting
from features.measures import SPECS

GOOD = """\
product: Taskhub
lead: user
timezone: Europe/Vienna
trial: {length: 14d, start_event: signed_up, closed_by: [trial_cancelled], round_start_to: day}
conversion: {event: subscription_started, horizon: 30d}
score_at: [3d, 24h, 12h]
windows: [1d, 7d, trial]
cutoff: {policy: precision, at_least: 0.3, confidence: 0.95}
signals:
  - name: invites
    kind: team_growth
    events: [invite_sent, {event: page, where: {path: [/team, 3], beta: true}}]
    measures: [count, sum(seats), distinct(plan name), days_since_last, trend, reached(3)]
    windows: [36h, 14d]
    direction: "+"
    text: "invited {count:teammate|teammates} {window}, {last}"
    mention: you bring your team
    missing: invited anybody
    playbook: call
  - name: history
    kind: team_growth
    scope: account
    events: [$trial_started, $converted]
    text: started {count}
    mention: colleagues came before you
traits:
  - {name: email, type: email_domain, direction: "+", text: "works at {value}", speakable: true}
  - {name: size, type: number, column: company_size}
exclude: {email_domains: ["@Own.Example"], users: [u1], accounts: [a1]}
playbooks:
  - {id: call, title: Call them, message: "{product}: {mention}", kinds: [team_growth, limit]}
"""


def problem(old: str, new: str) -> str:
    """The error of the good definition with one text replaced."""
    assert GOOD.count(old) == 1
    with pytest.raises(InvalidSetting) as caught:
        parse(GOOD.replace(old, new), "mine.yaml")
    return str(caught.value)


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(GOOD.splitlines(), 1) if text in line)


# --- what is right ---------------------------------------------------------------------------


def test_a_good_definition_is_read_whole() -> None:
    definition = parse(GOOD)
    assert definition.product == "Taskhub"
    assert definition.trial.length == 14 * DAY
    assert definition.trial.closed_by == ("trial_cancelled",)
    assert definition.conversion.horizon == 30 * DAY
    assert definition.windows == (Window(length=DAY), Window(length=7 * DAY), Window(length=None))
    assert definition.scored_days() == (0.5, 1, 3)
    assert definition.outcome_events == {"subscription_started", "trial_cancelled"}
    invites, history = definition.signals
    assert invites.events[0].where == {}
    assert invites.events[1].where == {"path": ("/team", 3), "beta": (True,)}
    assert invites.measures[:3] == (
        Measure(how="count"),
        Measure(how="sum", of="seats"),
        Measure(how="distinct", of="plan name"),
    )
    assert definition.windows_of(invites) == (Window(length=36 * HOUR), Window(length=14 * DAY))
    assert definition.windows_of(history) == definition.windows
    assert definition.trait_of["size"].source == "company_size"
    assert definition.exclude.email_domains == ("own.example",)
    assert definition.cutoff.confidence == 0.95


def test_what_is_left_out_has_a_plain_default() -> None:
    definition = parse(
        "{product: P, conversion: {event: paid, horizon: 1d}, score_at: [1d], windows: [1d], cutoff: {at_least: 0.5},"
        " signals: [{name: s, kind: value, events: [e], text: did it}]}"
    )
    signal = definition.signals[0]
    assert [measure.name for measure in signal.measures] == ["count", "days_since_last"]
    assert (signal.direction, signal.sign, signal.scope, signal.speakable, signal.playbook) == (
        "+",
        1,
        "lead",
        True,
        None,
    )
    assert (definition.lead, definition.timezone, definition.trial.length) == ("user", None, None)
    assert definition.conversion.column == "converted_at"
    assert definition.cutoff.confidence == 0.9
    assert (definition.traits, definition.playbooks, definition.exclude.users) == ((), (), ())


def test_a_definition_survives_being_written_and_read() -> None:
    definition = parse(GOOD)
    written = yaml.safe_dump(yaml.safe_load(GOOD), sort_keys=False)
    assert parse(written) == definition


def test_parts_of_a_definition_can_be_made_of_parts() -> None:
    measures, windows = (Measure(how="reached", of="2"),), (Window(length=None),)
    made = Signal.model_validate(
        {"name": "s", "kind": "value", "events": ["e"], "text": "did", "measures": measures, "windows": windows}
    )
    assert (made.measures, made.windows) == (measures, windows)


def test_a_file_is_read_like_its_text(tmp_path: Path) -> None:
    path = tmp_path / "pql.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load(path) == parse(GOOD)


def test_a_definition_cannot_be_changed() -> None:
    definition = parse(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        definition.product = "Other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        definition.signals[0].kind = "value"  # type: ignore[misc]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_signal_is_accepted(kind: str) -> None:
    definition = parse(GOOD.replace("kind: team_growth\n    scope", f"kind: {kind}\n    scope"))
    assert definition.signals[1].kind == kind


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        ("count", "count"),
        ("sum(amount)", "sum_amount"),
        ("sum( amount )", "sum_amount"),
        ("distinct($plan.id)", "distinct__plan_id"),
        ("active_days", "active_days"),
        ("days_since_first", "days_since_first"),
        ("days_since_last", "days_since_last"),
        ("trend", "trend"),
        ("reached(12)", "reached_12"),
        ("mean(amount)", "mean_amount"),
        ("streak", "streak"),
        ("per_active_day", "per_active_day"),
        ("share", "share"),
        ("days_to_reach(3)", "days_to_reach_3"),
        ("user_growth", "user_growth"),
        ("lead_share", "lead_share"),
        ("lead_rank", "lead_rank"),
    ],
)
def test_every_measure_has_a_name_of_plain_letters(measure: str, name: str) -> None:
    definition = parse(GOOD.replace("text: started {count}", f"measures: ['{measure}']\n    text: started"))
    assert [one.name for one in definition.signals[1].measures] == [name]


def test_the_table_of_measures_is_complete() -> None:
    assert set(SPECS) == set(MEASURES)
    assert len(MEASURES) == len(set(MEASURES)) == 16


@pytest.mark.parametrize("how", MEASURES)
def test_a_measure_of_the_definition_knows_what_it_is(how: str) -> None:
    assert Measure(how=how).spec is SPECS[how]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{at_least: 5}", Range(at_least=5)),
        ("{below: -0.5}", Range(below=-0.5)),
        ("{at_least: 5, below: 5.5}", Range(at_least=5, below=5.5)),
        ("{at_least: 1e3, below: null}", Range(at_least=1000)),
    ],
)
def test_a_property_may_be_asked_to_lie_in_a_range(written: str, read: Range) -> None:
    match = parse(GOOD.replace("path: [/team, 3]", f"path: {written}")).signals[0].events[1]
    assert match.where == {"path": read, "beta": (True,)}


@pytest.mark.parametrize("clock", ["timestamp", "received_at"])
def test_a_definition_may_say_what_counts_as_known(clock: str) -> None:
    assert parse(GOOD).clock == "timestamp"
    assert parse(GOOD.replace("lead: user", f"lead: user\nclock: {clock}")).clock == clock


@pytest.mark.parametrize("event", ["$pageview", "$identify", "$paid", "$"])
def test_a_signal_may_read_events_of_any_name_that_a_vendor_gave_them(event: str) -> None:
    signal = parse(GOOD.replace("[invite_sent, {", f"['{event}', {{")).signals[0]
    assert signal.events[0].event == event


@pytest.mark.parametrize(
    ("window", "name", "words"),
    [
        ("7d", "7d", "in the last 7 days"),
        ("24h", "1d", "in the last day"),
        ("36h", "36h", "in the last 36 hours"),
        ("1h", "1h", "in the last hour"),
        ("trial", "trial", "since the trial began"),
    ],
)
def test_a_window_has_a_short_name_and_words_for_a_sentence(window: str, name: str, words: str) -> None:
    read = parse(GOOD.replace("[1d, 7d, trial]", f"[{window}]")).windows[0]
    assert (read.name, read.words) == (name, words)


def test_a_signal_may_quote_its_measures_its_window_and_when_it_last_happened() -> None:
    invites, history = parse(GOOD).signals
    measures = {"count", "sum_seats", "distinct_plan_name", "days_since_last", "trend", "reached_3"}
    assert facts_of(invites) == measures | {"last", "window"}
    assert facts_of(history) == {"count", "days_since_last", "last", "window"}


# --- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "key", "meant"),
    [
        ("product:", "prodct:", "prodct", "product"),
        ("horizon:", "horizont:", "conversion.horizont", "horizon"),
        ("closed_by:", "close_by:", "trial.close_by", "closed_by"),
        ("kind: team_growth\n    events", "knd: team_growth\n    events", "signals[0] (invites).knd", "kind"),
        ("where:", "were:", "signals[0] (invites).events[1].were", "where"),
        ("type: number", "typ: number", "traits[1] (size).typ", "type"),
        ("accounts:", "acounts:", "exclude.acounts", "accounts"),
        ("message:", "massage:", "playbooks[0] (call).massage", "message"),
        ("confidence:", "confidance:", "cutoff.confidance", "confidence"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_one_that_is_most_like_it(
    old: str, new: str, key: str, meant: str
) -> None:
    text = problem(old, new)
    assert text.startswith(f"mine.yaml line {line_of(old.splitlines()[0])}: unknown key {key}. ")
    assert f"Did you mean '{meant}'? Known here: " in text
    assert meant in text.partition("Known here: ")[2]


def test_an_unknown_key_like_no_other_gets_no_suggestion() -> None:
    assert "Did you mean" not in problem("product: Taskhub", "zzz: 1\nproduct: Taskhub")


def test_a_key_given_twice_is_an_error_instead_of_the_last_one_winning() -> None:
    assert problem("lead: user", "lead: user\nproduct: Other") == (
        "mine.yaml line 3: not valid YAML: key 'product' is there twice. Mend the line."
    )


def test_a_key_given_twice_deep_inside_is_found_too() -> None:
    assert problem("horizon: 30d", "horizon: 30d, horizon: 60d").startswith(
        "mine.yaml line 5: not valid YAML: key 'horizon'"
    )


@pytest.mark.parametrize(
    ("old", "key"),
    [
        ("product: Taskhub\n", "product"),
        ("conversion: {event: subscription_started, horizon: 30d}\n", "conversion"),
        ("score_at: [3d, 24h, 12h]\n", "score_at"),
        ("windows: [1d, 7d, trial]\n", "windows"),
        ("cutoff: {policy: precision, at_least: 0.3, confidence: 0.95}\n", "cutoff"),
        (", horizon: 30d", "conversion.horizon"),
        (", at_least: 0.3", "cutoff.at_least"),
        ('    text: "invited {count:teammate|teammates} {window}, {last}"\n', "signals[0] (invites).text"),
        ("name: size, ", "traits[1].name"),
        (", title: Call them", "playbooks[0] (call).title"),
    ],
)
def test_what_is_missing_is_named(old: str, key: str) -> None:
    text = problem(old, "")
    assert re.match(r"mine\.yaml( line \d+)?: ", text)
    assert f": {key} is missing; it must be given." in text


# --- values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "spot"),
    [
        ("product: Taskhub", "product: ''", "line 1: product must be a text of at least one letter, got ''."),
        ("product: Taskhub", "product: [a]", "line 1: product must be a text, got ['a']."),
        ("product: Taskhub", "product: 2026-01-01", "line 1: product must be a text, got datetime.date(2026, 1, 1)."),
        ("lead: user", "lead: usr", "line 2: lead must be 'user' or 'account', got 'usr'. Did you mean 'user'?"),
        ("Europe/Vienna", "Mars/Base", "timezone must be an IANA zone such as 'Europe/Vienna', got 'Mars/Base'."),
        ("Europe/Vienna", "../../etc/passwd", "line 3: timezone must be an IANA zone"),
        ("length: 14d", "length: soon", "line 4: trial.length must be a whole number of days or hours"),
        ("length: 14d", "length: 0d", "line 4: trial.length must be longer than nothing, got '0d'."),
        ("[trial_cancelled]", "trial_cancelled", "line 4: trial.closed_by must be a list, got 'trial_cancelled'."),
        ("round_start_to: day", "round_start_to: week", "line 4: trial.round_start_to must be 'day', got 'week'."),
        ("conversion: {event: subscription_started, horizon: 30d}", "conversion: paid",
         "line 5: conversion must be keys with values, got 'paid'."),
        ("horizon: 30d", "horizon: 30", "line 5: conversion.horizon must be a whole number of days or hours"),
        ("horizon: 30d", "horizon: 0h", "line 5: conversion.horizon must be longer than nothing, got '0h'."),
        ("horizon: 30d", "horizon: 3651d", "line 5: conversion.horizon must be at most 3650d, got '3651d'."),
        ("horizon: 30d", "horizon: -30d", "line 5: conversion.horizon must be a whole number"),
        ("horizon: 30d", "horizon: true", "line 5: conversion.horizon must be a whole number"),
        ("[3d, 24h, 12h]", "3d", "line 6: score_at must be a list, got '3d'."),
        ("[3d, 24h, 12h]", "[]", "line 6: score_at must be a list of at least 1, got []."),
        ("[3d, 24h, 12h]", "[3d, 1.5d]", "line 6: score_at[1] must be a whole number of days or hours"),
        ("[1d, 7d, trial]", "[1d, 7w]", "line 7: windows[1] must be a whole number of days or hours"),
        ("[1d, 7d, trial]", "[0d]", "line 7: windows[0] must be longer than nothing, got '0d'."),
        ("[1d, 7d, trial]", "[1d, 2d, 3d, 4d, 5d, 6d, 7d]", "line 7: windows must be a list of at most 6, got"),
        ("[1d, 7d, trial]", "[{length: 5}]", "line 7: windows[0] must be a whole number of days or hours"),
        ("at_least: 0.3", "at_least: 1", "line 8: cutoff.at_least must be less than 1, got 1."),
        ("at_least: 0.3", "at_least: 0", "line 8: cutoff.at_least must be greater than 0, got 0."),
        ("at_least: 0.3", "at_least: .nan", "line 8: cutoff.at_least must be"),
        ("at_least: 0.3", "at_least: 30%", "line 8: cutoff.at_least must be a valid number"),
        ("confidence: 0.95", "confidence: 0.4", "cutoff.confidence must be greater than or equal to 0.5, got 0.4."),
        ("policy: precision", "policy: top", "cutoff.policy must be 'precision', 'capacity' or 'value', got 'top'."),
        ("name: invites", "name: In vites", "line 10: signals[0] (In vites).name must be small letters, digits and _"),
        ("kind: team_growth\n    events", "kind: team_grwth\n    events", "Did you mean 'team_growth'?"),
        ("[invite_sent, {", "[3, {", "line 12: signals[0] (invites).events[0] must be keys with values, got 3."),
        ("[invite_sent, {", "['', {", "signals[0] (invites).events[0].event must be a text of at least one letter"),
        ("events: [$trial_started, $converted]", "events: []", "history).events must be a list of at least 1, got []."),
        ("events: [$trial_started, $converted]", "events: x", "signals[1] (history).events must be a list, got 'x'."),
        ("[/team, 3]", "[/team, null]", "signals[0] (invites).events[1].where.path[1] must be a text, got None."),
        ("{path: [/team, 3], beta: true}", "3", "(invites).events[1].where must be keys with values, got 3."),
        ("[36h, 14d]", "[36h, ever]", "line 14: signals[0] (invites).windows[1] must be a whole number"),
        ('direction: "+"\n', "direction: up\n", "signals[0] (invites).direction must be '+', '-' or 'free', got 'up'."),
        ("scope: account", "scope: team", "signals[1] (history).scope must be 'lead' or 'account', got 'team'."),
        ("speakable: true", "speakable: perhaps", "traits[0] (email).speakable must be a valid boolean"),
        ("type: number", "type: string", "(size).type must be 'number', 'category', 'flag' or 'email_domain'"),
        ("lead: user", "lead: user\nclock: arrival", "clock must be 'timestamp' or 'received_at', got 'arrival'."),
        ("[u1]", "u1", "exclude.users must be a list, got 'u1'."),
        ("kinds: [team_growth, limit]", "kinds: [limits]", "playbooks[0] (call).kinds[0] must be 'activation', "),
        ("id: call", "id: Call", "playbooks[0] (Call).id must be small letters, digits and _"),
        ("product: Taskhub", "product: Taskhub\n1: 2", "[1] must be a key written as a text, got 1."),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_it_must_be_and_what_it_is(old: str, new: str, spot: str) -> None:
    text = problem(old, new)
    assert re.match(r"mine\.yaml line \d+: ", text)
    assert spot in text


@pytest.mark.parametrize(
    ("measure", "must"),
    [
        ("median", "must be one of count, sum(...), mean(...), distinct(...), active_days, streak"),
        ("sum", "sum needs a property in brackets"),
        ("mean", "mean needs a property in brackets"),
        ("reached", "reached needs a number in brackets"),
        ("days_to_reach", "days_to_reach needs a number in brackets"),
        ("count(x)", "count takes no brackets"),
        ("lead_share(x)", "lead_share takes no brackets"),
        ("days_to_reach(0)", "days_to_reach(n) needs a whole number from 1"),
        ("days_to_reach(1001)", "days_to_reach(n) needs a whole number from 1 to 1000"),
        ("reached(0)", "reached(n) needs a whole number from 1"),
        ("reached(x)", "reached(n) needs a whole number from 1"),
        ("reached(²)", "reached(n) needs a whole number from 1"),
        ("reached(99999999999999999999)", "reached(n) needs a whole number from 1"),
        ("sum(a(b))", "must be one of count"),
        ("{how: median}", "must be one of count"),
        ("3", "must be one of count"),
    ],
)
def test_a_wrong_measure_is_named_with_what_it_must_be(measure: str, must: str) -> None:
    text = problem("[count, sum(seats)", f"[count, {measure}, sum(seats)")
    assert text.startswith(f"mine.yaml line 13: signals[0] (invites).measures[1] {must}")
    assert f"got {yaml.safe_load(measure)!r}." in text


@pytest.mark.parametrize(
    ("wanted", "must"),
    [
        ("[]", ".path must be a list of at least 1, got []."),
        ("{}", ".path must have at_least, below or both, got {}."),
        ("{at_least: null}", ".path must have at_least, below or both, got {'at_least': None}."),
        ("{at_least: 5, below: 5}", ".path must have at_least lower than below, got {'at_least': 5, 'below': 5}."),
        ("{at_least: 6, below: 5}", ".path must have at_least lower than below, got"),
        ("{at_least: many}", ".path.at_least must be a valid number"),
        ("{below: [1]}", ".path.below must be a valid number, got [1]."),
        ("{at_least: .nan}", ".path.at_least must be a finite number"),
        ("{below: .inf}", ".path.below must be a finite number"),
        ("[{at_least: 1}]", ".path[0] must be a text, got {'at_least': 1}."),
        ("[[1]]", ".path[0] must be a text, got [1]."),
    ],
)
def test_a_range_that_is_wrong_is_named_with_what_it_must_be(wanted: str, must: str) -> None:
    assert problem("path: [/team, 3]", f"path: {wanted}").startswith(
        f"mine.yaml line 12: signals[0] (invites).events[1].where{must}"
    )


def test_an_unknown_key_of_a_range_is_named_with_the_known_one_that_is_most_like_it() -> None:
    text = problem("path: [/team, 3]", "path: {atleast: 5}")
    assert text == (
        "mine.yaml line 12: unknown key signals[0] (invites).events[1].where.path.atleast. Did you mean 'at_least'? "
        "Known here: at_least, below."
    )


@pytest.mark.parametrize(
    ("text", "must"),
    [
        ("''", "must be a sentence, got ''"),
        ("3", "must be a sentence, got 3"),
        ("'{count'", "must have matching braces"),
        ("'}'", "must have matching braces"),
        ("'{count.real}'", "must have only plain facts such as {count} in braces, not {count.real}"),
        ("'{}'", "must have only plain facts"),
        ("'{count!r}'", "must have only plain facts"),
        ("'{count:teammates}'", "must give both forms of {count:…}, such as {count:invite|invites}"),
    ],
)
def test_a_wrong_sentence_is_named_with_its_line(text: str, must: str) -> None:
    found = problem("text: started {count}", f"text: {text}")
    assert found.startswith(f"mine.yaml line {line_of('text: started')}: signals[1] (history).text {must}")


# --- keys that must fit together -------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[invite_sent, {", "[subscription_started, {", "invites.events: 'subscription_started' is the outcome itself"),
        ("[invite_sent, {", "[trial_cancelled, {", "signals.invites.events: 'trial_cancelled' is the outcome itself"),
        ("[invite_sent, {", "[$converted, {", "signals.invites.events: '$converted' is made from the trials table for "
         "signals with `scope: account` only, got `scope: lead`."),
        ("scope: account\n", "scope: lead\n", "signals.history.events: '$trial_started' is made from the trials table"),
        ("days_since_last, trend", "days_since_last, lead_rank",
         "signals.invites.measures: lead_rank needs `scope: account`, got `scope: lead`."),
        ("days_since_last, trend", "days_since_last, lead_share",
         "signals.invites.measures: lead_share needs `scope: account`, got `scope: lead`."),
        ("days_since_last, trend", "days_since_last, user_growth",
         "signals.invites.measures: user_growth needs `scope: account`, got `scope: lead`."),
        ("text: started {count}", "windows: [trial]\n    measures: [user_growth]\n    text: started",
         "signals.history.measures: user_growth needs a window of fixed length, got only 'trial'."),
        ("started {count}", "started {sum_seats}", "signals.history.text: must quote facts of its own measures "
         "(count, days_since_last, last, window), got {sum_seats}."),
        ("text: started {count}", "measures: [count]\n    text: started {last}", "got {last}."),
        ("works at {value}", "works at {email}", "traits.email.text: must quote only {value}, got 'works at {email}'."),
        ("{product}: {mention}", "Hi {name}", "playbooks.call.message: must quote only {product}, {reason}, {mention}, "
         "{days_left}, got 'Hi {name}'."),
        ("playbook: call", "playbook: mail", "signals.invites.playbook: must be the id of a playbook, got 'mail'."),
        ("name: size, ", "name: size, playbook: mail, ", "traits.size.playbook: must be the id of a playbook, got 'mail'."),
        ("name: history", "name: invites", "signals and traits: every name must be there once, got 'invites' twice."),
        ("name: size", "name: history", "signals and traits: every name must be there once, got 'history' twice."),
        ("playbooks:\n", "playbooks:\n  - {id: call, title: T, message: m}\n",
         "playbooks: every name must be there once, got 'call' twice."),
        ("[1d, 7d, trial]", "[7d, 168h]", "windows: every name must be there once, got '7d' twice."),
        ("[36h, 14d]", "[36h, 36h]", "signals.invites.windows: every name must be there once, got '36h' twice."),
        ("[count, sum(seats)", "[count, count", "invites.measures: every name must be there once, got 'count' twice."),
        ("distinct(plan name)", "distinct(plan-name), distinct(plan.name)", "got 'distinct_plan_name' twice."),
        ("[3d, 24h, 12h]", "[1d, 24h]", "score_at: every name must be there once, got '1d' twice."),
        ("[36h, 14d]", "[trial]", "signals.invites.measures: trend needs a window of fixed length, got only 'trial'."),
        ("column: company_size", "column: converted_at", "traits.size.column: 'converted_at' tells the outcome;"),
        ("column: company_size", "column: closed_at", "traits.size.column: 'closed_at' tells the outcome;"),
        ("type: email_domain", "type: flag", "exclude.email_domains: needs a trait of type email_domain"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_together_are_named_by_their_path(old: str, new: str, message: str) -> None:
    text = problem(old, new)
    assert text.startswith("mine.yaml: ")
    assert message in text


@pytest.mark.parametrize("measure", ["lead_share", "lead_rank"])
def test_an_account_as_a_lead_cannot_be_compared_with_itself(measure: str) -> None:
    text = GOOD.replace("lead: user", "lead: account")
    asked = text.replace("text: started {count}", f"measures: [{measure}]\n    text: started")
    with pytest.raises(
        InvalidSetting, match=rf"signals\.history\.measures: {measure} compares a user with the account"
    ):
        parse(asked)


@pytest.mark.parametrize("measure", ["user_growth", "lead_share", "lead_rank"])
def test_measures_of_accounts_are_accepted_for_signals_of_accounts(measure: str) -> None:
    asked = GOOD.replace("text: started {count}", f"measures: [{measure}]\n    text: 'rose {{{measure}}}'")
    assert [one.how for one in parse(asked).signals[1].measures] == [measure]


def test_neither_signals_nor_traits_is_refused_with_what_to_do() -> None:
    bare = GOOD.partition("signals:")[0]
    with pytest.raises(InvalidSetting, match=r"^mine\.yaml: signals: at least one signal or trait .* `pql init`"):
        parse(bare, "mine.yaml")


def test_a_trait_of_the_column_that_holds_the_conversion_is_refused() -> None:
    renamed = GOOD.replace("event: subscription_started", "column: company_size")
    with pytest.raises(InvalidSetting, match=r"traits\.size\.column: 'company_size' tells the outcome"):
        parse(renamed)


def test_more_filters_on_one_event_than_can_be_combined_are_refused() -> None:
    filters = ", ".join(f"{{event: page, where: {{path: {n}}}}}" for n in range(13))
    text = problem("[$trial_started, $converted]", f"[{filters}]")
    assert text.startswith("mine.yaml: signals: at most 12 different filters on one event, got 14 on 'page'")


# --- what stays inside, what the customer hears, and what a playbook may ask for ----------------


def with_keys(old: str, *keys: str) -> str:
    """Return the good definition with keys of the same part put before a line of it."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, "\n    ".join([*keys, old]))


@pytest.mark.parametrize(
    ("private", "message"),
    [
        ("[counts]", "signals.invites.private: must name facts of its own measures, got 'counts'. "
         "Did you mean 'count'?"),
        ("[window]", "signals.invites.private: must name facts of its own measures, got 'window'."),
        ("[last]", "signals.invites.private: must name facts of its own measures, got 'last'."),
        ("[count]", "signals.invites.text: must not quote what is private, got {count}. Quote another fact, or "
         "take it from `private`."),
        ("[days_since_last]", "signals.invites.text: must not quote what is private, got {days_since_last}."),
    ],
)  # fmt: skip
def test_private_facts_are_those_of_the_signal_and_its_text_quotes_none(private: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        parse(with_keys("missing: invited anybody", f"private: {private}"))
    assert message in str(caught.value)


def test_facts_that_no_text_quotes_may_be_private() -> None:
    signal = parse(with_keys("missing: invited anybody", "private: [sum_seats, trend, reached_3]")).signals[0]
    assert signal.private == ("sum_seats", "trend", "reached_3")
    assert parse(GOOD).signals[0].private == ()


@pytest.mark.parametrize("fact", ["last", "days_since_last", "window"])
def test_a_mention_says_no_times(fact: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        parse(GOOD.replace("mention: you bring your team", f"mention: 'you came {{{fact}}}'"))
    assert "signals.invites.mention: must quote no times, because the customer reads it (facts: count, " in str(
        caught.value
    )
    assert f"got {{{fact}}}." in str(caught.value)


def test_a_mention_quotes_nothing_that_is_private_or_of_other_signals() -> None:
    asked = with_keys("missing: invited anybody", "private: [sum_seats]")
    with pytest.raises(InvalidSetting, match=r"invites\.mention: must not quote what is private, got \{sum_seats\}"):
        parse(asked.replace("mention: you bring your team", "mention: 'you have {sum_seats} seats'"))
    with pytest.raises(InvalidSetting, match=r"invites\.mention: must quote no times.*got \{active_days\}"):
        parse(GOOD.replace("mention: you bring your team", "mention: 'on {active_days} days'"))


def test_a_mention_may_say_how_many() -> None:
    asked = GOOD.replace("mention: you bring your team", "mention: 'you invited {count:colleague|colleagues}'")
    mention = parse(asked).signals[0].mention
    assert mention is not None
    assert mention.fill({"count": 2}) == "you invited 2 colleagues"


@pytest.mark.parametrize("key", ["text", "against"])
def test_the_value_of_a_private_trait_is_never_said(key: str) -> None:
    told = 'text: "works at {value}", speakable: true'
    asked = {"text": 'text: "works at {value}"', "against": 'text: a business, against: "lives at {value}"'}[key]
    with pytest.raises(InvalidSetting, match=rf"traits\.email\.{key}: must not quote \{{value\}}, which is private"):
        parse(GOOD.replace(told, f"{asked}, speakable: true, private: true"))
    silent = parse(GOOD.replace(told, f"{asked}, private: true")).trait_of["email"]
    assert (silent.private, silent.speakable) == (True, False)


def test_a_trait_that_is_said_without_its_value_may_be_private() -> None:
    told = 'text: "works at {value}", speakable: true'
    trait = parse(
        GOOD.replace(told, "text: has a business address, against: has a private one, speakable: true, private: true")
    ).trait_of["email"]
    assert trait.private
    assert trait.against is not None
    assert trait.against.source == "has a private one"


def test_how_to_say_that_a_trait_is_not_so_quotes_only_its_value() -> None:
    text = problem('text: "works at {value}"', 'text: works, against: "lives at {place}"')
    assert "traits.email.against: must quote only {value}, got 'lives at {place}'." in text


def test_a_playbook_may_ask_for_a_track_and_for_a_trial_that_ends_soon() -> None:
    asked = GOOD.replace("kinds: [team_growth, limit]}", "track: nurture, ends_within: 36h}")
    (book,) = parse(asked).playbooks
    assert (book.track, book.ends_within, book.asks_for_circumstances) == ("nurture", 36 * HOUR, True)
    (plain,) = parse(GOOD).playbooks
    assert (plain.track, plain.ends_within, plain.asks_for_circumstances) == (None, None, False)


@pytest.mark.parametrize(
    ("asked", "alone"),
    [("track: nurture", True), ("ends_within: 2d", True), ("ends_within: 2d, kinds: [team_growth]", False)],
)
def test_a_playbook_that_nothing_leads_to_fits_by_its_circumstances_alone(asked: str, alone: bool) -> None:
    free = GOOD.replace("    playbook: call\n", "").replace("kinds: [team_growth, limit]", asked)
    assert parse(free).by_circumstances_alone == ({"call"} if alone else set())


def test_a_playbook_that_a_signal_names_never_fits_by_its_circumstances_alone() -> None:
    assert parse(GOOD.replace("kinds: [team_growth, limit]", "track: now")).by_circumstances_alone == set()
    assert parse(GOOD).by_circumstances_alone == set()


def test_a_category_has_no_direction_and_a_private_address_no_playbook_of_its_enterprises() -> None:
    directed = problem(
        "  - {name: size, type: number, column: company_size}", "  - {name: size, type: category, direction: '+'}"
    )
    assert "traits.size.direction: must be free for a category, which has no more and less, got '+'." in directed
    told = problem(
        'text: "works at {value}", speakable: true', "private: true, enterprise: [big.example], playbook: call"
    )
    assert "traits.email.playbook: would tell which of the enterprises a lead is from, which is private" in told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kinds: [team_growth, limit]", "track: later", "(call).track must be 'now' or 'nurture', got 'later'."),
        ("kinds: [team_growth, limit]", "ends_within: soon", "(call).ends_within must be a whole number of days or hours"),
        ("{product}: {mention}", "ends in {days_left}",
         "playbooks.call.message: must not quote {days_left} without `ends_within`, got 'ends in {days_left}'."),
        ("{product}: {mention}", "you {reason}", "playbooks.call.message: quotes {reason}, and the text of 'invites' says "
         "when it was last done, which reads like surveillance"),
    ],
)  # fmt: skip
def test_a_playbook_that_could_not_be_said_is_refused(old: str, new: str, message: str) -> None:
    assert message in problem(old, new)


@pytest.mark.parametrize("asked", ["track: now", "ends_within: 2d"])
def test_a_playbook_that_nothing_leads_to_quotes_no_reason(asked: str) -> None:
    free = GOOD.replace("    playbook: call\n", "").replace("kinds: [team_growth, limit]", asked)
    with pytest.raises(
        InvalidSetting,
        match=re.escape("must not quote {reason} without `kinds`, got '{reason}'. Quote {mention} instead"),
    ):
        parse(free.replace("{product}: {mention}", "{reason}"))


def test_a_signal_needs_no_mention_of_its_own() -> None:
    assert parse(GOOD.replace("    mention: colleagues came before you\n", "")).playbooks


def test_how_soon_a_number_was_reached_is_a_time_too() -> None:
    measured = GOOD.replace("trend, reached(3)]", "trend, days_to_reach(3)]")
    with pytest.raises(InvalidSetting, match="mention: must quote no times"):
        parse(measured.replace("you bring your team", "took {days_to_reach_3} days"))


# --- texts that are no definition at all -----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("product: 'Taskhub", r"^mine\.yaml line 1: not valid YAML: found unexpected end of stream"),
        ("product: P\n\tlead: user", r"^mine\.yaml line 2: not valid YAML: "),
        ("product: P\n---\nproduct: Q", r"^mine\.yaml line 2: not valid YAML: "),
        ("? [a, b]\n: c", r"^mine\.yaml line 1: not valid YAML: found unhashable key"),
        (
            "product: !!python/object:os.system x",
            r"^mine\.yaml line 1: not valid YAML: could not determine a constructor",
        ),
        ("product: *nothing", r"^mine\.yaml line 1: not valid YAML: found undefined alias"),
        ("a: \x00", r"^mine\.yaml: not valid YAML: .*not allowed"),
        ("[" * 3_000, r"^mine\.yaml: not valid YAML: nested too deeply"),
        ("- a\n- b", r"^mine\.yaml must be settings such as `product: …`, got 'list'\."),
        ("just words", r"^mine\.yaml must be settings such as `product: …`, got 'str'\."),
        ("", r"^mine\.yaml must be settings such as `product: …`, got 'NoneType'\."),
    ],
)
def test_a_text_that_is_no_definition_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        parse(text, "mine.yaml")


def test_a_missing_file_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nothing\.yaml: cannot be read"):
        load(tmp_path / "nothing.yaml")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("product: Büro".encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"latin\.yaml: cannot be read"):
        load(path)


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("lead: user", "lead: team"), encoding="utf-8")
    with pytest.raises(InvalidSetting, match=r"^mine\.yaml line 2: lead must be"):
        load(path)


LINES = GOOD.splitlines()
PIECES = [
    "",
    "x: 1",
    "  - a",
    "- [",
    "name: ",
    "  kind: value",
    "{",
    "text: '{count'",
    ": :",
    "&a *a",
    "windows: [0d]",
    "é\u2028",
]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(LINES) - 1), st.sampled_from(PIECES), st.sampled_from(["replace", "before", "cut", "append"]))
def test_any_damage_to_a_line_is_either_still_a_definition_or_an_error_of_ours(line: int, piece: str, how: str) -> None:
    damaged = list(LINES)
    if how == "before":
        damaged.insert(line, piece)
    else:
        damaged[line] = {"replace": piece, "cut": damaged[line][: len(damaged[line]) // 2]}.get(
            how, damaged[line] + piece
        )
    try:
        parse("\n".join(damaged))
    except InvalidSetting as error:
        said = str(error)
    else:
        said = "pql.yaml: nothing wrong"
    assert re.match(r"pql\.yaml( line \d+)?(:| must)", said)

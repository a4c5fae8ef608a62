"""Names of events, however odd, become identifiers, sentences and YAML that says the same name again."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from features.definition import KINDS
from features.phrases import Phrase
from training.drafting.words import event_phrase, event_slug, event_words, guess_kind, plural, yaml_text

HOSTILE = (
    "yes", "No", "NULL", "~", "on", "true", "1", "1e5", "0x1F", "2026-03-01", "2026-03-01T09:00:00Z", "12:30", ".inf", "-", "- a",
    "a: b", "a #b", "#", "'", '"', "it's", "\\", "\\n", "a\nb", "a\r\nb", "\t", " lead", "trail ", "a  b", "[a]", "{a}", "{count}",
    "{a:b|c}", "a,b", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", "?", "<<", "=", "é", "イベント", "😀", "\u2028", "\x85",
    "\x7f", "\x00", "\ufeff", "a" * 5_000, "User Signed Up", "$pageview", "Invite Sent", "y", "n", "null", "_",
)  # fmt: skip
names = st.one_of(st.text(), st.sampled_from(HOSTILE), st.text("aB_ -:#'\"\\{}[],&*!|>%@`\n\t$~.0123456789eé😀"))


@given(names)
def test_a_name_written_as_yaml_reads_as_the_same_name(name: str) -> None:
    assert yaml.safe_load(f"key: {yaml_text(name)}") == {"key": name}


@given(st.lists(names, max_size=5))
def test_names_in_a_yaml_list_stay_apart(some: list[str]) -> None:
    assert yaml.safe_load(f"[{', '.join(map(yaml_text, some))}]") == some


@given(names)
def test_yaml_text_stays_on_its_line(name: str) -> None:
    assert len(yaml_text(name).splitlines()) == 1


@pytest.mark.parametrize("name", ["invite_sent", "Invite Sent", "$pageview"])
def test_plain_names_need_no_quotes(name: str) -> None:
    assert yaml_text(name) == name


def test_letters_of_other_languages_stay_readable() -> None:
    assert yaml_text("Größe: é") == '"Größe: é"'


@given(names, st.sets(names.map(lambda name: event_slug(name, set())), max_size=5))
def test_a_slug_is_an_identifier_that_is_not_taken(name: str, taken: set[str]) -> None:
    slug = event_slug(name, taken)
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,59}", slug)
    assert slug not in taken


@given(st.lists(names, max_size=30))
def test_slugs_taken_one_after_the_other_are_all_different(some: list[str]) -> None:
    taken: set[str] = set()
    for name in some:
        taken.add(event_slug(name, taken))
    assert len(taken) == len(some)


@given(names)
def test_a_sentence_quotes_the_count_and_the_window_and_nothing_else(name: str) -> None:
    assert Phrase.parse(event_phrase(name)).names == {"count", "window"}


@given(names)
def test_every_name_has_a_kind(name: str) -> None:
    assert guess_kind(name) in KINDS


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("limit_reached", "limit"), ("PricingViewed", "upgrade_intent"), ("invite_sent", "team_growth"), ("API call", "api_usage"),
        ("support_ticket_opened", "friction"), ("report_viewed", "value"), ("project_created", "activation"),
        ("login", "frequency"), ("theme_changed", "usage_depth"),
    ],
)  # fmt: skip
def test_kinds_are_guessed_from_the_words_of_a_name(name: str, kind: str) -> None:
    assert guess_kind(name) == kind


@pytest.mark.parametrize("name", ["invite_sent", "InviteSent", "Invite Sent", " invite-sent ", "INVITE.sent"])
def test_spellings_of_a_name_are_the_same_words(name: str) -> None:
    assert event_words(name) == "invite sent"


def test_a_name_without_latin_letters_is_still_called_something() -> None:
    assert event_words("イベント") == "event"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("invite_sent", "sent 3 invites today"), ("login", "3 logins today"), ("company_created", "created 3 companies today"),
        ("batch_run", "run 3 batches today"), ("sent", "3 sents today"),
    ],
)  # fmt: skip
def test_a_name_is_said_as_a_sentence(name: str, sentence: str) -> None:
    assert Phrase.parse(event_phrase(name)).fill({"count": 3, "window": "today"}) == sentence


@pytest.mark.parametrize(("one", "many"), [("day", "days"), ("query", "queries"), ("box", "boxes"), ("dash", "dashes")])
def test_plurals_go_by_rule(one: str, many: str) -> None:
    assert plural(one) == many

"""Sentences are filled with facts and nothing else: what stands in braces is a plain name or an error."""

import math
import re
import string

import pytest
from babel.numbers import parse_decimal
from hypothesis import given
from hypothesis import strategies as st

from features.languages import LANGUAGES
from features.phrases import OWN, Phrase, number_words, problems_of
from features.wording import plain, wording

NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8).filter(str.isidentifier)


def test_a_sentence_is_filled_with_its_facts() -> None:
    phrase = Phrase.parse("invited {count:teammate|teammates} {window}, {last}")
    facts = {"count": 3.0, "window": "in the last 7 days", "last": "1 day ago", "unasked": 5}
    assert phrase.fill(facts) == "invited 3 teammates in the last 7 days, 1 day ago"
    assert phrase.names == {"count", "window", "last"}


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 files"), (1, "1 file"), (1.0, "1 file"), (2, "2 files"), (1.5, "1.5 files"), (1204, "1,204 files")],
)
def test_one_takes_the_singular_and_all_else_the_plural(count: float, said: str) -> None:
    assert Phrase.parse("{count:file|files}").fill({"count": count}) == said


@pytest.mark.parametrize(("count", "said"), [(1, "invited once"), (2, "invited twice"), (0, "invited 0 times")])
def test_once_says_the_number_itself(count: int, said: str) -> None:
    assert Phrase.parse("invited {count:once|times}").fill({"count": count}) == said


def test_a_form_may_be_empty_or_hold_blanks() -> None:
    assert Phrase.parse("{n:seat in use|seats in use}").fill({"n": 2}) == "2 seats in use"
    assert Phrase.parse("{n:x|}").fill({"n": 2}) == "2 "


def test_doubled_braces_are_said_as_braces() -> None:
    assert Phrase.parse("{{count}} is {count}").fill({"count": 1}) == "{count} is 1"


def test_a_fact_that_looks_like_a_template_is_said_as_it_is() -> None:
    assert (
        Phrase.parse("works at {value}").fill({"value": "{count} {0.__class__} %s"})
        == "works at {count} {0.__class__} %s"
    )


def test_a_truth_is_no_number() -> None:
    assert Phrase.parse("{value}").fill({"value": True}) == "True"


def test_what_is_equal_to_a_number_said_before_is_said_as_what_it_is() -> None:
    phrase = Phrase.parse("{value}")
    assert [phrase.fill({"value": value}) for value in (1, 1.0, True, 0, -0.0, False)] == [
        "1",
        "1",
        "True",
        "0",
        "0",
        "False",
    ]


def test_the_same_number_is_said_in_the_words_of_each_language_and_sentence() -> None:
    files, plainly = Phrase.parse("{count:file|files}"), Phrase.parse("{count}")
    said = [files.fill({"count": 12_345}, wording(language)) for language in ("en", "de", "en")]
    assert said == ["12,345 files", "12.345 files", "12,345 files"]
    assert plainly.fill({"count": 12_345}) == "12,345"


def test_a_fact_that_is_not_there_is_an_error_and_not_a_blank() -> None:
    with pytest.raises(KeyError, match="count"):
        Phrase.parse("{count}").fill({})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "must be a sentence"),
        (" \n", "must be a sentence"),
        (None, "must be a sentence"),
        (["invited"], "must be a sentence"),
        ("{", "matching braces"),
        ("}", "matching braces"),
        ("{count", "matching braces"),
        ("{}", "only plain facts"),
        ("{0}", "only plain facts"),
        ("{two words}", "only plain facts"),
        ("{count.real}", "only plain facts"),
        ("{count[0]}", "only plain facts"),
        ("{count!r}", "only plain facts"),
        ("{count!r:a|b}", "only plain facts"),
        ("{count:.2f}", "both forms"),
        ("{count:{width}}", "both forms"),
    ],
)
def test_anything_but_a_plain_fact_in_braces_is_refused(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phrase.parse(source)


def test_a_phrase_passes_as_it_is() -> None:
    phrase = Phrase.parse("invited {count}")
    assert Phrase.parse(phrase) is phrase


@given(st.lists(st.tuples(st.text("abc .,!", max_size=5), NAMES), min_size=1, max_size=6), st.text("xyz", max_size=60))
def test_filling_equals_joining_by_hand(parts: list[tuple[str, str]], word: str) -> None:
    phrase = Phrase.parse("-" + "".join(f"{literal}{{{name}}}" for literal, name in parts))
    assert phrase.names == {name for _, name in parts}
    assert phrase.fill({name: word + name for _, name in parts}) == "-" + "".join(
        text + word + name for text, name in parts
    )


@given(st.text(max_size=30))
def test_any_text_is_a_phrase_or_a_value_error(text: str) -> None:
    try:
        phrase = Phrase.parse(text)
    except ValueError:
        return
    said = phrase.fill(dict.fromkeys(phrase.names, "fact"))
    assert said == text or "{" in text or "}" in text


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (7.0, "7"),
        (-3, "-3"),
        (2.46, "2.5"),
        (2.96, "3"),
        (0.042, "0.04"),
        (-0.0004, "-0.0004"),
        (99.94, "99.9"),
        (99.96, "100"),
        (100.4, "100"),
        (1204, "1,204"),
        (1234567.8, "1,234,568"),
    ],
)
def test_numbers_are_said_as_a_person_would_write_them(number: float, words: str) -> None:
    assert number_words(number) == words


@given(st.integers(-(10**15), 10**15))
def test_whole_numbers_are_said_exactly(number: int) -> None:
    assert int(number_words(number).replace(",", "")) == number


@given(st.floats(-99, 99))
def test_small_numbers_are_said_to_a_tenth(number: float) -> None:
    assert math.isclose(float(number_words(number)), number, abs_tol=0.0501)


# --- other languages --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "sentence", "said"),
    [
        ("en", "opened {count:file|files} {window}", "opened 1,204 files in the last 7 days"),
        ("de", "hat {window} {count:Datei|Dateien} geöffnet", "hat in den letzten 7 Tagen 1.204 Dateien geöffnet"),
        (
            "fr",
            "a ouvert {count:fichier|de fichiers|fichiers} {window}",
            "a ouvert 1\u202f204 fichiers au cours des 7 derniers jours",
        ),
        ("es", "abrió {count:archivo|archivos} {window}", "abrió 1204 archivos en los últimos 7 días"),
    ],
)
def test_a_sentence_is_filled_in_its_language(language: str, sentence: str, said: str) -> None:
    says = wording(language)
    facts = {"count": 1204, "window": says.window(7 * 86_400_000_000)}
    assert Phrase.parse(sentence).fill(facts, says) == said


@given(st.sampled_from(list(LANGUAGES)), st.integers(0, 10**12), st.floats(0.05, 10**9))
def test_every_number_among_the_facts_is_found_back_in_the_text(language: str, count: int, spent: float) -> None:
    text = Phrase.parse("{count:file|files} for {spent}").fill({"count": count, "spent": spent}, wording(language))
    first, second = (parse_decimal(found, locale=language) for found in re.findall(r"\d[\d.,\u202f]*", text))
    assert first == count
    assert math.isclose(float(second), spent, abs_tol=0.501 if spent >= 99.95 else 0.0501)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_an_error_and_no_text(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Phrase.parse("{count}").fill({"count": value})
    with pytest.raises(ValueError, match="finite"):
        Phrase.parse("{count:file|files}").fill({"count": value})


@pytest.mark.parametrize(
    ("sentence", "language", "problem"),
    [
        ("{count:a|b|c}", "en", "must give 2 forms of {count:…} in language 'en' (one|other), got 3."),
        ("{window} {n:a|b|c}", "de", "must give 2 forms of {n:…} in language 'de' (one|other), got 3."),
        (
            "{count:a|b|c|d}",
            "fr",
            "must give 2 or 3 forms of {count:…} in language 'fr' (one|other or one|many|other), got 4.",
        ),
        ("{count:once|times}", "de", "must say 'einmal' for one in language 'de', got 'once'."),
        ("{count:Una vez|veces}", "fr", "must say 'une fois' for one in language 'fr', got 'Una vez'."),
    ],
)
def test_forms_that_are_not_the_languages_are_named(sentence: str, language: str, problem: str) -> None:
    assert list(problems_of(Phrase.parse(sentence), language)) == [problem]


@pytest.mark.parametrize(
    ("sentence", "language"),
    [
        ("{count:a|b} {window}", "en"),
        ("{count:once|times}", "en"),
        ("{count:einmal|mal}", "de"),
        ("{count:a|b}", "fr"),
        ("{count:a|b|c}", "es"),
        ("{count}", "es"),
    ],
)
def test_forms_of_the_language_are_no_problem(sentence: str, language: str) -> None:
    assert list(problems_of(Phrase.parse(sentence), language)) == []


# --- what strangers write ---------------------------------------------------------------------

EVIL = [
    "<script>alert(1)</script>",
    "{count}",
    "{0.__class__.__init__.__globals__}",
    "%s%n",
    "abc\u202ecba",
    "a\x00b\x1b[2J",
    "<!channel> <@U024BE7LH>",
    "two\nlines\r\nX-Header: 1",
    "zero\u200bwidth",
    "\ud800",
    "x" * 10_000,
    "\u0301" * 500,
]


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_what_a_stranger_wrote_stands_in_a_sentence_as_plain_text(evil: str) -> None:
    said = Phrase.parse("works at {value} and {count:a|b}").fill({"value": evil, "count": 2})
    assert said == f"works at {plain(evil)} and 2 b"
    assert said.isprintable()
    assert len(said) <= 80 + len("works at  and 2 b")
    said.encode("utf-8")


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_a_text_where_a_number_should_be_is_made_plain_too(evil: str) -> None:
    assert Phrase.parse("{count:a|b}").fill({"count": evil}) == f"{plain(evil)} b"


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_sentence_of_ours_is_said_whole(name: str) -> None:
    sentence = "opened the pricing page 3 times, " * 10
    assert Phrase.parse(f"{{{name}}}").fill({name: sentence}) == sentence


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_own_words_would_pass_as_plain_text_unchanged(language: str) -> None:
    says = wording(language)
    words = [says.window(None), says.window(3650 * 86_400_000_000), says.ago(0), says.ago(1234), says.more_than(92, 6)]
    assert [plain(one) for one in words] == words

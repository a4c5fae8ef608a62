"""Sentences are filled with facts and nothing else: what stands in braces is a plain name or an error."""

import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.phrases import Phrase, number_words

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


@pytest.mark.parametrize(("count", "said"), [(1, "invited once"), (2, "invited 2 times"), (0, "invited 0 times")])
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


@given(st.lists(st.tuples(st.text("abc .,!", max_size=5), NAMES), min_size=1, max_size=6), st.text("xyz"))
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
        (99.94, "99.9"),
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

"""Sentences whose figures can be looked up, and in which the words of others stay words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.reporting.words import (
    Facts,
    Shown,
    count,
    days,
    number,
    out_of_hundred,
    percent,
    points,
    say,
    sentence,
    signed,
)

HOSTILE = "<b>{auc}</b> & \"'"
FACTS = Facts({"auc": 0.8349, "auc_low": 0.8, "auc_high": 0.86, "few": float("nan")})


def test_a_figure_says_its_name_its_value_and_how_it_is_written() -> None:
    assert FACTS.show("auc").__html__() == '<span data-figure="auc" data-value="0.8349">0.835</span>'
    assert str(FACTS.show("auc", percent)) == "83%"


def test_an_interval_shows_both_ends() -> None:
    assert str(FACTS.spread("auc", percent)) == "80% to 86%"
    assert FACTS.spread("auc").__html__().count("data-figure") == 2


def test_words_of_others_are_escaped_and_never_filled_in() -> None:
    said = say("{who} has {auc}", who=HOSTILE, auc=FACTS.show("auc"))
    assert str(said) == f"{HOSTILE} has 0.835"
    assert "<b>" not in said.__html__()
    assert said.__html__().endswith('<span data-figure="auc" data-value="0.8349">0.835</span>')


def test_what_is_hostile_in_a_name_is_escaped_too() -> None:
    assert "<b>" not in Shown(HOSTILE, 1.0, HOSTILE).__html__()


def test_sentences_may_hold_sentences() -> None:
    inner = say("about {auc}", auc=FACTS.show("auc"))
    assert "data-figure" in say("({inner})", inner=inner).__html__()
    assert str(say("({inner})", inner=inner)) == "(about 0.835)"


def test_a_figure_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        FACTS.show("acu")


@pytest.mark.parametrize("form", [percent, number, out_of_hundred, days, signed, points])
def test_what_is_no_number_is_a_dash(form: object) -> None:
    assert callable(form)
    assert form(float("nan")) == "-"


@pytest.mark.parametrize(
    ("written", "text"),
    [(count(1234.0), "1,234"), (days(2.25), "2.2"), (signed(-0.00123), "-0.0012"), (points(0.123), "+12.3"),
     (out_of_hundred(0.365), "36"), (percent(1.0), "100%"), (percent(0.0034), "0.3%"), (sentence("aB"), "AB")],
)  # fmt: skip
def test_figures_are_written_as_people_read_them(written: str, text: str) -> None:
    assert written == text


@given(st.text())
def test_any_words_come_out_as_they_went_in(words: str) -> None:
    assert str(say("{words}", words=words)) == words

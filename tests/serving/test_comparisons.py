"""A comparison says what is surely true of trials of that age, and only where it is worth a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.columns import Column
from features.phrases import Phrase
from features.wording import wording
from serving.scoring.comparisons import Comparisons
from serving.scoring.reference import Reference, Usual

COLUMNS = tuple(
    Column(name, name, "lead", 0, "", "", Phrase.parse("{value}")) for name in ("age", "views", "unheard", "rare")
)
USUAL = Usual(((0.0, 2.0, 5.0, 8.0),), ((0.2, 0.5, 0.76, 1.0),))
RARE = Usual(((1.0, 4.0),), ((0.1, 0.2),))
REFERENCE = Reference(np.array([0.5]), (3.0,), np.zeros((1, 4)), {}, {"views": USUAL, "rare": RARE})
ENGLISH = Comparisons(COLUMNS, REFERENCE, wording("en"), whom="trials")


def at(value: float, age: float = 4.2, place: int = 1) -> tuple[int, Any, int]:
    row = [0.0] * 4
    row[0], row[place] = age, value
    return place, row, REFERENCE.place(age)


@pytest.mark.parametrize(
    ("value", "more", "fewer"),
    [(0.0, None, 80), (1.0, None, 50), (2.0, None, 50), (2.1, None, None), (6.0, 76, None), (9.0, 99, None)],
)
def test_more_is_said_from_three_quarters_on_and_fewer_from_half_on(
    value: float, more: int | None, fewer: int | None
) -> None:
    assert ENGLISH.more_than(*at(value)) == ({} if more is None else {"more_than_percent": more, "day": 3})
    assert ENGLISH.fewer_than(*at(value)) == ({} if fewer is None else {"fewer_than_percent": fewer, "day": 3})


@pytest.mark.parametrize("place", [None, 2])
def test_what_nobody_counted_is_not_compared(place: int | None) -> None:
    _, *lead = at(9.0)
    assert ENGLISH.more_than(place, *lead) == ENGLISH.fewer_than(place, *lead) == {}


def test_before_the_first_age_nothing_is_compared_in_words() -> None:
    assert ENGLISH.more_than(*at(9.0, age=3.0)) != {}
    assert ENGLISH.more_than(*at(9.0, age=2.9)) == ENGLISH.fewer_than(*at(0.0, age=2.9)) == {}
    assert not ENGLISH.agrees(*at(0.0, age=2.9), 1)
    assert not ENGLISH.agrees(*at(9.0, age=2.9), -1)
    # A fact about the lead, which has nothing to do with its age, is compared with those of the first one.
    assert ENGLISH.agrees(*at(0.0, age=2.9), -1)


def test_from_the_day_on_from_which_nothing_is_known_nothing_is_compared_in_words() -> None:
    until = replace(ENGLISH, reference=replace(ENGLISH.reference, until=5.0))
    assert until.more_than(*at(9.0, age=4.9)) != {}
    assert until.more_than(*at(9.0, age=5.0)) == until.fewer_than(*at(0.0, age=5.0)) == {}
    assert until.agrees(*at(9.0, age=400.0), 1)


@pytest.mark.parametrize(
    ("value", "above", "below"), [(0.0, False, True), (2.0, False, True), (2.5, True, False), (6.0, True, False)]
)
def test_a_number_agrees_with_a_direction_where_half_of_the_others_are_on_the_other_side(
    value: float, above: bool, below: bool
) -> None:
    assert (ENGLISH.agrees(*at(value), 1), ENGLISH.agrees(*at(value), -1)) == (above, below)


@pytest.mark.parametrize("place", [1, 3])
@pytest.mark.parametrize("value", [0.0, 1.0, 2.0, 2.5, 4.0, 9.0, np.nan])
def test_a_number_agrees_upwards_where_it_is_above_the_floor_of_its_age(value: float, place: int) -> None:
    floors = ENGLISH.floors(place)
    assert floors is not None
    assert (value > floors[0]) == ENGLISH.agrees(*at(value, place=place), 1)


@pytest.mark.parametrize("place", [None, 2])
def test_what_nobody_counted_has_no_floor(place: int | None) -> None:
    assert ENGLISH.floors(place) is None


def test_where_it_is_known_of_few_half_of_them_are_enough_to_agree_and_not_to_be_told() -> None:
    assert ENGLISH.agrees(*at(4.0, place=3), 1)
    assert not ENGLISH.agrees(*at(1.0, place=3), 1)
    assert ENGLISH.more_than(*at(9.0, place=3)) == {}


def test_of_what_nobody_counted_either_direction_may_be_true() -> None:
    assert ENGLISH.agrees(*at(9.0, place=2), 1)
    assert ENGLISH.agrees(*at(9.0, place=2), -1)


def test_a_sentence_without_a_comparison_stays_as_it_is() -> None:
    assert ENGLISH.words("3 views", {}) == "3 views"


def test_a_comparison_stands_at_the_end_of_its_sentence() -> None:
    assert ENGLISH.words("3 views", {"more_than_percent": 76, "day": 3}).startswith("3 views, more than 76% of trials")
    assert ENGLISH.words("1, 2", {"fewer_than_percent": 60, "day": 3}).startswith("1, 2 (fewer than 60% of trials")


def test_accounts_are_compared_with_accounts() -> None:
    found = Comparisons(COLUMNS, REFERENCE, wording("en"), whom="accounts").words(
        "3 views", {"more_than_percent": 76, "day": 3}
    )
    assert "76% of accounts" in found


def test_the_same_comparison_of_two_leads_is_said_in_the_same_words() -> None:
    compared = {"more_than_percent": 76, "day": 3}
    assert ENGLISH.words("3 views", compared) == ENGLISH.words("3 views", compared)
    assert ENGLISH.words("3 views", {"more_than_percent": 76}) == "3 views, more than 76% of trials"
    assert ENGLISH.words("3 views", {"fewer_than_percent": 76}) == "3 views, fewer than 76% of trials"

"""A trait means the same number in a table and in a request, alone and among others."""

import math
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.columns import Column, columns
from features.definition import Trait, parse
from features.domains import FREE_MAIL, domain_of
from features.traits import (
    MAX_LEVELS,
    MIN_LEVEL_COUNT,
    learn_levels,
    level_of,
    levels_of,
    misread,
    trait_column,
    trait_number,
)

DEFINITION = parse(
    """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3}
traits:
  - {name: size, type: number}
  - {name: sector, type: category}
  - {name: mail, type: email_domain}
  - {name: invited, type: flag}
"""
)
LEVELS = {"sector": ("retail", "3")}
PLACES = {"size": "size", "retail": "sector=retail", "3": "sector=3", "mail": "mail_is_business", "invited": "invited"}


def column(short: str) -> tuple[Column, Trait]:
    found = next(one for one in columns(DEFINITION, LEVELS) if one.name == PLACES[short])
    return found, DEFINITION.trait_of[found.owner]


@pytest.mark.parametrize(
    ("short", "value", "number"),
    [
        ("size", 40, 40),
        ("size", 2.5, 2.5),
        ("size", "40", 40),
        ("size", True, 1),
        ("size", "many", None),
        ("size", None, None),
        ("size", math.inf, None),
        ("size", [40], None),
        ("retail", "retail", 1),
        ("retail", "Retail", 0),
        ("retail", "unheard of", 0),
        ("retail", "", 0),
        ("retail", None, None),
        ("retail", math.nan, None),
        ("3", 3, 1),
        ("3", 3.0, 1),
        ("3", "3", 1),
        ("3", 3.5, 0),
        ("mail", "ann@firm.example", 1),
        ("mail", "ann@gmail.com", 0),
        ("mail", "Ann@GMail.com ", 0),
        ("mail", "firm.example", 1),
        ("mail", "nobody", None),
        ("mail", "", None),
        ("mail", 7, None),
        ("mail", None, None),
        ("invited", True, 1),
        ("invited", False, 0),
        ("invited", "true", 1),
        ("invited", "No", 0),
        ("invited", "YES", 1),
        ("invited", 1, 1),
        ("invited", 0, 0),
        ("invited", 1.0, 1),
        ("invited", 0.0, 0),
        ("invited", "0", 0),
        ("invited", 2, None),
        ("invited", "perhaps", None),
        ("invited", None, None),
    ],
)
def test_a_value_means_one_number(short: str, value: object, number: float | None) -> None:
    expected = math.nan if number is None else number
    np.testing.assert_equal(trait_number(*column(short), value), float(expected))
    np.testing.assert_array_equal(trait_column(*column(short), [value]), [expected])


MIXED = st.sampled_from(
    [None, 1, 1.0, True, "1", 0, False, "true", "retail", 3, 3.0, "3", math.nan, [1], {"a": 1}, "a@b.example"]
)


@given(st.sampled_from(sorted(PLACES)), st.lists(MIXED, max_size=8))
def test_a_column_is_each_value_by_itself(short: str, values: list[object]) -> None:
    whole = trait_column(*column(short), values)
    assert whole.dtype == np.float64
    assert whole.shape == (len(values),)
    np.testing.assert_array_equal(whole, [trait_number(*column(short), value) for value in values])


# --- e-mail ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("ann@firm.example", "firm.example"),
        ("ANN@Firm.Example", "firm.example"),
        ("a@b@firm.example", "firm.example"),
        ("firm.example", "firm.example"),
        (" firm.example ", "firm.example"),
        ("ann@localhost", None),
        ("ann@", None),
        ("ann", None),
        ("", None),
        (None, None),
        (3.5, None),
    ],
)
def test_the_domain_of_an_address_is_what_follows_the_last_at(address: object, domain: str | None) -> None:
    assert domain_of(address) == domain


def test_free_mail_providers_are_plain_domains() -> None:
    assert {"gmail.com", "outlook.com", "gmx.de"} <= FREE_MAIL
    assert all(domain_of(provider) == provider for provider in FREE_MAIL)


# --- levels ----------------------------------------------------------------------------------


def learned(values: Sequence[object]) -> tuple[str, ...]:
    return learn_levels(DEFINITION, {"sector": values})["sector"]


def test_a_category_gets_a_level_from_exactly_thirty_leads_on() -> None:
    assert MIN_LEVEL_COUNT == 30
    assert learned(["a"] * 30 + ["b"] * 29 + [None] * 90) == ("a",)


def test_levels_are_the_most_frequent_first_and_ties_go_by_the_alphabet() -> None:
    assert learned(["c"] * 30 + ["b"] * 31 + ["a"] * 30) == ("b", "a", "c")


def test_only_so_many_levels_are_learned() -> None:
    assert MAX_LEVELS == 12
    values = [f"level {number:02}" for number in range(MAX_LEVELS + 3) for _ in range(MIN_LEVEL_COUNT)]
    assert learned(values) == tuple(f"level {number:02}" for number in range(MAX_LEVELS))


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_leads_does_not_decide_the_levels(random: Random) -> None:
    values = [f"level {number % 14}" for number in range(14 * 35)]
    expected = learned(values)
    random.shuffle(values)
    assert learned(values) == expected


def test_one_category_written_as_different_numbers_is_one_level() -> None:
    assert learned([3] * 10 + [3.0] * 10 + ["3"] * 10) == ("3",)
    assert level_of(3.5) == "3.5"
    assert level_of(math.nan) is level_of(None) is None


def test_nobody_at_all_gives_no_levels() -> None:
    assert learned([]) == ()
    assert learn_levels(DEFINITION.model_copy(update={"traits": ()}), {}) == {}


def test_only_categories_have_levels() -> None:
    assert set(learn_levels(DEFINITION, {"sector": ["a"], "size": [1] * 50})) == {"sector"}


def test_levels_can_be_written_as_json() -> None:
    assert levels_of({"sector": ("a", "b")}) == {"sector": ["a", "b"]}


# --- what is no value of a trait --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("size", "ten", "a number"), ("size", "10 people", "a number"), ("size", "nan", "a number"), ("size", "inf", "a number"),
        ("size", float("inf"), "a number"), ("invited", "maybe", "true or false"), ("invited", 2, "true or false"),
        ("invited", 0.5, "true or false"), ("mail", 5, "an e-mail address or a domain"),
        ("mail", True, "an e-mail address or a domain"),
    ],
)  # fmt: skip
def test_a_value_that_nothing_can_be_made_of_is_told_what_it_must_be(name: str, value: object, wanted: str) -> None:
    assert misread(DEFINITION.trait_of[name], value) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 3), ("size", -0.5), ("size", " 7"), ("size", "1e3"), ("size", True), ("size", 10**400), ("size", 1e300),
        ("invited", True), ("invited", "Yes"), ("invited", "0"), ("invited", 1), ("invited", 1.0), ("mail", "a@b.example"),
        ("mail", "b.example"), ("mail", "nobody"), ("sector", 3), ("sector", "never seen"), ("sector", False),
    ],
)  # fmt: skip
def test_a_value_that_tables_make_something_of_is_fine(name: str, value: object) -> None:
    assert misread(DEFINITION.trait_of[name], value) is None


@pytest.mark.parametrize("name", ["size", "sector", "mail", "invited"])
@pytest.mark.parametrize("blank", [None, "", "  "])
def test_nothing_is_not_known_and_no_mistake(name: str, blank: object) -> None:
    assert misread(DEFINITION.trait_of[name], blank) is None


@given(st.none() | st.booleans() | st.integers(-(10**14), 10**14) | st.floats(-1e14, 1e14) | st.text(max_size=6))
def test_only_what_would_be_unknown_is_ever_refused(value: object) -> None:
    for column in columns(DEFINITION, LEVELS):
        trait = DEFINITION.trait_of.get(column.owner)
        if trait is not None and misread(trait, value) is not None:
            assert math.isnan(trait_number(column, trait, value))


@given(st.lists(st.sampled_from([None, 1, 1.0, True, "1", "x", 3, "3"]), max_size=30))
def test_few_values_are_read_like_many(values: list[object]) -> None:
    for column in columns(DEFINITION, LEVELS)[1:]:
        trait = DEFINITION.trait_of[column.owner]
        many = trait_column(column, trait, [*values, *range(20)])[: len(values)]
        np.testing.assert_array_equal(trait_column(column, trait, values), many)

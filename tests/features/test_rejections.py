"""What was refused is counted by reason, with the first few rows as they were; what was mended is counted beside it."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.rejections import SAMPLES, Rejection, Sieve

BAD = pl.col("n") < 0


def numbers(*values: int | None) -> pl.DataFrame:
    return pl.DataFrame({"n": values, "name": [str(value) for value in values]}, schema_overrides={"n": pl.Int64})


def test_a_row_is_refused_where_it_is_bad_and_else_kept_in_its_place() -> None:
    sieve = Sieve("table")
    assert sieve.refuse(numbers(3, -1, 2, -4), BAD, "n is below 0", ["n"])["n"].to_list() == [3, 2]
    assert list(sieve) == [Rejection("table", "n is below 0", 2, ("{'n': -1}", "{'n': -4}"))]


def test_a_row_of_which_nobody_can_say_that_it_is_good_is_refused() -> None:
    sieve = Sieve("table")
    assert sieve.refuse(numbers(1, None), BAD, "n is below 0", ["n"])["n"].to_list() == [1]
    assert sieve.total == 1


def test_where_nothing_is_bad_nothing_is_said() -> None:
    sieve, frame = Sieve("table"), numbers(1, 2)
    assert sieve.refuse(frame, BAD, "n is below 0", ["n"]).equals(frame)
    assert (list(sieve), sieve.total, sieve.mended) == ([], 0, {})


def test_what_is_shown_may_be_worked_out() -> None:
    sieve = Sieve("table")
    sieve.refuse(numbers(-1), BAD, "n is below 0", ["name", (pl.col("n") * 2).alias("twice")])
    assert next(iter(sieve)).samples == ("{'name': '-1', 'twice': -2}",)


@given(st.lists(st.lists(st.integers(-3, 3), max_size=6), max_size=6))
def test_batches_are_counted_as_if_they_were_one(batches: list[list[int]]) -> None:
    many, one = Sieve("table"), Sieve("table")
    for batch in batches:
        many.refuse(numbers(*batch), BAD, "n is below 0", ["n"])
    whole = [value for batch in batches for value in batch]
    one.refuse(numbers(*whole), BAD, "n is below 0", ["n"])
    assert list(many) == list(one)
    assert many.total == sum(value < 0 for value in whole)


def test_only_the_first_few_samples_of_each_reason_are_kept() -> None:
    sieve = Sieve("table")
    sieve.count("a", 900, ["1", "2"])
    sieve.count("b", 1, ["x"])
    sieve.count("a", 100, ["3", "4", "5"])
    assert SAMPLES == 3
    assert list(sieve) == [Rejection("table", "a", 1_000, ("1", "2", "3")), Rejection("table", "b", 1, ("x",))]
    assert sieve.total == 1_001


def test_a_rejection_says_what_where_how_many_and_for_example() -> None:
    assert str(Rejection("events", "timestamp lies before 1990", 1_234, ("{'a': 1}", "{'a': 2}"))) == (
        "events: 1,234 row(s) refused: timestamp lies before 1990. For example {'a': 1}; {'a': 2}"
    )


def test_a_rejection_without_samples_gives_no_example() -> None:
    said = str(Rejection("events", "timestamp lies more than 7 days after all others", 2, ()))
    assert "For example" not in said
    assert said.startswith("events: 2 row(s) refused: timestamp lies more than 7 days after all others")


@pytest.mark.parametrize(("values", "count"), [((1, 2), None), ((-1, 2, -3), 2), ((None,), None), ((), None)])
def test_rows_that_are_set_right_are_counted_and_stay(values: tuple[int | None, ...], count: int | None) -> None:
    sieve, frame = Sieve("table"), numbers(*values)
    sieve.mend("below 0, set right", frame, BAD)
    assert sieve.mended == ({} if count is None else {"below 0, set right": count})
    assert sieve.total == 0


def test_what_is_mended_adds_up_over_batches_each_by_itself() -> None:
    sieve = Sieve("table")
    for _ in range(3):
        sieve.mend("one", numbers(-1, 1), BAD)
    sieve.mend("other", numbers(-1), BAD)
    assert sieve.mended == {"one": 3, "other": 1}


def test_two_sieves_know_nothing_of_each_other() -> None:
    one, other = Sieve("a"), Sieve("b")
    one.count("reason", 1, [])
    one.mend("what", numbers(-1), BAD)
    assert (list(other), other.mended) == ([], {})

"""A draft's traits come from the trials table and from what identify and group events tell."""

import polars as pl
import pytest
import yaml

from training.drafting.traits import trait_lines


def told(event: str, texts: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"event": [event] * len(texts), "properties": texts}, schema={"event": pl.String, "properties": pl.String}
    )


def traits(events: pl.DataFrame, trials: pl.DataFrame | None = None) -> dict[str, str]:
    text = "\n".join(trait_lines(events, trials, set()))
    return {one["column"]: one["type"] for one in (yaml.safe_load(text) or {}).get("traits", [])}


NO_EVENTS = told("$identify", [])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ('"pro"', "category"), ("12", "number"), ("1.5", "number"), ("true", "flag"), ('"ann@acme.com"', "email_domain"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("event", ["$identify", "$group"])
def test_a_fact_told_often_enough_becomes_a_trait_of_its_kind(event: str, values: str, kind: str) -> None:
    assert traits(told(event, [f'{{"x": {values}}}'] * 20)) == {"x": kind}


def test_a_fact_told_by_fewer_than_twenty_events_is_left_out() -> None:
    assert traits(told("$identify", ['{"x": 1}'] * 19)) == {}


def test_a_fact_that_is_a_number_here_and_a_text_there_is_a_category() -> None:
    assert traits(told("$identify", ['{"x": 1}', '{"x": "one"}'] * 10)) == {"x": "category"}


def test_a_fact_that_is_a_flag_here_and_a_number_there_is_a_category() -> None:
    assert traits(told("$identify", ['{"x": 1}', '{"x": true}'] * 10)) == {"x": "category"}


def test_nested_facts_broken_texts_and_other_events_are_passed_over() -> None:
    events = pl.concat(
        [
            told("$identify", ['{"x": {"y": 1}, "z": [1]}'] * 20),
            told("$identify", ["{", "[1]", "3", None]),
            told("bought", ['{"amount": 3}'] * 20),
        ]
    )
    assert traits(events) == {}


def test_a_column_of_the_trials_table_is_read_from_there() -> None:
    trials = pl.DataFrame({"user_id": ["a"], "x": ["many"], "account_id": ["A"]})
    assert traits(told("$identify", ['{"x": 1}'] * 20), trials) == {"x": "category"}


def test_a_fact_with_too_many_values_is_named_and_left_out() -> None:
    lines = trait_lines(told("$identify", [f'{{"name": "n{i}", "plan": "p"}}' for i in range(60)]), None, set())
    assert any(line.startswith("  # left out: name") for line in lines)
    assert traits(NO_EVENTS) == {}

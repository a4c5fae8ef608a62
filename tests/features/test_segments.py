"""A lead's segment is read from its row: the same that its trait says, whichever way the row came about."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import dataset
from features.definition import parse
from features.durations import DAY
from features.errors import InvalidSetting
from features.matrix import FeatureBuilder
from features.segments import NO_LEVEL, levels_of_trait, segment_numbers
from features.windows import Ints

DEFINITION = parse(
    """
product: Tested
conversion: {event: paid, horizon: 30d}
score_at: [7d]
windows: [7d]
cutoff: {at_least: 0.3, segments: plan}
signals:
  - {name: plan_viewed, kind: upgrade_intent, events: [viewed], text: looked}
traits:
  - {name: seats, type: number}
  - {name: plan, type: category}
  - {name: email, type: email_domain}
  - {name: invited, type: flag}
"""
)
LEVELS = {"plan": ("free", "team", "3")}
BUILDER = FeatureBuilder(DEFINITION, LEVELS)
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)

VALUES: dict[str, list[tuple[str | None, str | None]]] = {
    "plan": [("free", "free"), ("team", "team"), ("3", "3"), ("rare", None), ("", None), (None, None)],
    "email": [("a@gmail.com", "free mail"), ("b@firm.example", "business"), ("nobody", None), (None, None)],
    "invited": [("true", "yes"), ("no", "no"), ("?", None), (None, None)],
}
"""Of each trait, values and the names of the levels they must be in."""


def segments_of(trait: str, values: list[str | None]) -> Ints:
    n = len(values)
    columns: dict[str, list[str | None]] = {name: [None] * n for name in ("plan", "email", "invited")}
    # What nobody has is no column at all, so somebody who is not asked about has everything.
    users = [*(f"u{i}" for i in range(n)), "somebody"]
    known = {"plan": "free", "email": "x@y.example", "invited": "no"}
    told = {name: [*(values if name == trait else held), known[name]] for name, held in columns.items()}
    trials = pl.DataFrame(
        {"user_id": users, "account_id": users, "started_at": [BEGUN] * (n + 1), "seats": ["7"] * (n + 1), **told}
    )
    events = pl.DataFrame({"user_id": users, "event": ["viewed"] * (n + 1), "timestamp": [BEGUN] * (n + 1)})
    data = dataset(events, trials, DEFINITION)
    which = np.array([data.leads.ids.index(user) for user in users[:n]], np.int64)
    as_of = data.leads.started_at[which] + 7 * DAY
    return segment_numbers(data.rows(BUILDER, which, as_of), BUILDER.columns, trait)


@pytest.mark.parametrize("trait", list(VALUES))
def test_a_row_is_in_the_level_that_its_trait_names(trait: str) -> None:
    names = levels_of_trait(DEFINITION, LEVELS, trait)
    found = segments_of(trait, [value for value, _ in VALUES[trait]])
    assert [None if number == NO_LEVEL else names[number] for number in found] == [name for _, name in VALUES[trait]]


@pytest.mark.parametrize(
    ("trait", "names"),
    [("plan", ("free", "team", "3")), ("email", ("free mail", "business")), ("invited", ("no", "yes"))],
)
def test_levels_have_names(trait: str, names: tuple[str, ...]) -> None:
    assert levels_of_trait(DEFINITION, LEVELS, trait) == names


def test_a_category_that_training_saw_too_rarely_has_no_levels_and_no_rows_in_them() -> None:
    rare = FeatureBuilder(DEFINITION, {"plan": ()})
    assert levels_of_trait(DEFINITION, {}, "plan") == ()
    assert segment_numbers(np.ones((3, len(rare.columns))), rare.columns, "plan").tolist() == [NO_LEVEL] * 3


def test_a_category_of_one_level_is_a_level_and_no_flag() -> None:
    one = FeatureBuilder(DEFINITION, {"plan": ("team",)})
    place = next(i for i, column in enumerate(one.columns) if column.name == "plan=team")
    rows = np.zeros((3, len(one.columns)))
    rows[:, place] = [1, 0, np.nan]
    assert segment_numbers(rows, one.columns, "plan").tolist() == [0, NO_LEVEL, NO_LEVEL]


@pytest.mark.parametrize(
    ("trait", "got"), [("seats", "'seats \\(a number\\)'"), ("plam", "'plam'"), ("plan_viewed", "'plan_viewed'")]
)
def test_what_has_no_levels_makes_no_segments(trait: str, got: str) -> None:
    with pytest.raises(InvalidSetting, match=f"cutoff.segments must be a trait of type category, .*, got {got}"):
        levels_of_trait(DEFINITION, LEVELS, trait)


@given(st.integers(0, 5), st.sampled_from(["plan", "email", "invited"]))
def test_every_number_is_that_of_a_name(n: int, trait: str) -> None:
    rng = np.random.default_rng(n)
    rows = rng.choice([0.0, 1.0, np.nan], (n, len(BUILDER.columns)))
    found = segment_numbers(rows, BUILDER.columns, trait)
    assert found.shape == (n,)
    assert ((found >= NO_LEVEL) & (found < len(levels_of_trait(DEFINITION, LEVELS, trait)))).all()

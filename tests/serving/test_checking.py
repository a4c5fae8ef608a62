"""Rows checked all at once: those that can be scored are whole, and each other is told what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest

from features.definition import parse
from features.durations import DAY
from features.errors import InvalidInput
from features.leads import NEVER
from features.matrix import FeatureBuilder
from features.windows import Floats
from serving.jobs.checking import Checked, checked
from serving.jobs.layout import Block, Layout
from serving.scoring.scorer import Scorer
from tests.serving.job_files import NOW, table_of


def check(frame: pl.DataFrame, builder: FeatureBuilder) -> Checked:
    return checked(Block(np.arange(1, len(frame) + 1), frame, []), Layout.of(builder), builder, NOW)


def fault(scorer: Scorer, rows: Floats, name: str, value: Any) -> dict[str, str]:
    """Return what is said of the second of three rows that has this value."""
    table = table_of(scorer, rows[:3])
    kind = pl.String if isinstance(value, str) else None
    values = table[name].to_list() if name in table.columns else [None] * 3
    values[1] = value
    found = check(table.with_columns(pl.Series(name, values, dtype=kind)), scorer.builder)
    (refused,) = found.rejected
    assert refused.row == 2
    assert found.lead_ids.to_list() == ["lead 0", "lead 2"]
    np.testing.assert_array_equal(found.rows, rows[[0, 2]])
    return refused.error


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_lead_needs_an_id(value: str | None, scorer: Scorer, rows: Floats) -> None:
    assert fault(scorer, rows, "lead_id", value)["message"] == "lead_id must not be empty."


def test_values_must_be_such_as_the_version_has(scorer: Scorer, rows: Floats) -> None:
    for value in (float("inf"), -1.0, None):
        said = fault(scorer, rows, "trial_age_days", value)
        assert said["field"] == "trial_age_days"
        assert said["message"].startswith(
            "trial_age_days (days since the trial began) must be a number not below 0, got"
        )


def test_a_trial_cannot_have_begun_before_there_was_any(scorer: Scorer, rows: Floats) -> None:
    assert "must not reach back before 1990" in fault(scorer, rows, "trial_age_days", 40_000.0)["message"]


@pytest.mark.parametrize("name", ["as_of", "ends_at"])
@pytest.mark.parametrize("value", ["yesterday", "2026-01-09", "2026-01-09T09:00:00", "2026-13-01T00:00:00Z"])
def test_times_must_be_times_with_a_zone(name: str, value: str, scorer: Scorer, rows: Floats) -> None:
    said = fault(scorer, rows, name, value)
    assert said["field"] == name
    assert "must be an ISO 8601 time with its zone" in said["message"]


def test_a_trait_must_be_of_its_kind(scorer: Scorer, rows: Floats) -> None:
    table = table_of(scorer, rows[:2], email=[5.5, None])
    (refused,) = check(table, scorer.builder).rejected
    assert "email must be an e-mail address or a domain, got '5.5'" in refused.error["message"]


def test_several_bad_rows_are_told_in_their_order(scorer: Scorer, rows: Floats) -> None:
    table = table_of(scorer, rows[:6]).with_columns(
        lead_id=pl.Series(["a", None, "c", "d", None, "f"]), as_of=pl.Series([None, "x", None, "x", None, None])
    )
    found = check(table, scorer.builder)
    assert [one.row for one in found.rejected] == [2, 4, 5]
    assert found.lead_ids.to_list() == ["a", "c", "f"]


def test_without_a_moment_the_job_s_own_counts(scorer: Scorer, rows: Floats) -> None:
    table = table_of(scorer, rows[:2], as_of=["2026-03-01T10:00:00+01:00", None])
    expected = int(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp()) * 1_000_000
    assert check(table, scorer.builder).as_of.tolist() == [expected, NOW]
    assert check(table_of(scorer, rows[:1]), scorer.builder).as_of.tolist() == [NOW]


def test_times_of_a_parquet_file_may_be_times(scorer: Scorer, rows: Floats) -> None:
    moment = datetime(2026, 3, 1, 9, tzinfo=UTC)
    table = table_of(scorer, rows[:1], ends_at=[moment])
    assert check(table, scorer.builder).ends_at.tolist() == [int(moment.timestamp()) * 1_000_000]


def test_times_of_a_parquet_file_without_a_zone_fail_the_file(scorer: Scorer, rows: Floats) -> None:
    with pytest.raises(InvalidInput, match="as_of must carry a time zone"):
        check(table_of(scorer, rows[:1], as_of=[datetime(2026, 3, 1)]), scorer.builder)


def test_without_an_end_the_definition_tells_when_a_trial_ends(scorer: Scorer, rows: Floats) -> None:
    found = check(table_of(scorer, rows[:3]), scorer.builder)
    length = scorer.builder.definition.trial.length
    assert length is not None
    assert found.ends_at.tolist() == [NOW - round(age * DAY) + length for age in rows[:3, 0].tolist()]


def test_an_account_s_trial_has_no_length(scorer: Scorer, rows: Floats) -> None:
    definition = scorer.builder.definition.model_copy(update={"lead": "account"})
    builder = FeatureBuilder(definition, scorer.builder.levels)
    assert check(table_of(scorer, rows[:2]), builder).ends_at.tolist() == [NEVER, NEVER]


def test_leads_that_the_definition_excludes_are_refused(scorer: Scorer, rows: Floats, definition_text: str) -> None:
    lists = parse(definition_text).exclude.model_copy(
        update={"users": ("lead 0",), "accounts": ("acme",), "email_domains": ("rival.example",)}
    )
    definition = scorer.builder.definition.model_copy(update={"exclude": lists})
    table = table_of(
        scorer, rows[:4], account_id=[None, "acme", "other", None],
        email=[None, None, "jo@rival.example", "jo@friend.example"],
    )  # fmt: skip
    found = check(table, FeatureBuilder(definition, scorer.builder.levels))
    assert [one.row for one in found.rejected] == [1, 2, 3]
    assert found.lead_ids.to_list() == ["lead 3"]
    assert "list of excluded leads" in found.rejected[0].error["message"]


def test_a_subject_is_what_answers_are_made_of(scorer: Scorer, rows: Floats) -> None:
    table = table_of(scorer, rows[:1], account_id=["a"], email=["jo@acme.example"])
    layout = Layout.of(scorer.builder)
    found = check(table, scorer.builder).subject(0, scorer.builder.definition, layout)
    assert (found.lead_id, found.account_id, found.as_of) == ("lead 0", "a", NOW)
    assert found.traits["email"] == "jo@acme.example"
    place = layout.features.index("company_size")
    assert found.traits["company_size"] == (None if np.isnan(rows[0, place]) else rows[0, place])


def test_a_block_without_rows_is_nothing_to_score(scorer: Scorer, rows: Floats) -> None:
    found = check(table_of(scorer, rows[:1]).clear(), scorer.builder)
    assert (len(found.rows), found.rejected) == (0, [])


def test_a_number_that_is_none_is_told_of_a_trait_too(scorer: Scorer, rows: Floats) -> None:
    (refused,) = check(table_of(scorer, rows[:2], email=[float("nan"), None]), scorer.builder).rejected
    assert "email must be an e-mail address or a domain, got 'nan'" in refused.error["message"]


@pytest.mark.parametrize("name", ["as_of", "ends_at"])
@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("value", [2**62, -(2**62)])
def test_times_that_no_calendar_has_fail_the_file(
    name: str, unit: Literal["ms", "us"], value: int, scorer: Scorer, rows: Floats
) -> None:
    times = pl.Series(name, [value, None, NOW]).cast(pl.Datetime(unit, "UTC"))
    with pytest.raises(InvalidInput, match=f"{name} must be times of the years 1 to 9999"):
        check(table_of(scorer, rows[:3]).with_columns(times), scorer.builder)

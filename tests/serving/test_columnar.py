"""Scored rows column by column: the very answers of `answers_of`, but for the receipts that a job does not keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.durations import DAY
from features.leads import NEVER
from features.windows import Floats
from serving.batch import LEADS_OUT, answers_frame
from serving.jobs.checking import Checked
from serving.jobs.columnar import Table, rounded, wanted
from serving.jobs.layout import Layout
from serving.scoring.answers import Asked, answers_of
from serving.scoring.decision import NoCutoff
from serving.scoring.scorer import Scorer
from tests.serving.job_files import NOW

ASKED = [Asked(0), Asked(0, "likely"), Asked(3, "likely"), Asked(1, "all")]


def leads_of(rows: Floats, ends_at: list[int], scorer: Scorer) -> Checked:
    n = len(rows)
    ids = pl.Series([f"lead {i}" for i in range(n)])
    accounts = pl.Series([f"a{i}" if i % 3 else None for i in range(n)], dtype=pl.String)
    traits = pl.DataFrame({"email": [f"u{i}@acme{i % 7}.example" for i in range(n)]})
    return Checked(rows, ids, accounts, NOW + np.arange(n), np.array(ends_at, np.int64), traits, [])


def expected(scorer: Scorer, leads: Checked, asked: Asked) -> pl.DataFrame:
    layout, definition = Layout.of(scorer.builder), scorer.builder.definition
    subjects = [leads.subject(place, definition, layout) for place in range(len(leads.rows))]
    answers = list(answers_of(scorer, subjects, asked))
    return answers_frame(answers, scorer).with_columns(pl.lit(None, pl.String).alias("receipt_id"))


ENDS = st.sampled_from([NEVER, NOW - DAY, NOW, NOW + 1, NOW + 3 * DAY])


@settings(max_examples=25)
@given(data=st.data(), asked=st.sampled_from(ASKED))
def test_the_figures_and_words_are_those_of_answers(
    data: st.DataObject, asked: Asked, scorer: Scorer, rows: Floats
) -> None:
    which = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=12))
    ends = data.draw(st.lists(ENDS, min_size=len(which), max_size=len(which)))
    leads = leads_of(rows[which], ends, scorer)
    found = Table(scorer, Layout.of(scorer.builder), asked).of(leads)
    assert_frame_equal(found, expected(scorer, leads, asked), check_exact=True)


def test_where_there_is_no_cutoff_the_highest_are_explained(scorer: Scorer, rows: Floats) -> None:
    undecided = Scorer(replace(scorer.artifact, decision=NoCutoff(0.3, 0.9, "too few")))
    leads, asked = leads_of(rows, [NEVER] * len(rows), undecided), Asked(3, "likely")
    found = Table(undecided, Layout.of(undecided.builder), asked).of(leads)
    assert_frame_equal(found, expected(undecided, leads, asked), check_exact=True)
    assert found["cutoff"].null_count() == len(rows)
    assert 0 < int((found["reasons"].list.len() > 0).sum()) < len(rows)


def test_pqls_and_nurtured_and_near_ones_are_wanted_and_not_all(scorer: Scorer, rows: Floats) -> None:
    scored = scorer.score(rows)
    found = wanted(scorer, scored, Asked(3, "likely"))
    assert (found | ~scored.is_pql).all()
    assert scored.is_pql.any()
    assert not found.all()


def test_no_receipts_are_named(scorer: Scorer, rows: Floats) -> None:
    found = Table(scorer, Layout.of(scorer.builder), Asked(0)).of(leads_of(rows[:3], [NEVER] * 3, scorer))
    assert found.schema == LEADS_OUT
    assert found["receipt_id"].null_count() == 3


@pytest.mark.parametrize("digits", [1, 3])
@settings(max_examples=300)
@given(values=st.lists(st.one_of(st.floats(), st.integers(-10_000, 10_000).map(lambda n: n / 2_000)), max_size=8))
def test_rounding_is_that_of_single_numbers(digits: int, values: list[float]) -> None:
    found = rounded(np.array(values), digits)
    assert found.tolist() == pytest.approx([round(value, digits) for value in values], rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("value", [2.675, 0.0005, 1.0005, 12.3455, 7.0015])
def test_values_beside_a_tie_are_rounded_by_what_they_are(value: float) -> None:
    assert rounded(np.array([value, np.nextafter(value, 9e9), np.nextafter(value, -1)]), 3).tolist() == [
        round(value, 3), round(float(np.nextafter(value, 9e9)), 3), round(float(np.nextafter(value, -1)), 3),
    ]  # fmt: skip

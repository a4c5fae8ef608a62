"""What `pql score` says of a scored table, in words and for machines."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from features.dataset import Dataset
from serving.batch import score_open
from serving.batch_words import SHOWN, facts, summary
from serving.scoring.scorer import Scorer

OUT = Path("leads.parquet")


@pytest.fixture(scope="module")
def leads(scorer: Scorer, history: Dataset, moments: list[int]) -> pl.DataFrame:
    return score_open(scorer, history, moments[2])


def test_the_counts_are_those_of_the_table(leads: pl.DataFrame, scorer: Scorer, history: Dataset) -> None:
    told = facts(leads, OUT, scorer, history)
    assert (told["out"], told["leads"]) == ("leads.parquet", len(leads))
    assert told["pqls"] == len(leads.filter(pl.col("is_pql")))
    assert told["nurture"] == len(leads.filter(pl.col("track") == "nurture"))
    assert told["as_of"] == leads["as_of"][0].isoformat()


def test_the_first_line_says_how_many_and_where(leads: pl.DataFrame, scorer: Scorer, history: Dataset) -> None:
    pqls = int(leads["is_pql"].sum())
    first = summary(leads, OUT, scorer, history)[0]
    assert first.startswith(
        f"{len(leads):,} open trials scored as of {leads['as_of'][0]:%Y-%m-%d %H:%M} UTC, {pqls:,} PQLs"
    )
    assert first.endswith(": leads.parquet")


def test_those_to_nurture_are_told_only_where_there_are_some(
    leads: pl.DataFrame, scorer: Scorer, history: Dataset
) -> None:
    one = leads.with_columns(track=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("nurture")))
    none = leads.with_columns(track=pl.lit(None, pl.String))
    assert " PQLs and 1 to nurture: " in summary(one, OUT, scorer, history)[0]
    assert "nurture" not in summary(none, OUT, scorer, history)[0]


def test_the_likeliest_leads_are_shown_with_their_reasons(
    leads: pl.DataFrame, scorer: Scorer, history: Dataset
) -> None:
    last = summary(leads, OUT, scorer, history)[-SHOWN:]
    for line, row in zip(last, leads.head(SHOWN).iter_rows(named=True), strict=True):
        why = "; ".join(one["text"] for one in row["reasons"])
        assert line == f"  {row['probability']:.1%}  {row['lead_id']}" + (f": {why}" if why else "")

"""What a scored table came to, for machines and in the few lines that a person reads on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.dataset import Dataset
from serving.batch import warnings, whom
from serving.scoring.scorer import Scorer

SHOWN: Final = 5
"""Leads that are shown, the likeliest first."""


def facts(leads: pl.DataFrame, out: Path, scorer: Scorer, read: Dataset) -> dict[str, Any]:
    """Return how many were scored and flagged, where they lie, and what their reader should know."""
    pqls, nurture = _counts(leads)
    return {
        "out": str(out), "leads": len(leads), "pqls": pqls, "nurture": nurture, "as_of": leads["as_of"][0].isoformat(),
        "warnings": warnings(leads, scorer), "rejections": [str(one) for one in read.rejections],
        "set_right": read.set_right,
    }  # fmt: skip


def summary(leads: pl.DataFrame, out: Path, scorer: Scorer, read: Dataset) -> list[str]:
    """Return the same in words, then the likeliest leads with their reasons."""
    pqls, nurture = _counts(leads)
    patience, who = f" and {nurture:,} to nurture" if nurture else "", whom(scorer.builder.definition)
    return [
        f"{len(leads):,} {who} scored as of {leads['as_of'][0]:%Y-%m-%d %H:%M} UTC, {pqls:,} PQLs{patience}: {out}",
        *warnings(leads, scorer),
        *(str(one) for one in read.rejections),
        *(f"  {line}" for line in _likeliest(leads)),
    ]


def _counts(leads: pl.DataFrame) -> tuple[int, int]:
    return int(leads["is_pql"].sum()), int((leads["track"] == "nurture").sum())


def _likeliest(leads: pl.DataFrame) -> Sequence[str]:
    rows = leads.head(SHOWN).iter_rows(named=True)
    found = [(row, "; ".join(one["text"] for one in row["reasons"])) for row in rows]
    return [f"{row['probability']:.1%}  {row['lead_id']}{f': {why}' if why else ''}" for row, why in found]

"""Files of leads with ready values for a scorer, and jobs that have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from features.windows import Floats
from serving.jobs.reading import Form
from serving.jobs.store import Asked, Job, Store
from serving.scoring.scorer import Scorer

NOW = 1_767_000_000_000_000


def table_of(scorer: Scorer, rows: Floats, **more: pl.Series | list[Any]) -> pl.DataFrame:
    """Return rows as a table with lead ids, and further columns."""
    names = [column.name for column in scorer.builder.columns]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.all().fill_nan(None))
    ids = pl.Series("lead_id", [f"lead {place}" for place in range(len(rows))])
    return pl.DataFrame([ids, *frame, *(pl.Series(name, values) for name, values in more.items())])


def written(frame: pl.DataFrame, path: Path, form: Form) -> Path:
    """Write a table in a format; returns the path."""
    if form == "csv":
        frame.write_csv(path)
    elif form == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    return path


def asked(form: Form = "csv", **more: Any) -> Asked:
    """Return what is asked for where nothing is said."""
    said = {"output": form, "of": None, "reasons": 0, "explain": "likely", "as_of": None, "created_at": NOW}
    return Asked(form=form, **{**said, **more})


def job_of(store: Store, content: bytes, form: Form = "csv", **more: Any) -> Job:
    """Return a job with this file."""
    with store.upload(form) as upload:
        upload.write(content)
        return upload.finish(asked(form, **more))


def read(path: Path) -> pl.DataFrame:
    """Return a result, with what is nested as JSON texts where it is CSV."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    return pl.read_csv(path) if path.suffix == ".csv" else pl.read_ndjson(path, infer_schema_length=None)

"""The names of the formats that tables can have; apart from their readers, so that naming them costs nothing."""

from __future__ import annotations

FILES = ("parquet", "csv", "jsonl")
VENDORS = ("segment", "mixpanel", "amplitude", "posthog")
FORMATS = (*FILES, "duckdb", *VENDORS)

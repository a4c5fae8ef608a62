"""Tables of predictions that tests of judging fill in: what they do not say has nothing in it."""

from __future__ import annotations

import pandas as pd

START = pd.Timestamp("2026-03-01", tz="UTC")
NOTHING: dict[str, float | bool] = {
    "converted_in_days": float("nan"), "points": float("nan"), "rule": False,
    "later": float("nan"), "later_days": float("nan"), "is_nurture": False,
}  # fmt: skip


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with nothing in the columns that they lack."""
    missing = {name: nothing for name, nothing in NOTHING.items() if name not in table}
    return table.assign(segment=pd.Series(None, table.index, dtype=object), **missing)

"""How the registry's generic model interface loads our artifact: ready feature columns in, probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import SchemaMismatch
from serving.scoring.scorer import Scorer


@dataclass(frozen=True)
class TableScorer:
    """Scores tables whose columns are the artifact's feature columns, in any order."""

    scorer: Scorer

    def predict(self, table: Any, params: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002 - the interface passes it
        """Return probability and is_pql per row; raises SchemaMismatch with the difference where the columns differ."""
        expected = [column.name for column in self.scorer.builder.columns]
        if set(table.columns) != set(expected):
            raise SchemaMismatch.columns(expected, list(table.columns), self.scorer.builder.fingerprint)
        scored = self.scorer.score(np.ascontiguousarray(table[expected].to_numpy(dtype=np.float64)))
        return {"probability": scored.probabilities, "is_pql": scored.is_pql}


def _load_pyfunc(path: str) -> TableScorer:
    return TableScorer(Scorer.from_folder(Path(path)))

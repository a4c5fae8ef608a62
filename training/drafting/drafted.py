"""What drafting a definition came to, for machines and in the few lines that a person reads on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.definition import Definition


@dataclass(frozen=True)
class Drafted:
    """A definition that was written to `path`.

    Attributes
    ----------
    evidence : what its head says of the evidence behind it
    left_out : events that look like the outcome, with the reason
    rejections : what was refused of the input
    sources : the names of the events and, where there are any, of the trials; without passwords
    """

    path: Path
    definition: Definition
    evidence: str
    left_out: Sequence[str]
    rejections: Sequence[str]
    sources: Sequence[str]

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "definition": str(self.path), "signals": [signal.name for signal in self.definition.signals],
            "evidence": self.evidence, "left_out": list(self.left_out), "rejections": list(self.rejections),
        }  # fmt: skip

    @property
    def lines(self) -> list[str]:
        return [
            f"Drafted {self.path} with {len(self.definition.signals)} signals and {len(self.definition.traits)} traits. "
            "Read it, edit it, then:",
            f"  {self.evidence}",
            *(f"  left out {line}" for line in self.left_out),
            *self.rejections,
            f"  pql train {' --trials '.join(self.sources)} -d {self.path}",
        ]

"""The version in service. A request reads it once; another takes its place by one assignment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from serving.scoring.decision import Cutoff, overall
from serving.scoring.scorer import Scorer


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry knows of a version beside its files; it is told, never used to score.

    Attributes
    ----------
    number : its number in the registry
    trained_at, promoted_at : times as ISO 8601 texts in UTC
    figures : its test figures by name, such as `auc`
    """

    number: int | None = None
    trained_at: str | None = None
    promoted_at: str | None = None
    verdict: str | None = None
    figures: dict[str, float] = {}


@dataclass(frozen=True)
class Served:
    """One version in service; `since` is when it went into service here, in microseconds since 1970 UTC."""

    scorer: Scorer
    since: int
    about: About | None = None

    @cached_property
    def named(self) -> dict[str, Any]:
        """Which version answers, and from which probability on a lead is a PQL (null: nobody is).

        Where segments have cutoffs of their own it is that of leads of no segment; `GET /model` tells of all.
        """
        decision = overall(self.scorer.artifact.decision)
        cutoff = decision.probability if isinstance(decision, Cutoff) else None
        return {"model_version": self.scorer.version, "cutoff": cutoff}


class Holder:
    """Holds the version in service, for one process."""

    def __init__(self, served: Served) -> None:
        self.served = served

"""What the routes of one process share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from serving.answering import Part, answers_to
from serving.models.served import Holder
from serving.scoring.answers import Answer
from serving.scoring.receipt import Keep
from serving.web.connections import Guarded
from serving.web.metrics import Metrics
from serving.web.turns import Turns


@dataclass
class Desk:
    """The version in service, the clock, where receipts go (None: nowhere), who is next, and what is counted.

    `jobs` tells how many batch jobs there are of each status.
    """

    holder: Holder
    metrics: Metrics
    now: Callable[[], int]
    keep: Keep | None = None
    jobs: Callable[[], Mapping[str, int]] = dict
    turns: Turns[Part, list[Answer]] = field(
        default_factory=lambda: Turns(
            answers_to, arrived=lambda: Guarded.accepted, under_way=lambda: len(Guarded.requests)
        )
    )


def clock() -> int:
    """Return the present moment in microseconds since 1970 UTC."""
    return time.time_ns() // 1_000

"""Bursts at servers that take turns, and what comes of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.serving_load import Burst, Outcome
from benchmarks.serving_peers import Peer
from benchmarks.serving_process import Load, Server

CONNECTIONS: Final = (1, 16, 64)
ROUNDS: Final = 9
SECONDS: Final = 0.7


@dataclass(frozen=True)
class Side:
    """A route of a running server."""

    peer: Peer
    server: Server


@dataclass(frozen=True)
class Sample:
    """One burst: CPU microseconds of the server per request, milliseconds of the answers, requests per second."""

    cpu: float
    p50: float
    p99: float
    rate: float


@dataclass(frozen=True)
class Beside:
    """All samples of all sides, by (side, connections) and in the order of the rounds."""

    samples: Mapping[tuple[str, int], Sequence[Sample]]

    def median(self, side: str, connections: int, figure: str) -> float:
        """Return the median over rounds of one figure."""
        return float(np.median(self._each(side, connections, figure)))

    def best(self, side: str, connections: int, figure: str) -> float:
        """Return the figure of the round that was kindest to the side."""
        found = self._each(side, connections, figure)
        return max(found) if figure == "rate" else min(found)

    def times(self, side: str, other: str, connections: int, figure: str) -> float:
        """Return how many times the other's figure a side's is: the median over rounds, each side against its neighbour in time."""
        pairs = zip(self._each(side, connections, figure), self._each(other, connections, figure), strict=True)
        return float(np.median([mine / theirs for mine, theirs in pairs]))

    def tail(self, side: str, connections: int) -> float:
        """Return how many times its p50 a side's p99 is."""
        found = self.samples[side, connections]
        return float(np.median([one.p99 / one.p50 for one in found]))

    def _each(self, side: str, connections: int, figure: str) -> list[float]:
        return [getattr(one, figure) for one in self.samples[side, connections]]


def beside(
    load: Load, sides: Iterable[Side], tick: Callable[[str], None], rounds: int = ROUNDS, seconds: float = SECONDS
) -> Beside:
    """Return what came of bursts at all sides; in each round every side has one at each number of connections."""
    sides = list(sides)
    found: dict[tuple[str, int], list[Sample]] = {}
    for side in sides:
        # What is compiled or filled on the first requests is not what is measured.
        sample(load, side, 4, seconds)
    for number in range(rounds):
        for connections in CONNECTIONS:
            # Whoever comes first in one round comes last in the next.
            for side in sides if number % 2 else reversed(sides):
                one = sample(load, side, connections, seconds)
                found.setdefault((side.peer.name, connections), []).append(one)
                tick(f"round {number + 1}, {connections} connections, {side.peer.name}: {one}")
    return Beside(found)


def sample(load: Load, side: Side, connections: int, seconds: float) -> Sample:
    """Return what came of one burst; raises where anything but 200 was answered."""
    before = side.server.cpu()
    outcome = load.run(Burst(side.server.port, side.peer.path, side.peer.bodies, connections, seconds))
    used = side.server.cpu() - before
    if set(outcome.statuses) != {"200"} or outcome.lost:
        raise RuntimeError(f"{side.peer.name} answered {outcome.statuses}, {outcome.lost} connections were lost")
    return sample_of(outcome, used)


def sample_of(outcome: Outcome, cpu_seconds: float) -> Sample:
    """Return the figures of a burst for which a server took so much CPU time."""
    steady = outcome.microseconds
    if not steady:
        raise RuntimeError("no connection had a second answer: bursts must be longer")
    p50, p99 = np.quantile(steady, (0.5, 0.99)) / 1e3
    return Sample(
        cpu_seconds / sum(outcome.statuses.values()) * 1e6, float(p50), float(p99), len(steady) / outcome.seconds
    )

"""What is measured of the service alone: overload, large requests, its start, and what it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.serving_load import Burst, Outcome
from benchmarks.serving_model import World
from benchmarks.serving_peers import Peer, deployed
from benchmarks.serving_process import ROOT, Load, Server
from serving.scoring.answers import Asked, answers_of

MANY: Final = 1_000
REPEATS: Final = 7
CROWD: Final = 400
"""Connections at once, more than may wait."""
OVERLOADED_SECONDS: Final = 6.0
UNWANTED: Final = ("mlflow", "shap", "sklearn", "matplotlib", "pandas", "training")
"""Libraries that scoring needs nothing of."""
WATCH: Final = """
import builtins, json, sys
unwanted, told, real = set(sys.argv[1].split(",")), {}, builtins.__import__
def watched(name, scope=None, *rest, **more):
    first = name.partition(".")[0]
    if first in unwanted and scope:
        told.setdefault(first, set()).add(scope.get("__name__", "").partition(".")[0])
    return real(name, scope, *rest, **more)
builtins.__import__ = watched
import serving.service
print(json.dumps({name: sorted(by - {name}) for name, by in told.items() if sys.modules.get(name)}))
"""


@dataclass(frozen=True)
class Refusing:
    """A service with more requests than may wait: milliseconds until one more is answered 503, and until a fitting one is answered.

    Attributes
    ----------
    refused, told : how many 503 there were, and how many of them with a Retry-After
    """

    p50: float
    p99: float
    refused: int
    told: int
    answered_p50: float
    answered_p99: float
    others: dict[str, int]


def overload(server: Server, path: str, bodies: Sequence[str]) -> Refusing:
    """Keep more requests waiting than may wait, and ask beside them, one by one, as a client does that waits between."""
    crowd, prober = Load(), Load()
    found: list[Outcome] = []
    burst = Burst(server.port, path, bodies, CROWD, OVERLOADED_SECONDS, pause=1.0)
    pressing = threading.Thread(target=lambda: found.append(crowd.run(burst)))
    try:
        pressing.start()
        time.sleep(OVERLOADED_SECONDS / 4)
        asked = prober.run(replace(burst, connections=1, seconds=OVERLOADED_SECONDS / 2, pause=0.01))
        pressing.join()
    finally:
        crowd.stop()
        prober.stop()
    return refusing(asked, found[0])


def refusing(asked: Outcome, crowd: Outcome) -> Refusing:
    """Return how a service refuses, from what was told to who asked beside the crowd, and to the crowd."""
    refused = [*asked.by_status.get("503", []), *crowd.by_status.get("503", [])]
    answered = crowd.by_status.get("200", [])
    others = {
        status: len(times)
        for one in (asked, crowd)
        for status, times in one.by_status.items()
        if status not in ("200", "503")
    }
    told = asked.told_to_wait + crowd.told_to_wait
    return Refusing(*_quantiles(asked.by_status.get("503", [])), len(refused), told, *_quantiles(answered), others)


def _quantiles(microseconds: Sequence[int]) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds, NaN where there is none."""
    if not microseconds:
        return np.nan, np.nan
    p50, p99 = np.quantile(microseconds, (0.5, 0.99)) / 1e3
    return float(p50), float(p99)


@dataclass(frozen=True)
class Thousand:
    """Leads per CPU second, and seconds of wall time for all of them: in one request, and in process."""

    served: float
    in_process: float
    served_wall: float
    in_process_wall: float


def thousand(world: World, server: Server, reasons: int) -> Thousand:
    """Measure many leads in one request against the same leads in process, in turn."""
    n = len(world.subjects)
    subjects = [replace(world.subjects[i % n], lead_id=f"lead-{i}") for i in range(MANY)]
    body = replace(world, subjects=subjects, starts=(), events=()).ready(range(MANY), reasons)
    found: list[tuple[float, float, float, float]] = []
    for _ in range(REPEATS):
        cpu, wall = server.cpu(), time.perf_counter()
        status, answer = server.ask("/score_features", body)
        taken = server.cpu() - cpu, time.perf_counter() - wall
        cpu, wall = time.process_time(), time.perf_counter()
        told = list(answers_of(world.scorer, subjects, Asked(reasons)))
        found.append((*taken, time.process_time() - cpu, time.perf_counter() - wall))
        _agree(status, answer, [one.probability for one in told])
    served, served_wall, alone, alone_wall = np.median(found[1:], axis=0)
    return Thousand(MANY / served, MANY / alone, float(served_wall), float(alone_wall))


def _agree(status: int, answer: bytes, probabilities: Sequence[float]) -> None:
    """Raise where the service does not say what was said in process."""
    if status != 200:
        raise RuntimeError(f"{MANY} leads were answered {status}: {answer[:500]!r}")
    got = [one["probability"] for one in json.loads(answer)["results"]]
    if not np.allclose(got, probabilities, rtol=0, atol=1e-12):
        raise RuntimeError("the service scores otherwise than in process")


def starts(peer: Peer, folder: Path, repeats: int = 4) -> list[float]:
    """Return the seconds from each start to ready; the first one may find a cold disk and is left out."""
    found = []
    for number in range(repeats):
        server = peer.start(folder / f"start{number}")
        try:
            found.append(server.ready(peer.ready))
        finally:
            server.stop()
    return found[1:]


def mapped(server: Server) -> list[str]:
    """Return which unwanted libraries have compiled code in the memory of a running service."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in server.family())
    return [name for name in UNWANTED if f"/site-packages/{name}/" in maps]


def loaded(folder: Path) -> dict[str, list[str]]:
    """Return which unwanted libraries importing the service loads, and who asks for each of them."""
    environment = {**os.environ, **deployed(), "BENTOML_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", WATCH, ",".join(UNWANTED)], capture_output=True, text=True, check=True, env=environment,
        cwd=folder,
    )  # fmt: skip
    told: dict[str, list[str]] = json.loads(done.stdout.strip().splitlines()[-1])
    return told

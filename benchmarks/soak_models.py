"""Promotions and damaged artifacts under load, against the real server: `python -m benchmarks.soak_models`.

A server on a shelf is asked 50 times a second while versions are promoted and broken ones are put in their place. Every
answer must be the known one of the version that it names, no request may fail, and nothing that is broken may be served.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.damages import Damage, plain, sealed
from serving.asking import decode
from serving.models.shelf import CURRENT, Shelf
from serving.requests import score
from serving.scoring.answers import Answer
from serving.scoring.artifact import Artifact, load
from serving.scoring.calibration import Sigmoid
from serving.scoring.scorer import Scorer

ROOT: Final = Path(__file__).parents[1]
BODY: Final = ROOT / "examples" / "lead.json"
RATE: Final = 50.0
LONGEST: Final = 60.0
"""Seconds within which a promotion or a refusal must have come."""


@dataclass(frozen=True)
class Asked:
    """One request: when it was due, how long it took from then on, its status, and what it said."""

    at: float
    seconds: float
    status: int
    version: str
    probability: float


@dataclass
class Load:
    """Sends the same lead so many times a second, on time, whether or not answers have come."""

    port: int
    body: bytes
    asked: list[Asked] = field(default_factory=list)
    threads: int = 8

    def __post_init__(self) -> None:
        self._stopped, self._lock, self._next = threading.Event(), threading.Lock(), time.perf_counter()
        self._workers = [threading.Thread(target=self._run, daemon=True) for _ in range(self.threads)]

    def __enter__(self) -> Load:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for worker in self._workers:
            worker.join(LONGEST)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST)
        while not self._stopped.is_set():
            with self._lock:
                due, self._next = self._next, self._next + 1 / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            self.asked.append(self._ask(connection, due))

    def _ask(self, connection: http.client.HTTPConnection, due: float) -> Asked:
        try:
            connection.request("POST", "/score", self.body, {"content-type": "application/json"})
            answer = connection.getresponse()
            told = json.loads(answer.read())
            version, status = told.get("model_version", ""), answer.status
            probability = told["results"][0]["probability"] if status == 200 else -1.0
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            connection.close()
            version, status, probability = "", 0, -1.0
        return Asked(due, time.perf_counter() - due, status, version, probability)

    def version(self) -> str:
        """Return the version of the newest answer."""
        return self.asked[-1].version if self.asked else ""


def versions_of(artifact: Artifact, n: int) -> Iterator[Artifact]:
    """Yield so many versions that rank alike and score differently."""
    for by in np.linspace(-1.0, 1.0, n):
        calibration = Sigmoid(artifact.calibration.slope, artifact.calibration.shift + by)
        odds = np.log(artifact.expected / (1 - artifact.expected)) + by
        yield replace(artifact, calibration=calibration, expected=1 / (1 + np.exp(-odds)))


def known_answer(artifact: Artifact, body: bytes) -> float:
    """Return the probability that a version gives the lead of the body, without a server."""
    (answer,) = score(Scorer(artifact), decode(body), 0)
    assert isinstance(answer, Answer)
    return answer.probability


@contextmanager
def serving(shelf: Shelf, scratch: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Yield the port of a server on a shelf, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "PQL_MODEL": str(shelf.folder), "PQL_RECEIPTS": "none", "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE", "OTEL_SDK_DISABLED": "true", "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(scratch / "bento"), "PQL_JOBS": str(scratch / "jobs"),
    }  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:PQLService", "--port", str(port)]
    with (scratch / "log").open("wb") as log:
        # Our own command.
        process = subprocess.Popen(  # noqa: S603
            [*command, "--host", "127.0.0.1"], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(lambda: said(port, "/readyz")[0] == 200, "the server is ready")
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def said(port: int, path: str) -> tuple[int, str]:
    """Return status and text of a GET; 0 where there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def until(true: object, what: str) -> float:
    """Wait until something holds and return the seconds that it took."""
    assert callable(true)
    begun = time.perf_counter()
    while not true():
        if time.perf_counter() - begun > LONGEST:
            raise SystemExit(f"{what}: not within {LONGEST:g} s")
        time.sleep(0.02)
    return time.perf_counter() - begun


def refused_so_far(port: int) -> float:
    """Return how many models the server says it has refused."""
    lines = re.findall(r"(?m)^pql_model_refused_total(?:\{[^}]*\})? (\S+)$", said(port, "/metrics")[1])
    return sum(float(value) for value in lines)


def promoted(shelf: Shelf, artifacts: Sequence[Artifact], load_: Load, scratch: Path) -> list[float]:
    """Promote one version after the other and return the seconds until each was answered with."""
    took = []
    for number, artifact in enumerate(artifacts):
        version = shelf.put(artifact.save(scratch / f"promoted-{number}"))
        shelf.point(version)
        took.append(until(lambda version=version: load_.version() == version, f"promotion {number}"))
        print(f"\rpromoted {number + 1}", end="", file=sys.stderr)
    return took


def broken(shelf: Shelf, whole: Path, ways: Sequence[Damage], port: int) -> list[str]:
    """Put one broken version after the other on the shelf; return the names of those that were not refused."""
    served, kept = [], shelf.current()
    assert kept is not None
    for number, damage in enumerate(ways):
        name = f"{number:012x}"
        damage(shutil.copytree(whole, shelf.folder / name))
        before = refused_so_far(port)
        # By hand: the shelf itself would not point to it.
        (shelf.folder / "pointer").write_text(name, encoding="utf-8")
        (shelf.folder / "pointer").rename(shelf.folder / CURRENT)
        begun = time.perf_counter()
        while refused_so_far(port) == before and time.perf_counter() - begun < LONGEST:
            # Counting costs the server something too.
            time.sleep(0.5)
        if refused_so_far(port) == before:
            served.append(damage.name)
        shutil.rmtree(shelf.folder / name)
        print(f"\rbroken {number + 1}", end="", file=sys.stderr)
    shelf.point(kept)
    return served


def ways_to_break(other: Path, n: int) -> list[Damage]:
    """Return so many ways, a tenth of them with hashes that fit."""
    tried = list(sealed(cuts=max(n // 10 - 23, 1)))
    thought_of = len(list(plain(other, 0)))
    seen = list(plain(other, max((n - len(tried) - thought_of + 1) // 2, 1)))
    return list(islice(chain(tried, seen), n))


def row(name: str, asked: Sequence[Asked], known: dict[str, float]) -> str:
    """Return a line of the table."""
    times = np.array([one.seconds for one in asked]) * 1e3
    failed = sum(one.status != 200 for one in asked)
    wrong = sum(one.status == 200 and known.get(one.version) != one.probability for one in asked)
    p50, p99 = np.percentile(times, [50, 99])
    return f"| {name} | {len(asked):,} | {failed} | {wrong} | {p50:.1f} | {p99:.1f} | {times.max():.0f} |"


def main(words: Sequence[str]) -> int:
    """Run the soak and print its table."""
    parser = argparse.ArgumentParser("python -m benchmarks.soak_models", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--artifact", type=Path, default=ROOT / "build" / "latest" / "artifact")
    parser.add_argument("--promotions", type=int, default=100)
    parser.add_argument("--damaged", type=int, default=600)
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds of load without either")
    asked = parser.parse_args(words)
    body = BODY.read_bytes()
    with tempfile.TemporaryDirectory(prefix="pql-soak-") as name:
        return _soak(asked, body, Path(name))


def _soak(asked: argparse.Namespace, body: bytes, scratch: Path) -> int:
    artifacts = list(versions_of(load(asked.artifact), asked.promotions + 1))
    known = {one.version: known_answer(one, body) for one in artifacts}
    assert len(set(known.values())) == len(known), "versions must score differently"
    shelf = Shelf(scratch / "shelf")
    shelf.point(shelf.put(artifacts[0].save(scratch / "first")))
    # No file of it may fit to those of the others.
    first = artifacts[0]
    other = replace(first, booster_text=f"{first.booster_text}\n", definition_text=f"{first.definition_text}\n")
    ways = ways_to_break(other.save(scratch / "other"), asked.damaged)
    with serving(shelf, scratch) as (port, process), Load(port, body) as load_:
        marks = [time.perf_counter()]
        time.sleep(asked.quiet)
        marks.append(time.perf_counter())
        took = promoted(shelf, artifacts[1:], load_, scratch)
        marks.append(time.perf_counter())
        held = load_.version()
        served = broken(shelf, artifacts[-1].save(scratch / "whole"), ways, port)
        marks.append(time.perf_counter())
        alive = process.poll() is None and said(port, "/readyz")[0] == 200
    parts = [[one for one in load_.asked if a <= one.at < b] for a, b in pairwise(marks)]
    print("\n| load of 50 requests a second | requests | failed | wrong | p50 ms | p99 ms | max ms |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for label, part in zip(("nothing else", "promotions", "broken versions"), parts, strict=True):
        print(row(label, part, known))
    print(f"\n{len(took)} promotions, answered with after {np.median(took):.1f} s (longest {max(took):.1f} s).")
    strangers = sum(one.version != held for one in parts[2])
    print(f"{len(ways)} broken versions: {len(ways) - len(served)} refused, {strangers} answers of another version.")
    print(f"The server {'is alive' if alive else 'HAS DIED'}. Not refused: {', '.join(served) or 'none'}.")
    failed = any(one.status != 200 or known.get(one.version) != one.probability for part in parts for one in part)
    return int(failed or bool(served) or strangers > 0 or not alive)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

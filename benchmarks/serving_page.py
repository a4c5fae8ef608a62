"""What was measured of the service, its bars, and its section of docs/results.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from benchmarks.serving_model import EVENTS, N_COLUMNS, TREES
from benchmarks.serving_peers import BARE, MLFLOW, OBVIOUS, OURS, RECEIPTS, WORKERS
from benchmarks.serving_rounds import CONNECTIONS, Beside
from benchmarks.serving_single import CROWD, MANY, UNWANTED, Refusing, Thousand
from benchmarks.truth_page import Bar, table

HEADING: Final = "## Serving"
SCORE: Final = f"this service, `/score` from {EVENTS} events"
OUR_WORDS: Final = "bare HTTP around our own answer"
SCORES_ONLY: Final = "bare route, probability alone"
BATCHED: Final = "obvious BentoML service, adaptive batching"
BUSY: Final = (16, 64)
REASONS: Final = 3


@dataclass(frozen=True)
class Found:
    """All that was measured.

    Attributes
    ----------
    several : this service with one worker and with two, which took turns
    thousands : of one request with many leads, by how many reasons were asked for
    starts : seconds from start to ready
    loaded : libraries that importing the service loads though it needs none of them, and who asks for each
    mapped : those whose compiled code is in the memory of the running service
    megabytes : memory of each server, all its processes together
    load_cpu : microseconds that sending a request and reading its answer takes
    others : cores that other programs kept busy meanwhile
    """

    beside: Beside
    several: Beside
    refusing: Refusing
    thousands: Mapping[int, Thousand]
    starts: Sequence[float]
    loaded: Mapping[str, Sequence[str]]
    mapped: Sequence[str]
    megabytes: Mapping[str, float]
    load_cpu: float
    others: float


def bars(found: Found) -> list[Bar]:
    """Return what was asked for and what came of it."""
    return [*_against_bare(found.beside), *_against_peers(found.beside), *_alone(found)]


def _against_bare(beside: Beside) -> Iterable[Bar]:
    limits = (("cpu", "CPU per request", 1.3), ("p50", "p50", 1.3), ("p99", "p99", 2.0))
    for figure, said, most in limits:
        times = [beside.times(OURS, BARE, n, figure) for n in CONNECTIONS]
        yield Bar(
            f"`/score_features`, one lead with reasons: {said} against a bare route, at {_counts(CONNECTIONS)} connections",
            f"at most {most} times", _listed(times), max(times) <= most,
        )  # fmt: skip


def _against_peers(beside: Beside) -> Iterable[Bar]:
    less = [beside.times(OBVIOUS, OURS, n, "cpu") for n in CONNECTIONS]
    more = [beside.times(OURS, OBVIOUS, n, "rate") for n in BUSY]
    mlflow = [beside.times(MLFLOW, OURS, n, "cpu") for n in CONNECTIONS]
    yield Bar(
        f"CPU of the obvious BentoML service, at {_counts(CONNECTIONS)}",
        "at least 4 times ours",
        _listed(less),
        min(less) >= 4,
    )
    yield Bar(f"throughput against it, at {_counts(BUSY)}", "at least 4 times", _listed(more), min(more) >= 4)
    yield Bar(
        f"CPU of `mlflow models serve`, which gives no reasons, at {_counts(CONNECTIONS)}", "at least 20 times ours",
        _listed(mlflow), min(mlflow) >= 20,
    )  # fmt: skip


def _alone(found: Found) -> Iterable[Bar]:
    tail, busy = found.beside.tail(OURS, 64), found.refusing
    more = found.beside.median(SCORE, 1, "p50") - found.beside.median(OURS, 1, "p50")
    start = sorted(found.starts)[len(found.starts) // 2]
    yield Bar("p99 at 64 connections", "at most 3 times p50", f"{tail:.1f}", tail <= 3)
    yield Bar(
        f"503 while {CROWD} connections press, p99", "under 20 ms, each with Retry-After",
        f"{busy.p99:.1f} ms, {busy.told:,} of {busy.refused:,}",
        busy.p99 < 20 and busy.refused > 0 and busy.told == busy.refused and not busy.others,
    )  # fmt: skip
    yield Bar(
        f"`/score` from {EVENTS} events beside `/score_features`, p50", "at most 1 ms more", f"{more:.2f} ms", more <= 1
    )
    many = found.thousands[REASONS]
    share = many.served / many.in_process
    yield Bar(
        f"{MANY:,} leads in one request, {_reasons(REASONS)}: leads per CPU second", "at least 70 % of in process",
        f"{share:.0%}", share >= 0.7,
    )  # fmt: skip
    yield Bar("start to ready, warm disk, median", "under 5 s", f"{start:.1f} s", start < 5)
    inside = sorted({*found.loaded, *found.mapped})
    yield Bar(
        f"of {', '.join(UNWANTED)}: imported with the service, or in its memory after all requests", "none",
        ", ".join(inside) or "none", not inside,
    )  # fmt: skip


def section(found: Found, seconds: float) -> str:
    """Return the section of the page."""
    judged = table(
        ("bar", "needed", "measured", ""),
        ((bar.what, bar.needed, bar.measured, "met" if bar.met else "**missed**") for bar in bars(found)),
    )
    first = [OURS, RECEIPTS, SCORE, BARE, SCORES_ONLY, OUR_WORDS, OBVIOUS, BATCHED, MLFLOW]
    blocks = [
        HEADING, _world(found), judged, "Medians of all rounds; in brackets the best round.",
        _sides(found.beside, first), _notes(found), _sides(found.several, [OURS, WORKERS]),
        f"{seconds:,.0f} CPU seconds of servers and load.",
    ]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def _world(found: Found) -> str:
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("bentoml", "lightgbm", "mlflow", "shap", "starlette", "uvicorn")
    )
    return (
        f"One version of {TREES} trees of at most 8 leaves over {N_COLUMNS} columns, and leads with {EVENTS} events each, in "
        "the words of each server: one lead a request. All servers are up in one run and take turns in short bursts; the load "
        "comes from another process on loopback, in closed loops, and takes "
        f"{found.load_cpu:.0f} µs a request itself; other programs kept {max(0.0, found.others):.1f} of the cores busy "
        "meanwhile. CPU is user and system time of the server with all its processes, per request; times are taken from when "
        "every connection has had its first answer; what is compared stands beside it in the same round. The bare route is "
        "Starlette on uvicorn (uvloop, httptools, msgspec, no access log, no checks), one call of "
        "`predict(pred_contrib=True)`, probability and five contributions as an answer; it has no line beside its trees, no "
        "calibration, no words. The obvious service is BentoML's own `@bentoml.api` with a data frame and "
        "`shap.TreeExplainer`, as shipped. `python -m benchmarks.serving PAGE` makes this section anew.\n\n"
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores; {packages}."
    )


def _sides(beside: Beside, names: Iterable[str]) -> str:
    rows = (
        (name, str(connections), *_figures(beside, name, connections)) for name in names for connections in CONNECTIONS
    )
    return table(("side", "connections", "CPU µs", "p50 ms", "p99 ms", "requests/s"), rows)


def _figures(beside: Beside, name: str, connections: int) -> Iterable[str]:
    for figure, form in (("cpu", ",.0f"), ("p50", ",.2f"), ("p99", ",.2f"), ("rate", ",.0f")):
        median, best = (told(name, connections, figure) for told in (beside.median, beside.best))
        yield f"{median:{form}} ({best:{form}})"


def _notes(found: Found) -> str:
    busy = found.refusing
    memory = ", ".join(f"{name} {megabytes:,.0f} MB" for name, megabytes in found.megabytes.items())
    many = "; ".join(
        f"{_reasons(reasons)} {one.served:,.0f} leads per CPU second against {one.in_process:,.0f} in process "
        f"({one.served_wall * 1e3:,.0f} ms against {one.in_process_wall * 1e3:,.0f} ms of wall time)"
        for reasons, one in found.thousands.items()
    )
    return (
        f"Memory with all processes: {memory}.\n\n"
        f"Overload: {CROWD} connections with one lead each, pausing a second after a 503, as Retry-After asks, and one more client "
        f"whose 503 are timed (p50 {busy.p50:.1f} ms, p99 {busy.p99:.1f} ms); those that fitted waited {busy.answered_p50:,.0f} ms "
        f"(p99 {busy.answered_p99:,.0f} ms). Nothing but 200 and 503 was answered{_others(busy)}.\n\n"
        f"{MANY:,} leads in one request: {many}.\n\n"
        f"Ready {_listed(sorted(found.starts))} s after the start.\n\n"
        "Two workers, on the same two cores as the load:"
    )


def _others(busy: Refusing) -> str:
    return "" if not busy.others else f" but {busy.others}"


def _reasons(count: int) -> str:
    return "without reasons" if count == 0 else f"with {count} reasons each"


def _counts(numbers: Iterable[int]) -> str:
    return " / ".join(str(number) for number in numbers)


def _listed(values: Iterable[float]) -> str:
    return " / ".join(f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in values)

"""The benchmark of the service sends what is valid, counts right, and says met where a bar is met and missed where it is not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from benchmarks.serving_load import Burst, Outcome
from benchmarks.serving_model import EVENTS, N_COLUMNS, TREES, World, world
from benchmarks.serving_page import BATCHED, HEADING, OUR_WORDS, SCORE, SCORES_ONLY, Found, bars, section
from benchmarks.serving_peers import BARE, MLFLOW, OBVIOUS, OURS, RECEIPTS, WORKERS, Posted, deployed
from benchmarks.serving_process import Load, cpu_of, family, machine_cpu
from benchmarks.serving_rounds import CONNECTIONS, Beside, Sample, sample_of
from benchmarks.serving_single import Refusing, Thousand, refusing
from features.times import parse_instant
from serving import feature_requests, requests
from serving.asking import decode
from serving.scoring.answers import Asked, answers_of


@pytest.fixture(scope="module")
def made() -> World:
    return world(n_leads=6, accounts=800)


def test_the_version_is_as_large_as_the_bars_say(made: World) -> None:
    assert len(made.scorer.builder.columns) == N_COLUMNS == 60
    assert made.scorer.artifact.booster.num_trees() == TREES == 200
    assert max(tree["num_leaves"] for tree in made.scorer.artifact.booster.dump_model()["tree_info"]) == 8


def test_a_lead_told_by_its_events_and_by_its_values_gets_the_same_answer(made: World) -> None:
    expected = list(answers_of(made.scorer, made.subjects, Asked(3)))
    for place, answer in enumerate(expected):
        (raw,) = requests.score(made.scorer, decode(made.raw(place)), 0)
        (ready,) = feature_requests.score(made.scorer, decode(made.ready([place])), 0)
        for one in (raw, ready):
            assert msgspec.to_builtins(one) == msgspec.to_builtins(answer)
    assert sum(len(one.reasons) for one in expected) >= 2 * len(expected)


def test_every_lead_tells_as_many_events_as_the_bar_says_all_before_its_moment(made: World) -> None:
    for place, subject in enumerate(made.subjects):
        (lead,) = json.loads(made.raw(place))["leads"]
        assert len(lead["events"]) == EVENTS == 200
        assert max(parse_instant(one["timestamp"], "timestamp") for one in lead["events"]) < subject.as_of


def test_bodies_of_all_sides_tell_the_same_values(made: World, tmp_path: Path) -> None:
    posted = Posted.written(made, tmp_path)
    for ready, records, split in zip(posted.ready, posted.records, posted.split, strict=True):
        features = json.loads(Path(ready).read_bytes())["leads"][0]["features"]
        frame = json.loads(Path(split).read_bytes())["dataframe_split"]
        assert json.loads(Path(records).read_bytes())["rows"] == [features]
        assert dict(zip(frame["columns"], frame["data"][0], strict=True)) == features


def test_the_service_is_measured_in_the_environment_that_it_is_deployed_in() -> None:
    assert deployed()["OMP_NUM_THREADS"] == "1"


# --- the load -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    load = Load()
    yield load
    load.stop()


@contextmanager
def answering(
    statuses: list[int], headers: Mapping[str, str] | None = None, last: int = 10**9
) -> Iterator[tuple[int, list[Any]]]:
    """Serve answers with these statuses in turn, the last one ending without an answer; give the port and the bodies got."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            if len(got) >= last:
                self.close_connection = True
                return
            self.send_response(statuses[len(got) % len(statuses)])
            for name, value in {**(headers or {}), "Content-Length": "3000"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"x" * 3000)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def bodies(folder: Path, n: int = 3) -> list[str]:
    paths = [folder / f"{number}.json" for number in range(n)]
    for number, path in enumerate(paths):
        path.write_text(json.dumps({"number": number}))
    return [str(path) for path in paths]


def test_every_request_is_answered_and_counted_once(load: Load, tmp_path: Path) -> None:
    with answering([200]) as (port, got):
        outcome = load.run(Burst(port, "/", bodies(tmp_path), connections=3, seconds=0.3))
    assert outcome.statuses == {"200": len(got)}
    assert len(outcome.by_status["200"]) == len(got) > 6
    assert len(outcome.first) == 3
    # Others may have been answered again before the last one was for the first time.
    assert len(got) - 9 <= len(outcome.microseconds) <= len(got) - 3
    assert outcome.lost == 0
    assert outcome.received_bytes > 3000 * len(got)
    assert 0.2 <= outcome.seconds < 2
    # Three connections; the last answers may be read a little after the end.
    assert sum(outcome.microseconds) / 1e6 <= 3 * (outcome.seconds + 0.05)


def test_bodies_are_sent_in_turn(load: Load, tmp_path: Path) -> None:
    with answering([200]) as (port, got):
        load.run(Burst(port, "/", bodies(tmp_path), connections=1, seconds=0.1))
    assert [one["number"] for one in got] == [place % 3 for place in range(len(got))]


def test_who_is_told_to_come_back_later_does(load: Load, tmp_path: Path) -> None:
    with answering([503], {"Retry-After": "1"}) as (port, got):
        outcome = load.run(Burst(port, "/", bodies(tmp_path), connections=1, seconds=0.25, pause=0.1))
    assert outcome.statuses == {"503": len(got)}
    assert outcome.told_to_wait == len(got) <= 4


def test_a_503_that_does_not_say_when_to_come_back_is_noticed(load: Load, tmp_path: Path) -> None:
    with answering([503]) as (port, _):
        outcome = load.run(Burst(port, "/", bodies(tmp_path), connections=1, seconds=0.1, pause=0.05))
    assert outcome.told_to_wait == 0 < outcome.statuses["503"]


def test_a_connection_that_ends_without_its_answer_is_counted_as_lost(load: Load, tmp_path: Path) -> None:
    with answering([200], last=3) as (port, _):
        outcome = load.run(Burst(port, "/", bodies(tmp_path), connections=1, seconds=5.0))
    assert (outcome.statuses, outcome.lost) == ({"200": 2}, 1)


# --- what a server takes --------------------------------------------------------------------------

SPIN = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}])"


def test_the_cpu_time_of_a_server_is_that_of_all_that_it_started() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        members = family(process.pid)
        taken = [cpu_of(pid) for pid in members]
        process.communicate(b"\n")
    assert len(members) == 2
    assert 0.45 <= taken[1] <= 0.6
    assert 0.45 <= sum(taken) <= 0.9


def test_the_machine_works_at_least_as_much_as_one_of_its_processes() -> None:
    before, own = machine_cpu(), time.process_time()
    while time.process_time() - own < 0.3:
        pass
    assert machine_cpu() - before >= 0.25


def test_a_process_that_is_gone_takes_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert cpu_of(process.pid) == 0


# --- figures and bars -----------------------------------------------------------------------------


def outcome(**times: list[int]) -> Outcome:
    each = {name.removeprefix("s"): found for name, found in times.items()}
    every = [one for found in each.values() for one in found]
    counts = {name: len(found) for name, found in each.items()}
    return Outcome(2.0, every, [], counts, each, 0, 0, counts.get("503", 0), 0)


def test_a_sample_is_per_request() -> None:
    found = sample_of(outcome(s200=[1_000, 2_000, 3_000, 4_000]), 0.002)
    assert (found.cpu, found.p50, found.rate) == (500.0, 2.5, 2.0)
    assert found.p99 == pytest.approx(3.97)


def test_sides_are_compared_round_by_round() -> None:
    ours, theirs = ([Sample(cpu, 1, 1, 1) for cpu in found] for found in ((10, 40, 90), (10, 20, 30)))
    both = Beside({("a", 1): ours, ("b", 1): theirs})
    assert both.times("a", "b", 1, "cpu") == 2
    assert (both.median("a", 1, "cpu"), both.best("a", 1, "cpu")) == (40, 10)


def test_the_best_rate_is_the_highest() -> None:
    assert Beside({("a", 1): [Sample(1, 1, 1, 5), Sample(1, 1, 1, 7)]}).best("a", 1, "rate") == 7


def test_a_refusal_is_timed_by_who_asks_beside_the_crowd_and_counted_in_both() -> None:
    found = refusing(outcome(s503=[1_000, 1_000]), outcome(s200=[8_000], s503=[90_000]))
    assert found == Refusing(1.0, 1.0, 3, 3, 8.0, 8.0, {})


def test_an_answer_that_is_neither_given_nor_refused_is_told() -> None:
    assert refusing(outcome(s503=[1_000]), outcome(s500=[1_000])).others == {"500": 1}


BASE = {
    BARE: Sample(200.0, 1.0, 2.0, 1_000.0), OURS: Sample(260.0, 1.3, 3.9, 800.0), OBVIOUS: Sample(1_040.0, 9, 9, 200.0),
    MLFLOW: Sample(5_200.0, 9, 9, 20.0), SCORE: Sample(900.0, 2.3, 9, 300.0),
}  # fmt: skip
OTHERS = dict.fromkeys((RECEIPTS, SCORES_ONLY, OUR_WORDS, BATCHED, WORKERS), Sample(1, 1, 1, 1))


def found(changed: Mapping[str, Sample] | None = None, **other: Any) -> Found:
    sides = {**OTHERS, **BASE, **(changed or {})}
    samples = {(name, n): [one] for name, one in sides.items() for n in CONNECTIONS}
    edge: dict[str, Any] = {
        "refusing": Refusing(5.0, 19.9, 40, 40, 50.0, 90.0, {}),
        "thousands": {3: Thousand(70, 100, 0.2, 0.1), 0: Thousand(5, 100, 0.2, 0.1)},
        "starts": [4.9, 3.0, 9.0], "loaded": {}, "mapped": [],
    }  # fmt: skip
    return Found(
        Beside(samples), Beside(samples), **{**edge, **other}, megabytes={OURS: 200.0}, load_cpu=25.0, others=0.1
    )


def missed(one: Found) -> list[int]:
    return [place for place, bar in enumerate(bars(one)) if not bar.met]


def test_bars_are_met_exactly_at_their_edges() -> None:
    # All but the p99 against the bare route's, which cannot be at its edge together with that against our own p50.
    assert missed(found({BARE: replace(BASE[BARE], p99=1.95)})) == []


@pytest.mark.parametrize(
    ("changed", "other", "place"),
    [
        ({BARE: Sample(199.0, 1.0, 2.0, 1_000.0)}, {}, 0),
        ({BARE: Sample(200.0, 0.9, 2.0, 1_000.0)}, {}, 1),
        ({BARE: Sample(200.0, 1.0, 1.9, 1_000.0)}, {}, 2),
        ({OBVIOUS: Sample(1_039.0, 9, 9, 200.0)}, {}, 3),
        ({OBVIOUS: Sample(1_040.0, 9, 9, 201.0)}, {}, 4),
        ({MLFLOW: Sample(5_199.0, 9, 9, 20.0)}, {}, 5),
        ({OURS: Sample(260.0, 1.3, 3.95, 800.0)}, {}, 6),
        ({}, {"refusing": Refusing(5.0, 20.0, 40, 40, 50.0, 90.0, {})}, 7),
        ({}, {"refusing": Refusing(5.0, 19.9, 40, 39, 50.0, 90.0, {})}, 7),
        ({}, {"refusing": Refusing(5.0, 19.9, 0, 0, 50.0, 90.0, {})}, 7),
        ({}, {"refusing": Refusing(5.0, 19.9, 40, 40, 50.0, 90.0, {"500": 1})}, 7),
        ({SCORE: Sample(900.0, 2.31, 9, 300.0)}, {}, 8),
        ({}, {"thousands": {3: Thousand(69, 100, 0.2, 0.1)}}, 9),
        ({}, {"starts": [5.0, 3.0, 9.0]}, 10),
        ({}, {"loaded": {"sklearn": ["lightgbm"]}}, 11),
        ({}, {"mapped": ["pandas"]}, 11),
    ],
)
def test_a_bar_is_missed_just_beyond_its_edge(changed: dict[str, Sample], other: dict[str, Any], place: int) -> None:
    assert missed(found({BARE: replace(BASE[BARE], p99=2.0), **changed}, **other)) == [place]


def test_the_section_shows_every_side_and_every_bar() -> None:
    text = section(found(), 12.0)
    assert text.startswith(f"{HEADING}\n")
    assert text.count("| met |") == len(bars(found()))
    for name in {**BASE, **OTHERS}:
        assert f"| {name} | 64 |" in text

"""What the service counts: no more and no less than it was told, over all of its processes, under names that are known."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from serving.web import metrics as module
from serving.web.metrics import CODES, LEADS, PROBABILITIES, REASONS, ROUTES, SECONDS, STATES, Metrics
from tests.refusals_written import errors_written, reasons_written, refusals_written

ROOT = Path(__file__).parents[2]
CANARY = "canary-7421@example.com"

Labels = tuple[tuple[str, str], ...]


def samples(text: bytes) -> dict[tuple[str, Labels], float]:
    """Return every sample by its name and labels, as Prometheus would read them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def text_of(metrics: Metrics) -> bytes:
    metrics.settle()
    return metrics.text()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(text_of(metrics)).get((name, tuple(sorted(labels.items()))))


def cumulative(values: Sequence[float], bounds: Sequence[float]) -> list[int]:
    """Return how many values are at most each bound, the slow way."""
    return [sum(one <= bound for one in values) for bound in [*bounds, float("inf")]]


def buckets(metrics: Metrics, name: str, **labels: str) -> list[float]:
    found = samples(text_of(metrics))
    wanted = {key[1]: count for key, count in found.items() if key[0] == f"{name}_bucket"}
    of_it = [(dict(key), count) for key, count in wanted.items() if labels.items() <= dict(key).items()]
    return [count for _, count in sorted((float(told["le"]), count) for told, count in of_it)]


# --- counts are what was told -------------------------------------------------------------------


def test_a_request_is_counted_under_its_route_and_status() -> None:
    metrics = Metrics()
    for status in (200, 200, 503):
        metrics.request("/score", status, 0.001)
    assert value(metrics, "pql_requests_total", route="/score", status="200") == 2
    assert value(metrics, "pql_requests_total", route="/score", status="503") == 1
    assert value(metrics, "pql_request_seconds_count", route="/score") == 3
    assert value(metrics, "pql_request_seconds_sum", route="/score") == pytest.approx(0.003)


SECONDS_TAKEN = st.one_of(st.sampled_from(SECONDS), st.floats(0, 60))


@settings(max_examples=60, deadline=None)
@given(st.lists(SECONDS_TAKEN, max_size=40))
def test_seconds_fall_into_the_buckets_that_the_library_would_choose(taken: list[float]) -> None:
    metrics = Metrics()
    for seconds in taken:
        metrics.request("/score", 200, seconds)
    assert buckets(metrics, "pql_request_seconds", route="/score") == cumulative(taken, SECONDS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.one_of(st.sampled_from(PROBABILITIES), st.floats(0, 1)), max_size=30), max_size=6))
def test_scores_of_any_number_of_leads_are_counted_as_if_one_by_one(requests: list[list[float]]) -> None:
    metrics = Metrics()
    for probabilities in requests:
        metrics.scored("/score", "v1", probabilities, sum(p >= 0.5 for p in probabilities))
    every = [p for probabilities in requests for p in probabilities]
    assert value(metrics, "pql_scores_total", route="/score") == len(every)
    assert value(metrics, "pql_pqls_total", route="/score") == sum(p >= 0.5 for p in every)
    assert buckets(metrics, "pql_probability") == cumulative(every, PROBABILITIES)
    assert value(metrics, "pql_probability_sum") == pytest.approx(sum(every), abs=1e-9)
    assert buckets(metrics, "pql_leads_per_request") == cumulative([len(one) for one in requests], LEADS)


@pytest.mark.parametrize("n", [module._FEW - 1, module._FEW, 1000])
def test_few_and_many_values_are_counted_alike(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    metrics, library = Metrics(), pytest.importorskip("prometheus_client")
    metrics.scored("/score", "v1", values.tolist(), 0)
    own = library.CollectorRegistry()
    oracle = library.Histogram("pql_probability", "", registry=own, buckets=PROBABILITIES)
    for one in values:
        oracle.observe(one)
    expected = {key: told for key, told in samples(library.generate_latest(own)).items() if "_created" not in key[0]}
    got = samples(text_of(metrics))
    assert {key: got[key] for key in expected} == pytest.approx(expected)


def test_parts_of_batch_jobs_are_no_requests_of_so_many_leads() -> None:
    metrics = Metrics()
    metrics.scored("/score_batch", "v1", [0.2] * 5000, 7)
    assert value(metrics, "pql_scores_total", route="/score_batch") == 5000
    assert value(metrics, "pql_leads_per_request_count") == 0


def test_a_clock_that_goes_back_takes_no_seconds_away() -> None:
    metrics = Metrics()
    metrics.request("/score", 200, -1.0)
    assert value(metrics, "pql_request_seconds_sum", route="/score") == 0


def test_leads_that_are_refused_are_counted_by_code() -> None:
    metrics = Metrics()
    metrics.refused("/score", "excluded")
    metrics.refused("/score", "excluded")
    assert value(metrics, "pql_refused_total", route="/score", code="excluded") == 2


def test_the_version_in_service_takes_the_place_of_the_one_before() -> None:
    metrics = Metrics()
    metrics.in_service("v1", 1_000_000, 500_000)
    metrics.in_service("v2", 3_000_000, 2_500_000)
    told = {dict(labels)["version"] for name, labels in samples(text_of(metrics)) if name == "pql_model_info"}
    assert told == {"v2"}
    assert value(metrics, "pql_model_in_service_timestamp_seconds") == 3.0
    assert value(metrics, "pql_model_data_until_timestamp_seconds") == 2.5


def test_a_version_that_comes_back_is_told_again() -> None:
    metrics = Metrics()
    for version in ("v1", "v2", "v1"):
        metrics.in_service(version, 1_000_000, 500_000)
    assert value(metrics, "pql_model_info", version="v1") == 1
    assert value(metrics, "pql_model_info", version="v2") is None


def test_data_of_unknown_age_has_no_age() -> None:
    metrics = Metrics()
    metrics.in_service("v1", 1_000_000, None)
    assert np.isnan(value(metrics, "pql_model_data_until_timestamp_seconds") or 0)


def test_what_is_rare_is_there_before_it_happens() -> None:
    metrics = Metrics()
    assert {value(metrics, "pql_model_refused_total", reason=reason) for reason in REASONS} == {0}
    assert value(metrics, "pql_requests_total", route="/score", status="500") == 0


def test_refused_versions_are_counted() -> None:
    metrics, reason = Metrics(), min(REASONS)
    metrics.model_refused(reason)
    assert value(metrics, "pql_model_refused_total", reason=reason) == 1


def test_a_state_without_jobs_is_told_as_none() -> None:
    metrics = Metrics()
    metrics.jobs({"in_progress": 2, "success": 5})
    metrics.jobs({"success": 6})
    told = {state: value(metrics, "pql_jobs", state=state) for state in STATES}
    assert told == {"in_progress": 0, "success": 6, "failure": 0, "cancelled": 0}


def test_the_text_is_what_its_content_type_says() -> None:
    assert "version=0.0.4" in Metrics.CONTENT_TYPE
    assert text_of(Metrics()).startswith(b"# HELP pql_")


# --- labels are bounded, and none of a caller's words becomes one -------------------------------

ANYTHING = st.text(max_size=30)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ANYTHING, st.integers(-5, 1000), ANYTHING, ANYTHING, ANYTHING), max_size=20))
def test_whatever_is_told_no_series_is_added_for_it(told: list[tuple[str, int, str, str, str]]) -> None:
    known = Metrics()
    known.request("elsewhere", 1000, 0.1)
    known.refused("elsewhere", "unheard of")
    known.model_refused("unheard of")
    known.scored("elsewhere", "v", [0.5], 1)
    metrics = Metrics()
    for route, status, code, reason, version in told:
        metrics.request(f"/x{route}", status + 1000, 0.1)
        metrics.refused(f"/x{route}", f"x {code}")
        metrics.model_refused(f"x {reason}")
        metrics.scored(f"/x{route}", version, [0.5], 1)
    assert {key[0:2] for key in samples(text_of(metrics))} <= set(samples(text_of(known)))


def test_nothing_of_a_lead_gets_into_a_label() -> None:
    metrics = Metrics()
    metrics.request(f"/{CANARY}", 200, 0.1)
    metrics.refused(f"/{CANARY}", CANARY)
    metrics.refused("/score", CANARY)
    metrics.scored(f"/{CANARY}", CANARY, [0.1], 0)
    metrics.in_service(CANARY, 1, 1)
    metrics.model_refused(CANARY)
    metrics.jobs({CANARY: 1})
    assert b"canary" not in text_of(metrics)
    assert value(metrics, "pql_refused_total", route="/score", code="other") == 1


def test_unknown_routes_are_not_remembered() -> None:
    metrics = Metrics()
    before = dict(metrics._request_of)
    for i in range(100):
        metrics.request(f"/{i}", 404, 0.0)
        metrics.request("/score", 1000 + i, 0.0)
        metrics.refused("/score", f"code {i}")
    assert metrics._request_of == before
    assert metrics._refusal_of == {}
    assert value(metrics, "pql_requests_total", route="other", status="404") == 100


def test_all_there_can_ever_be_is_some_thousand_series() -> None:
    n_routes, n_statuses = len(ROUTES) + 1, len(module._STATUSES) + 1
    assert n_routes * (n_statuses + len(CODES) + 1 + len(SECONDS) + 3) < 2_000


def test_every_code_that_a_refusal_has_is_counted_by_name() -> None:
    found = {code for _, code in refusals_written()}
    assert "not_found" in found
    assert found <= CODES, f"add to CODES in serving/web/metrics.py: {sorted(found - CODES)}"


def test_every_reason_that_a_refused_model_has_is_counted_by_name() -> None:
    found = reasons_written()
    assert "hash_differs" in found
    assert found <= REASONS, f"add to REASONS in serving/web/metrics.py: {sorted(found - REASONS)}"


def test_every_error_of_ours_is_counted_by_its_code() -> None:
    found = errors_written()
    assert {"invalid_input", "excluded"} <= found
    assert found <= CODES, f"add to CODES in serving/web/metrics.py: {sorted(found - CODES)}"


def test_no_code_is_known_that_nobody_makes() -> None:
    made = {f"job_{state}" for state in STATES} | {code for _, code in refusals_written()} | errors_written()
    assert made >= CODES, f"take out of CODES in serving/web/metrics.py: {sorted(CODES - made)}"


# --- several processes --------------------------------------------------------------------------

COUNT = """
import sys
from serving.web.metrics import Metrics
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.request("/score", 200, 0.001)
    metrics.scored("/score", "v1", [0.25, 0.75], 1)
metrics.in_service(sys.argv[2], int(sys.argv[3]), 7_000_000)
metrics.jobs({"success": int(sys.argv[1])})
metrics.settle()
if sys.argv[4:]:
    print("ready", flush=True)
    sys.stdin.readline()
metrics.settle()
sys.stdout.buffer.write(metrics.text())
"""


def worker(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COUNT, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def told_by(process: subprocess.Popen[bytes]) -> dict[tuple[str, Labels], float]:
    text, _ = process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    return samples(text)


def test_two_workers_are_added_up_and_the_version_of_an_ended_one_is_forgotten(tmp_path: Path) -> None:
    ended = told_by(worker(tmp_path, 3, "v1", 1_000_000))
    assert ended["pql_model_info", (("version", "v1"),)] == 1
    running = worker(tmp_path, 4, "v2", 2_000_000, "stay")
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    time.sleep(0.01)
    last = told_by(worker(tmp_path, 5, "v2", 3_000_000))
    told_by(running)
    route = (("route", "/score"),)
    assert last["pql_requests_total", (("route", "/score"), ("status", "200"))] == 12
    assert last["pql_scores_total", route] == 24
    assert last["pql_pqls_total", route] == 12
    assert last["pql_probability_count", ()] == 24
    assert last["pql_request_seconds_bucket", (("le", "0.001"), ("route", "/score"))] == 12
    assert ("pql_model_info", (("version", "v1"),)) not in last
    assert last["pql_model_info", (("version", "v2"),)] == 1
    assert last["pql_model_in_service_timestamp_seconds", ()] == 3.0
    assert last["pql_model_data_until_timestamp_seconds", ()] == 7.0
    assert last["pql_jobs", (("state", "success"),)] == 5


def test_a_process_that_runs_is_not_taken_for_one_that_ended(tmp_path: Path) -> None:
    for process in (os.getpid(), 2**22 + 1):  # Linux counts processes up to 2**22
        (tmp_path / f"gauge_livemax_{process}.db").touch()
    (tmp_path / f"counter_{2**22 + 2}.db").touch()
    assert list(module._ended(tmp_path)) == [2**22 + 1]


def test_nothing_is_imported_before_the_environment_is_set() -> None:
    told = "import sys, serving.web.metrics; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_request_with_one_score_costs_little() -> None:
    """The bar is 15 microseconds; three times as many are allowed here, for machines that are busy."""
    metrics, best = Metrics(), float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(2000):
            metrics.request("/score", 200, 0.0012)
            metrics.scored("/score", "v1", [0.36], 1)
        best = min(best, (time.process_time() - began) / 2000)
    assert best < 45e-6


def test_what_a_worker_counted_last_is_written_down_without_another_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)

    async def counted() -> float | None:
        metrics = Metrics()
        metrics.refused("/score", "overloaded")
        await asyncio.sleep(0.1)
        return samples(metrics.text()).get(("pql_refused_total", (("code", "overloaded"), ("route", "/score"))))

    assert asyncio.run(counted()) == 1


def test_two_who_ask_at_once_may_both_forget_an_ended_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.FOLDER, str(tmp_path))
    monkeypatch.setattr(module, "_ended", lambda _: [1])
    asked = []

    def gone(process: int, _: str) -> None:
        asked.append(process)
        raise FileNotFoundError

    monkeypatch.setattr("prometheus_client.multiprocess.mark_process_dead", gone)
    Metrics()._all_workers()
    assert asked == [1]

"""What the service counts, for Prometheus.

Each worker process counts for itself, in files of a folder that BentoML names before it loads the service; whoever is asked for the
numbers adds up all of them. Without such a folder a process has its numbers for itself. No label takes a value that a caller chose.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from prometheus_client import Histogram, Metric
    from prometheus_client.registry import CollectorRegistry

OTHER: Final = "other"
ROUTES: Final = (
    "/score", "/score_features", "/score_batch", "/score_batch/status", "/score_batch/result",
    "/model", "/livez", "/readyz", "/metrics", "/docs.json",
)  # fmt: skip
BATCH: Final = "/score_batch"
CODES: Final = frozenset(
    "already_converted artifact_error excluded forbidden headers_too_large http_version_not_supported in_progress internal "
    "invalid_gzip invalid_input invalid_setting job_cancelled job_failure malformed_request method_not_allowed "
    "naive_timestamp no_proxy no_websockets not_enough_data not_found not_ready other_version overloaded "
    "receipts_unavailable refusal request_timeout same_account schema_mismatch storage_unavailable timed_out too_large "
    "too_many_connections too_many_jobs too_many_requests_ahead too_slow trial_closed unauthorized unknown_task unread_body "
    "unsupported_encoding unsupported_media_type".split()
)
"""The codes that refusals have; any other counts as `other`."""
REASONS: Final = frozenset(
    "check_died check_not_made check_timed_out example_differs gone hash_differs text_differs unusable wrong_format".split()
)
"""Why a version was not put into service; any other reason counts as `other`."""
STATES: Final = frozenset(("in_progress", "success", "failure", "cancelled"))
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PROBABILITIES: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LEADS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

EVERY: Final = 1.0
"""Seconds after which what was counted is written down for the other workers to tell."""

_VERSION: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_STATUSES: Final = {int(status): str(int(status)) for status in HTTPStatus}
_FEW: Final = 12  # values from which on numpy sorts them into buckets faster than one by one
_MICROSECONDS: Final = 1_000_000


class Metrics:
    """Counts of one process; make it once, after the environment is set.

    Parameters
    ----------
    routes : the paths that are counted by name; any other route counts as `other`
    """

    CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, routes: Collection[str] = ROUTES) -> None:
        # Not before: the library looks at the environment when it is imported, to count in files or in memory.
        import prometheus_client as library
        from prometheus_client import values

        self._library, self._registry = library, library.CollectorRegistry()
        self._tally = _Tally()
        self._in_files = values.ValueClass is not values.MutexValue
        self._routes = frozenset(routes)
        self._known = (*sorted(self._routes), OTHER)
        self._count_requests()
        self._count_scores()
        self._count_models()

    def _count_requests(self) -> None:
        counter, own = self._library.Counter, self._registry
        self._requests = counter("pql_requests_total", "Requests answered.", ["route", "status"], registry=own)
        self._refusals = counter("pql_refused_total", "Requests and leads refused.", ["route", "code"], registry=own)
        seconds = self._histogram("pql_request_seconds", "Seconds from request to answer.", SECONDS, ["route"])
        self._seconds = {route: seconds.labels(route) for route in self._known}
        # One child for each pair of labels, found without the library's lock and its checks of names.
        self._request_of: dict[tuple[str, int], Any] = {}
        self._refusal_of: dict[tuple[str, str], Any] = {}

    def _count_scores(self) -> None:
        counter, own = self._library.Counter, self._registry
        scores = counter("pql_scores_total", "Leads scored.", ["route"], registry=own)
        pqls = counter("pql_pqls_total", "Leads scored that are PQLs.", ["route"], registry=own)
        self._scores = {route: scores.labels(route) for route in self._known}
        self._pqls = {route: pqls.labels(route) for route in self._known}
        self._probability = self._histogram("pql_probability", "Probabilities answered.", PROBABILITIES)
        self._leads = self._histogram("pql_leads_per_request", "Leads in a request that was answered at once.", LEADS)

    def _count_models(self) -> None:
        gauge, counter, own = self._library.Gauge, self._library.Counter, self._registry
        # "live": of processes that run. A version counts as in service as long as one of them answers with it.
        self._model = gauge(
            "pql_model_info", "1 for the version in service.", ["version"], registry=own, multiprocess_mode="livemax"
        )
        told = {
            "pql_model_data_until_timestamp_seconds": "End of the data that the version in service learned from.",
            "pql_model_in_service_timestamp_seconds": "When the version in service was put there.",
        }
        self._data_until, self._since = (
            gauge(name, text, registry=own, multiprocess_mode="livemostrecent") for name, text in told.items()
        )
        self._models_refused = counter(
            "pql_model_refused_total", "Versions not put into service.", ["reason"], registry=own
        )
        self._jobs = gauge("pql_jobs", "Batch jobs by state.", ["state"], registry=own, multiprocess_mode="mostrecent")
        self._version: str | None = None
        # What is rare is there before it happens: an alert on its increase would miss the first time.
        for reason in sorted(REASONS):
            self._models_refused.labels(reason)
        for route in self._known:
            self._request_child(route, 500)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        return self._library.Histogram(name, text, labels, registry=self._registry, buckets=buckets)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request and its answer's status."""
        counter = self._request_of.get((route, status))
        if counter is None:
            counter = self._request_child(route, status)
        self._tally.add(counter, 1)
        histogram = self._seconds.get(route)
        self._add_one(self._seconds[OTHER] if histogram is None else histogram, SECONDS, max(seconds, 0.0))
        self._tally.settle()

    def _request_child(self, route: str, status: int) -> Any:
        known = route if route in self._routes else OTHER
        child = self._requests.labels(known, _STATUSES.get(status, OTHER))
        # What is unknown is looked up each time, since remembering it would let callers fill the memory.
        if known == route and status in _STATUSES:
            self._request_of[route, status] = child
        return child

    def refused(self, route: str, code: str) -> None:
        """Count a request that was refused, or one lead of a request."""
        counter = self._refusal_of.get((route, code))
        if counter is None:
            counter = self._refusal_child(route, code)
        self._tally.add(counter, 1)

    def _refusal_child(self, route: str, code: str) -> Any:
        labels = (route if route in self._routes else OTHER, code if code in CODES else OTHER)
        child = self._refusals.labels(*labels)
        if labels == (route, code):
            self._refusal_of[labels] = child
        return child

    def scored(self, route: str, version: str, probabilities: Sequence[float], n_pql: int) -> None:  # noqa: ARG002
        """Count the leads of one request, or of one part of a batch job.

        The version is no label: which one answered when is told by `pql_model_info`.
        """
        known = route if route in self._routes else OTHER
        self._tally.add(self._scores[known], len(probabilities))
        if n_pql:
            self._tally.add(self._pqls[known], n_pql)
        self._add(self._probability, PROBABILITIES, probabilities)
        if route != BATCH:
            self._add_one(self._leads, LEADS, len(probabilities))

    def in_service(self, version: str, since: int, data_until: int | None) -> None:
        """Tell which version is in service, since when, and until when its data went (microseconds since 1970 UTC)."""
        version = version if _VERSION.fullmatch(version) else OTHER
        if self._version not in (None, version):
            self._model.labels(self._version).set(0)
        self._version = version
        self._model.labels(version).set(1)
        self._since.set(since / _MICROSECONDS)
        self._data_until.set(float("nan") if data_until is None else data_until / _MICROSECONDS)

    def model_refused(self, reason: str) -> None:
        """Count a version that was not put into service."""
        self._models_refused.labels(reason if reason in REASONS else OTHER).inc()

    def jobs(self, states: Mapping[str, int]) -> None:
        """Tell how many batch jobs there are in each state; a state that is left out has none."""
        for state in STATES:
            self._jobs.labels(state).set(states.get(state, 0))

    def text(self) -> bytes:
        """Return the numbers of all workers as Prometheus reads them; it reads files, so ask in a thread, after `settle`."""
        collected = self._all_workers() if self._in_files else self._registry
        return self._library.generate_latest(_Current(collected))

    def settle(self) -> None:
        """Write down what was counted; call it in the thread that counts."""
        self._tally.settle(now=True)

    # The library's `observe` takes one value and goes through the buckets one by one. These count what it counts; tests hold them
    # to it.

    def _add_one(self, histogram: Histogram, bounds: Sequence[float], value: float) -> None:
        self._tally.add(histogram._sum, value)
        self._tally.add(histogram._buckets[bisect_left(bounds, value)], 1)

    def _add(self, histogram: Histogram, bounds: Sequence[float], values: Sequence[float]) -> None:
        if len(values) < _FEW:
            for value in values:
                self._add_one(histogram, bounds, value)
            return
        found = np.asarray(values, dtype=np.float64)
        self._tally.add(histogram._sum, float(found.sum()))
        counts = np.bincount(np.searchsorted(bounds, found, side="left"), minlength=len(bounds) + 1)
        for bucket in np.flatnonzero(counts).tolist():
            self._tally.add(histogram._buckets[bucket], int(counts[bucket]))

    def _all_workers(self) -> CollectorRegistry:
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        folder, everyone = Path(os.environ[FOLDER]), self._library.CollectorRegistry()
        for process in _ended(folder):
            with suppress(FileNotFoundError):  # somebody else asks for the numbers at the same time, and was first
                mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
        MultiProcessCollector(everyone, str(folder))  # type: ignore[no-untyped-call]
        return everyone


class _Tally:
    """Amounts that are added up here and written down once a second: writing into a file costs more than counting."""

    def __init__(self) -> None:
        self._amounts: dict[Any, float] = {}
        self._settled = time.monotonic()

    def add(self, to: Any, amount: float) -> None:
        if not self._amounts:
            # Without a later request nothing else would write down the last ones of a worker that has no more to do.
            with suppress(RuntimeError):  # no loop runs here
                asyncio.get_running_loop().call_later(EVERY, partial(self.settle, now=True))
        self._amounts[to] = self._amounts.get(to, 0) + amount

    def settle(self, *, now: bool = False) -> None:
        """Write down what there is, if it is time."""
        moment = time.monotonic()
        if now or moment - self._settled > EVERY:
            self._settled, amounts, self._amounts = moment, self._amounts, {}
            for to, amount in amounts.items():
                to.inc(amount)


class _Current:
    """Leaves out the versions that are no longer in service: they would pile up with every promotion."""

    def __init__(self, collected: CollectorRegistry) -> None:
        self._collected = collected

    def collect(self) -> Iterator[Metric]:
        for metric in self._collected.collect():
            if metric.name == "pql_model_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


def _ended(folder: Path) -> Iterable[int]:
    """Yield the processes that have numbers of the present in a folder and do not run any more."""
    processes = {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}
    return [process for process in processes if not _runs(process)]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 asks whether it could be sent one
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

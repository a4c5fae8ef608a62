"""Puts a service together from its settings: the version, the keys, the routes, and what runs beside the requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from features.errors import ArtifactError, InvalidInput, PQLError
from features.times import parse_instant
from serving.jobs.manager import Manager
from serving.jobs.routes import Jobs
from serving.jobs.store import Store
from serving.models.served import Holder, Served
from serving.models.shelf import Source, Stored, source_of
from serving.models.watching import Watch
from serving.receipts import Receipts, usable
from serving.settings import Settings
from serving.web import logs
from serving.web.desk import Desk, clock
from serving.web.front import Entry, House, Observe
from serving.web.handlers import Handlers
from serving.web.keys import Keys
from serving.web.metrics import Metrics
from serving.web.openapi import document_bytes


@dataclass
class Opened:
    """A service that can answer; `close` ends what runs beside the requests."""

    desk: Desk
    house: House
    ends: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        """End what runs beside the requests, the last that began first."""
        while self.ends:
            self.ends.pop()()


def opened(settings: Settings, stored: Callable[[], Path]) -> Opened:
    """Return the service of these settings; `stored` returns the folder of the newest model of the Bento store.

    Raises
    ------
    ArtifactError
        Where there is no version, or it must not be served.
    InvalidInput
        Where a setting cannot be used.
    """
    logs.configure()
    try:
        return _opened(settings, stored)
    except PQLError as error:
        # Whatever starts us tells of a failure without its text.
        logs.log().critical("not_started", reason=str(error))
        raise


def _opened(settings: Settings, stored: Callable[[], Path]) -> Opened:
    keys = None if settings.keys is None else Keys.read(settings.keys, _keys_stay)
    if keys is None:
        logs.log().warning("everybody_is_let_in", reason="PQL_KEYS names no file of keys")
    keep = None if settings.receipts is None else Receipts(usable(settings.receipts), clock).keep
    metrics = Metrics()
    watch = _watch(source_of(settings.model) if settings.model else Stored(stored), metrics)
    holder = Holder(watch.first())
    desk, access = Desk(holder, metrics, clock, keep), logs.Access(settings.access_log)
    store = Store(settings.jobs)
    desk.jobs = store.counts
    manager = Manager(store, lambda: holder.served.scorer, clock)
    jobs = Jobs(manager, lambda: holder.served.scorer.builder.definition, clock, settings.most_upload)
    entries = _entries(desk, jobs, keyed=keys is not None)
    made = Opened(desk, House(entries, keys, _observer(metrics, access), _unexpected), [access.close, metrics.settle])
    _in_service(metrics, holder.served)
    watch.start(holder)
    made.ends.append(watch.stop)
    manager.start()
    made.ends.append(manager.stop)
    return made


def _entries(desk: Desk, jobs: Jobs, *, keyed: bool) -> Sequence[Entry]:
    """Return all routes; the document that one of them gives is made of the list."""
    document = b""
    handlers = Handlers(desk, lambda: document)
    entries = [*handlers.entries(), *jobs.entries()]
    document = document_bytes(entries, keyed=keyed)
    return entries


def _watch(source: Source, metrics: Metrics) -> Watch:
    def changed(served: Served) -> None:
        _in_service(metrics, served)

    def refused(error: PQLError) -> None:
        metrics.model_refused(error.reason if isinstance(error, ArtifactError) else "unusable")
        logs.log().error("model_refused", reason=str(error))

    return Watch(source, clock, changed, refused)


def _in_service(metrics: Metrics, served: Served) -> None:
    until = None
    # It is in service by now: what an artifact tells of its data, and nobody scores with, is no reason to say that it is not.
    with suppress(InvalidInput):
        until = parse_instant(served.scorer.artifact.training.get("data_until"), "data_until")
    metrics.in_service(served.scorer.version, served.since, until)
    logs.log().info("model_in_service", version=served.scorer.version)


def _keys_stay(why: str) -> None:
    logs.log().error("keys_not_read", reason=why)


def _unexpected(route: str, error: BaseException) -> None:
    logs.log().error("unexpected", route=route, exc_info=error)


def _observer(metrics: Metrics, access: logs.Access) -> Observe:
    def observe(route: str, status: int, seconds: float, code: str | None, caller: str | None) -> None:
        metrics.request(route, status, seconds)
        if code is not None:
            metrics.refused(route, code)
        access(route, status, seconds, code, caller)

    return observe

"""The whole service of one scorer in this process: the front, all routes and what they share, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient

from serving.jobs.manager import Manager
from serving.jobs.routes import Jobs
from serving.jobs.store import Store
from serving.models.served import About
from serving.scoring.scorer import Scorer
from serving.settings import Settings
from serving.web.api_page import table
from serving.web.front import Front, House
from serving.web.handlers import Handlers
from serving.web.openapi import document_bytes
from tests.serving.inside import NOW, Told, desk_of, inner


def front_of(scorer: Scorer, about: About | None = None, jobs: Manager | None = None) -> Front:
    """Return an ASGI application that answers with a scorer, and is open; jobs are taken where somebody does them."""
    desk, told = desk_of(scorer, about=about), Told()
    entries = Handlers(desk, lambda: document_bytes(table(), keyed=False)).entries()
    if jobs is not None:
        entries += Jobs(jobs, lambda: scorer.builder.definition, lambda: NOW, Settings.most_upload).entries()
    house = House(entries, None, told.observe, told.unexpected)
    front = Front(inner, lambda: house)
    front.open(house)
    return front


def client_of(scorer: Scorer, about: About | None = None) -> TestClient:
    return TestClient(front_of(scorer, about))


@contextmanager
def doing_jobs(scorer: Scorer, folder: Path) -> Iterator[Manager]:
    """Give somebody who does the jobs of a folder."""
    manager = Manager(Store(folder), lambda: scorer, lambda: NOW)
    manager.start()
    try:
        yield manager
    finally:
        manager.stop()

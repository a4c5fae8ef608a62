"""The routes in process, without a server: for tests of what is answered, not of how it travels."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from features.times import parse_instant
from serving.models.served import About, Holder, Served
from serving.scoring.scorer import Scorer
from serving.web.desk import Desk
from serving.web.front import Front, House
from serving.web.handlers import Handlers
from serving.web.metrics import Metrics

NOW = parse_instant("2026-01-09T09:00:00Z", "now")


class Told:
    """What was reported of requests, and of errors nobody thought of."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, int, str | None]] = []

    def observe(self, route: str, status: int, seconds: float, code: str | None, caller: str | None) -> None:
        self.requests.append((route, status, code))

    def unexpected(self, route: str, error: BaseException) -> None:
        raise AssertionError(f"{route}: {error!r}") from error


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def front(desk: Desk) -> Front:
    told = Told()
    house = House(Handlers(desk, lambda: b"{}").entries(), None, told.observe, told.unexpected)
    return Front(inner, lambda: house)


def desk_of(scorer: Scorer, now: int = NOW, about: About | None = None) -> Desk:
    return Desk(Holder(Served(scorer, NOW - 1, about)), Metrics(), lambda: now)

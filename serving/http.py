"""The scoring routes as a small ASGI application: what goes in is checked, and what comes out has one shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import PQLError
from serving.requests import decode, error_body, result_body, score
from serving.scoring.decision import Cutoff, expired, overall, to_facts
from serving.scoring.receipt import Keep
from serving.scoring.scorer import Scorer

MOST_BYTES: Final = 8 * 1024 * 1024
MOST_WAITING: Final = 256
JSON: Final = "application/json"


@dataclass
class Desk:
    """What the routes share: the scorer in service, where receipts go, and one thread that scores in the order of arrival.

    One thread keeps the tail fair and the event loop free; LightGBM releases the interpreter lock while it works.
    """

    scorer: Scorer
    now: Callable[[], int]
    keep: Keep | None = None
    waiting: int = 0

    def __post_init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="score")


def clock() -> int:
    """Return the present moment in microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


async def post_score(request: Request) -> Response:
    """`POST /score`."""
    desk: Desk = request.app.state.desk
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        return failure(415, "unsupported_media_type", f"Content-Type must be {JSON}.")
    body = await _body(request)
    if body is None:
        return failure(413, "too_large", f"the body must be at most {MOST_BYTES:,} bytes. Send the leads in parts.")
    if desk.waiting >= MOST_WAITING:
        return failure(503, "overloaded", "too many requests are waiting.", {"retry-after": "1"})
    desk.waiting += 1
    try:
        content = await asyncio.get_running_loop().run_in_executor(desk.thread, _scored, desk, body)
    except PQLError as error:
        return Response(msgspec.json.encode({"error": error_body(error)}), 400, media_type=JSON)
    except OSError:
        # An answer without its receipt is not given: it could not be accounted for.
        return failure(503, "receipts_unavailable", "receipts cannot be written at the moment.", {"retry-after": "5"})
    finally:
        desk.waiting -= 1
    return Response(content, media_type=JSON)


async def _body(request: Request) -> bytes | None:
    """Return the body, or None as soon as it is larger than allowed."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _scored(desk: Desk, body: bytes) -> bytes:
    scorer = desk.scorer
    results = [result_body(result) for result in score(scorer, decode(body), desk.now(), desk.keep)]
    return msgspec.json.encode({**in_service(scorer), "results": results})


def in_service(scorer: Scorer) -> dict[str, Any]:
    """Return which version answers, and from which probability on a lead is a PQL (null: nobody is).

    Where segments have cutoffs of their own it is that of leads of no segment; `GET /model` tells of all.
    """
    decision = overall(scorer.artifact.decision)
    return {
        "model_version": scorer.artifact.version,
        "cutoff": decision.probability if isinstance(decision, Cutoff) else None,
    }


async def get_model(request: Request) -> Response:
    """`GET /model`."""
    desk: Desk = request.app.state.desk
    artifact = desk.scorer.artifact
    columns = [{"name": c.name, "unit": c.unit, "meaning": c.meaning} for c in artifact.builder.columns]
    facts = {
        **in_service(desk.scorer),
        "product": artifact.definition.product,
        "rung": artifact.rung,
        "decision": to_facts(artifact.decision),
        "expired": expired(artifact.decision, desk.now()),
        "training": artifact.training,
        "columns": columns,
    }
    return Response(msgspec.json.encode(facts), media_type=JSON)


def failure(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error answer in the one shape that all of them have."""
    return Response(msgspec.json.encode({"error": {"code": code, "message": message}}), status, headers, JSON)


def not_here(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request for a route (404) or a method of one (405) that does not exist."""
    code = {404: "not_found", 405: "method_not_allowed"}[status]
    return failure(status, code, "POST /score and GET /model are the scoring routes.", dict(headers or {}))


async def _not_here(_: Request, error: Exception) -> Response:
    return not_here(error.status_code, error.headers) if isinstance(error, HTTPException) else not_here(404)


class OneShape:
    """Gives the plain-text 404 and 405 of the application around the routes the shape that all our errors have."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = 0

        async def shaped(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (404, 405):
                refused = 0 if (b"content-type", JSON.encode()) in message["headers"] else message["status"]
            if not refused:
                await send(message)
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                await not_here(refused)(scope, receive, send)

        await self.app(scope, receive, shaped)


def application() -> Starlette:
    """Return the routes; put a Desk into `app.state.desk` before the first request."""
    routes = [Route("/score", post_score, methods=["POST"]), Route("/model", get_model, methods=["GET"])]
    return Starlette(routes=routes, exception_handlers={404: _not_here, 405: _not_here})

"""The outermost part of the service: no request reaches a route but through here.

It stands around BentoML's own application, which gets nothing but the events of start and stop: what is not in the table of
routes does not exist. In order: the route, the size that is declared, the key, the content type; then the route's handler,
which asks for the body and gets it within limits. Whatever goes wrong is answered in one shape.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import InvalidInput, PQLError
from serving.web import bodies
from serving.web.bodies import Gone
from serving.web.refusals import JSON, Refused, error_body, refusal

if TYPE_CHECKING:
    from serving.web.keys import Caller

MOST_BYTES: Final = 8 * 1024 * 1024
MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of bodies that are held at the same time; a request above that is sent away for a moment."""
MOST_QUERY: Final = 2_048
GZIP_CODINGS: Final = frozenset({b"gzip", b"x-gzip"})


@dataclass(frozen=True)
class Entry:
    """One route: who may call it, with what, how much and how long; and who answers.

    Attributes
    ----------
    scope : what a key must be good for; None lets everybody in
    types : content types of the body; none where there is no body
    most_bytes, most_inflated : of the body as it comes, and unpacked
    seconds : within which a body must have come; for one that is taken in parts, within which its next part must
    parameters : names that the query may have
    """

    method: str
    path: str
    handler: Handler
    scope: str | None = None
    types: frozenset[str] = frozenset()
    most_bytes: int = MOST_BYTES
    most_inflated: int = MOST_BYTES
    seconds: float = 15.0
    parameters: frozenset[str] = frozenset()


class Doorkeeper(Protocol):
    """Who knows the keys."""

    def caller(self, authorization: bytes | None) -> Caller | None: ...


Observe = Callable[[str, int, float, str | None, str | None], None]
"""Is told of every request: its route (`other` for none of ours), status, seconds, the code of a refusal, and whose key."""


@dataclass
class Call:
    """One request that the front has let in.

    Attributes
    ----------
    content_type : of the body, in lower case and without its parameters
    query : the parameters of the query, each once
    caller : whose key it came with, None where no key is needed
    """

    entry: Entry
    scope: Scope
    receive: Receive
    front: Front
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    gzip: bool = False
    caller: Caller | None = None
    held: int = 0

    async def body(self) -> bytes:
        """Return the whole body, unpacked."""
        entry = self.entry
        body = await bodies.whole(self.receive, entry.most_bytes, entry.seconds, self._hold)
        if self.gzip:
            body = bodies.gunzipped(body, entry.most_inflated)
            self._hold(len(body))
        return body

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, unpacked, for bodies that are too large to be held."""
        entry = self.entry
        parts = bodies.parts(self.receive, entry.most_bytes, entry.seconds)
        return bodies.gunzip(parts, entry.most_inflated) if self.gzip else parts

    def _hold(self, size: int) -> None:
        self.held += size
        self.front.held += size
        if self.front.held > MOST_HELD:
            raise Refused(503, "overloaded", "too many large requests are waiting.", hint="Try again.", retry_after=1)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class House:
    """What the front needs from the service once it has started."""

    entries: Iterable[Entry]
    keys: Doorkeeper | None
    observe: Observe
    unexpected: Callable[[str, BaseException], None]


class Front:
    """Guards the routes of a house that `opened` gives as soon as the inner application has started."""

    def __init__(self, inner: ASGIApp, opened: Callable[[], House]) -> None:
        self._inner, self._opened = inner, opened
        self._house: House | None = None
        self._table: dict[str, dict[str, Entry]] = {}
        self.held = 0

    def open(self, house: House) -> None:
        """Let requests in."""
        for entry in house.entries:
            self._table.setdefault(entry.path, {})[entry.method] = entry
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, self._when_started(send))
        elif scope["type"] == "http":
            await self._guard(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _when_started(self, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.open(self._opened())
            await send(message)

        return told

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, call, code = time.perf_counter(), None, None
        house, route = self._house, scope["path"] if scope["path"] in self._table else "other"
        try:
            if house is None:
                raise Refused(503, "not_ready", "the service is starting.", retry_after=1)
            call = self._let_in(house, scope, receive)
            response = await call.entry.handler(call)
        except Gone:
            return
        except (Refused, PQLError) as error:
            response, code = refusal(error), error_body(error)["code"]
        except Exception as error:  # the last resort: nothing of the inside is told
            if house is not None:
                house.unexpected(route, error)
            response = refusal(Refused(500, "internal", "the request could not be answered."))
            code = "internal"
        finally:
            if call is not None:
                self.held -= call.held
        await response(scope, receive, send)
        if house is not None:
            caller = call.caller.name if call is not None and call.caller is not None else None
            house.observe(route, response.status_code, time.perf_counter() - started, code, caller)

    def _let_in(self, house: House, scope: Scope, receive: Receive) -> Call:
        """Return the call of a request that may be answered; raises Refused for any other."""
        entry = self._entry(scope)
        length = content_type = coding = authorization = None
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value
            elif name == b"content-length":
                length = value
            elif name == b"content-encoding":
                coding = value if coding is None else b"several"
            elif name == b"authorization":
                authorization = value
        # The parser of HTTP has seen to it that the length is a number.
        if length is not None and int(length) > entry.most_bytes:
            raise bodies.too_large(entry.most_bytes)
        call = Call(entry, scope, receive, self)
        if entry.scope is not None and house.keys is not None:
            call.caller = _allowed(house.keys, authorization, entry.scope)
        if entry.types:
            call.content_type = _type(content_type, entry.types)
            call.gzip = _is_gzip(coding)
        if scope["query_string"]:
            call.query = _query(scope["query_string"], entry.parameters)
        return call

    def _entry(self, scope: Scope) -> Entry:
        methods = self._table.get(scope["path"])
        if methods is None:
            raise Refused(404, "not_found", "there is no such route.", hint="GET /docs.json lists the routes.")
        method = scope["method"]
        entry = methods.get("GET" if method == "HEAD" else method)
        if entry is None:
            allowed = sorted([*methods, *(["HEAD"] if "GET" in methods else [])])
            told = f"{scope['path']} must be asked with {' or '.join(allowed)}, got {method}."
            raise Refused(405, "method_not_allowed", told, allow=", ".join(allowed))
        return entry


def _allowed(keys: Doorkeeper, authorization: bytes | None, scope: str) -> Caller:
    caller = keys.caller(authorization)
    if caller is None:
        hint = "Send `Authorization: Bearer KEY`; `pql key` makes keys."
        raise Refused(401, "unauthorized", "a key is needed, and none or an unknown one came.", hint=hint)
    if scope not in caller.scopes:
        raise Refused(403, "forbidden", f"this key is not good for {scope!r}.")
    return caller


def _type(header: bytes | None, types: frozenset[str]) -> str:
    """Return a content type without its parameters, where it is one of those allowed."""
    if header == b"application/json" and JSON in types:
        return JSON
    found = (header or b"").decode("latin-1").partition(";")[0].strip().lower()
    if found not in types:
        allowed = ", ".join(sorted(types))
        raise Refused(415, "unsupported_media_type", f"Content-Type must be one of: {allowed}.")
    return found


def _is_gzip(coding: bytes | None) -> bool:
    if coding is None:
        return False
    told = coding.strip().lower()
    if told in GZIP_CODINGS:
        return True
    if told in (b"", b"identity"):
        return False
    raise Refused(415, "unsupported_encoding", "Content-Encoding must be gzip or none, once.")


def _query(text: bytes, known: frozenset[str]) -> dict[str, str]:
    """Return the parameters of a query; each may come once, and no other may."""
    try:
        if len(text) > MOST_QUERY:
            raise ValueError
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise InvalidInput("the query must be name=value pairs.", "query") from None
    for i, (name, _) in enumerate(pairs):
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise InvalidInput(f"the query has an unknown parameter; known here: {allowed}.", "query")
        if any(name == other for other, _ in pairs[:i]):
            raise InvalidInput(f"{name} must come once in the query.", name)
    return dict(pairs)

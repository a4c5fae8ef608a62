"""Errors as the service answers them: one shape for all of them, and nothing in it about the inside.

`{"error": {"code", "message", "field"?, "hint"?}}`
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response

from features.errors import InvalidInput, PQLError

JSON: Final = "application/json"
KEPT_BY_NOBODY: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Headers of every answer that tells of leads or of us."""
_HEADERS: Final = [
    (b"content-type", JSON.encode()),
    *((name.encode(), value.encode()) for name, value in KEPT_BY_NOBODY.items()),
]


class Refused(Exception):
    """A request that is not answered as it asks; `status` is the HTTP status, `retry_after` seconds to wait.

    With `close` the connection ends with the answer, because not all of the request was read.
    """

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, hint: str | None = None, *,
        retry_after: int | None = None, allow: str | None = None, close: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.code, self.message, self.field, self.hint = status, code, message, field, hint
        self.retry_after, self.allow, self.close = retry_after, allow, close

    @property
    def body(self) -> dict[str, str]:
        """What stands under `error`."""
        told = {"code": self.code, "message": self.message, "field": self.field, "hint": self.hint}
        return {name: value for name, value in told.items() if value}

    @property
    def headers(self) -> dict[str, str]:
        told = {
            "retry-after": self.retry_after, "allow": self.allow, "connection": "close" if self.close else None,
            "www-authenticate": "Bearer" if self.status == 401 else None,
        }  # fmt: skip
        return {name: str(value) for name, value in told.items() if value is not None}


def code_of(error: PQLError) -> str:
    """Return the code of one of our errors: `InvalidInput` is `invalid_input`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__).strip("_")


def error_body(error: PQLError | Refused) -> dict[str, str]:
    """Return what stands under `error` in the answer."""
    if isinstance(error, Refused):
        return error.body
    if not isinstance(error, InvalidInput):
        return {"code": code_of(error), "message": str(error)}
    told = {"code": code_of(error), "message": error.message, "field": error.field, "hint": error.hint}
    return {name: value for name, value in told.items() if value}


def refusal(error: PQLError | Refused) -> Response:
    """Return the answer to a request that is refused: 400 for what its sender can mend, else what the error says."""
    status, headers = (error.status, error.headers) if isinstance(error, Refused) else (400, {})
    return Response(json_bytes({"error": error_body(error)}), status, {**KEPT_BY_NOBODY, **headers}, JSON)


class Given(Response):
    """An answer of JSON with status 200; its headers are the same each time, so they are not worked out each time."""

    media_type = JSON

    def __init__(self, content: Any) -> None:
        self.status_code, self.background, self.body = 200, None, json_bytes(content)
        self.raw_headers = [*_HEADERS, (b"content-length", b"%d" % len(self.body))]


def json_bytes(content: Any) -> bytes:
    """Return a JSON text; a number that is not finite is null, since JSON has no word for it."""
    return msgspec.json.encode(content)

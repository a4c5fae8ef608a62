"""What can go wrong, as one exception."""

from __future__ import annotations


class PQLServiceError(Exception):
    """The service refused a request, or could not be reached (`status` 0).

    Attributes
    ----------
    code : what kind of error it is, for programs
    field, hint : where it is in the request, and what to do about it, where the service says
    """

    def __init__(self, status: int, code: str, message: str, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"{status} {code}: {message}{f' {hint}' if hint else ''}")
        self.status, self.code, self.message, self.field, self.hint = status, code, message, field, hint

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all of it when it goes from one process to another."""
        return type(self), (self.status, self.code, self.message, self.field, self.hint)

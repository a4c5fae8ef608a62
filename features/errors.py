"""Every error this project raises on purpose, with its text: what, where, what it must be, what it got, what to do.

PQLError
    InvalidInput      the caller's data or request        -> exit 2, HTTP 400
        NaiveTimestamp
        SchemaMismatch
    InvalidSetting    pql.yaml is wrong                   -> exit 2
    ArtifactError     a wrong or damaged model folder     -> exit 2, the server does not start
    Refusal           an honest "not with this data"      -> exit 3
        NotEnoughData
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known word, or an empty text."""
    close = get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def listing(words: Iterable[object], limit: int = 8) -> str:
    """Return the words in quotes, comma separated, shortened after `limit` of them."""
    words = list(words)
    shown = ", ".join(repr(str(word)) for word in words[:limit])
    return shown if len(words) <= limit else f"{shown} and {len(words) - limit} more"


class PQLError(Exception):
    """Anything this project reports without a traceback; `exit_code` is what the command line ends with."""

    exit_code = 1


class InvalidInput(PQLError):
    """Data or a request that its sender can mend; `field` names the place."""

    exit_code = 2

    def __init__(self, message: str, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message} {hint}")
        self.message, self.field, self.hint = message, field, hint

    @classmethod
    def missing_columns(cls, table: str, missing: Sequence[str], got: Sequence[str]) -> InvalidInput:
        guesses = "".join(suggestion(name, got) for name in missing)
        return cls(
            f"{table}: missing column(s) {listing(missing)}; the file has {listing(got, 20)}.{guesses}",
            field=missing[0],
            hint="Rename the columns, or name the right --format.",
        )

    @classmethod
    def no_conversions(cls, column: str) -> InvalidInput:
        return cls(
            f"events alone do not tell who converted: conversion.column ({column!r}) is a column of a trials table, got none.",
            field="conversion",
            hint="Name the event that is the conversion (conversion.event), or give --trials.",
        )

    @classmethod
    def empty(cls, table: str) -> InvalidInput:
        return cls(f"{table}: must have at least one usable row, got none.", hint="Check the path and the export.")

    @classmethod
    def unreadable(cls, path: object, why: object) -> InvalidInput:
        return cls(f"{path}: cannot be read ({why}).", hint="Check the path and that the file is whole.")


class NaiveTimestamp(InvalidInput):
    """A time without a zone, where none was given to read it in."""

    @classmethod
    def of(cls, field: str, example: object) -> NaiveTimestamp:
        return cls(
            f"{field} must carry a time zone, got {str(example)[:100]!r}.",
            field=field,
            hint="Write it like 2026-03-01T09:00:00Z, or set `timezone:` in pql.yaml.",
        )


class SchemaMismatch(InvalidInput):
    """Rows with other columns than the model was trained on."""

    @classmethod
    def columns(cls, expected: Sequence[str], got: Sequence[str], fingerprint: str) -> SchemaMismatch:
        lines = [f"- {name}" for name in expected if name not in set(got)]
        lines += [f"+ {name}" for name in got if name not in set(expected)]
        return cls(
            f"this model was trained on {len(expected)} columns, the rows have {len(got)} "
            f"(fingerprint {fingerprint[:8]}). Missing (-) and unknown (+):\n" + "\n".join(lines[:40]),
            hint="Build the rows with the definition inside the artifact.",
        )


class InvalidSetting(PQLError):
    """A definition that cannot be used; the text names file, line and key."""

    exit_code = 2

    @classmethod
    def at(cls, where: str, must: str, got: object, fix: str = "") -> InvalidSetting:
        return cls(f"{where} {must}, got {got!r}.{' ' + fix if fix else ''}")


class ArtifactError(PQLError):
    """A model folder that must not be served; `reason` says why in one word, for counting."""

    exit_code = 2

    def __init__(self, message: str, reason: str = "unusable") -> None:
        super().__init__(message)
        self.reason = reason

    @classmethod
    def hash_differs(cls, path: object) -> ArtifactError:
        return cls(
            f"{path}: its SHA-256 is not the one in scorer.json. Publish the version again; do not edit its files.",
            "hash_differs",
        )

    @classmethod
    def wrong_format(cls, path: object, expected: int, got: object) -> ArtifactError:
        return cls(
            f"{path}: artifact format must be {expected}, got {got!r}. Train again, or use the matching release.",
            "wrong_format",
        )

    @classmethod
    def example_differs(cls, path: object, expected: float, got: float) -> ArtifactError:
        return cls(
            f"{path}: a stored example must score {expected!r} and scores {got!r}. Use the pinned lightgbm release.",
            "example_differs",
        )


class Refusal(PQLError):
    """The work was done and the honest answer is no; says what would help."""

    exit_code = 3


class NotEnoughData(Refusal):
    """Too few trials, conversions or classes to learn from."""

    @classmethod
    def conversions(cls, part: str, trials: int, converted: int, needed: int) -> NotEnoughData:
        return cls(
            f"{part}: {trials} mature leads with {converted} conversions; at least {needed} leads that converted and "
            f"{needed} that did not are needed. Wait for more history, shorten the horizon, or move --test-from."
        )

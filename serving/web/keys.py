"""API keys: a file of hashes, who comes with which key, and what that caller may do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import stat
import string
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from features.errors import InvalidInput, listing, suggestion

SCOPES: Final = ("score", "batch", "model", "metrics")
MOST_BYTES: Final = 4 * 1024 * 1024
# The time of a file's last change is coarse: what is younger may have changed again unseen.
SETTLED_SECONDS: Final = 2.0

_ID, _DIGEST = re.compile(r"[a-z]{8}"), re.compile(r"[0-9a-f]{64}")
# Not a key itself, put in the wrong place.
_NAME = re.compile(r"(?!pql_)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +pql_([a-z]{8})_([A-Za-z0-9_-]{43}) *")
_NOBODY = bytes(32)
_LINE = "id name scopes sha256 [expires]"
_NAME_RULE = "must be 1 to 64 letters, digits, '.', '_' or '-', and no key"
_MAKE = "Make a line with `pql key`."


@dataclass(frozen=True)
class Caller:
    """Who holds a key, and what it is good for."""

    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class Key:
    """One line of the file; `expires` is the first day (UTC) on which the key is no longer good."""

    id: str
    caller: Caller
    digest: bytes
    expires: date | None = None

    def good(self, now: float) -> bool:
        return self.expires is None or date.fromordinal(_UNIX_DAY + int(now // 86_400)) < self.expires


_UNIX_DAY: Final = date(1970, 1, 1).toordinal()


def new_key(name: str, scopes: Iterable[str], expires: date | None = None) -> tuple[str, str]:
    """Return a key of 256 random bits, to be shown once, and the line for the file, from which it cannot be had back.

    Raises
    ------
    InvalidInput
        a name that a line cannot hold, or a scope that there is not
    """
    scopes = tuple(scopes)
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"a new key: the name {_NAME_RULE}, got {name!r}.", "name")
    _scopes("a new key", scopes)
    place = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    words = [place, name, ",".join(dict.fromkeys(scopes)), hashlib.sha256(secret.encode()).hexdigest()]
    return f"pql_{place}_{secret}", " ".join(words + ([] if expires is None else [expires.isoformat()]))


class Keys:
    """The keys of one file. A changed file is read again; one that cannot be used leaves the keys as they were.

    A hash of 256 random bits tells nobody anything, so everybody may read the file; but not everybody may write it.
    """

    def __init__(self, path: Path, told: Callable[[str], None], now: Callable[[], float]) -> None:
        self.path, self._told, self._now = path, told, now
        self._keys: dict[bytes, Key] = {}
        self._seen: tuple[int, int, int] | None = None
        self._looked, self._wrong = now(), ""

    @classmethod
    def read(
        cls, path: Path, told: Callable[[str], None] = lambda _: None, now: Callable[[], float] = time.time
    ) -> Keys:
        """Return the keys of a file; `told` gets a sentence when a later state of it cannot be used.

        Raises
        ------
        InvalidInput
            names the line and what is wrong with it
        """
        keys = cls(path, told, now)
        keys._renew()
        return keys

    def caller(self, authorization: bytes | None) -> Caller | None:
        """Return who sent this `Authorization` header, or None; all wrong keys take the same time."""
        self._look()
        found = _BEARER.fullmatch(authorization or b"")
        if found is None:
            return None
        key = self._keys.get(found[1])
        right = hmac.compare_digest(hashlib.sha256(found[2]).digest(), _NOBODY if key is None else key.digest)
        return key.caller if right and key is not None and key.good(self._now()) else None

    def _look(self) -> None:
        """Read the file again if it changed; looks at most once a second."""
        now = self._now()
        if 0 <= now - self._looked < 1:
            return
        self._looked = now
        try:
            if self._state() != self._seen:
                self._renew()
            self._wrong = ""
        except (InvalidInput, OSError) as error:
            wrong = str(error) if isinstance(error, InvalidInput) else str(InvalidInput.unreadable(self.path, error))
            if wrong != self._wrong:
                self._wrong = wrong
                self._told(f"{wrong} The keys stay as they were.")

    def _renew(self) -> None:
        try:
            seen = self._state()
            text = self.path.read_bytes()
        except OSError as error:
            raise InvalidInput.unreadable(self.path, error.strerror or error) from None
        self._seen = seen if self._now() - seen[0] / 1e9 > SETTLED_SECONDS else None
        self._keys = {key.id.encode(): key for key in parse(text, str(self.path))}

    def _state(self) -> tuple[int, int, int]:
        found = self.path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise InvalidInput(f"{self.path}: must be a file of keys of at most {MOST_BYTES:,} bytes.", hint=_MAKE)
        if found.st_mode & stat.S_IWOTH:
            raise InvalidInput(
                f"{self.path}: must not be writable by everybody, who could then add keys.",
                hint="Run `chmod o-w` on it.",
            )
        return found.st_mtime_ns, found.st_size, found.st_ino


def parse(text: bytes, where: str) -> list[Key]:
    """Return the keys of a file's text; empty lines and those that begin with # are passed over.

    Raises
    ------
    InvalidInput
        names the line and what is wrong with it
    """
    keys: dict[str, Key] = {}
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{where}: must be UTF-8 text ({error.reason} at byte {error.start}).", hint=_MAKE) from None
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            key = _key(f"{where}:{number}", line.split())
            if key.id in keys:
                raise InvalidInput(f"{where}:{number}: the id must be given to one key only, got {key.id!r} twice.")
            keys[key.id] = key
    return list(keys.values())


def _key(where: str, words: list[str]) -> Key:
    # A word may be a key in the clear, put there by mistake: what is wrong is said without it.
    if len(words) not in (4, 5):
        raise InvalidInput(f"{where}: must be `{_LINE}`, got {len(words)} words.", hint=_MAKE)
    place, name, scopes, digest, *expires = words
    if not _ID.fullmatch(place):
        raise InvalidInput(f"{where}: the id must be 8 letters from a to z.", "id", _MAKE)
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{where}: the name {_NAME_RULE}.", "name")
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput(f"{where}: the hash must be a SHA-256 in 64 small hexadecimal digits.", "sha256", _MAKE)
    allowed = _scopes(where, scopes.split(","))
    return Key(place, Caller(name, allowed), bytes.fromhex(digest), _day(where, expires[0]) if expires else None)


def _scopes(where: str, scopes: Sequence[str]) -> frozenset[str]:
    wrong = [scope[:16] for scope in scopes if scope not in SCOPES]
    if wrong or not scopes:
        guess = suggestion(wrong[0], SCOPES) if wrong else ""
        raise InvalidInput(f"{where}: scopes must be of {', '.join(SCOPES)}, got {listing(wrong)}.{guess}", "scopes")
    return frozenset(scopes)


def _day(where: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{where}: the last word must be the day it expires, like 2027-01-31.", "expires") from None

"""What the service is told by its environment: every variable that it reads, and what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from features.errors import InvalidInput
from serving.receipts import VARIABLE as RECEIPTS
from serving.receipts import folder_named

MODEL: Final = "PQL_MODEL"
KEYS: Final = "PQL_KEYS"
JOBS: Final = "PQL_JOBS"
WORKERS: Final = "PQL_WORKERS"
MOST_CONNECTIONS: Final = "PQL_MOST_CONNECTIONS"
MOST_UPLOAD: Final = "PQL_MOST_UPLOAD"
ACCESS_LOG: Final = "PQL_ACCESS_LOG"
VARIABLES: Final = (MODEL, KEYS, RECEIPTS, JOBS, WORKERS, MOST_CONNECTIONS, MOST_UPLOAD, ACCESS_LOG)

AccessLog = Literal["all", "refused", "none"]


@dataclass(frozen=True)
class Settings:
    """The settings of one service.

    Attributes
    ----------
    model : folder of an artifact, or of a shelf of versions; None: the newest model of the Bento store
    keys : file of API keys; None: every request is let in
    receipts : folder of receipts; None: none are kept
    jobs : folder of batch jobs
    workers : processes that answer, each on its own
    most_connections : open connections per worker, from which on new ones are refused
    most_upload : bytes of a file for a batch job, before and after unpacking
    access_log : which requests are logged
    """

    model: Path | None = None
    keys: Path | None = None
    receipts: Path | None = None
    jobs: Path = Path("jobs")
    workers: int = 1
    most_connections: int = 1024
    most_upload: int = 2 * 1024**3
    access_log: AccessLog = "refused"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings in an environment; raises InvalidInput with the variable that is wrong."""
        return cls(
            model=_path(environment, MODEL),
            keys=_path(environment, KEYS),
            receipts=folder_named(None, environment),
            jobs=_path(environment, JOBS) or cls.jobs,
            workers=_count(environment, WORKERS, cls.workers, 64),
            most_connections=_count(environment, MOST_CONNECTIONS, cls.most_connections, 1_000_000),
            most_upload=_count(environment, MOST_UPLOAD, cls.most_upload, 2**40),
            access_log=_access_log(environment),
        )


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "").strip()
    return Path(text) if text else None


def _count(environment: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise InvalidInput(f"{name}: must be a whole number from 1 to {most:,}, got {text!r}.", name)
    return int(text)


def _access_log(environment: Mapping[str, str]) -> AccessLog:
    text, known = environment.get(ACCESS_LOG, "").strip() or Settings.access_log, get_args(AccessLog)
    if text not in known:
        raise InvalidInput(f"{ACCESS_LOG}: must be one of {', '.join(known)}, got {text!r}.", ACCESS_LOG)
    return cast(AccessLog, text)

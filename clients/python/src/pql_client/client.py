"""One connection pool to one service, and a method for each of its routes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from pql_client.answers import Answer, ErrorOut, Failed, Model, ScoreResult, Status, Task
from pql_client.errors import PQLServiceError
from pql_client.leads import FeatureLead, Instant, Lead

Format = Literal["csv", "jsonl", "parquet"]
T = TypeVar("T")

TYPES: Final[Mapping[str, str]] = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
_SUFFIXES: Final[Mapping[str, Format]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_AGAIN: Final = frozenset({429, 503})
_LONGEST_PAUSE: Final = 30
_SLOWEST_POLL: Final = 10.0


class _Told(msgspec.Struct):
    error: ErrorOut


class _Scored(msgspec.Struct):
    model_version: str
    cutoff: float | None
    results: list[msgspec.Raw]


class Client:
    """Asks one service; may be shared by threads, not by processes.

    Parameters
    ----------
    base_url : such as https://scores.example.com
    key : an API key, where the service asks for one
    timeout : seconds to connect in, and seconds between two pieces of an answer
    retries : how often a request is sent again: after 429 and 503, when the service says so, and where the connection breaks in
        a request that changes nothing
    connections : kept open for the next requests
    """

    def __init__(
        self, base_url: str, key: str | None = None, timeout: float = 10.0, *, retries: int = 3, connections: int = 10
    ) -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
        self.base_url = base_url.rstrip("/")
        self._retries = retries
        self._headers = {"Accept": "application/json", "User-Agent": "pql-client/0.1.0"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._pool = urllib3.PoolManager(1, maxsize=connections, timeout=urllib3.Timeout(connect=timeout, read=timeout))

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.clear()

    # --- scoring ------------------------------------------------------------------------------

    def score(self, leads: Sequence[Lead], as_of: Instant | None = None, reasons: int = 3) -> ScoreResult:
        """Score up to 1,000 leads from their raw events.

        Raises
        ------
        PQLServiceError
            Where the whole request is refused; a single lead that is has a `Failed` among the results.
        """
        return self._score("/score", leads, as_of, reasons)

    def score_features(
        self, leads: Sequence[FeatureLead], as_of: Instant | None = None, reasons: int = 3
    ) -> ScoreResult:
        """Score up to 1,000 leads from ready values of every column of the version in service; raises as `score`.

        A value that is None or not a number is not known; one that is infinite is a ValueError, because JSON has no word for it.
        """
        for i, lead in enumerate(leads):
            for name, value in lead["features"].items():
                if value is not None and math.isinf(value):
                    raise ValueError(f"leads[{i}].features.{name} must be finite, got {value}")
        return self._score("/score_features", leads, as_of, reasons)

    def _score(
        self, route: str, leads: Sequence[Lead] | Sequence[FeatureLead], as_of: Instant | None, reasons: int
    ) -> ScoreResult:
        asked: dict[str, Any] = {"leads": leads, "reasons": reasons}
        if as_of is not None:
            asked["as_of"] = as_of
        headers = {"Content-Type": "application/json"}
        told = _read(self._send("POST", route, msgspec.json.encode(asked), headers).data, _Scored)
        return ScoreResult(told.model_version, told.cutoff, [_result(one) for one in told.results])

    # --- batch jobs ---------------------------------------------------------------------------

    def submit(
        self,
        data: bytes | str | os.PathLike[str],
        format: Format | None = None,  # noqa: A002 - it is what the thing is called
        *,
        as_of: Instant | None = None,
        reasons: int | None = None,
        explain: Literal["likely", "all"] | None = None,
        output: Format | None = None,
    ) -> Task:
        """Hand in a file of leads; returns once it lies safely on the service's disk.

        Not sent again where the connection breaks: the service may have taken it on.

        Parameters
        ----------
        data : the file's path, or its bytes; packed with gzip where the path ends in .gz
        format : what the file is; a path's ending says it too
        output : the format of the result, that of the file if None
        """
        path = None if isinstance(data, bytes) else Path(data)
        packed = path is not None and path.suffix == ".gz"
        found = format or (_format_of(path) if path is not None else None)
        if found is None:
            raise ValueError(f"format must be one of {', '.join(TYPES)}: bytes do not tell theirs")
        options = {"as_of": _text(as_of), "reasons": reasons, "explain": explain, "output": output}
        headers = {"Content-Type": TYPES[found]} | ({"Content-Encoding": "gzip"} if packed else {})
        with _opened(data if isinstance(data, bytes) else Path(data)) as (body, size):
            headers["Content-Length"] = str(size)
            return _read(self._send("POST", "/score_batch", body, headers, options, safe=False).data, Task)

    def status(self, task: Task | str) -> Status:
        """Return how far a job is."""
        return _read(self._send("GET", "/score_batch/status", query={"task_id": _id(task)}).data, Status)

    def wait(self, task: Task | str, timeout: float | None = None, every: float = 0.5) -> Status:
        """Return how a job ended, well or not; raises TimeoutError where that takes more than `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while not (status := self.status(task)).ended:
            left = every if until is None else until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {status.task_id} is still in progress after {timeout} seconds")
            time.sleep(min(every, left))
            every = min(every * 1.5, _SLOWEST_POLL)
        return status

    def download(self, task: Task | str, path: str | os.PathLike[str]) -> Path:
        """Write the result of a job to a file and return its path; the file is there whole or not at all."""
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}.part")
        headers = {"Accept": "*/*"}
        response = self._send("GET", "/score_batch/result", headers=headers, query={"task_id": _id(task)}, stream=True)
        try:
            with part.open("wb") as file:
                for piece in response.stream(1 << 20):
                    file.write(piece)
            part.replace(target)
        except HTTPError as error:
            raise _unreachable(error) from error
        finally:
            response.release_conn()
            with suppress(FileNotFoundError):
                part.unlink()
        return target

    def remove(self, task: Task | str) -> Status | None:
        """Call a job off and return how far it was; one that is done is removed with its result, and None returned."""
        told = self._send("DELETE", "/score_batch", query={"task_id": _id(task)}).data
        return _read(told, Status) if told else None

    # --- the service --------------------------------------------------------------------------

    def model(self) -> Model:
        """Return what is in service."""
        return _read(self._send("GET", "/model").data, Model)

    def ready(self) -> bool:
        """Whether the service can score leads; False too where it cannot be reached."""
        try:
            self._send("GET", "/readyz", again=False)
        except PQLServiceError as error:
            if error.status in (0, 503):
                return False
            raise
        return True

    # --- how it is asked ----------------------------------------------------------------------

    def _send(
        self,
        method: str,
        route: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
        *,
        safe: bool = True,
        again: bool = True,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        address = f"{self.base_url}{route}{'?' * bool(given)}{urlencode(given)}"
        try:
            response = self._pool.request(
                method, address, body=body, headers={**self._headers, **(headers or {})}, redirect=False,
                retries=self._retry(safe=safe) if again else False, preload_content=not stream,
            )  # fmt: skip
            if 200 <= response.status < 300:
                return response
            told = response.data
        except HTTPError as error:
            raise _unreachable(error) from error
        raise _refused(response.status, told)

    def _retry(self, *, safe: bool) -> urllib3.Retry:
        return urllib3.Retry(
            self._retries, read=None if safe else False, redirect=False, allowed_methods=None, status_forcelist=_AGAIN,
            raise_on_status=False, backoff_factor=0.1, backoff_jitter=0.1, retry_after_max=_LONGEST_PAUSE,
        )  # fmt: skip


def _read(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        # Without the answer itself: it is about people.
        raise PQLServiceError(200, "unreadable", f"the answer is not as it must be: {error}") from None


def _result(one: msgspec.Raw) -> Answer | Failed:
    try:
        return msgspec.json.decode(one, type=Answer)
    except msgspec.ValidationError as error:
        with suppress(msgspec.ValidationError):
            return msgspec.json.decode(one, type=Failed)
        raise PQLServiceError(200, "unreadable", f"an answer is not as it must be: {error}") from None


def _refused(status: int, content: bytes) -> PQLServiceError:
    try:
        told = msgspec.json.decode(content, type=_Told).error
    except msgspec.DecodeError:
        return PQLServiceError(status, "unknown", "the answer is not one of the scoring service.")
    return PQLServiceError(status, told.code, told.message, told.field, told.hint)


def _unreachable(error: HTTPError) -> PQLServiceError:
    return PQLServiceError(0, "unreachable", f"{type(error).__name__}: the service could not be reached.")


def _id(task: Task | str) -> str:
    return task if isinstance(task, str) else task.task_id


def _text(moment: Instant | None) -> str | None:
    return moment if moment is None or isinstance(moment, str) else moment.isoformat()


def _format_of(path: Path) -> Format:
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path.name}: must end in one of {', '.join(_SUFFIXES)}, or format must be given")
    return _SUFFIXES[suffix]


@contextmanager
def _opened(data: bytes | Path) -> Iterator[tuple[bytes | IO[bytes], int]]:
    """Give the body of a request and its size."""
    if isinstance(data, bytes):
        yield data, len(data)
        return
    with data.open("rb") as file:
        yield file, os.fstat(file.fileno()).st_size

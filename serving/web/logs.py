"""What the service writes down: one JSON object a line, and nothing of a lead in it.

Fields are those of a list; names of events are words of ours; of an exception its type and the places in the code remain, since
its text may quote what a caller sent. Errors about models and definitions keep theirs: no caller has part in them. Lines of
libraries pass the same way, without what they fill into their texts.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter

from features.errors import ArtifactError, InvalidSetting
from serving.settings import AccessLog

FIELDS: Final = frozenset(
    "attempts bytes caller code count exception file leads limit logger message port previous process reason rejected "
    "route rows scored seconds since state status task_id version where worker workers".split()
)
"""What an event may tell; any other field is left out of its line."""
OURS: Final = "pql"
QUIET: Final = ("bentoml.access", "uvicorn.access")
"""Loggers of libraries that write a line for each request, with addresses and queries in it: ours does that."""
LIBRARIES: Final = ("bentoml", "uvicorn", "uvicorn.error", "uvicorn.asgi", "circus", "asyncio")
LEFT_OUT: Final = "(left out)"

_ROOT: Final = Path(__file__).parents[2]
_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_QUOTED: Final = re.compile(r"'[^']*'?|\"[^\"]*\"?|`[^`]*`?")
_MOST_TEXT, _MOST_ITEMS, _MOST_FRAMES, _MOST_CAUSES = 500, 30, 16, 4
_OF_FILES: Final = (ArtifactError, InvalidSetting)
_OWN_KEYS: Final = ("_record", "_from_structlog")
_NEVER: Final = logging.CRITICAL + 1

# A line in a pipe that several processes write to stays whole up to this many bytes (POSIX: PIPE_BUF).
_MOST_AT_ONCE: Final = 4096
_PAUSE: Final = 0.05
_PATIENCE: Final = 1.0
_MOST_WAITING: Final = 10_000

Event = MutableMapping[str, Any]


def configure(stream: TextIO | None = None) -> None:
    """Send the events of this process, and what its libraries log from warnings on, to a stream (standard error)."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(
        # Without `use_get_message` a library's text comes as it stands in its code, with nothing filled in.
        ProcessorFormatter(processors=[_rendered], foreign_pre_chain=[_of_a_library, _safe], use_get_message=False)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in (*LIBRARIES, *QUIET, OURS):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # BentoML's own configuration switches off every logger that was there before it.
        logger.propagate, logger.disabled = True, False
        logger.setLevel(_NEVER if name in QUIET else logging.INFO if name == OURS else logging.WARNING)


def log() -> structlog.typing.FilteringBoundLogger:
    """Return what writes events: `log().info("model_in_service", version=version)`.

    What may not be told is taken out here already, so that it stays out where nothing was configured.
    """
    return cast(
        structlog.typing.FilteringBoundLogger,
        structlog.wrap_logger(
            logging.getLogger(OURS),
            processors=[_named, _safe, ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=False,
        ),
    )


class Access:
    """Writes a line for each request, or for those that were refused.

    Lines are made on the spot and written by a thread of their own, many at once: a reader that falls behind holds up nobody.
    From 10,000 waiting lines on, new ones are dropped and counted.

    Parameters
    ----------
    mode : `all` requests, those `refused` (a status from 400 on), or `none`
    stream : standard error if left out
    """

    def __init__(self, mode: AccessLog, stream: TextIO | None = None) -> None:
        self._from = {"all": 0, "refused": 400, "none": math.inf}[mode]
        self._stream = sys.stderr if stream is None else stream
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._there, self._ended = threading.Event(), threading.Event()
        self._writer: threading.Thread | None = None
        self._second, self._moment = 0, ""
        self._writing = threading.Lock()
        self._process = os.getpid()

    def __call__(self, route: str, status: int, seconds: float, code: str | None, caller: str | None) -> None:
        """Take a line about a request: its route, the answer's status, the code of a refusal, and the name of the key."""
        if status < self._from:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
            return
        told = {
            "time": self._time(), "level": "info", "event": "request", "process": self._process,
            "route": _clean(route), "status": status, "seconds": round(seconds, 6),
        }  # fmt: skip
        if code is not None:
            told["code"] = _clean(code)
        if caller is not None:
            told["caller"] = _clean(caller)
        self._waiting.append(_line(told))
        if not self._there.is_set():
            self._wake()

    def close(self) -> None:
        """Write what is waiting, unless nobody reads; further lines start anew."""
        writer, self._writer = self._writer, None
        if writer is not None:
            atexit.unregister(self.close)
            self._ended.set()
            self._there.set()
            writer.join(_PATIENCE)
            self._ended.clear()
        self._write_waiting()

    def _time(self) -> str:
        now = time.time()
        if (second := int(now)) != self._second:
            self._second, self._moment = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._moment}.{int((now - second) * 1e6):06d}Z"

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="access-log", daemon=True)
            self._writer.start()
            atexit.register(self.close)
        self._there.set()

    def _write(self) -> None:
        while not self._ended.is_set():
            self._there.wait()
            self._ended.wait(_PAUSE)  # what comes meanwhile is written along
            self._there.clear()
            self._write_waiting()

    def _write_waiting(self) -> None:
        # A writer that is stuck holds the lock: what waits behind it is lost, and the process can end.
        if not self._writing.acquire(timeout=_PATIENCE):
            return
        try:
            if self._dropped:
                told = {"time": _now(), "level": "warning", "event": "access_lines_dropped", "count": self._dropped}
                self._dropped = 0
                self._waiting.append(_line(told))
            for text in _in_parts(self._waiting):
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more: a service answers all the same
            return
        finally:
            self._writing.release()


def _in_parts(waiting: deque[str]) -> Iterator[str]:
    """Take lines out and yield them together, as many as can be written at once without others' lines in between."""
    part: list[str] = []
    size = 0
    for _ in range(len(waiting)):
        line = waiting.popleft() + "\n"
        if part and size + len(line) > _MOST_AT_ONCE:
            yield "".join(part)
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield "".join(part)


# --- what becomes of an event ------------------------------------------------------------------


def _named(_: object, __: str, event: Event) -> Event:
    """Keep the event's name where it is one: a text with something filled in is none."""
    name = event.get("event")
    event["event"] = name if isinstance(name, str) and _EVENT.fullmatch(name) else "unnamed"
    return event


def _of_a_library(_: object, __: str, event: Event) -> Event:
    """Return what may be told of a library's line: who wrote it and where, and its first line with nothing filled in."""
    record: logging.LogRecord = event["_record"]
    lines = _QUOTED.sub("'...'", str(event["event"])).splitlines()
    told = {"logger": record.name, "message": lines[0] if lines else "", "where": f"{record.filename}:{record.lineno}"}
    kept = {name: event[name] for name in (*_OWN_KEYS, "exc_info") if name in event}
    return {"event": "library", **told, **kept}


def _safe(_: object, level: str, event: Event) -> Event:
    """Return an event with time and level, the fields that may be told, and an exception without its text."""
    error, own = _exception(event.pop("exc_info", None)), {name: event[name] for name in _OWN_KEYS if name in event}
    told: dict[str, Any] = {
        "time": _now(),
        "level": _LEVELS.get(level, level),
        "event": event["event"],
        "process": os.getpid(),
    }
    told |= {name: _clean(value) for name, value in event.items() if name in FIELDS}
    if error is not None:
        told["exception"] = [_told(cause) for cause in _causes(error)]
    return {**told, **own}


_LEVELS: Final = {"exception": "error", "warn": "warning", "fatal": "critical"}


def _rendered(_: object, __: str, event: Event) -> str:
    return _line({name: value for name, value in event.items() if name not in _OWN_KEYS})


def _line(told: Event) -> str:
    """Return a JSON text in plain ASCII: no byte in it ends a line, moves a cursor or turns the direction of writing."""
    return json.dumps(told, allow_nan=False, default=_unknown).replace("\x7f", "\\u007f")


def _unknown(value: object) -> str:
    return f"({type(value).__name__})"


def _now() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"


def _clean(value: object) -> Any:
    """Return a value as a line may hold it: texts without addresses and of bounded length, finite numbers, few items."""
    if isinstance(value, str):
        return LEFT_OUT if "@" in value else value[:_MOST_TEXT]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in list(value)[:_MOST_ITEMS]]
    return _clean(os.fspath(value)) if isinstance(value, os.PathLike) else _unknown(value)


# --- exceptions --------------------------------------------------------------------------------


def _exception(told: object) -> BaseException | None:
    """Return the exception in what `exc_info` was given: itself, the triple of `sys.exc_info()`, or true."""
    if isinstance(told, BaseException):
        return told
    if isinstance(told, tuple):
        return told[1] if len(told) == 3 and isinstance(told[1], BaseException) else None
    return sys.exc_info()[1] if told else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those it came from, outermost first; of a group, its first."""
    current: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if current is None:
            return
        yield current
        behind = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        current = current.exceptions[0] if isinstance(current, BaseExceptionGroup) else behind


def _told(error: BaseException) -> dict[str, Any]:
    text = {"text": _clean(str(error))} if isinstance(error, _OF_FILES) else {}
    frames = list(_frames(error.__traceback__))[-_MOST_FRAMES:]
    return {"type": type(error).__qualname__, **text, "frames": frames}


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield f"{_place(Path(code.co_filename))}:{traceback.tb_lineno} in {code.co_name}"
        traceback = traceback.tb_next


def _place(path: Path) -> str:
    """Return a file's path within the project or its library: where on the machine it lies is nobody's business."""
    parts = path.parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name

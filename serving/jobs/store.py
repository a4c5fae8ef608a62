"""Jobs as folders: what was asked, the file, how far it is, and the result. What is acknowledged lies on the disk.

A job is `<jobs>/<task_id>/` with `input.<form>`, `request.json`, `state.json`, and later `model/`, `result.<form>` and
`rejected.jsonl`. A folder without `request.json` is an upload that did not come to its end.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import msgspec

from serving.jobs.reading import Form, Of
from serving.jobs.writing import synced

TASK_ID: Final = re.compile(r"[0-9a-f]{32}")
KEPT_SECONDS: Final = 7 * 86_400
"""How long a job is kept after its file was sent."""
UPLOAD_SECONDS: Final = 86_400
"""After so long without another byte, an upload will not come to its end."""
Status = Literal["in_progress", "success", "failure", "cancelled"]


class Asked(msgspec.Struct, frozen=True):
    """What was asked for; `as_of` and `created_at` in microseconds since 1970 UTC.

    `caller` is whose key it came with; nobody else is told of the job.
    """

    form: Form
    output: Form
    of: Of | None
    reasons: int
    explain: Literal["likely", "all"]
    as_of: int | None
    created_at: int
    caller: str | None = None


class State(msgspec.Struct, frozen=True):
    """How far a job is; `starts` counts how often work on it began."""

    status: Status = "in_progress"
    starts: int = 0
    executed_at: int | None = None
    rows: int | None = None
    scored: int | None = None
    rejected: int | None = None
    examples: list[dict[str, Any]] = []
    model_version: str | None = None
    error: dict[str, str] | None = None


@dataclass(frozen=True)
class Job:
    """One job's folder."""

    folder: Path

    @property
    def task_id(self) -> str:
        return self.folder.name

    @property
    def asked(self) -> Asked:
        return msgspec.json.decode((self.folder / "request.json").read_bytes(), type=Asked)

    @property
    def state(self) -> State:
        try:
            return msgspec.json.decode((self.folder / "state.json").read_bytes(), type=State)
        except FileNotFoundError:
            return State()

    def tell(self, state: State) -> None:
        """Replace the state at once: a reader sees the one before it or this one whole."""
        fresh = self.folder / "state.json.part"
        fresh.write_bytes(msgspec.json.encode(state))
        synced(fresh)
        fresh.replace(self.folder / "state.json")

    def input(self, form: Form) -> Path:
        return self.folder / f"input.{form}"

    def result(self, form: Form) -> Path:
        return self.folder / f"result.{form}"

    @property
    def rejected(self) -> Path:
        return self.folder / "rejected.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def cancelled(self) -> bool:
        """Whether its sender has called it off."""
        return (self.folder / "cancel").exists()

    def call_off(self) -> None:
        """Note that nobody wants the result any more."""
        (self.folder / "cancel").touch()

    def remove(self) -> None:
        """Remove the folder; it stops being a job at once, and goes away then."""
        gone = self.folder.with_name(f"removed-{self.task_id}")
        try:
            self.folder.rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)


class Upload:
    """A job that is being sent; leaving it before `finish` leaves nothing behind."""

    def __init__(self, folder: Path, form: Form) -> None:
        self._job, self._form = Job(folder), form
        self._finished = False

    def __enter__(self) -> Self:
        # What is sent is as private as the leads are.
        self._job.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._job.folder.mkdir(mode=0o700)
        self._file = (self._job.folder / "input.part").open("wb")
        return self

    @property
    def job(self) -> Job:
        """The job to be."""
        return self._job

    def write(self, part: bytes) -> None:
        """Write the next part of the file."""
        self._file.write(part)

    def finish(self, asked: Asked) -> Job:
        """Return the job, once all of it is on the disk."""
        folder = self._job.folder
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        (folder / "input.part").replace(self._job.input(self._form))
        told = folder / "request.json.part"
        told.write_bytes(msgspec.json.encode(asked))
        synced(told)
        told.replace(folder / "request.json")
        synced(folder)
        synced(folder.parent)
        self._finished = True
        return self._job

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            # On a full disk the last bytes of a file do not go when it is closed either.
            with suppress(OSError):
                self._file.close()
            shutil.rmtree(self._job.folder, ignore_errors=True)


@dataclass
class Store:
    """All jobs of a folder; several processes may look into it at the same time."""

    folder: Path
    _done: set[str] = field(default_factory=set)

    def upload(self, form: Form) -> Upload:
        """Return a place for a file that is being sent."""
        return Upload(self.folder / secrets.token_hex(16), form)

    def job(self, task_id: str) -> Job | None:
        """Return a job by its name, None where there is none of that name."""
        if not TASK_ID.fullmatch(task_id):
            return None
        job = Job(self.folder / task_id)
        return job if (job.folder / "request.json").is_file() else None

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are of each status."""
        jobs = [job for name in self._names() if (job := self.job(name)) is not None]
        found: Counter[str] = Counter()
        for job in jobs:
            with suppress(OSError, msgspec.DecodeError):  # removed meanwhile
                found[job.state.status] += 1
        return dict(found)

    def open_jobs(self) -> list[Job]:
        """Return the jobs that are not done, the oldest first."""
        found = []
        for name in self._names():
            job = self.job(name) if name not in self._done else None
            if job is None:
                continue
            try:
                asked, state = job.asked, job.state
            except (OSError, msgspec.DecodeError):
                continue
            if state.status == "in_progress":
                found.append((asked.created_at, name, job))
            else:
                self._done.add(name)
        return [job for *_, job in sorted(found, key=lambda one: one[:2])]

    def prune(self, now: float | None = None) -> int:
        """Remove jobs that are old, and uploads that did not come to their end; returns how many."""
        moment, count = time.time() if now is None else now, 0
        for path in self._folders():
            whole = (path / "request.json").is_file()
            try:
                age = moment - (path / "request.json" if whole else _latest(path)).stat().st_mtime
            except OSError:
                continue
            if path.name.startswith("removed-") or age > (KEPT_SECONDS if whole else UPLOAD_SECONDS):
                Job(path).remove() if TASK_ID.fullmatch(path.name) else shutil.rmtree(path, ignore_errors=True)
                self._done.discard(path.name)
                count += 1
        return count

    def _names(self) -> Iterator[str]:
        return (path.name for path in self._folders() if TASK_ID.fullmatch(path.name))

    def _folders(self) -> list[Path]:
        try:
            with os.scandir(self.folder) as found:
                return [
                    Path(one.path) for one in found
                    if one.is_dir(follow_symlinks=False)
                    and (TASK_ID.fullmatch(one.name) or re.fullmatch(f"removed-{TASK_ID.pattern}", one.name))
                ]  # fmt: skip
        except FileNotFoundError:
            return []


def _latest(folder: Path) -> Path:
    """Return the file of a folder that was written last, or the folder."""
    return max([folder, *folder.iterdir()], key=lambda path: path.stat().st_mtime)

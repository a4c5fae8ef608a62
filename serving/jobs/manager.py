"""Who does the jobs: one process at a time for a folder of jobs, whichever of the service's workers has its lock.

The lock is held by the worker and by the process that it started, so a worker that is killed leaves no second process beside
the next one's. A job that was under way is started again from its beginning, with the version that it began with.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from serving.jobs.store import Job, Store
from serving.scoring.scorer import Scorer
from serving.web import logs

ROOT: Final = Path(__file__).parents[2]
MOST_OPEN: Final = 32
"""Jobs that wait or run, from which on no other is taken."""
MOST_STARTS: Final = 3
LOOK_SECONDS: Final = 0.5
"""How long a job may wait until it is seen, where another worker has taken it."""
PRUNE_SECONDS: Final = 3_600.0
PATIENCE_SECONDS: Final = 5.0
LIMITS: Final = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
"""One thread: the other processors are for requests, and the sums come out the same everywhere."""
ENDED: Final = {
    "code": "job_failed",
    "message": f"the job's process ended {MOST_STARTS} times before the file was scored.",
    "hint": "Send the file in smaller parts; the service's operator finds more in the job's log.",
}


class Manager:
    """Does the jobs of a store, in a thread of its own.

    Parameters
    ----------
    in_service : gives the version in service; a job is scored by the one of the moment when it was taken
    now : gives the present moment in microseconds since 1970 UTC
    """

    def __init__(self, store: Store, in_service: Callable[[], Scorer], now: Callable[[], int]) -> None:
        self.store, self._in_service, self._now = store, in_service, now
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._pruned = -PRUNE_SECONDS
        self.coming = 0
        self._trouble = ""

    def start(self) -> None:
        """Begin to do jobs, those first that an earlier process left undone."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to do."""
        self._woken.set()

    def stop(self) -> None:
        """End; a job under way can be started again."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(4 * PATIENCE_SECONDS)

    @property
    def full(self) -> bool:
        """Whether more jobs wait, or are being sent, than are taken."""
        return len(self.store.open_jobs()) + self.coming > MOST_OPEN

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Count a job that is being sent."""
        self.coming += 1
        try:
            yield
        finally:
            self.coming -= 1

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with _locked(self.store.folder) as lock:
                    while lock is not None and not self._stopping.is_set():
                        self._step(lock)
                        self._trouble = ""
            except Exception as error:
                # A full disk, a folder that is not mounted, what nobody thought of: wait for better times.
                self._tell(error)
            self._rest()

    def _tell(self, error: Exception) -> None:
        if repr(error) != self._trouble:
            self._trouble = repr(error)
            logs.log().error("jobs_not_done", exc_info=error)

    def _step(self, lock: int) -> None:
        """Do one job, or wait for one."""
        if time.monotonic() - self._pruned >= PRUNE_SECONDS:
            self._pruned = time.monotonic()
            self.store.prune()
        job = next(iter(self.store.open_jobs()), None)
        if job is None:
            self._rest()
        else:
            self._do(job, lock)

    def _rest(self) -> None:
        self._woken.wait(LOOK_SECONDS)
        self._woken.clear()

    def _do(self, job: Job, lock: int) -> None:
        """Start a job's process once and see it to its end."""
        state = job.state
        if job.cancelled:
            job.tell(msgspec.structs.replace(state, status="cancelled"))
        elif state.starts >= MOST_STARTS:
            job.tell(msgspec.structs.replace(state, status="failure", error=ENDED))
        else:
            self.bring_model(job)
            begun = state.executed_at or self._now()
            started = msgspec.structs.replace(state, starts=state.starts + 1, executed_at=begun)
            job.tell(started)
            if not self._see_through(job, lock):
                # That the service was stopped is not the job's fault.
                job.tell(state)

    def bring_model(self, job: Job) -> None:
        """Lay the version in service beside a job that has none yet: it is scored by that, whoever comes to do it."""
        if not job.model.is_dir():
            fresh = job.folder / "model.part"
            self._in_service().artifact.save(fresh)
            fresh.replace(job.model)

    def _see_through(self, job: Job, lock: int) -> bool:
        """Run a job's process; returns whether it came to an end of its own, and not to that of the service."""
        command = [sys.executable, "-m", "serving.jobs.work", str(job.folder.resolve()), str(job.model.resolve())]
        with (job.folder / "log").open("ab") as log:
            # The command is our own; a job's folder is named by us.
            child = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, cwd=ROOT,
                env={**os.environ, **LIMITS}, pass_fds=(lock,),
            )  # fmt: skip
        try:
            while child.poll() is None:
                if self._stopping.is_set():
                    return job.state.status != "in_progress"
                if job.cancelled:
                    return True
                with suppress(subprocess.TimeoutExpired):
                    child.wait(LOOK_SECONDS / 2)
            return True
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()
    child.terminate()
    try:
        child.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """Hold the lock of a folder of jobs; None where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield lock
    finally:
        os.close(lock)

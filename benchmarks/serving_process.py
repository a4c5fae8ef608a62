"""A server as a process of its own, with what it and all that it starts take: CPU seconds, memory, time to be ready."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.serving_load import Burst, Outcome

ROOT: Final = Path(__file__).resolve().parent.parent
TICKS: Final = os.sysconf("SC_CLK_TCK")
LONGEST_START: Final = 180.0
LONGEST_STOP: Final = 20.0


@dataclass
class Server:
    """A server that was started, and the processes that descend from it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    began: float

    def ready(self, path: str) -> float:
        """Wait until a path answers 200, and return the seconds since the start."""
        while time.perf_counter() - self.began < LONGEST_START:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(self._url(path), timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return time.perf_counter() - self.began
            time.sleep(0.02)
        raise RuntimeError(f"not ready: {self.log.read_text(errors='replace')[-3000:]}")

    def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status of one POST of JSON, and the answer."""
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self._url(path), body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def family(self) -> list[int]:
        """Return the process and all that descend from it."""
        return family(self.process.pid)

    def cpu(self) -> float:
        """Return the CPU seconds that all of them have taken so far."""
        return sum(cpu_of(pid) for pid in self.family())

    def megabytes(self) -> float:
        """Return the memory of all of them, what they share counted once."""
        return sum(_proportional(pid) for pid in self.family()) / 1024

    def stop(self) -> None:
        """End all of them."""
        pids = self.family()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LONGEST_STOP)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def started(command: Sequence[str], port: int, environment: Mapping[str, str], folder: Path, log: Path) -> Server:
    """Start a server in a folder, in a session of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - the commands are the benchmark's own
            command, stdout=out, stderr=out, cwd=folder, env={**inherited, **environment}, start_new_session=True
        )
    return Server(process, port, log, time.perf_counter())


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def family(root: int) -> list[int]:
    """Return a process and all that descend from it, parents before children."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(path)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_of(pid: int) -> float:
    """Return the user and system seconds of a process and of the children that it has waited for; 0 where it is gone."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS if fields else 0.0


def machine_cpu() -> float:
    """Return the CPU seconds that all cores have worked so far, for whomever."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split(maxsplit=11)[1:11]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS


def _stat(path: Path) -> list[str]:
    """Return the fields of a process from its state on: its name before them may hold anything."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _proportional(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    return 0.0


class Load:
    """The process that sends; one for all bursts, so that none of them pays for its start."""

    def __init__(self) -> None:
        self.answers = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        )  # fmt: skip

    def run(self, burst: Burst) -> Outcome:
        """Return what came of a burst."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asdict(burst)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the load ended before its time; see its traceback above")
        outcome = Outcome(**json.loads(line))
        self.answers += sum(outcome.statuses.values())
        return outcome

    def cpu(self) -> float:
        """Return the CPU seconds that the load itself has taken so far."""
        return cpu_of(self.process.pid)

    def stop(self) -> None:
        """End it, after the burst that is under way."""
        self.process.communicate(timeout=LONGEST_STOP)

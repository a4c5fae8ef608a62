"""Starts the service's server as a process of its own, and ends it as this one is asked to end, or where it cannot serve."""

from __future__ import annotations

import http.client
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import ArtifactError, InvalidInput, PQLError
from serving.models.shelf import private_copy, source_of
from serving.models.verifying import check_files, examined
from serving.receipts import NONE, VARIABLE
from serving.settings import JOBS, KEYS, MODEL, WORKERS, Settings
from serving.web.keys import Keys

ROOT: Final = Path(__file__).parents[1]
LONGEST_START: Final = 90.0
"""Seconds until the server must have been ready once: BentoML starts a worker that cannot start again and again."""
USUAL_START: Final = 6.0
LONGEST_STOP: Final = 15.0
_TIMES: Final = ("--timeout-graceful-shutdown", "20", "--timeout-keep-alive", "75")
"""Seconds: one open request must not hold a stop up for ever, and balancers keep idle connections for a minute."""
_RESTED: Final = 30.0
"""Seconds before what runs beside the server is started once more, where it ended by itself."""


@dataclass(frozen=True)
class Order:
    """What to serve where, and to whom: `model` is a folder, an artifact's or a shelf's; without `keys` to everybody.

    `receipts` is the folder to keep them in, or `none`.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 3000
    receipts: str = NONE
    keys: Path | None = None
    workers: int = 1

    @property
    def environment(self) -> dict[str, str]:
        """The server's: ours, and what it is told by it; it runs in another folder than the caller."""
        told = {
            MODEL: str(self.model.resolve()), WORKERS: str(self.workers),
            VARIABLE: self.receipts if self.receipts == NONE else str(Path(self.receipts).resolve()),
            JOBS: str(Settings.read(os.environ).jobs.resolve()),
        } | ({} if self.keys is None else {KEYS: str(self.keys.resolve())})  # fmt: skip
        usual = {
            "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
            "OTEL_SDK_DISABLED": "true", "BENTOML_DO_NOT_TRACK": "True",
            # Large bodies are given back to the system as soon as they are done with.
            "MALLOC_MMAP_THRESHOLD_": "1048576",
        }  # fmt: skip
        return usual | dict(os.environ) | told


def launch(order: Order, beside: Sequence[str] = (), tell: Callable[[str], None] = print) -> int:
    """Serve until stopped and return the exit code; `beside` is a command that runs as long as the server does.

    Raises
    ------
    InvalidInput
        Where a setting cannot be used, or the address is in use.
    ArtifactError
        Where the model must not be served. What its files tell is found before the server starts; what only trying it
        does, when the server has not become ready in its usual time.
    """
    Settings.read(order.environment)
    check_model(order.model, check_files)
    if order.keys is not None:
        Keys.read(order.keys)
    check_address(order.host, order.port)
    served = ["bentoml", "serve", "serving.service:PQLService"]
    command = [sys.executable, "-m", *served, "--port", str(order.port), "--host", order.host, *_TIMES]

    def begun(server: subprocess.Popen[bytes]) -> None:
        if _ready(server, order):
            tell(f"Ready on http://{order.host}:{order.port} (POST /score, GET /model, /readyz, /docs.json)")

    return run_until_stopped(command, order.environment, begun, beside)


def check_model(folder: Path, how: Callable[[Path], object]) -> None:
    """See that what lies in a folder can be served, as far as a check of a copy of it tells.

    Raises
    ------
    ArtifactError, InvalidInput
    """
    candidate = source_of(folder).newest()
    if candidate is None:
        raise ArtifactError(f"{folder}: holds no model any more.", "gone")
    with private_copy(candidate.folder) as copy:
        how(copy)


def check_address(host: str, port: int) -> None:
    """See that nobody listens there yet.

    Raises
    ------
    InvalidInput
    """
    address = _address(host)
    kind = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(kind, socket.SOCK_STREAM) as tried:
        # As the server does: what is left of an earlier one is no hindrance.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            hint = "Stop what listens there, or name another with --port and --host."
            raise InvalidInput(f"cannot listen on {host}:{port} ({error.strerror}).", "port", hint) from None


def check_open(host: str, keys: Path | None, *, everybody: bool) -> None:
    """See that a service that others can reach asks for keys, unless it is meant to let everybody in.

    Raises
    ------
    InvalidInput
    """
    if keys is None and not everybody and not _address(host).is_loopback:
        raise InvalidInput(
            f"on {host} others can reach the service, and no keys are asked for.",
            "keys",
            "Make one with `pql key NAME` and name its file with --keys, or let everybody in with --open.",
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        raise InvalidInput(
            f"--host must be an address such as 127.0.0.1 or 0.0.0.0, got {host!r}.", "host", "Names are not looked up."
        ) from None


def run_until_stopped(
    command: Sequence[str], environment: dict[str, str],
    begun: Callable[[subprocess.Popen[bytes]], None] | None = None, beside: Sequence[str] = (),
) -> int:  # fmt: skip
    """Run the server until it ends, hand on requests to stop, and return its exit code (0 where it was asked to).

    `begun` is called once it was started; where that raises, the server is ended.
    """
    asked = False
    # The command is our own; only port and host come from outside, and they are checked options.
    with subprocess.Popen(command, env=environment, cwd=ROOT) as server, _running(beside) as helper:  # noqa: S603

        def stop(*_: object) -> None:
            nonlocal asked
            asked = True
            server.terminate()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        try:
            if begun is not None:
                begun(server)
        except BaseException:
            _end(server)
            if not asked:
                raise
        while (code := _waited(server, 1.0)) is None:
            helper()
    return 0 if asked else code


def _ready(server: subprocess.Popen[bytes], order: Order) -> bool:
    """Wait until the server answers that it is ready; False where it ended before."""
    address = _address(order.host)
    near = ("127.0.0.1" if address.version == 4 else "::1") if address.is_unspecified else order.host
    begun, doubted = time.monotonic(), False
    while (waited := time.monotonic() - begun) < LONGEST_START:
        if server.poll() is not None:
            return False
        if _says_ready(near, order.port):
            return True
        if waited > USUAL_START and not doubted:
            doubted = True
            check_model(order.model, examined)
        time.sleep(0.05)
    raise PQLError(f"the server was not ready within {LONGEST_START:g} s; what it wrote above says why.")


def _says_ready(host: str, port: int) -> bool:
    asked = http.client.HTTPConnection(host, port, timeout=2)
    try:
        asked.request("GET", "/readyz")
        return asked.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


@contextmanager
def _running(command: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Run a command beside; yields what is called now and then to start it, and once more where it has ended by itself."""
    process: subprocess.Popen[bytes] | None = None
    started = float("-inf")

    def again() -> None:
        nonlocal process, started
        ended = process is None or process.poll() is not None
        if command and ended and time.monotonic() - started > _RESTED:
            # In the caller's folder and with the caller's environment, which say where its data lie.
            process, started = subprocess.Popen(command, stdin=subprocess.DEVNULL), time.monotonic()  # noqa: S603

    try:
        yield again
    finally:
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    if _waited(process, LONGEST_STOP) is None:
        process.kill()
        process.wait()


def _waited(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None

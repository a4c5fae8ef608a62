"""Starts the service's server as a process of its own, and ends it as this one is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from serving.receipts import NONE, VARIABLE

ROOT: Final = Path(__file__).parents[1]


def launch(model: Path, host: str, port: int, receipts: str) -> int:
    """Serve the model in a folder until stopped; `receipts` is the folder to keep them in, or `none`."""
    environment = {
        "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
        "OTEL_SDK_DISABLED": "true", "BENTOML_DO_NOT_TRACK": "True",
        **os.environ, "PQL_MODEL": str(model.resolve()),
        VARIABLE: receipts if receipts == NONE else str(Path(receipts).resolve()),
    }  # fmt: skip
    served = ["bentoml", "serve", "serving.service:PQLService"]
    return run_until_stopped([sys.executable, "-m", *served, "--port", str(port), "--host", host], environment)


def run_until_stopped(command: list[str], environment: dict[str, str]) -> int:
    """Run the server until it ends, hand on requests to stop, and return its exit code (0 where it was asked to)."""
    asked = False
    # The command is our own; only port and host come from outside, and they are checked options.
    with subprocess.Popen(command, env=environment, cwd=ROOT) as server:  # noqa: S603

        def stop(*_: object) -> None:
            nonlocal asked
            asked = True
            server.terminate()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        code = server.wait()
    return 0 if asked else code

"""What one command costs: `python benchmarks/measured.py COMMAND ...` runs it and prints its cost as a line of JSON.

A program of its own that imports nothing large, because Linux counts the memory of the process that starts a command
towards the command's peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def measured(command: list[str]) -> dict[str, float | int]:
    """Return the exit code of a command and its cost.

    `cpu_seconds` is user and system time of the process and of the children it waited for, `wall_seconds` the time that
    passed, `peak_bytes` the largest resident memory of any one of them.
    """
    began = time.perf_counter()
    # Whatever the command prints goes to standard error; standard output is for the figures.
    child = subprocess.Popen(command, stdout=sys.stderr)  # noqa: S603 - the commands are the benchmark's own
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return {
        "exit_code": child.returncode,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.perf_counter() - began,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1:])))

"""The curl commands of the documents, run: by curl where there is one, and else as it would."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError

SERVER = "http://127.0.0.1:3000"
COMMAND = re.compile(r"^(?:    )?(curl .*)$", re.M)


@dataclass
class Asked:
    """What a command sends."""

    url: str = ""
    method: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def commands(text: str) -> list[str]:
    """Return the curl commands of a page or a script, each on one line."""
    return COMMAND.findall(text.replace("\\\n", " "))


def parsed(command: str, folder: Path) -> Asked:
    """Return what a command sends; raises for an option that is not known here, rather than pass it over."""
    asked, words = Asked(), iter(shlex.split(command)[1:])
    for word in words:
        match word:
            case "-s" | "-sS" | "--silent":
                pass
            case "-X" | "--request":
                asked.method = next(words)
            case "-H" | "--header":
                name, _, value = next(words).partition(":")
                asked.headers[name] = value.strip()
            case "-d" | "--data" | "--data-binary":
                text = next(words)
                asked.body = (folder / text[1:]).read_bytes() if text.startswith("@") else text.encode()
            case _ if word.startswith("-") or asked.url:
                raise ValueError(f"{command}: {word!r} is not understood")
            case _:
                asked.url = word
    return asked


def run(command: str, base: str, folder: Path) -> tuple[int, bytes]:
    """Return the status and the body that a service at `base` answers to a command."""
    assert SERVER in command, command
    command = command.replace(SERVER, base)
    return by_curl(command, folder) if shutil.which("curl") else by_urllib(command, folder)


def by_curl(command: str, folder: Path) -> tuple[int, bytes]:
    words = [*shlex.split(command), "-w", "\n%{http_code}", "--max-time", "60"]
    done = subprocess.run(words, capture_output=True, cwd=folder, check=True)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def by_urllib(command: str, folder: Path) -> tuple[int, bytes]:
    asked = parsed(command, folder)
    request = urllib.request.Request(asked.url, asked.body, asked.headers, method=asked.method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()

"""Sends a service requests that nobody would send, by schemathesis and over raw sockets, and reports what upset it.

No answer may be 5xx, but for 503 with Retry-After; every request is answered or its connection ended within 5 seconds; every
number in an answer is finite; the same process answers at the end, and scores a known lead as at the beginning.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.serving_process import Server, free_port, started
from benchmarks.soak_checks import INSTEAD_OF
from serving.web.keys import SCOPES, new_key

ROOT: Final = Path(__file__).resolve().parent.parent
LEAD: Final = ROOT / "examples" / "lead.json"
LONGEST: Final = 5.0
SHOWN: Final = 20


# --- what is sent -----------------------------------------------------------------------------


def request(first: str, key: str, body: bytes = b"", *lines: str) -> bytes:
    """Return a whole request by somebody who holds a key."""
    told = [first, "Host: a", f"Authorization: Bearer {key}", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(told).encode() + body


READ: Final = ("/model", "/readyz", "/metrics", "/docs.json", "/score_batch/status?task_id=x")


def good_requests(key: str, columns: Sequence[str]) -> list[bytes]:
    """Return requests that are as they should be for a version of these columns; what is sent are these, upset."""
    lead, kind = LEAD.read_bytes(), "Content-Type: application/json"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (lead[:100], lead[100:])) + b"0\r\n\r\n"
    chunked = request("POST /score HTTP/1.1", key, b"", kind).replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    small = b'{"leads":[{"user_id":"u","started_at":"2026-01-01T00:00:00Z","traits":{"company_size":3}}],"reasons":2}'
    one = {"lead_id": "u", "features": {name: float(place % 5) for place, name in enumerate(columns)}}
    features = json.dumps({"leads": [one], "as_of": "2026-01-09T00:00:00Z"}).encode()
    return [
        request("POST /score HTTP/1.1", key, lead, kind),
        request("POST /score HTTP/1.1", key, small, kind),
        request("POST /score HTTP/1.1", key, gzip.compress(small), kind, "Content-Encoding: gzip"),
        request("POST /score HTTP/1.1", key, small, kind, "Connection: Upgrade", "Upgrade: h2c"),
        request("POST /score HTTP/1.1", key, small, kind, "Expect: 100-continue"),
        *[request("POST /score_features HTTP/1.1", key, features, kind)] * 2,
        request("POST /score_batch?reasons=3 HTTP/1.1", key, b"user_id,started_at\nu,2026-01-01\n", "Content-Type: text/csv"),
        chunked + chunks,
        *(request(f"GET {path} HTTP/1.1", key) for path in READ),
        request("GET /livez HTTP/1.0", key),
        request("GET http://a/livez?x=1 HTTP/1.1", key),
    ]  # fmt: skip


def flipped(rng: Random, text: bytes) -> bytes:
    """Return a text with a few bits turned."""
    upset = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 8))):
        upset[rng.randrange(len(upset))] ^= 1 << rng.randrange(8)
    return bytes(upset)


def cut(rng: Random, text: bytes) -> bytes:
    """Return the beginning of a text."""
    return text[: rng.randrange(len(text)) + 1]


def repeated(rng: Random, text: bytes) -> bytes:
    """Return a text with a part of it twice, or many times."""
    start, end = sorted((rng.randrange(len(text)), rng.randrange(len(text))))
    return text[:end] + text[start:end] * rng.choice((1, 1, 1, 30)) + text[end:]


def without(rng: Random, text: bytes) -> bytes:
    """Return a text without a part of it."""
    start = rng.randrange(len(text))
    return text[:start] + text[start + rng.choice((1, 2, 8, 64)) :] or b"\r\n"


JUNK: Final = (
    b"\0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"%", b"%00", b"%ff", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800",
    b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400, b"0x", b"[" * 300, b'{"a":' * 300, b'"', b"\\", b"]}", b",,", b"HTTP/1.1",
    b"x" * 5000, b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Expect: x\r\n", b"Content-Encoding: gzip\r\n", b"Content-Type: text/csv\r\n", b"a: b\r\n" * 120, b"Host: \r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"X-Forwarded-For: \xff\r\n", b"-5\r\n", b"ffffffffffffffff\r\n",
    b"Content-Type: multipart/form-data; boundary=" + b"b" * 300 + b"\r\n", b"5;" + b"x" * 3000 + b"\r\n", b"/../", b"//", b"?",
    b"&&", b"#", b"0\r\n\r\n", b"GET /livez HTTP/1.1\r\n\r\n",
)  # fmt: skip


def junked(rng: Random, text: bytes) -> bytes:
    """Return a text with something in it that does not belong there, often where a line ends."""
    places = [found.end() for found in re.finditer(rb"\r\n", text)] if rng.random() < 0.5 else []
    place = rng.choice(places) if places else rng.randrange(len(text))
    return text[:place] + rng.choice(JUNK) + text[place:]


def odd_json(rng: Random, text: bytes) -> bytes:
    """Return a request whose body is JSON with a value changed, and the right length."""
    head, _, body = text.partition(b"\r\n\r\n")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return junked(rng, text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        upset(rng, told)
    body = json.dumps(told).encode()
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body


ODD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1e308, -0.0, 2**63, 2**64, 10**30, 5e-324, float("nan"), float("inf"), "", "\0", "\ud800", "x" * 3000, "NaN",
    "2026-02-30T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00-23:59", "2026-01-01T00:00:00", "-1", [], {}, [[]],
    {"": {}}, [None] * 50, {"a": {"b": {"c": [1, {"d": "e"}]}}}, "<script>", "=1+1", "{0}", "%s", "\u202e", "é\u0301",
)  # fmt: skip


def upset(rng: Random, told: Any) -> None:
    """Change one value somewhere in what a JSON text says."""
    while isinstance(told, dict | list) and told:
        place: Any = rng.choice(list(told)) if isinstance(told, dict) else rng.randrange(len(told))
        if rng.random() < 0.35 or not isinstance(told[place], dict | list) or not told[place]:
            act = rng.random()
            if act < 0.7:
                told[place] = deepcopy(rng.choice(ODD))
            elif act < 0.85 and isinstance(told, dict):
                told[rng.choice(("", "user_id", "x", "events", "timestamp", "\0"))] = told.pop(place)
            else:
                del told[place]
            return
        told = told[place]


UPSETS: Final[tuple[Callable[[Random, bytes], bytes], ...]] = (
    flipped,
    cut,
    repeated,
    without,
    junked,
    junked,
    odd_json,
    odd_json,
)


def cases(key: str, columns: Sequence[str], seed: int, count: int) -> Iterator[bytes]:
    """Yield upset requests; some stand behind a good one on the same connection."""
    rng, good = Random(seed), good_requests(key, columns)  # noqa: S311
    for _ in range(count):
        text = rng.choice(good)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            text = rng.choice(UPSETS)(rng, text)
        ahead = b"".join(rng.choices(good, k=rng.choice((1, 2, 20)))) if rng.random() < 0.1 else b""
        yield ahead + text


# --- what comes back --------------------------------------------------------------------------


@dataclass
class Found:
    """What a run saw: answers by status, requests sent, and what must not be (request, why)."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    troubles: list[tuple[bytes, str]] = field(default_factory=list)

    def told(self) -> str:
        by_status = ", ".join(f"{status or 'no answer'}: {count:,}" for status, count in sorted(self.statuses.items()))
        lines = [f"{self.sent:,} requests; answers by status: {by_status}", f"{len(self.troubles)} upset it"]
        return "\n".join(lines + [f"{why}\n  {text[:1500]!r}" for text, why in self.troubles[:SHOWN]])


def answers(text: bytes, *, heads: bool) -> Iterator[tuple[int, dict[bytes, bytes], bytes]]:
    """Yield (status, headers, body) of all answers that came over a connection; raises ValueError where they are not whole.

    With `heads`, some may answer a HEAD, and then have no body.
    """
    while text:
        head, end, rest = text.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        if not end or not re.fullmatch(rb"HTTP/1\.1 \d{3} [A-Za-z -]+", first):
            raise ValueError("no head of an answer")
        status, headers = int(first[9:12]), dict(line.lower().split(b": ", 1) for line in lines)
        size = 0 if status == 100 else int(headers[b"content-length"])
        if heads and (not rest or rest.startswith(b"HTTP/1.1 ")):
            size = 0
        if len(rest) < size:
            raise ValueError("an answer without its end")
        text = rest[size:]
        if status != 100:
            yield status, headers, rest[:size]


def judged(sent: bytes, got: bytes, found: Found) -> None:
    """Count the answers to a request, and keep it where one of them must not be."""
    statuses = []
    try:
        for status, headers, body in answers(got, heads=b"HEAD " in sent):
            statuses.append(status)
            if status >= 500 and not (status == 503 and b"retry-after" in headers):
                found.troubles.append((sent, f"answered {status}: {body[:300]!r}"))
            if headers.get(b"content-type") == b"application/json" and body:
                told = json.loads(body, parse_constant=_not_finite)
                if status >= 400 and set(told) != {"error"}:
                    raise ValueError("an error of another shape")
    except (ValueError, KeyError) as error:
        found.troubles.append((sent, f"answered with {error!r}: {got[-300:]!r}"))
    found.statuses.update(statuses or [0])


def _not_finite(text: str) -> None:
    raise ValueError(f"{text} in an answer")


async def send(port: int, text: bytes, found: Found) -> None:
    """Send one case over a connection of its own, and judge what comes; half a request is ended by us."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        async with asyncio.timeout(LONGEST):
            writer.write(text)
            while part := await _part(reader, writer):
                got += part
    except TimeoutError:
        found.troubles.append((text, f"neither answered nor ended within {LONGEST:g} s; so far {got[-200:]!r}"))
    except ConnectionError:
        pass  # ended by a reset: what was said before is judged
    finally:
        writer.transport.abort()
    found.sent += 1
    judged(text, got, found)


async def _part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return what comes next; after a tenth of a second without anything tell the server that no more will come."""
    try:
        async with asyncio.timeout(0.1):
            return await reader.read(65_536)
    except TimeoutError:
        if not writer.transport.is_closing():
            writer.write_eof()
        return await reader.read(65_536)


async def fuzzed(port: int, texts: Iterator[bytes], connections: int = 24) -> Found:
    """Return what came of sending all the cases, so many at a time."""
    found = Found()

    async def one() -> None:
        for text in texts:
            await send(port, text, found)

    await asyncio.gather(*(one() for _ in range(connections)))
    return found


# --- schemathesis -----------------------------------------------------------------------------


def schemathesis(port: int, key: str, most: int, seed: int, folder: Path) -> tuple[int, str]:
    """Return how many requests schemathesis sent, and what it found; at most about `most`, all its checks but those replaced."""
    operations = len(json.loads(_get(port, "/docs.json", key))["paths"])
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/docs.json", "-H", f"Authorization: Bearer {key}",
        "--checks", "all", "--exclude-checks", ",".join(INSTEAD_OF), "--phases", "examples,coverage,fuzzing", "--no-color",
        "--max-examples", str(max(1, most // operations)), "--seed", str(seed), "--continue-on-failure",
        "--request-timeout", str(LONGEST), "--generation-database", "none", "--warnings", "off", "--suppress-health-check", "all",
    ]  # fmt: skip
    told = {**os.environ, "SCHEMATHESIS_HOOKS": "benchmarks.soak_checks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=told, check=False)  # noqa: S603
    sent = re.search(r"([\d,]+) generated", done.stdout)
    if sent is None:
        return 0, done.stdout[-3000:] + done.stderr[-3000:]
    return int(sent[1].replace(",", "")), "" if done.returncode == 0 else done.stdout[-12_000:]


# --- the run ----------------------------------------------------------------------------------


def _get(port: int, path: str, key: str, body: bytes | None = None) -> bytes:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)) as answer:
        content: bytes = answer.read()
        return content


def columns_of(port: int, key: str) -> list[str]:
    """Return the columns of the version in service."""
    return [column["name"] for column in json.loads(_get(port, "/model", key))["columns"]]


def serve(model: Path, scratch: Path) -> tuple[Server, str]:
    """Return a server of a model that is ready, and a key that opens all its routes."""
    key, line = new_key("soak", SCOPES)
    (scratch / "keys").write_text(line + "\n", encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:PQLService", "--working-dir", str(ROOT)]
    environment = {
        "PQL_MODEL": str(model.resolve()), "PQL_KEYS": str(scratch / "keys"), "PQL_RECEIPTS": "none",
        "PQL_JOBS": str(scratch / "jobs"), "OMP_NUM_THREADS": "1", "BENTOML_HOME": str(scratch / "bento"),
    }  # fmt: skip
    server = started(
        [*command, "--host", "127.0.0.1", "--port", str(port)], port, environment, scratch, scratch / "log"
    )
    server.ready("/readyz")
    return server, key


def soak(server: Server, key: str, raw: int, generated: int, seed: int, scratch: Path) -> bool:
    """Run both parts, print what was seen, and return whether nothing upset the server."""
    family, lead = server.family(), LEAD.read_bytes()
    before = _get(server.port, "/score", key, lead)
    columns = columns_of(server.port, key)
    found = asyncio.run(fuzzed(server.port, cases(key, columns, seed, raw)))
    print(f"raw sockets: {found.told()}", flush=True)
    sent, trouble = schemathesis(server.port, key, generated, seed, scratch)
    print(f"schemathesis: {sent:,} requests; {trouble or 'nothing found'}", flush=True)
    log = server.log.read_text(encoding="utf-8", errors="replace")
    sound = {
        "the same processes answer": set(family) <= set(server.family()),
        "a known lead has its score": _get(server.port, "/score", key, lead) == before,
        "nothing unexpected in the log": '"unexpected"' not in log and "Traceback" not in log,
        "no request upset it": not found.troubles and not trouble,
    }
    print("\n".join(f"{'yes' if well else 'NO'}: {what}" for what, well in sound.items()))
    return all(sound.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a server, upset it, and return 0 where it is not."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of an artifact")
    parser.add_argument("--raw", type=int, default=180_000, help="requests over raw sockets")
    parser.add_argument("--generated", type=int, default=20_000, help="requests by schemathesis")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        server, key = serve(told.model, Path(folder))
        try:
            return 0 if soak(server, key, told.raw, told.generated, told.seed, Path(folder)) else 1
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())

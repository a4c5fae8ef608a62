"""The OpenAPI document -> docs/api.md: for each route what it does, what it takes and gives, and a line that asks it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from serving.jobs.routes import Jobs
from serving.settings import Settings
from serving.web.front import Entry
from serving.web.handlers import Handlers
from serving.web.openapi import document

Json = Mapping[str, Any]
SERVER: Final = "http://127.0.0.1:3000"
FILES: Final = {
    "score": "examples/lead.json",
    "scoreFeatures": "examples/features.json",
    "submitBatch": "examples/events.csv",
}
"""Where the example of a route's body lies."""
SHOWN: Final = frozenset({"as_of"})
"""Parameters that examples have although they could be left out."""


def page(told: Json) -> str:
    """Return the page, in Markdown, of an OpenAPI document."""
    return "\n".join(_lines(told)).rstrip() + "\n"


def _lines(told: Json) -> Iterator[str]:
    yield f"# {told['info']['title']}: its routes"
    yield from ("", "Made from the OpenAPI document (`GET /docs.json`) by `make docs`; do not edit.", "")
    yield from (told["info"]["description"], "")
    yield from _keys(told)
    operations = [
        (method.upper(), path, one) for path, methods in told["paths"].items() for method, one in methods.items()
    ]
    yield from ("| route | does |", "|---|---|")
    for method, path, one in operations:
        yield _row(f"[`{method} {path}`](#{_anchor(method, path)})", one["summary"])
    seen: dict[str, str] = {}
    for tag in told["tags"]:
        yield from ("", f"## {tag['name'].capitalize()}", "", tag["description"])
        for method, path, one in operations:
            if tag["name"] in one["tags"]:
                yield from _operation(method, path, one, seen)
    yield from _refusals(told)
    yield from ("", "## Fields", "", "Those without a default and without *optional* are always there.")
    for name, schema in told["components"]["schemas"].items():
        yield from _fields(name, schema)


def _keys(told: Json) -> Iterator[str]:
    schemes = told["components"].get("securitySchemes")
    if schemes:
        yield "Where the service has keys (`PQL_KEYS`), each request but those to open routes comes with one:"
        yield from ("", "    Authorization: Bearer KEY", "")


def _anchor(method: str, path: str) -> str:
    return f"{method} {path}".lower().replace(" ", "-").replace("/", "").replace(".", "")


def _operation(method: str, path: str, one: Json, seen: dict[str, str]) -> Iterator[str]:
    yield from ("", f"### {method} {path}", "", f"**{one['summary']}.** {one['description']}", "")
    scopes = [scope for need in one["security"] for scope in need.get("key", ())]
    yield (
        f"Key: {' and '.join(f'good for `{scope}`' for scope in scopes)}."
        if scopes
        else "Key: none; the route is open."
    )
    if "parameters" in one:
        yield from ("", "| parameter | | |", "|---|---|---|")
        for parameter in one["parameters"]:
            need = "required" if parameter["required"] else "optional"
            yield _row(f"`{parameter['name']}`", f"{_kind(parameter['schema'])}, {need}", parameter["description"])
    if "requestBody" in one:
        yield from ("", f"Takes {_bodies(one['requestBody']['content'])}. {one['requestBody']['description']}")
    yield from ("", f"    {curl(method, path, one)}", "")
    yield from _answers(one, seen)


def curl(method: str, path: str, one: Json) -> str:
    """Return a command that asks a route, with its example."""
    words = ["curl -s"]
    if "requestBody" in one:
        kind = next(iter(one["requestBody"]["content"]))
        words.append(f"-H 'Content-Type: {kind}'")
        words.append(f"--data-binary @{FILES[one['operationId']]}")
    if method not in ("GET", "POST"):
        words.append(f"-X {method}")
    asked = [one for one in one.get("parameters", ()) if one["required"] or one["name"] in SHOWN]
    query = "&".join(f"{one['name']}={one['example']}" for one in asked)
    address = f"{SERVER}{path}{'?' * bool(query)}{query}"
    return " ".join([*words, f"'{address}'" if query else address])


def _answers(one: Json, seen: dict[str, str]) -> Iterator[str]:
    """Yield what a route answers; `seen` has the examples that were shown, each with its operation."""
    for status, answer in one["responses"].items():
        if status.startswith("2"):
            content = answer.get("content", {})
            yield from (f"{status}: {answer['description']}{f' It is {_bodies(content)}.' * bool(content)}", "")
            yield from _example(next(iter(content.values()), {}), one["summary"], seen)
    refused = [f"[{status}](#refusals)" for status in one["responses"] if not status.startswith("2")]
    yield f"Refused with {', '.join(refused)}."


def _example(body: Json, summary: str, seen: dict[str, str]) -> Iterator[str]:
    if "example" in body:
        text = json.dumps(body["example"], indent=2, ensure_ascii=False)
        before = seen.setdefault(text, summary)
        shown = ["```json", text, "```"] if before == summary else [f"Such as in the example of *{before}*."]
        yield from (*shown, "")


def _refusals(told: Json) -> Iterator[str]:
    yield from ("", "## Refusals", "", "The codes are examples: a status has several.", "")
    yield from ("| status | such as | when |", "|---|---|---|")
    statuses = {
        status: answer["$ref"]
        for methods in told["paths"].values()
        for one in methods.values()
        for status, answer in one["responses"].items()
        if "$ref" in answer
    }
    for status, reference in sorted(statuses.items()):
        met = _met(told, reference)
        error = met["content"]["application/json"]["example"]["error"]
        headers = "".join(f" The header `{name}` comes with it." for name in met.get("headers", ()))
        yield _row(status, f"`{error['code']}`: {error['message']}", met["description"] + headers)


def _met(told: Json, reference: str) -> Json:
    found: Json = told["components"]["responses"][reference.rpartition("/")[2]]
    return found


def _bodies(content: Json) -> str:
    texts = []
    for kind, body in content.items():
        ref = body["schema"].get("$ref")
        texts.append(f"`{kind}`" + (f", a {_link(ref)}" if ref else ""))
    return " or ".join(texts)


def _fields(name: str, schema: Json) -> Iterator[str]:
    yield from ("", f"### {name}", "", schema["description"], "", "| field | | |", "|---|---|---|")
    for field, about in schema["properties"].items():
        default = about.get("default")
        extra = ""
        if field not in schema["required"]:
            extra = f", default {json.dumps(default)}" if default is not None else ", optional"
        yield _row(f"`{field}`", _kind(about) + extra, about["description"])


def _kind(schema: Json) -> str:
    """Return in a few words what a value may be."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "enum" in schema and "maximum" not in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        span = f"{schema.get('minItems', 0)} to {schema['maxItems']:,} " if "maxItems" in schema else ""
        return f"array of {span}{_kind(schema['items'])}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {_kind(values)}" if isinstance(values, Mapping) else "object"
    if schema.get("format") == "date-time":
        return "time"
    least, most = schema.get("minimum"), schema.get("maximum")
    span = f" from {least} to {most}" if most is not None else f" from {least} on" if least is not None else ""
    return str(schema.get("type", "any")) + span


def _link(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def table() -> list[Entry]:
    """Return every route of the service, with nobody behind it: for what is said of routes, not for asking them."""
    nobody: Any = None
    return [*Handlers(nobody, bytes).entries(), *Jobs(nobody, nobody, nobody, Settings.most_upload).entries()]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(document(table())), encoding="utf-8")

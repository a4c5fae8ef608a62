"""Which refusals the sources make, read from them: statuses and codes of requests, and reasons of models."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from features.errors import ArtifactError, PQLError
from serving.web.refusals import code_of

ROOT = Path(__file__).parents[1]


def _trees() -> Iterator[ast.Module]:
    for path in [*(ROOT / "serving").rglob("*.py"), *(ROOT / "features").rglob("*.py")]:
        yield ast.parse(path.read_text(encoding="utf-8"))


def _calls(*names: str) -> Iterator[ast.Call]:
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield node


def _argument(call: ast.Call, place: int, name: str) -> str | None:
    """Return an argument that is written as a text or number, by place or name."""
    given = [*call.args[place : place + 1], *(word.value for word in call.keywords if word.arg == name)]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else None


def refusals_written() -> set[tuple[str, str]]:
    """Return the status and code of every refusal of a request."""
    found = {(_argument(call, 0, "status"), _argument(call, 1, "code")) for call in _calls("Refused")}
    return {(status, code) for status, code in found if status is not None and code is not None}


def errors_written() -> set[str]:
    """Return the codes of all kinds of errors, of leads too."""
    bases: dict[str, set[str]] = {}
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    kinds = {"PQLError"}
    while more := {name for name, above in bases.items() if above & kinds} - kinds:
        kinds |= more
    return {code_of(type(name, (PQLError,), {})()) for name in kinds - {"PQLError"}}


def reasons_written() -> set[str]:
    """Return the reasons for which a model is refused."""
    path = "a path"
    made = (
        ArtifactError.hash_differs(path),
        ArtifactError.wrong_format(path, 1, 2),
        ArtifactError.example_differs(path, 1, 2),
    )
    written = (_argument(call, 1, "reason") for call in _calls("ArtifactError"))
    return {ArtifactError("none").reason, *(error.reason for error in made), *filter(None, written)}

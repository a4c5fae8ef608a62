"""The BentoML service: BentoML starts, stops and packs it; what is asked of it goes through our front."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import bentoml
from starlette.types import ASGIApp

from features.errors import InvalidInput
from serving.opening import Opened, opened
from serving.receipts import VARIABLE as RECEIPTS
from serving.settings import JOBS, Settings
from serving.web import connections
from serving.web.front import Front

STORED_MODEL = "pql-scorer:latest"


def environment() -> dict[str, str]:
    """Return our environment; a Bento runs in its own folder, and what it keeps of leads must not become part of it."""
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").resolve()
    inside = Path.cwd().resolve().is_relative_to(home)
    kept = {name: str(home / "pql" / folder) for name, folder in ((RECEIPTS, "receipts"), (JOBS, "jobs"))}
    return (kept if inside else {}) | dict(os.environ)


try:
    SETTINGS = Settings.read(environment())
except InvalidInput as wrong:
    # A sentence, where an import that fails would be a page of places in the code.
    raise SystemExit(str(wrong)) from None


def stored_model() -> Path:
    """Return where the newest model of the Bento store lies."""
    return Path(bentoml.models.get(STORED_MODEL).path)


class Guarded(bentoml.Service[Any]):  # type: ignore[misc]  # BentoML's classes are unknown to mypy
    """A service whose requests meet our front before anything of BentoML's."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:  # noqa: FBT001, FBT002  # BentoML's signature
        """Return the application that the server runs."""
        connections.register(SETTINGS.most_connections, _refused_below)
        return Front(super().to_asgi(is_main), lambda: _opened().house)


def _opened() -> Opened:
    service: PQL = bentoml.get_current_service()
    return service.opened


def _refused_below(code: str) -> None:
    """Count what was refused before it was a request."""
    _opened().desk.metrics.refused("other", code)


class PQL:
    """Scores leads; does not start without a version that scores its own examples."""

    def __init__(self) -> None:
        self.opened: Opened = opened(Settings.read(environment()), stored_model)
        # The imported libraries are a large heap that never changes: a full collection over it stalls requests. What a
        # request makes is gone with its answer, so that looking for circles every few hundred objects finds none.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 100)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Stop what runs beside the requests."""
        self.opened.close()


PQLService = bentoml.service(
    PQL, name="pql", service_class=Guarded, workers=SETTINGS.workers, logging={"access": {"enabled": False}}
)

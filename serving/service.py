"""The BentoML service: health, metrics and lifecycle from BentoML, the scoring routes mounted beside them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import bentoml

from serving.http import Desk, OneShape, application, clock
from serving.receipts import Receipts, folder_named, usable
from serving.scoring.scorer import Scorer

MODEL_FOLDER = "PQL_MODEL"
STORED_MODEL = "pql-scorer:latest"

routes = application()


def model_folder() -> Path:
    """Return where the model lies: the folder in PQL_MODEL, or else the newest one in the Bento model store."""
    named = os.environ.get(MODEL_FOLDER)
    return Path(named) if named else Path(bentoml.models.get(STORED_MODEL).path)


@bentoml.service(name="pql", traffic={"timeout": 30}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(routes, path="/")
class PQLService:
    """Scores leads; does not start without a model that scores its own examples."""

    def __init__(self) -> None:
        folder = folder_named(None, os.environ)
        keep = None if folder is None else Receipts(usable(folder), clock).keep
        routes.state.desk = Desk(Scorer.from_folder(model_folder()), clock, keep)
        # The imported libraries are a large heap that never changes: a full collection over it stalls requests.
        gc.collect()
        gc.freeze()


PQLService.add_asgi_middleware(OneShape)  # type: ignore[attr-defined]  # mypy does not see what the decorators make

"""The bare route that the service is held against: Starlette on uvicorn, one LightGBM call, no checks.

`python -m benchmarks.serving_bare FOLDER PORT`. `/score_features` takes the service's body, puts the lead's values in
order by name, and answers its probability and five contributions; `/raw` answers the probability alone, and `/answers` is
the service's own answer over the same bare HTTP.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import msgspec
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from features.times import parse_instant
from features.windows import Floats
from serving.scoring.answers import Asked, Subject, answers_of
from serving.scoring.artifact import load
from serving.scoring.scorer import Scorer

LEADING = 5


class Lead(msgspec.Struct):
    lead_id: str
    features: dict[str, float | None]
    as_of: str
    ends_at: str
    account_id: str | None = None
    traits: dict[str, str | int | float | bool | None] = {}


class Body(msgspec.Struct):
    leads: list[Lead]
    reasons: int = 3


def application(folder: Path) -> Starlette:
    """Return the routes over the version in a folder."""
    artifact = load(folder)
    booster, scorer = artifact.booster, Scorer(artifact)
    names = [column.name for column in artifact.builder.columns]
    decode, encode = msgspec.json.Decoder(Body).decode, msgspec.json.Encoder().encode

    def row(lead: Lead) -> Floats:
        return np.array([lead.features[name] for name in names], np.float64)

    async def contributions(request: Request) -> Response:
        lead = decode(await request.body()).leads[0]
        parts = np.asarray(booster.predict(row(lead)[None], pred_contrib=True, num_threads=1))[0]
        probability = 1.0 / (1.0 + np.exp(-parts.sum()))
        leading = np.argsort(-np.abs(parts[:-1]))[:LEADING]
        told = [{"column": names[place], "contribution": float(parts[place])} for place in leading]
        answer = {"lead_id": lead.lead_id, "probability": float(probability), "contributions": told}
        return Response(encode({"results": [answer]}), media_type="application/json")

    async def raw(request: Request) -> Response:
        lead = decode(await request.body()).leads[0]
        margin = np.asarray(booster.predict(row(lead)[None], raw_score=True, num_threads=1))[0]
        answer = {"lead_id": lead.lead_id, "probability": float(1.0 / (1.0 + np.exp(-margin)))}
        return Response(encode({"results": [answer]}), media_type="application/json")

    async def answers(request: Request) -> Response:
        body = decode(await request.body())
        subjects = [
            Subject(one.lead_id, one.account_id, parse_instant(one.as_of, "as_of"), parse_instant(one.ends_at, "ends_at"),
                    one.traits, row(one))
            for one in body.leads
        ]  # fmt: skip
        told = list(answers_of(scorer, subjects, Asked(body.reasons)))
        return Response(encode({"results": told}), media_type="application/json")

    async def ready(_: Request) -> Response:
        return Response(b"")

    routes = [("/score_features", contributions), ("/raw", raw), ("/answers", answers)]
    posted = [Route(path, handler, methods=["POST"]) for path, handler in routes]
    return Starlette(routes=[*posted, Route("/ready", ready)])


def main() -> None:
    """Serve until stopped."""
    folder, port = sys.argv[1:]
    app = application(Path(folder))
    gc.collect()
    gc.freeze()
    uvicorn.run(app, port=int(port), loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()

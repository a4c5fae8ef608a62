"""The routes that score and that tell of the service: what each needs of a request, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from starlette.responses import Response

from features.times import text_of
from serving import feature_requests, requests
from serving.answering import Failed, Reading, Result, answering, result_body
from serving.asking import ScoreIn, decode
from serving.models.served import Served
from serving.scoring.artifact import TOLERANCE
from serving.scoring.decision import expired, to_facts
from serving.scoring.scorer import Scorer
from serving.web.desk import Desk
from serving.web.front import Call, Entry
from serving.web.refusals import JSON, KEPT_BY_NOBODY, Given, Refused

JSON_ONLY: Final = frozenset({JSON})
Read = Callable[[Scorer, ScoreIn, int], Reading]


class Handlers:
    """Answers for one desk; `document` returns the text of the OpenAPI document."""

    def __init__(self, desk: Desk, document: Callable[[], bytes]) -> None:
        self._desk, self._document = desk, document

    def entries(self) -> list[Entry]:
        """Return the routes."""
        return [
            Entry("POST", "/score", self.score, "score", JSON_ONLY),
            Entry("POST", "/score_features", self.score_features, "score", JSON_ONLY),
            Entry("GET", "/model", self.model, "model"),
            Entry("GET", "/metrics", self.metrics, "metrics"),
            Entry("GET", "/docs.json", self.docs),
            Entry("GET", "/livez", self.livez),
            Entry("GET", "/readyz", self.readyz),
        ]

    async def score(self, call: Call) -> Response:
        """`POST /score`: leads as raw events."""
        return await self._answer(call, requests.reading)

    async def score_features(self, call: Call) -> Response:
        """`POST /score_features`: leads as ready feature values."""
        return await self._answer(call, feature_requests.reading)

    async def _answer(self, call: Call, read: Read) -> Response:
        desk = self._desk
        # Asked before the body is read: whoever cannot be answered is told at once.
        with desk.turns.place():
            request = decode(await call.body())
            # Read once: whatever goes into service meanwhile, one request is answered by one version.
            served = desk.holder.served
            try:
                results = await desk.turns.take(answering(read(served.scorer, request, desk.now()), desk.keep))
            except OSError:
                # An answer without its receipt is not given: it could not be accounted for.
                told = "receipts cannot be written at the moment."
                raise Refused(503, "receipts_unavailable", told, hint="Try again.", retry_after=5) from None
        self._count(call.entry.path, served.scorer, results)
        return Given({**served.named, "results": [result_body(one) for one in results]})

    def _count(self, route: str, scorer: Scorer, results: Sequence[Result]) -> None:
        metrics, probabilities, pqls = self._desk.metrics, [], 0
        for one in results:
            if isinstance(one, Failed):
                metrics.refused(route, one.error["code"])
            else:
                probabilities.append(one.probability)
                pqls += one.is_pql
        metrics.scored(route, scorer.version, probabilities, pqls)

    async def model(self, _: Call) -> Response:
        """`GET /model`: what is in service, what it learned from, and the evidence for its cutoff."""
        return Given(told(self._desk.holder.served, self._desk.now()))

    async def metrics(self, _: Call) -> Response:
        """`GET /metrics`: counts for Prometheus."""
        metrics = self._desk.metrics
        metrics.settle()
        metrics.jobs(await asyncio.to_thread(self._desk.jobs))
        # It reads the files of all workers.
        text = await asyncio.to_thread(metrics.text)
        return Response(text, headers={**KEPT_BY_NOBODY, "content-type": metrics.CONTENT_TYPE})

    async def docs(self, _: Call) -> Response:
        """`GET /docs.json`: the OpenAPI document."""
        return Response(self._document(), media_type=JSON)

    async def livez(self, _: Call) -> Response:
        """`GET /livez`: the process answers."""
        return Given({"status": "alive"})

    async def readyz(self, _: Call) -> Response:
        """`GET /readyz`: a stored example was scored just now, and as it must be."""
        scorer = self._desk.holder.served.scorer
        example, expected = scorer.artifact.examples[:1], scorer.artifact.expected[:1]
        if not all(abs(scorer.probabilities(example) - expected) <= TOLERANCE):
            raise Refused(503, "not_ready", "the version in service does not score its own example.", retry_after=5)
        return Given({"status": "ready", "model_version": scorer.version})


def told(served: Served, now: int) -> dict[str, Any]:
    """Return what `GET /model` says of a version."""
    artifact, about = served.scorer.artifact, served.about
    return {
        **served.named,
        "product": artifact.definition.product,
        "lead": artifact.definition.lead,
        "rung": artifact.rung,
        "in_service_since": text_of(served.since),
        "number": about and about.number,
        "trained_at": about and about.trained_at,
        "promoted_at": about and about.promoted_at,
        "verdict": about and about.verdict,
        "figures": about.figures if about else {},
        "decision": to_facts(artifact.decision),
        "expired": expired(artifact.decision, now),
        "training": artifact.training,
        "columns": list(_columns(served.scorer)),
    }


def _columns(scorer: Scorer) -> Iterable[dict[str, Any]]:
    for column in scorer.builder.columns:
        yield {
            "name": column.name, "unit": column.unit, "meaning": column.meaning, "nullable": column.may_be_unknown,
        }  # fmt: skip

"""What each route is for: its name, its parameters, what it takes and gives, and what it refuses.

What the front enforces (keys, sizes, content types) stands in the table of routes and is not said here again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import msgspec

from serving.web import samples
from serving.web.refusals import JSON
from serving.web.wire import INSTANT, MOST_REASONS, FeaturesIn, ScoreIn, ScoreOut
from serving.web.wire_status import (
    EXAMPLE_TASK,
    TASK_ID,
    Explain,
    Format,
    LiveOut,
    ModelOut,
    Of,
    ReadyOut,
    StatusOut,
    TaskOut,
)

FILES: Final = {"text/csv": "CSV", "application/x-ndjson": "JSON lines", "application/vnd.apache.parquet": "Parquet"}
"""The content types of files for batch jobs."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of the query; `schema` says what it may be, in JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    example: str
    required: bool = False


@dataclass(frozen=True)
class Body:
    """A body of one content type: of one of the documented kinds, or else as its schema says."""

    type: type[msgspec.Struct] | None = None
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string", "minLength": 1})
    example: Any = None


@dataclass(frozen=True)
class Operation:
    """One route.

    Attributes
    ----------
    takes, gives : bodies by content type
    leads_to : operations that take the `task_id` of the answer
    also : other successes, without a body
    refuses : statuses that it answers beside those that the front gives
    """

    id: str
    tag: str
    summary: str
    description: str
    gives: Mapping[str, Body]
    given: str
    takes: Mapping[str, Body] = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()
    status: int = 200
    leads_to: Sequence[str] = ()
    also: Mapping[int, str] = field(default_factory=dict)
    refuses: Sequence[int] = ()


TAGS: Final = {
    "scoring": "Leads in, answers out, in the same request.",
    "batch": "Files of leads: handed in, asked about, fetched.",
    "service": "What is in service, and how it does.",
}

_BINARY: Final = {"type": "string", "format": "binary", "minLength": 1}
_COUNTS: Final = list(range(MOST_REASONS + 1))
_FILE: Final = {
    "text/csv": Body(example=samples.EVENTS),
    "application/x-ndjson": Body(
        example='{"user_id": "u-4711", "event": "invite_sent", "timestamp": "2026-01-02T08:31:00Z"}\n'
    ),
    "application/vnd.apache.parquet": Body(schema=_BINARY),
}  # fmt: skip
_TASK: Final = Parameter(
    "task_id",
    "The job, as it was named when it was handed in.",
    {"type": "string", "pattern": TASK_ID},
    EXAMPLE_TASK,
    required=True,
)
_STATUS_URL, _RESULT_URL = f"/score_batch/status?task_id={EXAMPLE_TASK}", f"/score_batch/result?task_id={EXAMPLE_TASK}"


_STATUS: Final[dict[str, Any]] = {
    "task_id": EXAMPLE_TASK, "status": "success", "created_at": "2026-01-09T09:00:00Z",
    "executed_at": "2026-01-09T09:00:01Z", "rows": 1000, "scored": 998, "rejected": 2, "examples_of_rejected": [],
    "model_version": "c3589e81eb3d",
}  # fmt: skip


def _choice(name: str, description: str, choices: object, default: str | None = None) -> Parameter:
    known = get_args(choices)
    schema = {"type": "string", "enum": list(known)} | ({"default": default} if default else {})
    return Parameter(name, description, schema, default or known[0])


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/score"): Operation(
        "score", "scoring", "Score leads from their raw events",
        "Each lead comes with all that it did since its trial began. The same lead, moment and version get the same answer, bit "
        "for bit, so that a request may be repeated. A lead that cannot be read, or that had converted or closed its trial before "
        "`as_of`, gets an error in its place, and the leads beside it are scored. All answers of one request are of one version.",
        given="One result per lead, in the order of the request.",
        takes={JSON: Body(ScoreIn, example=samples.SCORE)},
        gives={JSON: Body(ScoreOut, example=samples.SCORED)},
    ),
    ("POST", "/score_features"): Operation(
        "scoreFeatures", "scoring", "Score leads from ready values",
        "For callers with a feature store of their own: each lead comes with a value of every column of the version in service, "
        "by name. The answers are those of `POST /score` for the same values. Another version may have other columns: then a "
        "lead gets an error that names those that are missing and unknown.",
        given="One result per lead, in the order of the request.",
        takes={JSON: Body(FeaturesIn, example=samples.FEATURES)},
        gives={JSON: Body(ScoreOut, example=samples.SCORED)},
    ),
    ("POST", "/score_batch"): Operation(
        "submitBatch", "batch", "Hand in a file of leads to score",
        "A row is a lead with ready values of every column of the version (`lead_id`, a column per feature; where you have them "
        "`account_id`, `as_of`, `ends_at` and traits), or it is an event as `pql score` reads them (`user_id`, `event`, "
        "`timestamp` and the rest of docs/events.md). The answer comes once the file lies safely on disk; the work begins when it "
        "is the file's turn, and is taken up again after a restart. A job is kept for seven days, and only the key that handed it "
        "in sees it.",
        given="The job was taken on.",
        status=202,
        leads_to=("batchStatus", "batchResult", "removeBatch"),
        takes=_FILE,
        parameters=(
            Parameter(
                "as_of", "The moment to score at; left out: now.",
                {"type": "string", "format": "date-time", "pattern": INSTANT}, "2026-01-09T09:00:00Z",
            ),
            Parameter(
                "reasons", "How many reasons each way to give at most.",
                {"type": "integer", "minimum": 0, "maximum": MOST_REASONS, "enum": _COUNTS, "default": 0}, "3",
            ),
            _choice("explain", "Who gets reasons: those who are `likely` to convert, or `all`.", Explain, "likely"),
            _choice("of", "What the rows of the file are; left out: its columns tell.", Of),
            _choice("output", "The format of the result; left out: that of the file.", Format),
        ),
        gives={
            JSON: Body(
                TaskOut,
                example={
                    "task_id": EXAMPLE_TASK, "status": "in_progress", "status_url": _STATUS_URL, "result_url": _RESULT_URL,
                },
            )
        },
    ),
    ("DELETE", "/score_batch"): Operation(
        "removeBatch", "batch", "Call a job off, or remove one that is done",
        "A job that is done goes away with its file and its result.",
        given="The job was in progress, and is called off.",
        also={204: "The job was done, and is removed."},
        parameters=(_TASK,),
        gives={JSON: Body(StatusOut, example=_STATUS | {"status": "cancelled", "scored": None})},
        refuses=(404,),
    ),
    ("GET", "/score_batch/status"): Operation(
        "batchStatus", "batch", "Ask how far a job is",
        "Times are in UTC; counts are null until they are known.",
        given="How far it is, or how it ended.",
        parameters=(_TASK,),
        gives={JSON: Body(StatusOut, example=_STATUS)},
        refuses=(404,),
    ),
    ("GET", "/score_batch/result"): Operation(
        "batchResult", "batch", "Fetch the result of a job",
        "A row per lead, with the columns of `pql score`. While the job runs, or where it failed, the answer is 409.",
        given="The file.",
        parameters=(_TASK,),
        gives={name: Body(schema=_BINARY) if name.endswith("parquet") else Body() for name in FILES},
        refuses=(404, 409),
    ),
    ("GET", "/model"): Operation(
        "model", "service", "Tell which version answers",
        "What it learned from, the columns that it takes, and the evidence for its cutoff.",
        given="The version in service.",
        gives={JSON: Body(ModelOut)},
    ),
    ("GET", "/livez"): Operation(
        "live", "service", "Tell whether the process answers",
        "For whoever restarts it: says nothing about the model.",
        given="It does.",
        gives={JSON: Body(LiveOut, example={"status": "alive"})},
    ),
    ("GET", "/readyz"): Operation(
        "ready", "service", "Tell whether leads can be scored",
        "A stored example is scored, and its score is compared with the one that was stored. Otherwise the answer is 503.",
        given="They can.",
        gives={JSON: Body(ReadyOut, example={"status": "ready", "model_version": "c3589e81eb3d"})},
    ),
    ("GET", "/metrics"): Operation(
        "metrics", "service", "Tell what happened so far, in numbers",
        "In the text format of Prometheus; docs/operations.md lists them.",
        given="The metrics.",
        gives={"text/plain": Body()},
    ),
    ("GET", "/docs.json"): Operation(
        "document", "service", "Tell what this service takes and gives",
        "This document.",
        given="The document, in OpenAPI 3.1.",
        gives={JSON: Body(schema={"type": "object", "additionalProperties": True})},
    ),
}  # fmt: skip

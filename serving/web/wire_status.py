"""What the service tells of its batch jobs, of the version in service and of itself, each field with what it means.

Beside `wire.py`, which has the bodies of scoring.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from serving.web.wire import Count, ErrorOut, Moment, Share, told

TASK_ID: Final = "^[0-9a-f]{32}$"
EXAMPLE_TASK: Final = "5c2b3a4f9d8e4c0ab6f1e7d2c3b4a596"

TaskId = Annotated[str, told("Names the job.", EXAMPLE_TASK, pattern=TASK_ID)]
TaskStatus = Literal["in_progress", "success", "failure", "cancelled"]
Format = Literal["csv", "jsonl", "parquet"]
Explain = Literal["likely", "all"]
Of = Literal["features", "events"]


class TaskOut(Struct):
    """A job that was taken on: its file lies on disk."""

    task_id: TaskId
    status: Annotated[Literal["in_progress"], told("That it is not done yet.", "in_progress")]
    status_url: Annotated[str, told("Where to ask how far it is.", f"/score_batch/status?task_id={EXAMPLE_TASK}")]
    result_url: Annotated[str, told("Where its file will be.", f"/score_batch/result?task_id={EXAMPLE_TASK}")]


class StatusOut(Struct):
    """How far a job is."""

    task_id: TaskId
    status: Annotated[TaskStatus, told("Whether it runs, or how it ended.", "success")]
    created_at: Annotated[Moment, told("When it was taken on, in UTC.", "2026-01-09T09:00:00Z")]
    executed_at: Annotated[Moment | None, told("When work on it began, null before.", "2026-01-09T09:00:01Z")]
    rows: Annotated[Count | None, told("Rows of the file, null until they are counted.", 1000)]
    scored: Annotated[Count | None, told("Leads that were scored, null before the end.", 998)]
    rejected: Annotated[Count | None, told("Rows that could not be read, null before the end.", 2)]
    examples_of_rejected: Annotated[
        list[dict[str, Any]], told("A few of the rows that could not be read, and why.", [])
    ]
    model_version: Annotated[str | None, told("The version that scores, null before work began.", "c3589e81eb3d")]
    error: Annotated[ErrorOut | UnsetType, told("Why it failed, where it did.")] = UNSET


# --- the version in service -------------------------------------------------------------------


class LineOut(Struct):
    """A cutoff that one limit alone would set, and what held-out leads did from it on."""

    name: Annotated[Literal["promise", "capacity", "value", "hand"], told("The limit.", "promise")]
    probability: Annotated[Share, told("The cutoff.", 0.1766)]
    leads: Annotated[Count, told("Held-out leads from it on.", 1020)]
    converted: Annotated[Count, told("How many of them converted.", 332)]
    precision_low: Annotated[Share, told("Lower bound of the share that converts.", 0.3065)]
    leads_per_week: Annotated[float, told("How many leads first cross it per week.", 98.0)]
    why: Annotated[str, told("Why it lies there.", "at least 30% convert, with 90% confidence")]


class CutoffOut(Struct, tag_field="kind", tag="Cutoff"):
    """From a probability on, a lead is a PQL; with the evidence, each held-out lead counted when it first crossed it."""

    probability: Annotated[Share, told("The cutoff.", 0.1766)]
    at_least: Annotated[Share | None, told("The share that is promised to convert; null: nothing is promised.", 0.3)]
    confidence: Annotated[Share, told("The confidence of the promise.", 0.9)]
    leads: Annotated[Count, told("Held-out leads that crossed it.", 1020)]
    converted: Annotated[Count, told("How many of them converted.", 332)]
    precision_low: Annotated[Share, told("Lower bound of the share that converts.", 0.3065)]
    measured_from: Annotated[str, told("When the first of these leads was scored.", "2025-05-28T12:00:28Z")]
    measured_until: Annotated[str, told("When the last of them was.", "2025-09-08T15:14:17Z")]
    leads_per_week: Annotated[float | None, told("How many leads first cross it per week.", 98.0)]
    expires: Annotated[str | None, told("Until when the evidence counts; null: for good.", "2026-04-05T23:19:14Z")]
    policy: Annotated[str, told("The policy that asked for it.", "precision")]
    binds: Annotated[
        Literal["promise", "capacity", "value", "hand"],
        told("The strictest of `lines`, that it comes from.", "promise"),
    ]
    lines: Annotated[list[LineOut], told("The cutoffs that each limit alone would set.")]


class NoCutoffOut(Struct, tag_field="kind", tag="NoCutoff"):
    """No cutoff can carry what is asked: nobody is a PQL."""

    at_least: Annotated[Share | None, told("The share that was asked for.", 0.3)]
    confidence: Annotated[Share, told("The confidence that was asked for.", 0.9)]
    reason: Annotated[str, told("Why there is none, and what would help.", "too few leads convert")]
    needed: Annotated[
        Count | None, told("How many more flagged leads would help; null: leads are not what is missing.", 120)
    ]


class SegmentedOut(Struct, tag_field="kind", tag="Segmented"):
    """A decision for each level of a trait."""

    trait: Annotated[str, told("The trait that tells segments apart.", "source")]
    names: Annotated[list[str], told("Its levels.", ["ads", "referral"])]
    each: Annotated[
        list[CutoffOut | NoCutoffOut | None],
        told("The decision on each level, in the order of `names`; null: that of `overall`."),
    ]
    overall: Annotated[CutoffOut | NoCutoffOut, told("The decision on all other leads.")]


class ColumnOut(Struct):
    """One column of the version: what `POST /score_features` takes."""

    name: Annotated[str, told("Its name.", "teammates_joined_count_7d")]
    unit: Annotated[str, told("What its values count.", "events")]
    meaning: Annotated[str, told("What is measured.", "events of teammates_joined in the last 7 days")]
    nullable: Annotated[bool, told("Whether its value can be not known.")]


class ModelOut(Struct):
    """The version in service: what it learned from, what it takes, and the evidence for its cutoff."""

    model_version: Annotated[str, told("The version.", "c3589e81eb3d")]
    cutoff: Annotated[
        Share | None, told("From which probability on a lead of no segment is a PQL; null: nobody is.", 0.1766)
    ]
    product: Annotated[str, told("The product that it scores leads of.", "Corkboard")]
    lead: Annotated[Literal["user", "account"], told("What a lead is.", "user")]
    rung: Annotated[str, told("How it scores: by hand, by a scorecard, or by one with trees.", "lightgbm")]
    in_service_since: Annotated[Moment, told("When it went into service here, in UTC.", "2026-01-09T09:00:00Z")]
    number: Annotated[int | None, told("Its number in the registry, null where that is not known here.", 7)]
    trained_at: Annotated[
        str | None, told("When it was trained, null where that is not known here.", "2026-01-08T21:04:11Z")
    ]
    promoted_at: Annotated[
        str | None, told("When it was promoted, null where that is not known here.", "2026-01-08T21:05:02Z")
    ]
    verdict: Annotated[
        str | None, told("Why it was promoted, null where that is not known here.", "the first that may be served")
    ]
    figures: Annotated[dict[str, float], told("Its test figures by name.", {"auc": 0.83})]
    decision: Annotated[CutoffOut | NoCutoffOut | SegmentedOut, told("Who is a PQL, and the evidence for it.")]
    expired: Annotated[bool, told("Whether the evidence for the cutoff no longer counts.")]
    training: Annotated[dict[str, Any], told("What it learned from, and what it was tested on.")]
    columns: Annotated[list[ColumnOut], told("Its columns, in the order in which it sees them.")]


# --- the service itself -----------------------------------------------------------------------


class LiveOut(Struct):
    """The process answers."""

    status: Annotated[Literal["alive"], told("That it does.", "alive")]


class ReadyOut(Struct):
    """A stored example was scored just now, and its score is the one that was stored."""

    status: Annotated[Literal["ready"], told("That it was.", "ready")]
    model_version: Annotated[str, told("The version in service.", "c3589e81eb3d")]

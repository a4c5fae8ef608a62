"""What the service answers, as typed objects; fields that a newer service adds are passed over."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

TaskStatus = Literal["in_progress", "success", "failure", "cancelled"]


class ErrorOut(Struct, frozen=True):
    """What is wrong and what to do about it; `field` is where it is in the request."""

    code: str
    message: str
    field: str | None = None
    hint: str | None = None


class Reason(Struct, frozen=True):
    """Why a lead scores as it does.

    Attributes
    ----------
    text : what a sales rep reads; every number in it is in `facts`
    contribution : log-odds beyond a typical trial of the same age
    mention : what may be said of it to the customer, None where nothing should
    """

    signal: str
    kind: str
    text: str
    facts: dict[str, int | float | str]
    contribution: float
    mention: str | None


class Missing(Struct, frozen=True):
    """What most converters had done by this day of their trial, and this lead has not."""

    signal: str
    kind: str
    text: str
    facts: dict[str, int | float | str]


class Advice(Struct, frozen=True):
    """What to do about a lead."""

    id: str
    title: str
    message: str


class Answer(Struct, frozen=True):
    """One lead, scored.

    Attributes
    ----------
    probability : calibrated, to convert within the version's horizon
    track : a call "now", to "nurture", or None
    within : probability to convert by each of the version's days, such as "7d"
    receipt_id : names all that made the answer
    """

    lead_id: str
    account_id: str | None
    trial_day: float
    probability: float
    is_pql: bool
    track: Literal["now", "nurture"] | None
    within: dict[str, float]
    percentile: float
    reasons: list[Reason]
    against: list[Reason]
    missing: list[Missing]
    playbook: Advice | None
    receipt_id: str
    as_of: str


class Failed(Struct, frozen=True):
    """Why one lead was not scored; `index` is its place in the request."""

    index: int
    lead_id: str | None
    error: ErrorOut


class ScoreResult(Struct, frozen=True):
    """One result per lead, in the order of the request, all of one version.

    Attributes
    ----------
    cutoff : from which probability on a lead of no segment is a PQL; None: nobody is
    """

    model_version: str
    cutoff: float | None
    results: list[Answer | Failed]

    @property
    def answers(self) -> list[Answer]:
        """The leads that were scored."""
        return [one for one in self.results if isinstance(one, Answer)]

    @property
    def failed(self) -> list[Failed]:
        """The leads that were not."""
        return [one for one in self.results if isinstance(one, Failed)]


class Task(Struct, frozen=True):
    """A batch job that was taken on."""

    task_id: str
    status: TaskStatus
    status_url: str
    result_url: str


class Status(Struct, frozen=True):
    """How far a batch job is; counts are None until they are known."""

    task_id: str
    status: TaskStatus
    created_at: str
    executed_at: str | None
    rows: int | None
    scored: int | None
    rejected: int | None
    examples_of_rejected: list[dict[str, Any]]
    model_version: str | None
    error: ErrorOut | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status != "in_progress"


class Column(Struct, frozen=True):
    """One column that `score_features` takes; `nullable`: None, not known, is allowed."""

    name: str
    unit: str
    meaning: str
    nullable: bool


class Model(Struct, frozen=True):
    """The version in service; `decision` tells who is a PQL, with the evidence for it."""

    model_version: str
    cutoff: float | None
    product: str
    lead: Literal["user", "account"]
    rung: str
    in_service_since: str
    number: int | None
    trained_at: str | None
    promoted_at: str | None
    verdict: str | None
    figures: dict[str, float]
    decision: dict[str, Any]
    expired: bool
    training: dict[str, Any]
    columns: list[Column]

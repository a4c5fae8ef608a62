"""The routes of batch jobs: a file is taken, asked about, fetched, and called off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import msgspec
from starlette.responses import FileResponse, Response

from features.definition import Definition
from features.errors import InvalidInput, suggestion
from features.times import parse_instant, text_of
from serving.asking import MOST_REASONS
from serving.jobs.manager import Manager
from serving.jobs.reading import Form, Of
from serving.jobs.store import Asked, Job, State, Store
from serving.web.front import Call, Entry
from serving.web.refusals import JSON, KEPT_BY_NOBODY, Refused, json_bytes
from serving.web.wire import ErrorOut
from serving.web.wire_status import StatusOut, TaskOut

FORMS: Final[Mapping[str, Form]] = {
    "text/csv": "csv", "application/x-ndjson": "jsonl", "application/vnd.apache.parquet": "parquet",
}  # fmt: skip
"""The content types of a file, and of a result."""
TYPES: Final[Mapping[Form, str]] = {form: kind for kind, form in FORMS.items()}
FORMATS: Final[Sequence[Form]] = ("csv", "jsonl", "parquet")
TABLES: Final[Sequence[Of]] = ("features", "events")
EXPLAINED: Final[Sequence[Literal["likely", "all"]]] = ("likely", "all")
OPTIONS: Final = frozenset({"as_of", "reasons", "explain", "output", "of"})
SCOPE: Final = "batch"
WRITTEN_AT_ONCE: Final = 1 << 20
"""Bytes of an upload that are gathered for one visit to the disk."""
NEXT_PART_SECONDS: Final = 60.0

Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True)
class Jobs:
    """Answers about the jobs of one store.

    Attributes
    ----------
    definition : gives the definition in service, which says in which zone a moment without one is read
    now : gives the present moment in microseconds since 1970 UTC
    most_upload : bytes of a file, as it comes and unpacked
    """

    manager: Manager
    definition: Callable[[], Definition]
    now: Callable[[], int]
    most_upload: int

    @property
    def store(self) -> Store:
        return self.manager.store

    def entries(self) -> list[Entry]:
        """Return the routes."""
        one, most = frozenset({"task_id"}), self.most_upload
        return [
            Entry(
                "POST", "/score_batch", self.submit, SCOPE, frozenset(FORMS), most, most, NEXT_PART_SECONDS, OPTIONS
            ),
            Entry("DELETE", "/score_batch", self.remove, SCOPE, parameters=one),
            Entry("GET", "/score_batch/status", self.status, SCOPE, parameters=one),
            Entry("GET", "/score_batch/result", self.result, SCOPE, parameters=one),
        ]  # fmt: skip

    async def submit(self, call: Call) -> Response:
        """`POST /score_batch`: a file of leads, which lies on the disk when this is answered."""
        asked = self._asked(call)
        # Counted first and looked at then, so that of many at once no more get in than there is room for.
        with self.manager.sending():
            if await asyncio.to_thread(lambda: self.manager.full):
                message, hint = "too many jobs wait already.", "Try again when some of them are done."
                raise Refused(503, "too_many_jobs", message, hint=hint, retry_after=30, close=True)
            try:
                job = await self._taken(call, asked)
            except OSError:
                message, hint = "the file cannot be kept at the moment.", "Try again later."
                raise Refused(503, "storage_unavailable", message, hint=hint, retry_after=60, close=True) from None
        self.manager.wake()
        where = f"?task_id={job.task_id}"
        task = TaskOut(job.task_id, "in_progress", f"/score_batch/status{where}", f"/score_batch/result{where}")
        return _told(task, 202)

    async def _taken(self, call: Call, asked: Asked) -> Job:
        """Return the job of an upload, once all of it is on the disk; what comes to no end leaves nothing behind."""
        with self.store.upload(asked.form) as upload:
            waiting, size = bytearray(), 0
            async for part in call.chunks():
                waiting += part
                size += len(part)
                if len(waiting) >= WRITTEN_AT_ONCE:
                    await asyncio.to_thread(upload.write, bytes(waiting))
                    waiting.clear()
            if not size:
                raise InvalidInput.empty("the file")
            await asyncio.to_thread(upload.write, bytes(waiting))
            # Another service may share the folder, and another version go into service before the job's turn.
            await asyncio.to_thread(self.manager.bring_model, upload.job)
            return await asyncio.to_thread(upload.finish, asked)

    def _asked(self, call: Call) -> Asked:
        """Return what the query asks for; raises InvalidInput where it asks for what there is not."""
        query, form = call.query, FORMS[call.content_type]
        if unknown := sorted(query.keys() - OPTIONS):
            name = unknown[0][:60]
            raise InvalidInput(f"{name!r} is no option of a job.{suggestion(name, OPTIONS)}", "query")
        as_of = query.get("as_of")
        return Asked(
            form=form,
            output=_choice(query, "output", FORMATS) or form,
            of=_choice(query, "of", TABLES),
            reasons=_reasons(query.get("reasons", "0")),
            explain=_choice(query, "explain", EXPLAINED) or "likely",
            as_of=None if as_of is None else parse_instant(as_of, "as_of", self.definition().timezone),
            created_at=self.now(),
            caller=_caller(call),
        )

    async def status(self, call: Call) -> Response:
        """`GET /score_batch/status`: how far a job is, or how it ended."""
        job, asked, state = await self._found(call)
        return _told(_status(job, asked, state))

    async def result(self, call: Call) -> Response:
        """`GET /score_batch/result`: the scored leads as a file."""
        job, asked, state = await self._found(call)
        if state.status == "in_progress":
            message, hint = "the job is not done yet.", "GET /score_batch/status tells how far it is."
            raise Refused(409, "in_progress", message, "task_id", hint, retry_after=1)
        if state.status != "success":
            ended = "was called off" if state.status == "cancelled" else "failed"
            message, hint = f"the job {ended}, so there is no result.", "GET /score_batch/status tells of it."
            raise Refused(409, f"job_{state.status}", message, "task_id", hint)
        path = job.result(asked.output)
        try:
            found = await asyncio.to_thread(path.stat)
        except OSError:  # removed or forgotten since
            raise _unknown() from None
        # A file is given whole: what is wrong with a range would be told in another shape than ours.
        call.scope["headers"] = [one for one in call.scope["headers"] if one[0] != b"range"]
        name, headers = f"scores-{job.task_id}.{asked.output}", {**KEPT_BY_NOBODY, "accept-ranges": "none"}
        return FileResponse(path, headers=headers, media_type=TYPES[asked.output], filename=name, stat_result=found)

    async def remove(self, call: Call) -> Response:
        """`DELETE /score_batch`: call a job off, or remove one that is done with all that is kept of it."""
        job, asked, state = await self._found(call)
        if state.status == "in_progress":
            await asyncio.to_thread(job.call_off)
            self.manager.wake()
            state = msgspec.structs.replace(state, status="cancelled")
        if await asyncio.to_thread(lambda: job.state.status) == "in_progress":
            # Whoever does it lets go of it in a moment; the folder stays until then.
            return _told(_status(job, asked, state))
        await asyncio.to_thread(job.remove)
        return Response(status_code=204, headers=KEPT_BY_NOBODY)

    async def _found(self, call: Call) -> tuple[Job, Asked, State]:
        """Return the job that a query names; one of another key does not exist."""
        task_id = call.query.get("task_id")
        if task_id is None:
            raise InvalidInput("task_id must be given in the query.", "task_id", "POST /score_batch answers with it.")
        found = await asyncio.to_thread(self._read, task_id)
        if found is None or found[1].caller != _caller(call):
            raise _unknown()
        return found

    def _read(self, task_id: str) -> tuple[Job, Asked, State] | None:
        job = self.store.job(task_id)
        try:
            if job is None:
                return None
            asked, state = job.asked, job.state
            if state.status == "in_progress" and job.cancelled:
                state = msgspec.structs.replace(state, status="cancelled")
            return job, asked, state
        except (OSError, msgspec.DecodeError):
            return None


def _unknown() -> Refused:
    hint = "Jobs are kept for seven days."
    return Refused(404, "unknown_task", "there is no job of this task_id.", "task_id", hint)


def _caller(call: Call) -> str | None:
    return None if call.caller is None else call.caller.name


def _reasons(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= MOST_REASONS):
        raise InvalidInput(f"reasons must be a whole number from 0 to {MOST_REASONS}, got {text[:60]!r}.", "reasons")
    return int(text)


def _choice(query: Mapping[str, str], name: str, known: Sequence[Choice]) -> Choice | None:
    """Return the one of the known words that a query gives, None where it gives none."""
    given = query.get(name)
    if given is not None and given not in known:
        given = given[:60]
        raise InvalidInput(f"{name} must be one of {', '.join(known)}, got {given!r}.{suggestion(given, known)}", name)
    return next((word for word in known if word == given), None)


def _status(job: Job, asked: Asked, state: State) -> StatusOut:
    return StatusOut(
        task_id=job.task_id,
        status=state.status,
        created_at=text_of(asked.created_at),
        executed_at=None if state.executed_at is None else text_of(state.executed_at),
        rows=state.rows,
        scored=state.scored,
        rejected=state.rejected,
        examples_of_rejected=state.examples,
        model_version=state.model_version,
        error=msgspec.UNSET if state.error is None else msgspec.convert(state.error, ErrorOut),
    )


def _told(content: TaskOut | StatusOut, status: int = 200) -> Response:
    return Response(json_bytes(content), status, KEPT_BY_NOBODY, JSON)

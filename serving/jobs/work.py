"""The process that scores one job: `python -m serving.jobs.work JOB_FOLDER MODEL_FOLDER`.

It reads a block, checks it, scores it, writes it and forgets it. Whatever ends it, the job can be started again from the
beginning, and comes to the same bytes.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
import polars as pl

from features.errors import InvalidInput, PQLError
from features.rejections import Rejection, Sieve
from features.sources.locations import open_source
from serving.batch import LEADS_OUT, read_for, score_open
from serving.jobs.checking import Checked, checked
from serving.jobs.columnar import Table
from serving.jobs.layout import Block, Layout
from serving.jobs.reading import blocks, columns_of, told
from serving.jobs.store import Asked, Job, State
from serving.jobs.writing import PART_ROWS, Result
from serving.scoring import answers
from serving.scoring.scorer import Scorer

AT_ONCE: Final = 16_384
"""Rows that are scored together: their values stay near the processor."""
MOST_REJECTED: Final = 10_000
"""Lines of `rejected.jsonl`; all rejected rows are counted."""
EXAMPLES: Final = 10
NICE: Final = 10
MOST_MEMORY: Final = 6 << 30
"""Bytes from which on the process ends, instead of taking the machine's memory: some files unpack to any size."""


@dataclass
class Count:
    """What has become of the rows so far, told to those who ask at most once a second."""

    job: Job
    state: State
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    told_at: float = 0.0

    def tell(self) -> None:
        """Tell how far the work is, where that has not been told for a second."""
        if time.monotonic() - self.told_at >= 1.0:
            self.told_at = time.monotonic()
            self.job.tell(self.now())

    def now(self, **more: Any) -> State:
        """Return the state of the job at this moment."""
        counts = {"rows": self.rows, "scored": self.scored, "rejected": self.rejected, "examples": self.examples}
        return msgspec.structs.replace(self.state, **counts, **more)


def work(job: Job, model: Path) -> State:
    """Score a job and return how it ended; raises only what is nobody's mistake."""
    scorer = Scorer.from_folder(model)
    asked, count = job.asked, Count(job, msgspec.structs.replace(job.state, model_version=scorer.version))
    job.tell(count.state)
    try:
        of = asked.of or told(columns_of(job.input(asked.form), asked.form))
        (_score_events if of == "events" else _score_features)(job, scorer, asked, count)
    except PQLError as error:
        state = count.now(status="failure", error=_body(error))
    else:
        state = count.now(status="success")
    job.tell(state)
    return state


def _score_features(job: Job, scorer: Scorer, asked: Asked, count: Count) -> None:
    layout = Layout.of(scorer.builder)
    table = Table(scorer, layout, answers.Asked(asked.reasons, asked.explain))
    as_of = asked.created_at if asked.as_of is None else asked.as_of
    with Result(job.result(asked.output), asked.output) as result, job.rejected.open("wb") as refused:
        for block in blocks(job.input(asked.form), asked.form, layout):
            for part in _parts(block):
                leads = checked(part, layout, scorer.builder, as_of)
                if len(leads.rows):
                    result.add(table.of(leads))
                _note(leads, part, refused, count)
        if not count.rows:
            raise InvalidInput.empty("the file")


def _parts(block: Block) -> Iterator[Block]:
    """Yield a block in parts that are scored together; what could not be read goes with the first of them."""
    for start in range(0, max(1, len(block.frame)), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        yield Block(block.numbers[here], block.frame[here], block.rejected if start == 0 else [])


def _note(leads: Checked, part: Block, refused: IO[bytes], count: Count) -> None:
    count.scored += len(leads.rows)
    # What could not be read is counted as a row too.
    count.rows += len(part.frame) + len(part.rejected)
    for one in leads.rejected[: max(0, MOST_REJECTED - count.rejected)]:
        refused.write(msgspec.json.encode(one) + b"\n")
    count.rejected += len(leads.rejected)
    count.examples += [msgspec.to_builtins(one) for one in leads.rejected[: max(0, EXAMPLES - len(count.examples))]]
    count.tell()


def _score_events(job: Job, scorer: Scorer, asked: Asked, count: Count) -> None:
    """Score a table of events as `pql score` does: every trial that they tell of and that is open at the moment."""
    if asked.form == "parquet":
        columns_of(job.input(asked.form), asked.form)
    sieve = Sieve("trials")
    read = read_for(scorer, open_source(str(job.input(asked.form)), asked.form), None, asked.created_at, sieve)
    moment = asked.as_of
    leads = score_open(scorer, read, moment, answers.Asked(asked.reasons, asked.explain))
    # A job keeps no receipts, so it names none.
    leads = leads.with_columns(pl.lit(None, LEADS_OUT["receipt_id"]).alias("receipt_id"))
    with Result(job.result(asked.output), asked.output) as result, job.rejected.open("wb") as refused:
        for part in leads.iter_slices(PART_ROWS):
            result.add(part)
        count.rejected = sum(one.count for one in read.rejections)
        count.rows, count.scored = read.n_events + count.rejected, len(leads)
        for rejection in read.rejections:
            told_of = _told_of(rejection, job)
            refused.write(msgspec.json.encode(told_of) + b"\n")
            count.examples = [*count.examples, told_of][:EXAMPLES]


def _told_of(rejection: Rejection, job: Job) -> dict[str, Any]:
    """Return what is told of rows that were refused for one reason; nothing in it says where the file lies here."""
    samples = [sample.replace(str(job.folder) + os.sep, "") for sample in rejection.samples]
    message = f"{rejection.table}: {rejection.count:,} row(s) refused: {rejection.reason}."
    return {"rows": rejection.count, "error": {"code": "invalid_input", "message": message}, "samples": samples}


def _body(error: PQLError) -> dict[str, str]:
    if not isinstance(error, InvalidInput):
        return {"code": "failed", "message": str(error)}
    told_of = {"code": "invalid_input", "message": error.message, "field": error.field, "hint": error.hint}
    return {name: value for name, value in told_of.items() if value}


def _end_with_parent() -> None:
    """End this process when the one that started it has gone: its end of our standard input closes then."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 1):
                pass
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def _step_back() -> None:
    """Let everybody else go first, and be the first to go where memory runs out."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def main() -> None:
    """Score the job that the command line names."""
    job, model = map(Path, sys.argv[1:3])
    _step_back()
    _end_with_parent()
    np.seterr(all="ignore")
    work(Job(job), model)


if __name__ == "__main__":
    main()

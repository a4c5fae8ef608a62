"""A request's leads -> their answers, a few leads at a time, so that others can have their turn in between.

What a lead is told does not depend on where the parts are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

from features.errors import PQLError
from features.times import text_of
from serving.asking import id_of
from serving.scoring.answers import Answer, Asked, Subject, answers_of
from serving.scoring.receipt import Keep, Receipt, receipt_of
from serving.scoring.scorer import Scorer
from serving.web.refusals import error_body

AT_ONCE: Final = 64
"""Leads of one request whose answers are worked out in one go: some milliseconds."""
BYTES_AT_ONCE: Final = 128 * 1024
"""Text that is read in one go, so that leads with thousands of events come one by one."""


class Failed(msgspec.Struct):
    """Why one lead was not scored; `index` is its place in the request."""

    index: int
    lead_id: str | None
    error: dict[str, str]


Made = Subject | Failed
Result = Answer | Failed


@dataclass(frozen=True)
class Reading:
    """A request that is about to be read.

    Attributes
    ----------
    leads : as they were sent
    part : makes subjects of some of them that stand side by side, given the place of the first; parts come in their order
    """

    scorer: Scorer
    asked: Asked
    leads: Sequence[msgspec.Raw]
    part: Callable[[int, Sequence[msgspec.Raw]], list[Made]]


@dataclass(frozen=True)
class Part:
    """Leads of one request that want answers; there may be none, where none of them could be read."""

    scorer: Scorer
    asked: Asked
    subjects: Sequence[Subject]

    @property
    def kind(self) -> object:
        """What parts must have in common to be answered together."""
        return self.scorer.version, self.asked

    def __len__(self) -> int:
        return len(self.subjects)


def answers_to(parts: Sequence[Part]) -> list[list[Answer]]:
    """Return the answers of each part; all must be of one kind."""
    first = parts[0]
    answers = answers_of(first.scorer, [one for part in parts for one in part.subjects], first.asked)
    return [list(islice(answers, len(part.subjects))) for part in parts]


Working = Generator[Part, list[Answer], list[Result]]


def answering(reading: Reading, keep: Keep | None = None, at_once: int = AT_ONCE) -> Working:
    """Work out one result per lead, in the order of the request: yields parts of up to `at_once` leads for their answers.

    All receipts are handed to `keep` at once, before any answer is returned; what it raises is raised.
    """
    results: list[Result] = []
    receipts: list[Receipt] = []
    for start, raws in _parts(reading.leads, at_once):
        made = reading.part(start, raws)
        subjects = [one for one in made if isinstance(one, Subject)]
        answers = yield Part(reading.scorer, reading.asked, subjects)
        if keep is not None:
            told = zip(subjects, answers, strict=True)
            receipts += [receipt_of(reading.scorer, one, reading.asked, answer) for one, answer in told]
        following = iter(answers)
        results += [one if isinstance(one, Failed) else next(following) for one in made]
    if keep is not None and receipts:
        keep(receipts)
    return results


def _parts(leads: Sequence[msgspec.Raw], at_once: int) -> Iterator[tuple[int, Sequence[msgspec.Raw]]]:
    """Yield (place of the first, leads) of parts of up to `at_once` leads, fewer where they are long."""
    start = size = 0
    for place, lead in enumerate(leads):
        size += len(memoryview(lead))
        if place + 1 == len(leads) or place + 1 - start == at_once or size >= BYTES_AT_ONCE:
            yield start, leads[start : place + 1]
            start, size = place + 1, 0


def failed(index: int, raw: msgspec.Raw, error: PQLError, names: Sequence[str]) -> Failed:
    """Return the result of a lead that cannot be scored; `names` are the fields that may name it."""
    return Failed(index, id_of(raw, names), error_body(error))


def drained(work: Working) -> list[Result]:
    """Return what a request comes to, its parts answered one after another."""
    try:
        part = next(work)
        while True:
            part = work.send(answers_to([part])[0])
    except StopIteration as done:
        found: list[Result] = done.value
        return found


def result_body(result: Result) -> Mapping[str, Any] | Failed:
    """Return one result as it stands in the answer."""
    if isinstance(result, Failed):
        return result
    told = vars(result).copy()
    told["as_of"] = text_of(told.pop("as_of"))
    return told

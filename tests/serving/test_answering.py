"""However a request is cut into parts, and whoever has a turn in between, its answers are the same to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InvalidInput
from features.leads import open_leads
from features.times import text_of
from serving import requests
from serving.answering import (
    AT_ONCE,
    BYTES_AT_ONCE,
    Failed,
    Part,
    Reading,
    Result,
    Working,
    answering,
    answers_to,
    drained,
    failed,
    result_body,
)
from serving.asking import ScoreIn, decode
from serving.scoring.answers import Answer, Asked
from serving.scoring.receipt import Receipt
from serving.scoring.scorer import Scorer
from training.demo import Demo

Lead = dict[str, Any]


@pytest.fixture(scope="module")
def request_of(
    demo_world: Demo, history: Dataset, moments: list[int], posted: Callable[..., Lead]
) -> Callable[[list[int]], ScoreIn]:
    """Return a request of leads open at one moment, by number; -1 is one that cannot be read."""
    traits = ("company_size", "source", "email")
    names = [history.leads.ids[place] for place in open_leads(history.leads, moments[2])[:20]]
    leads = [posted(demo_world.events, demo_world.trials, name, traits) for name in names]

    def made(numbers: list[int]) -> ScoreIn:
        sent = [{"user_id": "broken"} if number < 0 else leads[number] for number in numbers]
        return decode(json.dumps({"leads": sent, "as_of": text_of(moments[2])}).encode())

    return made


def steps(work: Working) -> tuple[int, list[Result]]:
    """Return how many parts the work had, and its result."""
    parts = 0
    answers: list[Answer] | None = None
    while True:
        try:
            part = next(work) if answers is None else work.send(answers)
        except StopIteration as done:
            return parts, done.value
        (answers,) = answers_to([part])
        parts += 1


@settings(max_examples=25)
@given(numbers=st.lists(st.integers(-1, 19), min_size=1, max_size=24), at_once=st.integers(1, 25))
def test_answers_do_not_depend_on_where_the_parts_are_cut(
    scorer: Scorer, request_of: Callable[[list[int]], ScoreIn], numbers: list[int], at_once: int
) -> None:
    request = request_of(numbers)
    kept: list[list[Receipt]] = []
    whole = drained(answering(requests.reading(scorer, request, 0), kept.append, 1_000))
    parts, cut = steps(answering(requests.reading(scorer, request, 0), kept.append, at_once))
    assert list(map(msgspec.json.encode, map(result_body, cut))) == list(
        map(msgspec.json.encode, map(result_body, whole))
    )
    assert parts >= -(-len(numbers) // at_once)
    assert [isinstance(one, Failed) for one in cut] == [number < 0 for number in numbers]
    told = [one for one in whole if isinstance(one, Answer)]
    # Once per request and not at all without an answer.
    assert len(kept) == 2 * bool(told)
    assert [[receipt.id for receipt in part] for part in kept] == [[one.receipt_id for one in told]] * len(kept)
    assert [[receipt.digest for receipt in part] for part in kept[1:]] == [
        [receipt.digest for receipt in part] for part in kept[:1]
    ]


def test_one_lead_is_one_part(scorer: Scorer, request_of: Callable[[list[int]], ScoreIn]) -> None:
    parts, (found,) = steps(answering(requests.reading(scorer, request_of([0]), 0)))
    assert isinstance(found, Answer)
    assert parts == 1


def test_parts_of_different_requests_are_answered_together_as_alone(
    scorer: Scorer, request_of: Callable[[list[int]], ScoreIn]
) -> None:
    sent = request_of([0, 1, -1]), request_of([2, 0]), request_of([-1])
    alone = [requests.score(scorer, request, 0) for request in sent]
    work = [answering(requests.reading(scorer, request, 0)) for request in sent]
    asked, got = {i: next(one) for i, one in enumerate(work)}, dict[int, list[Result]]()
    while asked:
        for i, answers in zip(list(asked), answers_to(list(asked.values())), strict=True):
            try:
                asked[i] = work[i].send(answers)
            except StopIteration as done:
                got[i] = done.value
                del asked[i]
    assert [got[i] for i in range(len(sent))] == alone


def test_only_parts_of_one_version_and_with_the_same_wishes_are_of_one_kind(
    scorer: Scorer, other_model: tuple[Any, Scorer]
) -> None:
    part = Part(scorer, Asked(3), [])
    assert part.kind == Part(scorer, Asked(3), []).kind
    assert part.kind != Part(scorer, Asked(2), []).kind
    assert part.kind != Part(other_model[1], Asked(3), []).kind


def test_what_keeps_receipts_is_heard_before_any_answer(
    scorer: Scorer, request_of: Callable[[list[int]], ScoreIn]
) -> None:
    def full(_: list[Receipt]) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        drained(answering(requests.reading(scorer, request_of([0]), 0), full))


def parts_of(scorer: Scorer, sizes: list[int]) -> list[tuple[int, int]]:
    """Return (first, how many) of each part that leads of these sizes are read in."""
    found: list[tuple[int, int]] = []

    def part(start: int, raws: Any) -> list[Any]:
        found.append((start, len(raws)))
        return [Failed(start + i, None, {}) for i in range(len(raws))]

    leads = [msgspec.Raw(b"x" * size) for size in sizes]
    results = drained(answering(Reading(scorer, Asked(), leads, part)))
    assert [one.index for one in results if isinstance(one, Failed)] == list(range(len(sizes)))
    return found


def test_long_leads_are_read_one_by_one_and_short_ones_together(scorer: Scorer) -> None:
    assert parts_of(scorer, [1] * (AT_ONCE + 1)) == [(0, AT_ONCE), (AT_ONCE, 1)]
    assert parts_of(scorer, [1] * AT_ONCE) == [(0, AT_ONCE)]
    assert parts_of(scorer, [BYTES_AT_ONCE, BYTES_AT_ONCE - 1, 1, 1]) == [(0, 1), (1, 2), (3, 1)]


@given(st.lists(st.integers(0, BYTES_AT_ONCE), min_size=1, max_size=40))
def test_parts_follow_each_other_and_hold_all_leads(scorer: Scorer, sizes: list[int]) -> None:
    found = parts_of(scorer, sizes)
    assert found[0][0] == 0
    assert all(start + size == after for (start, size), (after, _) in pairwise(found))
    assert sum(found[-1]) == len(sizes)
    assert all(1 <= size <= AT_ONCE for _, size in found)


def test_a_lead_that_failed_tells_its_place_its_name_and_why() -> None:
    found = failed(
        3, msgspec.Raw(b'{"user_id": "u", "x": 1}'), InvalidInput("no", "leads[3].x", "Mend it."), ["user_id"]
    )
    assert msgspec.to_builtins(found) == {
        "index": 3, "lead_id": "u", "error": {"code": "invalid_input", "message": "no", "field": "leads[3].x", "hint": "Mend it."},
    }  # fmt: skip
    assert result_body(found) is found

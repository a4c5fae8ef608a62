"""Who is worked for next: in the order of arrival, a part at a time, those together that wait together."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.web.refusals import Refused
from serving.web.turns import MOST_LET_IN, TOGETHER, Turns


@dataclass(frozen=True)
class Leads:
    """A part of so many leads of one request."""

    name: str
    n: int = 1
    kind: object = "a"

    def __len__(self) -> int:
        return self.n


Steps = Generator[Leads, str, list[str]]


@dataclass
class Answers:
    """Answers with what was asked, and remembers who was answered together."""

    groups: list[list[str]] = field(default_factory=list)

    def __call__(self, parts: Sequence[Leads]) -> list[str]:
        assert len({part.kind for part in parts}) == 1
        if any(part.name == "poison" for part in parts):
            raise ValueError("no")
        self.groups.append([part.name for part in parts])
        return [f"{part.name}!" for part in parts]


def asks(*parts: Leads) -> Steps:
    answers = []
    for part in parts:
        answers.append((yield part))  # noqa: PERF401  # a comprehension cannot yield
    return answers


def worked(requests: Sequence[Sequence[Leads]]) -> tuple[list[list[str]], list[object]]:
    """Return who was answered together, and what each got, where all came at once."""
    answers = Answers()

    async def run() -> list[object]:
        turns = Turns(answers)
        return await asyncio.gather(*(turns.take(asks(*parts)) for parts in requests), return_exceptions=True)

    got = asyncio.run(run())
    return answers.groups, got


def test_requests_that_wait_together_are_answered_together_in_their_order() -> None:
    groups, got = worked([[Leads(str(i))] for i in range(5)])
    assert groups == [["0", "1", "2", "3", "4"]]
    assert got == [[f"{i}!"] for i in range(5)]


def test_no_more_go_together_than_take_some_milliseconds() -> None:
    groups, _ = worked([[Leads(str(i))] for i in range(TOGETHER + 3)])
    assert [len(group) for group in groups] == [TOGETHER, 3]


def test_those_of_another_kind_go_by_themselves() -> None:
    groups, _ = worked([[Leads("0")], [Leads("1", kind="b")], [Leads("2")]])
    assert groups == [["0"], ["1"], ["2"]]


def test_a_large_request_lets_a_small_one_pass_after_each_part() -> None:
    large = [Leads(f"large{i}", TOGETHER) for i in range(3)]
    groups, _ = worked([large, [Leads("small")]])
    assert groups == [["large0"], ["small", "large1"], ["large2"]]


requests_of_parts = st.lists(st.lists(st.integers(0, 40), max_size=5), min_size=1, max_size=8)


@given(requests_of_parts, st.data())
def test_everybody_gets_their_own_answers_whoever_stands_beside_them(
    sizes: list[list[int]], data: st.DataObject
) -> None:
    requests = [
        [Leads(f"{i}.{j}", n, data.draw(st.sampled_from("ab"))) for j, n in enumerate(parts)]
        for i, parts in enumerate(sizes)
    ]
    groups, got = worked(requests)
    assert got == [[f"{part.name}!" for part in parts] for parts in requests]
    assert sorted(name for group in groups for name in group) == sorted(p.name for parts in requests for p in parts)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=8))
def test_nobody_is_ever_more_than_one_part_behind(lengths: list[int]) -> None:
    groups, _ = worked([[Leads(str(i), TOGETHER)] * n for i, n in enumerate(lengths)])
    done = [name for group in groups for name in group]
    for end in range(len(done)):
        parts = [done[:end].count(str(i)) for i in range(len(lengths))]
        waiting = [had for had, length in zip(parts, lengths, strict=True) if had < length]
        assert not waiting or max(parts) - min(waiting) <= 1


def test_whoever_cannot_be_answered_is_told_and_those_beside_it_have_their_answers() -> None:
    _, (first, second, third) = worked([[Leads("a")], [Leads("poison")], [Leads("c")]])
    assert (first, third) == (["a!"], ["c!"])
    assert isinstance(second, ValueError)


def test_whoever_is_alone_is_answered_at_once_and_in_parts_like_anybody() -> None:
    async def run(n: int) -> tuple[int, object]:
        turns, rounds = Turns(Answers(), under_way=lambda: 1), 0
        task = asyncio.create_task(turns.take(asks(*[Leads(str(i)) for i in range(n)])))
        while not task.done():
            rounds += 1
            await asyncio.sleep(0)
        return rounds, task.result()

    assert asyncio.run(run(1)) == (1, ["0!"])
    rounds, got = asyncio.run(run(6))
    assert got == [f"{i}!" for i in range(6)]
    assert rounds > 5


def failing(late: bool) -> Steps:
    if late:
        yield Leads("x")
    raise KeyError("mine")


@pytest.mark.parametrize("late", [False, True])
def test_whoever_fails_is_told_and_the_others_go_on(late: bool) -> None:
    async def run() -> list[object]:
        turns = Turns(Answers())
        takes = [turns.take(failing(late)), turns.take(asks(Leads("a"), Leads("b"))), turns.take(failing(late))]
        return await asyncio.gather(*takes, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert isinstance(first, KeyError)
    assert second == ["a!", "b!"]
    assert isinstance(third, KeyError)


def test_more_than_may_be_there_are_sent_away_with_503_and_places_are_given_back() -> None:
    turns = Turns(Answers(), most=2)
    with turns.place(), turns.place():
        with pytest.raises(Refused) as refused, turns.place():
            pass
        assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "overloaded", 1)
    with pytest.raises(KeyError), turns.place():
        raise KeyError
    assert turns.there == 0


def test_whoever_waits_too_long_is_sent_away_and_their_work_is_closed() -> None:
    closed = []

    def endless() -> Steps:
        try:
            while True:
                yield Leads("x")
        finally:
            closed.append(True)

    with pytest.raises(Refused) as refused:
        asyncio.run(Turns(Answers(), seconds=0.02).take(endless()))
    assert (refused.value.status, refused.value.code) == (503, "timed_out")
    assert closed == [True]


def test_work_of_a_client_that_has_gone_is_dropped() -> None:
    answers = Answers()

    async def run() -> None:
        turns = Turns(answers)
        task = asyncio.create_task(turns.take(asks(*[Leads("gone", TOGETHER)] * 50)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await turns.take(asks(Leads("here"))) == ["here!"]

    asyncio.run(run())
    assert sum(group.count("gone") for group in answers.groups) < 50


def test_the_loop_does_other_things_between_two_turns() -> None:
    answers, seen = Answers(), []

    async def run() -> None:
        turns = Turns(answers)
        task = asyncio.create_task(turns.take(asks(*[Leads("a", TOGETHER)] * 100)))
        while not task.done():
            seen.append(len(answers.groups))
            await asyncio.sleep(0)

    asyncio.run(run())
    assert len(set(seen)) > 50


def test_while_connections_come_turns_wait_a_little_and_not_for_ever() -> None:
    came = rounds = 0

    def arrived() -> int:
        nonlocal came
        came += 1  # at every look there is one more
        return came

    async def run() -> None:
        nonlocal rounds
        task = asyncio.create_task(Turns(Answers(), arrived=arrived).take(asks(Leads("a"))))
        while not task.done():
            rounds += 1
            await asyncio.sleep(0)

    asyncio.run(run())
    assert MOST_LET_IN < rounds < MOST_LET_IN + 10


def test_without_new_connections_no_turn_waits() -> None:
    rounds = 0

    async def run() -> None:
        nonlocal rounds
        task = asyncio.create_task(Turns(Answers(), arrived=lambda: 0).take(asks(Leads("a"))))
        while not task.done():
            rounds += 1
            await asyncio.sleep(0)

    asyncio.run(run())
    assert rounds < 8


def test_those_who_only_have_leads_that_were_refused_do_not_hold_up_all_others() -> None:
    groups, _ = worked([[Leads(str(i), 0)] for i in range(TOGETHER + 3)])
    assert [len(group) for group in groups] == [TOGETHER, 3]

"""Who is worked for next: requests take turns on the event loop itself, in the order in which they came.

A request is a generator that yields parts of its leads and is sent their answers. Parts of different requests that wait at the
same time are answered together, which costs half as much a lead as one after the other; nobody is waited for, and what a lead is
told does not depend on who stands beside it. Small requests end in their first turn; large ones go to the back of the queue after
each part, so that a thousand leads do not hold up one. No thread is involved: handing a request to one and back costs more than
scoring a lead, and Python would run one of them at a time all the same. Without a queue the loop would favour connections that
were just served, and the slowest answer would take twenty times the usual one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from serving.web.refusals import Refused

MOST_WAITING: Final = 256
SECONDS: Final = 20.0
TOGETHER: Final = 16
"""Leads that are answered together: some milliseconds, for which nobody else is worked for."""
MOST_LET_IN: Final = 64
"""Rounds of the loop that a turn may be put off for while new connections come: a round takes in only one of them."""


class Part(Protocol):
    """Leads that want answers; those of parts with equal `kind` can be answered together."""

    @property
    def kind(self) -> object: ...

    def __len__(self) -> int: ...


P = TypeVar("P", bound=Part)
A = TypeVar("A")
T = TypeVar("T")


@dataclass
class _Request(Generic[P, A]):
    """A request that waits; `part` is what it asks for next, None before its first turn."""

    work: Generator[P, A, Any]
    done: asyncio.Future[Any]
    until: float
    part: P | None = None


class Turns(Generic[P, A]):
    """Works for one event loop.

    Parameters
    ----------
    answer : answers parts of one kind, each with its own
    most : how many requests may be there at a time, from before their bodies are read
    seconds : for which a request may wait at most
    arrived : tells how many connections have come so far
    under_way : tells how many requests are being answered, those included that have not got here yet
    """

    def __init__(
        self, answer: Callable[[Sequence[P]], Sequence[A]], most: int = MOST_WAITING, seconds: float = SECONDS,
        arrived: Callable[[], int] = int, under_way: Callable[[], int] = int,
    ) -> None:  # fmt: skip
        self._answer, self.most, self.seconds = answer, most, seconds
        self._arrived, self._under_way = arrived, under_way
        self._seen = self._let_in = 0
        self._queue: deque[_Request[P, A]] = deque()
        self.there = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place among those that are there; raises Refused, 503, where all are taken."""
        if self.there >= self.most:
            raise Refused(503, "overloaded", "too many requests are waiting.", hint="Try again.", retry_after=1)
        self.there += 1
        try:
            yield
        finally:
            self.there -= 1

    async def take(self, work: Generator[P, A, T]) -> T:
        """Return what `work` returns, once all its parts have been answered.

        Raises
        ------
        Refused
            503 where it has waited too long. What `work` raises is raised too.
        """
        if not self._queue and self._under_way() == 1:
            # Nobody else is there: two rounds of the loop less.
            try:
                part = next(work)
                part = work.send(self._answer([part])[0])
            except StopIteration as end:
                found: T = end.value
                return found
            return await self._queued(work, part)
        return await self._queued(work, None)

    async def _queued(self, work: Generator[P, A, T], part: P | None) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._turn)
        self._queue.append(_Request(work, done, time.monotonic() + self.seconds, part))
        return await done

    def _turn(self) -> None:
        """Answer the parts of those that are first, as many as go together."""
        if self._others_come():
            asyncio.get_running_loop().call_soon(self._turn)
            return
        group: list[_Request[P, A]] = []
        size = 0
        while self._queue and size < TOGETHER:
            first = self._queue[0]
            if first.part is None and not self._goes_on(first, None):
                self._queue.popleft()
                continue
            assert first.part is not None
            if group and group[0].part is not None and first.part.kind != group[0].part.kind:
                break
            group.append(self._queue.popleft())
            # One whose leads are all refused took its time, too.
            size += max(len(first.part), 1)
        if group:
            self._queue.extend(one for one in self._answered(group))
        if self._queue:
            # Between two turns the loop reads what has come and sends what is ready.
            asyncio.get_running_loop().call_soon(self._turn)

    def _others_come(self) -> bool:
        """Whether a turn must wait a round, so that those who come in numbers are not kept waiting at the door for a turn each."""
        seen, self._seen = self._seen, self._arrived()
        self._let_in = self._let_in + 1 if self._seen != seen and self._let_in < MOST_LET_IN else 0
        return self._let_in > 0

    def _answered(self, group: Sequence[_Request[P, A]]) -> Iterator[_Request[P, A]]:
        """Give each of a group its answers, and yield those that want more."""
        parts = [one.part for one in group if one.part is not None]
        try:
            answers = self._answer(parts)
        except Exception as error:
            if len(group) == 1:
                self._fails(group[0], error)
                return
            # Whoever it is about, the others have their answers.
            for one in group:
                yield from self._answered([one])
            return
        for one, answer in zip(group, answers, strict=True):
            if self._goes_on(one, answer):
                yield one

    def _goes_on(self, one: _Request[P, A], answer: A | None) -> bool:
        """Let a request do its next step; whether it asks for more."""
        try:
            if one.done.cancelled():
                one.work.close()
                return False
            if time.monotonic() > one.until:
                one.work.close()
                raise Refused(503, "timed_out", "the request has waited too long.", hint="Send less.", retry_after=5)
            one.part = next(one.work) if answer is None else one.work.send(answer)
        except StopIteration as end:
            one.done.set_result(end.value)
            return False
        except Exception as error:
            self._fails(one, error)
            return False
        return True

    @staticmethod
    def _fails(one: _Request[P, A], error: Exception) -> None:
        if not one.done.cancelled():
            one.done.set_exception(error)

"""Group commit for the tasks of one event loop: those who wait to write share one commit.

A task of its own leads: it takes what waits in line, performs it, hands out the answers, and ends when
nobody waits any more. It is not the task of any caller, so nobody's cancellation ends it half way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import attrs

from eventsrc.stores.group_commit import Raised

A = TypeVar("A")
J = TypeVar("J")


@attrs.define(eq=False)
class _Waiting(Generic[J, A]):
    """A job in line."""

    job: J
    future: asyncio.Future[A | Raised]
    deadline: float


class AsyncGroupCommit(Generic[J, A]):
    """A line of jobs, performed in groups.

    perform, too_late, most: as for GroupCommit.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[J]], Awaitable[Sequence[A | Raised]]],
        *,
        too_late: Callable[[], Exception],
        most: int,
    ) -> None:
        self._perform = perform
        self._too_late = too_late
        self._most = most
        self._line: deque[_Waiting[J, A]] = deque()
        self._leader: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def perform(self, job: J, timeout: float) -> A:
        """Performs a job together with those that wait beside it, and answers it.

        timeout: how many seconds it may wait to be begun; then `too_late` is raised.
        If the caller is cancelled, a job that has not begun never will.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A | Raised] = loop.create_future()
        waiting = _Waiting(job, future, loop.time() + timeout)
        self._line.append(waiting)
        if self._leader is None:
            self._leader = loop.create_task(self._lead())
        if self._alarm is None:
            self._alarm = loop.call_at(waiting.deadline, self._expire)
        try:
            answer = await future
        except asyncio.CancelledError:
            if waiting in self._line:
                self._line.remove(waiting)
            raise
        if isinstance(answer, Raised):
            raise answer.error
        return answer

    async def close(self) -> None:
        """Waits until nobody is in line."""
        while self._leader is not None:
            await asyncio.wait([self._leader])
        if self._alarm is not None:
            self._alarm.cancel()

    async def _lead(self) -> None:
        try:
            while self._line:
                group = [self._line.popleft() for _ in range(min(len(self._line), self._most))]
                answers: Sequence[A | Raised]
                try:
                    answers = await self._perform([waiting.job for waiting in group])
                except Exception as error:
                    answers = [Raised(error)] * len(group)
                for waiting, answer in zip(group, answers, strict=True):
                    if not waiting.future.done():
                        waiting.future.set_result(answer)
        finally:
            self._leader = None

    def _expire(self) -> None:
        """Ends the wait of those whose deadline has come. One alarm serves all: it is set anew."""
        loop = asyncio.get_running_loop()
        while self._line and self._line[0].deadline <= loop.time():
            waiting = self._line.popleft()
            if not waiting.future.done():
                waiting.future.set_result(Raised(self._too_late()))
        following = self._line[0].deadline if self._line else None
        self._alarm = None if following is None else loop.call_at(following, self._expire)


class AsyncAlone(Generic[J, A]):
    """In place of a line, where nobody else can wait: each job is performed by itself."""

    def __init__(self, perform: Callable[[Sequence[J]], Awaitable[Sequence[A | Raised]]]) -> None:
        self._perform = perform

    async def perform(self, job: J, timeout: float) -> A:
        """Performs a job."""
        (answer,) = await self._perform([job])
        if isinstance(answer, Raised):
            raise answer.error
        return answer

    async def close(self) -> None:
        """Does nothing: nobody waits."""

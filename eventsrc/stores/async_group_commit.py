"""Group commit for the tasks of one event loop: those who wait to write share one commit.

A task of its own leads: it takes what waits in line, performs it, hands out the answers, and ends when
nobody waits any more. It is not the task of any caller, so nobody's cancellation ends it half way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from eventsrc.stores.group_commit import Raised

A = TypeVar("A")
J = TypeVar("J")


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
        self._line: deque[tuple[J, asyncio.Future[A | Raised]]] = deque()
        self._leader: asyncio.Task[None] | None = None

    async def perform(self, job: J, timeout: float) -> A:
        """Performs a job together with those that wait beside it, and answers it.

        timeout: how many seconds it may wait to be begun; then `too_late` is raised.
        If the caller is cancelled, a job that has not begun never will.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A | Raised] = loop.create_future()
        waiting = job, future
        self._line.append(waiting)
        if self._leader is None:
            self._leader = loop.create_task(self._lead())
        alarm = loop.call_later(timeout, self._expire, waiting)
        try:
            answer = await future
        except asyncio.CancelledError:
            self._leaves(waiting)
            raise
        finally:
            alarm.cancel()
        if isinstance(answer, Raised):
            raise answer.error
        return answer

    async def close(self) -> None:
        """Waits until nobody is in line."""
        while self._leader is not None:
            await asyncio.wait([self._leader])

    async def _lead(self) -> None:
        try:
            while self._line:
                group = [self._line.popleft() for _ in range(min(len(self._line), self._most))]
                answers: Sequence[A | Raised]
                try:
                    answers = await self._perform([job for job, _ in group])
                except Exception as error:
                    answers = [Raised(error)] * len(group)
                for (_, future), answer in zip(group, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            self._leader = None

    def _leaves(self, waiting: tuple[J, asyncio.Future[A | Raised]]) -> bool:
        """Takes a job out of the line, if it still waits there."""
        if waiting not in self._line:
            return False
        self._line.remove(waiting)
        return True

    def _expire(self, waiting: tuple[J, asyncio.Future[A | Raised]]) -> None:
        if self._leaves(waiting) and not waiting[1].done():
            waiting[1].set_result(Raised(self._too_late()))


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

"""Group commit for the tasks of one event loop: those who wait to write share one commit.

A task of its own leads: it takes what waits in line, performs it, hands out the answers, and ends when
nobody waits any more. It is not the task of any caller, so nobody's cancellation ends it half way; if
somebody cancels all tasks there are, another leads those who wait still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

import attrs

from eventsrc._clock import Timer, call_later, monotonic
from eventsrc.stores._group_commit import ToRaise
from eventsrc.stores._line import Line

A = TypeVar("A")
J = TypeVar("J")


@attrs.define(eq=False)
class _Waiting(Generic[J, A]):
    """A job in line."""

    job: J
    future: asyncio.Future[A | ToRaise]
    deadline: float


class AsyncGroupCommit(Generic[J, A]):
    """A line of jobs, performed in groups.

    perform, interrupted, too_late, most: as for GroupCommit.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[J]], Awaitable[Sequence[A | ToRaise]]],
        *,
        interrupted: Callable[[J], A],
        too_late: Callable[[], Exception],
        most: int,
    ) -> None:
        self._perform = perform
        self._interrupted = interrupted
        self._too_late = too_late
        self._most = most
        self._line: Line[_Waiting[J, A]] = Line()
        self._leader: asyncio.Task[None] | None = None
        self._alarm: Timer | None = None
        self._pause = 0.0
        """The seconds that each of those who are answered keeps the event loop busy then."""

    async def perform(self, job: J, timeout: float) -> A:
        """Performs a job together with those that wait beside it, and answers it.

        timeout: how many seconds it may wait to be begun; then `too_late` is raised.
        If the caller is cancelled, a job that has not begun never will. Raises StoreBusy at once if as
        many wait as a line may have.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A | ToRaise] = loop.create_future()
        waiting = _Waiting(job, future, monotonic() + timeout)
        self._line.join(waiting)
        if self._leader is None:
            self._leader = loop.create_task(self._lead())
        if self._alarm is None:
            self._alarm = call_later(timeout, self._expire)
        try:
            answer = await future
        except asyncio.CancelledError:
            self._line.leave(waiting)
            raise
        if isinstance(answer, ToRaise):
            raise answer.error
        return answer

    async def close(self) -> None:
        """Waits until nobody is in line."""
        while self._leader is not None:
            await asyncio.wait([self._leader])
        if self._alarm is not None:
            self._alarm.cancel()

    async def _lead(self) -> None:
        """Performs what is in line, group after group, until nobody waits.

        A crowd that takes longer to come again than a group takes is performed in halves, so that one
        is under way while the other computes; another crowd stays together.
        """
        loop = asyncio.get_running_loop()
        untold: Sequence[tuple[_Waiting[J, A], A | ToRaise]] = ()
        try:
            while self._line:
                group = [self._line.take() for _ in range(min(len(self._line), self._most))]
                began = monotonic()
                _tell(untold)
                untold = ()
                answers: Sequence[A | ToRaise]
                try:
                    answers = await self._perform([waiting.job for waiting in group])
                except Exception as error:
                    answers = [ToRaise(error)] * len(group)
                except BaseException:
                    untold = [(waiting, self._interrupted(waiting.job)) for waiting in group]
                    raise
                answered = list(zip(group, answers, strict=True))
                done = monotonic()
                crowd = len(group) + len(self._line)
                in_halves = done - began < crowd * self._pause
                if in_halves and self._line:
                    untold = answered
                    continue
                at_once = (len(group) + 1) // 2 if in_halves else len(group)
                _tell(answered[:at_once])
                untold = answered[at_once:]
                if crowd > 1:
                    await asyncio.sleep(0)
                    self._pause = (monotonic() - done) / at_once
        finally:
            _tell(untold)
            self._leader = loop.create_task(self._lead()) if self._line else None

    def _expire(self) -> None:
        """Ends the wait of those whose deadline has come. One alarm serves all: it is set anew."""
        while self._line and self._line.first.deadline <= monotonic():
            waiting = self._line.take()
            if not waiting.future.done():
                waiting.future.set_result(ToRaise(self._too_late()))
        following = self._line.first.deadline if self._line else None
        self._alarm = None if following is None else call_later(following - monotonic(), self._expire)


def _tell(answered: Iterable[tuple[_Waiting[J, A], A | ToRaise]]) -> None:
    for waiting, answer in answered:
        if not waiting.future.done():
            waiting.future.set_result(answer)


class AsyncAlone(Generic[J, A]):
    """In place of a line, where nobody else can wait: each job is performed by itself."""

    def __init__(self, perform: Callable[[Sequence[J]], Awaitable[Sequence[A | ToRaise]]]) -> None:
        self._perform = perform

    async def perform(self, job: J, timeout: float) -> A:
        """Performs a job."""
        (answer,) = await self._perform([job])
        if isinstance(answer, ToRaise):
            raise answer.error
        return answer

    async def close(self) -> None:
        """Does nothing: nobody waits."""

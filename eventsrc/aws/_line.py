"""The line of those who wait to append: a thread of its own stores them, as many at once as wait.

While a transaction is on its way others come, and share the next. Threads and tasks wait for futures,
so that neither an interruption of one nor a cancellation breaks off what others wait for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from functools import partial
from typing import Final, Generic, TypeVar

import attrs

from eventsrc._clock import within
from eventsrc.stores.operations import StoreBusy, StoreClosed

A = TypeVar("A")
J = TypeVar("J")

MOST: Final = 512
"""The most jobs of a group."""

LONGEST: Final = 10_000
"""The most jobs that wait; whoever comes then is told at once that the store is busy."""


@attrs.frozen
class ToRaise:
    """In place of an answer: the error to raise for the one who asked."""

    error: Exception


class Line(Generic[J, A]):
    """A line of jobs.

    perform: answers several jobs at once, in their order, with those that it takes from the line itself
        by calling its second argument. Only one call of it runs at a time.
    too_late: the error for a job that waited until its deadline and was not begun.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[J], Callable[[], Sequence[J]]], Sequence[A | ToRaise]],
        too_late: Callable[[], Exception],
    ) -> None:
        self._perform = perform
        self._too_late = too_late
        self._lock = threading.Lock()
        self._line: deque[tuple[J, Future[A]]] = deque()
        self._is_working = False
        self._is_closed = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="eventsrc-dynamodb")

    def join(self, job: J) -> Future[A]:
        """Puts a job in line. Its future can be canceled until it is begun.

        Raises StoreBusy if as many wait as may.
        """
        future: Future[A] = Future()
        with self._lock:
            if self._is_closed:
                raise closed()
            if len(self._line) >= LONGEST:
                raise StoreBusy(f"{LONGEST} appends wait already: have fewer at a time, or try later")
            self._line.append((job, future))
            if not self._is_working:
                self._worker.submit(self._work)
                self._is_working = True
        return future

    def perform(self, job: J, timeout: float) -> A:
        """Performs a job together with those that wait beside it, and answers it.

        timeout: how many seconds it may wait to be begun; then `too_late` is raised.
        """
        future = self.join(job)
        try:
            return future.result(timeout)
        except TooLate:
            if future.cancel():
                raise self._too_late() from None
            return future.result()  # it has begun, and ends by its own deadline
        except CancelledError:
            raise closed() from None
        except BaseException:  # a signal's handler raised
            future.cancel()
            raise

    async def perform_async(self, job: J, timeout: float) -> A:
        """As `perform`, for a task. If that is cancelled, a job that has not begun never will."""
        import asyncio

        future = self.join(job)
        waiting = asyncio.wrap_future(future)
        try:
            with suppress(TimeoutError):
                await within(timeout, asyncio.wait({waiting}))
        except BaseException:
            future.cancel()
            raise
        if not waiting.done() and future.cancel():
            raise self._too_late()
        try:
            return await waiting
        except asyncio.CancelledError:
            if future.cancelled() and self._is_closed:
                raise closed() from None
            raise

    def close(self) -> None:
        """Refuses what waits in line and what comes, and waits for what has begun."""
        with self._lock:
            self._is_closed = True
            for _, future in self._line:
                future.cancel()
        self._worker.shutdown(wait=True)

    def _work(self) -> None:
        """Performs what is in line, group after group, until nobody waits."""
        while True:
            group: list[tuple[J, Future[A]]] = []
            jobs = self._taken(group, is_last=True)
            if not jobs:
                return
            try:
                answers = self._perform(jobs, partial(self._taken, group))
            except BaseException as error:
                for _, future in group:
                    future.set_exception(error)
                continue
            for (_, future), answer in zip(group, answers, strict=True):
                if isinstance(answer, ToRaise):
                    future.set_exception(answer.error)
                else:
                    future.set_result(answer)

    def _taken(self, group: list[tuple[J, Future[A]]], *, is_last: bool = False) -> list[J]:
        """Takes those that wait into a group. is_last: whether the worker ends if there are none."""
        before = len(group)
        with self._lock:
            while self._line and len(group) < MOST:
                job, future = self._line.popleft()
                if future.set_running_or_notify_cancel():
                    group.append((job, future))
            if is_last and not group:
                self._is_working = False
        return [job for job, _ in group[before:]]


def closed() -> StoreClosed:
    """The error of who asks a store that was closed."""
    return StoreClosed("the store was closed: open it again")

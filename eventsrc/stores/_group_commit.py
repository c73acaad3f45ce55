"""Group commit: those who wait to write share one commit.

Whoever comes first leads: it takes what is waiting, performs it in one go, hands out the answers and
passes the lead to the next in line. There is no thread that would have to be woken for a lone writer,
which pays for one uncontended lock. Threads wait in `perform`, tasks in `perform_async`; they share
the line. (DeWitt et al., Implementation Techniques for Main Memory Database Systems, 1984.)

A signal's handler may raise anywhere in the main thread, also between a step and the next that belongs
to it. So the lead is an attribute that names who has it: nobody else's `finally` gives it back, and
that is a mere assignment, before which no handler can run. Being told is only a hint: who has waited
for long looks for itself. No `while` stands in a `try` or `with`: in Python 3.13.0, what a handler
raises as the loop jumps back escapes them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

import attrs

from eventsrc._clock import call_later, monotonic
from eventsrc._errors import EventsrcError
from eventsrc.stores._line import Line
from eventsrc.stores.operations import StoreClosed

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from concurrent.futures import ThreadPoolExecutor

A = TypeVar("A")
J = TypeVar("J")
O = TypeVar("O")

_GLANCE: Final = 0.1
"""After how many seconds a thread that waits looks whether it was forgotten."""


@attrs.frozen
class ToRaise:
    """In place of an answer: the exception to raise for the one who asked."""

    error: BaseException


class _Waiter(Generic[J, A]):
    """A job in line. It is told when it is to lead, and when its answer is there."""

    __slots__ = ("answer", "is_begun", "is_done", "job")

    def __init__(self, job: J) -> None:
        self.job = job
        self.answer: A | ToRaise | None = None
        self.is_begun = False
        self.is_done = False

    def tell(self) -> None:
        raise NotImplementedError

    def settle(self, answer: A | ToRaise) -> None:
        """Hands it its answer."""
        self.answer = answer
        self.is_done = True
        self.tell()

    def result(self) -> A:
        if isinstance(self.answer, ToRaise):
            raise self.answer.error
        return cast("A", self.answer)


class _Thread(_Waiter[J, A]):
    """A job that a thread waits for; told to lead, that thread does."""

    __slots__ = ("_told",)

    def __init__(self, job: J) -> None:
        super().__init__(job)
        self._told = threading.Lock()
        self._told.acquire()

    def tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was told before, and has not heard it yet
            self._told.release()

    def wait(self, timeout: float) -> None:
        """Waits to be told."""
        self._told.acquire(timeout=timeout)


class _Task(_Waiter[J, A]):
    """A job that a task waits for; told to lead, a thread of the executor does."""

    __slots__ = ("_lead", "_loop", "future")

    def __init__(self, job: J, lead: Callable[[_Waiter[J, A]], None], loop: AbstractEventLoop) -> None:
        super().__init__(job)
        self._lead = lead
        self._loop = loop
        self.future = loop.create_future()

    def tell(self) -> None:
        if not self.is_done:
            self._lead(self)
            return
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class GroupCommit(Generic[J, A]):
    """A line of jobs, performed in groups by those who wait in it.

    perform: answers several jobs at once, in their order, with Raised in place of an answer where one
        failed. An error of this library that it raises is raised for all of them; anything else is of
        the thread that performs, such as a KeyboardInterrupt, and raised there. Only one call of it
        runs at a time.
    interrupted: the answer to a job whose group was broken off by an exception of another's thread.
    too_late: the error for a job that waited in line until its deadline and was not begun.
    most: how many jobs a group may have.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[J]], Sequence[A | ToRaise]],
        *,
        interrupted: Callable[[J], A],
        too_late: Callable[[], Exception],
        most: int,
    ) -> None:
        self._perform = perform
        self._interrupted = interrupted
        self._too_late = too_late
        self._most = most
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a signal's handler may append or close while it is held
        self._line: Line[_Waiter[J, A]] = Line()  # those who were begun come first
        self._leader: object = None
        self._is_closed = False
        self._executor: ThreadPoolExecutor | None = None

    def perform(self, job: J, timeout: float) -> A:
        """Performs a job together with those that wait beside it, and answers it.

        timeout: how many seconds it may wait to be begun; then `too_late` is raised.
        Raises StoreClosed if it was closed before the job was begun, and StoreBusy at once if as many
        wait as a line may have.
        """
        me: object = job
        try:
            with self._lock:
                if self._leader is None and not self._line and not self._is_closed:
                    self._leader = me
            if self._leader is me:
                (answer,) = self._perform((job,))
                if isinstance(answer, ToRaise):
                    raise answer.error
                return answer
            waiter: _Thread[J, A] = _Thread(job)
            me = waiter
            return self._wait(waiter, monotonic() + timeout)
        finally:
            if self._leader is me:
                self._leader = None
            if self._line and self._leader is None:
                self._pass_on()

    def alone(self, work: Callable[[O], A | None], op: O) -> A | None:
        """The answer of some work that is done in the place of a group; None if others are at it.

        It may answer None itself, and must then have done nothing.
        """
        me = object()
        try:
            with self._lock:
                if self._leader is None and not self._line and not self._is_closed:
                    self._leader = me
            return work(op) if self._leader is me else None
        finally:
            if self._leader is me:
                self._leader = None
            if self._line and self._leader is None:
                self._pass_on()

    async def perform_async(self, job: J, timeout: float) -> A:
        """As `perform`, for a task. If that is cancelled, a job that has not begun never will."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        waiter: _Task[J, A] = _Task(job, self._lead_elsewhere, loop)
        alarm = call_later(timeout, partial(self._expire, waiter))
        try:
            self._join(waiter)
            if self._leader is None:
                self._pass_on()
            await waiter.future
        except BaseException:  # cancelled, or too late
            self._leave(waiter)
            raise
        finally:
            if self._leader is waiter:
                self._leader = None
            alarm.cancel()
            if self._line and self._leader is None:
                self._pass_on()
        return waiter.result()

    def close(self) -> None:
        """Refuses what waits in line and what comes, and waits for the group that tasks have begun."""
        if os.getpid() != self._pid:  # the lock may be held by a thread that a fork did not copy
            return
        with self._lock:
            self._is_closed = True
            for waiter in list(self._line):
                if not waiter.is_begun:
                    waiter.is_begun = True
                    waiter.settle(ToRaise(_closed()))  # or a leader would take it for a forgotten one
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def _wait(self, waiter: _Thread[J, A], deadline: float) -> A:
        """Waits in line, and leads when it is told to."""
        try:
            self._join(waiter)
            self._stand(waiter, deadline)
            return waiter.result()
        finally:
            waiter.is_done = True  # whatever happened, its thread waits no more

    def _stand(self, waiter: _Thread[J, A], deadline: float) -> None:
        while not waiter.is_done:
            left = deadline - monotonic()
            if self._leader is waiter:
                self._lead()
            elif self._leader is None:
                self._pass_on()
            elif left <= 0 and self._leave(waiter):
                raise self._too_late()
            else:  # if it has begun, that ends by its own deadline
                waiter.wait(min(left, _GLANCE) if left > 0 else _GLANCE)

    def _join(self, waiter: _Waiter[J, A]) -> None:
        with self._lock:
            if self._is_closed:
                raise _closed()
            self._line.join(waiter)

    def _leave(self, waiter: _Waiter[J, A]) -> bool:
        """Takes a job out of the line, unless it was begun; answers whether it was not."""
        with self._lock:
            if waiter.is_begun:
                return False
            self._line.leave(waiter)
            return True

    def _expire(self, waiter: _Task[J, A]) -> None:
        if self._leave(waiter) and not waiter.future.done():
            waiter.future.set_exception(self._too_late())

    def _pass_on(self) -> None:
        """Hands the lead to the first in line, if nobody has it."""
        with self._lock:
            self._drop_done()
            if not self._line or self._leader is not None:
                return
            following = self._leader = self._line.first
        following.tell()

    def _drop_done(self) -> None:
        while self._line and self._line.first.is_done:
            self._line.take()

    def _lead(self) -> None:
        """Performs those at the head of the line; whoever calls it has the lead."""
        with self._lock:
            head = list(islice(self._line, self._most))
            forgotten = [waiter for waiter in head if waiter.is_begun and not waiter.is_done]
            group = [waiter for waiter in head if not waiter.is_begun and not waiter.is_done]
            for waiter in group:
                waiter.is_begun = True
        for waiter in forgotten:  # by a leader who was interrupted
            waiter.settle(self._interrupted(waiter.job))
        answers: Sequence[A | ToRaise] = []
        try:
            if group:
                answers = self._perform([waiter.job for waiter in group])
        except EventsrcError as error:
            answers = [ToRaise(error)] * len(group)
        for waiter, answer in zip(group, answers, strict=True):
            waiter.settle(answer)

    def _lead_elsewhere(self, leader: _Waiter[J, A]) -> None:
        """Lets a thread of the executor lead, in the place of a task."""
        try:
            if self._executor is None:
                from concurrent.futures import ThreadPoolExecutor

                self._executor = ThreadPoolExecutor(1, thread_name_prefix="eventsrc-commit")
            self._executor.submit(self._lead_for, leader)
        except BaseException as error:
            if self._leader is leader:
                self._leader = None
            if not isinstance(error, RuntimeError):
                raise
            self._leave(leader)  # the executor was shut down: it is closed, or the interpreter ends
            leader.settle(ToRaise(_closed()))

    def _lead_for(self, task: _Waiter[J, A]) -> None:
        me = object()
        with self._lock:
            if self._leader is not task:  # it was cancelled meanwhile
                return
            self._leader = me  # so that it does not give up what is in use if it is cancelled
        try:
            self._lead()
        except BaseException as error:
            task.settle(ToRaise(error))
        finally:
            self._leader = None
            self._pass_on()


def _closed() -> StoreClosed:
    return StoreClosed("the store was closed: open it again")


class Alone(Generic[J, A]):
    """In place of a line, where nobody else can wait: each job is performed by itself."""

    def __init__(self, perform: Callable[[Sequence[J]], Sequence[A | ToRaise]]) -> None:
        self._perform = perform

    def perform(self, job: J, timeout: float) -> A:
        """Performs a job."""
        (answer,) = self._perform([job])
        if isinstance(answer, ToRaise):
            raise answer.error
        return answer

    def close(self) -> None:
        """Does nothing: nobody waits."""

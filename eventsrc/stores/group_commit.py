"""Group commit: those who wait to write share one commit.

Whoever comes first leads: it takes what is waiting, performs it in one go, hands out the answers and
passes the lead to the next in line. There is no thread that would have to be woken for a lone writer,
which pays for two uncontended locks. Threads wait in `perform`, tasks in `perform_async`; they share
the line. (DeWitt et al., Implementation Techniques for Main Memory Database Systems, 1984.)
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import attrs

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from concurrent.futures import ThreadPoolExecutor

A = TypeVar("A")
J = TypeVar("J")


@attrs.frozen
class Raised:
    """In place of an answer: the exception to raise for the one who asked."""

    error: BaseException


class _Waiter(Generic[J, A]):
    """A job in line. It is told once: to take the lead, or that its answer is there."""

    __slots__ = ("answer", "is_done", "job", "leads")

    def __init__(self, job: J) -> None:
        self.job = job
        self.answer: A | Raised | None = None
        self.is_done = False
        self.leads = False

    def tell(self) -> None:
        """Tells whoever waits; nobody does for a job that leads from the first."""

    def result(self) -> A:
        if isinstance(self.answer, Raised):
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
        self._told.release()

    def wait(self, timeout: float) -> bool:
        """Whether it was told in time."""
        return self._told.acquire(timeout=timeout)


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
        failed. What it raises itself is raised for all of them. Only one call of it runs at a time.
    interrupted: the answer to a job whose group was broken off by a KeyboardInterrupt or the like.
    too_late: the error for a job that waited in line until its deadline and was not begun.
    most: how many jobs a group may have.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[J]], Sequence[A | Raised]],
        *,
        interrupted: Callable[[J], A],
        too_late: Callable[[], Exception],
        most: int,
    ) -> None:
        self._perform = perform
        self._interrupted = interrupted
        self._too_late = too_late
        self._most = most
        self._lock = threading.Lock()
        self._line: deque[_Waiter[J, A]] = deque()
        self._is_led = False
        self._executor: ThreadPoolExecutor | None = None

    def perform(self, job: J, timeout: float) -> A:
        """Performs a job together with those that wait beside it, and answers it.

        timeout: how many seconds it may wait to be begun; then `too_late` is raised.
        """
        if self._leads_at_once():
            return self._lead_from_nothing(job)
        waiter: _Thread[J, A] = _Thread(job)
        try:
            if not self._joins(waiter) and not waiter.wait(timeout):
                if self._leaves(waiter):
                    raise self._too_late()
                waiter.wait(threading.TIMEOUT_MAX)  # it has begun: that ends by its own deadline
        except KeyboardInterrupt:
            self._leaves(waiter)
            if waiter.leads:
                self._lead(waiter)
            raise
        if waiter.leads:
            self._lead(waiter)
        return waiter.result()

    async def perform_async(self, job: J, timeout: float) -> A:
        """As `perform`, for a task. If that is cancelled, a job that has not begun never will."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        waiter: _Task[J, A] = _Task(job, self._lead_elsewhere, loop)
        if self._joins(waiter):
            waiter.tell()
        alarm = loop.call_later(timeout, self._expire, waiter)
        try:
            await waiter.future
        except BaseException:  # cancelled, or too late
            self._leaves(waiter)
            raise
        finally:
            alarm.cancel()
        return waiter.result()

    def close(self) -> None:
        """Waits for the group that is being performed, and ends the thread that leads for tasks."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def _leads_at_once(self) -> bool:
        """Takes the lead if nobody has it."""
        with self._lock:
            leads, self._is_led = not self._is_led, True
            return leads

    def _joins(self, waiter: _Waiter[J, A]) -> bool:
        """Puts a job in line, or gives it the lead if nobody has it; answers whether it leads."""
        with self._lock:
            if self._is_led:
                self._line.append(waiter)
            else:
                self._is_led = waiter.leads = True
            return waiter.leads

    def _leaves(self, waiter: _Waiter[J, A]) -> bool:
        """Takes a job out of the line, if it still waits there and does not lead."""
        with self._lock:
            if waiter.leads or waiter not in self._line:
                return False
            self._line.remove(waiter)
            return True

    def _expire(self, waiter: _Task[J, A]) -> None:
        if self._leaves(waiter) and not waiter.future.done():
            waiter.future.set_exception(self._too_late())

    def _lead_from_nothing(self, job: J) -> A:
        """Performs a job that nobody waited before."""
        if self._line:
            first: _Waiter[J, A] = _Waiter(job)
            self._lead(first)
            return first.result()
        try:
            (answer,) = self._perform((job,))
        finally:
            self._pass_on()
        if isinstance(answer, Raised):
            raise answer.error
        return answer

    def _pass_on(self) -> None:
        """Gives the lead to the next in line, if there is one, or up."""
        following: _Waiter[J, A] | None = None
        with self._lock:
            if self._line:
                following = self._line.popleft()
                following.leads = True
            else:
                self._is_led = False
        if following is not None:
            following.tell()

    def _lead(self, leader: _Waiter[J, A]) -> None:
        """Performs the leader's job with those at the head of the line, and passes the lead on."""
        group = [leader]
        with self._lock:
            while self._line and len(group) < self._most:
                group.append(self._line.popleft())
        answers: Sequence[A | Raised]
        try:
            answers = self._perform([waiter.job for waiter in group])
        except Exception as error:
            answers = [Raised(error)] * len(group)
        except BaseException as error:
            others = [self._interrupted(waiter.job) for waiter in group[1:]]
            answers = [Raised(error), *others]
        for waiter, answer in zip(group, answers, strict=True):
            waiter.answer = answer
            waiter.is_done, waiter.leads = True, False
            waiter.tell()
        self._pass_on()

    def _lead_elsewhere(self, leader: _Waiter[J, A]) -> None:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(1, thread_name_prefix="eventsrc-commit")
        self._executor.submit(self._lead, leader)


class Alone(Generic[J, A]):
    """In place of a line, where nobody else can wait: each job is performed by itself."""

    def __init__(self, perform: Callable[[Sequence[J]], Sequence[A | Raised]]) -> None:
        self._perform = perform

    def perform(self, job: J, timeout: float) -> A:
        """Performs a job."""
        (answer,) = self._perform([job])
        if isinstance(answer, Raised):
            raise answer.error
        return answer

    def close(self) -> None:
        """Does nothing: nobody waits."""

"""The clock of deadlines, which goes on where a test freezes the time.

freezegun replaces `time.monotonic` and `time.perf_counter`, by which event loops go as well, and leaves
`time.clock_gettime` alone; time-machine has that one tell its own time for CLOCK_REALTIME, and leaves
the others alone. So deadlines go by CLOCK_MONOTONIC; and where an event loop's clock is frozen, so that
no timer of its would ever come, a thread waits in its place.

All waits of the library are waits of this module, of `threading`, or of a database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import BuiltinFunctionType
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

monotonic: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    if hasattr(time, "CLOCK_MONOTONIC")
    else partial(time.monotonic)  # Windows: freezegun finds a function in a module, not in a partial
)
"""Seconds, from an arbitrary start, that pass whatever a test does to the time."""


class Timer(Protocol):
    """Something that is going to be done."""

    def cancel(self) -> None:
        """Has it not be done."""


def call_later(seconds: float, act: Callable[[], object]) -> Timer:
    """Does something in the event loop that is running, after some seconds."""
    from asyncio import get_running_loop  # dear to import

    loop = get_running_loop()
    if not _is_frozen():
        return loop.call_later(seconds, act)
    return _call_by_thread(seconds, partial(loop.call_soon_threadsafe, act))


@asynccontextmanager
async def timeout(seconds: float) -> AsyncIterator[None]:
    """Cancels what is done inside it after some seconds, and raises TimeoutError then."""
    import asyncio

    if not _is_frozen():
        async with asyncio.timeout(seconds):
            yield
        return
    async with asyncio.timeout(None) as scope:
        loop = asyncio.get_running_loop()

        def end() -> None:
            if not is_over:
                scope.reschedule(loop.time())

        is_over = False
        timer = _call_by_thread(seconds, partial(loop.call_soon_threadsafe, end))
        try:
            yield
        finally:
            is_over = True
            timer.cancel()


async def within(seconds: float, awaited: Awaitable[T]) -> T:
    """Awaits something. Raises TimeoutError if it takes longer than that."""
    async with timeout(seconds):
        return await awaited


async def sleep(seconds: float) -> None:
    """Waits, without holding up the event loop."""
    import asyncio

    if not _is_frozen():
        await asyncio.sleep(seconds)
        return
    over = asyncio.Event()
    timer = call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()


def _is_frozen() -> bool:
    """Whether the clock of event loops was replaced."""
    return not isinstance(time.monotonic, BuiltinFunctionType)


def _call_by_thread(seconds: float, act: Callable[[], object]) -> Timer:
    timer = threading.Timer(min(max(seconds, 0.0), threading.TIMEOUT_MAX), _quietly, (act,))
    timer.daemon = True
    timer.start()
    return timer


def _quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except RuntimeError:  # the event loop was closed meanwhile: nobody waits there any more
        return

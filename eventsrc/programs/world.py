"""The world outside as operations: the time, new ids, chance and waiting.

A program takes these from its interpreter and never from Python, so that a run can be replayed,
simulated and tested without waiting. `world` performs them for real.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID, uuid4

from eventsrc._clock import monotonic, sleep
from eventsrc.programs.interpreter import Interpreter, on
from eventsrc.programs.operation import Command, Query


class Now(Query[datetime]):
    """The time of day, in UTC. It may jump: measure durations with Elapsed."""


class Elapsed(Query[float]):
    """Seconds on a clock that never goes back, from an arbitrary start."""


class NewId(Command[UUID]):
    """An id that nobody else has."""


class Chance(Command[float]):
    """A random number, at least 0 and below 1."""


class Sleep(Command[None]):
    """Waits for some seconds."""

    seconds: float


World: TypeAlias = Now | Elapsed | NewId | Chance | Sleep


class RealWorld(Interpreter[World]):
    """The machine's clocks and randomness; `run_async` sleeps without holding up the event loop."""

    @on(Now)
    def now(self, op: Now) -> datetime:
        return datetime.now(UTC)

    @on(Elapsed)
    def elapsed(self, op: Elapsed) -> float:
        return monotonic()

    @on(NewId)
    def new_id(self, op: NewId) -> UUID:
        return uuid4()

    @on(Chance)
    def chance(self, op: Chance) -> float:
        return random.random()

    @on(Sleep).batched
    def sleep(self, ops: Sequence[Sleep]) -> Sequence[None]:
        time.sleep(max(op.seconds for op in ops))  # those who sleep side by side sleep at once
        return [None] * len(ops)

    @on(Sleep).coroutine
    async def sleep_async(self, op: Sleep) -> None:
        await sleep(op.seconds)


world: Interpreter[World] = RealWorld()
"""The real world, to join with an application's interpreters: `app | world`."""

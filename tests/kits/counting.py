"""What the tests of streams and decisions count with: an event, its stream and fold, and a world."""

from __future__ import annotations

from typing import TypeAlias

from eventsrc import Fold, Interpreter, Sleep, Stream, event, on
from eventsrc.programs.world import Chance, Elapsed


@event("test.counted")
class Counted:
    """The counter went up."""

    by: int = 1


@event("test.reset")
class Reset:
    """The counter went to nought."""


@event("test.elsewhere")
class Elsewhere:
    """An event of no counter."""


Counting: TypeAlias = Counted | Reset

counter: Stream[Counting] = Stream("counter", events=Counted | Reset)


def counted(so_far: int, event: Counting) -> int:
    """The count after one more event."""
    return so_far + event.by if isinstance(event, Counted) else 0


total: Fold[int, Counting] = Fold(0, counted)


class SimulatedWorld(Interpreter[Elapsed | Chance | Sleep]):
    """A world in which time passes only by sleeping, and at once; it remembers the sleeps.

    chance: what every Chance answers.
    tick: how much later it is each time that somebody looks at the clock.
    """

    def __init__(self, chance: float = 0.5, tick: float = 0.0) -> None:
        self.time = 0.0
        self.sleeps: list[float] = []
        self._chance = chance
        self._tick = tick

    @on(Elapsed)
    def elapsed(self, op: Elapsed) -> float:
        self.time += self._tick
        return self.time

    @on(Chance)
    def chance(self, op: Chance) -> float:
        return self._chance

    @on(Sleep)
    def sleep(self, op: Sleep) -> None:
        self.sleeps.append(op.seconds)
        self.time += op.seconds

"""Sagas: what was done is undone in reverse if what follows fails, or the run is cancelled.

(Garcia-Molina and Salem, Sagas, 1987.) Compensations are programs like any other, so that in a run they
are journalled, and go on where a worker was killed in the midst of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from returns.result import Failure

from eventsrc._errors import EventsrcError
from eventsrc.durable.operations import Cancelled
from eventsrc.programs.failures import Stop
from eventsrc.programs.program import Body, Do, Effect, program
from eventsrc.programs.world import Sleep

O = TypeVar("O")
R = TypeVar("R")

LONGEST_PAUSE: Final = 3600.0
"""The most seconds between two attempts, unless one says otherwise."""


class NotUndone(EventsrcError):
    """A compensation answered a Failure: a run parks then, and somebody must look at it."""


class Undo:
    """The compensations of a saga, which is given one: see `saga`."""

    def __init__(self) -> None:
        self._compensations: list[Effect[Any, Any]] = []

    def add(self, compensation: Effect[Any, Any]) -> None:
        """Has something done, an operation or a program, if the saga fails from here on."""
        self._compensations.append(compensation)

    def all(self) -> Do[Any, None]:
        """Does what was added, the last first, each once. Raises NotUndone for one that fails."""
        while self._compensations:
            compensation = self._compensations.pop()
            answer = yield from compensation
            if isinstance(answer, Failure):
                raise NotUndone(
                    f"{compensation!r:.200} answered {answer!r:.200}: undo it by hand, or mend the "
                    "cause and retry"
                )


@program
def saga(body: Callable[[Undo], Effect[O, R] | Body[O, R]]) -> Do[O, R]:
    """A program that undoes what it has done if it ends with a Failure, an exception or a cancellation.

    body: makes the program of an `Undo`, to which it adds a compensation behind each step.
    What it ended with is what the saga ends with, when all is undone. Raises NotUndone.
    """
    undo = Undo()
    try:
        answer: Any = yield from body(undo)
    except Stop as stop:
        yield from undo.all()
        raise Stop(stop.failure) from None
    except (Exception, Cancelled):
        yield from undo.all()
        raise
    if isinstance(answer, Failure):
        yield from undo.all()
    return answer  # type: ignore[no-any-return]


@program
def retried(
    source: Effect[O, R],
    *,
    attempts: int = 3,
    first: float = 1.0,
    factor: float = 2.0,
    longest: float = LONGEST_PAUSE,
    on: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> Do[O | Sleep, R]:
    """The program, tried again where it raises: so many attempts, with pauses that grow.

    first, factor, longest: seconds of the first pause, by which each next one is longer, and at most.
    on: the exceptions after which it is tried again; the last one is raised.
    Each attempt is a step of its own, and so has a StepId of its own: ask for the key of an effect
    before, and give the same one to every attempt. Raises ValueError for numbers that make no sense.
    """
    if attempts < 1 or first < 0 or factor < 1 or longest < 0:
        raise ValueError(
            f"{attempts} attempts, first {first} s, factor {factor}, longest {longest} s: give at "
            "least one attempt, no less than 0 seconds, and a factor of 1 or more"
        )
    pause = first
    for left in range(attempts - 1, -1, -1):
        try:
            return (yield from source)
        except on:
            if not left:
                raise
        yield from Sleep(min(pause, longest))
        pause *= factor
    raise AssertionError("unreachable")

"""The same programs in threads, on a real store: what is recorded is judged as a simulated run is.

How they interleave is left to the machine, so nothing that is found can be run again; but what a store
really does is seen here, and the simulation is held against it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import attrs

from eventsrc._clock import monotonic
from eventsrc.programs import _loop
from eventsrc.programs._scope import Scope
from eventsrc.stores.prepare import new_append_id
from eventsrc.stores.tags import AnyAppend
from eventsrc.testing._scenarios.running import Raised, Step

DEADLINE: Final = 60.0
"""The seconds that the programs have for one run."""


@attrs.frozen
class RealRun:
    """A run of programs at the same time: their operations, and how they ended.

    spans: when each began and ended.
    """

    steps: list[Step]
    outcomes: dict[str, Any]
    spans: dict[str, tuple[float, float]]


def at_once(programs: Mapping[str, Any], scope: Scope) -> RealRun:
    """Runs programs at the same time, each in a thread of its own.

    Raises TimeoutError if they have not ended within a minute.
    """
    begin = threading.Barrier(len(programs))
    steps: list[Step] = []
    outcomes: dict[str, Any] = {}
    spans: dict[str, tuple[float, float]] = {}

    def run(name: str, program: Any) -> None:
        begin.wait(DEADLINE)
        began = time.perf_counter()
        try:
            outcomes[name] = recorded(name, program, scope, steps)
        except Exception as error:
            outcomes[name] = Raised(error)
        spans[name] = began, time.perf_counter()

    threads = [threading.Thread(target=run, args=its, daemon=True) for its in programs.items()]
    for thread in threads:
        thread.start()
    deadline = monotonic() + DEADLINE
    for name, thread in zip(programs, threads, strict=True):
        thread.join(max(0.0, deadline - monotonic()))
        if thread.is_alive():
            raise TimeoutError(f"{name} has not ended after {DEADLINE} seconds")
    return RealRun(sorted(steps, key=lambda step: step.ended), outcomes, spans)


def recorded(name: str, program: Any, scope: Scope, steps: list[Step]) -> Any:
    """Runs a program, and adds what it does to the steps.

    Appends get an id before they are made, so that what became of each can be told afterwards.
    """
    running = _loop.loop(program, scope, False)

    def answer(handler: Any, op: Any) -> tuple[bool, Any]:
        if isinstance(op, AnyAppend) and op.append_id is None:
            op = attrs.evolve(op, append_id=new_append_id())  # type: ignore[misc]
        step = Step(name, None, op, began=time.perf_counter())
        try:
            step.answer = handler(op)
        except Exception as error:
            step.error = error
        step.ended = time.perf_counter()
        steps.append(step)
        return (True, step.answer) if step.error is None else (False, step.error)

    try:
        handler, op = next(running)
        while True:
            if handler is _loop.ROUND:
                handler, op = running.send([answer(*request) for request in op])
            else:
                good, value = answer(handler, op)
                handler, op = running.send(value) if good else running.throw(value)
    except StopIteration as stop:
        return stop.value

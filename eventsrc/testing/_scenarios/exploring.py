"""Every schedule, and each only once as far as anybody can tell.

Two schedules that differ only in the order of independent steps are the same to all programs, so one of
them is enough. The search runs the programs again and again from the beginning, each time along another
path of a tree of choices; where two dependent steps could have come in the other order, it notes to try
that. (Abdulla, Aronis, Jonsson and Sagonas, Source sets: a foundation for optimal dynamic partial order
reduction, 2017: its source-DPOR, with sleep sets; happens-before is kept in bit sets.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from eventsrc.testing._scenarios.faults import Fault
from eventsrc.testing._scenarios.footprints import (
    CLOCK,
    EVERYTHING,
    NOTHING,
    Footprint,
    Reader,
    are_dependent,
)
from eventsrc.testing._scenarios.running import (
    Begin,
    Choice,
    End,
    NotAsBefore,
    Plan,
    Process,
    Replying,
    Running,
    Variant,
)

_REAL_TIME: Final = "real time"
_BEGIN: Final = Footprint(reads=frozenset([_REAL_TIME]))
_END: Final = Footprint(writes=frozenset([_REAL_TIME]))
_STALLED: Final = Footprint(writes=frozenset([CLOCK]))
_WRITES_ALL: Final = Footprint(writes=frozenset([EVERYTHING]))
_NO_OPERATIONS: Final = (Begin, End, Replying)
_NOT_DONE: Final = (Fault.REFUSED, Fault.DROPPED, Fault.LATE, Fault.CRASH, Fault.RESTART)


@attrs.define(eq=False)
class _Node:
    """A place on the path: what could be chosen there, what was, and what is yet to be tried.

    asleep: choices that need not be tried, with their footprints: what follows them was seen elsewhere.
    before: the numbers of the steps that happen before the one that is chosen, as bits.
    """

    open: dict[str, list[tuple[Variant, Footprint]]]
    ops: dict[str, Any]
    after: dict[str, tuple[int, ...]]
    asleep: dict[Choice, Footprint]
    todo: list[str]
    chosen: Choice = ("", None)
    footprint: Footprint = NOTHING
    before: int = 0

    def choose(self) -> bool:
        """Chooses what has not been tried and has to be, if anything."""
        for name in self.todo:
            for variant, footprint in self.open[name]:
                if (name, variant) not in self.asleep:
                    self.chosen = name, variant
                    self.footprint = footprint
                    return True
        return False

    def left_asleep(self) -> dict[Choice, Footprint]:
        """The processes that sleep on after the step that is chosen."""
        name = self.chosen[0]
        return {
            choice: footprint
            for choice, footprint in self.asleep.items()
            if choice[0] != name and not are_dependent(footprint, self.footprint)
        }


def every_schedule(plan: Plan, reader: Reader | None) -> Iterator[Running]:
    """Runs the programs in every way that matters; yields each run when it has ended.

    reader: finds what is independent; None to try every order of all steps.
    Raises NotAsBefore if the programs do not do the same again, FeedIsRead as the reader does.
    """
    path: list[_Node] = []
    while True:
        running = Running(plan)
        for node in path[:-1]:
            _repeat(running, node)
        if path:
            _repeat(running, path[-1])
            _note_races(path)
        is_new = True
        while running.processes:
            node = _arrive(running, path, reader)
            if not node.choose():
                is_new = False  # whatever comes from here has been seen
                break
            path.append(node)
            _note_races(path)
            running.step(*node.chosen)
        running.end()
        if is_new:
            yield running
        while path:
            node = path[-1]
            node.asleep[node.chosen] = node.footprint
            if node.choose():
                break
            path.pop()
        else:
            return


def _arrive(running: Running, path: list[_Node], reader: Reader | None) -> _Node:
    """The node for the next step; first the one who took the last step goes on, if possible."""
    processes = running.processes
    opened = {name: _ways(running, its, reader) for name, its in processes.items()}
    asleep = path[-1].left_asleep() if path else {}
    last = path[-1].chosen[0] if path else ""
    names = [last, *processes] if last in processes else processes
    first = [name for name in names if any((name, v) not in asleep for v, _ in opened[name])][:1]
    return _Node(
        opened,
        {name: its.op for name, its in processes.items()},
        {name: its.after for name, its in processes.items()},
        asleep,
        first,
    )


def _repeat(running: Running, node: _Node) -> None:
    """Takes a step that was taken in an earlier run."""
    name = node.chosen[0]
    process = running.processes.get(name)
    was = node.ops[name]
    if process is None or (process.op != was and type(was) not in _NO_OPERATIONS):
        now = "nothing" if process is None else repr(process.op)
        raise NotAsBefore(
            f"{name} performed {was!r} in one run, and {now} in another that was the same until then: "
            "a program takes time, ids and chance from operations (programs.world), and `on` makes "
            "a new interpreter for each run, which shares nothing with others"
        )
    running.step(*node.chosen)


def _note_races(path: list[_Node]) -> None:
    """Finds the earlier steps that could have come after the last one, and notes to try that."""
    last = path[-1]
    number = len(path) - 1
    name = last.chosen[0]
    known = 0
    for earlier in last.after[name]:
        known |= path[earlier].before | 1 << earlier
    races: list[int] = []
    for earlier in range(number - 1, -1, -1):
        if not known >> earlier & 1 and are_dependent(path[earlier].footprint, last.footprint):
            races.append(earlier)
            known |= path[earlier].before | 1 << earlier
    last.before = known
    for earlier in races:
        initials = _initials(path, earlier)
        todo = path[earlier].todo
        if not any(name in todo for name in initials):
            # One that waits for others could only have asked again what it had been told before.
            todo += [name for name in initials if name in path[earlier].open][:1]


def _initials(path: list[_Node], race: int) -> list[str]:
    """The processes that could have gone first in place of a step, towards the last without it."""
    seen: set[str] = set()
    found: list[str] = []
    others = 0
    for number in range(race + 1, len(path)):
        node = path[number]
        is_last = number == len(path) - 1
        if is_last or not node.before >> race & 1:
            name = node.chosen[0]
            if name not in seen and not node.before & others:
                found.append(name)
            seen.add(name)
            others |= 1 << number
    return found


def _ways(running: Running, process: Process, reader: Reader | None) -> list[tuple[Variant, Footprint]]:
    """The ways in which a process can take its step, each with what is read and written then."""
    whole = _footprint(process.op, reader)
    if reader is None:
        return [(variant, whole) for variant in running.variants(process)]
    ways = [(variant, _if_taken(whole, variant)) for variant in running.variants(process)]
    if process.is_branch and {Fault.CRASH, Fault.RESTART} & {*running.plan.faults}:
        # A crash in one branch takes from the others the steps that they have not taken.
        alive = {("alive", process.actor.name)}
        return [(variant, Footprint(its.reads, its.writes | alive)) for variant, its in ways]
    return ways


def _footprint(op: Any, reader: Reader | None) -> Footprint:
    """The footprint of a step if nothing goes wrong."""
    kind = type(op)
    if reader is None:
        return _WRITES_ALL
    if kind is Begin:
        return _BEGIN
    if kind is End:
        return _END
    if kind is Replying:
        return NOTHING
    return reader(op)


def _if_taken(footprint: Footprint, variant: Variant) -> Footprint:
    if variant is None:
        return footprint
    if type(variant) is float or variant in _NOT_DONE:
        return NOTHING
    if variant is Fault.STALLED:
        return _STALLED
    if variant is Fault.CONFLICT:
        return Footprint(footprint.reads | footprint.writes)
    return footprint

"""What programs and interpreters cost beside calling the same handlers directly.

The figures are nanoseconds for each operation, or whatever the row counts. Handlers do nothing, so that
nothing but the way to them is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import attrs

from benchmarks.places import Places
from benchmarks.rounds import Result, Sample, Work
from benchmarks.table import markdown, number, yes_or_no
from benchmarks.work import Part, scaled
from eventsrc import Do, Outcome, Query, Success, Try, for_each, gather, ok, on, program

_TIMES = 100_000
_TRIES = 3


class Get(Query[int]):
    """The operation that is performed."""

    key: str


class Check(Query[Outcome[int, str]]):
    """One that might fail."""


OP = Get("k")
CHECK = Check()
DONE: Outcome[int, str] = Success(1)


def handler(op: Get) -> int:
    """Answers an operation."""
    return 1


async def handler_async(op: Get) -> int:
    """Answers an operation in a task."""
    return 1


def check(op: Check) -> Outcome[int, str]:
    """Answers one that might fail."""
    return DONE


plain = on(Get).run(handler) | on(Check).run(check)
asynchronous = on(Get).run_async(handler_async)


# --- the direct ways ------------------------------------------------------------------------------


def calls(times: int) -> None:
    """The handler, called."""
    for _ in range(times):
        handler(OP)


def calls_of_new(times: int) -> None:
    """The handler, called with a new operation each time."""
    for _ in range(times):
        handler(Get("k"))


def calls_checked(times: int) -> None:
    """The handler, called, and its success looked into."""
    for _ in range(times):
        check(CHECK).unwrap()


def function() -> int:
    """A function that calls the handler."""
    return handler(OP)


def function_calls(times: int) -> None:
    """A function that calls the handler, called."""
    for _ in range(times):
        function()


def pairs_of_calls(times: int) -> None:
    """The handler, called twice."""
    for _ in range(times):
        (handler(OP), handler(OP))


def awaits(times: int) -> None:
    """The asynchronous handler, awaited."""

    async def run() -> None:
        for _ in range(times):
            await handler_async(OP)

    asyncio.run(run())


def awaits_gathered(times: int) -> None:
    """Two calls of the asynchronous handler, gathered."""

    async def run() -> None:
        for _ in range(times):
            await asyncio.gather(handler_async(OP), handler_async(OP))

    asyncio.run(run())


# --- the same as programs -------------------------------------------------------------------------


@program
def operations(times: int) -> Do[Get, None]:
    """Performs an operation, many times."""
    for _ in range(times):
        yield from OP


@program
def new_operations(times: int) -> Do[Get, None]:
    """Makes and performs an operation, many times."""
    for _ in range(times):
        yield from Get("k")


@program
def checked(times: int) -> Try[Check, None, str]:
    """Performs an operation that might fail, many times."""
    for _ in range(times):
        yield from ok(CHECK)
    return Success(None)


@program
def one() -> Do[Get, int]:
    """Performs one operation."""
    return (yield from OP)


@program
def subprograms(times: int) -> Do[Get, None]:
    """Calls a program of one operation, many times."""
    for _ in range(times):
        yield from one()


@program
def below(depth: int, times: int) -> Do[Get, None]:
    """Performs operations from deep inside programs."""
    if depth:
        yield from below(depth - 1, times)
    else:
        yield from operations(times)


@program
def subprograms_below(depth: int, times: int) -> Do[Get, None]:
    """Calls programs from deep inside programs."""
    if depth:
        yield from subprograms_below(depth - 1, times)
    else:
        yield from subprograms(times)


@program
def pairs(times: int) -> Do[Get, None]:
    """Gathers two operations, many times."""
    for _ in range(times):
        yield from gather(OP, OP)


@program
def hundreds(times: int) -> Do[Get, None]:
    """Gathers operations, a hundred at a time."""
    ops = [OP] * 100
    for _ in range(max(times // 100, 1)):
        yield from for_each(ops, lambda op: op)


def passing(op: Any) -> Do[Any, Any]:
    """Middleware that does nothing."""
    return (yield from op)


def runs(times: int) -> None:
    """Runs a program of one operation, many times."""
    for _ in range(times):
        plain.run(one())


# --- rows -----------------------------------------------------------------------------------------


@attrs.frozen
class Way:
    """One of the two ways to do a work."""

    name: str
    do: Callable[[int], object]


def _run(make: Callable[[int], Any]) -> Callable[[int], object]:
    return lambda times: plain.run(make(times))


def _run_async(make: Callable[[int], Any], interpreter: Any) -> Callable[[int], object]:
    return lambda times: asyncio.run(interpreter.run_async(make(times)))


_ROWS: Sequence[tuple[str, str, Callable[[int], object], Callable[[int], object], float | None]] = [
    ("operation", "an operation", calls, _run(operations), 200),
    ("new", "an operation, made each time", calls_of_new, _run(new_operations), 200),
    ("ok", "an operation that may fail, with `ok`", calls_checked, _run(checked), None),
    (
        "deep",
        "an operation, 100 programs deep",
        calls,
        _run(lambda times: below(100, times)),
        200,
    ),
    ("program", "a sub-program of one operation", function_calls, _run(subprograms), 1_200),
    (
        "deep-program",
        "a sub-program, 100 programs deep",
        function_calls,
        _run(lambda times: subprograms_below(100, times)),
        1_200,
    ),
    ("pair", "a gather of two operations", pairs_of_calls, _run(pairs), None),
    ("hundred", "an operation, gathered with 99 others", calls, _run(hundreds), None),
    (
        "middleware",
        "an operation, through one middleware",
        calls,
        lambda times: plain.around(passing).run(operations(times)),
        None,
    ),
    ("run", "a whole run of one operation", function_calls, runs, None),
    ("async", "run_async: an operation", awaits, _run_async(operations, asynchronous), None),
    (
        "async-plain",
        "run_async: an operation with a plain handler",
        calls,
        _run_async(operations, plain),
        200,
    ),
    ("async-program", "run_async: a sub-program", awaits, _run_async(subprograms, asynchronous), None),
    (
        "async-pair",
        "run_async: two gathered",
        awaits_gathered,
        _run_async(pairs, asynchronous),
        None,
    ),
]


def part() -> Part:
    """These works."""
    works = [
        Work(f"core/{key}", name, "ns", cost, (Way("direct", direct), Way("eventsrc", ours)))
        for key, name, direct, ours, _ in _ROWS
    ]
    budgets = {f"core/{key}": budget for key, _, _, _, budget in _ROWS}

    def table(results: Sequence[Result]) -> Iterator[str]:
        heads = ("ns for each", "direct", "eventsrc", "more", "budget", "met?")
        yield from markdown(heads, (_line(one, budgets[one.work.key]) for one in results))

    return Part("Programs beside direct calls", works, table)


def cost(way: Way, _: Places, scale: float) -> Sample:
    """The best of a few tries, since whatever else the machine does only adds."""
    times = scaled(_TIMES, scale, 100)
    best = float("inf")
    for _try in range(_TRIES):
        began = perf_counter()
        way.do(times)
        best = min(best, perf_counter() - began)
    return Sample(times, best)


def _line(result: Result, budget: float | None) -> tuple[str, ...]:
    more = result.difference("eventsrc", "direct")
    return (
        result.work.name,
        number(result.cost("direct")),
        number(result.cost("eventsrc")),
        number(more),
        "" if budget is None else f"≤ {number(budget)}",
        "" if budget is None else yes_or_no(more <= budget),
    )

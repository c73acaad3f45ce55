"""Integers under names: the smallest algebra that can show anything, and random programs over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from hypothesis import strategies as st

from eventsrc import (
    Command,
    Do,
    Effect,
    Failure,
    Interpreter,
    Operation,
    Outcome,
    Query,
    Success,
    Try,
    gather,
    ok,
    on,
    program,
    pure,
)


class Get(Query[int]):
    key: str


class Put(Command[None]):
    key: str
    value: int


class Check(Query[Outcome[int, str]]):
    """Succeeds for a number that is not negative."""

    value: int


Cells: TypeAlias = Get | Put | Check


class Dict(Interpreter[Cells]):
    """Cells in a dictionary; a missing one raises KeyError."""

    def __init__(self, **values: int) -> None:
        self.values = values
        self.log: list[Operation[Any]] = []

    @on(Get)
    def get(self, op: Get) -> int:
        self.log.append(op)
        return self.values[op.key]

    @on(Put)
    def put(self, op: Put) -> None:
        self.log.append(op)
        self.values[op.key] = op.value

    @on(Check)
    def check(self, op: Check) -> Outcome[int, str]:
        self.log.append(op)
        return Success(op.value) if op.value >= 0 else Failure(f"{op.value} is negative")


@program
def increase(key: str, by: int = 1) -> Do[Get | Put, int]:
    value = yield from Get(key)
    yield from Put(key, value + by)
    return value + by


def observed(effect: Effect[Cells, Any]) -> Any:
    """All that running a program shows: the result or exception, the operations, the state left."""
    cells = Dict(a=1, b=2)
    try:
        result: Any = cells.run(effect)
    except Exception as error:
        result = repr(error)
    return result, cells.log, cells.values


# --- random programs


@st.composite
def effects(draw: st.DrawFn, depth: int = 3) -> Effect[Cells, Any]:
    """Any program: operations, failures, exceptions, cleaning up, and combinations of them."""
    kind = draw(st.integers(0, 8 if depth else 3))
    if kind == 0:
        return pure(draw(st.integers(-2, 2)))
    if kind == 1:
        return Get(draw(st.sampled_from("abz")))  # z is missing
    if kind == 2:
        return Put(draw(st.sampled_from("ab")), draw(st.integers(0, 2)))
    if kind == 3:
        return Check(draw(st.integers(-1, 1)))
    first: Any = draw(effects(depth - 1))
    if kind == 4:
        bound: Effect[Cells, Any] = first.and_then(draw(functions(depth - 1)))
        return bound
    if kind == 5:
        return caught(first, draw(effects(depth - 1)))
    if kind == 6:
        return gather(first, draw(effects(depth - 1)))
    if kind == 7:
        return checked(first)
    return cleaned_up(first, draw(effects(depth - 1)))


def functions(depth: int) -> st.SearchStrategy[Callable[[Any], Effect[Cells, Any]]]:
    """Functions from results to programs: they choose between two by the result."""

    def choosing(pair: tuple[Any, Any]) -> Callable[[Any], Effect[Cells, Any]]:
        return lambda value: pair[len(repr(value)) % 2]

    return st.tuples(effects(depth), effects(depth)).map(choosing)


@program
def caught(source: Effect[Cells, Any], instead: Effect[Cells, Any]) -> Do[Cells, Any]:
    try:
        return (yield from source)
    except KeyError:
        return (yield from instead)


@program
def checked(source: Effect[Cells, Any]) -> Try[Cells, Any, str]:
    result = yield from source
    number = yield from ok(Check(len(repr(result)) - 4))
    return Success((result, number))


@program
def cleaned_up(source: Effect[Cells, Any], last: Effect[Cells, Any]) -> Do[Cells, Any]:
    try:
        return (yield from source)
    finally:
        yield from last

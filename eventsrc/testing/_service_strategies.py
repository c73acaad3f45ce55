"""Hypothesis strategies for services: their operations, histories of their streams, programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from returns.result import Failure, Success

from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Do, Program, program
from eventsrc.stores.operations import Append
from eventsrc.streams.stream import Stream
from eventsrc.testing._strategies import events, values

O = TypeVar("O")

MOST: Final = 6
"""The most operations of a program, and appends of a history, unless the caller says."""


def operations(*op_types: Callable[..., O]) -> SearchStrategy[O]:
    """Operations of these types, with values for their fields: by the fields' types.

    op_types: operation types. Where a field needs other values than its type says, use a strategy of
        your own beside this one: `operations(Rename) | st.builds(SetEmail, ids, st.emails())`.
    """
    return st.one_of([values(op_type) for op_type in op_types])


def histories(*streams: Stream[Any], most: int = MOST) -> SearchStrategy[tuple[Append, ...]]:
    """Histories of some streams: appends to them, in order, of events of their types.

    most: appends of one to three events each. To make it so, perform them one after the other:
        `in_turn(history, lambda append: append)`.
    """

    def to(stream: Stream[Any]) -> SearchStrategy[Append]:
        types = sorted(stream.events, key=lambda its: its.__qualname__)
        batch: SearchStrategy[Any] = st.lists(events(*types), min_size=1, max_size=3).map(tuple)
        return st.builds(Append, st.just(stream.id), batch)

    return st.lists(st.one_of([to(stream) for stream in streams]), max_size=most).map(tuple)


@attrs.frozen
class Wanted:
    """An operation to perform, in which some fields take what earlier answers brought.

    reused: for such a field, its type, and which of the values of that type to take: the last is 0.
    """

    op: Any
    reused: tuple[tuple[str, Any, int], ...] = ()


def programs(
    *op_types: type[Operation[Any]] | SearchStrategy[Any], reusing: Sequence[Any] = (), most: int = MOST
) -> SearchStrategy[Program[Any, list[Any]]]:
    """Programs that perform operations of a service one after the other, and answer their answers.

    op_types: types of operations, or strategies for operations.
    reusing: types, such as a NewType for ids, whose values in later operations may be those that
        earlier answers brought, as they are declared: an answer, a Success, or a field of one.
    most: operations in a program.
    """
    ops = st.one_of(
        [op_type if isinstance(op_type, SearchStrategy) else values(op_type) for op_type in op_types]
    )
    wanted = ops.flatmap(lambda op: _reusing(op, reusing))
    return (
        st.lists(wanted, min_size=1, max_size=most)
        .map(tuple)
        .map(lambda steps: performing(steps, tuple(reusing)))
    )


@program
def performing(steps: tuple[Wanted, ...], reusing: tuple[Any, ...] = ()) -> Do[Any, list[Any]]:
    """Performs operations one after the other; answers their answers."""
    seen: dict[Any, list[Any]] = {value_type: [] for value_type in reusing}
    answers: list[Any] = []
    for step in steps:
        op = step.op
        changed = {
            name: found[-1 - which % len(found)]
            for name, value_type, which in step.reused
            if (found := seen[value_type])
        }
        if changed:
            op = attrs.evolve(op, **changed)
        answer = yield from op
        answers.append(answer)
        for value_type, value in _brought(answer, _declared(type(op))):
            if value_type in seen:
                seen[value_type].append(value)
    return answers


def _reusing(op: Any, reusing: Sequence[Any]) -> SearchStrategy[Wanted]:
    """The operation with some of its fields left to earlier answers."""
    fields = [field for field in attrs.fields(type(op)) if field.type in reusing]
    which = st.none() | st.integers(0, 3)
    return st.tuples(*[which for _ in fields]).map(
        lambda chosen: Wanted(
            op,
            tuple(
                (field.name, field.type, place)
                for field, place in zip(fields, chosen, strict=True)
                if place is not None
            ),
        )
    )


def _declared(op_type: type) -> Any:
    """The type of an operation's answer."""
    for base in op_type.__mro__:
        for parent in getattr(base, "__orig_bases__", ()):
            origin = get_origin(parent)
            if isinstance(origin, type) and issubclass(origin, Operation):
                return get_args(parent)[0]
    return None


def _brought(answer: Any, value_type: Any) -> Iterator[tuple[Any, Any]]:
    """The values in an answer, each with the type that it is declared to have."""
    if isinstance(answer, Failure):
        return
    if isinstance(answer, Success):
        declared = [get_args(part)[0] for part in get_args(value_type) if get_origin(part) is Success]
        yield from _brought(answer.unwrap(), declared[0] if declared else None)
    elif attrs.has(type(answer)):
        attrs.resolve_types(type(answer))
        for field in attrs.fields(type(answer)):
            yield from _brought(getattr(answer, field.name), field.type)
    elif isinstance(answer, list | tuple | frozenset):
        inner = next((part for part in get_args(value_type) if part is not Ellipsis), None)
        for its in answer:
            yield from _brought(its, inner)
    elif value_type is not None:
        yield value_type, answer

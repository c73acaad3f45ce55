"""Declarations of operations in annotations and class bodies: read once, checked on import."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

from eventsrc.programs._scope import MissingHandlers, Scope
from eventsrc.programs.operation import Derived, Operation
from eventsrc.programs.program import Try

F = TypeVar("F", bound=Callable[..., Any])


def members_of(described: Any) -> tuple[type, ...]:
    """The classes that a class, or a union or alias of them, names; what is no class is left out."""
    if hasattr(described, "__value__"):  # an alias made by a `type` statement
        return members_of(described.__value__)
    origin = get_origin(described)
    if origin is Union or origin is types.UnionType:
        members = get_args(described)
        return tuple(dict.fromkeys(op_type for part in members for op_type in members_of(part)))
    op_type = described if origin is None else origin
    return (op_type,) if isinstance(op_type, type) and op_type is not Any else ()


def operations_of(described: Any) -> tuple[type, ...]:
    """The operation types that an operation type, a union of them, or a program function names.

    Of a program function it is the annotation that is read: what `Do[...]` or `Try[...]` lists.
    """
    body = getattr(described, "__wrapped__", None)
    if body is None:
        return members_of(described)
    answer = typing.get_type_hints(body)["return"]
    first = get_args(answer)[0]
    return members_of(first if get_origin(answer) is Try else get_args(first)[0])


def check_signature(function: Any, scope: Scope, where: str) -> None:
    """Raises MissingHandlers if a program function declares operations that the scope does not handle.

    What cannot be known from the annotation is left to the run: type variables, Any, local names, and
    a base class of operations for whose subclasses there are handlers.
    """
    try:
        op_types = operations_of(function)
    except Exception:  # an annotation that cannot be evaluated declares nothing to check
        op_types = ()
    missing = [
        op_type
        for op_type in missing_of(op_types, scope)
        if issubclass(op_type, Operation) and not any(issubclass(handled, op_type) for handled in scope)
    ]
    if missing:
        raise MissingHandlers(missing, where)


def missing_of(op_types: Iterable[type[Any]], scope: Scope) -> list[type[Any]]:
    """The operations without a handler in a scope; in place of derived ones, those that they mean."""
    missing: dict[type[Any], None] = {}
    for op_type in op_types:
        if not scope.handles(op_type):
            lower = missing_of(op_type.lower, scope) if issubclass(op_type, Derived) else [op_type]
            missing.update(dict.fromkeys(lower))
    return list(missing)


class Mark(NamedTuple):
    """That a method handles operations of a type, and how: see `On`."""

    op_type: type
    how: str


def mark(method: F, op_type: type, how: str) -> F:
    """Marks a method as a handler."""
    setattr(method, "__handles__", Mark(op_type, how))  # noqa: B010  (mypy knows no such attribute)
    return method


def marked(cls: type) -> dict[type, dict[str, str]]:
    """The operation types that a class's methods handle: for each way of handling, the name."""
    found: dict[type, dict[str, str]] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            note = getattr(member, "__handles__", None)
            if isinstance(note, Mark):
                found.setdefault(note.op_type, {})[note.how] = name
    return found


def declared(cls: type) -> Iterator[tuple[Any, ...]]:
    """The type arguments that a class gives to its interpreter or translation base."""
    for base in getattr(cls, "__orig_bases__", ()):
        if hasattr(get_origin(base), "__handler_class__"):
            yield get_args(base)


def check_declared(cls: type, handled: Iterable[type]) -> None:
    """Raises MissingHandlers unless a class declared to handle O has methods for all of O."""
    has = frozenset(handled)
    for described, *_ in declared(cls):
        missing = [
            op_type for op_type in operations_of(described) if not has.intersection(op_type.__mro__)
        ]
        if missing:
            remedy = f"write a method marked @on({missing[0].__name__}), or declare fewer operations"
            raise MissingHandlers(missing, cls.__qualname__, remedy)


def check_plain(cls: type, handled: Mapping[type, Mapping[str, str]]) -> None:
    """Raises TypeError for a handler that answers at once, and is written as a program or coroutine."""
    for op_type, ways in handled.items():
        name = ways.get("plain")
        if name is not None:
            way = f"@on({op_type.__name__})"
            remedies = f"{way}.program", f"{way}.coroutine"
            check_answering(getattr(cls, name), f"{cls.__qualname__}.{name}", way, *remedies)


def check_answering(function: Any, name: str, way: str, for_programs: str, for_coroutines: str) -> None:
    """Raises TypeError for a function that cannot answer at once, naming the way for one like it."""
    body = inspect.unwrap(function) if callable(function) else function
    if inspect.isgeneratorfunction(body):
        does, remedy = "yields", f"{for_programs} for one that is a program"
    elif inspect.iscoroutinefunction(body):
        does, remedy = "is a coroutine function", f"{for_coroutines} for one that is awaited"
    else:
        return
    raise TypeError(f"{name} {does}, and {way} is for a handler that answers at once: write {remedy}")


def check_programs(cls: type, handled: Mapping[type, Mapping[str, str]]) -> None:
    """Raises TypeError for a method of a translation that is not marked as a program."""
    for op_type, ways in handled.items():
        if "program" not in ways:
            (name,) = {*ways.values()}
            raise TypeError(
                f"{cls.__qualname__}.{name} is marked with @on({op_type.__name__}), and a translation "
                f"translates into programs: write @on({op_type.__name__}).program"
            )

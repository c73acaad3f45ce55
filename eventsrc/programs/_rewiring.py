"""An application's handlers with some of them replaced, however deep in it they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from eventsrc.programs._scope import Expands, Scope

Change: TypeAlias = Callable[[type, Any], Callable[[Any], Any] | None]
"""The handler to put in place of the one that a type of operation has; None to leave it."""


def rewired(scope: Scope, change: Change) -> Scope:
    """A scope, and all those that its translations run in, with handlers changed; it stays as it is."""
    return _rewired(scope, change, {})


def surrounded_like(scope: Scope, other: Scope, op_types: tuple[type, ...]) -> Scope:
    """A scope with the middleware that another has around some types of operations."""
    for around in other.arounds:
        its = tuple(op_type for op_type in op_types if issubclass(op_type, around.only))
        if its:
            scope = scope.surrounded(around.expands.function, its, around.using)
    return scope


def _rewired(scope: Scope, change: Change, done: dict[int, Scope]) -> Scope:
    made = done.get(id(scope))
    if made is None:
        made = done[id(scope)] = Scope(taking=scope.taking)
        if scope.rest is not None:
            made.rest = _expanding(scope.rest, change, done)
        for op_type, direct in scope.direct.items():
            made.direct[op_type] = change(op_type, direct) or direct
        for op_type, special in scope.special.items():
            changed = change(op_type, special)
            if changed is not None:
                made.direct[op_type] = changed
            elif isinstance(special, Expands):
                made.special[op_type] = _expanding(special, change, done)
            else:
                made.special[op_type] = special
    return made


def _expanding(handler: Expands, change: Change, done: dict[int, Scope]) -> Expands:
    if handler.scope is None:  # MEANING, too, which stays what it is
        return handler
    return Expands(handler.function, _rewired(handler.scope, change, done))

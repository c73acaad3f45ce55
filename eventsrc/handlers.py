"""Handlers as the run loop sees them: one for each type of operation, gathered in a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from eventsrc.errors import EventsrcError
from eventsrc.program import Body


class MissingHandlers(EventsrcError, TypeError):
    """An interpreter lacks handlers for some operations, which `missing` names."""

    def __init__(self, missing: Sequence[type], where: str) -> None:
        super().__init__(
            f"{where} has no handler for {names(missing)}: "
            "add one with `on`, or join (`|`) an interpreter that has one"
        )
        self.missing = tuple(missing)


class AmbiguousHandlers(EventsrcError, TypeError):
    """Two interpreters that are being joined both handle some operations."""


def names(kinds: Iterable[type]) -> str:
    """The names of types, sorted, for a message."""
    return ", ".join(sorted(kind.__qualname__ for kind in kinds))


class Awaits:
    """An asynchronous handler; `many` answers several operations at once; `plain` serves `run`."""

    __slots__ = ("function", "many", "plain")

    def __init__(
        self,
        function: Callable[[Any], Awaitable[Any]],
        many: Callable[[Any], Awaitable[Any]] | None = None,
        plain: Callable[[Any], Any] | None = None,
    ) -> None:
        self.function = function
        self.many = many
        self.plain = plain

    def __call__(self, op: Any) -> Any:
        if self.plain is None:
            raise TypeError(f"{op!r} has an asynchronous handler only: use run_async")
        return self.plain(op)


class Batches:
    """A handler that can answer several operations of its type at once."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self.function = function

    def __call__(self, op: Any) -> Any:
        (answer,) = self.function([op])
        return answer


class Expands:
    """A handler that is a program, with the scope it runs in (None: the one that it is found in)."""

    __slots__ = ("function", "scope")

    def __init__(self, function: Callable[[Any], Body[Any, Any]], scope: Scope | None) -> None:
        self.function = function
        self.scope = scope


class Scope:
    """The handlers in force. Direct ones, by far the most used, have a dictionary of their own."""

    __slots__ = ("accepted", "direct", "rest", "special")

    def __init__(
        self,
        direct: dict[type, Callable[[Any], Any]] | None = None,
        special: dict[type, Awaits | Expands] | None = None,
        rest: Expands | None = None,
    ) -> None:
        self.direct = {} if direct is None else direct
        self.special = {} if special is None else special
        self.rest = rest
        self.accepted: set[Any] = set()
        """The program functions all of whose declared operations are known to have handlers."""

    def __iter__(self) -> Iterator[type]:
        yield from self.direct
        yield from self.special

    def find(self, kind: type) -> bool:
        """Gives a type without a handler that of its nearest base class which has one, if any."""
        for base in kind.__mro__[1:]:
            if base in self.direct:
                self.direct[kind] = self.direct[base]
                return True
            if base in self.special:
                self.special[kind] = self.special[base]
                return True
        if self.rest is not None:
            self.special[kind] = self.rest
        return self.rest is not None

    def handles(self, kind: type) -> bool:
        """Whether an operation of this type would find a handler."""
        return self.rest is not None or any(
            base in self.direct or base in self.special for base in kind.__mro__
        )

    def overlaid(self, other: Scope) -> Scope:
        """These handlers, with the other's added and put in place of those for the same types."""
        hidden = set(other)
        return Scope(
            {k: handler for k, handler in self.direct.items() if k not in hidden} | other.direct,
            {k: handler for k, handler in self.special.items() if k not in hidden} | other.special,
            other.rest or self.rest,
        )


OPEN = Scope()
"""The scope without handlers, in which every operation is left to the driver (see machine.py)."""

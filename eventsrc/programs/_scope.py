"""Handlers as the run loop sees them: one for each type of operation, gathered in a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from eventsrc._errors import EventsrcError
from eventsrc.programs.operation import Derived
from eventsrc.programs.program import Body


class MissingHandlers(EventsrcError, TypeError):
    """An interpreter lacks handlers for some operations, which `missing` names."""

    def __init__(self, missing: Sequence[type], where: str, remedy: str = "") -> None:
        remedy = remedy or "add one with `on`, or join (`|`) an interpreter that has one"
        super().__init__(f"{where} has no handler for {names(missing)}: {remedy}")
        self.missing = tuple(missing)


class AmbiguousHandlers(EventsrcError, TypeError):
    """Two interpreters that are being joined both handle some operations."""


def names(op_types: Iterable[type]) -> str:
    """The names of types, sorted, for a message."""
    return ", ".join(sorted(op_type.__qualname__ for op_type in op_types))


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


def _meaning(op: Derived[Any]) -> Body[Any, Any]:
    return op.meaning()


MEANING: Final = Expands(_meaning, None)
"""The way to perform a derived operation that nobody handles."""


class Scope:
    """The handlers in force. Direct ones, by far the most used, have a dictionary of their own.

    rest: handles every operation without another handler, but of derived ones only those in `taking`;
        of the others it gets what they mean.
    only, below: if `only` is given, `rest` gets operations of these types alone. The others are handled
        as in the scope below; where that is by a program, `rest` gets what the program performs.
    """

    __slots__ = ("accepted", "below", "direct", "only", "rest", "special", "taking")

    def __init__(
        self,
        direct: dict[type, Callable[[Any], Any]] | None = None,
        special: dict[type, Awaits | Expands] | None = None,
        rest: Expands | None = None,
        taking: tuple[type, ...] = (),
        only: tuple[type, ...] | None = None,
        below: Scope | None = None,
    ) -> None:
        self.direct = {} if direct is None else direct
        self.special = {} if special is None else special
        self.rest = rest
        self.taking = taking
        self.only = only
        self.below = below
        self.accepted: set[Any] = set()
        """The program functions all of whose declared operations are known to have handlers."""

    def __iter__(self) -> Iterator[type]:
        yield from self.direct
        yield from (op_type for op_type, handler in self.special.items() if handler is not MEANING)

    @staticmethod
    def intercepting(
        handler: Callable[[Any], Body[Any, Any]],
        below: Scope,
        taking: tuple[type, ...],
        only: tuple[type, ...] | None,
    ) -> Scope:
        """The scope of a program whose operations get their meaning from a handler: see `intercept`."""
        return Scope(rest=Expands(handler, below), taking=taking, only=only, below=below)

    def find(self, op_type: type) -> bool:
        """Gives a type without a handler that of its nearest base class which has one, if any."""
        if self.only is not None and not issubclass(op_type, self.only):
            return self._find_below(op_type)
        for base in op_type.__mro__[1:]:
            if base in self.direct:
                self.direct[op_type] = self.direct[base]
                return True
            if base in self.special:
                self.special[op_type] = self.special[base]
                return True
        if issubclass(op_type, Derived) and not (self.rest and issubclass(op_type, self.taking)):
            self.special[op_type] = MEANING
        elif self.rest is not None:
            self.special[op_type] = self.rest
        else:
            return False
        return True

    def _find_below(self, op_type: type) -> bool:
        """As `find`, for a type that `rest` does not want."""
        below = self.below
        assert below is not None
        assert self.rest is not None
        if not (op_type in below.direct or op_type in below.special or below.find(op_type)):
            return False
        if op_type in below.direct:
            self.direct[op_type] = below.direct[op_type]
            return True
        handler = below.special[op_type]
        if type(handler) is Expands and handler.scope is not None:
            within = Scope.intercepting(self.rest.function, handler.scope, self.taking, self.only)
            handler = Expands(handler.function, within)
        self.special[op_type] = handler
        return True

    def handles(self, op_type: type) -> bool:
        """Whether an operation of this type could be performed."""
        if self.rest is not None or any(
            base in self.direct or self.special.get(base, MEANING) is not MEANING
            for base in op_type.__mro__
        ):
            return True
        return issubclass(op_type, Derived) and all(map(self.handles, op_type.lower))

    def overlaid(self, other: Scope) -> Scope:
        """These handlers, with the other's added and put in place of those for the same types."""
        theirs = set(other)
        direct = {op_type: its for op_type, its in self.direct.items() if op_type not in theirs}
        special = {op_type: its for op_type, its in self.special.items() if op_type not in theirs}
        special = {
            op_type: its for op_type, its in (special | other.special).items() if its is not MEANING
        }
        rest, taking = other.rest or self.rest, other.taking + self.taking
        return Scope(direct | other.direct, special, rest, taking)


OPEN = Scope()
"""The scope without handlers, in which every operation is left to the driver (see _loop.py)."""

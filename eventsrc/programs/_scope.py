"""Handlers as the run loop sees them: one for each type of operation, gathered in a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from eventsrc._errors import EventsrcError
from eventsrc.programs.operation import Derived, Operation
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


class Around:
    """Middleware around the operations of some types that a scope performs."""

    __slots__ = ("expands", "named", "only", "using")

    def __init__(self, only: tuple[type, ...], expands: Expands, using: Scope | None) -> None:
        self.only = only
        self.expands = expands
        self.using = using
        self.named = tuple(op_type for op_type in only if issubclass(op_type, Derived))
        """The derived operations that are surrounded as they are, and not only what they mean."""

    def covers(self, op_type: type, base: type, handler: Any) -> bool:
        """Whether it is around a type that is performed by the handler of a base class."""
        inner = self.expands.scope
        assert inner is not None
        return (
            issubclass(op_type, self.only)
            and not issubclass(base, self.only)
            and inner.handler(base) is handler
        )


class Scope:
    """The handlers in force. Direct ones, by far the most used, have a dictionary of their own.

    rest: handles every operation without another handler, but of derived ones only those in `taking`;
        of the others it gets what they mean.
    only, below: if `only` is given, `rest` gets operations of these types alone. The others are handled
        as in the scope below; where that is by a program, `rest` gets what the program performs.
    in_turn: whether the branches of a gather run one after the other.
    arounds: the middleware that has been put around, the outermost last.
    observe: makes an observer for each run, if anybody watches: see `eventsrc.programs.trace.observed`.
    """

    __slots__ = (
        "accepted",
        "arounds",
        "below",
        "direct",
        "in_turn",
        "observe",
        "only",
        "rest",
        "special",
        "taking",
    )

    def __init__(
        self,
        direct: dict[type, Callable[[Any], Any]] | None = None,
        special: dict[type, Awaits | Expands] | None = None,
        rest: Expands | None = None,
        taking: tuple[type, ...] = (),
        only: tuple[type, ...] | None = None,
        below: Scope | None = None,
        in_turn: bool = False,
    ) -> None:
        self.direct = {} if direct is None else direct
        self.special = {} if special is None else special
        self.rest = rest
        self.taking = taking
        self.only = only
        self.below = below
        self.in_turn = in_turn
        self.arounds: tuple[Around, ...] = ()
        self.observe: Callable[[], Any] | None = None
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
        in_turn: bool,
    ) -> Scope:
        """The scope of a program whose operations get their meaning from a handler: see `intercept`."""
        rest = Expands(handler, below)
        return Scope(rest=rest, taking=taking, only=only, below=below, in_turn=in_turn)

    def find(self, op_type: type) -> bool:
        """Gives a type without a handler that of its nearest base class which has one, if any."""
        if self.only is not None and not issubclass(op_type, self.only):
            return self._find_below(op_type)
        for base in op_type.__mro__[1:]:
            handler = self.handler(base)
            if handler is None:
                continue
            for around in reversed(self.arounds):
                if handler is not MEANING and around.covers(op_type, base, handler):
                    self.special[op_type] = around.expands
                    return True
            if base in self.direct:
                self.direct[op_type] = handler
            else:
                self.special[op_type] = handler
            return True
        if issubclass(op_type, Derived) and not (self.rest and issubclass(op_type, self.taking)):
            named = (each.expands for each in reversed(self.arounds) if issubclass(op_type, each.named))
            self.special[op_type] = next(named, MEANING)
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
            within = Scope.intercepting(
                self.rest.function, handler.scope, self.taking, self.only, self.in_turn
            )
            handler = Expands(handler.function, within)
        self.special[op_type] = handler
        return True

    def handler(self, op_type: type) -> Any:
        """The handler of just this type, if there is one."""
        return self.direct.get(op_type) or self.special.get(op_type)

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
        made = Scope(direct | other.direct, special, rest, taking)
        made.arounds = self.arounds + other.arounds
        made.observe = self.observe or other.observe
        return made

    def surrounded(
        self,
        middleware: Callable[[Any], Body[Any, Any]],
        only: tuple[type, ...],
        using: Scope | None = None,
    ) -> Scope:
        """These handlers, with middleware around the operations of some types.

        using: performs what else the middleware asks for.
        Derived operations that mean some of those are not left out: the middleware is around what they
        mean. Raises MissingHandlers if none of the types could be performed.
        """
        inner = self if using is None else using.overlaid(self)
        around = Around(only, Expands(middleware, inner), using)
        special: dict[type, Awaits | Expands] = {}
        meant: list[type] = []
        for op_type in self:
            handler = self.handler(op_type)
            if issubclass(op_type, only):
                special[op_type] = around.expands
            elif not _means(op_type, only):
                continue
            elif type(handler) is not Expands:
                meant.append(op_type)
            elif handler.scope is not None and handler.scope.performs(only):
                within = handler.scope.surrounded(middleware, only, using)
                special[op_type] = Expands(handler.function, within)
        if not self.performs(only):
            raise MissingHandlers(only, "what is to be surrounded", "name operations that it performs")
        made = self.overlaid(Scope(special=special))
        made.arounds = *self.arounds, around
        for op_type in meant:  # found anew as what they mean
            made.direct.pop(op_type, None)
            made.special.pop(op_type, None)
        return made

    def performs(self, only: tuple[type, ...]) -> bool:
        """Whether an operation of some types could be performed; a class that is none may mark some."""
        return any(
            kind is Derived
            or not issubclass(kind, Operation)
            or self.handles(kind)
            or any(issubclass(op_type, kind) for op_type in self)
            for kind in only
        )


def _means(op_type: type, only: tuple[type, ...]) -> bool:
    """Whether an operation is derived from some of these types."""
    return issubclass(op_type, Derived) and any(
        issubclass(lower, only) or _means(lower, only) for lower in op_type.lower
    )


OPEN = Scope()
"""The scope without handlers, in which every operation is left to the driver (see _loop.py)."""

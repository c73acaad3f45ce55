"""Interpreters: what each type of operation means.

An interpreter of O gives a meaning to every operation of O. The handler of an operation is one of

* a function of the operation that returns its answer: `on(Save).run(...)`;
* an asynchronous function: `on(Save).run_async(...)`;
* a function of several such operations at once, for batching: `on(UserByName).batch(...)`;
* a program over lower operations, `on(Save).expand(...)`, which gives a Translation: a layer.

Interpreters of different operations are joined with `|`, and a translation with the interpreter of the
operations that it uses by `into`. Both are also classes, whose methods are the handlers:

    class Users(Interpreter[UserByName]):
        @on(UserByName)
        def by_name(self, op: UserByName) -> User | None: ...

    app = UserCommands().into(store) | Users()
    app.run(add_user("homer"))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, cast, overload

from eventsrc.programs import _loop
from eventsrc.programs._declared import (
    check_answering,
    check_declared,
    check_plain,
    check_programs,
    check_signature,
    declared,
    mark,
    marked,
    missing_of,
    operations_of,
)
from eventsrc.programs._scope import (
    AmbiguousHandlers,
    Awaits,
    Batches,
    Expands,
    MissingHandlers,
    Scope,
    names,
)
from eventsrc.programs._variance import Below, Handles, SyncHandles, Translates
from eventsrc.programs._variance import Wrappable as Wrappable
from eventsrc.programs.operation import Derived, Operation
from eventsrc.programs.program import Body, Call, Effect, Intercept, Map, Program, name_of

K = TypeVar("K")
L = TypeVar("L")
L2 = TypeVar("L2")
O = TypeVar("O")
O2 = TypeVar("O2")
O3 = TypeVar("O3")
R = TypeVar("R")
S = TypeVar("S")

MOST_ACCEPTED: Final = 1000
"""The most program functions of which an interpreter remembers that it can run them."""

O_co = TypeVar("O_co", covariant=True)
O_contra = TypeVar("O_contra", contravariant=True)
L_co = TypeVar("L_co", covariant=True)


# --- interpreters ---------------------------------------------------------------------------------


class AsyncInterpreter(Handles[O_contra, O_contra]):
    """An interpreter of O that may need an event loop: some handlers may be asynchronous only."""

    __handler_class__ = True
    _marked: ClassVar[dict[type, dict[str, str]]] = {}
    """The operations that its methods handle: see `marked`."""
    _scope: Scope

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._marked = marked(cls)
        check_declared(cls, cls._marked)
        check_plain(cls, cls._marked)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "_scope", _scope_of_methods(self))  # it may be a frozen attrs class
        return self

    @property
    def handled(self) -> frozenset[type]:
        """The types of operation that have a handler."""
        return frozenset(self._scope)

    def require(self, *operations: Any) -> Self:
        """This interpreter; raises MissingHandlers unless it handles all of these operations.

        operations: operation types, unions of them, or program functions (whose annotation is read).
        """
        op_types = [op_type for item in operations for op_type in operations_of(item)]
        missing = missing_of(op_types, self._scope)
        if missing:
            raise MissingHandlers(missing, type(self).__qualname__)
        return self

    def __or__(self, other: Handles[O2, O3]) -> AsyncInterpreter[O_contra | O2 | O3]:
        """The interpreter of the operations of both; raises AmbiguousHandlers if they share any."""
        return _made_async(self._joined(other))

    def __ror__(self, other: Handles[O2, O3]) -> AsyncInterpreter[O_contra | O2 | O3]:
        return _made_async(self._joined(other))

    def but(self, other: Handles[O2, O3]) -> AsyncInterpreter[O_contra | O2 | O3]:
        """As `|`, with the other's handlers for the operations of both."""
        return _made_async(self._scope.overlaid(scope_of(other)))

    def around(
        self,
        middleware: Callable[[Any], Body[Any, Any]],
        *,
        only: type | tuple[type, ...] = Operation,
        using: AsyncInterpreter[Any] | None = None,
    ) -> AsyncInterpreter[O_contra]:
        """This interpreter with a program run around each operation, or each of some types.

        middleware: makes a program of an operation; its result is the answer, and where it performs
            the operation, this interpreter does.
        only: the types to surround, with their subclasses: operations, base classes such as Query, or
            classes of one's own that mark operations. Of a derived operation, such as Load, what it
            means is surrounded, unless it is named itself. Raises MissingHandlers if none of them could
            be performed.
        using: answers what else the middleware performs.
        """
        return _made_async(self._surrounded(middleware, only, using))

    def _rescoped(self, scope: Scope) -> AsyncInterpreter[O_contra]:
        return _made_async(scope)

    def _below(self, upper: Translates[O2, O2, O_contra]) -> AsyncInterpreter[O2]:
        return _made_async(_over(upper, self))

    async def run_async(self, program: Effect[O_contra, R]) -> R:
        """Interprets a program, awaiting the asynchronous handlers.

        Answers the program's result, or raises the exception that ended it. Raises MissingHandlers
        before anything is performed if the program's annotation names an operation with no handler.
        """
        scope = self._scope
        if scope.observe is None:  # as in `Interpreter.run`
            asked: Any = program
            op = asked.source if type(asked) is Map else asked
            if (handler := scope.direct.get(type(op))) is not None:
                answer = handler(op)
                return answer if op is asked else asked.function(answer)  # type: ignore[no-any-return]
            if type(special := scope.special.get(type(op))) is Awaits:
                answer = await special.function(op)
                return answer if op is asked else asked.function(answer)  # type: ignore[no-any-return]
        self._check(program)
        return await _loop.run_async(program, scope)

    def _check(self, program: Any) -> None:
        if type(program) is Call and program.function not in self._scope.accepted:
            check_signature(program.function, self._scope, type(self).__qualname__)
            if len(self._scope.accepted) >= MOST_ACCEPTED:  # functions that are made for each request
                self._scope.accepted.clear()
            self._scope.accepted.add(program.function)

    def _joined(self, other: Handles[Any, Any]) -> Scope:
        both = set(self._scope).intersection(scope_of(other))
        if both:
            raise AmbiguousHandlers(
                f"both handle {names(both)}: write `a.but(b)` to prefer b's handlers"
            )
        return self._scope.overlaid(scope_of(other))

    def _surrounded(
        self,
        middleware: Callable[[Any], Body[Any, Any]],
        only: type | tuple[type, ...],
        using: AsyncInterpreter[Any] | None,
    ) -> Scope:
        types = only if isinstance(only, tuple) else (only,)
        return self._scope.surrounded(middleware, types, None if using is None else using._scope)


class Interpreter(SyncHandles[O_contra, O_contra], AsyncInterpreter[O_contra]):
    """An interpreter of O that runs programs with and without an event loop.

    A subclass may give an operation two methods, `@on(Save)` (or `@on(Save).batched`) and
    `@on(Save).coroutine`: then `run` takes the first and `run_async` the second.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for op_type, ways in cls._marked.items():
            if ways.keys() == {"coroutine"}:
                raise TypeError(
                    f"{cls.__qualname__} handles {op_type.__qualname__} asynchronously only: "
                    "add a plain method, or make it an AsyncInterpreter"
                )

    def run(self, program: Effect[O_contra, R]) -> R:
        """Interprets a program.

        Answers the program's result, or raises the exception that ended it. Raises MissingHandlers
        before anything is performed if the program's annotation names an operation with no handler.
        """
        scope = self._scope
        if scope.observe is None:  # a single operation, perhaps with its answer mapped, needs no loop
            asked: Any = program
            op = asked.source if type(asked) is Map else asked
            handler = scope.direct.get(type(op))
            if handler is None and type(special := scope.special.get(type(op))) is Awaits:
                handler = special.plain
            if handler is not None:
                answer = handler(op)
                return answer if op is asked else asked.function(answer)  # type: ignore[no-any-return]
        self._check(program)
        return _loop.run(program, scope)

    # These take fewer arguments than the inherited ones: were they overloaded to take all, mypy would
    # give up as Any a call with an Any among its types. `a | b` with an asynchronous b is b's __ror__.

    def __or__(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: SyncHandles[O2, O3]
    ) -> Interpreter[O_contra | O2 | O3]:
        return _made(self._joined(other)) if isinstance(other, Interpreter) else NotImplemented

    def __ror__(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: SyncHandles[O2, O3]
    ) -> Interpreter[O_contra | O2 | O3]:
        return _made(self._joined(other))  # for type checkers: Python tries __or__, which succeeds

    def but(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: SyncHandles[O2, O3]
    ) -> Interpreter[O_contra | O2 | O3]:
        """As `|`, with the other's handlers for the operations of both."""
        scope = self._scope.overlaid(scope_of(other))
        return _made(scope) if isinstance(other, Interpreter) else _made_async(scope)  # type: ignore[return-value]  # pyright: ignore

    @overload
    def around(
        self,
        middleware: Callable[[Any], Body[Any, Any]],
        *,
        only: type | tuple[type, ...] = Operation,
        using: Interpreter[Any] | None = None,
    ) -> Interpreter[O_contra]: ...
    @overload
    def around(
        self,
        middleware: Callable[[Any], Body[Any, Any]],
        *,
        only: type | tuple[type, ...] = Operation,
        using: AsyncInterpreter[Any] | None = None,
    ) -> AsyncInterpreter[O_contra]: ...
    def around(
        self,
        middleware: Callable[[Any], Body[Any, Any]],
        *,
        only: type | tuple[type, ...] = Operation,
        using: AsyncInterpreter[Any] | None = None,
    ) -> AsyncInterpreter[O_contra]:
        """This interpreter with a program run around each operation: see AsyncInterpreter.around."""
        scope = self._surrounded(middleware, only, using)
        return _made(scope) if using is None or isinstance(using, Interpreter) else _made_async(scope)

    def _rescoped(self, scope: Scope) -> Interpreter[O_contra]:
        return _made(scope)

    def _below(self, upper: Translates[O2, O2, O_contra]) -> Interpreter[O2]:
        return _made(_over(upper, self))


# --- translations ---------------------------------------------------------------------------------


class Translation(Translates[O_contra, O_contra, L_co]):
    """Meanings of the operations of O as programs over the operations of L: a layer."""

    __handler_class__ = True
    _programs: dict[type, Callable[[Any], Body[Any, Any]]]
    _needs: tuple[Any, ...]
    """The operations that it is declared to use, which the interpreter below must handle."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_declared(cls, marked(cls))
        check_programs(cls, marked(cls))

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        methods = {op_type: ways["program"] for op_type, ways in marked(cls).items()}
        programs = {op_type: getattr(self, name) for op_type, name in methods.items()}
        object.__setattr__(self, "_programs", programs)
        object.__setattr__(self, "_needs", tuple(lower for _, lower in declared(cls)))
        return self

    def __or__(self, other: Translates[O2, O3, L2]) -> Translation[O_contra | O2 | O3, L_co | L2]:
        """The translation of the operations of both; raises AmbiguousHandlers if they share any."""
        assert isinstance(other, Translation)
        both = self._programs.keys() & other._programs.keys()
        if both:
            raise AmbiguousHandlers(f"both translate {names(both)}: keep one of them")
        needs = tuple(dict.fromkeys(self._needs + other._needs))
        return _made_translation(self._programs | other._programs, needs)

    def into(self, lower: Below[L_co, O_contra, K]) -> K:
        """The interpreter that runs each operation's program in a lower interpreter.

        It is an Interpreter of O if the lower one is, else an AsyncInterpreter of O.
        Raises MissingHandlers if the lower one lacks operations that this is declared to use.
        """
        return lower._below(self)  # pyright: ignore[reportPrivateUsage]

    def lower(self, program: Effect[O_contra, R]) -> Program[L_co, R]:
        """The program with each operation replaced by its translation: a value still, now over L."""
        taking = tuple(op_type for op_type in self._programs if issubclass(op_type, Derived))
        return Intercept(program, self._translate, taking)

    def _translate(self, op: Operation[Any]) -> Body[Any, Any]:
        for base in type(op).__mro__:
            if base in self._programs:
                return self._programs[base](op)
        return op


# --- handlers -------------------------------------------------------------------------------------


class On(Generic[O_co]):
    """The ways to handle one type of operation: see `on`.

    The methods take `self` as an `On[Operation[R]]`: that is what makes R, the operation's declared
    answer, known to a type checker beside the operation's own type.
    """

    __slots__ = ("op_type",)

    def __init__(self, op_type: type) -> None:
        self.op_type = op_type

    # Functions, each making an interpreter or translation of one operation:

    def run(self: On[Operation[R]], function: Callable[[O_co], R]) -> Interpreter[O_co]:
        """The interpreter that answers the operation with the function's result.

        Raises TypeError for a function that yields or is awaited.
        """
        of = f"on({self.op_type.__name__})"
        ways = f"{of}.run", f"{of}.expand", f"{of}.run_async"
        check_answering(function, name_of(function), *ways)
        return _made(Scope({self.op_type: function}))

    def run_async(
        self: On[Operation[R]], function: Callable[[O_co], Awaitable[R]]
    ) -> AsyncInterpreter[O_co]:
        """The interpreter that answers the operation with what the function's coroutine returns."""
        return _made_async(Scope(special={self.op_type: Awaits(function)}))

    def either(
        self: On[Operation[R]],
        function: Callable[[O_co], R],
        coroutine: Callable[[O_co], Awaitable[R]],
    ) -> Interpreter[O_co]:
        """The interpreter that answers by the function in `run`, by the coroutine in `run_async`."""
        return _made(Scope(special={self.op_type: Awaits(coroutine, plain=function)}))

    def batch(
        self: On[Operation[R]], function: Callable[[Sequence[O_co]], Sequence[R]]
    ) -> Interpreter[O_co]:
        """The interpreter that can answer several such operations at once, in their order."""
        return _made(Scope({self.op_type: Batches(function)}))

    def batch_async(
        self: On[Operation[R]], function: Callable[[Sequence[O_co]], Awaitable[Sequence[R]]]
    ) -> AsyncInterpreter[O_co]:
        """As `batch`, asynchronously."""

        return _made_async(Scope(special={self.op_type: Awaits(_one_of(function), function)}))

    def always(self: On[Operation[R]], answer: R) -> Interpreter[O_co]:
        """The interpreter that always gives this answer."""
        return _made(Scope({self.op_type: lambda _op: answer}))

    def expand(self: On[Operation[R]], function: Callable[[O_co], Body[L, R]]) -> Translation[O_co, L]:
        """The translation of the operation into a program over lower operations."""
        return _made_translation({self.op_type: function})

    # Decorators of methods, in the body of an interpreter or translation class:

    def __call__(self: On[Operation[R]], method: Callable[[S, O_co], R]) -> Callable[[S, O_co], R]:
        """Marks a method as the operation's handler."""
        return mark(method, self.op_type, "plain")

    def coroutine(
        self: On[Operation[R]], method: Callable[[S, O_co], Awaitable[R]]
    ) -> Callable[[S, O_co], Awaitable[R]]:
        """Marks an asynchronous method as the operation's handler (in `run_async`)."""
        return mark(method, self.op_type, "coroutine")

    def batched(
        self: On[Operation[R]], method: Callable[[S, Sequence[O_co]], Sequence[R]]
    ) -> Callable[[S, Sequence[O_co]], Sequence[R]]:
        """Marks a method that answers several such operations at once as their handler."""
        return mark(method, self.op_type, "batched")

    def batched_coroutine(
        self: On[Operation[R]], method: Callable[[S, Sequence[O_co]], Awaitable[Sequence[R]]]
    ) -> Callable[[S, Sequence[O_co]], Awaitable[Sequence[R]]]:
        """Marks an asynchronous method that answers several at once (in `run_async`)."""
        return mark(method, self.op_type, "batched_coroutine")

    def program(
        self: On[Operation[R]], method: Callable[[S, O_co], Body[L, R]]
    ) -> Callable[[S, O_co], Body[L, R]]:
        """Marks a method that returns a program as the operation's handler."""
        return mark(method, self.op_type, "program")


def on(op_type: Callable[..., O]) -> On[O]:
    """`on(Save)`: the ways to handle operations of type Save."""
    return On(cast("type[O]", op_type))


# --- for libraries that run programs in their own way, or wrap interpreters -------------------------


def scope_of(app: Handles[Any, Any]) -> Scope:
    """The handlers of an interpreter, as the run loop takes them (`eventsrc.programs._loop`)."""
    assert isinstance(app, AsyncInterpreter)
    return app._scope  # pyright: ignore[reportPrivateUsage]


def scope_for(app: Handles[Any, Any], program: Effect[Any, Any]) -> Scope:
    """As scope_of; raises MissingHandlers, as `run` does, if the program's annotation asks for more."""
    assert isinstance(app, AsyncInterpreter)
    app._check(program)  # pyright: ignore[reportPrivateUsage]
    return app._scope  # pyright: ignore[reportPrivateUsage]


def rescoped(app: Wrappable[K], scope: Scope) -> K:
    """An interpreter with other handlers, which are to handle the same operations."""
    return app._rescoped(scope)  # pyright: ignore[reportPrivateUsage]


# --- making them of scopes ------------------------------------------------------------------------


def _scope_of_methods(interpreter: AsyncInterpreter[Any]) -> Scope:
    scope = Scope()
    for op_type, ways in interpreter._marked.items():  # pyright: ignore[reportPrivateUsage]
        methods = {how: getattr(interpreter, name) for how, name in ways.items()}
        plain = Batches(methods["batched"]) if "batched" in methods else methods.get("plain")
        if "program" in methods:
            scope.special[op_type] = Expands(methods["program"], None)
        elif "batched_coroutine" in methods:
            many = methods["batched_coroutine"]
            scope.special[op_type] = Awaits(_one_of(many), many, plain)
        elif "coroutine" in methods:
            scope.special[op_type] = Awaits(methods["coroutine"], plain=plain)
        elif plain is not None:
            scope.direct[op_type] = plain
    return scope


def _one_of(many: Callable[[Sequence[Any]], Awaitable[Sequence[R]]]) -> Callable[[Any], Awaitable[R]]:
    """The handler of one operation that a handler of several is."""

    async def one(op: Any) -> R:
        (answer,) = await many([op])
        return answer

    return one


def _over(upper: Translates[Any, Any, Any], lower: AsyncInterpreter[Any]) -> Scope:
    assert isinstance(upper, Translation)
    lower.require(*upper._needs)  # pyright: ignore[reportPrivateUsage]
    programs = upper._programs  # pyright: ignore[reportPrivateUsage]
    inner = scope_of(lower)
    made = Scope(special={kind: Expands(program, inner) for kind, program in programs.items()})
    made.observe = inner.observe
    return made


def _made(scope: Scope) -> Interpreter[Any]:
    made: Interpreter[Any] = Interpreter()
    made._scope = scope  # pyright: ignore[reportPrivateUsage]
    return made


def _made_async(scope: Scope) -> AsyncInterpreter[Any]:
    made: AsyncInterpreter[Any] = AsyncInterpreter()
    made._scope = scope  # pyright: ignore[reportPrivateUsage]
    return made


def _made_translation(
    programs: dict[type, Callable[[Any], Body[Any, Any]]], needs: tuple[Any, ...] = ()
) -> Translation[Any, Any]:
    made: Translation[Any, Any] = Translation()
    made._programs = programs  # pyright: ignore[reportPrivateUsage]
    made._needs = needs  # pyright: ignore[reportPrivateUsage]
    return made

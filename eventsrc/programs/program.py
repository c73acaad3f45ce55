"""Programs: what a service does, as a value.

A program says which operations to perform and what to make of their answers. It is written as a
generator function under `@program`; calling that function runs nothing, it makes a `Program`, which
holds the function and its arguments. So a program can be run any number of times, compared, printed
and pickled, and nothing happens until an interpreter runs it:

    @program
    def rename(user: UserId, name: str) -> Try[App, NameTaken, UserId]:
        if (yield from UserByName(name)) is not None:      # typed: User | None
            return Failure(NameTaken(name))
        yield from ok(SetName(user, name))                 # a Failure ends `rename` with that Failure
        return Success(user)

The types tell which operations a program may perform, which failures it may end with, and its result:

    Do[App, int]              the body of a program over the operations of App, returning an int
    Try[App, NameTaken, int]  the same, and it may end early with a NameTaken
    Program[App, int]         what calling a function decorated with @program makes of the first

(This is a free monad over the operations, in Freer's form: see docs/explanation/programs.md.)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Generator, Iterable
from types import FunctionType
from typing import (
    Any,
    Final,
    Generic,
    Never,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

import attrs
from returns.result import Failure, Success
from typing_extensions import TypeAliasType

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
O = TypeVar("O")
O1 = TypeVar("O1")
O2 = TypeVar("O2")
O3 = TypeVar("O3")
O4 = TypeVar("O4")
P = ParamSpec("P")
R = TypeVar("R")
O_co = TypeVar("O_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


# --- types ----------------------------------------------------------------------------------------


class Step(Generic[O_co, E_co]):
    """Phantom type of what a program's body yields: an operation of O, or an end with a failure of E.

    No Step is ever made. A body yields the operation or program itself and the run loop answers it;
    the phantom gives type checkers two covariant slots to hold each `yield from` against.
    """


Do: TypeAlias = Generator[Step[O, Never], Any, R]
"""The body of a program that performs operations of O and returns an R."""

Outcome: TypeAlias = Success[R] | Failure[E]
"""`returns`' Result as a closed union, so that a `match` over it can be checked for completeness."""

Try = TypeAliasType("Try", Generator[Step[O, E], Any, Success[R] | Failure[E]], type_params=(O, R, E))
"""The body of a program that performs operations of O and ends in Success of R or Failure of E."""


class Effect(Protocol[O_co, R_co]):
    """Anything that `yield from` performs: an operation, a program, or a program's body."""

    def __iter__(self) -> Do[O_co, R_co]: ...


class Body(Protocol[O_co, R_co]):
    """As Effect, but it may also end with a failure; its result then is a Success or a Failure."""

    def __iter__(self) -> Generator[Step[O_co, Any], Any, R_co]: ...


# --- programs and their nodes ---------------------------------------------------------------------


class Program(Generic[O_co, R_co]):
    """A value that, interpreted, performs operations of O and returns an R."""

    __slots__ = ()

    def __iter__(self) -> Do[O_co, R_co]:
        # It is the program itself that is yielded: the run loop starts it on a stack of its own and
        # sends its result back here. So nesting costs nothing per operation and never overflows.
        return (yield self)  # type: ignore[misc,no-any-return]  # pyright: ignore

    def __bool__(self) -> NoReturn:
        unperformed(self)

    def map(self, function: Callable[[R_co], B]) -> Program[O_co, B]:
        """This program, with its result passed through a function."""
        return Map(self, function)

    def and_then(self, function: Callable[[R_co], Effect[O2, B]]) -> Program[O_co | O2, B]:
        """This program, then the one that the function makes of its result."""
        return Bind(self, function)

    def then(self, following: Effect[O2, B]) -> Program[O_co | O2, B]:
        """This program, then another, whose result is the result."""
        return Bind(self, functools.partial(ignoring, following))


class Call(Program[O_co, R_co]):
    """A program function with its arguments: what calling the function makes."""

    __slots__ = ("args", "body", "function", "kwargs")
    __match_args__ = ("function", "args", "kwargs")

    function: Callable[..., Program[O_co, R_co]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    body: Callable[..., Any]

    def __eq__(self, other: object) -> bool:
        if type(other) is not Call:
            return NotImplemented
        mine = self.function, self.args, self.kwargs
        return mine == (other.function, other.args, other.kwargs)  # pyright: ignore

    def __hash__(self) -> int:
        return hash((self.function, self.args, tuple(sorted(self.kwargs.items()))))

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(self.function, *self.args, **self.kwargs), ()

    def __repr__(self) -> str:
        args = self.args[1:] if _is_method_of(self.function, self.args) else self.args
        parts = [_shown(arg) for arg in args] + [f"{k}={_shown(v)}" for k, v in self.kwargs.items()]
        return f"{name_of(self.function)}({', '.join(parts)})"


@attrs.frozen
class Pure(Program[Never, R_co]):
    """A program that performs nothing and returns a value."""

    value: R_co


@attrs.frozen
class Map(Program[O_co, R_co]):
    """A program with its result passed through a function."""

    source: Effect[O_co, Any]
    function: Callable[[Any], R_co]

    def __repr__(self) -> str:
        return f"{self.source!r}.map({name_of(self.function)})"


@attrs.frozen
class Bind(Program[O_co, R_co]):
    """A program followed by the one that a function makes of its result."""

    source: Effect[O_co, Any]
    function: Callable[[Any], Effect[O_co, R_co]]

    def __repr__(self) -> str:
        function: Any = self.function
        if getattr(function, "func", None) is ignoring:
            return f"{self.source!r}.then({function.args[0]!r})"
        return f"{self.source!r}.and_then({name_of(function)})"


@attrs.frozen
class Gather(Program[O_co, R_co]):
    """Independent programs: an interpreter may batch their operations or perform them at once."""

    branches: tuple[Effect[O_co, Any], ...]
    collect: Callable[[list[Any]], R_co] = attrs.field(repr=False)


@attrs.frozen
class Intercept(Program[O_co, R_co]):
    """A program in which every operation is replaced by what `handler` makes of it."""

    source: Effect[Any, R_co]
    handler: Callable[[Any], Body[O_co, Any]]
    taking: tuple[type, ...] = ()
    only: tuple[type, ...] | None = None
    in_turn: bool = False

    def __repr__(self) -> str:
        return f"intercept({self.source!r}, {name_of(self.handler)})"


# --- making programs ------------------------------------------------------------------------------

_blank: Final = object.__new__


@overload
def program(body: Callable[P, Body[O, R]], /) -> Callable[P, Program[O, R]]: ...
@overload
def program(*, name: str) -> Callable[[Callable[P, Body[O, R]]], Callable[P, Program[O, R]]]: ...
def program(body: Any = None, /, *, name: str | None = None) -> Any:
    """Makes a function that returns a Program of a generator function (or of one returning a program).

    Annotate the body `-> Do[Operations, Result]`, or `-> Try[Operations, Result, Failures]` if it may
    end with a failure. The body must be deterministic given the answers: time, ids and randomness are
    operations (`eventsrc.programs.world`).
    name: of the program in recordings, in place of the function's own; letters, digits and `._-`.
        Raises ValueError for another one.
    """
    if body is None:
        return functools.partial(_program, name)
    return _program(name, body)


def _program(name: str | None, body: Callable[..., Any]) -> Callable[..., Program[Any, Any]]:
    @functools.wraps(body)
    def make(*args: Any, **kwargs: Any) -> Program[Any, Any]:
        # Every sub-program comes by here: an `__init__` would add a third to what making it costs.
        made: Call[Any, Any] = _blank(Call)
        made.function = make
        made.args = args
        made.kwargs = kwargs
        made.body = body
        return made

    make.__program__ = True  # type: ignore[attr-defined]
    if name is not None:
        make.__stable_name__ = stable_name(name)  # type: ignore[attr-defined]
    return make


def pure(value: R) -> Program[Never, R]:
    """A program that performs nothing and returns the value."""
    return Pure(value)


def intercept(
    source: Effect[O, R],
    handler: Callable[[Any], Body[O2, Any]],
    *,
    taking: tuple[type, ...] = (),
    only: tuple[type, ...] | None = None,
    in_turn: bool = False,
) -> Program[O2, R]:
    """The program with each of its operations replaced by what `handler(operation)` does.

    taking: derived operations, such as Load, that the handler wants as they are. Of others it gets
        those that they mean.
    only: the types of the operations that are replaced, all if None. The others are performed as ever;
        where the interpreter has a program for one (a translation), those in that program are replaced
        too.
    in_turn: whether branches of `gather` run one after the other, so that their operations come to the
        handler in an order that does not depend on who is answered first.
    """
    return Intercept(source, handler, taking, only, in_turn)


@overload
def gather(a: Effect[O1, A], b: Effect[O2, B], /) -> Program[O1 | O2, tuple[A, B]]: ...
@overload
def gather(
    a: Effect[O1, A], b: Effect[O2, B], c: Effect[O3, C], /
) -> Program[O1 | O2 | O3, tuple[A, B, C]]: ...
@overload
def gather(
    a: Effect[O1, A], b: Effect[O2, B], c: Effect[O3, C], d: Effect[O4, D], /
) -> Program[O1 | O2 | O3 | O4, tuple[A, B, C, D]]: ...
def gather(*branches: Effect[Any, Any]) -> Program[Any, Any]:
    """Two to four programs that do not depend on each other, as one returning the tuple of results.

    The branches advance in rounds: each runs to its next operation, then all of these are performed
    together. A batch handler gets all operations of its type at once, asynchronous handlers are
    awaited at once. If a branch raises, its round is finished, the other branches are closed, and the
    first exception in the order of the branches is raised. For lists, see `gather_all`, `for_each`.
    """
    return Gather(branches, tuple)


def gather_all(branches: Iterable[Effect[O, R]]) -> Program[O, list[R]]:
    """Programs that do not depend on each other, as one returning the list of their results."""
    return Gather(tuple(branches), list)


@program
def in_turn(items: Iterable[A], function: Callable[[A], Effect[O, R]]) -> Do[O, list[R]]:
    """The programs that the function makes of the items, one after the other.

    For those that depend on what the others did, such as decisions about one stream: side by side, only
    one of them would succeed in each round.
    """
    results: list[R] = []
    for item in items:
        results.append((yield from function(item)))  # noqa: PERF401  (a comprehension cannot yield)
    return results


def for_each(items: Iterable[A], function: Callable[[A], Effect[O, R]]) -> Program[O, list[R]]:
    """The programs that the function makes of the items, independent of each other: see `gather`."""
    return Gather(tuple(map(function, items)), list)


# --- shared with operations -----------------------------------------------------------------------


def unperformed(effect: object) -> NoReturn:
    """Raises TypeError: an operation or program was used as if it were its own answer."""
    raise TypeError(
        f"{effect!r} has no truth value: it has not been performed. Write `yield from` before it."
    )


def following(source: Any, effect: Effect[O, R]) -> Program[O, R]:
    """`source`, then `effect`."""
    return Bind(source, functools.partial(ignoring, effect))


def ignoring(effect: Effect[O, R], _result: object) -> Effect[O, R]:
    """The effect, whatever the result before it."""
    return effect


_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,126}")


def stable_name(name: str) -> str:
    """A name that a program or operation has in recordings. Raises ValueError for a bad one."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be a name in recordings: use letters, digits and ._- (at most 127), "
            "beginning with a letter"
        )
    return name


def name_of(function: Any) -> str:
    """A function's name as its reader knows it: without the functions that it is local to."""
    return str(getattr(function, "__qualname__", repr(function))).rpartition("<locals>.")[2]


def _shown(value: Any) -> str:
    return name_of(value) if isinstance(value, FunctionType) else repr(value)


def _is_method_of(function: Any, args: tuple[Any, ...]) -> bool:
    owner = str(function.__qualname__).rpartition(".")[0]
    return bool(args) and any(owner == base.__qualname__ for base in type(args[0]).__mro__)

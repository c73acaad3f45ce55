"""Failures that the domain expects, as values.

A program declared `Try[Operations, Result, Failures]` ends in `Success(result)` or `Failure(why)`, the
two of `returns`. `ok` takes the value out of a Success and ends the program at a Failure. Bugs and
broken infrastructure are exceptions: they pass through a program, whose `try` and `finally` work, and
`attempt` turns those of given types into Failures.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, Never, TypeVar, overload

from returns.result import Failure, Result, Success

from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Do, Effect, Program, Step, program

E = TypeVar("E")
O = TypeVar("O")
R = TypeVar("R")
X = TypeVar("X", bound=Exception)

_EFFECTS: Final = (Operation, Program)


class Stop(BaseException):
    """Raised by `ok` in a program's body; the run loop makes its failure that program's result.

    A BaseException, so that `except Exception` in the body lets it pass; `finally` and `with` see it.
    """

    def __init__(self, failure: Failure[Any]) -> None:
        super().__init__(failure)
        self.failure = failure


@overload
def ok(result: Success[R] | Failure[E], /) -> Generator[Step[Never, E], Any, R]: ...
@overload
def ok(result: Result[R, E], /) -> Generator[Step[Never, E], Any, R]: ...
@overload
def ok(result: Effect[O, Success[R] | Failure[E]], /) -> Generator[Step[O, E], Any, R]: ...
@overload
def ok(result: Effect[O, Result[R, E]], /) -> Generator[Step[O, E], Any, R]: ...
def ok(given: Result[Any, Any] | Effect[Any, Any], /) -> Generator[Step[Any, Any], Any, Any]:
    """`value = yield from ok(...)`: the value of a Success; a Failure ends this program with it.

    Takes a result, or an operation or program giving one. (Rust's `?`.)
    """
    # What the run loop knows is yielded to it, without a generator of its own in between. A type is
    # compared where that will do: `isinstance` is slow for the classes of `returns`, abstract ones.
    result: Any
    if isinstance(given, _EFFECTS):
        result = yield given  # type: ignore[misc]
    elif isinstance(given, Result):
        result = given
    else:
        result = yield from given
    if type(result) is Failure:
        raise Stop(result)
    return result.unwrap()


@program
def attempt(source: Effect[O, R], *errors: type[X]) -> Do[O, Success[R] | Failure[X]]:
    """The program with the exceptions of these types caught and returned as Failures."""
    try:
        return Success((yield from source))
    except errors as error:
        return Failure(error)

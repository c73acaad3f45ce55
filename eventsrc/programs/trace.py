"""Seeing what runs do: the tree of programs and operations, with answers and times.

`trace` runs one program and shows its tree; `observed` has each run of an application tell an observer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, Final, Generic, TypeVar, cast

import attrs
from returns.result import Failure, Success

from eventsrc.programs import _loop
from eventsrc.programs._loop import Observer
from eventsrc.programs._scope import Scope
from eventsrc.programs.interpreter import AsyncInterpreter, Interpreter, Wrappable, rescoped, scope_of
from eventsrc.programs.operation import Operation
from eventsrc.programs.program import Effect

WIDTH: Final = 72
"""The most characters of an operation, and of an answer, that a printed trace shows."""

__all__ = ["Observer", "Span", "Trace", "observed", "trace", "trace_async"]

K = TypeVar("K")
O = TypeVar("O")
R = TypeVar("R")


@attrs.define
class Span:
    """A program or an operation in a run, with its answer, its duration and what it did in turn."""

    what: Any
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    children: list[Span] = attrs.field(factory=lambda: list[Span]())

    def lines(self, timed: bool, lead: str = "", more: str = "") -> Iterator[str]:
        """The tree as text; an operation that a middleware passed on unchanged is shown once."""
        if len(self.children) == 1 and self.children[0].what == self.what:
            yield from self.children[0].lines(timed, lead, more)
            return
        answer = repr(self.value) if self.error is None else f"raises {self.error!r}"
        time = f"  [{self.seconds * 1000:.3f} ms]" if timed else ""
        yield f"{lead}{_cut(repr(self.what))} -> {_cut(answer)}{time}"
        for child in self.children:
            last = child is self.children[-1]
            branch, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
            yield from child.lines(timed, more + branch, more + below)


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


class _Recorder:
    """Builds the spans as the run loop tells of them."""

    def __init__(self, span: Span) -> None:
        self.path = [span]
        self.starts = [perf_counter()]
        self.last = self.starts[0]

    def enter(self, node: Any) -> None:
        span = Span(node)
        self.path[-1].children.append(span)
        self.path.append(span)
        self.last = perf_counter()
        self.starts.append(self.last)

    def leave(self, value: Any, error: BaseException | None) -> None:
        self.last = perf_counter()
        span = self.path.pop()
        span.value, span.error, span.seconds = value, error, self.last - self.starts.pop()

    def performed(self, op: Any, value: Any, error: BaseException | None) -> None:
        since, self.last = self.last, perf_counter()
        self.path[-1].children.append(Span(op, value, error, self.last - since))

    def branch(self) -> _Recorder:
        return _Recorder(self.path[-1])


@attrs.frozen
class Trace(Generic[R]):
    """A run, operation by operation, and its end; printed: the tree, with durations by `timed()`."""

    root: Span
    outcome: Success[R] | Failure[Exception]

    def operations(self) -> tuple[Operation[Any], ...]:
        """The operations that a handler answered itself, in the order performed: the round trips."""

        def leaves(span: Span) -> Iterator[Operation[Any]]:
            if isinstance(span.what, Operation) and not span.children:
                yield span.what  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            for child in span.children:
                yield from leaves(child)

        return tuple(leaves(self.root))

    def timed(self) -> str:
        """The tree, each line with its duration in milliseconds."""
        return self._text(timed=True)

    def __str__(self) -> str:
        return self._text(timed=False)

    def _text(self, *, timed: bool) -> str:
        return "\n".join(line for child in self.root.children for line in child.lines(timed))


def trace(interpreter: Interpreter[O], program: Effect[O, R]) -> Trace[R]:
    """Runs a program and records what it did; an exception that ends it becomes the outcome."""
    root = Span("")
    scope = scope_of(interpreter)
    try:
        return Trace(root, Success(_loop.run(program, scope, _Recorder(root))))
    except Exception as error:
        return Trace(root, Failure(error))


async def trace_async(interpreter: AsyncInterpreter[O], program: Effect[O, R]) -> Trace[R]:
    """As `trace`, with `run_async`."""
    root = Span("")
    scope = scope_of(interpreter)
    try:
        return Trace(root, Success(await _loop.run_async(program, scope, _Recorder(root))))
    except Exception as error:
        return Trace(root, Failure(error))


def observed(app: Wrappable[K], observe: Callable[[], Observer | None]) -> K:
    """The application, each run of which tells an observer of its own what it does as it does it.

    observe: makes the observer as a run begins, or None for a run that nobody watches. If the
        application is observed already, this one is told, and the other is not.
    """
    scope = Scope().overlaid(scope_of(cast("AsyncInterpreter[Any]", app)))
    scope.observe = observe
    return rescoped(app, scope)

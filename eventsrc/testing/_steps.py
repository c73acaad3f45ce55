"""Expected steps: the operations that a program should ask for, and their answers.

    steps = Steps(
        step(UserByName("homer"), answers=None),
        together(step(Head(a), answers=1), step(Head(b), answers=2)),
        step(Notify("homer"), raises=TimeoutError()),
    )
    assert steps.run(register("homer")) == Failure(NotNotified())

It is an interpreter like others, so that a service's programs can be tested at any of its layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar, overload

import attrs

from eventsrc.programs._scope import Expands, Scope
from eventsrc.programs.interpreter import Interpreter
from eventsrc.programs.operation import Derived, Operation
from eventsrc.programs.program import Body, Effect, pure
from eventsrc.testing._differences import differences
from eventsrc.testing._scenarios.story import cut, shown

R = TypeVar("R")


@attrs.frozen
class ExpectedStep:
    """An operation that should be performed, and what it is answered or raises."""

    op: Operation[Any]
    answers: Any = None
    raises: Exception | None = None


@attrs.frozen
class Together:
    """Steps that may come in any order."""

    steps: tuple[ExpectedStep, ...]


@overload
def step(op: Operation[R], *, answers: R) -> ExpectedStep: ...
@overload
def step(op: Operation[Any], *, raises: Exception) -> ExpectedStep: ...
def step(op: Operation[Any], *, answers: Any = None, raises: Exception | None = None) -> ExpectedStep:
    """The program should perform this operation, and is answered this, or this is raised."""
    return ExpectedStep(op, answers, raises)


def together(*steps: ExpectedStep) -> Together:
    """The program should take these steps next, in any order, as the branches of a `gather` do."""
    return Together(steps)


class Steps(Interpreter[Any]):
    """An interpreter that expects these operations in this order, and gives these answers.

    It answers one run. Raises AssertionError, with what was done until then, for an operation that is
    not the expected one, and at the end of `run` if some were not performed.
    """

    def __init__(self, *steps: ExpectedStep | Together) -> None:
        self._rest = [(its,) if isinstance(its, ExpectedStep) else its.steps for its in steps]
        self._done: list[str] = []
        self._wrong: AssertionError | None = None
        derived = {type(one.op) for some in self._rest for one in some if isinstance(one.op, Derived)}
        self._scope = Scope(rest=Expands(self._perform, None), taking=tuple(derived))

    def run(self, program: Effect[Any, R]) -> R:
        """Interprets a program, which must take all the steps."""
        with self._to_the_end():
            return super().run(program)

    async def run_async(self, program: Effect[Any, R]) -> R:
        """As `run`, in an event loop."""
        with self._to_the_end():
            return await super().run_async(program)

    def check(self) -> Self:
        """This, if all steps were taken. Raises AssertionError if not, or if a wrong one was."""
        if self._wrong is not None:
            raise self._wrong
        if self._rest:
            missing = [f"    {cut(shown(one.op))}" for some in self._rest for one in some]
            raise self._failure("the program ended, and these steps are missing:", missing)
        return self

    @contextmanager
    def _to_the_end(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            if self._wrong is not None:
                raise self._wrong from None
            raise
        self.check()

    def _perform(self, op: Operation[Any]) -> Body[Any, Any]:
        """Answers an operation. What is wrong is kept, in case that the program catches it."""
        if self._wrong is not None:
            raise self._wrong
        if not self._rest:
            self._wrong = self._failure(
                f"the program performs {cut(shown(op))}, and should have ended", []
            )
            raise self._wrong
        expected = self._rest[0]
        found = next((one for one in expected if one.op == op), None)
        if found is None:
            self._wrong = self._failure("the program performs", _told(op, expected))
            raise self._wrong
        rest = list(expected)
        rest.remove(found)
        self._rest[:1] = [tuple(rest)] if rest else []
        answer = f"raises {found.raises!r}" if found.raises is not None else shown(found.answers)
        self._done.append(f"    {cut(shown(op))} -> {cut(answer)}")
        if found.raises is not None:
            raise found.raises
        return pure(found.answers)

    def _failure(self, what: str, lines: list[str]) -> AssertionError:
        before = ["after", *self._done] if self._done else ["at its beginning"]
        return AssertionError("\n".join([what, *lines, *before]))


def _told(op: Operation[Any], expected: tuple[ExpectedStep, ...]) -> list[str]:
    """The operation that was performed, beside the expected one."""
    one, *others = expected
    if others:
        wanted = [f"    {cut(shown(its.op))}" for its in expected]
        return [f"    {shown(op)}", "and one of these was expected:", *wanted]
    lines = [f"    {shown(op)}", "and this was expected:", f"    {shown(one.op)}"]
    if type(one.op) is type(op):
        lines += ["which differ in", *(f"    {line}" for line in differences(one.op, op))]
    return lines

"""A program is expected to take steps, and what is said if it takes others."""

from __future__ import annotations

import asyncio

import pytest

from eventsrc import Do, Failure, Head, Outcome, StreamId, Success, Try, gather, program
from eventsrc.events.positions import Token
from eventsrc.programs.operation import Command, Query
from eventsrc.streams.fold import Folded, Load
from eventsrc.testing import Steps, step, together
from tests.kits.shops import HOMER, accounts, balance, balance_of

A, B = StreamId("a"), StreamId("b")


class Named(Query[str | None]):
    """Who has a name."""

    name: str


class Save(Command[Outcome[int, str]]):
    """Keeps a user."""

    name: str
    tags: tuple[str, ...] = ()


@program
def register(name: str) -> Try[Named | Save, int, str]:
    if (yield from Named(name)) is not None:
        return Failure("taken")
    return (yield from Save(name, ("new",)))


def test_a_program_that_takes_the_steps_gets_their_answers() -> None:
    steps = Steps(step(Named("homer"), answers=None), step(Save("homer", ("new",)), answers=Success(7)))
    assert steps.run(register("homer")) == Success(7)
    taken = Steps(step(Named("homer"), answers="1"))
    assert asyncio.run(taken.run_async(register("homer"))) == Failure("taken")


def test_what_a_step_raises_the_program_gets() -> None:
    @program
    def patient() -> Do[Named, str]:
        try:
            yield from Named("homer")
        except TimeoutError:
            return "late"
        return "in time"

    assert Steps(step(Named("homer"), raises=TimeoutError())).run(patient()) == "late"


def test_steps_of_branches_may_come_in_any_order() -> None:
    steps = Steps(together(step(Head(B), answers=2), step(Head(A), answers=1)))
    assert steps.run(gather(Head(A), Head(B))) == (1, 2)


def test_another_operation_is_told_with_the_fields_that_differ() -> None:
    steps = Steps(step(Named("homer"), answers=None), step(Save("homer", ("old",)), answers=Success(7)))
    with pytest.raises(AssertionError) as raised:
        steps.run(register("homer"))
    assert str(raised.value).splitlines() == [
        "the program performs",
        "    Save(name='homer', tags=('new',))",
        "and this was expected:",
        "    Save(name='homer', tags=('old',))",
        "which differ in",
        "    tags[0]: 'old' was expected, and it is 'new'",
        "after",
        "    Named(name='homer') -> None",
    ]


def test_an_operation_of_another_type_is_told() -> None:
    with pytest.raises(AssertionError, match=r"(?s)Named\(name='homer'\).*Save\(.*at its beginning"):
        Steps(step(Save("homer"), answers=Success(1))).run(register("homer"))
    with pytest.raises(AssertionError, match="and one of these was expected"):
        Steps(together(step(Head(A), answers=1), step(Head(B), answers=2))).run(register("homer"))


def test_steps_that_are_missing_at_the_end_are_told() -> None:
    steps = Steps(step(Named("homer"), answers="1"), step(Head(A), answers=1))
    with pytest.raises(
        AssertionError, match=r"(?s)these steps are missing:.*Head\(stream='a'\).*after"
    ):
        steps.run(register("homer"))


def test_an_operation_after_the_last_step_is_told() -> None:
    with pytest.raises(AssertionError, match="and should have ended"):
        Steps(step(Named("homer"), answers=None)).run(register("homer"))


def test_a_program_that_catches_everything_does_not_hide_it() -> None:
    @program
    def careless() -> Do[Named, str]:
        try:
            yield from Named("bart")
        except Exception:
            return "something is wrong"
        return "all is well"

    with pytest.raises(AssertionError, match="'homer' was expected, and it is 'bart'"):
        Steps(step(Named("homer"), answers=None)).run(careless())


def test_what_a_program_raises_itself_comes_out() -> None:
    @program
    def fails() -> Do[Named, None]:
        yield from Named("homer")
        raise LookupError("no")

    with pytest.raises(LookupError):
        Steps(step(Named("homer"), answers=None)).run(fails())


def test_a_derived_operation_may_be_a_step_and_is_what_it_means_if_not() -> None:
    loaded = Folded(7, 3, Token("here", {accounts[HOMER].id: 3}))
    steps = Steps(step(Load(accounts[HOMER].id, balance), answers=loaded))
    assert steps.run(balance_of(HOMER)) == 7
    with pytest.raises(AssertionError, match="Read"):
        Steps(step(Head(A), answers=3)).run(balance_of(HOMER))


def test_steps_serve_below_an_interpreter() -> None:
    steps = Steps(step(Named("homer"), answers=None), step(Save("homer", ("new",)), answers=Success(7)))
    lower = steps.around(lambda op: op)
    assert lower.run(register("homer")) == Success(7)
    steps.check()

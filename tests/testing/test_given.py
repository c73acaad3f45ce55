"""Given events, when a program runs, then there are these: and what is said if there are not."""

from __future__ import annotations

from typing import Any

import pytest

from eventsrc import Do, Failure, Interpreter, Success, on, program
from eventsrc.errors import NotStorable
from eventsrc.programs.operation import Query
from eventsrc.programs.world import NewId, Now, World
from eventsrc.stores.operations import StoreOp
from eventsrc.streams.decide import DecideOp
from eventsrc.testing import Given, NotGiven
from eventsrc.testing._contract.samples import AnyValue
from tests.kits.shops import (
    HOMER,
    MARGE,
    Deposited,
    TooLittle,
    Withdrawn,
    accounts,
    balance,
    withdraw,
)


def test_what_was_appended_and_answered_is_as_expected() -> None:
    then = Given({accounts[HOMER]: [Deposited(100)]}).when(withdraw(HOMER, 60))
    then.then({accounts[HOMER]: [Withdrawn(60)]}, answer=Success(None))
    assert then.answer == Success(None)


def test_a_refusal_appends_nothing() -> None:
    Given({accounts[HOMER]: [Deposited(10)]}).when(withdraw(HOMER, 60)).then(
        answer=Failure(TooLittle(10))
    )


@pytest.mark.parametrize(
    ("events", "answer", "said"),
    [
        (
            {accounts[HOMER]: [Withdrawn(61)]},
            Success(None),
            "events of accounts/homer[0].amount: 61 was expected, and it is 60",
        ),
        (
            {accounts[HOMER]: [Deposited(60)]},
            Success(None),
            "accounts/homer[0]: Deposited(amount=60) was expected, and it is Withdrawn(amount=60)",
        ),
        ({}, Success(None), "events of accounts/homer[0]: Withdrawn(amount=60) was not expected"),
        (
            {accounts[HOMER]: [Withdrawn(60)], accounts[MARGE]: [Deposited(60)]},
            Success(None),
            "events of accounts/marge[0]: Deposited(amount=60) is missing",
        ),
        (
            {accounts[HOMER]: [Withdrawn(60)]},
            Failure(TooLittle(100)),
            "answer: Failure(TooLittle(balance=100)) was expected, and it is Success(None)",
        ),
    ],
)
def test_what_is_different_is_told(events: Any, answer: Any, said: str) -> None:
    then = Given({accounts[HOMER]: [Deposited(100)]}).when(withdraw(HOMER, 60))
    with pytest.raises(AssertionError) as raised:
        then.then(events, answer=answer)
    assert said in str(raised.value)


def test_what_a_program_raises_is_raised_unless_it_is_expected() -> None:
    @program
    def fails() -> Do[StoreOp, None]:
        yield from accounts[HOMER].append(Deposited(1))
        raise LookupError("no such thing")

    then = Given().when(fails())
    then.then({accounts[HOMER]: [Deposited(1)]}, raises=LookupError)
    with pytest.raises(LookupError):
        then.then({accounts[HOMER]: [Deposited(1)]})
    with pytest.raises(LookupError):
        then.then({accounts[HOMER]: [Deposited(1)]}, raises=ValueError)
    with pytest.raises(AssertionError, match="LookupError was expected, and the answer is"):
        Given().when(accounts[HOMER].head()).then(raises=LookupError)


def test_what_another_program_did_is_given_too() -> None:
    given = Given().and_when(accounts[HOMER].append(Deposited(70)))
    given.when(withdraw(HOMER, 60)).then({"accounts/homer": [Withdrawn(60)]})


def test_time_and_ids_are_the_same_each_time() -> None:
    @program
    def asks() -> Do[World, Any]:
        return (yield from Now()), (yield from NewId())

    assert Given().when(asks()).answer == Given().when(asks()).answer


class Limit(Query[int]):
    """An operation of the application."""


@program
def limited(amount: int) -> Do[Limit | DecideOp, bool]:
    if amount > (yield from Limit()):
        return False
    yield from accounts[HOMER].change(balance, lambda _: [Withdrawn(amount)])
    return True


def test_an_application_brings_its_interpreter() -> None:
    def app(lower: Interpreter[StoreOp | World]) -> Interpreter[Any]:
        return lower | on(Limit).always(50)

    Given(on=app).when(limited(60)).then(answer=False)
    Given(on=app).when(limited(40)).then({accounts[HOMER]: [Withdrawn(40)]}, answer=True)


def test_what_cannot_have_happened_is_refused() -> None:
    with pytest.raises(NotStorable):
        Given({"here": [AnyValue(object())]})
    assert issubclass(NotGiven, Exception)

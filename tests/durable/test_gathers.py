"""A run waits for one thing at a time, and a program that would wait for several is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eventsrc import Do, Now, Sleep, gather, program
from eventsrc.durable import DAYS, Next, Runs, Signal
from tests.durable.service import CODEC, Booked, Paid, books, fulfilment, payments


@program
def rest(days: int) -> Do[Any, None]:
    yield from Sleep(days * DAYS)


@program
def book(number: int) -> Do[Any, None]:
    yield from books.append(Booked("x", number))


def paid(number: int) -> Next[Paid]:
    return Next(payments[f"{number}"], Paid)


@program
def sleeps() -> Do[Any, Any]:
    return (yield from gather(Sleep(1), Now()))


@program
def waits_in_a_program() -> Do[Any, Any]:
    return (yield from gather(book(1), rest(2)))


@program
def waits_in_many() -> Do[Any, Any]:
    return (yield from gather(*[paid(number) for number in range(3)]))


@program
def waits_for_signals() -> Do[Any, Any]:
    return (yield from gather(Signal("one"), Signal("other")))


@program
def waits_for_runs() -> Do[Any, Any]:
    return (yield from gather(fulfilment.result("1"), fulfilment.result("2")))


@program
def calls_one_that_waits() -> Do[Any, Any]:
    yield from book(1)
    return (yield from sleeps())


@program
def gathers_effects() -> Do[Any, Any]:
    yield from rest(1)
    yield from gather(*(book(number) for number in range(3)))
    return (yield from gather(fulfilment.start("1", 3), fulfilment.start("2", 3)))


def declared(body: Callable[..., Any]) -> Runs[..., Any]:
    return Runs("test", body, id=lambda *_: "1", codec=CODEC)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (sleeps, "Sleep"),
        (waits_in_a_program, "Sleep"),
        (waits_in_many, "Next"),
        (waits_for_signals, "Signal"),
        (waits_for_runs, "the result of a run"),
        (calls_one_that_waits, "Sleep"),
    ],
)
def test_a_gather_of_what_waits_is_refused_with_the_remedy(body: Any, what: str) -> None:
    with pytest.raises(TypeError, match=rf"such as for {what} \(.*test_gathers.py:\d+\).*Start a run"):
        declared(body)


def test_a_gather_of_what_does_not_wait_is_not() -> None:
    assert declared(gathers_effects).name == "test"


def test_a_program_whose_source_is_not_there_is_taken_as_it_is() -> None:
    names: dict[str, Any] = {"gather": gather, "Sleep": Sleep, "program": program}
    exec("@program\ndef hidden():\n    return (yield from gather(Sleep(1), Sleep(2)))", names)
    assert declared(names["hidden"]).name == "test"

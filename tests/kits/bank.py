"""A service to record: its programs, operations and events are in a module, where they can be found."""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import UUID

import attrs

from eventsrc import (
    Command,
    Do,
    Failure,
    Fold,
    Interpreter,
    NewId,
    Outcome,
    Query,
    Recorded,
    StoreOp,
    Streams,
    Success,
    Translation,
    Try,
    World,
    event,
    for_each,
    ok,
    on,
    program,
    world,
)
from eventsrc.streams.snapshots import Snapshots


@event("test.recording.moved")
class Moved:
    amount: int
    note: str = ""


@attrs.frozen
class TooLittle:
    name: str
    has: int


class Broke(Exception):
    pass


class Balance(Query[int]):
    name: str


class Pay(Command[Outcome[UUID, TooLittle]]):
    source: str
    target: str
    amount: int


Bank: TypeAlias = Balance | Pay
Below: TypeAlias = StoreOp | World

accounts = Streams("accounts/{name}", key=str, events=Moved)


def add(total: int, event: Moved) -> int:
    return total + event.amount


balance = Fold(0, add)


class Banking(Translation[Bank, Below]):
    """The service's operations over a store. fee: what each payment costs."""

    def __init__(self, fee: int = 0) -> None:
        self.fee = fee

    @on(Balance).program
    def balance(self, op: Balance) -> Do[StoreOp, int]:
        return (yield from accounts[op.name].get(balance)).state

    @on(Pay).program
    def pay(self, op: Pay) -> Try[Below, UUID, TooLittle]:
        id = yield from NewId()

        def decide(has: int) -> Outcome[list[Moved], TooLittle]:
            if has < op.amount:
                return Failure(TooLittle(op.source, has))
            return Success([Moved(-op.amount - self.fee, str(id))])

        yield from ok(accounts[op.source].decide(balance, decide))
        yield from accounts[op.target].append(Moved(op.amount, str(id)))
        return Success(id)


def bank(store: Interpreter[StoreOp], fee: int = 0) -> Interpreter[Bank | Below]:
    below = store | world
    return Banking(fee).into(below) | below


@program
def deposit(name: str, amount: int, note: str = "") -> Do[StoreOp, None]:
    yield from accounts[name].append(Moved(amount, note))


@program
def pay_all(source: str, targets: list[str], amount: int) -> Try[Bank, int, TooLittle]:
    for target in targets:
        yield from ok(Pay(source, target, amount))
    return Success((yield from Balance(source)))


@program
def pay_most(source: str, targets: list[str], amount: int) -> Try[Bank, int, TooLittle]:
    """As pay_all, for all but the last."""
    return (yield from pay_all(source, targets[:-1], amount))


@program
def sum_of(names: list[str]) -> Do[Balance, int]:
    return sum((yield from for_each(names, Balance)))


@program
def history(name: str) -> Do[StoreOp, tuple[Recorded[Moved], ...]]:
    return (yield from accounts[name].history())


@program
def heads(names: list[str]) -> Do[StoreOp, list[int]]:
    found: list[int] = []
    for name in names:
        found.append((yield from accounts[name].head()))  # noqa: PERF401
    return found


@program
def fail(name: str) -> Do[StoreOp, None]:
    yield from accounts[name].append(Moved(1))
    raise Broke(f"{name} is broke")


@program
def fail_with(name: str) -> Do[StoreOp, None]:
    yield from accounts[name].head()
    raise Broke(f"{name} is broke", [name], 3)


@program
def given(value: Any) -> Do[StoreOp, Any]:
    yield from accounts["any"].head()
    return value


# Whose states are kept in snapshots:


class Blob(Command[bytes]):
    """Something that is not JSON."""

    data: bytes


notes: Fold[tuple[str, ...], Moved] = Fold(
    (), lambda seen, moved: (*seen, moved.note), snapshots=Snapshots("notes", tuple[str, ...], every=1)
)


@program
def note(name: str, text: str) -> Do[StoreOp, int]:
    yield from accounts[name].append(Moved(1, text))
    return len((yield from accounts[name].get(notes)).state)


@program
def pass_on(text: str) -> Do[Blob, bytes]:
    return (yield from Blob(b"to " + text.encode()))


KNOWN: tuple[Any, ...] = (
    *(Bank, Blob, TooLittle, Broke),
    *(deposit, fail, fail_with, given, heads, history, note, pass_on, pay_all, pay_most, sum_of),
)
"""What recordings of this service name, beside its events and what its applications handle."""

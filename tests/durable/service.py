"""A service for durable runs: stock and books in the store, a bank and a post office outside of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid5

import attrs
from returns.result import Failure, Success

from eventsrc import (
    Command,
    Fold,
    Interpreter,
    NewId,
    Now,
    Outcome,
    Sleep,
    Stream,
    Streams,
    Translation,
    Try,
    event,
    ok,
    on,
    program,
)
from eventsrc.durable import MINUTES, Next, RunOp, Runs, StepId, TimedOut
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.programs.world import Chance, Elapsed, World
from eventsrc.stores.operations import StoreOp
from eventsrc.streams.decide import DecideOp

TYPES = EventTypes()
CODEC = Codec(TYPES)


@event("stock-taken", types=TYPES)
class Taken:
    order: str


@event("stock-given-back", types=TYPES)
class GivenBack:
    order: str


@event("booked", types=TYPES)
class Booked:
    order: str
    amount: int


@event("paid", types=TYPES)
class Paid:
    order: str


stock = Stream("stock", events=Taken | GivenBack)
books = Stream("books", events=Booked)
payments = Streams("payments/{order}", key=str, events=Paid)


def _left(left: int, event: Taken | GivenBack) -> int:
    return left - 1 if isinstance(event, Taken) else left + 1


left = Fold(3, _left)


@attrs.frozen
class NoStock:
    order: str


class Reserve(Command[Outcome[int, NoStock]]):
    """A command of the application, which is a program over the store."""

    order: str


class Charge(Command[str]):
    """A command outside of the store: the bank takes a key once."""

    order: str
    key: UUID


class Mail(Command[None]):
    to: str
    text: str
    key: UUID


App: TypeAlias = Reserve | Charge | Mail


class Commands(Translation[Reserve, DecideOp]):
    @on(Reserve).program
    def reserve(self, op: Reserve) -> Try[DecideOp, int, NoStock]:
        def take(left: int) -> Outcome[list[Taken | GivenBack], NoStock]:
            return Success([Taken(op.order)]) if left > 0 else Failure(NoStock(op.order))

        decided = yield from ok(stock.decide(left, take))
        return Success(decided.state)


class Outside(Interpreter[Charge | Mail]):
    """The bank and the post office, which outlive every process."""

    def __init__(self) -> None:
        self.charged: list[Charge] = []
        self.mailed: list[Mail] = []

    @on(Charge)
    def charge(self, op: Charge) -> str:
        self.charged.append(op)
        return f"receipt of {op.order}"

    @on(Mail)
    def mail(self, op: Mail) -> None:
        self.mailed.append(op)


class Clock(Interpreter[World]):
    """A world in which waiting takes no time, and ids are the same in each run."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.ids = 0

    @on(Now)
    def now(self, op: Now) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    @on(Elapsed)
    def elapsed(self, op: Elapsed) -> float:
        return self.seconds

    @on(Sleep)
    def sleep(self, op: Sleep) -> None:
        self.seconds += op.seconds

    @on(NewId)
    def new_id(self, op: NewId) -> UUID:
        self.ids += 1
        return uuid5(UUID(int=7), str(self.ids))

    @on(Chance)
    def chance(self, op: Chance) -> float:
        return 0.5

    @property
    def time(self) -> float:
        """For stores that ask the time."""
        return datetime(2026, 1, 1, tzinfo=UTC).timestamp() + self.seconds


@program
def fulfil(order: str, amount: int) -> Try[App | RunOp | StoreOp | World, str, NoStock | TimedOut]:
    """Reads, decides, charges, sleeps, waits for the payment, mails."""
    before = yield from books.read()
    yield from ok(Reserve(order))
    receipt = yield from Charge(order, (yield from StepId()))
    yield from books.append(Booked(order, amount))
    yield from Sleep(5 * MINUTES)
    paid = yield from ok(Next(payments[order], Paid, within=15 * MINUTES))
    held = yield from stock.get(left)
    yield from Mail(order, f"{receipt}, {paid.version}, {held.state}", (yield from NewId()))
    total = yield from ok(books.decide(Fold(0, _add), lambda _: Success([Booked(order, -amount)])))
    return Success(f"{receipt} {len(before.events)} {total.state}")


def _add(total: int, event: Booked) -> int:
    return total + event.amount


fulfilment = Runs("fulfilment", fulfil, id=lambda order, amount: order, codec=CODEC)


def app_of(store: Interpreter[Any], outside: Outside, clock: Clock) -> Interpreter[Any]:
    """The application on a store."""
    below = store | clock
    return Commands().into(below) | below | outside


def facts(app: Interpreter[Any], outside: Outside) -> dict[str, Any]:
    """What must be the same, whatever went wrong."""
    return {
        "stock": [repr(each.data) for each in app.run(stock.history())],
        "books": [repr(each.data) for each in app.run(books.history())],
        "charged": sorted({repr(each) for each in outside.charged}),
        "mailed": sorted({(each.to, each.text) for each in outside.mailed}),
        "keys": len({each.key for each in outside.charged}),
    }

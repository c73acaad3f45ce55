"""What is done with an order, for as long as it takes: a saga, begun once for each order.

An order that is not paid in a quarter of an hour is cancelled, and what the bank says after that is
given back. Every night the day's takings are mailed.
"""

from datetime import time
from typing import Final, TypeAlias

from eventsrc import Do, Failure, Outcome, Success, Try, ok, program
from eventsrc.durable import MINUTES, Next, RunOp, Runs, StepId
from eventsrc.durable.sagas import Undo, saga
from eventsrc.durable.schedules import Daily, RepeatOp, repeat
from eventsrc.programs.world import World
from eventsrc.stores.operations import StoreOp
from examples.orders.events import (
    Cancelled,
    Confirmed,
    Declined,
    Paid,
    Released,
    Reserved,
    books,
    in_stock,
    orders,
    payments,
    state,
    stock,
    taken,
)
from examples.orders.outside import AskForPayment, Mail, Refund

ShopOp: TypeAlias = StoreOp | RunOp | World | AskForPayment | Refund | Mail

PATIENCE: Final = 15 * MINUTES
"""The seconds in which an order must be paid."""


@program
def reserve(order: str, item: str) -> Try[StoreOp | World, None, str]:
    """Takes one of an item, if there is one."""

    def take(left: int) -> Outcome[list[Reserved], str]:
        return Success([Reserved(order)]) if left > 0 else Failure(f"{item} is sold out")

    yield from ok(stock[item].decide(in_stock, take))
    return Success(None)


def steps(undo: Undo, order: str, item: str, amount: int) -> Try[ShopOp, int, str]:
    yield from ok(reserve(order, item))
    undo.add(stock[item].append(Released(order)))
    yield from AskForPayment(order, amount, (yield from StepId()))
    match (yield from Next[Paid | Declined](payments[order], within=PATIENCE)):
        case Failure():
            return Failure("it was not paid in time")
        case Success(said) if isinstance(said.data, Paid):
            paid = said.data.amount
            yield from orders[order].append(Confirmed(paid))
            yield from books.append(Confirmed(paid))
            return Success(paid)
        case Success():
            return Failure("the bank declined")


@program
def fulfil(order: str, item: str, amount: int) -> Do[ShopOp, str]:
    """Brings an order to its end, and tells the customer, once."""
    match (yield from saga(lambda undo: steps(undo, order, item, amount))):
        case Success(paid):
            told = f"thank you for {paid} euros"
        case Failure(why):
            yield from orders[order].append(Cancelled(why))
            told = f"your order was cancelled: {why}"
    yield from Mail(order, told, (yield from StepId()))
    return told


@program
def give_back(order: str, amount: int) -> Do[ShopOp, str]:
    """Gives back what was paid for an order that ended without it."""
    yield from fulfilments.result(order)  # while it is under way, nobody knows
    now = yield from orders[order].get(state)
    if now.state != "cancelled":
        return "kept"
    yield from Refund(order, amount, (yield from StepId()))
    return "given back"


@program
def report(day: str) -> Do[ShopOp, int]:
    """Mails what was taken up to a day."""
    total = (yield from books.get(taken)).state
    yield from Mail("the boss", f"{day}: {total} euros", (yield from StepId()))
    return total


@program
def nightly() -> Do[ShopOp | RepeatOp, None]:
    """Has a report made every night."""
    yield from repeat(Daily(time(2), "Europe/Berlin"), lambda due: reports.start(str(due.date())))


fulfilments: Final = Runs("fulfilment", fulfil, id=lambda order, item, amount: order)
late_payments: Final = Runs("late-payment", give_back, id=lambda order, amount: order)
late_payments.begins_on(Paid, lambda event: give_back(event.data.order, event.data.amount))
reports: Final = Runs("report", report, id=lambda day: day)
nightlies: Final = Runs("nightly", nightly, id=lambda: "nightly")

ALL: Final = (fulfilments, late_payments, reports, nightlies)

"""What is stored: the stock of each item, each order, and what the bank says."""

from typing import Literal, TypeAlias

from eventsrc import Fold, Stream, Streams, event


@event("shop.stocked")
class Stocked:
    count: int


@event("shop.reserved")
class Reserved:
    order: str


@event("shop.released")
class Released:
    order: str


@event("shop.confirmed")
class Confirmed:
    amount: int


@event("shop.cancelled")
class Cancelled:
    why: str


@event("shop.paid")
class Paid:
    order: str
    amount: int


@event("shop.declined")
class Declined:
    order: str


State: TypeAlias = Literal["open", "confirmed", "cancelled"]

stock = Streams("stock/{item}", key=str, events=Stocked | Reserved | Released)
orders = Streams("orders/{order}", key=str, events=Confirmed | Cancelled)
payments = Streams("payments/{order}", key=str, events=Paid | Declined)
books = Stream("books", events=Confirmed)


def _left(left: int, event: Stocked | Reserved | Released) -> int:
    match event:
        case Stocked(count):
            return left + count
        case Reserved():
            return left - 1
        case Released():
            return left + 1


def _state(_: State, event: Confirmed | Cancelled) -> State:
    return "confirmed" if isinstance(event, Confirmed) else "cancelled"


in_stock: Fold[int, Stocked | Reserved | Released] = Fold(0, _left)
state: Fold[State, Confirmed | Cancelled] = Fold("open", _state)
taken: Fold[int, Confirmed] = Fold(0, lambda so_far, event: so_far + event.amount)

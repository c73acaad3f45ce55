"""A shop whose store and view the page is shown: with data that means harm."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid5

import attrs

from eventsrc import Do, Fold, Recorded, Streams, View, event, program, synchronise
from eventsrc.durable import RunOp, Runs, Signal
from eventsrc.durable.work import work_off
from eventsrc.stores.metadata import with_metadata

MARKUP: Final = "<script>alert(1)</script>"
TURNED: Final = "a\u202etable"
CONTROL: Final = "a\x1b[31mlamp\x00"
IDS: Final = UUID("6f1b6a0e-3e0a-4d5e-9a35-4f4f1f1f8a10")


@event("web.placed")
class Placed:
    item: str
    amount: int


@event("web.paid")
class Paid:
    euros: float


orders = Streams("orders/{id}", key=int, events=Placed | Paid)


@attrs.frozen
class Order:
    """The state of an order."""

    items: tuple[tuple[str, int], ...] = ()
    paid: float = 0.0
    notes: frozenset[str] = frozenset({"new"})


def _evolved(order: Order, event: Any) -> Order:
    match event:
        case Placed(item=item, amount=amount):
            return attrs.evolve(order, items=(*order.items, (item, amount)))
        case Paid(euros=euros):
            return attrs.evolve(order, paid=order.paid + euros)
        case _:
            return order


order: Fold[Order, Any] = Fold(Order(), _evolved)


@program
def ask_twice(item: str) -> Do[RunOp, str]:
    """Waits to be told twice."""
    yield from Signal("first")
    yield from Signal("second", within=3600)
    return item


asking_twice = Runs("asking", ask_twice, id=lambda item: item)


def sales() -> View[Any]:
    """The items that were sold; it cannot take markup."""
    view: View[Any] = View("sales")

    @view.on(Placed)
    def placed(db: Any, event: Recorded[Placed]) -> None:
        if event.data.item == MARKUP:
            raise ValueError(f"{MARKUP} {TURNED}")
        db["sales"][event.stream] = event.data.item

    return view


def fill(app: Any, view: View[Any] | None = None, count: int = 8) -> None:
    """Places orders, one in four with hostile data, and pays them."""
    for number in range(count):
        item = ["a lamp", MARKUP, TURNED, CONTROL][number % 4]
        id = uuid5(IDS, str(number))
        placed = orders[number].append(Placed(item, number + 1), append_id=id)
        app.run(with_metadata(placed, actor="homer", correlation_id=f"request {number}"))
        paid = orders[number].append(Paid(1.5 * number))
        app.run(with_metadata(paid, correlation_id=f"request {number}", causation_id=str(id)))
    if view is not None:
        app.run(synchronise(view))
        for item in (MARKUP.replace("/", "-"), "chair"):
            app.run(asking_twice.start(item))
        app.run(work_off(asking_twice))
        app.run(asking_twice.signal("chair", "first", TURNED))
        app.run(asking_twice.cancel(MARKUP.replace("/", "-"), MARKUP))
        app.run(work_off(asking_twice))

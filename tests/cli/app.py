"""An application for the command line: a view whose handler fails as it is told, and a publisher."""

from __future__ import annotations

from typing import ClassVar

import attrs
from sqlite_utils import Database

from eventsrc import Interpreter, Recorded, View, event, on
from eventsrc.publishing import Publish, Published, Publisher, Refused, Transformer


@event("test.cli.sold")
class Sold:
    item: str


def sales(version: int) -> View[Database]:
    view: View[Database] = View("sales", version=version)

    @view.schema
    def create(db: Database) -> None:
        db.table("sales").create({"item": str})

    @view.on(Sold)
    def sold(db: Database, event: Recorded[Sold]) -> None:
        if event.data.item == "bad" and version == 1:
            raise ValueError("this cannot be sold\x1b[31m")
        db.table("sales").insert({"item": event.data.item})

    return view


FIRST, SECOND = sales(1), sales(2)
BOTH = [FIRST, SECOND]
NUMBER = 7


@attrs.frozen
class ItemSold:
    item: str


public = Transformer("https://test.example/sales")


@public.of(Sold, name="example.sold")
def item_sold(event: Recorded[Sold]) -> ItemSold:
    if "\x1b" in event.data.item:
        raise ValueError("no item has a colour")
    return ItemSold(event.data.item)


OUT = Publisher("sales", public, begin="start")


class Broker(Interpreter[Publish]):
    """Takes what is as it likes, and keeps it."""

    came: ClassVar[list[str]] = []
    refuses: ClassVar[set[str]] = {"bad"}

    @on(Publish)
    def publish(self, op: Publish) -> Published:
        refused: dict[str, Refused] = {}
        for each in op.events:
            if each.subject not in refused:
                if each.data["item"] in self.refuses:
                    refused[each.subject] = Refused(each.id, "not for sale\x1b[31m")
                else:
                    self.came.append(each.data["item"])
        return Published(tuple(refused.values()))


broker = Broker()


async def connected() -> Broker:
    return broker

"""An application for the command line: a view whose handler fails as it is told."""

from __future__ import annotations

from sqlite_utils import Database

from eventsrc import Recorded, View, event


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

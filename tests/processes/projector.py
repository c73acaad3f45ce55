"""A process that brings a view up to date until it is killed: a byte for each event that it handles.

python -m tests.processes.projector STORE VIEWS PAGE [--effects-first | --position-first]

The view counts: an event that is applied twice, left out or out of its place shows in it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sqlite_utils import Database

from eventsrc import Recorded, SqliteStore, SqliteViews, View, on, synchronise
from eventsrc.views.operations import Applied, Apply, GetApplied
from tests.kits.events import CODEC, TYPES, Tick

READY = b"r"


def counting_view(*, is_watched: bool = False) -> View[Database]:
    """A view that is not idempotent: what it did, event by event, and a count and sum per stream.

    is_watched: it writes a byte to the standard output for each event, while its transaction is open.
    """
    view: View[Database] = View("count", types=TYPES)

    @view.schema
    def create(db: Database) -> None:
        db.table("effect").create({"id": int, "position": int}, pk="id")
        db.table("count").create({"stream": str, "events": int, "sum": int}, pk="stream")

    @view.on(Tick)
    def tick(db: Database, event: Recorded[Tick]) -> None:
        db.execute("INSERT INTO effect (position) VALUES (?)", (event.position,))
        db.execute(
            "INSERT INTO count VALUES (:stream, 1, :number) ON CONFLICT DO UPDATE "
            "SET events = events + 1, sum = (sum * 31 + excluded.sum) % 1000003",
            {"stream": event.stream, "number": event.data.batch},
        )
        if is_watched:
            os.write(1, b".")

    return view


def idle(view: View[Any]) -> View[Any]:
    """A view with handlers of the same events that do nothing."""
    view._handlers.update(dict.fromkeys(view._handlers, lambda _database, _event: None))
    return view


def apart(views: SqliteViews, *, effects_first: bool, op: Apply) -> Applied:
    """Broken, for the control: the effects are in one transaction, the position in another."""
    streams = tuple({event.stream for event in op.events})
    applied = views.run(GetApplied(op.view, streams))
    position = Apply(idle(counting_view()), op.events, op.cursor)
    if not effects_first:
        done = views.apply(position)
    with views.writing(op.view) as ledger:
        for event in op.events:
            if event.version > applied[event.stream]:
                op.view.apply(ledger.database, event)
    return views.apply(position) if effects_first else done


def main(store_path: str, views_path: str, page: str, *broken: str) -> None:
    """Synchronises the view, page by page, until it has the whole feed."""
    view = counting_view(is_watched=True)
    with SqliteStore(store_path, CODEC, timeout=30) as store:
        os.write(1, READY)
        with SqliteViews(views_path, [view], timeout=30) as views:
            app = store | views
            if broken:
                first = "--effects-first" in broken
                app = app.but(on(Apply).run(lambda op: apart(views, effects_first=first, op=op)))
            while app.run(synchronise(view, 1, size=int(page))).lag:
                pass


if __name__ == "__main__":
    main(*sys.argv[1:])

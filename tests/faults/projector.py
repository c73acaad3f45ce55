"""A process that keeps a view: `python -m tests.faults.projector STORE VIEWS [--apart]`.

The view counts what it is given, so that an event that is applied twice, or never, shows. With --apart,
how far it has come is committed after what the handlers wrote, which is the mistake to be caught.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from sqlite_utils import Database

import eventsrc.synchroniser
from eventsrc import Recorded, SqliteStore, SqliteViews, View, on, synchronise
from eventsrc.guard import sort_out
from eventsrc.view import Applied, Apply
from eventsrc.views import sqlite as sqlite_views
from tests.faults.events import CODEC, TYPES, Tick

ticks: View[Database] = View("ticks", types=TYPES)


@ticks.schema
def _create(db: Database) -> None:
    db.execute("CREATE TABLE ticks (stream TEXT PRIMARY KEY, seen INTEGER, total INTEGER)")


@ticks.on(Tick)
def _count(db: Database, event: Recorded[Tick]) -> None:
    db.execute(
        "INSERT INTO ticks VALUES (?, 1, ?) ON CONFLICT DO UPDATE "
        "SET seen = seen + 1, total = 31 * total % 1000003 + excluded.total",
        (str(event.stream), event.data.batch),
    )


class ViewsApart(SqliteViews):
    """Commits what the handlers wrote, and then how far the view has come."""

    @on(Apply)
    def apply(self, op: Apply) -> Applied:
        """Applies events in two transactions."""
        with self._file.writing() as connection:
            database = self._database(connection)
            number, _, _, _ = self._found(connection, database, op.view)
            streams = {event.record.stream for event in op.events}
            work = sort_out(sqlite_views._guards(connection, number, streams), op.events)
            for event in work.to_apply:
                op.view.apply(database, event)
        time.sleep(0.002)
        with self._file.writing() as connection:
            moved = [(number, stream, version) for stream, version in work.applied.items()]
            connection.executemany(sqlite_views._MOVE_GUARD, moved)
            if op.cursor is not None:
                place = {"view": number, "store": op.cursor.store, "position": op.cursor.position}
                connection.execute(sqlite_views._MOVE, place)
        return Applied(len(work.to_apply), work.ignored, work.gaps)


def main(store: str, views: str, *options: str) -> None:
    """Brings the view up to date, a few events at a time, and prints how far it has come."""
    eventsrc.synchroniser.PAGE = 25  # type: ignore[misc]
    kind: Any = ViewsApart if "--apart" in options else SqliteViews
    with SqliteStore(store, CODEC) as log, kind(views, [ticks], durability="process") as kept:
        print("ready", flush=True)
        print((log | kept).run(synchronise(ticks)).cursor.position, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A process that brings a view in Postgres up to date until it is killed: a byte for each event.

python -m tests.processes.postgres.projector DSN VIEWS PAGE [--effects-first | --position-first]

The view counts: an event that is applied twice, left out or out of its place shows in it. VIEWS names
the schema that says which views there are.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import psycopg

from eventsrc import Recorded, View, on, synchronise
from eventsrc.postgres import PostgresStore, PostgresViews
from eventsrc.views.operations import Applied, Apply, GetApplied
from tests.kits.events import CODEC, TYPES, Tick
from tests.processes.projector import READY, idle

Connection = psycopg.Connection[Any]


def counting_view(*, is_watched: bool = False) -> View[Connection]:
    """A view that is not idempotent: what it did, event by event, and a count and sum per stream.

    is_watched: it writes a byte to the standard output for each event, while its transaction is open.
    """
    view: View[Connection] = View("count", types=TYPES)

    @view.schema
    def create(db: Connection) -> None:
        db.execute("CREATE TABLE effect (id int PRIMARY KEY, position int NOT NULL)")
        db.execute("CREATE TABLE count (stream text PRIMARY KEY, events int, sum bigint)")

    @view.on(Tick)
    def tick(db: Connection, event: Recorded[Tick]) -> None:
        db.execute(
            "INSERT INTO effect SELECT coalesce(max(id), 0) + 1, %s FROM effect", (event.position,)
        )
        db.execute(
            "INSERT INTO count AS old VALUES (%s, 1, %s) ON CONFLICT (stream) DO UPDATE "
            "SET events = old.events + 1, sum = (old.sum * 31 + excluded.sum) %% 1000003",
            (event.stream, event.data.batch),
        )
        if is_watched:
            os.write(1, b".")

    return view


def opened(dsn: str, schema: str, view: View[Connection]) -> PostgresViews:
    """The views of a schema."""
    return PostgresViews(dsn, [view], schema=schema, timeout=30)


def apart(views: PostgresViews, *, effects_first: bool, op: Apply) -> Applied:
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


def main(dsn: str, schema: str, page: str, *broken: str) -> None:
    """Synchronises the view, page by page, until it has the whole feed."""
    view = counting_view(is_watched=True)
    with PostgresStore(dsn, codec=CODEC, timeout=30) as store, opened(dsn, schema, view) as views:
        os.write(1, READY)
        app = store | views
        if broken:
            first = "--effects-first" in broken
            app = app.but(on(Apply).run(lambda op: apart(views, effects_first=first, op=op)))
        while app.run(synchronise(view, 1, size=int(page))).lag:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])

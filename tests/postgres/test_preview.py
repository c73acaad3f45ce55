"""A preview over Postgres writes nothing there, and shows the rows that would change."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from eventsrc import ReadFeed, Recorded, Streams, Success, View, event, synchronise
from eventsrc.postgres import AsyncPostgresStore, PostgresStore, PostgresViews
from eventsrc.preview import preview, preview_async


@event("test.preview.postgres.counted")
class Counted:
    number: int


counters = Streams("counters/{name}", key=str, events=Counted)

view: View[psycopg.Connection[Any]] = View("counters")


@view.schema
def create(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE counters (name text PRIMARY KEY, number int, more json)")
    connection.execute("CREATE TABLE log (line text)")


@view.on(Counted)
def counted(connection: psycopg.Connection[Any], event: Recorded[Counted]) -> None:
    connection.execute(
        "INSERT INTO counters VALUES (%s, %s, '{}') "
        "ON CONFLICT (name) DO UPDATE SET number = excluded.number",
        (event.stream, event.data.number),
    )
    connection.execute("INSERT INTO log VALUES ('same')")


def test_events_and_rows_are_shown_and_not_written(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn) as store, PostgresViews(postgres_dsn, [view]) as views:
        store.run(counters["a"].append(Counted(1)))
        (store | views).run(synchronise(view))
        before = _rows(postgres_dsn)
        previewed = preview(store, counters["a"].append(Counted(2), Counted(3)), views={view: views})
        assert [event.version for event in previewed.events] == [2, 3]
        (changes,) = previewed.changes
        assert sorted(map(str, changes.rows)) == [
            "+ log {'line': 'same'}",
            "+ log {'line': 'same'}",
            "~ counters {'name': 'counters/a'}: number 1 -> 3",
        ]
        assert _rows(postgres_dsn) == before
        assert isinstance(store.run(previewed.apply()), Success)


def test_a_preview_in_an_event_loop(postgres_dsn: str) -> None:
    async def both() -> None:
        async with AsyncPostgresStore(postgres_dsn) as store:
            await store.run_async(counters["a"].append(Counted(1)))
            previewed = await preview_async(store, counters["a"].append(Counted(2)))
            assert [event.version for event in previewed.events] == [2]
            assert len((await store.run_async(ReadFeed())).events) == 1

    asyncio.run(both())


def _rows(dsn: str) -> dict[str, list[Any]]:
    """All that is in a database."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        return {
            table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}").fetchall()))
            for (table,) in tables
        }

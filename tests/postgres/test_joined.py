"""Appends that join a transaction of the user's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventsrc import Append, Conflict, Failure, Head, Read, ReadFeed, StreamId, Success
from eventsrc.events.codec import Codec
from eventsrc.events.positions import WrongStore
from eventsrc.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.stores.operations import FindAppend, StoreBusy, StoreClosed, StoreError
from eventsrc.testing.postgres import PostgresServer
from tests.views.library import TYPES, Noted

HERE = StreamId("books/1")
CODEC = Codec(TYPES)


@pytest.fixture
def store(postgres_dsn: str) -> Iterator[PostgresStore]:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=1) as store:
        with psycopg.connect(postgres_dsn) as db:
            db.execute("CREATE TABLE orders (id int PRIMARY KEY)")
        yield store


def test_events_and_rows_are_committed_together(store: PostgresStore, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as db:
        db.execute("INSERT INTO orders VALUES (1)")
        joined = store.within(db)
        assert isinstance(joined.run(Append(HERE, (Noted(1), Noted(2)), 0)), Success)
        assert joined.run(Head(HERE)) == 2, "it sees what it has appended"
        assert store.run(Head(HERE)) == 0, "and nobody else does"
        assert isinstance(joined.run(Append(HERE, (Noted(3),), 2)), Success)
    assert [event.data for event in store.run(Read(HERE)).events] == [Noted(1), Noted(2), Noted(3)]
    assert store.run(ReadFeed()).end.position == 3


def test_events_and_rows_are_rolled_back_together(store: PostgresStore, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as db:
        assert isinstance(store.within(db).run(Append(HERE, (Noted(1),))), Success)
        db.execute("INSERT INTO orders VALUES (1)")
        db.rollback()
    assert store.run(Head(HERE)) == 0
    answer = store.run(Append(HERE, (Noted(2),), 0))
    assert answer.unwrap().cursor.position == 1, "and positions have no hole"


def test_a_conflict_leaves_the_transaction_as_it_is(store: PostgresStore, postgres_dsn: str) -> None:
    store.run(Append(HERE, (Noted(1),)))
    with psycopg.connect(postgres_dsn) as db:
        joined = store.within(db)
        assert joined.run(Head(HERE)) == 1
        store.run(Append(HERE, (Noted(2),)))
        match joined.run(Append(HERE, (Noted(3),), 1)):
            case Failure(Conflict(actual=2, events=events)):
                assert [event.data for event in events] == [Noted(2)]
            case answer:
                pytest.fail(repr(answer))
        db.execute("INSERT INTO orders VALUES (1)")
    with psycopg.connect(postgres_dsn) as db:
        assert db.execute("SELECT id FROM orders").fetchall() == [(1,)]


def test_others_wait_for_the_transaction_and_then_go_on(
    store: PostgresStore, postgres_dsn: str
) -> None:
    with psycopg.connect(postgres_dsn) as db:
        store.within(db).run(Append(HERE, (Noted(1),)))
        for op in (Append(StreamId("other"), (Noted(2),)), FindAppend(uuid4())):
            with pytest.raises(StoreBusy, match=f"held by process {db.info.backend_pid} "):
                store.run(op)
        waiting = threading.Thread(target=store.run, args=(Append(StreamId("other"), (Noted(3),)),))
        waiting.start()
    waiting.join(10)
    positions = [(event.stream, event.position) for event in store.run(ReadFeed()).events]
    assert positions == [(HERE, 1), ("other", 2)]


@pytest.mark.parametrize("how", ["by the driver", "by a statement"])
def test_a_transaction_that_sees_too_little_is_refused(
    store: PostgresStore, postgres_dsn: str, how: str
) -> None:
    with psycopg.connect(postgres_dsn) as db:
        if how == "by the driver":
            db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        else:
            db.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        db.execute("SELECT 1")
        store.run(Append(HERE, (Noted(1),)))
        with pytest.raises(StoreError, match="make them READ COMMITTED"):
            store.within(db).run(Append(HERE, (Noted(2),)))
        db.rollback()
    assert store.run(Head(HERE)) == 1


@pytest.mark.parametrize("op", [Append(HERE, (Noted(9),)), Read(HERE), Head(HERE)], ids=repr)
@pytest.mark.parametrize("opened", ["threads", "loop"])
def test_a_connection_to_another_store_is_refused(
    postgres_server: PostgresServer, postgres_dsn: str, store: PostgresStore, op: Any, opened: str
) -> None:
    elsewhere = postgres_server.create_database()
    try:
        with PostgresStore(elsewhere, codec=CODEC) as other:
            other.run(Append(HERE, (Noted(1),)))
            if opened == "threads":
                with psycopg.connect(elsewhere) as db, pytest.raises(WrongStore, match="leads to"):
                    store.within(db).run(op)
            else:
                asyncio.run(join_and_run(postgres_dsn, elsewhere, op))
            assert [event.data for event in other.run(ReadFeed()).events] == [Noted(1)]
    finally:
        postgres_server.drop_database(elsewhere)


async def join_and_run(dsn: str, elsewhere: str, op: Any) -> None:
    async with (
        AsyncPostgresStore(dsn, codec=CODEC) as mine,
        await psycopg.AsyncConnection.connect(elsewhere) as db,
    ):
        with pytest.raises(WrongStore, match="leads to"):
            await mine.within(db).run_async(op)


def test_a_connection_that_is_closed_or_a_transaction_that_has_failed_is_told(
    store: PostgresStore, postgres_dsn: str
) -> None:
    with psycopg.connect(postgres_dsn) as db:
        joined = store.within(db)
        with pytest.raises(psycopg.errors.DivisionByZero):
            db.execute("SELECT 1 / 0")
        for op in (Append(HERE, (Noted(1),)), Head(HERE)):
            with pytest.raises(StoreError, match="roll it back"):
                joined.run(op)
        db.rollback()
        assert isinstance(joined.run(Append(HERE, (Noted(1),))), Success)
    for op in (Append(HERE, (Noted(1),)), Head(HERE)):
        with pytest.raises(StoreClosed, match="closed or broken"):
            joined.run(op)


def test_asynchronously_it_does_the_same(store: PostgresStore, postgres_dsn: str) -> None:
    async def append() -> None:
        async with (
            AsyncPostgresStore(postgres_dsn, codec=CODEC) as mine,
            await psycopg.AsyncConnection.connect(postgres_dsn) as db,
        ):
            await db.execute("INSERT INTO orders VALUES (1)")
            joined = mine.within(db)
            assert isinstance(await joined.run_async(Append(HERE, (Noted(1),), 0)), Success)
            assert await mine.run_async(Head(HERE)) == 0

    asyncio.run(append())
    assert store.run(Head(HERE)) == 1


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_with_sqlalchemy_events_and_rows_end_alike(
    ends: str, store: PostgresStore, postgres_dsn: str
) -> None:
    alchemy = pytest.importorskip("sqlalchemy")
    engine = alchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(postgres_dsn),
        poolclass=alchemy.NullPool,
    )
    with engine.connect() as connection:
        connection.execute(alchemy.text("INSERT INTO orders VALUES (1)"))
        joined = store.within(connection.connection.driver_connection)
        assert isinstance(joined.run(Append(HERE, (Noted(1),), 0)), Success)
        assert store.run(Head(HERE)) == 0
        getattr(connection, ends)()
    kept = 1 if ends == "commit" else 0
    assert store.run(Head(HERE)) == kept
    with psycopg.connect(postgres_dsn) as db:
        assert db.execute("SELECT count(*) FROM orders").fetchone() == (kept,)

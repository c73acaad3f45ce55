"""Appends that join a transaction of the user's own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import attrs
import psycopg
import pytest
import sqlalchemy.orm

from eventsrc import Append, Conflict, Failure, Head, Read, ReadFeed, StreamId, Success, event
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.events.positions import WrongStore
from eventsrc.events.record import Corrupted
from eventsrc.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.postgres._questions import Questions
from eventsrc.stores.operations import FindAppend, StoreBusy, StoreClosed, StoreError
from eventsrc.testing.postgres import PostgresServer
from tests.kits.library import TYPES, Noted

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


# --- what is learnt in a transaction is forgotten when that is rolled back


class Undone(Exception):
    """Rolls back to a savepoint."""


def fresh() -> tuple[Codec, list[type]]:
    """Kinds of events that no store has a number for yet."""
    types = EventTypes()
    kinds: list[type] = [
        event(f"test.fresh-{number}", types=types)(
            attrs.make_class("Fresh", {"n": attrs.field(type=int)}, frozen=True)
        )
        for number in range(4)
    ]
    return Codec(types), kinds


def with_psycopg(store: PostgresStore, dsn: str, op: Append, again: Append) -> None:
    with psycopg.connect(dsn) as db:
        joined = store.within(db)
        with contextlib.suppress(Undone), db.transaction():
            joined.run(op)
            raise Undone
        joined.run(again)


def with_a_whole_rollback(store: PostgresStore, dsn: str, op: Append, again: Append) -> None:
    with psycopg.connect(dsn) as db:
        joined = store.within(db)
        joined.run(op)
        db.rollback()
        joined.run(again)


def with_plain_sql(store: PostgresStore, dsn: str, op: Append, again: Append) -> None:
    with psycopg.connect(dsn) as db:
        joined = store.within(db)
        joined.run(Head(HERE))
        db.execute("SAVEPOINT before")
        joined.run(op)
        db.execute("ROLLBACK TO SAVEPOINT before")
        joined.run(again)


def with_sqlalchemy(store: PostgresStore, dsn: str, op: Append, again: Append) -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with sqlalchemy.orm.Session(engine) as session, session.begin():
        joined = store.within(session.connection().connection.driver_connection)  # type: ignore[arg-type]
        nested = session.begin_nested()
        session.connection()  # which is when SQLAlchemy makes the savepoint
        joined.run(op)
        nested.rollback()
        joined.run(again)
    engine.dispose()


def with_asyncio(store: PostgresStore, dsn: str, op: Append, again: Append) -> None:
    async def main() -> None:
        async with (
            AsyncPostgresStore(dsn, codec=store.codec) as own,
            await psycopg.AsyncConnection.connect(dsn) as db,
        ):
            joined = own.within(db)
            with contextlib.suppress(Undone):
                async with db.transaction():
                    await joined.run_async(op)
                    raise Undone
            await joined.run_async(again)

    asyncio.run(main())


UNDOING = [with_psycopg, with_a_whole_rollback, with_plain_sql, with_sqlalchemy, with_asyncio]


@pytest.mark.parametrize("undo", UNDOING)
@pytest.mark.parametrize("append_id", [None, uuid4()], ids=["", "under an id"])
def test_what_is_stored_after_a_rollback_to_a_savepoint_is_sound(
    undo: Any, append_id: UUID | None, postgres_dsn: str
) -> None:
    codec, (kind, *_) = fresh()
    with PostgresStore(postgres_dsn, codec=codec) as store:
        undo(store, postgres_dsn, *[Append(HERE, (kind(1), kind(2)), append_id=append_id)] * 2)
    with PostgresStore(postgres_dsn, codec=codec) as store:
        assert [event.data for event in store.run(Read(HERE)).events] == [kind(1), kind(2)]
        assert store.run(ReadFeed()).end.position == 2


def test_control_what_is_learnt_in_a_transaction_and_kept_is_caught(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, (kind, *_) = fresh()
    with PostgresStore(postgres_dsn, codec=codec) as store:
        original = Questions.in_transaction

        def kept(questions: Questions) -> Questions:
            made = original(questions)
            made._forget_uncommitted = lambda: None  # type: ignore[method-assign]
            return made

        monkeypatch.setattr(Questions, "in_transaction", kept)
        with_psycopg(store, postgres_dsn, *[Append(HERE, (kind(1),))] * 2)
    with PostgresStore(postgres_dsn, codec=codec) as store, pytest.raises(Corrupted):
        _ = [event.data for event in store.run(Read(HERE)).events]


def test_transactions_that_bring_new_types_in_different_orders_wait_for_each_other(
    postgres_dsn: str,
) -> None:
    codec, kinds = fresh()
    with PostgresStore(postgres_dsn, codec=codec, timeout=20) as store:
        first_has_begun, errors = threading.Event(), list[BaseException]()

        def append(order: list[type], begins: bool) -> None:
            try:
                with psycopg.connect(postgres_dsn) as db:
                    joined = store.within(db)
                    if not begins:
                        assert first_has_begun.wait(20)
                    for kind in order:
                        assert isinstance(joined.run(Append(StreamId("s"), (kind(1),))), Success)
                        first_has_begun.set()
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=append, args=(kinds, True)),
            threading.Thread(target=append, args=(kinds[::-1], False)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert store.run(Head(StreamId("s"))) == 2 * len(kinds)

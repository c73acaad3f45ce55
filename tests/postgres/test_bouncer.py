"""The stores and views behind a PgBouncer that pools transactions.

Passed if, with the profile of docs/how-to/postgres.md (a pool whose connections prepare no statements),
the store contract holds, many threads and tasks lose nothing and double nothing, and views are exact.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from eventsrc import Append, Head, Read, ReadFeed, StreamId, Success, synchronise
from eventsrc.events.codec import Codec
from eventsrc.postgres import AsyncPostgresStore, PostgresStore, PostgresViews
from eventsrc.stores.operations import StoreBusy, StoreError, Unreachable
from eventsrc.testing import StoreContract, StoreMachine
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.library import TYPES, Noted, books
from tests.postgres import bouncer
from tests.postgres.test_held import GRACE, ask
from tests.postgres.test_server import until
from tests.postgres.test_views import filled, notes_view, rows_of, wanted
from tests.postgres.witness import Witness, at_work, wrong_with

PROFILE = {"prepare_threshold": None}
CLIENTS = 32


@pytest.fixture(scope="session")
def address(shared_dsn: str) -> Iterator[str]:
    """Of the bouncer; the shared database is behind it."""
    program = bouncer.found()
    if program is None:
        pytest.skip(f"there is no pgbouncer: install it, or name one in {bouncer.PROGRAM}")
    with bouncer.pooling(program, shared_dsn) as address:
        yield address


@pytest.fixture(scope="session")
def pool(address: str) -> Iterator[ConnectionPool[Any]]:
    """A user's pool, with the profile, of many more connections than the bouncer has."""
    with ConnectionPool(address, min_size=2, max_size=CLIENTS, kwargs=PROFILE) as pool:
        yield pool


@pytest.fixture
def schema() -> str:
    """The name of a schema that nobody uses."""
    return f"s{uuid4().hex}"


@pytest.fixture(scope="session")
def shared_store(pool: ConnectionPool[Any]) -> Iterator[PostgresStore]:
    """A store in which each test of the contract leaves its events."""
    with PostgresStore(pool, schema=f"s{uuid4().hex}") as store:
        yield store


class TestBehindABouncer(StoreContract):
    tags = True

    @pytest.fixture
    def store(self, shared_store: PostgresStore) -> PostgresStore:
        return shared_store


def test_behind_a_bouncer_a_store_answers_as_the_memory_store_does(pool: ConnectionPool[Any]) -> None:
    machine = StoreMachine.for_store(
        lambda _: PostgresStore(pool, schema=f"s{uuid4().hex}"), durable=False
    )
    fewer = settings(max_examples=max(settings().max_examples // 3, 1))
    run_state_machine_as_test(machine, settings=fewer)


def test_many_threads_lose_nothing_and_double_nothing(
    pool: ConnectionPool[Any], schema: str, figure: Callable[[str], None]
) -> None:
    witnesses = [Witness(number) for number in range(CLIENTS)]
    with (
        PostgresStore(pool, schema=schema, codec=CODEC) as one,
        PostgresStore(pool, schema=schema, codec=CODEC) as two,
    ):
        over, threads = at_work(witnesses, [one, two])
        until(lambda: sum(w.told["Appended"] for w in witnesses) > scaled(1_200, 48_000), 60)
        over.set()
        for thread in threads:
            thread.join()
        for witness in witnesses:
            witness.settle(one)
        assert wrong_with(witnesses, one) == []
    told = sum(witness.told["Appended"] for witness in witnesses)
    figure(f"{told} appends by {CLIENTS} threads on {bouncer.SESSIONS} sessions: 0 lost, 0 twice")


def test_sessions_that_are_ended_behind_the_bouncer_lose_nothing(
    pool: ConnectionPool[Any], schema: str, shared_dsn: str
) -> None:
    witnesses = [Witness(number) for number in range(8)]
    ends = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    with PostgresStore(pool, schema=schema, codec=CODEC, timeout=10) as store:
        over, threads = at_work(witnesses, [store])
        try:
            for turn in range(1, scaled(6, 160) + 1):
                until(lambda t=turn: sum(w.told["Appended"] for w in witnesses) > 50 * t)  # type: ignore[misc]
                ask(shared_dsn, ends)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        until(lambda: not isinstance(attempted(store), StoreError))
        for witness in witnesses:
            witness.settle(store)
        assert wrong_with(witnesses, store) == []


def attempted(store: PostgresStore) -> object:
    try:
        return store.run(Read(StreamId("ticks/0"), limit=1))
    except StoreError as error:
        return error


def test_many_tasks_append_and_read_back(address: str, schema: str) -> None:
    async def append() -> int:
        async with (
            AsyncConnectionPool(address, min_size=1, max_size=CLIENTS, kwargs=PROFILE) as pool,
            AsyncPostgresStore(pool, schema=schema, codec=CODEC) as store,
            AsyncPostgresStore(pool, schema=schema, codec=CODEC) as other,
        ):
            stream = StreamId("ticks")
            appends = [
                (store, other)[number % 2].run_async(Append(stream, (Tick(number, 0, 1),)))
                for number in range(200)
            ]
            for answer in await asyncio.gather(*appends):
                assert isinstance(answer, Success)
            stored = [event.data.batch for event in (await store.run_async(ReadFeed())).events]
            assert sorted(stored) == list(range(200))
            return await store.run_async(Head(stream))

    assert asyncio.run(append()) == 200


def test_views_are_exact(address: str, schema: str) -> None:
    store = filled(300, 200)
    with (
        ConnectionPool(address, min_size=2, max_size=8, kwargs=PROFILE) as pool,
        PostgresViews(pool, schema=schema) as views,
    ):
        view = notes_view()

        def synchronise_it(_: int) -> None:
            (store | views).run(synchronise(view))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(synchronise_it, range(4)))
        assert rows_of(views) == wanted(300, 200)


def test_an_append_that_waits_for_others_ends_at_its_deadline(
    pool: ConnectionPool[Any], schema: str, shared_dsn: str
) -> None:
    codec = Codec(TYPES)
    with (
        PostgresStore(shared_dsn, schema=schema, codec=codec) as direct,
        PostgresStore(pool, schema=schema, codec=codec, timeout=0.5) as store,
        psycopg.connect(shared_dsn) as db,
    ):
        direct.within(db).run(Append(books[0].id, (Noted(0),)))
        began = time.monotonic()
        with pytest.raises(StoreBusy):
            store.run(Append(books[0].id, (Noted(1),)))
        assert time.monotonic() - began < 0.5 + GRACE
        db.rollback()
        assert store.run(books[0].append(Noted(2))).version == 1


# --- controls: the defaults -----------------------------------------------------------------------


def test_control_connections_that_prepare_statements_are_seen_to_fail(
    address: str, schema: str
) -> None:
    errors: list[StoreError] = []

    def use(store: PostgresStore, number: int) -> None:
        for turn in range(60):
            try:
                store.run(Read(StreamId(f"ticks/{number}-{turn}"), limit=1))
            except StoreError as error:
                errors.append(error)

    with (
        ConnectionPool(address, min_size=8, max_size=8) as pool,
        PostgresStore(pool, schema=schema, codec=CODEC) as store,
        ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(lambda number: use(store, number), range(8)))
    assert any("prepared statement" in str(error) for error in errors)


def test_control_a_store_with_connections_of_its_own_is_refused(address: str) -> None:
    with pytest.raises(Unreachable, match="options"):
        PostgresStore(address, timeout=0.5)

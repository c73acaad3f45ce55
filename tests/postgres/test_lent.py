"""Deadlines on connections that a pool of the user's lends; for a bad network see also test_net.py."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from eventsrc import Append, Head, StoreOp, StreamId, Unknown, synchronise
from eventsrc.postgres import AsyncPostgresStore, PostgresStore, PostgresViews, _link
from eventsrc.postgres._conversation import Statement
from eventsrc.stores.operations import FindAppend, Lost, StoreBusy
from tests.kits.events import CODEC, Tick
from tests.kits.library import filled
from tests.kits.proxy import Frozen, Proxy
from tests.postgres.test_held import GRACE, ask, locked
from tests.postgres.test_net import timed
from tests.postgres.test_views import notes_view

HERE = StreamId("ticks/0")
TIMEOUT = 1.0
SETTINGS = ["statement_timeout", "lock_timeout", "search_path"]
AWAY = 0.8
"""For how many seconds of that there is no connection."""


def tick(number: int) -> Append:
    return Append(HERE, (Tick(number, 0, 1),))


@contextlib.contextmanager
def for_a_while(pool: ConnectionPool[Any]) -> Iterator[None]:
    """The only connection of a pool is somebody else's for a while."""
    connection = pool.getconn()
    timer = threading.Timer(AWAY, pool.putconn, [connection])
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("op", [tick(1), FindAppend(uuid4())], ids=["append", "find"])
def test_waits_for_a_connection_and_for_others_have_one_deadline(
    postgres_dsn: str, op: StoreOp
) -> None:
    with (
        ConnectionPool(postgres_dsn, min_size=1, max_size=1) as pool,
        PostgresStore(pool, codec=CODEC, timeout=TIMEOUT) as store,
    ):
        store.run(tick(0))
        with locked(postgres_dsn), for_a_while(pool):
            took, end = timed(store, op)
        assert isinstance(end, StoreBusy)
        assert "held by process" in str(end)
        assert TIMEOUT <= took < TIMEOUT + GRACE


def test_in_a_loop_they_have_one_deadline_as_well(postgres_dsn: str) -> None:
    async def main() -> float:
        async with (
            AsyncConnectionPool(postgres_dsn, min_size=1, max_size=1) as pool,
            AsyncPostgresStore(pool, codec=CODEC, timeout=TIMEOUT) as store,
        ):
            await store.run_async(tick(0))
            with locked(postgres_dsn):
                connection = await pool.getconn()
                began = time.monotonic()
                call = asyncio.create_task(store.run_async(tick(1)))
                await asyncio.sleep(AWAY)
                await pool.putconn(connection)
                with pytest.raises(StoreBusy, match="held by process"):
                    await call
                return time.monotonic() - began

    assert TIMEOUT <= asyncio.run(main()) < TIMEOUT + GRACE


def test_control_a_server_that_is_given_the_whole_timeout_is_seen_to_leave_a_doubt(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = Statement.within
    monkeypatch.setattr(Statement, "within", lambda asked, _left: within(asked, TIMEOUT))
    with (
        ConnectionPool(postgres_dsn, min_size=1, max_size=1) as pool,
        PostgresStore(pool, codec=CODEC, timeout=TIMEOUT) as store,
    ):
        store.run(tick(0))
        with locked(postgres_dsn), for_a_while(pool):
            took, end = timed(store, tick(1))
        assert isinstance(end.failure(), Unknown)
        assert took < TIMEOUT + GRACE


@pytest.mark.parametrize("writes", [False, True], ids=["read", "append"])
def test_a_cancelled_task_ends_at_once_though_the_network_is_frozen(
    postgres_dsn: str, writes: bool
) -> None:
    async def main(proxy: Proxy) -> float:
        async with (
            AsyncConnectionPool(proxy.dsn, min_size=1, max_size=1) as pool,
            AsyncPostgresStore(pool, codec=CODEC, timeout=10) as store,
        ):
            proxy.fault = Frozen()
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await store.run_async(tick(0) if writes else Head(HERE))
            took = time.monotonic() - began
            proxy.fault = None
            proxy.drop()
            return took

    with Proxy(postgres_dsn) as proxy:
        assert asyncio.run(main(proxy)) < 0.1 + 2 * GRACE


def test_control_psycopg_s_own_cancelling_is_seen_to_take_longer(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_link, "MOMENT", 2.0)

    async def main(proxy: Proxy) -> float:
        async with AsyncPostgresStore(proxy.dsn, codec=CODEC, timeout=10) as store:
            proxy.fault = Frozen()
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await store.run_async(Head(HERE))
            took = time.monotonic() - began
            proxy.fault = None
            proxy.drop()
            return took

    with Proxy(postgres_dsn) as proxy:
        assert asyncio.run(main(proxy)) > 0.1 + 2 * GRACE


def test_a_query_in_a_transaction_of_views_ends_by_the_deadline_of_a_statement(
    postgres_dsn: str,
) -> None:
    view, events = notes_view(), filled(1, 3)
    with Proxy(postgres_dsn) as proxy, PostgresViews(proxy.dsn, [view], timeout=TIMEOUT) as views:
        (events | views).run(synchronise(view))

        def query() -> None:
            with views.reading(view) as connection:
                proxy.fault = Frozen()
                connection.execute("SELECT 1")

        began = time.monotonic()
        with pytest.raises(Lost):
            query()
        took = time.monotonic() - began
        assert TIMEOUT <= took < TIMEOUT + GRACE
        proxy.fault = None
        proxy.drop()


def test_views_on_a_frozen_network_end_by_the_deadline_of_a_statement(postgres_dsn: str) -> None:
    view, events = notes_view(), filled(1, 3)
    with (
        Proxy(postgres_dsn) as proxy,
        ConnectionPool(proxy.dsn, min_size=1, max_size=1) as pool,
        PostgresViews(pool, [view], timeout=TIMEOUT) as views,
    ):
        proxy.fault = Frozen()
        began = time.monotonic()
        with pytest.raises(Lost):
            (events | views).run(synchronise(view))
        assert time.monotonic() - began < TIMEOUT + GRACE
        proxy.fault = None
        proxy.drop()


def test_views_that_wait_for_others_end_by_the_deadline_of_a_statement(postgres_dsn: str) -> None:
    view, events = notes_view(), filled(1, 3)
    with (
        ConnectionPool(postgres_dsn, min_size=1, max_size=1) as pool,
        PostgresViews(pool, [view], timeout=TIMEOUT) as views,
    ):
        place = f"{views.schema(view)}.eventsrc_part"
        with psycopg.connect(postgres_dsn) as other:
            other.execute(f"SELECT FROM {place} FOR UPDATE".encode())
            began = time.monotonic()
            with pytest.raises(StoreBusy):
                (events | views).run(synchronise(view))
            assert 0.75 * TIMEOUT <= time.monotonic() - began < TIMEOUT + GRACE
        assert (events | views).run(synchronise(view)).applied == 3


def test_a_connection_is_given_back_as_it_was(postgres_dsn: str) -> None:
    view, events = notes_view(), filled(1, 3)
    with ConnectionPool(postgres_dsn, min_size=1, max_size=1) as pool:

        def state() -> tuple[object, ...]:
            with pool.connection() as connection:
                shown = [connection.execute(f"SHOW {name}").fetchone() for name in SETTINGS]
                return connection, connection.autocommit, sorted(vars(connection)), shown

        before = state()
        with (
            PostgresStore(pool, codec=CODEC, timeout=TIMEOUT) as store,
            PostgresViews(pool, [view], timeout=TIMEOUT) as views,
        ):
            store.run(tick(0))
            store.run(FindAppend(uuid4()))
            (events | views).run(synchronise(view))
        assert state() == before
    assert ask(postgres_dsn, "SELECT count(*) FROM eventsrc.event") == [(1,)]

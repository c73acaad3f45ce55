"""32 threads use a store that borrows the connections of a user's pool of 2.

Passed if each call ends, with an answer or with an error at its deadline, also when the pool's
connections are all held by those who call; and if the pool is whole afterwards.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool, PoolTimeout

from eventsrc import Append, Head, Read, StreamId, Success, synchronise
from eventsrc.events.codec import Codec
from eventsrc.postgres.store import PostgresStore
from eventsrc.postgres.views import PostgresViews
from eventsrc.stores.operations import SaveSnapshot, Snapshot, StoreBusy, StoreError
from eventsrc.views.operations import GetProgress
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.library import TYPES as LIBRARY
from tests.kits.library import Noted, books
from tests.postgres.test_held import GRACE, locked
from tests.postgres.test_server import until
from tests.postgres.test_views import notes_view, rows_of
from tests.postgres.witness import Witness, at_work, wrong_with

THREADS = 32
TIMEOUT = 1.0
SHORT = 0.2


@pytest.fixture
def pool(postgres_dsn: str) -> Iterator[ConnectionPool[Any]]:
    with ConnectionPool(postgres_dsn, min_size=2, max_size=2, timeout=TIMEOUT) as pool:
        pool.wait(10)
        yield pool


def wrong_with_pool(pool: ConnectionPool[Any], patience: float = 2) -> list[str]:
    """What is not as it was: a connection that is away, or not as a new one is."""
    wrong: list[str] = []
    with contextlib.ExitStack() as held:
        for _ in range(2):
            try:
                connection = held.enter_context(pool.connection(patience))
            except PoolTimeout as error:
                return [*wrong, str(error)]
            if connection.autocommit:
                wrong.append("a connection is left in autocommit")
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                wrong.append("a connection is left in a transaction")
            if connection.execute("SELECT 1").fetchone() != (1,):
                wrong.append("a connection does not work")
    return wrong


def test_many_threads_on_a_small_pool_end_and_leave_it_whole(
    pool: ConnectionPool[Any], figure: Callable[[str], None]
) -> None:
    witnesses = [Witness(number) for number in range(THREADS)]
    with PostgresStore(pool, codec=CODEC, timeout=TIMEOUT) as store:
        for witness in witnesses:
            witness.append(store)
        over, threads = at_work(witnesses, [store])
        until(
            lambda: sum(witness.told["Appended"] for witness in witnesses) > scaled(1_500, 48_000), 60
        )
        over.set()
        for thread in threads:
            thread.join()
        assert wrong_with(witnesses, store) == []
        told = Counter[str]()
        for witness in witnesses:
            told += witness.told
        assert told["Unknown"] == 0
    longest = max(witness.longest for witness in witnesses)
    assert longest < 2 * TIMEOUT + GRACE, "the wait in line, and the wait for a connection"
    assert wrong_with_pool(pool) == []
    figure(f"{dict(told)}, the longest took {longest:.2f} s")


def use_while_holding(store: PostgresStore, pool: ConnectionPool[Any]) -> list[float]:
    """Threads hold the pool's connections and use the store; answers how long each call took."""
    took: list[float] = []

    def use(number: int) -> None:
        with contextlib.suppress(PoolTimeout), pool.connection(TIMEOUT) as connection:
            connection.execute("SELECT 1")
            for op in (Append(StreamId("ticks/0"), (Tick(number, 0, 1),)), Head(StreamId("ticks/0"))):
                began = time.monotonic()
                with contextlib.suppress(StoreError):
                    store.run(op)
                took.append(time.monotonic() - began)

    with ThreadPoolExecutor(THREADS) as threads:
        for call in [threads.submit(use, number) for number in range(THREADS)]:
            call.result(60)
    return took


@pytest.mark.timeout(60)
def test_a_store_used_by_those_who_hold_its_pool_does_not_lock_up(
    pool: ConnectionPool[Any], figure: Callable[[str], None]
) -> None:
    with PostgresStore(pool, codec=CODEC, timeout=SHORT) as store:
        took = use_while_holding(store, pool)
        assert max(took) < 2 * SHORT + GRACE, "the wait in line, and the wait for a connection"
        assert wrong_with_pool(pool) == []
        assert isinstance(store.run(Append(StreamId("ticks/0"), (Tick(99, 0, 1),))), Success)
    assert wrong_with_pool(pool) == []
    figure(f"{len(took)} calls, the longest took {max(took):.2f} s")


def test_a_pool_whose_sessions_are_terminated_is_whole_afterwards(
    pool: ConnectionPool[Any], postgres_dsn: str
) -> None:
    witnesses = [Witness(number) for number in range(8)]
    ends = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with PostgresStore(pool, codec=CODEC, timeout=10) as store:
        over, threads = at_work(witnesses, [store])
        try:
            with psycopg.connect(postgres_dsn, autocommit=True) as connection:
                for turn in range(1, 11):
                    until(lambda t=turn: sum(w.told["Appended"] for w in witnesses) > 50 * t)  # type: ignore[misc]
                    connection.execute(ends + b" AND pid <> pg_backend_pid()")
        finally:
            over.set()
            for thread in threads:
                thread.join()
        until(lambda: not isinstance(attempted(store), StoreError))
        for witness in witnesses:
            witness.settle(store)
        assert wrong_with(witnesses, store) == []
    until(lambda: wrong_with_pool(pool) == [])


def attempted(store: PostgresStore) -> object:
    try:
        return store.run(Read(StreamId("ticks/0"), limit=1))
    except StoreError as error:
        return error


def test_what_waits_for_rows_that_are_not_committed_ends_at_its_deadline(
    pool: ConnectionPool[Any], postgres_dsn: str
) -> None:
    here = StreamId("ticks/0")
    saving = SaveSnapshot(Snapshot(here, "fold", 1, 1, b"1"))
    with (
        PostgresStore(pool, codec=CODEC, timeout=SHORT) as store,
        psycopg.connect(postgres_dsn) as db,
    ):
        joined = store.within(db)
        joined.run(saving)
        joined.run(Append(here, (Tick(0, 0, 1),)))  # of a kind that is new
        for op in (saving, Append(here, (Tick(1, 0, 1),))):
            began = time.monotonic()
            with pytest.raises(StoreBusy):
                store.run(op)
            assert time.monotonic() - began < SHORT + GRACE
        db.rollback()
        assert store.run(Append(here, (Tick(1, 0, 1),))).unwrap().version == 1
    assert wrong_with_pool(pool) == []


def test_control_a_connection_that_is_not_given_back_is_caught(pool: ConnectionPool[Any]) -> None:
    kept = pool.getconn()
    assert wrong_with_pool(pool, 0.2) != []
    pool.putconn(kept)
    assert wrong_with_pool(pool) == []


def test_control_threads_that_wait_for_each_other_s_connections_are_caught(
    pool: ConnectionPool[Any],
) -> None:
    both = threading.Barrier(2)

    def take_two() -> None:
        with pool.connection():
            both.wait(10)
            with pool.connection(1):
                pass

    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(take_two) for _ in range(2)]
        assert isinstance(calls[0].exception(10) or calls[1].exception(10), PoolTimeout)
    assert time.monotonic() - began > 2 * SHORT + GRACE


class Interrupted(Exception):
    """Raised by the handler of a signal, as task queues do at a soft limit."""


def test_what_interrupts_a_call_is_raised_and_its_connection_replaced(
    pool: ConnectionPool[Any], postgres_dsn: str
) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    with PostgresStore(pool, codec=CODEC, timeout=10) as store:
        store.run(Append(StreamId("ticks/0"), (Tick(0, 0, 1),)))
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with locked(postgres_dsn):
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(Interrupted):
                    store.run(Append(StreamId("ticks/0"), (Tick(1, 0, 1),)))
        finally:
            signal.signal(signal.SIGALRM, before)
        assert isinstance(store.run(Append(StreamId("ticks/0"), (Tick(2, 0, 1),))), Success)
    until(lambda: wrong_with_pool(pool) == [])


def test_a_store_and_views_share_a_small_pool(postgres_dsn: str, figure: Callable[[str], None]) -> None:
    view, total = notes_view(), scaled(400)
    errors: list[BaseException] = []
    with (
        ConnectionPool(postgres_dsn, min_size=2, max_size=2) as pool,
        PostgresStore(pool, codec=Codec(LIBRARY), timeout=20) as store,
        PostgresViews(pool, [view], timeout=20) as views,
    ):
        appending = itertools.count()

        def append() -> None:
            try:
                while (number := next(appending)) < total:
                    store.run(books[number % 3].append(Noted(number)))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=append) for _ in range(8)]
        for thread in threads:
            thread.start()
        rounds = 0
        while any(thread.is_alive() for thread in threads):
            (store | views).run(synchronise(view))
            rounds += 1
        for thread in threads:
            thread.join()
        (store | views).run(synchronise(view))
        assert errors == []
        assert views.run(GetProgress(view)).applied == total
        stored = [
            recorded.data.number for recorded in store.run(Read(books[0].id, limit=10_000)).events
        ]
        assert rows_of(views)[books[0].id] == ",".join(map(str, stored))
        assert wrong_with_pool(pool) == []
    figure(f"{total} events applied in {rounds} rounds while they were appended")

"""Open Postgres stores, views and listeners in forked processes.

Passed if each use there is refused with StoreClosed, none hangs, and the sessions of the process that
opened them go on as if nothing had been.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from eventsrc import START, Head, synchronise
from eventsrc.following.waiting import WaitForEvents
from eventsrc.postgres import AsyncPostgresStore, PostgresListener, PostgresStore, PostgresViews
from eventsrc.postgres._link import Link
from eventsrc.views.operations import GetProgress
from tests.faults.test_fork import HERE, USES, append, in_a_fork, needs_fork, numbers
from tests.kits.events import CODEC
from tests.postgres.test_held import is_waiting, locked
from tests.postgres.test_server import until
from tests.postgres.test_views import notes_view

pytestmark = [needs_fork, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]
USES_OF_STORE: dict[str, Any] = {name: use for name, use in USES.items() if "task" not in name}


@pytest.fixture
def store(postgres_dsn: str) -> Iterator[PostgresStore]:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=1) as store:
        append(store, 0)
        yield store


def session(store: PostgresStore) -> int:
    """The process of the server that serves the store."""
    link: Any = store._link
    (session,) = link.policy._idle
    pid: int = session.connection.info.backend_pid
    return pid


@pytest.mark.parametrize("use", USES_OF_STORE)
def test_a_forked_process_is_refused_every_use_of_the_store(store: PostgresStore, use: str) -> None:
    before = session(store)
    assert in_a_fork(lambda: USES_OF_STORE[use](store)) == "StoreClosed"
    append(store, 1)
    assert numbers(store) == [0, 1]
    assert session(store) == before


@pytest.mark.parametrize("use", USES_OF_STORE)
def test_a_forked_process_is_refused_a_store_on_a_pool(postgres_dsn: str, use: str) -> None:
    with (
        ConnectionPool(postgres_dsn, min_size=1, max_size=1) as pool,
        PostgresStore(pool, codec=CODEC, timeout=1) as store,
    ):
        append(store, 0)
        assert in_a_fork(lambda: USES_OF_STORE[use](store)) == "StoreClosed"
        append(store, 1)
        assert numbers(store) == [0, 1]


def test_control_a_store_that_does_not_look_where_it_is_is_caught(store: PostgresStore) -> None:
    def use_it() -> None:
        link: Any = store._link
        link.policy._pid = link.policy._idle[0]._pid = os.getpid()
        USES_OF_STORE["append"](store)

    assert in_a_fork(use_it) != "StoreClosed"


def test_forked_processes_that_let_go_of_the_store_or_close_it_do_no_harm(postgres_dsn: str) -> None:
    kept = [PostgresStore(postgres_dsn, codec=CODEC)]

    def let_go() -> None:
        kept.clear()
        gc.collect()

    append(kept[0], 0)
    before = session(kept[0])
    for number in range(1, 5):
        assert in_a_fork(let_go if number % 2 else kept[0].close) == "done"
        append(kept[0], number)
    assert session(kept[0]) == before
    assert numbers(kept[0]) == [0, 1, 2, 3, 4]
    kept[0].close()


def test_forked_processes_open_the_store_themselves(store: PostgresStore, postgres_dsn: str) -> None:
    def open_it() -> None:
        with PostgresStore(postgres_dsn, codec=CODEC) as mine:
            append(mine, 1)

    assert in_a_fork(open_it) == "done"
    append(store, 2)
    assert numbers(store) == [0, 1, 2]


@pytest.mark.parametrize("use", ["append", "read"])
def test_a_process_forked_during_an_append_is_refused_too(
    store: PostgresStore, postgres_dsn: str, use: str
) -> None:
    with locked(postgres_dsn):
        appending = threading.Thread(target=append, args=(store, 1))
        appending.start()
        until(lambda: is_waiting(postgres_dsn))
        assert in_a_fork(lambda: USES_OF_STORE[use](store)) == "StoreClosed"
        assert in_a_fork(store.close) == "done"
    appending.join(10)
    assert numbers(store) == [0, 1]


def test_a_transaction_is_not_ended_by_a_forked_process_that_leaves_it(postgres_dsn: str) -> None:
    link = Link(postgres_dsn, 1, for_handlers=True)

    def leave() -> None:
        try:
            raise ValueError
        finally:
            opened.__exit__(ValueError, ValueError(), None)

    opened = link.transaction()
    opened.__enter__().connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    assert in_a_fork(leave) in ("StoreClosed", "ValueError")
    opened.__exit__(None, None, None)
    with link.transaction() as session:
        assert session.connection.execute("SELECT n FROM kept").fetchone() == (1,)
    link.close()


@pytest.fixture
def views(postgres_dsn: str) -> Iterator[PostgresViews]:
    with PostgresViews(postgres_dsn, [notes_view()], timeout=1) as views:
        yield views


def read_rows(views: PostgresViews) -> None:
    with views.reading(notes_view()) as connection:
        connection.execute("SELECT 1")


USES_OF_VIEWS: dict[str, Callable[[PostgresStore, PostgresViews], object]] = {
    "synchronise": lambda store, views: (store | views).run(synchronise(notes_view())),
    "query": lambda _, views: read_rows(views),
    "progress": lambda _, views: views.run(GetProgress(notes_view())),
}


@pytest.mark.parametrize("use", USES_OF_VIEWS)
def test_a_forked_process_is_refused_every_use_of_views(
    store: PostgresStore, views: PostgresViews, use: str
) -> None:
    assert in_a_fork(lambda: USES_OF_VIEWS[use](store, views)) == "StoreClosed"
    assert in_a_fork(views.close) == "done"
    USES_OF_VIEWS[use](store, views)


@pytest.mark.usefixtures("store")
def test_a_forked_process_is_refused_a_listener(postgres_dsn: str) -> None:
    wait = WaitForEvents(START, 0.2)
    with PostgresListener(postgres_dsn) as listener:
        assert listener.run(wait) is True
        assert in_a_fork(lambda: listener.run(wait)) == "StoreClosed"
        assert in_a_fork(lambda: asyncio.run(listener.run_async(wait))) == "StoreClosed"
        assert in_a_fork(listener.close) == "done"
        assert listener.run(wait) is True


def test_a_forked_process_is_refused_an_asynchronous_store(postgres_dsn: str) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC, timeout=1) as store:
            refused = in_a_fork(lambda: finished(store.run_async(Head(HERE))))
            assert refused == "StoreClosed"
            assert in_a_fork(lambda: finished(store.close())) == "done"
            assert await store.run_async(Head(HERE)) == 0

    asyncio.run(main())


def finished(coroutine: Any) -> None:
    """Performs a coroutine that waits for nothing."""
    with pytest.raises(StopIteration):
        coroutine.send(None)

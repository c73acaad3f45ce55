"""Each door to Postgres while the connection breaks, or the server is away: see tests/contracts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from eventsrc import Append, ReadFeed, View, synchronise
from eventsrc.errors import Unreachable
from eventsrc.following.waiting import WaitForEvents
from eventsrc.postgres import AsyncPostgresStore, PostgresListener, PostgresStore, PostgresViews
from eventsrc.postgres._connection import Session
from eventsrc.testing.postgres import FAST, PostgresServer
from eventsrc.views.operations import Apply
from tests.contracts.doors import (
    HERE,
    Door,
    check_all_are_knocked_at,
    doors,
    doors_async,
    knock,
    of_store,
    of_views,
)
from tests.kits.databases import _END_SESSIONS
from tests.kits.library import CODEC, Noted
from tests.kits.proxy import Cut, Proxy
from tests.kits.views import Kit

TIMEOUT = 5.0
SHORT = 0.3


@contextlib.contextmanager
def opened(
    dsn: str, way: str, amid: Callable[[], object] = lambda: None, timeout: float = TIMEOUT
) -> Iterator[dict[str, Door]]:
    """All doors of one way to a database.

    amid: is called where a door stands open, in the middle of a user's reading or writing.
    """
    pool: Any
    kit = Kit(dsn)
    with contextlib.ExitStack() as stack:
        found: list[tuple[str, Door]] = []
        if way.startswith("async"):
            loop = stack.enter_context(asyncio.Runner()).get_loop()
            address: Any = dsn
            if way == "async pool":
                pool = AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False, timeout=timeout)
                loop.run_until_complete(pool.open(wait=True))
                stack.callback(lambda: loop.run_until_complete(pool.close()))
                address = pool
            store = AsyncPostgresStore(address, codec=CODEC, timeout=timeout)
            loop.run_until_complete(store.open())
            stack.callback(lambda: loop.run_until_complete(store.close()))
            if way == "async within":
                caller = loop.run_until_complete(psycopg.AsyncConnection.connect(dsn))
                stack.callback(lambda: loop.run_until_complete(caller.close()))
                found += doors_async(store.within(caller), of_store(), loop)
            else:
                found += doors_async(store, of_store(), loop)
        else:
            address = dsn
            if way == "pool":
                pool = ConnectionPool(dsn, min_size=1, max_size=2, timeout=timeout)
                address = stack.enter_context(pool)
            store_ = stack.enter_context(PostgresStore(address, codec=CODEC, timeout=timeout))
            store_.run(Append(HERE, (Noted(0),)))
            if way == "within":
                mine = stack.enter_context(contextlib.closing(psycopg.connect(dsn)))
                found += doors(store_.within(mine), of_store())
            else:
                found += doors(store_, of_store())
                found += of_opened_views(stack, kit, address, store_, amid, timeout)
            if way == "own":
                found += opening(dsn, kit.notes(), timeout)
                listener = stack.enter_context(PostgresListener(dsn, timeout=timeout))
                end = store_.run(ReadFeed()).end
                found.append(("listen", lambda: listener.run(WaitForEvents(end, 0.01))))
        yield {f"{number} {name}": door for number, (name, door) in enumerate(found)}


def of_opened_views(
    stack: contextlib.ExitStack,
    kit: Kit,
    address: Any,
    store: PostgresStore,
    amid: Callable[[], object],
    timeout: float,
) -> Iterator[tuple[str, Door]]:
    view, other = kit.notes(), kit.notes(version=2)
    third: View[Any] = View("third")
    views = stack.enter_context(PostgresViews(address, [view, other, third], timeout=timeout))
    (store | views).run(synchronise(view))
    events = store.run(ReadFeed()).events

    def read(*also: View[Any]) -> object:
        with views.reading(view, *also) as db:
            amid()
            return db.execute("SELECT * FROM note").fetchall()

    def read_nothing() -> None:
        with views.reading(view):
            amid()

    def copied() -> None:
        with views.writing(view) as ledger:
            amid()
            ledger.parked()

    def written() -> None:
        with views.writing(view) as ledger:
            db: Any = ledger.database
            db.execute("DELETE FROM note")
            amid()

    yield from doors(views, of_views(view, other, events))
    yield "reading", read
    yield "reading two", lambda: read(third)
    yield "reading nothing", read_nothing
    yield "writing", copied
    yield "committing", written
    yield "a view that was never made", lambda: views.run(Apply(View[Any]("new"), events))


def opening(dsn: str, view: View[Any], timeout: float) -> Iterator[tuple[str, Door]]:
    yield "open a store", lambda: PostgresStore(dsn, codec=CODEC, timeout=timeout).close()
    yield "open views", lambda: PostgresViews(dsn, [view], timeout=timeout).close()
    yield "open a listener", lambda: PostgresListener(dsn, timeout=timeout).close()


WAYS = ["own", "pool", "within", "async", "async pool", "async within"]


def test_each_operation_has_a_door_here() -> None:
    check_all_are_knocked_at()


@pytest.mark.parametrize("way", WAYS)
def test_each_door_has_a_typed_error_if_its_session_is_ended(postgres_dsn: str, way: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:

        def end() -> None:
            admin.execute(_END_SESSIONS)

        with opened(postgres_dsn, way, end) as found:
            for door in found.values():
                end()
                knock(door)
                knock(door)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_each_door_has_a_typed_error_if_the_network_breaks_in_the_middle(
    postgres_dsn: str, way: str, after: int
) -> None:
    with Proxy(postgres_dsn) as proxy, opened(proxy.dsn, way) as found:
        for door in found.values():
            proxy.fault = Cut(after * 40, "client")
            knock(door)
            proxy.fault = None
            knock(door)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with PostgresServer(settings=FAST) as server:
        yield server


@pytest.mark.parametrize("way", WAYS)
def test_each_door_has_a_typed_error_while_the_server_is_away(
    own_server: PostgresServer, way: str
) -> None:
    with opened(own_server.create_database(), way, timeout=SHORT) as found:
        own_server.stop_immediately()
        try:
            outcomes = {name: knock(door) for name, door in found.items()}
        finally:
            own_server.start()
        assert {name for name, outcome in outcomes.items() if outcome == "answered"} == {
            name for name in outcomes if name.endswith("listen")
        }


def test_an_error_of_a_server_that_is_away_may_pass_and_that_of_a_refused_role_may_not(
    postgres_dsn: str,
) -> None:
    for address, may_pass in (("port=1", True), ("user=nobody_of_that_name", False)):
        with pytest.raises(Unreachable) as raised:
            PostgresStore(f"{postgres_dsn} {address}", timeout=SHORT)
        assert raised.value.may_pass is may_pass


def test_mistakes_in_sql_are_their_makers(postgres_dsn: str) -> None:
    view = Kit(postgres_dsn).notes()
    with PostgresViews(postgres_dsn, [view]) as views:
        with pytest.raises(psycopg.errors.UndefinedTable), views.reading(view) as db:
            db.execute("SELECT * FROM nowhere")
        with pytest.raises(psycopg.errors.UndefinedTable), views.writing(view) as ledger:
            cast("psycopg.Connection[Any]", ledger.database).execute("SELECT * FROM nowhere")


def test_control_errors_of_the_driver_that_are_let_out_are_caught(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "typed", lambda _: contextlib.nullcontext())
    let_out: set[str] = set()
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:

        def end() -> None:
            admin.execute(_END_SESSIONS)

        with opened(postgres_dsn, "own", end) as found:
            for name, door in found.items():
                try:
                    knock(door)
                except psycopg.Error:
                    let_out.add(name.partition(" ")[2])
    assert let_out >= {"reading", "reading nothing", "committing"}

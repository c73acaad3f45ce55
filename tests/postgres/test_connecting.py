"""Connections: what is given is checked, their settings are ours, and none is waited for too long."""

from __future__ import annotations

import asyncio
import math
import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from eventsrc import Append, Head, Read, ReadFeed, StreamId, event, synchronise
from eventsrc.events.codec import Codec
from eventsrc.events.event import EventTypes
from eventsrc.opening import open_store, open_store_async, open_views
from eventsrc.postgres import (
    AsyncPostgresStore,
    PostgresListener,
    PostgresStore,
    PostgresViews,
)
from eventsrc.postgres._connection import is_stale
from eventsrc.stores.operations import StoreClosed, StoreError, Unreachable
from tests.kits.events import CODEC, Tick
from tests.kits.proxy import Frozen, Proxy
from tests.postgres.test_held import GRACE, ask
from tests.postgres.test_store import in_a_loop
from tests.postgres.test_views import filled, notes_view, rows_of, wanted

HERE = StreamId("日本")
TYPES = EventTypes()


@event("test.connecting.said", types=TYPES)
class Said:
    text: str


SAID = Codec(TYPES)

Open = Callable[..., Any]


@pytest.fixture(params=["PostgresStore", "AsyncPostgresStore"])
def opened(request: pytest.FixtureRequest) -> Open:
    return PostgresStore if request.param == "PostgresStore" else in_a_loop


@pytest.fixture(params=["PostgresStore", "AsyncPostgresStore", "PostgresViews"])
def made(request: pytest.FixtureRequest) -> Open:
    kinds: dict[str, Open] = {
        "PostgresStore": PostgresStore,
        "AsyncPostgresStore": AsyncPostgresStore,
        "PostgresViews": PostgresViews,
    }
    return kinds[request.param]


# --- what is given


SECRET = "hunter2-s3cr3t"


@pytest.mark.parametrize(
    "address",
    [
        f"postgres//app:{SECRET}@db.example/shop",
        f"postgresql+psycopg://app:{SECRET}@db.example/shop",
        f"postgresql://app:{SECRET}@db.example:54x2/shop",
        f"postgresql://app:{SECRET}/x@db.example/shop",
        f"postgresql://app:x@{SECRET}@db.example/shop",
        f"postgresql://app:{SECRET}%zz@db.example/shop",
        f"host=db.example user=app password='{SECRET}",
        f"host=127.0.0.1 port=1 user=app password={SECRET}",
        f"postgresql://app:{SECRET}@db.example/shop".encode(),
    ],
)
def test_no_part_of_a_password_is_in_an_error_or_repr(made: Open, address: Any) -> None:
    error: BaseException | None = None
    try:
        shown = repr(made(address, timeout=0.2))  # some connect later
    except (ValueError, TypeError, StoreError) as caught:
        shown, error = "", caught
    while error is not None:
        shown += f"{error!r} {error} {getattr(error, '__notes__', '')}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert SECRET not in shown


def test_what_is_no_connection_string_is_refused_at_once(made: Open) -> None:
    with pytest.raises(ValueError, match="no connection string"):
        made("nonsense")
    for address in (5, None, b"dbname=x"):
        with pytest.raises(TypeError, match="give a connection string"):
            made(address)


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, 1e12])
def test_a_timeout_that_cannot_be_waited_for_is_refused(made: Open, timeout: float) -> None:
    with pytest.raises(ValueError, match="give more than 0 seconds"):
        made("dbname=x", timeout=timeout)


@pytest.mark.parametrize("timeout", [None, "5", True])
def test_a_timeout_that_is_no_number_is_refused(made: Open, timeout: Any) -> None:
    with pytest.raises(TypeError, match="give a number of seconds"):
        made("dbname=x", timeout=timeout)


def test_a_pool_of_the_other_kind_is_refused(postgres_dsn: str) -> None:
    async def asynchronous() -> None:
        for kind in (PostgresStore, PostgresViews):
            pool: Any = AsyncConnectionPool(postgres_dsn, open=False)
            with pytest.raises(TypeError, match="give this one a ConnectionPool"):
                kind(pool)

    asyncio.run(asynchronous())
    wrong: Any = ConnectionPool(postgres_dsn, open=False)
    with pytest.raises(TypeError, match="give this one a AsyncConnectionPool"):
        AsyncPostgresStore(wrong)
    with pytest.raises(TypeError, match="give the connection string"):
        PostgresListener(wrong)


def test_a_pool_that_is_not_open_says_so(postgres_dsn: str) -> None:
    with pytest.raises(StoreClosed, match="not open yet: open the pool"):
        PostgresStore(ConnectionPool(postgres_dsn, open=False))


def test_a_store_that_was_not_opened_says_so(postgres_dsn: str) -> None:
    store = AsyncPostgresStore(postgres_dsn, codec=CODEC)
    for op in (Append(HERE, (Tick(0, 0, 1),)), Head(HERE), ReadFeed()):
        with pytest.raises(StoreClosed, match="open it with `async with`"):
            asyncio.run(store.run_async(op))


@pytest.mark.parametrize("wrong", [{"dbname": "nowhere"}, {"user": "nobody_at_all"}])
def test_what_does_not_exist_is_not_waited_for(
    postgres_dsn: str, opened: Open, wrong: dict[str, str]
) -> None:
    began = time.monotonic()
    with (
        pytest.raises(Unreachable, match="does not exist"),
        opened(make_conninfo(postgres_dsn, **wrong), timeout=30),
    ):
        pass
    assert time.monotonic() - began < 10


def test_the_cause_is_told_when_the_time_is_up(opened: Open) -> None:
    with (
        pytest.raises(Unreachable, match="No such file or directory"),
        opened("host=/nowhere dbname=nothing", timeout=0.3),
    ):
        pass


# --- settings of databases, roles and users


@pytest.fixture(params=["repeatable read", "serializable"])
def strict_dsn(request: pytest.FixtureRequest, postgres_dsn: str) -> str:
    """A database whose transactions see only what was committed before they began."""
    name = conninfo_to_dict(postgres_dsn)["dbname"]
    ask(
        postgres_dsn, f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{request.param}'"
    )
    return postgres_dsn


def test_stores_and_views_choose_their_isolation_themselves(strict_dsn: str, opened: Open) -> None:
    with opened(strict_dsn, codec=CODEC) as store, opened(strict_dsn, codec=CODEC) as other:
        for number in range(20):
            (store, other)[number % 2].run(Append(HERE, (Tick(number, 0, 1),))).unwrap()
        assert store.run(Head(HERE)) == 20
    with PostgresViews(strict_dsn, [notes_view()]) as views:
        assert (filled(3) | views).run(synchronise(notes_view())).applied == 3


def test_a_lent_connection_whose_transactions_see_too_little_is_refused(strict_dsn: str) -> None:
    with (
        ConnectionPool(strict_dsn, min_size=1) as pool,
        pytest.raises(StoreError, match="make them READ COMMITTED"),
    ):
        PostgresStore(pool)


FACTORIES: dict[str, dict[str, Any]] = {
    "dict_row": {"row_factory": dict_row},
    "ClientCursor": {"cursor_factory": psycopg.ClientCursor},
    "RawCursor": {"cursor_factory": psycopg.RawCursor},
}
ASYNC_FACTORIES: dict[str, dict[str, Any]] = {
    "dict_row": {"row_factory": dict_row},
    "ClientCursor": {"cursor_factory": psycopg.AsyncClientCursor},
    "RawCursor": {"cursor_factory": psycopg.AsyncRawCursor},
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_store_on_a_pool_with_cursors_of_its_users(postgres_dsn: str, name: str) -> None:
    how = FACTORIES[name]
    with (
        ConnectionPool(postgres_dsn, min_size=1, kwargs=how) as pool,
        PostgresStore(pool, codec=CODEC) as store,
        psycopg.connect(postgres_dsn, **how) as connection,
    ):
        store.run(Append(HERE, (Tick(0, 0, 1),))).unwrap()
        store.within(connection).run(Append(HERE, (Tick(1, 0, 1),))).unwrap()
        connection.commit()
        assert [recorded.data.batch for recorded in store.run(Read(HERE)).events] == [0, 1]


@pytest.mark.parametrize("name", ASYNC_FACTORIES)
def test_an_asynchronous_store_on_a_pool_with_cursors_of_its_users(
    postgres_dsn: str, name: str
) -> None:
    how = ASYNC_FACTORIES[name]

    async def main() -> None:
        async with (
            AsyncConnectionPool(postgres_dsn, min_size=1, kwargs=how, open=False) as pool,
            AsyncPostgresStore(pool, codec=CODEC) as store,
            await psycopg.AsyncConnection.connect(postgres_dsn, **how) as connection,
        ):
            (await store.run_async(Append(HERE, (Tick(0, 0, 1),)))).unwrap()
            joined = store.within(connection)
            (await joined.run_async(Append(HERE, (Tick(1, 0, 1),)))).unwrap()
            await connection.commit()
            assert await store.run_async(Head(HERE)) == 2

    asyncio.run(main())


def test_views_on_a_pool_with_rows_of_its_users(postgres_dsn: str) -> None:
    with (
        ConnectionPool(postgres_dsn, min_size=1, kwargs={"row_factory": dict_row}) as pool,
        PostgresViews(pool, [notes_view()]) as lent,
        PostgresViews(postgres_dsn) as views,
    ):
        assert (filled(3) | lent).run(synchronise(notes_view())).applied == 3
        with lent.reading(notes_view()) as connection:
            rows = connection.execute("SELECT numbers FROM notes").fetchall()
        assert rows == [{"numbers": "0,1,2"}], "queries get the rows that their pool makes"
        assert rows_of(views) == wanted(3)


@pytest.mark.parametrize("encoding", ["latin1", "sql_ascii"])
def test_texts_are_what_they_were_whatever_the_address_says(
    postgres_dsn: str, opened: Open, encoding: str
) -> None:
    with opened(f"{postgres_dsn} client_encoding={encoding}", codec=SAID) as store:
        store.run(Append(HERE, (Said("日本"),))).unwrap()
    with opened(postgres_dsn, codec=SAID) as store:
        (recorded,) = store.run(ReadFeed()).events
        assert (recorded.stream, recorded.data) == (HERE, Said("日本"))


def test_a_lent_connection_that_speaks_otherwise_is_refused(postgres_dsn: str) -> None:
    other = f"{postgres_dsn} client_encoding=latin1"
    with (
        ConnectionPool(other, min_size=1) as pool,
        pytest.raises(StoreError, match="client_encoding=UTF8"),
    ):
        PostgresStore(pool)
    with (
        PostgresStore(postgres_dsn, codec=CODEC) as store,
        psycopg.connect(other) as connection,
        pytest.raises(StoreError, match="client_encoding=UTF8"),
    ):
        store.within(connection).run(Head(HERE))


# --- deadlines


@pytest.mark.parametrize("hosts", [1, 3])
def test_connecting_ends_by_the_deadline(postgres_dsn: str, opened: Open, hosts: int) -> None:
    timeout = 0.5
    with Proxy(postgres_dsn) as proxy:
        parts = conninfo_to_dict(proxy.dsn)
        several = {name: ",".join([str(parts[name])] * hosts) for name in ("host", "port")}
        with opened(make_conninfo(proxy.dsn, **several), codec=CODEC, timeout=timeout) as store:
            proxy.drop()
            time.sleep(0.05)
            proxy.fault = Frozen()
            for op in (Head(HERE), Append(HERE, (Tick(0, 0, 1),))):
                began = time.monotonic()
                with pytest.raises(Unreachable):
                    store.run(op)
                assert time.monotonic() - began < timeout + GRACE
            proxy.fault = None
            proxy.drop()


def test_a_host_that_does_not_answer_is_passed_over_in_time(postgres_dsn: str, opened: Open) -> None:
    with Proxy(postgres_dsn) as frozen, Proxy(postgres_dsn) as well:
        frozen.fault = Frozen()
        one, other = conninfo_to_dict(frozen.dsn), conninfo_to_dict(well.dsn)
        both = {name: f"{one[name]},{other[name]}" for name in ("host", "port")}
        with opened(make_conninfo(well.dsn, **both), codec=CODEC, timeout=2) as store:
            assert store.run(Head(HERE)) == 0
        frozen.fault = None


@pytest.mark.parametrize("writes", [False, True], ids=["read", "append"])
def test_a_cancelled_task_ends_at_once_though_the_network_is_frozen(
    postgres_dsn: str, writes: bool
) -> None:
    async def main(proxy: Proxy) -> float:
        async with AsyncPostgresStore(proxy.dsn, codec=CODEC, timeout=10) as store:
            proxy.fault = Frozen()
            op = Append(HERE, (Tick(0, 0, 1),)) if writes else Head(HERE)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await store.run_async(op)
            proxy_began = time.monotonic()
            proxy.fault = None
            proxy.drop()
            return proxy_began

    with Proxy(postgres_dsn) as proxy:
        began = time.monotonic()
        assert asyncio.run(main(proxy)) - began < 0.1 + 2 * GRACE


# --- many files


@pytest.fixture
def _many_files() -> Iterator[None]:
    """So many files are open that the next ones have numbers beyond those that `select` knows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_000:
        pytest.skip("a process may not have more than 1024 files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1_100)]
    try:
        yield
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_files")
def test_connections_are_kept_where_many_files_are_open(postgres_dsn: str) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        sessions: set[int] = set()
        for _ in range(10):
            store.run(Head(HERE))
            link: Any = store._link
            connection = link.policy._idle[-1].connection
            assert connection.fileno() > 1024
            assert not is_stale(connection)
            sessions.add(connection.info.backend_pid)
        assert len(sessions) == 1


# --- by a URL


def test_a_url_of_either_scheme_opens_a_store_and_views(postgres_dsn: str) -> None:
    async def head(url: str) -> int:
        async with open_store_async(url, SAID) as store:
            return await store.run_async(Head(StreamId("said/1")))

    options = conninfo_to_dict(postgres_dsn)
    parts = "&".join(f"{key}={quote(str(value))}" for key, value in options.items())
    for number, scheme in enumerate(("postgresql", "postgres"), 1):
        url = f"{scheme}://?{parts}"
        with open_store(url, SAID) as store, open_views(url) as views:
            assert (type(store), type(views)) == (PostgresStore, PostgresViews)
            store.run(Append(StreamId("said/1"), (Said("hello"),)))
        assert asyncio.run(head(url)) == number

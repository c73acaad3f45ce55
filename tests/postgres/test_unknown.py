"""What became of an append that is Unknown: settled while its statement may still be on its way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, product
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from eventsrc import Append, AppendAll, Failure, Read, ReadFeed, StreamAppend, StreamId
from eventsrc.events.event import Opaque
from eventsrc.postgres import _connection, _link, _questions
from eventsrc.postgres._conversation import Statement
from eventsrc.postgres._link import AsyncLink, Link
from eventsrc.postgres.store import PostgresStore
from eventsrc.stores.operations import (
    Appended,
    FindAppend,
    Lost,
    StoreBusy,
    StoreError,
    Unknown,
    Unreachable,
)
from tests.kits.databases import _END_SESSIONS
from tests.kits.events import CODEC, Tick
from tests.kits.proxy import Frozen, Proxy
from tests.postgres.test_held import is_waiting, locked
from tests.postgres.test_server import until
from tests.postgres.witness import outcome

HERE, ALSO = StreamId("here"), StreamId("also")
TIMEOUT = 0.3


def ticks(batch: int, size: int = 1) -> tuple[Tick, ...]:
    return tuple(Tick(batch, number, size) for number in range(size))


@pytest.fixture
def direct(postgres_dsn: str) -> Iterator[PostgresStore]:
    """A store beside the one whose network is bad."""
    with PostgresStore(postgres_dsn, codec=CODEC) as direct:
        direct.run(Append(HERE, ticks(0)))
        yield direct


def stored(store: PostgresStore) -> list[int]:
    return [recorded.data.batch for recorded in store.run(ReadFeed()).events]


@pytest.mark.parametrize(
    ("stream", "size"),
    [(HERE, 1), (HERE, 2), (StreamId("new"), 1)],
    ids=["one", "several", "a new stream"],
)
def test_a_statement_that_comes_after_its_retry_stores_nothing(
    postgres_dsn: str, direct: PostgresStore, stream: StreamId, size: int
) -> None:
    with Proxy(postgres_dsn) as proxy, PostgresStore(proxy.dsn, codec=CODEC, timeout=TIMEOUT) as store:
        store.run(Read(HERE))
        proxy.fault = Frozen()
        told = outcome(store, Append(stream, ticks(1, size)))
        assert isinstance(told, Unknown)
        retried = outcome(direct, Append(stream, ticks(1, size), append_id=told.append_id))
        assert isinstance(retried, Appended)
        proxy.fault = None
        until(lambda: proxy.connections == 0)  # the server has read what was sent, and its end
    direct.run(Append(HERE, ticks(2)))
    assert stored(direct) == [0, *[1] * size, 2]


# --- finding an append


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


@pytest.mark.parametrize("kind", ["own", "pool", "joined"])
def test_finding_an_append_waits_for_those_that_wait_to_be_stored(
    postgres_dsn: str, direct: PostgresStore, threads: ThreadPoolExecutor, kind: str
) -> None:
    key = uuid4()
    with contextlib.ExitStack() as opened:
        finder = direct
        if kind == "pool":
            pool: Any = opened.enter_context(ConnectionPool(postgres_dsn, min_size=1))
            finder = opened.enter_context(PostgresStore(pool, codec=CODEC))
        elif kind == "joined":
            finder = direct.within(opened.enter_context(psycopg.connect(postgres_dsn)))
        with locked(postgres_dsn):
            append = threads.submit(direct.run, Append(HERE, ticks(1), append_id=key))
            until(lambda: is_waiting(postgres_dsn))
            found = threads.submit(finder.run, FindAppend(key))
            time.sleep(0.3)
            assert not found.done()
        assert found.result(10) == append.result(10).unwrap()


def test_finding_an_append_while_others_keep_the_store_is_not_answered_with_a_guess(
    postgres_dsn: str, direct: PostgresStore
) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as store:
        with locked(postgres_dsn), pytest.raises(StoreBusy):
            store.run(FindAppend(uuid4()))
        assert store.run(FindAppend(uuid4())) is None


def test_a_statement_whose_client_is_gone_is_given_up(
    postgres_dsn: str, direct: PostgresStore, threads: ThreadPoolExecutor
) -> None:
    key = uuid4()
    with Proxy(postgres_dsn) as proxy, PostgresStore(proxy.dsn, codec=CODEC, timeout=30) as store:
        with locked(postgres_dsn):
            append = threads.submit(outcome, store, Append(HERE, ticks(1), append_id=key))
            until(lambda: is_waiting(postgres_dsn))
            proxy.drop()
            assert isinstance(append.result(5), Unknown)
            until(lambda: not is_waiting(postgres_dsn), 5)
        assert direct.run(FindAppend(key)) is None
        assert stored(direct) == [0]


def test_a_server_that_cannot_see_that_its_client_is_gone_is_served_as_well(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = _connection._WATCHED.replace("=500", "=-1")
    monkeypatch.setattr(_connection, "_WATCHED", refused)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        assert isinstance(outcome(store, Append(HERE, ticks(1))), Appended)


def test_the_server_gives_up_when_its_client_does_however_little_time_is_left(
    postgres_dsn: str,
) -> None:
    sleep, allowed = Statement(b"SELECT pg_sleep(5)", ()), Statement(b"SHOW statement_timeout", ())
    link = Link(postgres_dsn, 5)
    with contextlib.closing(link):
        assert link.execute(allowed) == [("5s",)]
        with pytest.raises(StoreBusy, match="57014"):
            link.execute(sleep, time.monotonic() + 0.5)
        with pytest.raises(StoreBusy, match="no time left"):
            link.execute(allowed, time.monotonic())
        with link.transaction() as session:
            assert session.connection.execute("SHOW lock_timeout").fetchone() == ("5s",)
        link.execute(sleep._replace(sql=b"SELECT pg_sleep(0.6)"))

    async def main() -> None:
        link = AsyncLink(postgres_dsn, 5)
        execute, short = link.policy.execute, sleep._replace(sql=b"SELECT pg_sleep(0.6)")
        with pytest.raises(StoreBusy, match="57014"):
            await link.run(execute(sleep, time.monotonic() + 0.5))
        await link.run(execute(short, link.policy.deadline()))
        link.policy.close()

    asyncio.run(main())


# --- a connection that breaks before anything can be stored


APPENDS: dict[str, Callable[[int], Append | AppendAll]] = {
    "one more": lambda n: Append(HERE, ticks(n)),
    "to a new stream": lambda n: Append(StreamId(f"new/{n}"), ticks(n)),
    "of a new type": lambda n: Append(HERE, (Opaque(f"test.unknown.{n}", 1, "json", b"{}"),)),
    "to several": lambda n: AppendAll((StreamAppend(HERE, ticks(n)), StreamAppend(ALSO, ticks(n)))),
    "under an id": lambda n: Append(HERE, ticks(n), append_id=uuid4()),
    "on an old version": lambda n: Append(HERE, ticks(n), 0),
}


def told_if_cut(store: PostgresStore, op: Append | AppendAll, dsn: str, nth: int) -> tuple[Any, bytes]:
    """The answer or error for an append whose session is ended before its nth statement, and that
    statement; none if there are not so many."""
    cut: list[bytes] = []
    asked = count(1)
    executed = _link._executed

    def ending(session: Any, statement: Statement, until: float) -> Any:
        if next(asked) == nth:
            cut.append(statement.sql)
            with psycopg.connect(dsn, autocommit=True) as admin:
                admin.execute(_END_SESSIONS)
        return executed(session, statement, until)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_link, "_executed", ending)
        try:
            return store.run(op), b"".join(cut)
        except StoreError as error:
            return error, b"".join(cut)


@pytest.mark.parametrize(
    ("way", "what"), [*product(["own"], APPENDS), ("pool", "one more"), ("pool", "of a new type")]
)
def test_an_append_is_lost_only_where_it_may_be_stored(
    postgres_dsn: str, direct: PostgresStore, way: str, what: str
) -> None:
    for nth in count(1):
        with contextlib.ExitStack() as stack:
            address: Any = postgres_dsn
            if way == "pool":
                address = stack.enter_context(ConnectionPool(postgres_dsn, min_size=1, max_size=1))
            store = stack.enter_context(PostgresStore(address, codec=CODEC))
            store.run(Read(HERE))
            before = direct.run(ReadFeed()).end
            told, statement = told_if_cut(store, APPENDS[what](nth), postgres_dsn, nth)
            if isinstance(told, StoreError):
                assert isinstance(told, Unreachable), f"{told!r} at {statement!r}"
                assert direct.run(ReadFeed()).end == before
            elif isinstance(told, Failure) and isinstance(told.failure(), Unknown):
                assert b".append" in statement, "nothing was on its way yet"
            if not statement:
                return


def test_control_what_is_asked_before_is_taken_for_an_append(
    postgres_dsn: str, direct: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_questions, "before_storing", contextlib.nullcontext)
    with PostgresStore(postgres_dsn, codec=CODEC) as store:
        told, _ = told_if_cut(store, APPENDS["of a new type"](0), postgres_dsn, 1)
        assert isinstance(told, Lost)

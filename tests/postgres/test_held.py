"""A transaction that has appended, or written elsewhere, is held open.

Passed if meanwhile no reader sees anything beyond it, and appends wait and end at their deadline
with StoreBusy; and if, once it has ended in any way, everything goes on within a second and nothing is
skipped. A transaction in another database must hold up neither appends nor readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from eventsrc import Append, StoreOp, StreamId, Success
from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from eventsrc.stores.operations import FindAppend, StoreBusy
from eventsrc.testing.postgres import PostgresServer
from tests.kits.events import CODEC, Tick
from tests.postgres.test_gap import ALL, TOCKS, Reader, Tock, wrong_with
from tests.postgres.test_server import until
from tests.postgres.test_store import in_a_loop
from tests.postgres.transactions import Joined, without_order

TIMEOUT = 0.4
GRACE = 0.5
"""How long after its deadline a call may end."""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def ask(dsn: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


# --- how a transaction ends


def commits(held: Joined, dsn: str) -> None:
    held.connection.commit()


def rolls_back(held: Joined, dsn: str) -> None:
    held.connection.rollback()


def is_terminated(held: Joined, dsn: str) -> None:
    ask(dsn, "SELECT pg_terminate_backend(%s)", held.pid)


def loses_its_client(held: Joined, dsn: str) -> None:
    with socket.socket(fileno=os.dup(held.connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def orphaned(held: Joined, dsn: str) -> str:
    """Prepares the transaction and leaves it to nobody."""
    if ask(dsn, "SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("the server prepares no transactions")
    name = uuid4().hex
    held.connection.execute(f"PREPARE TRANSACTION '{name}'".encode())
    held.connection.close()
    return name


def is_prepared_and_committed(held: Joined, dsn: str) -> None:
    ask(dsn, f"COMMIT PREPARED '{orphaned_as[held]}'")


def is_prepared_and_rolled_back(held: Joined, dsn: str) -> None:
    ask(dsn, f"ROLLBACK PREPARED '{orphaned_as[held]}'")


orphaned_as: dict[Joined, str] = {}

ENDS = [
    commits,
    rolls_back,
    is_terminated,
    loses_its_client,
    is_prepared_and_committed,
    is_prepared_and_rolled_back,
]
"""A prepared transaction is held by nobody's connection."""


def append(store: PostgresStore, number: int, kind: type[Any] = Tick) -> Any:
    return store.run(Append(StreamId(f"{kind.__name__}/{number % 2}"), (kind(0, number, 1),)))


def hold_open(
    dsn: str, before: int, end: Callable[[Joined, str], None], threads: ThreadPoolExecutor
) -> list[str]:
    """Holds a transaction open after so many events, while others append, and then ends it."""
    readers = [Reader(dsn, 1, ALL), Reader(dsn, 7, TOCKS), Reader(dsn, 500, ALL)]
    with PostgresStore(dsn, codec=CODEC, timeout=30) as store:

        def read(*, to_the_end: bool = True) -> None:
            for reader in readers:
                reader.read(store, to_the_end=to_the_end)

        for number in range(before):
            append(store, number, Tock if number % 2 else Tick)
        read()
        held = Joined(dsn)
        with contextlib.closing(held.connection):
            held.append(StreamId("Tock/held"), Tock(0, 0, 1), Tock(0, 1, 1))
            if end in (is_prepared_and_committed, is_prepared_and_rolled_back):
                orphaned_as[held] = orphaned(held, dsn)
            try:
                read()
                first = threads.submit(append, store, 1000)
                with contextlib.suppress(AssertionError):  # where there is no lock, nobody waits
                    until(lambda: first.done() or is_waiting(dsn), 5)
                second = threads.submit(append, store, 1001, Tock)
                read()
            finally:
                end(held, dsn)
        assert isinstance(first.result(1), Success)
        assert isinstance(second.result(1), Success)
        read(to_the_end=False)
        append(store, 1002, Tock)
        read()
        everything = Reader(dsn, 10_000, ALL)
        everything.read(store, to_the_end=True)
    return [sentence for reader in readers for sentence in wrong_with(reader, everything.delivered)]


def is_waiting(dsn: str) -> bool:
    waiting = (
        "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    return bool(ask(dsn, waiting))


@pytest.mark.parametrize("before", [0, 7, 14])
@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_skipped_however_a_transaction_that_was_held_open_ends(
    postgres_dsn: str, before: int, end: Callable[[Joined, str], None], threads: ThreadPoolExecutor
) -> None:
    PostgresStore(postgres_dsn, codec=CODEC).close()
    assert hold_open(postgres_dsn, before, end, threads) == []


def test_control_a_reader_that_passes_over_what_is_not_committed_is_caught(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    without_order(monkeypatch)
    PostgresStore(postgres_dsn, codec=CODEC).close()
    wrong = hold_open(postgres_dsn, 7, commits, threads)
    assert any("was skipped" in sentence for sentence in wrong)


# --- deadlines


@contextlib.contextmanager
def locked(dsn: str) -> Iterator[None]:
    """A transaction that has appended is open."""
    held = Joined(dsn)
    with contextlib.closing(held.connection):
        held.append(StreamId("held"), Tick(0, 0, 1))
        yield


def busy_for(append: Callable[[], object]) -> float:
    """How long it takes an append to be told that the store is busy."""
    began = time.monotonic()
    with pytest.raises(StoreBusy):
        append()
    return time.monotonic() - began


def ticks(writer: int, *, keyed: bool) -> Append:
    return Append(StreamId("ticks"), (Tick(writer, 1, 1),), append_id=uuid4() if keyed else None)


@pytest.mark.parametrize("keyed", [False, True], ids=["lean", "keyed"])
def test_an_append_ends_at_its_deadline_and_the_store_goes_on(postgres_dsn: str, keyed: bool) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as store:
        store.run(ticks(0, keyed=False))
        with locked(postgres_dsn):
            took = busy_for(lambda: store.run(ticks(1, keyed=keyed)))
        assert TIMEOUT <= took < TIMEOUT + GRACE
        assert store.run(ticks(2, keyed=keyed)).unwrap().version == 2


@pytest.mark.parametrize(
    "keyed",
    [
        pytest.param(False, id="lean"),
        pytest.param(True, id="keyed"),
    ],
)
def test_appends_that_wait_together_end_at_their_deadlines(
    postgres_dsn: str, keyed: bool, threads: ThreadPoolExecutor, figure: Callable[[str], None]
) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as store:
        store.run(ticks(0, keyed=False))
        with locked(postgres_dsn):
            first = threads.submit(busy_for, lambda: store.run(ticks(1, keyed=keyed)))
            until(lambda: is_waiting(postgres_dsn))
            time.sleep(TIMEOUT / 4)  # the others come later: their deadlines are after the first one's
            late = [
                threads.submit(busy_for, lambda n=n: store.run(ticks(n, keyed=keyed)))  # type: ignore[misc]
                for n in range(2, 6)
            ]
            took = [call.result(30) for call in (first, *late)]
    figure(f"{max(took):.2f} s for a timeout of {TIMEOUT} s")
    assert max(took) < TIMEOUT + GRACE


@pytest.mark.parametrize(
    "keyed",
    [
        pytest.param(False, id="lean"),
        pytest.param(True, id="keyed"),
    ],
)
def test_tasks_that_wait_together_end_at_their_deadlines(
    postgres_dsn: str, keyed: bool, figure: Callable[[str], None]
) -> None:
    async def time_of(store: AsyncPostgresStore, writer: int, after: float) -> float:
        await asyncio.sleep(after)
        began = time.monotonic()
        with pytest.raises(StoreBusy):
            await store.run_async(ticks(writer, keyed=keyed))
        return time.monotonic() - began

    async def main() -> list[float]:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as store:
            await store.run_async(ticks(0, keyed=False))
            with locked(postgres_dsn):
                return await asyncio.gather(
                    *[time_of(store, n, TIMEOUT / 4 if n > 1 else 0) for n in range(1, 6)]
                )

    took = asyncio.run(main())
    figure(f"{max(took):.2f} s for a timeout of {TIMEOUT} s")
    assert max(took) < TIMEOUT + GRACE


def test_an_append_on_a_pool_of_the_users_ends_at_its_deadline(
    postgres_dsn: str, threads: ThreadPoolExecutor
) -> None:
    with (
        ConnectionPool(postgres_dsn, min_size=2, max_size=2) as pool,
        PostgresStore(pool, codec=CODEC, timeout=TIMEOUT) as store,
    ):
        store.run(ticks(0, keyed=False))
        with locked(postgres_dsn):
            waiting = threads.submit(busy_for, lambda: store.run(ticks(1, keyed=False)))
            assert waiting.result(TIMEOUT + GRACE) >= TIMEOUT


@pytest.mark.parametrize("op", [ticks(1, keyed=True), FindAppend(uuid4())], ids=["append", "find"])
@pytest.mark.parametrize("kind", ["threads", "loop", "pool"])
def test_who_waits_in_vain_is_told_for_whom(postgres_dsn: str, kind: str, op: StoreOp) -> None:
    def told() -> str:
        with contextlib.ExitStack() as opened:
            if kind == "loop":
                store = opened.enter_context(in_a_loop(postgres_dsn, codec=CODEC, timeout=TIMEOUT))
            else:
                address: Any = postgres_dsn
                if kind == "pool":
                    address = opened.enter_context(ConnectionPool(postgres_dsn, min_size=1))
                store = opened.enter_context(PostgresStore(address, codec=CODEC, timeout=TIMEOUT))
            began = time.monotonic()
            with pytest.raises(StoreBusy) as caught:
                store.run(op)
            assert time.monotonic() - began < TIMEOUT + GRACE
        return str(caught.value)

    PostgresStore(postgres_dsn, codec=CODEC).close()
    held = Joined(postgres_dsn)
    with contextlib.closing(held.connection):
        held.append(StreamId("held"), Tick(0, 0, 1))
        assert re.search(rf"held by process {held.pid} .*idle in transaction.* \d+\.\d s old", told())
        gid = orphaned(held, postgres_dsn)
    try:
        assert re.search(rf"held by the prepared transaction '{gid}', \d+\.\d s old", told())
    finally:
        ask(postgres_dsn, f"ROLLBACK PREPARED '{gid}'")


# --- another database


class Horizon:
    """The control: a feed of which readers see what is older than every open transaction."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        ask(dsn, "CREATE TABLE horizon (position serial, by xid8 DEFAULT pg_current_xact_id())")

    def append_and_see(self) -> bool:
        """Whether an event that is committed can be read at once."""
        ask(self.dsn, "INSERT INTO horizon DEFAULT VALUES")
        seen = "SELECT 1 FROM horizon WHERE by < pg_snapshot_xmin(pg_current_snapshot())"
        return bool(ask(self.dsn, seen))


@contextlib.contextmanager
def idle_writer(server: PostgresServer) -> Iterator[None]:
    """A transaction that has written is open in another database of the server."""
    elsewhere = server.create_database()
    try:
        with psycopg.connect(elsewhere) as connection:
            connection.execute("CREATE TABLE written AS SELECT 1")
            yield
    finally:
        server.drop_database(elsewhere)


def p99_of_appends(dsn: str, store: PostgresStore, reader: Reader) -> float:
    """How long appends take, each of which a reader must see at once."""
    times: list[float] = []
    for number in range(200):
        before = len(reader.delivered)
        began = time.perf_counter()
        append(store, number)
        times.append(time.perf_counter() - began)
        reader.read(store)
        assert len(reader.delivered) == before + 1, "it was appended, and cannot be read"
    return sorted(times)[-2]


def test_a_transaction_elsewhere_holds_nobody_up(
    postgres_server: PostgresServer, postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    with PostgresStore(postgres_dsn, codec=CODEC, timeout=TIMEOUT) as store:
        reader = Reader(postgres_dsn, 500)
        ratios: list[float] = []
        while len(ratios) < 5 and min(ratios, default=9) >= 2:  # the machine may be busy with others
            alone = p99_of_appends(postgres_dsn, store, reader)
            with idle_writer(postgres_server):
                ratios.append(p99_of_appends(postgres_dsn, store, reader) / alone)
    figure(f"appends take {min(ratios):.2f} times as long (p99)")
    assert min(ratios) < 2


def test_control_a_reader_that_waits_for_all_transactions_is_seen_to_stall(
    postgres_server: PostgresServer, postgres_dsn: str
) -> None:
    horizon = Horizon(postgres_dsn)
    until(horizon.append_and_see)
    ask(postgres_dsn, "TRUNCATE horizon")
    with idle_writer(postgres_server):
        assert not any(horizon.append_and_see() for _ in range(20))
    until(horizon.append_and_see)

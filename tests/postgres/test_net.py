"""The network between a store and its server drops, freezes, cuts, crawls, or swallows all.

Passed if every call ends by its deadline and half a second (an append that waits in line for another,
by two of them); if what is raised as an error is not stored, and what became of the Unknown can be
found; and if no connection is left behind.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from eventsrc import Append, Appended, Head, Interpreter, Read, ReadFeed, StoreOp, StreamId
from eventsrc.postgres._watch import Watched
from eventsrc.postgres.store import PostgresStore
from eventsrc.stores.operations import FindAppend, StoreError
from tests.faults import SCALE, scaled
from tests.kits.events import CODEC, Tick
from tests.kits.proxy import BlackHole, Cut, Fault, Frozen, Proxy, Slow
from tests.postgres.test_held import GRACE, ask
from tests.postgres.test_server import until
from tests.postgres.test_store import in_a_loop
from tests.postgres.witness import Witness, at_work, settled_at_once, wrong_with

TIMEOUT = 1.0
DROPS = scaled(8, 320)

Open = Callable[..., Any]

LENT = 8
"""How many connections a pool of the user's has."""


@pytest.fixture(params=["threads", "threads on a pool", "loop", "loop on a pool"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Opens a PostgresStore, or an AsyncPostgresStore in an event loop of its own.

    Either with connections of its own, or with those of a pool of the user's, which are there.
    """

    @contextmanager
    def opened(dsn: str, timeout: float = TIMEOUT) -> Iterator[Interpreter[StoreOp]]:
        options: dict[str, Any] = {"codec": CODEC, "timeout": timeout}
        with ExitStack() as opened:
            match request.param:
                case "threads":
                    store: Any = PostgresStore(dsn, **options)
                case "threads on a pool":
                    pool = opened.enter_context(ConnectionPool(dsn, min_size=LENT, max_size=LENT))
                    pool.wait(10)
                    store = PostgresStore(pool, **options)
                case "loop":
                    store = in_a_loop(dsn, **options)
                case _:
                    store = in_a_loop(lent_to_tasks(dsn), **options)
            yield opened.enter_context(store)

    return opened


@asynccontextmanager
async def lent_to_tasks(dsn: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with AsyncConnectionPool(dsn, min_size=LENT, max_size=LENT) as pool:
        await pool.wait(10)
        yield pool


def sessions(dsn: str) -> int:
    """How many sessions there are in the database, but for that which asks."""
    asked = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"
    return int(ask(dsn, asked)[0][0])


def tick(number: int, **options: Any) -> Append:
    return Append(StreamId("net"), (Tick(number, 0, 1),), **options)


OPERATIONS: list[StoreOp] = [
    tick(1),
    tick(2, append_id=uuid4()),
    Read(StreamId("net")),
    Head(StreamId("net")),
    ReadFeed(),
    FindAppend(uuid4()),
]


def timed(store: Interpreter[StoreOp], op: StoreOp) -> tuple[float, Any]:
    """How long it took, and what was answered or raised."""
    began = time.monotonic()
    answer: Any
    try:
        answer = store.run(op)
    except StoreError as error:
        answer = error
    return time.monotonic() - began, answer


def is_well(store: Interpreter[StoreOp]) -> bool:
    """Whether no connection is broken that a pool may lend."""
    answers = [timed(store, Head(StreamId("net")))[1] for _ in range(LENT)]
    return not any(isinstance(answer, StoreError) for answer in answers)


def all_at_once(
    store: Interpreter[StoreOp], seconds: float, mend: Callable[[], None]
) -> list[tuple[float, Any]]:
    """Does everything at once, and mends the network after so many seconds."""
    with ThreadPoolExecutor(len(OPERATIONS)) as threads:
        calls: list[Future[tuple[float, Any]]] = [threads.submit(timed, store, op) for op in OPERATIONS]
        wait(calls, seconds)
        mend()
        return [call.result(30) for call in calls]


def longest(dsn: str, opened: Open, fault: Fault) -> float:
    """How long a call takes at most while the network has a fault; afterwards, all goes on."""
    with Proxy(dsn) as proxy:

        def mend() -> None:
            proxy.fault = None
            proxy.drop()

        with opened(proxy.dsn, TIMEOUT) as store:
            store.run(tick(0))
            proxy.fault = fault
            took = [seconds for seconds, _ in all_at_once(store, TIMEOUT + GRACE + 0.2, mend)]
            assert all(timed(store, op)[0] < TIMEOUT for op in OPERATIONS)
            until(lambda: is_well(store))
            stored = [recorded.data.batch for recorded in store.run(ReadFeed()).events]
        until(lambda: sessions(dsn) == 0)
    assert {*stored} <= {0, 1, 2}
    return max(took)


@pytest.mark.parametrize(
    "fault",
    [
        Frozen(),
        *([BlackHole(), Slow(1)] if SCALE > 1 else []),  # each takes seconds
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_every_call_ends_by_its_deadline(
    postgres_dsn: str, opened: Open, fault: Fault, figure: Callable[[str], None]
) -> None:
    took = longest(postgres_dsn, opened, fault)
    figure(f"{took:.2f} s for a timeout of {TIMEOUT} s")
    assert took < TIMEOUT + GRACE


@pytest.mark.parametrize("opened", ["threads on a pool", "loop on a pool"], indirect=True)
def test_control_lent_connections_that_wait_as_psycopg_does_are_caught(
    postgres_dsn: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "start", lambda _watched, _until: None)
    assert longest(postgres_dsn, opened, Frozen()) >= TIMEOUT + GRACE


def test_a_call_that_has_to_connect_ends_by_its_deadline_and_one_in_line_for_it_by_two(
    postgres_dsn: str, opened: Open, figure: Callable[[str], None]
) -> None:
    with Proxy(postgres_dsn) as proxy:
        with opened(proxy.dsn, TIMEOUT) as store:
            store.run(tick(0))
            proxy.drop()
            proxy.fault = Frozen()

            def mend() -> None:
                proxy.fault = None
                proxy.drop()

            took = [seconds for seconds, _ in all_at_once(store, 2 * TIMEOUT + GRACE + 0.2, mend)]
        until(lambda: sessions(postgres_dsn) == 0)
    figure(f"{max(took):.2f} s for a timeout of {TIMEOUT} s")
    in_line = max(took)  # the append that came second waits for the first, and then for Postgres
    took.remove(in_line)
    assert in_line < 2 * TIMEOUT + GRACE
    assert max(took) < TIMEOUT + GRACE


def test_what_was_frozen_for_a_moment_goes_on(postgres_dsn: str, opened: Open) -> None:
    with Proxy(postgres_dsn) as proxy, opened(proxy.dsn, 10) as store:
        store.run(tick(0))
        proxy.fault = Frozen()

        def thaw() -> None:
            proxy.fault = None

        answers = [answer for _, answer in all_at_once(store, 0.2, thaw)]
        assert not any(isinstance(answer, StoreError) for answer in answers)
        assert store.run(Head(StreamId("net"))) == 3


def test_connections_that_are_dropped_under_load_lose_nothing_and_leave_nothing(
    postgres_dsn: str, opened: Open, figure: Callable[[str], None]
) -> None:
    in_haste = [Witness(number, settled_at_once) for number in range(4)]
    witnesses = [*in_haste, *[Witness(number) for number in range(4, 8)]]
    dropped = 0
    with Proxy(postgres_dsn) as proxy:
        with opened(proxy.dsn, TIMEOUT) as store:
            over, threads = at_work(witnesses, [store])
            try:
                for drop in range(1, DROPS + 1):
                    until(lambda d=drop: sum(w.told["Appended"] for w in witnesses) >= 30 * d)  # type: ignore[misc]
                    dropped += proxy.connections
                    proxy.drop()
            finally:
                over.set()
                for thread in threads:
                    thread.join()
            at_once, later = (
                sum(witness.told["Unknown"] for witness in some) for some in (in_haste, witnesses[4:])
            )
            until(lambda: is_well(store))
            found = sum(witness.settle(store) for witness in witnesses)
            assert wrong_with(witnesses, store) == []
        until(lambda: sessions(postgres_dsn) == 0)
    assert max(witness.longest for witness in witnesses) < TIMEOUT + GRACE
    assert dropped >= DROPS
    assert at_once > 0
    figure(
        f"{dropped} drops, {at_once} unknown and settled at once, {later} later: {found} were stored"
    )


@pytest.mark.parametrize("towards", ["client", "server"])
def test_a_message_that_is_cut_anywhere_leaves_no_doubt(
    postgres_dsn: str, opened: Open, towards: Any, figure: Callable[[str], None]
) -> None:
    witness = Witness(0, settled_at_once)
    places = [*range(0, 120, 7), 150, 300, 1000]
    with Proxy(postgres_dsn) as proxy:
        with opened(proxy.dsn, 10) as store:
            for _ in range(10):
                witness.append(store)
            for after in places:
                proxy.fault = Cut(after, towards)
                for _ in range(100):
                    witness.append(store)
                    if proxy.fault is None:
                        break
                proxy.fault = None
            unknown = witness.told["Unknown"]
            found = witness.settle(store)
            assert wrong_with([witness], store) == []
            assert found == 0, "all were settled at once"
            assert unknown > 3, "answers of appends were cut, and not only those of what came before"
        until(lambda: sessions(postgres_dsn) == 0)
    figure(f"{len(places)} cuts, {unknown} unknown, all settled at once")


def test_a_connection_that_is_known_to_be_broken_is_not_used(postgres_dsn: str) -> None:
    PostgresStore(postgres_dsn, codec=CODEC).close()  # makes the tables
    with Proxy(postgres_dsn) as proxy, PostgresStore(proxy.dsn, codec=CODEC, timeout=0.3) as store:
        appended = store.run(tick(0)).unwrap()
        assert isinstance(appended, Appended)
        until(lambda: proxy.connections == 1)
        proxy.drop()
        until(lambda: proxy.connections == 0)
        answer = store.run(tick(1))  # on a new connection
        assert answer.unwrap().version == 2


def test_control_a_deadline_of_the_server_alone_is_seen_not_to_end_a_call(
    postgres_dsn: str,
) -> None:
    with (
        Proxy(postgres_dsn) as proxy,
        psycopg.connect(proxy.dsn, options="-c statement_timeout=300") as connection,
        ThreadPoolExecutor() as threads,
    ):
        connection.execute("SELECT 1")
        proxy.fault = Frozen()
        call = threads.submit(connection.execute, "SELECT 2")
        assert not wait([call], 0.3 + GRACE).done
        proxy.fault = None
        call.result(10)

"""A server or one of its processes is killed, or it is stopped at once, while 8 threads append.

Passed if nothing that was acknowledged is lost, no batch is half there, no version and no position is
left out; if every append whose answer was lost is Unknown, and FindAppend, or a retry with its id,
agrees with what is stored; and if all go on less than 2 s after the server does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from eventsrc import Append, Interpreter, Read, StoreOp
from eventsrc.postgres.store import PostgresStore
from eventsrc.stores.operations import Rejected, Unknown
from eventsrc.testing.postgres import ADDRESS, FAST, PostgresServer, available
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.kits.proxy import Cut, Proxy
from tests.postgres.test_server import until
from tests.postgres.witness import STREAMS, Witness, at_work, wrong_with

WRITERS = 8


@contextlib.contextmanager
def own_server(**settings: str) -> Iterator[tuple[PostgresServer, str]]:
    """A server that may be killed, and a database of it."""
    found = available()
    if not found:
        pytest.skip("there is no Postgres to start")
    with PostgresServer(bin=found[0].bin, settings=settings) as server:
        yield server, server.create_database()


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)


def answers(connect: Callable[[], psycopg.Connection]) -> bool:
    """Whether the server answers on a connection."""
    try:
        connect().execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def kill_a_session(dsn: str) -> None:
    """Kills one process of the server, which then ends all others; waits until it has recovered."""
    with contextlib.closing(psycopg.connect(dsn, autocommit=True)) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND datname = current_database() AND pid <> pg_backend_pid() ORDER BY state LIMIT 1"
        ).fetchall()
        os.kill(found[0][0], signal.SIGKILL)
        until(lambda: not answers(lambda: connection))
    with contextlib.ExitStack() as opened:
        until(
            lambda: answers(
                lambda: opened.enter_context(contextlib.closing(psycopg.connect(dsn, autocommit=True)))
            ),
            30,
        )


def acknowledged(witnesses: list[Witness]) -> int:
    return sum(witness.told["Appended"] for witness in witnesses)


@pytest.mark.timeout(900)
def test_a_server_that_crashes_loses_nothing_and_leaves_nothing_in_doubt(
    figure: Callable[[str], None],
) -> None:
    with contextlib.ExitStack() as opened:
        server, dsn = opened.enter_context(own_server())
        stores = [opened.enter_context(PostgresStore(dsn, codec=CODEC, timeout=10)) for _ in range(2)]
        witnesses = [Witness(number) for number in range(WRITERS)]
        over, threads = at_work(witnesses, stores)
        back: list[float] = []
        try:
            for crash in range(scaled(3, 96)):
                enough = acknowledged(witnesses) + 200
                until(lambda enough=enough: acknowledged(witnesses) >= enough)  # type: ignore[misc]
                if crash % 3 == 2:
                    kill_a_session(dsn)
                else:
                    (server.kill, server.stop_immediately)[crash % 3]()
                    server.start()
                began = time.perf_counter()
                until(lambda began=began: all(w.latest > began for w in witnesses), 5)  # type: ignore[misc]
                back.append(time.perf_counter() - began)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        unknown = sum(witness.told["Unknown"] for witness in witnesses)
        found = sum(witness.settle(stores[0]) for witness in witnesses)
        assert wrong_with(witnesses, stores[0]) == []
        assert max(back) < 2
        assert unknown > 0, "some were under way when it crashed"
        told = sum((witness.told for witness in witnesses), start=witnesses[0].told.__class__())
        figure(f"{dict(told)}, {found} of {unknown} unknown were stored, back after {max(back):.2f} s")


@pytest.mark.timeout(300)
def test_control_a_server_that_acknowledges_before_it_has_written_is_caught() -> None:
    with contextlib.ExitStack() as opened:
        server, dsn = opened.enter_context(own_server(**FAST))
        witnesses = [Witness(number) for number in range(WRITERS)]
        with PostgresStore(dsn, codec=CODEC, timeout=0.2) as store:
            over, threads = at_work(witnesses, [store])
            until(lambda: acknowledged(witnesses) >= 500)
            server.kill()
            over.set()
            for thread in threads:
                thread.join()
        server.start()
        store = opened.enter_context(PostgresStore(dsn, codec=CODEC))
        assert any("were acknowledged" in sentence for sentence in wrong_with(witnesses, store))


def takes_it_for_failure(_store: Interpreter[StoreOp], _op: Append, _told: Unknown) -> Rejected:
    return Rejected("the connection broke")


def test_control_taking_unknown_for_failure_is_caught(postgres_dsn: str) -> None:
    credulous, careful = Witness(0, takes_it_for_failure), Witness(1)
    with (
        Proxy(postgres_dsn) as proxy,
        PostgresStore(proxy.dsn, codec=CODEC) as store,
    ):
        for witness in (credulous, careful):
            while not witness.told["Unknown"]:
                witness.append(store)
                proxy.fault = Cut(0, "client")  # the next answer is lost
            proxy.fault = None
        assert careful.settle(store) == 1
        assert any("were refused, and are at" in one for one in wrong_with([credulous, careful], store))
        assert wrong_with([careful], store) != []
        credulous.noted[-1].attempt = careful.noted[0].attempt


def test_a_server_that_forgot_commits_gets_no_versions_with_holes() -> None:
    with own_server(**FAST, wal_writer_delay="10s") as (server, dsn):
        stream = STREAMS[0]
        with PostgresStore(dsn, codec=CODEC) as store:
            store.run(Append(stream, (Tick(0, 0, 1),)))
            with PostgresStore(dsn, codec=CODEC) as other:  # something that is not forgotten
                assert other.run(Read(stream)).head == 1
            server.stop()
            server.start()
            for number in range(1, 10):
                store.run(Append(stream, (Tick(number, 0, 1),)))
            server.kill()
            server.start()
            store.run(Append(stream, (Tick(99, 0, 1),)))
            page = store.run(Read(stream))
        assert [recorded.version for recorded in page.events] == [*range(1, page.head + 1)]
        assert page.head < 10

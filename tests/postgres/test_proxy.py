"""The bad network does to a connection what its faults say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import psycopg
import pytest

from tests.kits.proxy import BlackHole, Cut, Frozen, Proxy, Slow
from tests.postgres.test_server import until


@pytest.fixture
def proxy(postgres_dsn: str) -> Iterator[Proxy]:
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("CREATE TABLE kept (text text)")
    with Proxy(postgres_dsn) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[psycopg.Connection]:
    with contextlib.closing(psycopg.connect(proxy.dsn, autocommit=True)) as connection:
        yield connection


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Where a call can be made that takes its time."""
    with ThreadPoolExecutor() as threads:
        yield threads


def ask(client: psycopg.Connection) -> Any:
    return client.execute("SELECT repeat('x', 200000)").fetchone()


def kept(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM kept ORDER BY text")]


def is_waiting(call: Future[Any], seconds: float = 0.3) -> bool:
    try:
        call.result(seconds)
    except NotYet:
        return True
    return False


def test_without_a_fault_all_goes_through_and_an_end_is_passed_on(proxy: Proxy) -> None:
    with psycopg.connect(proxy.dsn) as one, psycopg.connect(proxy.dsn) as two:
        assert ask(one) == ask(two) == ("x" * 200_000,)
        assert proxy.connections == 2
    until(lambda: proxy.connections == 0)


def test_a_dropped_connection_is_an_error_at_once_and_a_new_one_works(
    proxy: Proxy, client: psycopg.Connection
) -> None:
    proxy.drop()
    with pytest.raises(psycopg.OperationalError):
        ask(client)
    until(lambda: proxy.connections == 0)
    with psycopg.connect(proxy.dsn) as again:
        ask(again)


def test_a_frozen_connection_goes_on_when_it_has_thawed(
    proxy: Proxy, client: psycopg.Connection, aside: ThreadPoolExecutor
) -> None:
    proxy.fault = Frozen()
    call = aside.submit(ask, client)
    assert is_waiting(call)
    proxy.fault = None
    assert call.result(10) == ("x" * 200_000,)


@pytest.mark.parametrize("fault", [Frozen(), BlackHole(), Slow(1)])
def test_a_connection_in_trouble_can_be_dropped(
    proxy: Proxy,
    client: psycopg.Connection,
    aside: ThreadPoolExecutor,
    fault: Frozen | BlackHole | Slow,
) -> None:
    proxy.fault = fault
    call = aside.submit(ask, client)
    assert is_waiting(call)
    proxy.drop()
    with pytest.raises(psycopg.OperationalError):
        call.result(10)


def test_a_black_hole_loses_what_it_takes_and_new_connections_too(
    proxy: Proxy, client: psycopg.Connection, aside: ThreadPoolExecutor
) -> None:
    proxy.fault = BlackHole()
    call = aside.submit(ask, client)
    connecting = aside.submit(lambda: psycopg.connect(proxy.dsn))
    assert is_waiting(call)
    proxy.fault = None
    assert is_waiting(call)
    assert is_waiting(connecting)
    proxy.drop()
    for lost in (call, connecting):
        with pytest.raises(psycopg.OperationalError):
            lost.result(10)


def test_a_slow_connection_carries_so_many_bytes_a_second(
    proxy: Proxy, client: psycopg.Connection
) -> None:
    proxy.fault = Slow(500)
    begin = time.monotonic()
    assert client.execute("SELECT repeat('x', 100)").fetchone() == ("x" * 100,)
    assert 0.2 < time.monotonic() - begin < 5  # for 100 bytes, and a few in which they are wrapped
    proxy.fault = None
    ask(client)


def test_a_statement_that_was_cut_in_the_middle_is_not_done(
    proxy: Proxy, client: psycopg.Connection, postgres_dsn: str
) -> None:
    proxy.fault = Cut(20, "server")
    with pytest.raises(psycopg.OperationalError):
        client.execute("INSERT INTO kept VALUES ('cut')")
    assert proxy.fault is None
    assert kept(postgres_dsn) == []


def test_a_statement_whose_answer_was_cut_is_done_though_its_client_cannot_know(
    proxy: Proxy, client: psycopg.Connection, postgres_dsn: str
) -> None:
    proxy.fault = Cut(3, "client")
    with pytest.raises(psycopg.OperationalError):
        client.execute("INSERT INTO kept VALUES ('unknown')")
    assert kept(postgres_dsn) == ["unknown"]


def test_a_proxy_ends_with_connections_that_are_in_trouble(postgres_dsn: str) -> None:
    with Proxy(postgres_dsn) as proxy:
        client = psycopg.connect(proxy.dsn)
        proxy.fault = Frozen()
    with contextlib.closing(client), pytest.raises(psycopg.OperationalError):
        ask(client)

"""The Postgres stores keep the contract, the one for threads and the one for event loops."""

from __future__ import annotations

import asyncio
import functools
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, contextmanager
from typing import Any, get_args
from uuid import uuid4

import pytest
from hypothesis.stateful import run_state_machine_as_test

from eventsrc import Interpreter, on
from eventsrc.store import StoreOp
from eventsrc.stores.postgres import AsyncPostgresStore, PostgresStore
from eventsrc.testing import StoreContract, StoreMachine
from tests.faults import SCALE


@pytest.fixture(scope="class")
def schema() -> str:
    """The name of a schema for a class of tests, in which each leaves its events."""
    return f"s{uuid4().hex}"


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, shared_dsn: str, schema: str) -> Iterator[PostgresStore]:
        with PostgresStore(shared_dsn, schema=schema) as store:
            yield store

    @pytest.fixture
    def reopen(
        self, store: PostgresStore, shared_dsn: str, schema: str
    ) -> Iterator[Callable[[], PostgresStore]]:
        with ExitStack() as opened:

            def reopen() -> PostgresStore:
                store.close()
                return opened.enter_context(PostgresStore(shared_dsn, schema=schema))

            yield reopen


@contextmanager
def in_a_loop(
    address: str | AbstractAsyncContextManager[Any], **options: Any
) -> Iterator[Interpreter[StoreOp]]:
    """An AsyncPostgresStore in an event loop of its own, for callers in other threads and loops.

    address: a connection string, or what opens a pool in that loop.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    opened = AsyncExitStack()

    async def open_store() -> AsyncPostgresStore:
        where = address if isinstance(address, str) else await opened.enter_async_context(address)
        return await opened.enter_async_context(AsyncPostgresStore(where, **options))

    try:
        try:
            store = wait(open_store())
            handlers = [
                on(kind).run(lambda op: wait(store.run_async(op))) for kind in get_args(StoreOp)
            ]
            yield functools.reduce(operator.or_, handlers)
        finally:
            wait(opened.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


class TestAsyncPostgresStore(StoreContract):
    @pytest.fixture
    def opened(self) -> Iterator[ExitStack]:
        with ExitStack() as opened:
            yield opened

    @pytest.fixture
    def store(self, opened: ExitStack, shared_dsn: str, schema: str) -> Interpreter[StoreOp]:
        return opened.enter_context(in_a_loop(shared_dsn, schema=schema))

    @pytest.fixture
    def reopen(
        self, store: Interpreter[StoreOp], opened: ExitStack, shared_dsn: str, schema: str
    ) -> Callable[[], Interpreter[StoreOp]]:
        def reopen() -> Interpreter[StoreOp]:
            opened.close()
            return opened.enter_context(in_a_loop(shared_dsn, schema=schema))

        return reopen


@pytest.mark.parametrize("opened", [PostgresStore, in_a_loop][: 2 if SCALE > 1 else 1])
def test_a_postgres_store_answers_as_the_memory_store_does(
    shared_dsn: str, opened: Callable[..., Any]
) -> None:
    machine = StoreMachine.for_store(
        lambda _: opened(shared_dsn, schema=f"s{uuid4().hex}"), durable=False
    )
    run_state_machine_as_test(machine)

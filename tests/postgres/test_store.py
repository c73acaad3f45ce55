"""The Postgres stores keep the contract, the one for threads and the one for event loops."""

from __future__ import annotations

import asyncio
import functools
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    closing,
    contextmanager,
)
from typing import Any, get_args
from uuid import uuid4

import pytest
from hypothesis.stateful import run_state_machine_as_test

from eventsrc import Interpreter, on
from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from eventsrc.stores.copying import CopyOp
from eventsrc.stores.operations import EpochOp, StoreOp
from eventsrc.stores.tags import TagOp
from eventsrc.testing import StoreContract, StoreMachine
from tests.faults import SCALE


class Kept:
    """A store in which many tests leave their events, and that one of them may open again."""

    def __init__(self, open: Callable[[], AbstractContextManager[Any]]) -> None:
        self._open = open
        self._opened = ExitStack()
        self.store: Any = self._opened.enter_context(open())

    def reopen(self) -> Any:
        """Closes the store, and opens what it has stored again."""
        self.close()
        self.store = self._opened.enter_context(self._open())
        return self.store

    def close(self) -> None:
        """Closes the store."""
        self._opened.close()


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
                on(kind).run(lambda op: wait(store.run_async(op)))
                for kind in get_args(StoreOp | EpochOp | CopyOp | TagOp)
            ]
            yield functools.reduce(operator.or_, handlers)
        finally:
            wait(opened.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.fixture(scope="session", params=[PostgresStore, in_a_loop], ids=["threads", "loop"])
def kept(request: pytest.FixtureRequest, shared_dsn: str) -> Iterator[Kept]:
    """A PostgresStore, or an AsyncPostgresStore in an event loop of its own."""
    schema = f"s{uuid4().hex}"
    with closing(Kept(lambda: request.param(shared_dsn, schema=schema))) as kept:
        yield kept


class TestPostgresStores(StoreContract):
    tags = True

    @pytest.fixture
    def store(self, kept: Kept) -> Any:
        return kept.store

    @pytest.fixture
    def reopen(self, kept: Kept) -> Callable[[], Any]:
        return kept.reopen


@pytest.mark.parametrize("opened", [PostgresStore, in_a_loop][: 2 if SCALE > 1 else 1])
def test_a_postgres_store_answers_as_the_memory_store_does(
    shared_dsn: str, opened: Callable[..., Any]
) -> None:
    machine = StoreMachine.for_store(
        lambda _: opened(shared_dsn, schema=f"s{uuid4().hex}"), durable=False
    )
    run_state_machine_as_test(machine)

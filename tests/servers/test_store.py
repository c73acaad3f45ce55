"""The DynamoDB stores keep the contract, the one for threads and the one for event loops."""

from __future__ import annotations

import asyncio
import functools
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from typing import Any, get_args

import pytest
from hypothesis.stateful import run_state_machine_as_test

from eventsrc import Interpreter, on
from eventsrc.aws import AsyncDynamoStore, DynamoStore
from eventsrc.stores.operations import EpochOp, StoreOp
from eventsrc.testing import StoreContract, StoreMachine
from tests.postgres.test_store import Kept
from tests.servers.tables import Tables

PATIENT = 30.0
"""The timeout of stores on a machine that does many other things."""


@contextmanager
def in_a_loop(client: Any, table: str, **options: Any) -> Iterator[Interpreter[StoreOp]]:
    """An AsyncDynamoStore in an event loop of its own, for callers in other threads and loops."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    opened = AsyncExitStack()

    async def open_store() -> AsyncDynamoStore:
        return await opened.enter_async_context(AsyncDynamoStore(client, table, **options))

    try:
        try:
            store = wait(open_store())
            handlers = [
                on(kind).run(lambda op: wait(store.run_async(op)))
                for kind in get_args(StoreOp | EpochOp)
            ]
            yield functools.reduce(operator.or_, handlers)
        finally:
            wait(opened.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@contextmanager
def kept_by(opened: Callable[..., Any], url: str) -> Iterator[Kept]:
    """A store in which many tests leave their events."""
    tables = Tables(url)
    table = tables.new()
    with closing(Kept(lambda: opened(tables.client, table, timeout=PATIENT))) as kept:
        yield kept


@pytest.fixture(scope="session", params=[DynamoStore, in_a_loop], ids=["threads", "loop"])
def quickly_kept(request: pytest.FixtureRequest, roto_url: str) -> Iterator[Kept]:
    """A store on the fast emulator."""
    with kept_by(request.param, roto_url) as kept:
        yield kept


@pytest.fixture(scope="session")
def exactly_kept(ministack_url: str) -> Iterator[Kept]:
    """A store on the exact emulator."""
    with kept_by(DynamoStore, ministack_url) as kept:
        yield kept


class TestDynamoStores(StoreContract):
    @pytest.fixture
    def store(self, quickly_kept: Kept) -> Any:
        return quickly_kept.store

    @pytest.fixture
    def reopen(self, quickly_kept: Kept) -> Callable[[], Any]:
        return quickly_kept.reopen


class TestOnTheExactEmulator(StoreContract):
    concurrent = False  # it is too slow for that, and no more exact than the other

    @pytest.fixture
    def store(self, exactly_kept: Kept) -> Any:
        return exactly_kept.store

    @pytest.fixture
    def reopen(self, exactly_kept: Kept) -> Callable[[], Any]:
        return exactly_kept.reopen


def test_a_dynamo_store_answers_as_the_memory_store_does(quick: Tables) -> None:
    machine = StoreMachine.for_store(
        lambda _: DynamoStore(quick.client, quick.new(), timeout=PATIENT), durable=False
    )
    run_state_machine_as_test(machine)

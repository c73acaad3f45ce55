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


@pytest.fixture(scope="session", params=["threads on ministack", "loop on roto"])
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    """A store in which many tests leave their events."""
    opened, _, name = request.param.partition(" on ")
    open: Callable[..., Any] = DynamoStore if opened == "threads" else in_a_loop
    tables = Tables(request.getfixturevalue(f"{name}_url"))
    table = tables.new()
    with closing(Kept(lambda: open(tables.client, table, timeout=PATIENT))) as kept:
        yield kept


class TestDynamoStores(StoreContract):
    @pytest.fixture
    def store(self, kept: Kept) -> Any:
        return kept.store

    @pytest.fixture
    def reopen(self, kept: Kept) -> Callable[[], Any]:
        return kept.reopen


def test_a_dynamo_store_answers_as_the_memory_store_does(quick: Tables) -> None:
    machine = StoreMachine.for_store(
        lambda _: DynamoStore(quick.client, quick.new(), timeout=PATIENT), durable=False
    )
    run_state_machine_as_test(machine)

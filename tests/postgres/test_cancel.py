"""AsyncPostgresStore: tasks are cancelled while they wait for the store.

Passed if an append that had not begun is never stored, one that had is stored whole or not at all, and
the store, its connections and the order lock are as they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from typing import Any

import psycopg
import pytest

from eventsrc import Append, Head, ReadFeed, Stream, StreamId
from eventsrc.postgres.store import AsyncPostgresStore
from tests.faults import scaled
from tests.kits.events import CODEC, Tick
from tests.postgres.test_held import ask, is_waiting, locked
from tests.postgres.test_net import sessions
from tests.postgres.test_server import until

HERE = StreamId("here")


def tick(number: int, of: int = 1) -> Append:
    return Append(HERE, tuple(Tick(number, n, of) for n in range(of)))


async def batches(store: AsyncPostgresStore) -> list[int]:
    """The batches that are stored; raises AssertionError for half of one."""
    events = await store.run_async(Stream("here", events=Tick).history())
    found = [recorded.data.batch for recorded in events]
    counts = Counter(found)
    assert all(counts[recorded.data.batch] == recorded.data.of for recorded in events)
    return found


async def until_it(is_so: Any) -> None:
    """Waits for something, and lets other tasks go on."""
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def test_a_cancelled_append_that_had_not_begun_is_never_stored(postgres_dsn: str) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            await store.run_async(tick(0))
            with locked(postgres_dsn):
                begun = asyncio.create_task(store.run_async(tick(1)))
                await until_it(lambda: is_waiting(postgres_dsn))
                waits = asyncio.create_task(store.run_async(tick(2)))
                await until_it(lambda: len(store._line._line) == 1)  # type: ignore[union-attr]
                for task in (begun, waits):
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
            await store.run_async(tick(3))
            assert await batches(store) in ([0, 1, 3], [0, 3])

    asyncio.run(main())


def test_cancelled_reads_keep_no_connection(postgres_dsn: str) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            await store.run_async(tick(0))
            with psycopg.connect(postgres_dsn) as other:
                other.execute("LOCK TABLE eventsrc.event IN ACCESS EXCLUSIVE MODE")
                tasks = [asyncio.create_task(store.run_async(Head(HERE))) for _ in range(20)]
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                await until_it(lambda: ask(postgres_dsn, waiting)[0][0] >= 8)
                for task in tasks:
                    task.cancel()
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(answer, asyncio.CancelledError) for answer in done)
            answers = await asyncio.gather(*[store.run_async(Head(HERE)) for _ in range(50)])
            assert answers == [1] * 50
        until(lambda: sessions(postgres_dsn) == 0)

    asyncio.run(main())


def test_tasks_that_are_cancelled_at_random_leave_the_store_whole(postgres_dsn: str) -> None:
    chance = random.Random(3)

    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC, timeout=10) as store:
            acknowledged: list[int] = []

            async def append(number: int) -> None:
                answer = await store.run_async(tick(number, of=chance.randint(1, 3)))
                answer.unwrap()
                acknowledged.append(number)
                await store.run_async(ReadFeed(limit=10))

            for turn in range(scaled(40)):
                tasks = [asyncio.create_task(append(turn * 100 + n)) for n in range(10)]
                await asyncio.sleep(chance.choice([0, 0.001, 0.003, 0.006]))
                for task in chance.sample(tasks, 7):
                    task.cancel()
                for task in tasks:
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            assert {*acknowledged} <= {*await batches(store)}
            answers = await asyncio.gather(*[store.run_async(Head(HERE)) for _ in range(50)])
            assert len({*answers}) == 1
            until(lambda: not is_waiting(postgres_dsn))
        until(lambda: sessions(postgres_dsn) == 0)

    asyncio.run(main())


def test_control_a_task_that_is_not_cancelled_stores_its_event(postgres_dsn: str) -> None:
    async def main() -> None:
        async with AsyncPostgresStore(postgres_dsn, codec=CODEC) as store:
            await store.run_async(tick(0))
            with locked(postgres_dsn):
                first = asyncio.create_task(store.run_async(tick(1)))
                await until_it(lambda: is_waiting(postgres_dsn))
                second = asyncio.create_task(store.run_async(tick(2)))
                await until_it(lambda: len(store._line._line) == 1)  # type: ignore[union-attr]
            await asyncio.gather(first, second)
            assert await batches(store) == [0, 1, 2]

    asyncio.run(main())

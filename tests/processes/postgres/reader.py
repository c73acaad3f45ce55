"""A process that reads a Postgres store of many events, and says how much memory that took.

python -m tests.processes.postgres.reader DSN HOW
HOW: as for tests.processes.reader, or `loop`: the feed, with the AsyncPostgresStore.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from eventsrc import START, ReadFeed
from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from tests.kits.events import CODEC
from tests.processes.reader import WAYS, peak


def in_threads(dsn: str, how: str) -> tuple[int, float, float]:
    """Reads a first page, and then measures."""
    with PostgresStore(dsn, codec=CODEC) as store:
        _ = [recorded.data for recorded in store.run(ReadFeed(limit=500)).events]
        before, began = peak(), time.perf_counter()
        way: Any = WAYS[how]
        return way(store), time.perf_counter() - began, peak() - before


async def in_a_loop(dsn: str) -> tuple[int, float, float]:
    """The same."""
    async with AsyncPostgresStore(dsn, codec=CODEC) as store:
        _ = [recorded.data for recorded in (await store.run_async(ReadFeed(limit=500))).events]
        before, began = peak(), time.perf_counter()
        count, after = 0, START
        while True:
            page = await store.run_async(ReadFeed(after, 500))
            count += len(page.events)
            if page.next == after:
                return count, time.perf_counter() - began, peak() - before
            after = page.next


if __name__ == "__main__":
    dsn, how = sys.argv[1:]
    print(json.dumps(asyncio.run(in_a_loop(dsn)) if how == "loop" else in_threads(dsn, how)))

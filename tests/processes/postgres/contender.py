"""Those who append to the same streams of a Postgres store at once: processes, and tasks.

python -m tests.processes.postgres.contender DSN SEED APPENDS KIND
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from typing import Any

from eventsrc.postgres.store import AsyncPostgresStore, PostgresStore
from tests.kits.events import CODEC
from tests.processes.contender import Contender, Kind, Notes


async def contend(store: AsyncPostgresStore, one: Contender, appends: int) -> Notes:
    """Appends so many times, as a task."""
    while one.done < appends:
        op = one.next()
        began = time.perf_counter()
        answer: Any = await store.run_async(op)
        one.note(op, answer, began, time.perf_counter())
        await asyncio.sleep(0)
    return one.notes


def main(dsn: str, seed: str, appends: str, kind: Kind) -> None:
    """Waits for a line, appends to a store that others append to, and pickles what it noted."""
    with PostgresStore(dsn, codec=CODEC, timeout=30) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        notes = Contender(int(seed), kind).contend(store, int(appends))
    sys.stdout.buffer.write(pickle.dumps(notes))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]

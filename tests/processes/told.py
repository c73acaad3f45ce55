"""What a process does that is told to stop in the middle of it."""

from __future__ import annotations

import asyncio
import signal
import threading

from eventsrc import Append, Read, SqliteStore, SqliteViews, StreamId, synchronise, world
from eventsrc.following.follow import follow
from tests.kits.events import CODEC, Tick
from tests.processes.projector import counting_view

HERE = StreamId("ticks/0")


def main(path: str, doing: str) -> None:
    """Says "going", and does one of test_shutdown's DOINGS for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by jobs in the background
    ticks = counting_view()
    with SqliteStore(path, CODEC, timeout=60) as store, SqliteViews(path + "-views", [ticks]) as views:
        app = store | views | world

        def append() -> None:
            store.run(Append(HERE, (Tick(1, 0, 1),) * 3))

        def append_for_ever() -> None:
            while True:
                append()

        async def append_in_a_task() -> None:
            while True:
                await store.run_async(Append(HERE, (Tick(1, 0, 1),)))

        async def append_in_tasks() -> None:
            await asyncio.gather(*[append_in_a_task() for _ in range(20)])

        append()
        print("going", flush=True)
        match doing:
            case "appending" | "waiting to append":
                append_for_ever()
            case "appending in threads":
                for _ in range(8):
                    threading.Thread(target=append_for_ever, daemon=True).start()
                append_for_ever()
            case "appending in tasks":
                asyncio.run(append_in_tasks())
            case "reading":
                while True:
                    store.run(Read(HERE, limit=10_000))
            case "synchronising":
                while True:
                    append()
                    app.run(synchronise(ticks))
            case "following":
                threading.Thread(target=append_for_ever, daemon=True).start()
                app.run(follow(ticks, 0.001))
            case "following in a task":
                asyncio.run(app.run_async(follow(ticks, 0.001)))
            case _:
                raise ValueError(doing)

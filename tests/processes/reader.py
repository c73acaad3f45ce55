"""A process that reads a store of many events, and says how much memory that took.

python -m tests.processes.reader PATH HOW
HOW: feed (undecoded), decoded, fold (of the stream `ticks`), or, for the control, everything.
It prints, as JSON: the number of events, the seconds, and the extra peak of memory in MiB.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from eventsrc import Fold, ReadFeed, SqliteStore, Stream
from tests.kits.events import CODEC, Tick
from tests.kits.feed import whole_feed


def peak() -> float:
    """The most memory that this process has had, in MiB. (Not by getrusage: a process that was started
    from a large one begins with the peak of that.)"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("the system does not say how much memory a process has had")


def feed(store: SqliteStore) -> int:
    return sum(1 for _ in whole_feed(store, limit=500))


def decoded(store: SqliteStore) -> int:
    return sum(recorded.data.of for recorded in whole_feed(store, limit=500))


def fold(store: SqliteStore) -> int:
    def count(state: int, tick: Tick) -> int:
        return state + tick.of

    return store.run(Stream("ticks", events=Tick).get(Fold(0, count))).state


def everything(store: SqliteStore) -> int:
    return len([*whole_feed(store, limit=500)])


WAYS: dict[str, Callable[[SqliteStore], int]] = {
    "feed": feed,
    "decoded": decoded,
    "fold": fold,
    "everything": everything,
}


def main(path: str, how: str) -> None:
    """Reads a first page, and then measures."""
    with SqliteStore(path, CODEC, read_only=True) as store:
        _ = [recorded.data for recorded in store.run(ReadFeed(limit=500)).events]
        before, began = peak(), time.perf_counter()
        count = WAYS[how](store)
        print(json.dumps([count, time.perf_counter() - began, peak() - before]))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the experiments look at afterwards: the whole feed, and whether a file is sound."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eventsrc import START, Cursor, Interpreter, ReadFeed, Recorded, StoreOp


def whole_feed(
    store: Interpreter[StoreOp], after: Cursor = START, limit: int = 1000
) -> Iterator[Recorded[Any]]:
    """All events after a cursor, page by page."""
    while True:
        page = store.run(ReadFeed(after, limit))
        yield from page.events
        if page.next == after:
            return
        after = page.next


def batches_of(events: Iterator[Recorded[Any]]) -> dict[int, int]:
    """How many ticks of each batch there are; raises AssertionError for half a batch."""
    found: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for recorded in events:
        found[recorded.data.batch] = found.get(recorded.data.batch, 0) + 1
        sizes[recorded.data.batch] = recorded.data.of
    assert found == sizes, "half a batch is stored"
    return found


def assert_sound(path: Path) -> None:
    """SQLite finds nothing wrong with the file."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()

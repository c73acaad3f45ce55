"""Processes that copy a store, write to it or follow it until they are killed."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import attrs

from eventsrc import START, Append, Interpreter, SqliteStore, StreamId, world
from eventsrc.moving import ExportWriter, both, copying, follow_copy
from eventsrc.stores.operations import ReadFeed
from tests.kits.moved_shop import Sold

PAGE = 20
"""Small, so that there are many moments to be killed in."""


def main(source: str, target: str, how: str) -> None:
    """Copies a store; broken (the control): appends the events anew, and keeps count beside."""
    copying.PAGE = PAGE  # type: ignore[misc]
    with SqliteStore(source, read_only=True) as store:
        if how == "broken":
            _append_anew(store, target)
            return
        opener: Any = ExportWriter if how == "export" else SqliteStore
        with opener(target) as opened:
            other: Interpreter[Any] = opened
            both(store, other).run(copying.copy(lambda position, _: print(position, flush=True)))
    print("done", flush=True)


def _append_anew(store: SqliteStore, target: str) -> None:
    done = Path(f"{target}.count")
    end = store.run(ReadFeed(limit=1)).end
    with SqliteStore(target) as other:
        position = int(done.read_text() or 0) if done.exists() else 0
        while position < end.position:
            after = attrs.evolve(end, position=position) if position else START
            (event,) = store.run(ReadFeed(after, 1, all_streams=True)).events
            other.run(Append(event.stream, (event.opaque(),))).unwrap()
            position += 1
            print(position, flush=True)
            done.write_text(str(position))
    print("done", flush=True)


def write(path: str) -> None:
    """Appends until it is killed, and tells the cursor and the token of each append."""
    with SqliteStore(path, durability="process", timeout=30) as store:
        for number in count():
            stream = StreamId(f"sales/{number % 3}")
            stored = store.run(Append(stream, (Sold("chair", number),) * (1 + number % 3))).unwrap()
            print(stored.cursor, stored.token, flush=True)


def follow(source: str, target: str) -> None:
    """Keeps a copy up to date until it is killed, and tells how far it is."""
    with SqliteStore(source, read_only=True) as store, SqliteStore(target) as standby:
        following = follow_copy(lambda position, _: print(position, flush=True), every=0.001)
        (both(store, standby) | world).run(following)

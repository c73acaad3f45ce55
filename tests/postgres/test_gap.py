"""Readers follow the feed while many append, late to commit, and some roll back.

Passed if no reader skips an event, sees one twice or sees a stream out of order; readers that start
again go on from the text of their cursor.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from eventsrc import START, Append, Cursor, Interpreter, ReadFeed, Recorded, StoreOp, StreamId, event
from eventsrc.postgres.store import PostgresStore
from eventsrc.stores.operations import StoreError
from eventsrc.testing._contract.history import check_feed
from tests.faults import scaled
from tests.faults.test_contention import at_once
from tests.kits.events import CODEC, TYPES, Tick
from tests.postgres.transactions import Joined, slow_store, without_order

WRITERS = 16
STORES = 4
ALL = frozenset({"test.fault.tick", "test.fault.tock"})
TOCKS = frozenset({"test.fault.tock"})


@event("test.fault.tock", types=TYPES)
class Tock:
    batch: int
    number: int
    of: int


@attrs.define
class Reader:
    """Follows the feed of a store, and starts again now and then where it has kept that it was."""

    dsn: str
    limit: int
    types: frozenset[str] | None = None
    delivered: list[Recorded[Any]] = attrs.field(factory=list[Recorded[Any]])
    kept: str = str(START)
    restarts: int = 0

    def follow(self, is_over: Callable[[], bool]) -> None:
        """Reads until it is over, and then to the end."""
        chance = random.Random(self.limit)
        over = False
        while not over:
            with PostgresStore(self.dsn, codec=CODEC, timeout=30) as store:
                until = time.monotonic() + chance.uniform(0.05, 0.2)
                while not over and time.monotonic() < until:
                    over = is_over()
                    self.read(store, to_the_end=over)
            self.restarts += 1

    def read(self, store: Interpreter[StoreOp], *, to_the_end: bool = False) -> None:
        """Reads a page, or all there is."""
        while True:
            page = store.run(ReadFeed(Cursor.parse(self.kept), self.limit, types=self.types))
            self.delivered += page.events
            is_end = self.kept == str(page.next)
            self.kept = str(page.next)
            if is_end or not to_the_end:
                return


def write(store: Interpreter[StoreOp], writer: int, appends: int, told: list[str]) -> None:
    """Appends ticks to a stream of its own and one of many, and tocks likewise; some fail.

    told: where it notes how each append ended.
    """
    chance = random.Random(writer)
    for number in range(appends):
        kind = chance.choice([Tick, Tock])
        whose = writer if chance.random() < 0.7 else "all"
        stream = StreamId(f"{kind.__name__}/{whose}")
        size = chance.randint(1, 3)
        try:
            store.run(Append(stream, tuple(kind(writer, number, n) for n in range(size))))
        except StoreError as error:
            told.append(type(error).__name__)
        else:
            told.append("stored")


def follow_writers(
    dsn: str, appends: int, readers: Sequence[Reader]
) -> tuple[list[Recorded[Any]], Counter[str]]:
    """Lets writers write and readers read; answers all that is stored, and how appends ended."""
    told: list[str] = []
    PostgresStore(dsn, codec=CODEC).close()

    def is_over() -> bool:
        return not any(writer.is_alive() for writer in writers)

    with contextlib.ExitStack() as opened:
        stores = [opened.enter_context(slow_store(dsn, number)) for number in range(STORES)]
        writers = [
            threading.Thread(
                target=write, args=(stores[writer % STORES], writer, appends // WRITERS, told)
            )
            for writer in range(WRITERS)
        ]
        for thread in writers:
            thread.start()
        at_once(*[lambda reader=reader: reader.follow(is_over) for reader in readers])
        for thread in writers:
            thread.join()
    with PostgresStore(dsn, codec=CODEC) as store:
        everything = Reader(dsn, 10_000, ALL)
        everything.read(store, to_the_end=True)
        return everything.delivered, Counter(told)


def wrong_with(reader: Reader, stored: Sequence[Recorded[Any]]) -> list[str]:
    """What the reader has missed, or has seen twice or too early."""
    due: dict[StreamId, tuple[int, int]] = {}
    for recorded in stored:
        if reader.types != TOCKS or recorded.stream.startswith("Tock/"):
            due[recorded.stream] = 1, recorded.version
    return check_feed(reader.delivered, due)


@pytest.mark.timeout(600)
def test_readers_skip_nothing_whatever_the_order_of_the_commits(
    postgres_dsn: str, figure: Callable[[str], None]
) -> None:
    readers = [Reader(postgres_dsn, 1), Reader(postgres_dsn, 7, TOCKS), Reader(postgres_dsn, 500)]
    asked = scaled(300, 16_000)
    stored, told = follow_writers(postgres_dsn, asked, readers)
    assert told["stored"] > asked / 2
    assert told["TakenBack"] > asked / 500  # as many as groups leave of one in five
    assert len(stored) >= told["stored"]
    assert [recorded.position for recorded in stored] == [*range(1, len(stored) + 1)]
    for reader in readers:
        assert wrong_with(reader, stored) == []
        assert reader.restarts > 2
    restarts = [reader.restarts for reader in readers]
    figure(f"{len(stored)} events, {told['TakenBack']} rolled back, {restarts} restarts")


@pytest.mark.timeout(600)
def test_control_readers_of_a_store_without_the_lock_are_seen_to_skip(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    without_order(monkeypatch)
    readers = [Reader(postgres_dsn, 1, ALL), Reader(postgres_dsn, 500, ALL)]
    stored, _ = follow_writers(postgres_dsn, 800, readers)
    wrong = [sentence for reader in readers for sentence in wrong_with(reader, stored)]
    skipped = sum("was skipped" in sentence for sentence in wrong)
    figure(f"{skipped} of {len(stored)} skipped")
    assert skipped > 50


# --- appends of several events that are under way at once


def write_in_two(dsn: str, writer: int, transactions: int) -> None:
    """Transactions that append twice each, with time for others in between."""
    chance = random.Random(writer)
    joined = Joined(dsn)
    with contextlib.closing(joined.connection):
        for number in range(transactions):
            for n in range(2):
                joined.append(StreamId(f"Tick/{writer}-{n}"), Tick(writer, number, n))
                time.sleep(chance.choice([0, 0.001, 0.003]))
            if chance.random() < 0.1:
                joined.connection.rollback()
            else:
                joined.connection.commit()


def follow_twos(dsn: str, readers: Sequence[Reader]) -> list[Recorded[Any]]:
    """Lets some write in two, and readers read; answers all that is stored."""
    with PostgresStore(dsn, codec=CODEC) as store:
        store.run(Append(StreamId("Tick/0"), (Tick(-1, -1, 0),)))
        writing = [
            threading.Thread(target=write_in_two, args=(dsn, writer, scaled(30, 960)))
            for writer in range(4)
        ]
        for thread in writing:
            thread.start()
        at_once(
            *[
                lambda reader=reader: reader.follow(lambda: not any(t.is_alive() for t in writing))
                for reader in readers
            ]
        )
        everything = Reader(dsn, 10_000, ALL)
        everything.read(store, to_the_end=True)
        return everything.delivered


@pytest.mark.timeout(600)
def test_transactions_that_append_twice_are_not_torn_apart(postgres_dsn: str) -> None:
    readers = [Reader(postgres_dsn, 1, ALL), Reader(postgres_dsn, 500, ALL)]
    stored = follow_twos(postgres_dsn, readers)
    for reader in readers:
        assert wrong_with(reader, stored) == []
    pairs = [(one.data.batch, one.data.number) for one in stored[1:]]
    assert pairs[::2] == pairs[1::2], "the two events of a transaction stand together"


def test_control_transactions_that_append_twice_without_the_lock_are_caught(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_order(monkeypatch)
    reader = Reader(postgres_dsn, 500, ALL)
    stored = follow_twos(postgres_dsn, [reader])
    assert any("was skipped" in sentence for sentence in wrong_with(reader, stored))

"""A page of large events is bounded in what Postgres sends for it, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from eventsrc import Append, Codec, Read, ReadFeed, StreamId, event
from eventsrc.events.event import EventTypes
from eventsrc.postgres import PostgresStore
from tests.kits.databases import Databases
from tests.kits.proxy import Proxy

TYPES = EventTypes()
HERE = StreamId("files/1")
MIB = 2**20
COUNT = 40


@event("test.pages.stored", types=TYPES)
class Stored:
    """An event that is large."""

    text: str


class Counting(Proxy):
    """Counts the bytes that are sent to clients."""

    sent = 0

    def _pass(self, link: Any, data: bytes, sink: Any, towards: Any) -> bytes:
        left = super()._pass(link, data, sink, towards)
        if towards == "client":
            self.sent += len(data) - len(left)
        return left


class Large:
    """A store with 40 events of a megabyte, behind a proxy that counts."""

    def __init__(self, proxy: Counting) -> None:
        self.proxy: Final = proxy

    def mebibytes_for(self, *asked: Any) -> float:
        """What is sent for answers."""
        with PostgresStore(self.proxy.dsn, codec=Codec(TYPES), timeout=60) as store:
            before = self.proxy.sent
            for each in asked:
                store.run(each)
            return (self.proxy.sent - before) / MIB


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[Large]:
    dsn = databases.take()
    with Counting(dsn) as proxy:
        with PostgresStore(dsn, codec=Codec(TYPES), timeout=60) as store:
            for number in range(COUNT):
                store.run(Append(HERE, (Stored(chr(97 + number % 26) * MIB),))).unwrap()
        yield Large(proxy)
    databases.give_back(dsn)


ASKED = [
    Read(HERE),
    Read(HERE, whole=False),
    Read(HERE, backwards=True),
    ReadFeed(),
    ReadFeed(whole=False),
    ReadFeed(prefix="files/"),
    ReadFeed(types=frozenset({"test.pages.stored"})),
    Append(HERE, (Stored("too late"),), 1),
]


@pytest.mark.parametrize("asked", ASKED, ids=repr)
def test_what_has_no_room_in_a_page_is_not_sent(large: Large, asked: Any) -> None:
    assert 6 < large.mebibytes_for(asked) < 9
    assert large.mebibytes_for(asked, asked) < 18, "with what the first has taught"


def test_control_what_is_sent_is_counted(large: Large) -> None:
    with psycopg.connect(large.proxy.dsn) as connection:
        before = large.proxy.sent
        connection.execute("SELECT data FROM eventsrc.event", binary=True).fetchall()
        assert large.proxy.sent - before > COUNT * MIB


def test_small_events_that_come_after_large_ones_are_all_read(large: Large) -> None:
    with PostgresStore(large.proxy.dsn, codec=Codec(TYPES), timeout=60) as store:
        there, larger = StreamId("small"), StreamId("larger")
        store.run(Append(there, tuple(Stored(str(n)) for n in range(1000)))).unwrap()
        store.run(Append(larger, tuple(Stored("x" * (n + 1)) for n in range(0, 20_000, 500)))).unwrap()
        for _ in range(2):
            for stream, count in ((HERE, 7), (there, 1000), (larger, 40), (there, 1000)):
                for whole in (True, False):
                    assert len(store.run(Read(stream, limit=1000, whole=whole)).data) == count

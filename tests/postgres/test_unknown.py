"""What became of an append that is Unknown: settled while its statement may still be on its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventsrc import Append, Read, ReadFeed, StreamId
from eventsrc.store import Appended, Unknown
from eventsrc.stores.postgres import PostgresStore
from tests.faults.events import CODEC, Tick
from tests.postgres.proxy import Frozen, Proxy
from tests.postgres.test_server import until
from tests.postgres.witness import outcome

HERE = StreamId("here")
TIMEOUT = 0.3


def ticks(batch: int, size: int = 1) -> tuple[Tick, ...]:
    return tuple(Tick(batch, number, size) for number in range(size))


@pytest.fixture
def direct(postgres_dsn: str) -> Iterator[PostgresStore]:
    """A store beside the one whose network is bad."""
    with PostgresStore(postgres_dsn, codec=CODEC) as direct:
        direct.run(Append(HERE, ticks(0)))
        yield direct


def stored(store: PostgresStore) -> list[int]:
    return [recorded.data.batch for recorded in store.run(ReadFeed()).events]


@pytest.mark.parametrize(
    ("stream", "size"),
    [(HERE, 1), (HERE, 2), (StreamId("new"), 1)],
    ids=["one", "several", "a new stream"],
)
def test_a_statement_that_comes_after_its_retry_stores_nothing(
    postgres_dsn: str, direct: PostgresStore, stream: StreamId, size: int
) -> None:
    with Proxy(postgres_dsn) as proxy, PostgresStore(proxy.dsn, codec=CODEC, timeout=TIMEOUT) as store:
        store.run(Read(HERE))
        proxy.fault = Frozen()
        told = outcome(store, Append(stream, ticks(1, size)))
        assert isinstance(told, Unknown)
        retried = outcome(direct, Append(stream, ticks(1, size), append_id=told.append_id))
        assert isinstance(retried, Appended)
        proxy.fault = None
        until(lambda: proxy.connections == 0)  # the server has read what was sent, and its end
    direct.run(Append(HERE, ticks(2)))
    assert stored(direct) == [0, *[1] * size, 2]
